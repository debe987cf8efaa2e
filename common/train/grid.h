// The same training for several models and seeds, each pair once.
#ifndef REPRO_COMMON_TRAIN_GRID_H_
#define REPRO_COMMON_TRAIN_GRID_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace repro {

// What a training run of a grid is told.
struct GridCell {
  std::string name;  // of the model
  uint64_t seed = 0;
  std::string checkpoint_path;  // for TrainOptions; removed when it is done
  std::function<void(int64_t done, int64_t total, const std::string& text)>
      progress;
  std::function<bool()> cancelled;
};

struct Grid {
  std::vector<std::string> names;  // letters, digits, '_', '-', '.'
  std::vector<uint64_t> seeds;
  std::string checkpoint_dir;  // exists
  // Of the whole grid, in training runs; either may be empty.
  std::function<void(double done, double total, const std::string& text)>
      progress;
  std::function<bool()> cancelled;
};

// The numbers of each name, a vector a seed, in the grid's order.
using GridOutcomes = std::map<std::string, std::vector<std::vector<double>>>;

// Calls `train` for every name and seed. Its numbers are kept in the checkpoint
// folder: a grid that was stopped goes on where it was and trains nothing
// twice. Cancelled: grid.cancelled said so. The first error of `train` stops
// the grid and is returned.
absl::StatusOr<GridOutcomes> TrainGrid(
    const Grid& grid,
    const std::function<absl::StatusOr<std::vector<double>>(const GridCell&)>&
        train);

}  // namespace repro

#endif  // REPRO_COMMON_TRAIN_GRID_H_
