// Softmax attention under a mask that shows each query an interval of keys, the
// scores never leaving the registers (Dao, FlashAttention-2, 2023).
//
// A Mask is passed by value and has
//   kOwn                   each query also sees one key and value of its own
//   First(t), End(t)       query t sees keys First(t) <= j < End(t); neither
//                          falls as t grows. Without own keys, t sees key t.
//   FirstQuery(j),         the queries that see key j, for backward
//   EndQuery(j, seq_len)
// and may have, for forward alone,
//   kLong                  walks are long; where it is not given, kOwn
//   SinkEnd()              query t also sees the keys j < SinkEnd(), if before
//                          End(t)
//
// Groups of four warps, each with 64 queries, walk over tiles of keys from the
// last that a query of the block sees to the first; tiles come by cp.async.
//
// Long walks: two groups, tiles of 128 keys, and the product with one tile's
// values runs while the next tile's scores are exponentiated.
// For D = 128 a thread has 64 registers of sums, 64 of scores, 32 of weights
// and 32 of queries, so that one block fills an SM; its shared memory is five
// times 128 rows, 160 KB: the queries, two tiles of keys and two of values, of
// which one each holds the own ones, if any, at the start.
//
// Short walks: one group, tiles of 64 keys, three of them in
// shared memory, and several blocks an SM, which hide one another's waits (four
// for D = 64: 56 KB, at most 128 registers; on an H100 15% faster than two of
// two groups). A group skips the tiles that its rows do not see, a warp the
// exponentials of each 16 columns that its rows do not see.
#ifndef REPRO_KERNELS_FLASH_FORWARD_H_
#define REPRO_KERNELS_FLASH_FORWARD_H_

#include <cmath>
#include <type_traits>

#include "kernels/flash/flash.h"
#include "kernels/flash/mma.h"

namespace repro {
namespace flash {

constexpr int kGroupThreads = 128;
constexpr int kGroupRows = 64;  // that a group of four warps works for
// Of a block: two for long walks, and in backward for own keys.
constexpr int Groups(bool two) { return two ? 2 : 1; }
constexpr float kLog2E = 1.4426950408889634f;
// Below every product, and finite so that differences are numbers in rows that
// have seen no key.
constexpr float kLowest = -1e30f;

// Rows of forward's tiles, and how many tiles there are of keys and of values
// each.
constexpr int ForwardTile(bool long_walk) { return long_walk ? 128 : 64; }
constexpr int ForwardStages(bool long_walk) { return long_walk ? 2 : 3; }

template <typename Mask, typename = void>
struct IsLong : std::bool_constant<Mask::kOwn> {};
template <typename Mask>
struct IsLong<Mask, std::void_t<decltype(Mask::kLong)>>
    : std::bool_constant<Mask::kLong> {};
template <typename Mask, typename = void>
struct HasSink : std::false_type {};
template <typename Mask>
struct HasSink<Mask, std::void_t<decltype(&Mask::SinkEnd)>> : std::true_type {};
template <typename Mask>
__device__ inline int SinkEnd(const Mask& mask) {
  if constexpr (HasSink<Mask>::value) return mask.SinkEnd();
  return 0;
}

template <typename T>
__device__ inline T* Head(const FlashMatrix& m, int64_t batch, int64_t head) {
  return static_cast<T*>(m.data) + batch * m.batch_stride +
         head * m.head_stride;
}

// -infinity where the column is not in its row's [begin, end), both counted
// from the tile's first column, of columns 8 kBegin to 8 kEnd - 1. kSink: those
// below both `sink` and the end stay, too.
template <int kBegin, int kEnd, bool kSink = false, int kColumns8>
__device__ inline void MaskScores(float (&scores)[kColumns8][4],
                                  const int (&begin)[2], const int (&end)[2],
                                  int sink = 0) {
  const int column = threadIdx.x % 4 * 2;
#pragma unroll
  for (int n = kBegin; n < kEnd; ++n) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int c = 8 * n + j % 2;
      if ((c < begin[j / 2] - column && !(kSink && c < sink - column)) ||
          c >= end[j / 2] - column) {
        scores[n][j] = -INFINITY;
      }
    }
  }
}

