#include "common/retrieval/fusion.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace repro::retrieval {
namespace {

const std::vector<Ranking> kRankings = {{{7, 9.0}, {3, 5.0}, {1, 1.0}},
                                        {{3, 0.8}, {2, 0.6}}};

// By hand: 3 is second and first, 7 first, 2 second, 1 third.
TEST(FusionTest, ReciprocalRanksByHand) {
  const auto fused = ReciprocalRankFusion(kRankings);
  ASSERT_TRUE(fused.ok()) << fused.status();
  EXPECT_EQ(*fused, (Ranking{{3, 1 / 62.0 + 1 / 61.0},
                             {7, 1 / 61.0},
                             {2, 1 / 62.0},
                             {1, 1 / 63.0}}));
}

// Min-max gives 7: 1, 3: 0.5, 1: 0 and 3: 1, 2: 0.
TEST(FusionTest, MinMaxByHand) {
  const auto fused = WeightedSum(kRankings, {0.6, 0.4}, Normalization::kMinMax);
  ASSERT_TRUE(fused.ok()) << fused.status();
  EXPECT_EQ(*fused, (Ranking{{3, 0.6 * 0.5 + 0.4}, {7, 0.6}, {1, 0}, {2, 0}}));
}

TEST(FusionTest, RawScoresByHand) {
  const auto fused = WeightedSum(kRankings, {1, 10}, Normalization::kNone);
  ASSERT_TRUE(fused.ok()) << fused.status();
  EXPECT_EQ(*fused, (Ranking{{3, 13}, {7, 9}, {2, 6}, {1, 1}}));
}

// Means 5 and 0.7, deviations sqrt(32 / 3) and 0.1; a document that a ranking
// lacks takes its lowest value.
TEST(FusionTest, ZScoresByHand) {
  const auto fused = WeightedSum(kRankings, {1, 1}, Normalization::kZScore);
  ASSERT_TRUE(fused.ok()) << fused.status();
  const double z = 4 / std::sqrt(32 / 3.0);
  ASSERT_EQ(fused->size(), 4);
  const Ranking expected = {{3, 0 + 1.0}, {7, z - 1}, {1, -z - 1}, {2, -z - 1}};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR((*fused)[i].score, expected[i].score, 1e-12);
  }
  EXPECT_EQ((*fused)[0].id, 3);
  EXPECT_EQ((*fused)[1].id, 7);
}

TEST(FusionTest, EqualScoresAndNothing) {
  EXPECT_TRUE(ReciprocalRankFusion({})->empty());
  EXPECT_TRUE(ReciprocalRankFusion({Ranking{}, Ranking{}})->empty());
  const std::vector<Ranking> equal = {{{4, 2.5}, {5, 2.5}}};
  EXPECT_EQ(*WeightedSum(equal, {1}, Normalization::kMinMax),
            (Ranking{{4, 1}, {5, 1}}));
  EXPECT_EQ(*WeightedSum(equal, {1}, Normalization::kZScore),
            (Ranking{{4, 0}, {5, 0}}));
  EXPECT_TRUE(WeightedSum({}, {}, Normalization::kMinMax)->empty());
}

TEST(FusionTest, BadInput) {
  const double nan = std::nan("");
  EXPECT_FALSE(ReciprocalRankFusion(kRankings, -1).ok());
  EXPECT_FALSE(ReciprocalRankFusion(kRankings, nan).ok());
  EXPECT_FALSE(ReciprocalRankFusion({Ranking{{1, 2}, {1, 1}}}).ok());
  EXPECT_FALSE(WeightedSum(kRankings, {1}, Normalization::kNone).ok());
  EXPECT_FALSE(WeightedSum(kRankings, {1, nan}, Normalization::kNone).ok());
  EXPECT_FALSE(
      WeightedSum({Ranking{{1, nan}}}, {1}, Normalization::kMinMax).ok());
}

}  // namespace
}  // namespace repro::retrieval
