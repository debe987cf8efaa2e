#ifndef REPRO_COMMON_METRICS_CHRF_H_
#define REPRO_COMMON_METRICS_CHRF_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace repro::metrics {

struct ChrfOptions {
  int char_order = 6;
  int word_order = 0;  // 2 is chrF++
  double beta = 2;     // recall counts beta times as much as precision
};

// chrF of a corpus as sacrebleu 2 defines it (Popovic 2015), in [0, 1]: the
// F_beta of the mean precision and the mean recall over the orders of which
// hypothesis and reference both hold n-grams. Characters are code points
// without white space; words have one leading or trailing punctuation mark
// split off. Counts are summed over the segments, each with its best reference.
// InvalidArgument: no segments, unequally many, a segment without a reference,
// char_order < 1, word_order < 0, beta <= 0.
absl::StatusOr<double> CorpusChrf(
    const std::vector<std::vector<std::string>>& references,
    const std::vector<std::string>& hypotheses,
    const ChrfOptions& options = {});

}  // namespace repro::metrics

#endif  // REPRO_COMMON_METRICS_CHRF_H_
