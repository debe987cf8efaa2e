// Feedback by running a candidate against its problem's tests, in the sandbox
// of common/exec.
#ifndef REPRO_PAPERS_RANK_EF_EXECUTION_H_
#define REPRO_PAPERS_RANK_EF_EXECUTION_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/exec/sandbox.h"
#include "papers/rank_ef/feedback.h"

namespace repro::rank_ef {

struct ExecutionOptions {
  // Of the processor; the wall clock gets ten times as much, so that a busy
  // machine gives the same labels. The paper's limit is 4 s a test.
  absl::Duration time_limit = absl::Seconds(1);
  int64_t memory_bytes = int64_t{2} << 30;
  // Messages and lines are cut to so many characters.
  int64_t max_characters = 160;
};

// A completion and the problem that it answers, both of which outlive it.
struct Execution {
  const HumanEvalProblem* problem = nullptr;
  absl::string_view completion;
};

// The program and its tests as the sandbox takes them. Each `assert got ==
// expected` of the tests raises OutputMismatch("Expected E, but got G")
// instead, any other assert OutputMismatch("Check i is false"), so that a
// failed check can be told from an assert of the program; the first failure
// ends the run.
exec::ExecRequest FeedbackRequest(const Execution& execution,
                                  const ExecutionOptions& options = {});

// What the run says of the program, whose text gives the line of an error. A
// time limit is a "TimeoutException", as in the authors' harness. Cancelled,
// and Internal if the sandbox could not run it.
absl::StatusOr<Feedback> FeedbackOfRun(const exec::ExecResult& result,
                                       absl::string_view program,
                                       const ExecutionOptions& options = {});

// All of them, in their order, by `workers` at once. `progress` may stop the
// rest by returning false: Cancelled.
absl::StatusOr<std::vector<Feedback>> ExecuteAll(
    const std::vector<Execution>& executions, int workers,
    const ExecutionOptions& options,
    const std::function<bool(int done, int total)>& progress);

}  // namespace repro::rank_ef

#endif  // REPRO_PAPERS_RANK_EF_EXECUTION_H_
