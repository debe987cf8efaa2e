// Bound by memory: each weight is read once for one multiply-add. A block a
// multiprocessor owns neighbouring rows; its 16 warps take them in turn, lanes
// along the columns with 16-byte loads, eight of them in flight a lane: 64 KB a
// multiprocessor, where 4.8 TB/s times 0.8 us need 29. x, normalised on the
// way, stands in shared memory in float.
//
// A step of a model is a chain of such products, whose gaps cost as much as
// their inefficiency. Each is launched early (programmatic dependent launch):
// half the registers of a multiprocessor are left for the next kernel's block,
// which asks for its first weights before it waits for its x.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "kernels/decode_linear/decode_linear_cuda.h"
#include "kernels/flash/mma.h"
#include "kernels/runtime/early_launch.h"
#include "kernels/runtime/float_conversion.h"
#include "kernels/runtime/warp.h"

namespace repro {
namespace {

constexpr int kWarps = 16;
constexpr int kThreads = 32 * kWarps;
constexpr int kVector = 8;  // elements of a load
constexpr int kLoads = 8;   // in flight a lane
constexpr int kStep = 32 * kVector * kLoads;
constexpr int kMaxColumns = 24576;
constexpr int kRowsAtOnce = 512;  // of results in shared memory

__device__ inline uint4 LoadOnce(const void* from) {
  uint4 x;
  asm volatile(
      "ld.global.nc.L1::no_allocate.L2::256B.v4.b32 {%0, %1, %2, %3}, [%4];"
      : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w)
      : "l"(from));
  return x;
}

template <typename T, typename Out, DecodeLinearMode kMode>
__global__ void __launch_bounds__(kThreads, 2)
    DecodeLinear(const DecodeLinearParams p) {
  constexpr bool kSwiglu = kMode == DecodeLinearMode::kSwiglu;
  extern __shared__ float4 shared_x[];  // [columns]
  __shared__ float shared_sum[kWarps];
  __shared__ float result[kSwiglu ? kRowsAtOnce : 1];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t begin = p.outputs * blockIdx.x / gridDim.x;
  const int count =
      static_cast<int>(p.outputs * (blockIdx.x + 1) / gridDim.x - begin);
  const int rows = kSwiglu ? 2 * count : count;
  const T* weight = static_cast<const T*>(p.weight);
  // Row number i of this block: of the second half after those of the first.
  const auto row_of = [&](int i) {
    return kSwiglu && i >= count ? p.outputs + begin + i - count : begin + i;
  };

  uint4 held[kLoads];
  int row = warp, column = lane * kVector;
  const T* from = weight + row_of(row < rows ? row : 0) * p.columns;
  const auto load = [&] {
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      const int at = column + i * 32 * kVector;
      held[i] = at < p.columns && row < rows ? LoadOnce(from + at)
                                             : make_uint4(0, 0, 0, 0);
    }
  };
  load();
  LaunchDependents();
  WaitForInputs();

