#ifndef REPRO_PAPERS_CHAIN_OF_CODE_LMULATOR_H_
#define REPRO_PAPERS_CHAIN_OF_CODE_LMULATOR_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/completion/completion.h"
#include "common/exec/sandbox.h"
#include "papers/chain_of_code/prompts.h"

namespace repro::chain_of_code {

// How a program is executed (Sec. 3.1).
enum class Variant {
  // Python runs the lines that it can, the model gives the state after those
  // that it cannot.
  kInterweave,
  // Python runs the whole program; on an error the model writes the trace of
  // states and the answer.
  kTryPythonExceptLmState,
  // The same, but the model writes the answer only.
  kTryPythonExceptLm,
  // An error is a wrong answer: program of thoughts.
  kPython,
  // The model writes the trace, Python runs nothing: scratchpad.
  kLmState,
  // The model writes the answer, Python runs nothing.
  kLm,
};

const char* VariantName(Variant variant);
std::vector<Variant> AllVariants();

// What the reference notebook does where it departs from the paper.
enum class Behaviour {
  // The line that an exception left the program from becomes a line of the
  // model; a line found so stays one; an attempt whose reply is no dictionary
  // fails; the model answers what cannot be rescued.
  kAsPublished,
  // The first line at which any exception was raised, handled or not; wrapping
  // a line makes the positions of those below it stale, so that they are
  // skipped without asking; a reply that is no dictionary ends the tracing, and
  // the program goes on without it; nothing is rescued.
  kAsCoded,
};

struct LmulatorOptions {
  Behaviour behaviour = Behaviour::kAsPublished;
  // Lines of the trace that the model sees: the notebook shows 3, the paper
  // says the history of states, which is 0 here, for all.
  int context_lines = 3;
  // Shown before it.
  std::string worked_trace = WorkedTrace();
  // A chat model: App. A.4.
  bool chat = false;

  int max_rounds = 20;  // the notebook's
  // Distinct questions about one program, and lines that one run of it passes.
  int max_questions = 200;
  int64_t max_steps = 100000;
  int64_t max_reply_bytes = int64_t{64} << 10;
  // Of the shown lines of the trace, in characters.
  int64_t max_tail_characters = int64_t{64} << 10;
  int64_t max_trace_lines = 2000;
  // Of one run. Wall and CPU time hold what the steps do not: a loop in a
  // function of the program.
  exec::Limits sandbox;
};

// What came of one program. A program that fails is not an error.
struct Execution {
  bool answered = false;
  std::string answer;         // str() of Python's value, or the model's text
  bool answer_by_lm = false;  // not the value of the variable `answer`
  std::string failure;        // why Python, or Interweave, came to none

  std::vector<int> lm_lines;  // of the program, from 0, in the order found
  int rounds = 0;  // runs that the method takes; 0: Python ran nothing
  // Questions as the method asks them, again in each round, and how many of
  // them went to the model: at temperature 0 equal questions have one answer.
  int lm_calls = 0;
  int lm_requests = 0;
  int sandbox_runs = 0;
  // Of Interweave's last round: the last lines within max_trace_lines and
  // max_tail_characters.
  std::vector<std::string> trace;
};

// What the model said after each tail of a trace.
using Replies = std::map<std::string, std::string>;

// Executes programs that a language model wrote. CPython runs them in the
// sandbox under a line tracer (driver.py). A run stops at a line that needs the
// model; the next one starts from the top with the reply, since nothing goes
// into a running sandbox. So m questions take m + 1 runs, and a program must
// come to the same questions when it is run again: random numbers are seeded,
// the clock is not.
class Lmulator {
 public:
  // Both must outlive it.
  Lmulator(const exec::Sandbox& sandbox, completion::CompletionClient& client,
           LmulatorOptions options = {})
      : sandbox_(sandbox), client_(client), options_(std::move(options)) {}

  // Executes `program`, which was written for `question` after `examples`: the
  // prompts in which the model answers by itself begin with these. `replies`,
  // if given, are those of Interweave that are known already; new ones are
  // added.
  // Errors: the client's, and Internal if the sandbox cannot run programs.
  absl::StatusOr<Execution> Execute(Variant variant,
                                    const std::vector<Example>& examples,
                                    absl::string_view question,
                                    absl::string_view program,
                                    Replies* replies = nullptr) const;

 private:
  absl::Status Interweave(absl::string_view program, Replies& replies,
                          Execution& execution) const;
  absl::Status RunPython(absl::string_view program, Execution& execution) const;
  absl::Status AskForAnswer(const std::string& prompt, int64_t max_tokens,
                            bool whole_text, Execution& execution) const;
  absl::StatusOr<std::string> Ask(const std::string& prompt, int64_t max_tokens,
                                  std::vector<std::string> stop,
                                  Execution& execution) const;

  const exec::Sandbox& sandbox_;
  completion::CompletionClient& client_;
  const LmulatorOptions options_;
};

// `text` as a Python literal.
std::string PythonLiteral(absl::string_view text);

}  // namespace repro::chain_of_code

#endif  // REPRO_PAPERS_CHAIN_OF_CODE_LMULATOR_H_
