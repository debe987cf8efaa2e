#include "papers/plan_search/benchmarks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/time.h"
#include "common/assets/test_asset.h"
#include "common/completion/scripted.h"
#include "common/data/io.h"
#include "common/exec/namespaces_permitted.h"
#include "common/exec/sandbox.h"
#include "papers/plan_search/language_model_thinker.h"
#include "papers/plan_search/scoring.h"
#include "papers/plan_search/search.h"

namespace repro::plan_search {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

std::string TempFile(const std::string& name, const std::string& content) {
  const std::string path = absl::StrCat(testing::TempDir(), "/", name);
  EXPECT_TRUE(WriteFileAtomically(path, content).ok());
  return path;
}

// A record of HumanEval+'s format. The second plus input does not fit into 64
// bits.
constexpr char kDouble[] =
    R"({"task_id": "Test/0", "prompt": "def double(x):\n    \"\"\"Twice x.\"\"\"\n", "entry_point": "double", "canonical_solution": "    return 2 * x\n", "base_input": [[1], [2]], "plus_input": [[-3], [36893488147419103233]], "atol": 0})";

// ------------------------------------------------------------------- readers

TEST(ReadHumanEvalPlus, KeepsTheRecord) {
  const auto tasks =
      *ReadHumanEvalPlus(TempFile("plus.jsonl", absl::StrCat("\n", kDouble)));
  ASSERT_THAT(tasks, SizeIs(1));
  EXPECT_EQ(tasks[0].id, "Test/0");
  EXPECT_THAT(tasks[0].record, HasSubstr("36893488147419103233"));
  EXPECT_EQ(ProblemOf(tasks[0]).starter_code, tasks[0].prompt);
}

TEST(ReadHumanEvalPlus, RefusesDamage) {
  const std::pair<const char*, const char*> damages[] = {
      {"\"task_id\": \"Test/0\"", "\"task_id\": 0"},
      {"\"prompt\"", "\"promt\""},
      {"\"entry_point\": \"double\"", "\"entry_point\": null"},
      {"[[1], [2]]", "[1, 2]"},
      {"\"plus_input\"", "\"more_input\""},
      {"\"atol\": 0", "\"atol\": \"0\""},
      {"\"atol\": 0}", "\"atol\": 0"},
  };
  for (const auto& [from, to] : damages) {
    const auto tasks = ReadHumanEvalPlus(
        TempFile("damaged.jsonl", absl::StrReplaceAll(kDouble, {{from, to}})));
    EXPECT_TRUE(absl::IsInvalidArgument(tasks.status())) << to;
    EXPECT_THAT(std::string(tasks.status().message()),
                HasSubstr("damaged.jsonl:1: "))
        << to;
  }
  EXPECT_THAT(
      std::string(ReadHumanEvalPlus(
                      TempFile("twice.jsonl",
                               absl::StrCat(kDouble, "\n", kDouble, "\n")))
                      .status()
                      .message()),
      HasSubstr("twice.jsonl:2: the same task comes twice"));
  EXPECT_TRUE(absl::IsInvalidArgument(
      ReadHumanEvalPlus(TempFile("empty.jsonl", "")).status()));
  EXPECT_TRUE(absl::IsNotFound(ReadHumanEvalPlus("/no/such/file").status()));
}

TEST(ReadSanitizedMbpp, RefusesDamage) {
  const std::string good =
      R"({"task_id": 2, "prompt": "", "code": "", "test_imports": [], "test_list": ["assert True"]})";
  const auto tasks = *ReadSanitizedMbpp(TempFile("mbpp.jsonl", good));
  EXPECT_EQ(tasks[0].id, "MBPP/2");
  EXPECT_THAT(tasks[0].asserts, ElementsAre("assert True"));
  for (const auto& [from, to] :
       {std::pair("\"task_id\": 2", "\"task_id\": -2"),
        std::pair("\"task_id\": 2", "\"task_id\": \"2\""),
        std::pair("\"test_imports\": []", "\"test_imports\": {}"),
        std::pair("[\"assert True\"]", "[1]")}) {
    EXPECT_TRUE(absl::IsInvalidArgument(
        ReadSanitizedMbpp(
            TempFile("bad_mbpp.jsonl", absl::StrReplaceAll(good, {{from, to}})))
            .status()))
        << to;
  }
}

