#ifndef REPRO_COMMON_RETRIEVAL_EVALUATE_H_
#define REPRO_COMMON_RETRIEVAL_EVALUATE_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/retrieval/scored_document.h"

namespace repro::retrieval {

// The scores of `documents` for query number `query`, higher is better, in
// their order.
using Scorer = std::function<absl::StatusOr<std::vector<double>>(
    int64_t query, absl::Span<const int64_t> documents)>;

// Scores by inner products of rows: queries [num_queries, dim], documents
// [num_documents, dim], which must outlive it. Cosine for rows of length 1.
Scorer InnerProductScorer(absl::Span<const float> queries,
                          absl::Span<const float> documents, int64_t dim);

enum class LastBatch {
  kDrop,  // where it is not full, as CodeSearchNet does
  kKeep,
};

// CodeSearchNet's evaluation (Husain et al. 2019): pair i is query i and its
// document i; pairs are cut into batches of consecutive ones, and a query ranks
// the documents of its batch, its own among batch_size - 1 distractors. Ranks
// are PessimisticRank's: equal scores count against the query. Gives the
// reciprocal rank of each query of the batches used; their mean is the MRR.
// InvalidArgument: batch_size < 1, no full batch under kDrop.
absl::StatusOr<std::vector<double>> ReciprocalRanksInBatches(
    int64_t num_pairs, int64_t batch_size, LastBatch last_batch,
    const Scorer& scorer);

// The same where query i ranks all documents 0 .. num_documents - 1 and
// targets[i] is its own.
absl::StatusOr<std::vector<double>> ReciprocalRanksInCorpus(
    absl::Span<const int64_t> targets, int64_t num_documents,
    const Scorer& scorer);

// Means over queries of the metrics of common/metrics/ranking.h at cut-off k.
struct RankingMetrics {
  int64_t num_queries = 0;
  double mrr = 0;
  double recall = 0;
  double map = 0;
  double ndcg = 0;  // gains 0 and 1
};

// rankings[i] is what was retrieved for query i, relevant[i] the ids of all
// documents relevant to it. InvalidArgument: different numbers of queries, no
// queries, k < 1, a document twice in a list.
absl::StatusOr<RankingMetrics> EvaluateRankings(
    absl::Span<const std::vector<ScoredDocument>> rankings,
    absl::Span<const std::vector<int64_t>> relevant, int64_t k);

}  // namespace repro::retrieval

#endif  // REPRO_COMMON_RETRIEVAL_EVALUATE_H_
