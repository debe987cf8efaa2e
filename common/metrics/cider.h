#ifndef REPRO_COMMON_METRICS_CIDER_H_
#define REPRO_COMMON_METRICS_CIDER_H_

#include <vector>

#include "absl/status/statusor.h"
#include "common/metrics/python_text.h"

namespace repro::metrics {

struct CiderScore {
  double mean = 0;
  std::vector<double> items;
};

// CIDEr-D of pycocoevalcap (Vedantam et al. 2015). Of each item, 10 times the
// mean over n = 1..4 and over its references of
//   exp(-d^2 / (2 * 6^2)) sum_w min(g_h(w), g_r(w)) g_r(w) / (|g_h| |g_r|),
// g(w) = tf(w) (ln N - ln max(1, df(w))), with df(w) the number of items (of N)
// whose references hold the n-gram w and d the difference of the numbers of
// bigrams. So it depends on the whole corpus, and one item alone scores 0.
// InvalidArgument: no items, unequally many, an item without a reference.
absl::StatusOr<CiderScore> CiderD(
    const std::vector<std::vector<Tokens>>& references,
    const std::vector<Tokens>& hypotheses);

}  // namespace repro::metrics

#endif  // REPRO_COMMON_METRICS_CIDER_H_
