// The problems that programs are judged on, and programs that others released.
// Everything runs in common/exec's sandbox.
#ifndef REPRO_PAPERS_PLAN_SEARCH_BENCHMARKS_H_
#define REPRO_PAPERS_PLAN_SEARCH_BENCHMARKS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/data/human_eval.h"
#include "common/exec/sandbox.h"
#include "papers/plan_search/scoring.h"
#include "papers/plan_search/search.h"

namespace repro::plan_search {

// Readers take JSON Lines, plain or gzip. InvalidArgument "path:line: ..." for
// a field that is missing or of another type, for a task that comes twice, and
// for a file without records; and errors of common/data.

struct MbppTask {
  std::string id;  // "MBPP/2"
  std::string prompt;
  std::string code;
  std::vector<std::string> imports;
  std::vector<std::string> asserts;
};
absl::StatusOr<std::vector<MbppTask>> ReadSanitizedMbpp(
    const std::string& path);

struct HumanEvalPlusTask {
  std::string id;
  std::string prompt;
  std::string canonical_solution;
  // The line of the file: inputs hold integers beyond 64 bits, which Python
  // reads and C++'s JSON would round.
  std::string record;
};
absl::StatusOr<std::vector<HumanEvalPlusTask>> ReadHumanEvalPlus(
    const std::string& path);

// What a search is asked for a task: the prompt is the statement, too, since
// observations are asked for without the starter code.
Problem ProblemOf(const HumanEvalPlusTask& task);

struct RunLimits {
  // Processor time decides, so that a busy machine gives the same verdicts; the
  // wall clock only ends programs that sleep.
  absl::Duration cpu = absl::Seconds(60);  // the paper's limit
  absl::Duration wall = absl::Seconds(300);
  int64_t memory_bytes = int64_t{1} << 30;
};

// `program` behind the prompt, then the hidden tests.
exec::ExecRequest HumanEvalRequest(const HumanEvalProblem& task,
                                   const std::string& program,
                                   const RunLimits& limits);
// `program`, then imports and asserts.
exec::ExecRequest MbppRequest(const MbppTask& task, const std::string& program,
                              const RunLimits& limits);

enum class PlusInputs { kBase, kPlus, kBoth };
// `program` behind the prompt, compared with the reference solution. Both run
// in one process, where a program could find the reference or forge its verdict
// (common/exec).
exec::ExecRequest HumanEvalPlusRequest(const HumanEvalPlusTask& task,
                                       const std::string& program,
                                       PlusInputs inputs,
                                       const RunLimits& limits);

struct ReleasedProgram {
  std::string model;
  std::string method;
  std::string task;
  std::string solution;
  bool right = false;          // on the hidden tests, rechecked
  bool passes_public = false;  // all of the docstring's asserts
};
// model, method, task_id, solution, rechecked, visible_passed, visible_total.
absl::StatusOr<std::vector<ReleasedProgram>> ReadReleasedPrograms(
    const std::string& path);

// EvalPlus's verdict on a released program.
struct PlusStatus {
  std::string model;
  std::string method;
  std::string task;
  bool right = false;  // on the benchmark's own and on the additional tests
};
// model, method, task_id, base and plus: success, failed or timeout.
absl::StatusOr<std::vector<PlusStatus>> ReadPlusStatuses(
    const std::string& path);

// The programs of the runs of one model family ("gpt-4" takes gpt-4-turbo in)
// as samples of their problems. The same number of programs for each problem,
// or InvalidArgument.
absl::StatusOr<std::vector<std::vector<Sample>>> SamplesOf(
    const std::vector<ReleasedProgram>& programs, const std::string& family);
// The same with EvalPlus's verdicts; only programs that have one.
absl::StatusOr<std::vector<std::vector<Sample>>> SamplesOf(
    const std::vector<ReleasedProgram>& programs,
    const std::vector<PlusStatus>& statuses, const std::string& family);

}  // namespace repro::plan_search

#endif  // REPRO_PAPERS_PLAN_SEARCH_BENCHMARKS_H_
