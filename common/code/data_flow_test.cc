#include "common/code/data_flow.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro::code {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// "x8 comesFrom [0@10]", one text an edge.
std::vector<std::string> Edges(CodeLanguage language, absl::string_view source,
                               const DataFlowOptions& options = {}) {
  const auto graph = DataFlow(language, source, options);
  if (!graph.ok()) return {std::string(graph.status().message())};
  std::vector<std::string> texts;
  for (const DataFlowEdge& edge : graph->edges) {
    texts.push_back(absl::StrCat(edge.token, edge.token_index, " ",
                                 RelationName(edge.relation), " [",
                                 absl::StrJoin(edge.source_indexes, " "), "]"));
  }
  return texts;
}

// The paper's figure 1 (with `def max`), 11 nodes and 9 edges.
TEST(DataFlowTest, PaperExample) {
  const char kSource[] =
      "def max(a,b):\n"
      "    x=0\n"
      "    if b>a:\n"
      "        x=b\n"
      "    else:\n"
      "        x=a\n"
      "    return x";
  EXPECT_THAT(DataFlow(CodeLanguage::kPython, kSource)->tokens, SizeIs(26));
  EXPECT_THAT(
      Edges(CodeLanguage::kPython, kSource),
      ElementsAre("a3 comesFrom []", "b5 comesFrom []", "x8 computedFrom [10]",
                  "010 comesFrom []", "b12 comesFrom [5]", "a14 comesFrom [3]",
                  "x16 computedFrom [18]", "b18 comesFrom [5]",
                  "x21 computedFrom [23]", "a23 comesFrom [3]",
                  "x25 comesFrom [16 21]"));
}

// Worked by hand on the reference rules (and by the reference code).
TEST(DataFlowTest, JavaLoop) {
  EXPECT_THAT(
      Edges(CodeLanguage::kJava,
            "public int f(int a,int b){int x=0;for(int i=0;i<a;i++){x+=b;}"
            "return x;}"),
      ElementsAre("a5 comesFrom []", "b8 comesFrom []", "x12 comesFrom [14]",
                  "014 comesFrom []", "i19 comesFrom [21]", "021 comesFrom []",
                  "i23 comesFrom [19 27]", "a25 comesFrom [5]",
                  "i27 computedFrom [27]", "x31 computedFrom [33]",
                  "b33 comesFrom [8]", "x37 comesFrom [31]"));
}

TEST(DataFlowTest, DefaultParameterAndPairedAssignment) {
  EXPECT_THAT(
      Edges(CodeLanguage::kPython, "def f(a, b=a):\n    a, b = b, a"),
      ElementsAre("a3 comesFrom []", "b5 comesFrom [7]", "a7 comesFrom [3]",
                  "a10 computedFrom [14]", "b12 computedFrom [16]",
                  "b14 comesFrom [5]", "a16 comesFrom [3]"));
}

// A branch without else may be passed over: both values reach the use.
TEST(DataFlowTest, BranchWithoutElseKeepsTheEntry) {
  EXPECT_THAT(Edges(CodeLanguage::kJava, "{int x=a;if(c){x=b;}f(x);}"),
              ElementsAre("x2 comesFrom [4]", "a4 comesFrom []",
                          "x11 computedFrom [13]", "b13 comesFrom []",
                          "x18 comesFrom [2 11]"));
}

// A plain assignment is not in the list of JavaScript; a nested alternative
// begins at the entry of its branch.
TEST(DataFlowTest, JavaScript) {
  EXPECT_THAT(
      Edges(CodeLanguage::kJavaScript,
            "function f(a){let x=a;if(a){x+=1}else{x+=2}return x}"),
      ElementsAre("a3 comesFrom []", "x7 comesFrom [9]", "a9 comesFrom [3]",
                  "a13 comesFrom [3]", "x16 computedFrom [18]",
                  "118 comesFrom []", "x22 computedFrom [24]",
                  "224 comesFrom []", "x27 comesFrom [7 16 22]"));
}

TEST(DataFlowTest, GoPhpRuby) {
  EXPECT_THAT(Edges(CodeLanguage::kGo,
                    "func f(a int) int { x := a; x = a; "
                    "return x }"),
              ElementsAre("a3 comesFrom []", "a10 comesFrom [3]",
                          "x12 computedFrom [14]", "a14 comesFrom [3]",
                          "x17 comesFrom [12]"));
  EXPECT_THAT(Edges(CodeLanguage::kRuby, "def f(a)\n  b = a\n  b\nend"),
              ElementsAre("a3 comesFrom []", "b5 computedFrom [7]",
                          "a7 comesFrom [3]", "b8 comesFrom [5]"));
  EXPECT_THAT(Edges(CodeLanguage::kPhp, " $x = $a; f($x);"),
              ::testing::Not(IsEmpty()));
}

TEST(DataFlowTest, CSharp) {
  EXPECT_THAT(
      Edges(CodeLanguage::kCSharp,
            "class C { int F(int a) { int x = a; x++; return x; } }"),
      ElementsAre("a7 comesFrom []", "x11 comesFrom [13]", "a13 comesFrom [7]",
                  "x15 computedFrom [15]", "x19 comesFrom [15]"));
}

TEST(DataFlowTest, IsolatedVariablesGoUnlessKept) {
  EXPECT_THAT(Edges(CodeLanguage::kPython, "f(x)"), IsEmpty());
  DataFlowOptions options;
  options.keep_isolated = true;
  EXPECT_THAT(Edges(CodeLanguage::kPython, "f(x)", options),
              ElementsAre("f0 comesFrom []", "x2 comesFrom []"));
}

TEST(DataFlowTest, LanguagesWithoutRules) {
  for (const CodeLanguage language : {CodeLanguage::kC, CodeLanguage::kCpp}) {
    EXPECT_FALSE(HasDataFlow(language));
    EXPECT_TRUE(absl::IsUnimplemented(DataFlow(language, "int x;").status()));
  }
}

TEST(DataFlowTest, EmptyAndWrongSources) {
  for (const CodeLanguage language : kCodeLanguages) {
    if (!HasDataFlow(language)) continue;
    EXPECT_THAT(Edges(language, ""), IsEmpty());
    EXPECT_TRUE(DataFlow(language, "((((").ok());
    EXPECT_TRUE(DataFlow(language, std::string("\0\xff\xc3 x = \x80", 9)).ok());
  }
}

// 40 loops inside of each other would be run through 2^40 times.
TEST(DataFlowTest, NestedLoopsEndAtTheLimit) {
  std::string source;
  for (int i = 0; i < 40; ++i) source += "while(a){";
  source += "a=b;";
  source.append(40, '}');
  const auto graph = DataFlow(CodeLanguage::kJava, source);
  EXPECT_TRUE(absl::IsResourceExhausted(graph.status())) << graph.status();
  EXPECT_THAT(std::string(graph.status().message()),
              ::testing::HasSubstr("java"));
}

}  // namespace
}  // namespace repro::code
