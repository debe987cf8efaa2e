#include "papers/uscd/prompts.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/data/json_record.h"
#include "common/metrics/generation.h"
#include "common/status/macros.h"

namespace repro::uscd {
namespace {

constexpr absl::string_view kExample = ">>>";
constexpr size_t kQuotes = 3;  // characters that close a docstring

bool EndsWithQuotes(absl::string_view text) {
  return absl::EndsWith(text, R"(""")") || absl::EndsWith(text, "'''");
}

int64_t CountCodePoints(absl::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char byte) {
    return (static_cast<unsigned char>(byte) & 0xc0) != 0x80;
  });
}

bool StartsExample(absl::string_view line, absl::string_view entry_point) {
  line = absl::StripLeadingAsciiWhitespace(line);
  return absl::StartsWith(line, kExample) ||
         absl::StartsWithIgnoreCase(line, "example") ||
         absl::StartsWithIgnoreCase(line, "for example") ||
         absl::StartsWithIgnoreCase(line, "e.g.") ||
         (!entry_point.empty() &&
          absl::StartsWith(line, absl::StrCat(entry_point, "(")));
}

// Problems' lame prompts in the problems' order, as they stand in the file.
absl::StatusOr<std::vector<std::string>> InOrder(
    const std::vector<HumanEvalProblem>& problems,
    const std::vector<LamePrompt>& lame_prompts) {
  std::map<absl::string_view, absl::string_view> by_id;
  for (const LamePrompt& lame : lame_prompts) {
    by_id[lame.task_id] = lame.prompt;
  }
  std::vector<std::string> prompts;
  for (const HumanEvalProblem& problem : problems) {
    const auto found = by_id.find(problem.task_id);
    if (found == by_id.end()) {
      return absl::NotFoundError(
          absl::StrCat("no lame prompt of ", problem.task_id));
    }
    prompts.emplace_back(found->second);
  }
  return prompts;
}

}  // namespace

absl::StatusOr<std::vector<LamePrompt>> ReadLamePrompts(
    const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines, ReadRecords(path));
  std::vector<LamePrompt> prompts;
  std::set<std::string> seen;
  for (const JsonLine& line : lines) {
    const JsonRecord record(line, path);
    LamePrompt& prompt = prompts.emplace_back();
    REPRO_ASSIGN_OR_RETURN(prompt.task_id, record.Text("task_id"));
    REPRO_ASSIGN_OR_RETURN(prompt.prompt, record.Text("lame_prompt"));
    if (!seen.insert(prompt.task_id).second) {
      return record.Error("the same task comes twice");
    }
  }
  return prompts;
}

absl::StatusOr<std::vector<PromptPair>> HumanEvalPrompts(
    const std::vector<HumanEvalProblem>& problems,
    const std::vector<LamePrompt>& lame_prompts) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<std::string> lame,
                         InOrder(problems, lame_prompts));
  std::vector<PromptPair> pairs;
  for (size_t i = 0; i < problems.size(); ++i) {
    pairs.push_back(
        {std::string(absl::StripAsciiWhitespace(problems[i].prompt)),
         std::string(absl::StripAsciiWhitespace(lame[i]))});
  }
  return pairs;
}

PromptPair MbppPrompts(absl::string_view text, absl::string_view first_assert) {
  constexpr absl::string_view kQuote = R"(""")";
  return {
      absl::StrCat(kQuote, "\n", text, "\n", first_assert, "\n", kQuote, "\n"),
      absl::StrCat(kQuote, "\n", text, "\n", kQuote, "\n")};
}

absl::StatusOr<std::string> DropExamples(absl::string_view prompt,
                                         absl::string_view entry_point) {
  prompt = absl::StripAsciiWhitespace(prompt);
  const auto no_docstring = [] {
    return absl::InvalidArgumentError(
        "the prompt does not end with a docstring");
  };
  if (!EndsWithQuotes(prompt) || prompt.size() < 2 * kQuotes) {
    return no_docstring();
  }
  const absl::string_view quotes = prompt.substr(prompt.size() - kQuotes);
  const absl::string_view open = prompt.substr(0, prompt.size() - kQuotes);
  const size_t begin = open.rfind(quotes);
  if (begin == absl::string_view::npos) return no_docstring();
  const absl::string_view head = open.substr(0, begin + kQuotes);
  const std::vector<absl::string_view> lines =
      absl::StrSplit(open.substr(begin + kQuotes), '\n');
  const auto example = std::find_if(
      lines.begin(), lines.end(),
      [&](absl::string_view line) { return StartsExample(line, entry_point); });
  if (example == lines.end()) return std::string(prompt);
  const std::string kept = absl::StrJoin(
      std::vector<absl::string_view>(lines.begin(), example), "\n");
  return absl::StrCat(head, absl::StripTrailingAsciiWhitespace(kept), "\n    ",
                      quotes);
}

const std::vector<std::string>& HumanEvalStopWords() {
  static const auto* const words = new std::vector<std::string>{
      "\nclass", "\ndef", "\n#", "\n@", "\nprint", "\nif", "\n```"};
  return *words;
}

const std::vector<std::string>& MbppStopWords() {
  static const auto* const words =
      new std::vector<std::string>{"\nclass", "\nassert", "\n\"\"\"", "\nprint",
                                   "\nif",    "\n<|/",    "\n```",    "[DONE]"};
  return *words;
}

std::string CutAtStopWord(absl::string_view text,
                          const std::vector<std::string>& stop_words) {
  size_t end = text.size();
  for (const std::string& word : stop_words) {
    end = std::min(end, text.find(word));  // npos is the largest
  }
  return std::string(text.substr(0, end));
}

absl::StatusOr<PromptStatistics> ComparePrompts(
    const std::vector<HumanEvalProblem>& problems,
    const std::vector<LamePrompt>& lame_prompts) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<std::string> lame,
                         InOrder(problems, lame_prompts));
  REPRO_ASSIGN_OR_RETURN(const std::vector<PromptPair> pairs,
                         HumanEvalPrompts(problems, lame_prompts));
  PromptStatistics statistics;
  statistics.problems = static_cast<int64_t>(pairs.size());
  for (size_t i = 0; i < pairs.size(); ++i) {
    const PromptPair& pair = pairs[i];
    statistics.standard_examples += absl::StrContains(pair.standard, kExample);
    statistics.lame_examples += absl::StrContains(pair.lame, kExample);
    statistics.standard_characters += CountCodePoints(problems[i].prompt);
    statistics.lame_characters += CountCodePoints(lame[i]);
    statistics.equal += pair.standard == pair.lame;
    if (EndsWithQuotes(pair.lame)) {
      const absl::string_view open = absl::StripTrailingAsciiWhitespace(
          absl::string_view(pair.lame).substr(0, pair.lame.size() - kQuotes));
      statistics.prefix += absl::StartsWith(pair.standard, open);
    }
    REPRO_ASSIGN_OR_RETURN(
        const std::string by_rule,
        DropExamples(pair.standard, problems[i].entry_point));
    statistics.rule_equal += metrics::CollapseWhitespace(by_rule) ==
                             metrics::CollapseWhitespace(pair.lame);
  }
  return statistics;
}

}  // namespace repro::uscd
