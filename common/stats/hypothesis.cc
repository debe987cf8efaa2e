#include "common/stats/hypothesis.h"

#include <algorithm>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/stats/check.h"
#include "common/stats/descriptive.h"
#include "common/status/macros.h"

namespace repro {
namespace {

constexpr size_t kMaxExactSize = 40;

// P(U >= u) under the null for samples of sizes `m` and `n` without ties. All
// subsets of m of the ranks 0..m+n-1 are equally likely, and U is their sum
// less 0 + 1 + ... + (m-1). counts[k][s]: subsets of k ranks with sum s; a
// double holds them exactly up to 40 values.
double ExactUpperTail(size_t m, size_t n, size_t u) {
  const size_t offset = m * (m - 1) / 2;
  const size_t max_sum = offset + m * n;
  std::vector<std::vector<double>> counts(m + 1,
                                          std::vector<double>(max_sum + 1));
  counts[0][0] = 1;
  for (size_t rank = 0; rank < m + n; ++rank) {
    for (size_t k = std::min(m, rank + 1); k >= 1; --k) {
      for (size_t sum = rank; sum <= max_sum; ++sum) {
        counts[k][sum] += counts[k - 1][sum - rank];
      }
    }
  }
  double tail = 0;
  double total = 0;
  for (size_t sum = offset; sum <= max_sum; ++sum) {
    total += counts[m][sum];
    if (sum >= offset + u) tail += counts[m][sum];
  }
  return tail / total;
}

}  // namespace

absl::StatusOr<TestResult> WelchTest(absl::Span<const double> a,
                                     absl::Span<const double> b) {
  REPRO_ASSIGN_OR_RETURN(const double deviation_a, StandardDeviation(a));
  REPRO_ASSIGN_OR_RETURN(const double deviation_b, StandardDeviation(b));
  REPRO_ASSIGN_OR_RETURN(const double mean_a, Mean(a));
  REPRO_ASSIGN_OR_RETURN(const double mean_b, Mean(b));
  const double difference = mean_a - mean_b;
  const double variance_a = deviation_a * deviation_a / a.size();
  const double variance_b = deviation_b * deviation_b / b.size();
  const double variance = variance_a + variance_b;
  if (!std::isfinite(variance) || !std::isfinite(difference)) {
    return absl::OutOfRangeError("the values are too large for a double");
  }
  if (variance == 0) {
    if (difference == 0) return TestResult{0, 1};
    return TestResult{
        std::copysign(std::numeric_limits<double>::infinity(), difference), 0};
  }
  // Shares of the variance instead of its squares, which could underflow.
  const double share_a = variance_a / variance;
  const double share_b = variance_b / variance;
  const double freedom = 1 / (share_a * share_a / (a.size() - 1.0) +
                              share_b * share_b / (b.size() - 1.0));
  const double t = difference / std::sqrt(variance);
  const boost::math::students_t_distribution<double> student(freedom);
  return TestResult{
      t, 2 * boost::math::cdf(boost::math::complement(student, std::abs(t)))};
}

absl::StatusOr<TestResult> MannWhitneyTest(absl::Span<const double> a,
                                           absl::Span<const double> b) {
  REPRO_RETURN_IF_ERROR(stats_internal::CheckOrdered(a, 1));
  REPRO_RETURN_IF_ERROR(stats_internal::CheckOrdered(b, 1));
  std::vector<std::pair<double, bool>> pooled;  // value, whether from `a`
  pooled.reserve(a.size() + b.size());
  for (const double value : a) pooled.emplace_back(value, true);
  for (const double value : b) pooled.emplace_back(value, false);
  std::sort(pooled.begin(), pooled.end());

  const double m = a.size();
  const double n = b.size();
  double u = 0;
  double tie_term = 0;  // sum of t^3 - t over groups of t equal values
  double b_below = 0;
  for (size_t begin = 0; begin < pooled.size();) {
    size_t end = begin;
    double a_here = 0;
    for (; end < pooled.size() && pooled[end].first == pooled[begin].first;
         ++end) {
      a_here += pooled[end].second;
    }
    const double size = end - begin;
    const double b_here = size - a_here;
    u += a_here * (b_below + b_here / 2);
    b_below += b_here;
    tie_term += size * size * size - size;
    begin = end;
  }

  const double larger = std::max(u, m * n - u);
  if (tie_term == 0 && pooled.size() <= kMaxExactSize) {
    const double tail =
        ExactUpperTail(a.size(), b.size(), static_cast<size_t>(larger));
    return TestResult{u, std::min(1.0, 2 * tail)};
  }
  const double total = m + n;
  const double variance =
      m * n / 12 * (total + 1 - tie_term / (total * (total - 1)));
  // All values equal: every U is n m / 2, which says nothing.
  if (variance <= 0) return TestResult{u, 1};
  const double z = (larger - m * n / 2 - 0.5) / std::sqrt(variance);
  const double tail = boost::math::cdf(
      boost::math::complement(boost::math::normal_distribution<double>(), z));
  return TestResult{u, std::min(1.0, 2 * tail)};
}

absl::StatusOr<double> TwoProportionZ(double a, int64_t n_a, double b,
                                      int64_t n_b) {
  if (!(a >= 0 && a <= 1 && b >= 0 && b <= 1) || n_a < 1 || n_b < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("two proportions: ", a, " of ", n_a, " and ", b, " of ",
                     n_b, "; expected shares in [0, 1] of at least one item"));
  }
  const auto size_a = static_cast<double>(n_a);
  const auto size_b = static_cast<double>(n_b);
  const double pooled = (a * size_a + b * size_b) / (size_a + size_b);
  const double variance = pooled * (1 - pooled) * (1 / size_a + 1 / size_b);
  if (!(variance > 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("two proportions: both are ", a, ", without variance"));
  }
  return (a - b) / std::sqrt(variance);
}

}  // namespace repro
