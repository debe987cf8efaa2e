// Launches of rotary_cuda.cu, free of Torch.
#ifndef REPRO_KERNELS_ROTARY_ROTARY_CUDA_H_
#define REPRO_KERNELS_ROTARY_ROTARY_CUDA_H_

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/runtime/float_type.h"

namespace repro {

// x, y: [batch, heads, tokens, 2 half] of `type`, rows dense, other axes by
// strides in values; cos, sin: dense [tokens, half]. All sizes are at least 1.
struct RotaryParams {
  const void* x;
  void* y;
  const float* cos;
  const float* sin;
  int64_t batch, heads, tokens, half;
  int64_t x_strides[3], y_strides[3];  // of batch, heads, tokens
  FloatType type;
  cudaStream_t stream;
};
cudaError_t RotaryLaunch(const RotaryParams& params);

}  // namespace repro

#endif  // REPRO_KERNELS_ROTARY_ROTARY_CUDA_H_
