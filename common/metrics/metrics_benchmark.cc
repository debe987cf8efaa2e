#include <benchmark/benchmark.h>

#include <cstdint>
#include <random>
#include <vector>

#include "common/metrics/classification.h"
#include "common/metrics/ranking.h"

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

}  // namespace
}  // namespace repro::metrics
