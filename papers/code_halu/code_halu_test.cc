#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/time.h"
#include "common/assets/sha256.h"
#include "common/assets/test_asset.h"
#include "common/data/io.h"
#include "common/exec/namespaces_permitted.h"
#include "common/exec/sandbox.h"
#include "papers/code_halu/generations.h"
#include "papers/code_halu/harness.h"
#include "papers/code_halu/taxonomy.h"

namespace repro::code_halu {
namespace {

using nlohmann::json;
using testing::HasSubstr;

std::string TempFile(const std::string& name, const std::string& content) {
  const std::string path = absl::StrCat(testing::TempDir(), "/", name);
  EXPECT_TRUE(WriteFileAtomically(path, content).ok());
  return path;
}

// ---- Taxonomy --------------------------------------------------------------

TEST(Taxonomy, NamesGoBothWays) {
  for (const Category category : kCategories) {
    EXPECT_EQ(*ParseCategory(CategoryName(category)), category);
  }
  EXPECT_TRUE(absl::IsInvalidArgument(ParseCategory("Logic").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ParseCategory("").status()));
}

TEST(Taxonomy, VerdictsHaveTheCategoriesOfTheirClasses) {
  const struct {
    Category category;
    HallucinationType type;
    std::vector<const char*> verdicts;
  } cases[] = {
      {Category::kDataCompliance,
       HallucinationType::kMapping,
       {"TypeError", "ValueError", "ZeroDivisionError"}},
      {Category::kStructuralAccess,
       HallucinationType::kMapping,
       {"IndexError", "KeyError"}},
      {Category::kIdentification,
       HallucinationType::kNaming,
       {"NameError", "AttributeError", "UnboundLocalError"}},
      {Category::kExternalSource,
       HallucinationType::kNaming,
       {"ImportError", "ModuleNotFoundError"}},
      {Category::kPhysicalConstraint,
       HallucinationType::kResource,
       {"RecursionError", "MemoryError"}},
      {Category::kCalculateBoundary,
       HallucinationType::kResource,
       {"OverflowError", "StopIteration"}},
      {Category::kLogicDeviation, HallucinationType::kLogic, {kLogicDeviation}},
  };
  for (const auto& one : cases) {
    EXPECT_EQ(TypeOf(one.category), one.type);
    for (const char* verdict : one.verdicts) {
      EXPECT_EQ(CategoryOf(verdict, BreakdownRule::kAsCoded), one.category);
      EXPECT_EQ(CategoryOf(verdict, BreakdownRule::kAsPublished), one.category);
    }
  }
  for (const char* verdict :
       {kCorrect, kTestTimeout, kNoAnswer, "EOFError", "AssertionError",
        "SyntaxError", "json.decoder.JSONDecodeError", "typeerror", ""}) {
    EXPECT_EQ(CategoryOf(verdict, BreakdownRule::kAsPublished), std::nullopt)
        << verdict;
  }
}

TEST(Taxonomy, TheScriptLooksForBreakdownsByAnotherName) {
  EXPECT_EQ(TypeOf(Category::kLogicBreakdown), HallucinationType::kLogic);
  EXPECT_EQ(CategoryOf(kLogicBreakdown, BreakdownRule::kAsPublished),
            Category::kLogicBreakdown);
  EXPECT_EQ(CategoryOf(kLogicBreakdown, BreakdownRule::kAsCoded), std::nullopt);
  EXPECT_EQ(CategoryOf("Logic_Breakdown", BreakdownRule::kAsCoded),
            Category::kLogicBreakdown);
}

TEST(HallucinationRate, IsOfTheOwnCategoryAndOfRecords) {
  FileCounts counts;
  counts.by_verdict = {
      {"IndexError", 2}, {"KeyError", 1}, {"TypeError", 4}, {kCorrect, 1}};
  EXPECT_EQ(counts.total(), 8);
  EXPECT_DOUBLE_EQ(*HallucinationRate(counts, Category::kStructuralAccess, 12,
                                      BreakdownRule::kAsCoded),
                   25);
  EXPECT_DOUBLE_EQ(*HallucinationRate(counts, Category::kDataCompliance, 8,
                                      BreakdownRule::kAsCoded),
                   50);
  for (const int64_t records : {int64_t{7}, int64_t{0}, int64_t{-1}}) {
    EXPECT_TRUE(absl::IsInvalidArgument(
        HallucinationRate(counts, Category::kDataCompliance, records,
                          BreakdownRule::kAsCoded)
            .status()));
  }
  EXPECT_TRUE(absl::IsInvalidArgument(
      HallucinationRate(FileCounts(), Category::kDataCompliance, 7,
                        BreakdownRule::kAsCoded)
          .status()));
}

TEST(ReadVerdictCounts, ReadsAndNamesWhatIsWrong) {
  const std::string head = "halu_type,error_name,count\r\n";
  const auto counts = ReadVerdictCounts(
      TempFile("counts.csv", head + "Logic_Deviation,Correct,3\r\n"
                                    "Logic_Breakdown,Logic Breakdown,2\n"));
  ASSERT_TRUE(counts.ok()) << counts.status();
  EXPECT_EQ(counts->size(), 2);
  EXPECT_EQ(counts->at(Category::kLogicDeviation).Of(kCorrect), 3);
  EXPECT_EQ(counts->at(Category::kLogicDeviation).Of("KeyError"), 0);
  EXPECT_EQ(counts->at(Category::kLogicBreakdown)
                .Of(Category::kLogicBreakdown, BreakdownRule::kAsPublished),
            2);

  const auto error = [&](const std::string& content) {
    const auto bad = ReadVerdictCounts(TempFile("bad.csv", content));
    EXPECT_FALSE(bad.ok()) << content;
    return std::string(bad.status().message());
  };
  EXPECT_THAT(error(head), HasSubstr("bad.csv: no counts"));
  EXPECT_THAT(error(head + "Logic,Correct,3\n"), HasSubstr("bad.csv:2: "));
  EXPECT_THAT(error(head + "Logic_Deviation,,3\n"), HasSubstr("empty"));
  EXPECT_THAT(error(head + "Logic_Deviation,Correct,0\n"),
              HasSubstr("count is 0"));
  EXPECT_THAT(error(head + "Logic_Deviation,Correct,x\n"), HasSubstr(":2: "));
  EXPECT_THAT(error(head + "Logic_Deviation,Correct,1\n\n"
                           "Logic_Deviation,Correct,1\n"),
              HasSubstr("bad.csv:4: "));
  EXPECT_THAT(error("halu_type,count\nLogic_Deviation,1\n"),
              HasSubstr("error_name"));
  EXPECT_TRUE(absl::IsNotFound(ReadVerdictCounts("/none/such").status()));
}

// ---- Generations -----------------------------------------------------------

TEST(Prompt, ItsPartsComeInOrder) {
  Task task;
  task.question = "What?";
  EXPECT_THAT(Prompt(task),
              testing::MatchesRegex(
                  "\nQUESTION:\nWhat\\?\n.*input\\(\\) and print\\(\\)\\."));
  task.fn_name = "f";
  EXPECT_THAT(Prompt(task), testing::Not(HasSubstr("input()")));
  EXPECT_THAT(Prompt(task), testing::Not(HasSubstr("starter")));
  task.fn_name.reset();
  task.starter_code = "def f():";
  EXPECT_THAT(Prompt(task), testing::StartsWith("\nQUESTION:\nWhat?def f():"));
  EXPECT_THAT(Prompt(task), testing::Not(HasSubstr("input()")));
  EXPECT_THAT(Prompt(task),
              testing::EndsWith("<starter_coder>def f():<starter_coder>\n"));
}

TEST(GenerationRequest, IsTheAuthors) {
  const completion::CompletionRequest request = GenerationRequest(Task());
  EXPECT_TRUE(completion::Validate(request).ok());
  EXPECT_EQ(request.temperature, 0.001);
  EXPECT_EQ(request.max_tokens, 2048);
  ASSERT_EQ(request.messages.size(), 1);
  EXPECT_THAT(request.messages[0].content, testing::EndsWith(Prompt(Task())));
}

// Values of re.findall("```python(.*?)```", text, re.DOTALL) in CPython 3.11.
TEST(ExtractCode, TakesTheFirstPythonBlock) {
  EXPECT_EQ(ExtractCode("a ```python\nx\n``` b ```python\ny\n```"), "\nx\n");
  EXPECT_EQ(ExtractCode("```python```"), "");
  EXPECT_EQ(ExtractCode("```\nx\n``` ```python3\ny```"), "3\ny");
  for (const char* whole :
       {"", "print(1)", "```\nx\n```", "```python\nx", "```Python\nx```"}) {
    EXPECT_EQ(ExtractCode(whole), whole);
  }
}

constexpr char kSample[] =
    R"({"id":0,"task_id":7,"test_case_id":0,"question":"q","solutions":"[]",)"
    R"("difficulty":"interview","input":"1\n","output":"2\n",)"
    R"("halu_type":"Logic_Deviation","fn_name":null,"starter_code":"",)"
    R"("url":"u","input_output":"{}"})";

// A stand-in: the benchmark's files are not at hand.
TEST(ReadBenchmark, CountsTasksAndSamples) {
  const std::string sample = kSample;
  const auto samples = ReadBenchmark(TempFile(
      "benchmark.json",
      absl::StrCat(
          "[", sample, ",\n",
          absl::StrReplaceAll(sample,
                              {{"\"task_id\":7", "\"task_id\":\"7\""},
                               {"\"fn_name\":null", "\"fn_name\":\"f\""},
                               {"\"input\":\"1\\n\"", "\"input\":[1]"}}),
          ",",
          absl::StrReplaceAll(sample, {{"\"task_id\":7", "\"task_id\":8"}}),
          "]")));
  ASSERT_TRUE(samples.ok()) << samples.status();
  EXPECT_EQ(SizeOf(*samples).samples, 3);
  EXPECT_EQ(SizeOf(*samples).tasks, 2);
  EXPECT_EQ((*samples)[0].category, Category::kLogicDeviation);
  EXPECT_EQ((*samples)[0].test.expected, "2\n");
  EXPECT_FALSE((*samples)[0].task.fn_name.has_value());
  EXPECT_EQ((*samples)[1].task.fn_name, "f");
  EXPECT_EQ((*samples)[1].test.input, json::array({1}));
}

TEST(ReadBenchmark, NamesWhatIsWrong) {
  const std::string sample = kSample;
  const auto error = [](const std::string& content) {
    const auto bad = ReadBenchmark(TempFile("bad.json", content));
    EXPECT_TRUE(absl::IsInvalidArgument(bad.status())) << content;
    return std::string(bad.status().message());
  };
  EXPECT_THAT(error("[]"), HasSubstr("bad.json: no samples"));
  EXPECT_THAT(error("{}"), HasSubstr("bad.json: no samples"));
  EXPECT_THAT(error("[" + sample), HasSubstr("bad.json:1: "));
  EXPECT_THAT(error("[" + sample + ", 3]"),
              HasSubstr("sample 1: field \"task_id\""));
  EXPECT_THAT(
      error("[" + absl::StrReplaceAll(sample, {{"\"q\"", "null"}}) + "]"),
      HasSubstr("sample 0: field \"question\""));
  EXPECT_THAT(
      error("[" + absl::StrReplaceAll(sample, {{"\"output\"", "\"out\""}}) +
            "]"),
      HasSubstr("field \"output\""));
  EXPECT_THAT(
      error("[" + absl::StrReplaceAll(sample, {{"_Deviation", ""}}) + "]"),
      HasSubstr("field \"halu_type\""));
}

constexpr char kGeneration[] = R"json({"halu_type":"Logic_Deviation",
"task_id":"9","question":"q","starter_code":"","fn_name":null,
"generated_code":"print(1)","tests":[
{"input":"a","expected":"1","result":true,"error_name":"Correct"},
{"input":"b","expected":"2","result":-1,"error_name":"KeyError"}]})json";

