#include "papers/plan_search/benchmarks.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/data/io.h"
#include "common/data/json.h"
#include "common/data/json_record.h"
#include "common/status/macros.h"
#include "papers/plan_search/plus_check_source.h"

namespace repro::plan_search {
namespace {

using nlohmann::json;

// A list of lists of arguments.
absl::Status CheckInputs(const JsonRecord& record, const char* field) {
  const json* value = record.Find(field);
  if (value == nullptr || !value->is_array() ||
      !std::all_of(value->begin(), value->end(),
                   [](const json& item) { return item.is_array(); })) {
    return record.Error(
        absl::StrCat("field \"", field, "\" is not a list of lists"));
  }
  return absl::OkStatus();
}

// Reads each line as a T by `read`; `key` must be unique.
template <typename T, typename Read, typename Key>
absl::StatusOr<std::vector<T>> ReadUnique(const std::string& path,
                                          const Read& read, const Key& key) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines, ReadRecords(path));
  std::vector<T> values;
  std::set<std::decay_t<decltype(key(values[0]))>> seen;
  for (const JsonLine& line : lines) {
    const JsonRecord record(line, path);
    REPRO_ASSIGN_OR_RETURN(T value, read(record));
    if (!seen.insert(key(value)).second) {
      return record.Error("the same task comes twice");
    }
    values.push_back(std::move(value));
  }
  return values;
}

exec::ExecRequest Request(std::string program, std::string tests,
                          const RunLimits& limits) {
  exec::ExecRequest request;
  request.program = std::move(program);
  request.mode = exec::Mode::kTests;
  request.tests = std::move(tests);
  request.limits.cpu = limits.cpu;
  request.limits.wall = limits.wall;
  request.limits.memory_bytes = limits.memory_bytes;
  return request;
}

auto KeyOf(const ReleasedProgram& program) {
  return std::make_tuple(program.model, program.method, program.task);
}
auto KeyOf(const PlusStatus& status) {
  return std::make_tuple(status.model, status.method, status.task);
}

absl::StatusOr<std::vector<std::vector<Sample>>> ByTask(
    const std::map<std::string, std::vector<Sample>>& tasks,
    const std::string& family) {
  std::vector<std::vector<Sample>> samples;
  for (const auto& [task, of_task] : tasks) {
    samples.push_back(of_task);
    if (of_task.size() != samples.front().size()) {
      return absl::InvalidArgumentError(absl::StrCat(
          family, ": ", task, " has ", of_task.size(), " programs, ",
          tasks.begin()->first, " has ", samples.front().size()));
    }
  }
  if (samples.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("no programs of ", Quoted(family)));
  }
  return samples;
}

}  // namespace

absl::StatusOr<std::vector<MbppTask>> ReadSanitizedMbpp(
    const std::string& path) {
  return ReadUnique<MbppTask>(
      path,
      [](const JsonRecord& record) -> absl::StatusOr<MbppTask> {
        MbppTask task;
        REPRO_ASSIGN_OR_RETURN(const int64_t id, record.Count("task_id"));
        task.id = absl::StrCat("MBPP/", id);
        REPRO_ASSIGN_OR_RETURN(task.prompt, record.Text("prompt"));
        REPRO_ASSIGN_OR_RETURN(task.code, record.Text("code"));
        REPRO_ASSIGN_OR_RETURN(task.imports, record.Texts("test_imports"));
        REPRO_ASSIGN_OR_RETURN(task.asserts, record.Texts("test_list"));
        return task;
      },
      [](const MbppTask& task) { return task.id; });
}

absl::StatusOr<std::vector<HumanEvalPlusTask>> ReadHumanEvalPlus(
    const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const std::string content, ReadFile(path));
  std::vector<HumanEvalPlusTask> tasks;
  std::set<std::string> seen;
  LineReader reader(content);
  absl::string_view line;
  while (reader.Next(&line)) {
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    REPRO_ASSIGN_OR_RETURN(json value,
                           ParseJson(line, path, reader.line_number()));
    const JsonLine parsed{std::move(value), reader.line_number()};
    const JsonRecord record(parsed, path);
    HumanEvalPlusTask task;
    REPRO_ASSIGN_OR_RETURN(task.id, record.Text("task_id"));
    REPRO_ASSIGN_OR_RETURN(task.prompt, record.Text("prompt"));
    REPRO_ASSIGN_OR_RETURN(task.canonical_solution,
                           record.Text("canonical_solution"));
    // For the check in the sandbox.
    REPRO_RETURN_IF_ERROR(record.Text("entry_point").status());
    REPRO_RETURN_IF_ERROR(CheckInputs(record, "base_input"));
    REPRO_RETURN_IF_ERROR(CheckInputs(record, "plus_input"));
    REPRO_RETURN_IF_ERROR(record.Number("atol").status());
    task.record = std::string(line);
    if (!seen.insert(task.id).second) {
      return record.Error("the same task comes twice");
    }
    tasks.push_back(std::move(task));
  }
  if (tasks.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": no records"));
  }
  return tasks;
}

