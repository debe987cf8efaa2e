#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/assets/sha256.h"
#include "common/assets/test_asset.h"
#include "common/completion/scripted.h"
#include "common/data/human_eval.h"
#include "common/data/io.h"
#include "common/exec/namespaces_permitted.h"
#include "papers/effi_code/dataset.h"
#include "papers/effi_code/function_language.h"
#include "papers/effi_code/harness.h"
#include "papers/effi_code/op_counts.h"
#include "papers/effi_code/overhead.h"
#include "papers/effi_code/soap.h"

namespace repro::effi_code {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr double kEpoch = 1.7e9;

// ------------------------------------------------------------------- overhead

TEST(OverheadTest, WorkedLogs) {
  const Overhead run =
      OverheadOf({{10, kEpoch}, {20, kEpoch + 0.1}, {20, kEpoch + 0.3}});
  EXPECT_NEAR(run.time, 0.3, 1e-6);
  EXPECT_EQ(run.memory_peak, 20);
  EXPECT_NEAR(run.memory_time, 1.5 + 4, 1e-5);
  const Overhead canonical = OverheadOf({{10, kEpoch}, {10, kEpoch + 0.2}});
  EXPECT_NEAR(canonical.memory_time, 2, 1e-5);

  const Overhead one = OverheadOf({{5, kEpoch}});
  EXPECT_EQ(one.time, 0);
  EXPECT_EQ(one.memory_time, 0);
  EXPECT_EQ(one.memory_peak, 5);
  EXPECT_EQ(OverheadOf({}).memory_peak, 0);
}

TEST(OverheadTest, AsCodedTheFirstIntervalIsLostAtTimeZero) {
  const std::vector<MemorySample> log = {{10, 0}, {20, 1}, {20, 2}};
  EXPECT_EQ(OverheadOf(log).memory_time, 35);
  EXPECT_EQ(OverheadOf(log, Trapezoids::kAfterZero).memory_time, 20);
}

TEST(OverheadTest, ReadsLogsOfMprof) {
  const auto log = ParseMemoryLog(
      "CMDLINE python a.py\nMEM 1.5 100.25\nFUNC __main__.f 1.5 100.2 2 101\n"
      "CHLD 7 2.0 100.5\nMEM 2.5 100.75\n\n",
      "a.dat");
  ASSERT_TRUE(log.ok()) << log.status();
  ASSERT_EQ(log->size(), 2u);
  EXPECT_EQ((*log)[1].memory_mb, 2.5);
  EXPECT_EQ((*log)[1].time_s, 100.75);
}

TEST(OverheadTest, RefusesBadLogs) {
  const std::vector<std::pair<std::string, std::string>> logs = {
      {"", "a.dat:1:"},
      {"MEM 1 2\n", "a.dat:1:"},
      {"CMDLINE x\n", "a.dat: no samples"},
      {"CMDLINE x\nMEM 1\n", "a.dat:2:"},
      {"CMDLINE x\nMEM 1 2 3\n", "a.dat:2:"},
      {"CMDLINE x\nMEM 1 2\nMEM nan 3\n", "a.dat:3:"},
      {"CMDLINE x\nMEM -1 2\n", "a.dat:2:"},
      {"CMDLINE x\nMEM 1 inf\n", "a.dat:2:"},
      {"CMDLINE x\nMEM 1 5\nMEM 1 4\n", "lies before"},
      {"CMDLINE x\nRUBBISH\n", "a.dat:2:"}};
  for (const auto& [text, what] : logs) {
    const auto log = ParseMemoryLog(text, "a.dat");
    EXPECT_EQ(log.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(log.status().message()), HasSubstr(what)) << text;
  }
  EXPECT_EQ(ReadMemoryLog("/no/such.dat").status().code(),
            absl::StatusCode::kNotFound);
}

TEST(CostsTest, MeanOfRatiosIsNotTheRatioOfSums) {
  const auto summary = SummarizeCosts({10, 4}, {20, 1});
  ASSERT_TRUE(summary.ok());
  EXPECT_EQ(summary->mean, 7);
  EXPECT_EQ(summary->mean_ratio, 2.25);
  EXPECT_NEAR(summary->ratio_of_sums, 14.0 / 21, 1e-15);
  EXPECT_EQ(summary->median_ratio, 2.25);
  const auto same = SummarizeCosts({3, 5, 7}, {3, 5, 7});
  EXPECT_EQ(same->mean_ratio, 1);
  EXPECT_EQ(same->ratio_of_sums, 1);
}

TEST(CostsTest, RefusesWhatHasNoRatio) {
  for (const auto& [costs, canonical] :
       std::vector<std::pair<std::vector<double>, std::vector<double>>>{
           {{}, {}},
           {{1}, {}},
           {{1}, {0}},
           {{1}, {-1}},
           {{NAN}, {1}},
           {{1}, {NAN}}}) {
    EXPECT_EQ(SummarizeCosts(costs, canonical).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST(TwinsTest, ComparesOnTasksThatBothSolve) {
  const Runs canonical = {{"a", {0.2, 10, 2}}, {"b", {1, 1, 1}}};
  const Runs model = {
      {"a", {0.3, 20, 5.5}}, {"b", {9, 9, 9}}, {"d", {1, 1, 1}}};
  const Runs twin = {{"a", {0.2, 10, 2}}, {"c", {1, 1, 1}}, {"d", {1, 1, 1}}};
  const auto row = CompareTwins(model, twin, canonical, 4);
  ASSERT_TRUE(row.ok()) << row.status();
  EXPECT_NEAR(row->time.mean_ratio, 1.5, 1e-12);
  EXPECT_EQ(row->memory_peak.mean_ratio, 2);
  EXPECT_EQ(row->memory_time.mean_ratio, 2.75);
  EXPECT_EQ(row->time.tasks, 1);
  // "d" has no canonical run and counts in the overlap, as coded.
  EXPECT_EQ(row->overlap, 50);
  EXPECT_EQ(row->pass_at_1, 75);

  EXPECT_EQ(CompareTwins(model, twin, canonical, 2).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CompareTwins(model, {}, canonical, 4).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(CompareTwins({{"a", {1, 1, 1}}}, twin, {{"a", {0, 1, 0}}}, 4)
                .status()
                .code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(TwinsTest, TasksOfPercentages) {
  EXPECT_EQ(*TasksOfPercentage("7.3", 164), 12);
  EXPECT_EQ(*TasksOfPercentage("50", 2), 1);
  EXPECT_EQ(TasksOfPercentage("7.4", 164).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(TasksOfPercentage("7", 164).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(TasksOfPercentage("much", 164).status().code(),
            absl::StatusCode::kInvalidArgument);
}

// ------------------------------------------------------------------ op counts

constexpr char kHeader[] = "task_id,first,count,opcodes,peak_bytes\n";

TEST(OpCountsTest, Selects) {
  const auto counts = ParseOpCounts(
      absl::StrCat(kHeader,
                   "a,-1,1,10,0\na,3,1,20,0\na,1,2,30,0\na,5,1,20,0\n"
                   "b,-1,1,10,0\n"),
      "c.csv");
  ASSERT_TRUE(counts.ok()) << counts.status();
  const auto costs = [&](Selection selection) {
    return SelectCosts(*counts, selection).costs;
  };
  EXPECT_THAT(costs(Selection::kFirst), ElementsAre(30));
  EXPECT_THAT(costs(Selection::kBest), ElementsAre(20));
  EXPECT_THAT(costs(Selection::kWorst), ElementsAre(30));
  EXPECT_THAT(SelectCosts(*counts, Selection::kBest).tasks, ElementsAre("a"));
  EXPECT_TRUE(SelectCosts(*counts, Selection::kBest, {"a"}).tasks.empty());
  EXPECT_FALSE(ParseSelection("median").ok());
}

TEST(OpCountsTest, RefusesBadFiles) {
  const std::vector<std::pair<std::string, std::string>> files = {
      {"", "c.csv"},
      {absl::StrCat(kHeader, "a,-1,1,10,0\na,x,1,1,0\n"), "c.csv:3"},
      {absl::StrCat(kHeader, "a,-1,1,10,0\na,1,1\n"), "c.csv:3"},
      {absl::StrCat(kHeader, "a,-1,1,0,0\n"), "c.csv:2"},
      {absl::StrCat(kHeader, "a,-2,1,1,0\n"), "c.csv:2"},
      {absl::StrCat(kHeader, ",-1,1,1,0\n"), "c.csv:2"},
      {absl::StrCat(kHeader, "a,-1,1,1,0\na,-1,1,1,0\n"), "came before"},
      {absl::StrCat(kHeader, "a,0,1,1,0\n"), "no canonical"},
      {"task_id,first\na,1\n", "count"}};
  for (const auto& [text, what] : files) {
    const auto counts = ParseOpCounts(text, "c.csv");
    ASSERT_FALSE(counts.ok()) << text;
    EXPECT_THAT(std::string(counts.status().message()), HasSubstr(what));
  }
  EXPECT_EQ(ReadOpCounts("/no/such.csv").status().code(),
            absl::StatusCode::kNotFound);
}

// ------------------------------------------------------------------- cleaning

// Expected texts: the authors' rules in Python 3.11, written for this test.
TEST(CleanTest, WorkedCompletions) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"Sure:\n```python\ndef helper():\n    return 1\n\ndef f(x):\n    return "
       "helper()\n```\nDone.",
       "def f(x):\n    return helper()"},
      {"```python\nx\n```\n    return 1\n", "\nx\n"},
      {"```\ndef f(x):\n    print(x)\n    return x\n```",
       "def f(x):\n    return x"},
      {"    return x<|EOT|>\n    y", "    return x"},
      {"    return x<jupyter>", "    return x"},
      {"", ""},
      {"def f(x):\n    y = 1\n", "def f(x):"},
      {"    assert x\n    return (x +\n            1)\n", "    return (x +"},
      {"a\n    return 1 ```python b ``` c\n", " b "},
      {"a ``` b ``` c\n    return 1\n", ""},
      {"def f(x):\n    ``` return x\n    return y ```", "def f(x):\n    "}};
  for (const auto& [text, expected] : cases) {
    EXPECT_EQ(CleanCompletion(text, "f"), expected) << text;
  }
}

// The digests are of the same Python function's texts, each with a NUL behind.
TEST(CleanTest, AllProgramsOfThePool) {
  const std::string problems_path =
      FindTestAsset("rank_ef/humaneval164.jsonl.gz");
  const std::string pool_path =
      FindTestAsset("rank_ef/humaneval_codegen16b_feedback.jsonl.gz");
  if (problems_path.empty() || pool_path.empty()) {
    GTEST_SKIP() << "REPRO_ASSETS has no rank_ef/";
  }
  const auto problems = ReadHumanEval(problems_path);
  ASSERT_TRUE(problems.ok()) << problems.status();
  std::map<std::string, std::string> entry_points;
  std::string texts;
  for (const HumanEvalProblem& problem : *problems) {
    entry_points[problem.task_id] = problem.entry_point;
    texts += CleanCompletion(problem.canonical_solution, problem.entry_point);
    texts += '\0';
  }
  EXPECT_EQ(Sha256(texts),
            "5dfb9415a8696fbf2d0392f1c23584e6c318c3b440bcdce43c31e165a0b83a6e");
  const auto candidates = ReadCorrectCandidates(pool_path);
  ASSERT_TRUE(candidates.ok()) << candidates.status();
  EXPECT_EQ(candidates->size(), 2407u);
  texts.clear();
  for (const Candidate& one : *candidates) {
    texts += CleanCompletion(one.completion, entry_points[one.task_id]);
    texts += '\0';
  }
  EXPECT_EQ(Sha256(texts),
            "53051e71e0d2029cf51b8ddea190b32b87ecdb5bfcd1225378d6dd765ec5f675");
}

TEST(ReadTest, CorrectCandidates) {
  const std::string path = absl::StrCat(::testing::TempDir(), "/c.jsonl");
  const auto read = [&](const std::string& text) {
    EXPECT_TRUE(WriteFileAtomically(path, text).ok());
    return ReadCorrectCandidates(path);
  };
  const std::string wrong =
      R"({"task_id":"a","first":0,"completion":"x","label":1})";
  const auto two = read(absl::StrCat(
      wrong, "\n", R"({"task_id":"a","first":4,"completion":"y","label":0})",
      "\n"));
  ASSERT_TRUE(two.ok()) << two.status();
  ASSERT_EQ(two->size(), 1u);
  EXPECT_EQ((*two)[0].first, 4);
  EXPECT_EQ((*two)[0].completion, "y");
  const std::vector<std::pair<std::string, std::string>> files = {
      {"", "no records"},
      {wrong + "\n{\"task_id\":\"a\"}\n", ":2: "},
      {wrong + "\n[1]\n", ":2: "},
      {wrong.substr(0, 30), ":1"},
      {R"({"task_id":"a","first":"0","completion":"x","label":0})", "first"},
      {R"({"task_id":"a","first":0,"completion":7,"label":0})", "completion"}};
  for (const auto& [text, what] : files) {
    const auto candidates = read(text);
    EXPECT_EQ(candidates.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(candidates.status().message()), HasSubstr(what));
  }
  EXPECT_EQ(ReadCorrectCandidates("/no/such").status().code(),
            absl::StatusCode::kNotFound);
}

// -------------------------------------------------------------------- sandbox

class SandboxTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const absl::Status permitted = exec::NamespacesPermitted();
    if (!permitted.ok()) GTEST_SKIP() << permitted;
  }
};

MeasuredRun MeasureOne(const std::string& program,
                       const MeasureOptions& options = {}) {
  auto runs = MeasureAll({program}, 1, options);
  EXPECT_TRUE(runs.ok()) << runs.status();
  return runs.ok() ? (*runs)[0] : MeasuredRun();
}

TEST_F(SandboxTest, MeasuresTimeAndMemory) {
  const MeasuredRun idle = MeasureOne("pass");
  ASSERT_TRUE(idle.passed) << idle.failure;
  const MeasuredRun run =
      MeasureOne("import time\nx = bytearray(60 << 20)\ntime.sleep(0.2)\n");
  ASSERT_TRUE(run.passed) << run.failure;
  EXPECT_GE(run.overhead.time, 0.2);
  EXPECT_GE(run.overhead.memory_peak, idle.overhead.memory_peak + 50);
  // The memory stays, so the area is nearly the peak over the time asleep.
  EXPECT_GE(run.overhead.memory_time, 0.15 * run.overhead.memory_peak);
  EXPECT_LE(run.overhead.memory_time,
            run.overhead.time * run.overhead.memory_peak);
  // One a millisecond, if the machine lets it.
  EXPECT_GE(run.log.size(), 20u);
}

TEST_F(SandboxTest, WhatFails) {
  EXPECT_THAT(MeasureOne("1 / 0").failure, HasSubstr("ZeroDivisionError"));
  EXPECT_THAT(MeasureOne("def f(:").failure, HasSubstr("SyntaxError"));
  const std::string warns = "import sys\nprint('w', file=sys.stderr)\n";
  EXPECT_EQ(MeasureOne(warns).failure, "wrote to stderr");
  MeasureOptions loud;
  loud.silent = false;
  EXPECT_TRUE(MeasureOne(warns, loud).passed);
  EXPECT_EQ(MeasureOne("import os\nos._exit(0)").failure, "left no log");
  MeasureOptions short_limit;
  short_limit.limit = absl::Milliseconds(300);
  EXPECT_THAT(MeasureOne("while True: pass", short_limit).failure,
              HasSubstr("time"));
  MeasureOptions none;
  none.repeats = 0;
  EXPECT_EQ(MeasureAll({"pass"}, 1, none).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(MeasureAll({"pass", "pass"}, 1, {}, [](int, int) { return false; })
                .status()
                .code(),
            absl::StatusCode::kCancelled);
}

TEST_F(SandboxTest, TheHarnessFailsCorrectPrograms) {
  HumanEvalProblem problem;
  problem.prompt = "def f(n, p):\n    \"\"\"2 ** n modulo p\"\"\"\n";
  problem.entry_point = "f";
  problem.test = "def check(g):\n    assert g(10, 1000) == 24\n";
  const std::string power = "    return pow(2, n, p)\n";
  const std::string lines = "    return (2 ** n %\n            p)\n";
  const auto passes = [&](const std::string& completion,
                          const ProgramOptions& options) {
    return MeasureOne(ProgramText(problem, completion, options)).passed;
  };
  EXPECT_TRUE(passes("    return 2 ** n % p\n", {}));
  EXPECT_FALSE(passes(power, {}));
  EXPECT_TRUE(passes(power, {/*imports=*/false, /*clean=*/true}));
  EXPECT_FALSE(passes(lines, {}));
  EXPECT_TRUE(passes(lines, {/*imports=*/true, /*clean=*/false}));
  EXPECT_FALSE(passes("    return n\n", {/*imports=*/true, /*clean=*/false}));
}

TEST_F(SandboxTest, CountsInstructions) {
  const auto count = [](const std::string& program, const std::string& tests) {
    const auto counts = CountInstructions({{program, tests}}, 1);
    EXPECT_TRUE(counts.ok()) << counts.status();
    return (*counts)[0];
  };
  // dis.dis of CPython 3.11: LOAD_FAST, RETURN_VALUE. RESUME, in front of them,
  // is the call itself.
  const std::string identity = "def f(n):\n    return n\n";
  EXPECT_EQ(count(identity, "assert f(1) == 1").instructions, 2);
  EXPECT_EQ(count(identity, "f(1)\nf(2)").instructions, 4);
  // A loop costs the same each time round.
  const std::string loop =
      "def f(n):\n    y = 0\n    for v in range(n):\n        y += v\n"
      "    return y\n";
  const int64_t five = count(loop, "f(5)").instructions;
  const int64_t six = count(loop, "f(6)").instructions;
  EXPECT_EQ(count(loop, "f(105)").instructions, five + 100 * (six - five));
  const InstructionCount lines = count(loop, "f(5)");
  ASSERT_EQ(lines.lines.size(), 4u);
  EXPECT_EQ(lines.lines[2].line, 4);
  EXPECT_EQ(lines.lines[2].hits, 5);
  // The end of an except clause has instructions without a line.
  EXPECT_GT(count("def f():\n    try:\n        return int('x')\n"
                  "    except ValueError as e:\n        return 0\n",
                  "assert f() == 0")
                .instructions,
            0);
  EXPECT_THAT(LineTable(loop, lines.lines), HasSubstr("y += v"));
  EXPECT_THAT(LineTable("", {{7, 1, 1, 0}}), HasSubstr("7"));
}

TEST_F(SandboxTest, CountsMemory) {
  CountOptions options;
  options.memory = true;
  const auto counts = CountInstructions(
      {{"def f():\n    x = bytearray(1 << 20)\n    return len(x)\n", "f()"},
       {"def f():\n    return 1\n", "f()"}},
      1, options);
  ASSERT_TRUE(counts.ok()) << counts.status();
  EXPECT_GE((*counts)[0].peak_bytes, 1 << 20);
  EXPECT_LT((*counts)[1].peak_bytes, 1 << 16);
  // What line 2 allocated is there when line 3 begins.
  EXPECT_GE((*counts)[0].lines[0].bytes, 1 << 20);
}

TEST_F(SandboxTest, BadProgramsHarmNoOthers) {
  CountOptions options;
  options.limit = 10'000;
  options.limit_a_process = absl::Seconds(10);
  const std::string good = "def f():\n    return 1\n";
  const auto counts = CountInstructions(
      {{good, "assert f() == 1"},
       {"def f(:", "f()"},
       {good, "assert f() == 2"},
       {good, "import os\nos._exit(0)"},
       {"def f():\n    while True: pass\n", "f()"},
       {"import sys\ndef f():\n    sys.exit(0)\n", "f()"},
       {"print('[[true, 1, 0, []]]')\ndef f(): pass\n", "f()"},
       {good, "assert f() == 1"}},
      1, options);
  ASSERT_TRUE(counts.ok()) << counts.status();
  std::vector<bool> passed;
  for (const InstructionCount& count : *counts) passed.push_back(count.passed);
  EXPECT_THAT(passed,
              ElementsAre(true, false, false, false, false, false, true, true));
  EXPECT_TRUE(CountInstructions({}, 1)->empty());
  options.limit = 0;
  EXPECT_FALSE(CountInstructions({}, 1, options).ok());
}

TEST_F(SandboxTest, FormsOfTheLanguageAgree) {
  const std::vector<Recipe> all = AllRecipes();
  std::vector<TestedProgram> programs;
  for (size_t i = 0; i < all.size(); i += 13) {
    for (const Form form : {Form::kSlow, Form::kFair, Form::kFast}) {
      programs.push_back({ProgramOf(all[i], form), TestsOf(all[i])});
    }
  }
  const auto counts = CountInstructions(programs, 1);
  ASSERT_TRUE(counts.ok()) << counts.status();
  for (size_t i = 0; i < counts->size(); i += 3) {
    for (int form = 0; form < 3; ++form) {
      EXPECT_TRUE((*counts)[i + form].passed) << programs[i + form].program;
    }
    EXPECT_GT((*counts)[i].instructions, (*counts)[i + 1].instructions);
    EXPECT_GE((*counts)[i + 1].instructions, (*counts)[i + 2].instructions)
        << programs[i + 1].program;
  }
}

TEST_F(SandboxTest, MeasuredCostReportsAll) {
  const auto costs =
      MeasuredCost(1)({{"def f(): return 1\n", "assert f() == 1"},
                       {"def f(): return 2\n", "assert f() == 1"}});
  ASSERT_TRUE(costs.ok()) << costs.status();
  EXPECT_TRUE((*costs)[0].passed);
  EXPECT_GT((*costs)[0].overhead.time, 0);
  EXPECT_THAT((*costs)[0].report, HasSubstr("Execution time"));
  EXPECT_THAT((*costs)[0].report, HasSubstr("def f(): return 1"));
  EXPECT_FALSE((*costs)[1].passed);
}

// ----------------------------------------------------------------------- SOAP

// Programs are numbers, which are their times; "bad" ones fail.
CostFunction NumberCost() {
  return [](const std::vector<TestedProgram>& programs)
             -> absl::StatusOr<std::vector<ProgramCost>> {
    std::vector<ProgramCost> costs;
    for (const TestedProgram& program : programs) {
      ProgramCost& cost = costs.emplace_back();
      cost.passed = !absl::StrContains(program.program, "bad") &&
                    !absl::StrContains(program.tests, "wrong");
      const double time = std::atof(program.program.c_str());
      cost.overhead = {time, 1 / time, time};
      cost.report = absl::StrCat("costs ", time, "\n");
    }
    return costs;
  };
}

TEST(SoapTest, KeepsTheBestThatPasses) {
  completion::ScriptedClient client(
      std::vector<std::string>{"```python\n7\n```", "no code", "```\n5\n```",
                               "```python\n3 bad\n```", "```python\n6\n```"});
  completion::Usage usage;
  const auto results =
      Optimize({{"a task", "a test", "9\n"}}, client, NumberCost(), {}, &usage);
  ASSERT_TRUE(results.ok()) << results.status();
  EXPECT_EQ((*results)[0].program, "5\n");
  EXPECT_EQ((*results)[0].round, 3);
  EXPECT_EQ((*results)[0].initial.overhead.time, 9);
  EXPECT_EQ((*results)[0].final.overhead.time, 5);
  EXPECT_EQ(usage.requests, 5);
  // Each round shows the program kept so far and its cost, and has a seed.
  const auto requests = client.requests();
  EXPECT_THAT(requests[0].messages[0].content, HasSubstr("costs 9"));
  EXPECT_THAT(requests[1].messages[0].content, HasSubstr("costs 7"));
  EXPECT_THAT(requests[4].messages[0].content, HasSubstr("costs 5"));
  EXPECT_THAT(requests[4].messages[0].content, HasSubstr("a task"));
  EXPECT_THAT(requests[4].messages[0].content, HasSubstr("a test"));
  std::set<uint64_t> seeds;
  for (const auto& request : requests) seeds.insert(request.seed.value());
  EXPECT_EQ(seeds.size(), 5u);
}

TEST(SoapTest, FailingInitialProgramsAreNotAskedAbout) {
  completion::ScriptedClient client(std::vector<std::string>{});
  const auto results =
      Optimize({{"t", "x", "1 bad"}}, client, NumberCost(), {});
  ASSERT_TRUE(results.ok()) << results.status();
  EXPECT_FALSE((*results)[0].initial.passed);
  EXPECT_EQ((*results)[0].round, 0);
}

TEST(SoapTest, Errors) {
  completion::ScriptedClient client(std::vector<std::string>{});
  SoapOptions negative;
  negative.rounds = -1;
  EXPECT_EQ(Optimize({}, client, NumberCost(), negative).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(Optimize({}, client, NumberCost(), {})->empty());
  EXPECT_EQ(
      Optimize({{"t", "x", "1"}}, client, NumberCost(), {}).status().code(),
      absl::StatusCode::kResourceExhausted);
  const CostFunction none = [](const std::vector<TestedProgram>&) {
    return std::vector<ProgramCost>();
  };
  EXPECT_EQ(Optimize({{"t", "x", "1"}}, client, none, {}).status().code(),
            absl::StatusCode::kInternal);
}

TEST(SoapTest, Rules) {
  const Overhead current = {2, 10, 20};
  EXPECT_TRUE(IsBetter({1, 10, 20}, current, KeepRule::kTime));
  EXPECT_FALSE(IsBetter({2, 5, 10}, current, KeepRule::kTime));
  EXPECT_TRUE(IsBetter({2, 5, 10}, current, KeepRule::kMemoryTime));
  EXPECT_FALSE(IsBetter({1, 10, 20}, current, KeepRule::kMemoryTime));
  EXPECT_TRUE(IsBetter({3, 9, 27}, current, KeepRule::kAny));
  EXPECT_FALSE(IsBetter(current, current, KeepRule::kAny));
}

TEST(SoapTest, FencedCode) {
  EXPECT_EQ(FencedCode("a\n```python\nx\n```\nb"), "x\n");
  EXPECT_EQ(FencedCode("```\ny\n```\n```python\nx\n```"), "x\n");
  EXPECT_EQ(FencedCode("```py\ny\n```"), "y\n");
  EXPECT_EQ(FencedCode("```python\nx = 1"), "x = 1");
  EXPECT_EQ(FencedCode("none"), std::nullopt);
  EXPECT_EQ(FencedCode("```"), std::nullopt);
  EXPECT_EQ(FencedCode(""), std::nullopt);
}

// -------------------------------------------------------------------- dataset

TEST(DatasetTest, Refusals) {
  EXPECT_EQ(RefusalOf("def f(x):\n    return sorted(x)\n"), "");
  // A text or a comment is no use of a name.
  EXPECT_EQ(RefusalOf("def f(x):\n    # os\n    return 'open'\n"), "");
  EXPECT_EQ(RefusalOf("import random\ndef f():\n    return random.random()\n"),
            "uses random");
  EXPECT_EQ(RefusalOf("def f():\n    return input()\n"), "uses input");
  EXPECT_EQ(RefusalOf("x = 1\n"), "has no function");
  EXPECT_EQ(RefusalOf("def f(:\n"), "does not parse");
  EXPECT_EQ(RefusalOf(""), "has no function");
}

TEST(DatasetTest, TestLines) {
  EXPECT_THAT(TestLines("Here:\n```python\n  assert f(1) == 1\nassert f(2)\n"
                        "assert f(1) == 1\n```\nassertion\nassert f(3)\n",
                        2),
              ElementsAre("assert f(1) == 1", "assert f(2)"));
  EXPECT_TRUE(TestLines("", 5).empty());
}

TEST(DatasetTest, SixSteps) {
  // Solutions are functions whose comments' numbers are their times.
  const CostFunction cost = [](const std::vector<TestedProgram>& programs)
      -> absl::StatusOr<std::vector<ProgramCost>> {
    std::vector<TestedProgram> numbers = programs;
    for (TestedProgram& program : numbers) {
      program.program = program.program.substr(program.program.find('#') + 1);
    }
    return NumberCost()(numbers);
  };
  const auto solution = [](const std::string& cost_text) {
    return absl::StrCat("def f():  #", cost_text, "\n    return 1\n");
  };
  completion::ScriptedClient client(
      [&](const completion::CompletionRequest& request)
          -> absl::StatusOr<completion::Completion> {
        const std::string& text = request.messages[0].content;
        if (absl::StrContains(text, "Write tests")) {
          return completion::TextCompletion("assert f()\nassert f() == wrong");
        }
        return completion::TextCompletion(
            absl::StrContains(text, "stays")
                ? "I cannot."
                : absl::StrCat("```python\n", solution("2"), "```"));
      });
  DatasetOptions options;
  const auto data = BuildDataset({{"one", solution("8"), "t"},
                                  {"two", "x = 1", "t"},
                                  {"three", solution("4"), ""},
                                  {"stays", solution("6"), "t"},
                                  {"four", solution("6"), "wrong"},
                                  {"  one ", solution("9"), "t"}},
                                 client, cost, options);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->collected, 6);
  EXPECT_EQ(data->suitable, 5);
  EXPECT_EQ(data->tested, 4);
  EXPECT_EQ(data->better, 3);
  EXPECT_EQ(data->distinct, 2);
  ASSERT_EQ(data->pairs.size(), 2u);
  EXPECT_EQ(data->pairs[0].instruction, "one");
  EXPECT_EQ(data->pairs[1].instruction, "three");
  EXPECT_EQ(data->pairs[1].optimized, solution("2"));
  EXPECT_EQ(data->pairs[1].original, solution("4"));
  EXPECT_EQ(data->mean_before, 6);
  EXPECT_EQ(data->mean_after, 2);
  EXPECT_EQ(data->tested_before, (8 + 4 + 6 + 9) / 4.0);
  EXPECT_EQ(data->tested_after, (2 + 2 + 6 + 2) / 4.0);
  // Of "three" only the test that its solution passes is shown.
  for (const auto& request : client.requests()) {
    const std::string& text = request.messages[0].content;
    if (!absl::StrContains(text, "Write tests")) {
      EXPECT_FALSE(absl::StrContains(text, "three") &&
                   absl::StrContains(text, "wrong"));
    }
  }

  const auto again = ParseTrainingFile(TrainingFile(data->pairs), "t.json");
  ASSERT_TRUE(again.ok()) << again.status();
  ASSERT_EQ(again->size(), 2u);
  EXPECT_EQ((*again)[1].instruction, "three");
  EXPECT_EQ((*again)[1].output, solution("2"));
  EXPECT_TRUE(BuildDataset({}, client, cost, options)->pairs.empty());
}

TEST(DatasetTest, RefusesBadTrainingFiles) {
  const std::vector<std::pair<std::string, std::string>> files = {
      {"", "t.json"},
      {"{}", "expected a list"},
      {"[]", "expected a list"},
      {"[1]", "record 0: not an object"},
      {R"([{"instruction":"a","output":"b"},{"instruction":"a"}])",
       "record 1: field \"output\""},
      {R"([{"instruction":"","output":"b"}])", "is empty"},
      {R"([{"instruction":"a","input":1,"output":"b"}])", "field \"input\""},
      {R"([{"instruction":"a","output":"b")", "t.json:1"}};
  for (const auto& [text, what] : files) {
    const auto records = ParseTrainingFile(text, "t.json");
    EXPECT_EQ(records.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(records.status().message()), HasSubstr(what));
  }
  EXPECT_EQ(ReadTrainingFile("/no/such.json").status().code(),
            absl::StatusCode::kNotFound);
}

TEST(DatasetTest, Examples) {
  const auto whole = EncodeExample({5, 6}, {7, 8}, 1, -100, 10);
  ASSERT_TRUE(whole.ok());
  EXPECT_THAT(whole->ids, ElementsAre(5, 6, 7, 8, 1));
  EXPECT_THAT(whole->labels, ElementsAre(-100, -100, 7, 8, 1));
  EXPECT_THAT(EncodeExample({5, 6}, {7, 8}, 1, -100, 3)->labels,
              ElementsAre(-100, -100, 7));
  EXPECT_FALSE(EncodeExample({}, {}, 1, -100, 0).ok());
}

TEST(DatasetTest, StepsOfTheFineTuning) {
  const FineTuning tuning;
  // 9,451 less 47 held out are 9,404: 74 batches of 128, four times.
  EXPECT_EQ(tuning.NumSteps(9451, 8), 4 * 74);
  EXPECT_EQ(tuning.NumSteps(16, 1), 4);
  EXPECT_EQ(tuning.NumSteps(0, 8), 0);
  EXPECT_EQ(tuning.NumSteps(10, 0), 0);
}

// ------------------------------------------------------------------- language

TEST(LanguageTest, RecipesAndTexts) {
  const std::vector<Recipe> all = AllRecipes();
  EXPECT_EQ(all.size(), 1560u);
  std::set<std::string> texts, programs;
  for (const Recipe& recipe : all) {
    texts.insert(TaskText(recipe, 0));
    programs.insert(ProgramOf(recipe, Form::kSlow));
  }
  EXPECT_EQ(texts.size(), all.size());
  EXPECT_EQ(programs.size(), all.size());

  const Recipe recipe = {Pick::kMultiples, 3, Change::kSquare, 0, Result::kSum};
  EXPECT_EQ(TaskText(recipe, 0),
            "the sum of the squares of the multiples of 3 "
            "up to n");
  EXPECT_EQ(ProgramOf(recipe, Form::kFast),
            "def f(n):\n    return sum([v * v for v in range(3, n + 1, 3)])\n");
  EXPECT_EQ(TestsOf(recipe),
            "assert f(12) == 270\nassert f(25) == 1836\n"
            "assert f(40) == 7371\n");
  EXPECT_THAT(Values({Pick::kEndingIn, 4, Change::kPlus, 2, Result::kList}, 25),
              ElementsAre(6, 16, 26));
  EXPECT_THAT(Values({Pick::kFrom, 9, Change::kNone, 0, Result::kLargest}, 5),
              ElementsAre(0));
}

TEST(LanguageTest, RewriterAnswersInItsShares) {
  const Recipe recipe = {Pick::kOdd, 0, Change::kTimes, 5, Result::kList};
  const std::string task = TaskText(recipe, 3);
  Rewriter rewriter({{task, recipe}});
  completion::CompletionRequest request;
  request.messages = {{"user", absl::StrCat("Task:\n", task, "\n")}};
  std::map<std::string, double> shares;
  constexpr int kDraws = 4000;
  for (int i = 0; i < kDraws; ++i) {
    request.seed = i;
    const auto answer = rewriter.Complete(request);
    ASSERT_TRUE(answer.ok()) << answer.status();
    shares[FencedCode(answer->choices[0].text).value_or("none")] +=
        100.0 / kDraws;
  }
  // Four standard errors are 3 points.
  EXPECT_THAT(shares[ProgramOf(recipe, Form::kFast)], DoubleNear(40, 3.5));
  EXPECT_THAT(shares[ProgramOf(recipe, Form::kFair)], DoubleNear(25, 3.5));
  EXPECT_THAT(shares[ProgramOf(recipe, Form::kSlow)], DoubleNear(15, 3.5));
  EXPECT_THAT(shares["none"], DoubleNear(10, 3.5));
  EXPECT_EQ(rewriter.Complete(request)->choices[0].text,
            rewriter.Complete(request)->choices[0].text);
  request.messages = {{"user", "something else"}};
  EXPECT_EQ(rewriter.Complete(request).status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace repro::effi_code
