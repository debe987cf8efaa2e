// Launches of lightning_attention_cuda.cu, free of Torch.
#ifndef REPRO_KERNELS_LIGHTNING_ATTENTION_LIGHTNING_ATTENTION_CUDA_H_
#define REPRO_KERNELS_LIGHTNING_ATTENTION_LIGHTNING_ATTENTION_CUDA_H_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace repro {

enum class LightningType { kHalf, kBFloat16 };

// [batch, heads, length, dim] with a dense last axis. Strides are in elements
// and multiples of 8 (those of axes of size 1 do not count); `data` is aligned
// to 16 bytes.
struct LightningTensor {
  void* data;
  int64_t batch_stride;
  int64_t head_stride;
  int64_t row_stride;
};

// One sweep over all sequences:
//
//   forward: S_t = e^{-s} S_{t-1} + k_t^T v_t, o_t = q_t S_t
//   reverse: o_t = q_t (S_{t+1} + k_t^T v_t),  S_t = e^{-s} (S_{t+1} + k_t^T
//   v_t)
//
// from initial_state (null: zero) to final_state (null: not wanted). Element
// (i, j) of the state [key_dim, value_dim] of a sequence's head is at
//
//   (sequence * heads + head) * key_dim * value_dim
//       + i * state_key_stride + j * state_value_stride.
struct LightningSweepParams {
  LightningTensor q, k, v, out;
  // With data: second_out = the same sweep over (second_q, v, k), whose state
  // is the transpose. Only where LightningSweepHasPair.
  LightningTensor second_q, second_out;
  int batch, heads;
  int length;              // at least 1
  int key_dim, value_dim;  // 64 or 128
  const float* decay;      // [heads]
  bool reverse;
  const float* initial_state;
  float* final_state;
  int state_key_stride, state_value_stride;
  const void* cu_seqlens;  // [sequences + 1] or null; then batch is 1
  bool cu_seqlens_is_64;
  int sequences;    // batch without cu_seqlens
  void* workspace;  // LightningSweepWorkspace(params) bytes, 16-byte aligned
  int multiprocessors;
  bool hopper;  // compute capability 9.0
  LightningType type;
  cudaStream_t stream;
};
bool LightningSweepHasPair(const LightningSweepParams& params);
size_t LightningSweepWorkspace(const LightningSweepParams& params);
cudaError_t LightningSweepLaunch(const LightningSweepParams& params);

// One token; q, k [batch, heads, key_dim], v, out [batch, heads, value_dim],
// out dense; state [batch, heads, key_dim, value_dim] dense and updated in
// place. Any dims.
struct LightningStepParams {
  LightningTensor q, k, v;  // row_stride unused, any strides
  void* out;
  float* state;
  const float* decay;
  int batch, heads, key_dim, value_dim;
  LightningType type;
  cudaStream_t stream;
};
cudaError_t LightningStepLaunch(const LightningStepParams& params);

}  // namespace repro

#endif  // REPRO_KERNELS_LIGHTNING_ATTENTION_LIGHTNING_ATTENTION_CUDA_H_
