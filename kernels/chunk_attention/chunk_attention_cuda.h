// Launches of chunk_attention_cuda.cu, free of Torch.
#ifndef REPRO_KERNELS_CHUNK_ATTENTION_CHUNK_ATTENTION_CUDA_H_
#define REPRO_KERNELS_CHUNK_ATTENTION_CHUNK_ATTENTION_CUDA_H_

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/flash/flash.h"

namespace repro {

// Own keys and values are the tokens'; keys and values are the chunks' last
// tokens. Nothing is empty; 1 <= chunk_size <= seq_len.
cudaError_t ChunkAttentionForwardLaunch(const FlashParams& params,
                                        int chunk_size);
cudaError_t ChunkAttentionBackwardLaunch(const FlashParams& params,
                                         int chunk_size);

// q, k, v, out: one row a head. The cache's row counts `capacity`, of which
// *num_chunks (on the device; clamped to the capacity) are read.
struct ChunkAttentionStepParams {
  FlashMatrix q, k, v, out, k_cache, v_cache;
  const int64_t* num_chunks;
  // [batch heads, splits, dim + 2] where splits > 1.
  float* partial;
  int64_t batch, heads, capacity;
  int splits;
  int dim;  // a multiple of 8 up to 128
  float scale;
  FlashType type;
  cudaStream_t stream;
};
// Into how many parts the cache of a head is split on the current device.
int ChunkAttentionStepSplits(int64_t batch_heads, int64_t capacity);
cudaError_t ChunkAttentionStepLaunch(const ChunkAttentionStepParams& params);

}  // namespace repro

#endif  // REPRO_KERNELS_CHUNK_ATTENTION_CHUNK_ATTENTION_CUDA_H_
