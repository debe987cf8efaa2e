// Prompts and requests of MANGO (Chen et al., Findings of ACL 2024, arXiv
// 2404.07549): an instruction and a response, which at decoding begins with a
// sentence that announces comments. Layout as in the authors'
// src/humaneval_gen.py and src/mbpp_gen.py; the words are ours.
//
//   REPRO_ASSIGN_OR_RETURN(const auto problems, ReadHumanEval(path));
//   const std::string prompt = DecodingPrompt(
//       problems[0].prompt, Wordings(PrefixKind::kComment)[0]);
//   auto answer = client->Complete(SampleRequest(prompt));
//   const std::string program = ExtractProgram(answer->choices[0].text);
#ifndef REPRO_PAPERS_MANGO_PROMPTS_H_
#define REPRO_PAPERS_MANGO_PROMPTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/completion/completion.h"
#include "common/data/human_eval.h"

namespace repro::mango {

// ---- Prompts ---------------------------------------------------------------

// What the first sentence of the response announces.
enum class PrefixKind {
  kPlain,           // a program
  kComment,         // a program with comments: MANGO's decoding
  kReasonFirst,     // steps, then a program: chain of thought
  kReasonAnywhere,  // steps, it is not said where
};

// "plain", "comment", "reason_first", "reason_anywhere".
const char* PrefixKindName(PrefixKind kind);
absl::StatusOr<PrefixKind> ParsePrefixKind(absl::string_view name);

// One wording of kPlain, 15 of each other kind; all differ.
const std::vector<std::string>& Wordings(PrefixKind kind);

// The words around a task. A model that was tuned on others wants those.
struct PromptTexts {
  std::string preamble =
      "You are given an instruction. Answer with what it asks for.";
  std::string task_line = "Write a Python program for this problem:";
};

// Preamble, "### Instruction:" with the instruction, "### Input:" with the
// input unless it is empty, and "### Response:". A training target follows it.
std::string TrainingPrompt(absl::string_view instruction,
                           absl::string_view input,
                           const PromptTexts& texts = {});

// Preamble, "### Instruction:" with the task line and the task, and
// "### Response: " with the prefix. Runs of four spaces of the task are tabs.
std::string DecodingPrompt(absl::string_view task, absl::string_view prefix,
                           const PromptTexts& texts = {});

// Runs of four spaces become tabs, and tabs four spaces.
std::string ToTabs(absl::string_view text);
std::string FromTabs(absl::string_view text);

// From a response, what follows "### Response:" if that is there: the first
// block fenced as Python, the first fenced block, or else all of it; tabs are
// four spaces. A block that the end cuts off is taken.
std::string ExtractProgram(absl::string_view response);

// ---- Requests --------------------------------------------------------------

// The most likely program, for pass@1.
completion::CompletionRequest GreedyRequest(const std::string& prompt);
// 10 samples at temperature 0.8 with top-p 0.95.
completion::CompletionRequest SampleRequest(const std::string& prompt);

// ---- Test sets -------------------------------------------------------------

// Readers take JSON Lines, plain or gzip. Errors: those of ReadJsonl;
// InvalidArgument "path:line: ..." for a field that is missing or of another
// type and for an id that comes twice; "path: no records".

struct MbppProblem {
  int64_t task_id = 0;
  std::string text;
  std::string code;
  std::vector<std::string> tests;  // asserts
};
absl::StatusOr<std::vector<MbppProblem>> ReadMbpp(const std::string& path);

// The ids 11 to 510.
bool InMbppTestSplit(const MbppProblem& problem);

// The text and its tests; of problem 493, whose tests have thousands of
// characters, the call by the reference program's parameters instead.
// InvalidArgument if the program of 493 defines no function.
absl::StatusOr<std::string> MbppTask(const MbppProblem& problem);

}  // namespace repro::mango

#endif  // REPRO_PAPERS_MANGO_PROMPTS_H_
