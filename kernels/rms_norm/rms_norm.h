// Root-mean-square normalisation over the last axis:
//
//   y = w * x / sqrt(mean(x^2) + eps).
//
// Without w it is TransNormerLLM's simple RMS norm (Qin et al. 2024).
//
// From Python: torch.ops.repro.rms_norm.
#ifndef REPRO_KERNELS_RMS_NORM_RMS_NORM_H_
#define REPRO_KERNELS_RMS_NORM_RMS_NORM_H_

#include <ATen/core/Tensor.h>

#include <optional>

namespace repro {

// x: [..., dim] of a floating dtype (CUDA: bfloat16, float16 or float32);
// weight: [dim] of x's dtype or float32. Returns x's shape and dtype; sums in
// float32 or wider. Differentiable in both. Throws c10::Error with the
// offending shape.
at::Tensor RmsNorm(const at::Tensor& x,
                   const std::optional<at::Tensor>& weight = std::nullopt,
                   double eps = 1e-6);

}  // namespace repro

#endif  // REPRO_KERNELS_RMS_NORM_RMS_NORM_H_
