#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/softmax.h>

#include <string>

#include "kernels/paged_dot_product/paged_dot_product.h"
#include "kernels/testing/benchmark.h"

namespace repro {
namespace {

// Qwen2-7B's heads, TokenSelect's lengths. Slots in order, as a prefill leaves
// them, and the same for the peer, which need not gather then: LibTorch's
// product with the contiguous keys.
constexpr int64_t kHeads = 28, kKvHeads = 4, kDim = 128;

void Register() {
  for (const int64_t tokens : {131072, 524288, 1048576}) {
    const auto make = [tokens](c10::Device device) {
      const auto options = at::TensorOptions(device).dtype(
          device.is_cuda() ? at::kBFloat16 : at::kFloat);
      return std::make_tuple(
          at::randn({kHeads, kDim}, options),
          at::randn({tokens, kKvHeads, kDim}, options),
          at::arange(tokens, at::TensorOptions(device).dtype(at::kInt)));
    };
    BenchmarkCase c;
    c.shape = "H28 K4 D128 T" + std::to_string(tokens);
    c.op = "paged_dot_product";
    c.bytes = 2.0 * tokens * kKvHeads * kDim + 4.0 * tokens * kHeads;
    c.operations = 2.0 * tokens * kHeads * kDim;
    c.implementation = "repro";
    c.setup = [=](c10::Device device) {
      const auto [q, pool, slots] = make(device);
      return [q = q, pool = pool, slots = slots] {
        PagedDotProduct(q, pool, slots);
      };
    };
    AddBenchmarkCase(c);
    c.implementation = "LibTorch matmul, contiguous keys";
    c.setup = [=](c10::Device device) {
      const auto [q, pool, slots] = make(device);
      // [kv_heads, group, head_dim] x [kv_heads, head_dim, tokens]
      const at::Tensor grouped = q.view({kKvHeads, kHeads / kKvHeads, kDim});
      const at::Tensor keys = pool.permute({1, 2, 0});
      return [=] { at::matmul(grouped, keys); };
    };
    AddBenchmarkCase(c);

    c.op = "paged_dot_product and soft_vote";
    c.bytes = 2.0 * tokens * kKvHeads * kDim + 4.0 * tokens;
    c.implementation = "repro";
    c.setup = [=](c10::Device device) {
      const auto [q, pool, slots] = make(device);
      return [q = q, pool = pool, slots = slots] {
        const auto [scores, lse] = PagedDotProduct(q, pool, slots);
        SoftVote(scores, lse);
      };
    };
    AddBenchmarkCase(c);
    c.implementation = "LibTorch matmul, softmax, sum";
    c.setup = [=](c10::Device device) {
      const auto [q, pool, slots] = make(device);
      const at::Tensor grouped = q.view({kKvHeads, kHeads / kKvHeads, kDim});
      const at::Tensor keys = pool.permute({1, 2, 0});
      return [=] {
        at::softmax(at::matmul(grouped, keys), -1, at::kFloat)
            .sum(at::IntArrayRef({0, 1}));
      };
    };
    AddBenchmarkCase(c);
  }
}

REPRO_REGISTER_BENCHMARKS(Register);

}  // namespace
}  // namespace repro
