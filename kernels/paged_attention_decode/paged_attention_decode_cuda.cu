// Bound by memory: 4 head_dim bytes a key and key-value head in bfloat16, 4
// num_queries head_dim operations; at 8 heads of 128 and 128K keys 0.54 GB,
// 0.18 ms at an H100's 3 TB/s, for 2.1 GFLOP a query head of a group.
//
// Shape. A warp takes 16 keys at a time from memory straight into the registers
// of mma.m16n8k16, without shared memory or barriers: products are taken
// transposed, S^T = K Q^T and O^T = V^T P^T, so that the 16 rows of the left
// operand are keys (or entries of v) and the 8 columns up to 8 query heads of
// a group, which thus read each key once. The sum over head_dim is free to run
// in any order, and so are the rows of O^T: a lane's 16-byte load of eight
// neighbouring entries is used as it lies, by giving q (or the output) the same
// order. Pairs of neighbouring keys, which the left operand of the second
// product wants, come from two rows by byte permutes; P^T turns from an
// accumulator into a right operand by movmatrix. The next keys' loads are
// issued before the softmax of these, and this step's values before the first
// product: 4 to 8 KB are in flight a warp, 48 to 96 KB a multiprocessor of 12
// warps, where 3.35 TB/s times 0.7 us need 18.
//
// The running maximum moves only when a logit exceeds it by 2^8 (one vote a
// step instead of shuffles); sums stay in the lanes to the end.
//
// Keys are split over blocks by their actual number, in a grid that depends on
// max_length alone. Parts are merged by a second kernel: a counter for the last
// block to merge would need a zeroed buffer, a launch of its own too. All
// kernels are launched early (programmatic dependent launch), which hides most
// of a launch; one split needs no merge.
//
// Quantised pages take the same path after turning into half in registers: a
// 4-bit q under the exponent of 1024 is 1024 + q, exact in half.
//
// DecodeAny is the readable form, for other types, sizes and alignments.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "kernels/flash/mma.h"
#include "kernels/paged_attention_decode/paged_attention_decode_cuda.h"
#include "kernels/runtime/early_launch.h"
#include "kernels/runtime/float_conversion.h"
#include "kernels/runtime/float_dispatch.h"
#include "kernels/runtime/warp.h"

namespace repro {
namespace {

using flash::Exp2;
using flash::Pack;

constexpr int kWarps = 4;
constexpr int kThreads = 32 * kWarps;
constexpr int kBlocksPerMultiprocessor = 3;
constexpr int kQueries = 8;    // columns of an mma
constexpr int kTileKeys = 16;  // its rows
constexpr int kMergeWarps = 8;
// Up to here one block a head is faster than splitting and merging.
constexpr int kUnsplitKeys = 512;
constexpr int kLeastKeysPerSplit = kWarps * kTileKeys;

constexpr float kLog2E = 1.4426950408889634f;
constexpr float kLn2 = 0.6931471805599453f;
// Below every logit, and finite so that differences are numbers.
constexpr float kLowest = -1e30f;
constexpr float kLag = 8;

// c += a b, a of 16 rows, b of 8 columns, over 16.
template <typename T>
__device__ inline void Mma(float (&c)[4], uint32_t a0, uint32_t a1, uint32_t a2,
                           uint32_t a3, uint32_t b0, uint32_t b1) {
  if constexpr (std::is_same<T, __half>::value) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
  } else {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
  }
}

// Read once: not kept in L1.
template <int kWords>
__device__ inline void LoadWords(const uint8_t* from, uint32_t* to) {
  static_assert(kWords == 1 || kWords == 2 || kWords == 4, "");
  if constexpr (kWords == 4) {
    asm volatile(
        "ld.global.nc.L1::no_allocate.L2::128B.v4.b32 {%0, %1, %2, %3}, [%4];"
        : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
        : "l"(from));
  } else if constexpr (kWords == 2) {
    asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v2.b32 {%0, %1}, [%2];"
                 : "=r"(to[0]), "=r"(to[1])
                 : "l"(from));
  } else {
    asm volatile("ld.global.nc.L1::no_allocate.L2::128B.b32 %0, [%1];"
                 : "=r"(to[0])
                 : "l"(from));
  }
}

