#include "common/stats/descriptive.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/stats/check.h"
#include "common/status/macros.h"

namespace repro {
namespace {

using stats_internal::CheckFinite;
using stats_internal::CheckOrdered;

absl::StatusOr<double> CheckOverflow(double value) {
  if (std::isfinite(value)) return value;
  return absl::OutOfRangeError(
      "the values are so large that their sum or the sum of their squares "
      "exceeds a double");
}

// The second pass removes the rounding of the first, so that the mean of equal
// values is that value and their variance is 0.
double FiniteMean(absl::Span<const double> values) {
  const double size = values.size();
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / size;
  double residual = 0;
  for (const double value : values) residual += value - mean;
  return mean + residual / size;
}

}  // namespace

absl::StatusOr<double> Mean(absl::Span<const double> values) {
  REPRO_RETURN_IF_ERROR(CheckFinite(values, 1));
  return CheckOverflow(FiniteMean(values));
}

absl::StatusOr<double> StandardDeviation(absl::Span<const double> values) {
  REPRO_RETURN_IF_ERROR(CheckFinite(values, 2));
  const double mean = FiniteMean(values);
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return CheckOverflow(std::sqrt(squares / (values.size() - 1)));
}

absl::StatusOr<double> Quantile(absl::Span<const double> values,
                                double probability) {
  REPRO_RETURN_IF_ERROR(CheckOrdered(values, 1));
  if (!(probability >= 0 && probability <= 1)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "probability is ", probability, ", it must lie in [0, 1]"));
  }
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  const double position = (sorted.size() - 1) * probability;
  const size_t index = static_cast<size_t>(position);
  const double fraction = position - index;
  const double low = sorted[index];
  if (fraction == 0) return low;
  const double high = sorted[index + 1];
  if (low == high) return low;
  // low + fraction * (high - low) would be NaN beside an infinity.
  const double value = (1 - fraction) * low + fraction * high;
  if (std::isnan(value)) {
    return absl::InvalidArgumentError(
        "the quantile lies between -infinity and +infinity");
  }
  return value;
}

absl::StatusOr<double> Median(absl::Span<const double> values) {
  return Quantile(values, 0.5);
}

}  // namespace repro
