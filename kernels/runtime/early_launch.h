// Programmatic dependent launch, for CUDA sources: a kernel that starts before
// the stream's last one is done, so that what it does first, such as reading
// weights, overlaps that one's end. Both sides call the device functions; on
// GPUs before Hopper they are nothing and the launch is a common one.
#ifndef REPRO_KERNELS_RUNTIME_EARLY_LAUNCH_H_
#define REPRO_KERNELS_RUNTIME_EARLY_LAUNCH_H_

#include <cuda_runtime.h>

#include <type_traits>

namespace repro {

// Lets the stream's next kernel start.
__device__ inline void LaunchDependents() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}

// Waits until the kernels before are done and what they wrote can be read.
__device__ inline void WaitForInputs() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// `shared`: bytes of dynamic shared memory.
template <typename... Args>
cudaError_t LaunchEarly(void (*kernel)(Args...), dim3 grid, int threads,
                        int shared, cudaStream_t stream,
                        std::common_type_t<Args>... args) {
  int device = 0, major = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error != cudaSuccess) return error;
  error =
      cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  if (error != cudaSuccess) return error;
  cudaLaunchAttribute early;
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = shared;
  config.stream = stream;
  config.attrs = &early;
  config.numAttrs = major >= 9 ? 1 : 0;
  return cudaLaunchKernelEx(&config, kernel, args...);
}

}  // namespace repro

#endif  // REPRO_KERNELS_RUNTIME_EARLY_LAUNCH_H_
