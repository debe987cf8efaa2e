#ifndef REPRO_COMMON_METRICS_ROUGE_H_
#define REPRO_COMMON_METRICS_ROUGE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

// ROUGE-L (Lin 2004): recall and precision of the longest common subsequence
// (LCS) of words. Three programs that papers use disagree about words,
// sentences and repeated words: name the variant with a number. SetRougeL and
// GoogleRougeLsum hold a table of 4 |a| |b| bytes for each pair of sentences of
// |a| and |b| words.
namespace repro::metrics {

struct RougeScore {
  double precision = 0;
  double recall = 0;
  double f1 = 0;
};

// pycocoevalcap: words split at single spaces, empty ones kept; best precision
// P and best recall R over the references, each by itself; F = (1 + b^2) P R /
// (R + b^2 P) with b = 1.2. InvalidArgument: no reference.
absl::StatusOr<double> CocoRougeL(const std::vector<std::string>& references,
                                  absl::string_view hypothesis);

// The Python package rouge 1.0.1, which LongBench uses. Sentences are the
// pieces between full stops, empty ones dropped, white space collapsed. Words
// are sets: P and R divide by the numbers of *distinct* words, and their
// numerator is the size of one set that grows by the LCS of every pair of
// sentences (backtracking from the end goes up only if that LCS is strictly
// longer, else left). F = 2 P R / (P + R + 1e-8). All 0 where a text has no
// sentence (the package raises an error, which LongBench scores as 0).
RougeScore SetRougeL(absl::string_view reference, absl::string_view hypothesis);

// rouge_score 0.1.2 without stemmer: words are the runs of [a-z0-9] of the
// lower-cased text. rougeL takes the text as one sentence.
RougeScore GoogleRougeL(absl::string_view reference,
                        absl::string_view hypothesis);

// rougeLsum of the same: sentences are lines; for each of the reference's the
// union of its LCS positions with all of the hypothesis's, where a word counts
// at most as often as it occurs in both texts.
RougeScore GoogleRougeLsum(absl::string_view reference,
                           absl::string_view hypothesis);

}  // namespace repro::metrics

#endif  // REPRO_COMMON_METRICS_ROUGE_H_