__device__ inline __half2 AsHalf2(uint32_t x) {
  __half2 y;
  memcpy(&y, &x, 4);
  return y;
}
__device__ inline uint32_t AsWord(__half2 x) {
  uint32_t y;
  memcpy(&y, &x, 4);
  return y;
}

// How a lane holds its part of a row of kDim elements of kBits: kWords words as
// loaded, in chunks of neighbouring bytes, `kLanes` lanes taking turns; and
// which element each half of each of its registers is after widening to 16
// bits.
template <int kBits, int kDim, int kLanes>
struct RowPart {
  static constexpr int kBytes = kDim * kBits / 8 / kLanes;
  static constexpr int kChunkBytes = kBytes < 16 ? kBytes : 16;
  static constexpr int kChunks = kBytes / kChunkBytes;
  static constexpr int kWords = kBytes / 4;
  static constexpr int kRegisters = kDim / kLanes / 2;
  static constexpr int kRegistersPerWord = kRegisters / kWords;
  // Elements that surely share a group of quantisation.
  static constexpr int kSame = kDim / kLanes < 16 ? kDim / kLanes : 16;
  static constexpr int kScales = kBits == 16 ? 1 : kDim / kLanes / kSame;

  __device__ static int ChunkByte(int lane, int chunk) {
    return (lane + kLanes * chunk) * kChunkBytes;
  }

  // half: 0 low, 1 high.
  __device__ static int Element(int lane, int i, int half) {
    const int word = i / kRegistersPerWord, sub = i % kRegistersPerWord;
    const int words = kChunkBytes / 4;
    const int byte = ChunkByte(lane, word / words) + word % words * 4;
    if constexpr (kBits == 4) return byte * 2 + sub + 4 * half;
    return byte * 8 / kBits + 2 * sub + half;
  }

  // `scales[i]` holds (scale, minimum) of the registers of the same sixteen
  // elements.
  __device__ static void Widen(const uint32_t* words, const __half2* scales,
                               uint32_t* registers) {
    if constexpr (kBits == 16) {
#pragma unroll
      for (int i = 0; i < kWords; ++i) registers[i] = words[i];
    } else {
      const __half2 bias = __half2half2(__ushort_as_half(0x6400));  // 1024
#pragma unroll
      for (int i = 0; i < kRegisters; ++i) {
        const uint32_t word = words[i / kRegistersPerWord];
        const int sub = i % kRegistersPerWord;
        uint32_t x;
        if constexpr (kBits == 8) {
          x = __byte_perm(word, 0x64646464, sub == 0 ? 0x4140 : 0x4342);
        } else {
          // The even element of a byte is its high half; bytes 0 and 2, then 1
          // and 3.
          const int shift = sub == 0 ? 4 : sub == 1 ? 0 : sub == 2 ? 12 : 8;
          x = (word >> shift & 0x000f000f) | 0x64006400;
        }
        const __half2 scale = scales[i * 2 / kSame];
        registers[i] = AsWord(__hfma2(__hsub2(AsHalf2(x), bias),
                                      __low2half2(scale), __high2half2(scale)));
      }
    }
  }
};

// What both operands of the pages need to find rows, in bytes.
struct Rows {
  const uint8_t* data;
  int64_t page_stride, slot_stride;
  const __half* scale;
  const __half* zero;
  int64_t scale_page_stride, scale_slot_stride, zero_page_stride,
      zero_slot_stride;
};

template <int kBits>
__device__ inline Rows RowsOf(const PagedView& view, const PagedView& scale,
                              const PagedView& zero, int head) {
  Rows rows;
  constexpr int kElement = kBits == 16 ? 2 : 1;
  rows.data = static_cast<const uint8_t*>(view.data) +
              head * view.head_stride * kElement;
  rows.page_stride = view.page_stride * kElement;
  rows.slot_stride = view.slot_stride * kElement;
  if constexpr (kBits != 16) {
    rows.scale =
        static_cast<const __half*>(scale.data) + head * scale.head_stride;
    rows.zero = static_cast<const __half*>(zero.data) + head * zero.head_stride;
    rows.scale_page_stride = scale.page_stride;
    rows.scale_slot_stride = scale.slot_stride;
    rows.zero_page_stride = zero.page_stride;
    rows.zero_slot_stride = zero.slot_stride;
  }
  return rows;
}

