// Bound by memory: a group of 128 in bfloat16 reads 256 bytes and writes 68 (4
// bits). A thread takes eight elements with one 16-byte load (two of float), so
// that the lanes of a group find its range by shuffles and write 4 or 8 bytes
// each in order; 2048 threads a multiprocessor keep 32 KB in flight, where the
// memory needs about 18. The quotient by the group's scale is rounded as a
// division would be: reciprocal, remainder, correction, three operations an
// element.
//
// Quantise and Dequantise below "any size" are the readable forms.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "kernels/kv_quantize/kv_quantize_cuda.h"
#include "kernels/runtime/float_conversion.h"
#include "kernels/runtime/float_dispatch.h"

namespace repro {
namespace {

constexpr int kThreads = 256;
constexpr int kVector = 8;

template <typename T>
struct alignas(16) Vector {
  T values[kVector];
};

// A group's constants as stored, and the quotient by its scale.
struct Group {
  __half scale, zero;
  float step, inverse, least;

  __device__ Group(float min, float max, int levels)
      : scale(__float2half((max - min) / levels + 1e-8f)),
        zero(__float2half(min)),
        step(__half2float(scale)),
        inverse(step > 0 ? 1 / step : 0),
        least(__half2float(zero)) {}

  __device__ uint32_t Quantised(float x, int levels) const {
    const float a = x - least;
    const float quotient = a * inverse;
    const float rounded =
        rintf(fmaf(fmaf(-quotient, step, a), inverse, quotient));
    return static_cast<uint32_t>(
        fminf(fmaxf(rounded, 0.f), static_cast<float>(levels)));
  }
};

// kBits bits of each of eight elements, the first in the highest half byte of
// the first byte.
template <int kBits>
using Packed = std::conditional_t<kBits == 4, uint32_t, uint2>;

__device__ inline uint32_t PackBytes(const uint32_t* q) {
  return q[0] | q[1] << 8 | q[2] << 16 | q[3] << 24;
}

template <typename T, int kBits>
__global__ void __launch_bounds__(kThreads)
    QuantiseVectors(KvQuantizeParams p, int lanes_shift) {
  constexpr int kLevels = (1 << kBits) - 1;
  const int64_t vectors = p.groups << lanes_shift;
  const int64_t index =
      static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  // Whole warps stay for the shuffles; groups do not cross warps.
  const int64_t from = index < vectors ? index : vectors - 1;
  const Vector<T> held = static_cast<const Vector<T>*>(p.x)[from];
  float least = ToFloat(held.values[0]), most = least;
#pragma unroll
  for (int i = 1; i < kVector; ++i) {
    least = fminf(least, ToFloat(held.values[i]));
    most = fmaxf(most, ToFloat(held.values[i]));
  }
  for (int mask = 1; mask < 1 << lanes_shift; mask *= 2) {
    least = fminf(least, __shfl_xor_sync(0xffffffffu, least, mask));
    most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, mask));
  }
  if (index >= vectors) return;
  const Group group(least, most, kLevels);
  uint32_t q[kVector];
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    q[i] = group.Quantised(ToFloat(held.values[i]), kLevels);
  }
  auto* packed = reinterpret_cast<Packed<kBits>*>(p.packed) + index;
  if constexpr (kBits == 8) {
    *packed = make_uint2(PackBytes(q), PackBytes(q + 4));
  } else {
    uint32_t bytes[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) bytes[i] = q[2 * i] << 4 | q[2 * i + 1];
    *packed = PackBytes(bytes);
  }
  if (index % (1 << lanes_shift) == 0) {
    static_cast<__half*>(p.scale)[index >> lanes_shift] = group.scale;
    static_cast<__half*>(p.zero)[index >> lanes_shift] = group.zero;
  }
}

template <typename T, int kBits>
__global__ void __launch_bounds__(kThreads)
    DequantiseVectors(KvQuantizeParams p, int lanes_shift) {
  const int64_t index =
      static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= p.groups << lanes_shift) return;
  const int64_t group = index >> lanes_shift;
  const float scale = __half2float(static_cast<const __half*>(p.scale)[group]);
  const float zero = __half2float(static_cast<const __half*>(p.zero)[group]);
  const Packed<kBits> packed =
      reinterpret_cast<const Packed<kBits>*>(p.packed)[index];
  Vector<T> out;
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    uint32_t q;
    if constexpr (kBits == 8) {
      q = (i < 4 ? packed.x : packed.y) >> (i % 4 * 8) & 255;
    } else {
      q = packed >> (i / 2 * 8 + (i % 2 == 0 ? 4 : 0)) & 15;
    }
    out.values[i] = FromFloat<T>(fmaf(static_cast<float>(q), scale, zero));
  }
  static_cast<Vector<T>*>(const_cast<void*>(p.x))[index] = out;
}

