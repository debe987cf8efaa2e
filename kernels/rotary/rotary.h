// Rotary positions (Su et al. 2021, arXiv 2104.09864), in the layout in which
// entry i of a head turns together with entry i + dim / 2:
//
//   y_i           = x_i cos_i - x_{i + dim/2} sin_i
//   y_{i + dim/2} = x_{i + dim/2} cos_i + x_i sin_i,  i < dim / 2.
//
// From Python: torch.ops.repro.rotary.
#ifndef REPRO_KERNELS_ROTARY_ROTARY_H_
#define REPRO_KERNELS_ROTARY_ROTARY_H_

#include <ATen/core/Tensor.h>

namespace repro {

// x: [..., tokens, dim] of a floating dtype (CUDA: bfloat16, float16 or
// float32); cos, sin: [tokens, dim / 2] float32 (on the CPU, also float64).
// Returns x's shape and dtype, its axes in memory in x's order, computed in
// float32 or wider and rounded once. Differentiable in x. Throws c10::Error
// with the offending shape.
at::Tensor Rotary(const at::Tensor& x, const at::Tensor& cos,
                  const at::Tensor& sin);

}  // namespace repro

#endif  // REPRO_KERNELS_ROTARY_ROTARY_H_
