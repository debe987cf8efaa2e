// Gradients of the attention of forward.h, in two kernels that each sum in a
// fixed order, so that results are the same in every run:
//
//   P = exp(scale q k^T - log_sum), delta = rowsum(grad_out out),
//   dS = P (grad_out v^T - delta),
//   grad_q = scale dS k, grad_k = scale dS^T q, grad_v = P^T grad_out.
//
// 1. GradQueryKernel: groups of four warps, each with 64 queries, walk over
//    tiles of 64 keys: three products a tile. It also computes delta, and the
//    gradients of own keys and values, which only their query reaches.
// 2. GradKeyKernel: groups with 64 keys each walk over tiles of 64 queries,
// from
//    the last: four products a tile, on transposed scores (a row a key), which
//    are left operands of the products with grad_out and q without leaving the
//    registers.
//
// Seven products where one kernel with atomic additions to grad_q needs five;
// that one would not be deterministic and would add 4-byte sums of grad_q for
// every tile. Where walks are long (own keys), two groups a block, and the
// accumulation of one tile overlaps the exponentials of the next. Registers of
// a thread for D = 128: two accumulators of 64 and two tiles of scores of 32
// (GradKeyKernel, its left operands from shared memory), one of 64, two of 32
// and 32 of queries (GradQueryKernel); shared memory 160 KB, one block an SM.
// Where walks are short, one group a block and two tiles in shared memory: for
// D = 64 four blocks an SM (48 KB, 128 registers) and three (50 KB, 168).
#ifndef REPRO_KERNELS_FLASH_BACKWARD_H_
#define REPRO_KERNELS_FLASH_BACKWARD_H_

#include "kernels/flash/forward.h"

namespace repro {
namespace flash {

constexpr int kTile = 64;  // rows of a tile that is walked over

// By Mask::kOwn: tiles in shared memory, and how many are on their way while
// one is worked on; with own keys, the one before it is still used.
constexpr int BackwardStages(bool own) { return own ? 3 : 2; }
constexpr int kAhead = 1;

// Starts to load a tile of each of two matrices into a stage.
template <int kThreads, int kDim, typename T>
__device__ inline void LoadStage(uint32_t stage, const T* a, int64_t a_stride,
                                 int a_dim, const T* b, int64_t b_stride,
                                 int b_dim, int first, int limit) {
  LoadTile<kTile, kDim, kThreads>(stage, a, a_stride, first, limit, a_dim);
  LoadTile<kTile, kDim, kThreads>(stage + kTile * kDim * 2, b, b_stride, first,
                                  limit, b_dim);
}

template <int kDim, typename Mask>
constexpr int GradQuerySharedBytes() {
  constexpr int kStages = BackwardStages(Mask::kOwn);
  return (2 * Groups(Mask::kOwn) * kGroupRows + kStages * 2 * kTile) * kDim * 2;
}

// Of each stage, log_sum and delta of its queries.
template <int kDim, typename Mask>
constexpr int GradKeySharedBytes() {
  constexpr int kStages = BackwardStages(Mask::kOwn);
  return (2 * Groups(Mask::kOwn) * kGroupRows + kStages * 2 * kTile) * kDim *
             2 +
         kStages * 2 * kTile * 4;
}

// P = exp2(scores * scale - log_sum) in place; the latter in units of log 2.
template <int kColumns8>
__device__ inline void Exponentiate(float (&scores)[kColumns8][4], float scale,
                                    const float (&log_sum)[2]) {
#pragma unroll
  for (int n = 0; n < kColumns8; ++n) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      scores[n][j] = Exp2(fmaf(scores[n][j], scale, -log_sum[j / 2]));
    }
  }
}

