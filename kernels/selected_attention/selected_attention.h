// Softmax attention to keys and values that lists name, read from where they
// lie: one list of tokens for all heads, whose keys are rotated to their places
// in the list (TokenSelect, arXiv 2411.02886), and a list of blocks of keys for
// each head and block of queries beside a window (HiP attention, arXiv
// 2406.09827).
//
// From Python: torch.ops.repro.selected_attention, block_selected_attention.
#ifndef REPRO_KERNELS_SELECTED_ATTENTION_SELECTED_ATTENTION_H_
#define REPRO_KERNELS_SELECTED_ATTENTION_SELECTED_ATTENTION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

namespace repro {

// Rotary tables, [positions, head_dim / 2] float32 on q's device: entry i of a
// head turns together with entry i + head_dim / 2.
struct RotaryTables {
  at::Tensor cos, sin;
  // Whether the queries are still to be rotated to their places, too.
  bool rotate_queries = true;
};

// q: [num_heads, queries, head_dim]; k_pool: [pool_size, num_kv_heads,
// head_dim] and v_pool: [pool_size, num_kv_heads, value_dim] of q's dtype
// (CUDA: bfloat16 or float16, dims at most 128), any strides; slots: [listed]
// int32 rows of the pools, listed >= queries. Query head h reads key head h /
// (num_heads / num_kv_heads). On CUDA slots are not checked against pool_size.
//
// Key slots[j] stands at place j, the last query at place listed - 1, and a
// query sees the keys up to its place. With tables, which have at least
// `listed` positions, keys, not rotated in the pool, are rotated to their
// places. scale: 1 / sqrt(head_dim) unless given.
//
// Returns [num_heads, queries, value_dim]. No gradient. Throws c10::Error with
// the offending shape.
at::Tensor SelectedAttention(
    const at::Tensor& q, const at::Tensor& k_pool, const at::Tensor& v_pool,
    const at::Tensor& slots,
    const std::optional<RotaryTables>& tables = std::nullopt,
    std::optional<double> scale = std::nullopt);

// q: [num_heads, queries, head_dim], k: [num_kv_heads, keys, head_dim], v:
// [num_kv_heads, keys, value_dim], keys >= queries; the last query stands at
// the last key. Queries in blocks of query_block, counted from the first.
// blocks: [num_heads or 1, ceil(queries / query_block), listed] int32 ascending
// numbers of blocks of key_block keys, then -1, as kernels/
// hierarchical_topk_mask returns them.
//
// The query at place i sees key j <= i where j > i - window, or else if j's
// block is listed: no key counts twice. A query that sees nothing gets zeros.
//
// Returns [num_heads, queries, value_dim]. No gradient. Throws c10::Error with
// the offending shape.
at::Tensor BlockSelectedAttention(const at::Tensor& q, const at::Tensor& k,
                                  const at::Tensor& v, const at::Tensor& blocks,
                                  int64_t query_block, int64_t key_block,
                                  int64_t window,
                                  std::optional<double> scale = std::nullopt);

}  // namespace repro

#endif  // REPRO_KERNELS_SELECTED_ATTENTION_SELECTED_ATTENTION_H_
