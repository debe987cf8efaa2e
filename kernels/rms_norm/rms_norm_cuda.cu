// The norm is bound by memory: forward moves 2 values an element (x in, y out),
// backward 3 (dy, x in, dx out), and does under ten operations on each.
//
// Forward gives a row to a block that keeps the row in registers between the
// sum of squares and the product, so x is read once: up to kMaxVectors 16-byte
// vectors a thread (8 bf16 values each), 256 threads: rows of up to 16,384 bf16
// or 8,192 float values. Short rows (one vector for each lane of a warp or
// less) go one row a warp, 8 rows a block, without a barrier. Longer rows, or
// rows that are no whole number of vectors, take the readable loop, which reads
// x twice (the second time from L2).
//
// Backward walks rows with a grid of at most kBackwardBlocks blocks, since each
// block also sums its part of dweight over its rows, in registers, and writes
// it once: the sum over blocks (a few hundred rows) is LibTorch's.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "kernels/rms_norm/rms_norm_cuda.h"
#include "kernels/runtime/float_conversion.h"
#include "kernels/runtime/float_dispatch.h"
#include "kernels/runtime/vector.h"
#include "kernels/runtime/warp.h"

namespace repro {
namespace {

constexpr int kThreads = 256;
constexpr int kMaxVectors = 8;
constexpr int kBackwardBlocks = 132 * 4;

// The sum over the row's threads: a warp, or the block of kThreads.
template <bool kWarpRow>
__device__ float RowSum(float x) {
  x = WarpSum(x);
  if (kWarpRow) return x;
  __shared__ float partial[kThreads / 32];
  __syncthreads();  // the last row's partial sums have been read
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = x;
  __syncthreads();
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kThreads / 32; ++i) sum += partial[i];
  return sum;
}

template <typename T, typename W>
__device__ float WeightAt(const void* weight, int64_t i) {
  return weight == nullptr ? 1.0f : ToFloat(static_cast<const W*>(weight)[i]);
}

// dim = whole vectors, at most kVectors for each of the row's threads.
template <typename T, typename W, int kVectors, bool kWarpRow>
__global__ void __launch_bounds__(kThreads)
    ForwardVectors(RmsNormForwardParams p) {
  constexpr int kRowThreads = kWarpRow ? 32 : kThreads;
  constexpr int kSize = 16 / sizeof(T);
  const int64_t row =
      kWarpRow ? blockIdx.x * int64_t{kThreads / 32} + threadIdx.x / 32
               : blockIdx.x;
  if (row >= p.rows) return;
  const int lane = threadIdx.x % kRowThreads;
  const int vectors = static_cast<int>(p.dim / kSize);
  const auto* x = reinterpret_cast<const Vector<T>*>(
      static_cast<const T*>(p.x) + row * p.dim);
  auto* y = reinterpret_cast<Vector<T>*>(static_cast<T*>(p.y) + row * p.dim);

  Vector<T> held[kVectors];
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    const int index = lane + i * kRowThreads;
    if (index < vectors) held[i] = x[index];
  }
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    if (lane + i * kRowThreads >= vectors) continue;
#pragma unroll
    for (int j = 0; j < kSize; ++j) {
      const float value = ToFloat(held[i].values[j]);
      sum += value * value;
    }
  }
  const float r = rsqrtf(RowSum<kWarpRow>(sum) / p.dim + p.eps);
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    const int index = lane + i * kRowThreads;
    if (index >= vectors) continue;
#pragma unroll
    for (int j = 0; j < kSize; ++j) {
      held[i].values[j] =
          FromFloat<T>(ToFloat(held[i].values[j]) * r *
                       WeightAt<T, W>(p.weight, index * kSize + j));
    }
    y[index] = held[i];
  }
  if (lane == 0) p.inverse_rms[row] = r;
}

