// Tiles in shared memory and matrix products on them: wgmma on Hopper
// (sm_90a), mma.sync elsewhere (sm_80 on).
//
// Both give a thread the same elements. In a warp's 16 rows of an accumulator
// x[n][4], lane l holds x[n][0], x[n][1] of row l / 4 and x[n][2], x[n][3] of
// row l / 4 + 8, in columns 8 n + 2 (l % 4) and the next. A left operand of 16
// rows and 16 columns is four registers of two values: (row l / 4, columns 2 (l
// % 4)...), (row + 8, the same), (row, columns + 8), (row + 8, columns + 8);
// hence an accumulator becomes a left operand by rounding alone. Warp w of a
// group of four takes rows 16 w to 16 w + 15 of the group's 64.
#ifndef REPRO_KERNELS_FLASH_MMA_H_
#define REPRO_KERNELS_FLASH_MMA_H_

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__CUDA_ARCH_FEAT_SM90_ALL) && !defined(REPRO_FLASH_MMA_SYNC)
#define REPRO_FLASH_WGMMA
#endif

namespace repro {
namespace flash {

// ---- Values ----

template <typename T>
__device__ inline uint32_t Pack(float low, float high) {
  uint32_t packed;
  if constexpr (std::is_same<T, __half>::value) {
    const __half2 pair = __floats2half2_rn(low, high);
    memcpy(&packed, &pair, 4);
  } else {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    memcpy(&packed, &pair, 4);
  }
  return packed;
}

template <typename T>
__device__ inline float2 Unpack(uint32_t packed) {
  if constexpr (std::is_same<T, __half>::value) {
    __half2 pair;
    memcpy(&pair, &packed, 4);
    return __half22float2(pair);
  } else {
    return make_float2(__uint_as_float(packed << 16),
                       __uint_as_float(packed & 0xffff0000u));
  }
}

__device__ inline float Exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// An accumulator of 16 columns a step as left operands.
template <typename T, int kColumns8>
__device__ inline void PackOperand(const float (&x)[kColumns8][4],
                                   uint32_t (&a)[kColumns8 / 2][4]) {
#pragma unroll
  for (int i = 0; i < kColumns8 / 2; ++i) {
    a[i][0] = Pack<T>(x[2 * i][0], x[2 * i][1]);
    a[i][1] = Pack<T>(x[2 * i][2], x[2 * i][3]);
    a[i][2] = Pack<T>(x[2 * i + 1][0], x[2 * i + 1][1]);
    a[i][3] = Pack<T>(x[2 * i + 1][2], x[2 * i + 1][3]);
  }
}

template <int kColumns8>
__device__ inline void Clear(float (&x)[kColumns8][4]) {
#pragma unroll
  for (int n = 0; n < kColumns8; ++n) {
    x[n][0] = x[n][1] = x[n][2] = x[n][3] = 0;
  }
}

// Over the four lanes that share a row of an accumulator.
__device__ inline float QuadMax(float x) {
  x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
  return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}
__device__ inline float QuadSum(float x) {
  x += __shfl_xor_sync(0xffffffffu, x, 1);
  return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

// ---- Shared memory ----

__device__ inline uint32_t SharedAddress(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

// Byte offset of the 16 bytes number `chunk` of a row in a tile of kRows rows:
// panels of 64 columns, a row of a panel 128 bytes, its chunks permuted by an
// exclusive or with row % 8. ldmatrix finds no bank conflict in it, and it is
// wgmma's 128-byte swizzle where the tile starts at a multiple of 1024 bytes.
template <int kRows>
__device__ constexpr uint32_t TileOffset(int row, int chunk) {
  return (chunk / 8) * (kRows * 128) + row * 128 +
         ((chunk % 8) ^ (row % 8)) * 16;
}

__device__ inline uint32_t LoadShared(uint32_t address) {
  uint32_t x;
  asm volatile("ld.shared.b32 %0, [%1];" : "=r"(x) : "r"(address) : "memory");
  return x;
}
__device__ inline void StoreShared(uint32_t address, uint32_t x) {
  asm volatile("st.shared.b32 [%0], %1;" ::"r"(address), "r"(x) : "memory");
}
__device__ inline uint4 LoadShared16(uint32_t address) {
  uint4 x;
  asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
               : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w)
               : "r"(address)
               : "memory");
  return x;
}

// Starts to copy rows first... first + kRows - 1 of a matrix with the whole
// block; zeros where the row is not below `limit` or the column not below dim.
template <int kRows, int kDim, int kThreads, typename T>
__device__ inline void LoadTile(uint32_t tile, const T* matrix, int64_t stride,
                                int first, int limit, int dim) {
  constexpr int kChunks = kDim / 8;
  constexpr int kStep = kThreads / kChunks;
  static_assert(kStep % 8 == 0 && kRows % kStep == 0, "");
  const int chunk = threadIdx.x % kChunks;
  const int row = threadIdx.x / kChunks;
  const T* from = matrix + (first + row) * stride + chunk * 8;
  const uint32_t to = tile + TileOffset<kRows>(row, chunk);
  const int rows = chunk * 8 < dim ? limit - first - row : 0;
#pragma unroll
  for (int i = 0; i < kRows / kStep; ++i) {
    // Nothing is read where the number of bytes is zero.
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                     to + i * kStep * 128),
                 "l"(from + i * kStep * stride), "r"(i * kStep < rows ? 16 : 0)
                 : "memory");
  }
}

