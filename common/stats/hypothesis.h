#ifndef REPRO_COMMON_STATS_HYPOTHESIS_H_
#define REPRO_COMMON_STATS_HYPOTHESIS_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace repro {

struct TestResult {
  double statistic = 0;
  double p_value = 1;  // two-sided
};

// Welch's t test of equal means of two normal populations with any variances:
// statistic t = (mean a - mean b) / sqrt(s_a^2 / n_a + s_b^2 / n_b), degrees of
// freedom by Welch and Satterthwaite. If neither sample varies the limit is
// returned: p 1 and t 0 for equal means, else p 0 and t +-infinity.
// InvalidArgument: a sample of fewer than 2 values, NaN, infinity.
absl::StatusOr<TestResult> WelchTest(absl::Span<const double> a,
                                     absl::Span<const double> b);

// Mann-Whitney rank test that neither population tends to larger values:
// statistic U = the number of pairs with a > b, ties counting one half. Exact
// p value when no two values are equal and there are at most 40 in all;
// otherwise the normal approximation with the correction of its variance for
// ties and a continuity correction of 1/2. Infinities are ordered as any value.
// InvalidArgument: an empty sample, NaN.
absl::StatusOr<TestResult> MannWhitneyTest(absl::Span<const double> a,
                                           absl::Span<const double> b);

// The z score of the test of equal proportions in two independent samples of
// n_a and n_b items: (a - b) / sqrt(p (1 - p) (1 / n_a + 1 / n_b)) with p the
// pooled proportion. InvalidArgument: a share outside [0, 1], a sample without
// items, or a pooled proportion of 0 or 1.
absl::StatusOr<double> TwoProportionZ(double a, int64_t n_a, double b,
                                      int64_t n_b);

}  // namespace repro

#endif  // REPRO_COMMON_STATS_HYPOTHESIS_H_
