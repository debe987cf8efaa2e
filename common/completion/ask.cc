#include "common/completion/ask.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace repro::completion {

absl::StatusOr<std::string> Ask(CompletionClient& client,
                                const CompletionRequest& request,
                                absl::string_view step, Usage* usage) {
  absl::StatusOr<Completion> completion = client.Complete(request);
  if (!completion.ok()) {
    return absl::Status(
        completion.status().code(),
        absl::StrCat(step, ": ", completion.status().message()));
  }
  if (usage != nullptr) {
    ++usage->requests;
    usage->prompt_tokens += completion->prompt_tokens;
    usage->completion_tokens += completion->completion_tokens;
    usage->cost += completion->cost;
  }
  if (completion->choices.empty()) {
    return absl::DataLossError(
        absl::StrCat(step, ": ", client.name(), " gave no choice"));
  }
  return std::move(completion->choices[0].text);
}

}  // namespace repro::completion
