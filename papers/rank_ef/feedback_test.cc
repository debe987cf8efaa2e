#include "papers/rank_ef/feedback.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/data/io.h"
#include "common/exec/namespaces_permitted.h"
#include "common/exec/sandbox.h"
#include "papers/rank_ef/execution.h"
#include "papers/rank_ef/ranking.h"

namespace repro::rank_ef {
namespace {

using ::testing::HasSubstr;

Feedback Correct() { return {}; }
Feedback Intent(const std::string& message = "Expected 1, but got 2") {
  return {FeedbackClass::kIntentError, "OutputMismatch", message};
}
Feedback Error(const std::string& type) {
  return {FeedbackClass::kExecutionError, type, "what", 3, "  x = y"};
}

// Problems of candidates that are given as (count, feedback), with the number
// of the candidate as its completion.
CandidatePool MakePool(
    const std::vector<std::vector<std::pair<int64_t, Feedback>>>& problems) {
  CandidatePool pool;
  for (size_t p = 0; p < problems.size(); ++p) {
    pool.problems.push_back({absl::StrCat("T/", p), "", "f", "", ""});
    auto& candidates = pool.candidates.emplace_back();
    int64_t first = 0;
    for (const auto& [count, feedback] : problems[p]) {
      candidates.push_back({absl::StrCat(first), first, count, feedback});
      first += count;
    }
  }
  return pool;
}

// --------------------------------------------------------------------- texts

TEST(TextsTest, FeedbackEndsWithItsClass) {
  EXPECT_EQ(FeedbackText(Correct()),
            "This code is correct.\nResult:\nCorrect(0)");
  EXPECT_EQ(FeedbackText(Intent()),
            "This code is wrong.\nError_Message:\nExpected 1, but got 2\n"
            "Error_TYPE:\nOutputMismatch\nResult:\nIntent Error(2)");
  EXPECT_EQ(FeedbackText(Error("NameError")),
            "There is an error in the code at line 3:  x = y\nError_Message:\n"
            "what\nError_TYPE:\nNameError\nResult:\nExecution Error(1)");
  for (const Feedback& feedback : {Correct(), Intent(), Error("KeyError")}) {
    const auto label = ClassOfFeedbackText(FeedbackText(feedback));
    ASSERT_TRUE(label.ok()) << label.status();
    EXPECT_EQ(*label, feedback.label);
  }
}

TEST(TextsTest, GeneratedTextsMayNameNoClass) {
  for (const char* text : {"", "Result:\nCorrect", "\nResult:\nCorrect(1)",
                           "\nResult:\nCorrect(0)\n"}) {
    EXPECT_EQ(ClassOfFeedbackText(text).status().code(),
              absl::StatusCode::kInvalidArgument)
        << text;
  }
}

TEST(TextsTest, InputsDifferInTheirFrame) {
  EXPECT_EQ(RankerInput(RankerTask::kClassification, "P", "C"),
            "<CLASSIFICATION>\nQUESTION:\nP\nCODE:\nC\nResult:\n");
  EXPECT_EQ(RankerInput(RankerTask::kGeneration, "P", "C"),
            "<GENERATION>\nQUESTION:\nP\nCODE:\nC\nEVAL_MESSAGE:\n");
}

// --------------------------------------------------------------------- files

constexpr char kProblem[] =
    R"({"task_id": "T/0", "prompt": "p", "entry_point": "f", "canonical_solution": "s", "test": "t"})";
constexpr char kCandidate[] =
    R"({"task_id": "T/0", "first": 4, "count": 2, "completion": "c", "label": 1, "error_type": "KeyError", "error_message": "m", "error_line_number": 7, "error_line_code": "l"})";

std::string Write(const std::string& name, const std::string& content) {
  const std::string path = absl::StrCat(::testing::TempDir(), "/", name);
  EXPECT_TRUE(WriteFileAtomically(path, content).ok());
  return path;
}

absl::StatusOr<CandidatePool> Load(const std::string& problems,
                                   const std::string& feedback) {
  return LoadPool(Write("problems.jsonl", problems),
                  Write("feedback.jsonl", feedback));
}

TEST(LoadPoolTest, ReadsAndOrdersCandidates) {
  const auto pool = Load(
      kProblem,
      absl::StrCat(
          kCandidate, "\n",
          R"({"task_id": "T/0", "first": 0, "count": 3, "completion": "d", "label": 0, "error_type": "correct", "error_message": null, "error_line_number": null, "error_line_code": null})"));
  ASSERT_TRUE(pool.ok()) << pool.status();
  ASSERT_EQ(pool->NumDistinct(), 2);
  EXPECT_EQ(pool->NumSamples(), 5);
  EXPECT_EQ(pool->candidates[0][0].completion, "d");
  EXPECT_EQ(pool->candidates[0][0].feedback.line_number, kUnknownLine);
  const Candidate& failed = pool->candidates[0][1];
  EXPECT_EQ(failed.first, 4);
  EXPECT_EQ(failed.feedback.label, FeedbackClass::kExecutionError);
  EXPECT_EQ(failed.feedback.error_message, "m");
  EXPECT_EQ(failed.feedback.line_number, 7);
  EXPECT_EQ(failed.feedback.line, "l");
}

TEST(LoadPoolTest, SaysWhatIsWrongAndWhere) {
  const auto replaced = [](std::string text, const std::string& what,
                           const std::string& by) {
    return text.replace(text.find(what), what.size(), by);
  };
  const struct {
    std::string problems, feedback, message;
  } cases[] = {
      {replaced(kProblem, "\"prompt\"", "\"q\""), kCandidate,
       "problems.jsonl:1: field \"prompt\""},
      {absl::StrCat(kProblem, "\n", kProblem), kCandidate,
       "problems.jsonl:2: task_id"},
      {"[1]", kCandidate, "problems.jsonl:1: field \"task_id\""},
      {kProblem, replaced(kCandidate, "T/0", "T/9"),
       "feedback.jsonl:1: task_id: 'T/9'"},
      {kProblem, replaced(kCandidate, "\"label\": 1", "\"label\": 3"), "label"},
      {kProblem, replaced(kCandidate, "\"label\": 1", "\"label\": 2"),
       "contradicts label 2"},
      {kProblem, replaced(kCandidate, "KeyError", "correct"),
       "contradicts label 1"},
      {kProblem, replaced(kCandidate, "\"count\": 2", "\"count\": 0"), "count"},
      {kProblem, replaced(kCandidate, "\"first\": 4", "\"first\": -1"),
       "first"},
      {kProblem, replaced(kCandidate, "\"first\": 4", "\"first\": 1.5"),
       "field \"first\" is not a whole number"},
      {kProblem, replaced(kCandidate, "\"m\"", "5"), "error_message"},
      {kProblem, "", "no candidate of 'T/0'"},
      {kProblem, "{\"task_id\": ", "feedback.jsonl:1"},
  };
  for (const auto& wrong : cases) {
    const auto pool = Load(wrong.problems, wrong.feedback);
    EXPECT_EQ(pool.status().code(), absl::StatusCode::kInvalidArgument)
        << wrong.message << ": " << pool.status();
    EXPECT_THAT(std::string(pool.status().message()), HasSubstr(wrong.message));
  }
  EXPECT_EQ(LoadPool("/no/such/file", "/nor/this").status().code(),
            absl::StatusCode::kNotFound);
}

// ------------------------------------------------------------------- ranking

TEST(RankingTest, UnrankedCountsDuplicates) {
  const CandidatePool pool =
      MakePool({{{30, Correct()}, {50, Intent()}, {20, Correct()}}});
  // 1 - (50 * 49) / (100 * 99)
  EXPECT_NEAR(*UnrankedPassAtK(pool, 2), 0.752525, 1e-6);
  EXPECT_FALSE(UnrankedPassAtK(pool, 101).ok());
  EXPECT_FALSE(UnrankedPassAtK(pool, 0).ok());
}

TEST(RankingTest, EqualScoresKeepTheOrder) {
  const CandidatePool pool = MakePool({{{1, Intent()}, {1, Correct()}},
                                       {{1, Correct()}, {1, Intent()}},
                                       {{1, Intent()}, {1, Intent()}}});
  const Scores equal = {{0.3, 0.3}, {0.3, 0.3}, {0.3, 0.3}};
  EXPECT_DOUBLE_EQ(*RankedPassAtK(pool, equal, 1), 1.0 / 3);
  EXPECT_EQ(
      *RankedPassAtK(pool, equal, 1),
      *RankedPassAtK(pool, TrivialScores(pool, TrivialRanker::kFirst), 1));
  EXPECT_DOUBLE_EQ(*RankedPassAtK(pool, equal, 2), 2.0 / 3);
  // k above the number of candidates is fine for a ranked list.
  EXPECT_DOUBLE_EQ(*RankedPassAtK(pool, equal, 9), 2.0 / 3);
  EXPECT_DOUBLE_EQ(*RankedPassAtK(pool, {{0, 1}, {0, 1}, {0, 1}}, 1), 1.0 / 3);
}

TEST(RankingTest, RefusesScoresOfAnotherShape) {
  const CandidatePool pool = MakePool({{{1, Intent()}, {1, Correct()}}});
  EXPECT_FALSE(RankedPassAtK(pool, {}, 1).ok());
  EXPECT_FALSE(RankedPassAtK(pool, {{1}}, 1).ok());
  EXPECT_FALSE(RankedPassAtK(pool, {{1, 2}}, 0).ok());
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_FALSE(RankedPassAtK(pool, {{1, nan}}, 1).ok());
  EXPECT_FALSE(RankedPassAtK({}, {}, 1).ok());
  EXPECT_FALSE(RandomRankingPassAtK({}, 1).ok());
}

// Against the mean over all orders of the candidates.
TEST(RankingTest, RandomRankingIsTheMeanOverOrders) {
  const CandidatePool pool = MakePool({{{9, Intent()},
                                        {1, Correct()},
                                        {1, Error("KeyError")},
                                        {5, Correct()},
                                        {1, Intent()}}});
  for (const int k : {1, 2, 3, 5, 8}) {
    std::vector<double> order(5);
    std::iota(order.begin(), order.end(), 0);
    double sum = 0, orders = 0;
    do {
      sum += *RankedPassAtK(pool, {order}, k);
      ++orders;
    } while (std::next_permutation(order.begin(), order.end()));
    EXPECT_NEAR(*RandomRankingPassAtK(pool, k), sum / orders, 1e-12) << k;
  }
}

TEST(RankingTest, TrivialRankers) {
  CandidatePool pool = MakePool(
      {{{1, Intent()}, {3, Error("KeyError")}, {3, Correct()}, {2, Intent()}}});
  auto& candidates = pool.candidates[0];
  candidates[0].completion = "abc";
  candidates[1].completion = "abcd";
  candidates[2].completion = "\u00e4\u00f6";  // 2 characters, 4 bytes
  candidates[3].completion = "ab";
  const auto scores = [&](const char* name) {
    return TrivialScores(pool, *ParseTrivialRanker(name))[0];
  };
  EXPECT_EQ(scores("first"), std::vector<double>({0, 0, 0, 0}));
  EXPECT_EQ(scores("most_frequent"), std::vector<double>({1, 3, 3, 2}));
  EXPECT_EQ(scores("shortest"), std::vector<double>({-3, -4, -2, -2}));
  EXPECT_EQ(scores("longest"), std::vector<double>({3, 4, 2, 2}));
  EXPECT_EQ(scores("oracle"), std::vector<double>({0, 0, 1, 0}));
  EXPECT_FALSE(ParseTrivialRanker("best").ok());
}

TEST(RankingTest, CeilingsByHand) {
  const CandidatePool pool = MakePool({{{4, Correct()},
                                        {2, Error("IndentationError")},
                                        {2, Error("NameError")},
                                        {1, Error("KeyError")},
                                        {1, Intent()}},
                                       {{10, Error("SyntaxError")}}});
  EXPECT_DOUBLE_EQ(CeilingWithout(pool, *ParseFailures("syntax")),
                   (4.0 / 8 + 0) / 2);
  EXPECT_DOUBLE_EQ(CeilingWithout(pool, *ParseFailures("syntax_names_imports")),
                   (4.0 / 6 + 0) / 2);
  EXPECT_DOUBLE_EQ(CeilingWithout(pool, *ParseFailures("execution")),
                   (4.0 / 5 + 0) / 2);
  EXPECT_FALSE(ParseFailures("").ok());
}

TEST(RankingTest, AucIsWithinProblems) {
  const CandidatePool pool =
      MakePool({{{1, Correct()}, {1, Intent()}, {1, Intent()}},
                {{1, Intent()}, {1, Correct()}},
                {{1, Correct()}, {1, Correct()}}});  // one kind: left out
  const auto correct = [](const Candidate& candidate) {
    return candidate.feedback.label == FeedbackClass::kCorrect;
  };
  // 1 of 2 pairs and a tie; that scores differ between problems is nothing.
  EXPECT_DOUBLE_EQ(
      *WithinProblemAuc(pool, {{5, 1, 9}, {-7, -7}, {0, 1}}, correct),
      (0.5 + 0.5) / 2);
  EXPECT_DOUBLE_EQ(
      *WithinProblemAuc(pool, {{5, 1, 2}, {-8, -7}, {0, 1}}, correct), 1);
  EXPECT_FALSE(
      WithinProblemAuc(MakePool({{{1, Correct()}}}), {{1}}, correct).ok());
}

// ----------------------------------------------------------------- execution

constexpr char kTest[] =
    "\n\nMETADATA = {'author': '\u00e4'}\n\n\ndef check(candidate):\n"
    "    assert candidate(1) == 'b'\n"
    "    assert candidate(2) == \"it's\", 'told'\n"
    "    assert not candidate(3)\n";

const HumanEvalProblem& TestProblem() {
  static const auto* const problem =
      new HumanEvalProblem{"T/0", "def f(n):\n    \"\"\"Say it.\"\"\"\n", "f",
                           "    return {1: 'b', 2: \"it's\"}.get(n)\n", kTest};
  return *problem;
}

absl::StatusOr<std::vector<Feedback>> Execute(
    const std::vector<std::string>& completions) {
  std::vector<Execution> executions;
  for (const std::string& completion : completions) {
    executions.push_back({&TestProblem(), completion});
  }
  return ExecuteAll(executions, 2, {}, [](int, int) { return true; });
}

class ExecutionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const absl::Status permitted = exec::NamespacesPermitted();
    if (!permitted.ok()) GTEST_SKIP() << "NOT TESTED: " << permitted;
  }
};

