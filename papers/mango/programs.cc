#include "papers/mango/programs.h"

#include <utility>

#include "common/data/json_record.h"
#include "common/status/macros.h"

namespace repro::mango {

absl::StatusOr<std::vector<ReleasedProgram>> ReadWizardCoder(
    const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines, ReadRecords(path));
  std::vector<ReleasedProgram> programs;
  for (const JsonLine& line : lines) {
    const JsonRecord record(line, path);
    ReleasedProgram program;
    program.model = "wizardcoder";
    program.method = "greedy";
    REPRO_ASSIGN_OR_RETURN(program.task_id, record.Text("task_id"));
    REPRO_ASSIGN_OR_RETURN(program.program, record.Text("completion"));
    programs.push_back(std::move(program));
  }
  return programs;
}

absl::StatusOr<std::vector<ReleasedProgram>> ReadAgents(
    const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines, ReadRecords(path));
  std::vector<ReleasedProgram> programs;
  for (const JsonLine& line : lines) {
    const JsonRecord record(line, path);
    ReleasedProgram program;
    REPRO_ASSIGN_OR_RETURN(program.model, record.Text("model"));
    REPRO_ASSIGN_OR_RETURN(program.method, record.Text("method"));
    REPRO_ASSIGN_OR_RETURN(program.task_id, record.Text("task_id"));
    REPRO_ASSIGN_OR_RETURN(program.program, record.Text("solution"));
    REPRO_ASSIGN_OR_RETURN(const int64_t right, record.Integer("rechecked"));
    if (right != 0 && right != 1) {
      return record.Error("field \"rechecked\" is not 0 or 1");
    }
    program.right = right == 1;
    programs.push_back(std::move(program));
  }
  return programs;
}

}  // namespace repro::mango
