// Programs that the authors and WizardCoder's released, and how they are run on
// HumanEval's hidden tests. Everything runs in common/exec's sandbox.
#ifndef REPRO_PAPERS_USCD_RELEASED_H_
#define REPRO_PAPERS_USCD_RELEASED_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/data/human_eval.h"
#include "common/exec/sandbox.h"

namespace repro::uscd {

struct ReleasedText {
  std::string task_id;
  // What a model wrote: behind the stripped prompt, or a whole program.
  std::string text;
};
// JSON Lines, plain or gzip, with task_id and the text in `field`
// ("continuation", "completion"). InvalidArgument "path:line: ..." for a field
// that is missing or no string and for an id that comes twice; errors of
// ReadRecords.
absl::StatusOr<std::vector<ReleasedText>> ReadReleasedTexts(
    const std::string& path, const char* field);

// How a released continuation becomes a program. In the authors' run the
// standard prompt's docstring was open, it seems: the continuations go on with
// examples and close it.
enum class Join {
  kAppended,  // the stripped prompt, the continuation
  // The prompt's closing quotes replaced by ">>>", then the continuation.
  kReplaced,
  // As kReplaced, but for continuations that start with a line break, which are
  // appended.
  kQuotesKept,
};
// InvalidArgument: the stripped prompt does not end with three quotes.
absl::StatusOr<std::string> JoinProgram(absl::string_view prompt,
                                        absl::string_view continuation,
                                        Join join);

// `program`, then the problem's test and the call of its check. The harness's
// limit of 3 s is processor time here, so that a busy machine gives the same
// verdicts.
exec::ExecRequest HumanEvalRequest(const HumanEvalProblem& problem,
                                   absl::string_view program);

// Requests in the order of `problems`: of continuations joined as told.
// NotFound, naming the problem, if one has no text.
absl::StatusOr<std::vector<exec::ExecRequest>> ContinuationRequests(
    const std::vector<HumanEvalProblem>& problems,
    const std::vector<ReleasedText>& texts, Join join);
// The same of whole programs.
absl::StatusOr<std::vector<exec::ExecRequest>> ProgramRequests(
    const std::vector<HumanEvalProblem>& problems,
    const std::vector<ReleasedText>& texts);

}  // namespace repro::uscd

#endif  // REPRO_PAPERS_USCD_RELEASED_H_
