#include "common/claims/printed_number.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace repro {
namespace {

TEST(ParsePrintedNumberTest, KnowsTheLastPlace) {
  const struct {
    const char* text;
    double value, last_place;
  } cases[] = {
      {"4.1", 4.1, 0.1},
      {"200", 200, 1},
      {"-0.50", -0.5, 0.01},
      {"+3", 3, 1},
      {".5", 0.5, 0.1},
      {"1.672e-05", 1.672e-5, 1e-8},
      {"5.3012E-05", 5.3012e-5, 1e-9},
      {"115605504", 115605504, 1},
      {"2e3", 2000, 1000},
  };
  for (const auto& c : cases) {
    const auto parsed = ParsePrintedNumber(c.text);
    ASSERT_TRUE(parsed.ok()) << c.text;
    EXPECT_DOUBLE_EQ(parsed->value, c.value) << c.text;
    EXPECT_NEAR(parsed->last_place / c.last_place, 1, 1e-12) << c.text;
  }
}

TEST(ParsePrintedNumberTest, RejectsWhatIsNoNumber) {
  for (const char* text :
       {"", "-", "4.", "n/a", "1,000", "nan", "inf", "4.1%", "1e", "1e+",
        "1e999", " 4", "4 ", "0x10", "1.2.3", "--4"}) {
    EXPECT_EQ(ParsePrintedNumber(text).status().code(),
              absl::StatusCode::kInvalidArgument)
        << "'" << text << "'";
  }
}

TEST(RoundsToTest, TakesTheHalfBothWays) {
  const PrintedNumber printed = *ParsePrintedNumber("4.1");
  EXPECT_TRUE(RoundsTo(4.1, printed));
  EXPECT_TRUE(RoundsTo(4.05, printed));
  EXPECT_TRUE(RoundsTo(4.15, printed));
  EXPECT_FALSE(RoundsTo(4.0499, printed));
  EXPECT_FALSE(RoundsTo(4.1501, printed));
}

TEST(RoundsToTest, MindsTheSign) {
  const PrintedNumber printed = *ParsePrintedNumber("-0.5");
  EXPECT_TRUE(RoundsTo(-0.52, printed));
  EXPECT_FALSE(RoundsTo(0.5, printed));
}

TEST(RoundsToTest, IsStrictForCountsAndNeverAgreesWithNan) {
  const PrintedNumber printed = *ParsePrintedNumber("115605504");
  EXPECT_TRUE(RoundsTo(115605504, printed));
  EXPECT_FALSE(RoundsTo(115605505, printed));
  EXPECT_FALSE(RoundsTo(std::numeric_limits<double>::quiet_NaN(), printed));
  EXPECT_FALSE(RoundsTo(std::numeric_limits<double>::infinity(), printed));
}

}  // namespace
}  // namespace repro
