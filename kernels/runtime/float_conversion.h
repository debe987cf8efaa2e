// Between the stored types and float32, in device code.
#ifndef REPRO_KERNELS_RUNTIME_FLOAT_CONVERSION_H_
#define REPRO_KERNELS_RUNTIME_FLOAT_CONVERSION_H_

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <type_traits>

namespace repro {

__device__ inline float ToFloat(float x) { return x; }
__device__ inline float ToFloat(__half x) { return __half2float(x); }
__device__ inline float ToFloat(__nv_bfloat16 x) { return __bfloat162float(x); }

// To the nearest value, ties to even.
template <typename T>
__device__ inline T FromFloat(float x) {
  if constexpr (std::is_same<T, __half>::value) {
    return __float2half_rn(x);
  } else if constexpr (std::is_same<T, __nv_bfloat16>::value) {
    return __float2bfloat16_rn(x);
  } else {
    static_assert(std::is_same<T, float>::value, "a stored type");
    return x;
  }
}

}  // namespace repro

#endif  // REPRO_KERNELS_RUNTIME_FLOAT_CONVERSION_H_
