#ifndef REPRO_COMMON_STATS_CORRELATION_H_
#define REPRO_COMMON_STATS_CORRELATION_H_

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace repro {

// Spearman's rank correlation, equal values with their mean rank.
// InvalidArgument: fewer than 2 values, unequal lengths, NaN, or no variation.
absl::StatusOr<double> SpearmanCorrelation(absl::Span<const double> a,
                                           absl::Span<const double> b);

}  // namespace repro

#endif  // REPRO_COMMON_STATS_CORRELATION_H_
