// Associative recall (common/data/mqar.h) by small models of any chunk size:
// what a longer chunk costs.
#ifndef REPRO_PAPERS_RAT_RECALL_H_
#define REPRO_PAPERS_RAT_RECALL_H_

#include <c10/core/Device.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/data/mqar.h"
#include "common/train/grid.h"
#include "papers/rat/rat.h"

namespace repro::rat {

struct RecallTraining {
  MqarConfig task;
  int64_t steps = 0;
  int64_t batch_size = 0;
  double rate = 1e-3;  // of AdamW: warm-up over a tenth, then a cosine to 0
  int64_t train_examples = 0;
  int64_t test_examples = 0;
};

// Trains each model with each seed of `grid`, whose names are set from
// `models`, on fresh examples of that seed; the fraction of test queries that
// are answered right, one a seed, by name.
absl::StatusOr<std::map<std::string, std::vector<double>>> CompareRecall(
    const std::map<std::string, RatConfig>& models,
    const RecallTraining& training, c10::Device device, Grid grid);

}  // namespace repro::rat

#endif  // REPRO_PAPERS_RAT_RECALL_H_
