// From logits to the next token: penalties, filters, a draw, log-probabilities.
#ifndef REPRO_COMMON_LM_SAMPLER_H_
#define REPRO_COMMON_LM_SAMPLER_H_

#include <cstdint>
#include <random>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace repro::lm {

// Applied in the order of the fields, which is that of Hugging Face's
// transformers.
struct SamplingOptions {
  // Divides positive logits of tokens that were seen, multiplies negative ones
  // (Keskar et al. 2019, arXiv 1909.05858). > 0; 1: none.
  double repetition_penalty = 1;
  double temperature = 0;  // divides logits; 0: the most likely token
  int64_t top_k = 0;       // the k most likely, ties with the last too; 0: all
  // The fewest most likely tokens whose probabilities reach this sum (Holtzman
  // et al. 2020, arXiv 1904.09751). In (0, 1].
  double top_p = 1;
  // Those at least this often as likely as the most likely one (Nguyen et al.
  // 2024, arXiv 2407.01082). In [0, 1].
  double min_p = 0;
  uint64_t seed = 0;
  int64_t top_logprobs = 0;  // how many alternatives to report, at most 100
};

// InvalidArgument, naming the field and its value.
absl::Status Validate(const SamplingOptions& options);

struct TokenLogprob {
  int32_t id = 0;
  double logprob = 0;  // natural, of the model's own distribution
};

struct SampledToken {
  TokenLogprob chosen;
  std::vector<TokenLogprob> top;  // the most likely first
};

class Sampler {
 public:
  // `options` must be valid.
  explicit Sampler(const SamplingOptions& options);

  // Makes `tokens` seen, as the repetition penalty understands it: the prompt.
  void See(absl::Span<const int32_t> tokens);

  // The probabilities that Sample draws from: of logits [vocab_size], after
  // all of the options; 0 for what they exclude. At temperature 0 the first of
  // the most likely tokens has it all. Internal if no logit is finite or one is
  // NaN or +inf.
  absl::StatusOr<std::vector<double>> Probabilities(
      absl::Span<const float> logits) const;

  // Draws a token, which is then seen. One draw of the generator a token, none
  // at temperature 0. Log-probabilities are of the given logits, before any of
  // the options.
  absl::StatusOr<SampledToken> Sample(absl::Span<const float> logits);

 private:
  SamplingOptions options_;
  std::mt19937_64 generator_;
  std::vector<bool> seen_;  // by id, as far as needed
};

}  // namespace repro::lm

#endif  // REPRO_COMMON_LM_SAMPLER_H_
