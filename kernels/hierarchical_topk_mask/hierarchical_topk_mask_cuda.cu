// A block of threads searches for one head and block of queries. A round scores
// 2 branches key_block keys (1,024 by default) with up to 16 sampled queries:
// 4 MFLOP and 256 KB gathered at head size 128, mostly from L2, since
// neighbouring query blocks and the query heads of a group walk through nearly
// the same keys: at 131,072 tokens and 32 heads 8 rounds gather 275 GB, which
// is 50 ms at 5.5 TB/s of L2 and 90 ms at HBM's rate; the products are 4.4
// PFLOP, 5 ms of the tensor cores. So the gathers have to be wide and many in
// flight: the keys go from global memory straight into the operands of
// mma.m16n8k16, 32 keys (8 KB) a warp at a time, 64 KB a multiprocessor's
// block; see paged_dot_product_cuda.cu for the order of the summed index that
// allows it.
//
// What is left must not cost more: the best half of the scores is found by
// radix selection (four histograms of 8 bits of the order-preserving integer of
// a float), not by sorting, and since the halves stand in the order of their
// keys and are kept in it, the result is sorted without sorting.
//
// A decode step has num_heads blocks of threads only and is bound by the
// latency of its rounds.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "kernels/flash/mma.h"
#include "kernels/hierarchical_topk_mask/branches.h"
#include "kernels/hierarchical_topk_mask/hierarchical_topk_mask_cuda.h"

namespace repro {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = 32 * kWarps;
constexpr int kColumns = 4;  // groups of 8 keys whose loads are in flight
constexpr int kRows = 16;    // sampled queries of one product
constexpr int kBins = 256;

// Larger floats give larger integers.
__device__ uint32_t Ordered(float x) {
  const uint32_t bits = __float_as_uint(x);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// The sum of `value` over the threads before this one; *total over all.
__device__ int ExclusiveSum(int value, int* warp_sums, int* total) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int sum = value;
#pragma unroll
  for (int offset = 1; offset < 32; offset *= 2) {
    const int other = __shfl_up_sync(0xffffffffu, sum, offset);
    if (lane >= offset) sum += other;
  }
  __syncthreads();  // warp_sums of the last call have been read
  if (lane == 31) warp_sums[warp] = sum;
  __syncthreads();
  int before = 0, all = 0;
#pragma unroll
  for (int w = 0; w < kWarps; ++w) {
    if (w < warp) before += warp_sums[w];
    all += warp_sums[w];
  }
  *total = all;
  return before + sum - value;
}

struct Shared {
  int* start;       // [2 branches] of the halves
  int* size;        // [2 branches], 0: no such half
  float* score;     // [2 branches]
  float* keys;      // [2 branches, sampled keys of a block]
  int* kept_start;  // [branches]
  int* kept_size;   // [branches]
  int* histogram;   // [kBins]
  int* warp_sums;   // [kWarps]
  int* threshold;   // [2]: the bin found and how many are wanted from it
};

__device__ Shared Carve(int* memory, int branches, int sampled) {
  Shared s;
  s.start = memory;
  s.size = s.start + 2 * branches;
  s.score = reinterpret_cast<float*>(s.size + 2 * branches);
  s.keys = s.score + 2 * branches;
  s.kept_start = reinterpret_cast<int*>(s.keys + 2 * branches * sampled);
  s.kept_size = s.kept_start + branches;
  s.histogram = s.kept_size + branches;
  s.warp_sums = s.histogram + kBins;
  s.threshold = s.warp_sums + kWarps;
  return s;
}

// Puts the halves of branch j; whether they have more than a block together.
__device__ bool Split(const Shared& shared, int j, int start, int size) {
  shared.start[2 * j] = start;
  shared.size[2 * j] = size / 2;
  shared.start[2 * j + 1] = start + size / 2;
  shared.size[2 * j + 1] = size - size / 2;
  return size > 1;
}

// The sampled queries [16 tile, 16 tile + 16) of the block as the left operand,
// zero beyond `sampled_queries`.
template <typename T, int kSteps>
__device__ void LoadQueries(const HierarchicalTopkMaskParams& p, const T* q,
                            int rows, int tile, uint32_t (&a)[kSteps][4]) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int sample = tile * kRows + lane / 4 + 8 * half;
    const int row = min((sample + 1) * p.query_stride, rows) - 1;
    const bool valid = sample * p.query_stride < rows;
    const T* from = q + static_cast<int64_t>(valid ? row : 0) * p.q_row_stride +
                    8 * (lane % 4);
#pragma unroll
    for (int i = 0; i < kSteps / 2; ++i) {
      uint4 x = make_uint4(0, 0, 0, 0);
      if (valid) x = __ldg(reinterpret_cast<const uint4*>(from + 32 * i));
      a[2 * i][half] = x.x;
      a[2 * i][half + 2] = x.y;
      a[2 * i + 1][half] = x.z;
      a[2 * i + 1][half + 2] = x.w;
    }
  }
}

