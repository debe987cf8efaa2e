#include "common/code/scopes.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro::code {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

SyntaxTree ParseOrDie(CodeLanguage language, const char* source) {
  return *SyntaxTree::Parse(language, source);
}

TEST(ScopesTest, Python) {
  const SyntaxTree tree = ParseOrDie(CodeLanguage::kPython,
                                     "import os.path as p, sys\n"
                                     "from a.b import c\n"
                                     "class A:\n"
                                     "    k = 1\n"
                                     "    def f(self, x, *y, z=2):\n"
                                     "        self.q, w = x\n"
                                     "        for i, (j, _) in y: pass\n"
                                     "        return lambda v: v\n");
  const auto scopes = ExtractScopes(tree);
  ASSERT_THAT(scopes, SizeIs(4));
  EXPECT_THAT(scopes[0].names, ElementsAre("p", "sys", "c", "A"));
  EXPECT_THAT(scopes[1].names, ElementsAre("k", "f"));
  EXPECT_EQ(scopes[2].name, "f");
  EXPECT_EQ(scopes[2].parent, 1);
  EXPECT_THAT(scopes[2].names,
              ElementsAre("self", "x", "y", "z", "w", "i", "j", "_"));
  EXPECT_THAT(scopes[3].names, ElementsAre("v"));
  EXPECT_THAT(ExtractImports(tree), ElementsAre("os.path", "sys", "a.b"));
}

TEST(ScopesTest, JavaAndGo) {
  const SyntaxTree java =
      ParseOrDie(CodeLanguage::kJava,
                 "import java.util.List;\n"
                 "class A { int k; void f(int x) { int y = 1; g(); } }");
  const auto scopes = ExtractScopes(java);
  ASSERT_THAT(scopes, SizeIs(3));
  EXPECT_THAT(scopes[1].names, ElementsAre("k", "f"));
  EXPECT_THAT(scopes[2].names, ElementsAre("x", "y"));
  EXPECT_THAT(ExtractImports(java), ElementsAre("java.util.List"));
  const auto go = ExtractScopes(ParseOrDie(
      CodeLanguage::kGo, "package p\nfunc f(a, b int) { c, d := a, b }"));
  ASSERT_THAT(go, SizeIs(2));
  EXPECT_THAT(go[1].names, ElementsAre("a", "b", "c", "d"));
}

struct Expected {
  CodeLanguage language;
  const char* source;
  const char* name;
  const char* receiver;
  std::vector<std::string> arguments;
};

TEST(CallsTest, EveryLanguage) {
  const Expected cases[] = {
      {CodeLanguage::kPython,
       "os.path.join(a, b=1)",
       "join",
       "os.path",
       {"a", "b=1"}},
      {CodeLanguage::kPython, "f()", "f", "", {}},
      {CodeLanguage::kJava,
       "class A { void f() { a.b(1); } }",
       "b",
       "a",
       {"1"}},
      {CodeLanguage::kJava,
       "class A { Object f = new B<C>(2); }",
       "B",
       "",
       {"2"}},
      {CodeLanguage::kJavaScript, "a?.b(c)", "b", "a", {"c"}},
      {CodeLanguage::kGo,
       "package p\nfunc f() { fmt.Print(x) }",
       "Print",
       "fmt",
       {"x"}},
      {CodeLanguage::kPhp, "<?php $a->b($c);", "b", "$a", {"$c"}},
      {CodeLanguage::kPhp, "<?php A::b(1);", "b", "A", {"1"}},
      {CodeLanguage::kRuby, "a.b(c) { |x| x }", "b", "a", {"c"}},
      {CodeLanguage::kC, "int x = f(a, 1);", "f", "", {"a", "1"}},
      {CodeLanguage::kCpp, "void g() { a->b::c(1); }", "c", "a->b", {"1"}},
      {CodeLanguage::kCSharp,
       "class A { void F() { a.B(c); } }",
       "B",
       "a",
       {"c"}},
  };
  for (const Expected& expected : cases) {
    const auto calls =
        ExtractCalls(ParseOrDie(expected.language, expected.source));
    ASSERT_THAT(calls, SizeIs(1)) << expected.source;
    EXPECT_EQ(calls[0].name, expected.name) << expected.source;
    EXPECT_EQ(calls[0].receiver, expected.receiver) << expected.source;
    EXPECT_EQ(calls[0].arguments, expected.arguments) << expected.source;
  }
}

TEST(CallsTest, ScopeIsTheInnermost) {
  const SyntaxTree tree =
      ParseOrDie(CodeLanguage::kPython, "f()\ndef g():\n  h()\nk()\n");
  const auto calls = ExtractCalls(tree);
  const auto scopes = ExtractScopes(tree);
  ASSERT_THAT(calls, SizeIs(3));
  EXPECT_EQ(calls[0].scope, 0);
  EXPECT_EQ(scopes[calls[1].scope].name, "g");
  EXPECT_EQ(calls[2].scope, 0);
}

TEST(ImportsTest, OtherLanguages) {
  const auto imports = [](CodeLanguage language, const char* source) {
    return ExtractImports(ParseOrDie(language, source));
  };
  EXPECT_THAT(imports(CodeLanguage::kJavaScript, "import {a} from 'b';"),
              ElementsAre("b"));
  EXPECT_THAT(imports(CodeLanguage::kGo, "package p\nimport \"fmt\"\n"),
              ElementsAre("fmt"));
  EXPECT_THAT(imports(CodeLanguage::kRuby, "require 'set'\n"),
              ElementsAre("set"));
  EXPECT_THAT(imports(CodeLanguage::kC, "#include <stdio.h>\n"),
              ElementsAre("stdio.h"));
  EXPECT_THAT(imports(CodeLanguage::kCSharp, "using System.Text;"),
              ElementsAre("System.Text"));
  EXPECT_THAT(imports(CodeLanguage::kPython, ""), IsEmpty());
}

}  // namespace
}  // namespace repro::code
