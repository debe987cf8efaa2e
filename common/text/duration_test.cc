#include "common/text/duration.h"

#include <limits>

#include "gtest/gtest.h"

namespace repro {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

TEST(FormatDurationTest, ChoosesItsUnit) {
  EXPECT_EQ(FormatDuration(0.42), "0.4 s");
  EXPECT_EQ(FormatDuration(9.96), "10 s");
  EXPECT_EQ(FormatDuration(59.7), "1 min 0 s");
  EXPECT_EQ(FormatDuration(200), "3 min 20 s");
  EXPECT_EQ(FormatDuration(18130), "5 h 2 min");
  EXPECT_EQ(FormatDuration(kNan), "");
}

}  // namespace
}  // namespace repro
