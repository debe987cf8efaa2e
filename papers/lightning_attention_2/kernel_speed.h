// The repository's benchmark of the kernels: time and memory of one attention
// call, forward or backward.
#ifndef REPRO_PAPERS_LIGHTNING_ATTENTION_2_KERNEL_SPEED_H_
#define REPRO_PAPERS_LIGHTNING_ATTENTION_2_KERNEL_SPEED_H_

#include <c10/core/Device.h>

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/count/timing.h"
#include "papers/lightning_attention_2/lightning_attention_2.h"

namespace repro::lightning_attention_2 {

// "lightning", "flash" or "cudnn"; "forward" or "backward". InvalidArgument:
// another name.
absl::StatusOr<Attention> ParseAttention(absl::string_view name);
absl::StatusOr<Phase> ParsePhase(absl::string_view name);

// Causal attention on normal values drawn from `seed`, in bfloat16 on CUDA and
// float32 on the CPU. The backward is autograd's alone: of three inputs, and
// without the addition to gradients of an earlier call. Throws c10::Error where
// LibTorch has not the kernel for the device.
Timing MeasureKernel(Attention attention, Phase phase,
                     const BenchmarkShape& shape, c10::Device device,
                     uint64_t seed, const TimingOptions& options);

// The most that LibTorch's allocator holds for inputs, results and workspaces
// in a repetition of the benchmark, the mean of 20: as BenchmarkMebibytes, and
// measured.
double MeasureMebibytes(Attention attention, Phase phase,
                        const BenchmarkShape& shape, c10::Device device);

}  // namespace repro::lightning_attention_2

#endif  // REPRO_PAPERS_LIGHTNING_ATTENTION_2_KERNEL_SPEED_H_
