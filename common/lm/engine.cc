#include "common/lm/engine.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <exception>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/status/macros.h"

namespace repro::lm {

std::optional<TextPiece> TextStream::Next(absl::Duration wait) {
  absl::MutexLock lock(&mutex_);
  mutex_.AwaitWithTimeout(absl::Condition(this, &TextStream::HasPiece), wait);
  if (piece_.text.empty() && piece_.tokens.empty()) return std::nullopt;
  return std::exchange(piece_, {});
}

void TextStream::Cancel() {
  absl::MutexLock lock(&mutex_);
  cancelled_ = true;
}

bool TextStream::done() const {
  absl::MutexLock lock(&mutex_);
  return finished_ && piece_.text.empty() && piece_.tokens.empty();
}

FinishReason TextStream::finish_reason() const {
  absl::MutexLock lock(&mutex_);
  return reason_;
}

absl::Status TextStream::status() const {
  absl::MutexLock lock(&mutex_);
  return status_;
}

void TextStream::Put(TextPiece piece) {
  absl::MutexLock lock(&mutex_);
  absl::StrAppend(&piece_.text, piece.text);
  std::move(piece.tokens.begin(), piece.tokens.end(),
            std::back_inserter(piece_.tokens));
}

void TextStream::Finish(FinishReason reason, absl::Status status) {
  absl::MutexLock lock(&mutex_);
  if (finished_) return;
  finished_ = true;
  reason_ = reason;
  status_ = std::move(status);
}

bool TextStream::cancelled() const {
  absl::MutexLock lock(&mutex_);
  return cancelled_;
}

struct Engine::Sequence {
  GenerationRequest request;
  Completion completion;
  std::shared_ptr<TextStream> stream;
  int64_t reserved = 0;  // tokens
  std::unique_ptr<AttentionState> state;
  int64_t fed = 0;     // tokens that the state has seen
  int64_t next = 0;    // tokens of the step
  bool alone = false;  // to be stepped by itself
  bool finished = false;

  int64_t prompt_size() const {
    return static_cast<int64_t>(request.prompt.size());
  }
  int64_t size() const {
    return prompt_size() + static_cast<int64_t>(completion.tokens().size());
  }
  int32_t token(int64_t i) const {
    return i < prompt_size() ? request.prompt[i]
                             : completion.tokens()[i - prompt_size()];
  }
  void Finish(FinishReason reason, absl::Status status) {
    stream->Finish(reason, std::move(status));
    finished = true;
    state.reset();
  }
};

Engine::Engine(const LanguageModel* model, const Tokenizer* tokenizer,
               StateFactory factory, const EngineOptions& options)
    : model_(model),
      tokenizer_(tokenizer),
      factory_(std::move(factory)),
      options_(options),
      thread_([this] { Run(); }) {}

Engine::~Engine() { Stop(absl::ZeroDuration()); }

absl::StatusOr<std::shared_ptr<TextStream>> Engine::Submit(
    GenerationRequest request) {
  REPRO_RETURN_IF_ERROR(Validate(request, model_->config()));
  const int64_t prompt = static_cast<int64_t>(request.prompt.size());
  const int64_t reserved = std::min(
      model_->config().max_positions,
      prompt + std::min(request.max_tokens, model_->config().max_positions));
  if (reserved > options_.max_tokens) {
    return absl::InvalidArgumentError(
        absl::StrCat("the prompt and the answer may take ", reserved,
                     " tokens; the server has room for ", options_.max_tokens,
                     ": ask for fewer"));
  }
  std::shared_ptr<TextStream> stream(new TextStream(prompt));
  Completion completion(request, tokenizer_, model_->config());
  auto sequence = std::make_unique<Sequence>(
      Sequence{std::move(request), std::move(completion), stream, reserved});
  absl::MutexLock lock(&mutex_);
  if (stopping_) return absl::UnavailableError("the engine is stopping");
  if (static_cast<int64_t>(waiting_.size()) >= options_.max_waiting) {
    return absl::ResourceExhaustedError(absl::StrCat(
        waiting_.size(), " requests wait already: try again later"));
  }
  waiting_.push_back(std::move(sequence));
  return stream;
}

void Engine::Stop(absl::Duration wait) {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    give_up_ = std::min(give_up_, absl::Now() + wait);
  }
  absl::MutexLock lock(&join_mutex_);
  if (thread_.joinable()) thread_.join();
}

int64_t Engine::waiting() const {
  absl::MutexLock lock(&mutex_);
  return static_cast<int64_t>(waiting_.size());
}

int64_t Engine::running() const {
  absl::MutexLock lock(&mutex_);
  return running_count_;
}