template <typename T, int kDim, typename Mask>
__global__ __launch_bounds__(
    Groups(Mask::kOwn) * kGroupThreads,
    kDim == 64 && !Mask::kOwn
        ? 4
        : 1) void GradQueryKernel(const __grid_constant__ FlashParams p,
                                  const Mask mask) {
  constexpr int kGroups = Groups(Mask::kOwn);
  constexpr int kStages = BackwardStages(Mask::kOwn);
  constexpr int kThreads = kGroups * kGroupThreads;
  constexpr int kBlock = kGroups * kGroupRows;
  extern __shared__ __align__(1024) char shared[];
  constexpr int kStageBytes = 2 * kTile * kDim * 2;
  const uint32_t q_tile = SharedAddress(shared);
  const uint32_t grad_tile = q_tile + kBlock * kDim * 2;
  const uint32_t stages = grad_tile + kBlock * kDim * 2;
  const int warp = WarpIndex(), lane = threadIdx.x % 32;
  const uint32_t warp_rows = warp * 16 * 128;

  const int num_blocks = (p.seq_len + kBlock - 1) / kBlock;
  int block = blockIdx.x % num_blocks;
  // The longest first.
  if (Mask::kOwn) block = num_blocks - 1 - block;
  const int batch_head = blockIdx.x / num_blocks;
  const int batch = batch_head / p.heads, head = batch_head % p.heads;
  const int first = block * kBlock;
  const int last = min(first + kBlock, p.seq_len) - 1;
  const T* k = Head<T>(p.k, batch, head);
  const T* v = Head<T>(p.v, batch, head);

  const int begin_tile = mask.First(first) / kTile;
  const int end_tile = (mask.End(last) + kTile - 1) / kTile;
  const int tiles = end_tile - begin_tile;
  const auto stage = [&](int i) {
    return stages + (Mask::kOwn ? i + 2 : i) % kStages * kStageBytes;
  };
  const auto load = [&](int i) {
    if (i < tiles) {
      LoadStage<kThreads, kDim>(stage(i), k, p.k.row_stride, p.head_dim, v,
                                p.v.row_stride, p.value_dim,
                                (end_tile - 1 - i) * kTile, p.num_keys);
    }
    CommitLoads();
  };
  LoadTile<kBlock, kDim, kThreads>(q_tile, Head<T>(p.q, batch, head),
                                   p.q.row_stride, first, p.seq_len,
                                   p.head_dim);
  LoadTile<kBlock, kDim, kThreads>(grad_tile, Head<T>(p.grad_out, batch, head),
                                   p.grad_out.row_stride, first, p.seq_len,
                                   p.value_dim);
  if constexpr (Mask::kOwn) {
    LoadTile<kBlock, kDim, kThreads>(stages, Head<T>(p.own_k, batch, head),
                                     p.own_k.row_stride, first, p.seq_len,
                                     p.head_dim);
    LoadTile<kBlock, kDim, kThreads>(
        stages + kStageBytes, Head<T>(p.own_v, batch, head), p.own_v.row_stride,
        first, p.seq_len, p.value_dim);
  }
  CommitLoads();
  load(0);

  // This thread's two rows.
  const int row = first + warp * 16 + lane / 4;
  const int64_t row_index = int64_t{batch_head} * p.seq_len + row;
  float log_sum[2], delta[2] = {0, 0};
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    log_sum[r] =
        row + 8 * r < p.seq_len ? p.log_sum[row_index + 8 * r] * kLog2E : 0;
  }
  WaitForLoads<1>();
  __syncthreads();

  uint32_t q[kDim / 16][4];
  if (Mask::kOwn) LoadOperand<kBlock>(q_tile + warp_rows, q);
  float grad_q[kDim / 8][4];
  Clear(grad_q);
  const float scale = p.scale * kLog2E;
  {
    uint32_t grad_out[kDim / 16][4];
    LoadOperand<kBlock>(grad_tile + warp_rows, grad_out);
    // `out` where the operand layout has grad_out.
    const T* out = Head<T>(p.out, batch, head);
#pragma unroll
    for (int kk = 0; kk < kDim / 16; ++kk) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int t = row + j % 2 * 8;
        const int column = kk * 16 + j / 2 * 8 + lane % 4 * 2;
        if (t >= p.seq_len || column >= p.value_dim) continue;
        const float2 x = Unpack<T>(*reinterpret_cast<const uint32_t*>(
            out + t * p.out.row_stride + column));
        const float2 y = Unpack<T>(grad_out[kk][j]);
        delta[j % 2] += x.x * y.x + x.y * y.y;
      }
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      delta[r] = QuadSum(delta[r]);
      if (lane % 4 == 0 && row + 8 * r < p.seq_len) {
        p.delta[row_index + 8 * r] = delta[r];
      }
    }
    if constexpr (Mask::kOwn) {
      const uint32_t k_rows = stages + warp_rows;
      const uint32_t v_rows = stages + kStageBytes + warp_rows;
      float score[2], grad_weight[2], weight[2], grad_score[2];
      RowProducts<T, kBlock>(q, k_rows, score);
      RowProducts<T, kBlock>(grad_out, v_rows, grad_weight);
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        weight[r] = Exp2(fmaf(score[r], scale, -log_sum[r]));
        grad_score[r] = weight[r] * (grad_weight[r] - delta[r]);
      }
      // The own keys' and values' gradients take the place of the own keys and
      // values, of which only this warp reads these rows.
