// Loading CUDA at run time, so that one CPU build serves both.
#ifndef REPRO_KERNELS_RUNTIME_CUDA_H_
#define REPRO_KERNELS_RUNTIME_CUDA_H_

#include <string>

namespace repro {

// Loads libtorch_cuda.so, from the loader's path or beside libtorch_cpu.so, and
// then the CUDA kernels of this project. Call it before anything asks LibTorch
// about CUDA. Returns why libtorch_cuda.so cannot be loaded; empty if it is.
// That our kernels are missing is no error here, since LibTorch's own operators
// do not need them: LoadCudaKernels tells.
const std::string& LoadCuda();

// librepro_kernels_cuda.so, looked for on the loader's path, beside this
// library, beside the program and in ../kernels from there. Needs
// libtorch_cuda.so in the process. Returns why the kernels cannot be loaded;
// empty if they are.
const std::string& LoadCudaKernels();

}  // namespace repro

#endif  // REPRO_KERNELS_RUNTIME_CUDA_H_
