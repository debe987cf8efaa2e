// The sweep for GPUs other than Hopper, and its readable form.
#ifndef REPRO_KERNELS_LIGHTNING_ATTENTION_LIGHTNING_ATTENTION_PORTABLE_CUH_
#define REPRO_KERNELS_LIGHTNING_ATTENTION_LIGHTNING_ATTENTION_PORTABLE_CUH_

#include <cstdint>
#include <type_traits>

#include "kernels/lightning_attention/lightning_attention_cuda.h"
#include "kernels/lightning_attention/lightning_attention_fragments.cuh"
#include "kernels/lightning_attention/lightning_attention_work.cuh"

namespace repro {
namespace lightning {

// The same in instructions of sm_80, without overlap of loads and products:
// the readable form, and for other GPUs.
template <int kKey, int kValue, bool kStates>
struct PortableLayout {
  static constexpr int kGroups = kValue / 64;
  static constexpr int kThreads = 128 * kGroups;
  static constexpr int kKeyTile = kKey / 64 * kSubtile;
  static constexpr int kValueTile = kValue / 64 * kSubtile;
  static constexpr int kBytes =
      2 * kKeyTile + kValueTile + kGroups * (kKeyTile + kSubtile + kPowers * 4);
};

template <typename T>
__device__ void Mma(float* d, const uint32_t (&a)[4], uint32_t b0,
                    uint32_t b1) {
  if constexpr (std::is_same_v<T, __half>) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, "
        "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, "
        "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
}

// d[64 x 64] += a b^T over kDim, tiles of rows of contracted values.
template <typename T, int kDim>
__device__ void MultiplyRows(const Lane& at, float (&d)[32], uint32_t a,
                             uint32_t b) {
#pragma unroll
  for (int i = 0; i < kDim / 16; ++i) {
    uint32_t left[4];
    LoadMatrices<false>(left, a + ChunkOffset(16 * at.warp + at.lane % 16,
                                              2 * i + at.lane / 16));
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      uint32_t right[4];
      LoadMatrices<false>(
          right, b + ChunkOffset(16 * n + (at.lane / 16) * 8 + at.lane % 8,
                                 2 * i + at.lane / 8 % 2));
      Mma<T>(d + 8 * n, left, right[0], right[1]);
      Mma<T>(d + 8 * n + 4, left, right[2], right[3]);
    }
  }
}

// d[64 x 2 kSize] += a b, a [64 x 64] in registers, b's 64 rows the contracted
// axis.
template <typename T, int kSize>
__device__ void MultiplyAdd(const Lane& at, float (&d)[kSize],
                            const uint32_t (&a)[4][4], uint32_t b) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int n = 0; n < kSize / 8; ++n) {
      uint32_t right[4];
      LoadMatrices<true>(
          right, b + ChunkOffset(16 * i + at.lane % 16, 2 * n + at.lane / 16));
      Mma<T>(d + 8 * n, a[i], right[0], right[1]);
      Mma<T>(d + 8 * n + 4, a[i], right[2], right[3]);
    }
  }
}

// Copies rows of kDim values to a tile, zeros beyond `rows`.
template <typename T, int kDim>
__device__ void CopyRows(const LightningTensor& x, const Work& work, int row,
                         int rows, uint32_t tile, int threads) {
  constexpr int kChunks = kDim / 8;
  const T* from = static_cast<const T*>(x.data) + work.batch * x.batch_stride +
                  work.head * x.head_stride +
                  static_cast<int64_t>(row) * x.row_stride;
  for (int i = threadIdx.x; i < kChunk * kChunks; i += threads) {
    const int r = i / kChunks, chunk = i % kChunks;
    const T* source = r < rows ? from + r * x.row_stride + chunk * 8 : from;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                     tile + ChunkOffset(r, chunk)),
                 "l"(source), "r"(r < rows ? 16 : 0)
                 : "memory");
  }
}

struct Operands {
  LightningTensor q, k, v;
};

template <typename T, int kKey, int kValue, bool kStates>
__global__ void __launch_bounds__(
    PortableLayout<kKey, kValue, kStates>::kThreads)
    PortableSweep(const __grid_constant__ Operands operands,
                  const __grid_constant__ Sweep p) {
  using L = PortableLayout<kKey, kValue, kStates>;
  extern __shared__ __align__(128) char shared_memory[];
  const int group = threadIdx.x / 128;
  const Lane at;
  const uint32_t k_tile = SharedAddress(shared_memory);
  const uint32_t v_tile = k_tile + L::kKeyTile;
  const uint32_t q_tile = v_tile + L::kValueTile;
  const uint32_t state_tile = q_tile + L::kKeyTile * (1 + group);
  const uint32_t outs = q_tile + L::kKeyTile * (1 + L::kGroups);
  const uint32_t out_tile = outs + group * kSubtile;
  float* const powers =
      reinterpret_cast<float*>(shared_memory +
                               (outs + L::kGroups * kSubtile - k_tile)) +
      group * kPowers + kChunk;
  float state[kKey / 2];

  const int items = p.segments * p.heads * (kStates ? kPieces : 1);
  for (int item = blockIdx.x; item < items; item += gridDim.x) {
    Work work;
    if (!FindWork<kStates>(p, item, &work)) continue;
    __syncthreads();
    FillPowers(at, powers, p.decay[work.head]);
    InitialState<L::kGroups>(p, at, work, group, state);
    const int chunks = (work.rows + kChunk - 1) / kChunk;
    for (int c = 0; c < chunks; ++c) {
      const int chunk = p.reverse ? chunks - 1 - c : c;
      const int row = work.begin + chunk * kChunk;
      const int rows = min(kChunk, work.rows - chunk * kChunk);
      __syncthreads();  // the last chunk has been read
      if (!kStates) {
        CopyRows<T, kKey>(operands.q, work, row, rows, q_tile, L::kThreads);
        StoreFragments<T>(at, state, state_tile);
      }
      CopyRows<T, kKey>(operands.k, work, row, rows, k_tile, L::kThreads);
      CopyRows<T, kValue>(operands.v, work, row, rows, v_tile, L::kThreads);
      asm volatile("cp.async.wait_all;" ::: "memory");
      __syncthreads();

      uint32_t values[4][4];
      if (!kStates) {
        float out[32] = {};
        MultiplyRows<T, kKey>(at, out, q_tile, state_tile);
        ScaleQueries(at, powers, rows, p.reverse, out);
        float scores[32] = {};
        MultiplyRows<T, kKey>(at, scores, q_tile, k_tile);
        DecayedScores<T>(at, scores, powers, p.reverse, values);
        MultiplyAdd<T>(at, out, values, v_tile + group * kSubtile);
        StoreFragments<T>(at, out, out_tile);
        GroupBarrier(group);
        StoreRows<T, 64>(p.out, at, work, 64 * group, row, rows,
                         shared_memory + (out_tile - k_tile));
      }
      ScaledValues<T>(at, v_tile + group * kSubtile, powers, rows, p.reverse,
                      values);
      const float decay = powers[rows];
#pragma unroll
      for (int i = 0; i < kKey / 2; ++i) state[i] *= decay;
      MultiplyAdd<T>(at, state, values, k_tile);
    }
    FinalState<kStates, L::kGroups>(p, at, work, group, state);
  }
}

}  // namespace lightning
}  // namespace repro

#endif  // REPRO_KERNELS_LIGHTNING_ATTENTION_LIGHTNING_ATTENTION_PORTABLE_CUH_