void Engine::Run() {
  const at::NoGradGuard no_grad;
  while (true) {
    {
      absl::MutexLock lock(&mutex_);
      if (running_.empty()) {
        const auto wake = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
          return stopping_ || !waiting_.empty();
        };
        mutex_.Await(absl::Condition(&wake));
      }
      if (stopping_ &&
          ((running_.empty() && waiting_.empty()) || absl::Now() >= give_up_)) {
        running_.splice(running_.end(), waiting_);
        for (const auto& sequence : running_) {
          sequence->Finish(FinishReason::kNone,
                           absl::UnavailableError("the engine was stopped"));
        }
        running_.clear();
        running_count_ = 0;
        return;
      }
    }
    Reap();
    Admit();
    const std::vector<Sequence*> batch = Choose();
    if (!batch.empty()) Step(batch);
    Reap();
  }
}

void Engine::Admit() {
  absl::MutexLock lock(&mutex_);
  int64_t reserved = 0;
  for (const auto& sequence : running_) reserved += sequence->reserved;
  waiting_.remove_if([](const auto& sequence) {
    if (!sequence->stream->cancelled()) return false;
    sequence->Finish(FinishReason::kCancelled, absl::OkStatus());
    return true;
  });
  while (!waiting_.empty()) {
    // In order: a large request is not overtaken for ever.
    if (static_cast<int64_t>(running_.size()) >= options_.max_running ||
        reserved + waiting_.front()->reserved > options_.max_tokens) {
      break;
    }
    reserved += waiting_.front()->reserved;
    running_.splice(running_.end(), waiting_, waiting_.begin());
  }
  running_count_ = static_cast<int64_t>(running_.size());
}

void Engine::Reap() {
  for (const auto& sequence : running_) {
    if (!sequence->finished && sequence->stream->cancelled()) {
      sequence->Finish(FinishReason::kCancelled, absl::OkStatus());
    }
  }
  running_.remove_if([](const auto& sequence) { return sequence->finished; });
  absl::MutexLock lock(&mutex_);
  running_count_ = static_cast<int64_t>(running_.size());
}

std::vector<Engine::Sequence*> Engine::Choose() {
  std::vector<Sequence*> batch;
  for (const auto& sequence : running_) batch.push_back(sequence.get());
  const auto alone = std::find_if(batch.begin(), batch.end(),
                                  [](const Sequence* s) { return s->alone; });
  if (alone != batch.end()) batch = {*alone};
  int64_t behind = 0;
  for (const Sequence* s : batch) behind += s->size() - s->fed > 1;
  for (Sequence* s : batch) {
    const int64_t share = std::max<int64_t>(
        1, options_.prompt_chunk / std::max<int64_t>(1, behind));
    // What a policy does at the end of the prompt comes between.
    const int64_t end =
        s->fed < s->prompt_size() ? s->prompt_size() : s->size();
    s->next = std::min(share, end - s->fed);
  }
  return batch;
}

void Engine::Step(const std::vector<Sequence*>& batch) {
  at::Tensor logits;
  try {
    std::vector<Chunk> chunks;
    for (Sequence* s : batch) {
      if (s->state == nullptr) s->state = factory_();
      std::vector<int64_t> ids;
      for (int64_t i = s->fed; i < s->fed + s->next; ++i) {
        ids.push_back(s->token(i));
      }
      chunks.push_back({at::tensor(ids, at::kLong), s->state.get(), s->fed});
    }
    logits = model_->Forward(chunks).cpu().contiguous();
    for (Sequence* s : batch) {
      s->fed += s->next;
      if (s->fed == s->prompt_size()) s->state->PromptDone();
    }
  } catch (const std::exception& error) {
    // The states may have seen a part of the step. If it was one sequence's, it
    // fails; of several each starts anew by itself, which shows whose fault it
    // was and needs the least memory.
    if (batch.size() == 1) {
      batch[0]->Finish(FinishReason::kNone, StatusOf(error));
      return;
    }
    for (Sequence* s : batch) {
      s->state.reset();
      s->fed = 0;
      s->alone = true;
    }
    return;
  }
  const int64_t vocabulary = logits.size(1);
  for (size_t i = 0; i < batch.size(); ++i) {
    Sequence* s = batch[i];
    if (s->fed < s->size()) continue;
    s->alone = false;
    const absl::Status status =
        s->completion.Add({logits.const_data_ptr<float>() + i * vocabulary,
                           static_cast<size_t>(vocabulary)});
    s->stream->Put(s->completion.Take());
    if (!status.ok()) {
      s->Finish(FinishReason::kNone, status);
    } else if (s->completion.finish_reason() != FinishReason::kNone) {
      s->Finish(s->completion.finish_reason(), absl::OkStatus());
    }
  }
}

}  // namespace repro::lm
