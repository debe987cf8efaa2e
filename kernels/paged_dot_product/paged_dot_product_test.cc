#include "kernels/paged_dot_product/paged_dot_product.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/randperm.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/testing/testing.h"

namespace repro {
namespace {

// One product after the other, in float64.
at::Tensor Loop(const at::Tensor& q, const at::Tensor& k_pool,
                const at::Tensor& slots, bool interleaved) {
  const int64_t heads = q.size(0), kv_heads = k_pool.size(1);
  at::Tensor scores = at::zeros({heads, slots.size(0)}, at::kDouble);
  for (int64_t h = 0; h < heads; ++h) {
    const int64_t kv = interleaved ? h % kv_heads : h / (heads / kv_heads);
    for (int64_t t = 0; t < slots.size(0); ++t) {
      const at::Tensor k = k_pool[slots[t].item<int>()][kv];
      scores[h][t] = (q[h].to(at::kDouble) * k.to(at::kDouble)).sum();
    }
  }
  return scores;
}

at::Tensor RandomSlots(int64_t pool, int64_t tokens) {
  return at::randperm(pool).slice(0, 0, tokens).to(at::kInt);
}

TEST(PagedDotProduct, IsOneProductAfterTheOther) {
  for (const bool interleaved : {false, true}) {
    for (const int64_t tokens : {1, 7, 40}) {
      const at::Tensor q = RandomNormal({6, 10}, 1);
      const at::Tensor pool = RandomNormal({50, 3, 10}, 2);
      const at::Tensor slots = RandomSlots(50, tokens);
      const at::Tensor expected = Loop(q, pool, slots, interleaved);
      auto [scores, lse] = PagedDotProduct(q, pool, slots, interleaved);
      EXPECT_THAT(scores, IsCloseTo(expected, 1e-12, 1e-12));
      EXPECT_THAT(lse, IsCloseTo(expected.exp().sum(1).log(), 1e-12, 1e-12));
      EXPECT_THAT(SoftVote(scores, lse),
                  IsCloseTo(at::softmax(expected, 1).sum(0), 1e-12, 1e-12));

      auto [single, single_lse] = PagedDotProduct(
          q.to(at::kFloat), pool.to(at::kFloat), slots, interleaved);
      EXPECT_EQ(single.scalar_type(), at::kFloat);
      EXPECT_THAT(single, IsCloseTo(expected, 1e-5, 1e-5));
    }
  }
}

TEST(PagedDotProduct, OneHeadAGroupIsTheSameInBothOrders) {
  const at::Tensor q = RandomNormal({4, 8}, 1),
                   pool = RandomNormal({9, 4, 8}, 2);
  const at::Tensor slots = RandomSlots(9, 9);
  EXPECT_THAT(
      std::get<0>(PagedDotProduct(q, pool, slots, true)),
      IsIdenticalTo(std::get<0>(PagedDotProduct(q, pool, slots, false))));
}

// Three heads with logits [0, 20, 0], [2, 0, 0], [2, 0, 0]: summed logits take
// token 1, votes token 0 (worked by hand: e^2 / (e^2 + 2) = 0.786986).
TEST(SoftVote, OneLoudHeadHasOneVote) {
  const at::Tensor scores =
      at::tensor({0., 20., 0., 2., 0., 0., 2., 0., 0.}).view({3, 3});
  const at::Tensor votes = SoftVote(scores, scores.exp().sum(1).log());
  EXPECT_THAT(votes, IsCloseTo(at::tensor({1.5740, 1.2130, 0.2130}), 0, 5e-5));
}

TEST(SoftVote, SumsToTheNumberOfHeads) {
  const at::Tensor scores = RandomNormal({7, 100}, 3) * 20;
  const at::Tensor votes = SoftVote(scores, scores.logsumexp(1));
  EXPECT_NEAR(votes.sum().item<double>(), 7, 1e-12);
  // A head changes the votes by its own softmax at most.
  at::Tensor louder = scores.clone();
  louder[2] *= 1000;
  const at::Tensor changed = SoftVote(louder, louder.logsumexp(1));
  EXPECT_LE((changed - votes).abs().max().item<double>(), 1);
}

TEST(PagedDotProduct, NoTokens) {
  const at::Tensor q = RandomNormal({4, 8}, 1),
                   pool = RandomNormal({9, 2, 8}, 2);
  auto [scores, lse] = PagedDotProduct(q, pool, at::empty({0}, at::kInt));
  EXPECT_EQ(scores.sizes(), (at::IntArrayRef{4, 0}));
  EXPECT_TRUE(
      lse.eq(-std::numeric_limits<double>::infinity()).all().item<bool>());
  EXPECT_EQ(SoftVote(scores, lse).numel(), 0);
}

TEST(PagedDotProduct, SaysWhatDoesNotFit) {
  const at::Tensor q = RandomNormal({4, 8}, 1),
                   pool = RandomNormal({9, 2, 8}, 2);
  const at::Tensor slots = at::arange(3, at::kInt);
  const auto error = [](auto&& call) -> std::string {
    try {
      call();
    } catch (const c10::Error& e) {
      return e.what_without_backtrace();
    }
    return "";
  };
  using testing::HasSubstr;
  EXPECT_THAT(error([&] { PagedDotProduct(q[0], pool, slots); }),
              HasSubstr("[num_heads, head_dim]"));
  EXPECT_THAT(error([&] { PagedDotProduct(q, pool.slice(2, 0, 7), slots); }),
              HasSubstr("[9, 2, 7]"));
  EXPECT_THAT(error([&] { PagedDotProduct(q.slice(0, 0, 3), pool, slots); }),
              HasSubstr("3 query heads are no multiple of 2"));
  EXPECT_THAT(error([&] { PagedDotProduct(q, pool, slots.to(at::kLong)); }),
              HasSubstr("expected [tokens] of int"));
  EXPECT_THAT(error([&] { PagedDotProduct(q.to(at::kFloat), pool, slots); }),
              HasSubstr("one floating dtype"));
  EXPECT_THAT(
      error([&] { PagedDotProduct(q.clone().requires_grad_(), pool, slots); }),
      HasSubstr("not differentiable"));
  EXPECT_NE(error([&] { PagedDotProduct(q, pool, slots + 7); }), "");
  EXPECT_THAT(error([&] { SoftVote(q, q[0]); }), HasSubstr("expected [4]"));
}

}  // namespace
}  // namespace repro
