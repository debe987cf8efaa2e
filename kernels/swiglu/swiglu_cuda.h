// Launches of swiglu_cuda.cu, free of Torch.
#ifndef REPRO_KERNELS_SWIGLU_SWIGLU_CUDA_H_
#define REPRO_KERNELS_SWIGLU_SWIGLU_CUDA_H_

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/runtime/float_type.h"

namespace repro {

// All arrays are dense and of `type`: gate_up, dgate_up [rows, 2 dim]; y, dy
// [rows, dim]. rows and dim are at least 1.
struct SwiGluParams {
  const void* gate_up;
  const void* dy;  // null: y is computed, else dgate_up
  void* out;
  int64_t rows;
  int64_t dim;
  FloatType type;
  cudaStream_t stream;
};
cudaError_t SwiGluLaunch(const SwiGluParams& params);

}  // namespace repro

#endif  // REPRO_KERNELS_SWIGLU_SWIGLU_CUDA_H_
