#include "common/metrics/agreement.h"

#include <algorithm>
#include <cstdlib>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace repro::metrics {

absl::StatusOr<double> CohenKappa(const std::vector<int64_t>& first,
                                  const std::vector<int64_t>& second,
                                  KappaWeights weights) {
  if (first.size() != second.size() || first.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(first.size(), " and ", second.size(),
                     " grades: they must be equally many and at least one"));
  }
  std::vector<int64_t> grades = first;
  grades.insert(grades.end(), second.begin(), second.end());
  std::sort(grades.begin(), grades.end());
  grades.erase(std::unique(grades.begin(), grades.end()), grades.end());
  const auto rank = [&](int64_t grade) {
    return std::lower_bound(grades.begin(), grades.end(), grade) -
           grades.begin();
  };
  const auto disagreement = [&](int64_t i, int64_t j) -> double {
    const int64_t distance = std::abs(i - j);
    switch (weights) {
      case KappaWeights::kNone:
        return distance != 0;
      case KappaWeights::kLinear:
        return distance;
      case KappaWeights::kQuadratic:
        return distance * distance;
    }
    return 0;
  };
  std::vector<double> first_counts(grades.size(), 0);
  std::vector<double> second_counts(grades.size(), 0);
  double observed = 0;
  for (size_t item = 0; item < first.size(); ++item) {
    const int64_t i = rank(first[item]);
    const int64_t j = rank(second[item]);
    ++first_counts[i];
    ++second_counts[j];
    observed += disagreement(i, j);
  }
  double expected = 0;
  for (size_t i = 0; i < grades.size(); ++i) {
    for (size_t j = 0; j < grades.size(); ++j) {
      expected += disagreement(i, j) * first_counts[i] * second_counts[j];
    }
  }
  expected /= first.size();
  if (expected == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "all grades are ", grades.front(), ": kappa is not defined"));
  }
  return 1 - observed / expected;
}

}  // namespace repro::metrics
