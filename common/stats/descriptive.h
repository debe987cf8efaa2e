#ifndef REPRO_COMMON_STATS_DESCRIPTIVE_H_
#define REPRO_COMMON_STATS_DESCRIPTIVE_H_

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace repro {

// The arithmetic mean. InvalidArgument: empty, NaN, infinity. OutOfRange: the
// sum exceeds a double.
absl::StatusOr<double> Mean(absl::Span<const double> values);

// The sample standard deviation, sqrt(sum (x - mean)^2 / (n - 1)); exactly 0
// for equal values. InvalidArgument: fewer than 2 values, NaN, infinity.
// OutOfRange: the squares exceed a double.
absl::StatusOr<double> StandardDeviation(absl::Span<const double> values);

// The `probability` quantile by linear interpolation at (n - 1) * probability
// of the sorted values: type 7 of Hyndman and Fan (1996), the default of numpy
// and R. Infinities are ordered as any value. InvalidArgument: empty, NaN,
// `probability` outside [0, 1], or a quantile strictly between -inf and +inf.
absl::StatusOr<double> Quantile(absl::Span<const double> values,
                                double probability);

// Quantile at 0.5: the middle value, or the mean of the two in the middle.
absl::StatusOr<double> Median(absl::Span<const double> values);

}  // namespace repro

#endif  // REPRO_COMMON_STATS_DESCRIPTIVE_H_
