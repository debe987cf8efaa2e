// What a sparse policy is compared with at an equal budget: the best choice of
// tokens that there is, and a blind one. (The third, sinks plus window, is
// MakeWindowState.)
#ifndef REPRO_COMMON_LM_CONTROL_POLICIES_H_
#define REPRO_COMMON_LM_CONTROL_POLICIES_H_

#include <cstdint>
#include <memory>

#include "common/lm/attention_state.h"
#include "common/lm/config.h"
#include "common/lm/dense_state.h"

namespace repro::lm {

// Every query of every query head sees the first `sink` tokens, the last
// `recent` ones, its own included, and of those between `budget` - sink -
// recent, chosen for it alone. Everything is kept: memory is that of dense
// attention. Registered as "exact_topk" and "random".
struct SelectionOptions {
  int64_t budget = 256;  // at least sink + recent
  int64_t sink = 4;
  int64_t recent = 16;  // at least 1
  // Dense attention until the prompt is done.
  bool dense_prompt = false;
};

// Those with the largest logits q . k (keys rotated at their places): the
// oracle of token selection.
std::unique_ptr<AttentionState> MakeExactTopkState(
    const ModelConfig& config, c10::Device device, at::ScalarType dtype,
    const SelectionOptions& options);

// Those that a draw without replacement gives; `generator` is of the device.
std::unique_ptr<AttentionState> MakeRandomState(const ModelConfig& config,
                                                c10::Device device,
                                                at::ScalarType dtype,
                                                const SelectionOptions& options,
                                                at::Generator generator);

}  // namespace repro::lm

#endif  // REPRO_COMMON_LM_CONTROL_POLICIES_H_
