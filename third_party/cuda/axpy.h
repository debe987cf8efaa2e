#ifndef REPRO_THIRD_PARTY_CUDA_AXPY_H_
#define REPRO_THIRD_PARTY_CUDA_AXPY_H_

#include <string>
#include <vector>

namespace repro {

// y += a x on the GPU. Returns CUDA's error message, empty if there was none.
std::string Axpy(float a, const std::vector<float>& x, std::vector<float>& y);

// Whether a CUDA device can be used.
bool HasCudaDevice();

}  // namespace repro

#endif  // REPRO_THIRD_PARTY_CUDA_AXPY_H_