TEST(ReadGenerations, ReadsAndNamesWhatIsWrong) {
  const std::string record = absl::StrReplaceAll(kGeneration, {{"\n", ""}});
  const auto generations = ReadGenerations(
      TempFile("generations.jsonl", record + "\r\n\n" + record + "\n"));
  ASSERT_TRUE(generations.ok()) << generations.status();
  ASSERT_EQ(generations->size(), 2);
  EXPECT_EQ((*generations)[1].task.task_id, "9");
  EXPECT_EQ((*generations)[1].code, "print(1)");
  ASSERT_EQ((*generations)[1].tests.size(), 2);
  EXPECT_EQ((*generations)[1].tests[1].verdict, "KeyError");

  const auto error = [&](const std::string& content) {
    const auto bad = ReadGenerations(TempFile("bad.jsonl", content));
    EXPECT_TRUE(absl::IsInvalidArgument(bad.status())) << content;
    return std::string(bad.status().message());
  };
  const auto with = [&](const char* before, const char* after) {
    return error(absl::StrCat(record, "\n",
                              absl::StrReplaceAll(record, {{before, after}})));
  };
  EXPECT_THAT(error(""), HasSubstr("bad.jsonl: no generations"));
  EXPECT_THAT(error(record.substr(0, 80)), HasSubstr("bad.jsonl:1: "));
  EXPECT_THAT(error("[]"), HasSubstr("bad.jsonl:1: field \"halu_type\""));
  EXPECT_THAT(with("Logic_Deviation", "Logic"),
              HasSubstr("bad.jsonl:2: field \"halu_type\""));
  EXPECT_THAT(with("\"print(1)\"", "1"), HasSubstr("field \"generated_code\""));
  EXPECT_THAT(with("\"expected\":\"2\",", ""), HasSubstr("field \"expected\""));
  EXPECT_THAT(with("true", "false"), HasSubstr("field \"result\""));
  EXPECT_THAT(with("-1", "false"), HasSubstr("field \"result\""));
  EXPECT_THAT(error(R"({"halu_type":"Logic_Deviation","task_id":"9",)"
                    R"("question":"q","starter_code":"","fn_name":null,)"
                    R"("generated_code":"","tests":[]})"),
              HasSubstr("field \"tests\""));
}

