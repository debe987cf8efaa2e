// Launches of taylor_linear_attention_cuda.cu, free of Torch.
#ifndef REPRO_KERNELS_TAYLOR_LINEAR_ATTENTION_TAYLOR_LINEAR_ATTENTION_CUDA_H_
#define REPRO_KERNELS_TAYLOR_LINEAR_ATTENTION_TAYLOR_LINEAR_ATTENTION_CUDA_H_

#include <cuda_runtime_api.h>

#include <cstdint>

namespace repro {

enum class TaylorType { kHalf, kBFloat16 };

// The key axis of the kernels, which shorter keys fill up with zeros.
constexpr int kTaylorKeyDim = 16;

// [batch, heads, seq_len, dim] with dim contiguous; the address and the strides
// (in elements, may be negative) are multiples of 16 bytes.
struct TaylorMatrix {
  const void* data;
  int64_t batch_stride;
  int64_t head_stride;
  int64_t token_stride;
};

// sum phi(k)^T v and sum phi(k), dense: [batch, heads, 1 + d + d^2, value_dim]
// and [batch, heads, 1 + d + d^2] float; null if absent.
struct TaylorSums {
  float* kv;
  float* k;
};

struct TaylorSizes {
  int64_t batch;
  int64_t heads;
  int64_t seq_len;
  int key_dim;    // d, at most kTaylorKeyDim; the matrices' key axis is 16
  int value_dim;  // a multiple of 8
  TaylorType type;
  cudaStream_t stream;
};

// How many segments of the sequence run beside each other, and the floats of
// workspace that their states take (0 for one segment).
struct TaylorSegments {
  int count;
  int64_t length;
  int64_t workspace;
};

// y_t = sum_{i<=t} f_ti v_i, over sum_{i<=t} f_ti + eps if `normalize`, where
// f = 1 + s + s^2/2, s = scale q_t . k_i.
struct TaylorForwardParams {
  TaylorSizes sizes;
  TaylorMatrix q, k, v, y;
  float* denominator;  // [batch, heads, seq_len], or null
  TaylorSums initial, last;
  float scale;
  float eps;
  bool normalize;
  TaylorSegments segments;
  float* workspace;
};
TaylorSegments TaylorForwardSegments(const TaylorSizes& sizes);
cudaError_t TaylorForwardLaunch(const TaylorForwardParams& params);

// x_t = out_scale sum_{i<=t} (g_t . w_i + a_t b_i) (1 + s_ti) k_i, s_ti =
// q_scale k_scale q_t . k_i, in which the sum's k_i is k_scale k_i. With g = dy
// / z, w = v, a = dz, b = 1 that is dq; with the sequence reversed, q and k
// exchanged, g = v, w = dy / z, a = 1, b = dz it is dk.
struct TaylorGradientParams {
  TaylorSizes sizes;
  TaylorMatrix q, k, g, w;
  // [batch * heads, seq_len] float with token stride 1 or -1; null: 1.
  const float* a;
  const float* b;
  int64_t scalar_stride;
  bool has_scalars;  // false: a b is 0
  // [value blocks, batch * heads, seq_len, 16] float: the sum over value blocks
  // is x. Token stride 16 or -16.
  float* x;
  int64_t x_stride;
  TaylorSums initial;
  float q_scale, k_scale, out_scale;
  TaylorSegments segments;
  float* workspace;
};
TaylorSegments TaylorGradientSegments(const TaylorSizes& sizes);
int TaylorValueBlocks(int value_dim);
cudaError_t TaylorGradientLaunch(const TaylorGradientParams& params);

// g = dy / denominator, dz = -dy . y / denominator; dense, rows = batch * heads
// * seq_len, value_dim a multiple of 8.
struct TaylorScaleParams {
  const void* dy;
  const void* y;
  const float* denominator;
  void* g;
  float* dz;
  int64_t rows;
  int value_dim;
  TaylorType type;
  cudaStream_t stream;
};
cudaError_t TaylorScaleLaunch(const TaylorScaleParams& params);

// One token of each of `heads` = batch * heads sequences. Dense q, k [heads,
// key_dim], v, y [heads, value_dim]; key_dim up to 16, any value_dim.
struct TaylorStepParams {
  const void* q;
  const void* k;
  const void* v;
  void* y;
  TaylorSums state;
  int64_t heads;
  int key_dim;
  int value_dim;
  float eps;
  bool normalize;
  TaylorType type;
  cudaStream_t stream;
};
cudaError_t TaylorStepLaunch(const TaylorStepParams& params);

}  // namespace repro

#endif  // REPRO_KERNELS_TAYLOR_LINEAR_ATTENTION_TAYLOR_LINEAR_ATTENTION_CUDA_H_
