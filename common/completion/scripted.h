// A model whose answers are written down, for tests of what uses models.
#ifndef REPRO_COMMON_COMPLETION_SCRIPTED_H_
#define REPRO_COMMON_COMPLETION_SCRIPTED_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/completion/completion.h"

namespace repro::completion {

// One choice that ended by itself ("stop").
Completion TextCompletion(std::string text);

class ScriptedClient : public CompletionClient {
 public:
  using Script =
      std::function<absl::StatusOr<Completion>(const CompletionRequest&)>;

  // Answers by the function, which is called by one thread at a time.
  explicit ScriptedClient(Script script);
  // Gives the answers in turn; then ResourceExhausted.
  explicit ScriptedClient(std::vector<std::string> answers);

  // Validates as every client does, then asks the script.
  absl::StatusOr<Completion> Complete(
      const CompletionRequest& request) override;
  std::string name() const override { return "scripted"; }

  // What was asked so far, in order.
  std::vector<CompletionRequest> requests() const;

 private:
  mutable absl::Mutex mutex_;
  Script script_ ABSL_GUARDED_BY(mutex_);
  std::vector<CompletionRequest> requests_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace repro::completion

#endif  // REPRO_COMMON_COMPLETION_SCRIPTED_H_
