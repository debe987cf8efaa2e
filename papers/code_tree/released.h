// The programs that MapCoder's authors released for their own method and five
// others, which are agents' outputs on the problems of this paper; and what a
// budget of them gives when visible tests choose.
#ifndef REPRO_PAPERS_CODE_TREE_RELEASED_H_
#define REPRO_PAPERS_CODE_TREE_RELEASED_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/exec/sandbox.h"
#include "papers/code_tree/problem.h"

namespace repro::code_tree {

// A problem with the tests that decide.
struct Task {
  Problem problem;
  std::string hidden_tests;  // Python that ends without an exception
};
using Tasks = std::map<std::string, Task>;  // by the problem's id

// All readers take plain or gzip JSON Lines. Errors: those of ReadJsonl;
// InvalidArgument "path:line: ..." for a field that is missing or of another
// type, or an id that comes twice; and as said.

// HumanEval and its visible tests (task_id, given_tests); a problem without
// visible tests, or the other way round, is InvalidArgument.
absl::StatusOr<Tasks> ReadHumanEvalTasks(const std::string& problems_path,
                                         const std::string& visible_tests_path);
// MapCoder's MBPP (name, prompt, test, sample_io).
absl::StatusOr<Tasks> ReadMbpp(const std::string& path);
// Of the authors' APPS selection (name, description, public_tests,
// private_tests): problems with the public tests as visible ones.
absl::StatusOr<std::vector<Problem>> ReadApps(const std::string& path);

struct ReleasedProgram {
  std::string model;
  std::string method;
  std::string task;
  std::string solution;  // empty where none was stored
  bool recorded_solved = false;
  // Of HumanEval's, measured when the table was made.
  std::optional<bool> rechecked;
  std::optional<int> visible_passed;
  std::optional<int> visible_total;
};

// model, method, solution, recorded_solved, and task_id or name.
absl::StatusOr<std::vector<ReleasedProgram>> ReadPrograms(
    const std::string& path);

struct PlusStatus {
  bool base = false;  // passed the benchmark's own tests
  bool plus = false;  // and passed EvalPlus's additional ones
};
// By (model, method, task); `base` and `plus` are success, failed or timeout.
struct ProgramKey {
  std::string model;
  std::string method;
  std::string task;
  bool operator<(const ProgramKey& other) const;
};
absl::StatusOr<std::map<ProgramKey, PlusStatus>> ReadPlusStatuses(
    const std::string& path);

// What a program runs after.
enum class Before {
  // The prompt, as HumanEval's own evaluator has it.
  kPrompt,
  // The imports alone, as MapCoder's evaluator has it, which recorded the
  // flags: bodies without a signature fail there, and so do programs or tests
  // that need a helper of the prompt.
  kImports,
};

// The solution, then the hidden tests in the same process.
exec::ExecRequest HiddenTestRequest(const Task& task,
                                    const std::string& solution, Before before);
// After the prompt: the solution, then the visible asserts together.
exec::ExecRequest VisibleTestRequest(const Task& task,
                                     const std::string& solution);

// One program for a problem, as the replay sees it.
struct Try {
  bool passes_visible = false;
  bool right = false;
};

struct BudgetResult {
  int solved = 0;            // the submitted program is right
  int any_right = 0;         // one of the first `budget` programs is
  double mean_programs = 0;  // tried, over the problems
};

// A search without a model: the programs of a problem are tried in order, at
// most `budget` of them; the first that passes the visible tests is submitted,
// or else the first. budget >= 1; each problem has at least one program.
BudgetResult ReplayBudget(const std::vector<std::vector<Try>>& problems,
                          int budget);

}  // namespace repro::code_tree

#endif  // REPRO_PAPERS_CODE_TREE_RELEASED_H_
