#include "common/metrics/generation.h"

#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/metrics/classification.h"
#include "common/stats/descriptive.h"
#include "common/status/macros.h"

namespace repro::metrics {

absl::StatusOr<double> PassAtK(const SampledProblem& problem, int64_t k) {
  const auto [samples, correct] = problem;
  if (correct < 0 || correct > samples) {
    return absl::InvalidArgumentError(absl::StrCat(
        correct, " correct of ", samples,
        " samples: at least 0 and at most all samples can be correct"));
  }
  if (k < 1 || k > samples) {
    return absl::InvalidArgumentError(
        absl::StrCat("k is ", k, ", it must lie between 1 and the number of ",
                     "samples, ", samples));
  }
  // Where every choice of k holds a correct sample, k is one of the i: factor
  // 0.
  double none_passes = 1;
  for (int64_t i = samples - correct + 1; i <= samples; ++i) {
    none_passes *= 1 - static_cast<double>(k) / i;
  }
  return 1 - none_passes;
}

absl::StatusOr<double> MeanPassAtK(const std::vector<SampledProblem>& problems,
                                   int64_t k) {
  std::vector<double> estimates;
  for (const SampledProblem& problem : problems) {
    REPRO_ASSIGN_OR_RETURN(const double estimate, PassAtK(problem, k));
    estimates.push_back(estimate);
  }
  return Mean(estimates);
}

std::string CollapseWhitespace(absl::string_view text) {
  return absl::StrJoin(
      absl::StrSplit(text, absl::ByAnyChar(" \t\n\v\f\r"), absl::SkipEmpty()),
      " ");
}

absl::StatusOr<double> ExactMatch(const std::vector<std::string>& references,
                                  const std::vector<std::string>& predictions) {
  return Accuracy(references, predictions);
}

absl::StatusOr<double> Perplexity(
    const std::vector<double>& negative_log_likelihoods) {
  for (size_t i = 0; i < negative_log_likelihoods.size(); ++i) {
    if (negative_log_likelihoods[i] < -1e-6) {
      return absl::InvalidArgumentError(
          absl::StrCat("value ", i, " is ", negative_log_likelihoods[i],
                       ": a negative log-likelihood is at least 0"));
    }
  }
  REPRO_ASSIGN_OR_RETURN(const double mean, Mean(negative_log_likelihoods));
  const double perplexity = std::exp(mean);
  if (std::isfinite(perplexity)) return perplexity;
  return absl::OutOfRangeError(absl::StrCat(
      "exp(", mean, ") is too large: is the value in nats per token?"));
}

}  // namespace repro::metrics
