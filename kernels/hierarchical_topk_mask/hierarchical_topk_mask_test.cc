#include "kernels/hierarchical_topk_mask/hierarchical_topk_mask.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/topk.h>

#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/testing/testing.h"

namespace repro {
namespace {

using Options = HierarchicalTopkOptions;
using testing::ElementsAre;
using testing::HasSubstr;

// Every key of its own, no window.
Options Single(int64_t top_k, Options::Representative representative) {
  Options options;
  options.top_k = top_k;
  options.query_block = options.query_stride = options.key_block = 1;
  options.window = 0;
  options.representative = representative;
  options.aligned = false;
  return options;
}

std::vector<int> Row(const at::Tensor& blocks, const at::Tensor& counts,
                     int64_t head = 0, int64_t block = 0) {
  std::vector<int> row;
  for (int64_t i = 0; i < counts[head][block].item<int>(); ++i) {
    row.push_back(blocks[head][block][i].item<int>());
  }
  return row;
}

// One query that sees the keys' values as scores.
std::vector<int> Select(const std::vector<double>& scores, int64_t top_k,
                        Options::Representative representative) {
  const at::Tensor k = at::tensor(scores, at::kDouble).view({1, -1, 1});
  const auto [blocks, counts] = HierarchicalTopkMask(
      at::ones({1, 1, 1}, at::kDouble), k, Single(top_k, representative));
  return Row(blocks, counts);
}

// The worked examples of the method's description, found by hand.
TEST(HierarchicalTopkMask, WorkedTree) {
  const std::vector<double> scores = {0, 1, 0, 0, 0, 9, 8, 0,
                                      3, 0, 0, 2, 0, 0, 4, 0};
  EXPECT_THAT(Select(scores, 2, Options::kCenter), ElementsAre(5, 6));
  // The second round meets 0 three times. Here the lowest stays, [0, 2); a list
  // in the order of the scores, as torch.topk gives it, keeps [10, 12) and ends
  // at 8 and 11.
  EXPECT_THAT(Select(scores, 2, Options::kFirst), ElementsAre(1, 8));
  EXPECT_THAT(Select(scores, 2, Options::kLast), ElementsAre(1, 11));
  const HierarchicalTopkCost cost =
      HierarchicalTopkCostOf(16, Single(2, Options::kCenter));
  EXPECT_EQ(cost.rounds, 3);
  EXPECT_EQ(cost.scored_keys, 12);
}

TEST(HierarchicalTopkMask, UnimodalScores) {
  const std::vector<double> scores = {0, 1, 2, 3, 4, 5, 9, 6,
                                      5, 4, 3, 2, 1, 0, 0, 0};
  for (const auto representative :
       {Options::kCenter, Options::kFirst, Options::kLast}) {
    EXPECT_THAT(Select(scores, 2, representative), ElementsAre(6, 7));
  }
}

TEST(HierarchicalTopkMask, OracleIsExactTopK) {
  for (const int64_t keys : {33, 100, 257}) {
    const at::Tensor q = RandomNormal({2, 1, 8}, 1);
    const at::Tensor k = RandomNormal({2, keys, 8}, 2);
    const auto [blocks, counts] =
        HierarchicalTopkMask(q, k, Single(16, Options::kOracle));
    const at::Tensor expected = std::get<0>(at::sort(
        std::get<1>(at::matmul(k, q.transpose(1, 2)).squeeze(2).topk(16)), 1));
    EXPECT_TRUE(blocks.squeeze(1).equal(expected.to(at::kInt)));
  }
}

TEST(HierarchicalTopkMask, CostOfTheDefaults) {
  // 16 times fewer than 131,072 in the last row.
  const int64_t table[][3] = {{8192, 4, 4096},
                              {16384, 5, 5120},
                              {32768, 6, 6144},
                              {65536, 7, 7168},
                              {131072, 8, 8192}};
  for (const auto& [keys, rounds, scored] : table) {
    const HierarchicalTopkCost cost = HierarchicalTopkCostOf(keys);
    EXPECT_EQ(cost.rounds, rounds);
    EXPECT_EQ(cost.scored_keys, scored);
  }
  EXPECT_EQ(HierarchicalTopkCostOf(512).rounds, 0);
}

TEST(HierarchicalTopkMask, FewKeysAreAllKept) {
  Options options;
  options.top_k = 64;
  options.window = 40;
  const at::Tensor q = RandomNormal({2, 100, 8}, 1),
                   k = RandomNormal({1, 100, 8}, 2);
  const auto [blocks, counts] = HierarchicalTopkMask(q, k, options);
  // Last queries 31, 63, 95 and 99: 0, 24, 56 and 60 keys before the window.
  EXPECT_THAT(std::vector<int>(counts[0].data_ptr<int>(),
                               counts[0].data_ptr<int>() + 4),
              ElementsAre(0, 12, 28, 30));
  for (int i = 0; i < 32; ++i) {
    EXPECT_EQ(blocks[1][1][i].item<int>(), i < 12 ? i : -1);
  }
}

TEST(HierarchicalTopkMask, SortedUniqueAndBeforeTheWindow) {
  for (const bool aligned : {false, true}) {
    Options options;
    options.top_k = 32;
    options.window = 33;
    options.aligned = aligned;
    const at::Tensor q = RandomNormal({2, 90, 16}, 1);
    const at::Tensor k = RandomNormal({2, 500, 16}, 2);
    const auto [blocks, counts] = HierarchicalTopkMask(q, k, options);
    for (int64_t block = 0; block < 3; ++block) {
      const int64_t last = 410 + std::min<int64_t>(32 * block + 31, 89);
      const std::vector<int> row = Row(blocks, counts, 1, block);
      EXPECT_EQ(row.size(), 16u);
      EXPECT_TRUE(std::is_sorted(row.begin(), row.end()));
      EXPECT_EQ(std::set<int>(row.begin(), row.end()).size(), row.size());
      EXPECT_LT(2 * row.back(), last + 1 - 33);
    }
  }
}

TEST(HierarchicalTopkMask, HeadsAreIndependent) {
  Options options;
  options.top_k = 16;
  options.window = 32;
  const at::Tensor q = RandomNormal({4, 40, 8}, 1),
                   k = RandomNormal({4, 300, 8}, 2);
  const at::Tensor order = at::tensor({2, 0, 3, 1}, at::kLong);
  const at::Tensor blocks = std::get<0>(HierarchicalTopkMask(q, k, options));
  EXPECT_TRUE(
      std::get<0>(HierarchicalTopkMask(q.index_select(0, order),
                                       k.index_select(0, order), options))
          .equal(blocks.index_select(0, order)));
  // A group's query heads read its key head.
  const at::Tensor grouped =
      std::get<0>(HierarchicalTopkMask(q, k.slice(0, 0, 2), options));
  EXPECT_TRUE(grouped.equal(std::get<0>(HierarchicalTopkMask(
      q, k.index_select(0, at::tensor({0, 0, 1, 1}, at::kLong)), options))));
}

// A head that all the best keys belong to takes the slots of its group.
TEST(HierarchicalTopkMask, AGroupSharesItsSlots) {
  Options options = Single(8, Options::kOracle);
  options.head_group = 2;
  const at::Tensor k = RandomNormal({2, 64, 4}, 2);
  const at::Tensor q =
      RandomNormal({2, 1, 4}, 1) * at::tensor({1.0, 1e-3}).view({2, 1, 1});
  const auto [blocks, counts] = HierarchicalTopkMask(q, k, options);
  EXPECT_EQ(blocks.size(2), 16);
  EXPECT_EQ(counts.sum().item<int>(), 16);
  EXPECT_GT(counts[0][0].item<int>(), 8);
}

TEST(HierarchicalTopkMask, SampledQueriesAndKeys) {
  // Query 1 alone is sampled of two, and of each block its first key.
  Options options;
  options.top_k = 2;
  options.key_block = 2;
  options.key_stride = 2;
  options.query_block = 2;
  options.query_stride = 2;
  options.window = 1;
  options.aligned = false;
  at::Tensor k = RandomNormal({1, 9, 4}, 3);
  const at::Tensor q = RandomNormal({1, 2, 4}, 4);
  const at::Tensor blocks = std::get<0>(HierarchicalTopkMask(q, k, options));
  at::Tensor other_q = q.clone(), other_k = k.clone();
  other_q[0][0] *= -5;
  other_k.slice(1, 1, 9, 2) *= -7;
  EXPECT_TRUE(blocks.equal(
      std::get<0>(HierarchicalTopkMask(other_q, other_k, options))));
}

TEST(HierarchicalTopkMask, Empty) {
  const auto [blocks, counts] = HierarchicalTopkMask(
      at::empty({2, 0, 8}), at::empty({2, 5, 8}), Options());
  EXPECT_EQ(blocks.sizes(), (at::IntArrayRef{2, 0, 256}));
  EXPECT_EQ(counts.sizes(), (at::IntArrayRef{2, 0}));
}

TEST(HierarchicalTopkMask, SaysWhatDoesNotFit) {
  const at::Tensor q = RandomNormal({4, 8, 16}, 1),
                   k = RandomNormal({2, 8, 16}, 2);
  const auto error = [](const at::Tensor& q, const at::Tensor& k,
                        const Options& options) -> std::string {
    try {
      HierarchicalTopkMask(q, k, options);
    } catch (const c10::Error& e) {
      return e.what_without_backtrace();
    }
    return "";
  };
  const Options options;
  EXPECT_THAT(error(q[0], k, options),
              HasSubstr("[num_heads, queries, head_dim]"));
  EXPECT_THAT(error(q, k.slice(2, 0, 8), options), HasSubstr("[2, 8, 8]"));
  EXPECT_THAT(error(q.slice(0, 0, 3), k, options), HasSubstr("no multiple"));
  EXPECT_THAT(error(q, k.slice(1, 0, 7), options), HasSubstr("7 keys for 8"));
  EXPECT_THAT(error(q.to(at::kFloat), k, options),
              HasSubstr("one floating dtype"));
  Options odd;
  odd.top_k = 511;
  EXPECT_THAT(error(q, k, odd), HasSubstr("top_k 511"));
  Options near;
  near.window = 3;
  EXPECT_THAT(error(q, k, near), HasSubstr("keys after them"));
}

}  // namespace
}  // namespace repro