// Any dim; the readable form.
template <typename T, typename W>
__global__ void __launch_bounds__(kThreads) ForwardAny(RmsNormForwardParams p) {
  const int64_t row = blockIdx.x;
  const T* x = static_cast<const T*>(p.x) + row * p.dim;
  T* y = static_cast<T*>(p.y) + row * p.dim;
  float sum = 0;
  for (int64_t i = threadIdx.x; i < p.dim; i += kThreads) {
    sum += ToFloat(x[i]) * ToFloat(x[i]);
  }
  const float r = rsqrtf(RowSum<false>(sum) / p.dim + p.eps);
  for (int64_t i = threadIdx.x; i < p.dim; i += kThreads) {
    y[i] = FromFloat<T>(ToFloat(x[i]) * r * WeightAt<T, W>(p.weight, i));
  }
  if (threadIdx.x == 0) p.inverse_rms[row] = r;
}

// dx = r (g - n mean(g n)) with n = r x, g = w dy; dweight = sum dy n.
template <typename T, typename W, int kVectors>
__global__ void __launch_bounds__(kThreads)
    BackwardVectors(RmsNormBackwardParams p) {
  constexpr int kSize = 16 / sizeof(T);
  const int vectors = static_cast<int>(p.dim / kSize);
  float dweight[kVectors][kSize] = {};
  for (int64_t row = blockIdx.x; row < p.rows; row += gridDim.x) {
    const auto* x = reinterpret_cast<const Vector<T>*>(
        static_cast<const T*>(p.x) + row * p.dim);
    const auto* dy = reinterpret_cast<const Vector<T>*>(
        static_cast<const T*>(p.dy) + row * p.dim);
    auto* dx =
        reinterpret_cast<Vector<T>*>(static_cast<T*>(p.dx) + row * p.dim);
    const float r = p.inverse_rms[row];
    Vector<T> held_x[kVectors], held_dy[kVectors];
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      const int index = threadIdx.x + i * kThreads;
      if (index < vectors) {
        held_x[i] = x[index];
        held_dy[i] = dy[index];
      }
    }
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      const int index = threadIdx.x + i * kThreads;
      if (index >= vectors) continue;
#pragma unroll
      for (int j = 0; j < kSize; ++j) {
        const float n = r * ToFloat(held_x[i].values[j]);
        const float d = ToFloat(held_dy[i].values[j]);
        dweight[i][j] += d * n;
        sum += d * n * WeightAt<T, W>(p.weight, index * kSize + j);
      }
    }
    const float mean = RowSum<false>(sum) / p.dim;
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      const int index = threadIdx.x + i * kThreads;
      if (index >= vectors) continue;
      Vector<T> out;
#pragma unroll
      for (int j = 0; j < kSize; ++j) {
        const float n = r * ToFloat(held_x[i].values[j]);
        const float g = ToFloat(held_dy[i].values[j]) *
                        WeightAt<T, W>(p.weight, index * kSize + j);
        out.values[j] = FromFloat<T>(r * (g - n * mean));
      }
      dx[index] = out;
    }
  }
  if (p.partial_dweight == nullptr) return;
  float* partial = p.partial_dweight + blockIdx.x * p.dim;
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    const int index = threadIdx.x + i * kThreads;
    if (index >= vectors) continue;
#pragma unroll
    for (int j = 0; j < kSize; ++j) partial[index * kSize + j] = dweight[i][j];
  }
}

