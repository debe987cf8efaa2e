// Launch of decode_linear_cuda.cu, free of Torch.
#ifndef REPRO_KERNELS_DECODE_LINEAR_DECODE_LINEAR_CUDA_H_
#define REPRO_KERNELS_DECODE_LINEAR_DECODE_LINEAR_CUDA_H_

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/runtime/float_type.h"

namespace repro {

// What becomes of the products.
enum class DecodeLinearMode {
  kWrite,   // out = y
  kAdd,     // out += y
  kSwiglu,  // out = silu(first half of y) * second half
};

// All arrays are dense, 16-byte aligned, and columns a multiple of 8.
struct DecodeLinearParams {
  const void* x;       // [columns]
  const void* weight;  // [rows, columns], rows = outputs or 2 outputs (swiglu)
  const void* norm;    // [columns] or null
  const void* bias;    // [rows] or null
  void* out;           // [outputs]
  int64_t outputs;
  int columns;
  float eps;
  FloatType type;      // of x, weight, norm and bias: half or bfloat16
  FloatType out_type;  // the same, or float
  DecodeLinearMode mode;
  int multiprocessors;
  cudaStream_t stream;
};
// Whether the launch takes so many columns: they lie in shared memory.
bool DecodeLinearFits(int64_t columns);
cudaError_t DecodeLinearLaunch(const DecodeLinearParams& params);

}  // namespace repro

#endif  // REPRO_KERNELS_DECODE_LINEAR_DECODE_LINEAR_CUDA_H_
