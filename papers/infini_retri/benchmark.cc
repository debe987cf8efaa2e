// What InfiniRetri adds to a chunk's forward pass, Qwen2.5-0.5B's heads, a
// memory of 300 tokens and a chunk of w before a question of 64:
//
//   BM_SummedAttention/1024   w: probabilities of the question's rows
//   BM_Selection/1024         w: scores, the best 300 tokens, their sentences
//   BM_SplitSentences/65536   bytes
#include <ATen/core/Tensor.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/softmax.h>
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "common/tensor/device.h"
#include "common/tensor/generator.h"
#include "papers/infini_retri/question_attention.h"
#include "papers/infini_retri/selection.h"
#include "papers/infini_retri/sentences.h"

namespace repro::infini_retri {
namespace {

constexpr int64_t kMemory = 300, kQuestion = 64, kSentence = 20, kTopK = 300;

void BM_SummedAttention(benchmark::State& state) {
  const int64_t tokens = kMemory + state.range(0) + kQuestion;
  const at::Tensor q = at::randn({14, kQuestion, 64}, MakeGenerator(1));
  const at::Tensor k = at::randn({2, tokens, 64}, MakeGenerator(2));
  for (auto _ : state) benchmark::DoNotOptimize(SummedAttention(q, k));
}
BENCHMARK(BM_SummedAttention)
    ->Arg(1024)
    ->Arg(4096)
    ->Unit(benchmark::kMicrosecond);

void BM_Selection(benchmark::State& state) {
  const int64_t context = kMemory + state.range(0);
  const at::Tensor attention =
      at::randn({kQuestion, context + kQuestion}, MakeGenerator(3)).softmax(-1);
  const std::vector<int64_t> lengths(context / kSentence + 1, kSentence);
  for (auto _ : state) {
    benchmark::DoNotOptimize(SentencesAt(
        TopPositions(TokenScores(attention, QuestionWeights(attention), 0,
                                 context, /*width=*/8),
                     kTopK),
        lengths));
  }
}
BENCHMARK(BM_Selection)->Arg(1024)->Arg(4096)->Unit(benchmark::kMicrosecond);

void BM_SplitSentences(benchmark::State& state) {
  const std::string sentence =
      "The quick brown fox jumps over the lazy dog of Mr. Li today. ";
  std::string text;
  while (static_cast<int64_t>(text.size()) < state.range(0)) text += sentence;
  for (auto _ : state) benchmark::DoNotOptimize(SplitSentences(text));
  state.SetBytesProcessed(state.iterations() *
                          static_cast<int64_t>(text.size()));
}
BENCHMARK(BM_SplitSentences)->Arg(65536)->Unit(benchmark::kMicrosecond);

int Main(int argc, char** argv) {
  ConfigureTorch(/*threads=*/1, /*deterministic=*/false);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace
}  // namespace repro::infini_retri

int main(int argc, char** argv) {
  return repro::infini_retri::Main(argc, argv);
}
