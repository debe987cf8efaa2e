// Text under uncertainty-aware selective contrastive decoding: two rows through
// one model, one token at a time.
//
//   auto loaded = lm::LoadTextModel("model.gguf", {});  // common/lm
//   absl::StatusOr<std::string> program = Complete(
//       *loaded->model, *loaded->tokenizer, factory, {standard, lame},
//       HumanEvalStopWords(), options);
#ifndef REPRO_PAPERS_USCD_DECODE_H_
#define REPRO_PAPERS_USCD_DECODE_H_

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/lm/attention_state.h"
#include "common/lm/model.h"
#include "common/lm/policy.h"
#include "common/lm/sampler.h"
#include "common/tokenizer/tokenizer.h"
#include "papers/uscd/prompts.h"
#include "papers/uscd/selective_contrast.h"

namespace repro::uscd {

enum class Row { kStandard = 0, kLame = 1 };

// A language model with two sequences, empty at first.
class TwoRowModel {
 public:
  struct NewTokens {
    Row row = Row::kStandard;
    std::vector<int32_t> tokens;  // at least one
  };

  virtual ~TwoRowModel() = default;

  // Appends tokens to one row or to both; the logits [vocab_size] after the
  // last token of each, in the order given.
  virtual absl::StatusOr<std::vector<std::vector<float>>> Append(
      const std::vector<NewTokens>& rows) = 0;
};

// A model of common/lm, each row with a state of the factory.
class LanguageModelRows : public TwoRowModel {
 public:
  // `model` outlives this.
  LanguageModelRows(const lm::LanguageModel* model,
                    const lm::StateFactory& factory);

  // InvalidArgument: no tokens, or one that the model lacks. OutOfRange: the
  // context is full. Errors of lm::StatusOf.
  absl::StatusOr<std::vector<std::vector<float>>> Append(
      const std::vector<NewTokens>& rows) override;

 private:
  const lm::LanguageModel* const model_;
  std::array<std::unique_ptr<lm::AttentionState>, 2> states_;
  std::array<int64_t, 2> lengths_ = {0, 0};
  std::array<bool, 2> prompt_done_ = {false, false};
};

// How the two rows go on.
enum class Form {
  // The standard row's token is appended to both rows.
  kClean,
  // The same tokens as kClean. The lame row runs only where mu <= theta, on all
  // tokens that it has not seen.
  kLazy,
  // As the authors' program: each row draws its own token, so that the rows
  // drift apart, and the lame prompt is cut or padded on the right to the
  // standard prompt's length, with pad_id and without a mask.
  kReleased,
};

enum class Contrast {
  kUscd,
  kLogRatio,  // LogRatioContrast at every token, for comparison
};

struct DecodeOptions {
  UscdSettings settings;
  Contrast contrast = Contrast::kUscd;
  double log_ratio_alpha = 0.1;
  Form form = Form::kClean;
  lm::SamplingOptions sampling;
  int64_t max_tokens = 256;
  std::vector<int32_t> end_ids;  // the standard row ends before one of these
  int32_t pad_id = 0;            // kReleased

  // Temperature 0.8, top-p 0.95, as the authors sample.
  DecodeOptions();
};

struct DecodedToken {
  int32_t id = 0;
  double deviation = 0;
  bool contrasted = false;
};

struct DecodeResult {
  // With the end token that ended it, if one did.
  std::vector<DecodedToken> tokens;
  bool ended = false;
  bool cancelled = false;     // by on_token
  int64_t lame_forwards = 0;  // calls that ran the lame row

  std::vector<int32_t> Ids() const;  // without the end token
};

// Called after each token but an end token; false: stop.
using TokenCallback = std::function<bool(const DecodeResult& so_far)>;

// Decodes from two prompts of at least one token each; the model's rows are
// empty. `on_token` may be null. InvalidArgument: an empty prompt, max_tokens
// below 1, options that Validate refuses, or kLazy with kLogRatio, which
// contrasts always; and errors of the model.
absl::StatusOr<DecodeResult> Decode(TwoRowModel& model,
                                    absl::Span<const int32_t> standard,
                                    absl::Span<const int32_t> lame,
                                    const DecodeOptions& options,
                                    const TokenCallback& on_token = nullptr);

// What the model writes behind the standard prompt, up to the first of the stop
// words. end_ids are the tokenizer's and the model's in place of the options';
// kReleased pads with the first of them and does not stop at stop words, but
// goes on to max_tokens and cuts afterwards.
absl::StatusOr<std::string> Complete(const lm::LanguageModel& model,
                                     const Tokenizer& tokenizer,
                                     const lm::StateFactory& factory,
                                     const PromptPair& prompts,
                                     const std::vector<std::string>& stop_words,
                                     DecodeOptions options);

}  // namespace repro::uscd

#endif  // REPRO_PAPERS_USCD_DECODE_H_
