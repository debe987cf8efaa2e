// Speed of dequantisation of a tensor of 4 MB in float32, which a cache holds:
// bytes_per_second counts what is written, `read` the blocks.

#include <benchmark/benchmark.h>

#include <cstdint>
#include <string>
#include <vector>

#include "common/checkpoint/dequantize.h"

namespace repro {
namespace {

void BM_Dequantize(benchmark::State& state) {
  const auto type = static_cast<GgmlType>(state.range(0));
  const GgmlTypeInfo info = Info(type);
  constexpr int64_t kRows = 1024, kColumns = 1024;
  const std::vector<uint8_t> data(
      kRows * kColumns / info.block_size * info.block_bytes, 0x11);
  const GgufTensor tensor{
      "weight", {kRows, kColumns}, type, absl::MakeConstSpan(data)};
  for (auto _ : state) benchmark::DoNotOptimize(Dequantize(tensor));
  state.SetBytesProcessed(state.iterations() * kRows * kColumns *
                          static_cast<int64_t>(sizeof(float)));
  state.counters["read"] =
      benchmark::Counter(static_cast<double>(data.size()),
                         benchmark::Counter::kIsIterationInvariantRate,
                         benchmark::Counter::kIs1024);
  state.SetLabel(info.name);
}
BENCHMARK(BM_Dequantize)
    ->ArgsProduct({{0, 1, 30, 2, 3, 6, 7, 8, 10, 11, 12, 13, 14, 15}})
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace repro
