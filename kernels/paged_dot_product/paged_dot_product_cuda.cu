// Bound by memory: a key of 128 bf16 values is 256 bytes for each group of
// query heads, and of Qwen2-7B's 28 heads over 4 key heads the scores, float32,
// are another ninth; 1M tokens move 1.19 GB, 0.25 ms at 4.8 TB/s, for 7 GFLOP.
//
// What has to be avoided is arithmetic outside the tensor cores: with 7 query
// heads a key, plain multiply-adds and the shuffles of their sums would take as
// long as the loads. So a warp multiplies its group of up to 16 query heads
// (rows of mma.m16n8k16) with 8 keys (columns) at a time, and reads the keys
// straight from global memory into the operand's registers: the order of the
// summed index is free as long as both operands share it, so that thread t of a
// column's four takes values 32 i + 8 t ... + 7 of each 32 with one 16-byte
// load. A warp has the loads of 32 keys (8 KB) in flight.
//
// The softmax's maximum and sum are kept by each thread over the warp's keys
// and merged once a block, which leaves one log-sum-exp a head and block of
// 1,024 keys; so the scores are read again only by the vote itself. Blocks of
// the same keys and other key heads are neighbours, since their rows are.
//
// SimpleProduct is the readable version, for head sizes that are not multiples
// of 32.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "kernels/flash/mma.h"
#include "kernels/paged_dot_product/paged_dot_product_cuda.h"
#include "kernels/runtime/float_conversion.h"

namespace repro {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * 32;
constexpr int kBlockTokens = static_cast<int>(kPagedDotProductTokens);
constexpr int kWarpTokens = kBlockTokens / kWarps;
constexpr int kColumns = 4;  // groups of 8 keys whose loads are in flight
constexpr int kRows = 16;    // query heads of one product

static_assert(kWarpTokens % (8 * kColumns) == 0, "whole steps");

// A running maximum and the sum of exponentials below it.
struct SoftmaxSum {
  float max = -INFINITY;
  float sum = 0;

  __device__ void Add(float x) {
    if (x <= max) {
      sum += __expf(x - max);
    } else {
      sum = sum * __expf(max - x) + 1;
      max = x;
    }
  }
  __device__ void Merge(float other_max, float other_sum) {
    const float top = fmaxf(max, other_max);
    if (top == -INFINITY) return;
    sum = sum * __expf(max - top) + other_sum * __expf(other_max - top);
    max = top;
  }
};

// The query head of row r of key head `kv`.
__device__ int HeadOf(const PagedDotProductParams& p, int kv, int r) {
  return p.interleaved ? r * p.num_kv_heads + kv
                       : kv * (p.num_heads / p.num_kv_heads) + r;
}

// One key head, 1,024 tokens and rows [first_row, first_row + 16) of its group.
template <typename T, int kSteps>  // head_dim = 16 kSteps, kSteps even
__global__ void __launch_bounds__(kThreads)
    Product(const PagedDotProductParams p) {
  __shared__ float block_max[kWarps][kRows];
  __shared__ float block_sum[kWarps][kRows];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int column = lane / 4, quarter = lane % 4;
  const int kv = blockIdx.x % p.num_kv_heads;
  const int64_t block = blockIdx.x / p.num_kv_heads;
  const int first_row = blockIdx.y * kRows;
  const int rows = min(p.num_heads / p.num_kv_heads - first_row, kRows);
  const int head_dim = 16 * kSteps;

  // Row `column` in a[.][0] and a[.][2], row `column + 8` in the other two.
  uint32_t a[kSteps][4];
  const T* q = static_cast<const T*>(p.q);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = column + 8 * half;
    const bool valid = row < rows;
    const T* source =
        q + static_cast<int64_t>(valid ? HeadOf(p, kv, first_row + row) : 0) *
                head_dim;
#pragma unroll
    for (int i = 0; i < kSteps / 2; ++i) {
      uint4 x = make_uint4(0, 0, 0, 0);
      if (valid) {
        // q is small and may be unaligned.
        const uint16_t* from =
            reinterpret_cast<const uint16_t*>(source) + 32 * i + 8 * quarter;
        uint32_t words[4];
#pragma unroll
        for (int w = 0; w < 4; ++w) {
          words[w] = from[2 * w] | static_cast<uint32_t>(from[2 * w + 1]) << 16;
        }
        x = make_uint4(words[0], words[1], words[2], words[3]);
      }
      a[2 * i][half] = x.x;
      a[2 * i][half + 2] = x.y;
      a[2 * i + 1][half] = x.z;
      a[2 * i + 1][half + 2] = x.w;
    }
  }

