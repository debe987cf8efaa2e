#include "papers/lightning_attention_2/training_speed.h"

#include <ATen/ops/randint.h>

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/count/timing.h"
#include "common/nn/initializer.h"
#include "common/tensor/generator.h"
#include "common/train/language_model.h"

namespace repro::lightning_attention_2 {
namespace {

// Logits of so many tokens at a time: 1 GB in float32 for 64,000 words.
constexpr int64_t kLossPiece = 4096;

Initializer Weights(c10::Device device) {
  return Initializer(MakeGenerator(/*seed=*/0, /*stream=*/0, device),
                     at::TensorOptions(device).dtype(at::kFloat));
}

template <typename Config>
Config ForTraining(Config config, c10::Device device) {
  config.recompute = true;
  if (device.is_cuda()) config.compute_dtype = at::kBFloat16;
  return config;
}

}  // namespace

absl::StatusOr<ModelPair> ModelPair::Named(absl::string_view size) {
  struct Row {
    const char* name;
    int64_t vocab_size, dim, num_layers, head_dim, glu_dim, swiglu_dim;
  };
  constexpr Row kRows[] = {
      {"tiny", 96, 64, 2, 32, 176, 197},
      {"0.4B", 64000, 1024, 24, 128, 2816, 3136},
      {"1B", 64000, 2048, 16, 128, 5632, 6336},
      {"3B", 64000, 2560, 32, 128, 7168, 8000},
  };
  for (const Row& row : kRows) {
    if (row.name != size) continue;
    ModelPair pair;
    pair.transnormer.vocab_size = pair.llama.vocab_size = row.vocab_size;
    pair.transnormer.dim = pair.llama.dim = row.dim;
    pair.transnormer.num_layers = pair.llama.num_layers = row.num_layers;
    pair.transnormer.num_heads = pair.llama.num_heads = row.dim / row.head_dim;
    pair.transnormer.tie_embeddings = pair.llama.tie_embeddings = true;
    pair.transnormer.glu_dim = row.glu_dim;
    pair.llama.ffn_dim = row.swiglu_dim;
    return pair;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("model size \"", size, "\": expected 0.4B, 1B or 3B"));
}

int64_t BatchSize(int64_t tokens, int64_t seq_len) {
  return std::max<int64_t>(1, (2 * tokens + seq_len) / (2 * seq_len));
}

TrainingSpeed::TrainingSpeed(const TransnormerConfig& config,
                             c10::Device device)
    : device_(device) {
  auto model = std::make_unique<Transnormer>(ForTraining(config, device),
                                             Weights(device));
  const Transnormer* raw = model.get();
  features_ = [raw](const at::Tensor& x) { return raw->Features(x); };
  logits_ = [raw](const at::Tensor& x) { return raw->Logits(x); };
  Start(std::move(model), config.vocab_size);
}

TrainingSpeed::TrainingSpeed(const LlamaConfig& config, c10::Device device)
    : device_(device) {
  auto model =
      std::make_unique<Llama>(ForTraining(config, device), Weights(device));
  const Llama* raw = model.get();
  features_ = [raw](const at::Tensor& x) { return raw->Features(x); };
  logits_ = [raw](const at::Tensor& x) { return raw->Logits(x); };
  Start(std::move(model), config.vocab_size);
}

TrainingSpeed::~TrainingSpeed() = default;

void TrainingSpeed::Start(std::unique_ptr<Module> model, int64_t vocab_size) {
  model_ = std::move(model);
  vocab_size_ = vocab_size;
  AdamOptions options;
  options.rate = 1e-4;
  options.beta2 = 0.95;
  options.weight_decay = 0.1;
  optimizer_ = MakeAdamW(model_->Parameters(), options);
}

std::vector<double> TrainingSpeed::TokensPerSecond(int64_t batch_size,
                                                   int64_t seq_len, int steps) {
  const at::Tensor windows =
      at::randint(vocab_size_, {batch_size, seq_len + 1},
                  MakeGenerator(/*seed=*/0, /*stream=*/1, device_),
                  at::TensorOptions(device_).dtype(at::kLong));
  TimingOptions options;
  options.warmup = 1;
  options.repetitions = steps;
  const Timing timing = MeasureTime(
      device_,
      [&] {
        optimizer_->ZeroGradients();
        PiecewiseTokenLoss(features_(windows.narrow(1, 0, seq_len)),
                           windows.narrow(1, 1, seq_len), logits_, kLossPiece)
            .backward();
        optimizer_->Step();
      },
      options);
  std::vector<double> rates;
  for (const double milliseconds : timing.milliseconds) {
    rates.push_back(1e3 * batch_size * seq_len / milliseconds);
  }
  return rates;
}

}  // namespace repro::lightning_attention_2