#pragma unroll
      for (int n = 0; n < kDim / 8; ++n) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          const uint32_t at =
              TileOffset<kBlock>(lane / 4 + r * 8, n) + lane % 4 * 4;
          const float2 own = Unpack<T>(LoadShared(k_rows + at));
          grad_q[n][2 * r] = grad_score[r] * own.x;
          grad_q[n][2 * r + 1] = grad_score[r] * own.y;
          const float2 x = Unpack<T>(q[n / 2][n % 2 * 2 + r]);
          const float factor = grad_score[r] * p.scale;
          StoreShared(k_rows + at, Pack<T>(factor * x.x, factor * x.y));
          const float2 y = Unpack<T>(grad_out[n / 2][n % 2 * 2 + r]);
          StoreShared(v_rows + at, Pack<T>(weight[r] * y.x, weight[r] * y.y));
        }
      }
      __syncwarp();
      StoreRows<kBlock, kDim>(k_rows, Head<T>(p.grad_own_k, batch, head),
                              p.grad_own_k.row_stride, first + warp * 16,
                              p.seq_len, p.head_dim);
      StoreRows<kBlock, kDim>(v_rows, Head<T>(p.grad_own_v, batch, head),
                              p.grad_own_v.row_stride, first + warp * 16,
                              p.seq_len, p.value_dim);
    }
  }

  const int group = first + warp / 4 * kGroupRows;
  const uint32_t group_rows = warp / 4 * kGroupRows * 128;
  const int group_begin = mask.First(group);
  const int group_end = mask.End(group + kGroupRows - 1);
  const int full_begin = mask.First(group + kGroupRows - 1);
  const int full_end = mask.End(group);

  uint32_t operand[kTile / 16][4];
  const auto first_key = [&](int i) { return (end_tile - 1 - i) * kTile; };
  const auto arrive = [&](int i) {
    WaitForLoads<0>();
    __syncthreads();
    load(i + 1);
  };
  const auto add_to_grad_q = [&](int i) {
    AddTransposed<T, kTile>(grad_q, operand, stage(i));
    CommitProducts();
  };
  // Leaves tile i's dS in `operand`; with `overlap`, adds the last tile's part
  // of grad_q meanwhile.
  const auto walk = [&](int i, auto overlap) {
    constexpr int kOverlap = decltype(overlap)::value;
    const int key = first_key(i);
    float scores[kTile / 8][4], grad_scores[kTile / 8][4];
    StartProducts();
    if constexpr (Mask::kOwn) {
      Multiply<T, kTile>(scores, q, stage(i));
    } else {
      MultiplyShared<T, kBlock, kTile, kDim / 16>(scores, q_tile + group_rows,
                                                  stage(i));
    }
    CommitProducts();
    MultiplyShared<T, kBlock, kTile, kDim / 16>(
        grad_scores, grad_tile + group_rows, stage(i) + kTile * kDim * 2);
    CommitProducts();
    if constexpr (kOverlap) add_to_grad_q(i - 1);
    Wait<1 + kOverlap>(scores);
    if (key < full_begin || key + kTile > full_end) {
      const int begin[2] = {mask.First(row) - key, mask.First(row + 8) - key};
      const int end[2] = {mask.End(row) - key, mask.End(row + 8) - key};
      MaskScores<0, kTile / 8>(scores, begin, end);
    }
    Exponentiate(scores, scale, log_sum);
    Wait<0>(grad_scores);
    if constexpr (kOverlap) Settle(grad_q);
#pragma unroll
    for (int n = 0; n < kTile / 8; ++n) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        grad_scores[n][j] = scores[n][j] * (grad_scores[n][j] - delta[j / 2]);
      }
    }
    PackOperand<T>(grad_scores, operand);
  };
  const auto finish = [&](int i) {
    StartProducts();
    add_to_grad_q(i);
    Wait<0>(grad_q);
  };

  if constexpr (Mask::kOwn) {
    // A tile's part of grad_q is computed behind the next one's weights.
    if (tiles > 0) {
      arrive(0);
      walk(0, std::integral_constant<int, 0>());
      for (int i = 1; i < tiles; ++i) {
        arrive(i);
        walk(i, std::integral_constant<int, 1>());
      }
      finish(tiles - 1);
    }
  } else {
    for (int i = 0; i < tiles; ++i) {
      arrive(i);
      const int key = first_key(i);
      if (key >= group_end || key + kTile <= group_begin) continue;
      walk(i, std::integral_constant<int, 0>());
      finish(i);
    }
  }

