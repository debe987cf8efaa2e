#include "common/stats/correlation.h"

#include <cmath>
#include <limits>
#include <vector>

#include "gtest/gtest.h"

namespace repro {
namespace {

TEST(PearsonCorrelationTest, WorkedExamples) {
  // Means 2 and 4: products -1 * -3 + 0 * 1 + 1 * 2 = 5, squares 2 and 14.
  EXPECT_NEAR(*PearsonCorrelation({1, 2, 3}, {1, 5, 6}), 5 / std::sqrt(28.0),
              1e-15);
  // A straight line, far from 0 and steep or flat.
  std::vector<double> a, up, down;
  for (int i = 0; i < 50; ++i) {
    a.push_back(1e6 + std::sin(i));
    up.push_back(3e-5 * std::sin(i) + 2);
    down.push_back(-4e7 * std::sin(i));
  }
  EXPECT_NEAR(*PearsonCorrelation(a, up), 1, 1e-9);
  EXPECT_NEAR(*PearsonCorrelation(a, down), -1, 1e-9);
  // Invariant: (x, y) -> (y, x), and a shift of either.
  EXPECT_NEAR(*PearsonCorrelation({1, 4, 2, 8}, {0, 1, 0, 1}),
              *PearsonCorrelation({10, 11, 10, 11}, {1, 4, 2, 8}), 1e-15);
}

TEST(PearsonCorrelationTest, RefusesWhatHasNone) {
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_FALSE(PearsonCorrelation({}, {}).ok());
  EXPECT_FALSE(PearsonCorrelation({1}, {1}).ok());
  EXPECT_FALSE(PearsonCorrelation({1, 2}, {1, 2, 3}).ok());
  EXPECT_FALSE(PearsonCorrelation({1, infinity}, {1, 2}).ok());
  EXPECT_FALSE(PearsonCorrelation({1, 2, 3}, {.1, .1, .1}).ok());
}

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
  // Infinity has a rank.
  EXPECT_EQ(*SpearmanCorrelation(
                {1, 2, std::numeric_limits<double>::infinity()}, {1, 2, 3}),
            1);
}

}  // namespace
}  // namespace repro