// The inner products of a warp's 16 left operands' rows with the rows of a tile
// of kTileRows: of rows lane / 4 and lane / 4 + 8, in all four lanes.
template <typename T, int kTileRows, int kSteps>
__device__ inline void RowProducts(const uint32_t (&a)[kSteps][4],
                                   uint32_t rows, float (&product)[2]) {
  const int lane = threadIdx.x % 32;
  product[0] = product[1] = 0;
#pragma unroll
  for (int k = 0; k < kSteps; ++k) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const float2 x = Unpack<T>(a[k][j]);
      const float2 y = Unpack<T>(LoadShared(
          rows + TileOffset<kTileRows>(lane / 4 + j % 2 * 8, 2 * k + j / 2) +
          lane % 4 * 4));
      product[j % 2] += x.x * y.x + x.y * y.y;
    }
  }
  product[0] = QuadSum(product[0]);
  product[1] = QuadSum(product[1]);
}

template <int kDim, typename Mask>
constexpr int ForwardSharedBytes() {
  constexpr bool kLong = IsLong<Mask>::value;
  return (Groups(kLong) * kGroupRows +
          ForwardStages(kLong) * 2 * ForwardTile(kLong)) *
         kDim * 2;
}

template <typename T, int kDim, typename Mask>
__global__ __launch_bounds__(
    Groups(IsLong<Mask>::value) * kGroupThreads,
    kDim == 64 && !IsLong<Mask>::value
        ? 4
        : 1) void ForwardKernel(const __grid_constant__ FlashParams p,
                                const Mask mask) {
  constexpr bool kLong = IsLong<Mask>::value;
  constexpr bool kSink = HasSink<Mask>::value;
  static_assert(kLong || !Mask::kOwn, "own keys come with long walks");
  constexpr int kGroups = Groups(kLong);
  constexpr int kThreads = kGroups * kGroupThreads;
  constexpr int kBlock = kGroups * kGroupRows;
  constexpr int kTile = ForwardTile(kLong);
  static_assert(!Mask::kOwn || kBlock == kTile, "a tile holds the own rows");
  using Scores = float[kTile / 8][4];
  using Pair = float[2];
  extern __shared__ __align__(1024) char shared[];
  constexpr int kStages = ForwardStages(kLong);
  constexpr int kTileBytes = kTile * kDim * 2;
  const uint32_t q_tile = SharedAddress(shared);
  const uint32_t k_tiles = q_tile + kBlock * kDim * 2;
  const uint32_t v_tiles = k_tiles + kStages * kTileBytes;
  const int warp = WarpIndex(), lane = threadIdx.x % 32;

  const int num_blocks = (p.seq_len + kBlock - 1) / kBlock;
  int block = blockIdx.x % num_blocks;
  // The longest first.
  if (kLong) block = num_blocks - 1 - block;
  const int batch_head = blockIdx.x / num_blocks;
  const int batch = batch_head / p.heads, head = batch_head % p.heads;
  const int first = block * kBlock;
  const int last = min(first + kBlock, p.seq_len) - 1;
  const T* k = Head<T>(p.k, batch, head / p.heads_per_key_head);
  const T* v = Head<T>(p.v, batch, head / p.heads_per_key_head);

  const int begin_tile = mask.First(first) / kTile;
  const int end_tile = (mask.End(last) + kTile - 1) / kTile;
  // Then those of the sinks, the last first, too.
  const int sink_tiles = min((SinkEnd(mask) + kTile - 1) / kTile, begin_tile);
  const int window_tiles = end_tile - begin_tile;
  const int tiles = window_tiles + sink_tiles;
  const auto k_tile = [&](int i) { return k_tiles + i % kStages * kTileBytes; };
  const auto v_tile = [&](int i) { return v_tiles + i % kStages * kTileBytes; };
  const auto first_key = [&](int i) {
    return (kSink && i >= window_tiles ? tiles - 1 - i : end_tile - 1 - i) *
           kTile;
  };
  const auto load_k = [&](int i) {
    if (i >= tiles) return;
    LoadTile<kTile, kDim, kThreads>(k_tile(i), k, p.k.row_stride, first_key(i),
                                    p.num_keys, p.head_dim);
  };
  const auto load_v = [&](int i) {
    if (i >= tiles) return;
    LoadTile<kTile, kDim, kThreads>(v_tile(i), v, p.v.row_stride, first_key(i),
                                    p.num_keys, p.value_dim);
  };
  LoadTile<kBlock, kDim, kThreads>(q_tile, Head<T>(p.q, batch, head),
                                   p.q.row_stride, first, p.seq_len,
                                   p.head_dim);
  if constexpr (kLong) {
    if constexpr (Mask::kOwn) {
      // Where tiles 1 will be.
      LoadTile<kBlock, kDim, kThreads>(k_tile(1), Head<T>(p.own_k, batch, head),
                                       p.own_k.row_stride, first, p.seq_len,
                                       p.head_dim);
      LoadTile<kBlock, kDim, kThreads>(v_tile(1), Head<T>(p.own_v, batch, head),
                                       p.own_v.row_stride, first, p.seq_len,
                                       p.value_dim);
    }
    CommitLoads();
    load_k(0);
    CommitLoads();
    WaitForLoads<1>();
    __syncthreads();
  } else {
    for (int i = 0; i < kStages - 1; ++i) {
      load_k(i);
      load_v(i);
      CommitLoads();
    }
  }

  const uint32_t q_rows = q_tile + warp * 16 * 128;
  uint32_t q[kDim / 16][4];
  if (kLong) LoadOperand<kBlock>(q_rows, q);

  const float scale = p.scale * kLog2E;
  float out[kDim / 8][4];
  Clear(out);
  float maximum[2] = {kLowest, kLowest}, sum[2] = {0, 0};
  if constexpr (Mask::kOwn) {
    RowProducts<T, kBlock>(q, k_tile(1) + warp * 16 * 128, maximum);
    // Summed over the four lanes at the end.
    sum[0] = sum[1] = lane % 4 == 0;
#pragma unroll
    for (int n = 0; n < kDim / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const float2 x = Unpack<T>(
            LoadShared(v_tile(1) + warp * 16 * 128 +
                       TileOffset<kBlock>(lane / 4 + i * 8, n) + lane % 4 * 4));
        out[n][2 * i] = x.x;
        out[n][2 * i + 1] = x.y;
      }
    }
  }

  // This group's rows, and this thread's two of them.
  const int group = first + warp / 4 * kGroupRows;
  const uint32_t group_rows = warp / 4 * kGroupRows * 128;
  const int row = first + warp * 16 + lane / 4;
  const int group_begin = mask.First(group);
  const int group_end = mask.End(group + kGroupRows - 1);
  const int full_begin = mask.First(group + kGroupRows - 1);
  const int full_end = mask.End(group);
  const int sink_end = SinkEnd(mask);

  // Scores to weights exp(score - maximum), with the maximum so far, which the
  // sums before are to be scaled down to by `decay`. With `partial`, only the
  // columns of which `active` has a bit for each 16; the other weights are 0.
  const auto weigh = [&](Scores& scores, Pair& decay, auto partial,
                         unsigned active) {
    constexpr bool kPartial = decltype(partial)::value;
    float maxima[2] = {maximum[0], maximum[1]};
#pragma unroll
    for (int n = 0; n < kTile / 8; ++n) {
      if (kPartial && (active >> n / 2) % 2 == 0) continue;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        maxima[j / 2] = fmaxf(maxima[j / 2], scores[n][j]);
      }
    }
    float shift[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      maxima[r] = QuadMax(maxima[r]);
      decay[r] = Exp2((maximum[r] - maxima[r]) * scale);
      maximum[r] = maxima[r];
      shift[r] = maxima[r] * scale;
      sum[r] *= decay[r];
    }
