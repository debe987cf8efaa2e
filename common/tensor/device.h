// Where tensors live: choosing, naming and configuring the device.
#ifndef REPRO_COMMON_TENSOR_DEVICE_H_
#define REPRO_COMMON_TENSOR_DEVICE_H_

#include <c10/core/Device.h>

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace repro {

// "cpu", "cuda" (the same as "cuda:0") or "cuda:1". A CUDA device loads
// libtorch_cuda.so at run time, so that one CPU build serves both; call this
// before anything else asks LibTorch about CUDA.
//
// InvalidArgument: not a device. Unimplemented: no libtorch_cuda.so on the
// loader's path or beside libtorch_cpu.so. Unavailable: the library is there
// and no such GPU is.
absl::StatusOr<c10::Device> ParseDevice(absl::string_view name);

// The processor's or the GPU's model, as the system names it.
std::string DeviceName(c10::Device device);

// Waits for all work queued on the device; nothing to do for the CPU. Timings
// on a GPU need it.
void Synchronize(c10::Device device);

// `threads` is for intra-operator parallelism (0 keeps the present number);
// inter-operator parallelism is set to 1 thread. TF32 is turned off.
// `deterministic` makes operators without a deterministic form fail.
void ConfigureTorch(int threads, bool deterministic);

// "2.11.0": the LibTorch that was compiled against.
std::string TorchVersion();

}  // namespace repro

#endif  // REPRO_COMMON_TENSOR_DEVICE_H_