__device__ inline void CommitLoads() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

// Until all but the last kPending groups of this thread's copies have arrived,
// for the matrix units to read once a barrier has followed.
template <int kPending>
__device__ inline void WaitForLoads() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
#ifdef REPRO_FLASH_WGMMA
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

// Writes a warp's 16 rows, of accumulators rounded to T, in pairs of columns.
// `rows` is the address of the first row, a multiple of 8 in its tile.
template <typename T, int kTileRows, int kColumns8>
__device__ inline void StoreAccumulator(uint32_t rows,
                                        const float (&x)[kColumns8][4]) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int n = 0; n < kColumns8; ++n) {
    const uint32_t to =
        rows + TileOffset<kTileRows>(lane / 4, n) + lane % 4 * 4;
    StoreShared(to, Pack<T>(x[n][0], x[n][1]));
    StoreShared(to + 8 * 128, Pack<T>(x[n][2], x[n][3]));
  }
}

// The same in all of a warp's threads, as the compiler can see.
__device__ inline int WarpIndex() {
  return __shfl_sync(0xffffffffu, threadIdx.x / 32, 0);
}

// Copies a warp's 16 rows from shared memory to rows first... of a matrix.
template <int kTileRows, int kDim, typename T>
__device__ inline void StoreRows(uint32_t rows, T* matrix, int64_t stride,
                                 int first, int limit, int dim) {
  constexpr int kChunks = kDim / 8;
  const int lane = threadIdx.x % 32;
  const int chunk = lane % kChunks;
  constexpr int kStep = 32 / kChunks;
  const int row = lane / kChunks;
  const int valid = chunk * 8 < dim ? limit - first - row : 0;
  T* to = matrix + (first + row) * stride + chunk * 8;
#pragma unroll
  for (int i = 0; i < 16; i += kStep) {
    const uint4 x = LoadShared16(rows + TileOffset<kTileRows>(row + i, chunk));
    if (i < valid) *reinterpret_cast<uint4*>(to) = x;
    to += kStep * stride;
  }
}

// ---- Products ----

__device__ inline void LoadMatrices(uint32_t address, uint32_t (&x)[4]) {
  asm volatile(
      "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
      : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
      : "r"(address)
      : "memory");
}
__device__ inline void LoadMatricesTransposed(uint32_t address,
                                              uint32_t (&x)[4]) {
  asm volatile(
      "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
      : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
      : "r"(address)
      : "memory");
}

