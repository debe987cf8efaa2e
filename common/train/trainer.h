// The training loop: rate, loss, gradients, clipping, update; evaluation, early
// stop, progress, checkpoints, resume.
//
//   TrainOptions options;
//   options.num_steps = epochs * steps_per_epoch;
//   options.evaluate_every = 2 * steps_per_epoch;
//   options.selection_metric = "accuracy";
//   options.higher_is_better = true;
//   TrainState state;
//   state.model = &model;
//   state.optimizer = optimizer.get();
//   state.generators = {dropout_generator};
//   absl::StatusOr<TrainResult> result = Train(
//       options, state,
//       [&](int64_t step) { return Loss(model, batches.At(step)); },
//       [&](int64_t step) -> Metrics { return {{"accuracy", ...}}; });
//
// An uninterrupted run and one that was killed and resumed give the same bits,
// provided that the loss function takes its data from `step` (as a permutation
// from MakeGenerator(seed, epoch)) or from a generator in the state.
#ifndef REPRO_COMMON_TRAIN_TRAINER_H_
#define REPRO_COMMON_TRAIN_TRAINER_H_

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/nn/module.h"
#include "common/train/optimizer.h"
#include "common/train/schedule.h"

namespace repro {

using Metrics = std::map<std::string, double>;

struct TrainOptions {
  int64_t num_steps = 0;

  Schedule rate;         // set before each update; empty: left as it is
  double clip_norm = 0;  // of all gradients together; 0: no clipping

  // Evaluation follows each multiple of this many steps and the last step; 0:
  // the last step only.
  int64_t evaluate_every = 0;
  // The metric whose best value is kept; empty: none.
  std::string selection_metric;
  bool higher_is_better = false;
  int patience = 0;  // evaluations without a new best before a stop; 0: never

  // Empty: no checkpoint. One is written after the first step that ends later
  // than `checkpoint_seconds` after the last, after each multiple of
  // `checkpoint_steps` (0: by time only), on cancellation and at the end. An
  // existing file is resumed from.
  std::string checkpoint_path;
  double checkpoint_seconds = 60;
  int64_t checkpoint_steps = 0;
  // False: it is resumed from and never written, as by every process but the
  // first of a data-parallel run.
  bool write_checkpoint = true;
  // Names the configuration (model, data, seed): a checkpoint with another
  // identity is refused.
  std::string identity;

  std::string metrics_path;  // JSON lines; empty: none
  // The loss is read, logged and checked to be finite once in so many steps:
  // on a GPU reading it waits for the device.
  int64_t log_every = 1;

  // done and total in steps; the text has the loss and the time left.
  std::function<void(int64_t done, int64_t total, const std::string& text)>
      progress;
  std::function<bool()> cancelled;  // asked after every step
};

// What a run changes, all of it saved and restored.
struct TrainState {
  Module* model = nullptr;
  Optimizer* optimizer = nullptr;
  std::vector<at::Generator> generators;
  std::vector<ReduceOnPlateau*> plateaus;
  NamedTensors extra;  // written in place, as sums over an epoch
};

struct TrainResult {
  int64_t steps = 0;         // updates made, those before a resume included
  int64_t resumed_from = 0;  // steps that came from the checkpoint
  bool cancelled = false;
  bool stopped_early = false;
  double last_loss = 0;  // the last one logged
  Metrics last;          // of the last evaluation
  Metrics best;          // of the evaluation with the best selection metric
  int64_t best_step = 0;
  double seconds = 0;  // of training, those before a resume included
};

// The loss is a scalar tensor, of the batch of `step` (from 0); Train calls
// backward on it. For stacked models it is the sum of their losses.
using LossFunction = std::function<at::Tensor(int64_t step)>;
// After `steps` updates, in evaluation mode and without gradients. The values
// are logged.
using EvaluateFunction = std::function<Metrics(int64_t steps)>;

// InvalidArgument: options that make no sense. FailedPrecondition: the
// checkpoint belongs to another run. DataLoss: it is damaged. Internal: a loss
// that is not finite (the last checkpoint is left as it was), or an exception
// from a callback, with its text.
absl::StatusOr<TrainResult> Train(const TrainOptions& options,
                                  const TrainState& state,
                                  const LossFunction& loss,
                                  const EvaluateFunction& evaluate = nullptr);

}  // namespace repro

#endif  // REPRO_COMMON_TRAIN_TRAINER_H_