Problem ProblemOf(const HumanEvalPlusTask& task) {
  return {task.prompt, task.prompt};
}

exec::ExecRequest HumanEvalRequest(const HumanEvalProblem& task,
                                   const std::string& program,
                                   const RunLimits& limits) {
  return Request(absl::StrCat(task.prompt, program, "\n"),
                 absl::StrCat(task.test, "\ncheck(", task.entry_point, ")\n"),
                 limits);
}

exec::ExecRequest MbppRequest(const MbppTask& task, const std::string& program,
                              const RunLimits& limits) {
  return Request(program,
                 absl::StrCat(absl::StrJoin(task.imports, "\n"), "\n",
                              absl::StrJoin(task.asserts, "\n"), "\n"),
                 limits);
}

exec::ExecRequest HumanEvalPlusRequest(const HumanEvalPlusTask& task,
                                       const std::string& program,
                                       PlusInputs inputs,
                                       const RunLimits& limits) {
  exec::ExecRequest request = Request(absl::StrCat(task.prompt, program, "\n"),
                                      kPlusCheckSource, limits);
  const char* names = inputs == PlusInputs::kBase   ? "base_input"
                      : inputs == PlusInputs::kPlus ? "plus_input"
                                                    : "base_input plus_input";
  request.files = {{"job.json", task.record}, {"inputs", names}};
  return request;
}

absl::StatusOr<std::vector<ReleasedProgram>> ReadReleasedPrograms(
    const std::string& path) {
  return ReadUnique<ReleasedProgram>(
      path,
      [](const JsonRecord& record) -> absl::StatusOr<ReleasedProgram> {
        ReleasedProgram program;
        REPRO_ASSIGN_OR_RETURN(program.model, record.Text("model"));
        REPRO_ASSIGN_OR_RETURN(program.method, record.Text("method"));
        REPRO_ASSIGN_OR_RETURN(program.task, record.Text("task_id"));
        REPRO_ASSIGN_OR_RETURN(program.solution, record.Text("solution"));
        REPRO_ASSIGN_OR_RETURN(const int64_t right, record.Count("rechecked"));
        REPRO_ASSIGN_OR_RETURN(const int64_t passed,
                               record.Count("visible_passed"));
        REPRO_ASSIGN_OR_RETURN(const int64_t total,
                               record.Count("visible_total"));
        if (right > 1 || passed > total) {
          return record.Error(absl::StrCat("rechecked is ", right, ", and ",
                                           passed, " of ", total,
                                           " visible tests pass"));
        }
        program.right = right == 1;
        program.passes_public = passed == total;
        return program;
      },
      [](const ReleasedProgram& program) { return KeyOf(program); });
}

absl::StatusOr<std::vector<PlusStatus>> ReadPlusStatuses(
    const std::string& path) {
  return ReadUnique<PlusStatus>(
      path,
      [](const JsonRecord& record) -> absl::StatusOr<PlusStatus> {
        PlusStatus status;
        REPRO_ASSIGN_OR_RETURN(status.model, record.Text("model"));
        REPRO_ASSIGN_OR_RETURN(status.method, record.Text("method"));
        REPRO_ASSIGN_OR_RETURN(status.task, record.Text("task_id"));
        status.right = true;
        for (const char* name : {"base", "plus"}) {
          REPRO_ASSIGN_OR_RETURN(const std::string verdict, record.Text(name));
          if (verdict != "success" && verdict != "failed" &&
              verdict != "timeout") {
            return record.Error(
                absl::StrCat("\"", name, "\" is ", Quoted(verdict)));
          }
          status.right = status.right && verdict == "success";
        }
        return status;
      },
      [](const PlusStatus& status) { return KeyOf(status); });
}

absl::StatusOr<std::vector<std::vector<Sample>>> SamplesOf(
    const std::vector<ReleasedProgram>& programs, const std::string& family) {
  std::map<std::string, std::vector<Sample>> tasks;
  for (const ReleasedProgram& program : programs) {
    if (!absl::StartsWith(program.model, family)) continue;
    tasks[program.task].push_back({program.passes_public, program.right});
  }
  return ByTask(tasks, family);
}

absl::StatusOr<std::vector<std::vector<Sample>>> SamplesOf(
    const std::vector<ReleasedProgram>& programs,
    const std::vector<PlusStatus>& statuses, const std::string& family) {
  std::map<std::tuple<std::string, std::string, std::string>, bool> right;
  for (const PlusStatus& status : statuses) {
    right[KeyOf(status)] = status.right;
  }
  std::map<std::string, std::vector<Sample>> tasks;
  for (const ReleasedProgram& program : programs) {
    const auto found = right.find(KeyOf(program));
    if (found == right.end() || !absl::StartsWith(program.model, family)) {
      continue;
    }
    tasks[program.task].push_back({program.passes_public, found->second});
  }
  return ByTask(tasks, family);
}

}  // namespace repro::plan_search