std::string Released(const std::string& model, const std::string& method,
                     const std::string& task, int right, int passed) {
  return absl::StrCat(
      R"({"model": ")", model, R"(", "method": ")", method,
      R"(", "task_id": ")", task, R"(", "solution": "", "rechecked": )", right,
      R"(, "visible_passed": )", passed, R"(, "visible_total": 2})", "\n");
}

TEST(SamplesOf, GroupsAFamilyByTask) {
  const auto programs = *ReadReleasedPrograms(
      TempFile("released.jsonl",
               absl::StrCat(Released("gpt-4", "a", "t1", 1, 2),
                            Released("gpt-4-turbo", "b", "t2", 0, 2),
                            Released("gpt-4-turbo", "b", "t1", 0, 1),
                            Released("gpt-4", "a", "t2", 1, 1),
                            Released("gpt-3.5-turbo", "a", "t1", 1, 2))));
  const auto samples = *SamplesOf(programs, "gpt-4");
  ASSERT_THAT(samples, SizeIs(2));
  ASSERT_THAT(samples[0], SizeIs(2));
  EXPECT_TRUE(samples[0][0].right && samples[0][0].passes_public);
  EXPECT_FALSE(samples[0][1].right || samples[0][1].passes_public);
  EXPECT_TRUE(!samples[1][0].right && samples[1][0].passes_public);
  EXPECT_TRUE(samples[1][1].right && !samples[1][1].passes_public);
  EXPECT_TRUE(absl::IsInvalidArgument(SamplesOf(programs, "o1").status()));

  const auto statuses = *ReadPlusStatuses(TempFile(
      "statuses.jsonl",
      R"({"model": "gpt-4", "method": "a", "task_id": "t1", "base": "success", "plus": "failed"}
{"model": "gpt-4", "method": "a", "task_id": "t2", "base": "success", "plus": "success"}
)"));
  const auto plus = *SamplesOf(programs, statuses, "gpt-4");
  ASSERT_THAT(plus, SizeIs(2));
  ASSERT_THAT(plus[0], SizeIs(1));
  EXPECT_FALSE(plus[0][0].right);
  EXPECT_TRUE(plus[0][0].passes_public);
  EXPECT_TRUE(plus[1][0].right);
}

TEST(SamplesOf, RefusesUnequalNumbers) {
  const auto programs = *ReadReleasedPrograms(TempFile(
      "unequal.jsonl", absl::StrCat(Released("gpt-4", "a", "t1", 1, 2),
                                    Released("gpt-4", "b", "t1", 1, 2),
                                    Released("gpt-4", "a", "t2", 1, 2))));
  EXPECT_THAT(std::string(SamplesOf(programs, "gpt-4").status().message()),
              HasSubstr("t2 has 1 programs, t1 has 2"));
}

TEST(ReadReleasedPrograms, RefusesDamage) {
  for (const std::string& record :
       {Released("m", "a", "t", 2, 2), Released("m", "a", "t", 1, 3),
        Released("m", "a", "t", -1, 2),
        absl::StrCat(Released("m", "a", "t", 1, 2),
                     Released("m", "a", "t", 0, 2))}) {
    EXPECT_TRUE(absl::IsInvalidArgument(
        ReadReleasedPrograms(TempFile("bad_released.jsonl", record)).status()))
        << record;
  }
  EXPECT_TRUE(absl::IsInvalidArgument(
      ReadPlusStatuses(
          TempFile(
              "bad_statuses.jsonl",
              R"({"model": "m", "method": "a", "task_id": "t", "base": "ok", "plus": "failed"})"))
          .status()));
}

// ------------------------------------------------------------------- sandbox

const exec::Sandbox& TheSandbox() {
  static const auto* const sandbox =
      new absl::StatusOr<exec::Sandbox>(exec::Sandbox::Create());
  return **sandbox;
}

class InSandbox : public testing::Test {
 protected:
  void SetUp() override {
    const absl::Status permitted = exec::NamespacesPermitted();
    if (!permitted.ok()) GTEST_SKIP() << "NOT TESTED: " << permitted;
  }

  static bool Passes(const exec::ExecRequest& request) {
    const exec::ExecResult result = TheSandbox().Run(request);
    EXPECT_TRUE(exec::RunStatus(result).ok()) << exec::RunStatus(result);
    return result.outcome == exec::Outcome::kPassed;
  }
};

HumanEvalPlusTask PlusTask(const std::string& record) {
  const auto tasks = ReadHumanEvalPlus(TempFile("plus_task.jsonl", record));
  EXPECT_TRUE(tasks.ok()) << tasks.status();
  return tasks->front();
}

HumanEvalPlusTask PlusTask(const std::string& entry_point,
                           const std::string& reference,
                           const std::string& inputs,
                           const std::string& atol = "0") {
  return PlusTask(absl::StrCat(
      R"({"task_id": "t", "prompt": "", "entry_point": ")", entry_point,
      R"(", "canonical_solution": ")",
      absl::StrReplaceAll(reference, {{"\n", "\\n"}, {"\"", "\\\""}}),
      R"(", "base_input": )", inputs, R"(, "plus_input": [], "atol": )", atol,
      "}"));
}

