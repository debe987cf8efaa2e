// Many requests on one model at once: continuous batching.
//
//   Engine engine(model, tokenizer, factory, {});
//   auto stream = engine.Submit(request);
//   while (std::optional<TextPiece> piece = (*stream)->Next())
//   Print(piece->text);
#ifndef REPRO_COMMON_LM_ENGINE_H_
#define REPRO_COMMON_LM_ENGINE_H_

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/lm/generate.h"
#include "common/lm/model.h"
#include "common/lm/policy.h"
#include "common/tokenizer/tokenizer.h"

namespace repro::lm {

struct EngineOptions {
  int64_t max_waiting = 64;  // requests; more are refused
  int64_t max_running = 16;  // sequences in one step
  // Tokens of the sequences that run, prompts and the most that may follow.
  // Those that do not fit wait.
  int64_t max_tokens = 32768;
  // Tokens of prompts in one step, shared evenly by the sequences that have
  // not seen all of their prompt: what the others wait for.
  int64_t prompt_chunk = 256;
};

// The answer to one request, as it comes. Threads may share one; it may outlive
// the engine.
class TextStream {
 public:
  // Waits for text or tokens; nothing: the end (finish_reason), an error
  // (status), or `wait` is over (done is false).
  std::optional<TextPiece> Next(absl::Duration wait = absl::InfiniteDuration());

  // The engine drops the request before its next step.
  void Cancel();

  bool done() const;  // and all pieces are taken
  FinishReason finish_reason() const;
  // Of a failed request: ResourceExhausted for lack of memory, Unavailable if
  // the engine was stopped, else Internal.
  absl::Status status() const;
  int64_t prompt_tokens() const { return prompt_tokens_; }

 private:
  friend class Engine;
  explicit TextStream(int64_t prompt_tokens) : prompt_tokens_(prompt_tokens) {}

  bool HasPiece() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return finished_ || !piece_.text.empty() || !piece_.tokens.empty();
  }
  void Put(TextPiece piece);
  void Finish(FinishReason reason, absl::Status status);
  bool cancelled() const;

  const int64_t prompt_tokens_;
  mutable absl::Mutex mutex_;
  TextPiece piece_ ABSL_GUARDED_BY(mutex_);
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  FinishReason reason_ ABSL_GUARDED_BY(mutex_) = FinishReason::kNone;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

// One thread owns the model and steps: each step feeds one token of every
// sequence that is past its prompt and a part of the others' prompts. Requests
// join and leave between steps, in the order of their coming.
class Engine {
 public:
  // All three must outlive it. States of the factory are of one class.
  Engine(const LanguageModel* model, const Tokenizer* tokenizer,
         StateFactory factory, const EngineOptions& options);
  ~Engine();  // Stop(absl::ZeroDuration())

  // InvalidArgument as Validate, or if the request alone is more than
  // max_tokens; ResourceExhausted if max_waiting wait already; Unavailable
  // after Stop.
  absl::StatusOr<std::shared_ptr<TextStream>> Submit(GenerationRequest request);

  // Takes no more requests, lets those it has go on for at most `wait`, fails
  // the rest and ends the thread.
  void Stop(absl::Duration wait);

  int64_t waiting() const;
  int64_t running() const;

 private:
  struct Sequence;

  void Run();
  // Sequences of the next step: an alone one, or all others.
  std::vector<Sequence*> Choose();
  void Step(const std::vector<Sequence*>& batch);
  void Admit();
  void Reap();

  const LanguageModel* const model_;
  const Tokenizer* const tokenizer_;
  const StateFactory factory_;
  const EngineOptions options_;

  mutable absl::Mutex mutex_;
  std::list<std::unique_ptr<Sequence>> waiting_ ABSL_GUARDED_BY(mutex_);
  int64_t running_count_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Time give_up_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();

  std::list<std::unique_ptr<Sequence>> running_;  // the thread's
  absl::Mutex join_mutex_;
  std::thread thread_ ABSL_GUARDED_BY(join_mutex_);
};

}  // namespace repro::lm

#endif  // REPRO_COMMON_LM_ENGINE_H_
