// Bound by memory: forward moves 3 values an element of y (gate and up in, y
// out), where silu and a product of LibTorch's move 5, and backward 5. A thread
// takes one 16-byte vector of each half (8 bf16 values), a block of 256 threads
// a part of one row; rows whose halves are no whole number of vectors, or
// arrays off 16-byte addresses, go value by value.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "kernels/runtime/float_conversion.h"
#include "kernels/runtime/float_dispatch.h"
#include "kernels/runtime/vector.h"
#include "kernels/swiglu/swiglu_cuda.h"

namespace repro {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMaxGridRows = 65535;

// Of vectors of kSize values: gate_up [rows, 2 vectors], dy [rows, vectors].
template <typename T, int kSize, bool kBackward>
__global__ void __launch_bounds__(kThreads)
    SwiGluKernel(SwiGluParams p, int64_t vectors) {
  using V = Vector<T, kSize>;
  const int64_t column = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  if (column >= vectors) return;
  const auto* gate_up = static_cast<const V*>(p.gate_up);
  auto* out = static_cast<V*>(p.out);
  for (int64_t row = blockIdx.y; row < p.rows; row += gridDim.y) {
    const int64_t at = 2 * row * vectors + column;
    const V gate = gate_up[at], up = gate_up[at + vectors];
    if constexpr (kBackward) {
      const V dy = static_cast<const V*>(p.dy)[row * vectors + column];
      V dgate, dup;
#pragma unroll
      for (int i = 0; i < kSize; ++i) {
        const float g = ToFloat(gate.values[i]), d = ToFloat(dy.values[i]);
        const float s = 1 / (1 + __expf(-g));
        dgate.values[i] =
            FromFloat<T>(d * ToFloat(up.values[i]) * s * (1 + g * (1 - s)));
        dup.values[i] = FromFloat<T>(d * g * s);
      }
      out[at] = dgate;
      out[at + vectors] = dup;
    } else {
      V y;
#pragma unroll
      for (int i = 0; i < kSize; ++i) {
        const float g = ToFloat(gate.values[i]);
        y.values[i] =
            FromFloat<T>(g / (1 + __expf(-g)) * ToFloat(up.values[i]));
      }
      out[row * vectors + column] = y;
    }
  }
}

template <typename T, int kSize>
cudaError_t Launch(const SwiGluParams& p) {
  const int64_t vectors = p.dim / kSize;
  const dim3 grid(
      static_cast<unsigned>((vectors + kThreads - 1) / kThreads),
      static_cast<unsigned>(p.rows < kMaxGridRows ? p.rows : kMaxGridRows));
  if (p.dy == nullptr) {
    SwiGluKernel<T, kSize, false><<<grid, kThreads, 0, p.stream>>>(p, vectors);
  } else {
    SwiGluKernel<T, kSize, true><<<grid, kThreads, 0, p.stream>>>(p, vectors);
  }
  return cudaGetLastError();
}

template <typename T>
cudaError_t LaunchOf(const SwiGluParams& p) {
  constexpr int kSize = 16 / sizeof(T);
  const bool whole = p.dim % kSize == 0 && OnVectorAddress(p.gate_up) &&
                     OnVectorAddress(p.out) && OnVectorAddress(p.dy);
  return whole ? Launch<T, kSize>(p) : Launch<T, 1>(p);
}

}  // namespace

cudaError_t SwiGluLaunch(const SwiGluParams& params) {
  return DispatchFloat(
      params.type, [&](auto type) { return LaunchOf<decltype(type)>(params); });
}

}  // namespace repro
