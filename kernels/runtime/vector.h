// Values that are read and written together, for CUDA sources.
#ifndef REPRO_KERNELS_RUNTIME_VECTOR_H_
#define REPRO_KERNELS_RUNTIME_VECTOR_H_

#include <cstdint>

namespace repro {

// 16 bytes: the widest load there is.
template <typename T, int kSize = 16 / sizeof(T)>
struct alignas(kSize * sizeof(T)) Vector {
  T values[kSize];
};

inline bool OnVectorAddress(const void* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
}

}  // namespace repro

#endif  // REPRO_KERNELS_RUNTIME_VECTOR_H_