#pragma unroll
    for (int n = 0; n < kTile / 8; ++n) {
      if (kPartial && (active >> n / 2) % 2 == 0) {
        scores[n][0] = scores[n][1] = scores[n][2] = scores[n][3] = 0;
        continue;
      }
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        scores[n][j] = Exp2(fmaf(scores[n][j], scale, -shift[j / 2]));
        sum[j / 2] += scores[n][j];
      }
    }
  };
  const auto weigh_tile = [&](Scores& scores, int i, Pair& decay) {
    const int key = first_key(i);
    if ((key >= full_begin || (kSink && key + kTile <= sink_end)) &&
        key + kTile <= full_end) {
      weigh(scores, decay, std::false_type(), 0);
      return;
    }
    const int begin[2] = {mask.First(row) - key, mask.First(row + 8) - key};
    const int end[2] = {mask.End(row) - key, mask.End(row + 8) - key};
    const int sink = sink_end - key;
    if constexpr (kLong) {
      MaskScores<0, kTile / 8, kSink>(scores, begin, end, sink);
      weigh(scores, decay, std::false_type(), 0);
    } else {
      // Walks are short, so most tiles are masked: each 16 columns that the
      // warp's 16 rows see not at all, in part or whole.
      const int warp_row = first + warp * 16;
      const int see_begin = mask.First(warp_row) - key;
      const int see_end = mask.End(warp_row + 15) - key;
      const int whole_begin = mask.First(warp_row + 15) - key;
      const int whole_end = mask.End(warp_row) - key;
      unsigned active = 0;
      const auto columns = [&](auto n) {
        constexpr int kFirst = decltype(n)::value * 8;
        if (kFirst >= see_end ||
            (kFirst + 16 <= see_begin && !(kSink && kFirst < sink))) {
          return;
        }
        active |= 1u << kFirst / 16;
        if ((kFirst >= whole_begin || (kSink && kFirst + 16 <= sink)) &&
            kFirst + 16 <= whole_end) {
          return;
        }
        MaskScores<kFirst / 8, kFirst / 8 + 2, kSink>(scores, begin, end, sink);
      };
      columns(std::integral_constant<int, 0>());
      columns(std::integral_constant<int, 2>());
      columns(std::integral_constant<int, 4>());
      columns(std::integral_constant<int, 6>());
      weigh(scores, decay, std::true_type(), active);
    }
  };
  const auto scale_down = [&](const Pair& decay) {
#pragma unroll
    for (int n = 0; n < kDim / 8; ++n) {
#pragma unroll
      for (int j = 0; j < 4; ++j) out[n][j] *= decay[j / 2];
    }
  };

  Scores scores;
  Pair decay;
  uint32_t weights[kTile / 16][4];
  const auto add_values = [&](int i) {
    AddTransposed<T, kTile>(out, weights, v_tile(i));
    CommitProducts();
  };
  if constexpr (kLong) {
    // The scores of tile i and the values of tile i - 1 at a time, while the
    // next of both are on their way.
    const auto arrive = [&](int i) {
      WaitForLoads<0>();
      __syncthreads();
      load_k(i + 1);
      load_v(i);
      CommitLoads();
    };
    if (tiles > 0) {
      arrive(0);
      StartProducts();
      Multiply<T, kTile>(scores, q, k_tile(0));
      CommitProducts();
      Wait<0>(scores);
      weigh_tile(scores, 0, decay);
      scale_down(decay);
      PackOperand<T>(scores, weights);
      for (int i = 1; i < tiles; ++i) {
        arrive(i);
        StartProducts();
        Multiply<T, kTile>(scores, q, k_tile(i));
        CommitProducts();
        add_values(i - 1);
        Wait<1>(scores);
        weigh_tile(scores, i, decay);
        Wait<0>(out);
        // Late in a walk, maxima seldom grow.
        if (!__all_sync(0xffffffffu, decay[0] == 1 && decay[1] == 1)) {
          scale_down(decay);
        }
        PackOperand<T>(scores, weights);
      }
      WaitForLoads<0>();
      __syncthreads();
      StartProducts();
      add_values(tiles - 1);
      Wait<0>(out);
    }
  } else {
    for (int i = 0; i < tiles; ++i) {
      WaitForLoads<kStages - 2>();
      __syncthreads();
      load_k(i + kStages - 1);
      load_v(i + kStages - 1);
      CommitLoads();
      const int key = first_key(i);
      if (key >= group_end ||
          (key + kTile <= group_begin && !(kSink && key < sink_end))) {
        continue;
      }
      StartProducts();
      // Queries in registers would not pay for a few tiles.
      MultiplyShared<T, kBlock, kTile, kDim / 16>(scores, q_tile + group_rows,
                                                  k_tile(i));
      CommitProducts();
      Wait<0>(scores);
      weigh_tile(scores, i, decay);
      scale_down(decay);
      PackOperand<T>(scores, weights);
      StartProducts();
      add_values(i);
      Wait<0>(out);
    }
  }

