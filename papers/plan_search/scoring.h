// pass@k with and without public tests, and the diversity of ideas.
#ifndef REPRO_PAPERS_PLAN_SEARCH_SCORING_H_
#define REPRO_PAPERS_PLAN_SEARCH_SCORING_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace repro::plan_search {

// One program for a problem, as its tests see it.
struct Sample {
  bool passes_public = false;
  bool right = false;  // passes all tests
};

enum class Filter {
  kNone,
  // Only programs that pass the public tests are drawn from: n
  // and c count among those. A program that is right and fails a public test
  // is dropped like any other.
  kPublic,
};

// The mean over problems of the unbiased pass@k (common/metrics/generation.h).
// A problem with fewer than k programs is filled up with wrong ones, so that
// one without programs has 0. In [0, 1].
// InvalidArgument: no problems, or k < 1.
absl::StatusOr<double> MeanPassAtK(
    const std::vector<std::vector<Sample>>& problems, int64_t k, Filter filter);

// The mean over problems of 1 - (1 - p)^k: pass@k where a program solves the
// problem with probability p. InvalidArgument: no probabilities, one outside
// [0, 1], or k < 1.
absl::StatusOr<double> ExpectedPassAtK(
    absl::Span<const double> solve_probabilities, int64_t k);

// The variance of a problem's pass@k from n programs of which each is right
// with probability p:
//   sum_c Binomial(c; n, p) (C(n - c, k) / C(n, k))^2 - (1 - p)^(2 k).
// InvalidArgument: unless 1 <= k <= n <= 100,000 and 0 <= p <= 1.
absl::StatusOr<double> PassAtKVariance(int64_t n, int64_t k, double p);

// How much better k programs are than one: (pass@k - pass@1) / pass@1.
// InvalidArgument: pass@1 not above 0.
absl::StatusOr<double> RelativeGain(double pass_at_1, double pass_at_k);

// D of a problem: the share of `pairs` of its programs whose ideas
// were not judged the same. similar <= pairs; pairs > 0, or InvalidArgument.
absl::StatusOr<double> Diversity(int64_t similar, int64_t pairs);

}  // namespace repro::plan_search

#endif  // REPRO_PAPERS_PLAN_SEARCH_SCORING_H_
