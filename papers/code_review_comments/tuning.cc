#include "papers/code_review_comments/tuning.h"

#include <ATen/TensorOperators.h>
#include <c10/util/Exception.h>

#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/count/parameters.h"
#include "common/status/macros.h"
#include "common/tensor/generator.h"
#include "common/train/language_model.h"
#include "common/train/optimizer.h"
#include "common/train/schedule.h"
#include "common/train/trainer.h"

namespace repro::code_review_comments {
namespace {

// Streams of a seed.
constexpr uint64_t kWeights = 0;
constexpr uint64_t kAdapters = 1;

// Held-out windows that are evaluated at a time.
constexpr int64_t kHeldOutBatch = 32;

struct Stage {
  std::string name;
  const at::Tensor* text;
  int64_t steps;
  double rate;
  uint64_t seed;
};

// Trains by AdamW with a tenth of the steps for the rise of the rate and a
// cosine to 0; the loss on the held-out windows.
absl::StatusOr<double> TrainStage(Decoder& decoder, const Stage& stage,
                                  const at::Tensor& held_out,
                                  const TuningOptions& options,
                                  const GridCell& cell) {
  AdamOptions adam;
  adam.rate = stage.rate;
  adam.beta2 = 0.95;
  const auto optimizer = MakeAdamW(decoder.Parameters(), adam);
  const auto logits = [&](const at::Tensor& tokens) {
    return decoder.Forward(tokens);
  };
  TrainOptions train;
  train.num_steps = stage.steps;
  train.rate =
      WarmupCosineRate(stage.rate, (stage.steps + 9) / 10, stage.steps);
  train.clip_norm = 1;
  train.log_every = 20;
  train.progress = [&](int64_t done, int64_t total, const std::string& text) {
    if (cell.progress) {
      cell.progress(done, total, absl::StrCat(stage.name, ", ", text));
    }
  };
  train.cancelled = cell.cancelled;
  TrainState state;
  state.model = &decoder;
  state.optimizer = optimizer.get();
  REPRO_ASSIGN_OR_RETURN(
      const TrainResult result,
      Train(
          train, state,
          [&](int64_t step) {
            return NextTokenLoss(
                logits, RandomWindows(*stage.text, options.batch_size,
                                      options.seq_len + 1, stage.seed, step));
          },
          [&](int64_t) -> Metrics {
            return {{"loss",
                     EvaluateLanguageModel(logits, held_out, kHeldOutBatch)}};
          }));
  if (result.cancelled) {
    return absl::CancelledError(absl::StrCat("stopped in ", stage.name));
  }
  return result.last.at("loss");
}

double SquaredError(const Decoder& decoder, FourBitType type) {
  QuantizationOptions options;
  options.type = type;
  double error = 0;
  for (const at::Tensor& weight : decoder.ProjectionWeights()) {
    const at::Tensor difference =
        (QuantizedTensor(weight, options).Dequantize() - weight.detach())
            .to(at::kDouble);
    error += (difference * difference).sum().item<double>();
  }
  return error;
}

absl::StatusOr<TuningOutcome> TuneAll(const TuningData& data,
                                      const TuningOptions& options,
                                      c10::Device device,
                                      const GridCell& cell) {
  const at::TensorOptions float_options =
      at::TensorOptions(at::kFloat).device(device);
  const at::Tensor held_out =
      EvenWindows(data.held_out, options.held_out_windows, options.seq_len + 1);
  Decoder base(options.decoder,
               Initializer(MakeGenerator(cell.seed, kWeights), float_options));
  TuningOutcome outcome;
  REPRO_ASSIGN_OR_RETURN(
      outcome.base,
      TrainStage(base,
                 {"pretraining", &data.pretraining, options.pretraining_steps,
                  options.pretraining_rate, MixSeed(cell.seed, 0)},
                 held_out, options, cell));
  outcome.int4_over_nf4_error = SquaredError(base, FourBitType::kInt4) /
                                SquaredError(base, FourBitType::kNf4);
  // All adapters of a seed begin with the same numbers.
  const auto tune =
      [&](const std::string& name,
          const std::optional<LoraOptions>& lora) -> absl::StatusOr<double> {
    Decoder decoder(
        base, lora,
        Initializer(MakeGenerator(cell.seed, kAdapters), float_options));
    if (lora.has_value()) {
      outcome.trained_share = static_cast<double>(CountParameters(decoder)) /
                              static_cast<double>(CountParameters(base));
    }
    return TrainStage(decoder,
                      {name, &data.tuning, options.tuning_steps,
                       lora.has_value() ? options.lora_rate : options.full_rate,
                       MixSeed(cell.seed, 1)},
                      held_out, options, cell);
  };
  REPRO_ASSIGN_OR_RETURN(outcome.full, tune("full", std::nullopt));
  LoraOptions lora;
  lora.rank = options.rank;
  lora.alpha = options.alpha;
  REPRO_ASSIGN_OR_RETURN(outcome.lora, tune("lora", lora));
  lora.quantization.emplace();
  REPRO_ASSIGN_OR_RETURN(outcome.lora_nf4, tune("lora_nf4", lora));
  lora.quantization->type = FourBitType::kInt4;
  REPRO_ASSIGN_OR_RETURN(outcome.lora_int4, tune("lora_int4", lora));
  return outcome;
}

}  // namespace

std::string InstructionText(absl::string_view patch,
                            absl::string_view comment) {
  return absl::StrCat("### Instruction:\nReview this change.\n### Input:\n",
                      patch, "\n### Output:\n", comment, "\n",
                      absl::string_view("\0", 1));
}

absl::StatusOr<TuningData> MakeTuningData(
    const std::vector<PatchItem>& patches,
    const std::vector<PredictedItem>& items) {
  if (patches.size() < 5 || items.size() <= patches.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        patches.size(), " patches and ", items.size(),
        " items: expected at least 5 patches and more items than patches"));
  }
  const size_t fifth = patches.size() / 5;
  std::string pretraining, tuning, held_out;
  const size_t comments = items.size() - patches.size();
  for (size_t i = 0; i < 2 * fifth; ++i) {
    absl::StrAppend(&pretraining, patches[i].patch, "\n");
    // The comments are spread evenly over the patches.
    for (size_t j = i * comments / (2 * fifth);
         j < (i + 1) * comments / (2 * fifth); ++j) {
      absl::StrAppend(&pretraining, items[patches.size() + j].gold, "\n");
    }
  }
  for (size_t i = 2 * fifth; i < patches.size(); ++i) {
    absl::StrAppend(i < 4 * fifth ? &tuning : &held_out,
                    InstructionText(patches[i].patch, patches[i].gold));
  }
  return TuningData{ByteTokens(pretraining), ByteTokens(tuning),
                    ByteTokens(held_out)};
}

