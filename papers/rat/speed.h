// How fast the layers and models of the paper are, with random weights: one
// layer's training step, prefill and generation step, and the throughput of
// whole models' generation (src/benchmark_eff of the authors' code).
#ifndef REPRO_PAPERS_RAT_SPEED_H_
#define REPRO_PAPERS_RAT_SPEED_H_

#include <c10/core/Device.h>

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/count/timing.h"
#include "papers/rat/rat.h"

namespace repro::rat {

enum class LayerTask {
  kTraining,    // forward and backward of the mean of the output
  kPrefill,     // forward alone, which fills the cache
  kGeneration,  // one token after length - 1 others
};

// "training", "prefill", "generation". InvalidArgument: another name.
absl::StatusOr<LayerTask> ParseLayerTask(absl::string_view name);

// Times one layer of `config` (norm, mixing and residual; no FFN) on `batch`
// sequences of `length` tokens. Activations are bfloat16 on CUDA, where full
// attention is LibTorch's flash kernel, but for generation, where it is
// kernels/chunk_attention's step at chunk size 1; weights float32 in training,
// else bfloat16. A generation step is a captured graph.
Timing TimeLayer(LayerTask task, Mixer mixer, const RatConfig& config,
                 int64_t batch, int64_t length, c10::Device device,
                 uint64_t seed, const TimingOptions& options);

struct ThroughputOptions {
  int64_t prompt_tokens = 3072;
  int64_t new_tokens = 1024;
  int64_t positions = 8;  // at which steps are timed, evenly spaced
  int64_t steps = 3;      // timed at each
  // Of the GPU's free memory, for what a step computes.
  int64_t reserved_bytes = int64_t{3} << 30;
  int64_t batch = 0;  // 0: the largest that fits, on CUDA alone
};

struct Throughput {
  int64_t batch = 0;
  std::vector<double> tokens_per_second;  // one a repetition
};

// Generated tokens a second: batch / seconds of a step, averaged over the
// positions from prompt_tokens on. The cache holds random values; the prompt's
// own time does not count, as in the authors' script.
Throughput MeasureThroughput(const RatConfig& config,
                             const ThroughputOptions& options,
                             c10::Device device, uint64_t seed,
                             int repetitions);

}  // namespace repro::rat

#endif  // REPRO_PAPERS_RAT_SPEED_H_
