#include "papers/code_tree/visible_tests.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "common/completion/scripted.h"
#include "common/exec/namespaces_permitted.h"
#include "papers/code_tree/end_to_end.h"
#include "papers/code_tree/released.h"

namespace repro::code_tree {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const exec::Sandbox& TheSandbox() {
  static const auto* const sandbox =
      new absl::StatusOr<exec::Sandbox>(exec::Sandbox::Create());
  return **sandbox;
}

class VisibleTestsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const absl::Status permitted = exec::NamespacesPermitted();
    if (!permitted.ok()) GTEST_SKIP() << "NOT TESTED: " << permitted;
  }

  static Feedback Run(const Problem& problem, const std::string& program,
                      const VisibleTestOptions& options = {}) {
    SandboxTestRunner runner(&TheSandbox(), options);
    const auto feedback = runner.Run(problem, program);
    EXPECT_TRUE(feedback.ok()) << feedback.status();
    return feedback.value_or(Feedback());
  }
};

Problem Abs() {
  Problem problem;
  problem.id = "abs";
  problem.prompt = "def f(x):\n    \"\"\"The absolute value.\"\"\"\n";
  problem.preamble = problem.prompt;
  problem.asserts = {"assert f(1) == 1", "assert f(-2) == 2",
                     "assert f(0) == 0"};
  return problem;
}

TEST_F(VisibleTestsTest, AllPass) {
  const Feedback feedback = Run(Abs(), "def f(x):\n    return abs(x)");
  EXPECT_TRUE(feedback.AllPassed());
  EXPECT_EQ(feedback.reward, 1);
  EXPECT_EQ(feedback.passed, 3);
  EXPECT_THAT(feedback.text, HasSubstr("Passed:\nassert f(1) == 1"));
  EXPECT_THAT(feedback.text, Not(HasSubstr("Failed")));
}

TEST_F(VisibleTestsTest, QuotesWhatAFailingProgramGives) {
  for (const bool together : {true, false}) {
    VisibleTestOptions options;
    options.together_first = together;
    const Feedback feedback = Run(Abs(), "def f(x):\n    return x", options);
    EXPECT_FALSE(feedback.AllPassed());
    EXPECT_EQ(feedback.passed, 2);
    EXPECT_DOUBLE_EQ(feedback.reward, 2 / 3.0);
    EXPECT_THAT(feedback.text, HasSubstr("assert f(-2) == 2  # the program "
                                         "gives: -2"));
  }
}

TEST_F(VisibleTestsTest, QuotesAnAssertWithoutAComparison) {
  Problem problem = Abs();
  problem.asserts = {"assert f('\\u00e9\"\\n')"};
  const Feedback feedback = Run(problem, "def f(x):\n    return ()");
  EXPECT_THAT(feedback.text, HasSubstr("gives: ()"));
}

TEST_F(VisibleTestsTest, ABodyGoesOnFromThePrompt) {
  EXPECT_TRUE(Run(Abs(), "    return abs(x)").AllPassed());
  // As coded, nothing comes before the program.
  VisibleTestOptions coded;
  coded.as_coded = true;
  const Feedback feedback = Run(Abs(), "    return abs(x)", coded);
  EXPECT_FALSE(feedback.compiles);
  EXPECT_EQ(feedback.reward, 0);
}

TEST_F(VisibleTestsTest, SyntaxErrorsGiveNothing) {
  const Feedback feedback = Run(Abs(), "def f(x: return x");
  EXPECT_FALSE(feedback.compiles);
  EXPECT_FALSE(feedback.AllPassed());
  EXPECT_EQ(feedback.reward, 0);
  EXPECT_THAT(feedback.text, HasSubstr("SyntaxError"));
}

TEST_F(VisibleTestsTest, NoProgramFailsAllTests) {
  Problem problem = Abs();
  problem.preamble.clear();
  const Feedback feedback = Run(problem, "");
  EXPECT_TRUE(feedback.compiles);
  EXPECT_EQ(feedback.reward, 0);
  EXPECT_THAT(feedback.text, HasSubstr("NameError"));
}

TEST_F(VisibleTestsTest, ExceptionsTimeAndMemory) {
  EXPECT_THAT(Run(Abs(), "def f(x):\n    return 1 // x").text,
              HasSubstr("ZeroDivisionError"));
  Problem problem = Abs();
  problem.asserts = {"assert f(1) == 1"};
  VisibleTestOptions options;
  options.cpu = absl::Seconds(1);
  EXPECT_THAT(Run(problem, "def f(x):\n    while True: pass", options).text,
              HasSubstr("ran out of time"));
  EXPECT_THAT(Run(problem, "def f(x):\n    return [0] * (1 << 40)").text,
              HasSubstr("ran out of memory"));
}

