#include "common/stats/correlation.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/stats/check.h"
#include "common/stats/descriptive.h"
#include "common/status/macros.h"

namespace repro {
namespace {

// Ranks from 1; equal values share the mean of theirs.
std::vector<double> AverageRanks(absl::Span<const double> values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(),
            [&](size_t i, size_t j) { return values[i] < values[j]; });
  std::vector<double> ranks(values.size());
  for (size_t first = 0; first < order.size();) {
    size_t last = first;
    while (last + 1 < order.size() &&
           values[order[last + 1]] == values[order[first]]) {
      ++last;
    }
    for (size_t i = first; i <= last; ++i) {
      ranks[order[i]] = 1 + 0.5 * static_cast<double>(first + last);
    }
    first = last + 1;
  }
  return ranks;
}

}  // namespace

absl::StatusOr<double> PearsonCorrelation(absl::Span<const double> a,
                                          absl::Span<const double> b) {
  if (a.size() != b.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "correlation of ", a.size(), " and ", b.size(), " values"));
  }
  for (const absl::Span<const double> values : {a, b}) {
    REPRO_RETURN_IF_ERROR(stats_internal::CheckFinite(values, 2));
    // Not by the squares, which rounding of the mean can keep above 0.
    if (std::count(values.begin(), values.end(), values[0]) ==
        static_cast<int64_t>(values.size())) {
      return absl::InvalidArgumentError("correlation of equal values");
    }
  }
  REPRO_ASSIGN_OR_RETURN(const double mean_a, Mean(a));
  REPRO_ASSIGN_OR_RETURN(const double mean_b, Mean(b));
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double x = a[i] - mean_a, y = b[i] - mean_b;
    ab += x * y;
    aa += x * x;
    bb += y * y;
  }
  return ab / std::sqrt(aa * bb);
}

absl::StatusOr<double> SpearmanCorrelation(absl::Span<const double> a,
                                           absl::Span<const double> b) {
  for (const absl::Span<const double> values : {a, b}) {
    REPRO_RETURN_IF_ERROR(stats_internal::CheckOrdered(values, 2));
  }
  return PearsonCorrelation(AverageRanks(a), AverageRanks(b));
}

}  // namespace repro
