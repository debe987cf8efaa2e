// In librepro_kernels.so: brings the CUDA kernels along where the process that
// loads it, such as Python's, has LibTorch's CUDA library.
#include <dlfcn.h>

#include "kernels/runtime/cuda.h"

namespace repro {
namespace {

const bool kLoaded = [] {
  if (dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_NOLOAD) == nullptr) {
    return false;
  }
  return LoadCudaKernels().empty();
}();

}  // namespace
}  // namespace repro