template <typename T, int kSteps>  // head_dim = 16 kSteps
__global__ void __launch_bounds__(kThreads)
    Search(const HierarchicalTopkMaskParams p) {
  extern __shared__ int memory[];
  const int branches = p.branches;
  const int sampled = (p.key_block + p.key_stride - 1) / p.key_stride;
  const Shared shared = Carve(memory, branches, sampled);

  // Heads of a group are neighbours, then query blocks, last first: these have
  // the most to do.
  const int head = blockIdx.x % p.num_heads;
  const int query_blocks = gridDim.x / p.num_heads;
  const int block = query_blocks - 1 - blockIdx.x / p.num_heads;
  const int64_t first_query = static_cast<int64_t>(block) * p.query_block;
  const int rows = static_cast<int>(
      min(static_cast<int64_t>(p.query_block), p.queries - first_query));
  const int64_t searched =
      max(int64_t{0}, p.keys - p.queries + first_query + rows - p.window);
  const int num_blocks =
      static_cast<int>((searched + p.key_block - 1) / p.key_block);
  const int64_t row = static_cast<int64_t>(head) * query_blocks + block;
  int32_t* out = p.blocks + row * branches;
  const int kept = min(num_blocks, branches);
  if (threadIdx.x == 0) p.counts[row] = kept;
  if (num_blocks <= branches) {
    for (int i = threadIdx.x; i < branches; i += kThreads) {
      out[i] = i < num_blocks ? i : -1;
    }
    return;
  }

  const T* q = static_cast<const T*>(p.q) + head * p.q_head_stride +
               first_query * p.q_row_stride;
  const T* k = static_cast<const T*>(p.k) +
               head / (p.num_heads / p.num_kv_heads) * p.k_head_stride;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int column = lane / 4, quarter = lane % 4;
  const int samples = (rows + p.query_stride - 1) / p.query_stride;
  const int tiles = (samples + kRows - 1) / kRows;
  const int num_keys = 2 * branches * sampled;

  uint32_t a[kSteps][4];
  LoadQueries<T, kSteps>(p, q, rows, 0, a);

  // Halves of the first branches.
  bool split = false;
  for (int j = threadIdx.x; j < branches; j += kThreads) {
    const int start =
        static_cast<int>(BranchStart(j, branches, num_blocks, p.aligned));
    const int size =
        static_cast<int>(BranchStart(j + 1, branches, num_blocks, p.aligned)) -
        start;
    split |= Split(shared, j, start, size);
  }

  while (__syncthreads_or(split)) {
    // Scores of the keys that stand for the halves.
    for (int tile = 0; tile < tiles; ++tile) {
      if (tiles > 1) LoadQueries<T, kSteps>(p, q, rows, tile, a);
      for (int first = warp * 8 * kColumns; first < num_keys;
           first += kWarps * 8 * kColumns) {
        uint4 x[kColumns][kSteps / 2];
        bool valid[kColumns];
#pragma unroll
        for (int c = 0; c < kColumns; ++c) {
          const int i = min(first + 8 * c + column, num_keys - 1);
          const int half = i / sampled;
          const int size = shared.size[half];
          const int offset = p.representative == 0   ? size / 2
                             : p.representative == 1 ? 0
                                                     : max(size - 1, 0);
          const int64_t key =
              static_cast<int64_t>(shared.start[half] + offset) * p.key_block +
              (i - half * sampled) * p.key_stride;
          valid[c] = size > 0 && key < searched;
          const T* from =
              k + (valid[c] ? key : 0) * p.k_row_stride + 8 * quarter;
#pragma unroll
          for (int s = 0; s < kSteps / 2; ++s) {
            x[c][s] = __ldg(reinterpret_cast<const uint4*>(from + 32 * s));
          }
        }
#pragma unroll
        for (int c = 0; c < kColumns; ++c) {
          float sum[4] = {0, 0, 0, 0};
#pragma unroll
          for (int s = 0; s < kSteps / 2; ++s) {
            flash::MmaSync<T>(sum, a[2 * s], x[c][s].x, x[c][s].y);
            flash::MmaSync<T>(sum, a[2 * s + 1], x[c][s].z, x[c][s].w);
          }
          // Rows that are no query must not count.
          const int low = tile * kRows + column, high = low + 8;
          float best[2];
#pragma unroll
          for (int j = 0; j < 2; ++j) {
            best[j] = -INFINITY;
            if (low < samples) best[j] = sum[j];
            if (high < samples) best[j] = fmaxf(best[j], sum[2 + j]);
#pragma unroll
            for (int mask = 4; mask < 32; mask *= 2) {
              best[j] =
                  fmaxf(best[j], __shfl_xor_sync(0xffffffffu, best[j], mask));
            }
          }
          // Column n of the product was loaded by lanes 4 n ... 4 n + 3.
          const unsigned valid_lanes = __ballot_sync(0xffffffffu, valid[c]);
          if (column == 0) {
#pragma unroll
            for (int j = 0; j < 2; ++j) {
              const int n = 2 * quarter + j;
              const int i = first + 8 * c + n;
              if (i >= num_keys) continue;
              const float value =
                  (valid_lanes >> (4 * n)) & 1 ? best[j] : -INFINITY;
              shared.keys[i] = tile == 0 ? value : fmaxf(shared.keys[i], value);
            }
          }
        }
      }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < 2 * branches; i += kThreads) {
      float best = -INFINITY;
      for (int j = 0; j < sampled; ++j) {
        best = fmaxf(best, shared.keys[i * sampled + j]);
      }
      shared.score[i] = best;
    }

    // The `branches`-th largest score, by 8 bits at a time; a half that does
    // not exist is below all.
    uint32_t prefix = 0;
    int wanted = branches;
    for (int shift = 24; shift >= 0; shift -= 8) {
      __syncthreads();
      for (int i = threadIdx.x; i < kBins; i += kThreads) {
        shared.histogram[i] = 0;
      }
      __syncthreads();
      for (int i = threadIdx.x; i < 2 * branches; i += kThreads) {
        const uint32_t key = shared.size[i] > 0 ? Ordered(shared.score[i]) : 0;
        if (shift == 24 || key >> (shift + 8) == prefix >> (shift + 8)) {
          atomicAdd(shared.histogram + (key >> shift & 0xff), 1);
        }
      }
      __syncthreads();
      // Thread t looks at bin 255 - t: how many are above it.
      static_assert(kBins == kThreads, "a bin a thread");
      const int bin = kBins - 1 - threadIdx.x;
      const int here = shared.histogram[bin];
      int total;
      const int above = ExclusiveSum(here, shared.warp_sums, &total);
      if (above < wanted && above + here >= wanted) {
        shared.threshold[0] = bin;
        shared.threshold[1] = wanted - above;
      }
      __syncthreads();
      prefix |= static_cast<uint32_t>(shared.threshold[0]) << shift;
      wanted = shared.threshold[1];
    }

    // Keep what is above it and the first `wanted` of those equal to it, in
    // their order, as the next branches.
    int kept_before = 0, equal_before = 0;
    for (int base = 0; base < 2 * branches; base += kThreads) {
      const int i = base + threadIdx.x;
      const bool inside = i < 2 * branches;
      const int size = inside ? shared.size[i] : 0;
      const uint32_t key = size > 0 ? Ordered(shared.score[i]) : 0;
      const bool equal = inside && key == prefix;
      int equals;
      const int rank =
          equal_before + ExclusiveSum(equal, shared.warp_sums, &equals);
      equal_before += equals;
      const bool keep = inside && (key > prefix || (equal && rank < wanted));
      int keeps;
      const int to = kept_before + ExclusiveSum(keep, shared.warp_sums, &keeps);
      kept_before += keeps;
      if (keep) {
        shared.kept_start[to] = shared.start[i];
        shared.kept_size[to] = size;
      }
    }
    __syncthreads();
    split = false;
    for (int j = threadIdx.x; j < branches; j += kThreads) {
      split |= Split(shared, j, shared.kept_start[j], shared.kept_size[j]);
    }
  }
  // Branches of one block each: the second half is the block.
  for (int j = threadIdx.x; j < branches; j += kThreads) {
    out[j] = shared.start[2 * j + 1];
  }
}

