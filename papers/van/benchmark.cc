// Forward time on the CPU: LKA beside an undecomposed depth-wise 21 x 21
// convolution and multi-head softmax attention, and VAN-B0 to B2.
#include "benchmark/benchmark.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/scaled_dot_product_attention.h>

#include <string>

#include "common/nn/attention.h"
#include "common/tensor/generator.h"
#include "papers/van/large_kernel_attention.h"
#include "papers/van/van.h"

namespace repro::van {
namespace {

constexpr int64_t kChannels = 64;  // stage 1 of VAN-B2
constexpr int64_t kHeads = 2;

at::Tensor Random(at::IntArrayRef shape) {
  return at::randn(shape, MakeGenerator(1), at::kFloat);
}

// One image of range(0) x range(0) positions.
void BM_Lka(benchmark::State& state, const std::string& variant) {
  at::NoGradGuard no_grad;
  const LargeKernelAttention lka(kChannels, *LkaConfig::Named(variant),
                                 Initializer(MakeGenerator(2)));
  const at::Tensor f = Random({1, kChannels, state.range(0), state.range(0)});
  for (auto _ : state) benchmark::DoNotOptimize(lka.Forward(f));
}

// The core alone, without projections.
void BM_Attention(benchmark::State& state) {
  at::NoGradGuard no_grad;
  const at::Tensor tokens = SplitHeads(
      Random({1, state.range(0) * state.range(0), kChannels}), kHeads);
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        at::scaled_dot_product_attention(tokens, tokens, tokens));
  }
}

// One image of 224 x 224.
void BM_Van(benchmark::State& state, const std::string& name) {
  at::NoGradGuard no_grad;
  Van model(*VanConfig::Named(name), Initializer(MakeGenerator(2)));
  model.Train(false);
  const at::Tensor image = Random({1, 3, 224, 224});
  for (auto _ : state) benchmark::DoNotOptimize(model.Forward(image));
}

void Sides(benchmark::internal::Benchmark* benchmark) {
  benchmark->Arg(28)->Arg(56)->Unit(benchmark::kMillisecond);
}

BENCHMARK_CAPTURE(BM_Lka, lka, "full")->Apply(Sides);
BENCHMARK_CAPTURE(BM_Lka, depthwise_21x21, "separable")->Apply(Sides);
BENCHMARK(BM_Attention)->Apply(Sides);
BENCHMARK_CAPTURE(BM_Van, b0, "b0")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_Van, b1, "b1")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_Van, b2, "b2")->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace repro::van
