#include "common/train/language_model.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/nn/recompute.h"
#include "common/status/macros.h"
#include "common/tensor/generator.h"
#include "common/train/schedule.h"
#include "common/train/trainer.h"

namespace repro {
namespace {

// Streams of a seed: those of weights are small numbers.
constexpr uint64_t kBatches = uint64_t{1} << 32;  // plus the step

// [count, length]: tokens from each of `starts` [count] on.
at::Tensor Windows(const at::Tensor& tokens, const at::Tensor& starts,
                   int64_t length) {
  return tokens.index({starts.to(tokens.device()).unsqueeze(1) +
                       at::arange(length, tokens.options())});
}

void CheckWindows(const at::Tensor& tokens, int64_t count, int64_t length) {
  TORCH_CHECK(tokens.dim() == 1 && tokens.scalar_type() == at::kLong,
              "tokens: expected a vector of int64, got ", tokens.sizes(), " ",
              tokens.dtype());
  TORCH_CHECK(count >= 1 && length >= 1 && length <= tokens.size(0), count,
              " windows of ", length, " from ", tokens.size(0), " tokens");
}

at::Tensor TokenLoss(const at::Tensor& logits, const at::Tensor& targets,
                     at::Reduction::Reduction reduction) {
  return at::cross_entropy_loss(logits.flatten(0, -2).to(at::kFloat),
                                targets.flatten(), {}, reduction);
}

}  // namespace

TextDataset TextDataset::To(c10::Device device) const {
  return {train.to(device), valid.to(device), vocab_size};
}

at::Tensor ByteTokens(absl::string_view text) {
  at::Tensor tokens = at::empty({static_cast<int64_t>(text.size())}, at::kLong);
  std::transform(text.begin(), text.end(), tokens.data_ptr<int64_t>(),
                 [](char c) { return static_cast<unsigned char>(c); });
  return tokens;
}

TextDataset MakeTextDataset(absl::string_view text, TextUnit unit,
                            double valid_fraction) {
  TORCH_CHECK(valid_fraction >= 0 && valid_fraction <= 1, "valid_fraction ",
              valid_fraction, ", expected 0 to 1");
  TextDataset data;
  at::Tensor tokens = ByteTokens(text);
  data.vocab_size = 256;
  if (unit == TextUnit::kCharacter) {
    const std::set<unsigned char> distinct(text.begin(), text.end());
    at::Tensor index = at::zeros({256}, at::kLong);
    data.vocab_size = 0;
    for (const unsigned char c : distinct) index[c] = data.vocab_size++;
    tokens = index.index_select(0, tokens);
  }
  const int64_t length = tokens.size(0);
  const int64_t valid =
      static_cast<int64_t>(std::llround(valid_fraction * length));
  data.train = tokens.narrow(0, 0, length - valid);
  data.valid = tokens.narrow(0, length - valid, valid);
  return data;
}

at::Tensor RandomWindows(const at::Tensor& tokens, int64_t batch_size,
                         int64_t length, uint64_t seed, int64_t step) {
  CheckWindows(tokens, batch_size, length);
  return Windows(tokens,
                 at::randint(tokens.size(0) - length + 1, {batch_size},
                             MakeGenerator(seed, kBatches + step), at::kLong),
                 length);
}

at::Tensor EvenWindows(const at::Tensor& tokens, int64_t count,
                       int64_t length) {
  CheckWindows(tokens, count, length);
  const int64_t last = tokens.size(0) - length;
  return Windows(
      tokens,
      (at::arange(count, at::kLong) * last)
          .div(std::max<int64_t>(count - 1, 1), /*rounding_mode=*/"floor"),
      length);
}

at::Tensor NextTokenLoss(const LogitsFunction& logits,
                         const at::Tensor& windows) {
  TORCH_CHECK(windows.dim() == 2 && windows.size(1) >= 2,
              "windows: expected [batch, length] with length >= 2, got ",
              windows.sizes());
  const int64_t length = windows.size(1) - 1;
  return TokenLoss(logits(windows.narrow(1, 0, length)),
                   windows.narrow(1, 1, length), at::Reduction::Mean);
}

at::Tensor PiecewiseTokenLoss(
    const at::Tensor& features, const at::Tensor& targets,
    const std::function<at::Tensor(const at::Tensor&)>& head, int64_t piece) {
  TORCH_CHECK(features.dim() == 3 &&
                  features.sizes().slice(0, 2) == targets.sizes() &&
                  targets.numel() > 0,
              "features ", features.sizes(), " and targets ", targets.sizes(),
              ": expected [batch, seq_len, dim] and [batch, seq_len]");
  TORCH_CHECK(piece >= 1, "piece ", piece, ", expected at least 1");
  const at::Tensor rows = features.flatten(0, 1);
  const at::Tensor flat_targets = targets.flatten();
  const int64_t tokens = rows.size(0);
  at::Tensor sum;
  for (int64_t begin = 0; begin < tokens; begin += piece) {
    const int64_t size = std::min(piece, tokens - begin);
    const at::Tensor piece_targets = flat_targets.narrow(0, begin, size);
    const at::Tensor loss = Recompute(
        [head, piece_targets](const at::Tensor& x) {
          return TokenLoss(head(x), piece_targets, at::Reduction::Sum);
        },
        rows.narrow(0, begin, size));
    sum = sum.defined() ? sum + loss : loss;
  }
  return sum / tokens;
}

double EvaluateLanguageModel(const LogitsFunction& logits,
                             const at::Tensor& windows, int64_t batch_size) {
  TORCH_CHECK(batch_size >= 1 && windows.dim() == 2 && windows.size(0) >= 1,
              "windows ", windows.sizes(), " in batches of ", batch_size,
              ": expected [count, length] and at least 1 of each");
  const at::NoGradGuard no_grad;
  double sum = 0;
  const int64_t count = windows.size(0);
  for (int64_t begin = 0; begin < count; begin += batch_size) {
    const int64_t size = std::min(batch_size, count - begin);
    sum += size *
           NextTokenLoss(logits, windows.narrow(0, begin, size)).item<double>();
  }
  return sum / count;
}

double Perplexity(double nats) { return std::exp(nats); }

double Bits(double nats) { return nats / std::log(2.0); }

absl::StatusOr<LanguageModelOutcomes> CompareLanguageModels(
    const TextDataset& data, const LanguageModelTraining& training,
    const std::vector<NamedLanguageModel>& models, Grid grid) {
  const int64_t window = training.seq_len + 1;
  if (training.seq_len < 1 || training.batch_size < 1 ||
      training.valid_windows < 1 || training.valid_batch_size < 1 ||
      data.train.numel() < window || data.valid.numel() < window) {
    return absl::InvalidArgumentError(absl::StrCat(
        "language models: ", training.batch_size, " windows of ",
        training.seq_len, " predictions from ", data.train.numel(), " tokens, ",
        training.valid_windows, " in batches of ", training.valid_batch_size,
        " from ", data.valid.numel(),
        " tokens for validation: there must be at least one window of each"));
  }
  if (training.warmup_steps < 0 || training.warmup_steps >= training.steps) {
    return absl::InvalidArgumentError(absl::StrCat(
        "language models: ", training.warmup_steps, " warm-up steps of ",
        training.steps, " steps: expected fewer than all"));
  }
  grid.names.clear();
  for (const NamedLanguageModel& model : models) {
    grid.names.push_back(model.name);
  }
  REPRO_ASSIGN_OR_RETURN(
      const GridOutcomes numbers,
      TrainGrid(
          grid,
          [&](const GridCell& cell) -> absl::StatusOr<std::vector<double>> {
            const auto named = std::find_if(
                models.begin(), models.end(),
                [&](const auto& m) { return m.name == cell.name; });
            LanguageModel model;
            try {
              model = named->make(cell.seed);
            } catch (const c10::Error& error) {
              return absl::InternalError(
                  absl::StrCat("language model ", cell.name, ": ",
                               error.what_without_backtrace()));
            }
            const auto optimizer =
                MakeAdamW(model.module->Parameters(), training.adam);
            TrainOptions options;
            options.num_steps = training.steps;
            options.rate = WarmupCosineRate(
                training.adam.rate, training.warmup_steps, training.steps,
                /*start=*/0, training.final_rate);
            options.clip_norm = training.clip_norm;
            options.log_every = 20;
            options.checkpoint_path = cell.checkpoint_path;
            options.identity = absl::StrCat(
                cell.name, ", seed ", cell.seed, ", ", training.steps,
                " steps of ", training.batch_size, " x ", training.seq_len,
                ", rate ", training.adam.rate);
            options.progress = cell.progress;
            options.cancelled = cell.cancelled;
            TrainState state;
            state.model = model.module.get();
            state.optimizer = optimizer.get();
            // On the device: reading each step's loss would wait for it.
            const at::Tensor losses = at::zeros(
                {training.steps}, data.train.options().dtype(at::kFloat));
            state.extra = {{"losses", losses}};
            REPRO_ASSIGN_OR_RETURN(
                const TrainResult result,
                Train(
                    options, state,
                    [&](int64_t step) {
                      const at::Tensor loss = NextTokenLoss(
                          model.logits,
                          RandomWindows(data.train, training.batch_size, window,
                                        cell.seed, step));
                      losses[step].copy_(loss.detach());
                      return loss;
                    },
                    [&](int64_t) -> Metrics {
                      return {{"loss",
                               EvaluateLanguageModel(
                                   model.logits,
                                   EvenWindows(data.valid,
                                               training.valid_windows, window),
                                   training.valid_batch_size)}};
                    }));
            if (result.cancelled) {
              return absl::CancelledError(
                  absl::StrCat("stopped in the training of ", cell.name,
                               ", seed ", cell.seed));
            }
            const at::Tensor curve =
                losses.to(at::kCPU).to(at::kDouble).contiguous();
            std::vector<double> values = {result.last.at("loss")};
            values.insert(values.end(), curve.const_data_ptr<double>(),
                          curve.const_data_ptr<double>() + curve.numel());
            return values;
          }));
  LanguageModelOutcomes outcomes;
  for (const auto& [name, seeds] : numbers) {
    for (const std::vector<double>& values : seeds) {
      outcomes[name].push_back(
          {values.at(0),
           std::vector<double>(values.begin() + 1, values.end())});
    }
  }
  return outcomes;
}

}  // namespace repro
