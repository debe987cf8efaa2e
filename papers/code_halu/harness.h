// Detection by execution: a program is run against a test, and what comes of it
// is its verdict, by the rules of the authors' testing_utils.py and eval.py.
//
//   REPRO_ASSIGN_OR_RETURN(const exec::Sandbox sandbox,
//                          exec::Sandbox::Create());
//   REPRO_ASSIGN_OR_RETURN(
//       const std::vector<JudgedRun> runs,
//       JudgeAll(sandbox, {{&task, code, &test}}, options, workers));
//   CategoryOf(runs[0].verdict, BreakdownRule::kAsPublished)
#ifndef REPRO_PAPERS_CODE_HALU_HARNESS_H_
#define REPRO_PAPERS_CODE_HALU_HARNESS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/exec/sandbox.h"
#include "papers/code_halu/generations.h"

namespace repro::code_halu {

// ---- Length ----------------------------------------------------------------

using TokenCounter = std::function<int64_t(absl::string_view code)>;

// A third of the bytes: about what CodeLlama's vocabulary makes of Python. The
// authors count with the tokenizer of CodeLlama-7B-Instruct.
int64_t ApproximateTokens(absl::string_view code);

// ---- The program -----------------------------------------------------------

enum class ProgramForm {
  // As coded: `import sys` in front and "__main__" replaced by "tmp_sol". A
  // program that reads standard input becomes the body of a function code():
  // every line gets a tab, but for those at the top that begin with "from " or
  // "import ". A program with fn_name is run as a module, whose function, or
  // that of its class Solution, is called.
  kHarness,
  // As it stands, as a script; with fn_name as kHarness.
  kScript,
};
std::string ProgramText(const Task& task, absl::string_view code,
                        ProgramForm form);

// ---- Output ----------------------------------------------------------------

// Whether what a program wrote to stdout is accepted for `expected`. Lines are
// Python's splitlines(). Any of these does, in this order, with S the lines of
// `expected` split at "\n", without empty ones, each stripped:
//   the lines joined, then joined when each is stripped, equal `expected`, both
//     stripped; the lines alone are one line that is `expected`
//   the lines equal S; so do the lines that are not empty
//   as many numbers as S, each within 1e-8 + 1e-5 |s|
//   as a set of sets: the words of each line without order, lines without order
//     and without count; then with words as numbers rounded to three decimals
// Numbers are what Python's float() reads, in ASCII.
bool OutputMatches(absl::string_view output, absl::string_view expected);

// ---- Verdicts --------------------------------------------------------------

struct HarnessOptions {
  ProgramForm form = ProgramForm::kHarness;
  // As coded: exit, quit, os.kill and others are None, so that a call of them
  // is a TypeError.
  bool guard = true;
  // Wall clock, around the definition and again around the test.
  absl::Duration test_limit = absl::Seconds(15);
  // Wall clock, of everything; then there is no answer. (The authors' 30 + 1.)
  absl::Duration global_limit = absl::Seconds(31);
  // A program of so many tokens or more is not run: kLogicBreakdown.
  int64_t max_tokens = 1300;
  TokenCounter count_tokens = ApproximateTokens;
  // Of address space. The authors set none: what fills memory until its time
  // is up is a kTestTimeout for them and a MemoryError here.
  int64_t memory_bytes = int64_t{2} << 30;
};

// A program and its test, which outlive it.
struct ProgramRun {
  const Task* task = nullptr;
  absl::string_view code;
  const TestCase* test = nullptr;
};

struct JudgedRun {
  std::string verdict;
  std::string message;  // of an exception
  // From the test's start to its end; zero if it did not start.
  absl::Duration elapsed;
};

// Whether the length alone decides.
bool IsBreakdown(absl::string_view code, const HarnessOptions& options);

// InvalidArgument: input or expected of a test on standard input that is not a
// text or a list of texts; input that is no list where fn_name is set.
absl::StatusOr<exec::ExecRequest> RequestOf(const ProgramRun& run,
                                            const HarnessOptions& options);

// A process that ends without an answer is kNoAnswer, whatever ended it, but
// for the sandbox's memory limit: MemoryError. Cancelled, and Internal if the
// sandbox could not run it.
absl::StatusOr<JudgedRun> VerdictOf(const exec::ExecResult& result,
                                    const ProgramRun& run);

// All of them, in their order, by `workers` at once. The program shares a
// process with what reports on it, and could forge its verdict.
absl::StatusOr<std::vector<JudgedRun>> JudgeAll(
    const exec::Sandbox& sandbox, const std::vector<ProgramRun>& runs,
    const HarnessOptions& options, int workers,
    const std::function<bool(int done, int total)>& progress = nullptr);

}  // namespace repro::code_halu

#endif  // REPRO_PAPERS_CODE_HALU_HARNESS_H_