template <typename T, typename W>
__global__ void __launch_bounds__(kThreads)
    BackwardAny(RmsNormBackwardParams p) {
  float* partial = p.partial_dweight == nullptr
                       ? nullptr
                       : p.partial_dweight + blockIdx.x * p.dim;
  for (int64_t row = blockIdx.x; row < p.rows; row += gridDim.x) {
    const T* x = static_cast<const T*>(p.x) + row * p.dim;
    const T* dy = static_cast<const T*>(p.dy) + row * p.dim;
    T* dx = static_cast<T*>(p.dx) + row * p.dim;
    const float r = p.inverse_rms[row];
    const bool first = row == blockIdx.x;
    float sum = 0;
    for (int64_t i = threadIdx.x; i < p.dim; i += kThreads) {
      const float dyn = ToFloat(dy[i]) * r * ToFloat(x[i]);
      if (partial != nullptr) partial[i] = first ? dyn : partial[i] + dyn;
      sum += dyn * WeightAt<T, W>(p.weight, i);
    }
    const float mean = RowSum<false>(sum) / p.dim;
    for (int64_t i = threadIdx.x; i < p.dim; i += kThreads) {
      const float n = r * ToFloat(x[i]);
      const float g = ToFloat(dy[i]) * WeightAt<T, W>(p.weight, i);
      dx[i] = FromFloat<T>(r * (g - n * mean));
    }
  }
}

template <typename T, typename W>
cudaError_t Forward(const RmsNormForwardParams& p) {
  constexpr int kSize = 16 / sizeof(T);
  const int64_t vectors = p.dim / kSize;
  const auto rows = static_cast<unsigned>(p.rows);
  if (p.dim % kSize != 0 || vectors > kThreads * kMaxVectors ||
      !OnVectorAddress(p.x) || !OnVectorAddress(p.y)) {
    ForwardAny<T, W><<<rows, kThreads, 0, p.stream>>>(p);
  } else if (vectors <= 64) {
    const auto blocks = static_cast<unsigned>((p.rows + 7) / 8);
    ForwardVectors<T, W, 2, true><<<blocks, kThreads, 0, p.stream>>>(p);
  } else if (vectors <= kThreads) {
    ForwardVectors<T, W, 1, false><<<rows, kThreads, 0, p.stream>>>(p);
  } else if (vectors <= 2 * kThreads) {
    ForwardVectors<T, W, 2, false><<<rows, kThreads, 0, p.stream>>>(p);
  } else {
    ForwardVectors<T, W, kMaxVectors, false>
        <<<rows, kThreads, 0, p.stream>>>(p);
  }
  return cudaGetLastError();
}

template <typename T, typename W>
cudaError_t Backward(const RmsNormBackwardParams& p) {
  constexpr int kSize = 16 / sizeof(T);
  const int64_t vectors = p.dim / kSize;
  const auto blocks = static_cast<unsigned>(RmsNormBackwardBlocks(p.rows));
  if (p.dim % kSize != 0 || vectors > 4 * kThreads || !OnVectorAddress(p.x) ||
      !OnVectorAddress(p.dy) || !OnVectorAddress(p.dx)) {
    BackwardAny<T, W><<<blocks, kThreads, 0, p.stream>>>(p);
  } else if (vectors <= kThreads) {
    BackwardVectors<T, W, 1><<<blocks, kThreads, 0, p.stream>>>(p);
  } else if (vectors <= 2 * kThreads) {
    BackwardVectors<T, W, 2><<<blocks, kThreads, 0, p.stream>>>(p);
  } else {
    BackwardVectors<T, W, 4><<<blocks, kThreads, 0, p.stream>>>(p);
  }
  return cudaGetLastError();
}

}  // namespace

cudaError_t RmsNormForwardLaunch(const RmsNormForwardParams& params) {
  return DispatchFloats(
      params.type, params.weight_type, [&](auto type, auto weight_type) {
        return Forward<decltype(type), decltype(weight_type)>(params);
      });
}

int64_t RmsNormBackwardBlocks(int64_t rows) {
  return rows < kBackwardBlocks ? rows : kBackwardBlocks;
}

cudaError_t RmsNormBackwardLaunch(const RmsNormBackwardParams& params) {
  return DispatchFloats(
      params.type, params.weight_type, [&](auto type, auto weight_type) {
        return Backward<decltype(type), decltype(weight_type)>(params);
      });
}

}  // namespace repro
