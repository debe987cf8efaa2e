// One cell of Fig. 6: a run of 100 iterations of batch 128, length 128. The
// floor is the multiply-adds of the three products with Y (logits, dL/dY and
// g), 3 T M a sequence; the rest is M exponentials and 127 random draws.
#include "benchmark/benchmark.h"

#include <cstdint>
#include <random>
#include <vector>

#include "papers/scan_snap/training.h"

namespace repro::scan_snap {
namespace {

RunOptions Cell(int num_queries) {
  RunOptions options;
  options.classes.num_queries = num_queries;
  options.classes.next_per_query = 2;
  options.zero_init = false;
  return options;
}

int64_t MultiplyAdds(const RunOptions& options) {
  const SequenceClasses classes = *SequenceClasses::Create(options.classes);
  return int64_t{3} * options.iterations * options.batch_size *
         classes.support_size() * classes.vocab_size();
}

void BM_Figure6Run(benchmark::State& state) {
  const RunOptions options = Cell(static_cast<int>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(Train(options));
  state.counters["multiply_adds/s"] =
      benchmark::Counter(static_cast<double>(MultiplyAdds(options)),
                         benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(BM_Figure6Run)
    ->ArgName("queries")
    ->Arg(1)
    ->Arg(3)
    ->Arg(5)
    ->Arg(10)
    ->Unit(benchmark::kMillisecond);

// What of a run is drawing the data.
void BM_Figure6Data(benchmark::State& state) {
  const RunOptions options = Cell(static_cast<int>(state.range(0)));
  const SequenceClasses classes = *SequenceClasses::Create(options.classes);
  std::mt19937_64 generator(0);
  for (auto _ : state) {
    for (int i = 0; i < options.iterations; ++i) {
      benchmark::DoNotOptimize(DrawBatch<float>(
          classes, options.batch_size, options.sequence_length, generator));
    }
  }
}
BENCHMARK(BM_Figure6Data)
    ->ArgName("queries")
    ->Arg(10)
    ->Unit(benchmark::kMillisecond);

// The floor: as many multiply-adds as the run of 10 queries has, in the same
// kernel shape (20 rows of 240 floats that stay in the first-level cache) and
// nothing else.
void BM_Figure6Floor(benchmark::State& state) {
  const RunOptions options = Cell(static_cast<int>(state.range(0)));
  const SequenceClasses classes = *SequenceClasses::Create(options.classes);
  const int vocab = classes.vocab_size();
  std::vector<float> rows(static_cast<size_t>(4) * vocab, 0.5f);
  std::vector<float> sum(vocab, 0);
  const int64_t repeats = MultiplyAdds(options) / (4 * vocab);
  for (auto _ : state) {
    for (int64_t i = 0; i < repeats; ++i) {
      const float* __restrict__ row = rows.data();
      float* __restrict__ out = sum.data();
      for (int j = 0; j < vocab; ++j) {
        out[j] += (0.1f * row[j] + 0.2f * row[vocab + j]) +
                  (0.3f * row[2 * vocab + j] + 0.4f * row[3 * vocab + j]);
      }
      benchmark::ClobberMemory();
    }
  }
  state.counters["multiply_adds/s"] =
      benchmark::Counter(static_cast<double>(MultiplyAdds(options)),
                         benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(BM_Figure6Floor)
    ->ArgName("queries")
    ->Arg(10)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace repro::scan_snap
