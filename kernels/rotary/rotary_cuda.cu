// Bound by memory: moves 2 values an element (x in, y out), where LibTorch's
// roll, product and addcmul move 8. A thread takes one 16-byte vector of each
// half of a row (8 bf16 values) for kHeads heads of one token, so that a
// token's cosines and sines are read once for all of them; the loads of all
// heads are under way before the first is used. Halves that are no whole number
// of vectors, or rows off 16-byte addresses, go value by value.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "kernels/rotary/rotary_cuda.h"
#include "kernels/runtime/float_conversion.h"
#include "kernels/runtime/float_dispatch.h"
#include "kernels/runtime/vector.h"

namespace repro {
namespace {

constexpr int kThreads = 256;
constexpr int kHeads = 4;

template <typename T, int kSize>
__global__ void __launch_bounds__(kThreads)
    RotaryKernel(RotaryParams p, int64_t vectors) {
  using V = Vector<T, kSize>;
  const int64_t item = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  const int64_t token = item / vectors;
  const int64_t first = item % vectors * kSize;  // of the vector's values
  if (token >= p.tokens) return;
  const int64_t head = blockIdx.y * int64_t{kHeads};
  const T* x = static_cast<const T*>(p.x) + blockIdx.z * p.x_strides[0] +
               head * p.x_strides[1] + token * p.x_strides[2] + first;
  T* y = static_cast<T*>(p.y) + blockIdx.z * p.y_strides[0] +
         head * p.y_strides[1] + token * p.y_strides[2] + first;

  V low[kHeads], high[kHeads];
#pragma unroll
  for (int h = 0; h < kHeads; ++h) {
    if (head + h >= p.heads) break;
    const T* row = x + h * p.x_strides[1];
    low[h] = *reinterpret_cast<const V*>(row);
    high[h] = *reinterpret_cast<const V*>(row + p.half);
  }
  float cos[kSize], sin[kSize];
#pragma unroll
  for (int i = 0; i < kSize; ++i) {
    cos[i] = p.cos[token * p.half + first + i];
    sin[i] = p.sin[token * p.half + first + i];
  }
#pragma unroll
  for (int h = 0; h < kHeads; ++h) {
    if (head + h >= p.heads) break;
#pragma unroll
    for (int i = 0; i < kSize; ++i) {
      const float a = ToFloat(low[h].values[i]);
      const float b = ToFloat(high[h].values[i]);
      low[h].values[i] = FromFloat<T>(a * cos[i] - b * sin[i]);
      high[h].values[i] = FromFloat<T>(b * cos[i] + a * sin[i]);
    }
    T* row = y + h * p.y_strides[1];
    *reinterpret_cast<V*>(row) = low[h];
    *reinterpret_cast<V*>(row + p.half) = high[h];
  }
}

template <typename T, int kSize>
cudaError_t Launch(const RotaryParams& p) {
  const int64_t vectors = p.half / kSize;
  const dim3 grid(
      static_cast<unsigned>((p.tokens * vectors + kThreads - 1) / kThreads),
      static_cast<unsigned>((p.heads + kHeads - 1) / kHeads),
      static_cast<unsigned>(p.batch));
  RotaryKernel<T, kSize><<<grid, kThreads, 0, p.stream>>>(p, vectors);
  return cudaGetLastError();
}

template <typename T>
cudaError_t LaunchOf(const RotaryParams& p) {
  constexpr int kSize = 16 / sizeof(T);
  bool whole =
      p.half % kSize == 0 && OnVectorAddress(p.x) && OnVectorAddress(p.y);
  for (int i = 0; i < 3; ++i) {
    whole = whole && p.x_strides[i] % kSize == 0 && p.y_strides[i] % kSize == 0;
  }
  return whole ? Launch<T, kSize>(p) : Launch<T, 1>(p);
}

}  // namespace

cudaError_t RotaryLaunch(const RotaryParams& params) {
  return DispatchFloat(
      params.type, [&](auto type) { return LaunchOf<decltype(type)>(params); });
}

}  // namespace repro
