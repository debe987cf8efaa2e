#include "common/stats/interval.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace repro {
namespace {

using ::testing::HasSubstr;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

TEST(MeanIntervalTest, AgreesWithScipy) {
  // a = [0.71, 0.74, 0.69, 0.78, 0.73]
  // stats.t.interval(0.95, len(a) - 1, np.mean(a), stats.sem(a)), then 0.99
  const std::vector<double> values = {0.71, 0.74, 0.69, 0.78, 0.73};
  EXPECT_NEAR(MeanInterval(values)->low, 0.687893125180077, 1e-13);
  EXPECT_NEAR(MeanInterval(values)->high, 0.772106874819923, 1e-13);
  EXPECT_NEAR(MeanInterval(values, 0.99)->low, 0.6601754441159129, 1e-13);
  EXPECT_NEAR(MeanInterval(values, 0.99)->high, 0.7998245558840871, 1e-13);
}

// With one degree of freedom t is Cauchy: its quantile is tan(pi (p - 1/2)).
TEST(MeanIntervalTest, TwoValuesGiveTheCauchyQuantile) {
  const double half_width = std::tan(M_PI * 0.475);  // s / sqrt(n) is 1
  EXPECT_NEAR(MeanInterval({1, 3})->low, 2 - half_width, 1e-12);
  EXPECT_NEAR(MeanInterval({1, 3})->high, 2 + half_width, 1e-12);
}

TEST(MeanIntervalTest, EqualValuesGiveAPoint) {
  EXPECT_EQ(MeanInterval({0.1, 0.1, 0.1})->low, 0.1);
  EXPECT_EQ(MeanInterval({0.1, 0.1, 0.1})->high, 0.1);
}

TEST(MeanIntervalTest, RejectsBadInput) {
  EXPECT_FALSE(MeanInterval({}).ok());
  EXPECT_THAT(std::string(MeanInterval({1}).status().message()),
              HasSubstr("at least 2 needed"));
  EXPECT_FALSE(MeanInterval({1, kNan}).ok());
  EXPECT_FALSE(MeanInterval({1, kInf}).ok());
  for (const double confidence : {0.0, 1.0, -0.5, 95.0, kNan}) {
    EXPECT_FALSE(MeanInterval({1, 2}, confidence).ok()) << confidence;
  }
}

// The largest r with 1 - 2 * stats.binom.cdf(r - 1, n, 0.5) >= 0.95, and that
// coverage. The sample is n..1, so that x_(r) = r.
TEST(MedianIntervalTest, AgreesWithScipy) {
  struct Case {
    int n, rank;
    double coverage;
  };
  for (const Case& c :
       {Case{6, 1, 0.96875}, Case{10, 2, 0.978515625}, Case{11, 2, 0.98828125},
        Case{25, 8, 0.9567147493362427}, Case{100, 40, 0.9647997997822951}}) {
    std::vector<double> values;
    for (int i = c.n; i >= 1; --i) values.push_back(i);
    const auto result = MedianInterval(values);
    ASSERT_TRUE(result.ok());
    EXPECT_EQ(result->interval.low, c.rank) << c.n;
    EXPECT_EQ(result->interval.high, c.n + 1 - c.rank) << c.n;
    EXPECT_NEAR(result->coverage, c.coverage, 1e-12) << c.n;
  }
}

TEST(MedianIntervalTest, SmallSamplesGiveTheRangeAndSayWhatItCovers) {
  const auto result = MedianInterval({4, 1, 3, 2, 5});
  EXPECT_EQ(result->interval.low, 1);
  EXPECT_EQ(result->interval.high, 5);
  EXPECT_NEAR(result->coverage, 0.9375, 1e-15);  // 1 - 2^-4
  EXPECT_NEAR(MedianInterval({2, 1})->coverage, 0.5, 1e-15);
}

// The stated coverage is exact for any continuous distribution: with 20000
// exponential samples its standard error is at most 0.4 / sqrt(20000) = 0.0028.
TEST(MedianIntervalTest, CoversAsStated) {
  std::mt19937_64 generator(1);
  std::exponential_distribution<double> exponential(1);
  constexpr int kTrials = 20000;
  int covered = 0;
  double stated = 0;
  for (int trial = 0; trial < kTrials; ++trial) {
    std::vector<double> values(15);
    for (double& value : values) value = exponential(generator);
    const auto result = MedianInterval(values, 0.8);
    stated = result->coverage;
    covered += result->interval.low <= std::log(2) &&
               std::log(2) <= result->interval.high;
  }
  EXPECT_GE(stated, 0.8);
  EXPECT_NEAR(covered / static_cast<double>(kTrials), stated, 5 * 0.0028);
}

TEST(MedianIntervalTest, RejectsBadInput) {
  EXPECT_FALSE(MedianInterval({}).ok());
  EXPECT_FALSE(MedianInterval({1}).ok());
  EXPECT_FALSE(MedianInterval({1, kNan}).ok());
  EXPECT_FALSE(MedianInterval({1, 2}, 1).ok());
  EXPECT_EQ(MedianInterval({1, kInf})->interval.high, kInf);
}

TEST(WilsonIntervalTest, AgreesWithScipy) {
  // stats.binomtest(k, n).proportion_ci(confidence, method='wilson')
  EXPECT_EQ(WilsonInterval(0, 10)->low, 0);
  EXPECT_NEAR(WilsonInterval(0, 10)->high, 0.27753279986288926, 1e-13);
  EXPECT_NEAR(WilsonInterval(7, 10)->low, 0.39677814746114526, 1e-13);
  EXPECT_NEAR(WilsonInterval(7, 10)->high, 0.892208732593699, 1e-13);
  EXPECT_NEAR(WilsonInterval(10, 10)->low, 0.7224672001371109, 1e-13);
  EXPECT_EQ(WilsonInterval(10, 10)->high, 1);
  EXPECT_NEAR(WilsonInterval(137, 164, 0.99)->low, 0.7480444239780947, 1e-13);
  EXPECT_NEAR(WilsonInterval(137, 164, 0.99)->high, 0.8966068296116222, 1e-13);
}

TEST(WilsonIntervalTest, StaysWithinZeroAndOne) {
  for (int trials = 1; trials <= 300; ++trials) {
    for (const double confidence : {0.5, 0.9, 0.95, 0.999}) {
      EXPECT_EQ(WilsonInterval(0, trials, confidence)->low, 0) << trials;
      EXPECT_EQ(WilsonInterval(trials, trials, confidence)->high, 1) << trials;
    }
  }
}

TEST(WilsonIntervalTest, RejectsBadInput) {
  EXPECT_FALSE(WilsonInterval(0, 0).ok());
  EXPECT_FALSE(WilsonInterval(-1, 5).ok());
  EXPECT_THAT(std::string(WilsonInterval(6, 5).status().message()),
              HasSubstr("6 successes of 5 trials"));
  EXPECT_FALSE(WilsonInterval(1, 5, 0).ok());
}

}  // namespace
}  // namespace repro
