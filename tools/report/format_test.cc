#include "tools/report/format.h"

#include <gtest/gtest.h>

#include <limits>

namespace repro {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

Measurement MakeMeasurement(double value) {
  Measurement measurement;
  measurement.set_value(value);
  return measurement;
}

Measurement MakeMeasurement(double value, double low, double high) {
  Measurement measurement = MakeMeasurement(value);
  measurement.mutable_interval()->set_low(low);
  measurement.mutable_interval()->set_high(high);
  return measurement;
}

TEST(FormatNumberTest, CountsAreWrittenInFull) {
  EXPECT_EQ(FormatNumber(4105800), "4105800");
  EXPECT_EQ(FormatNumber(38710096896), "38710096896");
  EXPECT_EQ(FormatNumber(0), "0");
  EXPECT_EQ(FormatNumber(-3), "-3");
}

TEST(FormatNumberTest, OthersHaveSixDigits) {
  EXPECT_EQ(FormatNumber(1.0 / 3), "0.333333");
  EXPECT_EQ(FormatNumber(1.23456789e-9), "1.23457e-09");
}

TEST(FormatNumberTest, NamesWhatIsNotFinite) {
  EXPECT_EQ(FormatNumber(kNan), "NaN");
  EXPECT_EQ(FormatNumber(kInfinity), "infinity");
  EXPECT_EQ(FormatNumber(-kInfinity), "-infinity");
}

TEST(FormatMeasuredTest, ShowsTwoDigitsMoreThanReported) {
  EXPECT_EQ(FormatMeasured(MakeMeasurement(4.10580012), "4.1"), "4.106");
  EXPECT_EQ(FormatMeasured(MakeMeasurement(199.829416), "200"), "199.83");
  EXPECT_EQ(FormatMeasured(MakeMeasurement(1.67249e-5), "1.672e-05"),
            "1.67249e-05");
}

TEST(FormatMeasuredTest, ShowsTwoDigitsOfTheInterval) {
  const Measurement measurement = MakeMeasurement(1.84213, 1.8201, 1.8641);
  EXPECT_EQ(FormatMeasured(measurement, "1.8"), "1.842");
  EXPECT_EQ(FormatInterval(measurement), "[1.820, 1.864]");
}

TEST(FormatMeasuredTest, AnIntervalOfNoWidthSaysNothingAboutDigits) {
  const Measurement measurement = MakeMeasurement(0.25, 0.25, 0.25);
  EXPECT_EQ(FormatMeasured(measurement, "0.2"), "0.250");
  EXPECT_EQ(FormatInterval(measurement), "[0.25, 0.25]");
}

TEST(FormatMeasuredTest, KeepsWhatIsNotFinite) {
  EXPECT_EQ(FormatMeasured(MakeMeasurement(kNan), "1.0"), "NaN");
  EXPECT_EQ(FormatMeasured(MakeMeasurement(kNan, kNan, kNan), "1.0"), "NaN");
  EXPECT_EQ(FormatInterval(MakeMeasurement(1, -kInfinity, kInfinity)),
            "[-infinity, infinity]");
}

TEST(FormatIntervalTest, IsEmptyWithoutOne) {
  EXPECT_EQ(FormatInterval(MakeMeasurement(1)), "");
}

TEST(ShortenTest, CutsTheMiddle) {
  EXPECT_EQ(Shorten("abcdefghij", 10), "abcdefghij");
  EXPECT_EQ(Shorten("abcdefghijk", 10), "abcde…hijk");
  EXPECT_EQ(Shorten("", 5), "");
}

TEST(ShortenTest, NeverCutsACharacterApart) {
  EXPECT_EQ(Shorten("ääääää", 6), "ääääää");
  EXPECT_EQ(Shorten("ääääääö", 4), "ää…ö");
}

}  // namespace
}  // namespace repro
