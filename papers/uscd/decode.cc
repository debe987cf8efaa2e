#include "papers/uscd/decode.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cstddef>
#include <exception>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/lm/generate.h"
#include "common/status/macros.h"
#include "common/tensor/generator.h"

namespace repro::uscd {
namespace {

std::vector<float> ToVector(const at::Tensor& row) {
  const at::Tensor values = row.to(at::kCPU).to(at::kFloat).contiguous();
  const auto* const data = values.const_data_ptr<float>();
  return {data, data + values.numel()};
}

absl::Status Check(absl::Span<const int32_t> standard,
                   absl::Span<const int32_t> lame,
                   const DecodeOptions& options) {
  if (standard.empty()) {
    return absl::InvalidArgumentError("the standard prompt has no tokens");
  }
  if (lame.empty()) {
    return absl::InvalidArgumentError("the lame prompt has no tokens");
  }
  if (options.max_tokens < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_tokens is ", options.max_tokens));
  }
  if (options.form == Form::kLazy && options.contrast == Contrast::kLogRatio) {
    return absl::InvalidArgumentError(
        "the log-ratio contrast needs the lame row at every token");
  }
  REPRO_RETURN_IF_ERROR(Validate(options.settings));
  return lm::Validate(options.sampling);
}

bool Contains(const std::vector<int32_t>& ids, int32_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

// The scores of the next token. In the lazy form the lame row is fed here what
// it has not seen, and only where p is unsure.
class Scorer {
 public:
  Scorer(TwoRowModel& model, const DecodeOptions& options, DecodeResult* result)
      : model_(model), options_(options), result_(result) {}

  absl::StatusOr<TokenScores> Next(std::vector<int32_t> standard,
                                   std::vector<int32_t> lame) {
    if (options_.form != Form::kLazy) {
      REPRO_ASSIGN_OR_RETURN(
          const auto logits,
          model_.Append({{Row::kStandard, std::move(standard)},
                         {Row::kLame, std::move(lame)}}));
      ++result_->lame_forwards;
      return options_.contrast == Contrast::kUscd
                 ? SelectiveContrast(logits[0], logits[1], options_.settings)
                 : LogRatioContrast(logits[0], logits[1],
                                    options_.log_ratio_alpha);
    }
    unseen_.insert(unseen_.end(), lame.begin(), lame.end());
    REPRO_ASSIGN_OR_RETURN(
        const auto standard_logits,
        model_.Append({{Row::kStandard, std::move(standard)}}));
    // Where p is sure the lame logits do not matter to the standard row.
    REPRO_ASSIGN_OR_RETURN(
        TokenScores scores,
        SelectiveContrast(standard_logits[0], standard_logits[0],
                          options_.settings));
    if (!scores.contrasted) return scores;
    REPRO_ASSIGN_OR_RETURN(
        const auto lame_logits,
        model_.Append({{Row::kLame, std::exchange(unseen_, {})}}));
    ++result_->lame_forwards;
    return SelectiveContrast(standard_logits[0], lame_logits[0],
                             options_.settings);
  }

 private:
  TwoRowModel& model_;
  const DecodeOptions& options_;
  DecodeResult* const result_;
  std::vector<int32_t> unseen_;  // by the lame row
};

}  // namespace

LanguageModelRows::LanguageModelRows(const lm::LanguageModel* model,
                                     const lm::StateFactory& factory)
    : model_(model), states_{factory(), factory()} {}

absl::StatusOr<std::vector<std::vector<float>>> LanguageModelRows::Append(
    const std::vector<NewTokens>& rows) {
  const int64_t vocab_size = model_->config().vocab_size;
  const int64_t max_positions = model_->config().max_positions;
  std::vector<lm::Chunk> chunks;
  for (const NewTokens& row : rows) {
    const auto r = static_cast<size_t>(row.row);
    if (row.tokens.empty()) {
      return absl::InvalidArgumentError(absl::StrCat("no tokens for row ", r));
    }
    for (const int32_t id : row.tokens) {
      if (id < 0 || id >= vocab_size) {
        return absl::InvalidArgumentError(
            absl::StrCat("token ", id, " of ", vocab_size));
      }
    }
    const auto length = static_cast<int64_t>(row.tokens.size());
    if (lengths_[r] + length > max_positions) {
      return absl::OutOfRangeError(absl::StrCat(
          lengths_[r] + length, " tokens in a context of ", max_positions));
    }
    const std::vector<int64_t> ids(row.tokens.begin(), row.tokens.end());
    chunks.push_back(
        {at::tensor(ids, at::kLong), states_[r].get(), lengths_[r]});
  }
  const at::NoGradGuard no_grad;
  std::vector<std::vector<float>> logits;
  try {
    const at::Tensor next = model_->Forward(chunks);
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto r = static_cast<size_t>(rows[i].row);
      lengths_[r] += static_cast<int64_t>(rows[i].tokens.size());
      if (!std::exchange(prompt_done_[r], true)) states_[r]->PromptDone();
      logits.push_back(ToVector(next[static_cast<int64_t>(i)]));
    }
  } catch (const std::exception& error) {
    return lm::StatusOf(error);
  }
  return logits;
}

DecodeOptions::DecodeOptions() {
  sampling.temperature = 0.8;
  sampling.top_p = 0.95;
}

std::vector<int32_t> DecodeResult::Ids() const {
  std::vector<int32_t> ids;
  for (const DecodedToken& token : tokens) ids.push_back(token.id);
  if (ended) ids.pop_back();
  return ids;
}

absl::StatusOr<DecodeResult> Decode(TwoRowModel& model,
                                    absl::Span<const int32_t> standard,
                                    absl::Span<const int32_t> lame,
                                    const DecodeOptions& options,
                                    const TokenCallback& on_token) {
  REPRO_RETURN_IF_ERROR(Check(standard, lame, options));
  const bool released = options.form == Form::kReleased;
  lm::SamplingOptions lame_sampling = options.sampling;
  lame_sampling.seed = MixSeed(options.sampling.seed, 1);
  lm::Sampler sampler(options.sampling), lame_sampler(lame_sampling);
  sampler.See(standard);
  lame_sampler.See(lame);
  DecodeResult result;
  Scorer scorer(model, options, &result);
  std::vector<int32_t> next(standard.begin(), standard.end());
  std::vector<int32_t> lame_next(lame.begin(), lame.end());
  if (released) lame_next.resize(standard.size(), options.pad_id);
  bool lame_ended = false;
  for (int64_t t = 0; t < options.max_tokens; ++t) {
    REPRO_ASSIGN_OR_RETURN(const TokenScores scores,
                           scorer.Next(std::move(next), std::move(lame_next)));
    REPRO_ASSIGN_OR_RETURN(const lm::SampledToken sampled,
                           sampler.Sample(scores.standard));
    const int32_t id = sampled.chosen.id;
    result.tokens.push_back({id, scores.deviation, scores.contrasted});
    if (Contains(options.end_ids, id)) {
      result.ended = true;
      break;
    }
    if (on_token && !on_token(result)) {
      result.cancelled = true;
      break;
    }
    next = {id};
    lame_next = {id};
    if (released) {
      REPRO_ASSIGN_OR_RETURN(const lm::SampledToken lame_sampled,
                             lame_sampler.Sample(scores.lame));
      // A row that has ended goes on with padding.
      lame_next = {lame_ended ? options.pad_id : lame_sampled.chosen.id};
      lame_ended = lame_ended || Contains(options.end_ids, lame_next[0]);
    }
  }
  return result;
}

absl::StatusOr<std::string> Complete(const lm::LanguageModel& model,
                                     const Tokenizer& tokenizer,
                                     const lm::StateFactory& factory,
                                     const PromptPair& prompts,
                                     const std::vector<std::string>& stop_words,
                                     DecodeOptions options) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<int32_t> standard,
                         lm::EncodePrompt(tokenizer, prompts.standard));
  REPRO_ASSIGN_OR_RETURN(const std::vector<int32_t> lame,
                         lm::EncodePrompt(tokenizer, prompts.lame));
  options.end_ids.clear();
  if (tokenizer.eos().has_value()) options.end_ids.push_back(*tokenizer.eos());
  for (const int64_t id : model.config().eos_ids) {
    options.end_ids.push_back(static_cast<int32_t>(id));
  }
  if (!options.end_ids.empty()) options.pad_id = options.end_ids.front();
  // The first stop word of the text, which may begin in a token and end in a
  // later one.
  absl::Status failed;
  const auto goes_on = [&](const DecodeResult& so_far) {
    if (options.form == Form::kReleased) return true;
    const auto text = tokenizer.Decode(so_far.Ids());
    if (!text.ok()) failed = text.status();
    return text.ok() && CutAtStopWord(*text, stop_words).size() == text->size();
  };
  LanguageModelRows rows(&model, factory);
  REPRO_ASSIGN_OR_RETURN(const DecodeResult result,
                         Decode(rows, standard, lame, options, goes_on));
  REPRO_RETURN_IF_ERROR(failed);
  REPRO_ASSIGN_OR_RETURN(const std::string text,
                         tokenizer.Decode(result.Ids()));
  return CutAtStopWord(text, stop_words);
}

}  // namespace repro::uscd
