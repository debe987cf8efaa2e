#include "common/testbed/training.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/nn/initializer.h"
#include "common/status/macros.h"
#include "common/tensor/generator.h"
#include "common/train/optimizer.h"
#include "common/train/schedule.h"

namespace repro::testbed {
namespace {

// Streams of a recipe's seed, besides those of batches.
constexpr uint64_t kWeights = 0;
constexpr uint64_t kMeasure = 1;

constexpr int64_t kMeasureCount = 32;

// What the recipe changes of the initialiser's draws.
void Start(const Recipe& recipe, const Llama& model) {
  const at::NoGradGuard no_grad;
  const int64_t dim = recipe.model.dim;
  at::Tensor v;
  for (const auto& [name, tensor] : model.NamedParameters()) {
    if (name == "embedding") {
      tensor.select(1, 0).add_(recipe.embedding_offset);
    } else if (recipe.symmetric_start && absl::EndsWith(name, "qkv.weight")) {
      tensor.narrow(0, dim, dim).copy_(tensor.narrow(0, 0, dim));
      v = tensor.narrow(0, 2 * dim, dim);
    } else if (recipe.symmetric_start &&
               absl::EndsWith(name, "output.weight")) {
      tensor.copy_(v.t());
    }
  }
}

}  // namespace

at::Tensor RecallLoss(const Llama& model, const TrainingBatch& batch,
                      double text_weight) {
  const int64_t length = batch.tokens.size(1) - 1;
  const at::Tensor logits =
      model.Forward(batch.tokens.narrow(1, 0, length)).to(at::kFloat);
  const at::Tensor loss = at::cross_entropy_loss(
      logits.flatten(0, 1), batch.tokens.narrow(1, 1, length).flatten(), {},
      at::Reduction::None);
  const at::Tensor answers =
      batch.answers.narrow(1, 1, length).flatten().to(at::kFloat);
  const at::Tensor others = 1 - answers;
  return (loss * answers).sum() / answers.sum().clamp_min(1) +
         text_weight * (loss * others).sum() / others.sum().clamp_min(1);
}

Metrics MeasureTestbed(const Llama& model, const Recipe& recipe,
                       c10::Device device, int64_t count) {
  const at::NoGradGuard no_grad;
  Metrics metrics;
  for (const int64_t length : {recipe.context / 2, recipe.context}) {
    for (const Task task : RecallTasks()) {
      const Sequences examples =
          MakeSequences(EvaluationConfig(recipe, task, length, 0), count,
                        MakeGenerator(recipe.seed, kMeasure));
      const at::Tensor tokens = examples.tokens.to(device);
      // The first symbols of the second occurrence can't be known.
      const at::Tensor asked = examples.answers.to(device)
                                   .narrow(1, 1, length - 1)
                                   .ge(task == Task::kInduction ? 1 : 0);
      const at::Tensor right =
          model.Forward(tokens.narrow(1, 0, length - 1)).argmax(-1) ==
          tokens.narrow(1, 1, length - 1);
      metrics[absl::StrCat(TaskName(task), "/", length)] =
          (right & asked).sum().item<double>() / asked.sum().item<double>();
    }
  }
  const int64_t length = recipe.context;
  const Sequences text =
      MakeSequences(EvaluationConfig(recipe, Task::kText, length, 0), count,
                    MakeGenerator(recipe.seed, kMeasure));
  const at::Tensor tokens = text.tokens.to(device);
  metrics["text/nats"] =
      at::cross_entropy_loss(model.Forward(tokens.narrow(1, 0, length - 1))
                                 .flatten(0, 1)
                                 .to(at::kFloat),
                             tokens.narrow(1, 1, length - 1).flatten())
          .item<double>();
  const TextModel source(recipe.vocabulary.num_text);
  double nats = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t* row = text.tokens.const_data_ptr<int64_t>() + i * length + 1;
    std::vector<int64_t> before;
    for (int64_t t = 0; t < length - 1; ++t) {
      const int64_t next = row[t] - recipe.vocabulary.first_text();
      nats -= std::log(source.Probability(before, next));
      before.insert(before.begin(), next);
      if (before.size() > 2) before.pop_back();
    }
  }
  metrics["text/nats_of_source"] =
      nats / static_cast<double>(count * (length - 1));
  return metrics;
}

absl::StatusOr<Trained> TrainTestbed(const Recipe& recipe,
                                     const TrainingOptions& options) {
  Trained trained;
  try {
    LlamaConfig config = recipe.model;
    if (options.device.is_cuda()) config.compute_dtype = at::kBFloat16;
    trained.model = std::make_unique<Llama>(
        config, Initializer(MakeGenerator(recipe.seed, kWeights),
                            at::TensorOptions(options.device)));
    Start(recipe, *trained.model);
  } catch (const c10::Error& error) {
    return absl::InvalidArgumentError(absl::StrCat(
        "recipe ", recipe.name, ": ", error.what_without_backtrace()));
  }
  AdamOptions adam;
  adam.rate = recipe.rate;
  adam.beta1 = 0.9;
  adam.beta2 = recipe.beta2;
  adam.weight_decay = recipe.weight_decay;
  const std::unique_ptr<Optimizer> optimizer =
      MakeAdamW(trained.model->Parameters(), adam);
  TrainOptions train;
  train.num_steps = recipe.steps();
  train.rate =
      WarmupCosineRate(recipe.rate, recipe.warmup_steps, train.num_steps,
                       /*start=*/0, recipe.final_rate);
  train.clip_norm = recipe.clip_norm;
  train.evaluate_every = options.evaluate_every;
  train.checkpoint_path = options.checkpoint_path;
  train.identity = absl::StrCat("recipe ", RecipeDigest(recipe));
  train.metrics_path = options.metrics_path;
  train.log_every = 20;
  train.progress = options.progress;
  train.cancelled = options.cancelled;
  TrainState state;
  state.model = trained.model.get();
  state.optimizer = optimizer.get();
  REPRO_ASSIGN_OR_RETURN(
      const TrainResult result,
      Train(
          train, state,
          [&](int64_t step) {
            TrainingBatch batch = MakeTrainingBatch(recipe, step);
            batch.tokens = batch.tokens.to(options.device);
            batch.answers = batch.answers.to(options.device);
            return RecallLoss(*trained.model, batch, recipe.text_weight);
          },
          [&](int64_t) {
            return MeasureTestbed(*trained.model, recipe, options.device,
                                  kMeasureCount);
          }));
  if (result.cancelled) {
    return absl::CancelledError(absl::StrCat("stopped after ", result.steps,
                                             " of ", train.num_steps,
                                             " steps of ", recipe.name));
  }
  trained.metrics = result.last;
  trained.seconds = result.seconds;
  trained.steps = result.steps;
  return trained;
}

}  // namespace repro::testbed
