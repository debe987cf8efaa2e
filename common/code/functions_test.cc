#include "common/code/functions.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro::code {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

std::vector<Function> Extract(CodeLanguage language, std::string source) {
  return ExtractFunctions(*SyntaxTree::Parse(language, std::move(source)));
}

TEST(FunctionsTest, Python) {
  const auto functions = Extract(CodeLanguage::kPython,
                                 "class A:\n"
                                 "    @staticmethod\n"
                                 "    def f(x, y: int = 3, *rest) -> str:\n"
                                 "        '''Says so.\n"
                                 "\n"
                                 "        More.\n"
                                 "        '''\n"
                                 "        def g():\n"
                                 "            r'a\\n'\n"
                                 "        return x\n");
  ASSERT_THAT(functions, SizeIs(2));
  const Function& f = functions[0];
  EXPECT_EQ(f.name, "f");
  EXPECT_EQ(f.qualified_name, "A.f");
  EXPECT_EQ(f.documentation, "Says so.\n\nMore.");
  EXPECT_EQ(FirstParagraph(f.documentation), "Says so.");
  EXPECT_EQ(f.start_line, 2);
  EXPECT_EQ(f.end_line, 10);
  EXPECT_EQ(f.return_type, "str");
  EXPECT_THAT(f.enclosing_classes, ElementsAre("A"));
  EXPECT_EQ(f.code_without_documentation,
            "@staticmethod\n"
            "    def f(x, y: int = 3, *rest) -> str:\n"
            "        def g():\n"
            "            r'a\\n'\n"
            "        return x");
  ASSERT_THAT(f.parameters, SizeIs(3));
  EXPECT_EQ(f.parameters[1].name, "y");
  EXPECT_EQ(f.parameters[1].type, "int");
  EXPECT_EQ(f.parameters[1].default_value, "3");
  EXPECT_EQ(f.parameters[2].name, "rest");
  const Function& g = functions[1];
  EXPECT_EQ(g.qualified_name, "A.f.g");
  EXPECT_TRUE(g.is_nested);
  EXPECT_EQ(g.documentation, "a\\n");
  // What is left must still be a program.
  EXPECT_EQ(g.code_without_documentation, "def g():\n            pass");
}

TEST(FunctionsTest, ParametersOverContinuedLines) {
  const auto functions =
      Extract(CodeLanguage::kPython, "def f(a, \\\n      b): pass\n");
  ASSERT_THAT(functions, SizeIs(1));
  ASSERT_THAT(functions[0].parameters, SizeIs(2));
  EXPECT_EQ(functions[0].parameters[1].name, "b");
}

TEST(FunctionsTest, Java) {
  const auto functions = Extract(CodeLanguage::kJava,
                                 "class A<T> {\n"
                                 "  /**\n"
                                 "   * Adds.\n"
                                 "   *\n"
                                 "   * @param a first\n"
                                 "   */\n"
                                 "  @Override\n"
                                 "  public int add(int a, final int... b) {\n"
                                 "    return a;\n"
                                 "  }\n"
                                 "  int other; // not about f\n"
                                 "  void f() {}\n"
                                 "  abstract void none();\n"
                                 "}\n");
  ASSERT_THAT(functions, SizeIs(2));
  EXPECT_EQ(functions[0].qualified_name, "A.add");
  EXPECT_EQ(functions[0].documentation, "Adds.\n\n@param a first");
  EXPECT_EQ(FirstParagraph(functions[0].documentation), "Adds.");
  EXPECT_EQ(functions[0].start_line, 7);
  EXPECT_EQ(functions[0].return_type, "int");
  ASSERT_THAT(functions[0].parameters, SizeIs(2));
  EXPECT_EQ(functions[0].parameters[0].name, "a");
  EXPECT_EQ(functions[0].parameters[0].type, "int");
  EXPECT_EQ(functions[0].parameters[1].name, "b");
  EXPECT_EQ(functions[0].body, "{\n    return a;\n  }");
  EXPECT_EQ(functions[1].documentation, "");
}

