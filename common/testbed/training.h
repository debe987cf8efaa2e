// The training of a recipe's model, and its accuracy by plain forward passes.
#ifndef REPRO_COMMON_TESTBED_TRAINING_H_
#define REPRO_COMMON_TESTBED_TRAINING_H_

#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/nn/llama.h"
#include "common/testbed/recipe.h"
#include "common/train/trainer.h"

namespace repro::testbed {

struct TrainingOptions {
  c10::Device device = c10::kCPU;  // float32; on CUDA bfloat16 activations
  std::string checkpoint_path;     // empty: none; resumed from if it is there
  std::string metrics_path;        // JSON lines; empty: none
  int64_t evaluate_every = 0;      // steps; 0: at the end
  // done and total in steps, and a text with the loss and the time left.
  std::function<void(int64_t done, int64_t total, const std::string& text)>
      progress;
  std::function<bool()> cancelled;
};

struct Trained {
  std::unique_ptr<Llama> model;  // float32 weights, on the device
  Metrics metrics;               // of the end, as MeasureTestbed gives them
  double seconds = 0;
  int64_t steps = 0;
};

// Cancelled if it was; else the errors of Train.
absl::StatusOr<Trained> TrainTestbed(const Recipe& recipe,
                                     const TrainingOptions& options);

// The loss of a batch: recipe.text_weight is of everything that is no answer.
at::Tensor RecallLoss(const Llama& model, const TrainingBatch& batch,
                      double text_weight);

// "<task>/<length>": the share of answer tokens (of kInduction those from the
// third occurrence on) that have the largest logit, in `count` fresh sequences
// of EvaluationConfig at the context and at half of it; "text/nats" and
// "text/nats_of_source": the mean of -log p a text token and that of the
// distribution which it was drawn from.
Metrics MeasureTestbed(const Llama& model, const Recipe& recipe,
                       c10::Device device, int64_t count);

}  // namespace repro::testbed

#endif  // REPRO_COMMON_TESTBED_TRAINING_H_
