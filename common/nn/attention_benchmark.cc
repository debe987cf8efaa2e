// Time of the baselines against length: softmax attention grows with its
// square, linear attention with the length.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/randn.h>

#include "benchmark/benchmark.h"
#include "common/nn/attention.h"
#include "common/tensor/generator.h"

namespace repro {
namespace {

constexpr int64_t kHeads = 8;
constexpr int64_t kHeadDim = 64;

using Attention = at::Tensor (*)(const at::Tensor& q, const at::Tensor& k,
                                 const at::Tensor& v, bool causal);

template <Attention attention, bool causal>
void BM_Attention(benchmark::State& state) {
  at::NoGradGuard no_grad;
  at::Generator generator = MakeGenerator(1);
  const int64_t length = state.range(0);
  const auto draw = [&] {
    return at::randn({1, kHeads, length, kHeadDim}, generator,
                     at::TensorOptions());
  };
  const at::Tensor q = draw(), k = draw(), v = draw();
  for (auto _ : state) {
    benchmark::DoNotOptimize(attention(q, k, v, causal));
  }
  state.SetComplexityN(length);
}

at::Tensor Softmax(const at::Tensor& q, const at::Tensor& k,
                   const at::Tensor& v, bool causal) {
  return SoftmaxAttention(q, k, v, causal);
}

at::Tensor Linear(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                  bool causal) {
  return LinearAttention(q, k, v, causal);
}

void Lengths(benchmark::internal::Benchmark* benchmark) {
  benchmark->RangeMultiplier(4)->Range(128, 2048)->Complexity()->Unit(
      benchmark::kMillisecond);
}

BENCHMARK_TEMPLATE(BM_Attention, Softmax, false)->Apply(Lengths);
BENCHMARK_TEMPLATE(BM_Attention, Softmax, true)->Apply(Lengths);
BENCHMARK_TEMPLATE(BM_Attention, Linear, false)->Apply(Lengths);
BENCHMARK_TEMPLATE(BM_Attention, Linear, true)->Apply(Lengths);

}  // namespace
}  // namespace repro
