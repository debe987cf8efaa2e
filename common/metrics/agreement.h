#ifndef REPRO_COMMON_METRICS_AGREEMENT_H_
#define REPRO_COMMON_METRICS_AGREEMENT_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"

namespace repro::metrics {

enum class KappaWeights { kNone, kLinear, kQuadratic };

// Cohen's kappa of two raters of the same items: 1 - sum w_ij o_ij / sum w_ij
// e_ij, o the observed and e = (row sum) (column sum) / n the chance counts of
// the pairs of grades. Disagreement w is 1, |i - j| or (i - j)^2 with i and j
// the ranks of the grades among those that occur, as in scikit-learn.
// InvalidArgument: empty or unequally long, or both raters give one and the
// same grade to everything (0 / 0).
absl::StatusOr<double> CohenKappa(const std::vector<int64_t>& first,
                                  const std::vector<int64_t>& second,
                                  KappaWeights weights);

}  // namespace repro::metrics

#endif  // REPRO_COMMON_METRICS_AGREEMENT_H_
