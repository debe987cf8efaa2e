#include "common/text/utf8.h"

#include "absl/strings/escaping.h"
#include "gtest/gtest.h"

namespace repro {
namespace {

TEST(Utf8Test, WellFormedAndNot) {
  EXPECT_TRUE(IsUtf8(absl::string_view("a\0\x7f\xc2\x80\xdf\xbf", 7)));
  EXPECT_TRUE(IsUtf8("\xe0\xa0\x80\xed\x9f\xbf\xef\xbf\xbf"));
  EXPECT_TRUE(IsUtf8("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"));
  for (const char* wrong :
       {"\x80", "\xc1\xbf", "\xc2", "\xc2\x61", "\xe0\x9f\xbf", "\xed\xa0\x80",
        "\xef\xbf", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
        "\xff"}) {
    EXPECT_FALSE(IsUtf8(wrong)) << absl::CHexEscape(wrong);
  }
}

}  // namespace
}  // namespace repro