#pragma unroll
  for (int r = 0; r < 2; ++r) {
    sum[r] = QuadSum(sum[r]);
    const float inverse = __fdividef(1, sum[r]);
#pragma unroll
    for (int n = 0; n < kDim / 8; ++n) {
      out[n][2 * r] *= inverse;
      out[n][2 * r + 1] *= inverse;
    }
    const int t = row + 8 * r;
    if (lane % 4 == 0 && t < p.seq_len && p.log_sum != nullptr) {
      p.log_sum[int64_t{batch_head} * p.seq_len + t] =
          maximum[r] * p.scale + __logf(sum[r]);
    }
  }
  // Through shared memory, for stores of whole lines, once all have done with
  // the queries.
  if (!kLong) __syncthreads();
  StoreAccumulator<T, kBlock>(q_rows, out);
  __syncwarp();
  StoreRows<kBlock, kDim>(q_rows, Head<T>(p.out, batch, head), p.out.row_stride,
                          first + warp * 16, p.seq_len, p.value_dim);
}

template <typename T, int kDim, typename Mask>
cudaError_t LaunchForward(const FlashParams& p, const Mask& mask) {
  constexpr int kGroups = Groups(IsLong<Mask>::value);
  constexpr int kRows = kGroups * kGroupRows;
  constexpr int kBytes = ForwardSharedBytes<kDim, Mask>();
  const auto kernel = ForwardKernel<T, kDim, Mask>;
  const cudaError_t error = cudaFuncSetAttribute(
      kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (error != cudaSuccess) return error;
  const int blocks = (p.seq_len + kRows - 1) / kRows * p.batch * p.heads;
  kernel<<<blocks, kGroups * kGroupThreads, kBytes, p.stream>>>(p, mask);
  return cudaGetLastError();
}

}  // namespace flash

// Nothing may be empty: batch, heads, seq_len > 0.
template <typename Mask>
cudaError_t FlashForward(const FlashParams& p, const Mask& mask) {
  const bool narrow = p.head_dim <= 64 && p.value_dim <= 64;
  if (p.type == FlashType::kHalf) {
    return narrow ? flash::LaunchForward<__half, 64>(p, mask)
                  : flash::LaunchForward<__half, 128>(p, mask);
  }
  return narrow ? flash::LaunchForward<__nv_bfloat16, 64>(p, mask)
                : flash::LaunchForward<__nv_bfloat16, 128>(p, mask);
}

}  // namespace repro

#endif  // REPRO_KERNELS_FLASH_FORWARD_H_
