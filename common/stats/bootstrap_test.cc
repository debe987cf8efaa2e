#include "common/stats/bootstrap.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "common/stats/descriptive.h"

namespace repro {
namespace {

using ::testing::HasSubstr;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

double MeanOf(absl::Span<const double> values) { return *Mean(values); }
double DeviationOf(absl::Span<const double> values) {
  return *StandardDeviation(values);
}

const std::vector<double> kSkewed = {0.12, 0.35, 0.41, 0.58, 0.77, 0.93,
                                     1.10, 1.42, 1.88, 2.35, 3.10, 4.60};

// rng = np.random.default_rng(0)
// stats.bootstrap((kSkewed,), statistic, n_resamples=1000000, batch=100000,
//                 method=method, rng=rng).confidence_interval
// The standard error of an end over 200000 resamples is about 0.004 for the
// farthest one (level 0.995, density 0.04): five of them are allowed, a quarter
// of the distance between the two methods.
TEST(BootstrapTest, AgreesWithScipy) {
  constexpr double kTolerance = 0.02;
  const BootstrapOptions options{200000, 0.95};
  std::mt19937_64 generator(7);
  auto interval = PercentileBootstrap(kSkewed, MeanOf, generator, options);
  EXPECT_NEAR(interval->low, 0.8183333333333332, kTolerance);
  EXPECT_NEAR(interval->high, 2.2408333333333332, kTolerance);
  interval = BcaBootstrap(kSkewed, MeanOf, generator, options);
  EXPECT_NEAR(interval->low, 0.9016666666666664, kTolerance);
  EXPECT_NEAR(interval->high, 2.411666666666667, kTolerance);
  // statistic: lambda x, axis=-1: np.std(x, axis=axis, ddof=1)
  interval = PercentileBootstrap(kSkewed, DeviationOf, generator, options);
  EXPECT_NEAR(interval->low, 0.5728133653426319, kTolerance);
  EXPECT_NEAR(interval->high, 1.7847197386296438, kTolerance);
  interval = BcaBootstrap(kSkewed, DeviationOf, generator, options);
  EXPECT_NEAR(interval->low, 0.8063930164440272, kTolerance);
  EXPECT_NEAR(interval->high, 2.026668426801858, kTolerance);
}

// Among all 3^3 resamples of {0, 1, 5} the sums 0, 1, 11 and 15 occur 1, 3, 3
// and 1 times: the mean jumps over level 0.1 at 1/3 (from 1/27 to 4/27) and
// over 0.9 at 11/3 (from 23/27 to 26/27), farther than 10000 draws can stray.
TEST(BootstrapTest, AgreesWithAllResamplesOfASmallSample) {
  std::mt19937_64 generator(3);
  const auto interval =
      PercentileBootstrap({0, 1, 5}, MeanOf, generator, {10000, 0.8});
  EXPECT_DOUBLE_EQ(interval->low, 1 / 3.0);
  EXPECT_DOUBLE_EQ(interval->high, 11 / 3.0);
}

// rng = np.random.default_rng(0)
// stats.bootstrap(([0,0,0,1,1,4],), np.mean, n_resamples=200000, batch=50000,
//                 confidence_level=0.8, method='bca', rng=rng)
// A seventh of the resamples equal the estimate. The levels that BCa reads,
// 0.167 and 0.954 among all 6^6 resamples, lie inside the jumps at these
// values, (0.078, 0.182) and (0.949, 0.972), by seven standard errors of 200000
// draws.
TEST(BootstrapTest, BcaCountsResamplesEqualToTheEstimateAsHalfBelow) {
  std::mt19937_64 generator(9);
  const auto interval =
      BcaBootstrap({0, 0, 0, 1, 1, 4}, MeanOf, generator, {200000, 0.8});
  EXPECT_DOUBLE_EQ(interval->low, 0.3333333333333333);
  EXPECT_DOUBLE_EQ(interval->high, 2.1666666666666665);
}

TEST(BootstrapTest, TheGeneratorDecides) {
  const auto run = [](uint64_t seed) {
    std::mt19937_64 generator(seed);
    return *BcaBootstrap(kSkewed, MeanOf, generator, {500, 0.9});
  };
  EXPECT_EQ(run(1).low, run(1).low);
  EXPECT_EQ(run(1).high, run(1).high);
  EXPECT_NE(run(1).low, run(2).low);
}

TEST(BootstrapTest, EqualValuesGiveAPoint) {
  std::mt19937_64 generator(1);
  const std::vector<double> values(5, 0.3);
  EXPECT_EQ(BcaBootstrap(values, MeanOf, generator)->low, 0.3);
  EXPECT_EQ(BcaBootstrap(values, MeanOf, generator)->high, 0.3);
  EXPECT_EQ(PercentileBootstrap(values, MeanOf, generator)->high, 0.3);
}

TEST(BootstrapTest, RejectsBadInput) {
  std::mt19937_64 generator(1);
  EXPECT_FALSE(PercentileBootstrap({}, MeanOf, generator).ok());
  EXPECT_FALSE(PercentileBootstrap({1}, MeanOf, generator).ok());
  EXPECT_FALSE(BcaBootstrap({1, kNan}, MeanOf, generator).ok());
  EXPECT_FALSE(BcaBootstrap({1, 2}, MeanOf, generator, {0, 0.95}).ok());
  EXPECT_FALSE(BcaBootstrap({1, 2}, MeanOf, generator, {10, 1}).ok());
  const auto broken = [](absl::Span<const double>) { return kNan; };
  EXPECT_THAT(
      std::string(
          PercentileBootstrap({1, 2}, broken, generator).status().message()),
      HasSubstr("the statistic is nan on a resample"));
}

TEST(BootstrapTest, IntervalsScaleWithTheStatistic) {
  const auto run = [](double scale) {
    std::mt19937_64 generator(1);
    const auto scaled = [&](absl::Span<const double> sample) {
      return scale * MeanOf(sample);
    };
    return *BcaBootstrap(kSkewed, scaled, generator, {500, 0.9});
  };
  for (const double scale : {1e160, 1e-165}) {
    EXPECT_NEAR(run(scale).low / scale, run(1).low, 1e-12) << scale;
    EXPECT_NEAR(run(scale).high / scale, run(1).high, 1e-12) << scale;
  }
}

// A statistic of the whole sample that every resample with a repeated value
// falls short of.
TEST(BootstrapTest, BcaNeedsResamplesOnBothSides) {
  std::vector<double> values;
  for (int i = 0; i < 30; ++i) values.push_back(i);
  const auto distinct = [](absl::Span<const double> sample) {
    std::vector<double> sorted(sample.begin(), sample.end());
    std::sort(sorted.begin(), sorted.end());
    return static_cast<double>(std::unique(sorted.begin(), sorted.end()) -
                               sorted.begin());
  };
  std::mt19937_64 generator(1);
  const auto interval = BcaBootstrap(values, distinct, generator, {1000, 0.95});
  EXPECT_EQ(interval.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(interval.status().message()),
              HasSubstr("all 1000 resamples lie on one side"));
}

}  // namespace
}  // namespace repro
