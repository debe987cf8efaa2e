// Text from a language model: prompts to tokens, tokens to text with stop
// strings, and the loop between.
#ifndef REPRO_COMMON_LM_GENERATE_H_
#define REPRO_COMMON_LM_GENERATE_H_

#include <cstdint>
#include <exception>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/lm/model.h"
#include "common/lm/policy.h"
#include "common/lm/sampler.h"
#include "common/tokenizer/chat_template.h"
#include "common/tokenizer/tokenizer.h"

namespace repro::lm {

// A text as it is, or a conversation by the model's chat template. Errors: not
// UTF-8; no chat template (NotFound).
absl::StatusOr<std::vector<int32_t>> EncodePrompt(const Tokenizer& tokenizer,
                                                  absl::string_view text);
absl::StatusOr<std::vector<int32_t>> EncodeChat(
    const Tokenizer& tokenizer, const std::vector<ChatMessage>& messages);

struct GenerationRequest {
  std::vector<int32_t> prompt;
  int64_t max_tokens = 256;       // fewer where the model's context ends
  std::vector<std::string> stop;  // the text ends before the first of them
  SamplingOptions sampling;
};

// InvalidArgument for an empty prompt, one that leaves no room in the context
// (max_positions), a token that the model lacks, no tokens wanted, an empty
// stop string, and wrong options of sampling.
absl::Status Validate(const GenerationRequest& request,
                      const ModelConfig& config);

enum class FinishReason {
  kNone,       // not yet
  kStop,       // the model's end of text, or a stop string
  kLength,     // max_tokens or the context
  kCancelled,  // by the caller
};
const char* Name(FinishReason reason);  // "stop", "length", "cancelled"

// The text that has become certain, and the tokens since the last piece. Whole
// characters; what may be the beginning of a stop string is held back.
struct TextPiece {
  std::string text;
  std::vector<SampledToken> tokens;
};

// Holds back what may become a stop string.
class StopMatcher {
 public:
  explicit StopMatcher(std::vector<std::string> stop)
      : stop_(std::move(stop)) {}

  // Text that is certain now. After a match (stopped) there is none.
  std::string Next(absl::string_view text);
  // What was held back.
  std::string Finish();
  bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stop_;
  std::string held_;
  bool stopped_ = false;
};

// The tokens of one sequence as they are drawn: what Generate and Engine share.
class Completion {
 public:
  // `request` must be valid; the tokenizer must outlive this.
  Completion(const GenerationRequest& request, const Tokenizer* tokenizer,
             const ModelConfig& config);

  // Draws the next token from its logits [vocab_size]. A finished one must not
  // be asked. An end-of-text token finishes it and is not among the tokens.
  absl::Status Add(absl::Span<const float> logits);

  // The text since the last call.
  TextPiece Take();

  const std::vector<int32_t>& tokens() const { return tokens_; }
  FinishReason finish_reason() const { return finish_reason_; }

 private:
  const Tokenizer* tokenizer_;
  Sampler sampler_;
  StreamDecoder decoder_;
  StopMatcher matcher_;
  std::vector<int32_t> end_ids_;
  int64_t max_tokens_;
  std::vector<int32_t> tokens_;
  TextPiece piece_;
  FinishReason finish_reason_ = FinishReason::kNone;
};

// An exception of the model's as a status: ResourceExhausted for lack of
// memory, else Internal.
absl::Status StatusOf(const std::exception& error);

struct GenerationResult {
  std::string text;
  std::vector<SampledToken> tokens;
  FinishReason finish_reason = FinishReason::kNone;
  int64_t prompt_tokens = 0;
  double prompt_seconds = 0;  // until the first logits
  double decode_seconds = 0;  // all that follows
};

// Called with the piece of each token, before each chunk of the prompt with an
// empty one, and once at the end; false: stop (kCancelled).
using PieceCallback = std::function<bool(const TextPiece&)>;

// One sequence with a state of the factory. The prompt is fed `prompt_chunk`
// tokens at a time. Errors: Validate's, StatusOf's. `on_piece` may be null.
absl::StatusOr<GenerationResult> Generate(const LanguageModel& model,
                                          const Tokenizer& tokenizer,
                                          const StateFactory& factory,
                                          const GenerationRequest& request,
                                          const PieceCallback& on_piece,
                                          int64_t prompt_chunk = 512);

}  // namespace repro::lm

#endif  // REPRO_COMMON_LM_GENERATE_H_
