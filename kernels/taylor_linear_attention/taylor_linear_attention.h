// Causal linear attention with the second-order Taylor feature map of the
// exponential (Based, Arora et al. 2024, arXiv 2402.18668):
//
//   f_ti = 1 + s + s^2 / 2,  s = q_t . k_i / sqrt(key_dim),
//   y_t = sum_{i<=t} f_ti v_i / (sum_{i<=t} f_ti + eps).
//
// phi(x) = [1, x / d^(1/4), vec(x x^T) / (sqrt(2) sqrt(d))] gives phi(q) .
// phi(k) = f; its 1 + d + d^2 features are never written to memory.
//
// From Python: torch.ops.repro.taylor_linear_attention and
// torch.ops.repro.taylor_linear_attention_step.
#ifndef REPRO_KERNELS_TAYLOR_LINEAR_ATTENTION_TAYLOR_LINEAR_ATTENTION_H_
#define REPRO_KERNELS_TAYLOR_LINEAR_ATTENTION_TAYLOR_LINEAR_ATTENTION_H_

#include <ATen/core/Tensor.h>

#include <optional>
#include <tuple>

namespace repro {

struct TaylorState {
  at::Tensor kv;  // [batch, heads, 1 + d + d^2, value_dim]: sum phi(k_i)^T v_i
  at::Tensor k;   // [batch, heads, 1 + d + d^2]: sum phi(k_i)
};

// q, k: [batch, heads, seq_len, key_dim], v: [batch, heads, seq_len,
// value_dim], of one floating dtype (CUDA: bfloat16 or float16, key_dim up to
// 16), any strides. `normalize` false leaves out the denominator.
// initial_state: float32 sums before the first token; zero if absent.
//
// Returns y [batch, heads, seq_len, value_dim] of q's dtype and the sums after
// the last token, in float32 (float64 for float64 inputs). Differentiable in
// q, k and v through y; the state carries no gradient. Throws c10::Error with
// the offending shape.
std::tuple<at::Tensor, TaylorState> TaylorLinearAttention(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    bool normalize = true, double eps = 1e-12,
    const std::optional<TaylorState>& initial_state = std::nullopt);

// One token: q, k: [batch, heads, key_dim], v: [batch, heads, value_dim].
// Updates the state in place and returns y: [batch, heads, value_dim]. Not
// differentiable.
at::Tensor TaylorLinearAttentionStep(const at::Tensor& q, const at::Tensor& k,
                                     const at::Tensor& v,
                                     const TaylorState& state,
                                     bool normalize = true, double eps = 1e-12);

}  // namespace repro

#endif  // REPRO_KERNELS_TAYLOR_LINEAR_ATTENTION_TAYLOR_LINEAR_ATTENTION_H_
