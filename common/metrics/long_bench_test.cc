#include "common/metrics/long_bench.h"

#include <gtest/gtest.h>

namespace repro::metrics {
namespace {

TEST(LongBenchTest, FirstLine) {
  EXPECT_EQ(FirstLine("\n\na b\nc"), "a b");
  EXPECT_EQ(FirstLine("a"), "a");
  EXPECT_EQ(FirstLine("\n"), "");
}

TEST(LongBenchTest, Classification) {
  EXPECT_EQ(ClassificationScore("a City or a State", "City",
                                {"City", "State", "Other"}),
            0.5);
  EXPECT_EQ(ClassificationScore("a City", "State", {"City", "State"}), 0);
  // "number" is part of the truth and does not count against it.
  EXPECT_EQ(ClassificationScore("Other number", "Other number",
                                {"number", "Other number"}),
            1);
  // Removing "ab" moves "bc" into its place, which is then not examined.
  EXPECT_EQ(ClassificationScore("abc", "abc", {"ab", "bc", "abc"}), 0.5);
}

TEST(LongBenchTest, DigitRuns) {
  EXPECT_EQ(DigitRunScore("Paragraph 12, not 3", "Paragraph 12"), 0.5);
  EXPECT_EQ(DigitRunScore("段落27", "段落27"), 1);
  EXPECT_EQ(DigitRunScore("none", "7"), 0);
  EXPECT_EQ(DigitRunScore("07", "7"), 0);
}

TEST(LongBenchTest, CodeSimilarity) {
  // fuzzywuzzy.fuzz.ratio("return self.value", "return value") is 83.
  EXPECT_DOUBLE_EQ(CodeSimilarity("\n# no\n``` python\nreturn self.value\nx",
                                  "return value"),
                   0.83);
  EXPECT_EQ(CodeSimilarity("# only", "x"), 0);
  EXPECT_EQ(CodeSimilarity("x", "x"), 1);
}

}  // namespace
}  // namespace repro::metrics
