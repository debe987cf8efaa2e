#ifndef REPRO_COMMON_DATA_HUMAN_EVAL_H_
#define REPRO_COMMON_DATA_HUMAN_EVAL_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace repro {

// A problem of HumanEval (Chen et al. 2021, "Evaluating Large Language Models
// Trained on Code"), by the benchmark's own field names.
struct HumanEvalProblem {
  std::string task_id;  // "HumanEval/0"
  std::string prompt;   // imports, a signature and its docstring
  std::string entry_point;
  std::string canonical_solution;  // the body, to be put behind the prompt
  std::string test;                // defines check(candidate)
};

// Reads the benchmark's JSON Lines, plain or gzip; other fields are ignored.
// Errors of ReadRecords and JsonRecord; InvalidArgument for an id that comes
// twice.
absl::StatusOr<std::vector<HumanEvalProblem>> ReadHumanEval(
    const std::string& path);

}  // namespace repro

#endif  // REPRO_COMMON_DATA_HUMAN_EVAL_H_
