#include <ATen/TensorOperators.h>
#include <ATen/ops/randn.h>

#include <algorithm>
#include <string>

#include "kernels/hierarchical_topk_mask/hierarchical_topk_mask.h"
#include "kernels/testing/benchmark.h"

namespace repro {
namespace {

// Llama-3.1-8B's heads. Bytes: each key that is scored, once for each block of
// queries that scores it, which is what the search gathers; most of it comes
// from L2, whose rate is not the memory's, so that the fraction may exceed 1.
constexpr int64_t kHeads = 32, kKvHeads = 8, kDim = 128;

void Register() {
  for (const bool decode : {false, true}) {
    for (const int64_t keys : {8192, 32768, 131072}) {
      const HierarchicalTopkOptions options;
      const int64_t queries = decode ? 1 : keys;
      double scored = 0;
      for (int64_t first = 0; first < queries; first += options.query_block) {
        const int64_t last =
            keys - queries + std::min(first + options.query_block, queries) - 1;
        scored += HierarchicalTopkCostOf(last + 1 - options.window, options)
                      .scored_keys;
      }
      BenchmarkCase c;
      c.op = decode ? "hierarchical_topk_mask decode"
                    : "hierarchical_topk_mask prefill";
      c.shape = "H32 K8 D128 T" + std::to_string(keys);
      c.implementation = "repro";
      c.bytes = 2.0 * scored * kHeads * kDim;
      const int64_t samples = decode ? 1 : options.query_block / 2;
      c.operations = 2.0 * scored * kHeads * kDim * samples;
      c.setup = [=](c10::Device device) {
        const auto type = at::TensorOptions(device).dtype(
            device.is_cuda() ? at::kBFloat16 : at::kFloat);
        const at::Tensor q = at::randn({kHeads, queries, kDim}, type);
        const at::Tensor k = at::randn({kKvHeads, keys, kDim}, type);
        return [=] { HierarchicalTopkMask(q, k, options); };
      };
      AddBenchmarkCase(c);
    }
  }
}

REPRO_REGISTER_BENCHMARKS(Register);

}  // namespace
}  // namespace repro
