// Asking a language model whether code follows its instructions, and reading
// its answer as the authors' script does.
//
//   const auto verdicts = ParseVerdicts("[Yes, No, 'Yes']", 3);
#ifndef REPRO_PAPERS_CODE_IF_JUDGE_H_
#define REPRO_PAPERS_CODE_IF_JUDGE_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/completion/completion.h"
#include "papers/code_if/questions.h"

namespace repro::code_if {

// The instructions, numbered from 1, one a line.
std::string NumberedInstructions(const std::vector<Instruction>& instructions);

// What the model under test is asked: role, four points on how to write the
// snippet, output format, question, instructions. The parts are those of the
// authors' prompt, the words are ours.
std::string AnswerPrompt(const Question& question);

// What the judge is asked: task, four points, question, instructions, answer,
// form of the list. Words as above.
std::string JudgePrompt(const Question& question, absl::string_view answer);

// The elements of the list in a judge's answer: the text from the first "[" to
// the next "]", whose runs of letters are quoted if it has no quotes, read as a
// Python list of literals. Elements that are no strings are given as written.
// {"No"} for a syntax error, no list, or one that is not closed. Two
// deviations: a name without quotes beside quoted elements ends the authors'
// script, and lists of tuples, sets or dictionaries are read by it; both are
// {"No"} here.
std::vector<std::string> ParseJudgeAnswer(absl::string_view answer);

// True for exactly "Yes". Nothing where the list has another length: the
// question is then left out of the model's scores.
std::optional<std::vector<bool>> ParseVerdicts(absl::string_view answer,
                                               size_t num_instructions);

struct JudgeOptions {
  double temperature = 0.5;   // as in the paper
  int64_t max_tokens = 4096;  // as in the paper
};

// Asks once. Errors: those of the client.
absl::StatusOr<std::optional<std::vector<bool>>> AskJudge(
    completion::CompletionClient& client, const Question& question,
    absl::string_view answer, const JudgeOptions& options = {});

}  // namespace repro::code_if

#endif  // REPRO_PAPERS_CODE_IF_JUDGE_H_
