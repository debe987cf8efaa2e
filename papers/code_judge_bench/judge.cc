#include "papers/code_judge_bench/judge.h"

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/status/macros.h"

namespace repro::code_judge_bench {
namespace {

constexpr absl::string_view kThoughtEnd = "</think>";

// What decides: the text behind the first end of a thought, up to the next.
// Nothing for a text that did not end by itself.
std::optional<absl::string_view> DecidingText(absl::string_view text,
                                              absl::string_view finish_reason) {
  if (finish_reason != "stop") return std::nullopt;
  const size_t end = text.find(kThoughtEnd);
  if (end == absl::string_view::npos) return text;
  text.remove_prefix(end + kThoughtEnd.size());
  return text.substr(0, text.find(kThoughtEnd));
}

// Where the last of the patterns begins, -1 if none occurs.
int64_t LastOf(absl::string_view text,
               const std::vector<absl::string_view>& patterns) {
  int64_t last = -1;
  for (const absl::string_view pattern : patterns) {
    const size_t at = text.rfind(pattern);
    if (at != absl::string_view::npos) {
      last = std::max(last, static_cast<int64_t>(at));
    }
  }
  return last;
}

std::vector<absl::string_view> Patterns(PromptStyle style, Winner winner) {
  const bool a = winner == Winner::kA;
  if (style == PromptStyle::kRmR1) {
    return a ? std::vector<absl::string_view>{"[[A]]", "boxed{A}", "[[A]",
                                              "[A]]"}
             : std::vector<absl::string_view>{"[[B]]", "boxed{B}", "[[B]",
                                              "[B]]"};
  }
  return a ? std::vector<absl::string_view>{"[[A>B]]", "boxed{A>B}"}
           : std::vector<absl::string_view>{"[[B>A]]", "boxed{B>A}"};
}

std::string GeneralPrompt(const Comparison& comparison) {
  return absl::StrCat(
      "You are an impartial judge. Two assistants, A and B, answered the user "
      "prompt below; decide whose answer is better.\n\n"
      "First answer the prompt yourself; do so before you judge. Then compare "
      "both answers with yours, and name and correct every mistake in them.\n\n"
      "Consider whether the answers are helpful (they do what was asked, or "
      "ask "
      "back where the prompt is ambiguous), relevant (every part belongs to "
      "the "
      "question) and concise (clear and not wordy). Where it matters, consider "
      "creativity and novelty. Last, name important information that an answer "
      "lacks.\n\n"
      "After your explanation end with exactly one of these verdicts:\n\n"
      "1. A is better: [[A>B]]\n"
      "2. B is better: [[B>A]]\n\n"
      "For example: \"My verdict: A is better: [[A>B]]\".\n\n"
      "<|User Prompt|>\n",
      comparison.question, "\n\n<|Start of Assistant A's Answer|>\n",
      comparison.answer_a,
      "\n<|End of Assistant A's Answer|>\n\n"
      "<|Start of Assistant B's Answer|>\n",
      comparison.answer_b, "\n<|End of Assistant B's Answer|>");
}

std::string RmR1Prompt(const Comparison& comparison) {
  return absl::StrCat(
      "Judge impartially which of two chatbots answered the client's question "
      "better.\n\n[Client Question]\n",
      comparison.question, "\n\n[Start of Chatbot A's Response]\n",
      comparison.answer_a,
      "\n[End of Chatbot A's Response]\n\n[Start of Chatbot B's Response]\n",
      comparison.answer_b,
      "\n[End of Chatbot B's Response]\n\nEnd with your verdict in exactly "
      "this "
      "form: '<answer>[[A]]</answer>' if Chatbot A is better, "
      "'<answer>[[B]]</answer>' if Chatbot B is.");
}

completion::CompletionRequest RequestOf(const GenerationSettings& settings) {
  completion::CompletionRequest request;
  request.max_tokens = settings.max_tokens;
  request.temperature = settings.temperature;
  request.top_p = settings.top_p;
  request.seed = settings.seed;
  return request;
}

absl::StatusOr<completion::Choice> FirstChoice(
    completion::CompletionClient& client,
    const completion::CompletionRequest& request) {
  REPRO_ASSIGN_OR_RETURN(completion::Completion completion,
                         client.Complete(request));
  if (completion.choices.empty()) {
    return absl::DataLossError("the judge's answer holds no choice");
  }
  return std::move(completion.choices[0]);
}

}  // namespace

Comparison Swapped(const Comparison& comparison) {
  return {comparison.question, comparison.answer_b, comparison.answer_a};
}

std::string JudgePrompt(PromptStyle style, const Comparison& comparison) {
  return style == PromptStyle::kRmR1 ? RmR1Prompt(comparison)
                                     : GeneralPrompt(comparison);
}

Verdict ParseVerdict(PromptStyle style, absl::string_view text,
                     absl::string_view finish_reason) {
  const auto deciding = DecidingText(text, finish_reason);
  if (!deciding) return std::nullopt;
  const int64_t a = LastOf(*deciding, Patterns(style, Winner::kA));
  const int64_t b = LastOf(*deciding, Patterns(style, Winner::kB));
  if (a == b) return std::nullopt;
  return a > b ? Winner::kA : Winner::kB;
}

GenerationSettings GenerationSettings::For(PromptStyle style) {
  GenerationSettings settings;
  if (style == PromptStyle::kRmR1) {
    settings.temperature = 0;
    settings.top_p = 1;
  }
  return settings;
}

completion::CompletionRequest JudgeRequest(PromptStyle style,
                                           const Comparison& comparison,
                                           const GenerationSettings& settings) {
  completion::CompletionRequest request = RequestOf(settings);
  std::string prompt = JudgePrompt(style, comparison);
  if (style == PromptStyle::kAceReason) {
    request.prompt =
        absl::StrCat("<｜User｜>\n\n", prompt, "\n<｜Assistant｜><think>\n");
  } else {
    request.messages = {{"user", std::move(prompt)}};
  }
  return request;
}

Judge LanguageModelJudge(completion::CompletionClient& client,
                         PromptStyle style,
                         const GenerationSettings& settings) {
  return [&client, style,
          settings](const Comparison& comparison) -> absl::StatusOr<Verdict> {
    REPRO_ASSIGN_OR_RETURN(
        const completion::Choice choice,
        FirstChoice(client, JudgeRequest(style, comparison, settings)));
    return ParseVerdict(style, choice.text, choice.finish_reason);
  };
}

Judge PointwiseJudge(Scorer scorer) {
  return [scorer = std::move(scorer)](
             const Comparison& comparison) -> absl::StatusOr<Verdict> {
    REPRO_ASSIGN_OR_RETURN(const std::optional<double> a,
                           scorer(comparison.question, comparison.answer_a));
    REPRO_ASSIGN_OR_RETURN(const std::optional<double> b,
                           scorer(comparison.question, comparison.answer_b));
    if (!a || !b) return Verdict();
    return Verdict(*b > *a ? Winner::kB : Winner::kA);
  };
}

std::string RatingPrompt(absl::string_view question, absl::string_view answer) {
  return absl::StrCat(
      "You are an impartial judge. An assistant answered the user prompt "
      "below. "
      "First answer the prompt yourself, then compare the answer with yours "
      "and "
      "name every mistake in it. End with a rating from 1 (wrong) to 10 "
      "(correct and complete) in this form: [[5]].\n\n<|User Prompt|>\n",
      question, "\n\n<|Start of the Assistant's Answer|>\n", answer,
      "\n<|End of the Assistant's Answer|>");
}

std::optional<double> ParseRating(absl::string_view text,
                                  absl::string_view finish_reason) {
  const auto deciding = DecidingText(text, finish_reason);
  if (!deciding) return std::nullopt;
  const size_t open = deciding->rfind("[[");
  if (open == absl::string_view::npos) return std::nullopt;
  const absl::string_view rest = deciding->substr(open + 2);
  const size_t close = rest.find("]]");
  double rating = 0;
  if (close == absl::string_view::npos ||
      !absl::SimpleAtod(rest.substr(0, close), &rating) ||
      !(rating >= 1 && rating <= 10)) {
    return std::nullopt;
  }
  return rating;
}

Scorer LanguageModelScorer(completion::CompletionClient& client,
                           const GenerationSettings& settings) {
  return
      [&client, settings](
          const std::string& question,
          const std::string& answer) -> absl::StatusOr<std::optional<double>> {
        completion::CompletionRequest request = RequestOf(settings);
        request.messages = {{"user", RatingPrompt(question, answer)}};
        REPRO_ASSIGN_OR_RETURN(const completion::Choice choice,
                               FirstChoice(client, request));
        return ParseRating(choice.text, choice.finish_reason);
      };
}

Judge PreferenceJudge(Preference preference) {
  return [preference = std::move(preference)](
             const Comparison& comparison) -> absl::StatusOr<Verdict> {
    return Verdict(preference(comparison) < 0 ? Winner::kB : Winner::kA);
  };
}

Preference Symmetrised(Preference preference) {
  return [preference = std::move(preference)](const Comparison& comparison) {
    return (preference(comparison) - preference(Swapped(comparison))) / 2;
  };
}

}  // namespace repro::code_judge_bench