// Loads a lane's part of one row.
template <int kBits, int kDim, int kLanes, bool kExact>
__device__ inline void LoadRow(const Rows& rows, int page, int slot, int lane,
                               int dim, int group_shift, uint32_t* words,
                               __half2* scales) {
  using Part = RowPart<kBits, kDim, kLanes>;
  const uint8_t* row =
      rows.data + page * rows.page_stride + slot * rows.slot_stride;
  constexpr int kChunkWords = Part::kChunkBytes / 4;
#pragma unroll
  for (int c = 0; c < Part::kChunks; ++c) {
    const int byte = Part::ChunkByte(lane, c);
    if (kExact || byte < dim * kBits / 8) {
      LoadWords<kChunkWords>(row + byte, words + c * kChunkWords);
    } else {
#pragma unroll
      for (int i = 0; i < kChunkWords; ++i) words[c * kChunkWords + i] = 0;
    }
  }
  if constexpr (kBits != 16) {
    const __half* scale = rows.scale + page * rows.scale_page_stride +
                          slot * rows.scale_slot_stride;
    const __half* zero =
        rows.zero + page * rows.zero_page_stride + slot * rows.zero_slot_stride;
#pragma unroll
    for (int i = 0; i < Part::kScales; ++i) {
      const int group =
          Part::Element(lane, i * Part::kSame / 2, 0) >> group_shift;
      scales[i] = __halves2half2(__ldg(scale + group), __ldg(zero + group));
    }
  }
}

