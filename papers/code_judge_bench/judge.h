// Judges: what compares two answers to a question. A language model that is
// asked as in the paper, one that scores each answer alone, and what makes a
// judge out of numbers.
#ifndef REPRO_PAPERS_CODE_JUDGE_BENCH_JUDGE_H_
#define REPRO_PAPERS_CODE_JUDGE_BENCH_JUDGE_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/completion/completion.h"

namespace repro::code_judge_bench {

enum class Winner { kA, kB };
// Nothing: the judge gave no verdict, which counts as wrong.
using Verdict = std::optional<Winner>;

struct Comparison {
  std::string question;
  std::string answer_a;
  std::string answer_b;
};

// The same comparison with the answers in the other order.
Comparison Swapped(const Comparison& comparison);

// Safe to call from many threads at once, if what it is made of is.
using Judge = std::function<absl::StatusOr<Verdict>(const Comparison&)>;

// ------------------------------------------------------- language models

enum class PromptStyle {
  // Own answer first, comparison, `[[A>B]]` or `[[B>A]]` at the end.
  kGeneral,
  // The short prompt of the judge RM-R1: `<answer>[[A]]</answer>` or B.
  kRmR1,
  // The general prompt without a chat template, the thought opened
  // (AceReason).
  kAceReason,
};

// The parts of the authors' prompts in their order, in our words; question and
// answers are put in once, whatever braces they hold.
std::string JudgePrompt(PromptStyle style, const Comparison& comparison);

// The authors' rule. Nothing unless finish_reason is "stop". If the text holds
// `</think>`, only what is between the first and the second counts. Then the
// pattern that occurs last decides: `[[A>B]]` and `boxed{A>B}` against those of
// B; for RM-R1 `[[A]]`, `boxed{A}`, `[[A]` and `[A]]`. Nothing if none occurs.
Verdict ParseVerdict(PromptStyle style, absl::string_view text,
                     absl::string_view finish_reason);

// Defaults are the paper's; top-k, 20 for Qwen3 and QwQ, is the server's.
struct GenerationSettings {
  int64_t max_tokens = 32768;
  double temperature = 0.6;
  double top_p = 0.95;
  std::optional<uint64_t> seed;

  // Of the style: RM-R1 takes the most likely token.
  static GenerationSettings For(PromptStyle style);
};

completion::CompletionRequest JudgeRequest(PromptStyle style,
                                           const Comparison& comparison,
                                           const GenerationSettings& settings);

// Asks once a comparison. The client outlives the judge. Errors: those of
// the client, and DataLoss for an answer without a choice; they end a run (the
// authors' OpenAI backend takes them for answers without a verdict).
Judge LanguageModelJudge(completion::CompletionClient& client,
                         PromptStyle style, const GenerationSettings& settings);

// --------------------------------------------------------------- pointwise

// How good an answer is, seen alone; nothing if it can't be said.
using Scorer = std::function<absl::StatusOr<std::optional<double>>(
    const std::string& question, const std::string& answer)>;

// The higher score wins, a tie goes to A, which is right in one of the two
// orders: in the accuracy it counts one half. No verdict without both scores.
Judge PointwiseJudge(Scorer scorer);

// A rating from 1 to 10 in `[[ ]]`. The paper's pointwise prompt is not at
// hand; this one is ours.
std::string RatingPrompt(absl::string_view question, absl::string_view answer);
// The last `[[number]]` by the same rules as ParseVerdict, from 1 to 10.
std::optional<double> ParseRating(absl::string_view text,
                                  absl::string_view finish_reason);
Scorer LanguageModelScorer(completion::CompletionClient& client,
                           const GenerationSettings& settings);

// ------------------------------------------------------------- preferences

// A number that is positive where A is better.
using Preference = std::function<double(const Comparison&)>;

// A unless the preference is negative.
Judge PreferenceJudge(Preference preference);
// (p(A, B) - p(B, A)) / 2: the same winner in both orders, ties aside.
Preference Symmetrised(Preference preference);

}  // namespace repro::code_judge_bench

#endif  // REPRO_PAPERS_CODE_JUDGE_BENCH_JUDGE_H_
