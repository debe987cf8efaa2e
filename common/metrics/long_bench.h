#ifndef REPRO_COMMON_METRICS_LONG_BENCH_H_
#define REPRO_COMMON_METRICS_LONG_BENCH_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

// LongBench's scores (Bai et al. 2023) besides question answering (QaF1 and
// ChineseQaF1 of qa.h) and summaries (SetRougeL of rouge.h), in [0, 1]. A task
// scores the mean over items of the best reference's score.
namespace repro::metrics {

// `text` without leading line feeds, up to the next one: what is scored of
// trec, triviaqa, samsum and lsht.
std::string FirstLine(absl::string_view text);

// 1 / the number of class names that the prediction contains, if the reference
// is among them. Matches that are proper substrings of the reference are
// removed first; as in the original, the removal goes on while iterating, so
// that the match after a removed one is not examined.
double ClassificationScore(absl::string_view prediction,
                           absl::string_view reference,
                           const std::vector<std::string>& classes);

// Counting and passage retrieval: the share of the prediction's runs of digits
// that equal the reference's first one ("12", "Paragraph 12"); 0 if there are
// none.
double DigitRunScore(absl::string_view prediction, absl::string_view reference);

// Code completion: FuzzywuzzyRatio of the first line of the prediction without
// "`", "#" and "//", an empty line if there is none, and the reference.
double CodeSimilarity(absl::string_view prediction,
                      absl::string_view reference);

}  // namespace repro::metrics

#endif  // REPRO_COMMON_METRICS_LONG_BENCH_H_
