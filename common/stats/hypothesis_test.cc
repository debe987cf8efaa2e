#include "common/stats/hypothesis.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "absl/status/status.h"

namespace repro {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

const std::vector<double> kA = {0.71, 0.74, 0.69, 0.78, 0.73};
const std::vector<double> kB = {0.66, 0.7, 0.64, 0.72, 0.61, 0.68};

TEST(WelchTest, AgreesWithScipy) {
  // stats.ttest_ind(a, b, equal_var=False)
  EXPECT_NEAR(WelchTest(kA, kB)->statistic, 2.7593505708515407, 1e-12);
  EXPECT_NEAR(WelchTest(kA, kB)->p_value, 0.022156720137576937, 1e-12);
  EXPECT_NEAR(WelchTest(kB, kA)->statistic, -2.7593505708515407, 1e-12);
  EXPECT_NEAR(WelchTest(kB, kA)->p_value, 0.022156720137576937, 1e-12);
  // stats.ttest_ind([1,2,3,4,5,6,7,8], [2.5,2.5], equal_var=False)
  const auto result = WelchTest({1, 2, 3, 4, 5, 6, 7, 8}, {2.5, 2.5});
  EXPECT_NEAR(result->statistic, 2.3094010767585034, 1e-12);
  EXPECT_NEAR(result->p_value, 0.05423462816928098, 1e-12);
}

TEST(WelchTest, WithoutVarianceIsTheLimit) {
  EXPECT_EQ(WelchTest({1, 1}, {1, 1, 1})->p_value, 1);
  EXPECT_EQ(WelchTest({1, 1}, {1, 1, 1})->statistic, 0);
  EXPECT_EQ(WelchTest({1, 1}, {2, 2})->p_value, 0);
  EXPECT_EQ(WelchTest({1, 1}, {2, 2})->statistic, -kInf);
}

// Numbers at the ends of the range must not reach Boost as NaN, where it
// throws.
TEST(WelchTest, ExtremeValuesGiveAnAnswerOrAnError) {
  EXPECT_EQ(WelchTest({1e200, -1e200}, {1, 2}).status().code(),
            absl::StatusCode::kOutOfRange);
  EXPECT_EQ(WelchTest({1e154, -8e153}, {1e154, -8e153})->p_value, 1);
  EXPECT_EQ(WelchTest({1e308, 1e308}, {1, 2}).ok(), false);
  EXPECT_EQ(WelchTest({1e300, 1e300}, {1e-150, 2e-150})->p_value, 0);
  EXPECT_EQ(WelchTest({1e-170, 2e-170}, {1e-170, 2e-170})->p_value, 1);
}

TEST(WelchTest, RejectsBadInput) {
  EXPECT_FALSE(WelchTest({}, kB).ok());
  EXPECT_FALSE(WelchTest({1}, kB).ok());
  EXPECT_FALSE(WelchTest(kA, {1}).ok());
  EXPECT_FALSE(WelchTest(kA, {1, kNan}).ok());
  EXPECT_FALSE(WelchTest({1, kInf}, kB).ok());
}

TEST(MannWhitneyTest, ExactAgreesWithScipy) {
  // stats.mannwhitneyu(a, b, method='exact')
  EXPECT_EQ(MannWhitneyTest(kA, kB)->statistic, 27);
  EXPECT_NEAR(MannWhitneyTest(kA, kB)->p_value, 0.030303030303030304, 1e-15);
  EXPECT_EQ(MannWhitneyTest(kB, kA)->statistic, 3);
  EXPECT_NEAR(MannWhitneyTest(kB, kA)->p_value, 0.030303030303030304, 1e-15);
  // stats.mannwhitneyu([19,22,16,29,24], [20,11,17,12], method='exact')
  const auto result = MannWhitneyTest({19, 22, 16, 29, 24}, {20, 11, 17, 12});
  EXPECT_EQ(result->statistic, 17);
  EXPECT_NEAR(result->p_value, 1 / 9.0, 1e-15);
  // stats.mannwhitneyu(range(20), [i + 4.5 for i in range(20)], method='exact')
  std::vector<double> a, b;
  for (int i = 0; i < 20; ++i) {
    a.push_back(i);
    b.push_back(i + 4.5);
  }
  EXPECT_EQ(MannWhitneyTest(a, b)->statistic, 120);
  EXPECT_NEAR(MannWhitneyTest(a, b)->p_value, 0.030411256038764864, 1e-13);
}

// Separated samples: one of the C(m + n, m) orders at each end.
TEST(MannWhitneyTest, ExactIsCombinatorialForSeparatedSamples) {
  EXPECT_NEAR(MannWhitneyTest({1, 2, 3}, {4, 5, 6})->p_value, 2 / 20.0, 1e-15);
  EXPECT_NEAR(MannWhitneyTest({1, 2, 3, 4, 5}, {6, 7, 8, kInf})->p_value,
              2 / 126.0, 1e-15);
  EXPECT_EQ(MannWhitneyTest({1}, {2})->p_value, 1);
}

TEST(MannWhitneyTest, ApproximationAgreesWithScipy) {
  // stats.mannwhitneyu([1,2,2,3,5,5,8,9], [2,4,5,6,7,7,7],
  //                    method='asymptotic')
  auto result =
      MannWhitneyTest({1, 2, 2, 3, 5, 5, 8, 9}, {2, 4, 5, 6, 7, 7, 7});
  EXPECT_EQ(result->statistic, 21);
  EXPECT_NEAR(result->p_value, 0.44700338561295216, 1e-13);
  // stats.mannwhitneyu(range(25), [i + 6.5 for i in range(20)],
  //                    method='asymptotic')
  std::vector<double> a, b;
  for (int i = 0; i < 25; ++i) a.push_back(i);
  for (int i = 0; i < 20; ++i) b.push_back(i + 6.5);
  result = MannWhitneyTest(a, b);
  EXPECT_EQ(result->statistic, 171);
  EXPECT_NEAR(result->p_value, 0.07296231449886623, 1e-13);
}

TEST(MannWhitneyTest, EqualValuesSayNothing) {
  EXPECT_EQ(MannWhitneyTest({2, 2, 2}, {2, 2})->p_value, 1);
  EXPECT_EQ(MannWhitneyTest({2, 2, 2}, {2, 2})->statistic, 3);
}

TEST(MannWhitneyTest, RejectsBadInput) {
  EXPECT_FALSE(MannWhitneyTest({}, kB).ok());
  EXPECT_FALSE(MannWhitneyTest(kA, {}).ok());
  EXPECT_FALSE(MannWhitneyTest(kA, {kNan}).ok());
}

TEST(TwoProportionZTest, SquaredIsTheChiSquareOfTheTable) {
  // n (ad - bc)^2 / (row and column sums), for 40 of 100 and 90 of 150.
  const double chi_square = 250.0 * (40.0 * 60 - 60.0 * 90) *
                            (40.0 * 60 - 60.0 * 90) / (100.0 * 150 * 130 * 120);
  const auto z = TwoProportionZ(0.4, 100, 0.6, 150);
  ASSERT_TRUE(z.ok());
  EXPECT_LT(*z, 0);
  EXPECT_NEAR(*z * *z, chi_square, 1e-12);
  EXPECT_TRUE(absl::IsInvalidArgument(TwoProportionZ(1, 5, 1, 5).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(TwoProportionZ(.5, 0, .5, 5).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(TwoProportionZ(1.5, 5, .5, 5).status()));
}

}  // namespace
}  // namespace repro
