// Causal linear attention with a fixed decay per head (Lightning Attention,
// Qin et al. 2024, arXiv 2401.04658 and 2405.17381):
//
//   KV_t = exp(-s_h) KV_{t-1} + k_t^T v_t,   o_t = q_t KV_t,
//
// without softmax, scale or denominator. s = 0 is plain causal linear
// attention. Time and memory are linear in the length.
//
// From Python: torch.ops.repro.lightning_attention and
// torch.ops.repro.lightning_attention_step.
#ifndef REPRO_KERNELS_LIGHTNING_ATTENTION_LIGHTNING_ATTENTION_H_
#define REPRO_KERNELS_LIGHTNING_ATTENTION_LIGHTNING_ATTENTION_H_

#include <ATen/core/Tensor.h>

#include <optional>
#include <tuple>

namespace repro {

// q, k: [batch, heads, seq_len, key_dim], v: [batch, heads, seq_len,
// value_dim], of one floating dtype (CUDA: bfloat16 or float16), any strides.
// decay: [heads] float32, the slopes s_h >= 0.
// initial_state: [batch, heads, key_dim, value_dim] float32, KV before the
// first token; zero if absent.
// cu_seqlens: [sequences + 1] int32 or int64, of the same device, from 0 to
// seq_len and not descending: batch is 1 and row i holds the tokens
// cu_seqlens[i] to cu_seqlens[i + 1] of its own sequence. States then have
// `sequences` in place of batch.
//
// output_final_state: whether the state is wanted; it costs key_dim * value_dim
// floats a head.
//
// Returns the output [batch, heads, seq_len, value_dim] of q's dtype and the
// state after the last token [batch, heads, key_dim, value_dim] in float32
// (float64 for float64 inputs), or an empty tensor where it is not wanted.
// Accumulates in float32 or wider. Differentiable in q, k, v and initial_state,
// through both results. Throws c10::Error with the offending shape; on CUDA the
// values of cu_seqlens, which only the GPU knows, are not checked.
std::tuple<at::Tensor, at::Tensor> LightningAttention(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const at::Tensor& decay,
    const std::optional<at::Tensor>& initial_state = std::nullopt,
    const std::optional<at::Tensor>& cu_seqlens = std::nullopt,
    bool output_final_state = true);

// One token: q, k: [batch, heads, key_dim], v: [batch, heads, value_dim].
// Updates `state` [batch, heads, key_dim, value_dim] float32 in place and
// returns o: [batch, heads, value_dim]. Not differentiable.
at::Tensor LightningAttentionStep(const at::Tensor& q, const at::Tensor& k,
                                  const at::Tensor& v, const at::Tensor& decay,
                                  at::Tensor state);

}  // namespace repro

#endif  // REPRO_KERNELS_LIGHTNING_ATTENTION_LIGHTNING_ATTENTION_H_
