#include "common/metrics/ranking.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "common/stats/descriptive.h"

namespace repro::metrics {
namespace {

using ::testing::HasSubstr;

constexpr double kTolerance = 1e-14;

TEST(ReciprocalRankTest, MeanAgreesWithScikitLearn) {
  // With one relevant item a query, LRAP is MRR:
  // M.label_ranking_average_precision_score(
  //     [[0,0,1,0],[1,0,0,0],[0,0,0,1]], [[4,3,2,1]] * 3)
  EXPECT_NEAR(
      *Mean({*ReciprocalRank({0, 0, 1, 0}), *ReciprocalRank({1, 0, 0, 0}),
             *ReciprocalRank({0, 0, 0, 1})}),
      0.5277777777777778, kTolerance);
}

TEST(ReciprocalRankTest, CutsOffAndTakesTheFirst) {
  EXPECT_EQ(*ReciprocalRank({0, 1, 1}), 0.5);
  EXPECT_EQ(*ReciprocalRank({0, 1, 1}, 1), 0);
  EXPECT_EQ(*ReciprocalRank({0, 0}), 0);
  EXPECT_EQ(*ReciprocalRank({}), 0);
}

TEST(AtKTest, CountsTheTop) {
  // M.recall_score([1,0,1,1,0], [1,1,1,0,0]),
  // M.precision_score([1,0,1,1,0], [1,1,1,0,0]): the top 3 are predicted
  // positive
  EXPECT_NEAR(*RecallAtK({1, 0, 1, 1, 0}, 3, 3), 0.6666666666666666,
              kTolerance);
  EXPECT_NEAR(*PrecisionAtK({1, 0, 1, 1, 0}, 3), 0.6666666666666666,
              kTolerance);
  EXPECT_EQ(*RecallAtK({1, 0}, 4, 10), 0.25);
  EXPECT_EQ(*PrecisionAtK({1, 0}, 10), 0.1);
  // M.recall_score([0,0], [1,1]) is 0 with a warning
  EXPECT_EQ(*RecallAtK({0, 0}, 0, 2), 0);
  EXPECT_EQ(*RecallAtK({}, 2, 2), 0);
}

TEST(AveragePrecisionTest, AgreesWithScikitLearn) {
  // M.average_precision_score([0,1,0,1,1,0,1], [7,6,5,4,3,2,1]), then
  // ([1,0,0,0], [4,3,2,1]), ([0,0,1], [3,2,1]), ([0,0], [2,1]): 0 and a warning
  EXPECT_NEAR(*AveragePrecision({0, 1, 0, 1, 1, 0, 1}, 4), 0.5428571428571428,
              kTolerance);
  EXPECT_EQ(*AveragePrecision({1, 0, 0, 0}, 1), 1);
  EXPECT_NEAR(*AveragePrecision({0, 0, 1}, 1), 0.3333333333333333, kTolerance);
  EXPECT_EQ(*AveragePrecision({0, 0}, 0), 0);
}

TEST(AveragePrecisionTest, ItemsNotRetrievedCountAsZero) {
  EXPECT_EQ(*AveragePrecision({1, 0}, 2), 0.5);
  EXPECT_EQ(*AveragePrecision({1, 0, 1}, 2, 2), 0.5);
}

TEST(NdcgTest, AgreesWithScikitLearn) {
  // g = np.array([[3,0,2,1,0,2]]); s = np.array([[6,5,4,3,2,1.]])
  // M.ndcg_score(g, s, k=k), M.ndcg_score(2.0**g - 1, s, k=k)
  const std::vector<double> gains = {3, 0, 2, 1, 0, 2};
  struct Case {
    int64_t k;
    double linear, exponential;
  };
  for (const Case& c :
       {Case{1, 1, 1}, Case{3, 0.7601875334318686, 0.8178747578506881},
        Case{5, 0.7783308717438989, 0.8251217038604399},
        Case{kWholeRanking, 0.9034797273777145, 0.923853623858664}}) {
    EXPECT_NEAR(*Ndcg(gains, gains, Gain::kLinear, c.k), c.linear, kTolerance);
    EXPECT_NEAR(*Ndcg(gains, gains, Gain::kExponential, c.k), c.exponential,
                kTolerance);
  }
}

// Two relevant items, one retrieved at rank 2: (1 / log2 3) / (1 + 1 / log2 3).
TEST(NdcgTest, ItemsNotRetrievedCountInTheIdeal) {
  EXPECT_NEAR(*Ndcg({0, 1}, {1, 1}, Gain::kLinear), 0.38685280723454163,
              kTolerance);
  EXPECT_EQ(*Ndcg({}, {1, 1}, Gain::kLinear), 0);
}

TEST(NdcgTest, DegenerateCasesFollowScikitLearn) {
  // M.ndcg_score([[0,0,0]], [[1,2,3]])
  EXPECT_EQ(*Ndcg({0, 0, 0}, {0, 0, 0}, Gain::kLinear), 0);
  // "ndcg_score should not be used on negative y_true values."
  EXPECT_THAT(std::string(Ndcg({0}, {0, -1}, Gain::kLinear).status().message()),
              HasSubstr("gain -1 must be"));
}

TEST(RankingTest, RejectsBadInput) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THAT(std::string(ReciprocalRank({1}, 0).status().message()),
              HasSubstr("k is 0"));
  EXPECT_FALSE(RecallAtK({1}, 1, 0).ok());
  EXPECT_FALSE(PrecisionAtK({1}, -1).ok());
  EXPECT_FALSE(AveragePrecision({1}, 1, 0).ok());
  EXPECT_FALSE(Ndcg({1}, {1}, Gain::kLinear, 0).ok());
  EXPECT_THAT(std::string(RecallAtK({1, 1}, 1, 2).status().message()),
              HasSubstr("holds 2 relevant items, the collection only 1"));
  EXPECT_FALSE(AveragePrecision({1}, 0).ok());
  EXPECT_FALSE(Ndcg({kNan}, {1}, Gain::kLinear).ok());
  EXPECT_FALSE(Ndcg({2}, {2000}, Gain::kExponential).ok());  // 2^2000
  EXPECT_THAT(std::string(Ndcg({2, 1}, {2}, Gain::kLinear).status().message()),
              HasSubstr("that the judged items do not have"));
}

TEST(NdcgTest, UnjudgedItems) {
  // Annotated a: 3, b: 1, c: 0; the ranking is [x, b, a] with x unjudged.
  // (1 + 7 / log2 3) / (7 + 1 / log2 3) and (1 / log2 3 + 7 / 2) / the same.
  const std::vector<std::optional<double>> ranked = {std::nullopt, 1.0, 3.0};
  const auto ndcg = [&](Unjudged unjudged) {
    return *Ndcg(JudgedGains(ranked, unjudged), {3, 1, 0}, Gain::kExponential);
  };
  const double log3 = std::log2(3.0);
  EXPECT_NEAR(ndcg(Unjudged::kSkip), (1 + 7 / log3) / (7 + 1 / log3), 1e-14);
  EXPECT_NEAR(ndcg(Unjudged::kSkip), 0.70981, 5e-6);
  EXPECT_NEAR(ndcg(Unjudged::kGainZero), 0.54134, 5e-6);
  EXPECT_TRUE(JudgedGains({std::nullopt}, Unjudged::kSkip).empty());
}

TEST(PessimisticRankTest, TiesCountAgainstTheTarget) {
  EXPECT_EQ(*PessimisticRank({0.3, 0.1, 0.3, 0.5}, 0), 3);
  EXPECT_EQ(*PessimisticRank({0.3, 0.1, 0.3, 0.5}, 1), 1);
  EXPECT_EQ(*PessimisticRank(std::vector<double>(1000, 0), 7), 1000);
  EXPECT_FALSE(PessimisticRank({0.1}, 1).ok());
  EXPECT_FALSE(PessimisticRank({0.1}, -1).ok());
  EXPECT_FALSE(PessimisticRank({0.1, std::nan("")}, 0).ok());
}

}  // namespace
}  // namespace repro::metrics