// Q: of q and out. kTiles: tiles of 16 keys a step.
template <typename Q, int kBits, int kDim, int kTiles, bool kExact>
__global__ void __launch_bounds__(kThreads, kBlocksPerMultiprocessor)
    Decode(const PagedDecodeParams p, int query_tiles, int group_shift) {
  using T = std::conditional_t<kBits == 16, Q, __half>;
  using KPart = RowPart<kBits, kDim, 4>;
  using VPart = RowPart<kBits, kDim, 8>;
  constexpr int kStepKeys = kTiles * kTileKeys;
  static_assert(kStepKeys <= 32, "a lane a key when pages are looked up");
  constexpr int kSlabs = kDim / 16;  // of 16 entries of v
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int row = lane / 4, column = lane % 4;
  const int kv_head = blockIdx.y / query_tiles;
  const int group = p.num_heads / p.num_kv_heads;
  const int first_query = blockIdx.y % query_tiles * kQueries;
  const int queries = min(group - first_query, kQueries);
  const int first_head = kv_head * group + first_query;
  const int batch = blockIdx.z;
  WaitForInputs();
  const int length = min(p.lengths[batch], p.max_length);
  const int tiles = (length + kTileKeys - 1) / kTileKeys;
  const int split = blockIdx.x;
  const int begin =
      static_cast<int>(static_cast<int64_t>(tiles) * split / p.splits) *
      kTileKeys;
  const int end = min(
      static_cast<int>(static_cast<int64_t>(tiles) * (split + 1) / p.splits) *
          kTileKeys,
      length);

  const Rows k_rows = RowsOf<kBits>(p.k, p.k_scale, p.k_zero, kv_head);
  const Rows v_rows = RowsOf<kBits>(p.v, p.v_scale, p.v_zero, kv_head);
  const int32_t* page_table = p.page_table + batch * p.page_table_stride;

  float o[kSlabs][4];
#pragma unroll
  for (int i = 0; i < kSlabs; ++i) o[i][0] = o[i][1] = o[i][2] = o[i][3] = 0;
  // Of the queries 2 column and 2 column + 1.
  float maximum[2] = {kLowest, kLowest}, sum[2] = {0, 0};

  int key0 = begin + warp * kStepKeys;
  if (key0 < end) {
    uint32_t q[KPart::kRegisters];
    {
      const Q* from = static_cast<const Q*>(p.q) + batch * p.q_batch_stride +
                      (first_head + min(row, queries - 1)) * p.q_head_stride;
#pragma unroll
      for (int i = 0; i < KPart::kRegisters; ++i) {
        float pair[2];
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int d = KPart::Element(column, i, half);
          pair[half] = kExact || d < p.head_dim ? ToFloat(from[d]) : 0.f;
        }
        q[i] = Pack<T>(pair[0], pair[1]);
      }
    }
    const float scale = p.scale * kLog2E;

    // Where lane l finds key l % kStepKeys of a step; those past the end stand
    // for the last one.
    int page, slot;
    const auto find = [&](int first) {
      const int key = min(first + lane % kStepKeys, end - 1);
      const int index = static_cast<int>(static_cast<uint32_t>(key) /
                                         static_cast<uint32_t>(p.page_size));
      slot = key - index * p.page_size;
      page = page_table[index];
    };
    uint32_t k_words[kTiles][2][KPart::kWords];
    __half2 k_scales[kTiles][2][KPart::kScales];
    const auto load_k = [&] {
#pragma unroll
      for (int t = 0; t < kTiles; ++t) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const int from = t * kTileKeys + row + 8 * i;
          LoadRow<kBits, kDim, 4, kExact>(
              k_rows, __shfl_sync(0xffffffffu, page, from),
              __shfl_sync(0xffffffffu, slot, from), column, p.head_dim,
              group_shift, k_words[t][i], k_scales[t][i]);
        }
      }
    };

    find(key0);
    load_k();
    while (true) {
      uint32_t v_words[kTiles][4][VPart::kWords];
      __half2 v_scales[kTiles][4][VPart::kScales];
#pragma unroll
      for (int t = 0; t < kTiles; ++t) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          // Keys 2 column, 2 column + 1, the same + 8.
          const int from = t * kTileKeys + 2 * column + i % 2 + i / 2 * 8;
          LoadRow<kBits, kDim, 8, kExact>(
              v_rows, __shfl_sync(0xffffffffu, page, from),
              __shfl_sync(0xffffffffu, slot, from), row, p.head_dim,
              group_shift, v_words[t][i], v_scales[t][i]);
        }
      }
      const int next = key0 + kWarps * kStepKeys;
      if (next < end) find(next);

      // S^T: keys row and row + 8, queries 2 column and 2 column + 1.
      float s[kTiles][4];
#pragma unroll
      for (int t = 0; t < kTiles; ++t) {
        uint32_t k[2][KPart::kRegisters];
        KPart::Widen(k_words[t][0], k_scales[t][0], k[0]);
        KPart::Widen(k_words[t][1], k_scales[t][1], k[1]);
        s[t][0] = s[t][1] = s[t][2] = s[t][3] = 0;
#pragma unroll
        for (int i = 0; i < KPart::kRegisters; i += 2) {
          Mma<T>(s[t], k[0][i], k[1][i], k[0][i + 1], k[1][i + 1], q[i],
                 q[i + 1]);
        }
      }
      if (next < end) load_k();

      float most[2] = {kLowest, kLowest};
#pragma unroll
      for (int t = 0; t < kTiles; ++t) {
        const int key = key0 + t * kTileKeys + row;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          s[t][i] = key + i / 2 * 8 < end ? s[t][i] * scale : kLowest;
          most[i % 2] = fmaxf(most[i % 2], s[t][i]);
        }
      }
      if (__any_sync(0xffffffffu, most[0] > maximum[0] + kLag ||
                                      most[1] > maximum[1] + kLag)) {
        float factor[2];
#pragma unroll
        for (int i = 0; i < 2; ++i) {
#pragma unroll
          for (int mask = 4; mask < 32; mask *= 2) {
            most[i] =
                fmaxf(most[i], __shfl_xor_sync(0xffffffffu, most[i], mask));
          }
          most[i] = fmaxf(most[i], maximum[i]);
          factor[i] = Exp2(maximum[i] - most[i]);
          maximum[i] = most[i];
          sum[i] *= factor[i];
        }
#pragma unroll
        for (int i = 0; i < kSlabs; ++i) {
          o[i][0] *= factor[0];
          o[i][1] *= factor[1];
          o[i][2] *= factor[0];
          o[i][3] *= factor[1];
        }
      }
