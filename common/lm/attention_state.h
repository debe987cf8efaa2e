// What one sequence remembers and how its tokens attend: the part of a language
// model that a paper replaces. The model projects and hands over queries, keys
// and values; the state keeps what it wants of them and returns the output.
//
//   class Mine : public AttentionState { at::Tensor Attend(...) override ... };
//   RegisterPolicy({"mine", "what it does", {...}, MakeMine});   // policy.h
//
// Caches (cache.h) and attention rules (attention.h) are the parts to build one
// from; DenseState below is the plainest.
#ifndef REPRO_COMMON_LM_ATTENTION_STATE_H_
#define REPRO_COMMON_LM_ATTENTION_STATE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "common/lm/rope.h"

namespace repro::lm {

// New tokens of one sequence in one layer.
struct AttentionInput {
  int64_t layer = 0;
  at::Tensor q;          // [num_heads, new_tokens, head_dim], not rotated
  at::Tensor k;          // [num_kv_heads, new_tokens, head_dim], not rotated
  at::Tensor v;          // [num_kv_heads, new_tokens, head_dim]
  int64_t position = 0;  // of the first new token: tokens before this call
  const Rope* rope = nullptr;
};

class AttentionState {
 public:
  virtual ~AttentionState() = default;

  // Takes in the new tokens of a layer and returns softmax attention, scaled by
  // 1/sqrt(head_dim), of each over what the state keeps and, causally, over the
  // new tokens: [num_heads, new_tokens, head_dim]. Called once a layer, layers
  // in order, for each chunk of tokens. Query head h reads key-value head
  // h / group_size.
  virtual at::Tensor Attend(const AttentionInput& input) = 0;

  // The same for one layer of several sequences at once. The states are of one
  // class. The default calls Attend on each; a state over a shared pool answers
  // all decode steps with one kernel.
  virtual std::vector<at::Tensor> AttendMany(
      const std::vector<AttentionState*>& states,
      const std::vector<AttentionInput>& inputs);

  // The prompt is complete: what compresses a prompt does it now.
  virtual void PromptDone() {}

  // Of keys, values and whatever else is kept, over all layers.
  virtual int64_t Bytes() const = 0;
};

}  // namespace repro::lm

#endif  // REPRO_COMMON_LM_ATTENTION_STATE_H_
