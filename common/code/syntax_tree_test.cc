#include "common/code/syntax_tree.h"

#include <string>
#include <utility>
#include <vector>

#include "common/code/flatten.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro::code {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

SyntaxTree ParseOrDie(CodeLanguage language, std::string source) {
  return *SyntaxTree::Parse(language, std::move(source));
}

TEST(LanguageTest, Names) {
  for (const CodeLanguage language : kCodeLanguages) {
    EXPECT_EQ(*ParseLanguageName(LanguageName(language)), language);
  }
  EXPECT_EQ(*ParseLanguageName("C#"), CodeLanguage::kCSharp);
  EXPECT_EQ(*ParseLanguageName("JS"), CodeLanguage::kJavaScript);
  const auto unknown = ParseLanguageName("cobol");
  EXPECT_TRUE(absl::IsInvalidArgument(unknown.status()));
  EXPECT_THAT(std::string(unknown.status().message()),
              HasSubstr("python, java"));
}

// python3 with the wheels tree-sitter 0.20.4 and this grammar:
//   parser.parse(b"def f(a):\n  return a\n").root_node.sexp()
TEST(SyntaxTreeTest, SExpressionIsTreeSitters) {
  const SyntaxTree tree =
      ParseOrDie(CodeLanguage::kPython, "def f(a):\n  return a\n");
  EXPECT_EQ(SExpression(tree.root()),
            "(module (function_definition name: (identifier) parameters: "
            "(parameters (identifier)) body: (block (return_statement "
            "(identifier)))))");
  EXPECT_EQ(tree.error_count(), 0);
}

TEST(SyntaxTreeTest, Navigation) {
  SyntaxTree first =
      ParseOrDie(CodeLanguage::kPython, "def f(a):\n  return a\n");
  const SyntaxNode root = first.root();
  // Nodes outlive a move of their tree.
  const SyntaxTree tree = std::move(first);
  const SyntaxNode function = root.child(0);
  EXPECT_EQ(function.type(), "function_definition");
  EXPECT_EQ(function.child_count(), 5);
  EXPECT_EQ(function.ChildByField("name").text(), "f");
  EXPECT_EQ(function.ChildByField("name").field(), "name");
  EXPECT_FALSE(function.ChildByField("nothing"));
  EXPECT_FALSE(function.child(5));
  EXPECT_FALSE(root.parent());
  const SyntaxNode body = function.ChildByField("body");
  EXPECT_EQ(body.parent(), function);
  EXPECT_EQ(body.start_row(), 1);
  EXPECT_EQ(body.start_column(), 2);
  EXPECT_EQ(body.end_row(), 1);
  EXPECT_EQ(body.end_column(), 10);
  EXPECT_EQ(body.text(), "return a");
  uint32_t place = 0;
  for (const SyntaxNode node : tree.nodes()) EXPECT_EQ(node.index(), place++);
  EXPECT_EQ(place, tree.node_count());
}

// Children, parents and subtrees agree in all languages.
TEST(SyntaxTreeTest, StructureIsConsistent) {
  for (const CodeLanguage language : kCodeLanguages) {
    const SyntaxTree tree = ParseOrDie(
        language, "class A { int f(int a) { return g(a, \"b\") + 1; } }");
    for (const SyntaxNode node : tree.nodes()) {
      uint32_t next = node.index() + 1;
      uint32_t byte = node.start_byte();
      for (const SyntaxNode child : node.children()) {
        EXPECT_EQ(child.index(), next);
        EXPECT_EQ(child.parent(), node);
        EXPECT_GE(child.start_byte(), byte);
        byte = child.end_byte();
        next = child.subtree_end();
      }
      EXPECT_LE(byte, node.end_byte());
      EXPECT_EQ(next, node.subtree_end());
    }
  }
}

TEST(SyntaxTreeTest, WrongSyntaxIsCounted) {
  EXPECT_GT(ParseOrDie(CodeLanguage::kJava, "class { int").error_count(), 0);
  const SyntaxTree tree = ParseOrDie(CodeLanguage::kJava, "int a = 1");
  ASSERT_EQ(tree.error_count(), 1);
  EXPECT_THAT(SExpression(tree.root()), HasSubstr("(MISSING \";\")"));
  for (const CodeLanguage language : kCodeLanguages) {
    const SyntaxTree empty = ParseOrDie(language, "");
    EXPECT_EQ(empty.error_count(), 0) << LanguageName(language);
    EXPECT_EQ(empty.node_count(), 1);
  }
}

TEST(SyntaxTreeTest, Limits) {
  ParseLimits limits;
  limits.max_bytes = 3;
  const auto tree = SyntaxTree::Parse(CodeLanguage::kGo, "func", limits);
  EXPECT_TRUE(absl::IsResourceExhausted(tree.status()));
  EXPECT_THAT(std::string(tree.status().message()),
              HasSubstr("a go source of 4 bytes"));
}

// The mapping of UniXcoder: brackets match, so that the tree can be rebuilt.
TEST(FlattenTest, LeavesBetweenBrackets) {
  const SyntaxTree tree = ParseOrDie(CodeLanguage::kPython, "f(x) # c\n");
  EXPECT_THAT(FlattenTree(tree.root()),
              ElementsAre("<module,left>", "<expression_statement,left>",
                          "<call,left>", "f", "<argument_list,left>", "(", "x",
                          ")", "<argument_list,right>", "<call,right>",
                          "<expression_statement,right>", "<module,right>"));
  EXPECT_THAT(
      PreorderTypes(tree.root()),
      ElementsAre("module", "expression_statement", "call", "identifier",
                  "argument_list", "identifier", "comment"));
}

}  // namespace
}  // namespace repro::code
