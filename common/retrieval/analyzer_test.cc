#include "common/retrieval/analyzer.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "absl/strings/match.h"

namespace repro::retrieval {
namespace {

using Terms = std::vector<std::string>;

Terms Analyze(AnalyzerKind kind, absl::string_view text) {
  return Analyzer(kind).Terms(text);
}

// python3 -c 'print("a  B\tc ".split(" "), "".split(" "))'
TEST(AnalyzerTest, Space) {
  EXPECT_EQ(Analyze(AnalyzerKind::kSpace, "a  B\tc "),
            (Terms{"a", "", "B\tc", ""}));
  EXPECT_EQ(Analyze(AnalyzerKind::kSpace, ""), (Terms{""}));
}

// python3 -c 'print(" a\t\u00a0B\x1c\u3000c\n".split(), "".split())'
TEST(AnalyzerTest, Whitespace) {
  EXPECT_EQ(Analyze(AnalyzerKind::kWhitespace,
                    " a\t\u00a0B\x1c\u3000"
                    "c\n"),
            (Terms{"a", "B", "c"}));
  EXPECT_TRUE(Analyze(AnalyzerKind::kWhitespace, "").empty());
}

// Sentences of the tests of Lucene's StandardAnalyzer (TestStandardAnalyzer).
TEST(AnalyzerTest, LuceneStandard) {
  const AnalyzerKind kind = AnalyzerKind::kLuceneStandard;
  EXPECT_EQ(Analyze(kind, "O'Reilly you're don't"),
            (Terms{"o'reilly", "you're", "don't"}));
  EXPECT_EQ(Analyze(kind, "B2B 2B 21.35 1,000"),
            (Terms{"b2b", "2b", "21.35", "1,000"}));
  EXPECT_EQ(Analyze(kind, "some-dashed-phrase a+b C++ C#"),
            (Terms{"some", "dashed", "phrase", "a", "b", "c", "c"}));
  EXPECT_EQ(Analyze(kind, "foo_bar os.path.join(x)"),
            (Terms{"foo_bar", "os.path.join", "x"}));
  EXPECT_EQ(Analyze(kind, "\u6211\u662f\u4e2d\u56fd\u4eba"),
            (Terms{"\u6211", "\u662f", "\u4e2d", "\u56fd", "\u4eba"}));
  EXPECT_EQ(Analyze(kind, "\u00c4rger \u0421\u043b\u043e\u0432\u043e"),
            (Terms{"\u00e4rger", "\u0441\u043b\u043e\u0432\u043e"}));
  EXPECT_TRUE(Analyze(kind, " ... !? ").empty());
  const Terms pieces = Analyze(kind, std::string(600, 'x'));
  ASSERT_EQ(pieces.size(), 3);
  EXPECT_EQ(pieces[0].size(), 255);
  EXPECT_EQ(pieces[2].size(), 90);
}

// Stems are those of the lists that Porter publishes (voc.txt, output.txt).
TEST(AnalyzerTest, LuceneEnglish) {
  const AnalyzerKind kind = AnalyzerKind::kLuceneEnglish;
  EXPECT_EQ(Analyze(kind, "The books of John's are relational ponies"),
            (Terms{"book", "john", "relat", "poni"}));
  EXPECT_EQ(Analyze(kind, "into these NOT with"), Terms{});
  // The two stemmers differ here.
  EXPECT_EQ(Analyze(kind, "generously dying"), (Terms{"gener", "dy"}));
  EXPECT_EQ(Analyze(AnalyzerKind::kLuceneEnglishPorter2, "generously dying"),
            (Terms{"generous", "die"}));
}

TEST(AnalyzerTest, Code) {
  EXPECT_EQ(
      Analyze(AnalyzerKind::kCode, "def parseHTTPResponse2(self, raw_body):"),
      (Terms{"def", "parse", "http", "response", "2", "self", "raw", "body"}));
}

TEST(AnalyzerTest, AnyBytes) {
  std::mt19937_64 random(1);
  for (const AnalyzerKind kind :
       {AnalyzerKind::kSpace, AnalyzerKind::kWhitespace,
        AnalyzerKind::kLuceneStandard, AnalyzerKind::kLuceneEnglish,
        AnalyzerKind::kLuceneEnglishPorter2, AnalyzerKind::kCode}) {
    const Analyzer analyzer(kind);
    for (int i = 0; i < 200; ++i) {
      std::string bytes(random() % 200, ' ');
      for (char& c : bytes) c = static_cast<char>(random());
      size_t length = 0;
      for (const std::string& term : analyzer.Terms(bytes)) {
        length += term.size();
      }
      // Lower case grows a letter by at most half, U+FFFD a byte by two.
      EXPECT_LE(length, 3 * bytes.size());
    }
    const auto parsed = ParseAnalyzerName(AnalyzerName(kind));
    ASSERT_TRUE(parsed.ok());
    EXPECT_EQ(*parsed, kind);
  }
  EXPECT_TRUE(absl::StrContains(ParseAnalyzerName("x").status().message(),
                                "lucene_english"));
}

}  // namespace
}  // namespace repro::retrieval
