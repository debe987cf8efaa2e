// pass@k of a pool of candidates, ranked and not, and what a ranker can reach.
#ifndef REPRO_PAPERS_RANK_EF_RANKING_H_
#define REPRO_PAPERS_RANK_EF_RANKING_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "papers/rank_ef/feedback.h"

namespace repro::rank_ef {

// One score a distinct candidate, in the pool's order: [problem][candidate].
using Scores = std::vector<std::vector<double>>;

// The unbiased estimate over all samples, duplicates counted, as a fraction.
// InvalidArgument: k below 1 or above a problem's number of samples.
absl::StatusOr<double> UnrankedPassAtK(const CandidatePool& pool, int64_t k);

// The same over distinct candidates: what a ranking that knows nothing is
// expected to reach. k is cut to a problem's number of candidates.
absl::StatusOr<double> RandomRankingPassAtK(const CandidatePool& pool,
                                            int64_t k);

// The fraction of problems for which one of the k distinct candidates with the
// largest scores is correct. Ties keep the pool's order, as the authors' stable
// sort does. InvalidArgument: k below 1, scores of another shape, or a NaN.
absl::StatusOr<double> RankedPassAtK(const CandidatePool& pool,
                                     const Scores& scores, int64_t k);

// Rankers that learn nothing.
enum class TrivialRanker {
  kFirst,         // in the order of sampling
  kMostFrequent,  // the text that most samples have
  kShortest,      // by characters of the completion
  kLongest,
  kOracle,  // correct ones first: the ceiling of all rankers
};
// "first", "most_frequent", "shortest", "longest", "oracle".
absl::StatusOr<TrivialRanker> ParseTrivialRanker(absl::string_view name);
Scores TrivialScores(const CandidatePool& pool, TrivialRanker ranker);

// Kinds of failures that a perfect detector would remove.
enum class Failures {
  kSyntax,              // SyntaxError, IndentationError, TabError
  kSyntaxNamesImports,  // and NameError, ImportError, ModuleNotFoundError
  kAllExecutionErrors,
};
// "syntax", "syntax_names_imports", "execution".
absl::StatusOr<Failures> ParseFailures(absl::string_view name);

// The expected pass@1 of a random sample among those that are left when the
// failures are removed; a problem with none left counts 0. As a fraction.
double CeilingWithout(const CandidatePool& pool, Failures failures);

// The mean over problems of the area under the ROC curve of `scores` for the
// candidates that `positive` accepts against the problem's others; problems
// with one kind only are left out. Unlike an area over the whole pool it gives
// nothing for telling easy problems from hard ones. InvalidArgument: no problem
// is left, or scores of another shape.
absl::StatusOr<double> WithinProblemAuc(
    const CandidatePool& pool, const Scores& scores,
    const std::function<bool(const Candidate&)>& positive);

}  // namespace repro::rank_ef

#endif  // REPRO_PAPERS_RANK_EF_RANKING_H_
