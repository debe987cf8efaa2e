// A linear layer over the few tokens of a decoding step, with what stands
// before and after it in a language model's block:
//
//   h = norm * x / sqrt(mean(x^2) + eps)  (x itself without norm)
//   y = W h + bias
//   out = y,  out += y,  or  out = silu(y[: outputs]) * y[outputs :].
//
// One token on CUDA takes one kernel that reads each weight once; more tokens,
// and what it does not take, are composed of LibTorch's operators.
//
// From Python: torch.ops.repro.decode_linear_.
#ifndef REPRO_KERNELS_DECODE_LINEAR_DECODE_LINEAR_H_
#define REPRO_KERNELS_DECODE_LINEAR_DECODE_LINEAR_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

namespace repro {

// What becomes of y.
enum class DecodeLinearUse : int64_t { kWrite = 0, kAdd = 1, kSwiglu = 2 };

// out: [tokens, outputs] of x's dtype or float32, written in place; x: [tokens,
// columns] of a floating dtype; weight: [outputs, columns], or [2 outputs,
// columns] for kSwiglu; norm: [columns]; bias: one a row of weight. out must
// not overlap x. Not differentiable. Throws c10::Error with the offending
// shape.
void DecodeLinear(const at::Tensor& out, const at::Tensor& x,
                  const at::Tensor& weight,
                  const std::optional<at::Tensor>& norm = std::nullopt,
                  double eps = 1e-6,
                  const std::optional<at::Tensor>& bias = std::nullopt,
                  DecodeLinearUse use = DecodeLinearUse::kWrite);

}  // namespace repro

#endif  // REPRO_KERNELS_DECODE_LINEAR_DECODE_LINEAR_H_