#pragma unroll
      for (int t = 0; t < kTiles; ++t) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          s[t][i] = Exp2(s[t][i] - maximum[i % 2]);
          sum[i % 2] += s[t][i];
        }
        const uint32_t b0 = Transpose8x8(Pack<T>(s[t][0], s[t][1]));
        const uint32_t b1 = Transpose8x8(Pack<T>(s[t][2], s[t][3]));
        uint32_t v[4][VPart::kRegisters];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          VPart::Widen(v_words[t][i], v_scales[t][i], v[i]);
        }
#pragma unroll
        for (int i = 0; i < kSlabs; ++i) {
          Mma<T>(o[i], __byte_perm(v[0][i], v[1][i], 0x5410),
                 __byte_perm(v[0][i], v[1][i], 0x7632),
                 __byte_perm(v[2][i], v[3][i], 0x5410),
                 __byte_perm(v[2][i], v[3][i], 0x7632), b0, b1);
        }
      }
      if (next >= end) break;
      key0 = next;
    }
  }
  LaunchDependents();

  // The warps' parts.
  __shared__ float shared_o[kWarps][kQueries][kDim];
  __shared__ float shared_max[kWarps][kQueries], shared_sum[kWarps][kQueries];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
#pragma unroll
    for (int mask = 4; mask < 32; mask *= 2) {
      sum[i] += __shfl_xor_sync(0xffffffffu, sum[i], mask);
    }
    if (row == 0) {
      shared_max[warp][2 * column + i] = maximum[i];
      shared_sum[warp][2 * column + i] = sum[i];
    }
  }
#pragma unroll
  for (int i = 0; i < kSlabs; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      shared_o[warp][2 * column + j % 2][VPart::Element(row, i, j / 2)] =
          o[i][j];
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < queries * kDim; i += kThreads) {
    const int query = i / kDim, d = i % kDim;
    if (!kExact && d >= p.head_dim) continue;
    float most = kLowest, total = 0, value = 0;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) most = fmaxf(most, shared_max[w][query]);
#pragma unroll
    for (int w = 0; w < kWarps; ++w) {
      const float weight = Exp2(shared_max[w][query] - most);
      total += weight * shared_sum[w][query];
      value += weight * shared_o[w][query][d];
    }
    value = total > 0 ? value / total : 0;
    const float lse = total > 0 ? most + log2f(total) : -INFINITY;
    const int64_t head =
        static_cast<int64_t>(batch) * p.num_heads + first_head + query;
    if (p.splits == 1) {
      static_cast<Q*>(p.out)[head * p.head_dim + d] = FromFloat<Q>(value);
      if (d == 0) p.lse[head] = lse * kLn2;
    } else {
      p.partial_out[(head * p.splits + split) * p.head_dim + d] = value;
      if (d == 0) p.partial_lse[head * p.splits + split] = lse;
    }
  }
}

// Merges the splits of one query head; four entries a lane.
template <typename Q, int kDim>
__global__ void __launch_bounds__(32 * kMergeWarps)
    Merge(const PagedDecodeParams p) {
  LaunchDependents();
  WaitForInputs();
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t head =
      static_cast<int64_t>(blockIdx.y) * p.num_heads + blockIdx.x;
  const float* lse = p.partial_lse + head * p.splits;
  float most = -INFINITY;
  for (int s = lane; s < p.splits; s += 32) most = fmaxf(most, lse[s]);
#pragma unroll
  for (int mask = 1; mask < 32; mask *= 2) {
    most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, mask));
  }
  most = fmaxf(most, kLowest);
  const bool mine = lane * 4 < p.head_dim;
  const float* out = p.partial_out + head * p.splits * p.head_dim + lane * 4;
  float4 value = make_float4(0, 0, 0, 0);
  float total = 0;
