// What becomes of the probability of acceptance as a reward for choosing a
// suggestion: every beginning of a right solution is scored as if it were one.
#ifndef REPRO_PAPERS_CDHF_PREFIX_REWARD_H_
#define REPRO_PAPERS_CDHF_PREFIX_REWARD_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "papers/cdhf/user_study.h"

namespace repro::cdhf {

// ---- Scores along a solution -----------------------------------------------

// scores[i] is that of the first i + 1 tokens, the last that of the whole.

// Mean score within each 5% of the length over the highest score, from 0% to
// 90%: as coded, the last 5% is left out and neighbours share a token.
// InvalidArgument: no scores, one that is not finite or is negative, or none
// above 0.
absl::StatusOr<std::vector<double>> NormalisedCurve(
    const std::vector<double>& scores);

// Where the first of the highest scores stands, from 0 (one token) to 1 (the
// whole). InvalidArgument: fewer than two scores, NaN.
absl::StatusOr<double> PeakPosition(const std::vector<double>& scores);

// The Kolmogorov-Smirnov statistic against the uniform distribution on [0, 1].
// InvalidArgument: no values, or one outside [0, 1].
absl::StatusOr<double> UniformKolmogorov(std::vector<double> values);

// ---- A model of acceptance from text alone ---------------------------------

// 46 columns: characters and words of both texts, then both texts' flags. What
// stands in for the embeddings of CodeBERTa that the paper's model reads.
inline constexpr int64_t kTextColumns = 4 + 2 * kFlags;
std::vector<float> TextColumns(const Example& example);
// The texts as they are: they are brought into the form of the release (JSON
// strings) first.
std::vector<float> TextColumns(absl::string_view suggestion,
                               absl::string_view prompt);

// Cuts behind every maximal run of word characters, every run of white space
// and every other character: all beginnings, the shortest first.
std::vector<std::string> Prefixes(absl::string_view text);

// ---- HumanEval -------------------------------------------------------------

struct Problem {
  std::string prompt;
  std::string solution;
};

// JSON Lines, plain or gzip, with prompt and canonical_solution. Errors: those
// of ReadJsonl; InvalidArgument "path:line: ..." for a field that is missing,
// empty or not a text; "path: no problems".
absl::StatusOr<std::vector<Problem>> ReadProblems(const std::string& path);

}  // namespace repro::cdhf

#endif  // REPRO_PAPERS_CDHF_PREFIX_REWARD_H_
