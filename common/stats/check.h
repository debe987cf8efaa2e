#ifndef REPRO_COMMON_STATS_CHECK_H_
#define REPRO_COMMON_STATS_CHECK_H_

#include <cstddef>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace repro::stats_internal {

// InvalidArgument unless there are at least `least` values and none is NaN.
absl::Status CheckOrdered(absl::Span<const double> values, size_t least);

// The same, and no value is infinite: what sums and squares need.
absl::Status CheckFinite(absl::Span<const double> values, size_t least);

// InvalidArgument unless 0 < confidence < 1.
absl::Status CheckConfidence(double confidence);

}  // namespace repro::stats_internal

#endif  // REPRO_COMMON_STATS_CHECK_H_
