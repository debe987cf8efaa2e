// From a FloatType to a kernel's C++ type, for CUDA sources.
#ifndef REPRO_KERNELS_RUNTIME_FLOAT_DISPATCH_H_
#define REPRO_KERNELS_RUNTIME_FLOAT_DISPATCH_H_

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include "kernels/runtime/float_type.h"

namespace repro {

// Calls launch with a value of the C++ type and returns what it returns.
template <typename Launch>
cudaError_t DispatchFloat(FloatType type, const Launch& launch) {
  switch (type) {
    case FloatType::kFloat:
      return launch(float{});
    case FloatType::kHalf:
      return launch(__half{});
    case FloatType::kBFloat16:
      return launch(__nv_bfloat16{});
  }
  return cudaErrorInvalidValue;
}

// Calls launch with values of both C++ types; second is first or kFloat.
template <typename Launch>
cudaError_t DispatchFloats(FloatType first, FloatType second,
                           const Launch& launch) {
  return DispatchFloat(first, [&](auto type) {
    return second == FloatType::kFloat ? launch(type, float{})
                                       : launch(type, type);
  });
}

}  // namespace repro

#endif  // REPRO_KERNELS_RUNTIME_FLOAT_DISPATCH_H_
