#include "papers/positional_attention/training.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/mse_loss.h>
#include <ATen/ops/randperm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/nn/initializer.h"
#include "common/status/macros.h"
#include "common/tensor/generator.h"
#include "common/train/optimizer.h"
#include "common/train/schedule.h"
#include "common/train/trainer.h"

namespace repro::positional_attention {
namespace {

// Streams of a model's seed; test set c uses kTestStream + c.
constexpr uint64_t kWeightStream = 0;
constexpr uint64_t kTrainStream = 1;
constexpr uint64_t kValidationStream = 2;
constexpr uint64_t kShuffleStream = 3;
constexpr uint64_t kTestStream = 16;

struct Model {
  Task task;
  uint64_t seed;  // of the task and the user's seed
};

std::vector<Model> Models(const TrainingConfig& config) {
  std::vector<Model> models;
  for (const Task task : config.tasks) {
    for (const uint64_t seed : config.seeds) {
      models.push_back({task, MixSeed(seed, static_cast<uint64_t>(task))});
    }
  }
  return models;
}

struct Dataset {
  at::Tensor values;  // [models, samples, seq_len]
  at::Tensor labels;  // [models, samples, n]
};

Dataset Draw(const std::vector<Model>& models, int64_t samples, int64_t n,
             double high, uint64_t stream, c10::Device device) {
  std::vector<at::Tensor> values, labels;
  for (const Model& model : models) {
    const at::Tensor x =
        DrawInputs(samples, n, high, MakeGenerator(model.seed, stream));
    values.push_back(at::constant_pad_nd(x, {0, 1}));
    labels.push_back(Labels(model.task, x));
  }
  return {at::stack(values).to(device), at::stack(labels).to(device)};
}

std::vector<double> ToVector(const at::Tensor& tensor) {
  const at::Tensor cpu = tensor.to(at::kCPU, at::kDouble).contiguous();
  const double* data = cpu.const_data_ptr<double>();
  return std::vector<double>(data, data + cpu.numel());
}

// [models], recording gradients.
at::Tensor Losses(const Network& network, const at::Tensor& values,
                  const at::Tensor& labels) {
  // A GPU needs more parallelism in the weight gradients than models alone
  // give: a part for each position has `batch` rows.
  const int64_t chunks = values.is_cuda() ? values.size(2) : 1;
  const at::Tensor predicted =
      network.ForwardFolded(values, chunks).narrow(2, 0, labels.size(2));
  return at::mse_loss(predicted, labels, /*reduction=none*/ 0).mean({1, 2});
}

// The loop's state between two updates.
class Epochs {
 public:
  Epochs(const TrainingConfig& config, std::vector<Model> models, Dataset data,
         const Network* network, Optimizer* optimizer)
      : config_(config),
        models_(std::move(models)),
        data_(std::move(data)),
        network_(network),
        optimizer_(optimizer),
        plateau_(optimizer->rates(),
                 {/*factor=*/0.9, config.patience, /*threshold=*/1e-4,
                  /*min_rate=*/1e-6}),
        loss_sums_(at::zeros({static_cast<int64_t>(models_.size())},
                             data_.values.options())) {}

  int64_t batches() const { return config_.train_samples / config_.batch; }
  ReduceOnPlateau* plateau() { return &plateau_; }
  // Of the losses of the present epoch's batches: [models].
  at::Tensor loss_sums() const { return loss_sums_; }

  at::Tensor Loss(int64_t step) {
    const int64_t batch = step % batches();
    if (batch == 0) {
      if (step > 0 && !config_.cosine) {
        plateau_.Step(ToVector(loss_sums_));
        // SetRates copies to the device, so only where something changed.
        if (plateau_.rates() != optimizer_->rates()) {
          optimizer_->SetRates(plateau_.rates());
        }
      }
      loss_sums_.zero_();
    }
    if (batch == 0 || !shuffled_.values.defined()) Shuffle(step / batches());
    const auto part = [&](const at::Tensor& t) {
      return t.narrow(1, batch * config_.batch, config_.batch);
    };
    const at::Tensor losses =
        Losses(*network_, part(shuffled_.values), part(shuffled_.labels));
    loss_sums_.add_(losses.detach());
    return losses.sum();
  }

 private:
  void Shuffle(int64_t epoch) {
    const int64_t samples = config_.train_samples;
    const at::Device device = data_.values.device();
    std::vector<at::Tensor> rows;
    for (size_t m = 0; m < models_.size(); ++m) {
      const at::Generator generator = MakeGenerator(
          MixSeed(models_[m].seed, kShuffleStream), epoch, device);
      rows.push_back(at::randperm(samples, generator,
                                  at::TensorOptions(device).dtype(at::kLong)) +
                     static_cast<int64_t>(m) * samples);
    }
    const at::Tensor index = at::cat(rows);
    const auto select = [&](const at::Tensor& t) {
      return t.flatten(0, 1).index_select(0, index).view(t.sizes());
    };
    shuffled_ = {select(data_.values), select(data_.labels)};
  }

