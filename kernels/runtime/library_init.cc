// In librepro_kernels.so: brings the CUDA kernels along where the process that
// loads it, such as Python's, has LibTorch's CUDA library.
#include <c10/util/Exception.h>
#include <dlfcn.h>

#include "kernels/runtime/cuda.h"

namespace repro {
namespace {

const bool kLoaded = [] {
  // Python loads LibTorch for itself alone: RTLD_GLOBAL shows its symbols to
  // our library, too.
  if (dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL) ==
      nullptr) {
    return false;
  }
  if (!LoadCudaKernels().empty()) {
    TORCH_WARN(
        "repro: operators run on the CPU only, since the CUDA kernels "
        "cannot be loaded:",
        LoadCudaKernels());
  }
  return LoadCudaKernels().empty();
}();

}  // namespace
}  // namespace repro
