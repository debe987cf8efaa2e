#include <cuda_runtime.h>

#include "third_party/cuda/axpy.h"

namespace repro {
namespace {

__global__ void AxpyKernel(float a, const float* x, float* y, int size) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < size) y[i] += a * x[i];
}

}  // namespace

std::string Axpy(float a, const std::vector<float>& x, std::vector<float>& y) {
  const size_t bytes = x.size() * sizeof(float);
  float *device_x = nullptr, *device_y = nullptr;
  cudaError_t error = cudaMalloc(&device_x, bytes);
  if (error == cudaSuccess) error = cudaMalloc(&device_y, bytes);
  if (error == cudaSuccess) {
    cudaMemcpy(device_x, x.data(), bytes, cudaMemcpyHostToDevice);
    cudaMemcpy(device_y, y.data(), bytes, cudaMemcpyHostToDevice);
    AxpyKernel<<<(x.size() + 255) / 256, 256>>>(a, device_x, device_y,
                                                x.size());
    error = cudaGetLastError();
    if (error == cudaSuccess) {
      error = cudaMemcpy(y.data(), device_y, bytes, cudaMemcpyDeviceToHost);
    }
  }
  cudaFree(device_x);
  cudaFree(device_y);
  return error == cudaSuccess ? "" : cudaGetErrorString(error);
}

bool HasCudaDevice() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
}

}  // namespace repro
