// The methods that a prompt shows: similar ones, by tokens or vectors, or
// random ones.
#ifndef REPRO_PAPERS_MULTI_INTENT_DEMONSTRATIONS_H_
#define REPRO_PAPERS_MULTI_INTENT_DEMONSTRATIONS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/retrieval/dense.h"
#include "common/retrieval/scored_document.h"
#include "papers/multi_intent/comment_samples.h"
#include "papers/multi_intent/similarity.h"

namespace repro::multi_intent {

using retrieval::ScoredDocument;

// Which samples may be shown.
struct SampleFilter {
  // Of this intent alone, as in the paper; unset: of any, as in the script.
  std::optional<Intent> intent;
  // Not this one: the query itself, where it is in the corpus.
  std::optional<int64_t> except;
};

// Ranks the samples of a corpus by the similarity of their code to a query's.
class DemonstrationIndex {
 public:
  virtual ~DemonstrationIndex() = default;

  // The at most `count` best samples that pass the filter, best first, equal
  // ones by number. Errors: those of the encoder, if there is one.
  virtual absl::StatusOr<std::vector<ScoredDocument>> Search(
      absl::string_view code, int64_t count,
      const SampleFilter& filter) const = 0;
};

// By common tokens.
class TokenIndex : public DemonstrationIndex {
 public:
  // InvalidArgument: no samples.
  static absl::StatusOr<TokenIndex> Build(
      const std::vector<CommentSample>& samples,
      const TokenSimilarity& similarity);

  absl::StatusOr<std::vector<ScoredDocument>> Search(
      absl::string_view code, int64_t count,
      const SampleFilter& filter) const override;

  // Distinct tokens of the corpus.
  int64_t vocabulary_size() const {
    return static_cast<int64_t>(postings_.size());
  }

 private:
  TokenSimilarity similarity_;
  std::vector<Intent> intents_;  // [samples]
  std::vector<double> sizes_;    // [samples], of the sets of tokens
  // The samples that hold a token, rising.
  absl::flat_hash_map<std::string, std::vector<int32_t>> postings_;
};

// By the cosine of an encoder's vectors. Among equal ones at the cut-off FAISS
// chooses.
class SemanticIndex : public DemonstrationIndex {
 public:
  // InvalidArgument: no samples, no encoder, vectors of unequal length or that
  // are not finite; else the encoder's errors.
  static absl::StatusOr<SemanticIndex> Build(
      const std::vector<CommentSample>& samples, TextEncoder encoder);

  absl::StatusOr<std::vector<ScoredDocument>> Search(
      absl::string_view code, int64_t count,
      const SampleFilter& filter) const override;

 private:
  struct Group {
    std::vector<int64_t> samples;  // rising
    retrieval::DenseIndex index;   // parallel
  };

  explicit SemanticIndex(TextEncoder encoder) : encoder_(std::move(encoder)) {}

  TextEncoder encoder_;
  std::map<Intent, Group> groups_;
};

// `count` distinct samples that pass the filter, in the order drawn; all of
// them where there are no more.
std::vector<int64_t> DrawDemonstrations(
    const std::vector<CommentSample>& samples, int64_t count,
    const SampleFilter& filter, std::mt19937_64& generator);

}  // namespace repro::multi_intent

#endif  // REPRO_PAPERS_MULTI_INTENT_DEMONSTRATIONS_H_
