#include "tools/terminal.h"

#include <gtest/gtest.h>

namespace repro {
namespace {

TEST(TextTableTest, AlignsByCharactersNotBytes) {
  TextTable table({"a", "b"});
  table.AddRow({"é", "1"});
  table.AddRow({"xyz", "2"});
  EXPECT_EQ(table.ToText(), "a    b\n---  -\né    1\nxyz  2\n");
}

TEST(TextTableTest, MarkdownEscapesBars) {
  TextTable table({"a"});
  table.AddRow({"x|y"});
  EXPECT_EQ(table.ToMarkdown(), "| a |\n| --- |\n| x\\|y |\n");
}

TEST(FormatSecondsTest, ReadsLikeAClock) {
  EXPECT_EQ(FormatSeconds(0.24), "0.2 s");
  EXPECT_EQ(FormatSeconds(45), "45 s");
  EXPECT_EQ(FormatSeconds(59.7), "1:00");
  EXPECT_EQ(FormatSeconds(200), "3:20");
  EXPECT_EQ(FormatSeconds(3900), "1:05:00");
}

TEST(FormatLikeTest, ShowsOneDigitMoreThanThePaper) {
  EXPECT_EQ(FormatLike(4.1058, "4.1"), "4.11");
  EXPECT_EQ(FormatLike(1.67249e-5, "1.672e-05"), "1.6725e-05");
  EXPECT_EQ(FormatLike(115605504, "115605504"), "115605504");
  EXPECT_EQ(FormatLike(75.44, "75.4"), "75.44");
}

}  // namespace
}  // namespace repro
