#ifndef REPRO_PAPERS_CHAIN_OF_CODE_PROMPTS_H_
#define REPRO_PAPERS_CHAIN_OF_CODE_PROMPTS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/completion/completion.h"

// The texts that the language model sees, in the format of the authors' demo
// notebook: their prompts of the 23 tasks were never released.
namespace repro::chain_of_code {

inline constexpr absl::string_view kCodeStart = "# CODE START";
inline constexpr absl::string_view kCodeEnd = "# CODE END";
inline constexpr absl::string_view kTraceStart = "# TRACE START";
inline constexpr absl::string_view kTraceEnd = "# TRACE END";
inline constexpr absl::string_view kAnswer = "Answer:";

// Token budgets (the notebook; Sec. 3 for the step by step answer).
inline constexpr int64_t kProgramTokens = 1024;
inline constexpr int64_t kStateTokens = 32;
inline constexpr int64_t kAnswerTokens = 32;
inline constexpr int64_t kTraceTokens = 2048;

struct Example {
  std::string question;
  std::string program;
  // Of its execution: "state: {}", "line: ...", "delta state: ...". Only what
  // asks for a trace needs it.
  std::vector<std::string> trace;
  std::string answer;
};

// "Q: ...", "Answer: ..." for each example, then the question.
std::string DirectPrompt(const std::vector<Example>& examples,
                         absl::string_view question);

// "Q: ...", "A:", the program between its markers, "Answer: ..." for each
// example, a blank line between them, then the question.
std::string GenerationPrompt(const std::vector<Example>& examples,
                             absl::string_view question);

// GenerationPrompt, the question's program and "Answer:".
std::string AnswerPrompt(const std::vector<Example>& examples,
                         absl::string_view question, absl::string_view program);

// As AnswerPrompt, but with a trace between program and answer, and the
// question's trace begun up to the first line's "delta state:".
std::string TracePrompt(const std::vector<Example>& examples,
                        absl::string_view question, absl::string_view program);

// A worked trace and the last lines of the current one, then "delta state:".
std::string StatePrompt(absl::string_view worked_trace, absl::string_view tail);

// A trace of a loop that asks for `get_country`: the default worked trace. That
// of the notebook has one delta state wrong.
const std::string& WorkedTrace();

// What stands between the markers, without the blanks around it; up to the
// text's end where the second marker is missing. NotFound without the first.
absl::StatusOr<std::string> ExtractProgram(absl::string_view reply);

// The rest of the line after the last "Answer:", without the blanks around it.
// NotFound if there is none or nothing follows it.
absl::StatusOr<std::string> ExtractAnswer(absl::string_view reply);

// A greedy request that goes on with `prompt`. With `chat`, the prompt is a
// user's message after the system message of App. A.4.
completion::CompletionRequest GreedyRequest(std::string prompt,
                                            int64_t max_tokens,
                                            std::vector<std::string> stop,
                                            bool chat);

}  // namespace repro::chain_of_code

#endif  // REPRO_PAPERS_CHAIN_OF_CODE_PROMPTS_H_
