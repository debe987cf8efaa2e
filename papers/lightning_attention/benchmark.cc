// TNL against LLaMA of equal parameters by length, on the CPU: training steps
// without the optimiser, and decoding steps. items_per_second are tokens.

#include <ATen/core/Tensor.h>
#include <ATen/ops/randint.h>
#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <vector>

#include "common/tensor/generator.h"
#include "common/train/language_model.h"
#include "papers/lightning_attention/generation.h"
#include "papers/lightning_attention/models.h"

namespace repro::lightning_attention {
namespace {

constexpr int64_t kVocabSize = 65;

void Train(benchmark::State& state, const std::string& name) {
  SmallModelSize size;
  size.dim = 128;
  size.num_layers = 2;
  size.num_heads = 2;
  size.glu_dim = 320;
  const std::vector<NamedLanguageModel> models =
      *SmallModels({name}, size, kVocabSize, c10::Device(at::kCPU));
  const LanguageModel model = models[0].make(0);
  const at::Tensor windows = at::randint(kVocabSize, {1, state.range(0) + 1},
                                         MakeGenerator(0), at::kLong);
  for (auto _ : state) NextTokenLoss(model.logits, windows).backward();
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK_CAPTURE(Train, tnl, "tnl_small")
    ->RangeMultiplier(4)
    ->Range(256, 16384)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Train, llama, "llama_small")
    ->RangeMultiplier(4)
    ->Range(256, 16384)
    ->Unit(benchmark::kMillisecond);

void Decode(benchmark::State& state, const std::string& name) {
  const c10::Device device(at::kCPU);
  std::unique_ptr<TextGenerator> generator =
      *MakeTextGenerator(name, device, /*seed=*/0);
  generator->Allocate(/*batch=*/1, state.range(0) + 1, /*seed=*/0);
  for (auto _ : state) {
    generator->SetLength(state.range(0));
    generator->Step();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK_CAPTURE(Decode, tnl, "tnl_385m")
    ->RangeMultiplier(8)
    ->Range(128, 8192)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Decode, llama, "llama_385m")
    ->RangeMultiplier(8)
    ->Range(128, 8192)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace repro::lightning_attention
