#include "common/lm/generate.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <memory>
#include <new>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/status/macros.h"

namespace repro::lm {
namespace {

at::Tensor Ids(absl::Span<const int32_t> tokens) {
  return at::tensor(std::vector<int64_t>(tokens.begin(), tokens.end()),
                    at::kLong);
}

}  // namespace

absl::StatusOr<std::vector<int32_t>> EncodePrompt(const Tokenizer& tokenizer,
                                                  absl::string_view text) {
  return tokenizer.Encode(text);
}

absl::StatusOr<std::vector<int32_t>> EncodeChat(
    const Tokenizer& tokenizer, const std::vector<ChatMessage>& messages) {
  REPRO_ASSIGN_OR_RETURN(const ChatTemplate chat,
                         ChatTemplate::Create(tokenizer));
  REPRO_ASSIGN_OR_RETURN(const std::string text, chat.Render(messages, true));
  return tokenizer.Encode(text, {/*add_special_tokens=*/false,
                                 /*parse_special=*/true});
}

absl::Status Validate(const GenerationRequest& request,
                      const ModelConfig& config) {
  const int64_t length = static_cast<int64_t>(request.prompt.size());
  if (length == 0) {
    return absl::InvalidArgumentError("the prompt is empty");
  }
  if (length >= config.max_positions) {
    return absl::InvalidArgumentError(
        absl::StrCat("the prompt has ", length,
                     " tokens; the model's context is ", config.max_positions,
                     " tokens, of which one must be left: shorten it"));
  }
  for (const int32_t id : request.prompt) {
    if (id < 0 || id >= config.vocab_size) {
      return absl::InvalidArgumentError(
          absl::StrCat("the prompt has token ", id,
                       ", and the model's vocabulary ", config.vocab_size));
    }
  }
  if (request.max_tokens < 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "max_tokens is ", request.max_tokens, ", expected at least 1"));
  }
  for (const std::string& stop : request.stop) {
    if (stop.empty()) {
      return absl::InvalidArgumentError("a stop string is empty");
    }
  }
  return Validate(request.sampling);
}

const char* Name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kNone:
      return "none";
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
  }
  return "";
}

std::string StopMatcher::Next(absl::string_view text) {
  if (stopped_) return "";
  absl::StrAppend(&held_, text);
  size_t first = std::string::npos;
  for (const std::string& stop : stop_) {
    first = std::min(first, held_.find(stop));
  }
  if (first != std::string::npos) {
    stopped_ = true;
    std::string out = held_.substr(0, first);
    held_.clear();
    return out;
  }
  // The longest end that begins a stop string.
  size_t keep = 0;
  for (const std::string& stop : stop_) {
    for (size_t n = std::min(stop.size() - 1, held_.size()); n > keep; --n) {
      if (absl::EndsWith(held_, absl::string_view(stop).substr(0, n))) keep = n;
    }
  }
  std::string out = held_.substr(0, held_.size() - keep);
  held_.erase(0, held_.size() - keep);
  return out;
}

std::string StopMatcher::Finish() { return std::exchange(held_, ""); }

Completion::Completion(const GenerationRequest& request,
                       const Tokenizer* tokenizer, const ModelConfig& config)
    : tokenizer_(tokenizer),
      sampler_(request.sampling),
      decoder_(tokenizer),
      matcher_(request.stop),
      end_ids_(config.eos_ids.begin(), config.eos_ids.end()),
      max_tokens_(std::min<int64_t>(
          request.max_tokens,
          config.max_positions - static_cast<int64_t>(request.prompt.size()))) {
  if (tokenizer->eos().has_value()) end_ids_.push_back(*tokenizer->eos());
  sampler_.See(request.prompt);
}