TEST_F(InSandbox, HumanEvalRunsBehindThePrompt) {
  HumanEvalProblem task;
  task.prompt = "import math\ndef area(r):\n    \"\"\"Of a circle.\"\"\"\n";
  task.entry_point = "area";
  task.test =
      "def check(candidate):\n    assert abs(candidate(1) - math.pi) < 1e-9\n";
  const auto passes = [&](const std::string& program) {
    return Passes(HumanEvalRequest(task, program, RunLimits()));
  };
  EXPECT_TRUE(passes("    return math.pi * r * r\n"));
  EXPECT_TRUE(passes("def area(r):\n    return math.pi * r * r"));
  EXPECT_FALSE(passes("    return 3 * r * r\n"));
  EXPECT_FALSE(passes("    return ("));
  EXPECT_FALSE(passes(""));  // the docstring alone
}

TEST_F(InSandbox, MbppRunsImportsAndAsserts) {
  const MbppTask task = {
      "MBPP/0",
      "",
      "",
      {"import math"},
      {"assert half(4) == math.sqrt(4)", "assert half(2) == 1"}};
  EXPECT_TRUE(Passes(
      MbppRequest(task, "def half(x):\n    return x / 2\n", RunLimits())));
  EXPECT_FALSE(
      Passes(MbppRequest(task, "def half(x):\n    return 2\n", RunLimits())));
  EXPECT_FALSE(Passes(MbppRequest(task, "", RunLimits())));
}

TEST_F(InSandbox, TheTimeLimitIsProcessorTime) {
  RunLimits limits;
  limits.cpu = absl::Seconds(1);
  const MbppTask task = {"MBPP/0", "", "", {}, {"assert True"}};
  EXPECT_FALSE(Passes(MbppRequest(task, "while True:\n    pass\n", limits)));
  EXPECT_TRUE(
      Passes(MbppRequest(task, "import time\ntime.sleep(1.5)\n", limits)));
}

