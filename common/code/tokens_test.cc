#include "common/code/tokens.h"

#include <string>
#include <vector>

#include "common/code/identifiers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro::code {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> Texts(CodeLanguage language, std::string source,
                               const TokenOptions& options = {}) {
  const auto tree = SyntaxTree::Parse(language, std::move(source));
  std::vector<std::string> texts;
  for (const CodeToken& token : Tokens(*tree, options)) {
    texts.emplace_back(token.text);
  }
  return texts;
}

TEST(TokensTest, CommentsAndStrings) {
  const std::string source = "x = 'a b' # c\n";
  EXPECT_THAT(Texts(CodeLanguage::kPython, source),
              ElementsAre("x", "=", "'a b'"));
  TokenOptions options;
  options.drop_comments = false;
  options.keep_strings_whole = false;
  EXPECT_THAT(Texts(CodeLanguage::kPython, source, options),
              ElementsAre("x", "=", "'", "a b", "'", "# c"));
}

TEST(TokensTest, Docstrings) {
  const std::string source =
      "'''m'''\nclass A:\n  '''c'''\n  def f():\n    'd'\n    'kept'\n";
  TokenOptions options;
  options.drop_docstrings = true;
  EXPECT_THAT(
      Texts(CodeLanguage::kPython, source, options),
      ElementsAre("class", "A", ":", "def", "f", "(", ")", ":", "'kept'"));
}

TEST(TokensTest, Classes) {
  const auto tree =
      SyntaxTree::Parse(CodeLanguage::kJava, "{ return a + 1.5f; /* x */ }");
  TokenOptions options;
  options.drop_comments = false;
  std::vector<TokenClass> classes;
  for (const CodeToken& token : Tokens(*tree, options)) {
    classes.push_back(ClassOf(token));
  }
  EXPECT_THAT(classes,
              ElementsAre(TokenClass::kPunctuation, TokenClass::kKeyword,
                          TokenClass::kIdentifier, TokenClass::kOperator,
                          TokenClass::kNumber, TokenClass::kPunctuation,
                          TokenClass::kComment, TokenClass::kPunctuation));
}

TEST(TokensTest, RemoveComments) {
  const auto removed = [](CodeLanguage language, const char* source) {
    return RemoveComments(*SyntaxTree::Parse(language, source));
  };
  EXPECT_EQ(removed(CodeLanguage::kPython,
                    "# top\n\ndef f():  # why\n    'doc'\n\ndef g():\n"
                    "    'doc'\n    return '# no'\n"),
            "\ndef f():   \n    pass\n\ndef g():\n    return '# no'\n");
  EXPECT_EQ(removed(CodeLanguage::kJava, "int a; /* b\n c */ int d;\n// e\n"),
            "int a;   int d;\n");
  EXPECT_EQ(removed(CodeLanguage::kRuby, "a # b\n"), "a  \n");
}

// What remove_comments_and_docstrings of the reference code gives for the same
// texts under Python 3.11 (GraphCodeBERT/translation/parser/utils.py of
// microsoft/CodeBERT).
TEST(TokensTest, RemoveCommentsLexically) {
  const auto python = [](absl::string_view source) {
    return RemoveCommentsLexically(CodeLanguage::kPython, source);
  };
  EXPECT_EQ(python("def f(a):\n    \"\"\"doc\n    more\"\"\"\n    x = 'k' # c\n"
                   "\n    return x\n"),
            "def f(a):\n    x = 'k' \n    return x");
  // No Python: as it is.
  EXPECT_EQ(python("def f(:\n  '''open\n"), "def f(:\n  '''open\n");
  EXPECT_EQ(python("if a:\n\tx=1\n\t'k'\n"), "if a:\n\tx=1");
  EXPECT_EQ(python("x=1;'doc'\n"), "x=1;'doc'");
  EXPECT_EQ(python("if a:\n  b\n c\n"), "if a:\n  b\n c\n");
  EXPECT_EQ(python("f(a,\n  # c\n  b)\n"), "f(a,\n  b)");
  EXPECT_EQ(python("a = 1 + \\\n    2\n"), "a = 1 +    2");
  const auto java = [](absl::string_view source) {
    return RemoveCommentsLexically(CodeLanguage::kJava, source);
  };
  EXPECT_EQ(java("a(\"//\"); // b\n\n/* c\n */ d('\"');"),
            "a(\"//\");  \n  d('\"');");
  EXPECT_EQ(java("/* open"), "/* open");
  EXPECT_EQ(java("it's \"open"), "it's \"open");
  EXPECT_EQ(RemoveCommentsLexically(CodeLanguage::kRuby, "a # b\n\n"),
            "a # b\n\n");
}

TEST(IdentifiersTest, Split) {
  EXPECT_THAT(SplitIdentifier("camelCase"), ElementsAre("camel", "case"));
  EXPECT_THAT(SplitIdentifier("HTTPServer_name"),
              ElementsAre("http", "server", "name"));
  EXPECT_THAT(SplitIdentifier("utf8Decode"), ElementsAre("utf", "8", "decode"));
  SplitOptions options;
  options.split_digits = false;
  options.lower_case = false;
  EXPECT_THAT(SplitIdentifier("utf8Decode", options),
              ElementsAre("utf8", "Decode"));
  EXPECT_THAT(SplitIdentifier("$__a"), ElementsAre("a"));
  EXPECT_THAT(SplitIdentifier("\xc3\xa9tat"), ElementsAre("\xc3\xa9tat"));
  EXPECT_THAT(SplitIdentifier("__"), IsEmpty());
  EXPECT_THAT(SplitIdentifier(""), IsEmpty());
}

}  // namespace
}  // namespace repro::code
