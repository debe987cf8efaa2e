// Execution feedback: what a program does on the tests that the agents may see.
#ifndef REPRO_PAPERS_CODE_TREE_VISIBLE_TESTS_H_
#define REPRO_PAPERS_CODE_TREE_VISIBLE_TESTS_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/exec/sandbox.h"
#include "papers/code_tree/problem.h"

namespace repro::code_tree {

// Text that comes before every Python program: the modules that programs are
// expected to have.
extern const char kImports[];

struct Feedback {
  int passed = 0;
  int total = 0;
  bool compiles = true;
  // r of the search: the share of visible tests passed; 1 if there are none,
  // 0 if the program does not compile.
  double reward = 0;
  // For the agents: tests that passed, tests that failed and what came out.
  std::string text;

  bool AllPassed() const { return compiles && passed == total; }
};

class TestRunner {
 public:
  virtual ~TestRunner() = default;

  // A program that crashes, hangs or prints nonsense has a Feedback; an error
  // means that it could not be run: Cancelled, or Internal from the sandbox.
  virtual absl::StatusOr<Feedback> Run(const Problem& problem,
                                       const std::string& program) = 0;
};

struct VisibleTestOptions {
  // Of each test, as processor time: a busy machine does not decide.
  absl::Duration cpu = absl::Seconds(1);
  absl::Duration wall = absl::Seconds(10);
  int64_t memory_bytes = int64_t{512} << 20;
  // Of Feedback::text, in characters.
  int max_characters = 2500;
  int workers = 1;
  // Asserts run together first and one by one, each in a fresh process, only
  // if they don't all pass. The verdict differs only for programs that keep
  // state from one call to the next.
  bool together_first = true;
  // The released executor: visible tests run without the problem's preamble,
  // and a program that fails a stdin test has reward 0 whatever it passes.
  bool as_coded = false;
};

// Runs programs in the sandbox. For an assert that fails the program runs once
// more and prints the left side of the comparison, which the feedback quotes.
class SandboxTestRunner : public TestRunner {
 public:
  // `sandbox` outlives it.
  explicit SandboxTestRunner(const exec::Sandbox* sandbox,
                             const VisibleTestOptions& options = {});

  absl::StatusOr<Feedback> Run(const Problem& problem,
                               const std::string& program) override;

 private:
  exec::ExecRequest Request(const Problem& problem,
                            const std::string& program) const;
  absl::StatusOr<Feedback> RunAsserts(const Problem& problem,
                                      const std::string& program) const;
  absl::StatusOr<Feedback> RunStdin(const Problem& problem,
                                    const std::string& program) const;

  const exec::Sandbox* sandbox_;
  const VisibleTestOptions options_;
};

}  // namespace repro::code_tree

#endif  // REPRO_PAPERS_CODE_TREE_VISIBLE_TESTS_H_
