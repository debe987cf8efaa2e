#include "common/metrics/line_diff.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/assets/sha256.h"

namespace repro::metrics {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

using Views = std::vector<absl::string_view>;

// One line a character.
Views Letters(absl::string_view letters) {
  Views lines;
  for (size_t i = 0; i < letters.size(); ++i) {
    lines.push_back(letters.substr(i, 1));
  }
  return lines;
}

std::vector<std::string> Diff(absl::string_view a, absl::string_view b) {
  return UnifiedDiff(Letters(a), Letters(b), "old", "new");
}

// list(difflib.unified_diff(list(a), list(b), "old", "new", lineterm="")) of
// CPython 3.11.
TEST(UnifiedDiffTest, IsDifflibs) {
  EXPECT_THAT(Diff("a", "ab"),
              ElementsAre("--- old", "+++ new", "@@ -1 +1,2 @@", " a", "+b"));
  EXPECT_THAT(Diff("", "x"),
              ElementsAre("--- old", "+++ new", "@@ -0,0 +1 @@", "+x"));
  EXPECT_THAT(Diff("x", ""),
              ElementsAre("--- old", "+++ new", "@@ -1 +0,0 @@", "-x"));
  EXPECT_THAT(
      Diff("abcdefghijklmnop", "abXdefghijkYlmnoZp"),
      ElementsAre("--- old", "+++ new", "@@ -1,6 +1,6 @@", " a", " b", "-c",
                  "+X", " d", " e", " f", "@@ -9,8 +9,10 @@", " i", " j", " k",
                  "+Y", " l", " m", " n", " o", "+Z", " p"));
}

TEST(UnifiedDiffTest, SixLinesBetweenJoinSevenPart) {
  EXPECT_THAT(
      Diff("abcdefghij", "aXcdefghYj"),
      ElementsAre("--- old", "+++ new", "@@ -1,10 +1,10 @@", " a", "-b", "+X",
                  " c", " d", " e", " f", " g", " h", "-i", "+Y", " j"));
  EXPECT_THAT(Diff("abcdefghijk", "aXcdefghiYk"),
              ElementsAre("--- old", "+++ new", "@@ -1,5 +1,5 @@", " a", "-b",
                          "+X", " c", " d", " e", "@@ -7,5 +7,5 @@", " g", " h",
                          " i", "-j", "+Y", " k"));
}

TEST(UnifiedDiffTest, EqualTextsHaveNone) {
  EXPECT_THAT(Diff("", ""), IsEmpty());
  EXPECT_THAT(Diff("x", "x"), IsEmpty());
  EXPECT_THAT(Diff("abcdefghij", "abcdefghij"), IsEmpty());
  EXPECT_THAT(Hunks(Letters("abc"), Letters("abc"), 0), IsEmpty());
}

// Opcodes and diffs of 400 random pairs of up to 260 lines, with and without
// autojunk, against CPython 3.11:
//
// import difflib, hashlib
// state = 1
// def draw(k):
//     global state
//     state = (state * 1103515245 + 12345) % 2**31
//     return (state >> 16) % k
// digest = hashlib.sha256()
// for case in range(400):
//     k, longest = [2, 5, 26][draw(3)], [5, 30, 260][draw(3)]
//     a = [chr(97 + draw(k)) for _ in range(draw(longest + 1))]
//     b = []
//     for line in a:
//         what = draw(10)
//         if what == 0: b.append(chr(97 + draw(k)))
//         if what > 1: b.append(line)
//         if what == 9: b.append(chr(97 + draw(k)))
//     b += [chr(97 + draw(k)) for _ in range(draw(3))]
//     for op in difflib.SequenceMatcher(None, a, b).get_opcodes():
//         digest.update(("%s %d %d %d %d\n" % op).encode())
//     for n in (3, 1, 0):
//         for line in difflib.unified_diff(a, b, "a", "b", n=n, lineterm=""):
//             digest.update((line + "\n").encode())
// print(digest.hexdigest())
TEST(UnifiedDiffTest, RandomTextsAreAsDifflibHasThem) {
  int64_t state = 1;
  const auto draw = [&](int64_t k) {
    state = (state * 1103515245 + 12345) % (int64_t{1} << 31);
    return (state >> 16) % k;
  };
  std::string text;
  for (int trial = 0; trial < 400; ++trial) {
    const int64_t k = std::vector<int64_t>{2, 5, 26}[draw(3)];
    const int64_t longest = std::vector<int64_t>{5, 30, 260}[draw(3)];
    const auto letter = [&] { return static_cast<char>('a' + draw(k)); };
    std::string a(draw(longest + 1), ' ');
    for (char& line : a) line = letter();
    std::string b;
    for (const char line : a) {
      const int64_t what = draw(10);
      if (what == 0) b.push_back(letter());
      if (what > 1) b.push_back(line);
      if (what == 9) b.push_back(letter());
    }
    for (int64_t more = draw(3); more > 0; --more) b.push_back(letter());
    for (const Opcode& op : LineOpcodes(Letters(a), Letters(b))) {
      const char* const names[] = {"equal", "replace", "delete", "insert"};
      absl::StrAppend(&text, names[static_cast<int>(op.kind)], " ", op.a_begin,
                      " ", op.a_end, " ", op.b_begin, " ", op.b_end, "\n");
    }
    for (const int64_t context : {3, 1, 0}) {
      for (const std::string& line :
           UnifiedDiff(Letters(a), Letters(b), "a", "b", context)) {
        absl::StrAppend(&text, line, "\n");
      }
    }
  }
  EXPECT_EQ(Sha256(text),
            "c87eff8caf7aefdca7f98ab4813fdd528fba6fc7abc4ab8289fc5d9ce68996b0");
}

TEST(LineOpcodesTest, AutojunkStartsAtTwoHundredLines) {
  // b = ["u%d" % i for i in range(100)] + ["x"] * 100
  std::vector<std::string> texts;
  for (int i = 0; i < 100; ++i) texts.push_back(absl::StrCat("u", i));
  texts.resize(200, "x");
  const Views b(texts.begin(), texts.end());
  const Views a = {"x"};
  // SequenceMatcher(None, ["x"], b): a replacement of everything
  const std::vector<Opcode> all = LineOpcodes(a, b);
  ASSERT_EQ(all.size(), 1);
  EXPECT_EQ(all[0].kind, EditKind::kReplace);
  EXPECT_EQ(all[0].b_end, 200);
  // of b[1:]: insert, equal, insert
  const std::vector<Opcode> fewer =
      LineOpcodes(a, Views(b.begin() + 1, b.end()));
  ASSERT_EQ(fewer.size(), 3);
  EXPECT_EQ(fewer[1].kind, EditKind::kEqual);
  EXPECT_EQ(fewer[1].b_begin, 99);
}

TEST(HunksTest, SaysWhereAndWhat) {
  const std::vector<Hunk> hunks =
      Hunks(Letters("abcdefghijk"), Letters("aXcdefghiYk"));
  ASSERT_EQ(hunks.size(), 2);
  EXPECT_EQ(hunks[1].a_begin, 6);
  EXPECT_EQ(hunks[1].b_end, 11);
  EXPECT_EQ(hunks[1].Header(), "@@ -7,5 +7,5 @@");
  EXPECT_THAT(hunks[1].lines, ElementsAre(" g", " h", " i", "-j", "+Y", " k"));
}

}  // namespace
}  // namespace repro::metrics