// Any size: a warp a group.
template <typename T, int kBits>
__global__ void __launch_bounds__(kThreads) QuantiseAny(KvQuantizeParams p) {
  constexpr int kLevels = (1 << kBits) - 1;
  const int64_t index =
      (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) / 32;
  if (index >= p.groups) return;
  const int lane = threadIdx.x % 32;
  const T* x = static_cast<const T*>(p.x) + index * p.group_size;
  float least = ToFloat(x[0]), most = least;
  for (int i = lane; i < p.group_size; i += 32) {
    least = fminf(least, ToFloat(x[i]));
    most = fmaxf(most, ToFloat(x[i]));
  }
  for (int mask = 1; mask < 32; mask *= 2) {
    least = fminf(least, __shfl_xor_sync(0xffffffffu, least, mask));
    most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, mask));
  }
  const Group group(least, most, kLevels);
  constexpr int kPerByte = 8 / kBits;
  uint8_t* packed = p.packed + index * (p.group_size / kPerByte);
  for (int i = lane; i < p.group_size / kPerByte; i += 32) {
    uint32_t byte = group.Quantised(ToFloat(x[i * kPerByte]), kLevels);
    if (kBits == 4) {
      byte = byte << 4 | group.Quantised(ToFloat(x[2 * i + 1]), kLevels);
    }
    packed[i] = static_cast<uint8_t>(byte);
  }
  if (lane == 0) {
    static_cast<__half*>(p.scale)[index] = group.scale;
    static_cast<__half*>(p.zero)[index] = group.zero;
  }
}

template <typename T, int kBits>
__global__ void __launch_bounds__(kThreads) DequantiseAny(KvQuantizeParams p) {
  const int64_t index =
      static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= p.groups * p.group_size) return;
  const int64_t group = index / p.group_size;
  const int q = kBits == 8
                    ? p.packed[index]
                    : p.packed[index / 2] >> (index % 2 == 0 ? 4 : 0) & 15;
  static_cast<T*>(const_cast<void*>(p.x))[index] = FromFloat<T>(
      fmaf(static_cast<float>(q),
           __half2float(static_cast<const __half*>(p.scale)[group]),
           __half2float(static_cast<const __half*>(p.zero)[group])));
}

// log2 of the lanes of a group where the vector kernels serve, else -1.
int LanesShift(const KvQuantizeParams& p) {
  for (int shift = 0; shift <= 5; ++shift) {
    if (p.group_size == kVector << shift &&
        reinterpret_cast<uintptr_t>(p.x) % 16 == 0 &&
        reinterpret_cast<uintptr_t>(p.packed) % 8 == 0) {
      return shift;
    }
  }
  return -1;
}

unsigned Blocks(int64_t threads) {
  return static_cast<unsigned>((threads + kThreads - 1) / kThreads);
}

template <typename T, int kBits>
cudaError_t Quantise(const KvQuantizeParams& p) {
  const int shift = LanesShift(p);
  if (shift >= 0) {
    QuantiseVectors<T, kBits>
        <<<Blocks(p.groups << shift), kThreads, 0, p.stream>>>(p, shift);
  } else {
    QuantiseAny<T, kBits><<<Blocks(p.groups * 32), kThreads, 0, p.stream>>>(p);
  }
  return cudaGetLastError();
}

template <typename T, int kBits>
cudaError_t Dequantise(const KvQuantizeParams& p) {
  const int shift = LanesShift(p);
  if (shift >= 0) {
    DequantiseVectors<T, kBits>
        <<<Blocks(p.groups << shift), kThreads, 0, p.stream>>>(p, shift);
  } else {
    DequantiseAny<T, kBits>
        <<<Blocks(p.groups * p.group_size), kThreads, 0, p.stream>>>(p);
  }
  return cudaGetLastError();
}

// Calls launch with the C++ type and the bits.
template <typename Launch>
cudaError_t Dispatch(const KvQuantizeParams& p, const Launch& launch) {
  return DispatchFloat(p.type, [&](auto type) {
    return p.bits == 4 ? launch(type, std::integral_constant<int, 4>())
                       : launch(type, std::integral_constant<int, 8>());
  });
}

}  // namespace

cudaError_t KvQuantizeLaunch(const KvQuantizeParams& params) {
  return Dispatch(params, [&](auto type, auto bits) {
    return Quantise<decltype(type), decltype(bits)::value>(params);
  });
}

cudaError_t KvDequantizeLaunch(const KvQuantizeParams& params) {
  return Dispatch(params, [&](auto type, auto bits) {
    return Dequantise<decltype(type), decltype(bits)::value>(params);
  });
}

}  // namespace repro
