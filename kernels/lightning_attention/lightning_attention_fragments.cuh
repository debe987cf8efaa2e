// Tiles in shared memory, fragments in registers and what both sweeps do to
// them between matrix products. A warpgroup (128 threads) has 64 rows, laid out
// as wgmma and mma.sync have them.
#ifndef REPRO_KERNELS_LIGHTNING_ATTENTION_LIGHTNING_ATTENTION_FRAGMENTS_CUH_
#define REPRO_KERNELS_LIGHTNING_ATTENTION_LIGHTNING_ATTENTION_FRAGMENTS_CUH_

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "kernels/lightning_attention/lightning_attention_cuda.h"
#include "kernels/lightning_attention/lightning_attention_work.cuh"

namespace repro {
namespace lightning {

template <typename T>
__device__ uint32_t Pack(float low, float high) {
  uint32_t bits;
  if constexpr (std::is_same_v<T, __half>) {
    const __half2 x = __floats2half2_rn(low, high);
    memcpy(&bits, &x, 4);
  } else {
    const __nv_bfloat162 x = __floats2bfloat162_rn(low, high);
    memcpy(&bits, &x, 4);
  }
  return bits;
}

template <typename T>
__device__ float2 Unpack(uint32_t bits) {
  if constexpr (std::is_same_v<T, __half>) {
    __half2 x;
    memcpy(&x, &bits, 4);
    return __half22float2(x);
  } else {
    return {__uint_as_float(bits << 16), __uint_as_float(bits & 0xffff0000u)};
  }
}

inline __device__ void GroupBarrier(int group) {
  asm volatile("bar.sync %0, 128;" ::"r"(1 + group) : "memory");
}

inline __device__ uint32_t SharedAddress(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

// Byte offset of the 16-byte chunk of a row in a tile of [dim / 64] subtiles of
// [64 rows][64 values], kStride bytes apart, whose chunks are swizzled by the
// row.
template <int kStride = kSubtile>
__device__ uint32_t ChunkOffset(int row, int chunk) {
  return (chunk / 8) * kStride + row * 128 + (((chunk % 8) ^ (row % 8)) << 4);
}

template <bool kTranspose>
__device__ void LoadMatrices(uint32_t (&x)[4], uint32_t address) {
  if constexpr (kTranspose) {
    asm volatile(
        "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
        : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
        : "r"(address)
        : "memory");
  } else {
    asm volatile(
        "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
        : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
        : "r"(address)
        : "memory");
  }
}

// Place of a thread in the fragments of a warpgroup's 64 rows: rows row and
// row + 8, columns 8 n + column and the next.
struct Lane {
  int thread, warp, lane, row, column;
  __device__ Lane()
      : thread(threadIdx.x % 128),
        warp(thread / 32),
        lane(thread % 32),
        row(16 * warp + lane / 4),
        column(2 * (lane % 4)) {}
};

// powers: the middle of the table.
inline __device__ void FillPowers(const Lane& at, float* powers, float slope) {
  for (int i = at.thread; i <= 2 * kChunk; i += 128) {
    const int exponent = i - kChunk;
    powers[exponent] =
        exponent < 0 ? 0.0f
                     : exp2f(-slope * kLog2E * static_cast<float>(exponent));
  }
}

// Accumulators [64 x 2 kSize] to a tile in T.
template <typename T, int kStride = kSubtile, int kSize>
__device__ void StoreFragments(const Lane& at, const float (&x)[kSize],
                               uint32_t tile) {
#if __CUDA_ARCH__ >= 900
  const int row = 16 * at.warp + (at.lane / 8 % 2) * 8 + at.lane % 8;
#pragma unroll
  for (int n = 0; n < kSize / 4; n += 2) {
    const uint32_t address = tile + ChunkOffset<kStride>(row, n + at.lane / 16);
    const float* f = x + 4 * n;
    asm volatile(
        "stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::
            "r"(address),
        "r"(Pack<T>(f[0], f[1])), "r"(Pack<T>(f[2], f[3])),
        "r"(Pack<T>(f[4], f[5])), "r"(Pack<T>(f[6], f[7]))
        : "memory");
  }
#else
#pragma unroll
  for (int n = 0; n < kSize / 4; ++n) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      asm volatile("st.shared.b32 [%0], %1;" ::"r"(
                       tile + ChunkOffset<kStride>(at.row + 8 * half, n) +
                       2 * at.column),
                   "r"(Pack<T>(x[4 * n + 2 * half], x[4 * n + 2 * half + 1]))
                   : "memory");
    }
  }
#endif
}

// The part of V^T [64 values, 64 tokens] that a warpgroup multiplies by K, as
// the left operand, each token scaled by its decay to the chunk's end.
template <typename T>
__device__ void ScaledValues(const Lane& at, uint32_t tile, const float* powers,
                             int rows, bool reverse, uint32_t (&x)[4][4]) {
#pragma unroll
  for (int step = 0; step < 4; ++step) {
    const int token = 16 * step + (at.lane / 16) * 8 + at.lane % 8;
    LoadMatrices<true>(
        x[step], tile + ChunkOffset(token, 2 * at.warp + at.lane / 8 % 2));
  }
  const float* first = reverse ? powers + 1 : powers + (rows - 1);
  const int direction = reverse ? 1 : -1;
#pragma unroll
  for (int step = 0; step < 4; ++step) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int token = 16 * step + 8 * half + at.column;
      const float even = first[direction * token];
      const float odd = first[direction * (token + 1)];
#pragma unroll
      for (int i = 2 * half; i < 2 * half + 2; ++i) {
        const float2 v = Unpack<T>(x[step][i]);
        x[step][i] = Pack<T>(v.x * even, v.y * odd);
      }
    }
  }
}

