#include "common/stats/bootstrap.h"

#include <algorithm>
#include <boost/math/distributions/normal.hpp>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/stats/check.h"
#include "common/stats/descriptive.h"
#include "common/status/macros.h"

namespace repro {
namespace {

absl::StatusOr<double> Evaluate(const Statistic& statistic,
                                absl::Span<const double> values,
                                absl::string_view what) {
  const double value = statistic(values);
  if (std::isfinite(value)) return value;
  return absl::InvalidArgumentError(
      absl::StrCat("the statistic is ", value, " on ", what));
}

absl::StatusOr<std::vector<double>> Resample(absl::Span<const double> values,
                                             const Statistic& statistic,
                                             std::mt19937_64& generator,
                                             const BootstrapOptions& options) {
  REPRO_RETURN_IF_ERROR(stats_internal::CheckFinite(values, 2));
  REPRO_RETURN_IF_ERROR(stats_internal::CheckConfidence(options.confidence));
  if (options.resamples < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(options.resamples, " resamples, at least 1 needed"));
  }
  std::uniform_int_distribution<size_t> index(0, values.size() - 1);
  std::vector<double> sample(values.size());
  std::vector<double> statistics;
  statistics.reserve(options.resamples);
  for (int64_t i = 0; i < options.resamples; ++i) {
    for (double& value : sample) value = values[index(generator)];
    REPRO_ASSIGN_OR_RETURN(const double value,
                           Evaluate(statistic, sample, "a resample"));
    statistics.push_back(value);
  }
  return statistics;
}

// sum d^3 / (6 (sum d^2)^1.5) with d the jackknife's deviations from its mean;
// 0 where leaving out a value never changes the statistic.
absl::StatusOr<double> Acceleration(absl::Span<const double> values,
                                    const Statistic& statistic) {
  std::vector<double> jackknife;
  jackknife.reserve(values.size());
  std::vector<double> sample(values.begin() + 1, values.end());
  for (size_t left_out = 0; left_out < values.size(); ++left_out) {
    REPRO_ASSIGN_OR_RETURN(
        const double value,
        Evaluate(statistic, sample, "a jackknife sample (one value left out)"));
    jackknife.push_back(value);
    if (left_out < sample.size()) sample[left_out] = values[left_out];
  }
  REPRO_ASSIGN_OR_RETURN(const double mean, Mean(jackknife));
  // The ratio does not depend on the scale: 1 keeps powers within a double.
  double scale = 0;
  for (const double value : jackknife) {
    scale = std::max(scale, std::abs(mean - value));
  }
  if (scale == 0) return 0;
  double squares = 0;
  double cubes = 0;
  for (const double value : jackknife) {
    const double deviation = (mean - value) / scale;
    squares += deviation * deviation;
    cubes += deviation * deviation * deviation;
  }
  return cubes / (6 * std::pow(squares, 1.5));
}

}  // namespace

absl::StatusOr<Interval> PercentileBootstrap(absl::Span<const double> values,
                                             const Statistic& statistic,
                                             std::mt19937_64& generator,
                                             const BootstrapOptions& options) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<double> statistics,
                         Resample(values, statistic, generator, options));
  REPRO_ASSIGN_OR_RETURN(const double low,
                         Quantile(statistics, (1 - options.confidence) / 2));
  REPRO_ASSIGN_OR_RETURN(const double high,
                         Quantile(statistics, (1 + options.confidence) / 2));
  return Interval{low, high};
}

absl::StatusOr<Interval> BcaBootstrap(absl::Span<const double> values,
                                      const Statistic& statistic,
                                      std::mt19937_64& generator,
                                      const BootstrapOptions& options) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<double> statistics,
                         Resample(values, statistic, generator, options));
  REPRO_ASSIGN_OR_RETURN(const double estimate,
                         Evaluate(statistic, values, "the sample"));
  double below = 0;
  double equal = 0;
  for (const double value : statistics) {
    below += value < estimate;
    equal += value == estimate;
  }
  const double count = statistics.size();
  if (equal == count) return Interval{estimate, estimate};
  const double proportion = (below + equal / 2) / count;
  if (proportion == 0 || proportion == 1) {
    return absl::FailedPreconditionError(absl::StrCat(
        "all ", statistics.size(),
        " resamples lie on one side of the estimate ", estimate,
        ": the BCa interval is not defined, use the percentile one"));
  }
  REPRO_ASSIGN_OR_RETURN(const double acceleration,
                         Acceleration(values, statistic));
  const boost::math::normal_distribution<double> normal;
  const double bias = boost::math::quantile(normal, proportion);
  const auto end = [&](double tail) -> absl::StatusOr<double> {
    const double z = bias + boost::math::quantile(normal, tail);
    const double level =
        boost::math::cdf(normal, bias + z / (1 - acceleration * z));
    return Quantile(statistics, level);
  };
  REPRO_ASSIGN_OR_RETURN(const double low, end((1 - options.confidence) / 2));
  REPRO_ASSIGN_OR_RETURN(const double high, end((1 + options.confidence) / 2));
  return Interval{low, high};
}

}  // namespace repro