  auto* x = reinterpret_cast<float*>(shared_x);
  const T* given = static_cast<const T*>(p.x);
  float squares = 0;
  for (int i = threadIdx.x * kVector; i < p.columns; i += kThreads * kVector) {
    const uint4 word = *reinterpret_cast<const uint4*>(given + i);
    const uint32_t words[4] = {word.x, word.y, word.z, word.w};
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const float2 pair = flash::Unpack<T>(words[j]);
      x[i + 2 * j] = pair.x;
      x[i + 2 * j + 1] = pair.y;
      squares += pair.x * pair.x + pair.y * pair.y;
    }
  }
  if (p.norm != nullptr) {
    squares = WarpSum(squares);
    if (lane == 0) shared_sum[warp] = squares;
    __syncthreads();
    squares = 0;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) squares += shared_sum[w];
    const float r = rsqrtf(squares / p.columns + p.eps);
    // Each thread scales what it wrote.
    for (int i = threadIdx.x * kVector; i < p.columns;
         i += kThreads * kVector) {
#pragma unroll
      for (int j = 0; j < kVector; ++j) {
        x[i + j] *= r * ToFloat(static_cast<const T*>(p.norm)[i + j]);
      }
    }
  }
  __syncthreads();

  float sum = 0;
  while (row < rows) {
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      const int at = column + i * 32 * kVector;
      if (at < p.columns) {
        const float4 a = shared_x[at / 4], b = shared_x[at / 4 + 1];
        float2 pair = flash::Unpack<T>(held[i].x);
        sum += pair.x * a.x + pair.y * a.y;
        pair = flash::Unpack<T>(held[i].y);
        sum += pair.x * a.z + pair.y * a.w;
        pair = flash::Unpack<T>(held[i].z);
        sum += pair.x * b.x + pair.y * b.y;
        pair = flash::Unpack<T>(held[i].w);
        sum += pair.x * b.z + pair.y * b.w;
      }
    }
    const int done = row;
    column += kStep;
    const bool complete = column - lane * kVector >= p.columns;
    if (complete) {
      row += kWarps;
      column = lane * kVector;
      if (row < rows) from = weight + row_of(row) * p.columns;
    }
    load();
    if (complete) {
      sum = WarpSum(sum);
      if (lane == 0) {
        if (p.bias != nullptr) {
          sum += ToFloat(static_cast<const T*>(p.bias)[row_of(done)]);
        }
        if constexpr (kSwiglu) {
          result[done] = sum;
        } else {
          Out* out = static_cast<Out*>(p.out) + begin + done;
          if constexpr (kMode == DecodeLinearMode::kAdd) sum += ToFloat(*out);
          *out = FromFloat<Out>(sum);
        }
      }
      sum = 0;
    }
  }
  if constexpr (kSwiglu) {
    __syncthreads();
    for (int i = threadIdx.x; i < count; i += kThreads) {
      const float gate = result[i];
      static_cast<Out*>(p.out)[begin + i] =
          FromFloat<Out>(gate / (1 + __expf(-gate)) * result[count + i]);
    }
  }
}

template <typename T, typename Out, DecodeLinearMode kMode>
cudaError_t Launch(const DecodeLinearParams& p) {
  int64_t blocks = p.multiprocessors;
  if (kMode == DecodeLinearMode::kSwiglu) {
    // So that a block's results fit.
    while ((p.outputs + blocks - 1) / blocks * 2 > kRowsAtOnce) {
      blocks += p.multiprocessors;
    }
  }
  if (blocks > p.outputs) blocks = p.outputs;
  const int shared = p.columns * static_cast<int>(sizeof(float));
  const auto kernel = DecodeLinear<T, Out, kMode>;
  if (shared > 40 * 1024) {
    const cudaError_t error = cudaFuncSetAttribute(
        kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared);
    if (error != cudaSuccess) return error;
  }
  return LaunchEarly(kernel, dim3(static_cast<unsigned>(blocks)), kThreads,
                     shared, p.stream, p);
}

template <typename T, typename Out>
cudaError_t LaunchMode(const DecodeLinearParams& p) {
  switch (p.mode) {
    case DecodeLinearMode::kWrite:
      return Launch<T, Out, DecodeLinearMode::kWrite>(p);
    case DecodeLinearMode::kAdd:
      return Launch<T, Out, DecodeLinearMode::kAdd>(p);
    case DecodeLinearMode::kSwiglu:
      return Launch<T, Out, DecodeLinearMode::kSwiglu>(p);
  }
  return cudaErrorInvalidValue;
}

template <typename T>
cudaError_t LaunchOut(const DecodeLinearParams& p) {
  return p.out_type == FloatType::kFloat ? LaunchMode<T, float>(p)
                                         : LaunchMode<T, T>(p);
}

}  // namespace

bool DecodeLinearFits(int64_t columns) {
  return columns > 0 && columns % kVector == 0 && columns <= kMaxColumns;
}

cudaError_t DecodeLinearLaunch(const DecodeLinearParams& p) {
  return p.type == FloatType::kHalf ? LaunchOut<__half>(p)
                                    : LaunchOut<__nv_bfloat16>(p);
}

}  // namespace repro
