#ifndef REPRO_COMMON_STATS_BOOTSTRAP_H_
#define REPRO_COMMON_STATS_BOOTSTRAP_H_

#include <cstdint>
#include <functional>
#include <random>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/stats/interval.h"

namespace repro {

// What is estimated: a number of a non-empty sample, such as its median.
using Statistic = std::function<double(absl::Span<const double>)>;

struct BootstrapOptions {
  int64_t resamples = 10000;
  double confidence = 0.95;
};

// Both draw `resamples` samples of the same size with replacement from
// `values` and evaluate `statistic` on each. The same generator state gives the
// same interval. InvalidArgument: fewer than 2 values, NaN or infinity in them,
// fewer than 1 resample, `confidence` not in (0, 1), a statistic that is not
// finite on the sample or on a resample.

// Percentile interval: the (1 -+ confidence) / 2 quantiles (type 7) of the
// resampled statistics (Efron and Tibshirani 1993, 13.3).
absl::StatusOr<Interval> PercentileBootstrap(
    absl::Span<const double> values, const Statistic& statistic,
    std::mt19937_64& generator, const BootstrapOptions& options = {});

// Bias-corrected and accelerated interval (Efron 1987; Efron and Tibshirani
// 1993, 14.3): second-order correct, the better one for skewed statistics. The
// bias correction counts a resample equal to the estimate as half below it, the
// acceleration is from the jackknife, so `statistic` is also evaluated on n - 1
// values. A statistic that no resample changes gives a point.
// FailedPrecondition: all resamples lie on one side of the estimate, where the
// method is not defined.
absl::StatusOr<Interval> BcaBootstrap(absl::Span<const double> values,
                                      const Statistic& statistic,
                                      std::mt19937_64& generator,
                                      const BootstrapOptions& options = {});

}  // namespace repro

#endif  // REPRO_COMMON_STATS_BOOTSTRAP_H_
