// Summaries by a language model that is asked with BuildPrompt.
#ifndef REPRO_PAPERS_ASAP_SUMMARIZER_H_
#define REPRO_PAPERS_ASAP_SUMMARIZER_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/completion/completion.h"
#include "papers/asap/prompt.h"

namespace repro::asap {

struct SummarizerOptions {
  FactSet facts;
  PromptEnding ending = PromptEnding::kColon;
  // The prompt as the user's message; false: as a text to go on with.
  bool chat = false;
  int64_t max_tokens = 250;
};

struct Summary {
  std::string text;
  int64_t exemplars = 0;  // that fitted
  int64_t prompt_tokens = 0;
};

// Asks for the query's comment at temperature 0 and takes the answer's first
// line. Where the client says InvalidArgument, which is what it says to a
// prompt that is too long for the model, the last exemplar is dropped and the
// model asked again; where not even one fits the summary is empty with 0
// exemplars, as in the authors' script. Other errors are the client's.
absl::StatusOr<Summary> Summarize(completion::CompletionClient& client,
                                  absl::Span<const PromptFunction> exemplars,
                                  const PromptFunction& query,
                                  const SummarizerOptions& options);

}  // namespace repro::asap

#endif  // REPRO_PAPERS_ASAP_SUMMARIZER_H_
