#include "common/retrieval/fusion.h"

#include <algorithm>
#include <cmath>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "common/status/macros.h"

namespace repro::retrieval {
namespace {

absl::Status CheckRankings(absl::Span<const Ranking> rankings) {
  for (size_t r = 0; r < rankings.size(); ++r) {
    absl::flat_hash_set<int64_t> ids;
    for (const ScoredDocument& d : rankings[r]) {
      if (!ids.insert(d.id).second) {
        return absl::InvalidArgumentError(absl::StrCat(
            "fusion: ranking ", r, " holds document ", d.id, " twice"));
      }
    }
  }
  return absl::OkStatus();
}

Ranking Sorted(const absl::flat_hash_map<int64_t, double>& scores) {
  Ranking ranking;
  ranking.reserve(scores.size());
  for (const auto& [id, score] : scores) ranking.push_back({id, score});
  std::sort(ranking.begin(), ranking.end(), RanksBefore());
  return ranking;
}

// A score's normalised value is (score - shift) / scale, or `constant` where
// scale is 0.
struct Normalizer {
  double shift = 0;
  double scale = 1;
  double constant = 0;

  double operator()(double score) const {
    return scale == 0 ? constant : (score - shift) / scale;
  }
};

Normalizer MakeNormalizer(const Ranking& ranking, Normalization normalization) {
  const auto [low, high] =
      std::minmax_element(ranking.begin(), ranking.end(),
                          [](const ScoredDocument& a, const ScoredDocument& b) {
                            return a.score < b.score;
                          });
  switch (normalization) {
    case Normalization::kNone:
      return {};
    case Normalization::kMinMax:
      return {low->score, high->score - low->score, 1};
    case Normalization::kZScore:
      break;
  }
  // The mean of equal scores may differ from them by rounding.
  if (low->score == high->score) return {low->score, 0, 0};
  double mean = 0, variance = 0;
  for (const ScoredDocument& d : ranking) mean += d.score;
  mean /= ranking.size();
  for (const ScoredDocument& d : ranking) {
    variance += (d.score - mean) * (d.score - mean);
  }
  return {mean, std::sqrt(variance / ranking.size()), 0};
}

}  // namespace

absl::StatusOr<Ranking> ReciprocalRankFusion(absl::Span<const Ranking> rankings,
                                             double rank_constant) {
  if (!std::isfinite(rank_constant) || rank_constant < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("fusion: the rank constant is ", rank_constant,
                     "; give a finite number of at least 0"));
  }
  REPRO_RETURN_IF_ERROR(CheckRankings(rankings));
  absl::flat_hash_map<int64_t, double> scores;
  for (const Ranking& ranking : rankings) {
    for (size_t i = 0; i < ranking.size(); ++i) {
      scores[ranking[i].id] += 1 / (rank_constant + i + 1);
    }
  }
  return Sorted(scores);
}

absl::StatusOr<Ranking> WeightedSum(absl::Span<const Ranking> rankings,
                                    absl::Span<const double> weights,
                                    Normalization normalization) {
  if (weights.size() != rankings.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("fusion: ", weights.size(), " weights for ",
                     rankings.size(), " rankings; give one each"));
  }
  REPRO_RETURN_IF_ERROR(CheckRankings(rankings));
  absl::flat_hash_map<int64_t, double> scores;
  double absent = 0;  // what a document that no ranking holds would have
  for (size_t r = 0; r < rankings.size(); ++r) {
    if (!std::isfinite(weights[r])) {
      return absl::InvalidArgumentError(
          absl::StrCat("fusion: weight ", r, " is ", weights[r]));
    }
    for (const ScoredDocument& d : rankings[r]) {
      if (!std::isfinite(d.score)) {
        return absl::InvalidArgumentError(
            absl::StrCat("fusion: document ", d.id, " of ranking ", r,
                         " has the score ", d.score));
      }
    }
    if (rankings[r].empty()) continue;
    const Normalizer normalized = MakeNormalizer(rankings[r], normalization);
    double lowest = 0;
    if (normalization == Normalization::kZScore) {
      lowest =
          normalized(std::min_element(
                         rankings[r].begin(), rankings[r].end(),
                         [](const ScoredDocument& a, const ScoredDocument& b) {
                           return a.score < b.score;
                         })
                         ->score);
    }
    absent += weights[r] * lowest;
    for (const ScoredDocument& d : rankings[r]) {
      scores[d.id] += weights[r] * (normalized(d.score) - lowest);
    }
  }
  for (auto& [id, score] : scores) score += absent;
  return Sorted(scores);
}

}  // namespace repro::retrieval
