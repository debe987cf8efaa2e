// The decoding step. It is bound by the state, which is read and written once:
// 128 KB a head of 128 x 128, against 5 operations for each element.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "kernels/lightning_attention/lightning_attention_cuda.h"

namespace repro {
namespace {

constexpr float kLog2E = 1.4426950408889634f;

// A block takes a head's state, 64 KB at 128 x 128: a warp's lanes take a row's
// values (kWidth each, so 32 kWidth values at a time), its rows are every
// eighth key, kRows of them in flight at once.
constexpr int kStepThreads = 256;

template <typename T, int kWidth, int kRows>
__global__ void __launch_bounds__(kStepThreads, 3)
    Step(const __grid_constant__ LightningStepParams p) {
  constexpr int kWarps = kStepThreads / 32;
  struct alignas(4 * kWidth) Values {
    float x[kWidth];
  };
  __shared__ float sums[kWarps][32 * kWidth];
  const int head = blockIdx.x % p.heads, batch = blockIdx.x / p.heads;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const auto row_of = [&](const LightningTensor& x) {
    return static_cast<const T*>(x.data) + batch * x.batch_stride +
           head * x.head_stride;
  };
  const T* q = row_of(p.q);
  const T* k = row_of(p.k);
  const T* v = row_of(p.v);
  float* const state =
      p.state + static_cast<int64_t>(blockIdx.x) * p.key_dim * p.value_dim;
  const float decay = exp2f(-kLog2E * p.decay[head]);
  for (int start = 0; start < p.value_dim; start += 32 * kWidth) {
    const int column = start + lane * kWidth;
    const bool inside = column < p.value_dim;
    float value[kWidth] = {}, out[kWidth] = {};
    if (inside) {
#pragma unroll
      for (int i = 0; i < kWidth; ++i) {
        value[i] = static_cast<float>(v[column + i]);
      }
    }
    for (int first = warp; first < p.key_dim; first += kWarps * kRows) {
      Values held[kRows];
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        const int key = first + r * kWarps;
        if (inside && key < p.key_dim) {
          held[r] = *reinterpret_cast<const Values*>(
              state + static_cast<int64_t>(key) * p.value_dim + column);
        }
      }
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        const int key = first + r * kWarps;
        if (!inside || key >= p.key_dim) continue;
        const float key_value = static_cast<float>(k[key]);
        const float query = static_cast<float>(q[key]);
#pragma unroll
        for (int i = 0; i < kWidth; ++i) {
          held[r].x[i] = decay * held[r].x[i] + key_value * value[i];
          out[i] += query * held[r].x[i];
        }
        *reinterpret_cast<Values*>(
            state + static_cast<int64_t>(key) * p.value_dim + column) = held[r];
      }
    }
#pragma unroll
    for (int i = 0; i < kWidth; ++i) sums[warp][lane * kWidth + i] = out[i];
    __syncthreads();
    for (int i = threadIdx.x; i < 32 * kWidth && start + i < p.value_dim;
         i += kStepThreads) {
      float sum = 0;
#pragma unroll
      for (int w = 0; w < kWarps; ++w) sum += sums[w][i];
      static_cast<T*>(
          p.out)[static_cast<int64_t>(blockIdx.x) * p.value_dim + start + i] =
          static_cast<T>(sum);
    }
    __syncthreads();
  }
}

// The same for head sizes of whole warps: a warp has kRows keys next to each
// other, and nothing that it loads waits for another load.
template <typename T, int kRows, int kWidth>
__global__ void __launch_bounds__(kStepThreads, 2)
    StepRows(const __grid_constant__ LightningStepParams p) {
  constexpr int kWarps = kStepThreads / 32;
  constexpr int kValues = 32 * kWidth;
  struct alignas(4 * kWidth) Values {
    float x[kWidth];
  };
  __shared__ float sums[kWarps][kValues];
  const int head = blockIdx.x % p.heads, batch = blockIdx.x / p.heads;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  auto* const state =
      reinterpret_cast<Values*>(
          p.state + (static_cast<int64_t>(blockIdx.x) * kWarps + warp) * kRows *
                        kValues) +
      lane;
  Values held[kRows];
#pragma unroll
  for (int r = 0; r < kRows; ++r) held[r] = state[r * 32];
  const auto row_of = [&](const LightningTensor& x) {
    return static_cast<const T*>(x.data) + batch * x.batch_stride +
           head * x.head_stride;
  };
  // Lanes 0 to 15 hold the warp's keys, 16 to 31 its queries.
  const T* const own = (lane < 16 ? row_of(p.k) : row_of(p.q)) + warp * kRows;
  const float key_query =
      lane % 16 < kRows ? static_cast<float>(own[lane % 16]) : 0.0f;
  float value[kWidth], out[kWidth] = {};
#pragma unroll
  for (int i = 0; i < kWidth; ++i) {
    value[i] = static_cast<float>(row_of(p.v)[lane * kWidth + i]);
  }
  const float decay = exp2f(-kLog2E * p.decay[head]);
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const float key = __shfl_sync(0xffffffffu, key_query, r);
    const float query = __shfl_sync(0xffffffffu, key_query, 16 + r);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      held[r].x[i] = decay * held[r].x[i] + key * value[i];
      out[i] += query * held[r].x[i];
    }
    state[r * 32] = held[r];
  }
#pragma unroll
  for (int i = 0; i < kWidth; ++i) sums[warp][lane * kWidth + i] = out[i];
  __syncthreads();
  if (threadIdx.x < kValues) {
    float sum = 0;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) sum += sums[w][threadIdx.x];
    static_cast<T*>(
        p.out)[static_cast<int64_t>(blockIdx.x) * kValues + threadIdx.x] =
        static_cast<T>(sum);
  }
}

template <typename T>
cudaError_t LaunchStep(const LightningStepParams& p) {
  const int blocks = p.batch * p.heads;
  const bool aligned = reinterpret_cast<uintptr_t>(p.state) % 16 == 0;
  const auto is = [&](int keys, int values) {
    return aligned && p.key_dim == keys && p.value_dim == values;
  };
  if (is(128, 128)) {
    StepRows<T, 16, 4><<<blocks, kStepThreads, 0, p.stream>>>(p);
  } else if (is(64, 64)) {
    StepRows<T, 8, 2><<<blocks, kStepThreads, 0, p.stream>>>(p);
  } else if (aligned && p.value_dim % 4 == 0) {
    Step<T, 4, 8><<<blocks, kStepThreads, 0, p.stream>>>(p);
  } else {
    Step<T, 1, 8><<<blocks, kStepThreads, 0, p.stream>>>(p);
  }
  return cudaGetLastError();
}

}  // namespace

cudaError_t LightningStepLaunch(const LightningStepParams& params) {
  return params.type == LightningType::kHalf
             ? LaunchStep<__half>(params)
             : LaunchStep<__nv_bfloat16>(params);
}

}  // namespace repro
