// Forward passes and training steps of the encoders, in tokens a second, beside
// the floor: the same multiply-adds as one matrix product after another, at the
// speed that this machine reaches for a product of the layer's size.
//
// BM_TorchTransformer is the peer: a layer by LibTorch's own fused
// _transformer_encoder_layer_fwd, which has no backward.
#include "benchmark/benchmark.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_transformer_encoder_layer_fwd.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>

#include <string>

#include "common/count/flops.h"
#include "common/encoder/encoder_decoder.h"
#include "common/encoder/objectives.h"
#include "common/encoder/sequence_encoder.h"
#include "common/encoder/transformer_encoder.h"
#include "common/tensor/generator.h"
#include "common/train/optimizer.h"

namespace repro::encoder {
namespace {

constexpr int64_t kBatch = 32;
constexpr int64_t kLength = 128;
constexpr int64_t kVocab = 10000;

Initializer Init() { return Initializer(MakeGenerator(1)); }

at::Tensor Tokens() {
  return at::randint(2, kVocab, {kBatch, kLength}, MakeGenerator(2), at::kLong);
}
at::Tensor Mask() { return at::ones({kBatch, kLength}, at::kBool); }

// `multiply_adds` of one iteration.
void SetCounters(benchmark::State& state, int64_t multiply_adds) {
  state.SetItemsProcessed(state.iterations() * kBatch * kLength);
  state.counters["GFLOP/s"] = benchmark::Counter(
      2e-9 * static_cast<double>(multiply_adds * state.iterations()),
      benchmark::Counter::kIsRate);
}

// The floor's speed: [batch length, dim] by [dim, 4 dim].
void BM_MatrixProduct(benchmark::State& state) {
  at::NoGradGuard no_grad;
  const int64_t dim = state.range(0);
  const at::Tensor a =
      at::randn({kBatch * kLength, dim}, MakeGenerator(1), at::kFloat);
  const at::Tensor b = at::randn({dim, 4 * dim}, MakeGenerator(2), at::kFloat);
  for (auto _ : state) benchmark::DoNotOptimize(at::mm(a, b));
  SetCounters(state, kBatch * kLength * dim * 4 * dim);
}
BENCHMARK(BM_MatrixProduct)->Arg(128)->Arg(256)->Unit(benchmark::kMillisecond);

void BM_Forward(benchmark::State& state, const char* name) {
  at::NoGradGuard no_grad;
  SequenceEncoder model(*SequenceEncoderConfig::ByName(name, kVocab), Init());
  model.Train(false);
  const at::Tensor tokens = Tokens(), mask = Mask();
  const int64_t work = CountFlops(FlopConvention::kConvMatmul, [&] {
                         model.Forward(tokens, mask);
                       }).total;
  for (auto _ : state) benchmark::DoNotOptimize(model.Forward(tokens, mask));
  SetCounters(state, work);
}

void BM_TrainingStep(benchmark::State& state, const char* name) {
  SequenceEncoder model(*SequenceEncoderConfig::ByName(name, kVocab), Init(),
                        MakeGenerator(3));
  const auto optimizer = MakeAdam(model.Parameters(), AdamOptions());
  const at::Tensor tokens = Tokens(), mask = Mask();
  const int64_t work = CountFlops(FlopConvention::kConvMatmul, [&] {
                         model.Forward(tokens, mask);
                       }).total;
  for (auto _ : state) {
    optimizer->ZeroGradients();
    const at::Tensor v = model.Forward(tokens, mask);
    SoftmaxPairLoss(v, v).backward();
    optimizer->Step();
  }
  SetCounters(state, 3 * work);  // a backward is two products for each
}

#define ENCODER_BENCHMARKS(name)                                             \
  BENCHMARK_CAPTURE(BM_Forward, name, #name)->Unit(benchmark::kMillisecond); \
  BENCHMARK_CAPTURE(BM_TrainingStep, name, #name)->Unit(benchmark::kMillisecond)
ENCODER_BENCHMARKS(nbow);
BENCHMARK_CAPTURE(BM_Forward, cnn, "1dcnn")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_TrainingStep, cnn, "1dcnn")->Unit(benchmark::kMillisecond);
ENCODER_BENCHMARKS(rnn);
ENCODER_BENCHMARKS(selfatt);
ENCODER_BENCHMARKS(convselfatt);

constexpr int64_t kDim = 256;
constexpr int64_t kHeads = 8;
constexpr int64_t kLayers = 4;

TransformerConfig Config() {
  TransformerConfig config;
  config.vocab_size = kVocab;
  config.dim = kDim;
  config.num_layers = kLayers;
  config.num_heads = kHeads;
  config.ffn_dim = 4 * kDim;
  config.max_positions = kLength + 2;
  config.attention_dropout = 0;
  return config;
}

void BM_Transformer(benchmark::State& state) {
  at::NoGradGuard no_grad;
  TransformerEncoder model(Config(), Init());
  model.Train(false);
  const at::Tensor tokens = Tokens(), mask = Mask();
  const int64_t work = CountFlops(FlopConvention::kConvMatmul, [&] {
                         model.Forward(tokens, mask);
                       }).total;
  for (auto _ : state) benchmark::DoNotOptimize(model.Forward(tokens, mask));
  SetCounters(state, work);
}
BENCHMARK(BM_Transformer)->Unit(benchmark::kMillisecond);

void BM_TorchTransformer(benchmark::State& state) {
  at::NoGradGuard no_grad;
  const auto draw = [](at::IntArrayRef shape) {
    return at::randn(shape, MakeGenerator(1), at::kFloat) * 0.02;
  };
  const at::Tensor x = draw({kBatch, kLength, kDim});
  const at::Tensor qkv = draw({3 * kDim, kDim}), qkv_bias = draw({3 * kDim});
  const at::Tensor out = draw({kDim, kDim}), bias = draw({kDim});
  const at::Tensor one = at::ones({kDim}), zero = at::zeros({kDim});
  const at::Tensor up = draw({4 * kDim, kDim}), up_bias = draw({4 * kDim});
  const at::Tensor down = draw({kDim, 4 * kDim});
  for (auto _ : state) {
    at::Tensor h = x;
    for (int64_t i = 0; i < kLayers; ++i) {
      h = at::_transformer_encoder_layer_fwd(
          h, kDim, kHeads, qkv, qkv_bias, out, bias, /*use_gelu=*/true,
          /*norm_first=*/false, 1e-5, one, zero, one, zero, up, up_bias, down,
          bias);
    }
    benchmark::DoNotOptimize(h);
  }
  SetCounters(state, kBatch * kLength * kLayers *
                         (12 * kDim * kDim + 2 * kLength * kDim));
}
BENCHMARK(BM_TorchTransformer)->Unit(benchmark::kMillisecond);

void BM_MaskedLanguageModelStep(benchmark::State& state) {
  TransformerEncoder model(Config(), Init(), MakeGenerator(3));
  MaskedLanguageModelHead head(Config(), Init());
  std::vector<at::Tensor> parameters = model.Parameters();
  for (const at::Tensor& p : head.Parameters()) parameters.push_back(p);
  const auto optimizer = MakeAdam(parameters, AdamOptions());
  const at::Tensor tokens = Tokens(), mask = Mask();
  TokenMaskingOptions options;
  options.mask_id = 1;
  options.vocab_size = kVocab;
  at::Generator masking = MakeGenerator(4);
  for (auto _ : state) {
    const MaskedTokens masked = MaskTokens(tokens, mask, options, masking);
    const at::Tensor chosen = masked.labels != kIgnoredLabel;
    optimizer->ZeroGradients();
    TokenCrossEntropy(
        head.Forward(model.Forward(masked.inputs, mask).index({chosen}),
                     model.word_embedding()),
        masked.labels.index({chosen}))
        .backward();
    optimizer->Step();
  }
  state.SetItemsProcessed(state.iterations() * kBatch * kLength);
}
BENCHMARK(BM_MaskedLanguageModelStep)->Unit(benchmark::kMillisecond);

void BM_Generate(benchmark::State& state) {
  EncoderDecoder model(EncoderDecoderConfig::Tiny(kVocab), Init());
  GenerateOptions options;
  options.max_length = 32;
  options.num_beams = state.range(0);
  const at::Tensor tokens = Tokens(), mask = Mask();
  int64_t generated = 0;
  for (auto _ : state) {
    for (const Generated& text : model.Generate(tokens, mask, options)) {
      generated += static_cast<int64_t>(text.tokens.size());
    }
  }
  state.SetItemsProcessed(generated);
}
BENCHMARK(BM_Generate)->Arg(1)->Arg(4)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace repro::encoder
