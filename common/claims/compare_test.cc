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
  Claim claim;
  claim.set_direction(direction);
  return CompareMeasurements(before, after, claim).change;
}

Measurement WithEffects(const std::vector<double>& effects, Verdict verdict) {
  Measurement m = Sampled(effects);
  m.set_verdict(verdict);
  for (const double effect : effects) m.add_effects(effect);
  return m;
}

TEST(CompareTest, AnExactValueMustNotMove) {
  EXPECT_EQ(ChangeOf(Exact(2), Exact(2)), Change::kSame);
  EXPECT_EQ(ChangeOf(Exact(2), Exact(2 * (1 + 1e-12))), Change::kSame);
  EXPECT_EQ(ChangeOf(Exact(2e-15), Exact(1e-15)), Change::kSame);
  EXPECT_EQ(ChangeOf(Exact(2), Exact(2.0001)), Change::kRegressed);
  EXPECT_EQ(ChangeOf(Exact(2e-5), Exact(2.0001e-5)), Change::kRegressed);
  EXPECT_EQ(ChangeOf(Exact(NAN, DIFFERS), Exact(NAN, DIFFERS)), Change::kSame);
}

TEST(CompareTest, RoundingFarInsideAStatedToleranceIsNoMove) {
  Claim claim;
  claim.set_reported("0");
  claim.mutable_criterion()->mutable_tolerance()->set_absolute(0.001);
  const auto change = [&](double before, double after) {
    return CompareMeasurements(Exact(before), Exact(after), claim).change;
  };
  EXPECT_EQ(change(1.47e-7, 1.50e-7), Change::kSame);
  EXPECT_EQ(change(0, 0.99e-5), Change::kSame);
  EXPECT_EQ(change(0, 1.01e-5), Change::kRegressed);
  claim.mutable_criterion()->mutable_tolerance()->set_absolute(0);
  claim.mutable_criterion()->mutable_tolerance()->set_relative(0.1);
  claim.set_reported("-200");  // 20 allowed, 0.2 of it for rounding
  EXPECT_EQ(change(-200, -200.19), Change::kSame);
  EXPECT_EQ(change(-200, -200.21), Change::kRegressed);
}

TEST(CompareTest, AVerdictOnEffectsTurnsBeyondNoiseOnly) {
  const Measurement held = WithEffects({0.6, 0.7, 0.86}, HOLDS);
  EXPECT_EQ(ChangeOf(held, WithEffects({0.3, 0.6, 0.87}, DIFFERS)),
            Change::kMoved);
  EXPECT_EQ(ChangeOf(held, WithEffects({-3.1, -3.0, -2.9}, DIFFERS)),
            Change::kRegressed);
  EXPECT_EQ(ChangeOf(WithEffects({-3.1, -3.0, -2.9}, DIFFERS), held),
            Change::kImproved);
  // No spread, no test: the verdict alone decides.
  EXPECT_EQ(ChangeOf(held, WithEffects({0.3, 0.3, 0.3}, DIFFERS)),
            Change::kRegressed);
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