  const TrainingConfig& config_;
  const std::vector<Model> models_;
  const Dataset data_;
  Dataset shuffled_;
  const Network* network_;
  Optimizer* optimizer_;
  ReduceOnPlateau plateau_;
  at::Tensor loss_sums_;
};

absl::Status Validate(const TrainingConfig& config) {
  if (config.tasks.empty() || config.seeds.empty()) {
    return absl::InvalidArgumentError("training needs a task and a seed");
  }
  if (config.batch < 1 || config.train_samples < config.batch ||
      config.train_samples % config.batch != 0 || config.epochs < 1 ||
      config.test_samples < 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "training needs epochs and test samples, and a batch that divides the "
        "training samples: ",
        config.ToString()));
  }
  return absl::OkStatus();
}

}  // namespace

std::string TrainingConfig::ToString() const {
  std::vector<std::string> names;
  for (const Task task : tasks) names.push_back(TaskName(task));
  return absl::StrCat(
      network.architecture == Architecture::kPositional ? "positional"
                                                        : "standard",
      " n=", network.n, " layers=", network.num_layers(), " dim=", network.dim,
      " heads=", network.heads, " mlp_hidden=", network.mlp_hidden,
      " tasks=", absl::StrJoin(names, ","),
      " seeds=", absl::StrJoin(seeds, ","), " train_samples=", train_samples,
      " batch=", batch, " epochs=", epochs, " rate=", rate,
      cosine ? " cosine" : absl::StrCat(" patience=", patience));
}

at::Tensor MeanSquaredErrors(const Network& network, const at::Tensor& values,
                             const at::Tensor& labels) {
  const at::NoGradGuard no_grad;
  return Losses(network, values, labels);
}

absl::StatusOr<std::vector<std::vector<Errors>>> TrainAndTest(
    const TrainingConfig& config, c10::Device device,
    const TrainingHooks& hooks) {
  REPRO_RETURN_IF_ERROR(Validate(config));
  const std::vector<Model> models = Models(config);
  const int64_t n = config.network.n;

  std::vector<Initializer> inits;
  for (const Model& model : models) {
    inits.emplace_back(MakeGenerator(model.seed, kWeightStream));
  }
  Network network(config.network, inits);
  network.To(device);
  AdamOptions adam;
  adam.rate = config.rate;
  const std::unique_ptr<Optimizer> optimizer =
      MakeStackedAdam(network.Parameters(),
                      std::vector<double>(models.size(), config.rate), adam);
  Epochs epochs(
      config, models,
      Draw(models, config.train_samples, n, kTrainHigh, kTrainStream, device),
      &network, optimizer.get());

  TrainOptions options;
  options.num_steps = config.epochs * epochs.batches();
  if (config.cosine) {
    options.rate =
        WarmupCosineRate(config.rate, /*warmup_steps=*/0, options.num_steps);
  }
  options.checkpoint_path = hooks.checkpoint_path;
  options.checkpoint_seconds = 30;
  options.identity = config.ToString();
  options.log_every = 10 * epochs.batches();
  options.progress = hooks.progress;
  options.cancelled = hooks.cancelled;
  TrainState state;
  state.model = &network;
  state.optimizer = optimizer.get();
  state.plateaus = {epochs.plateau()};
  state.extra = {{"loss_sums", epochs.loss_sums()}};
  REPRO_ASSIGN_OR_RETURN(
      const TrainResult trained,
      Train(options, state, [&](int64_t step) { return epochs.Loss(step); }));
  if (trained.cancelled) {
    return absl::CancelledError(absl::StrCat("training stopped after ",
                                             trained.steps, " of ",
                                             options.num_steps, " steps"));
  }

  std::vector<std::vector<Errors>> errors(
      config.tasks.size(), std::vector<Errors>(config.seeds.size()));
  const auto fill = [&](const at::Tensor& values, const auto& set) {
    const std::vector<double> all = ToVector(values);
    for (size_t m = 0; m < all.size(); ++m) {
      set(errors[m / config.seeds.size()][m % config.seeds.size()], all[m]);
    }
  };
  const auto measure = [&](double high, uint64_t stream) {
    const Dataset data =
        Draw(models, config.test_samples, n, high, stream, device);
    return MeanSquaredErrors(network, data.values, data.labels);
  };
  fill(epochs.loss_sums() / epochs.batches(),
       [](Errors& e, double mse) { e.train_mse = mse; });
  fill(measure(kTrainHigh, kValidationStream),
       [](Errors& e, double mse) { e.val_mse = mse; });
  for (const int c : config.scales) {
    fill(measure(c * kTrainHigh, kTestStream + c),
         [c](Errors& e, double mse) { e.test_mse[c] = mse; });
  }
  return errors;
}

}  // namespace repro::positional_attention
