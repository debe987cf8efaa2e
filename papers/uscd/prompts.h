// The two prompts of a problem, and where a continuation ends.
#ifndef REPRO_PAPERS_USCD_PROMPTS_H_
#define REPRO_PAPERS_USCD_PROMPTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/data/human_eval.h"

namespace repro::uscd {

struct PromptPair {
  std::string standard;
  std::string lame;  // the same without examples
};

// A lame prompt that the authors wrote.
struct LamePrompt {
  std::string task_id;
  std::string prompt;
};
// JSON Lines, plain or gzip, with task_id and lame_prompt. InvalidArgument
// "path:line: ..." for a field that is missing or no string and for an id that
// comes twice; errors of ReadRecords.
absl::StatusOr<std::vector<LamePrompt>> ReadLamePrompts(
    const std::string& path);

// The authors' pairs: both prompts, stripped of blanks at their ends, in the
// order of `problems`. NotFound, naming the problem, if one has no lame prompt.
absl::StatusOr<std::vector<PromptPair>> HumanEvalPrompts(
    const std::vector<HumanEvalProblem>& problems,
    const std::vector<LamePrompt>& lame_prompts);

// A docstring of the task's text and its first assert; the lame one has the
// text alone.
PromptPair MbppPrompts(absl::string_view text, absl::string_view first_assert);

// A lame prompt by rule, for problems without a written one: the last docstring
// ends before its first line that starts with ">>>", "example", "for example",
// "e.g." (in any case) or a call of `entry_point`, and is closed. The stripped
// prompt itself if there is no such line. InvalidArgument: it does not end with
// a docstring.
absl::StatusOr<std::string> DropExamples(absl::string_view prompt,
                                         absl::string_view entry_point);

// A line break and "class", "def", "#", "@", "print", "if" or three backticks.
const std::vector<std::string>& HumanEvalStopWords();
const std::vector<std::string>& MbppStopWords();
// The text before the first of the stop words, all of it if there is none.
std::string CutAtStopWord(absl::string_view text,
                          const std::vector<std::string>& stop_words);

// How lame prompts differ from standard ones.
struct PromptStatistics {
  int64_t problems = 0;
  // With ">>>" somewhere.
  int64_t standard_examples = 0, lame_examples = 0;
  // Unicode's code points, blanks at the ends included.
  int64_t standard_characters = 0, lame_characters = 0;
  // Of stripped prompts: equal; and the lame one without its closing quotes and
  // the blanks before them begins the standard one.
  int64_t equal = 0, prefix = 0;
  // DropExamples gives the lame prompt's words.
  int64_t rule_equal = 0;
};
// Errors of HumanEvalPrompts and DropExamples.
absl::StatusOr<PromptStatistics> ComparePrompts(
    const std::vector<HumanEvalProblem>& problems,
    const std::vector<LamePrompt>& lame_prompts);

}  // namespace repro::uscd

#endif  // REPRO_PAPERS_USCD_PROMPTS_H_
