// Forward and backward of Flow-Attention against LibTorch's softmax attention,
// batch 1, 8 heads of 64, on the CPU:
//   bazel run //papers/flowformer:benchmark
// The fits at the end show the growth: about N for flow, N^2 for softmax.

#include <ATen/core/Tensor.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <benchmark/benchmark.h>

#include "common/tensor/generator.h"
#include "papers/flowformer/flow_attention.h"

namespace repro::flowformer {
namespace {

at::Tensor Flow(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  return FlowAttention(q, k, v);
}

at::Tensor CausalFlow(const at::Tensor& q, const at::Tensor& k,
                      const at::Tensor& v) {
  return CausalFlowAttention(q, k, v);
}

template <bool causal>
at::Tensor Softmax(const at::Tensor& q, const at::Tensor& k,
                   const at::Tensor& v) {
  return at::scaled_dot_product_attention(q, k, v, std::nullopt, 0, causal);
}

template <at::Tensor (*attention)(const at::Tensor&, const at::Tensor&,
                                  const at::Tensor&)>
void ForwardBackward(benchmark::State& state) {
  const at::Generator generator = MakeGenerator(0);
  const auto input = [&] {
    return at::randn({1, 8, state.range(0), 64}, generator, at::kFloat)
        .requires_grad_();
  };
  at::Tensor q = input(), k = input(), v = input();
  for (auto _ : state) {
    attention(q, k, v).sum().backward();
    for (at::Tensor* x : {&q, &k, &v}) x->mutable_grad().reset();
  }
  state.SetComplexityN(state.range(0));
}

#define FLOWFORMER_BENCHMARK(attention)          \
  BENCHMARK_TEMPLATE(ForwardBackward, attention) \
      ->RangeMultiplier(2)                       \
      ->Range(1024, 8192)                        \
      ->Unit(benchmark::kMillisecond)            \
      ->UseRealTime()                            \
      ->Complexity()

FLOWFORMER_BENCHMARK(Flow);
FLOWFORMER_BENCHMARK(CausalFlow);
FLOWFORMER_BENCHMARK(Softmax<false>);
FLOWFORMER_BENCHMARK(Softmax<true>);

}  // namespace
}  // namespace repro::flowformer