absl::StatusOr<std::vector<TuningOutcome>> CompareTuning(
    const TuningData& data, const TuningOptions& options, c10::Device device,
    Grid grid) {
  const TuningData on_device = {data.pretraining.to(device),
                                data.tuning.to(device),
                                data.held_out.to(device)};
  const std::string name = "tuning";
  grid.names = {name};
  REPRO_ASSIGN_OR_RETURN(
      const GridOutcomes numbers,
      TrainGrid(
          grid,
          [&](const GridCell& cell) -> absl::StatusOr<std::vector<double>> {
            try {
              REPRO_ASSIGN_OR_RETURN(const TuningOutcome o,
                                     TuneAll(on_device, options, device, cell));
              return std::vector<double>{o.base,
                                         o.full,
                                         o.lora,
                                         o.lora_nf4,
                                         o.lora_int4,
                                         o.trained_share,
                                         o.int4_over_nf4_error};
            } catch (const c10::Error& error) {
              return absl::InternalError(
                  absl::StrCat("tuning, seed ", cell.seed, ": ",
                               error.what_without_backtrace()));
            }
          }));
  std::vector<TuningOutcome> outcomes;
  for (const std::vector<double>& v : numbers.at(name)) {
    outcomes.push_back(
        {v.at(0), v.at(1), v.at(2), v.at(3), v.at(4), v.at(5), v.at(6)});
  }
  return outcomes;
}

}  // namespace repro::code_review_comments