// ---- Program text ----------------------------------------------------------

TEST(ProgramText, StandardInputBecomesAFunction) {
  const Task task;
  EXPECT_EQ(ProgramText(task,
                        "import math\nfrom re import sub\n\nimport os\nx = 1\n"
                        "if __name__ == \"__main__\":\n  print(x)",
                        ProgramForm::kHarness),
            "import sys\nimport math\nfrom re import sub\n"
            "stdin = sys.stdin\nstdout = sys.stdout\ndef code():\n"
            "\t\n\timport os\n\tx = 1\n"
            "\tif __name__ == \"tmp_sol\":\n\t  print(x)\n");
  // An indented import begins the function.
  EXPECT_EQ(ProgramText(task, "  import x", ProgramForm::kHarness),
            "import sys\nstdin = sys.stdin\nstdout = sys.stdout\n"
            "def code():\n\t  import x\n");
  // Imports alone define none.
  EXPECT_EQ(ProgramText(task, "import x", ProgramForm::kHarness),
            "import sys\nimport x\n");
  EXPECT_EQ(ProgramText(task, "__main__", ProgramForm::kScript), "__main__");
}

TEST(ProgramText, FunctionsStayModules) {
  Task task;
  task.fn_name = "f";
  for (const ProgramForm form : {ProgramForm::kHarness, ProgramForm::kScript}) {
    EXPECT_EQ(ProgramText(task, "x = '__main__'", form),
              "import sys\nx = 'tmp_sol'");
  }
}

