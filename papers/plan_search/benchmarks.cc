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
#include "common/data/jsonl.h"
#include "common/status/macros.h"
#include "papers/plan_search/plus_check_source.h"

namespace repro::plan_search {
namespace {

using nlohmann::json;

// A line of a JSON Lines file, with errors that name it. The value outlives it.
class Record {
 public:
  Record(const json& value, const std::string& path, int64_t line)
      : value_(value), place_(absl::StrCat(path, ":", line, ": ")) {}

  absl::Status Error(const std::string& what) const {
    return absl::InvalidArgumentError(absl::StrCat(place_, what));
  }

  absl::StatusOr<std::string> Text(const char* name) const {
    const json* field = Find(name);
    if (field == nullptr || !field->is_string()) {
      return Error(absl::StrCat("no text \"", name, "\""));
    }
    return field->get<std::string>();
  }

  absl::StatusOr<std::vector<std::string>> Texts(const char* name) const {
    const json* field = Find(name);
    if (field == nullptr || !field->is_array() ||
        !std::all_of(field->begin(), field->end(),
                     [](const json& item) { return item.is_string(); })) {
      return Error(absl::StrCat("no list of texts \"", name, "\""));
    }
    return field->get<std::vector<std::string>>();
  }

  absl::StatusOr<int64_t> Count(const char* name) const {
    const json* field = Find(name);
    if (field == nullptr || !field->is_number_integer() ||
        field->get<int64_t>() < 0) {
      return Error(absl::StrCat("no count \"", name, "\""));
    }
    return field->get<int64_t>();
  }

  // A list of lists of arguments.
  absl::Status CheckInputs(const char* name) const {
    const json* field = Find(name);
    if (field == nullptr || !field->is_array() ||
        !std::all_of(field->begin(), field->end(),
                     [](const json& item) { return item.is_array(); })) {
      return Error(absl::StrCat("no list of lists \"", name, "\""));
    }
    return absl::OkStatus();
  }

  absl::Status CheckNumber(const char* name) const {
    const json* field = Find(name);
    if (field == nullptr || !field->is_number()) {
      return Error(absl::StrCat("no number \"", name, "\""));
    }
    return absl::OkStatus();
  }

 private:
  const json* Find(const char* name) const {
    if (!value_.is_object()) return nullptr;
    const auto found = value_.find(name);
    return found == value_.end() ? nullptr : &*found;
  }

  const json& value_;
  const std::string place_;
};

// Reads each line as a T by `read`; `key` must be unique.
template <typename T, typename Read, typename Key>
absl::StatusOr<std::vector<T>> ReadRecords(const std::string& path,
                                           const Read& read, const Key& key) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines, ReadJsonl(path));
  std::vector<T> values;
  std::set<std::decay_t<decltype(key(values[0]))>> seen;
  for (const JsonLine& line : lines) {
    const Record record(line.value, path, line.line);
    REPRO_ASSIGN_OR_RETURN(T value, read(record));
    if (!seen.insert(key(value)).second) {
      return record.Error("the same task comes twice");
    }
    values.push_back(std::move(value));
  }
  if (values.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": no records"));
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

absl::StatusOr<std::vector<HumanEvalTask>> ReadHumanEval(
    const std::string& path) {
  return ReadRecords<HumanEvalTask>(
      path,
      [](const Record& record) -> absl::StatusOr<HumanEvalTask> {
        HumanEvalTask task;
        REPRO_ASSIGN_OR_RETURN(task.id, record.Text("task_id"));
        REPRO_ASSIGN_OR_RETURN(task.prompt, record.Text("prompt"));
        REPRO_ASSIGN_OR_RETURN(task.entry_point, record.Text("entry_point"));
        REPRO_ASSIGN_OR_RETURN(task.canonical_solution,
                               record.Text("canonical_solution"));
        REPRO_ASSIGN_OR_RETURN(task.test, record.Text("test"));
        return task;
      },
      [](const HumanEvalTask& task) { return task.id; });
}

absl::StatusOr<std::vector<MbppTask>> ReadSanitizedMbpp(
    const std::string& path) {
  return ReadRecords<MbppTask>(
      path,
      [](const Record& record) -> absl::StatusOr<MbppTask> {
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
    REPRO_ASSIGN_OR_RETURN(const json value,
                           ParseJson(line, path, reader.line_number()));
    const Record record(value, path, reader.line_number());
    HumanEvalPlusTask task;
    REPRO_ASSIGN_OR_RETURN(task.id, record.Text("task_id"));
    REPRO_ASSIGN_OR_RETURN(task.prompt, record.Text("prompt"));
    REPRO_ASSIGN_OR_RETURN(task.canonical_solution,
                           record.Text("canonical_solution"));
    // For the check in the sandbox.
    REPRO_RETURN_IF_ERROR(record.Text("entry_point").status());
    REPRO_RETURN_IF_ERROR(record.CheckInputs("base_input"));
    REPRO_RETURN_IF_ERROR(record.CheckInputs("plus_input"));
    REPRO_RETURN_IF_ERROR(record.CheckNumber("atol"));
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

exec::ExecRequest HumanEvalRequest(const HumanEvalTask& task,
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

absl::StatusOr<std::vector<bool>> RunAll(
    const exec::Sandbox& sandbox,
    const std::vector<exec::ExecRequest>& requests, int workers,
    const std::function<void(int done, int total)>& progress) {
  std::vector<bool> passed;
  for (const exec::ExecResult& result :
       sandbox.RunAll(requests, workers, progress)) {
    if (result.outcome == exec::Outcome::kCancelled) {
      return absl::CancelledError("stopped");
    }
    if (result.outcome == exec::Outcome::kSandboxError) {
      return absl::InternalError(
          absl::StrCat("the sandbox ran no program: ", result.message));
    }
    passed.push_back(result.outcome == exec::Outcome::kPassed);
  }
  return passed;
}

absl::StatusOr<std::vector<ReleasedProgram>> ReadReleasedPrograms(
    const std::string& path) {
  return ReadRecords<ReleasedProgram>(
      path,
      [](const Record& record) -> absl::StatusOr<ReleasedProgram> {
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
  return ReadRecords<PlusStatus>(
      path,
      [](const Record& record) -> absl::StatusOr<PlusStatus> {
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
