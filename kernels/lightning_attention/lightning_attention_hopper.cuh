// Wrappers of Hopper's instructions: mbarriers, bulk tensor copies, wgmma.
#ifndef REPRO_KERNELS_LIGHTNING_ATTENTION_LIGHTNING_ATTENTION_HOPPER_CUH_
#define REPRO_KERNELS_LIGHTNING_ATTENTION_LIGHTNING_ATTENTION_HOPPER_CUH_

#include <cuda.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

namespace repro {
namespace hopper {

// A warpgroup's share of the registers; every warpgroup calls one of these.
template <int kCount>
__device__ __forceinline__ void ClaimRegisters() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kCount));
}
template <int kCount>
__device__ __forceinline__ void ReleaseRegisters() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCount));
}

__device__ __forceinline__ void InitBarrier(uint32_t barrier, int count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier),
               "r"(count));
}

__device__ __forceinline__ void ExpectBytes(uint32_t barrier, int bytes) {
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier),
      "r"(bytes)
      : "memory");
}

__device__ __forceinline__ void Arrive(uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier)
               : "memory");
}

__device__ __forceinline__ void Wait(uint32_t barrier, uint32_t parity) {
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "wait:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@!done bra wait;\n"
      "}\n" ::"r"(barrier),
      "r"(parity)
      : "memory");
}

// A box at (0, row, part, head, batch) of a five-dimensional map.
__device__ __forceinline__ void LoadTile(uint32_t shared,
                                         const CUtensorMap* map,
                                         uint32_t barrier, int row, int part,
                                         int head, int batch) {
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_"
      "tx::bytes [%0], [%1, {%3, %4, %5, %6, %7}], [%2];" ::"r"(shared),
      "l"(map), "r"(barrier), "r"(0), "r"(row), "r"(part), "r"(head), "r"(batch)
      : "memory");
}

__device__ __forceinline__ void StoreTile(const CUtensorMap* map,
                                          uint32_t shared, int row, int part,
                                          int head, int batch) {
  asm volatile(
      "cp.async.bulk.tensor.5d.global.shared::cta.tile.bulk_group [%0, {%2, "
      "%3, %4, %5, %6}], [%1];\n"
      "cp.async.bulk.commit_group;" ::"l"(map),
      "r"(shared), "r"(0), "r"(row), "r"(part), "r"(head), "r"(batch)
      : "memory");
}

// Until the stores of this thread have read shared memory.
__device__ __forceinline__ void WaitStoresRead() {
  asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
}

// Ordinary writes to shared memory before, reads by wgmma or bulk copies after.
__device__ __forceinline__ void FenceAsyncProxy() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// A tile in shared memory of 128-byte rows of 64 values, swizzled by 128 bytes:
// groups of 8 rows are 1,024 bytes apart. For an operand whose rows are the
// contracted axis (transposed), more than 64 columns go on `leading` bytes
// later.
__device__ __forceinline__ uint64_t Descriptor(uint32_t shared,
                                               int leading = 8192) {
  constexpr uint64_t kStride = uint64_t{1024 >> 4} << 32;
  constexpr uint64_t kSwizzle128 = uint64_t{1} << 62;
  return ((shared & 0x3FFFF) >> 4) | static_cast<uint64_t>(leading >> 4) << 16 |
         kStride | kSwizzle128;
}

__device__ __forceinline__ void Fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void Commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int kPending>
__device__ __forceinline__ void WaitProducts() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}
// Keeps ordinary uses of the accumulators on their side of a wait or fence.
template <int kSize>
__device__ __forceinline__ void Pin(float (&x)[kSize]) {
#pragma unroll
  for (int i = 0; i < kSize; ++i) asm volatile("" : "+f"(x[i])::"memory");
}

// clang-format off
#define REPRO_F8(d, i) "+f"(d[i]), "+f"(d[i+1]), "+f"(d[i+2]), "+f"(d[i+3]), "+f"(d[i+4]), "+f"(d[i+5]), "+f"(d[i+6]), "+f"(d[i+7])
#define REPRO_F32(d) REPRO_F8(d, 0), REPRO_F8(d, 8), REPRO_F8(d, 16), REPRO_F8(d, 24)
#define REPRO_F64(d) REPRO_F32(d), REPRO_F8(d, 32), REPRO_F8(d, 40), REPRO_F8(d, 48), REPRO_F8(d, 56)
#define REPRO_D32 \
  "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}"
