// Softmax attention over the summaries of past chunks and the token's own
// running summary (RAT, Wei et al. 2025, arXiv 2507.04416).
//
// From Python: torch.ops.repro.chunk_attention and
// torch.ops.repro.chunk_attention_step.
#ifndef REPRO_KERNELS_CHUNK_ATTENTION_CHUNK_ATTENTION_H_
#define REPRO_KERNELS_CHUNK_ATTENTION_CHUNK_ATTENTION_H_

#include <ATen/core/Tensor.h>

#include <optional>

namespace repro {

// k and v hold each token's running summary of its chunk, so that a chunk's
// last token holds the chunk's. Token t of chunk c(t) = t / chunk_size sees
// the entries at the last tokens of chunks c' < c(t) and its own, in one
// softmax over c(t) + 1 scores scale * q . k. chunk_size 1 is causal softmax
// attention; chunk_size >= seq_len returns v.
// q, k: [batch, heads, seq_len, head_dim], v: [batch, heads, seq_len,
// value_dim], of one floating dtype (CUDA: bfloat16 or float16), any strides;
// scale is 1 / sqrt(head_dim) unless given. Returns [batch, heads, seq_len,
// value_dim]. Differentiable. Throws c10::Error with the offending shape.
at::Tensor ChunkAttention(const at::Tensor& q, const at::Tensor& k,
                          const at::Tensor& v, int64_t chunk_size,
                          std::optional<double> scale = std::nullopt);

// One token against a cache: q, k, v: [batch, heads, head_dim], the token's
// query and its running summary; k_cache, v_cache: [batch, heads, capacity,
// head_dim], of which the first `num_chunks` entries are past chunks'
// summaries. num_chunks: [] or [1] int64 on the same device, so that a
// captured CUDA graph serves every length. Not differentiable.
at::Tensor ChunkAttentionStep(const at::Tensor& q, const at::Tensor& k,
                              const at::Tensor& v, const at::Tensor& k_cache,
                              const at::Tensor& v_cache,
                              const at::Tensor& num_chunks,
                              std::optional<double> scale = std::nullopt);

}  // namespace repro

#endif  // REPRO_KERNELS_CHUNK_ATTENTION_CHUNK_ATTENTION_H_
