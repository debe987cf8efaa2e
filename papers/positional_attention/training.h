// Training and testing of several networks at once, as the paper's experiments
// on generalisation to larger values do it.
#ifndef REPRO_PAPERS_POSITIONAL_ATTENTION_TRAINING_H_
#define REPRO_PAPERS_POSITIONAL_ATTENTION_TRAINING_H_

#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "papers/positional_attention/positional_attention.h"
#include "papers/positional_attention/tasks.h"

namespace repro::positional_attention {

// The defaults are the published scale.
struct TrainingConfig {
  NetworkConfig network;
  std::vector<Task> tasks;
  std::vector<uint64_t> seeds;  // each with each task is a model of the stack

  int64_t train_samples = 30000;
  int64_t test_samples = 1000;  // also of validation
  int64_t batch = 1000;         // divides train_samples
  int64_t epochs = 2001;
  double rate = 5e-4;
  // Epochs without improvement that ReduceLROnPlateau bears (factor 0.9, least
  // rate 1e-6).
  int patience = 50;
  // For trainings too short for that: the rate falls to 0 over the whole
  // training along half a cosine, and the scheduler is not used.
  bool cosine = false;
  // Test values lie in [-2c, 2c] for each c.
  std::vector<int> scales = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};

  // All of it in a line: the identity of a checkpoint.
  std::string ToString() const;
};

struct Errors {
  double train_mse = 0;  // mean over the last epoch's batches, while training
  double val_mse = 0;
  std::map<int, double> test_mse;  // by c
};

struct TrainingHooks {
  std::string checkpoint_path;  // empty: none
  std::function<void(int64_t done, int64_t total, const std::string& text)>
      progress;
  std::function<bool()> cancelled;
};

// Mean squared error over the n numbers and over samples, of each model.
// values [models, samples, seq_len], labels [models, samples, n] -> [models].
at::Tensor MeanSquaredErrors(const Network& network, const at::Tensor& values,
                             const at::Tensor& labels);

// Trains one network for each task and seed, stacked, and tests them after the
// last epoch: [task][seed]. A model's draws depend on its task and seed alone
// (its batches also on the device), not on the architecture nor on what it is
// stacked with: both architectures see the same data in the same order.
// Errors: Cancelled (a checkpoint is left to go on from); those of Train().
absl::StatusOr<std::vector<std::vector<Errors>>> TrainAndTest(
    const TrainingConfig& config, c10::Device device,
    const TrainingHooks& hooks = {});

}  // namespace repro::positional_attention

#endif  // REPRO_PAPERS_POSITIONAL_ATTENTION_TRAINING_H_
