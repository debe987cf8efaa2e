#ifndef REPRO_COMMON_STATS_CORRELATION_H_
#define REPRO_COMMON_STATS_CORRELATION_H_

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace repro {

// Both: InvalidArgument for fewer than 2 values, unequal lengths, NaN, or one
// side of equal values.

// Pearson's r. InvalidArgument: infinity. OutOfRange: the sum exceeds a double.
absl::StatusOr<double> PearsonCorrelation(absl::Span<const double> a,
                                          absl::Span<const double> b);

// Spearman's rank correlation, equal values with their mean rank.
absl::StatusOr<double> SpearmanCorrelation(absl::Span<const double> a,
                                           absl::Span<const double> b);

}  // namespace repro

#endif  // REPRO_COMMON_STATS_CORRELATION_H_
