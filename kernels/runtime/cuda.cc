#include "kernels/runtime/cuda.h"

#include <ATen/Parallel.h>
#include <dlfcn.h>

#include <filesystem>
#include <system_error>
#include <vector>

namespace repro {
namespace {

// The folder of the library or program that `address` lies in; behind symbolic
// links if there are (Bazel makes a folder of them).
std::string FolderOf(const void* address) {
  Dl_info info;
  if (dladdr(address, &info) == 0 || info.dli_fname == nullptr) return "";
  std::error_code error;
  const std::filesystem::path file =
      std::filesystem::canonical(info.dli_fname, error);
  return error ? "" : file.parent_path().string() + "/";
}

std::string ProgramFolder() {
  std::error_code error;
  const std::filesystem::path file =
      std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? "" : file.parent_path().string() + "/";
}

// Empty once a library is loaded, or all that the loader said.
std::string LoadAny(const std::vector<std::string>& paths) {
  std::string errors;
  for (const std::string& path : paths) {
    if (dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL) != nullptr) return "";
    errors += std::string("\n  ") + dlerror();
  }
  return errors;
}

}  // namespace

const std::string& LoadCudaKernels() {
  static const std::string& error = *new std::string([] {
    const std::string library = "librepro_kernels_cuda.so";
    return LoadAny(
        {library, FolderOf(reinterpret_cast<void*>(&LoadCudaKernels)) + library,
         ProgramFolder() + library, ProgramFolder() + "../kernels/" + library});
  }());
  return error;
}

const std::string& LoadCuda() {
  // Loading registers the CUDA hooks and kernels. LibTorch looks for the hooks
  // once, at its first question about CUDA, and remembers the answer.
  static const std::string& error = *new std::string([] {
    const std::string library = "libtorch_cuda.so";
    std::string errors = LoadAny(
        {library,
         FolderOf(reinterpret_cast<void*>(&at::get_num_threads)) + library});
    if (errors.empty()) LoadCudaKernels();
    return errors;
  }());
  return error;
}

}  // namespace repro
