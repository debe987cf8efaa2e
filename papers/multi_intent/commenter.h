// The method in full: choose demonstrations, ask a model for comments, and keep
// the one that is nearest to the comment of the most similar method.
//
//   REPRO_ASSIGN_OR_RETURN(const auto samples, ReadCommentSamples("train"));
//   REPRO_ASSIGN_OR_RETURN(const auto index,
//                          TokenIndex::Build(samples, {}));
//   CommenterOptions options;
//   options.generation.samples = 100;
//   options.rerank = RerankByTokens();
//   REPRO_ASSIGN_OR_RETURN(
//       const Comment comment,
//       WriteComment(*client, samples, &index, code, Intent::kWhy, options));
#ifndef REPRO_PAPERS_MULTI_INTENT_COMMENTER_H_
#define REPRO_PAPERS_MULTI_INTENT_COMMENTER_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/completion/completion.h"
#include "papers/multi_intent/comment_samples.h"
#include "papers/multi_intent/demonstrations.h"
#include "papers/multi_intent/similarity.h"

namespace repro::multi_intent {

// A method as a prompt shows it.
struct Demonstration {
  std::string code;
  std::string comment;
};

enum class PromptStyle {
  kScript,  // demonstrations count from 0, nothing between them
  kFigure,  // figure 2 of the paper: from 1, a line "###" between them
};

// How a prompt ends: "# The comment is: " in the script. Tokenizers join the
// blank to the word behind it, so that a model to go on from the text does
// better without.
enum class PromptEnding { kColonAndSpace, kColon };

// The instruction, a line of three double quotes, for each demonstration
// "#Example Code{i}:", its code, "# The comment is: " and its comment; then
// "#For the test code:", `code` and the ending, which the model goes on from.
// Without demonstrations: zero-shot.
std::string BuildPrompt(Intent intent,
                        absl::Span<const Demonstration> demonstrations,
                        absl::string_view code,
                        PromptStyle style = PromptStyle::kScript,
                        PromptEnding ending = PromptEnding::kColonAndSpace);

struct GenerationOptions {
  int samples = 1;
  double temperature = 0.5;
  int64_t max_tokens = 30;
  std::optional<uint64_t> seed;
  PromptStyle style = PromptStyle::kScript;
  PromptEnding ending = PromptEnding::kColonAndSpace;
};

struct GeneratedComments {
  std::vector<std::string> samples;  // first lines, white space around removed
  int64_t demonstrations = 0;        // that the prompt kept
  int64_t prompt_tokens = 0;
};

// Asks for options.samples comments. Where the client says InvalidArgument,
// which is what it says to a prompt that is too long for the model, the last
// demonstration, the least similar one, is left out and the model asked again.
// Errors: the client's; DataLoss for an answer without a choice.
absl::StatusOr<GeneratedComments> GenerateComments(
    completion::CompletionClient& client, Intent intent,
    std::vector<Demonstration> demonstrations, absl::string_view code,
    const GenerationOptions& options);

// How near a comment is to the reference; higher is nearer.
using CommentSimilarity = std::function<absl::StatusOr<double>(
    absl::string_view comment, absl::string_view reference)>;

// By Jaccard over the tokens of CommentTokens, or as the script has it.
CommentSimilarity RerankByTokens(const TokenSimilarity& similarity = {});
// By the cosine of an encoder's vectors.
CommentSimilarity RerankBySemantics(TextEncoder encoder);

// The number of the comment that is nearest to the reference, the first of
// equal ones. `reference` is the comment of the most similar method of the
// corpus, never the query's own. InvalidArgument: no comments, or a similarity
// that is NaN; else the similarity's errors.
absl::StatusOr<int64_t> Rerank(absl::Span<const std::string> comments,
                               absl::string_view reference,
                               const CommentSimilarity& similarity);

struct CommenterOptions {
  int64_t shots = 10;
  // Keep demonstrations of the query's intent, as in the paper.
  bool same_intent = true;
  // Of the generator that draws demonstrations where there is no index.
  uint64_t selection_seed = 0;
  // Unset: the first sample is taken. The paper draws 100 samples.
  CommentSimilarity rerank;
  GenerationOptions generation;
};

struct Comment {
  std::string text;
  int64_t chosen = 0;  // of the samples
  GeneratedComments generated;
  std::vector<int64_t> demonstrations;  // numbers of samples, first shown first
};

// The comment of one intent for `code`. `index` is over `samples` and chooses
// demonstrations; null: they are drawn at random, in which case reranking needs
// `rerank_index`, which finds the most similar method (null: `index`).
// `except` is the number of the query in the corpus, if it is there.
// InvalidArgument: no samples, negative shots, reranking without an index;
// FailedPrecondition: reranking, and no sample passes the filter; else the
// errors of the index, GenerateComments and Rerank.
absl::StatusOr<Comment> WriteComment(
    completion::CompletionClient& client,
    const std::vector<CommentSample>& samples, const DemonstrationIndex* index,
    absl::string_view code, Intent intent, const CommenterOptions& options,
    std::optional<int64_t> except = std::nullopt,
    const DemonstrationIndex* rerank_index = nullptr);

}  // namespace repro::multi_intent

#endif  // REPRO_PAPERS_MULTI_INTENT_COMMENTER_H_