#pragma unroll 4
  for (int s = warp; s < p.splits; s += kMergeWarps) {
    const float weight = Exp2(lse[s] - most);
    total += weight;
    if (mine) {
      const float4 x = *reinterpret_cast<const float4*>(out + s * p.head_dim);
      value.x += weight * x.x;
      value.y += weight * x.y;
      value.z += weight * x.z;
      value.w += weight * x.w;
    }
  }
  __shared__ float4 shared[kMergeWarps][32];
  __shared__ float shared_total[kMergeWarps];
  shared[warp][lane] = value;
  if (lane == 0) shared_total[warp] = total;
  __syncthreads();
  const int d = threadIdx.x;
  if (d >= p.head_dim) return;
  float x = 0;
  total = 0;
#pragma unroll
  for (int w = 0; w < kMergeWarps; ++w) {
    x += reinterpret_cast<const float*>(&shared[w][0])[d];
    total += shared_total[w];
  }
  static_cast<Q*>(p.out)[head * p.head_dim + d] =
      FromFloat<Q>(total > 0 ? x / total : 0);
  if (d == 0)
    p.lse[head] = total > 0 ? (most + log2f(total)) * kLn2 : -INFINITY;
}

// Element d of a row of the pages.
template <typename Q, int kBits>
__device__ inline float ElementOf(const PagedView& view, const PagedView& scale,
                                  const PagedView& zero, int page, int slot,
                                  int head, int d, int group_size) {
  const int64_t row = page * view.page_stride + slot * view.slot_stride +
                      head * view.head_stride;
  if constexpr (kBits == 16) {
    return ToFloat(static_cast<const Q*>(view.data)[row + d]);
  } else {
    const auto* bytes = static_cast<const uint8_t*>(view.data) + row;
    const int q = kBits == 8   ? bytes[d]
                  : d % 2 == 0 ? bytes[d / 2] >> 4
                               : bytes[d / 2] & 15;
    const auto value = [&](const PagedView& x) {
      return __half2float(static_cast<const __half*>(
          x.data)[page * x.page_stride + slot * x.slot_stride +
                  head * x.head_stride + d / group_size]);
    };
    return q * value(scale) + value(zero);
  }
}

// Any type, size and alignment: a block a query head, a warp a key.
template <typename Q, int kBits>
__global__ void __launch_bounds__(kThreads)
    DecodeAny(const PagedDecodeParams p) {
  extern __shared__ float shared[];  // [kWarps][head_dim]
  __shared__ float shared_max[kWarps], shared_sum[kWarps];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int head = blockIdx.x, batch = blockIdx.y;
  const int kv_head = head / (p.num_heads / p.num_kv_heads);
  WaitForInputs();
  const int length = min(p.lengths[batch], p.max_length);
  const Q* q = static_cast<const Q*>(p.q) + batch * p.q_batch_stride +
               head * p.q_head_stride;
  float* o = shared + warp * p.head_dim;
  for (int d = lane; d < p.head_dim; d += 32) o[d] = 0;
  float maximum = kLowest, sum = 0;
  for (int key = warp; key < length; key += kWarps) {
    const int slot = key % p.page_size;
    const int page =
        p.page_table[batch * p.page_table_stride + key / p.page_size];
    float s = 0;
    for (int d = lane; d < p.head_dim; d += 32) {
      s += ToFloat(q[d]) * ElementOf<Q, kBits>(p.k, p.k_scale, p.k_zero, page,
                                               slot, kv_head, d, p.group_size);
    }
    for (int mask = 1; mask < 32; mask *= 2) {
      s += __shfl_xor_sync(0xffffffffu, s, mask);
    }
    s *= p.scale;
    const float most = fmaxf(maximum, s);
    const float factor = expf(maximum - most), weight = expf(s - most);
    maximum = most;
    sum = sum * factor + weight;
    for (int d = lane; d < p.head_dim; d += 32) {
      o[d] = o[d] * factor +
             weight * ElementOf<Q, kBits>(p.v, p.v_scale, p.v_zero, page, slot,
                                          kv_head, d, p.group_size);
    }
  }
  if (lane == 0) {
    shared_max[warp] = maximum;
    shared_sum[warp] = sum;
  }
  __syncthreads();
  float most = kLowest, total = 0;
  for (int w = 0; w < kWarps; ++w) most = fmaxf(most, shared_max[w]);
  for (int w = 0; w < kWarps; ++w) {
    total += expf(shared_max[w] - most) * shared_sum[w];
  }
  const int64_t out = static_cast<int64_t>(batch) * p.num_heads + head;
  for (int d = threadIdx.x; d < p.head_dim; d += kThreads) {
    float value = 0;
    for (int w = 0; w < kWarps; ++w) {
      value += expf(shared_max[w] - most) * shared[w * p.head_dim + d];
    }
    static_cast<Q*>(p.out)[out * p.head_dim + d] =
        FromFloat<Q>(total > 0 ? value / total : 0);
  }
  if (threadIdx.x == 0) p.lse[out] = total > 0 ? most + logf(total) : -INFINITY;
}

