#include "common/metrics/python_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/metrics/ngrams.h"

namespace repro::metrics {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(PythonTextTest, CodePointsAndBack) {
  EXPECT_THAT(CodePoints("aé京😀"), ElementsAre('a', 0xE9, 0x4EAC, 0x1F600));
  std::string text;
  for (const int32_t c : CodePoints("aé京😀")) AppendUtf8(c, &text);
  EXPECT_EQ(text, "aé京😀");
  // A lone continuation byte, and a sequence that is cut off.
  EXPECT_THAT(CodePoints("\x80z\xE4\xBA"),
              ElementsAre(0xFFFD, 'z', 0xFFFD, 0xFFFD));
  EXPECT_THAT(CodePoints(""), IsEmpty());
}

// [c.isspace() for c in ...] and [bool(re.match(r"\w", c)) for c in ...] in
// CPython 3.11.
TEST(PythonTextTest, ClassesAreThoseOfPython) {
  for (const int32_t c : {0x09, 0x0A, 0x0D, 0x1C, 0x1F, 0x20, 0x85, 0xA0,
                          0x1680, 0x2003, 0x2028, 0x202F, 0x3000}) {
    EXPECT_TRUE(IsSpace(c)) << c;
    EXPECT_FALSE(IsWord(c)) << c;
  }
  for (const int32_t c : {0x00, 0x08, 0x1B, 0x61, 0x200B, 0xFEFF, 0x180E}) {
    EXPECT_FALSE(IsSpace(c)) << c;
  }
  // Letters, digits and numbers (1/2, superscript 2, Roman 4, circled 1).
  for (const int32_t c : {(int)'_', (int)'Z', (int)'5', 0xE9, 0x4EAC, 0x660,
                          0xBD, 0xB2, 0x2163, 0x2460, 0xAA}) {
    EXPECT_TRUE(IsWord(c)) << c;
  }
  // Marks and symbols are none: U+0301, the euro sign, an emoji.
  for (const int32_t c : {(int)'-', 0x301, 0x20AC, 0x1F600, 0x3002}) {
    EXPECT_FALSE(IsWord(c)) << c;
  }
}

TEST(PythonTextTest, Case) {
  EXPECT_EQ(Lower("AbÀΔŽ京"), "abàδž京");
  EXPECT_EQ(Lower("İ"), "i\u0307");
  EXPECT_EQ(Upper("abàδž京"), "ABÀΔŽ京");
}

TEST(PythonTextTest, SplitAndStrip) {
  EXPECT_THAT(SplitWhitespace(" a\u00a0b\n\n\u3000京 \x1c"),
              ElementsAre("a", "b", "京"));
  EXPECT_THAT(SplitWhitespace(" \n"), IsEmpty());
  EXPECT_EQ(Strip("\u3000 a b\n"), "a b");
  EXPECT_EQ(Strip(" "), "");
  EXPECT_EQ(StripTrailing("\u3000 a b\u2003\n"), "\u3000 a b");
  EXPECT_EQ(StripTrailing(" "), "");
  EXPECT_EQ(StripTrailing(""), "");
  EXPECT_THAT(SplitKeepingEmpty("a  b", ' '), ElementsAre("a", "", "b"));
  EXPECT_THAT(SplitKeepingEmpty("", ' '), ElementsAre(""));
}

// text.splitlines() and text.splitlines(True) in CPython 3.11.
TEST(PythonTextTest, SplitLines) {
  const char* const text =
      "a\nb\r\nc\rd\ve\ff\x1Cg\x1Dh\x1Ei\u0085j\u2028k\u2029l";
  EXPECT_THAT(
      SplitLines(text, LineEnds::kDrop),
      ElementsAre("a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"));
  EXPECT_THAT(SplitLines(text, LineEnds::kKeep),
              ElementsAre("a\n", "b\r\n", "c\r", "d\v", "e\f", "f\x1C", "g\x1D",
                          "h\x1E", "i\u0085", "j\u2028", "k\u2029", "l"));
  EXPECT_THAT(SplitLines("a\n", LineEnds::kDrop), ElementsAre("a"));
  EXPECT_THAT(SplitLines("\n\n", LineEnds::kKeep), ElementsAre("\n", "\n"));
  EXPECT_THAT(SplitLines("a\r\n\r", LineEnds::kKeep),
              ElementsAre("a\r\n", "\r"));
  EXPECT_THAT(SplitLines("\n\r", LineEnds::kDrop), ElementsAre("", ""));
  EXPECT_THAT(SplitLines("", LineEnds::kDrop), IsEmpty());
  // No line ends: U+001F, U+00A0, U+0084, half of a character.
  const char* const one = "\x1F\u00A0\u0084\xE2\x80";
  EXPECT_THAT(SplitLines(one, LineEnds::kDrop), ElementsAre(one));
}

TEST(PythonTextTest, DigitRuns) {
  EXPECT_THAT(DigitRuns("a12.5 7"), ElementsAre("12", "5", "7"));
  EXPECT_THAT(DigitRuns("0"), ElementsAre("0"));
  EXPECT_THAT(DigitRuns("-"), IsEmpty());
}

TEST(NGramIndexTest, EqualNGramsHaveEqualIds) {
  NGramIndex index;
  const auto first = index.Grams(index.Intern({"a", "b", "a", "b"}), 3);
  ASSERT_EQ(first.size(), 3);
  EXPECT_THAT(first[0], ElementsAre(0, 1, 0, 1));
  EXPECT_THAT(first[1], ElementsAre(0, 1, 0));
  EXPECT_THAT(first[2], ElementsAre(0, 1));
  const auto second = index.Grams(index.Intern({"b", "a", "b"}), 3);
  EXPECT_THAT(second[1], ElementsAre(1, 0));
  EXPECT_THAT(second[2], ElementsAre(1));
  EXPECT_EQ(index.size(2), 2);
  EXPECT_THAT(index.Grams(index.Intern({"z"}), 3)[1], IsEmpty());
}

}  // namespace
}  // namespace repro::metrics