struct Expected {
  CodeLanguage language;
  const char* source;
  const char* qualified_name;
  const char* documentation;
  std::vector<std::string> parameters;
};

TEST(FunctionsTest, OtherLanguages) {
  const Expected cases[] = {
      {CodeLanguage::kJavaScript,
       "/** Doubles. */\nexport const f = (x, y = 2) => { return x; };\n",
       "f",
       "Doubles.",
       {"x", "y"}},
      {CodeLanguage::kJavaScript,
       "class A {\n  // Runs.\n  run(x) {}\n}\n",
       "A.run",
       "Runs.",
       {"x"}},
      {CodeLanguage::kGo,
       "package p\n\n// Get gets.\n// Twice.\nfunc (s *Set) Get(a, b int) int "
       "{ return a }\n",
       "Set.Get",
       "Get gets.\nTwice.",
       {"a", "b"}},
      {CodeLanguage::kPhp,
       "<?php\nclass A {\n  /**\n   * Gets.\n   */\n  public function "
       "get($x, $y = 1) { return $x; }\n}\n",
       "A.get",
       "Gets.",
       {"x", "y"}},
      {CodeLanguage::kRuby,
       "module M\n  # Says\n  # so.\n  def say(a, b = 1, *c)\n    a\n  end\n"
       "end\n",
       "M.say",
       "Says\nso.",
       {"a", "b", "c"}},
      {CodeLanguage::kC,
       "/* Adds. */\nstatic int *add(int a, char *b) { return 0; }\n",
       "add",
       "Adds.",
       {"a", "b"}},
      {CodeLanguage::kCpp,
       "namespace n {\n// Runs.\ntemplate <typename T>\nint A::run(const T& x, "
       "int y = 2) { return y; }\n}\n",
       "n::A::run",
       "Runs.",
       {"x", "y"}},
      {CodeLanguage::kCSharp,
       "class A {\n  /// Gets.\n  public int Get(int x, string y = \"z\") { "
       "return x; }\n}\n",
       "A.Get",
       "Gets.",
       {"x", "y"}},
  };
  for (const Expected& expected : cases) {
    const auto functions = Extract(expected.language, expected.source);
    ASSERT_THAT(functions, SizeIs(1)) << expected.source;
    EXPECT_EQ(functions[0].qualified_name, expected.qualified_name);
    EXPECT_EQ(functions[0].documentation, expected.documentation);
    std::vector<std::string> names;
    for (const Parameter& parameter : functions[0].parameters) {
      names.push_back(parameter.name);
    }
    EXPECT_EQ(names, expected.parameters) << expected.source;
  }
}

TEST(FunctionsTest, CommentFarAboveIsNotAboutTheFunction) {
  EXPECT_EQ(
      Extract(CodeLanguage::kGo, "package p\n\n// Licence.\n\nfunc f() {}\n")[0]
          .documentation,
      "");
}

// python3 -c "import inspect; print(repr(inspect.cleandoc('a\n\t  b\n c\n')))"
TEST(FunctionsTest, CleanDocstringIsPythons) {
  EXPECT_EQ(CleanDocstring("'''a\n\t  b\n   c\n'''"), "a\n       b\nc");
  EXPECT_EQ(CleanDocstring("\"x\\x41\\u00e9\\n\""), "xA\xc3\xa9");
  EXPECT_EQ(CleanDocstring("r'\\d'"), "\\d");
  EXPECT_EQ(CleanDocstring("'"), "");
}

TEST(FunctionsTest, BrokenSourcesGiveWhatIsThere) {
  for (const CodeLanguage language : kCodeLanguages) {
    EXPECT_THAT(Extract(language, ""), IsEmpty());
    Extract(language, "def f(:\n class {{{ \xff");
  }
  EXPECT_THAT(Extract(CodeLanguage::kPython,
                      "def f(:\n  pass\n\ndef g():\n"
                      "  pass\n"),
              ::testing::Not(IsEmpty()));
}

}  // namespace
}  // namespace repro::code
