#ifndef REPRO_COMMON_CHECKPOINT_DEQUANTIZE_H_
#define REPRO_COMMON_CHECKPOINT_DEQUANTIZE_H_

#include <ATen/core/Tensor.h>

#include "common/checkpoint/gguf.h"

namespace repro {

// The tensor's numbers: float32 of tensor.shape, contiguous, on the CPU, in
// memory of its own. Uses ATen's threads. Throws c10::Error where memory runs
// out or tensor.data does not fit the shape (which that of a GgufFile does).
at::Tensor Dequantize(const GgufTensor& tensor);

}  // namespace repro

#endif  // REPRO_COMMON_CHECKPOINT_DEQUANTIZE_H_
