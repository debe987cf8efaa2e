// TokenSelect (Wu, Pan et al., EMNLP 2025, arXiv 2411.02886): each chunk of
// queries attends to the first tokens, the last ones, and the most critical
// of those between, keys rotated to their places among what was selected.
#ifndef REPRO_PAPERS_TOKEN_SELECT_TOKEN_SELECT_H_
#define REPRO_PAPERS_TOKEN_SELECT_TOKEN_SELECT_H_

#include <cstdint>
#include <memory>

#include "common/lm/attention_state.h"
#include "common/lm/config.h"
#include "papers/token_select/selection.h"

namespace repro::token_select {

struct TokenSelectOptions {
  int64_t initial = 128;    // n_init: the first tokens
  int64_t selected = 2048;  // k
  int64_t local = 512;      // n_local: the last ones, at least `chunk`
  int64_t chunk = 512;      // queries that share one selection in a prompt
  // Selection Cache, while decoding: a selection is used again while the cosine
  // of the queries is at least this. Above 1: never, as the released code has
  // it.
  double theta = 0.9;
  Rule rule = Rule::kSoftVote;
  HeadMapping mapping = HeadMapping::kPublished;
  // Max-pooling of the votes over neighbours, which the authors tuned for each
  // data set; 0: none.
  int64_t pool = 0;

  // For comparisons alone. Above 1: whole blocks are selected (TopBlocks).
  int64_t block = 1;
  // Multiplies the first query head's logits in the selection.
  double first_head_factor = 1;

  // Tokens that a query sees at most: 2688 as published.
  int64_t budget() const { return initial + selected + local; }
};

// Of one sequence. Keys are kept unrotated in rows of pages of size 1; with no
// more than budget() tokens everything is attended to. No gradients. Throws
// c10::Error for options that cannot be.
std::unique_ptr<lm::AttentionState> MakeTokenSelectState(
    const lm::ModelConfig& config, c10::Device device, at::ScalarType dtype,
    const TokenSelectOptions& options);

// One selection: the places of the selected tokens among `tokens` rows of the
// pool that `slots` names (the middle of the sequence), ascending int64.
// query: [num_heads, head_dim]; k_pool: [pool, num_kv_heads, head_dim].
at::Tensor Select(const at::Tensor& query, const at::Tensor& k_pool,
                  const at::Tensor& slots, const TokenSelectOptions& options);

// What the queries read: the first `initial` slots, those of the selection in
// the middle, and the last `local` ones. slots: [tokens] int32, selection as
// Select returns it for the middle -> [initial + selected + local] int32.
at::Tensor ReadList(const at::Tensor& slots, const at::Tensor& selection,
                    const TokenSelectOptions& options);

// The slots between the first and the last ones, empty if there are none.
at::Tensor Middle(const at::Tensor& slots, const TokenSelectOptions& options);

}  // namespace repro::token_select

#endif  // REPRO_PAPERS_TOKEN_SELECT_TOKEN_SELECT_H_
