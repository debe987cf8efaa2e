#include "papers/asap/prompt.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/metrics/python_text.h"

namespace repro::asap {
namespace {

using metrics::Strip;

constexpr absl::string_view kInstruction =
    "Write down the original comment written by the developer.\n";

void AppendBlock(absl::string_view text, std::string* prompt) {
  absl::StrAppend(prompt, Strip(text), "\n");
}

}  // namespace

std::string BuildPrompt(absl::Span<const PromptFunction> exemplars,
                        const PromptFunction& query, const FactSet& facts,
                        PromptEnding ending) {
  std::string prompt;
  for (const PromptFunction& exemplar : exemplars) {
    AppendBlock(exemplar.code, &prompt);
    if (facts.repository) AppendBlock(exemplar.facts.repository, &prompt);
    if (facts.identifiers) AppendBlock(exemplar.facts.identifiers, &prompt);
    if (facts.data_flow) AppendBlock(exemplar.facts.data_flow, &prompt);
    absl::StrAppend(&prompt, kInstruction, "Comment: ", exemplar.comment,
                    "\n\n");
  }
  AppendBlock(query.code, &prompt);
  if (facts.repository) AppendBlock(query.facts.repository, &prompt);
  if (facts.data_flow) AppendBlock(query.facts.data_flow, &prompt);
  if (facts.identifiers) AppendBlock(query.facts.identifiers, &prompt);
  return absl::StrCat(
      prompt, kInstruction,
      ending == PromptEnding::kColon ? "Comment:" : "Comment: ");
}

std::string BuildTenShotPrompt(absl::string_view exemplars,
                               absl::Span<const std::string> code_tokens) {
  constexpr size_t kMaxWords = 3000;
  constexpr size_t kWordsCutOff = 200;
  const metrics::Tokens words = metrics::SplitWhitespace(
      absl::StrCat(exemplars, absl::StrJoin(code_tokens, " "), " \t<s>"));
  const auto first =
      words.begin() + (words.size() > kMaxWords ? kWordsCutOff : 0);
  return absl::StrCat(absl::StrJoin(first, words.end(), " "), " ");
}

std::string FirstLine(absl::string_view answer) {
  return Strip(answer.substr(0, answer.find('\n')));
}

std::string BeforeEndOfSummary(absl::string_view answer) {
  return Strip(answer.substr(0, answer.find("</s>")));
}

}  // namespace repro::asap
