#include "common/train/grid.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/status/macros.h"
#include "common/train/checkpoint.h"

namespace repro {
namespace {

constexpr char kNumbers[] = "numbers";

absl::StatusOr<std::vector<double>> ReadNumbers(const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const Checkpoint stored, ReadCheckpoint(path));
  const auto found = stored.tensors.find(kNumbers);
  if (found == stored.tensors.end() ||
      found->second.scalar_type() != at::kDouble || found->second.dim() != 1) {
    return absl::DataLossError(
        absl::StrCat(path, ": expected a vector of float64 \"", kNumbers,
                     "\"; delete the file to train this model again"));
  }
  const at::Tensor numbers = found->second.contiguous();
  const double* begin = numbers.const_data_ptr<double>();
  return std::vector<double>(begin, begin + numbers.numel());
}

absl::Status WriteNumbers(const std::string& path,
                          const std::vector<double>& numbers) {
  Checkpoint stored;
  at::Tensor tensor =
      at::empty({static_cast<int64_t>(numbers.size())}, at::kDouble);
  std::copy(numbers.begin(), numbers.end(), tensor.data_ptr<double>());
  stored.tensors[kNumbers] = tensor;
  return WriteCheckpoint(path, stored);
}

}  // namespace

absl::StatusOr<GridOutcomes> TrainGrid(
    const Grid& grid,
    const std::function<absl::StatusOr<std::vector<double>>(const GridCell&)>&
        train) {
  const double total = grid.names.size() * grid.seeds.size();
  double finished = 0;
  GridOutcomes outcomes;
  // Seed by seed, so that a grid that is stopped has compared all models.
  for (const uint64_t seed : grid.seeds) {
    for (const std::string& name : grid.names) {
      const std::string label = absl::StrCat(name, ", seed ", seed);
      const std::string path =
          absl::StrCat(grid.checkpoint_dir, "/", name, "_", seed);
      const std::string done_path = path + ".done";
      absl::StatusOr<std::vector<double>> numbers = ReadNumbers(done_path);
      if (absl::IsNotFound(numbers.status())) {
        if (grid.cancelled && grid.cancelled()) {
          return absl::CancelledError(absl::StrCat("stopped before ", label));
        }
        GridCell cell;
        cell.name = name;
        cell.seed = seed;
        cell.checkpoint_path = path + ".pt";
        cell.cancelled = grid.cancelled;
        cell.progress = [&](int64_t done, int64_t steps,
                            const std::string& text) {
          if (!grid.progress) return;
          grid.progress(finished + static_cast<double>(done) / steps, total,
                        absl::StrCat(label, ", ", text));
        };
        numbers = train(cell);
        REPRO_RETURN_IF_ERROR(numbers.status());
        REPRO_RETURN_IF_ERROR(WriteNumbers(done_path, *numbers));
        std::remove(cell.checkpoint_path.c_str());
      }
      REPRO_RETURN_IF_ERROR(numbers.status());
      outcomes[name].push_back(*std::move(numbers));
      ++finished;
      if (grid.progress) grid.progress(finished, total, label);
    }
  }
  return outcomes;
}

}  // namespace repro
