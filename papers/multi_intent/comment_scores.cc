#include "papers/multi_intent/comment_scores.h"

#include <algorithm>
#include <string>

#include "common/metrics/bleu.h"
#include "common/metrics/python_text.h"
#include "common/metrics/rouge.h"
#include "common/text/utf8.h"

namespace repro::multi_intent {
namespace {

// One token a character.
metrics::Tokens Characters(absl::string_view text) {
  metrics::Tokens characters;
  for (const int32_t c : metrics::CodePoints(text)) {
    AppendUtf8(c, &characters.emplace_back());
  }
  return characters;
}

double Bleu(const metrics::Tokens& reference, const metrics::Tokens& comment) {
  // There is one reference, so that the metric has no error to give.
  return 100 * metrics::NltkSentenceBleu({reference}, comment,
                                         metrics::NltkSmoothing::kMethod4)
                   .value_or(0);
}

}  // namespace

CommentScores ScoreComment(absl::string_view reference,
                           absl::string_view comment) {
  return {
      Bleu(metrics::SplitWhitespace(reference),
           metrics::SplitWhitespace(comment)),
      100 * metrics::CocoRougeL({std::string(reference)}, comment).value_or(0)};
}

CommentScores ScoreCommentAsScript(absl::string_view reference,
                                   absl::string_view comment) {
  const metrics::Tokens references = Characters(reference);
  const metrics::Tokens candidate = Characters(comment);
  CommentScores scores;
  scores.bleu = Bleu(references, candidate);
  if (!references.empty() && !candidate.empty()) {
    scores.rouge_l =
        100 * metrics::CocoRougeL(references, candidate[0]).value_or(0);
  }
  return scores;
}

}  // namespace repro::multi_intent
