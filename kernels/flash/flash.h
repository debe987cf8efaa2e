// What a launch of the tiled attention kernels is told, free of Torch.
#ifndef REPRO_KERNELS_FLASH_FLASH_H_
#define REPRO_KERNELS_FLASH_FLASH_H_

#include <cuda_runtime_api.h>

#include <cstdint>

namespace repro {

enum class FlashType { kHalf, kBFloat16 };

// [batch, heads, rows, dim] of 16-bit values, the last axis dense, rows
// starting at multiples of 16 bytes. Strides count elements.
struct FlashMatrix {
  void* data = nullptr;
  int64_t batch_stride = 0;
  int64_t head_stride = 0;
  int64_t row_stride = 0;
};

// Forward reads q, k, v, own_k, own_v and writes out and log_sum; backward
// reads all of these and grad_out, and writes the other gradients and delta.
struct FlashParams {
  FlashMatrix q;     // seq_len rows of head_dim
  FlashMatrix k, v;  // num_keys rows of head_dim and value_dim
  // Only where each query has a key and value of its own: seq_len rows.
  FlashMatrix own_k, own_v;
  FlashMatrix out;  // seq_len rows of value_dim
  // [batch, heads, seq_len], log sum exp(scale q.k); null: forward leaves it.
  float* log_sum = nullptr;

  FlashMatrix grad_out, grad_q, grad_own_k, grad_own_v;
  // Where queries have own keys, backward adds to these: the rows of keys are
  // then some of the own ones.
  FlashMatrix grad_k, grad_v;
  float* delta = nullptr;  // [batch, heads, seq_len], sum of grad_out * out

  int batch = 0, heads = 0;  // their product fits in an int
  // Heads of q that share one of k and v; backward has 1 only.
  int heads_per_key_head = 1;
  int seq_len = 0, num_keys = 0;
  int head_dim = 0, value_dim = 0;  // multiples of 8 up to 128
  float scale = 0;                  // positive
  FlashType type = FlashType::kBFloat16;
  cudaStream_t stream = nullptr;
};

}  // namespace repro

#endif  // REPRO_KERNELS_FLASH_FLASH_H_
