#include "common/data/human_eval.h"

#include <cstdint>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "common/data/io.h"
#include "common/data/json_record.h"
#include "common/status/macros.h"

namespace repro {

absl::StatusOr<std::vector<HumanEvalProblem>> ReadHumanEval(
    const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines, ReadRecords(path));
  std::vector<HumanEvalProblem> problems;
  absl::flat_hash_map<std::string, int64_t> seen;
  for (const JsonLine& line : lines) {
    const JsonRecord record(line, path);
    HumanEvalProblem problem;
    REPRO_ASSIGN_OR_RETURN(problem.task_id, record.Text("task_id"));
    REPRO_ASSIGN_OR_RETURN(problem.prompt, record.Text("prompt"));
    REPRO_ASSIGN_OR_RETURN(problem.entry_point, record.Text("entry_point"));
    REPRO_ASSIGN_OR_RETURN(problem.canonical_solution,
                           record.Text("canonical_solution"));
    REPRO_ASSIGN_OR_RETURN(problem.test, record.Text("test"));
    const auto [first, is_new] = seen.emplace(problem.task_id, line.line);
    if (!is_new) {
      return record.Error(absl::StrCat("task_id ", Quoted(problem.task_id),
                                       " is that of line ", first->second));
    }
    problems.push_back(std::move(problem));
  }
  return problems;
}

}  // namespace repro
