#include "papers/multi_intent/commenter.h"

#include <cmath>
#include <cstddef>
#include <random>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/metrics/python_text.h"
#include "common/status/macros.h"

namespace repro::multi_intent {

std::string BuildPrompt(Intent intent,
                        absl::Span<const Demonstration> demonstrations,
                        absl::string_view code, PromptStyle style,
                        PromptEnding ending) {
  const bool figure = style == PromptStyle::kFigure;
  std::string prompt = absl::StrCat(Instruction(intent), "\n\"\"\"");
  for (size_t i = 0; i < demonstrations.size(); ++i) {
    absl::StrAppend(&prompt, "\n#Example Code", figure ? i + 1 : i, ":\n",
                    demonstrations[i].code,
                    "\n# The comment is: ", demonstrations[i].comment);
    if (figure) absl::StrAppend(&prompt, "\n###");
  }
  absl::StrAppend(
      &prompt, "\n#For the test code:\n", code,
      "\n# The comment is:", ending == PromptEnding::kColon ? "" : " ");
  return prompt;
}

absl::StatusOr<GeneratedComments> GenerateComments(
    completion::CompletionClient& client, Intent intent,
    std::vector<Demonstration> demonstrations, absl::string_view code,
    const GenerationOptions& options) {
  completion::CompletionRequest request;
  request.temperature = options.temperature;
  request.max_tokens = options.max_tokens;
  request.stop = {"\n"};
  request.n = options.samples;
  request.seed = options.seed;
  while (true) {
    request.prompt = BuildPrompt(intent, demonstrations, code, options.style,
                                 options.ending);
    const absl::StatusOr<completion::Completion> answer =
        client.Complete(request);
    if (absl::IsInvalidArgument(answer.status()) && !demonstrations.empty()) {
      demonstrations.pop_back();
      continue;
    }
    if (!answer.ok()) return answer.status();
    if (answer->choices.empty()) {
      return absl::DataLossError(
          absl::StrCat(client.name(), ": an answer without a choice"));
    }
    GeneratedComments comments;
    comments.demonstrations = static_cast<int64_t>(demonstrations.size());
    comments.prompt_tokens = answer->prompt_tokens;
    for (const completion::Choice& choice : answer->choices) {
      const absl::string_view text = choice.text;
      comments.samples.push_back(
          metrics::Strip(text.substr(0, text.find('\n'))));
    }
    return comments;
  }
}

CommentSimilarity RerankByTokens(const TokenSimilarity& similarity) {
  return [similarity](absl::string_view comment,
                      absl::string_view reference) -> absl::StatusOr<double> {
    return TokenListSimilarity(similarity.measure,
                               CommentTokens(comment, similarity.rules),
                               CommentTokens(reference, similarity.rules));
  };
}

CommentSimilarity RerankBySemantics(TextEncoder encoder) {
  return [encoder = std::move(encoder)](
             absl::string_view comment,
             absl::string_view reference) -> absl::StatusOr<double> {
    if (!encoder) return absl::InvalidArgumentError("no encoder");
    REPRO_ASSIGN_OR_RETURN(const std::vector<float> a, encoder(comment));
    REPRO_ASSIGN_OR_RETURN(const std::vector<float> b, encoder(reference));
    return Cosine(a, b);
  };
}

absl::StatusOr<int64_t> Rerank(absl::Span<const std::string> comments,
                               absl::string_view reference,
                               const CommentSimilarity& similarity) {
  if (comments.empty()) {
    return absl::InvalidArgumentError("no comments to choose from");
  }
  int64_t best = 0;
  double best_similarity = 0;
  for (size_t i = 0; i < comments.size(); ++i) {
    REPRO_ASSIGN_OR_RETURN(const double of_comment,
                           similarity(comments[i], reference));
    if (std::isnan(of_comment)) {
      return absl::InvalidArgumentError(
          absl::StrCat("the similarity of comment ", i, " is NaN"));
    }
    if (i == 0 || of_comment > best_similarity) {
      best = static_cast<int64_t>(i);
      best_similarity = of_comment;
    }
  }
  return best;
}

absl::StatusOr<Comment> WriteComment(completion::CompletionClient& client,
                                     const std::vector<CommentSample>& samples,
                                     const DemonstrationIndex* index,
                                     absl::string_view code, Intent intent,
                                     const CommenterOptions& options,
                                     std::optional<int64_t> except,
                                     const DemonstrationIndex* rerank_index) {
  if (samples.empty()) return absl::InvalidArgumentError("no samples");
  if (options.shots < 0) {
    return absl::InvalidArgumentError(absl::StrCat(options.shots, " shots"));
  }
  if (rerank_index == nullptr) rerank_index = index;
  if (options.rerank && rerank_index == nullptr) {
    return absl::InvalidArgumentError(
        "reranking needs an index that finds the most similar method");
  }
  SampleFilter filter;
  filter.except = except;
  if (options.same_intent) filter.intent = intent;

  Comment comment;
  if (index != nullptr) {
    REPRO_ASSIGN_OR_RETURN(const std::vector<ScoredDocument> similar,
                           index->Search(code, options.shots, filter));
    for (const ScoredDocument& document : similar) {
      comment.demonstrations.push_back(document.id);
    }
  } else {
    std::mt19937_64 generator(options.selection_seed);
    comment.demonstrations =
        DrawDemonstrations(samples, options.shots, filter, generator);
  }
  std::vector<Demonstration> demonstrations;
  for (const int64_t number : comment.demonstrations) {
    demonstrations.push_back({samples[number].code, samples[number].comment});
  }
  REPRO_ASSIGN_OR_RETURN(
      comment.generated,
      GenerateComments(client, intent, std::move(demonstrations), code,
                       options.generation));
  if (options.rerank) {
    REPRO_ASSIGN_OR_RETURN(const std::vector<ScoredDocument> nearest,
                           rerank_index->Search(code, 1, filter));
    if (nearest.empty()) {
      return absl::FailedPreconditionError(
          "reranking: no sample of this intent in the corpus");
    }
    REPRO_ASSIGN_OR_RETURN(
        comment.chosen, Rerank(comment.generated.samples,
                               samples[nearest[0].id].comment, options.rerank));
  }
  comment.text = comment.generated.samples[comment.chosen];
  return comment;
}

}  // namespace repro::multi_intent
