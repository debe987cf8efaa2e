#include "papers/flowformer/training.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randperm.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/nn/initializer.h"
#include "common/status/macros.h"
#include "common/tensor/generator.h"
#include "common/train/optimizer.h"
#include "common/train/trainer.h"

namespace repro::flowformer {
namespace {

// Streams of a seed.
constexpr uint64_t kWeights = 0;
constexpr uint64_t kDropout = 1;
constexpr uint64_t kBatches = 1 << 20;  // plus the epoch or step

constexpr int64_t kEvaluationBatch = 256;

// The rows of each step's batch: every epoch a new order of all rows.
class EpochBatches {
 public:
  EpochBatches(int64_t rows, int64_t batch_size, const RunContext& context)
      : rows_(rows), batch_size_(batch_size), context_(context) {}

  int64_t steps_per_epoch() const {
    return (rows_ + batch_size_ - 1) / batch_size_;
  }

  // int64 [at most batch_size], on the run's device.
  at::Tensor At(int64_t step) {
    const int64_t epoch = step / steps_per_epoch();
    if (epoch != epoch_) {
      epoch_ = epoch;
      order_ =
          at::randperm(rows_, MakeGenerator(context_.seed, kBatches + epoch),
                       at::kLong)
              .to(context_.device);
    }
    const int64_t begin = step % steps_per_epoch() * batch_size_;
    return order_.narrow(0, begin, std::min(batch_size_, rows_ - begin));
  }

