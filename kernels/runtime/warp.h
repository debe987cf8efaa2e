// What the 32 lanes of a warp do together, for CUDA sources.
#ifndef REPRO_KERNELS_RUNTIME_WARP_H_
#define REPRO_KERNELS_RUNTIME_WARP_H_

#include <cstdint>

namespace repro {

// The sum over the lanes, in every lane.
__device__ inline float WarpSum(float x) {
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) {
    x += __shfl_xor_sync(0xffffffffu, x, mask);
  }
  return x;
}

// Of an 8 x 8 matrix of 16-bit values, lane l holding row l / 4, columns
// 2 (l % 4) and the next: the transpose, held in the same way.
__device__ inline uint32_t Transpose8x8(uint32_t x) {
  uint32_t y;
  asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(y) : "r"(x));
  return y;
}

}  // namespace repro

#endif  // REPRO_KERNELS_RUNTIME_WARP_H_
