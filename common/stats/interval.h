#ifndef REPRO_COMMON_STATS_INTERVAL_H_
#define REPRO_COMMON_STATS_INTERVAL_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace repro {

// A closed interval; a point when low == high.
struct Interval {
  double low = 0;
  double high = 0;
};

// Two-sided Student t interval of the mean of a normal population:
// mean +- t_{n-1, (1+confidence)/2} s / sqrt(n). Equal values give a point.
// InvalidArgument: fewer than 2 values, NaN, infinity, `confidence` not in
// (0, 1).
absl::StatusOr<Interval> MeanInterval(absl::Span<const double> values,
                                      double confidence = 0.95);

struct MedianIntervalResult {
  Interval interval;
  // The probability that the interval covers the median of a continuous
  // population, whatever its distribution. At least `confidence`, unless the
  // sample is too small for any interval to reach it.
  double coverage = 0;
};

// The narrowest symmetric order-statistic interval [x_(r), x_(n+1-r)] of the
// median that covers with at least `confidence`: the largest r with
// 1 - 2 P(Binomial(n, 1/2) < r) >= confidence (David and Nagaraja, Order
// Statistics, 7.1). When even [min, max] covers less (n < 6 at 0.95) that is
// returned, with `coverage` = 1 - 2^(1-n) below `confidence`: look at it.
// InvalidArgument: fewer than 2 values, NaN, `confidence` not in (0, 1).
absl::StatusOr<MedianIntervalResult> MedianInterval(
    absl::Span<const double> values, double confidence = 0.95);

// Wilson's score interval of a proportion, without continuity correction
// (Wilson 1927). InvalidArgument: no trials, `successes` outside [0, trials],
// `confidence` not in (0, 1).
absl::StatusOr<Interval> WilsonInterval(int64_t successes, int64_t trials,
                                        double confidence = 0.95);

}  // namespace repro

#endif  // REPRO_COMMON_STATS_INTERVAL_H_
