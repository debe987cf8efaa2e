// The tiled kernels of kernels/flash over the chunk ends, which are read in
// place, a row every chunk_size tokens, with each token's own key and value in
// the same softmax.
//
// 262,144 tokens in one sequence, 16 heads of 128, chunks of 16: a query sees
// 8,192 chunk ends on average, 18 TFLOP forward (22 ms at 790 TFLOP/s) and 62
// backward in seven products (78 ms; five would be 56), a sixteenth of causal
// attention over all tokens. Matrix units are the bound from some 16,384 tokens
// on; below, the 4.3 GB of q, k, v and out forward.
//
// A decoding step reads the cache once: 2 dim 16-bit values an entry, at two
// operations a byte bound by memory. A row of 128 values is 16 lanes of 16
// bytes; each group of lanes has 4 to 8 rows of keys and of values on their way
// (64 registers), 32 to 64 KB a block. The softmax is merged
// online a group, then over a warp, a block and, where the cache is split for
// lack of heads, in a second kernel.
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>

#include "kernels/chunk_attention/chunk_attention_cuda.h"
#include "kernels/flash/backward.h"
#include "kernels/flash/forward.h"

namespace repro {
namespace {

struct ChunkMask {
  static constexpr bool kOwn = true;
  int chunk_size;

  __device__ int First(int) const { return 0; }
  __device__ int End(int t) const { return t / chunk_size; }
  __device__ int FirstQuery(int j, int seq_len) const {
    const int64_t t = (j + int64_t{1}) * chunk_size;
    return static_cast<int>(min(t, static_cast<int64_t>(seq_len)));
  }
  __device__ int EndQuery(int, int seq_len) const { return seq_len; }
};

constexpr int kStepThreads = 256;
constexpr int kStepWarps = kStepThreads / 32;
constexpr int kStepRows = 4;  // of a group of lanes, at a time

__device__ uint4 LoadOnce(const void* p) {
  uint4 x;
  asm volatile("ld.global.nc.L1::no_allocate.v4.b32 {%0, %1, %2, %3}, [%4];"
               : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w)
               : "l"(p));
  return x;
}

template <typename T>
__device__ void Unpack8(const uint4& x, float (&y)[8]) {
  const uint32_t words[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float2 pair = flash::Unpack<T>(words[i]);
    y[2 * i] = pair.x;
    y[2 * i + 1] = pair.y;
  }
}

// Some entries' part of a softmax: the largest score, in units of log 2, and
// the sums of exp2(score - maximum) and of that times a lane's eight values.
struct Part {
  float maximum, sum, values[8];

  __device__ void Merge(float other_maximum, float other_sum,
                        const float (&other_values)[8]) {
    const float both = fmaxf(maximum, other_maximum);
    // Both empty: -infinity less itself is no number.
    const float shift = both == -INFINITY ? 0 : both;
    const float a = flash::Exp2(maximum - shift),
                b = flash::Exp2(other_maximum - shift);
    maximum = both;
    sum = sum * a + other_sum * b;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      values[i] = values[i] * a + other_values[i] * b;
    }
  }
};

