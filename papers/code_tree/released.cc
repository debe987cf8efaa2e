#include "papers/code_tree/released.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/data/human_eval.h"
#include "common/data/io.h"
#include "common/data/json_record.h"
#include "common/status/macros.h"
#include "papers/code_tree/visible_tests.h"

namespace repro::code_tree {
namespace {

using nlohmann::json;

absl::StatusOr<int> CountOf(const JsonRecord& record, const char* field) {
  REPRO_ASSIGN_OR_RETURN(const int64_t count, record.Count(field));
  if (count > 1'000'000'000) {
    return record.Error(absl::StrCat("field \"", field, "\" is out of range"));
  }
  return static_cast<int>(count);
}

// 0 or 1.
absl::StatusOr<bool> FlagOf(const JsonRecord& record, const char* field) {
  REPRO_ASSIGN_OR_RETURN(const int64_t flag, record.Integer(field));
  if (flag != 0 && flag != 1) {
    return record.Error(absl::StrCat("field \"", field, "\" is not 0 or 1"));
  }
  return flag == 1;
}

// Pairs of public_tests["input"][i] and ["output"][i].
absl::StatusOr<std::vector<StdinTest>> PublicTests(const JsonLine& line,
                                                   const std::string& path) {
  const JsonRecord record(line, path);
  const json* tests = record.Find("public_tests");
  const JsonLine inside{tests == nullptr ? json() : *tests, line.line};
  const JsonRecord columns(inside, path);
  REPRO_ASSIGN_OR_RETURN(const std::vector<std::string> inputs,
                         columns.Texts("input"));
  REPRO_ASSIGN_OR_RETURN(const std::vector<std::string> outputs,
                         columns.Texts("output"));
  if (inputs.size() != outputs.size()) {
    return record.Error(absl::StrCat(inputs.size(), " inputs and ",
                                     outputs.size(), " outputs"));
  }
  std::vector<StdinTest> pairs;
  for (size_t i = 0; i < inputs.size(); ++i) {
    pairs.push_back({inputs[i], outputs[i]});
  }
  return pairs;
}

absl::Status AddTask(Task task, const JsonRecord& record, Tasks* tasks) {
  const std::string id = task.problem.id;
  if (!tasks->emplace(id, std::move(task)).second) {
    return record.Error(absl::StrCat(Quoted(id), " comes twice"));
  }
  return absl::OkStatus();
}

exec::ExecRequest TestRequest(const Task& task, const std::string& solution,
                              const std::string& tests, Before before) {
  exec::ExecRequest request;
  request.program = absl::StrCat(
      kImports, before == Before::kPrompt ? task.problem.preamble : "", "\n",
      solution, "\n");
  request.mode = exec::Mode::kTests;
  request.tests = tests;
  // The paper's final evaluation has 10 s. Processor time decides here, so that
  // a busy machine gives the same verdicts.
  request.limits.cpu = absl::Seconds(10);
  request.limits.wall = absl::Seconds(60);
  request.limits.memory_bytes = int64_t{1} << 30;
  return request;
}

}  // namespace

absl::StatusOr<Tasks> ReadHumanEvalTasks(
    const std::string& problems_path, const std::string& visible_tests_path) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> visible_lines,
                         ReadJsonl(visible_tests_path));
  std::map<std::string, std::vector<std::string>> visible;
  for (const JsonLine& line : visible_lines) {
    const JsonRecord record(line, visible_tests_path);
    REPRO_ASSIGN_OR_RETURN(const std::string id, record.Text("task_id"));
    REPRO_ASSIGN_OR_RETURN(std::vector<std::string> tests,
                           record.Texts("given_tests"));
    if (!visible.emplace(id, std::move(tests)).second) {
      return record.Error(absl::StrCat(Quoted(id), " comes twice"));
    }
  }
  REPRO_ASSIGN_OR_RETURN(const std::vector<HumanEvalProblem> problems,
                         ReadHumanEval(problems_path));
  Tasks tasks;
  for (const HumanEvalProblem& problem : problems) {
    Task& task = tasks[problem.task_id];
    task.problem.id = problem.task_id;
    task.problem.prompt = problem.prompt;
    task.problem.preamble = problem.prompt;
    task.hidden_tests =
        absl::StrCat(problem.test, "\ncheck(", problem.entry_point, ")\n");
    const auto found = visible.find(problem.task_id);
    if (found == visible.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat(problems_path, ": ", Quoted(problem.task_id),
                       " is not in ", visible_tests_path));
    }
    task.problem.asserts = std::move(found->second);
  }
  if (visible.size() != tasks.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(visible_tests_path, " has ", visible.size(), " problems, ",
                     problems_path, " has ", tasks.size()));
  }
  return tasks;
}

