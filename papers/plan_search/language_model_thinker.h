// The searches with a language model: prompts, conversations and what is taken
// from the replies.
#ifndef REPRO_PAPERS_PLAN_SEARCH_LANGUAGE_MODEL_THINKER_H_
#define REPRO_PAPERS_PLAN_SEARCH_LANGUAGE_MODEL_THINKER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/completion/ask.h"
#include "common/completion/completion.h"
#include "papers/plan_search/search.h"

namespace repro::plan_search {

// The lines between the first line that begins with three backticks, white
// space aside, and the next such line or the end, each with its line end. Empty
// if there is no such line.
std::string ExtractBlock(absl::string_view reply);

// The strings of a Python list of string literals, white space around it:
// single, double and triple quotes, prefixes r and u, escapes but \N{name},
// neighbouring literals joined, comments. Nothing for any other text. (The
// authors' program evaluates the text, and with it any code in the reply.)
std::optional<Observations> ParseStringList(absl::string_view text);

// The settings of the paper's runs; o1-mini had 1.0 for both.
struct LanguageModelOptions {
  std::string model;  // empty: the client's
  int64_t max_tokens = 4096;
  double temperature = 0.9;
  double top_p = 0.95;
  int observations = 10;   // asked for at the root
  int parse_tries = 3;     // at temperatures 0, 0.2, 0.4
  bool pseudocode = true;  // between a solution in words and its program
  // Requests that draw have seed + sample, where sample is 0 in PlanSearch: its
  // prompts differ by themselves.
  uint64_t seed = 0;
};

// One request at a time. The prompts have the authors' parts and order, in this
// project's words.
class LanguageModelThinker : public Thinker {
 public:
  // `client` outlives it.
  explicit LanguageModelThinker(completion::CompletionClient* client,
                                const LanguageModelOptions& options = {});

  // Four requests in one conversation: observe, list, keep the most useful,
  // write as a Python list; the last one again where it is none. After all
  // tries: no observations.
  absl::StatusOr<Observations> Observe(const Problem& problem,
                                       const Observations& given,
                                       bool root) override;
  absl::StatusOr<std::string> Sketch(const Problem& problem,
                                     const Observations& observations) override;
  // Two requests: criticism with a counter-example, then how to mend it.
  absl::StatusOr<std::string> Fix(const Problem& problem,
                                  const std::string& sketch) override;
  // Two requests in conversations of their own: pseudocode, program.
  absl::StatusOr<std::string> Implement(const Problem& problem,
                                        const std::string& idea) override;
  absl::StatusOr<std::string> Program(const Problem& problem,
                                      uint64_t sample) override;
  absl::StatusOr<std::string> Idea(const Problem& problem,
                                   uint64_t sample) override;
  absl::StatusOr<std::string> ImplementIdea(const Problem& problem,
                                            const std::string& idea,
                                            uint64_t sample) override;

  // Of the study on ideas: a solution in about `words` words of a program that
  // is right. ImplementIdea makes a program of it again.
  absl::StatusOr<std::string> BackTranslate(const Problem& problem,
                                            const std::string& program,
                                            int words, uint64_t sample);

  const completion::Usage& usage() const { return usage_; }

 private:
  // The text of the reply; errors begin with `step`.
  absl::StatusOr<std::string> Ask(
      absl::string_view step,
      const std::vector<completion::ChatMessage>& messages, double temperature,
      uint64_t sample = 0);

  completion::CompletionClient* client_;
  const LanguageModelOptions options_;
  completion::Usage usage_;
};

}  // namespace repro::plan_search

#endif  // REPRO_PAPERS_PLAN_SEARCH_LANGUAGE_MODEL_THINKER_H_