#pragma unroll
  for (int n = 0; n < kDim / 8; ++n) {
#pragma unroll
    for (int j = 0; j < 4; ++j) grad_q[n][j] *= p.scale;
  }
  if (!Mask::kOwn) __syncthreads();
  StoreAccumulator<T, kBlock>(q_tile + warp_rows, grad_q);
  __syncwarp();
  StoreRows<kBlock, kDim>(q_tile + warp_rows, Head<T>(p.grad_q, batch, head),
                          p.grad_q.row_stride, first + warp * 16, p.seq_len,
                          p.head_dim);
}

// Adds rows first... of a matrix to a warp's 16 rows of accumulators.
template <int kColumns8, typename T>
__device__ inline void AddRows(float (&x)[kColumns8][4], const T* matrix,
                               int64_t stride, int first, int limit, int dim) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int row = first + lane / 4 + 8 * r;
    if (row >= limit) continue;
#pragma unroll
    for (int n = 0; n < kColumns8; ++n) {
      if (n * 8 >= dim) break;
      const float2 y = Unpack<T>(*reinterpret_cast<const uint32_t*>(
          matrix + row * stride + n * 8 + lane % 4 * 2));
      x[n][2 * r] += y.x;
      x[n][2 * r + 1] += y.y;
    }
  }
}

