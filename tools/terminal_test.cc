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

TEST(FormatLikeTest, ShowsOneDigitMoreThanThePaper) {
  EXPECT_EQ(FormatLike(4.1058, "4.1"), "4.11");
  EXPECT_EQ(FormatLike(1.67249e-5, "1.672e-05"), "1.6725e-05");
  EXPECT_EQ(FormatLike(115605504, "115605504"), "115605504");
  EXPECT_EQ(FormatLike(75.44, "75.4"), "75.44");
}

}  // namespace
}  // namespace repro