TEST_F(InSandbox, PlusComparesWithTheReference) {
  const HumanEvalPlusTask task = PlusTask(kDouble);
  const auto passes = [&](const std::string& program, PlusInputs inputs) {
    return Passes(HumanEvalPlusRequest(task, program, inputs, RunLimits()));
  };
  EXPECT_TRUE(passes("    return x + x\n", PlusInputs::kBoth));
  EXPECT_TRUE(passes("def double(x):\n    return x << 1\n", PlusInputs::kBoth));
  // Right on the base inputs only.
  const std::string positive = "    return 2 * abs(x)\n";
  EXPECT_TRUE(passes(positive, PlusInputs::kBase));
  EXPECT_FALSE(passes(positive, PlusInputs::kPlus));
  EXPECT_FALSE(passes(positive, PlusInputs::kBoth));
  // In double precision the integer beyond 64 bits is another.
  EXPECT_FALSE(passes("    return int(2 * float(x))\n", PlusInputs::kPlus));
  EXPECT_FALSE(passes("    raise ValueError\n", PlusInputs::kBase));
  EXPECT_FALSE(passes("    exit(0)\n", PlusInputs::kBase));
  EXPECT_FALSE(passes("    return (\n", PlusInputs::kBase));
  EXPECT_FALSE(passes("    pass\ndel double\n", PlusInputs::kBase));
  EXPECT_TRUE(passes("    print(x)\n    return 2 * x\n", PlusInputs::kBoth));
}

TEST_F(InSandbox, PlusTakesWhatIsNearWhereTheReferenceGivesFloats) {
  const auto passes = [](const HumanEvalPlusTask& task,
                         const std::string& value) {
    return Passes(HumanEvalPlusRequest(
        task, absl::StrCat("def f(x):\n    return ", value, "\n"),
        PlusInputs::kBoth, RunLimits()));
  };
  const auto task = [](const std::string& value, const std::string& atol) {
    return PlusTask("f", absl::StrCat("def f(x):\n    return ", value), "[[0]]",
                    atol);
  };
  EXPECT_TRUE(passes(task("1.0", "0"), "1.0000009"));
  EXPECT_FALSE(passes(task("1.0", "0"), "1.00001"));
  EXPECT_TRUE(passes(task("1.0", "0.001"), "1.0009"));
  EXPECT_TRUE(passes(task("1.0", "0"), "1"));  // equal, whatever the types
  EXPECT_FALSE(passes(task("1.0", "0"), "'1.0'"));
  EXPECT_TRUE(passes(task("[1.0, 2.0]", "0"), "[1.0, 2.0000009]"));
  EXPECT_FALSE(passes(task("[1.0, 2.0]", "0"), "(1.0, 2.0000009)"));
  EXPECT_FALSE(passes(task("[1.0, 2.0]", "0"), "[1.0]"));
  // Relative to the reference, too.
  EXPECT_TRUE(passes(task("1e9", "0"), "1e9 + 99"));
  EXPECT_FALSE(passes(task("1e9", "0"), "1e9 + 101"));
  // Integers are exact, and so are lists that are not all floats.
  EXPECT_FALSE(passes(task("10**9", "0"), "10**9 + 1"));
  EXPECT_FALSE(passes(task("[1, 2.0]", "0"), "[1, 2.0000001]"));
  EXPECT_FALSE(passes(task("float('nan')", "0"), "float('nan')"));
  EXPECT_TRUE(passes(task("float('inf')", "0"), "float('inf')"));
  EXPECT_FALSE(passes(task("float('inf')", "0"), "1e308"));
  EXPECT_FALSE(passes(task("1.0", "0"), "float('nan')"));
}

TEST_F(InSandbox, PlusKeepsArgumentsApart) {
  // Both empty the list that they are given.
  const std::string body =
      "def f(x):\n    n = len(x)\n    x.clear()\n    return n";
  const HumanEvalPlusTask task = PlusTask("f", body, "[[[1, 2]], [[3]]]");
  EXPECT_TRUE(
      Passes(HumanEvalPlusRequest(task, body, PlusInputs::kBoth, RunLimits())));
}

