#include "papers/infini_retri/retriever.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <exception>
#include <limits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/lm/generate.h"
#include "common/status/macros.h"
#include "papers/infini_retri/question_attention.h"
#include "papers/infini_retri/selection.h"

namespace repro::infini_retri {
namespace {

absl::Status Check(const RetrieverOptions& options, int64_t num_layers) {
  if (options.top_k >= 1 && options.phrase_width >= 1 && options.layer >= -1 &&
      options.layer < num_layers) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("infini_retri: top_k ", options.top_k, ", phrase_width ",
                   options.phrase_width, ", layer ", options.layer,
                   ": expected at least 1 and 1, and -1 to ", num_layers - 1));
}

// How many tokens of the context score more than all of a sentence's.
double RankOfSentence(const std::vector<double>& scores,
                      const std::vector<TokenSentence>& context,
                      int64_t sentence) {
  int64_t first = 0;
  for (int64_t i = 0; i < sentence; ++i) {
    first += static_cast<int64_t>(context[i].size());
  }
  double best = -std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < context[sentence].size(); ++i) {
    best = std::max(best, scores[first + i]);
  }
  return static_cast<double>(
      std::count_if(scores.begin(), scores.end(),
                    [&](double score) { return score > best; }));
}

}  // namespace

std::vector<int32_t> Retriever::Prompt(
    const std::vector<TokenSentence>& context) const {
  std::vector<int32_t> prompt = frame_.before;
  const auto append = [&](const std::vector<int32_t>& tokens) {
    prompt.insert(prompt.end(), tokens.begin(), tokens.end());
  };
  for (const TokenSentence& sentence : context) append(sentence);
  append(frame_.between);
  append(frame_.question);
  return prompt;
}

absl::StatusOr<std::vector<double>> Retriever::Scores(
    const std::vector<TokenSentence>& context) {
  const lm::ModelConfig& config = model_->config();
  REPRO_RETURN_IF_ERROR(Check(options_, config.num_layers));
  int64_t count = 0;
  for (const TokenSentence& sentence : context) {
    count += static_cast<int64_t>(sentence.size());
  }
  const int64_t rows = static_cast<int64_t>(frame_.question.size());
  if (count == 0 || rows == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "infini_retri: a context of ", count, " tokens and a question of ",
        rows, ", expected at least 1 of each"));
  }
  const std::vector<int32_t> prompt = Prompt(context);
  if (static_cast<int64_t>(prompt.size()) > config.max_positions) {
    return absl::InvalidArgumentError(absl::StrCat(
        "infini_retri: memory and chunk have ", count,
        " tokens and the prompt around them ", prompt.size() - count,
        "; the model's context is ", config.max_positions,
        ": make chunk_size or top_k smaller"));
  }
  try {
    const at::Tensor attention =
        QuestionAttention(*model_, prompt, rows, options_.layer);
    if (weights_.empty()) {
      weights_ = options_.use_question_weights ? QuestionWeights(attention)
                                               : std::vector<double>(rows, 1);
    }
    return TokenScores(attention, weights_,
                       static_cast<int64_t>(frame_.before.size()), count,
                       options_.phrase_width);
  } catch (const std::exception& error) {
    return lm::StatusOf(error);
  }
}

absl::StatusOr<std::vector<int64_t>> Retriever::Select(
    const std::vector<TokenSentence>& context) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<double> scores, Scores(context));
  std::vector<int64_t> lengths;
  for (const TokenSentence& sentence : context) {
    lengths.push_back(static_cast<int64_t>(sentence.size()));
  }
  try {
    return SentencesAt(TopPositions(scores, options_.top_k), lengths);
  } catch (const std::exception& error) {  // NaN
    return lm::StatusOf(error);
  }
}

absl::StatusOr<int64_t> BestLayer(const lm::LanguageModel& model,
                                  const std::vector<LayerProbe>& probes,
                                  RetrieverOptions options) {
  if (probes.empty()) {
    return absl::InvalidArgumentError("infini_retri: no probes");
  }
  int64_t best = 0;
  double least = std::numeric_limits<double>::infinity();
  for (int64_t layer = 0; layer < model.config().num_layers; ++layer) {
    options.layer = layer;
    double ranks = 0;
    for (const LayerProbe& probe : probes) {
      if (probe.answer < 0 ||
          probe.answer >= static_cast<int64_t>(probe.context.size())) {
        return absl::InvalidArgumentError(
            absl::StrCat("infini_retri: a probe's answer is sentence ",
                         probe.answer, " of ", probe.context.size()));
      }
      REPRO_ASSIGN_OR_RETURN(
          const std::vector<double> scores,
          Retriever(&model, probe.frame, options).Scores(probe.context));
      ranks += RankOfSentence(scores, probe.context, probe.answer);
    }
    if (ranks <= least) {
      least = ranks;
      best = layer;
    }
  }
  return best;
}

}  // namespace repro::infini_retri
