#include "common/metrics/needle.h"

#include <gtest/gtest.h>

namespace repro::metrics {
namespace {

TEST(NeedleTest, RulerMatches) {
  EXPECT_EQ(*ContainedShare("It is ABC and 12.", {"abc", "12", "zz", "3"}),
            0.5);
  EXPECT_EQ(*ContainsAny("It is ABC", {"zz", "abc"}), 1);
  EXPECT_EQ(*ContainsAny("It is ABC", {"zz"}), 0);
  EXPECT_FALSE(ContainedShare("a", {}).ok());
  EXPECT_FALSE(ContainsAny("a", {}).ok());
}

TEST(NeedleTest, DigitAccuracy) {
  EXPECT_EQ(*DigitAccuracy("The key is 12345.", "12345"), 1);
  EXPECT_EQ(*DigitAccuracy("1 2x3", "12345"), 3 / 5.0);
  EXPECT_EQ(*DigitAccuracy("2345", "12345"), 0);
  EXPECT_EQ(*DigitAccuracy("12945678", "12345"), 4 / 5.0);
  EXPECT_EQ(*DigitAccuracy("", "12345"), 0);
  EXPECT_FALSE(DigitAccuracy("1", "").ok());
  EXPECT_FALSE(DigitAccuracy("1", "12a").ok());
}

}  // namespace
}  // namespace repro::metrics
