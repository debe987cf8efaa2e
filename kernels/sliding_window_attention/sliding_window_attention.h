// Exact causal softmax attention over the last `window` tokens.
//
// From Python: torch.ops.repro.sliding_window_attention.
#ifndef REPRO_KERNELS_SLIDING_WINDOW_ATTENTION_SLIDING_WINDOW_ATTENTION_H_
#define REPRO_KERNELS_SLIDING_WINDOW_ATTENTION_SLIDING_WINDOW_ATTENTION_H_

#include <ATen/core/Tensor.h>

#include <optional>

namespace repro {

// Token t sees the `window` keys t - window + 1 ... t, its own included
// (FlashAttention's window (w, 0) is window = w + 1 here).
// q, k: [batch, heads, seq_len, head_dim], v: [batch, heads, seq_len,
// value_dim], of one floating dtype (CUDA: bfloat16 or float16), any strides;
// scale is 1 / sqrt(head_dim) unless given. Returns [batch, heads, seq_len,
// value_dim]. Differentiable. Throws c10::Error with the offending shape.
at::Tensor SlidingWindowAttention(const at::Tensor& q, const at::Tensor& k,
                                  const at::Tensor& v, int64_t window,
                                  std::optional<double> scale = std::nullopt);

}  // namespace repro

#endif  // REPRO_KERNELS_SLIDING_WINDOW_ATTENTION_SLIDING_WINDOW_ATTENTION_H_
