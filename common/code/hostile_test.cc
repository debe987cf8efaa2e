// Sources made to break a parser: each function must return.

#include <cstddef>
#include <random>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/code/code_bleu.h"
#include "common/code/data_flow.h"
#include "common/code/flatten.h"
#include "common/code/functions.h"
#include "common/code/scopes.h"
#include "common/code/syntax_tree.h"
#include "common/code/tokens.h"
#include "common/data/mutate.h"
#include "gtest/gtest.h"

namespace repro::code {
namespace {

// A nested function and loops in each language.
const char* Sample(CodeLanguage language) {
  switch (language) {
    case CodeLanguage::kPython:
      return "import a.b\nclass A:\n    '''d'''\n    @x\n    def f(self, "
             "y=1):\n"
             "        \"\"\"Doc.\\n\"\"\"\n        for i, j in y:\n"
             "            z = i if j else f'{y}'  # c\n        return z\n";
    case CodeLanguage::kJava:
      return "import a.B;\nclass A {\n  /** Doc. */\n  int f(int x) {\n    int "
             "y = 0;\n    for (int i = 0; i < x; i++) { if (i > 1) y += i; "
             "else "
             "y = \"s\"; }\n    return y; // c\n  }\n}\n";
    case CodeLanguage::kJavaScript:
      return "/** Doc. */\nconst f = (a, {b} = {}) => { for (let i = 0; i < a; "
             "i++) { if (b) a += `x${i}`; else a = /r/; } return a }\n";
    case CodeLanguage::kGo:
      return "package p\n\n// Doc.\nfunc (s *T) F(a, b int) (c int) { for i := "
             "0; i < a; i++ { if b > 1 { c = i } else { c++ } }; return c }\n";
    case CodeLanguage::kPhp:
      return "<?php\nclass A {\n  /** Doc. */\n  function f($x, $y = 1) {\n    "
             "foreach ($x as $k) { if ($k) { $y += $k; } else { $y++; } }\n    "
             "return \"a $y\";\n  }\n}\n";
    case CodeLanguage::kRuby:
      return "module M\n  # Doc.\n  def f(a, b: 1)\n    a.each do |x|\n      "
             "if "
             "x then b += x else b = \"#{x}\" end\n    end\n    for i in a do "
             "b "
             "end\n    <<~H\n      t\n    H\n  end\nend\n";
    case CodeLanguage::kC:
      return "#include <a.h>\n#define X 1\n/* Doc. */\nstatic int *f(int a, "
             "char **b) { for (;;) { if (a) a++; else g(b, \"s\"); } }\n";
    case CodeLanguage::kCpp:
      return "namespace n {\n// Doc.\ntemplate <typename T>\nauto "
             "A<T>::f(const "
             "T& x) -> int { for (auto y : x) { z([&] { return y; }); } return "
             "R\"(a)\"; }\n}\n";
    case CodeLanguage::kCSharp:
      return "using A.B;\nclass A {\n  /// Doc.\n  int F(int x, string y = "
             "\"z\") { foreach (var k in y) { if (k) x++; else x = k; } return "
             "x; }\n}\n";
  }
  return "";
}

// Everything there is to ask about a source.
absl::Status UseAll(CodeLanguage language, const std::string& source,
                    int64_t max_steps = 1'000'000) {
  const auto tree = SyntaxTree::Parse(language, source);
  if (!tree.ok()) return tree.status();
  size_t used = SExpression(tree->root()).size();
  used += FlattenTree(tree->root()).size();
  used += Tokens(*tree).size();
  used += RemoveComments(*tree).size();
  used += RemoveCommentsLexically(language, source).size();
  used += ExtractFunctions(*tree).size();
  used += ExtractScopes(*tree).size();
  used += ExtractCalls(*tree).size();
  used += ExtractImports(*tree).size();
  EXPECT_GT(used, 0);
  if (!HasDataFlow(language)) return absl::OkStatus();
  DataFlowOptions options;
  options.max_steps = max_steps;
  return DataFlow(*tree, options).status();
}

TEST(HostileTest, Samples) {
  for (const CodeLanguage language : kCodeLanguages) {
    const auto tree = SyntaxTree::Parse(language, Sample(language));
    EXPECT_EQ(tree->error_count(), 0) << LanguageName(language);
    EXPECT_EQ(ExtractFunctions(*tree).size(), 1) << LanguageName(language);
    EXPECT_EQ(ExtractFunctions(*tree)[0].documentation, "Doc.");
    EXPECT_TRUE(UseAll(language, Sample(language)).ok());
  }
}

TEST(HostileTest, Mutations) {
  constexpr absl::string_view kSpecial("\0\n\r\t\"'`(){}[]:;#/*\\=<>$@\xff\xc3",
                                       26);
  const auto plant = [&](std::string* text, size_t at, const Below& below) {
    (*text)[at] = kSpecial[below(kSpecial.size())];
  };
  std::mt19937_64 random(7);
  for (const CodeLanguage language : kCodeLanguages) {
    for (int i = 0; i < 1000; ++i) {
      const absl::Status status = UseAll(
          language, Mutate(Sample(language),
                           {Mutation::kFlipBit, Mutation::kPlant,
                            Mutation::kDrop, Mutation::kRepeat, Mutation::kCut},
                           plant, &random));
      EXPECT_TRUE(status.ok()) << status;
    }
  }
}

TEST(HostileTest, Bytes) {
  std::string bytes;
  std::mt19937_64 random(11);
  for (int i = 0; i < 20000; ++i) bytes += static_cast<char>(random());
  for (const CodeLanguage language : kCodeLanguages) {
    EXPECT_TRUE(UseAll(language, bytes).ok()) << LanguageName(language);
    EXPECT_TRUE(UseAll(language, std::string(1000, '\0')).ok());
  }
}

// As deep as no stack is: everything here must iterate.
TEST(HostileTest, Nesting) {
  constexpr int kDepth = 100'000;
  for (const CodeLanguage language : kCodeLanguages) {
    const std::string php = language == CodeLanguage::kPhp ? "<?php " : "";
    for (const bool closed : {true, false}) {
      std::string source = php + "x = " + std::string(kDepth, '(') + "1";
      if (closed) source += std::string(kDepth, ')') + ";";
      EXPECT_TRUE(UseAll(language, source).ok()) << LanguageName(language);
    }
  }
  std::string branches;
  for (int i = 0; i < kDepth; ++i) branches += "if(a){a=b;";
  branches += std::string(kDepth, '}');
  const absl::Status status = UseAll(CodeLanguage::kJava, branches);
  EXPECT_TRUE(status.ok() || absl::IsResourceExhausted(status)) << status;
  EXPECT_TRUE(SyntaxMatch(CodeLanguage::kJava, {{branches}}, {branches}).ok());
}

// Comment and quote marks that never close are not searched for again.
TEST(HostileTest, OpenMarks) {
  for (const char* mark : {"/* ", "\" \\", "' \\", "''' ", "\"\\"}) {
    std::string source;
    while (source.size() < 3'000'000) source += mark;
    for (const CodeLanguage language :
         {CodeLanguage::kJava, CodeLanguage::kPython}) {
      EXPECT_FALSE(RemoveCommentsLexically(language, source).empty());
    }
  }
}

TEST(HostileTest, LargeSource) {
  std::string source;
  while (source.size() < (50 << 20)) {
    source +=
        "long_name_of_a_variable = 'a long text, so that nodes are few "
        "for its bytes; a long text, so that nodes are few'\n";
  }
  ParseLimits limits;
  limits.max_seconds = 0;  // none: machines differ
  const auto tree = SyntaxTree::Parse(CodeLanguage::kPython, source, limits);
  ASSERT_TRUE(tree.ok()) << tree.status();
  EXPECT_EQ(tree->error_count(), 0);
  limits.max_seconds = 0.001;
  EXPECT_TRUE(absl::IsResourceExhausted(
      SyntaxTree::Parse(CodeLanguage::kPython, source, limits).status()));
}

}  // namespace
}  // namespace repro::code
