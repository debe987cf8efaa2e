// Launches of kv_quantize_cuda.cu, free of Torch.
#ifndef REPRO_KERNELS_KV_QUANTIZE_KV_QUANTIZE_CUDA_H_
#define REPRO_KERNELS_KV_QUANTIZE_KV_QUANTIZE_CUDA_H_

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/runtime/float_type.h"

namespace repro {

// All arrays are dense: x [groups, group_size] of `type`, packed [groups,
// group_size * bits / 8], scale and zero [groups] of half.
struct KvQuantizeParams {
  const void* x;  // kv_dequantize writes it
  uint8_t* packed;
  void* scale;
  void* zero;
  int64_t groups;
  int group_size;
  int bits;
  FloatType type;
  cudaStream_t stream;
};
cudaError_t KvQuantizeLaunch(const KvQuantizeParams& params);
cudaError_t KvDequantizeLaunch(const KvQuantizeParams& params);

}  // namespace repro

#endif  // REPRO_KERNELS_KV_QUANTIZE_KV_QUANTIZE_CUDA_H_
