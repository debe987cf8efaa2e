// Recall far beyond the trained context, of a small trained model, under
// TokenSelect and what it is compared with.
#ifndef REPRO_PAPERS_TOKEN_SELECT_EXTRAPOLATION_H_
#define REPRO_PAPERS_TOKEN_SELECT_EXTRAPOLATION_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "common/lm/model.h"
#include "common/testbed/recipe.h"
#include "papers/token_select/token_select.h"

namespace repro::token_select {

// The published sizes over `divisor`, the share that a model's context of
// 1,024 tokens is of Qwen2-7B's 32,768.
TokenSelectOptions Shrunk(int64_t divisor);

struct ExtrapolationOptions {
  TokenSelectOptions base = Shrunk(32);
  int64_t length = 4096;  // tokens of a sequence: as 128K to 32K
  int64_t sequences = 3;
  int64_t questions = 32;  // a sequence
};

// The share, in %, of questions about key-value pairs that are answered. Policy
// is a name and, after commas, what differs from the base options:
//   soft_vote, head_vote, summed_logits   TokenSelect with the rule;
//   `selected`,
//                     `theta` and `first_head_factor` may be given
//   blocks            whole blocks of 4 tokens: those of 128 of InfLLM over 32
//   dense             everything, at absolute places
// and with as many tokens as the base's budget, at absolute places:
//   window            the first and the last ones
//   random            the first, the last, and random ones for each query
//   exact_topk        the first, the last, and those with the largest logits of
//                     each query and head
// Policies of a seed see the same sequences. InvalidArgument: another name.
absl::StatusOr<double> Recall(const lm::LanguageModel& model,
                              const testbed::Recipe& recipe,
                              const ExtrapolationOptions& options,
                              const std::string& policy, uint64_t seed);

}  // namespace repro::token_select

#endif  // REPRO_PAPERS_TOKEN_SELECT_EXTRAPOLATION_H_
