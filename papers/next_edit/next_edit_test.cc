#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "common/assets/sha256.h"
#include "common/assets/test_asset.h"
#include "common/data/io.h"
#include "common/metrics/python_text.h"
#include "papers/next_edit/analogy.h"
#include "papers/next_edit/evaluation.h"
#include "papers/next_edit/filters.h"
#include "papers/next_edit/sample.h"

namespace repro::next_edit {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string TempFile(const std::string& name, const std::string& content) {
  const std::string path = absl::StrCat(testing::TempDir(), "/", name);
  EXPECT_TRUE(WriteFileAtomically(path, content).ok());
  return path;
}

// Lines "first" to "last", with line ends.
std::string Numbers(int first, int last) {
  std::string text;
  for (int i = first; i <= last; ++i) absl::StrAppend(&text, i, "\n");
  return text;
}

// `text` with `inserted` behind the line that holds the number `after`.
std::string With(const std::string& text, int after,
                 const std::string& inserted) {
  return absl::StrReplaceAll(text,
                             {{absl::StrCat("\n", after, "\n"),
                               absl::StrCat("\n", after, "\n", inserted)}});
}

// ---- Samples ---------------------------------------------------------------

// Values of remove_last_edit_chunk() of the authors' data_processing.py in
// CPython 3.11.
TEST(RemoveLastInsertion, IsTheAuthors) {
  EXPECT_EQ(RemoveLastInsertion("a\nb\nc\n", "a\nx\nb\ny\nc\n"),
            "a\nx\nb\nc\n");
  EXPECT_EQ(RemoveLastInsertion("a\r\nb\r\n", "a\r\nb\r\nc\r\n"), "a\r\nb\r\n");
  EXPECT_EQ(RemoveLastInsertion("a\fb\n", "a\fX\fb\n"), "a\fb\n");
  EXPECT_EQ(RemoveLastInsertion("", "x\n"), "");
  // The last line gets a line end: a replacement.
  EXPECT_EQ(RemoveLastInsertion("a\nb", "a\nb\nc"), std::nullopt);
  EXPECT_EQ(RemoveLastInsertion("a\n", "a\n"), std::nullopt);
}

TEST(Prompt, IsTheText) {
  const Sample sample = {0,     "go",       "x.go",          "x.go",
                         "a\n", "a\nb\r\n", "a\nb\r\nc\r\n", ""};
  EXPECT_EQ(Prompt(sample),
            "<|original_code|>\na\n\n"
            "<|edits_diff|>\n--- x.go\n+++ x.go\n@@ -1 +1,2 @@\n a\n+b\n"
            "<|current_version|>\na\nb\r\n\n"
            "<|next_version|>\n");
  EXPECT_EQ(Target(sample), "a\nb\r\nc\r\n\n");
}

constexpr char kRecord[] =
    R"({"index":0,"language":"cpp","old_file":"a","new_file":"a",)"
    R"("old_contents":"x\r\n","current_contents":"x\r\ny","new_contents":"z",)"
    R"("text_sha256":"0"})";

TEST(ReadSamples, ReadsLinesThatEndEitherWay) {
  const auto samples = ReadSamples(TempFile(
      "samples.jsonl",
      absl::StrCat(
          kRecord, "\r\n\r\n",
          absl::StrReplaceAll(kRecord, {{"\"index\":0", "\"index\":1"}}))));
  ASSERT_TRUE(samples.ok()) << samples.status();
  ASSERT_EQ(samples->size(), 2);
  EXPECT_EQ((*samples)[0].old_contents, "x\r\n");
  EXPECT_EQ((*samples)[1].current_contents, "x\r\ny");
}

TEST(ReadSamples, SaysWhatIsWrongAndWhere) {
  const auto error = [](const std::string& content) {
    const auto samples = ReadSamples(TempFile("bad.jsonl", content));
    EXPECT_TRUE(absl::IsInvalidArgument(samples.status())) << content;
    return std::string(samples.status().message());
  };
  const std::string record = kRecord;
  EXPECT_THAT(error(""), HasSubstr("bad.jsonl: no samples"));
  EXPECT_THAT(error(record + "\n{\"index\": 1"), HasSubstr("bad.jsonl:2: "));
  EXPECT_THAT(error(record + "\n\n{}\n"),
              HasSubstr("bad.jsonl:3: field \"language\""));
  EXPECT_THAT(error("[]"), HasSubstr("bad.jsonl:1: field \"language\""));
  EXPECT_THAT(error(record + "\n" + record), HasSubstr("field \"index\""));
  EXPECT_THAT(error(absl::StrReplaceAll(record, {{"cpp", "c++"}})),
              HasSubstr("no language of the test set: c++"));
  EXPECT_THAT(error(absl::StrReplaceAll(record, {{"\"0\"", "0"}})),
              HasSubstr("field \"text_sha256\""));
  EXPECT_THAT(error(absl::StrReplaceAll(record, {{"\"z\"", "null"}})),
              HasSubstr("field \"new_contents\""));
  EXPECT_TRUE(absl::IsNotFound(ReadSamples("/none/such.jsonl").status()));
}

// ---- Filters ---------------------------------------------------------------

// Worked with the authors' edit_window_size() and extract_edit_context().
TEST(DescribeEdits, ChunksAndWindow) {
  const std::string old_contents = Numbers(1, 60);
  const std::string new_contents =
      With(With(old_contents, 30, "x\n"), 40, "y\nz\n");
  const EditShape shape =
      DescribeEdits(old_contents, new_contents, HunkRule::kAsCoded);
  EXPECT_THAT(shape.chunks, ElementsAre(1, 2));
  EXPECT_EQ(shape.num_deleted, 0);
  ASSERT_TRUE(shape.window.has_value());
  EXPECT_EQ(shape.window->old_first, 28);
  EXPECT_EQ(shape.window->old_last, 43);
  EXPECT_EQ(shape.window->new_first, 28);
  EXPECT_EQ(shape.window->new_last, 46);
  EXPECT_EQ(shape.window->num_lines(), 19);

  const auto cut =
      CutToWindow(old_contents, new_contents, HunkRule::kAsCoded, 5);
  ASSERT_TRUE(cut.has_value());
  // 4 lines before line 28, 6 behind line 43.
  EXPECT_EQ(absl::StrCat(cut->old_contents, "\n"), Numbers(24, 49));
  EXPECT_EQ(absl::StrCat(cut->new_contents, "\n"),
            With(With(Numbers(24, 49), 30, "x\n"), 40, "y\nz\n"));
  const auto published =
      CutToWindow(old_contents, new_contents, HunkRule::kAsPublished, 5);
  ASSERT_TRUE(published.has_value());
  EXPECT_EQ(absl::StrCat(published->old_contents, "\n"), Numbers(23, 48));
  // More context than there are lines.
  EXPECT_EQ(CutToWindow(old_contents, new_contents, HunkRule::kAsPublished, 99)
                ->new_contents,
            new_contents);
}

TEST(DescribeEdits, TheAuthorsDoNotSeeHunksOfOneLine) {
  // "@@ -1 +1,2 @@"
  EXPECT_FALSE(DescribeEdits("a\n", "a\nb\n", HunkRule::kAsCoded).window);
  EXPECT_FALSE(CutToWindow("a\n", "a\nb\n", HunkRule::kAsCoded).has_value());
  const auto window =
      DescribeEdits("a\n", "a\nb\n", HunkRule::kAsPublished).window;
  ASSERT_TRUE(window.has_value());
  EXPECT_EQ(window->num_lines(), 2);
  EXPECT_EQ(FilterCommit("a\n", "b\na\nc\n", HunkRule::kAsCoded),
            FilterResult::kWideWindow);
  EXPECT_EQ(FilterCommit("a\n", "b\na\nc\n", HunkRule::kAsPublished),
            FilterResult::kKept);
}

TEST(FilterCommit, LimitsAreInclusive) {
  const auto filter = [](const std::string& o, const std::string& n) {
    return FilterCommit(o, n, HunkRule::kAsCoded);
  };
  const std::string file = Numbers(1, 200);
  const std::string two = With(With(file, 10, "x\n"), 30, "y\n");
  EXPECT_EQ(filter(file, two), FilterResult::kKept);
  EXPECT_EQ(filter(file, With(file, 10, "x\n")), FilterResult::kOneChunk);
  EXPECT_EQ(filter(file, file), FilterResult::kWideWindow);
  EXPECT_EQ(filter(file, With(two, 50, "1\n2\n3\n4\n5\n")),
            FilterResult::kKept);
  EXPECT_EQ(filter(file, With(two, 50, "1\n2\n3\n4\n5\n6\n")),
            FilterResult::kLongChunk);
  // New lines 8 to 87 and 8 to 88.
  EXPECT_EQ(filter(file, With(With(file, 10, "x\n"), 82, "y\n")),
            FilterResult::kKept);
  EXPECT_EQ(filter(file, With(With(file, 10, "x\n"), 83, "y\n")),
            FilterResult::kWideWindow);
  EXPECT_EQ(filter(With(file, 20, "gone\n"), two), FilterResult::kDeletesLines);
}

TEST(FilterCommit, CountsCharactersNotBytes) {
  const auto filter = [](int64_t characters) {
    std::string line;
    for (int64_t i = 0; i < characters; ++i) line += "\u00E9";
    // Twice the line, and 12 more characters.
    return FilterCommit(absl::StrCat("1\n", line, "\n2\n"),
                        absl::StrCat("x\n1\n", line, "\n2\ny\n"),
                        HunkRule::kAsCoded);
  };
  EXPECT_EQ(filter((32768 - 14) / 2), FilterResult::kKept);
  EXPECT_EQ(filter((32768 - 14) / 2 + 1), FilterResult::kTooLong);
}

// ---- Metrics ---------------------------------------------------------------

Matches Of(const std::string& current, const std::string& truth,
           const std::string& output) {
  const auto matches = Match(current, truth, output);
  EXPECT_TRUE(matches.ok()) << matches.status();
  return matches.value_or(Matches());
}

int Level(const Matches& m) {
  EXPECT_LE(m.exact, m.partial);
  EXPECT_LE(m.partial, m.position);
  return m.exact + m.partial + m.position;
}

// Values of the authors' evaluate.py in CPython 3.11: 3 is exact, 2 partial, 1
// position.
TEST(Match, IsTheAuthors) {
  const std::string current = "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n";
  const std::string truth = "a\nb\nc\nd\ne\nX\nf\ng\nh\ni\nj\n";
  const auto level = [&](const std::string& output) {
    return Level(Of(current, truth, output));
  };
  EXPECT_EQ(level(truth), 3);
  EXPECT_EQ(level(truth.substr(0, truth.size() - 1)), 2);
  EXPECT_EQ(level(absl::StrReplaceAll(truth, {{"X", "Y"}})), 1);
  EXPECT_EQ(level(current), 0);
  EXPECT_EQ(level(""), 0);
  EXPECT_EQ(level("Z\n" + truth), 0);
  // A right edit with another within six lines, even of blank lines.
  EXPECT_EQ(level(truth + "Q\n"), 0);
  EXPECT_EQ(level(truth + "\n"), 0);
  EXPECT_EQ(level(absl::StrReplaceAll(truth, {{"f\n", "f\n\n"}})), 0);
}

TEST(Match, OtherEditsFarAwayDoNotMatter) {
  const std::string current = Numbers(1, 30);
  const std::string truth = With(current, 5, "X\n");
  EXPECT_EQ(Level(Of(current, truth, With(truth, 20, "Y\n"))), 2);
  EXPECT_EQ(Level(Of(current, truth, With(current, 20, "X\n"))), 0);
}

TEST(Match, PositionIsOfTextNotOfNumbers) {
  const std::string half = Numbers(1, 10);
  EXPECT_EQ(Level(Of(half + half, With(half, 5, "X\n") + half,
                     half + With(half, 5, "X\n"))),
            1);
}

TEST(Match, BlankChangesDoNotCount) {
  for (const char* truth : {"a\n\nb\n", "a\n \t\nb\n", "a\nb\n"}) {
    EXPECT_TRUE(
        absl::IsInvalidArgument(Match("a\nb\n", truth, "a\nc\nb\n").status()));
  }
}

TEST(Match, LineEndsDoNotCountButForExact) {
  const std::string current = "a\r\nb\r\n";
  EXPECT_EQ(Level(Of(current, "a\r\nb\r\nc\r\n", "a\nb\nc\n")), 2);
}

TEST(ExactUpToTrailingSpace, IsRstrips) {
  EXPECT_TRUE(ExactUpToTrailingSpace("a\n", "a"));
  EXPECT_TRUE(ExactUpToTrailingSpace("a\u3000\r\n\x1C", "a \n\n"));
  EXPECT_TRUE(ExactUpToTrailingSpace("", "\n"));
  EXPECT_FALSE(ExactUpToTrailingSpace("a\n", "\na"));
  EXPECT_FALSE(ExactUpToTrailingSpace("a\u200B", "a"));
}

// Values of generate_api.py and, below, generate_offline.py in CPython 3.11.
TEST(Answer, OfApiModels) {
  EXPECT_EQ(AnswerOfApiModel("<next_version>\na\nb\n</next_version>"), "a\nb");
  EXPECT_EQ(AnswerOfApiModel("<next_version>\na\n\n</next_version>\n"), "a\n");
  EXPECT_EQ(AnswerOfApiModel("```go\n<next_version>\na\n</next_version>\n```"),
            "a");
  EXPECT_EQ(
      AnswerOfApiModel("```go\n<next_version>\na\n</next_version>\n```\n"),
      "a");
  // What is cut off is not the fence.
  for (const char* response :
       {"```\n<next_version>\na\n</next_version>\n```\n\n",
        "```\n<next_version>\na\n</next_version>```"}) {
    EXPECT_EQ(AnswerOfApiModel(response), std::nullopt);
  }
  EXPECT_EQ(AnswerOfApiModel("Here: <next_version>\na\n</next_version>"),
            std::nullopt);
  EXPECT_EQ(AnswerOfApiModel("<next_version>a</next_version>"), std::nullopt);
  EXPECT_EQ(AnswerOfApiModel("<next_version>\n</next_version>"), "");
  EXPECT_EQ(AnswerOfApiModel(""), std::nullopt);
  EXPECT_EQ(AnswerOfApiModel("```"), std::nullopt);
  EXPECT_EQ(AnswerOfApiModel("```\n"), std::nullopt);
}

TEST(Answer, OfLocalModels) {
  EXPECT_EQ(AnswerOfLocalModel("Sure:\n<next_version>\na\n</next_version>."),
            "a");
  EXPECT_EQ(AnswerOfLocalModel("<next_version>\na"), "<next_version>\na");
  // The tags have no line end to share here.
  EXPECT_EQ(AnswerOfLocalModel("<next_version>\n</next_version>"),
            "<next_version>\n</next_version>");
  EXPECT_EQ(AnswerOfLocalModel(""), "");
}

TEST(ReadOutputs, ReadsAndNamesWhatIsWrong) {
  const std::string a =
      R"({"index":4,"file_position":1,"model_output":"x","judge":"yes"})";
  const std::string b =
      R"({"index":2,"file_position":0,"model_output":"","judge":"yes."})";
  const auto outputs =
      ReadOutputs(TempFile("outputs.jsonl", a + "\r\n" + b + "\n"), 5);
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  ASSERT_EQ(outputs->size(), 2);
  EXPECT_EQ((*outputs)[0].index, 4);
  EXPECT_TRUE((*outputs)[0].judged_correct);
  EXPECT_FALSE((*outputs)[1].judged_correct);

  const auto error = [](const std::string& content) {
    const auto bad = ReadOutputs(TempFile("bad_outputs.jsonl", content), 5);
    EXPECT_TRUE(absl::IsInvalidArgument(bad.status())) << content;
    return std::string(bad.status().message());
  };
  EXPECT_THAT(error("\n"), HasSubstr("no outputs"));
  EXPECT_THAT(error(a), HasSubstr("bad_outputs.jsonl:1: field \"file_pos"));
  EXPECT_THAT(error(b + "\n" + b), HasSubstr(":2: field \"file_position\""));
  EXPECT_THAT(error(absl::StrReplaceAll(b, {{"2", "5"}})),
              HasSubstr("field \"index\": 5"));
  EXPECT_THAT(error(absl::StrReplaceAll(b, {{"\"yes.\"", "true"}})),
              HasSubstr("field \"judge\""));
  EXPECT_THAT(error("{"), HasSubstr("bad_outputs.jsonl:1: "));
}

// ---- The authors' program --------------------------------------------------

// Draws what authors_cases.py draws.
class Drawer {
 public:
  int64_t Draw(int64_t k) {
    state_ = (state_ * 1103515245 + 12345) % (int64_t{1} << 31);
    return (state_ >> 16) % k;
  }