  SoftmaxSum low, high;  // rows column and column + 8
  const int64_t warp_first = block * kBlockTokens + warp * kWarpTokens;
  const T* k_pool =
      static_cast<const T*>(p.k_pool) + kv * p.head_stride + 8 * quarter;
  for (int step = 0; step < kWarpTokens; step += 8 * kColumns) {
    const int64_t first = warp_first + step;
    if (first >= p.tokens) break;
    uint4 k[kColumns][kSteps / 2];
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      // Past the end the last key again: its scores are not stored.
      const int64_t token = min(first + 8 * c + column, p.tokens - 1);
      const T* row =
          k_pool + static_cast<int64_t>(__ldg(p.slots + token)) * p.slot_stride;
#pragma unroll
      for (int i = 0; i < kSteps / 2; ++i) {
        k[c][i] = __ldg(reinterpret_cast<const uint4*>(row + 32 * i));
      }
    }
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      float s[4] = {0, 0, 0, 0};
#pragma unroll
      for (int i = 0; i < kSteps / 2; ++i) {
        flash::MmaSync<T>(s, a[2 * i], k[c][i].x, k[c][i].y);
        flash::MmaSync<T>(s, a[2 * i + 1], k[c][i].z, k[c][i].w);
      }
      const int64_t token = first + 8 * c + 2 * quarter;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = column + 8 * half;
        if (row >= rows) continue;
        float* out =
            p.scores +
            static_cast<int64_t>(HeadOf(p, kv, first_row + row)) * p.tokens +
            token;
        SoftmaxSum& softmax = half == 0 ? low : high;
        if (token + 1 < p.tokens && p.tokens % 2 == 0) {
          *reinterpret_cast<float2*>(out) =
              make_float2(s[2 * half], s[2 * half + 1]);
          softmax.Add(s[2 * half]);
          softmax.Add(s[2 * half + 1]);
          continue;
        }
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          if (token + j >= p.tokens) continue;
          out[j] = s[2 * half + j];
          softmax.Add(s[2 * half + j]);
        }
      }
    }
  }

#pragma unroll
  for (int half = 0; half < 2; ++half) {
    SoftmaxSum softmax = half == 0 ? low : high;
#pragma unroll
    for (int mask = 1; mask < 4; mask *= 2) {
      const float max = __shfl_xor_sync(0xffffffffu, softmax.max, mask);
      const float sum = __shfl_xor_sync(0xffffffffu, softmax.sum, mask);
      softmax.Merge(max, sum);
    }
    if (quarter == 0) {
      block_max[warp][column + 8 * half] = softmax.max;
      block_sum[warp][column + 8 * half] = softmax.sum;
    }
  }
  __syncthreads();
  if (threadIdx.x < rows) {
    SoftmaxSum softmax;
    for (int w = 0; w < kWarps; ++w) {
      softmax.Merge(block_max[w][threadIdx.x], block_sum[w][threadIdx.x]);
    }
    const int64_t blocks = (p.tokens + kBlockTokens - 1) / kBlockTokens;
    p.partial[HeadOf(p, kv, first_row + threadIdx.x) * blocks + block] =
        softmax.max + logf(softmax.sum);
  }
}

// The definition: a thread a token, a block of tokens and one query head.
template <typename T>
__global__ void SimpleProduct(const PagedDotProductParams p) {
  __shared__ float partial[kThreads][2];
  const int head = blockIdx.y;
  const int group = p.num_heads / p.num_kv_heads;
  const int kv = p.interleaved ? head % p.num_kv_heads : head / group;
  const T* q =
      static_cast<const T*>(p.q) + static_cast<int64_t>(head) * p.head_dim;
  SoftmaxSum softmax;
  for (int i = threadIdx.x; i < kBlockTokens; i += kThreads) {
    const int64_t token = static_cast<int64_t>(blockIdx.x) * kBlockTokens + i;
    if (token >= p.tokens) break;
    const T* k = static_cast<const T*>(p.k_pool) +
                 static_cast<int64_t>(p.slots[token]) * p.slot_stride +
                 kv * p.head_stride;
    float sum = 0;
    for (int d = 0; d < p.head_dim; ++d) sum += ToFloat(q[d]) * ToFloat(k[d]);
    p.scores[head * p.tokens + token] = sum;
    softmax.Add(sum);
  }
  partial[threadIdx.x][0] = softmax.max;
  partial[threadIdx.x][1] = softmax.sum;
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int i = 1; i < kThreads; ++i) {
      softmax.Merge(partial[i][0], partial[i][1]);
    }
    p.partial[static_cast<int64_t>(head) * gridDim.x + blockIdx.x] =
        softmax.max + logf(softmax.sum);
  }
}

__global__ void Vote(const SoftVoteParams p) {
  const int64_t token =
      static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (token >= p.tokens) return;
  float vote = 0;
#pragma unroll 8
  for (int h = 0; h < p.num_heads; ++h) {
    vote += __expf(p.scores[h * p.tokens + token] - __ldg(p.log_sum_exp + h));
  }
  p.votes[token] = vote;
}

template <typename T>
cudaError_t Launch(const PagedDotProductParams& p) {
  const int64_t blocks = (p.tokens + kBlockTokens - 1) / kBlockTokens;
  const int group = p.num_heads / p.num_kv_heads;
  const dim3 grid(static_cast<unsigned>(blocks * p.num_kv_heads),
                  (group + kRows - 1) / kRows);
  switch (p.head_dim) {
    case 32:
      Product<T, 2><<<grid, kThreads, 0, p.stream>>>(p);
      break;
    case 64:
      Product<T, 4><<<grid, kThreads, 0, p.stream>>>(p);
      break;
    case 96:
      Product<T, 6><<<grid, kThreads, 0, p.stream>>>(p);
      break;
    case 128:
      Product<T, 8><<<grid, kThreads, 0, p.stream>>>(p);
      break;
    default:
      SimpleProduct<T><<<dim3(static_cast<unsigned>(blocks), p.num_heads),
                         kThreads, 0, p.stream>>>(p);
  }
  return cudaGetLastError();
}

}  // namespace

cudaError_t PagedDotProductLaunch(const PagedDotProductParams& params) {
  return params.bfloat16 ? Launch<__nv_bfloat16>(params)
                         : Launch<__half>(params);
}

cudaError_t SoftVoteLaunch(const SoftVoteParams& params) {
  const int64_t blocks = (params.tokens + kThreads - 1) / kThreads;
  Vote<<<static_cast<unsigned>(blocks), kThreads, 0, params.stream>>>(params);
  return cudaGetLastError();
}

}  // namespace repro
