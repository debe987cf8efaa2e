#include "common/stats/descriptive.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace repro {
namespace {

using ::testing::HasSubstr;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

const std::vector<double> kSample = {0.71, 0.74, 0.69, 0.78, 0.73};

TEST(DescriptiveTest, AgreesWithNumpy) {
  // a = [0.71, 0.74, 0.69, 0.78, 0.73]; np.mean(a), np.std(a, ddof=1)
  EXPECT_NEAR(*Mean(kSample), 0.73, 1e-15);
  EXPECT_NEAR(*StandardDeviation(kSample), 0.033911649915626375, 1e-15);
  // np.median([0.66, 0.7, 0.64, 0.72, 0.61, 0.68])
  EXPECT_NEAR(*Median({0.66, 0.7, 0.64, 0.72, 0.61, 0.68}), 0.67, 1e-15);
  // np.quantile([3.1, -2.0, 7.5, 0.25, 4.0, 11.0, 1.5], p)
  const std::vector<double> values = {3.1, -2.0, 7.5, 0.25, 4.0, 11.0, 1.5};
  EXPECT_EQ(*Quantile(values, 0), -2.0);
  EXPECT_NEAR(*Quantile(values, 0.1), -0.65, 1e-14);
  EXPECT_NEAR(*Quantile(values, 0.25), 0.875, 1e-14);
  EXPECT_NEAR(*Quantile(values, 0.6), 3.64, 1e-14);
  EXPECT_NEAR(*Quantile(values, 0.975), 10.475, 1e-13);
  EXPECT_EQ(*Quantile(values, 1), 11.0);
}

// The variance of 1..n is n (n + 1) / 12; a large shift must not change it.
TEST(DescriptiveTest, DeviationOfConsecutiveNumbersIsItsClosedForm) {
  for (const double shift : {0.0, 1e9}) {
    std::vector<double> values;
    for (int i = 1; i <= 101; ++i) values.push_back(shift + i);
    EXPECT_NEAR(*Mean(values), shift + 51, 1e-6);
    EXPECT_NEAR(*StandardDeviation(values), std::sqrt(101 * 102 / 12.0), 1e-9);
  }
}

TEST(DescriptiveTest, EqualValuesHaveNoDeviation) {
  for (const double value : {0.1, 1 / 3.0, 0.7, 1e-300, 123456.789}) {
    for (const int size : {2, 3, 7, 10, 1000}) {
      const std::vector<double> values(size, value);
      EXPECT_EQ(*Mean(values), value);
      EXPECT_EQ(*StandardDeviation(values), 0);
      EXPECT_EQ(*Quantile(values, 0.37), value);
    }
  }
}

TEST(DescriptiveTest, QuantilesOrderInfinities) {
  EXPECT_EQ(*Median({1, kInf, 2}), 2);
  EXPECT_EQ(*Median({1, kInf}), kInf);
  EXPECT_EQ(*Median({-kInf, 1}), -kInf);
  EXPECT_EQ(*Quantile({1, 2, kInf}, 0.5), 2);
  EXPECT_THAT(std::string(Median({-kInf, kInf}).status().message()),
              HasSubstr("between -infinity and +infinity"));
}

TEST(DescriptiveTest, OverflowIsAnError) {
  EXPECT_EQ(Mean({1e308, 1e308}).status().code(),
            absl::StatusCode::kOutOfRange);
  EXPECT_EQ(StandardDeviation({1e200, -1e200}).status().code(),
            absl::StatusCode::kOutOfRange);
}

TEST(DescriptiveTest, RejectsBadInput) {
  EXPECT_FALSE(Mean({}).ok());
  EXPECT_FALSE(Median({}).ok());
  EXPECT_FALSE(StandardDeviation({}).ok());
  EXPECT_THAT(std::string(StandardDeviation({1}).status().message()),
              HasSubstr("1 values given, at least 2 needed"));
  EXPECT_THAT(std::string(Mean({1, kNan}).status().message()),
              HasSubstr("value 1 is NaN"));
  EXPECT_FALSE(Median({1, kNan, 3}).ok());
  EXPECT_FALSE(Mean({1, kInf}).ok());
  EXPECT_FALSE(StandardDeviation({1, -kInf}).ok());
  EXPECT_FALSE(Quantile({1, 2}, -0.01).ok());
  EXPECT_FALSE(Quantile({1, 2}, 1.01).ok());
  EXPECT_FALSE(Quantile({1, 2}, kNan).ok());
}

}  // namespace
}  // namespace repro
