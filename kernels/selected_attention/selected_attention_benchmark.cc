#include <ATen/TensorOperators.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/randperm.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/stack.h>

#include <algorithm>
#include <string>
#include <tuple>

#include "kernels/selected_attention/selected_attention.h"
#include "kernels/testing/benchmark.h"

namespace repro {
namespace {

constexpr int64_t kDim = 128;

at::TensorOptions TypeOn(c10::Device device) {
  return at::TensorOptions(device).dtype(device.is_cuda() ? at::kBFloat16
                                                          : at::kFloat);
}

// FlashAttention-2 as LibTorch has it: [batch, tokens, heads, dim].
void Flash(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
           bool causal) {
  at::_flash_attention_forward(q, k, v, std::nullopt, std::nullopt, q.size(1),
                               k.size(1), /*dropout_p=*/0, causal,
                               /*return_debug_mask=*/false);
}

// `listed` of 131,072 tokens, Qwen2-7B's heads and Llama-3-8B's, with rotation;
// beside it dense attention to as many keys in a row, rotated before.
void AddSelected(int64_t heads, int64_t kv_heads, int64_t queries,
                 int64_t listed) {
  BenchmarkCase c;
  c.op =
      queries == 1 ? "selected_attention decode" : "selected_attention prefill";
  c.shape = "H" + std::to_string(heads) + " K" + std::to_string(kv_heads) +
            " D128 Q" + std::to_string(queries) + " listed " +
            std::to_string(listed);
  c.bytes = 2.0 * kDim * (2 * kv_heads * listed + 2 * heads * queries);
  c.operations = 4.0 * heads * kDim * queries * (listed - (queries - 1) / 2.0);
  c.implementation = "repro";
  c.setup = [=](c10::Device device) {
    const int64_t pool = std::max<int64_t>(131072, listed);
    const at::Tensor q = at::randn({heads, queries, kDim}, TypeOn(device));
    const at::Tensor k = at::randn({pool, kv_heads, kDim}, TypeOn(device));
    const at::Tensor v = at::randn({pool, kv_heads, kDim}, TypeOn(device));
    const at::Tensor slots =
        std::get<0>(at::sort(at::randperm(pool, at::TensorOptions(device).dtype(
                                                    at::kLong))
                                 .slice(0, 0, listed)))
            .to(at::kInt);
    const at::Tensor angle =
        at::arange(listed, at::TensorOptions(device).dtype(at::kFloat))
            .unsqueeze(1) *
        (at::arange(kDim / 2, at::TensorOptions(device).dtype(at::kFloat)) / -5)
            .exp();
    const RotaryTables tables = {angle.cos(), angle.sin()};
    return [=] { SelectedAttention(q, k, v, slots, tables); };
  };
  AddBenchmarkCase(c);
  c.implementation = "LibTorch flash, keys in a row";
  c.setup = [=](c10::Device device) {
    const at::Tensor q = at::randn({1, queries, heads, kDim}, TypeOn(device));
    const at::Tensor k = at::randn({1, listed, kv_heads, kDim}, TypeOn(device));
    const at::Tensor v = at::randn({1, listed, kv_heads, kDim}, TypeOn(device));
    return [=] { Flash(q, k, v, /*causal=*/true); };
  };
  AddBenchmarkCase(c);
}

// Llama-3.1-8B's layer, lists of random blocks of two keys; beside it dense
// attention to as many keys in a row: batches of 4,096 queries over `listed` +
// window keys each.
void AddBlocks(int64_t queries, int64_t keys, int64_t listed,
               int64_t query_block, int64_t window) {
  constexpr int64_t kHeads = 32, kKvHeads = 8;
  const int64_t budget = listed + window;
  BenchmarkCase c;
  c.op = queries == 1 ? "block_selected_attention decode"
                      : "block_selected_attention prefill";
  c.shape = "H32 K8 D128 Q" + std::to_string(queries) + " T" +
            std::to_string(keys) + " listed " + std::to_string(listed) +
            " block " + std::to_string(query_block) + " window " +
            std::to_string(window);
  // A list's keys are read for each block of queries and head, the least that a
  // decoding step reads; many of prefill's come from L2.
  c.bytes = queries == 1
                ? 2.0 * kDim * (2 * kHeads * budget + 2 * kHeads)
                : 2.0 * kDim * (2 * kKvHeads * keys + 2 * kHeads * queries);
  c.operations = 4.0 * kHeads * kDim * queries * budget;
  c.implementation = "repro";
  c.setup = [=](c10::Device device) {
    const at::Tensor q = at::randn({kHeads, queries, kDim}, TypeOn(device));
    const at::Tensor k = at::randn({kKvHeads, keys, kDim}, TypeOn(device));
    const at::Tensor v = at::randn({kKvHeads, keys, kDim}, TypeOn(device));
    // One of each `stride` blocks of two, so that lists ascend, all of them
    // before any query's window.
    const int64_t query_blocks = (queries + query_block - 1) / query_block;
    const int64_t stride = (keys - window - queries) / listed;
    const at::Tensor blocks =
        (at::arange(listed / 2, at::TensorOptions(device).dtype(at::kFloat))
             .mul(stride) +
         at::randn({kHeads, query_blocks, listed / 2},
                   at::TensorOptions(device).dtype(at::kFloat))
             .abs()
             .remainder(1)
             .mul(stride))
            .floor()
            .to(at::kInt);
    return [=] {
      BlockSelectedAttention(q, k, v, blocks, query_block, 2, window);
    };
  };
  AddBenchmarkCase(c);
  c.implementation = "LibTorch flash, keys in a row";
  c.setup = [=](c10::Device device) {
    const int64_t batch = std::max<int64_t>(1, queries / 4096);
    const at::Tensor q =
        at::randn({batch, queries / batch, kHeads, kDim}, TypeOn(device));
    const at::Tensor k =
        at::randn({batch, budget, kKvHeads, kDim}, TypeOn(device));
    const at::Tensor v =
        at::randn({batch, budget, kKvHeads, kDim}, TypeOn(device));
    return [=] { Flash(q, k, v, /*causal=*/false); };
  };
  AddBenchmarkCase(c);
}

void Register() {
  for (const int64_t listed : {2688, 4736}) AddSelected(28, 4, 512, listed);
  for (const int64_t listed : {2688, 32768, 131072}) {
    AddSelected(28, 4, 1, listed);
  }
  AddSelected(32, 8, 1, 2688);
  // HiP's paper, and its RULER runs.
  AddBlocks(8192, 131072, 512, 32, 256);
  AddBlocks(8192, 131072, 512, 64, 256);
  AddBlocks(8192, 131072, 2048, 64, 1024);
  AddBlocks(1, 131072, 512, 1, 256);
  AddBlocks(1, 131072, 2048, 1, 1024);
}

REPRO_REGISTER_BENCHMARKS(Register);

}  // namespace
}  // namespace repro
