// The few-shot prompt with semantic facts (ASAP), without them (BM25), and the
// fixed ten-shot prompt of its predecessor.
#ifndef REPRO_PAPERS_ASAP_PROMPT_H_
#define REPRO_PAPERS_ASAP_PROMPT_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "papers/asap/facts.h"

namespace repro::asap {

// A function as a prompt shows it.
struct PromptFunction {
  std::string code;
  std::string comment;  // not shown of the function that is asked about
  SemanticFacts facts;
};

// Which facts a prompt has. Each alone is an ablation of the paper.
struct FactSet {
  bool repository = true;
  bool identifiers = true;
  bool data_flow = true;

  static FactSet Asap() { return {}; }
  static FactSet Bm25() { return {false, false, false}; }
};

// How the prompt ends: "Comment:" in the copy of the authors' script that
// writes prompts down, "Comment: " in that which asks gpt-3.5-turbo.
enum class PromptEnding { kColon, kColonAndSpace };

// For each exemplar, best first: code, repository, identifiers, data flow,
// "Write down the original comment written by the developer.", "Comment: " and
// the comment, a blank line. Then the function that is asked about, with data
// flow before identifiers, up to "Comment:". White space at both ends of codes
// and facts is dropped.
std::string BuildPrompt(absl::Span<const PromptFunction> exemplars,
                        const PromptFunction& query, const FactSet& facts,
                        PromptEnding ending = PromptEnding::kColon);

// The predecessor's prompt (Ahmed and Devanbu, "Few-shot training LLMs for
// project-specific code-summarization", ASE 2022, NIER): ten exemplars "code
// TAB <s> comment </s>" as one text, then the function's tokens, a tab and
// "<s>". As coded, all white space becomes one space (the tabs too), a space
// ends the prompt, and of more than 3,000 words the first 200 are cut off,
// whatever exemplar that breaks.
std::string BuildTenShotPrompt(absl::string_view exemplars,
                               absl::Span<const std::string> code_tokens);

// What the authors take of a model's answer: the first line, without white
// space at its ends; of the predecessor's, what comes before "</s>".
std::string FirstLine(absl::string_view answer);
std::string BeforeEndOfSummary(absl::string_view answer);

}  // namespace repro::asap

#endif  // REPRO_PAPERS_ASAP_PROMPT_H_
