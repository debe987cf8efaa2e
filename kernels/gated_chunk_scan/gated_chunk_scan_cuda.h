// Launches of gated_chunk_scan_cuda.cu, free of Torch.
#ifndef REPRO_KERNELS_GATED_CHUNK_SCAN_GATED_CHUNK_SCAN_CUDA_H_
#define REPRO_KERNELS_GATED_CHUNK_SCAN_GATED_CHUNK_SCAN_CUDA_H_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "kernels/runtime/float_type.h"

namespace repro {

// [batch, seq_len, heads, head_dim] whose last axis is dense; strides in
// elements.
struct GatedChunkScanInput {
  const void* data;
  int64_t batch_stride;
  int64_t token_stride;
  int64_t head_stride;
};

// None is 0; chunk_size is at most seq_len. seq_len and heads * head_dim are at
// most 2^30.
struct GatedChunkScanSizes {
  int64_t batch;
  int64_t seq_len;
  int64_t heads;
  int64_t groups;
  int64_t head_dim;
  int64_t chunk_size;
  FloatType type;       // of all but gate and its gradient
  FloatType gate_type;  // kFloat or type
};

// k_average, v_average: dense [batch, seq_len, heads, head_dim]. scratch: of
// GatedChunkScanScratchBytes, 16-byte aligned, with any content.
struct GatedChunkScanForwardParams {
  GatedChunkScanSizes sizes;
  GatedChunkScanInput gate, k, v;
  void* k_average;
  void* v_average;
  void* scratch;
  cudaStream_t stream;
};

// Averages and gradients but for the averages' are dense.
struct GatedChunkScanBackwardParams {
  GatedChunkScanSizes sizes;
  GatedChunkScanInput gate, k, v, grad_k_average, grad_v_average;
  const void* k_average;
  const void* v_average;
  void* grad_gate;
  void* grad_k;
  void* grad_v;
  void* scratch;
  cudaStream_t stream;
};

// seq_len, chunk_size and token_stride are 1. States are dense.
struct GatedChunkScanStepParams {
  GatedChunkScanSizes sizes;
  GatedChunkScanInput gate, k, v;
  const bool* first;
  float* k_state;
  float* v_state;
  cudaStream_t stream;
};

size_t GatedChunkScanScratchBytes(const GatedChunkScanSizes& sizes);
cudaError_t GatedChunkScanForwardLaunch(
    const GatedChunkScanForwardParams& params);
cudaError_t GatedChunkScanBackwardLaunch(
    const GatedChunkScanBackwardParams& params);
cudaError_t GatedChunkScanStepLaunch(const GatedChunkScanStepParams& params);

}  // namespace repro

#endif  // REPRO_KERNELS_GATED_CHUNK_SCAN_GATED_CHUNK_SCAN_CUDA_H_
