#include "common/data/human_eval.h"

#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro {
namespace {

using ::testing::HasSubstr;

constexpr char kProblem[] =
    R"({"task_id": "HumanEval/0", "prompt": "def f():\n", "entry_point": "f", )"
    R"("canonical_solution": "    return 1\n", "test": "def check(c): ..."})";

std::string Write(const std::string& content) {
  const std::string path = ::testing::TempDir() + "/human_eval.jsonl";
  std::ofstream(path) << content;
  return path;
}

TEST(HumanEvalTest, FieldsAreTheBenchmarks) {
  const auto problems = ReadHumanEval(Write(kProblem));
  ASSERT_TRUE(problems.ok()) << problems.status();
  ASSERT_EQ(problems->size(), 1);
  const HumanEvalProblem& problem = (*problems)[0];
  EXPECT_EQ(problem.task_id, "HumanEval/0");
  EXPECT_EQ(problem.prompt, "def f():\n");
  EXPECT_EQ(problem.entry_point, "f");
  EXPECT_EQ(problem.canonical_solution, "    return 1\n");
  EXPECT_EQ(problem.test, "def check(c): ...");
}

TEST(HumanEvalTest, RefusesDamage) {
  const auto message = [](const std::string& content) {
    const auto problems = ReadHumanEval(Write(content));
    EXPECT_EQ(problems.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(problems.status().message());
  };
  for (const std::string field :
       {"task_id", "prompt", "entry_point", "canonical_solution", "test"}) {
    EXPECT_THAT(message(absl::StrReplaceAll(
                    kProblem, {{absl::StrCat("\"", field, "\""), "\"o\""}})),
                HasSubstr(absl::StrCat("human_eval.jsonl:1: field \"", field,
                                       "\" is missing")));
  }
  EXPECT_THAT(message(absl::StrCat("\n", kProblem, "\n", kProblem)),
              HasSubstr("human_eval.jsonl:3: task_id 'HumanEval/0' is that of "
                        "line 2"));
  EXPECT_THAT(message("[]"), HasSubstr("task_id"));
  EXPECT_THAT(message("\n"), HasSubstr("no records"));
  EXPECT_EQ(ReadHumanEval("/no/such/file").status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace repro
