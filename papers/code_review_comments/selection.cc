#include "papers/code_review_comments/selection.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/status/macros.h"

namespace repro::code_review_comments {
namespace {

absl::Status Check(absl::Span<const double> scores) {
  for (size_t i = 0; i < scores.size(); ++i) {
    if (std::isnan(scores[i])) {
      return absl::InvalidArgumentError(absl::StrCat("score ", i, " is NaN"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Selection> Select(absl::Span<const double> scores) {
  REPRO_RETURN_IF_ERROR(Check(scores));
  if (scores.empty()) return absl::InvalidArgumentError("no scores");
  Selection selection;
  selection.first = scores[0];
  selection.best = *std::max_element(scores.begin(), scores.end());
  for (const double score : scores) {
    selection.mean += score / static_cast<double>(scores.size());
  }
  return selection;
}

absl::StatusOr<double> ExpectedBestOf(absl::Span<const double> scores,
                                      int64_t n) {
  REPRO_RETURN_IF_ERROR(Check(scores));
  const auto m = static_cast<int64_t>(scores.size());
  if (n < 1 || n > m) {
    return absl::InvalidArgumentError(
        absl::StrCat("best of ", n, " of ", m, " scores"));
  }
  std::vector<double> sorted(scores.begin(), scores.end());
  std::sort(sorted.begin(), sorted.end());
  // From the best one down: it is drawn with probability n / m; the next best
  // is the best of a draw with what remains, times its own share.
  double expected = 0;
  double probability = static_cast<double>(n) / static_cast<double>(m);
  for (int64_t i = m; i >= n; --i) {
    expected += probability * sorted[i - 1];
    // C(i - 2, n - 1) / C(i - 1, n - 1) = (i - n) / (i - 1).
    if (i > 1) {
      probability *= static_cast<double>(i - n) / static_cast<double>(i - 1);
    }
  }
  return expected;
}

}  // namespace repro::code_review_comments
