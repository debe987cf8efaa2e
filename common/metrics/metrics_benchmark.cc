#include <benchmark/benchmark.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/metrics/bleu.h"
#include "common/metrics/chrf.h"
#include "common/metrics/cider.h"
#include "common/metrics/classification.h"
#include "common/metrics/edit_distance.h"
#include "common/metrics/ranking.h"
#include "common/metrics/rouge.h"

namespace repro::metrics {
namespace {

void BM_RocAuc(benchmark::State& state) {
  std::mt19937_64 generator(1);
  std::vector<bool> positive;
  std::vector<double> scores;
  for (int64_t i = 0; i < state.range(0); ++i) {
    positive.push_back(generator() % 2 == 0);
    scores.push_back(generator() % 100000);
  }
  for (auto _ : state) benchmark::DoNotOptimize(RocAuc(positive, scores));
  state.SetComplexityN(state.range(0));
}
BENCHMARK(BM_RocAuc)->Range(1 << 10, 1 << 20)->Complexity();

void BM_Ndcg(benchmark::State& state) {
  std::mt19937_64 generator(1);
  std::vector<double> gains;
  for (int64_t i = 0; i < state.range(0); ++i) gains.push_back(generator() % 5);
  for (auto _ : state) {
    benchmark::DoNotOptimize(Ndcg(gains, gains, Gain::kExponential));
  }
  state.SetComplexityN(state.range(0));
}
BENCHMARK(BM_Ndcg)->Range(1 << 10, 1 << 20)->Complexity();

// A text of `num_words` words, the frequent ones short.
std::string Words(std::mt19937_64* generator, int64_t num_words) {
  std::geometric_distribution<int> word(0.02);
  std::vector<std::string> words;
  for (int64_t i = 0; i < num_words; ++i) {
    words.push_back(absl::StrCat("w", word(*generator)));
  }
  return absl::StrJoin(words, " ");
}

struct Pairs {
  std::vector<std::string> predictions;
  std::vector<std::string> references;
};

// Sentences of 15 words, as summaries of code have them.
Pairs Sentences(int64_t count) {
  std::mt19937_64 generator(1);
  Pairs pairs;
  for (int64_t i = 0; i < count; ++i) {
    pairs.predictions.push_back(Words(&generator, 15));
    pairs.references.push_back(Words(&generator, 15));
  }
  return pairs;
}

constexpr int64_t kSentences = 1000;

void BM_CodeXglueBleu(benchmark::State& state) {
  const Pairs pairs = Sentences(kSentences);
  for (auto _ : state) {
    for (int64_t i = 0; i < kSentences; ++i) {
      benchmark::DoNotOptimize(
          CodeXglueSentenceBleu({CodeXglueTokens(pairs.references[i])},
                                CodeXglueTokens(pairs.predictions[i])));
    }
  }
  state.SetItemsProcessed(state.iterations() * kSentences);
}
BENCHMARK(BM_CodeXglueBleu);

void BM_CorpusBleu(benchmark::State& state) {
  const Pairs pairs = Sentences(kSentences);
  std::vector<std::vector<Tokens>> references;
  std::vector<Tokens> predictions;
  for (int64_t i = 0; i < kSentences; ++i) {
    references.push_back({SplitWhitespace(pairs.references[i])});
    predictions.push_back(SplitWhitespace(pairs.predictions[i]));
  }
  for (auto _ : state) {
    benchmark::DoNotOptimize(CorpusBleu(references, predictions,
                                        BleuSmoothing::kAddOne,
                                        ReferenceLength::kShortest));
  }
  state.SetItemsProcessed(state.iterations() * kSentences);
}
BENCHMARK(BM_CorpusBleu);

void BM_CiderD(benchmark::State& state) {
  const Pairs pairs = Sentences(kSentences);
  std::vector<std::vector<Tokens>> references;
  std::vector<Tokens> predictions;
  for (int64_t i = 0; i < kSentences; ++i) {
    references.push_back({SplitWhitespace(pairs.references[i])});
    predictions.push_back(SplitWhitespace(pairs.predictions[i]));
  }
  for (auto _ : state) {
    benchmark::DoNotOptimize(CiderD(references, predictions));
  }
  state.SetItemsProcessed(state.iterations() * kSentences);
}
BENCHMARK(BM_CiderD);

void BM_Chrf(benchmark::State& state) {
  const Pairs pairs = Sentences(kSentences);
  std::vector<std::vector<std::string>> references;
  for (const std::string& reference : pairs.references) {
    references.push_back({reference});
  }
  for (auto _ : state) {
    benchmark::DoNotOptimize(CorpusChrf(references, pairs.predictions));
  }
  state.SetItemsProcessed(state.iterations() * kSentences);
}
BENCHMARK(BM_Chrf);

// Two texts of a number of words.
template <typename Metric>
void BM_TwoTexts(benchmark::State& state, Metric metric) {
  std::mt19937_64 generator(1);
  const std::string a = Words(&generator, state.range(0));
  const std::string b = Words(&generator, state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(metric(a, b));
  state.SetComplexityN(state.range(0));
}
BENCHMARK_CAPTURE(BM_TwoTexts, CocoRougeL,
                  [](const std::string& a, const std::string& b) {
                    return CocoRougeL({a}, b);
                  })
    ->Range(16, 1 << 12);
BENCHMARK_CAPTURE(BM_TwoTexts, SetRougeL, SetRougeL)->Range(16, 1 << 11);
BENCHMARK_CAPTURE(BM_TwoTexts, GoogleRougeLsum, GoogleRougeLsum)
    ->Range(16, 1 << 11);
BENCHMARK_CAPTURE(BM_TwoTexts, Levenshtein, LevenshteinSimilarity)
    ->Range(16, 1 << 12);
BENCHMARK_CAPTURE(BM_TwoTexts, Indel, IndelSimilarity)->Range(16, 1 << 12);
BENCHMARK_CAPTURE(BM_TwoTexts, Difflib, DifflibRatio)->Range(16, 1 << 12);

}  // namespace
}  // namespace repro::metrics
