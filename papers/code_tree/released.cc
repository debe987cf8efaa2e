#include "papers/code_tree/released.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/data/io.h"
#include "common/data/jsonl.h"
#include "common/status/macros.h"
#include "papers/code_tree/visible_tests.h"

namespace repro::code_tree {
namespace {

using nlohmann::json;

// A line of a JSON Lines file, with errors that name it.
class Record {
 public:
  Record(const JsonLine& line, const std::string& path)
      : value_(line.value), place_(absl::StrCat(path, ":", line.line, ": ")) {}

  absl::Status Error(const std::string& what) const {
    return absl::InvalidArgumentError(absl::StrCat(place_, what));
  }

  bool Has(const char* name) const {
    return value_.is_object() && value_.contains(name);
  }

  absl::StatusOr<std::string> Text(const char* name) const {
    if (!Has(name) || !value_.at(name).is_string()) {
      return Error(absl::StrCat("no text \"", name, "\""));
    }
    return value_.at(name).get<std::string>();
  }

  absl::StatusOr<int> Count(const char* name) const {
    if (!Has(name) || !value_.at(name).is_number_integer()) {
      return Error(absl::StrCat("no whole number \"", name, "\""));
    }
    const auto count = value_.at(name).get<int64_t>();
    if (count < 0 || count > 1'000'000'000) {
      return Error(absl::StrCat("\"", name, "\" is out of range"));
    }
    return static_cast<int>(count);
  }

  absl::StatusOr<bool> Flag(const char* name) const {
    REPRO_ASSIGN_OR_RETURN(const int flag, Count(name));
    if (flag > 1) return Error(absl::StrCat("\"", name, "\" is not 0 or 1"));
    return flag == 1;
  }

  absl::StatusOr<std::vector<std::string>> Texts(const char* name) const {
    if (!Has(name)) return Error(absl::StrCat("no list \"", name, "\""));
    return TextsOf(value_.at(name), name);
  }

  // Pairs of value[name]["input"][i] and ["output"][i].
  absl::StatusOr<std::vector<StdinTest>> StdinTests(const char* name) const {
    if (!Has(name) || !value_.at(name).is_object() ||
        !value_.at(name).contains("input") ||
        !value_.at(name).contains("output")) {
      return Error(absl::StrCat("no \"", name, "\" with input and output"));
    }
    REPRO_ASSIGN_OR_RETURN(const std::vector<std::string> inputs,
                           TextsOf(value_.at(name).at("input"), "input"));
    REPRO_ASSIGN_OR_RETURN(const std::vector<std::string> outputs,
                           TextsOf(value_.at(name).at("output"), "output"));
    if (inputs.size() != outputs.size()) {
      return Error(absl::StrCat("\"", name, "\" has ", inputs.size(),
                                " inputs and ", outputs.size(), " outputs"));
    }
    std::vector<StdinTest> tests;
    for (size_t i = 0; i < inputs.size(); ++i) {
      tests.push_back({inputs[i], outputs[i]});
    }
    return tests;
  }

 private:
  absl::StatusOr<std::vector<std::string>> TextsOf(const json& value,
                                                   const char* name) const {
    const auto is_text = [](const json& item) { return item.is_string(); };
    if (!value.is_array() ||
        !std::all_of(value.begin(), value.end(), is_text)) {
      return Error(absl::StrCat("\"", name, "\" is not a list of texts"));
    }
    return value.get<std::vector<std::string>>();
  }

  const json& value_;
  const std::string place_;
};

absl::Status AddTask(Task task, const Record& record, Tasks* tasks) {
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

absl::StatusOr<Tasks> ReadHumanEval(const std::string& problems_path,
                                    const std::string& visible_tests_path) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> visible_lines,
                         ReadJsonl(visible_tests_path));
  std::map<std::string, std::vector<std::string>> visible;
  for (const JsonLine& line : visible_lines) {
    const Record record(line, visible_tests_path);
    REPRO_ASSIGN_OR_RETURN(const std::string id, record.Text("task_id"));
    REPRO_ASSIGN_OR_RETURN(std::vector<std::string> tests,
                           record.Texts("given_tests"));
    if (!visible.emplace(id, std::move(tests)).second) {
      return record.Error(absl::StrCat(Quoted(id), " comes twice"));
    }
  }
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines,
                         ReadJsonl(problems_path));
  Tasks tasks;
  for (const JsonLine& line : lines) {
    const Record record(line, problems_path);
    Task task;
    REPRO_ASSIGN_OR_RETURN(task.problem.id, record.Text("task_id"));
    REPRO_ASSIGN_OR_RETURN(task.problem.prompt, record.Text("prompt"));
    REPRO_ASSIGN_OR_RETURN(const std::string entry, record.Text("entry_point"));
    REPRO_ASSIGN_OR_RETURN(const std::string test, record.Text("test"));
    task.problem.preamble = task.problem.prompt;
    task.hidden_tests = absl::StrCat(test, "\ncheck(", entry, ")\n");
    const auto found = visible.find(task.problem.id);
    if (found == visible.end()) {
      return record.Error(absl::StrCat(Quoted(task.problem.id), " is not in ",
                                       visible_tests_path));
    }
    task.problem.asserts = std::move(found->second);
    REPRO_RETURN_IF_ERROR(AddTask(std::move(task), record, &tasks));
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
    const Record record(line, path);
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
    const Record record(line, path);
    Problem problem;
    REPRO_ASSIGN_OR_RETURN(const int name, record.Count("name"));
    problem.id = absl::StrCat("APPS/", name);
    REPRO_ASSIGN_OR_RETURN(problem.prompt, record.Text("description"));
    REPRO_ASSIGN_OR_RETURN(problem.stdin_tests,
                           record.StdinTests("public_tests"));
    problems.push_back(std::move(problem));
  }
  return problems;
}

absl::StatusOr<std::vector<ReleasedProgram>> ReadPrograms(
    const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines, ReadJsonl(path));
  std::vector<ReleasedProgram> programs;
  for (const JsonLine& line : lines) {
    const Record record(line, path);
    ReleasedProgram program;
    REPRO_ASSIGN_OR_RETURN(program.model, record.Text("model"));
    REPRO_ASSIGN_OR_RETURN(program.method, record.Text("method"));
    REPRO_ASSIGN_OR_RETURN(
        program.task, record.Text(record.Has("task_id") ? "task_id" : "name"));
    REPRO_ASSIGN_OR_RETURN(program.solution, record.Text("solution"));
    REPRO_ASSIGN_OR_RETURN(program.recorded_solved,
                           record.Flag("recorded_solved"));
    if (record.Has("rechecked")) {
      REPRO_ASSIGN_OR_RETURN(program.rechecked, record.Flag("rechecked"));
      REPRO_ASSIGN_OR_RETURN(program.visible_passed,
                             record.Count("visible_passed"));
      REPRO_ASSIGN_OR_RETURN(program.visible_total,
                             record.Count("visible_total"));
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
    const Record record(line, path);
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

absl::StatusOr<std::vector<bool>> RunRequests(
    const exec::Sandbox& sandbox,
    const std::vector<exec::ExecRequest>& requests, int workers,
    const std::function<void(int done, int total)>& progress) {
  std::vector<bool> passed;
  for (const exec::ExecResult& result :
       sandbox.RunAll(requests, workers, progress)) {
    REPRO_RETURN_IF_ERROR(SandboxStatus(result));
    passed.push_back(result.outcome == exec::Outcome::kPassed);
  }
  return passed;
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