TEST_F(VisibleTestsTest, LeavingEarlyIsNoWayToPass) {
  EXPECT_EQ(Run(Abs(), "import os\nos._exit(0)").passed, 0);
  EXPECT_EQ(Run(Abs(), "raise SystemExit(0)").passed, 0);
}

TEST_F(VisibleTestsTest, StateIsSeenOneByOne) {
  // Fails together, passes in processes of their own.
  Problem problem;
  problem.asserts = {"assert f() == 1", "assert f() == 1"};
  EXPECT_EQ(Run(problem,
                "n = 0\ndef f():\n    global n\n    n += 1\n"
                "    return n")
                .passed,
            2);
}

TEST_F(VisibleTestsTest, CutsTheTextAtCharacters) {
  VisibleTestOptions options;
  options.max_characters = 30;
  const Feedback feedback =
      Run(Abs(), "def f(x):\n    return '\xc3\xa9' * 100", options);
  EXPECT_EQ(feedback.passed, 0);
  EXPECT_EQ(feedback.text, "Failed:\nassert f(1) == 1  # th");
}

TEST_F(VisibleTestsTest, NoVisibleTestsPass) {
  Problem problem;
  const Feedback feedback = Run(problem, "x = 1");
  EXPECT_TRUE(feedback.AllPassed());
  EXPECT_EQ(feedback.reward, 1);
}

Problem Sum() {
  Problem problem;
  problem.id = "sum";
  problem.prompt = "Print the sum of two numbers.";
  problem.stdin_tests = {{"1 2\n", "3\n"}, {"-1 1\n", "0\n"}};
  return problem;
}

TEST_F(VisibleTestsTest, ProgramsThatReadStdin) {
  EXPECT_TRUE(Run(Sum(), "print(sum(map(int, input().split())))").AllPassed());
  const std::string half = "print(3)";
  const Feedback feedback = Run(Sum(), half);
  EXPECT_EQ(feedback.reward, 0.5);
  EXPECT_THAT(feedback.text, HasSubstr("Expected output:\n0\nThe program's "
                                       "output:\n3"));
  // As coded, a program that fails one test has passed none.
  VisibleTestOptions coded;
  coded.as_coded = true;
  EXPECT_EQ(Run(Sum(), half, coded).reward, 0);
  // The right output does not make up for an error.
  EXPECT_EQ(Run(Sum(), "print(3)\nraise ValueError('no')").passed, 0);
  EXPECT_FALSE(Run(Sum(), "print(").compiles);
}

TEST_F(VisibleTestsTest, HiddenTestsDecide) {
  Task task;
  task.problem = Abs();
  task.hidden_tests = "def check(g):\n    assert g(-7) == 7\ncheck(f)\n";
  const auto results = TheSandbox().RunAll(
      {HiddenTestRequest(task, "    return abs(x)", Before::kPrompt),
       HiddenTestRequest(task, "    return abs(x)", Before::kImports),
       HiddenTestRequest(task, "def f(x):\n    return x", Before::kPrompt),
       HiddenTestRequest(task, "def f(x):\n    return abs(x)\nassert f(1) == 2",
                         Before::kPrompt),
       VisibleTestRequest(task, "    return abs(x)")},
      /*workers=*/2);
  ASSERT_TRUE(results.ok()) << results.status();
  EXPECT_EQ(exec::Passed(*results),
            (std::vector<bool>{true, false, false, false, true}));
}

// From prompts to hidden tests with a model whose first program passes the
// visible tests and is wrong: the Critic rejects it, the Debugger repairs it.
TEST_F(VisibleTestsTest, SolvesAProblemEndToEnd) {
  Tasks tasks;
  Task& task = tasks["abs"];
  task.problem = Abs();
  task.hidden_tests = "assert f(-7) == 7";
  task.problem.asserts = {"assert f(1) == 1"};
  completion::ScriptedClient client(std::vector<std::string>{
      "```python\ndef f(x):\n    return x\n```",  // direct
      "1. return what is given",
      "```python\ndef f(x):\n    return x\n```",
      "Negative numbers stay negative.\nFalse",
      "1. use abs",
      "```python\ndef f(x):\n    return abs(x)\n```",
      "Handles all.\nTrue",
  });
  const auto score = SolveTasks(tasks, {"abs"}, &client, TheSandbox(), {}, {});
  ASSERT_TRUE(score.ok()) << score.status();
  EXPECT_EQ(score->problems, 1);
  EXPECT_EQ(score->direct, 0);
  EXPECT_EQ(score->searched, 1);
  EXPECT_EQ(score->programs, 2);
  EXPECT_EQ(score->calls.total(), 6);
  EXPECT_EQ(score->usage.requests, 7);
  EXPECT_TRUE(absl::IsNotFound(
      SolveTasks(tasks, {"none"}, &client, TheSandbox(), {}, {}).status()));
}

}  // namespace
}  // namespace repro::code_tree