// Scores times the decay between query and key, zero where the key is not seen,
// as the left operand.
template <typename T>
__device__ void DecayedScores(const Lane& at, const float (&scores)[32],
                              const float* powers, bool reverse,
                              uint32_t (&x)[4][4]) {
  const int direction = reverse ? -1 : 1;
  const float* first = powers + direction * (at.row - at.column);
  // Of the row 8 below the last column block's is this column block's.
  float2 below = {first[direction * 8], first[direction * 7]};
#pragma unroll
  for (int n = 0; n < 8; ++n) {
    const float2 above = {first[direction * (-8 * n)],
                          first[direction * (-8 * n - 1)]};
    const float* s = scores + 4 * n;
    x[n / 2][2 * (n % 2)] = Pack<T>(s[0] * above.x, s[1] * above.y);
    x[n / 2][2 * (n % 2) + 1] = Pack<T>(s[2] * below.x, s[3] * below.y);
    below = above;
  }
}

// Q KV to its decay since the chunk's start.
template <int kSize>
__device__ void ScaleQueries(const Lane& at, const float* powers, int rows,
                             bool reverse, float (&out)[kSize]) {
  const float* first =
      reverse ? powers + (rows - 1 - at.row) : powers + (at.row + 1);
  const float above = first[0];
  const float below = first[reverse ? -8 : 8];
#pragma unroll
  for (int n = 0; n < kSize / 4; ++n) {
    out[4 * n] *= above;
    out[4 * n + 1] *= above;
    out[4 * n + 2] *= below;
    out[4 * n + 3] *= below;
  }
}

// Where a thread's elements of the state's transpose are: rows of a warpgroup
// are 64 values, columns the keys. The strides are made opaque, or the compiler
// keeps an offset of each element in registers throughout.
struct StateOffsets {
  int key, value, first;
  __device__ StateOffsets(const Sweep& p, const Lane& at, int group)
      : key(p.state_key_stride), value(p.state_value_stride) {
    asm volatile("" : "+r"(key), "+r"(value));
    first = at.column * key + (64 * group + at.row) * value;
  }
  __device__ int operator()(int i) const {
    return first + (8 * (i / 4) + i % 2) * key + 8 * (i / 2 % 2) * value;
  }
};

template <int kSize>
__device__ void LoadState(const Sweep& p, const Lane& at, const float* state,
                          int group, float (&x)[kSize]) {
  const StateOffsets offset(p, at, group);
#pragma unroll
  for (int i = 0; i < kSize; ++i) x[i] = state[offset(i)];
}

