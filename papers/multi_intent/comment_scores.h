// The metrics of comments, in percent: as they are meant, and as the authors'
// script computes them.
#ifndef REPRO_PAPERS_MULTI_INTENT_COMMENT_SCORES_H_
#define REPRO_PAPERS_MULTI_INTENT_COMMENT_SCORES_H_

#include "absl/strings/string_view.h"

namespace repro::multi_intent {

struct CommentScores {
  double bleu = 0;
  double rouge_l = 0;
};

// BLEU: NLTK's sentence BLEU-4 with smoothing method 4 over tokens between
// white space. ROUGE-L: pycocoevalcap's, beta 1.2, tokens between single
// spaces. METEOR needs WordNet and is not here.
CommentScores ScoreComment(absl::string_view reference,
                           absl::string_view comment);

// The same functions as the script calls them, with texts in place of lists.
// BLEU: the tokens are characters. ROUGE-L: the comment is its first character
// and each character of the reference is a reference of its own, so that it is
// 100 if the one is among the others, else 0. An empty comment, for which the
// script ends in an error, scores 0.
CommentScores ScoreCommentAsScript(absl::string_view reference,
                                   absl::string_view comment);

}  // namespace repro::multi_intent

#endif  // REPRO_PAPERS_MULTI_INTENT_COMMENT_SCORES_H_
