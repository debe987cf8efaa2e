#include "common/lm/attention_state.h"

namespace repro::lm {

std::vector<at::Tensor> AttentionState::AttendMany(
    const std::vector<AttentionState*>& states,
    const std::vector<AttentionInput>& inputs) {
  std::vector<at::Tensor> out;
  out.reserve(states.size());
  for (size_t i = 0; i < states.size(); ++i) {
    out.push_back(states[i]->Attend(inputs[i]));
  }
  return out;
}

}  // namespace repro::lm
