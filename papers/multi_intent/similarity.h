// How alike two codes or two comments are, by their tokens or by the vectors
// that an encoder gives them.
#ifndef REPRO_PAPERS_MULTI_INTENT_SIMILARITY_H_
#define REPRO_PAPERS_MULTI_INTENT_SIMILARITY_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace repro::multi_intent {

enum class TokenRules {
  // The paper: words without Java's keywords, split at camel case, digits and
  // underscores, in lower case. Punctuation does not count.
  kPublished,
  // The script: of what remains without comments and without . , ; : ( ) { } [
  // ], the matches of [a-z]+|[A-Z][a-z]*|[0-9]+|[^\w\s]+; a capital by itself
  // after a token in lower case becomes lower case ("parseXMLFile": parse x m l
  // File). Keywords stay.
  kScript,
};

enum class SetMeasure {
  kJaccard,  // the paper: |A n B| / |A u B|, 1 for two empty sets
  kOverlap,  // the script: |A n B|
};

struct TokenSimilarity {
  TokenRules rules = TokenRules::kPublished;
  SetMeasure measure = SetMeasure::kJaccard;

  static TokenSimilarity Published() { return {}; }
  static TokenSimilarity Script() {
    return {TokenRules::kScript, SetMeasure::kOverlap};
  }
};

// The tokens of a Java method in order, repeated ones too. Java's comments (//
// to the end of the line, /* to */) are left out wherever they stand, inside of
// strings too. Any text is accepted.
std::vector<std::string> CodeTokens(absl::string_view code, TokenRules rules);

// The tokens of a comment: the same, but that keywords stay ("this", "for") by
// either rules.
std::vector<std::string> CommentTokens(absl::string_view comment,
                                       TokenRules rules);

// Of sets that share `common` elements.
double SetSimilarity(SetMeasure measure, double size_a, double size_b,
                     double common);

// Of the sets of tokens of both lists.
double TokenListSimilarity(SetMeasure measure, std::vector<std::string> a,
                           std::vector<std::string> b);

// The vector of a text; of one length for all texts, at least 1. The paper's is
// the sentence encoder st-codesearch-distilroberta-base.
using TextEncoder =
    std::function<absl::StatusOr<std::vector<float>>(absl::string_view text)>;

// a . b / (|a| |b|); 0 if either is zero. InvalidArgument: vectors of unequal
// length, or that are not finite.
absl::StatusOr<double> Cosine(absl::Span<const float> a,
                              absl::Span<const float> b);

}  // namespace repro::multi_intent

#endif  // REPRO_PAPERS_MULTI_INTENT_SIMILARITY_H_
