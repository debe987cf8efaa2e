#include "common/data/code_corpus.h"

#include <archive.h>
#include <archive_entry.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/data/code_corpus_packages.h"
#include "common/data/io.h"
#include "common/data/jsonl.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro {
namespace {

using code::CodeLanguage;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

CorpusFile File(CodeLanguage language, std::string path, std::string content) {
  CorpusFile file;
  file.language = language;
  file.repository = "repository";
  file.path = std::move(path);
  file.content = std::move(content);
  file.sha = "abc";
  file.url = absl::StrCat("deb:repository=1/", file.path);
  return file;
}

// A function of two statements with a name and words of its own, so that none
// is a duplicate of another.
std::string PythonFunction(const std::string& name,
                           const std::string& docstring) {
  std::string text =
      absl::StrCat("def ", name, "(", name, "_a, ", name, "_b):\n");
  if (!docstring.empty()) absl::StrAppend(&text, "    ", docstring, "\n");
  for (const char* part : {"_c", "_d", "_e", "_f"}) {
    absl::StrAppend(&text, "    ", name, part, " = ", name, "_a + ", name,
                    "_b\n");
  }
  absl::StrAppend(&text, "    return ", name, "_c\n\n\n");
  return text;
}

CodeCorpus Build(const std::vector<CorpusFile>& files, int64_t limit = 0) {
  CodeCorpusOptions options;
  options.limit = limit;
  CodeCorpusBuilder builder(options);
  for (const CorpusFile& file : files) {
    const absl::Status status = builder.Add(file);
    EXPECT_TRUE(status.ok()) << status;
  }
  return builder.Finish();
}

std::vector<std::string> Names(const CodeCorpus& corpus) {
  std::vector<std::string> names;
  for (const CorpusFunction& function : corpus.functions) {
    names.push_back(function.func_name);
  }
  return names;
}

int64_t LeftOut(const CorpusCounts& counts, CorpusFilter filter) {
  return counts.left_out[static_cast<int>(filter)];
}

TEST(CodeCorpusTest, PythonByEveryRule) {
  const std::string doc = "\"\"\"Adds two numbers.\n\n    In all detail.\"\"\"";
  std::string text;
  text += PythonFunction("alpha", doc);
  text += PythonFunction("latest_value", doc);  // "test" in the name
  text += PythonFunction("undocumented", "");
  text += PythonFunction("beta", "\"\"\"Adds.\"\"\"");
  text +=
      "def gamma(a):\n    \"\"\"Gives its argument back.\"\"\"\n"
      "    return a\n\n\n";
  text +=
      "class Delta:\n"
      "    def __init__(self, a):\n"
      "        \"\"\"Makes a new one.\"\"\"\n"
      "        self.a = a\n        self.b = a\n        self.c = a\n\n"
      "    def total(self, first, second):\n"
      "        \"\"\"Sums them all @ once.\"\"\"\n"
      "        third = self.a + first\n"
      "        fourth = self.b + second\n"
      "        return third + fourth + self.c\n\n\n";
  text +=
      "def tiny(a):\n    \"\"\"Too few identifiers here.\"\"\"\n"
      "    a += 1\n    return 2\n\n\n";
  text +=
      "def outer(a, b, c, d):\n    \"\"\"Holds another one.\"\"\"\n"
      "    def inner(e):\n        \"\"\"Is inside of it.\"\"\"\n"
      "        f = a + b\n        g = c + d\n        return e + f + g\n"
      "    return inner(a + b + c)\n";
  const CodeCorpus corpus = Build(
      {File(CodeLanguage::kPython, "a/code.py", text),
       File(CodeLanguage::kPython, "a/tests/code.py", text),
       File(CodeLanguage::kPython, "a/latin.py", "# caf\xe9\n" + text),
       File(CodeLanguage::kPython, "b/copy.py", PythonFunction("alpha", doc))});
  EXPECT_THAT(Names(corpus), ElementsAre("alpha", "Delta.total", "outer"));

  const CorpusCounts& counts = corpus.counts.at(CodeLanguage::kPython);
  EXPECT_EQ(counts.files, 4);
  EXPECT_EQ(counts.files_of_tests, 1);
  EXPECT_EQ(counts.files_not_utf8, 1);
  EXPECT_EQ(counts.functions, 11);
  EXPECT_EQ(LeftOut(counts, CorpusFilter::kNested), 1);
  EXPECT_EQ(LeftOut(counts, CorpusFilter::kTest), 1);
  EXPECT_EQ(LeftOut(counts, CorpusFilter::kConstructor), 1);
  EXPECT_EQ(LeftOut(counts, CorpusFilter::kUndocumented), 1);
  EXPECT_EQ(LeftOut(counts, CorpusFilter::kShortDocumentation), 1);
  EXPECT_EQ(LeftOut(counts, CorpusFilter::kShortCode), 1);
  EXPECT_EQ(LeftOut(counts, CorpusFilter::kDuplicate), 1);
  EXPECT_EQ(LeftOut(counts, CorpusFilter::kFewIdentifiers), 1);
  EXPECT_EQ(LeftOut(counts, CorpusFilter::kNearDuplicate), 0);
  EXPECT_EQ(counts.kept, 3);

  const CorpusFunction& alpha = corpus.functions[0];
  EXPECT_THAT(alpha.docstring_tokens,
              ElementsAre("Adds", "two", "numbers", "."));
  EXPECT_EQ(alpha.docstring, "Adds two numbers.\n\nIn all detail.");
  EXPECT_EQ(alpha.url, "deb:repository=1/a/code.py#L1-L9");
  ASSERT_GT(alpha.code_tokens.size(), 8);
  EXPECT_EQ(alpha.code_tokens[0], "def");
  EXPECT_EQ(alpha.code_tokens[7], ":");
  EXPECT_EQ(alpha.code_tokens[8], "alpha_c");  // no docstring
  EXPECT_TRUE(absl::StartsWith(alpha.code, "def alpha("));
  EXPECT_THAT(alpha.code, HasSubstr("Adds two numbers"));
}

TEST(CodeCorpusTest, ConstructorsAndExtensionsOfOtherLanguages) {
  const std::string java =
      "class Point {\n"
      "  /** Makes a point of two numbers. */\n"
      "  Point(int x, int y) {\n    this.x = x;\n    this.y = y;\n  }\n"
      "  /** Shows the point to people. */\n"
      "  public String toString() {\n    String s = \"\" + x;\n"
      "    s += y;\n    return s;\n  }\n"
      "  /**\n   * Moves the point by a vector.\n"
      "   * @param dx how far\n   */\n"
      "  void move(int dx, int dy) {\n    x = x + dx;\n    y = y + dy;\n"
      "    changed(x, y, dx, dy);\n  }\n"
      "}\n";
  const std::string ruby =
      "class Point\n"
      "  # Makes a point of two numbers.\n"
      "  def initialize(x, y)\n    @x = x\n    @y = y\n  end\n\n"
      "  # Moves the point by a vector.\n"
      "  def move(dx, dy)\n    first = dx + width\n    second = dy + height\n"
      "    changed(first, second, dx, dy)\n  end\nend\n";
  const std::string php =
      "<?php\nclass Point {\n"
      "  /** Makes a point of two numbers. */\n"
      "  function __construct($x, $y) {\n    $this->x = $x;\n"
      "    $this->y = $y;\n  }\n"
      "  /** Moves the point by a vector. */\n"
      "  function move($dx, $dy) {\n    $this->x = $this->x + $dx;\n"
      "    $this->y = $this->y + $dy;\n    return changed($dx, $dy);\n  }\n}\n";
  const std::string go =
      "package point\n\n// Move moves the point by a vector.\n"
      "func (p *Point) Move(dx, dy int) {\n\tp.x = p.x + dx\n"
      "\tp.y = p.y + dy\n\tchanged(p, dx, dy)\n}\n";
  const std::string javascript =
      "class Point {\n"
      "  /** Makes a point of two numbers. */\n"
      "  constructor(x, y) {\n    this.x = x;\n    this.y = y;\n  }\n"
      "  /** Moves the point by a vector. */\n"
      "  move(dx, dy) {\n    this.x = this.x + dx;\n    this.y = this.y + dy;\n"
      "    return changed(this, dx, dy);\n  }\n}\n";
  const CodeCorpus corpus =
      Build({File(CodeLanguage::kJava, "Point.java", java),
             File(CodeLanguage::kRuby, "point.rb", ruby),
             File(CodeLanguage::kPhp, "Point.php", php),
             File(CodeLanguage::kGo, "point.go", go),
             File(CodeLanguage::kJavaScript, "point.js", javascript),
             File(CodeLanguage::kGo, "vendor/point.go", go),
             File(CodeLanguage::kJavaScript, "node_modules/p.js", javascript)});
  std::map<CodeLanguage, std::string> names;
  for (const CorpusFunction& function : corpus.functions) {
    names[function.language] += function.func_name;
    EXPECT_EQ(function.docstring_tokens.back(), ".");
    EXPECT_GE(function.docstring_tokens.size(), 7);
  }
  for (const CodeLanguage language :
       {CodeLanguage::kJava, CodeLanguage::kRuby, CodeLanguage::kPhp,
        CodeLanguage::kGo, CodeLanguage::kJavaScript}) {
    EXPECT_THAT(absl::AsciiStrToLower(names[language]), HasSubstr("move"))
        << code::LanguageName(language);
    EXPECT_EQ(corpus.counts.at(language).kept, 1)
        << code::LanguageName(language);
  }
  EXPECT_EQ(corpus.counts.at(CodeLanguage::kGo).files_of_tests, 1);
  EXPECT_EQ(corpus.counts.at(CodeLanguage::kJavaScript).files_of_tests, 1);
  EXPECT_EQ(LeftOut(corpus.counts.at(CodeLanguage::kJava),
                    CorpusFilter::kConstructor),
            2);
}

// dpu_utils 0.6.1, DuplicateDetector(min_num_tokens_per_document=10).add_file
// of these tokens, language "python": True with nine words and True, False with
// nine and None.
TEST(CodeCorpusTest, TrueAndWordsReservedInPlacesAreIdentifiers) {
  const auto text = [](const std::string& last) {
    return absl::StrCat(
        "def match(type, case):\n    '''Finds it somewhere.'''\n"
        "    a = type\n    b = case\n    return print(a, ",
        last, ")\n");
  };
  const CodeCorpus corpus =
      Build({File(CodeLanguage::kPython, "a.py", text("True")),
             File(CodeLanguage::kPython, "b.py", text("None"))});
  ASSERT_EQ(corpus.functions.size(), 1);
  EXPECT_EQ(corpus.functions[0].path, "a.py");
  EXPECT_EQ(LeftOut(corpus.counts.at(CodeLanguage::kPython),
                    CorpusFilter::kFewIdentifiers),
            1);
}

// The authors take JavaScript's functions at any depth, other languages' at the
// top and in classes.
TEST(CodeCorpusTest, FunctionsInFunctionsCountInJavaScriptAlone) {
  const CodeCorpus corpus = Build(
      {File(CodeLanguage::kJavaScript, "a.js",
            "function outer(one, two, three) {\n"
            "  /** Adds all the numbers. */\n"
            "  function inner(four, five, six) {\n"
            "    const sum = one + two + three;\n"
            "    return sum + four + five + six;\n  }\n"
            "  return inner;\n}\n"),
       File(CodeLanguage::kPhp, "a.php",
            "<?php\nfunction outer() {\n  /** Adds all the numbers. */\n"
            "  function inner($a, $b, $c, $d, $e) {\n"
            "    $f = $a + $b + $c;\n    return $f + $d + $e;\n  }\n}\n")});
  EXPECT_THAT(Names(corpus), ElementsAre("outer.inner"));
  EXPECT_EQ(
      LeftOut(corpus.counts.at(CodeLanguage::kPhp), CorpusFilter::kNested), 1);
}

// They share a table and an object of JSON.
TEST(CodeCorpusTest, FiltersAreNotCalledAsPartitions) {
  std::set<std::string> names = {"train", "valid", "test", "kept"};
  for (int i = 0; i < kNumCorpusFilters; ++i) {
    EXPECT_TRUE(
        names.insert(CorpusFilterName(static_cast<CorpusFilter>(i))).second)
        << CorpusFilterName(static_cast<CorpusFilter>(i));
  }
}

TEST(CodeCorpusTest, LinesEndAlike) {
  const std::string text = PythonFunction("alpha", "'Adds two numbers.'");
  const CodeCorpus corpus = Build({File(CodeLanguage::kPython, "a.py", text)});
  const CodeCorpus other =
      Build({File(CodeLanguage::kPython, "a.py",
                  absl::StrReplaceAll(text, {{"\n", "\r\n"}}))});
  ASSERT_EQ(corpus.functions.size(), 1);
  ASSERT_EQ(other.functions.size(), 1);
  EXPECT_EQ(ToJson(corpus.functions[0]), ToJson(other.functions[0]));
}

TEST(CodeCorpusTest, LargeFilesAreCounted) {
  CodeCorpusOptions options;
  options.max_file_bytes = 20;
  CodeCorpusBuilder builder(options);
  EXPECT_TRUE(
      builder.Add(File(CodeLanguage::kPython, "a.py", std::string(21, '#')))
          .ok());
  EXPECT_TRUE(
      builder.Add(File(CodeLanguage::kPython, "b.py", std::string(20, '#')))
          .ok());
  EXPECT_EQ(builder.Finish().counts.at(CodeLanguage::kPython).files_too_large,
            1);
}

TEST(CodeCorpusTest, BrokenFilesAreNoErrors) {
  const CodeCorpus corpus =
      Build({File(CodeLanguage::kPython, "a.py", "def f(:\n  ((("),
             File(CodeLanguage::kPython, "b.py", ""),
             File(CodeLanguage::kPython, "c.py", std::string(1000, '('))});
  EXPECT_THAT(corpus.functions, IsEmpty());
  EXPECT_EQ(corpus.counts.at(CodeLanguage::kPython).files_with_errors, 2);
  EXPECT_EQ(CodeCorpusBuilder().Add(File(CodeLanguage::kC, "a.c", "")).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(CodeCorpusTest, LimitKeepsTheSameOnesInAnyOrder) {
  std::vector<CorpusFile> files;
  for (const char* name : {"one", "two", "three", "four", "five", "six"}) {
    files.push_back(File(CodeLanguage::kPython, absl::StrCat(name, ".py"),
                         PythonFunction(name, "'''Adds two numbers.'''")));
  }
  EXPECT_EQ(Build(files).functions.size(), 6);
  std::vector<std::string> some = Names(Build(files, 3));
  EXPECT_EQ(some.size(), 3);
  std::reverse(files.begin(), files.end());
  std::vector<std::string> same = Names(Build(files, 3));
  std::sort(some.begin(), some.end());
  std::sort(same.begin(), same.end());
  EXPECT_EQ(some, same);
  EXPECT_EQ(Build(files, 3).counts.at(CodeLanguage::kPython).beyond_limit, 3);
}

TEST(CodeSearchNetSummaryTest, EndsAtABlankLineOrElseAtAnAt) {
  EXPECT_EQ(CodeSearchNetSummary("First.\n\nSecond @x"), "First.");
  EXPECT_EQ(CodeSearchNetSummary("First @param x"), "First ");
  EXPECT_EQ(CodeSearchNetSummary("a@b\n\nc"), "a@b");
  EXPECT_EQ(CodeSearchNetSummary(""), "");
}

TEST(CorpusSummaryTest, IsTheFirstParagraphUpToTags) {
  EXPECT_EQ(CorpusSummary("First.\n\nSecond."), "First.");
  EXPECT_EQ(CorpusSummary("Returns a {@link Map}\nor null.\n@return it"),
            "Returns a {@link Map}\nor null.");
  EXPECT_EQ(CorpusSummary("@param int $a\n\n@return int"), "");
  EXPECT_EQ(CorpusSummary("{@inheritdoc}\n\n@deprecated since 2"), "");
  EXPECT_EQ(CorpusSummary("{@inheritDoc} <!-- workaround -->."), "");
  EXPECT_EQ(CorpusSummary("{@inheritDoc}\nAlso closes it."),
            "{@inheritDoc}\nAlso closes it.");
  EXPECT_EQ(CorpusSummary("\u4e16"), "\u4e16");
  EXPECT_EQ(CorpusSummary("<!"), "");
}

TEST(CleanDocumentationTest, LeavesOutLinesForTools) {
  EXPECT_EQ(CleanDocumentation(CodeLanguage::kPython, " Adds.\n   "), "Adds.");
  EXPECT_EQ(CleanDocumentation(CodeLanguage::kGo, "go:nosplit"), "");
  EXPECT_EQ(CleanDocumentation(
                CodeLanguage::kGo,
                " Adds: two\n  numbers.\n\ngo:linkname add runtime.add"),
            "Adds: two\n numbers.");
  EXPECT_EQ(CleanDocumentation(CodeLanguage::kGo,
                               "See http://a.\n+checklocksignore\n+ 1"),
            "See http://a.\n+ 1");
  EXPECT_EQ(CleanDocumentation(CodeLanguage::kJavaScript,
                               "eslint-disable-next-line no-undef\nAdds."),
            "Adds.");
  EXPECT_EQ(CleanDocumentation(CodeLanguage::kRuby,
                               ":call-seq:\n  add(a) -> b\n\nAdds.\n:nodoc:"),
            "Adds.");
  EXPECT_EQ(CleanDocumentation(CodeLanguage::kRuby,
                               "Adds.\nrubocop:disable Metrics/AbcSize"),
            "Adds.");
  EXPECT_EQ(CleanDocumentation(CodeLanguage::kPhp, "phpcs:ignore A.B"), "");
}

// The authors' DOCSTRING_REGEX_TOKENIZER by Python's re:
//
//   re.compile(r"[^\s,'\"`.():\[\]=*;>{\}+-/\\]+|\\+|\.+|\(\)|{\}|\[\]|\(+|"
//              r"\)+|:+|\[+|\]+|{+|\}+|=+|\*+|;+|>+|\++|-+|/+").findall(text)
TEST(DocumentationTokensTest, AgreesWithTheAuthorsExpression) {
  EXPECT_THAT(
      DocumentationTokens("Adds `x` to y, e.g. f(a=[1], b={})... "
                          "see\u00a0http://x-y/z ** ((()) caf\u00e9's <b>"),
      ElementsAre("Adds", "x", "to", "y", "e", ".", "g", ".", "f", "(", "a",
                  "=", "[", "1", "]", "b", "=", "{}", ")", "...", "see", "http",
                  ":", "//", "x", "-", "y", "/", "z", "**", "(((", "))",
                  "caf\u00e9", "s", "<b", ">"));
  EXPECT_THAT(DocumentationTokens(" ,'\n"), IsEmpty());
}

TEST(CorpusPartitionTest, FoldersStayTogetherAndShareAsStated) {
  EXPECT_EQ(CorpusPartition("r", "a/b/c.py"), CorpusPartition("r", "a/b/d.py"));
  std::map<std::string, int> counts;
  for (int i = 0; i < 10000; ++i) {
    ++counts[CorpusPartition("r", absl::StrCat(i, "/a.py"))];
  }
  // Five standard deviations.
  EXPECT_NEAR(counts["train"], 8000, 200);
  EXPECT_NEAR(counts["valid"], 1000, 150);
  EXPECT_NEAR(counts["test"], 1000, 150);
}

// Every pair compared, and groups by flooding.
std::vector<int64_t> PlainNearDuplicates(
    const std::vector<std::vector<std::string>>& documents) {
  const size_t n = documents.size();
  const auto similar = [&](size_t a, size_t b) {
    std::map<std::string, std::pair<int, int>> counts;
    for (const std::string& token : documents[a]) ++counts[token].first;
    for (const std::string& token : documents[b]) ++counts[token].second;
    double both = 0, least = 0, most = 0;
    for (const auto& [token, count] : counts) {
      both += count.first > 0 && count.second > 0;
      least += std::min(count.first, count.second);
      most += std::max(count.first, count.second);
    }
    return both / counts.size() >= 0.8 && least / most >= 0.7;
  };
  std::vector<int64_t> out;
  std::vector<bool> seen(n, false);
  for (size_t i = 0; i < n; ++i) {
    if (seen[i]) continue;
    std::vector<size_t> open = {i};
    seen[i] = true;
    while (!open.empty()) {
      const size_t at = open.back();
      open.pop_back();
      for (size_t j = 0; j < n; ++j) {
        if (seen[j] || !similar(at, j)) continue;
        seen[j] = true;
        out.push_back(static_cast<int64_t>(j));
        open.push_back(j);
      }
    }
  }
  std::sort(out.begin(), out.end());
  return out;
}

TEST(NearDuplicatesTest, AgreesWithAllPairs) {
  std::mt19937 random(1);
  int64_t found = 0;
  for (int round = 0; round < 60; ++round) {
    std::vector<std::vector<std::string>> documents;
    for (int i = 0; i < 60; ++i) {
      if (i > 0 && random() % 2 == 0) {
        // An earlier one with a few words changed.
        documents.push_back(documents[random() % i]);
        for (int change = static_cast<int>(random() % 4); change > 0;
             --change) {
          documents.back()[random() % documents.back().size()] =
              absl::StrCat("w", random() % 30);
        }
        continue;
      }
      documents.emplace_back();
      for (int n = 3 + static_cast<int>(random() % 20); n > 0; --n) {
        documents.back().push_back(absl::StrCat("w", random() % 30));
      }
    }
    const std::vector<int64_t> got = NearDuplicates(documents);
    EXPECT_EQ(got, PlainNearDuplicates(documents)) << round;
    found += static_cast<int64_t>(got.size());
  }
  EXPECT_GT(found, 500);
  EXPECT_THAT(NearDuplicates({}), IsEmpty());
}

TEST(WriteCodeCorpusTest, WritesTheSchema) {
  const std::string dir = absl::StrCat(testing::TempDir(), "/corpus");
  const CodeCorpus corpus =
      Build({File(CodeLanguage::kPython, "a/code.py",
                  PythonFunction("alpha", "'''Adds two numbers.'''"))});
  const absl::Status written = WriteCodeCorpus(corpus, dir);
  ASSERT_TRUE(written.ok()) << written;
  size_t records = 0;
  for (const char* partition : {"train", "valid", "test"}) {
    const auto lines =
        ReadJsonl(absl::StrCat(dir, "/python/", partition, ".jsonl.gz"));
    ASSERT_TRUE(lines.ok()) << lines.status();
    for (const JsonLine& line : *lines) {
      ++records;
      EXPECT_EQ(line.value["func_name"], "alpha");
      EXPECT_EQ(line.value["language"], "python");
      EXPECT_EQ(line.value["partition"], partition);
      EXPECT_EQ(line.value["docstring_tokens"].size(), 4);
      EXPECT_EQ(line.value["code"], line.value["original_string"]);
      std::set<std::string> fields;
      for (const auto& [name, value] : line.value.items()) fields.insert(name);
      EXPECT_THAT(
          fields,
          ElementsAre("code", "code_tokens", "docstring", "docstring_tokens",
                      "func_name", "language", "original_string", "partition",
                      "path", "repo", "sha", "url"));
    }
  }
  EXPECT_EQ(records, 1);
}

TEST(CheckCorpusFolderTest, RefusesWhatItWouldMixWith) {
  const std::string dir = absl::StrCat(testing::TempDir(), "/check");
  const std::vector<CodeLanguage> python = {CodeLanguage::kPython};
  EXPECT_TRUE(CheckCorpusFolder(dir, python).ok());
  for (const char* folder : {"python", "licenses"}) {
    std::filesystem::create_directories(absl::StrCat(dir, "/", folder));
  }
  ASSERT_TRUE(WriteFileAtomically(dir + "/manifest.json", "{}").ok());
  EXPECT_TRUE(CheckCorpusFolder(dir, python).ok());
  EXPECT_THAT(
      CheckCorpusFolder(dir, {CodeLanguage::kGo}).message(),
      HasSubstr("holds a corpus of python, which would not be made anew"));
  ASSERT_TRUE(WriteFileAtomically(dir + "/thesis.tex", "...").ok());
  EXPECT_THAT(CheckCorpusFolder(dir, python).message(),
              HasSubstr("holds thesis.tex, which is no part of a corpus"));
  EXPECT_THAT(CheckCorpusFolder(dir + "/thesis.tex", python).message(),
              HasSubstr("Not a directory"));
}

TEST(ParsePrintUrisTest, ReadsWhatAptPrints) {
  const std::string digest(64, 'a');
  const std::string output = absl::StrCat(
      "Notice: something\n'http://host/pool/r/ruby-rails_6.1_all.deb' "
      "ruby-rails_2%3a6.1.7_all.deb 26788 SHA256:",
      digest, "\n'http://host/pool/a_1_all.deb' a_1_all.deb 5 SHA256:", digest,
      "\n");
  const auto packages = ParsePrintUris(output, {"a", "ruby-rails"});
  ASSERT_TRUE(packages.ok()) << packages.status();
  EXPECT_EQ(packages->size(), 2);
  const DebianPackage& package = packages->at("ruby-rails");
  EXPECT_EQ(package.name, "ruby-rails");
  EXPECT_EQ(package.url, "http://host/pool/r/ruby-rails_6.1_all.deb");
  EXPECT_EQ(package.version, "2:6.1.7");
  EXPECT_EQ(package.bytes, 26788);
  EXPECT_EQ(package.sha256, digest);
  EXPECT_EQ(packages->at("a").version, "1");
  EXPECT_THAT(ParsePrintUris(output, {"a", "b"}).status().message(),
              HasSubstr("download b printed no URL"));
  for (const std::string bad :
       {"", "nothing", "'http://host/a.deb' a_1_all.deb 5 MD5:abc",
        "'http://host/a.deb' a_1_all.deb x SHA256:abc",
        "'http://host/a.deb'"}) {
    EXPECT_EQ(ParsePrintUris(bad, {"a"}).status().code(),
              absl::StatusCode::kInvalidArgument)
        << bad;
  }
  EXPECT_EQ(FindDebianPackages({"a", "--option"}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(CorpusPackagesTest, NamesEachOnce) {
  for (const CodeLanguage language : CorpusLanguages()) {
    const std::vector<std::string> names = CorpusPackages(language);
    EXPECT_FALSE(names.empty()) << code::LanguageName(language);
    EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(),
              names.size())
        << code::LanguageName(language);
  }
  EXPECT_THAT(CorpusPackages(CodeLanguage::kC), IsEmpty());
}

// "vendor" in a path means code of others, but Debian has all of Ruby there.
TEST(PathInSourcesTest, LeavesOutTheFolderOfInstallation) {
  EXPECT_EQ(PathInSources("usr/lib/ruby/vendor_ruby/mail/message.rb"),
            "mail/message.rb");
  EXPECT_EQ(PathInSources("usr/lib/python3/dist-packages/numpy/ma/core.py"),
            "numpy/ma/core.py");
  EXPECT_EQ(PathInSources("usr/share/mediawiki/vendor/a.php"),
            "mediawiki/vendor/a.php");
  EXPECT_EQ(PathInSources("etc/a.rb"), "etc/a.rb");
}

using Members = std::vector<std::pair<std::string, std::string>>;

std::string MakeArchive(const Members& members,
                        int (*set_format)(struct archive*),
                        int (*add_filter)(struct archive*),
                        const Members& links = {}) {
  std::string bytes(1 << 20, '\0');
  size_t used = 0;
  struct archive* writer = archive_write_new();
  const absl::Cleanup free_writer = [&] { archive_write_free(writer); };
  set_format(writer);
  if (add_filter != nullptr) add_filter(writer);
  EXPECT_EQ(
      archive_write_open_memory(writer, bytes.data(), bytes.size(), &used),
      ARCHIVE_OK);
  for (const auto& [name, content] : members) {
    struct archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, name.c_str());
    archive_entry_set_size(entry, static_cast<la_int64_t>(content.size()));
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    EXPECT_EQ(archive_write_header(writer, entry), ARCHIVE_OK);
    archive_write_data(writer, content.data(), content.size());
    archive_entry_free(entry);
  }
  for (const auto& [name, target] : links) {
    struct archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, name.c_str());
    archive_entry_set_filetype(entry, AE_IFLNK);
    archive_entry_set_symlink(entry, target.c_str());
    EXPECT_EQ(archive_write_header(writer, entry), ARCHIVE_OK);
    archive_entry_free(entry);
  }
  archive_write_close(writer);
  bytes.resize(used);
  return bytes;
}

TEST(ReadDebianPackageTest, ReadsFilesAndSrcZip) {
  const std::string zip =
      MakeArchive({{"java/A.java", "class A {}"}, {"java/a.txt", "no"}},
                  archive_write_set_format_zip, nullptr);
  const std::string tar = MakeArchive(
      {{"./usr/lib/a.py", "a = 1"},
       {"./usr/lib/src.zip", zip},
       {"./usr/share/doc/p/copyright", "License: MIT\n"}},
      archive_write_set_format_pax_restricted, archive_write_add_filter_xz,
      {{"./usr/share/doc/q", "p"}, {"./usr/lib/b.py", "a.py"}});
  const std::string deb =
      MakeArchive({{"debian-binary", "2.0\n"},
                   {"control.tar.xz", "ignored"},
                   {"data.tar.xz", tar}},
                  archive_write_set_format_ar_svr4, nullptr);
  const std::string path = absl::StrCat(testing::TempDir(), "/p.deb");
  ASSERT_TRUE(WriteFileAtomically(path, deb).ok());
  std::map<std::string, std::string> files;
  const auto wanted = [](const std::string& name) {
    return !absl::EndsWith(name, ".txt");
  };
  const auto keep = [&](const std::string& name, std::string content) {
    files[name] = std::move(content);
    return absl::OkStatus();
  };
  std::map<std::string, std::string> links;
  const absl::Status status = ReadDebianPackage(
      path, wanted, keep, [&](const std::string& name, const std::string& to) {
        links[name] = to;
      });
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(links, (std::map<std::string, std::string>{
                       {"usr/lib/b.py", "a.py"}, {"usr/share/doc/q", "p"}}));
  EXPECT_EQ(files, (std::map<std::string, std::string>{
                       {"usr/lib/a.py", "a = 1"},
                       {"usr/lib/src.zip/java/A.java", "class A {}"},
                       {"usr/share/doc/p/copyright", "License: MIT\n"}}));

  for (size_t size = 0; size < deb.size(); size += 97) {
    ASSERT_TRUE(WriteFileAtomically(path, deb.substr(0, size)).ok());
    EXPECT_FALSE(ReadDebianPackage(path, wanted, keep).ok()) << size;
  }
  ASSERT_TRUE(WriteFileAtomically(path, "not a package at all").ok());
  EXPECT_FALSE(ReadDebianPackage(path, wanted, keep).ok());
  EXPECT_FALSE(ReadDebianPackage(path + ".none", wanted, keep).ok());
}

TEST(LicensesOfTest, NamesEachOnce) {
  EXPECT_THAT(LicensesOf("Format: https://host/1.0/\nFiles: *\n"
                         "License: MIT\n text\nLicense: BSD-3\n"
                         "License: MIT\nLicense:\n"),
              ElementsAre("BSD-3", "MIT"));
  EXPECT_THAT(LicensesOf("It is free."), ElementsAre("see the file"));
  // As in Python's.
  EXPECT_THAT(LicensesOf("Copyright: he.\nLicense: By using this software you "
                         "agree.\n"),
              ElementsAre("see the file"));
}

}  // namespace
}  // namespace repro
