#include "common/stats/correlation.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

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

absl::StatusOr<double> SpearmanCorrelation(absl::Span<const double> a,
                                           absl::Span<const double> b) {
  const auto nan = [](double x) { return std::isnan(x); };
  if (a.size() != b.size() || a.size() < 2 ||
      std::any_of(a.begin(), a.end(), nan) ||
      std::any_of(b.begin(), b.end(), nan)) {
    return absl::InvalidArgumentError(absl::StrCat("rank correlation of ",
                                                   a.size(), " and ", b.size(),
                                                   " values, or of NaN"));
  }
  const std::vector<double> ranks_a = AverageRanks(a),
                            ranks_b = AverageRanks(b);
  const double mean = 0.5 * static_cast<double>(a.size() + 1);
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double x = ranks_a[i] - mean, y = ranks_b[i] - mean;
    ab += x * y;
    aa += x * x;
    bb += y * y;
  }
  if (aa == 0 || bb == 0) {
    return absl::InvalidArgumentError("rank correlation of equal values");
  }
  return ab / std::sqrt(aa * bb);
}

}  // namespace repro
