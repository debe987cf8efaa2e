// Launches of rms_norm_cuda.cu, free of Torch.
#ifndef REPRO_KERNELS_RMS_NORM_RMS_NORM_CUDA_H_
#define REPRO_KERNELS_RMS_NORM_RMS_NORM_CUDA_H_

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/runtime/float_type.h"

namespace repro {

// All arrays are dense: x, y, dy, dx [rows, dim] of `type`; weight [dim] of
// `weight_type` or null; inverse_rms [rows] float.
struct RmsNormForwardParams {
  const void* x;
  const void* weight;
  void* y;
  float* inverse_rms;
  int64_t rows;
  int64_t dim;
  float eps;
  FloatType type;
  FloatType weight_type;
  cudaStream_t stream;
};
cudaError_t RmsNormForwardLaunch(const RmsNormForwardParams& params);

// partial_dweight: [RmsNormBackwardBlocks(rows), dim] float, whose sum over
// blocks is dweight; null without a weight.
struct RmsNormBackwardParams {
  const void* dy;
  const void* x;
  const void* weight;
  const float* inverse_rms;
  void* dx;
  float* partial_dweight;
  int64_t rows;
  int64_t dim;
  FloatType type;
  FloatType weight_type;
  cudaStream_t stream;
};
int64_t RmsNormBackwardBlocks(int64_t rows);
cudaError_t RmsNormBackwardLaunch(const RmsNormBackwardParams& params);

}  // namespace repro

#endif  // REPRO_KERNELS_RMS_NORM_RMS_NORM_CUDA_H_
