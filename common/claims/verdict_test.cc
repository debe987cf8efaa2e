#include "common/claims/verdict.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace repro {
namespace {

using ::testing::HasSubstr;

Claim ClaimOf(Evidence evidence, const char* reported) {
  Claim claim;
  claim.set_evidence(evidence);
  claim.set_reported(reported);
  return claim;
}

Measurement Value(double value) {
  Measurement measurement;
  measurement.set_value(value);
  return measurement;
}

Measurement Samples(const std::vector<double>& samples) {
  Measurement measurement;
  for (const double sample : samples) {
    measurement.add_samples(sample);
    measurement.add_effects(sample);
    measurement.set_value(measurement.value() + sample / samples.size());
  }
  return measurement;
}

TEST(JudgeTest, RoundingIsTheDefault) {
  const Claim exact = ClaimOf(EXACT, "4.1");
  EXPECT_EQ(Judge(exact, Value(4.1058)).verdict, REPRODUCED);
  EXPECT_EQ(Judge(exact, Value(4.05)).verdict, REPRODUCED);  // the half
  EXPECT_EQ(Judge(exact, Value(4.049)).verdict, DIFFERS);
  EXPECT_EQ(Judge(exact, Value(-4.1)).verdict, DIFFERS);
  EXPECT_EQ(Judge(exact, Value(NAN)).verdict, DIFFERS);
  EXPECT_EQ(Judge(ClaimOf(REPLAY, "4.1"), Value(4.1)).verdict, REPRODUCED);
}

TEST(JudgeTest, ToleranceOfZeroIsEquality) {
  Claim claim = ClaimOf(EXACT, "2.0");
  claim.mutable_criterion()->mutable_tolerance();
  EXPECT_EQ(Judge(claim, Value(2.0)).verdict, REPRODUCED);
  EXPECT_EQ(Judge(claim, Value(std::nextafter(2.0, 3))).verdict, DIFFERS);
}

TEST(JudgeTest, ToleranceTakesTheLargerOfAbsoluteAndRelative) {
  Claim claim = ClaimOf(EXACT, "-200");
  claim.mutable_criterion()->mutable_tolerance()->set_absolute(1);
  EXPECT_EQ(Judge(claim, Value(-201)).verdict, REPRODUCED);
  EXPECT_EQ(Judge(claim, Value(-201.01)).verdict, DIFFERS);
  claim.mutable_criterion()->mutable_tolerance()->set_relative(0.1);
  EXPECT_EQ(Judge(claim, Value(-219)).verdict, REPRODUCED);
  EXPECT_EQ(Judge(claim, Value(200)).verdict, DIFFERS);  // the sign
}

// Three seeds 1, 2, 3: mean 2, s = 1, t_{2, 0.975} = 4.302653 (tables), so the
// interval is 2 +- 4.302653 / sqrt(3) = [-0.484138, 4.484138].
TEST(JudgeTest, EffectNeedsTheWholeInterval) {
  Claim claim = ClaimOf(SCALED, "75.4");
  const Measurement measurement = Samples({1, 2, 3});
  auto* effect = claim.mutable_criterion()->mutable_effect();
  effect->set_at_least(-0.4842);
  EXPECT_EQ(Judge(claim, measurement).verdict, HOLDS);
  effect->set_at_least(-0.4841);
  EXPECT_EQ(Judge(claim, measurement).verdict, DIFFERS);
  effect->set_at_most(4.4842);
  EXPECT_EQ(Judge(claim, measurement).verdict, HOLDS);
  effect->set_at_most(4.4841);
  EXPECT_EQ(Judge(claim, measurement).verdict, DIFFERS);
}

TEST(JudgeTest, WithinNeedsTheWholeInterval) {
  Claim claim = ClaimOf(EXACT, "98.9");
  auto* within = claim.mutable_criterion()->mutable_within();
  within->set_low(-0.4842);
  within->set_high(4.4842);
  EXPECT_EQ(Judge(claim, Samples({1, 2, 3})).verdict, REPRODUCED);
  within->set_high(4.4841);
  EXPECT_EQ(Judge(claim, Samples({1, 2, 3})).verdict, DIFFERS);
}

TEST(JudgeTest, ZeroVarianceIsAPoint) {
  Claim claim = ClaimOf(SCALED, "1");
  claim.mutable_criterion()->mutable_effect()->set_at_least(0.5);
  EXPECT_EQ(Judge(claim, Samples({0.5, 0.5, 0.5})).verdict, HOLDS);
  EXPECT_EQ(Judge(claim, Samples({0.4, 0.4, 0.4})).verdict, DIFFERS);
}

TEST(JudgeTest, FewSeedsDecideNothing) {
  Claim claim = ClaimOf(SCALED, "1");
  claim.mutable_criterion()->mutable_effect()->set_at_least(0);
  for (const auto& samples : {std::vector<double>{}, {5.0}, {5.0, 5.0}}) {
    const Judgement judgement = Judge(claim, Samples(samples));
    EXPECT_EQ(judgement.verdict, DIFFERS) << samples.size();
    EXPECT_THAT(judgement.reason, HasSubstr("undecided"));
  }
  EXPECT_EQ(Judge(claim, Samples({5, 5, NAN})).verdict, DIFFERS);
}

// 4 sigmas, sd 0.05, 10 seeds on both sides: 4 * 0.05 * sqrt(0.2) = 0.0894427.
TEST(JudgeTest, SamplingCountsBothSidesSeeds) {
  Claim claim = ClaimOf(EXACT, "1.9");
  auto* sampling = claim.mutable_criterion()->mutable_sampling();
  sampling->set_reported_sd(0.05);
  sampling->set_reported_seeds(10);
  sampling->set_sigmas(4);
  EXPECT_EQ(Judge(claim, Samples(std::vector<double>(10, 1.9894))).verdict,
            REPRODUCED);
  EXPECT_EQ(Judge(claim, Samples(std::vector<double>(10, 1.9895))).verdict,
            DIFFERS);
  EXPECT_EQ(Judge(claim, Samples({1.9})).verdict, DIFFERS);
}

TEST(JudgeTest, RankTestNeedsAPValue) {
  Claim claim = ClaimOf(EXACT, "1");
  claim.mutable_criterion()->mutable_rank_test()->set_min_p(0.01);
  Measurement measurement = Samples({1, 2, 3});
  EXPECT_EQ(Judge(claim, measurement).verdict, DIFFERS);
  measurement.set_p_value(0.01);
  EXPECT_EQ(Judge(claim, measurement).verdict, REPRODUCED);
  measurement.set_p_value(0.0099);
  EXPECT_EQ(Judge(claim, measurement).verdict, DIFFERS);
  measurement.set_p_value(NAN);
  EXPECT_EQ(Judge(claim, measurement).verdict, DIFFERS);
}

}  // namespace
}  // namespace repro