TEST_F(ExecutionTest, LabelsWhatHappens) {
  using Class = FeedbackClass;
  const struct {
    const char* completion;
    Class label;
    const char* type;
    const char* message;
    int64_t line;
    const char* text;
  } cases[] = {
      {"    return {1: 'b', 2: \"it's\"}.get(n)\n", Class::kCorrect, "correct",
       "", kUnknownLine, "None"},
      {"    return 'b'\n", Class::kIntentError, "OutputMismatch",
       "Expected \"it's\", but got 'b'", kUnknownLine, "None"},
      {"    pass\n", Class::kIntentError, "OutputMismatch",
       "Expected 'b', but got None", kUnknownLine, "None"},
      {"    return {1: 'b', 2: \"it's\"}.get(n, 5)\n", Class::kIntentError,
       "OutputMismatch", "Check 2 is false", kUnknownLine, "None"},
      // Of the program's own asserts, at once or when called.
      {"    return 'b'\nassert f(1) == 'c'\n", Class::kExecutionError,
       "AssertionError", "", 4, "assert f(1) == 'c'"},
      {"    assert n > 1, 'small'\n", Class::kExecutionError, "AssertionError",
       "small", 3, "    assert n > 1, 'small'"},
      {"    return m\n", Class::kExecutionError, "NameError",
       "name 'm' is not defined", 3, "    return m"},
      {"    return (1\n", Class::kExecutionError, "SyntaxError",
       "'(' was never closed", 3, "    return (1"},
      {"  return 1\n", Class::kExecutionError, "IndentationError",
       "unindent does not match any outer indentation level", 3, "  return 1"},
      // The last line of the program in the traceback, not that of a library.
      {"    import json\n    return json.loads('{')\n", Class::kExecutionError,
       "JSONDecodeError",
       "Expecting property name enclosed in double quotes: line 1 column 2 "
       "(char 1)",
       4, "    return json.loads('{')"},
      {"    return f(n)\n", Class::kExecutionError, "RecursionError",
       "maximum recursion depth exceeded", 3, "    return f(n)"},
      {"    while True:\n        pass\n", Class::kExecutionError,
       "TimeoutException", "", kUnknownLine, "None"},
      {"    raise SystemExit(0)\n", Class::kExecutionError, "SystemExit",
       "the program ended before its tests did", kUnknownLine, "None"},
      {"    return [0] * 10 ** 12\n", Class::kExecutionError, "MemoryError", "",
       kUnknownLine, "None"},
      {"    return input()\n", Class::kExecutionError, "EOFError",
       "EOF when reading a line", 3, "    return input()"},
      // Called with one argument by a check: no line of the program.
      {"    return n\ndef f(a, b):\n    return a\n", Class::kExecutionError,
       "TypeError", "f() missing 1 required positional argument: 'b'",
       kUnknownLine, "None"},
  };
  std::vector<std::string> completions;
  for (const auto& expected : cases) completions.push_back(expected.completion);
  const auto feedback = Execute(completions);
  ASSERT_TRUE(feedback.ok()) << feedback.status();
  for (size_t i = 0; i < completions.size(); ++i) {
    SCOPED_TRACE(completions[i]);
    const Feedback& got = (*feedback)[i];
    EXPECT_EQ(got.label, cases[i].label);
    EXPECT_EQ(got.error_type, cases[i].type);
    EXPECT_EQ(got.error_message, cases[i].message);
    EXPECT_EQ(got.line_number, cases[i].line);
    EXPECT_EQ(got.line, cases[i].text);
    EXPECT_TRUE(ValidateFeedback(got).ok());
  }
}

