// Speed of whole models with random weights (generation by a captured graph,
// prefill) and of the attention operators.
#ifndef REPRO_PAPERS_BASED_SPEED_H_
#define REPRO_PAPERS_BASED_SPEED_H_

#include <c10/core/Device.h>

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace repro::based {

struct ModelSpeed {
  double generated_per_second = 0;  // tokens of the batch; 0: not asked for
  double prefilled_per_second = 0;
};

struct SpeedOptions {
  int64_t batch = 128;
  int64_t new_tokens = 1024;  // from one token on; 0: no generation
  int64_t prefill_batch = 4;
  int64_t prefill_tokens = 4096;  // 0: no prefill
  int repetitions = 10;           // of the prefill; the median
};

// "based_360m", "based_1.3b", "attention_360m", "attention_1.3b";
// "based_tiny", "attention_tiny" for tests. Weights are bfloat16 on CUDA,
// float32 on the CPU. Both kinds of model decode greedily by one captured CUDA
// graph a token, the attention model with a cache allocated for all tokens of
// which a step reads the past ones alone. NotFound: another name.
absl::StatusOr<ModelSpeed> MeasureModelSpeed(absl::string_view model,
                                             const SpeedOptions& options,
                                             c10::Device device, uint64_t seed);

// Bytes that a step of these models must move on average over `new_tokens`
// tokens, at 2 bytes a weight and a cached key or value and 4 a number of the
// linear layers' state, which is read and written: weights, states, caches.
absl::StatusOr<double> BytesPerStep(absl::string_view model, int64_t batch,
                                    int64_t new_tokens);

struct OperatorTimes {
  double taylor = 0;  // milliseconds, medians
  double flash = 0;
};

// Causal attention, forward alone, 16 heads with 64 values: Taylor linear
// attention of 16 features without its denominator, as the published kernel,
// and FlashAttention of 64. bfloat16 on CUDA; on the CPU float32 and LibTorch's
// attention.
OperatorTimes MeasureOperators(int64_t batch, int64_t seq_len,
                               c10::Device device, uint64_t seed);

}  // namespace repro::based

#endif  // REPRO_PAPERS_BASED_SPEED_H_
