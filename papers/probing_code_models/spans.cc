#include "papers/probing_code_models/spans.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace repro::probing_code_models {
namespace {

int64_t Length(const Span& span) { return span.end - span.begin + 1; }

// `whole` without the tokens of `part`, which overlaps it and is not longer.
Pieces Without(const Span& whole, const Span& part) {
  const Span common = {std::max(whole.begin, part.begin),
                       std::min(whole.end, part.end)};
  Pieces pieces;
  if (common.begin > whole.begin) {
    pieces.push_back({whole.begin, common.begin - 1});
  }
  if (common.end < whole.end) pieces.push_back({common.end + 1, whole.end});
  return pieces;
}

}  // namespace

absl::StatusOr<std::optional<PairPieces>> ResolveOverlap(const Span& first,
                                                         const Span& second,
                                                         OverlapRule rule) {
  for (const Span& span : {first, second}) {
    if (span.begin < 0 || span.end < span.begin) {
      return absl::InvalidArgumentError(
          absl::StrCat("a node's span: [", span.begin, ", ", span.end,
                       "], expected 0 <= begin <= end"));
    }
  }
  if (first == second) return std::nullopt;
  PairPieces pair = {{first}, {second}};
  if (first.end < second.begin || second.end < first.begin) return pair;
  if (Length(first) > Length(second)) {
    pair.first = Without(first, second);
    if (rule == OverlapRule::kInGraphAsCoded) pair.second.push_back(second);
  } else {
    pair.second = Without(second, first);
  }
  return pair;
}

absl::StatusOr<std::vector<int64_t>> TagTokens(
    absl::Span<const Annotation> annotations,
    absl::Span<const int64_t> token_of, int64_t num_tokens, int64_t num_types) {
  int64_t last_token = -1;
  for (const int64_t token : token_of) {
    if (token == -1) continue;
    if (token < last_token || token >= num_tokens) {
      return absl::InvalidArgumentError(
          absl::StrCat("tokens of characters: ", token, " after ", last_token,
                       " with ", num_tokens, " tokens"));
    }
    last_token = token;
  }
  const auto length = static_cast<int64_t>(token_of.size());
  std::vector<int64_t> tags(std::max<int64_t>(num_tokens, 0), 0);
  for (const Annotation& annotation : annotations) {
    if (annotation.begin < 0 || annotation.end < annotation.begin ||
        annotation.end >= length || annotation.type < 0 ||
        annotation.type >= num_types) {
      return absl::InvalidArgumentError(
          absl::StrCat("annotation: type ", annotation.type, " of ", num_types,
                       ", characters [", annotation.begin, ", ", annotation.end,
                       "] of ", length));
    }
    std::vector<int64_t> tokens;
    for (int64_t c = annotation.begin; c <= annotation.end; ++c) {
      const int64_t token = token_of[c];
      if (token >= 0 && (tokens.empty() || tokens.back() != token)) {
        tokens.push_back(token);
      }
    }
    for (size_t i = 0; i < tokens.size(); ++i) {
      const TagPosition position = tokens.size() == 1 ? TagPosition::kUnit
                                   : i == 0           ? TagPosition::kBegin
                                   : i + 1 == tokens.size()
                                       ? TagPosition::kLast
                                       : TagPosition::kInside;
      tags[tokens[i]] = Tag(annotation.type, position);
    }
  }
  return tags;
}

}  // namespace repro::probing_code_models