// kLanes lanes, 8 values each, hold a row.
template <typename T, int kLanes>
__global__ __launch_bounds__(kStepThreads) void StepKernel(
    const __grid_constant__ ChunkAttentionStepParams p) {
  constexpr int kGroups = kStepThreads / kLanes;
  const int lane = threadIdx.x % kLanes, group = threadIdx.x / kLanes;
  const int split = blockIdx.x % p.splits;
  const int64_t batch_head = blockIdx.x / p.splits;
  const int64_t batch = batch_head / p.heads, head = batch_head % p.heads;
  const bool in_row = lane * 8 < p.dim;
  const auto row = [&](const FlashMatrix& m) {
    return flash::Head<const T>(m, batch, head) + lane * 8;
  };
  const float scale = p.scale * flash::kLog2E;

  const uint4 zero = make_uint4(0, 0, 0, 0);
  const uint4 own_q = in_row ? LoadOnce(row(p.q)) : zero,
              own_k = in_row ? LoadOnce(row(p.k)) : zero,
              own_v = in_row ? LoadOnce(row(p.v)) : zero;
  const int64_t count =
      min(max(*p.num_chunks, static_cast<int64_t>(0)), p.capacity);
  const int64_t per_split = (count + p.splits - 1) / p.splits;
  const int64_t end = min(count, (split + 1) * per_split);

  float q[8];
  Unpack8<T>(own_q, q);
#pragma unroll
  for (int i = 0; i < 8; ++i) q[i] *= scale;
  // In all lanes of the group.
  const auto score = [&](const uint4& key) {
    float k[8], sum = 0;
    Unpack8<T>(key, k);
#pragma unroll
    for (int i = 0; i < 8; ++i) sum = fmaf(q[i], k[i], sum);
#pragma unroll
    for (int mask = 1; mask < kLanes; mask *= 2) {
      sum += __shfl_xor_sync(0xffffffffu, sum, mask);
    }
    return sum;
  };

  const T* keys = row(p.k_cache);
  const T* values = row(p.v_cache);
  struct Rows {
    uint4 k[kStepRows], v[kStepRows];
  };
  Part part = {-INFINITY, 0, {}};
  // Rows first + group + i kGroups.
  const auto load = [&](Rows& rows, int64_t first, int64_t end) {
#pragma unroll
    for (int i = 0; i < kStepRows; ++i) {
      const int64_t entry = first + i * kGroups + group;
      const bool valid = in_row && entry < end;
      rows.k[i] = valid ? LoadOnce(keys + entry * p.k_cache.row_stride) : zero;
      rows.v[i] =
          valid ? LoadOnce(values + entry * p.v_cache.row_stride) : zero;
    }
  };
  const auto use = [&](const Rows& rows, int64_t first) {
    float scores[kStepRows];
    float maximum = part.maximum;
#pragma unroll
    for (int i = 0; i < kStepRows; ++i) {
      scores[i] = score(rows.k[i]);
      if (first + i * kGroups + group >= end) scores[i] = -INFINITY;
      maximum = fmaxf(maximum, scores[i]);
    }
    const float shift = maximum == -INFINITY ? 0 : maximum;
    const float decay = flash::Exp2(part.maximum - shift);
    part.maximum = maximum;
    part.sum *= decay;
#pragma unroll
    for (int j = 0; j < 8; ++j) part.values[j] *= decay;
#pragma unroll
    for (int i = 0; i < kStepRows; ++i) {
      const float weight = flash::Exp2(scores[i] - shift);
      part.sum += weight;
      float x[8];
      Unpack8<T>(rows.v[i], x);
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        part.values[j] = fmaf(weight, x[j], part.values[j]);
      }
    }
  };
  // Two sets of rows: one on its way while the other is used.
  constexpr int kRows = kGroups * kStepRows;
  int64_t first = 0;
  Rows even, odd;
  if (p.splits == 1) {
    // Does not wait for the count.
    load(even, 0, p.capacity);
  } else {
    first = split * per_split;
    load(even, first, end);
  }
  const float own = score(own_k);
  if (split == 0 && group == 0) {
    part.maximum = own;
    part.sum = 1;
    Unpack8<T>(own_v, part.values);
  }
  while (first < end) {
    load(odd, first + kRows, end);
    use(even, first);
    first += kRows;
    if (first >= end) break;
    load(even, first + kRows, end);
    use(odd, first);
    first += kRows;
  }

#pragma unroll
  for (int mask = kLanes; mask < 32; mask *= 2) {
    float other[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      other[i] = __shfl_xor_sync(0xffffffffu, part.values[i], mask);
    }
    const float maximum = __shfl_xor_sync(0xffffffffu, part.maximum, mask);
    const float sum = __shfl_xor_sync(0xffffffffu, part.sum, mask);
    part.Merge(maximum, sum, other);
  }
  __shared__ float maxima[kStepWarps], sums[kStepWarps];
  __shared__ float rows[kStepWarps][kLanes * 8];
  const int warp = threadIdx.x / 32;
  if (threadIdx.x % 32 < kLanes) {
    if (lane == 0) {
      maxima[warp] = part.maximum;
      sums[warp] = part.sum;
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) rows[warp][lane * 8 + i] = part.values[i];
  }
  __syncthreads();
  const int column = threadIdx.x;
  if (column >= p.dim) return;
  float maximum = -INFINITY, sum = 0, value = 0;
