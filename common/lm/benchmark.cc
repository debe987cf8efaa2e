// Tokens a second of a language model on the CPU: a prompt of 512 and decoding
// after it, for SmolLM2's shape with random float32 weights and, if it is on
// this machine (REPRO_ASSETS or the cache), the real one with its quantised
// weights.
//
//   bazel-bin/common/lm/benchmark --threads=2
#include "benchmark/benchmark.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "common/assets/asset_store.h"
#include "common/lm/default_model.h"
#include "common/lm/dense_state.h"
#include "common/lm/model.h"
#include "common/tensor/device.h"
#include "common/tensor/generator.h"

namespace repro::lm {
namespace {

constexpr int64_t kPrompt = 512;
constexpr int64_t kDecoded = 64;

std::unique_ptr<AttentionState> State(const LanguageModel& model) {
  return MakeDenseState(model.config(), model.device(), model.dtype());
}

at::Tensor Prompt() { return at::arange(1000, 1000 + kPrompt, at::kLong); }

void Prefill(benchmark::State& state, const LanguageModel* model) {
  at::NoGradGuard no_grad;
  const at::Tensor prompt = Prompt();
  for (auto _ : state) {
    const auto sequence = State(*model);
    benchmark::DoNotOptimize(model->Forward({{prompt, sequence.get(), 0}}));
  }
  state.counters["tokens/s"] =
      benchmark::Counter(static_cast<double>(kPrompt * state.iterations()),
                         benchmark::Counter::kIsRate);
}

void Decode(benchmark::State& state, const LanguageModel* model) {
  at::NoGradGuard no_grad;
  for (auto _ : state) {
    state.PauseTiming();
    const auto sequence = State(*model);
    at::Tensor logits = model->Forward({{Prompt(), sequence.get(), 0}});
    state.ResumeTiming();
    for (int64_t i = 0; i < kDecoded; ++i) {
      logits =
          model->Forward({{logits.argmax(-1), sequence.get(), kPrompt + i}});
    }
    benchmark::DoNotOptimize(logits);
  }
  state.counters["tokens/s"] =
      benchmark::Counter(static_cast<double>(kDecoded * state.iterations()),
                         benchmark::Counter::kIsRate);
}

void Register(const std::string& name, const LanguageModel* model) {
  for (const auto& [task, function] :
       {std::pair("prefill_512", Prefill), std::pair("decode_64", Decode)}) {
    benchmark::RegisterBenchmark((name + "/" + task).c_str(), function, model)
        ->UseRealTime()
        ->MeasureProcessCPUTime()
        ->Unit(benchmark::kMillisecond);
  }
}

int Main(int argc, char** argv) {
  int threads = 2;
  constexpr char kFlag[] = "--threads=";
  for (int i = 1; i < argc; ++i) {
    if (std::strncmp(argv[i], kFlag, sizeof(kFlag) - 1) != 0) continue;
    threads = std::atoi(argv[i] + sizeof(kFlag) - 1);
    for (int j = i; j + 1 < argc; ++j) argv[j] = argv[j + 1];
    --argc;
    break;
  }
  benchmark::Initialize(&argc, argv);
  if (threads < 1 || benchmark::ReportUnrecognizedArguments(argc, argv)) {
    return 2;
  }
  ConfigureTorch(threads, /*deterministic=*/false);
  benchmark::AddCustomContext("threads", std::to_string(threads));
  benchmark::AddCustomContext("cpu", DeviceName(at::kCPU));

  const auto random = RandomModel(ModelConfig::SmolLm2_135M(), MakeGenerator(1),
                                  at::kCPU, at::kFloat);
  Register("random_float32", random.get());
  AssetStoreOptions options = AssetStoreOptions::FromEnvironment();
  options.offline = true;
  std::unique_ptr<LanguageModel> real;
  const auto asset = AssetStore(options).Locate(DefaultModel());
  if (asset.ok()) {
    auto loaded = LoadModel(asset->path, {});
    if (loaded.ok()) {
      real = *std::move(loaded);
      Register("smollm2_q4_1", real.get());
    }
  }
  if (real == nullptr) {
    benchmark::AddCustomContext("smollm2", "not on this machine");
  }
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace
}  // namespace repro::lm

int main(int argc, char** argv) { return repro::lm::Main(argc, argv); }