// ---- Output ----------------------------------------------------------------

// Values of the authors' run_test() in CPython 3.11 with numpy 2.4.6, for a
// program that writes the output.
TEST(OutputMatches, IsTheAuthors) {
  const struct {
    const char* output;
    const char* expected;
    bool matches;
  } cases[] = {
      {"1 2\n", "2 1\n", true},
      {"0.30000000000000004", "0.3", true},
      {"a\nb", "b\na", true},
      {"a\na\n", "a", true},
      {"a\n\nb\n", "a\nb\n", true},
      {"1.0004", "1.0", true},
      {"1.0006", "1.0", false},
      {"x 1.0004", "x 1.0", false},
      {"1 2", "1 2 3", false},
      {"a b", "ab", false},
      {"", "", true},
      {"\n", "", true},
      {"", "a", false},
      {"  a", "a", true},
      {" a\n b", "a\nb", true},
      {"YES", "Yes", false},
      {"nan", "nan", true},
      {"nan nan", "nan  nan", true},
      {"nan\n", "NaN", false},
      {"inf", "Infinity", true},
      {"100000", "100000.9", true},
      {"100000", "100001.1", false},
      {"0.0005 1", "0.001 1", true},
      {"0.0015 1", "0.002 1", true},
      {"1_0", "10", true},
      {"0x1", "1", false},
      {"1 1 2", "2 1", true},
      {"a\n", "a\n   \n", true},
      // The wanted line of blanks is a set of no words.
      {"b\na\n", " \na\nb\n", false},
  };
  for (const auto& one : cases) {
    EXPECT_EQ(OutputMatches(one.output, one.expected), one.matches)
        << "'" << one.output << "' for '" << one.expected << "'";
  }
}

// A linear congruential generator, the same in Python.
class Drawer {
 public:
  int64_t Draw(int64_t k) {
    state_ = (state_ * 1103515245 + 12345) % (int64_t{1} << 31);
    return (state_ >> 16) % k;
  }

  std::string Word(int64_t k) {
    static const char* const kWords[] = {
        "1",        "2",       "1.0",    "0.3",    "0.30000000000000004",
        "1_0",      "10",      "nan",    "inf",    "-inf",
        "Infinity", "a",       "B",      "b",      "1e3",
        "1000.001", "1000.02", "0.0005", "0.0015", "-0.0",
        "0",        "+2",      "1e",     "_1",     "1__0",
        ".5",       "5.",      "0x1",    "\u00e9", "\u3000",
        "1.0004"};
    return kWords[Draw(k)];
  }

