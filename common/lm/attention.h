// Softmax attention of a few queries over cached keys, by different rules of
// what a query sees. Heads are grouped: query head h reads key-value head
// h / (num_heads / num_kv_heads). Differentiable on the CPU and the GPU.
#ifndef REPRO_COMMON_LM_ATTENTION_H_
#define REPRO_COMMON_LM_ATTENTION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

namespace repro::lm {

// Shapes throughout: q: [num_heads, queries, head_dim], k, v: [num_kv_heads,
// keys, head_dim], keys >= queries; the last query stands at the last key.
// scale: 1 / sqrt(head_dim) unless given. Returns [num_heads, queries,
// head_dim].

// Each query sees the keys up to its own place.
at::Tensor DenseAttention(const at::Tensor& q, const at::Tensor& k,
                          const at::Tensor& v,
                          std::optional<double> scale = std::nullopt);

// ... of these the first `sink` and the last `recent`, its own included.
at::Tensor SinkWindowAttention(const at::Tensor& q, const at::Tensor& k,
                               const at::Tensor& v, int64_t sink,
                               int64_t recent,
                               std::optional<double> scale = std::nullopt);

// ... of these the tokens of listed blocks and the last `window`. Queries in
// blocks of query_block, counted from the first query; blocks: [num_heads or 1,
// query blocks, listed] int32 numbers of blocks of key_block keys, unique,
// those < 0 ignored.
at::Tensor BlockSparseAttention(const at::Tensor& q, const at::Tensor& k,
                                const at::Tensor& v, const at::Tensor& blocks,
                                int64_t query_block, int64_t key_block,
                                int64_t window,
                                std::optional<double> scale = std::nullopt);

// ... plus bias: [num_heads or 1, queries or 1, keys], added to the scaled
// logits (-inf hides a key); causality is up to the bias.
at::Tensor BiasedAttention(const at::Tensor& q, const at::Tensor& k,
                           const at::Tensor& v, const at::Tensor& bias,
                           std::optional<double> scale = std::nullopt);

}  // namespace repro::lm

#endif  // REPRO_COMMON_LM_ATTENTION_H_