absl::Status Completion::Add(absl::Span<const float> logits) {
  // A padded vocabulary has ids that are no tokens.
  REPRO_ASSIGN_OR_RETURN(SampledToken token, sampler_.Sample(logits.subspan(
                                                 0, tokenizer_->vocab_size())));
  const int32_t id = token.chosen.id;
  if (std::find(end_ids_.begin(), end_ids_.end(), id) != end_ids_.end()) {
    finish_reason_ = FinishReason::kStop;
  } else {
    REPRO_ASSIGN_OR_RETURN(const std::string text, decoder_.Next(id));
    tokens_.push_back(id);
    piece_.tokens.push_back(std::move(token));
    absl::StrAppend(&piece_.text, matcher_.Next(text));
    if (matcher_.stopped()) {
      finish_reason_ = FinishReason::kStop;
    } else if (static_cast<int64_t>(tokens_.size()) >= max_tokens_) {
      finish_reason_ = FinishReason::kLength;
    }
  }
  if (finish_reason_ != FinishReason::kNone) {
    absl::StrAppend(&piece_.text, matcher_.Next(decoder_.Finish()));
    absl::StrAppend(&piece_.text, matcher_.Finish());
  }
  return absl::OkStatus();
}

TextPiece Completion::Take() { return std::exchange(piece_, {}); }

absl::Status StatusOf(const std::exception& error) {
  const auto* torch = dynamic_cast<const c10::Error*>(&error);
  const std::string what =
      torch != nullptr ? torch->what_without_backtrace() : error.what();
  // The CPU's allocator throws a plain c10::Error.
  if (dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr ||
      dynamic_cast<const std::bad_alloc*>(&error) != nullptr ||
      absl::StrContains(what, "not enough memory")) {
    return absl::ResourceExhaustedError(
        absl::StrCat("out of memory: use a shorter prompt, fewer tokens or a "
                     "policy that keeps less (",
                     what.substr(0, what.find('\n')), ")"));
  }
  return absl::InternalError(absl::StrCat("language model: ", what));
}

absl::StatusOr<GenerationResult> Generate(const LanguageModel& model,
                                          const Tokenizer& tokenizer,
                                          const StateFactory& factory,
                                          const GenerationRequest& request,
                                          const PieceCallback& on_piece,
                                          int64_t prompt_chunk) {
  REPRO_RETURN_IF_ERROR(Validate(request, model.config()));
  if (prompt_chunk < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("prompt_chunk is ", prompt_chunk));
  }
  const at::NoGradGuard no_grad;
  GenerationResult result;
  const int64_t length = static_cast<int64_t>(request.prompt.size());
  result.prompt_tokens = length;
  absl::Time start = absl::Now();
  const auto lap = [&start] {
    const absl::Time now = absl::Now();
    return absl::ToDoubleSeconds(now - std::exchange(start, now));
  };
  const auto cancelled = [&](const TextPiece& piece) {
    if (on_piece == nullptr || on_piece(piece)) return false;
    result.finish_reason = FinishReason::kCancelled;
    return true;
  };
  try {
    Completion completion(request, &tokenizer, model.config());
    const std::unique_ptr<AttentionState> state = factory();
    at::Tensor logits;
    for (int64_t first = 0; first < length; first += prompt_chunk) {
      if (cancelled({})) return result;
      const int64_t size = std::min(prompt_chunk, length - first);
      logits = model.Forward(
          {{Ids(absl::MakeSpan(request.prompt).subspan(first, size)),
            state.get(), first}});
    }
    state->PromptDone();
    logits = logits.cpu().contiguous();
    result.prompt_seconds = lap();
    while (true) {
      REPRO_RETURN_IF_ERROR(
          completion.Add({logits.const_data_ptr<float>(),
                          static_cast<size_t>(logits.numel())}));
      result.finish_reason = completion.finish_reason();
      TextPiece piece = completion.Take();
      absl::StrAppend(&result.text, piece.text);
      result.tokens.insert(result.tokens.end(), piece.tokens.begin(),
                           piece.tokens.end());
      if (result.finish_reason != FinishReason::kNone) {
        if (on_piece != nullptr) on_piece(piece);
        break;
      }
      if (cancelled(piece)) break;
      const int64_t made = static_cast<int64_t>(completion.tokens().size());
      logits = model
                   .Forward({{Ids({completion.tokens().back()}), state.get(),
                              length + made - 1}})
                   .cpu()
                   .contiguous();
    }
    result.decode_seconds = lap();
  } catch (const std::exception& error) {
    return StatusOf(error);
  }
  return result;
}

}  // namespace repro::lm
