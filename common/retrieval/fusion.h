#ifndef REPRO_COMMON_RETRIEVAL_FUSION_H_
#define REPRO_COMMON_RETRIEVAL_FUSION_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/retrieval/scored_document.h"

// One ranking from several of the same query, each best document first.
namespace repro::retrieval {

using Ranking = std::vector<ScoredDocument>;

// Reciprocal rank fusion (Cormack et al. 2009): the sum over the rankings that
// hold the document of 1 / (rank_constant + rank), ranks from 1. 60 is the
// constant of the paper. InvalidArgument: a negative constant, a document twice
// in a ranking.
absl::StatusOr<Ranking> ReciprocalRankFusion(absl::Span<const Ranking> rankings,
                                             double rank_constant = 60);

enum class Normalization {
  kNone,
  kMinMax,  // (s - min) / (max - min) of its ranking; 1 where all are equal
  kZScore,  // (s - mean) / population deviation; 0 where all are equal
};

// The sum of weight times normalised score. A ranking that lacks a document
// adds 0, under kZScore the lowest normalised score that it holds.
// InvalidArgument: not one weight a ranking, a weight or score that is not
// finite, a document twice in a ranking.
absl::StatusOr<Ranking> WeightedSum(absl::Span<const Ranking> rankings,
                                    absl::Span<const double> weights,
                                    Normalization normalization);

}  // namespace repro::retrieval

#endif  // REPRO_COMMON_RETRIEVAL_FUSION_H_