  std::vector<std::string> Line(int64_t k) {
    std::vector<std::string> words(Draw(4));
    for (std::string& word : words) word = Word(k);
    return words;
  }

  std::string Text(const std::vector<std::vector<std::string>>& lines,
                   int64_t k) {
    static const char* const kSpaces[] = {" ", "  ", "\t"};
    static const char* const kEnds[] = {
        "\n", "\n", "\n", "\n", "\n", "\r\n", "\n\n", "\x0b", " \n", "\u2028"};
    std::string text, end;
    for (const std::vector<std::string>& line : lines) {
      const char* space = kSpaces[Draw(3)];
      for (size_t i = 0; i < line.size(); ++i) {
        absl::StrAppend(&text, i > 0 ? space : "", line[i]);
      }
      end = kEnds[Draw(k)];
      text += end;
    }
    if (Draw(3) != 0 || text.empty()) return text;
    return text.substr(0, text.size() - (end == "\u2028" ? 3 : 1));
  }

  template <typename T>
  std::vector<T> Shuffled(std::vector<T> items) {
    for (int64_t i = static_cast<int64_t>(items.size()) - 1; i > 0; --i) {
      std::swap(items[i], items[Draw(i + 1)]);
    }
    return items;
  }

 private:
  int64_t state_ = 1;
};

// Verdicts of the same run_test() on the same 1,500 draws, of which it accepts
// 1,063.
TEST(OutputMatches, AgreesOnRandomCases) {
  constexpr int64_t kAllWords = 31, kAllEnds = 10;
  Drawer drawer;
  std::string verdicts;
  for (int trial = 0; trial < 1500; ++trial) {
    const int64_t words = std::vector<int64_t>{4, 7, kAllWords}[drawer.Draw(3)];
    const int64_t ends = std::vector<int64_t>{5, kAllEnds}[drawer.Draw(2)];
    std::vector<std::vector<std::string>> lines(drawer.Draw(4));
    for (auto& line : lines) line = drawer.Line(words);
    auto other = lines;
    switch (drawer.Draw(5)) {
      case 0:
        other.assign(drawer.Draw(4), {});
        for (auto& line : other) line = drawer.Line(words);
        break;
      case 1:
        other = drawer.Shuffled(lines);
        break;
      case 2:
        for (auto& line : other) line = drawer.Shuffled(line);
        break;
      case 3:
        for (auto& line : other) {
          for (std::string& word : line) {
            if (drawer.Draw(4) == 0) word = drawer.Word(words);
          }
        }
        break;
      default:
        if (!lines.empty()) {
          other.push_back(
              lines[drawer.Draw(static_cast<int64_t>(lines.size()))]);
        }
    }
    const std::string output = drawer.Text(lines, ends);
    const std::string expected = drawer.Text(other, ends);
    verdicts += OutputMatches(output, expected) ? '1' : '0';
  }
  EXPECT_EQ(std::count(verdicts.begin(), verdicts.end(), '1'), 1063);
  EXPECT_EQ(Sha256(verdicts),
            "54ddca1859107a8f4a51695da52024aa6a78b1323d41d2614deeca7e05e1a534");
}

// ---- Verdicts --------------------------------------------------------------

TEST(IsBreakdown, OneTokenDecides) {
  HarnessOptions options;
  options.count_tokens = [](absl::string_view code) {
    return static_cast<int64_t>(code.size());
  };
  EXPECT_FALSE(IsBreakdown(std::string(1299, 'x'), options));
  EXPECT_TRUE(IsBreakdown(std::string(1300, 'x'), options));
  EXPECT_FALSE(IsBreakdown(std::string(3899, 'x'), HarnessOptions()));
  EXPECT_TRUE(IsBreakdown(std::string(3900, 'x'), HarnessOptions()));
}

TEST(RequestOf, RefusesTestsOfAnotherForm) {
  Task task;
  const auto error = [&](const json& input, const json& expected) {
    const TestCase test = {input, expected};
    const auto request = RequestOf({&task, "", &test}, HarnessOptions());
    EXPECT_TRUE(absl::IsInvalidArgument(request.status())) << input;
    return std::string(request.status().message());
  };
  EXPECT_THAT(error(3, ""), HasSubstr("input is not a text"));
  EXPECT_THAT(error("", nullptr), HasSubstr("expected output is not a text"));
  EXPECT_THAT(error(json::array({"a", 1}), ""), HasSubstr("input"));
  task.fn_name = "f";
  EXPECT_THAT(error("1", 1), HasSubstr("f whose input is no list"));
}

