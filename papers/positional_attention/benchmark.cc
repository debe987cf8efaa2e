// Speed of positional against standard attention, of whole networks and of a
// training step of stacked networks. REPRO_DEVICE=cuda runs it on a GPU.
//
//   BM_Attention/0/1000/9     architecture (0 positional, 1 standard) / batch /
//                             sequence length, inference: one layer's map and
//                             its application (equations 1 to 3), dim 64
//   BM_Network/0/1/1000       architecture / 1: ForwardFolded / batch, n = 8
//   BM_TrainingStep/0/10/1000 architecture / models / batch, n = 8:
//                             forward, backward and Adam
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <benchmark/benchmark.h>
#include <stdio.h>
#include <stdlib.h>

#include <vector>

#include "absl/status/statusor.h"
#include "common/nn/initializer.h"
#include "common/tensor/device.h"
#include "common/tensor/generator.h"
#include "common/train/optimizer.h"
#include "papers/positional_attention/positional_attention.h"

namespace repro::positional_attention {
namespace {

c10::Device device(c10::kCPU);

at::Tensor Random(at::IntArrayRef shape, uint64_t seed) {
  return at::randn(shape, MakeGenerator(seed)).to(device);
}

void BM_Attention(benchmark::State& state) {
  const at::NoGradGuard no_grad;
  const bool positional = state.range(0) == 0;
  const int64_t batch = state.range(1), seq_len = state.range(2);
  const int64_t dim = 64, heads = 2;
  const int64_t width = positional ? seq_len : dim;
  const Initializer init(MakeGenerator(1), at::TensorOptions(device));
  const at::Tensor qk =
      init.XavierUniform({2 * heads * width, width}).unsqueeze(0);
  const at::Tensor qk_bias = at::zeros({1, 2 * heads * width}, qk.options());
  const at::Tensor v = init.XavierUniform({dim, dim}).unsqueeze(0);
  const at::Tensor bias = at::zeros({1, dim}, qk.options());
  const at::Tensor x = Random({1, batch, seq_len, dim}, 2);
  const at::Tensor positions = at::eye(seq_len, qk.options()).unsqueeze(0);
  for (auto _ : state) {
    const at::Tensor map =
        AttentionMap(positional ? positions : x, qk, qk_bias, heads);
    benchmark::DoNotOptimize(ApplyAttention(map, x, v, bias, v, bias));
    Synchronize(device);
  }
}
BENCHMARK(BM_Attention)
    ->ArgNames({"standard", "batch", "seq_len"})
    ->ArgsProduct({{0, 1}, {1000}, {9, 256}})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

// On a GPU alone: a standard map of this batch takes 8 GB.
const bool gpu_benchmarks = [] {
  if (getenv("REPRO_DEVICE") == nullptr) return false;
  benchmark::RegisterBenchmark("BM_Attention", BM_Attention)
      ->ArgNames({"standard", "batch", "seq_len"})
      ->ArgsProduct({{0, 1}, {1000}, {1024}})
      ->Unit(benchmark::kMillisecond)
      ->UseRealTime();
  return true;
}();

NetworkConfig Config(int64_t architecture) {
  NetworkConfig config;
  config.architecture =
      architecture == 0 ? Architecture::kPositional : Architecture::kStandard;
  return config;
}

std::vector<Initializer> Inits(int64_t models) {
  std::vector<Initializer> inits;
  for (int64_t m = 0; m < models; ++m) {
    inits.emplace_back(MakeGenerator(m), at::TensorOptions(device));
  }
  return inits;
}

// More parts for a GPU, as in training.
int64_t Chunks() { return device.is_cuda() ? 9 : 1; }

void BM_Network(benchmark::State& state) {
  const at::NoGradGuard no_grad;
  const Network network(Config(state.range(0)), Inits(1));
  const at::Tensor values = Random({1, state.range(2), 9}, 3);
  for (auto _ : state) {
    benchmark::DoNotOptimize(state.range(1) != 0
                                 ? network.ForwardFolded(values, Chunks())
                                 : network.Forward(values));
    Synchronize(device);
  }
}
BENCHMARK(BM_Network)
    ->ArgNames({"standard", "folded", "batch"})
    ->ArgsProduct({{0, 1}, {0, 1}, {1000}})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

void BM_TrainingStep(benchmark::State& state) {
  const int64_t models = state.range(1), batch = state.range(2);
  const Network network(Config(state.range(0)), Inits(models));
  const at::Tensor values = Random({models, batch, 9}, 3);
  const auto adam = MakeStackedAdam(network.Parameters(),
                                    std::vector<double>(models, 5e-4), {});
  // Not waited for after each step, as training does not.
  for (auto _ : state) {
    adam->ZeroGradients();
    network.ForwardFolded(values, Chunks()).square().mean().backward();
    adam->Step();
  }
  Synchronize(device);
  state.counters["samples"] = benchmark::Counter(
      models * batch, benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(BM_TrainingStep)
    ->ArgNames({"standard", "models", "batch"})
    ->ArgsProduct({{0, 1}, {3}, {100, 1000}})
    ->ArgsProduct({{0, 1}, {5, 10, 25, 50}, {1000}})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

int Main(int argc, char** argv) {
  if (const char* name = getenv("REPRO_DEVICE"); name != nullptr) {
    const absl::StatusOr<c10::Device> parsed = ParseDevice(name);
    if (!parsed.ok()) {
      fprintf(stderr, "%s\n", parsed.status().ToString().c_str());
      return 2;
    }
    device = *parsed;
  }
  ConfigureTorch(/*threads=*/0, /*deterministic=*/false);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace
}  // namespace repro::positional_attention

int main(int argc, char** argv) {
  return repro::positional_attention::Main(argc, argv);
}