// Left operands from 16 rows of a tile; `rows` as in StoreAccumulator.
template <int kTileRows, int kSteps>
__device__ inline void LoadOperand(uint32_t rows, uint32_t (&a)[kSteps][4]) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int k = 0; k < kSteps; ++k) {
    LoadMatrices(rows + TileOffset<kTileRows>(lane % 16, 2 * k + lane / 16),
                 a[k]);
  }
}

// x += a b for a warp, over 16: a of 16 rows, b of 8 columns.
template <typename T>
__device__ inline void MmaSync(float (&x)[4], const uint32_t (&a)[4],
                               uint32_t b0, uint32_t b1) {
  if constexpr (std::is_same<T, __half>::value) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, "
        "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(x[0]), "+f"(x[1]), "+f"(x[2]), "+f"(x[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, "
        "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(x[0]), "+f"(x[1]), "+f"(x[2]), "+f"(x[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
}

#ifdef REPRO_FLASH_WGMMA

// Matrix descriptor of what starts `offset` bytes behind an address, in the
// 128-byte swizzle. The upper word does not depend on the address, and of the
// lower one only the sum.
__device__ inline uint64_t Descriptor(uint32_t address, uint32_t offset,
                                      uint32_t leading_bytes) {
  const uint32_t low =
      (address >> 4) + ((offset >> 4) | (leading_bytes >> 4) << 16);
  constexpr uint32_t kHigh = 1024 >> 4 | 1u << 30;
  uint64_t descriptor;
  asm("mov.b64 %0, {%1, %2};" : "=l"(descriptor) : "r"(low), "r"(kHigh));
  return descriptor;
}

#define REPRO_X4(c, n) c(x[n][0]), c(x[n][1]), c(x[n][2]), c(x[n][3])
#define REPRO_X32(c, n)                                                       \
  REPRO_X4(c, n), REPRO_X4(c, n + 1), REPRO_X4(c, n + 2), REPRO_X4(c, n + 3), \
      REPRO_X4(c, n + 4), REPRO_X4(c, n + 5), REPRO_X4(c, n + 6),             \
      REPRO_X4(c, n + 7)
#define REPRO_R32                                                          \
  "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, "     \
  "%15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, " \
  "%29, %30, %31}"
#define REPRO_R64                                                          \
  "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, "     \
  "%15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, " \
  "%29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, " \
  "%43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, " \
  "%57, %58, %59, %60, %61, %62, %63}"
// The predicate says whether to add to x.
#define REPRO_WGMMA(shape, type, predicate, operands)                         \
  "{\n.reg .pred p;\nsetp.ne.b32 p, " predicate                               \
  ", 0;\n"                                                                    \
  "wgmma.mma_async.sync.aligned." shape "k16.f32." type "." type " " operands \
  ";\n}"

// x (+)= a b for 64 rows, 16 columns of a. kTransposed: b's rows are the
// product's inner axis. Where nothing is added to, x is no input: a register
// that other instructions wrote would make the compiler wait for each product.
#define REPRO_WGMMA_A_REGISTERS(constraint, accumulate, type)                \
  asm volatile(                                                              \
      REPRO_WGMMA("m64n64", type, "%37",                                     \
                  REPRO_R32 ", {%32, %33, %34, %35}, %36, p, 1, 1, %38")     \
      : REPRO_X32(constraint, 0)                                             \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate), \
        "n"(kTransposed ? 1 : 0))
template <typename T, bool kTransposed, bool kAccumulate>
__device__ inline void Wgmma(float (&x)[8][4], const uint32_t (&a)[4],
                             uint64_t b) {
  if constexpr (std::is_same<T, __half>::value) {
    if constexpr (kAccumulate) {
      REPRO_WGMMA_A_REGISTERS("+f", 1, "f16");
    } else {
      REPRO_WGMMA_A_REGISTERS("=f", 0, "f16");
    }
  } else {
    if constexpr (kAccumulate) {
      REPRO_WGMMA_A_REGISTERS("+f", 1, "bf16");
    } else {
      REPRO_WGMMA_A_REGISTERS("=f", 0, "bf16");
    }
  }
}
#undef REPRO_WGMMA_A_REGISTERS

