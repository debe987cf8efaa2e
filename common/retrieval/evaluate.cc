#include "common/retrieval/evaluate.h"

#include <algorithm>
#include <numeric>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "common/metrics/ranking.h"
#include "common/status/macros.h"

namespace repro::retrieval {
namespace {

// 1 / the rank of documents[target].
absl::StatusOr<double> ReciprocalRankOf(int64_t query, int64_t target,
                                        absl::Span<const int64_t> documents,
                                        const Scorer& scorer) {
  REPRO_ASSIGN_OR_RETURN(std::vector<double> scores, scorer(query, documents));
  if (scores.size() != documents.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("query ", query, ": the scorer gave ", scores.size(),
                     " scores for ", documents.size(), " documents"));
  }
  for (double& score : scores) score = -score;  // a distance
  const absl::StatusOr<int64_t> rank = metrics::PessimisticRank(scores, target);
  if (!rank.ok()) {
    return absl::Status(
        rank.status().code(),
        absl::StrCat("query ", query, ": ", rank.status().message()));
  }
  return 1.0 / *rank;
}

}  // namespace

Scorer InnerProductScorer(absl::Span<const float> queries,
                          absl::Span<const float> documents, int64_t dim) {
  return [=](int64_t query, absl::Span<const int64_t> wanted)
             -> absl::StatusOr<std::vector<double>> {
    const auto row = [dim](absl::Span<const float> matrix, int64_t i) {
      return dim > 0 && i >= 0 && i < static_cast<int64_t>(matrix.size()) / dim
                 ? matrix.data() + i * dim
                 : nullptr;
    };
    const float* const q = row(queries, query);
    if (q == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("query ", query, " has no row of ", dim, " values"));
    }
    std::vector<double> scores;
    scores.reserve(wanted.size());
    for (const int64_t document : wanted) {
      const float* const d = row(documents, document);
      if (d == nullptr) {
        return absl::InvalidArgumentError(absl::StrCat(
            "document ", document, " has no row of ", dim, " values"));
      }
      scores.push_back(std::inner_product(q, q + dim, d, 0.0));
    }
    return scores;
  };
}

absl::StatusOr<std::vector<double>> ReciprocalRanksInBatches(
    int64_t num_pairs, int64_t batch_size, LastBatch last_batch,
    const Scorer& scorer) {
  if (batch_size < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("batches of ", batch_size, "; give at least 1"));
  }
  const int64_t rest = num_pairs % batch_size;
  const int64_t num_used =
      last_batch == LastBatch::kDrop ? num_pairs - rest : num_pairs;
  if (num_used < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(num_pairs, " pairs fill no batch of ", batch_size,
                     "; take smaller batches or LastBatch::kKeep"));
  }
  std::vector<double> reciprocal_ranks;
  for (int64_t begin = 0; begin < num_used; begin += batch_size) {
    std::vector<int64_t> batch(std::min(batch_size, num_used - begin));
    std::iota(batch.begin(), batch.end(), begin);
    for (size_t i = 0; i < batch.size(); ++i) {
      REPRO_ASSIGN_OR_RETURN(const double reciprocal_rank,
                             ReciprocalRankOf(batch[i], i, batch, scorer));
      reciprocal_ranks.push_back(reciprocal_rank);
    }
  }
  return reciprocal_ranks;
}

absl::StatusOr<std::vector<double>> ReciprocalRanksInCorpus(
    absl::Span<const int64_t> targets, int64_t num_documents,
    const Scorer& scorer) {
  std::vector<int64_t> documents(std::max<int64_t>(num_documents, 0));
  std::iota(documents.begin(), documents.end(), 0);
  std::vector<double> reciprocal_ranks;
  for (size_t query = 0; query < targets.size(); ++query) {
    if (targets[query] < 0 || targets[query] >= num_documents) {
      return absl::InvalidArgumentError(
          absl::StrCat("query ", query, ": its document ", targets[query],
                       " is not one of ", num_documents));
    }
    REPRO_ASSIGN_OR_RETURN(
        const double reciprocal_rank,
        ReciprocalRankOf(query, targets[query], documents, scorer));
    reciprocal_ranks.push_back(reciprocal_rank);
  }
  return reciprocal_ranks;
}

absl::StatusOr<RankingMetrics> EvaluateRankings(
    absl::Span<const std::vector<ScoredDocument>> rankings,
    absl::Span<const std::vector<int64_t>> relevant, int64_t k) {
  if (rankings.empty() || rankings.size() != relevant.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(rankings.size(), " rankings for ", relevant.size(),
                     " queries; give one for each of at least 1"));
  }
  RankingMetrics mean;
  mean.num_queries = rankings.size();
  for (size_t q = 0; q < rankings.size(); ++q) {
    const absl::flat_hash_set<int64_t> wanted(relevant[q].begin(),
                                              relevant[q].end());
    absl::flat_hash_set<int64_t> seen;
    std::vector<bool> is_relevant;
    std::vector<double> gains;
    for (const ScoredDocument& d : rankings[q]) {
      if (!seen.insert(d.id).second) {
        return absl::InvalidArgumentError(absl::StrCat(
            "query ", q, ": document ", d.id, " is twice in its ranking"));
      }
      is_relevant.push_back(wanted.contains(d.id));
      gains.push_back(is_relevant.back());
    }
    if (wanted.size() != relevant[q].size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("query ", q, ": a relevant document is listed twice"));
    }
    const int64_t num_relevant = wanted.size();
    REPRO_ASSIGN_OR_RETURN(const double reciprocal_rank,
                           metrics::ReciprocalRank(is_relevant, k));
    REPRO_ASSIGN_OR_RETURN(const double recall,
                           metrics::RecallAtK(is_relevant, num_relevant, k));
    REPRO_ASSIGN_OR_RETURN(
        const double average_precision,
        metrics::AveragePrecision(is_relevant, num_relevant, k));
    REPRO_ASSIGN_OR_RETURN(
        const double ndcg,
        metrics::Ndcg(gains, std::vector<double>(num_relevant, 1.0),
                      metrics::Gain::kLinear, k));
    mean.mrr += reciprocal_rank;
    mean.recall += recall;
    mean.map += average_precision;
    mean.ndcg += ndcg;
  }
  for (double* sum : {&mean.mrr, &mean.recall, &mean.map, &mean.ndcg}) {
    *sum /= mean.num_queries;
  }
  return mean;
}

}  // namespace repro::retrieval