// Invalid UTF-8 and code that looks like JSON stay inside the job.
TEST(RequestOf, AnyCodeFitsIntoTheJob) {
  const Task task;
  const TestCase test = {"", ""};
  const auto request =
      RequestOf({&task, "\xff\"}\n\x00{", &test}, HarnessOptions());
  ASSERT_TRUE(request.ok()) << request.status();
  ASSERT_EQ(request->files.size(), 1);
  const json job = json::parse(request->files[0].contents);
  EXPECT_THAT(job.at("program").get<std::string>(), HasSubstr("\t\uFFFD\"}\n"));
}

TEST(VerdictOf, WithoutAReportThereIsNoAnswer) {
  const Task task;
  const TestCase test = {"", "1"};
  const ProgramRun run = {&task, "", &test};
  exec::ExecResult result;
  result.outcome = exec::Outcome::kPassed;
  for (const char* text : {"", "1\n", "\n{\"seconds\": 1", "\n{}", "\n[1]",
                           "\n{\"seconds\":\"x\"}", "\n{\"seconds\":1}",
                           "\n{\"seconds\":1,\"error\":3,\"message\":\"\"}",
                           "\n{\"seconds\":1,\"output\":\"1\"}\n"}) {
    result.stdout_text = text;
    EXPECT_EQ(VerdictOf(result, run)->verdict, kNoAnswer) << text;
  }
  result.stdout_text = "x\n{\"seconds\":1,\"output\":\"1\"}";
  EXPECT_EQ(VerdictOf(result, run)->verdict, kCorrect);
  result.stdout_text = "";
  for (const auto outcome :
       {exec::Outcome::kWrong, exec::Outcome::kException, exec::Outcome::kTime,
        exec::Outcome::kOutputLimit, exec::Outcome::kKilled}) {
    result.outcome = outcome;
    EXPECT_EQ(VerdictOf(result, run)->verdict, kNoAnswer);
  }
  result.outcome = exec::Outcome::kMemory;
  EXPECT_EQ(VerdictOf(result, run)->verdict, "MemoryError");
  result.outcome = exec::Outcome::kCancelled;
  EXPECT_TRUE(absl::IsCancelled(VerdictOf(result, run).status()));
  result.outcome = exec::Outcome::kSandboxError;
  result.message = "no namespaces";
  EXPECT_THAT(VerdictOf(result, run).status().ToString(),
              HasSubstr("no namespaces"));
}

class HarnessTest : public testing::Test {
 protected:
  void SetUp() override {
    const absl::Status permitted = exec::NamespacesPermitted();
    if (!permitted.ok()) GTEST_SKIP() << "NOT TESTED: " << permitted;
  }

  struct Case {
    const char* code;
    json input;
    json expected;
    const char* fn_name;  // null: standard input
    const char* verdict;
  };

  static void ExpectVerdicts(const std::vector<Case>& cases,
                             const HarnessOptions& options) {
    const auto sandbox = exec::Sandbox::Create();
    ASSERT_TRUE(sandbox.ok()) << sandbox.status();
    std::vector<Task> tasks(cases.size());
    std::vector<TestCase> tests(cases.size());
    std::vector<ProgramRun> runs;
    for (size_t i = 0; i < cases.size(); ++i) {
      if (cases[i].fn_name != nullptr) tasks[i].fn_name = cases[i].fn_name;
      tests[i] = {cases[i].input, cases[i].expected};
      runs.push_back({&tasks[i], cases[i].code, &tests[i]});
    }
    const auto judged = JudgeAll(*sandbox, runs, options, /*workers=*/2);
    ASSERT_TRUE(judged.ok()) << judged.status();
    for (size_t i = 0; i < cases.size(); ++i) {
      EXPECT_EQ((*judged)[i].verdict, cases[i].verdict) << cases[i].code << "\n"
                                                        << (*judged)[i].message;
    }
  }
};

