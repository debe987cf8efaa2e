// Exemplars by BM25.
#ifndef REPRO_PAPERS_ASAP_EXEMPLARS_H_
#define REPRO_PAPERS_ASAP_EXEMPLARS_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/retrieval/bm25.h"
#include "papers/asap/code_samples.h"

namespace repro::asap {

inline constexpr int64_t kNumExemplars = 3;
inline constexpr int64_t kNobody = -1;

// The functions that are most like a given one by rank_bm25's Okapi BM25 over
// what lies between single spaces: ends of line and indentation are part of the
// terms, and the empty term, between two spaces, counts as one. Ties go to the
// lower number; the authors' come as NumPy's unstable sort leaves them.
class ExemplarIndex {
 public:
  // InvalidArgument: no samples.
  static absl::StatusOr<ExemplarIndex> Build(
      const std::vector<CodeSample>& samples);

  // The numbers of the best min(count, size) samples, best first, without
  // `excluded`: the sample itself where it is its own corpus' query.
  std::vector<int64_t> Search(absl::string_view code, int64_t count,
                              int64_t excluded = kNobody) const;

  const retrieval::Bm25Index& bm25() const { return bm25_; }

 private:
  explicit ExemplarIndex(retrieval::Bm25Index bm25) : bm25_(std::move(bm25)) {}

  retrieval::Bm25Index bm25_;
};

// code.split(" ") of Python.
std::vector<std::string> Bm25Terms(absl::string_view code);

// BLEU of the summariser that says the best exemplar's comment, each sample
// against all others: what a model has to beat.
absl::StatusOr<double> CopiedCommentBleu(
    const std::vector<CodeSample>& samples);

}  // namespace repro::asap

#endif  // REPRO_PAPERS_ASAP_EXEMPLARS_H_