template <typename T, int kSteps>
cudaError_t LaunchSteps(const HierarchicalTopkMaskParams& p) {
  const int64_t bytes = HierarchicalTopkMaskSharedBytes(p);
  const cudaError_t error = cudaFuncSetAttribute(
      Search<T, kSteps>, cudaFuncAttributeMaxDynamicSharedMemorySize,
      static_cast<int>(bytes));
  if (error != cudaSuccess) return error;
  const int64_t query_blocks = (p.queries + p.query_block - 1) / p.query_block;
  Search<T, kSteps><<<static_cast<unsigned>(query_blocks * p.num_heads),
                      kThreads, bytes, p.stream>>>(p);
  return cudaGetLastError();
}

template <typename T>
cudaError_t Launch(const HierarchicalTopkMaskParams& p) {
  switch (p.head_dim) {
    case 32:
      return LaunchSteps<T, 2>(p);
    case 64:
      return LaunchSteps<T, 4>(p);
    case 96:
      return LaunchSteps<T, 6>(p);
    case 128:
      return LaunchSteps<T, 8>(p);
  }
  return cudaErrorInvalidValue;
}

}  // namespace

int64_t HierarchicalTopkMaskSharedBytes(const HierarchicalTopkMaskParams& p) {
  const int64_t sampled = (p.key_block + p.key_stride - 1) / p.key_stride;
  return 4 * (2 * p.branches * (4 + sampled) + kBins + kWarps + 2);
}

cudaError_t HierarchicalTopkMaskLaunch(const HierarchicalTopkMaskParams& p) {
  return p.bfloat16 ? Launch<__nv_bfloat16>(p) : Launch<__half>(p);
}

}  // namespace repro
