#include "papers/asap/replication.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/stats/descriptive.h"

namespace repro::asap {

absl::StatusOr<double> RunStatistic(absl::Span<const double> runs,
                                    absl::string_view name) {
  if (name == "mean") return Mean(runs);
  if (name == "median") return Median(runs);
  if (name == "standard deviation") return StandardDeviation(runs);
  if (name == "minimum") return Quantile(runs, 0);
  if (name == "maximum") return Quantile(runs, 1);
  return absl::InvalidArgumentError(
      absl::StrCat("no statistic \"", name,
                   "\": mean, median, standard deviation, minimum or maximum"));
}

int RunsBelow(absl::Span<const double> runs, double claimed) {
  return static_cast<int>(std::count_if(
      runs.begin(), runs.end(), [&](double bleu) { return bleu < claimed; }));
}

}  // namespace repro::asap
