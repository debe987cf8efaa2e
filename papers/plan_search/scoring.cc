#include "papers/plan_search/scoring.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/metrics/generation.h"

namespace repro::plan_search {
namespace {

// ln C(n, k).
double LogBinomial(double n, double k) {
  return std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1);
}

}  // namespace

absl::StatusOr<double> MeanPassAtK(
    const std::vector<std::vector<Sample>>& problems, int64_t k,
    Filter filter) {
  std::vector<metrics::SampledProblem> counts;
  for (const std::vector<Sample>& samples : problems) {
    metrics::SampledProblem problem;
    for (const Sample& sample : samples) {
      if (filter == Filter::kPublic && !sample.passes_public) continue;
      ++problem.samples;
      problem.correct += sample.right;
    }
    problem.samples = std::max(problem.samples, k);
    counts.push_back(problem);
  }
  return metrics::MeanPassAtK(counts, k);
}

absl::StatusOr<double> ExpectedPassAtK(
    absl::Span<const double> solve_probabilities, int64_t k) {
  if (solve_probabilities.empty() || k < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("pass@", k, " of ", solve_probabilities.size(),
                     " problems: both must be at least 1"));
  }
  double sum = 0;
  for (const double p : solve_probabilities) {
    if (!(p >= 0 && p <= 1)) {
      return absl::InvalidArgumentError(
          absl::StrCat("a solve probability of ", p, " is not in [0, 1]"));
    }
    // log1p and expm1: 1 - (1 - p)^k loses its digits where p is small.
    sum += p == 1 ? 1 : -std::expm1(static_cast<double>(k) * std::log1p(-p));
  }
  return sum / static_cast<double>(solve_probabilities.size());
}

absl::StatusOr<double> PassAtKVariance(int64_t n, int64_t k, double p) {
  if (k < 1 || n < k || n > 100'000 || !(p >= 0 && p <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("no variance of pass@", k, " from ", n,
                     " programs with a solve probability of ", p));
  }
  if (p == 0 || p == 1) return 0;
  const auto samples = static_cast<double>(n), draws = static_cast<double>(k);
  double square = 0;
  // Where more than n - k are right, the estimate is 1 and its complement 0.
  for (double right = 0; right <= samples - draws; ++right) {
    square += std::exp(LogBinomial(samples, right) + right * std::log(p) +
                       (samples - right) * std::log1p(-p) +
                       2 * (LogBinomial(samples - right, draws) -
                            LogBinomial(samples, draws)));
  }
  return std::max(0.0, square - std::exp(2 * draws * std::log1p(-p)));
}

absl::StatusOr<double> RelativeGain(double pass_at_1, double pass_at_k) {
  if (!(pass_at_1 > 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("no gain relative to a pass@1 of ", pass_at_1));
  }
  return (pass_at_k - pass_at_1) / pass_at_1;
}

absl::StatusOr<double> Diversity(int64_t similar, int64_t pairs) {
  if (pairs < 1 || similar < 0 || similar > pairs) {
    return absl::InvalidArgumentError(absl::StrCat(
        "no diversity of ", similar, " similar of ", pairs, " pairs"));
  }
  return 1 - static_cast<double>(similar) / static_cast<double>(pairs);
}

}  // namespace repro::plan_search
