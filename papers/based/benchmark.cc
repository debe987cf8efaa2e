// Taylor linear attention by the chunked kernel against its quadratic form and
// LibTorch's softmax attention, by length, on the CPU (feature 16, value 64, 4
// heads).

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <benchmark/benchmark.h>

#include "common/tensor/generator.h"
#include "kernels/taylor_linear_attention/taylor_linear_attention.h"
#include "papers/based/feature_map.h"

namespace repro::based {
namespace {

at::Tensor Random(int64_t seq_len, int64_t dim, uint64_t stream) {
  return at::randn({1, 4, seq_len, dim}, MakeGenerator(0, stream), at::kFloat);
}

void Chunked(benchmark::State& state) {
  at::NoGradGuard no_grad;
  const at::Tensor q = Random(state.range(0), 16, 0);
  const at::Tensor k = Random(state.range(0), 16, 1);
  const at::Tensor v = Random(state.range(0), 64, 2);
  for (auto _ : state) TaylorLinearAttention(q, k, v);
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(Chunked)
    ->RangeMultiplier(4)
    ->Range(256, 16384)
    ->Unit(benchmark::kMillisecond);

void Quadratic(benchmark::State& state) {
  at::NoGradGuard no_grad;
  const at::Tensor q = Random(state.range(0), 16, 0);
  const at::Tensor k = Random(state.range(0), 16, 1);
  const at::Tensor v = Random(state.range(0), 64, 2);
  for (auto _ : state) {
    QuadraticLinearAttention(q, k, v, FeatureMap::kTaylor);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(Quadratic)->RangeMultiplier(4)->Range(256, 4096)->Unit(
    benchmark::kMillisecond);

void Softmax(benchmark::State& state) {
  at::NoGradGuard no_grad;
  const at::Tensor q = Random(state.range(0), 64, 0);
  const at::Tensor k = Random(state.range(0), 64, 1);
  const at::Tensor v = Random(state.range(0), 64, 2);
  for (auto _ : state) {
    at::scaled_dot_product_attention(q, k, v, {}, 0.0, /*is_causal=*/true);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(Softmax)
    ->RangeMultiplier(4)
    ->Range(256, 16384)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace repro::based