#define REPRO_WGMMA_A_REGISTERS(constraint, accumulate, type)                \
  asm volatile(                                                              \
      REPRO_WGMMA("m64n128", type, "%69",                                    \
                  REPRO_R64 ", {%64, %65, %66, %67}, %68, p, 1, 1, %70")     \
      : REPRO_X32(constraint, 0), REPRO_X32(constraint, 8)                   \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate), \
        "n"(kTransposed ? 1 : 0))
template <typename T, bool kTransposed, bool kAccumulate>
__device__ inline void Wgmma(float (&x)[16][4], const uint32_t (&a)[4],
                             uint64_t b) {
  if constexpr (std::is_same<T, __half>::value) {
    if constexpr (kAccumulate) {
      REPRO_WGMMA_A_REGISTERS("+f", 1, "f16");
    } else {
      REPRO_WGMMA_A_REGISTERS("=f", 0, "f16");
    }
  } else {
    if constexpr (kAccumulate) {
      REPRO_WGMMA_A_REGISTERS("+f", 1, "bf16");
    } else {
      REPRO_WGMMA_A_REGISTERS("=f", 0, "bf16");
    }
  }
}
#undef REPRO_WGMMA_A_REGISTERS

#define REPRO_WGMMA_A_SHARED(constraint, accumulate, type)        \
  asm volatile(REPRO_WGMMA("m64n64", type, "%34",                 \
                           REPRO_R32 ", %32, %33, p, 1, 1, 0, 0") \
               : REPRO_X32(constraint, 0)                         \
               : "l"(a), "l"(b), "r"(accumulate))
template <typename T, bool kAccumulate>
__device__ inline void Wgmma(float (&x)[8][4], uint64_t a, uint64_t b) {
  if constexpr (std::is_same<T, __half>::value) {
    if constexpr (kAccumulate) {
      REPRO_WGMMA_A_SHARED("+f", 1, "f16");
    } else {
      REPRO_WGMMA_A_SHARED("=f", 0, "f16");
    }
  } else {
    if constexpr (kAccumulate) {
      REPRO_WGMMA_A_SHARED("+f", 1, "bf16");
    } else {
      REPRO_WGMMA_A_SHARED("=f", 0, "bf16");
    }
  }
}
#undef REPRO_WGMMA_A_SHARED

#undef REPRO_WGMMA
#undef REPRO_R64
#undef REPRO_R32
#undef REPRO_X32
#undef REPRO_X4

#endif  // REPRO_FLASH_WGMMA

// The products start, and may still be running when these return: no register
// or tile that they use may be written, and x not be read, before Wait.

// Before the products that follow one another without a Wait.
__device__ inline void StartProducts() {
#ifdef REPRO_FLASH_WGMMA
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}

// x = a b^T for the group's 64 rows: b the first 8 kColumns8 rows of a tile,
// the inner axis its columns.
template <typename T, int kTileRows, int kColumns8, int kSteps>
__device__ inline void Multiply(float (&x)[kColumns8][4],
                                const uint32_t (&a)[kSteps][4], uint32_t b) {
#ifdef REPRO_FLASH_WGMMA
  Wgmma<T, false, false>(x, a[0], Descriptor(b, 0, 16));
#pragma unroll
  for (int k = 1; k < kSteps; ++k) {
    Wgmma<T, false, true>(
        x, a[k], Descriptor(b, k / 4 * (kTileRows * 128) + k % 4 * 32, 16));
  }
#else
  const int lane = threadIdx.x % 32;
  Clear(x);
#pragma unroll
  for (int k = 0; k < kSteps; ++k) {
#pragma unroll
    for (int n = 0; n < kColumns8 / 2; ++n) {
      uint32_t y[4];
      LoadMatrices(b + TileOffset<kTileRows>(n * 16 + lane / 16 * 8 + lane % 8,
                                             2 * k + lane / 8 % 2),
                   y);
      MmaSync<T>(x[2 * n], a[k], y[0], y[1]);
      MmaSync<T>(x[2 * n + 1], a[k], y[2], y[3]);
    }
  }
#endif
}