absl::StatusOr<Tasks> ReadMbpp(const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines, ReadJsonl(path));
  Tasks tasks;
  for (const JsonLine& line : lines) {
    const JsonRecord record(line, path);
    Task task;
    REPRO_ASSIGN_OR_RETURN(task.problem.id, record.Text("name"));
    REPRO_ASSIGN_OR_RETURN(task.problem.prompt, record.Text("prompt"));
    REPRO_ASSIGN_OR_RETURN(task.hidden_tests, record.Text("test"));
    REPRO_ASSIGN_OR_RETURN(task.problem.asserts, record.Texts("sample_io"));
    task.problem.preamble = task.problem.prompt;
    REPRO_RETURN_IF_ERROR(AddTask(std::move(task), record, &tasks));
  }
  return tasks;
}

absl::StatusOr<std::vector<Problem>> ReadApps(const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines, ReadJsonl(path));
  std::vector<Problem> problems;
  for (const JsonLine& line : lines) {
    const JsonRecord record(line, path);
    Problem problem;
    REPRO_ASSIGN_OR_RETURN(const int name, CountOf(record, "name"));
    problem.id = absl::StrCat("APPS/", name);
    REPRO_ASSIGN_OR_RETURN(problem.prompt, record.Text("description"));
    REPRO_ASSIGN_OR_RETURN(problem.stdin_tests, PublicTests(line, path));
    problems.push_back(std::move(problem));
  }
  return problems;
}

absl::StatusOr<std::vector<ReleasedProgram>> ReadPrograms(
    const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines, ReadJsonl(path));
  std::vector<ReleasedProgram> programs;
  for (const JsonLine& line : lines) {
    const JsonRecord record(line, path);
    ReleasedProgram program;
    REPRO_ASSIGN_OR_RETURN(program.model, record.Text("model"));
    REPRO_ASSIGN_OR_RETURN(program.method, record.Text("method"));
    REPRO_ASSIGN_OR_RETURN(
        program.task,
        record.Text(record.Find("task_id") != nullptr ? "task_id" : "name"));
    REPRO_ASSIGN_OR_RETURN(program.solution, record.Text("solution"));
    REPRO_ASSIGN_OR_RETURN(program.recorded_solved,
                           FlagOf(record, "recorded_solved"));
    if (record.Find("rechecked") != nullptr) {
      REPRO_ASSIGN_OR_RETURN(program.rechecked, FlagOf(record, "rechecked"));
      REPRO_ASSIGN_OR_RETURN(program.visible_passed,
                             CountOf(record, "visible_passed"));
      REPRO_ASSIGN_OR_RETURN(program.visible_total,
                             CountOf(record, "visible_total"));
    }
    programs.push_back(std::move(program));
  }
  return programs;
}

bool ProgramKey::operator<(const ProgramKey& other) const {
  return std::tie(model, method, task) <
         std::tie(other.model, other.method, other.task);
}

absl::StatusOr<std::map<ProgramKey, PlusStatus>> ReadPlusStatuses(
    const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines, ReadJsonl(path));
  std::map<ProgramKey, PlusStatus> statuses;
  for (const JsonLine& line : lines) {
    const JsonRecord record(line, path);
    ProgramKey key;
    REPRO_ASSIGN_OR_RETURN(key.model, record.Text("model"));
    REPRO_ASSIGN_OR_RETURN(key.method, record.Text("method"));
    REPRO_ASSIGN_OR_RETURN(key.task, record.Text("task_id"));
    const auto success = [&](const char* name) -> absl::StatusOr<bool> {
      REPRO_ASSIGN_OR_RETURN(const std::string status, record.Text(name));
      if (status != "success" && status != "failed" && status != "timeout") {
        return record.Error(absl::StrCat("\"", name, "\" is ", Quoted(status)));
      }
      return status == "success";
    };
    PlusStatus status;
    REPRO_ASSIGN_OR_RETURN(status.base, success("base"));
    REPRO_ASSIGN_OR_RETURN(status.plus, success("plus"));
    if (!statuses.emplace(key, status).second) {
      return record.Error(absl::StrCat(Quoted(key.task), " comes twice"));
    }
  }
  return statuses;
}

exec::ExecRequest HiddenTestRequest(const Task& task,
                                    const std::string& solution,
                                    Before before) {
  return TestRequest(task, solution, task.hidden_tests, before);
}

exec::ExecRequest VisibleTestRequest(const Task& task,
                                     const std::string& solution) {
  return TestRequest(task, solution, absl::StrJoin(task.problem.asserts, "\n"),
                     Before::kPrompt);
}

BudgetResult ReplayBudget(const std::vector<std::vector<Try>>& problems,
                          int budget) {
  BudgetResult result;
  int64_t tried = 0;
  for (const std::vector<Try>& tries : problems) {
    const size_t most = std::min(tries.size(), static_cast<size_t>(budget));
    size_t submitted = 0, used = most;
    bool any = false;
    for (size_t i = most; i > 0; --i) {
      any = any || tries[i - 1].right;
      if (tries[i - 1].passes_visible) {
        submitted = i - 1;
        used = i;
      }
    }
    result.solved += tries[submitted].right;
    result.any_right += any;
    tried += static_cast<int64_t>(used);
  }
  if (!problems.empty()) {
    result.mean_programs =
        static_cast<double>(tried) / static_cast<double>(problems.size());
  }
  return result;
}

}  // namespace repro::code_tree