template <typename T, int kDim, typename Mask>
__global__ __launch_bounds__(
    Groups(Mask::kOwn) * kGroupThreads,
    kDim == 64 && !Mask::kOwn
        ? 3
        : 1) void GradKeyKernel(const __grid_constant__ FlashParams p,
                                const Mask mask) {
  constexpr int kGroups = Groups(Mask::kOwn);
  constexpr int kStages = BackwardStages(Mask::kOwn);
  constexpr int kThreads = kGroups * kGroupThreads;
  constexpr int kBlock = kGroups * kGroupRows;

  extern __shared__ __align__(1024) char shared[];
  constexpr int kStageBytes = 2 * kTile * kDim * 2;
  const uint32_t k_tile = SharedAddress(shared);
  const uint32_t v_tile = k_tile + kBlock * kDim * 2;
  const uint32_t stages = v_tile + kBlock * kDim * 2;
  // Of each stage, log_sum in units of log 2, then delta.
  float* row_values = reinterpret_cast<float*>(
      shared + (2 * kBlock + kStages * 2 * kTile) * kDim * 2);
  const int warp = WarpIndex(), lane = threadIdx.x % 32;

  const int num_blocks = (p.num_keys + kBlock - 1) / kBlock;
  // With own keys, the first keys have the longest walks, so they come first in
  // all heads; otherwise the neighbours in a head share queries.
  const int heads = p.batch * p.heads;
  const int block = Mask::kOwn ? blockIdx.x / heads : blockIdx.x % num_blocks;
  const int batch_head =
      Mask::kOwn ? blockIdx.x % heads : blockIdx.x / num_blocks;
  const int batch = batch_head / p.heads, head = batch_head % p.heads;
  const int first = block * kBlock;
  const int last = min(first + kBlock, p.num_keys) - 1;
  const T* q = Head<T>(p.q, batch, head);
  const T* grad_out = Head<T>(p.grad_out, batch, head);
  const float* log_sum = p.log_sum + int64_t{batch_head} * p.seq_len;
  const float* delta = p.delta + int64_t{batch_head} * p.seq_len;

  const int begin_tile = mask.FirstQuery(first, p.seq_len) / kTile;
  const int end_tile = (mask.EndQuery(last, p.seq_len) + kTile - 1) / kTile;
  const int tiles = end_tile - begin_tile;
  const auto load = [&](int i) {
    if (i < tiles) {
      const int stage = i % kStages;
      const int query = (end_tile - 1 - i) * kTile;
      LoadStage<kThreads, kDim>(stages + stage * kStageBytes, q, p.q.row_stride,
                                p.head_dim, grad_out, p.grad_out.row_stride,
                                p.value_dim, query, p.seq_len);
      if (threadIdx.x < 2 * kTile) {
        const int t = query + threadIdx.x % kTile;
        const bool is_log_sum = threadIdx.x < kTile;
        float x = 0;
        if (t < p.seq_len) x = is_log_sum ? log_sum[t] * kLog2E : delta[t];
        row_values[stage * 2 * kTile + threadIdx.x] = x;
      }
    }
    CommitLoads();
  };
  LoadTile<kBlock, kDim, kThreads>(k_tile, Head<T>(p.k, batch, head),
                                   p.k.row_stride, first, p.num_keys,
                                   p.head_dim);
  LoadTile<kBlock, kDim, kThreads>(v_tile, Head<T>(p.v, batch, head),
                                   p.v.row_stride, first, p.num_keys,
                                   p.value_dim);
  load(0);

  const float scale = p.scale * kLog2E;
  float grad_k[kDim / 8][4], grad_v[kDim / 8][4];
  Clear(grad_k);
  Clear(grad_v);

  const int group = first + warp / 4 * kGroupRows;
  const uint32_t group_rows = warp / 4 * kGroupRows * 128;
  const int key = first + warp * 16 + lane / 4;
  const int group_begin = mask.FirstQuery(group, p.seq_len);
  const int group_end = mask.EndQuery(group + kGroupRows - 1, p.seq_len);
  const int full_begin = mask.FirstQuery(group + kGroupRows - 1, p.seq_len);
  const int full_end = mask.EndQuery(group, p.seq_len);

  const auto first_query = [&](int i) { return (end_tile - 1 - i) * kTile; };
  const auto stage = [&](int i) { return stages + i % kStages * kStageBytes; };
  uint32_t operand[kTile / 16][4], grad_operand[kTile / 16][4];
  const auto add_to_grad_k = [&](int i) {
    AddTransposed<T, kTile>(grad_k, grad_operand, stage(i));
    CommitProducts();
  };
  // All of tile i but for grad_k, for which it leaves dS in grad_operand; with
  // `overlap`, also the last tile's part of grad_k.
  const auto walk = [&](int i, auto overlap) {
    constexpr int kOverlap = decltype(overlap)::value;
    const int query = first_query(i);
    const uint32_t grad_tile = stage(i) + kTile * kDim * 2;
    const float* values = row_values + i % kStages * 2 * kTile + lane % 4 * 2;
    float scores[kTile / 8][4], grad_scores[kTile / 8][4];
    StartProducts();
    MultiplyShared<T, kBlock, kTile, kDim / 16>(scores, k_tile + group_rows,
                                                stage(i));
    CommitProducts();
    MultiplyShared<T, kBlock, kTile, kDim / 16>(grad_scores,
                                                v_tile + group_rows, grad_tile);
    CommitProducts();
    if constexpr (kOverlap) add_to_grad_k(i - 1);
    Wait<1 + kOverlap>(scores);
    if (query < full_begin || query + kTile > full_end) {
      const int begin[2] = {mask.FirstQuery(key, p.seq_len) - query,
                            mask.FirstQuery(key + 8, p.seq_len) - query};
      const int end[2] = {mask.EndQuery(key, p.seq_len) - query,
                          mask.EndQuery(key + 8, p.seq_len) - query};
      MaskScores<0, kTile / 8>(scores, begin, end);
    }
#pragma unroll
    for (int n = 0; n < kTile / 8; ++n) {
      const float2 shift = *reinterpret_cast<const float2*>(values + 8 * n);
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        scores[n][j] =
            Exp2(fmaf(scores[n][j], scale, j % 2 ? -shift.y : -shift.x));
      }
    }
    PackOperand<T>(scores, operand);
    StartProducts();
    AddTransposed<T, kTile>(grad_v, operand, grad_tile);
    CommitProducts();
    Wait<1>(grad_scores);
    if constexpr (kOverlap) Settle(grad_k);
#pragma unroll
    for (int n = 0; n < kTile / 8; ++n) {
      const float2 d = *reinterpret_cast<const float2*>(values + kTile + 8 * n);
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        grad_scores[n][j] =
            scores[n][j] * (grad_scores[n][j] - (j % 2 ? d.y : d.x));
      }
    }
    PackOperand<T>(grad_scores, grad_operand);
    Wait<0>(grad_v);
  };
  const auto arrive = [&](int i) {
    WaitForLoads<0>();
    __syncthreads();
    load(i + 1);
  };
  const auto finish = [&](int i) {
    StartProducts();
    add_to_grad_k(i);
    Wait<0>(grad_k);
  };

  if constexpr (Mask::kOwn) {
    // A tile's part of grad_k is computed behind the next one's weights.
    if (tiles > 0) {
      arrive(0);
      walk(0, std::integral_constant<int, 0>());
      for (int i = 1; i < tiles; ++i) {
        arrive(i);
        walk(i, std::integral_constant<int, 1>());
      }
      finish(tiles - 1);
    }
  } else {
    for (int i = 0; i < tiles; ++i) {
      arrive(i);
      const int query = first_query(i);
      if (query >= group_end || query + kTile <= group_begin) continue;
      walk(i, std::integral_constant<int, 0>());
      finish(i);
    }
  }

