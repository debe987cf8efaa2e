#include "common/completion/scripted.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/status/macros.h"

namespace repro::completion {

Completion TextCompletion(std::string text) {
  Completion completion;
  completion.model = "scripted";
  completion.choices.push_back({std::move(text), "stop", {}});
  return completion;
}

ScriptedClient::ScriptedClient(Script script) : script_(std::move(script)) {}

ScriptedClient::ScriptedClient(std::vector<std::string> answers)
    : script_(
          [answers = std::move(answers), next = size_t{0}](
              const CompletionRequest&) mutable -> absl::StatusOr<Completion> {
            if (next == answers.size()) {
              return absl::ResourceExhaustedError(absl::StrCat(
                  "the script has no more than ", answers.size(), " answers"));
            }
            return TextCompletion(answers[next++]);
          }) {}

absl::StatusOr<Completion> ScriptedClient::Complete(
    const CompletionRequest& request) {
  REPRO_RETURN_IF_ERROR(Validate(request));
  absl::MutexLock lock(&mutex_);
  requests_.push_back(request);
  return script_(request);
}

std::vector<CompletionRequest> ScriptedClient::requests() const {
  absl::MutexLock lock(&mutex_);
  return requests_;
}

}  // namespace repro::completion