template <int kSize>
__device__ void StoreState(const Sweep& p, const Lane& at, float* state,
                           int group, const float (&x)[kSize]) {
  const StateOffsets offset(p, at, group);
#pragma unroll
  for (int i = 0; i < kSize; ++i) state[offset(i)] = x[i];
}

// The state that a block starts from.
template <int kGroups, int kSize>
__device__ void InitialState(const Sweep& p, const Lane& at, const Work& work,
                             int group, float (&x)[kSize]) {
  constexpr int kElements = kGroups * 128 * kSize;
  if (work.source >= 0) {
    const auto* slot = reinterpret_cast<const float4*>(
        p.slots +
        (static_cast<int64_t>(work.source) * p.heads + work.head) * kElements);
#pragma unroll
    for (int i = 0; i < kSize / 4; ++i) {
      const float4 f = slot[(group * (kSize / 4) + i) * 128 + at.thread];
      x[4 * i] = f.x;
      x[4 * i + 1] = f.y;
      x[4 * i + 2] = f.z;
      x[4 * i + 3] = f.w;
    }
  } else if (work.source == kInitial && p.initial_state != nullptr) {
    LoadState(p, at,
              p.initial_state +
                  (static_cast<int64_t>(work.sequence) * p.heads + work.head) *
                      kElements,
              group, x);
  } else {
#pragma unroll
    for (int i = 0; i < kSize; ++i) x[i] = 0;
  }
}

// The state that it ends with, where somebody wants it.
template <bool kStates, int kGroups, int kSize>
__device__ void FinalState(const Sweep& p, const Lane& at, const Work& work,
                           int group, const float (&x)[kSize]) {
  constexpr int kElements = kGroups * 128 * kSize;
  if (kStates) {
    auto* slot = reinterpret_cast<float4*>(
        p.slots +
        (static_cast<int64_t>(work.slot) * p.heads + work.head) * kElements);
#pragma unroll
    for (int i = 0; i < kSize / 4; ++i) {
      slot[(group * (kSize / 4) + i) * 128 + at.thread] = {
          x[4 * i], x[4 * i + 1], x[4 * i + 2], x[4 * i + 3]};
    }
  } else if (p.final_state != nullptr && work.to_final) {
    StoreState(p, at,
               p.final_state +
                   (static_cast<int64_t>(work.sequence) * p.heads + work.head) *
                       kElements,
               group, x);
  }
}

// A warpgroup's [rows, kDim] of a chunk's output, from `column` on, from its
// tile in shared memory.
template <typename T, int kDim>
__device__ void StoreRows(const LightningTensor& out, const Lane& at,
                          const Work& work, int column, int row, int rows,
                          const char* tile) {
  constexpr int kChunks = kDim / 8;
  T* const to = static_cast<T*>(out.data) + work.batch * out.batch_stride +
                work.head * out.head_stride +
                static_cast<int64_t>(row) * out.row_stride + column;
  for (int i = at.thread; i < rows * kChunks; i += 128) {
    *reinterpret_cast<uint4*>(to + (i / kChunks) * out.row_stride +
                              i % kChunks * 8) =
        *reinterpret_cast<const uint4*>(tile +
                                        ChunkOffset(i / kChunks, i % kChunks));
  }
}

// Rows of a tile of kDim values from `rows` on, which belong to the next
// sequence, to zero.
template <int kDim>
__device__ void ZeroRows(char* tile, int rows, int thread, int threads) {
  constexpr int kChunks = kDim / 8;
  for (int i = rows * kChunks + thread; i < kChunk * kChunks; i += threads) {
    *reinterpret_cast<uint4*>(tile + ChunkOffset(i / kChunks, i % kChunks)) =
        uint4{0, 0, 0, 0};
  }
}

}  // namespace lightning
}  // namespace repro

#endif  // REPRO_KERNELS_LIGHTNING_ATTENTION_LIGHTNING_ATTENTION_FRAGMENTS_CUH_
