#include "common/tensor/device.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>
#include <torch/headeronly/version.h>

#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "kernels/runtime/cuda.h"

namespace repro {
namespace {

std::string CpuName() {
  std::ifstream in("/proc/cpuinfo");
  std::string line;
  while (std::getline(in, line)) {
    if (!absl::StartsWith(line, "model name")) continue;
    const size_t colon = line.find(": ");
    if (colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown CPU";
}

// Through the driver, whose interface has one form for all CUDA versions.
std::string GpuName(int index) {
  constexpr char kUnknown[] = "unknown GPU";
  void* driver = dlopen("libcuda.so.1", RTLD_NOW);
  if (driver == nullptr) return kUnknown;
  const auto init =
      reinterpret_cast<int (*)(unsigned)>(dlsym(driver, "cuInit"));
  const auto get_name = reinterpret_cast<int (*)(char*, int, int)>(
      dlsym(driver, "cuDeviceGetName"));
  char name[256] = {};
  if (init == nullptr || get_name == nullptr || init(0) != 0 ||
      get_name(name, sizeof(name) - 1, index) != 0) {
    return kUnknown;
  }
  return name;
}

}  // namespace

absl::StatusOr<c10::Device> ParseDevice(absl::string_view name) {
  if (name == "cpu") return c10::Device(c10::kCPU);
  absl::string_view rest = name;
  int index = 0;
  if (!absl::ConsumePrefix(&rest, "cuda") ||
      (!rest.empty() && (!absl::ConsumePrefix(&rest, ":") || rest.empty() ||
                         rest.find_first_not_of("0123456789") != rest.npos ||
                         !absl::SimpleAtoi(rest, &index) || index > 127))) {
    return absl::InvalidArgumentError(absl::StrCat(
        "device '", name, "': expected cpu, cuda or cuda:N with N from 0 on"));
  }
  if (!LoadCuda().empty()) {
    return absl::UnimplementedError(absl::StrCat(
        "cannot load libtorch_cuda.so: use --device cpu, or put the folders of "
        "a CUDA build of LibTorch ",
        TORCH_VERSION, " and of its nvidia/*/lib on LD_LIBRARY_PATH",
        LoadCuda()));
  }
  if (!at::globalContext().hasCUDA()) {
    return absl::UnavailableError(
        absl::StrCat("device '", name,
                     "': libtorch_cuda.so is here and no usable GPU is; use "
                     "--device cpu, or "
                     "see what nvidia-smi says"));
  }
  const auto count =
      static_cast<unsigned char>(at::globalContext()
                                     .getAcceleratorHooksInterface(c10::kCUDA)
                                     .deviceCount());
  if (index >= count) {
    return absl::UnavailableError(
        absl::StrCat("device '", name, "': this machine has ", int{count},
                     " GPU(s), numbered from 0"));
  }
  return c10::Device(c10::kCUDA, index);
}

std::string DeviceName(c10::Device device) {
  return device.is_cuda() ? GpuName(device.has_index() ? device.index() : 0)
                          : CpuName();
}

void Synchronize(c10::Device device) {
  if (device.is_cpu()) return;
  c10::impl::VirtualGuardImpl(device.type()).synchronizeDevice(device.index());
}

void ConfigureTorch(int threads, bool deterministic) {
  if (threads > 0) at::set_num_threads(threads);
  // LibTorch lets this be set once in a process.
  static const bool inter_op_set = [] {
    at::set_num_interop_threads(1);
    return true;
  }();
  (void)inter_op_set;
  at::globalContext().setAllowTF32CuBLAS(false);
  at::globalContext().setAllowTF32CuDNN(false);
  at::globalContext().setDeterministicAlgorithms(deterministic,
                                                 /*warn_only=*/false);
  at::globalContext().setDeterministicCuDNN(deterministic);
}

std::string TorchVersion() { return TORCH_VERSION; }

}  // namespace repro
