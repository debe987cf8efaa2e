#include "common/stats/interval.h"

#include <algorithm>
#include <boost/math/distributions/binomial.hpp>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/stats/check.h"
#include "common/stats/descriptive.h"
#include "common/status/macros.h"

namespace repro {

using stats_internal::CheckConfidence;
using stats_internal::CheckOrdered;

absl::StatusOr<Interval> MeanInterval(absl::Span<const double> values,
                                      double confidence) {
  REPRO_RETURN_IF_ERROR(CheckConfidence(confidence));
  REPRO_ASSIGN_OR_RETURN(const double deviation, StandardDeviation(values));
  REPRO_ASSIGN_OR_RETURN(const double mean, Mean(values));
  const boost::math::students_t_distribution<double> student(values.size() -
                                                             1.0);
  const double half_width = boost::math::quantile(boost::math::complement(
                                student, (1 - confidence) / 2)) *
                            deviation /
                            std::sqrt(static_cast<double>(values.size()));
  return Interval{mean - half_width, mean + half_width};
}

absl::StatusOr<MedianIntervalResult> MedianInterval(
    absl::Span<const double> values, double confidence) {
  REPRO_RETURN_IF_ERROR(CheckConfidence(confidence));
  REPRO_RETURN_IF_ERROR(CheckOrdered(values, 2));
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  const size_t size = sorted.size();
  const boost::math::binomial_distribution<double> below(size, 0.5);
  // Counts from 0: [sorted[rank], sorted[size - 1 - rank]].
  const auto coverage = [&](size_t rank) {
    return 1 - 2 * boost::math::cdf(below, static_cast<double>(rank));
  };
  size_t rank = 0;
  while (2 * (rank + 1) < size && coverage(rank + 1) >= confidence) ++rank;
  return MedianIntervalResult{{sorted[rank], sorted[size - 1 - rank]},
                              coverage(rank)};
}

absl::StatusOr<Interval> WilsonInterval(int64_t successes, int64_t trials,
                                        double confidence) {
  REPRO_RETURN_IF_ERROR(CheckConfidence(confidence));
  if (trials < 1 || successes < 0 || successes > trials) {
    return absl::InvalidArgumentError(absl::StrCat(
        successes, " successes of ", trials,
        " trials: at least one trial and 0 <= successes <= trials needed"));
  }
  const double z = boost::math::quantile(boost::math::complement(
      boost::math::normal_distribution<double>(), (1 - confidence) / 2));
  const double n = trials;
  const double proportion = successes / n;
  const double scale = 1 / (1 + z * z / n);
  const double center = (proportion + z * z / (2 * n)) * scale;
  const double half_width =
      z * scale *
      std::sqrt(proportion * (1 - proportion) / n + z * z / (4 * n * n));
  // At its ends the interval touches 0 or 1 exactly; rounding may miss it.
  return Interval{successes == 0 ? 0.0 : center - half_width,
                  successes == trials ? 1.0 : center + half_width};
}

}  // namespace repro