 private:
  const int64_t rows_;
  const int64_t batch_size_;
  const RunContext& context_;
  int64_t epoch_ = -1;
  at::Tensor order_;
};

// The share of rows whose largest logit is their label's.
template <typename Logits>
double MeasureAccuracy(const at::Tensor& labels, const Logits& logits) {
  at::Tensor correct = at::zeros({}, labels.options());
  for (int64_t begin = 0; begin < labels.numel(); begin += kEvaluationBatch) {
    const int64_t size = std::min(kEvaluationBatch, labels.numel() - begin);
    correct +=
        (logits(begin, size).argmax(1) == labels.narrow(0, begin, size)).sum();
  }
  return correct.item<double>() / static_cast<double>(labels.numel());
}

void Connect(const RunContext& context, const std::string& what,
             TrainOptions& options) {
  options.checkpoint_path = context.checkpoint_path;
  options.identity = absl::StrCat(what, ", seed ", context.seed);
  options.progress = context.progress;
  options.cancelled = context.cancelled;
}

absl::StatusOr<TrainResult> Finish(absl::StatusOr<TrainResult> result) {
  if (result.ok() && result->cancelled) {
    return absl::CancelledError("stopped in the middle of a training run");
  }
  return result;
}

Initializer Weights(const RunContext& context) {
  return Initializer(MakeGenerator(context.seed, kWeights));
}

}  // namespace

absl::StatusOr<Accuracy> TrainSeriesClassifier(const SeriesProblem& problem,
                                               const AttentionChoice& attention,
                                               SeriesTraining options,
                                               const RunContext& context) {
  options.model.features = problem.features;
  options.model.max_len = problem.max_len;
  options.model.classes = problem.classes;
  options.model.attention = attention;
  SeriesClassifier model(options.model, Weights(context));
  model.To(context.device);
  AdamOptions adam;
  adam.rate = options.rate;
  const auto optimizer = MakeRAdam(model.Parameters(), adam);
  const at::Generator dropout =
      MakeGenerator(context.seed, kDropout, context.device);
  EpochBatches batches(problem.train.labels.numel(), options.batch_size,
                       context);

  TrainOptions train;
  train.num_steps = options.epochs * batches.steps_per_epoch();
  train.clip_norm = options.clip_norm;
  train.evaluate_every = options.evaluate_every * batches.steps_per_epoch();
  train.selection_metric = "accuracy";
  train.higher_is_better = true;
  train.log_every = batches.steps_per_epoch();
  Connect(context, absl::StrCat("series classifier, ", train.num_steps), train);
  TrainState state;
  state.model = &model;
  state.optimizer = optimizer.get();
  state.generators = {dropout};

  const auto loss = [&](int64_t step) {
    const at::Tensor rows = batches.At(step);
    const SeriesSet& set = problem.train;
    return at::cross_entropy_loss(
        model.Forward(set.x.index_select(0, rows),
                      set.mask.index_select(0, rows), dropout),
        set.labels.index_select(0, rows));
  };
  const auto evaluate = [&](int64_t) -> Metrics {
    const SeriesSet& set = problem.test;
    return {{"accuracy",
             MeasureAccuracy(set.labels, [&](int64_t begin, int64_t size) {
               return model.Forward(set.x.narrow(0, begin, size),
                                    set.mask.narrow(0, begin, size), dropout);
             })}};
  };
  REPRO_ASSIGN_OR_RETURN(TrainResult result,
                         Finish(Train(train, state, loss, evaluate)));
  return Accuracy{result.best["accuracy"], result.last["accuracy"]};
}

CharData IndexCharacters(const std::string& text) {
  const std::set<char> distinct(text.begin(), text.end());
  const std::vector<char> sorted(distinct.begin(), distinct.end());
  CharData data;
  data.vocabulary = sorted.size();
  data.tokens = at::zeros({static_cast<int64_t>(text.size())}, at::kLong);
  int64_t* out = data.tokens.data_ptr<int64_t>();
  for (const char c : text) {
    *out++ = std::lower_bound(sorted.begin(), sorted.end(), c) - sorted.begin();
  }
  return data;
}

absl::StatusOr<double> TrainCharGpt(const CharData& data,
                                    const AttentionChoice& attention,
                                    const CharGptTraining& options,
                                    const RunContext& context) {
  REPRO_ASSIGN_OR_RETURN(
      GptConfig config,
      GptConfig::Named(options.size, data.vocabulary, options.block_size));
  config.attention = attention;
  const int64_t length = data.tokens.numel();
  const int64_t split = length * 9 / 10;
  // A window is block_size inputs and the character after the last.
  const int64_t last_start = length - options.block_size - 1;
  if (last_start < split) {
    return absl::InvalidArgumentError(
        absl::StrCat("char GPT: a text of ", length,
                     " characters is too short for blocks "
                     "of ",
                     options.block_size));
  }
  FlowGpt model(config, Weights(context));
  model.To(context.device);
  AdamOptions adam;
  adam.rate = options.rate;
  adam.beta2 = 0.95;
  const auto optimizer = MakeAdamW(model.Parameters(), adam);
  const at::Generator dropout =
      MakeGenerator(context.seed, kDropout, context.device);
  const at::Tensor tokens = data.tokens.to(context.device);
  const at::Tensor offsets =
      at::arange(options.block_size + 1, tokens.options());

  const auto mean_loss = [&](const at::Tensor& starts) {
    const at::Tensor windows =
        tokens.index({starts.to(context.device).unsqueeze(1) + offsets});
    const at::Tensor logits =
        model.Forward(windows.narrow(1, 0, options.block_size), dropout);
    return at::cross_entropy_loss(
        logits.flatten(0, 1),
        windows.narrow(1, 1, options.block_size).flatten());
  };

  TrainOptions train;
  train.num_steps = options.steps;
  train.clip_norm = options.clip_norm;
  train.log_every = 50;
  Connect(context, absl::StrCat("char GPT ", options.size), train);
  TrainState state;
  state.model = &model;
  state.optimizer = optimizer.get();
  state.generators = {dropout};
  const auto evaluate = [&](int64_t) -> Metrics {
    const int64_t count = options.validation_windows, batch = 64;
    double sum = 0;
    for (int64_t begin = 0; begin < count; begin += batch) {
      const int64_t size = std::min(batch, count - begin);
      const at::Tensor starts = at::arange(begin, begin + size, at::kLong) *
                                    (last_start - split) / count +
                                split;
      sum += mean_loss(starts.to(at::kLong)).item<double>() * size;
    }
    return {{"loss", sum / count}};
  };
  REPRO_ASSIGN_OR_RETURN(
      TrainResult result,
      Finish(Train(
          train, state,
          [&](int64_t step) {
            return mean_loss(at::randint(
                split - options.block_size, {options.batch_size},
                MakeGenerator(context.seed, kBatches + step), at::kLong));
          },
          evaluate)));
  return result.last["loss"];
}

ListOpsData MakeListOpsData(const ListOpsTraining& options, uint64_t seed,
                            c10::Device device) {
  std::mt19937_64 random(seed);
  const std::vector<ListOpsExample> examples = DrawListOpsSet(
      options.task, options.train_examples + options.test_examples, random);
  const int64_t count = examples.size();
  at::Tensor tokens =
      at::zeros({count, options.task.max_length - 1}, at::kLong);
  at::Tensor values = at::zeros({count}, at::kLong);
  auto t = tokens.accessor<int64_t, 2>();
  auto v = values.accessor<int64_t, 1>();
  for (int64_t i = 0; i < count; ++i) {
    v[i] = examples[i].value;
    for (size_t j = 0; j < examples[i].tokens.size(); ++j) {
      t[i][j] = examples[i].tokens[j];
    }
  }
  const auto part = [&](const at::Tensor& x, int64_t begin, int64_t size) {
    return x.narrow(0, begin, size).to(device);
  };
  return {part(tokens, 0, options.train_examples),
          part(values, 0, options.train_examples),
          part(tokens, options.train_examples, options.test_examples),
          part(values, options.train_examples, options.test_examples)};
}

absl::StatusOr<Accuracy> TrainListOps(const ListOpsData& data,
                                      const AttentionChoice& attention,
                                      const ListOpsTraining& options,
                                      const RunContext& context) {
  SequenceClassifierConfig config = options.model;
  config.vocabulary = kListOpsVocabulary;
  config.max_len = data.train_tokens.size(1);
  config.attention = attention;
  SequenceClassifier model(config, Weights(context));
  model.To(context.device);
  AdamOptions adam;
  adam.beta2 = 0.98;
  adam.weight_decay = options.weight_decay;
  const auto optimizer = MakeAdamW(model.Parameters(), adam);
  const at::Generator dropout =
      MakeGenerator(context.seed, kDropout, context.device);
  EpochBatches batches(data.train_values.numel(), options.batch_size, context);

  TrainOptions train;
  train.num_steps = options.steps;
  // That factor at its peak is rate_factor / sqrt(warmup).
  train.rate = InverseSquareRootRate(
      options.rate_factor / std::sqrt(static_cast<double>(options.warmup)),
      options.warmup);
  train.evaluate_every = std::max<int64_t>(1, options.steps / 10);
  train.selection_metric = "accuracy";
  train.higher_is_better = true;
  train.log_every = 100;
  Connect(context, "ListOps", train);
  TrainState state;
  state.model = &model;
  state.optimizer = optimizer.get();
  state.generators = {dropout};
  const auto loss = [&](int64_t step) {
    const at::Tensor rows = batches.At(step);
    return at::cross_entropy_loss(
        model.Forward(data.train_tokens.index_select(0, rows), dropout),
        data.train_values.index_select(0, rows));
  };
  const auto evaluate = [&](int64_t) -> Metrics {
    return {{"accuracy", MeasureAccuracy(data.test_values, [&](int64_t begin,
                                                               int64_t size) {
               return model.Forward(data.test_tokens.narrow(0, begin, size),
                                    dropout);
             })}};
  };
  REPRO_ASSIGN_OR_RETURN(TrainResult result,
                         Finish(Train(train, state, loss, evaluate)));
  return Accuracy{result.best["accuracy"], result.last["accuracy"]};
}

}  // namespace repro::flowformer
