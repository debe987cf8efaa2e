// BLEU-4 of review comments as CodeReviewer's evaluator has it
// (smooth_bleu.bleu_fromstr), which the paper uses without its removal of stop
// words: NLTK's wordpunct tokens, perhaps without stop words, then CodeXGLUE's
// smoothed sentence BLEU (common/metrics), averaged, in percent.
#ifndef REPRO_PAPERS_CODE_REVIEW_COMMENTS_REVIEW_BLEU_H_
#define REPRO_PAPERS_CODE_REVIEW_COMMENTS_REVIEW_BLEU_H_

#include <string>
#include <unordered_set>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/metrics/python_text.h"

namespace repro::code_review_comments {

using StopWords = std::unordered_set<std::string>;

// One word a line, white space around it dropped. Errors: those of ReadFile;
// InvalidArgument for a file without a word.
absl::StatusOr<StopWords> ReadStopWords(const std::string& path);

// The tokens that are compared: maximal runs of word characters and of other
// characters; those that equal a stop word go, with their case as written; the
// rest in lower case, every sign by itself. Null keeps all.
metrics::Tokens ReviewTokens(absl::string_view comment,
                             const StopWords* stop_words);

// Of one comment against the human one, in [0, 100]. As coded, an empty comment
// scores 100 exp(-r) against r tokens, so that two empty ones score 100.
double ReviewBleu(absl::string_view gold, absl::string_view comment,
                  const StopWords* stop_words);

}  // namespace repro::code_review_comments

#endif  // REPRO_PAPERS_CODE_REVIEW_COMMENTS_REVIEW_BLEU_H_
