#include "papers/asap/summarizer.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace repro::asap {

absl::StatusOr<Summary> Summarize(completion::CompletionClient& client,
                                  absl::Span<const PromptFunction> exemplars,
                                  const PromptFunction& query,
                                  const SummarizerOptions& options) {
  completion::CompletionRequest request;
  request.max_tokens = options.max_tokens;
  request.stop = {"\n"};  // only the first line counts
  for (size_t shown = exemplars.size();; --shown) {
    std::string prompt = BuildPrompt(exemplars.first(shown), query,
                                     options.facts, options.ending);
    if (options.chat) {
      request.messages = {{"user", std::move(prompt)}};
    } else {
      request.prompt = std::move(prompt);
    }
    const absl::StatusOr<completion::Completion> answer =
        client.Complete(request);
    if (absl::IsInvalidArgument(answer.status())) {
      if (shown <= 1) return Summary();
      continue;
    }
    if (!answer.ok()) return answer.status();
    if (answer->choices.empty()) {
      return absl::DataLossError(
          absl::StrCat(client.name(), ": an answer without a choice"));
    }
    Summary summary;
    summary.text = FirstLine(answer->choices[0].text);
    summary.exemplars = static_cast<int64_t>(shown);
    summary.prompt_tokens = answer->prompt_tokens;
    return summary;
  }
}

}  // namespace repro::asap