  std::string Line(int64_t k) {
    static const char* const kLines[] = {"a", "b", "c", "d", "e",
                                         "f", "",  " ", "g", "h"};
    static const char* const kEnds[] = {"\n", "\n",   "\n", "\n",     "\n",
                                        "\n", "\r\n", "\f", "\u2028", "\x1C"};
    const std::string line = kLines[Draw(k)];
    return line + kEnds[Draw(k < 10 ? 7 : 10)];
  }

  std::vector<std::string> Edited(const std::vector<std::string>& lines,
                                  int64_t rate, int64_t k) {
    std::vector<std::string> result;
    for (const std::string& line : lines) {
      const int64_t what = Draw(rate);
      if (what == 0) result.push_back(Line(k));
      if (what != 1) result.push_back(line);
    }
    return result;
  }

  // One time in four without the last character.
  std::string Joined(const std::vector<std::string>& lines) {
    std::string text = absl::StrJoin(lines, "");
    if (Draw(4) != 0 || text.empty()) return text;
    const size_t last = absl::EndsWith(text, "\u2028") ? 3 : 1;
    return text.substr(0, text.size() - last);
  }

 private:
  int64_t state_ = 1;
};

TEST(AuthorsProgram, AgreesOnRandomCases) {
  Drawer drawer;
  std::string text;
  for (int trial = 0; trial < 500; ++trial) {
    const int64_t k = std::vector<int64_t>{3, 6, 10}[drawer.Draw(3)];
    std::vector<std::string> old_lines(drawer.Draw(40));
    for (std::string& line : old_lines) line = drawer.Line(k);
    std::vector<std::string> new_lines;
    for (const std::string& line : old_lines) {
      if (drawer.Draw(8) == 0) {
        for (int64_t more = 1 + drawer.Draw(7); more > 0; --more) {
          new_lines.push_back(drawer.Line(k));
        }
      }
      new_lines.push_back(line);
    }
    if (drawer.Draw(3) == 0) new_lines = drawer.Edited(new_lines, 30, k);
    const std::string o = drawer.Joined(old_lines);
    const std::string n = drawer.Joined(new_lines);
    const std::optional<std::string> current = RemoveLastInsertion(o, n);
    FilterLimits limits;
    limits.max_window_lines = 25;
    // The script counts filters from that of one chunk; kept comes last.
    const FilterResult result = FilterCommit(o, n, HunkRule::kAsCoded, limits);
    const int number = result == FilterResult::kKept
                           ? 4
                           : static_cast<int>(result) -
                                 static_cast<int>(FilterResult::kOneChunk);
    absl::StrAppend(&text, current.value_or("None"), "|", number, "\n");
    if (const auto cut = CutToWindow(o, n, HunkRule::kAsCoded, 4)) {
      absl::StrAppend(&text, cut->old_contents, "|\n", cut->new_contents,
                      "|\n");
    }
    if (!current.has_value() || !Match(*current, n, n).ok()) continue;
    std::vector<std::string> lines;
    for (const auto line : metrics::SplitLines(n, metrics::LineEnds::kKeep)) {
      lines.emplace_back(line);
    }
    const Matches matches =
        Of(*current, n, drawer.Joined(drawer.Edited(lines, 40, k)));
    absl::StrAppend(&text, matches.exact + matches.partial + matches.position,
                    "\n");
  }
  EXPECT_EQ(Sha256(text),
            "f74a30274224a83d0547605a45e262ff8e09ee34a7a573bcc048e236a2d85789");
}

// ---- The rule --------------------------------------------------------------

constexpr char kUses[] =
    "int a;\nint b;\nvoid f() {\n  use(a);\n  log(a);\n  use(b);\n}\n";

// Values of a Python program of the same definition.
TEST(RepeatEdit, AdaptsWordsAndIndentation) {
  EXPECT_EQ(RepeatEdit(kUses, {4, 5}, Places::kBelow),
            "int a;\nint b;\nvoid f() {\n  use(a);\n  log(a);\n  use(b);\n"
            "  log(b);\n}\n");
  EXPECT_EQ(RepeatEdit(kUses, {1, 2}, Places::kBelow),
            "int a;\nint b;\nvoid f() {\n  use(a);\n  int b;\n  log(a);\n"
            "  use(b);\n}\n");
  EXPECT_EQ(RepeatEdit(kUses, {4, 5}, Places::kAll),
            "int a;\nint b;\nvoid f() {\nlog(a);\n  use(a);\n  log(a);\n"
            "  use(b);\n}\n");
}

TEST(RepeatEdit, KeepsLineEnds) {
  EXPECT_EQ(RepeatEdit(absl::StrReplaceAll(kUses, {{"\n", "\r\n"}}), {4, 5},
                       Places::kBelow),
            absl::StrReplaceAll(RepeatEdit(kUses, {4, 5}, Places::kBelow),
                                {{"\n", "\r\n"}}));
  // The one place left is the end.
  EXPECT_EQ(RepeatEdit("a\nb", {0, 1}, Places::kAll), "a\nb\na");
  EXPECT_EQ(RepeatEdit("a\nb\n", {0, 1}, Places::kAll), "a\nb\na\n");
}

TEST(RepeatEdit, NoPlaceNoChange) {
  EXPECT_EQ(RepeatEdit("a\n", {0, 1}, Places::kAll), "a\n");
  EXPECT_EQ(RepeatEdit("b\na\n", {1, 2}, Places::kBelow), "b\na\n");
}

TEST(TransferEdit, AdaptsToTheOtherText) {
  EXPECT_EQ(TransferEdit("void g() {\n  use(x);\n  log(x);\n", {2, 3},
                         "int b;\nvoid f() {\n    use(b);\n}\n"),
            "int b;\nvoid f() {\n    use(b);\n    log(b);\n}\n");
  // It stands there already.
  EXPECT_EQ(TransferEdit("a\n", {0, 1}, "a"), "a");
}

TEST(NearestInOtherLanguages, ByTheTokensOfAddedLines) {
  const auto sample = [](const char* language, const char* added) {
    Sample sample;
    sample.language = language;
    sample.old_contents = "same\n";
    sample.current_contents = absl::StrCat("same\n", added, "\n");
    return sample;
  };
  const std::vector<Sample> samples = {
      sample("go", "use(a)"), sample("go", "use(a)"), sample("c", "log(b)"),
      sample("cpp", "use(b)"), sample("java", "use(b)")};
  EXPECT_THAT(*NearestInOtherLanguages(samples), ElementsAre(3, 3, 3, 4, 3));
  EXPECT_TRUE(absl::IsNotFound(
      NearestInOtherLanguages({samples[0], samples[1]}).status()));
}

TEST(LastInsertion, IsOfTheCurrentContents) {
  const std::string old_contents = Numbers(1, 9);
  const auto edit = LastInsertion(
      old_contents, With(With(old_contents, 3, "x\n"), 6, "y\nz\n"));
  ASSERT_TRUE(edit.has_value());
  EXPECT_EQ(edit->begin, 7);
  EXPECT_EQ(edit->end, 9);
  EXPECT_FALSE(LastInsertion("a\n", "b\n").has_value());
  EXPECT_FALSE(LastInsertion("a\n", "").has_value());
}

TEST(ChancePositionMatch, CountsPlaces) {
  Sample sample;
  sample.old_contents = Numbers(1, 10);
  sample.current_contents = With(sample.old_contents, 3, "X\n");
  sample.new_contents = With(sample.current_contents, 8, "Y\n");
  // 12 places less the two at the edit; below are those behind lines 4 to 10.
  EXPECT_DOUBLE_EQ(*ChancePositionMatch(sample, Places::kAll), 1.0 / 10);
  EXPECT_DOUBLE_EQ(*ChancePositionMatch(sample, Places::kBelow), 1.0 / 7);
  sample.current_contents = sample.old_contents;
  EXPECT_TRUE(absl::IsInvalidArgument(
      ChancePositionMatch(sample, Places::kAll).status()));
}

// ---- The test set ----------------------------------------------------------

TEST(TestSet, EveryTextIsRebuilt) {
  const std::string path = FindTestAsset("next_edit/test210.jsonl.gz");
  if (path.empty()) {
    GTEST_SKIP() << "next_edit/test210.jsonl.gz is not below a folder of "
                    "REPRO_ASSETS";
  }
  const auto samples = ReadSamples(path);
  ASSERT_TRUE(samples.ok()) << samples.status();
  ASSERT_EQ(samples->size(), 210);
  for (const Sample& sample : *samples) {
    EXPECT_EQ(Sha256(absl::StrCat(Prompt(sample), Target(sample))),
              sample.text_sha256)
        << sample.index;
    EXPECT_EQ(RemoveLastInsertion(sample.old_contents, sample.new_contents),
              sample.current_contents)
        << sample.index;
  }
}

}  // namespace
}  // namespace repro::next_edit
