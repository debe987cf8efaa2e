#ifndef REPRO_COMMON_METRICS_GENERATION_H_
#define REPRO_COMMON_METRICS_GENERATION_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

// Metrics of generated text and code.
namespace repro::metrics {

// Of one problem: how many samples were drawn and how many passed its tests.
struct SampledProblem {
  int64_t samples = 0;
  int64_t correct = 0;
};

// The unbiased estimate of the probability that at least one of k samples
// passes, 1 - C(n - c, k) / C(n, k), evaluated as 1 - prod_{i = n-c+1}^{n}
// (1 - k / i) (Chen et al. 2021, arXiv:2107.03374, equation 1 and figure 3).
// InvalidArgument: unless 1 <= k <= samples and 0 <= correct <= samples.
absl::StatusOr<double> PassAtK(const SampledProblem& problem, int64_t k);

// The mean over problems, whose numbers of samples may differ.
// InvalidArgument: no problems, or an error of PassAtK.
absl::StatusOr<double> MeanPassAtK(const std::vector<SampledProblem>& problems,
                                   int64_t k);

// `text` without white space (space, \t, \n, \v, \f, \r) at its ends and with
// each run of it inside as one space, as " ".join(text.split()) in Python.
std::string CollapseWhitespace(absl::string_view text);

// The share of predictions that equal their reference byte for byte; normalise
// before. InvalidArgument: empty or unequally long.
absl::StatusOr<double> ExactMatch(const std::vector<std::string>& references,
                                  const std::vector<std::string>& predictions);

// exp of the mean of the tokens' negative log-likelihoods in nats. The mean is
// over tokens, not over sequences. InvalidArgument: empty, or a value that is
// NaN, infinite or below -1e-6 (what float32 may round 0 to): a log-likelihood
// without its sign changed. OutOfRange: the perplexity exceeds a double.
absl::StatusOr<double> Perplexity(
    const std::vector<double>& negative_log_likelihoods);

}  // namespace repro::metrics

#endif  // REPRO_COMMON_METRICS_GENERATION_H_