#pragma unroll
  for (int i = 0; i < kStepWarps; ++i) maximum = fmaxf(maximum, maxima[i]);
  const float shift = maximum == -INFINITY ? 0 : maximum;
#pragma unroll
  for (int i = 0; i < kStepWarps; ++i) {
    const float weight = flash::Exp2(maxima[i] - shift);
    sum += weight * sums[i];
    value += weight * rows[i][column];
  }
  if (p.splits == 1) {
    flash::Head<T>(p.out, batch, head)[column] = static_cast<T>(value / sum);
    return;
  }
  float* partial = p.partial + (batch_head * p.splits + split) * (p.dim + 2);
  partial[2 + column] = value;
  if (column == 0) {
    partial[0] = maximum;
    partial[1] = sum;
  }
}

// A block a head, a thread a column. The first split is never empty.
template <typename T>
__global__ void MergeKernel(
    const __grid_constant__ ChunkAttentionStepParams p) {
  const int64_t batch_head = blockIdx.x;
  const int column = threadIdx.x;
  if (column >= p.dim) return;
  const float* partial = p.partial + batch_head * p.splits * (p.dim + 2);
  float maximum = -INFINITY, sum = 0, value = 0;
  for (int i = 0; i < p.splits; ++i) {
    maximum = fmaxf(maximum, partial[i * (p.dim + 2)]);
  }
  for (int i = 0; i < p.splits; ++i) {
    const float* x = partial + i * (p.dim + 2);
    const float weight = flash::Exp2(x[0] - maximum);
    sum += weight * x[1];
    value += weight * x[2 + column];
  }
  flash::Head<T>(p.out, batch_head / p.heads, batch_head % p.heads)[column] =
      static_cast<T>(value / sum);
}

template <typename T>
cudaError_t LaunchStep(const ChunkAttentionStepParams& p) {
  const unsigned heads = static_cast<unsigned>(p.batch * p.heads);
  const unsigned blocks = heads * p.splits;
  if (p.dim <= 64) {
    StepKernel<T, 8><<<blocks, kStepThreads, 0, p.stream>>>(p);
  } else {
    StepKernel<T, 16><<<blocks, kStepThreads, 0, p.stream>>>(p);
  }
  const cudaError_t error = cudaGetLastError();
  if (error != cudaSuccess || p.splits == 1) return error;
  MergeKernel<T><<<heads, 128, 0, p.stream>>>(p);
  return cudaGetLastError();
}

}  // namespace

cudaError_t ChunkAttentionForwardLaunch(const FlashParams& params,
                                        int chunk_size) {
  return FlashForward(params, ChunkMask{chunk_size});
}

cudaError_t ChunkAttentionBackwardLaunch(const FlashParams& params,
                                         int chunk_size) {
  return FlashBackward(params, ChunkMask{chunk_size});
}

int ChunkAttentionStepSplits(int64_t batch_heads, int64_t capacity) {
  int device = 0, multiprocessors = 1;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount,
                         device);
  // Two blocks an SM, each with at least 256 entries to read.
  const int64_t wanted =
      2 * multiprocessors / std::max<int64_t>(batch_heads, 1);
  return static_cast<int>(
      std::max<int64_t>(1, std::min(wanted, capacity / 256)));
}

cudaError_t ChunkAttentionStepLaunch(const ChunkAttentionStepParams& params) {
  return params.type == FlashType::kHalf ? LaunchStep<__half>(params)
                                         : LaunchStep<__nv_bfloat16>(params);
}

}  // namespace repro