// A warp a head of q, k or v.
template <typename T>
__global__ void Append(const PagedAppendParams p) {
  const int lane = threadIdx.x;
  const int batch = blockIdx.y;
  LaunchDependents();
  WaitForInputs();
  const int position = p.lengths[batch] - 1;
  if (position < 0) return;
  int key = position;
  if (p.window > 0 && key >= p.sink) {
    key = p.sink + (key - p.sink) % p.window;
  }
  int head = blockIdx.x;
  const T* from;
  T* to;
  bool rotate = p.cos != nullptr;
  if (head < p.num_heads) {
    to = static_cast<T*>(p.q) + batch * p.q_batch_stride +
         head * p.q_head_stride;
    from = to;
  } else {
    // A key without a page has no place; what happens then is the caller's
    // error, but nothing is written elsewhere.
    if (key >= p.max_keys) return;
    head -= p.num_heads;
    const bool is_k = head < p.num_kv_heads;
    if (!is_k) head -= p.num_kv_heads;
    rotate = rotate && is_k;
    const PagedView& pages = is_k ? p.k_pages : p.v_pages;
    const int page =
        p.page_table[batch * p.page_table_stride + key / p.page_size];
    to = static_cast<T*>(const_cast<void*>(pages.data)) +
         page * pages.page_stride + key % p.page_size * pages.slot_stride +
         head * pages.head_stride;
    from = is_k ? static_cast<const T*>(p.k) + batch * p.k_batch_stride +
                      head * p.k_head_stride
                : static_cast<const T*>(p.v) + batch * p.v_batch_stride +
                      head * p.v_head_stride;
  }
  const int half = p.head_dim / 2;
  if (!rotate) {
    if (from == to) return;
    for (int d = lane; d < p.head_dim; d += 32) to[d] = from[d];
    return;
  }
  const int64_t table = static_cast<int64_t>(min(static_cast<int64_t>(position),
                                                 p.rope_positions - 1)) *
                        half;
  for (int d = lane; d < half; d += 32) {
    const float c = p.cos[table + d], s = p.sin[table + d];
    const float x = ToFloat(from[d]), y = ToFloat(from[d + half]);
    to[d] = FromFloat<T>(x * c - y * s);
    to[d + half] = FromFloat<T>(y * c + x * s);
  }
}

bool Aligned(const PagedView& view, int bits) {
  const int64_t bytes = bits == 16 ? 2 : 1;
  return reinterpret_cast<uintptr_t>(view.data) % 16 == 0 &&
         view.page_stride * bytes % 16 == 0 &&
         view.slot_stride * bytes % 16 == 0 &&
         view.head_stride * bytes % 16 == 0;
}

bool PowerOfTwo(int x) { return x > 0 && (x & (x - 1)) == 0; }

bool IsFast(const PagedDecodeParams& p) {
  if (p.type == FloatType::kFloat) return false;
  if (!Aligned(p.k, p.bits) || !Aligned(p.v, p.bits)) return false;
  if (p.bits == 16) return p.head_dim % 8 == 0 && p.head_dim <= 128;
  return (p.head_dim == 64 || p.head_dim == 128) && p.group_size >= 16 &&
         PowerOfTwo(p.group_size);
}