#pragma unroll
  for (int n = 0; n < kDim / 8; ++n) {
#pragma unroll
    for (int j = 0; j < 4; ++j) grad_k[n][j] *= p.scale;
  }
  T* to_k = Head<T>(p.grad_k, batch, head);
  T* to_v = Head<T>(p.grad_v, batch, head);
  const int warp_first = first + warp * 16;
  if (Mask::kOwn) {
    AddRows(grad_k, to_k, p.grad_k.row_stride, warp_first, p.num_keys,
            p.head_dim);
    AddRows(grad_v, to_v, p.grad_v.row_stride, warp_first, p.num_keys,
            p.value_dim);
  }
  // Without a tile the loads may still be on their way; with some, the group's
  // other warps read these rows of the keys and values, too.
  WaitForLoads<0>();
  __syncthreads();
  const uint32_t warp_rows = warp * 16 * 128;
  StoreAccumulator<T, kBlock>(k_tile + warp_rows, grad_k);
  StoreAccumulator<T, kBlock>(v_tile + warp_rows, grad_v);
  __syncwarp();
  StoreRows<kBlock, kDim>(k_tile + warp_rows, to_k, p.grad_k.row_stride,
                          warp_first, p.num_keys, p.head_dim);
  StoreRows<kBlock, kDim>(v_tile + warp_rows, to_v, p.grad_v.row_stride,
                          warp_first, p.num_keys, p.value_dim);
}

template <typename T, int kDim, typename Mask>
cudaError_t LaunchBackward(const FlashParams& p, const Mask& mask) {
  constexpr int kGroups = Groups(Mask::kOwn);
  const auto blocks = [&p](int rows) {
    constexpr int kRows = kGroups * kGroupRows;
    return (rows + kRows - 1) / kRows * p.batch * p.heads;
  };
  const auto query_kernel = GradQueryKernel<T, kDim, Mask>;
  constexpr int kQueryBytes = GradQuerySharedBytes<kDim, Mask>();
  cudaError_t error = cudaFuncSetAttribute(
      query_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kQueryBytes);
  if (error != cudaSuccess) return error;
  query_kernel<<<blocks(p.seq_len), kGroups * kGroupThreads, kQueryBytes,
                 p.stream>>>(p, mask);
  error = cudaGetLastError();
  if (error != cudaSuccess || p.num_keys == 0) return error;

  const auto key_kernel = GradKeyKernel<T, kDim, Mask>;
  constexpr int kKeyBytes = GradKeySharedBytes<kDim, Mask>();
  error = cudaFuncSetAttribute(
      key_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kKeyBytes);
  if (error != cudaSuccess) return error;
  key_kernel<<<blocks(p.num_keys), kGroups * kGroupThreads, kKeyBytes,
               p.stream>>>(p, mask);
  return cudaGetLastError();
}

}  // namespace flash

// As FlashForward.
template <typename Mask>
cudaError_t FlashBackward(const FlashParams& p, const Mask& mask) {
  const bool narrow = p.head_dim <= 64 && p.value_dim <= 64;
  if (p.type == FlashType::kHalf) {
    return narrow ? flash::LaunchBackward<__half, 64>(p, mask)
                  : flash::LaunchBackward<__half, 128>(p, mask);
  }
  return narrow ? flash::LaunchBackward<__nv_bfloat16, 64>(p, mask)
                : flash::LaunchBackward<__nv_bfloat16, 128>(p, mask);
}

}  // namespace repro

#endif  // REPRO_KERNELS_FLASH_BACKWARD_H_
