// From nodes of a program to what a probe reads: pieces of token spans, tags.
#ifndef REPRO_PAPERS_PROBING_CODE_MODELS_SPANS_H_
#define REPRO_PAPERS_PROBING_CODE_MODELS_SPANS_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace repro::probing_code_models {

// Tokens begin to end, both included.
struct Span {
  int64_t begin = 0, end = 0;

  bool operator==(const Span& other) const {
    return begin == other.begin && end == other.end;
  }
};

// One or two spans; the node's vector is the sum of the pieces' vectors.
using Pieces = std::vector<Span>;

struct PairPieces {
  Pieces first, second;
};

enum class OverlapRule {
  kAsPublished,  // of the released link prediction
  // The released isInGraph: where the first span is the longer of two that
  // overlap, the second's piece is there twice, so that its vector doubles.
  kInGraphAsCoded,
};

// What the probe reads of two nodes, so that no token is read for both: of
// spans that overlap the longer one, of equally long ones the second, loses the
// common tokens, and falls into two pieces where they lie strictly inside.
// Nothing for equal spans: the pair is dropped. InvalidArgument for a span that
// begins below 0 or ends before it begins.
absl::StatusOr<std::optional<PairPieces>> ResolveOverlap(
    const Span& first, const Span& second,
    OverlapRule rule = OverlapRule::kAsPublished);

// Characters begin to end, both included, are of a syntactic type.
struct Annotation {
  int64_t begin = 0, end = 0;
  int64_t type = 0;
};

// Positions within an annotation, as offsets of the tag.
enum class TagPosition { kBegin = 1, kInside = 2, kLast = 3, kUnit = 4 };

// 0 (no type) and four for each type.
constexpr int64_t NumTags(int64_t num_types) { return 4 * num_types + 1; }
constexpr int64_t Tag(int64_t type, TagPosition position) {
  return 4 * type + static_cast<int64_t>(position);
}

// The tag of each token: token_of[c] is the token of character c, or -1. An
// annotation of one token gives U, of more B, I, ..., L; where annotations
// overlap, the later one counts. InvalidArgument: an annotation outside the
// text, a type outside [0, num_types), a token outside [-1, num_tokens), tokens
// that do not rise.
absl::StatusOr<std::vector<int64_t>> TagTokens(
    absl::Span<const Annotation> annotations,
    absl::Span<const int64_t> token_of, int64_t num_tokens, int64_t num_types);

}  // namespace repro::probing_code_models

#endif  // REPRO_PAPERS_PROBING_CODE_MODELS_SPANS_H_