#define REPRO_D64 \
  "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}"

// d[64 x 64] = a b^T (+ d): a, b rows of contracted values in shared memory.
#define REPRO_WGMMA_SS(type, d, a, b, add)                                    \
  asm volatile(                                                               \
      "{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\n"                            \
      "wgmma.mma_async.sync.aligned.m64n64k16.f32." type "." type " "         \
      REPRO_D32 ", %32, %33, p, 1, 1, 0, 0;\n}\n"                             \
      : REPRO_F32(d) : "l"(a), "l"(b), "r"(add))

// d[64 x 128] = a b^T (+ d), or with transpose a b, b's rows contracted.
#define REPRO_WGMMA_SS128(type, d, a, b, add, transpose)                      \
  asm volatile(                                                               \
      "{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"                            \
      "wgmma.mma_async.sync.aligned.m64n128k16.f32." type "." type " "        \
      REPRO_D64 ", %64, %65, p, 1, 1, 0, %67;\n}\n"                           \
      : REPRO_F64(d) : "l"(a), "l"(b), "r"(add), "n"(transpose))

// d[64 x n] += a b: a in registers, b's rows the contracted axis.
#define REPRO_WGMMA_RS64(type, d, a, b)                                       \
  asm volatile(                                                               \
      "wgmma.mma_async.sync.aligned.m64n64k16.f32." type "." type " "         \
      REPRO_D32 ", {%32, %33, %34, %35}, %36, 1, 1, 1, 1;\n"                  \
      : REPRO_F32(d) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b))
#define REPRO_WGMMA_RS128(type, d, a, b)                                      \
  asm volatile(                                                               \
      "wgmma.mma_async.sync.aligned.m64n128k16.f32." type "." type " "        \
      REPRO_D64 ", {%64, %65, %66, %67}, %68, 1, 1, 1, 1;\n"                  \
      : REPRO_F64(d) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b))
// clang-format on

template <typename T>
__device__ __forceinline__ void MultiplyRows(float (&d)[32], uint64_t a,
                                             uint64_t b, bool add) {
  if constexpr (std::is_same_v<T, __half>) {
    REPRO_WGMMA_SS("f16", d, a, b, static_cast<int>(add));
  } else {
    REPRO_WGMMA_SS("bf16", d, a, b, static_cast<int>(add));
  }
}

template <typename T, bool kTranspose>
__device__ __forceinline__ void MultiplyShared(float (&d)[64], uint64_t a,
                                               uint64_t b, bool add) {
  constexpr int kFlag = kTranspose ? 1 : 0;
  if constexpr (std::is_same_v<T, __half>) {
    REPRO_WGMMA_SS128("f16", d, a, b, static_cast<int>(add), kFlag);
  } else {
    REPRO_WGMMA_SS128("bf16", d, a, b, static_cast<int>(add), kFlag);
  }
}

template <typename T>
__device__ __forceinline__ void MultiplyAdd(float (&d)[32],
                                            const uint32_t (&a)[4],
                                            uint64_t b) {
  if constexpr (std::is_same_v<T, __half>) {
    REPRO_WGMMA_RS64("f16", d, a, b);
  } else {
    REPRO_WGMMA_RS64("bf16", d, a, b);
  }
}

template <typename T>
__device__ __forceinline__ void MultiplyAdd(float (&d)[64],
                                            const uint32_t (&a)[4],
                                            uint64_t b) {
  if constexpr (std::is_same_v<T, __half>) {
    REPRO_WGMMA_RS128("f16", d, a, b);
  } else {
    REPRO_WGMMA_RS128("bf16", d, a, b);
  }
}

#undef REPRO_F8
#undef REPRO_F32
#undef REPRO_F64
#undef REPRO_D32
#undef REPRO_D64
#undef REPRO_WGMMA_SS
#undef REPRO_WGMMA_SS128
#undef REPRO_WGMMA_RS64
#undef REPRO_WGMMA_RS128

}  // namespace hopper
}  // namespace repro

#endif  // REPRO_KERNELS_LIGHTNING_ATTENTION_LIGHTNING_ATTENTION_HOPPER_CUH_
