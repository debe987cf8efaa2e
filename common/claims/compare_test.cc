#include "common/claims/compare.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace repro {
namespace {

Measurement Exact(double value, Verdict verdict = REPRODUCED) {
  Measurement m;
  m.set_paper("toy");
  m.set_claim("a");
  m.set_evidence(EXACT);
  m.set_value(value);
  m.set_verdict(verdict);
  return m;
}

Measurement Sampled(const std::vector<double>& samples) {
  Measurement m = Exact(0, HOLDS);
  m.set_evidence(SCALED);
  for (const double sample : samples) {
    m.add_samples(sample);
    m.set_value(m.value() + sample / samples.size());
  }
  return m;
}

Change ChangeOf(const Measurement& before, const Measurement& after,
                Direction direction = DIRECTION_UNSPECIFIED) {
  return CompareMeasurements(before, after, direction).change;
}

TEST(CompareTest, AnExactValueMustNotMove) {
  EXPECT_EQ(ChangeOf(Exact(2), Exact(2)), Change::kSame);
  EXPECT_EQ(ChangeOf(Exact(2), Exact(2 * (1 + 1e-12))), Change::kSame);
  EXPECT_EQ(ChangeOf(Exact(2e-15), Exact(1e-15)), Change::kSame);
  EXPECT_EQ(ChangeOf(Exact(2), Exact(2.0001)), Change::kRegressed);
  EXPECT_EQ(ChangeOf(Exact(2e-5), Exact(2.0001e-5)), Change::kRegressed);
  EXPECT_EQ(ChangeOf(Exact(NAN, DIFFERS), Exact(NAN, DIFFERS)), Change::kSame);
}

TEST(CompareTest, AVerdictThatTurnsIsARegressionWhateverTheValue) {
  EXPECT_EQ(ChangeOf(Exact(2), Exact(2, DIFFERS)), Change::kRegressed);
  EXPECT_EQ(ChangeOf(Exact(2, DIFFERS), Exact(2)), Change::kImproved);
  EXPECT_EQ(ChangeOf(Exact(2, DIFFERS), Exact(2, DIFFERS)), Change::kSame);
}

TEST(CompareTest, SampledValuesMoveBeyondNoiseOnly) {
  const Measurement before = Sampled({1.0, 1.1, 0.9, 1.05, 0.95});
  const Measurement near = Sampled({1.02, 1.1, 0.95, 1.0, 0.97});
  const Measurement far = Sampled({2.0, 2.1, 1.9, 2.05, 1.95});
  EXPECT_EQ(ChangeOf(before, near, HIGHER_IS_BETTER), Change::kSame);
  EXPECT_EQ(ChangeOf(before, far, HIGHER_IS_BETTER), Change::kImproved);
  EXPECT_EQ(ChangeOf(before, far, LOWER_IS_BETTER), Change::kRegressed);
  EXPECT_EQ(ChangeOf(far, before, HIGHER_IS_BETTER), Change::kRegressed);
  EXPECT_EQ(ChangeOf(before, far), Change::kMoved);
}

TEST(CompareTest, OneSampleIsJudgedByTheOtherSidesInterval) {
  Measurement before = Sampled({1.0, 1.2, 0.8});
  before.mutable_interval()->set_low(0.5);
  before.mutable_interval()->set_high(1.5);
  EXPECT_EQ(ChangeOf(before, Sampled({1.4}), HIGHER_IS_BETTER), Change::kSame);
  EXPECT_EQ(ChangeOf(before, Sampled({0.4}), HIGHER_IS_BETTER),
            Change::kRegressed);
}

TEST(CompareTest, AnotherVersionOfAClaimIsNotCompared) {
  Measurement after = Exact(7);
  after.set_claim_version(1);
  EXPECT_EQ(ChangeOf(Exact(2), after), Change::kNew);
}

TEST(CompareTest, ListsWhatOnlyOneSideHas) {
  Result before, after;
  *before.add_measurements() = Exact(1);
  *after.add_measurements() = Exact(1);
  after.mutable_measurements(0)->set_claim("b");
  const auto changes = CompareResults(before, after, {});
  ASSERT_EQ(changes.size(), 2u);
  EXPECT_EQ(changes[0].change, Change::kNotMeasured);
  EXPECT_EQ(changes[1].change, Change::kNew);
  EXPECT_FALSE(HasRegression(changes));
  *after.mutable_measurements(0) = Exact(3);
  EXPECT_TRUE(HasRegression(CompareResults(before, after, {})));
}

}  // namespace
}  // namespace repro