// Verdicts of the authors' run_test(), each in a process of its own, in
// CPython 3.11; TimeError if the process ends without an answer.
TEST_F(HarnessTest, ProgramsOnStandardInput) {
  const std::vector<Case> cases = {
      {"print(int(input())+1)", "1\n", "2\n", nullptr, "Correct"},
      {"print(int(input())+2)", "1\n", "2\n", nullptr, "Logic_Deviation"},
      {"print(int(input())+1)", {"1", "2"}, {"2", ""}, nullptr, "Correct"},
      {"exit()", "", "", nullptr, "TypeError"},
      {"import sys\nprint(1)\nsys.exit(3)", "", "1", nullptr, "Correct"},
      {"print(1", "", "1", nullptr, "UnboundLocalError"},
      {"", "", "", nullptr, "UnboundLocalError"},
      {"import nosuch\nprint(1)", "", "1", nullptr, "UnboundLocalError"},
      {"from math import nosuch\nprint(1)", "", "1", nullptr,
       "UnboundLocalError"},
      {"x = 1\nimport nosuch\nprint(1)", "", "1", nullptr,
       "ModuleNotFoundError"},
      {"x=1\nfrom math import *\nprint(sqrt(4))", "", "2.0", nullptr,
       "UnboundLocalError"},
      {"from math import *\nprint(sqrt(4))", "", "2.0", nullptr, "Correct"},
      {"n = 0\ndef f():\n    global n\n    n += 1\nf()\nprint(n)", "", "1",
       nullptr, "NameError"},
      {"n = 0\ndef f():\n    n += 1\nf()\nprint(n)", "", "1", nullptr,
       "UnboundLocalError"},
      {"exec('y = 5')\nprint(y)", "", "5", nullptr, "NameError"},
      {"return", "", "", nullptr, "Correct"},
      {"if __name__ == '__main__':\n    print(1)\nelse:\n    print(2)", "", "1",
       nullptr, "Correct"},
      {"import sys\nprint(len(sys.stdin.buffer.read()))", "abc", "3", nullptr,
       "AttributeError"},
      {"import sys\nprint(len(sys.stdin.read()))", "abc", "3", nullptr,
       "Correct"},
      {"print(stdin.readline())", "abc\ndef\n", "abc\n", nullptr, "Correct"},
      {"print(len(stdin.readlines()))", "abc\ndef\n", "3", nullptr, "Correct"},
      {"print(open(0).read())", "abc\n", "abc", nullptr, "Correct"},
      {"while True:\n    stdin.readline()", "abc\n", "", nullptr,
       "StopIteration"},
      {"while True:\n    input()", "abc\n", "", nullptr, "EOFError"},
      {"next(iter([]))", "", "", nullptr, "StopIteration"},
      {"def f(n):\n    return f(n+1)\nprint(f(0))", "", "1", nullptr,
       "RecursionError"},
      {"print(2.0**10000)", "", "1", nullptr, "OverflowError"},
      {"x=[0]*(10**14)", "", "1", nullptr, "MemoryError"},
      {"assert 0", "", "", nullptr, "AssertionError"},
      {"import json\njson.loads('{')", "", "", nullptr, "JSONDecodeError"},
      {"import subprocess\nsubprocess.Popen(['ls'])", "", "", nullptr,
       "TypeError"},
      {"import os\nos._exit(0)", "", "", nullptr, "TimeError"},
      {"raise KeyboardInterrupt", "", "", nullptr, "TimeError"},
      // The tabs go into texts of several lines, too.
      {"s='''a\nb'''\nprint(s)", "", "a\nb", nullptr, "Correct"},
      {"s='''a\nb'''\nprint(len(s))", "", "3", nullptr, "Logic_Deviation"},
      {"print('\\ud800')", "", "x", nullptr, "Logic_Deviation"},
  };
  ExpectVerdicts(cases, HarnessOptions());
}

TEST_F(HarnessTest, Functions) {
  constexpr char kSum[] = "def add(a, b):\n    return a + b";
  constexpr char kPair[] =
      "class Solution:\n    def add(self, a, b):\n        return (a, b)";
  constexpr char kPairs[] =
      "class Solution:\n    def add(self, a, b):\n        return [(a, b)]";
  const json one_two = {1, 2};
  const json keyed = json::array({{{"1", "a"}}});
  const std::vector<Case> cases = {
      {kSum, one_two, json::array({3}), "add", "Correct"},
      {kSum, one_two, 3, "add", "Correct"},
      {kSum, one_two, 4, "add", "Logic_Deviation"},
      {kSum, one_two, 3, "sub", "UnboundLocalError"},
      {kPair, one_two, json::array({one_two}), "add", "Correct"},
      {kPair, one_two, one_two, "add", "Correct"},
      {kPairs, one_two, json::array({json::array({one_two})}), "add",
       "Correct"},
      {"class Solution:\n    def __init__(self, x):\n        pass\n"
       "    def add(self, a, b):\n        return 3",
       one_two, 3, "add", "UnboundLocalError"},
      {"def get(d):\n    return d[1]", keyed, json::array({"a"}), "get",
       "Correct"},
      {"def get(d):\n    return d", keyed, keyed, "get", "Correct"},
      {"def get(d):\n    return d", keyed, {{"1", "a"}}, "get", "Correct"},
      {"def get(d):\n    return d",
       json::array({{{"x", "a"}}}),
       {{"x", "a"}},
       "get",
       "Correct"},
      {"def f(x):\n    return x == 1", json::array({1}), true, "f", "Correct"},
      {"def f(x):\n    return 1.0", json::array({1}), 1, "f", "Correct"},
      {"def f(x):\n    sys.exit()", json::array({1}), 1, "f", "TimeError"},
      {"def f(x)\n    return 1", json::array({1}), 1, "f", "UnboundLocalError"},
      {"def f(x):\n    print(5)\n    return {}[x]", json::array({1}), 1, "f",
       "KeyError"},
  };
  ExpectVerdicts(cases, HarnessOptions());
}

