#include "common/metrics/agreement.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace repro::metrics {
namespace {

TEST(CohenKappaTest, AgreesWithScikitLearn) {
  // sklearn.metrics.cohen_kappa_score(a, b, weights=None, "linear",
  // "quadratic")
  const std::vector<int64_t> a = {0, 1, 2, 3, 3, 1, 0, 2, 5};
  const std::vector<int64_t> b = {0, 1, 1, 3, 2, 1, 1, 2, 0};
  EXPECT_NEAR(*CohenKappa(a, b, KappaWeights::kNone), 0.4285714285714286,
              1e-14);
  EXPECT_NEAR(*CohenKappa(a, b, KappaWeights::kLinear), 0.42201834862385323,
              1e-14);
  EXPECT_NEAR(*CohenKappa(a, b, KappaWeights::kQuadratic), 0.2660944206008583,
              1e-14);
}

TEST(CohenKappaTest, Limits) {
  EXPECT_EQ(*CohenKappa({0, 1}, {0, 1}, KappaWeights::kNone), 1);
  EXPECT_EQ(*CohenKappa({0, 1}, {1, 0}, KappaWeights::kNone), -1);
  EXPECT_FALSE(CohenKappa({}, {}, KappaWeights::kNone).ok());
  EXPECT_FALSE(CohenKappa({1}, {}, KappaWeights::kNone).ok());
  EXPECT_FALSE(CohenKappa({1, 1}, {1, 1}, KappaWeights::kLinear).ok());
}

}  // namespace
}  // namespace repro::metrics
