// The gate of a SwiGLU layer (Shazeer 2020, arXiv 2002.05202) in one pass over
// what one product has put side by side:
//
//   y = silu(gate) * up, silu(g) = g / (1 + exp(-g)), [gate, up] = gate_up.
//
// From Python: torch.ops.repro.swiglu.
#ifndef REPRO_KERNELS_SWIGLU_SWIGLU_H_
#define REPRO_KERNELS_SWIGLU_SWIGLU_H_

#include <ATen/core/Tensor.h>

namespace repro {

// gate_up: [..., 2 dim] of a floating dtype (CUDA: bfloat16, float16 or
// float32) -> [..., dim] of the same, computed in float32 or wider.
// Differentiable. Throws c10::Error with the offending shape.
at::Tensor SwiGlu(const at::Tensor& gate_up);

}  // namespace repro

#endif  // REPRO_KERNELS_SWIGLU_SWIGLU_H_
