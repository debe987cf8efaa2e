#include "common/retrieval/evaluate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace repro::retrieval {
namespace {

// Query i scores document d by table[i][d].
Scorer TableScorer(const std::vector<std::vector<double>>& table) {
  return [table](int64_t query, absl::Span<const int64_t> documents)
             -> absl::StatusOr<std::vector<double>> {
    std::vector<double> scores;
    for (const int64_t d : documents) scores.push_back(table[query][d]);
    return scores;
  };
}

const std::vector<std::vector<double>> kTable = {{3, 1, 9, 9, 9},
                                                 {4, 2, 9, 9, 9},
                                                 {9, 9, 5, 5, 9},
                                                 {9, 9, 6, 7, 9},
                                                 {9, 9, 9, 9, 1}};

// Batches of two see 0 and 1, 2 and 3; query 2 ties with a distractor, which
// counts against it; the fifth pair fills no batch.
TEST(EvaluateTest, BatchesByHand) {
  const auto ranks =
      ReciprocalRanksInBatches(5, 2, LastBatch::kDrop, TableScorer(kTable));
  ASSERT_TRUE(ranks.ok()) << ranks.status();
  EXPECT_EQ(*ranks, (std::vector<double>{1, 0.5, 0.5, 1}));
  const auto all =
      ReciprocalRanksInBatches(5, 2, LastBatch::kKeep, TableScorer(kTable));
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_EQ(*all, (std::vector<double>{1, 0.5, 0.5, 1, 1}));
}

TEST(EvaluateTest, CorpusByHand) {
  const auto ranks =
      ReciprocalRanksInCorpus({0, 1, 2, 3, 4}, 5, TableScorer(kTable));
  ASSERT_TRUE(ranks.ok()) << ranks.status();
  EXPECT_EQ(*ranks,
            (std::vector<double>{1 / 4.0, 1 / 5.0, 1 / 5.0, 1 / 4.0, 1 / 5.0}));
}

TEST(EvaluateTest, InnerProducts) {
  const std::vector<float> queries = {1, 0, 0, 1}, documents = {2, 3, -1, 5};
  const Scorer scorer = InnerProductScorer(queries, documents, 2);
  EXPECT_EQ(*scorer(0, {0, 1}), (std::vector<double>{2, -1}));
  EXPECT_EQ(*scorer(1, {1, 0}), (std::vector<double>{5, 3}));
  EXPECT_FALSE(scorer(2, {0}).ok());
  EXPECT_FALSE(scorer(0, {2}).ok());
  EXPECT_FALSE(InnerProductScorer(queries, documents, 0)(0, {0}).ok());
}

// Relevant documents 5 and 7 at ranks 2 and 4 of query 0; query 1 misses.
TEST(EvaluateTest, RankingsByHand) {
  const std::vector<std::vector<ScoredDocument>> rankings = {
      {{1, 9}, {5, 8}, {2, 7}, {7, 6}}, {{1, 9}}};
  const std::vector<std::vector<int64_t>> relevant = {{5, 7}, {4}};
  const auto at_3 = EvaluateRankings(rankings, relevant, 3);
  ASSERT_TRUE(at_3.ok()) << at_3.status();
  EXPECT_EQ(at_3->num_queries, 2);
  EXPECT_DOUBLE_EQ(at_3->mrr, 0.5 / 2);
  EXPECT_DOUBLE_EQ(at_3->recall, 0.5 / 2);
  EXPECT_DOUBLE_EQ(at_3->map, 0.25 / 2);
  const auto at_4 = EvaluateRankings(rankings, relevant, 4);
  ASSERT_TRUE(at_4.ok());
  EXPECT_DOUBLE_EQ(at_4->map, (0.5 + 0.5) / 2 / 2);
  EXPECT_DOUBLE_EQ(at_4->ndcg, (1 / std::log2(3) + 1 / std::log2(5)) /
                                   (1 + 1 / std::log2(3)) / 2);
}

TEST(EvaluateTest, BadInput) {
  const Scorer scorer = TableScorer(kTable);
  EXPECT_FALSE(ReciprocalRanksInBatches(5, 0, LastBatch::kKeep, scorer).ok());
  EXPECT_FALSE(ReciprocalRanksInBatches(5, 6, LastBatch::kDrop, scorer).ok());
  EXPECT_FALSE(ReciprocalRanksInBatches(0, 1, LastBatch::kKeep, scorer).ok());
  EXPECT_FALSE(ReciprocalRanksInCorpus({5}, 5, scorer).ok());
  EXPECT_FALSE(ReciprocalRanksInCorpus({0}, 0, scorer).ok());
  const Scorer short_answer = [](int64_t, absl::Span<const int64_t>) {
    return std::vector<double>{1};
  };
  EXPECT_FALSE(
      ReciprocalRanksInBatches(5, 2, LastBatch::kKeep, short_answer).ok());
  const Scorer failing =
      [](int64_t,
         absl::Span<const int64_t>) -> absl::StatusOr<std::vector<double>> {
    return absl::NotFoundError("no vectors");
  };
  EXPECT_EQ(ReciprocalRanksInCorpus({0}, 5, failing).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_FALSE(EvaluateRankings({}, {}, 1).ok());
  const std::vector<std::vector<ScoredDocument>> rankings = {{{1, 2}, {1, 1}}};
  const std::vector<std::vector<int64_t>> relevant = {{1}};
  EXPECT_FALSE(EvaluateRankings(rankings, relevant, 1).ok());
  const std::vector<std::vector<ScoredDocument>> one = {{{1, 2}}};
  EXPECT_FALSE(EvaluateRankings(one, relevant, 0).ok());
}

}  // namespace
}  // namespace repro::retrieval
