// Released programs for HumanEval that the measurements read.
#ifndef REPRO_PAPERS_MANGO_PROGRAMS_H_
#define REPRO_PAPERS_MANGO_PROGRAMS_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace repro::mango {

struct ReleasedProgram {
  std::string model;
  std::string method;
  std::string task_id;
  std::string program;
  std::optional<bool> right;  // as its source says, where it does
};

// Errors of both: those of ReadJsonl; InvalidArgument "path:line: ..." for a
// field that is missing or of another type; "path: no records".

// task_id and completion, the whole program: model "wizardcoder", method
// "greedy".
absl::StatusOr<std::vector<ReleasedProgram>> ReadWizardCoder(
    const std::string& path);

// model, method, task_id, solution and rechecked (0 or 1).
absl::StatusOr<std::vector<ReleasedProgram>> ReadAgents(
    const std::string& path);

}  // namespace repro::mango

#endif  // REPRO_PAPERS_MANGO_PROGRAMS_H_
