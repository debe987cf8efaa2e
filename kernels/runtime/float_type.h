// The types in which CUDA kernels take their values, free of Torch.
#ifndef REPRO_KERNELS_RUNTIME_FLOAT_TYPE_H_
#define REPRO_KERNELS_RUNTIME_FLOAT_TYPE_H_

namespace repro {

enum class FloatType { kFloat, kHalf, kBFloat16 };

}  // namespace repro

#endif  // REPRO_KERNELS_RUNTIME_FLOAT_TYPE_H_
