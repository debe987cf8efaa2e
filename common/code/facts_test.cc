#include "common/code/facts.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro::code {
namespace {

using ::testing::ElementsAre;

// By the rules of the paper's scripts, by hand: a typed parameter and one with
// a default have another parent than the list of parameters.
TEST(FactsTest, Python) {
  const auto tree = SyntaxTree::Parse(CodeLanguage::kPython,
                                      "def f(a, b: int, c=1):\n"
                                      "    d = g(a, b)\n"
                                      "    self.x = h.k(a)\n"
                                      "    return d\n");
  EXPECT_EQ(FormatIdentifiers(IdentifiersByRole(*tree, "f"), "m.f"),
            "Parameters of the function: ['a']\n"
            "Identifier to be returned: ['d']\n"
            "Method Invocation: ['g']\n"
            "Method Arguments: ['a', 'b']\n"
            "Assigments: ['d']\n"
            "Identifier to access attribute/dotted name: ['self', 'x', 'h', "
            "'k']\n"
            "Function name: m.f");
}

TEST(FactsTest, Java) {
  const auto tree = SyntaxTree::Parse(
      CodeLanguage::kJava, "int f(int a) { int b = g.h(a); return b; }");
  EXPECT_EQ(FormatIdentifiers(IdentifiersByRole(*tree, "f"), "C.f"),
            "Parameters of the function: ['a']\n"
            "Identifier to be returned: ['b']\n"
            "Method Invocation: ['g', 'h']\n"
            "Method Arguments: ['a']\n"
            "Assigments: ['b']\n"
            "Function name: C.f");
}

TEST(FactsTest, NothingToSay) {
  const auto tree = SyntaxTree::Parse(CodeLanguage::kC, "int a;");
  EXPECT_EQ(FormatIdentifiers(IdentifiersByRole(*tree, ""), "q"),
            "Function name: q");
  EXPECT_EQ(FormatDataFlow({}), "No DFG available");
}

TEST(FactsTest, DataFlowByNameAndSources) {
  const auto graph =
      DataFlow(CodeLanguage::kPython, "def f(a):\n  g(a)\n  g(a)\n");
  EXPECT_EQ(FormatDataFlow(*graph),
            "a-[] -> [3]\n"
            "g-[] -> [6]\n"
            "a-[3] -> [8, 12]\n"
            "g-[6] -> [10]");
  EXPECT_EQ(FormatDataFlow(*graph, 1), "a-[] -> [3]");
}

}  // namespace
}  // namespace repro::code
