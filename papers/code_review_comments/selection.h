// What is reported of several samples of one item. The paper draws five
// comments, keeps the one that is nearest to the human comment by BLEU, and
// compares its score with a model that writes one.
#ifndef REPRO_PAPERS_CODE_REVIEW_COMMENTS_SELECTION_H_
#define REPRO_PAPERS_CODE_REVIEW_COMMENTS_SELECTION_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace repro::code_review_comments {

struct Selection {
  double first = 0;  // what a user would see
  double mean = 0;
  double best = 0;  // chosen with the answer in sight: the paper's
};

// InvalidArgument: no scores, or NaN.
absl::StatusOr<Selection> Select(absl::Span<const double> scores);

// The expected best of n of the m scores, drawn without replacement: with
// s_(1) <= ... <= s_(m), sum_i C(i - 1, n - 1) / C(m, n) s_(i). The mean for
// n = 1, the best for n = m, never falling in n. InvalidArgument: unless
// 1 <= n <= m, or NaN.
absl::StatusOr<double> ExpectedBestOf(absl::Span<const double> scores,
                                      int64_t n);

}  // namespace repro::code_review_comments

#endif  // REPRO_PAPERS_CODE_REVIEW_COMMENTS_SELECTION_H_
