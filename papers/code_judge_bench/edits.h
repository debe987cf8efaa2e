// Edits of a Python answer that keep what it does and mislead a judge, as in
// CodeJudgeBench-Adversarial: other names of variables, and comments. There a
// language model makes them; here rules do.
#ifndef REPRO_PAPERS_CODE_JUDGE_BENCH_EDITS_H_
#define REPRO_PAPERS_CODE_JUDGE_BENCH_EDITS_H_

#include <random>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace repro::code_judge_bench {

// What the inserted comments say of the answer.
enum class Comments { kNone, kPraise, kDoubt };

struct EditOptions {
  bool rename = true;
  Comments comments = Comments::kNone;
};

// The completion after the edits:
// - Variables of functions get other names, all of their uses alike. Left as
//   they are: names that occur in the prompt, that a file, class or import
//   declares too, that name functions, classes or keyword arguments, and that
//   are used where no function around declares them; and all names if the
//   source does not parse or calls locals, vars, eval or exec.
// - Before each return statement that begins its line stands a comment.
// Draws names and comments from `random`. ResourceExhausted: a source beyond
// the parser's limits.
absl::StatusOr<std::string> EditCompletion(absl::string_view prompt,
                                           absl::string_view completion,
                                           const EditOptions& options,
                                           std::mt19937_64& random);

}  // namespace repro::code_judge_bench

#endif  // REPRO_PAPERS_CODE_JUDGE_BENCH_EDITS_H_
