// The FloatType of a tensor's dtype.
#ifndef REPRO_KERNELS_RUNTIME_FLOAT_TYPE_OF_H_
#define REPRO_KERNELS_RUNTIME_FLOAT_TYPE_OF_H_

#include <ATen/core/Tensor.h>

#include "kernels/runtime/float_type.h"

namespace repro {

// Throws c10::Error with the name of the operator for any other dtype.
inline FloatType FloatTypeOf(at::ScalarType type, const char* op) {
  switch (type) {
    case at::kFloat:
      return FloatType::kFloat;
    case at::kHalf:
      return FloatType::kHalf;
    case at::kBFloat16:
      return FloatType::kBFloat16;
    default:
      TORCH_CHECK(false, op, ": ", type,
                  " on CUDA; supported are float, half and bfloat16");
  }
}

}  // namespace repro

#endif  // REPRO_KERNELS_RUNTIME_FLOAT_TYPE_OF_H_