// x += a b: b the first 16 kSteps rows of a tile, the inner axis its rows.
template <typename T, int kTileRows, int kColumns8, int kSteps>
__device__ inline void AddTransposed(float (&x)[kColumns8][4],
                                     const uint32_t (&a)[kSteps][4],
                                     uint32_t b) {
#ifdef REPRO_FLASH_WGMMA
#pragma unroll
  for (int k = 0; k < kSteps; ++k) {
    Wgmma<T, true, true>(x, a[k], Descriptor(b, k * 2048, kTileRows * 128));
  }
#else
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int k = 0; k < kSteps; ++k) {
#pragma unroll
    for (int n = 0; n < kColumns8 / 2; ++n) {
      uint32_t y[4];
      LoadMatricesTransposed(
          b + TileOffset<kTileRows>(k * 16 + lane % 16, 2 * n + lane / 16), y);
      MmaSync<T>(x[2 * n], a[k], y[0], y[1]);
      MmaSync<T>(x[2 * n + 1], a[k], y[2], y[3]);
    }
  }
#endif
}

// Multiply with the left operand in a tile of kLeftRows rows too, from the row
// that `a` is the address of (the group's first).
template <typename T, int kLeftRows, int kTileRows, int kSteps, int kColumns8>
__device__ inline void MultiplyShared(float (&x)[kColumns8][4], uint32_t a,
                                      uint32_t b) {
#ifdef REPRO_FLASH_WGMMA
  Wgmma<T, false>(x, Descriptor(a, 0, 16), Descriptor(b, 0, 16));
#pragma unroll
  for (int k = 1; k < kSteps; ++k) {
    Wgmma<T, true>(x, Descriptor(a, k / 4 * (kLeftRows * 128) + k % 4 * 32, 16),
                   Descriptor(b, k / 4 * (kTileRows * 128) + k % 4 * 32, 16));
  }
#else
  const int lane = threadIdx.x % 32;
  const uint32_t rows = a + threadIdx.x / 32 % 4 * (16 * 128);
  Clear(x);
#pragma unroll
  for (int k = 0; k < kSteps; ++k) {
    uint32_t left[4];
    LoadMatrices(rows + TileOffset<kLeftRows>(lane % 16, 2 * k + lane / 16),
                 left);
#pragma unroll
    for (int n = 0; n < kColumns8 / 2; ++n) {
      uint32_t y[4];
      LoadMatrices(b + TileOffset<kTileRows>(n * 16 + lane / 16 * 8 + lane % 8,
                                             2 * k + lane / 8 % 2),
                   y);
      MmaSync<T>(x[2 * n], left, y[0], y[1]);
      MmaSync<T>(x[2 * n + 1], left, y[2], y[3]);
    }
  }
#endif
}

// Ends a group of products.
__device__ inline void CommitProducts() {
#ifdef REPRO_FLASH_WGMMA
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}

// What is written to x before this stays before this, and what is read after it
// after.
template <int kColumns8>
__device__ inline void Settle(float (&x)[kColumns8][4]) {
#ifdef REPRO_FLASH_WGMMA
#pragma unroll
  for (int n = 0; n < kColumns8; ++n) {
    asm volatile(""
                 : "+f"(x[n][0]), "+f"(x[n][1]), "+f"(x[n][2]), "+f"(x[n][3])
                 :
                 : "memory");
  }
#endif
}

// Until all but the last kPending groups are done; x is of one that is.
template <int kPending, int kColumns8>
__device__ inline void Wait(float (&x)[kColumns8][4]) {
#ifdef REPRO_FLASH_WGMMA
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
#endif
  Settle(x);
}

}  // namespace flash
}  // namespace repro

#endif  // REPRO_KERNELS_FLASH_MMA_H_