int QueryTiles(const PagedDecodeParams& p) {
  return (p.num_heads / p.num_kv_heads + kQueries - 1) / kQueries;
}

template <typename Q, int kBits, int kDim, bool kExact>
cudaError_t Fast(const PagedDecodeParams& p) {
  constexpr int kTiles = kBits == 4 || kDim == 64 ? 2 : 1;
  int group_shift = 0;
  while (kBits != 16 && (1 << group_shift) < p.group_size) ++group_shift;
  const int query_tiles = QueryTiles(p);
  const dim3 grid(p.splits, p.num_kv_heads * query_tiles, p.batch);
  const cudaError_t error =
      LaunchEarly(Decode<Q, kBits, kDim, kTiles, kExact>, grid, kThreads, 0,
                  p.stream, p, query_tiles, group_shift);
  if (error != cudaSuccess || p.splits == 1) return error;
  return LaunchEarly(Merge<Q, kDim>, dim3(p.num_heads, p.batch),
                     32 * kMergeWarps, 0, p.stream, p);
}

template <typename Q, int kBits>
cudaError_t Launch(const PagedDecodeParams& p) {
  if constexpr (!std::is_same<Q, float>::value) {
    if (IsFast(p)) {
      if (p.head_dim == 64) return Fast<Q, kBits, 64, true>(p);
      if (p.head_dim == 128) return Fast<Q, kBits, 128, true>(p);
      if constexpr (kBits == 16) {
        return p.head_dim < 64 ? Fast<Q, kBits, 64, false>(p)
                               : Fast<Q, kBits, 128, false>(p);
      }
    }
  }
  const int shared = kWarps * p.head_dim * static_cast<int>(sizeof(float));
  const dim3 grid(p.num_heads, p.batch);
  return LaunchEarly(DecodeAny<Q, kBits>, grid, kThreads, shared, p.stream, p);
}

template <typename Q>
cudaError_t LaunchBits(const PagedDecodeParams& p) {
  if (p.bits == 4) return Launch<Q, 4>(p);
  if (p.bits == 8) return Launch<Q, 8>(p);
  return Launch<Q, 16>(p);
}

}  // namespace

// Blocks of equal work run in waves of as many as fit the GPU: the number of
// splits that leaves the least of them idle, where each further wave costs 2%
// for its start.
int PagedDecodeSplits(const PagedDecodeParams& p, int multiprocessors) {
  if (!IsFast(p) || p.max_length <= kUnsplitKeys) return 1;
  const int64_t blocks =
      static_cast<int64_t>(p.batch) * p.num_kv_heads * QueryTiles(p);
  const int64_t fit =
      static_cast<int64_t>(multiprocessors) * kBlocksPerMultiprocessor;
  const int most = std::min(
      (p.max_length + kLeastKeysPerSplit - 1) / kLeastKeysPerSplit, 256);
  int best = 1;
  double best_used = 0;
  for (int splits = 1; splits <= most; ++splits) {
    const int64_t waves = (blocks * splits + fit - 1) / fit;
    if (splits > 1 && waves > 8) break;
    const double used = static_cast<double>(blocks * splits) / (waves * fit) -
                        0.02 * (waves - 1);
    if (splits == 1 || used > best_used) {
      best = splits;
      best_used = used;
    }
  }
  return best;
}

cudaError_t PagedDecodeLaunch(const PagedDecodeParams& params) {
  return DispatchFloat(params.type, [&](auto type) {
    return LaunchBits<decltype(type)>(params);
  });
}

cudaError_t PagedAppendLaunch(const PagedAppendParams& p) {
  const dim3 grid(p.num_heads + 2 * p.num_kv_heads, p.batch);
  return DispatchFloat(p.type, [&](auto type) {
    return LaunchEarly(Append<decltype(type)>, grid, 32, 0, p.stream, p);
  });
}

}  // namespace repro
