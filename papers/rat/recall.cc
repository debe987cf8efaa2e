#include "papers/rat/recall.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/randint.h>

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/nn/initializer.h"
#include "common/status/macros.h"
#include "common/tensor/generator.h"
#include "common/train/optimizer.h"
#include "common/train/trainer.h"

namespace repro::rat {
namespace {

// Streams of a seed.
enum Stream : uint64_t { kWeights, kTrainData, kTestData, kBatches };

MqarExamples Generate(const MqarConfig& task, int64_t count, uint64_t seed,
                      Stream stream, c10::Device device) {
  const MqarExamples examples =
      GenerateMqar(task, count, MakeGenerator(seed, stream));
  return {examples.inputs.to(device), examples.labels.to(device)};
}

// The fraction of the labels that are not ignored and the likeliest.
double Accuracy(const RatModel& model, const MqarExamples& test) {
  constexpr int64_t kBatch = 256;
  const at::NoGradGuard no_grad;
  double right = 0, asked = 0;
  for (int64_t i = 0; i < test.inputs.size(0); i += kBatch) {
    const int64_t count = std::min(kBatch, test.inputs.size(0) - i);
    const at::Tensor labels = test.labels.narrow(0, i, count);
    const at::Tensor answers =
        model.Forward(test.inputs.narrow(0, i, count)).argmax(-1);
    right += answers.eq(labels).sum().item<double>();
    asked += labels.ge(0).sum().item<double>();
  }
  return right / asked;
}

absl::StatusOr<double> TrainOne(const RatConfig& config,
                                const RecallTraining& training,
                                c10::Device device, const GridCell& cell) {
  RatModel model(config,
                 Initializer(MakeGenerator(cell.seed, kWeights),
                             at::TensorOptions(device).dtype(at::kFloat)));
  const MqarExamples train = Generate(training.task, training.train_examples,
                                      cell.seed, kTrainData, device);
  const MqarExamples test = Generate(training.task, training.test_examples,
                                     cell.seed, kTestData, device);
  AdamOptions adam;
  adam.rate = training.rate;
  adam.weight_decay = 0.1;
  const auto optimizer = MakeAdamW(model.Parameters(), adam);
  TrainOptions options;
  options.num_steps = training.steps;
  options.rate =
      WarmupCosineRate(training.rate, training.steps / 10, training.steps);
  options.clip_norm = 1;
  options.log_every = 50;
  options.checkpoint_path = cell.checkpoint_path;
  options.identity = absl::StrCat(cell.name, ", seed ", cell.seed);
  options.progress = cell.progress;
  options.cancelled = cell.cancelled;
  TrainState state;
  state.model = &model;
  state.optimizer = optimizer.get();
  REPRO_ASSIGN_OR_RETURN(
      const TrainResult result,
      Train(
          options, state,
          [&](int64_t step) {
            const at::Tensor rows =
                at::randint(training.train_examples, {training.batch_size},
                            MakeGenerator(cell.seed, kBatches + step),
                            at::kLong)
                    .to(device);
            return at::cross_entropy_loss(
                model.Forward(train.inputs.index_select(0, rows))
                    .flatten(0, 1)
                    .to(at::kFloat),
                train.labels.index_select(0, rows).flatten());
          },
          [&](int64_t) -> Metrics {
            return {{"accuracy", Accuracy(model, test)}};
          }));
  if (result.cancelled) return absl::CancelledError("stopped");
  return result.last.at("accuracy");
}

}  // namespace

absl::StatusOr<std::map<std::string, std::vector<double>>> CompareRecall(
    const std::map<std::string, RatConfig>& models,
    const RecallTraining& training, c10::Device device, Grid grid) {
  grid.names.clear();
  for (const auto& [name, config] : models) grid.names.push_back(name);
  REPRO_ASSIGN_OR_RETURN(
      const GridOutcomes outcomes,
      TrainGrid(
          grid,
          [&](const GridCell& cell) -> absl::StatusOr<std::vector<double>> {
            try {
              REPRO_ASSIGN_OR_RETURN(
                  const double accuracy,
                  TrainOne(models.at(cell.name), training, device, cell));
              return std::vector<double>{accuracy};
            } catch (const c10::Error& error) {
              return absl::InternalError(absl::StrCat(
                  cell.name, ": ", error.what_without_backtrace()));
            }
          }));
  std::map<std::string, std::vector<double>> accuracies;
  for (const auto& [name, of_seeds] : outcomes) {
    for (const std::vector<double>& values : of_seeds) {
      accuracies[name].push_back(values.at(0));
    }
  }
  return accuracies;
}

}  // namespace repro::rat
