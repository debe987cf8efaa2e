// The steps between a model's matrix products, fused for float32 on the CPU:
// of a token a step, ATen's dispatch costs more than the arithmetic.
#ifndef REPRO_COMMON_LM_CPU_OPS_H_
#define REPRO_COMMON_LM_CPU_OPS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace repro::lm::cpu {

// Whether the functions below may take x: float32 on the CPU, last axis dense,
// and no gradient is to be recorded.
bool Takes(const at::Tensor& x);

// weight * x / sqrt(mean(x^2) + eps). x: [rows, dim], weight: [dim].
at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps);

// silu(gate) * up. gate_up: [rows, 2 dim], gate first -> [rows, dim].
at::Tensor SwiGlu(const at::Tensor& gate_up);

// Turns x: [heads, tokens, head_dim] by cos, sin: [tokens, head_dim / 2], as
// rope.h. Returns a contiguous tensor.
at::Tensor Rotate(const at::Tensor& x, const at::Tensor& cos,
                  const at::Tensor& sin);

// Whether the two below have this head_dim: a multiple of 16 up to 256.
bool TakesHeadDim(int64_t head_dim);

// Of one query over all keys. q: [num_heads, 1, head_dim], k, v:
// [num_kv_heads, keys, head_dim] -> q's shape.
at::Tensor DecodeAttention(const at::Tensor& q, const at::Tensor& k,
                           const at::Tensor& v, double scale);

// Of several queries, which stand at the last keys and see those up to their
// own. q: [num_heads, queries, head_dim], k, v: [num_kv_heads, keys, head_dim]
// -> [num_heads, queries, head_dim], which lies in memory as [queries,
// num_heads, head_dim].
at::Tensor CausalAttention(const at::Tensor& q, const at::Tensor& k,
                           const at::Tensor& v, double scale);

}  // namespace repro::lm::cpu

#endif  // REPRO_COMMON_LM_CPU_OPS_H_
