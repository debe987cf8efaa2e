// Causal softmax attention to the first tokens (sinks) and the last ones: what
// a streaming head sees (Xiao et al., Efficient Streaming Language Models with
// Attention Sinks, 2024; DuoAttention, arXiv 2410.10819).
//
// From Python: torch.ops.repro.streaming_attention_prefill.
#ifndef REPRO_KERNELS_STREAMING_ATTENTION_PREFILL_STREAMING_ATTENTION_PREFILL_H_
#define REPRO_KERNELS_STREAMING_ATTENTION_PREFILL_STREAMING_ATTENTION_PREFILL_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

namespace repro {

struct StreamingAttentionOptions {
  // In tokens, or with block > 1 in blocks of so many tokens; block is a power
  // of two. recent counts the query's own and is positive.
  int64_t sink = 0;
  int64_t recent = 1;
  int64_t block = 1;
  // Tokens that stood between the first sink * block keys and the next one and
  // are no longer among the keys, as in a cache of sinks and a window before
  // the chunk that is being read. The keys behind them stand so many places
  // further on, which moves the borders of blocks and nothing else: with block
  // = 1 it has no effect.
  int64_t dropped = 0;
  std::optional<double> scale;  // 1 / sqrt(head_dim) unless given
};

// q: [batch, num_heads, queries, head_dim], k: [batch, num_kv_heads, keys,
// head_dim], v: [batch, num_kv_heads, keys, value_dim], keys >= queries, of one
// floating dtype (CUDA: bfloat16 or float16, head_dim and value_dim at most
// 128), any strides. The last query stands at the last key; query head h reads
// key head h / (num_heads / num_kv_heads).
//
// The query at place i sees the key at place j <= i where j / block < sink or
// j / block > i / block - recent, in whole numbers.
//
// Returns [batch, num_heads, queries, value_dim]. No gradient. Throws
// c10::Error with the offending shape.
at::Tensor StreamingAttentionPrefill(const at::Tensor& q, const at::Tensor& k,
                                     const at::Tensor& v,
                                     const StreamingAttentionOptions& options);

}  // namespace repro

#endif  // REPRO_KERNELS_STREAMING_ATTENTION_PREFILL_STREAMING_ATTENTION_PREFILL_H_