TEST_F(HarnessTest, AsScriptsProgramsKeepTheirGlobals) {
  HarnessOptions options;
  options.form = ProgramForm::kScript;
  options.guard = false;
  const std::vector<Case> cases = {
      {"n = 0\ndef f():\n    global n\n    n += 1\nf()\nprint(n)", "", "1",
       nullptr, "Correct"},
      {"n = 0\ndef f():\n    n += 1\nf()\nprint(n)", "", "1", nullptr,
       "UnboundLocalError"},
      {"print(1)\nexit()\nprint(2)", "", "1", nullptr, "Correct"},
      {"print(1", "", "1", nullptr, "SyntaxError"},
      {"import nosuch\nprint(1)", "", "1", nullptr, "ModuleNotFoundError"},
      {"s='''a\nb'''\nprint(len(s))", "", "3", nullptr, "Correct"},
  };
  ExpectVerdicts(cases, options);
}

TEST_F(HarnessTest, TimeLimits) {
  HarnessOptions options;
  options.test_limit = absl::Milliseconds(500);
  options.global_limit = absl::Seconds(3);
  const std::vector<Case> cases = {
      {"while True:\n    pass", "", "", nullptr, kTestTimeout},
      {"while True: pass", json::array({1}), 1, "f", "UnboundLocalError"},
      {"def f(x):\n    while True: pass", json::array({1}), 1, "f",
       kTestTimeout},
      // The alarm comes once.
      {"import time\nwhile True:\n    try: time.sleep(60)\n"
       "    except Exception: pass",
       "", "", nullptr, kNoAnswer},
      // What the alarm prints is output.
      {"import time\ntry: time.sleep(60)\nexcept Exception: print(1)", "",
       "alarm went off\n1", nullptr, "Correct"},
  };
  ExpectVerdicts(cases, options);
}

TEST_F(HarnessTest, LongProgramsAreNotRun) {
  HarnessOptions options;
  options.max_tokens = 8;
  options.count_tokens = [](absl::string_view code) {
    return static_cast<int64_t>(code.size());
  };
  const std::vector<Case> cases = {
      {"print(1)", "", "1", nullptr, kLogicBreakdown},
      {"print()", "", "", nullptr, "Correct"},
      {"assert 0", "", "", nullptr, kLogicBreakdown},
  };
  ExpectVerdicts(cases, options);
}

// ---- Released data ---------------------------------------------------------

TEST(ReleasedGenerations, AreFiveOfEachCategory) {
  const std::string path =
      FindTestAsset("code_halu/codellama7b_sample40.jsonl.gz");
  if (path.empty()) {
    GTEST_SKIP() << "code_halu/codellama7b_sample40.jsonl.gz is not below a "
                    "folder of REPRO_ASSETS";
  }
  const auto generations = ReadGenerations(path);
  ASSERT_TRUE(generations.ok()) << generations.status();
  std::map<Category, int> categories;
  for (const Generation& generation : *generations) {
    ++categories[generation.category];
    EXPECT_EQ(generation.tests.size(), 2);
    // The stand-in for CodeLlama's tokenizer tells the same programs apart.
    for (const JudgedTest& test : generation.tests) {
      EXPECT_EQ(IsBreakdown(generation.code, HarnessOptions()),
                test.verdict == kLogicBreakdown)
          << generation.task.task_id;
    }
  }
  EXPECT_EQ(categories.size(), 8);
  for (const auto& [category, count] : categories) EXPECT_EQ(count, 5);
}

}  // namespace
}  // namespace repro::code_halu