TEST_F(ExecutionTest, CutsMessagesByCharacters) {
  const auto feedback = Execute({"    return '\u00e4' * 500\n"});
  ASSERT_TRUE(feedback.ok()) << feedback.status();
  std::string expected = "Expected 'b', but got '";
  const size_t rest = 160 - expected.size();
  for (size_t i = 0; i < rest; ++i) absl::StrAppend(&expected, "\u00e4");
  EXPECT_EQ((*feedback)[0].error_message, expected);
}

TEST_F(ExecutionTest, StopsWhenToldTo) {
  const HumanEvalProblem& problem = TestProblem();
  const std::string forever = "    while True:\n        pass\n";
  const auto feedback =
      ExecuteAll({{&problem, problem.canonical_solution}, {&problem, forever}},
                 1, {}, [](int, int) { return false; });
  EXPECT_EQ(feedback.status().code(), absl::StatusCode::kCancelled);
}

TEST(FeedbackOfRunTest, ASandboxThatFailsLabelsNothing) {
  exec::ExecResult result;
  result.outcome = exec::Outcome::kSandboxError;
  result.message = "no namespaces";
  EXPECT_THAT(FeedbackOfRun(result, "").status().ToString(),
              HasSubstr("no namespaces"));
  result.outcome = exec::Outcome::kCancelled;
  EXPECT_EQ(FeedbackOfRun(result, "").status().code(),
            absl::StatusCode::kCancelled);
}

// A program that writes a traceback of lines it does not have.
TEST(FeedbackOfRunTest, LinesOutsideTheProgramAreUnknown) {
  exec::ExecResult result;
  result.outcome = exec::Outcome::kException;
  result.exception_type = "KeyError";
  for (const char* line : {"0", "3", "99999999999999999999", "x", ""}) {
    result.stderr_text = absl::StrCat("  File \"/tmp/main.py\", line ", line);
    const auto feedback = FeedbackOfRun(result, "one\ntwo");
    ASSERT_TRUE(feedback.ok());
    EXPECT_EQ(feedback->line_number, kUnknownLine) << line;
    EXPECT_EQ(feedback->line, "None");
  }
}

}  // namespace
}  // namespace repro::rank_ef
