// Answers kept in a folder, one JSON file a request, so that an experiment can
// be repeated to the letter without its model, and an interrupted one goes on.
//
// DIR/<RequestKey>.json holds {"version", "client", "request", "completion"}.
#ifndef REPRO_COMMON_COMPLETION_RECORD_REPLAY_H_
#define REPRO_COMMON_COMPLETION_RECORD_REPLAY_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/completion/completion.h"

namespace repro::completion {

// Answers from the folder what is there; asks `inner` for the rest and writes
// it down, whole or not at all. Errors of `inner` are not recorded, so they are
// asked for again.
//
// Errors besides: FailedPrecondition for a recording of another client, so
// that a folder never mixes models; DataLoss for a corrupt one; those of
// writing.
class RecordingClient : public CompletionClient {
 public:
  // Makes the folder.
  static absl::StatusOr<std::unique_ptr<RecordingClient>> Create(
      std::unique_ptr<CompletionClient> inner, const std::string& folder);

  absl::StatusOr<Completion> Complete(
      const CompletionRequest& request) override;
  // The inner one's: a result is of the model, however its answers came.
  std::string name() const override { return inner_->name(); }

 private:
  RecordingClient(std::unique_ptr<CompletionClient> inner, std::string folder)
      : inner_(std::move(inner)), folder_(std::move(folder)) {}

  const std::unique_ptr<CompletionClient> inner_;
  const std::string folder_;
};

// Answers from the folder alone. NotFound for what is not there names the key,
// the folder and how to record; DataLoss names the file that is corrupt.
class ReplayClient : public CompletionClient {
 public:
  // NotFound if there is no such folder.
  static absl::StatusOr<std::unique_ptr<ReplayClient>> Create(
      const std::string& folder);

  absl::StatusOr<Completion> Complete(
      const CompletionRequest& request) override;
  std::string name() const override { return "replay:" + folder_; }

 private:
  explicit ReplayClient(std::string folder) : folder_(std::move(folder)) {}

  const std::string folder_;
};

}  // namespace repro::completion

#endif  // REPRO_COMMON_COMPLETION_RECORD_REPLAY_H_
