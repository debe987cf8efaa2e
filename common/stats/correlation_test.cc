#include "common/stats/correlation.h"

#include <cmath>
#include <limits>
#include <vector>

#include "gtest/gtest.h"

namespace repro {
namespace {

TEST(SpearmanCorrelationTest, WithoutTiesIsTheFormulaOfDifferences) {
  // 1 - 6 sum d^2 / (n (n^2 - 1)).
  const std::vector<double> a = {3, 1, 4, 1.5, 9, 2.6, 5};
  const std::vector<double> b = {2, 7, 1, 8, 2.8, 1.8, 4};
  const std::vector<double> ranks_a = {4, 1, 5, 2, 7, 3, 6};
  const std::vector<double> ranks_b = {3, 6, 1, 7, 4, 2, 5};
  double squares = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    squares += std::pow(ranks_a[i] - ranks_b[i], 2);
  }
  EXPECT_NEAR(*SpearmanCorrelation(a, b), 1 - 6 * squares / (7 * 48), 1e-12);
  EXPECT_NEAR(*SpearmanCorrelation(a, a), 1, 1e-12);
}

TEST(SpearmanCorrelationTest, TiesShareTheirMeanRank) {
  // Ranks 1, 2.5, 2.5, 4 and 1, 3, 2, 4: covariance 4.5, squares 4.5 and 5.
  EXPECT_NEAR(*SpearmanCorrelation({1, 2, 2, 4}, {1, 3, 2, 4}),
              4.5 / std::sqrt(4.5 * 5), 1e-12);
}

TEST(SpearmanCorrelationTest, RefusesWhatHasNone) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_FALSE(SpearmanCorrelation({}, {}).ok());
  EXPECT_FALSE(SpearmanCorrelation({1}, {1}).ok());
  EXPECT_FALSE(SpearmanCorrelation({1, 2}, {1, 2, 3}).ok());
  EXPECT_FALSE(SpearmanCorrelation({1, nan}, {1, 2}).ok());
  EXPECT_FALSE(SpearmanCorrelation({1, 2}, {5, 5}).ok());
}

}  // namespace
}  // namespace repro
