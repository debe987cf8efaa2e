#include "common/metrics/qa.h"

#include <gtest/gtest.h>

namespace repro::metrics {
namespace {

TEST(NormalizeAnswerTest, IsSquads) {
  EXPECT_EQ(NormalizeAnswer("  The U.S. is an ISLAND, a  big one!"),
            "us is island big one");
  // Word boundaries: "the" inside of a word stays; a dash of Unicode bounds.
  EXPECT_EQ(NormalizeAnswer("Theatre other\u2014the\u2014an_a"),
            "theatre other\u2014 \u2014ana");
  EXPECT_EQ(NormalizeAnswer("a"), "");
  EXPECT_EQ(NormalizeAnswer("\u00c9a a\u00e9"), "\u00e9a a\u00e9");
}

TEST(NormalizeAnswerTest, Chinese) {
  // The original's list holds the closing 》 only.
  EXPECT_EQ(NormalizeChineseAnswer("《热诚传说》， A b。\u3000“京”"),
            "《热诚传说ab京");
}

TEST(TokenF1Test, CountsMultisets) {
  // P = 2/3, R = 2/4.
  EXPECT_DOUBLE_EQ(TokenF1({"a", "a", "b"}, {"a", "a", "c", "d"}), 4 / 7.0);
  EXPECT_EQ(TokenF1({"a"}, {}), 0);
  EXPECT_EQ(TokenF1({}, {}), 0);
}

TEST(QaF1Test, NormalizesBoth) {
  EXPECT_EQ(QaF1("The cat!", "a cat"), 1);
  EXPECT_DOUBLE_EQ(QaF1("black cat", "the cat"), 2 / 3.0);
  EXPECT_EQ(QaF1("", "the"), 0);
  EXPECT_EQ(ChineseQaF1({" ", "热诚", "。"}, {"热诚", "，"}), 1);
  // 2 of 3 characters each.
  EXPECT_DOUBLE_EQ(ChineseCharacterF1("胡一刀", "胡一 剑。"), 2 / 3.0);
}

}  // namespace
}  // namespace repro::metrics
