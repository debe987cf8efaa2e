#ifndef REPRO_COMMON_LM_PERPLEXITY_H_
#define REPRO_COMMON_LM_PERPLEXITY_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "common/lm/model.h"
#include "common/lm/policy.h"

namespace repro::lm {

struct Likelihood {
  double negative_log_likelihood = 0;  // natural logarithm, summed
  int64_t predicted = 0;               // tokens
  // exp of the mean; 0 tokens: NaN.
  double perplexity() const;
};

// How well the model predicts each token but the first from all before it.
// tokens: [n] int64, n >= 2, one sequence; fed `stride` at a time to one state
// of the factory (a policy that drops keys between calls does so between
// them). Log-softmax in float32, sums in float64. Without gradients.
Likelihood Perplexity(const LanguageModel& model, const StateFactory& factory,
                      const at::Tensor& tokens, int64_t stride);

}  // namespace repro::lm

#endif  // REPRO_COMMON_LM_PERPLEXITY_H_