TEST_F(InSandbox, PlusTakesAnyRoot) {
  const HumanEvalPlusTask task = PlusTask(
      "find_zero",
      "def poly(xs, x):\n    return sum(c * x ** i for i, c in enumerate(xs))\n"
      "def find_zero(xs):\n    return 1.0",
      "[[[-1, 0, 1]]]", "0.0001");
  const auto passes = [&](const std::string& root) {
    return Passes(HumanEvalPlusRequest(
        task, absl::StrCat("def find_zero(xs):\n    return ", root, "\n"),
        PlusInputs::kBoth, RunLimits()));
  };
  EXPECT_TRUE(passes("-1.0"));
  EXPECT_TRUE(passes("1.00001"));
  EXPECT_FALSE(passes("0.5"));
}

TEST_F(InSandbox, RealReferencesPassTheirOwnInputs) {
  const std::string path = FindTestAsset("plan_search/humaneval_plus.jsonl.gz");
  if (path.empty()) GTEST_SKIP() << "NOT TESTED: no HumanEval+ here";
  const auto tasks = *ReadHumanEvalPlus(path);
  ASSERT_THAT(tasks, SizeIs(164));
  // Those with a tolerance, a root to find, and integers beyond 64 bits.
  for (const int i : {2, 4, 32, 53, 77}) {
    EXPECT_TRUE(Passes(HumanEvalPlusRequest(
        tasks[i], tasks[i].canonical_solution, PlusInputs::kBoth, RunLimits())))
        << tasks[i].id;
    EXPECT_FALSE(Passes(HumanEvalPlusRequest(tasks[i], "    return None\n",
                                             PlusInputs::kBase, RunLimits())))
        << tasks[i].id;
  }
}

// From a problem to pass@k, with a model that observes once, sketches, and
// writes a program that is right where its sketch has the observation.
TEST_F(InSandbox, PlanSearchFromPromptToPassAtK) {
  completion::ScriptedClient client(
      [](const completion::CompletionRequest& request) {
        const std::string& user = request.messages.back().content;
        const auto has = [&](const char* text) {
          return absl::StrContains(user, text);
        };
        if (has("Python list only")) {
          return completion::TextCompletion("```\n[\"add x to itself\"]\n```");
        }
        if (has("find a solution in words")) {
          return completion::TextCompletion(
              has("add x to itself") ? "SKETCH with it" : "SKETCH without");
        }
        if (has("SKETCH with it") && has("pseudocode")) {
          return completion::TextCompletion("PSEUDO add");
        }
        if (has("PSEUDO add")) {
          return completion::TextCompletion(
              "```python\ndef double(x):\n    return x + x\n```");
        }
        if (has("The pseudocode")) {
          return completion::TextCompletion(
              "```python\ndef double(x):\n    return x\n```");
        }
        return completion::TextCompletion("some text");
      });
  LanguageModelThinker thinker(&client);
  const HumanEvalPlusTask task = PlusTask(kDouble);
  PlanSearchOptions options;
  options.layers = 1;
  options.fix = false;
  std::mt19937_64 generator(3);
  const auto result = PlanSearch(ProblemOf(task), thinker, options, generator);
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_THAT(result->candidates, SizeIs(2));
  std::vector<exec::ExecRequest> requests;
  for (const Candidate& candidate : result->candidates) {
    requests.push_back(HumanEvalPlusRequest(task, candidate.program,
                                            PlusInputs::kBoth, RunLimits()));
  }
  const auto results = TheSandbox().RunAll(requests, 1);
  ASSERT_TRUE(results.ok()) << results.status();
  const std::vector<bool> passed = exec::Passed(*results);
  std::vector<Sample> samples;
  for (size_t i = 0; i < passed.size(); ++i) {
    samples.push_back({true, passed[i]});
    EXPECT_EQ(passed[i], !result->candidates[i].observations.empty());
  }
  EXPECT_EQ(*MeanPassAtK({samples}, 1, Filter::kNone), 0.5);
  EXPECT_EQ(*MeanPassAtK({samples}, 2, Filter::kNone), 1);
}

}  // namespace
}  // namespace repro::plan_search
