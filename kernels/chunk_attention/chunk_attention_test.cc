#include "kernels/chunk_attention/chunk_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <c10/util/Exception.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <limits>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/testing/testing.h"

namespace repro {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

// The whole matrix of scores of all tokens, of which token t sees its own and
// the last ones of earlier chunks.
at::Tensor Quadratic(const at::Tensor& q, const at::Tensor& k,
                     const at::Tensor& v, int64_t chunk_size, double scale) {
  const at::Tensor t = at::arange(q.size(2));
  const at::Tensor query = t.unsqueeze(1);
  const at::Tensor seen = (t % chunk_size == chunk_size - 1)
                              .logical_and(t.div(chunk_size, "floor") <
                                           query.div(chunk_size, "floor"))
                              .logical_or(query == t);
  const at::Tensor scores =
      (at::matmul(q, k.transpose(-1, -2)) * scale)
          .masked_fill(seen.logical_not(),
                       -std::numeric_limits<double>::infinity());
  return at::matmul(at::softmax(scores, -1), v);
}

struct Inputs {
  at::Tensor q, k, v;
};

Inputs Random(int64_t batch, int64_t heads, int64_t seq_len, int64_t head_dim,
              int64_t value_dim) {
  return {RandomNormal({batch, heads, seq_len, head_dim}, 1),
          RandomNormal({batch, heads, seq_len, head_dim}, 2),
          RandomNormal({batch, heads, seq_len, value_dim}, 3)};
}

class ChunkAttentionShapes
    : public testing::TestWithParam<std::tuple<int64_t, int64_t>> {};

TEST_P(ChunkAttentionShapes, IsTheMaskedSoftmax) {
  const auto [seq_len, chunk_size] = GetParam();
  const Inputs in = Random(2, 2, seq_len, 16, 24);
  const at::Tensor expected = Quadratic(in.q, in.k, in.v, chunk_size, 0.25);
  EXPECT_THAT(ChunkAttention(in.q, in.k, in.v, chunk_size),
              IsCloseTo(expected, 1e-10, 1e-12));
  for (const auto& [type, bound] :
       {std::make_pair(at::kFloat, 1e-5), std::make_pair(at::kBFloat16, 1e-2),
        std::make_pair(at::kHalf, 2e-3)}) {
    const at::Tensor out =
        ChunkAttention(in.q.to(type), in.k.to(type), in.v.to(type), chunk_size);
    EXPECT_EQ(out.scalar_type(), type);
    EXPECT_THAT(out, RelativeErrorBelow(expected, bound)) << type;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Lengths, ChunkAttentionShapes,
    testing::Combine(testing::Values<int64_t>(1, 63, 64, 65, 500),
                     testing::Values<int64_t>(1, 3, 16, 64, 300)));

TEST(ChunkAttention, WorkedExample) {
  // q = 1, running averages in two chunks of two. The dossier's example: token
  // 2 weighs e^1.25 (2) and e^0 (2.5), token 3 e^1.25 and e^0.5.
  const at::Tensor k = at::tensor({.5, 1.25, 0., .5}).view({1, 1, 4, 1}),
                   v = at::tensor({.5, 1.75, 2.5, 4.75}).view({1, 1, 4, 1});
  EXPECT_THAT(ChunkAttention(at::ones_like(k), k, v, 2).flatten(),
              IsCloseTo(at::tensor({.5, 1.75, 1.9170251, 2.7124639}), 0, 1e-6));
}

TEST(ChunkAttention, TheFirstChunkReturnsV) {
  const Inputs in = Random(1, 2, 40, 4, 5);
  EXPECT_THAT(ChunkAttention(in.q, in.k, in.v, 30).narrow(2, 0, 30),
              IsCloseTo(in.v.narrow(2, 0, 30), 1e-14, 0));
  EXPECT_THAT(
      ChunkAttention(in.q, in.k, in.v, std::numeric_limits<int64_t>::max()),
      IsCloseTo(in.v, 1e-14, 0));
}

TEST(ChunkAttention, OnlyChunkEndsReachLaterTokens) {
  Inputs in = Random(1, 1, 32, 4, 4);
  in.v = in.v.requires_grad_();
  const at::Tensor grad =
      torch::autograd::grad(
          {ChunkAttention(in.q, in.k, in.v, 8).narrow(2, 24, 8).sum()},
          {in.v})[0]
          .abs()
          .sum(-1)
          .flatten();
  for (int64_t t = 0; t < 24; ++t) {
    EXPECT_EQ(grad[t].item<double>() > 0, t % 8 == 7) << t;
  }
}

TEST(ChunkAttention, GradientsOverSeveralBlocksAreAutograds) {
  Inputs in = Random(1, 2, 600, 8, 12);
  for (at::Tensor* t : {&in.q, &in.k, &in.v}) t->requires_grad_();
  const at::Tensor grad = RandomNormal(in.v.sizes(), 4);
  for (const int64_t chunk_size : {1, 16, 70}) {
    const auto ours = torch::autograd::grad(
        {ChunkAttention(in.q, in.k, in.v, chunk_size, 0.3)}, {in.q, in.k, in.v},
        {grad});
    const auto expected =
        torch::autograd::grad({Quadratic(in.q, in.k, in.v, chunk_size, 0.3)},
                              {in.q, in.k, in.v}, {grad});
    for (int i = 0; i < 3; ++i) {
      EXPECT_THAT(ours[i], IsCloseTo(expected[i], 1e-9, 1e-11))
          << chunk_size << i;
    }
  }
}

TEST(ChunkAttention, Gradients) {
  const Inputs in = Random(2, 1, 8, 3, 2);
  for (const int64_t chunk_size : {1, 3, 4, 10}) {
    EXPECT_TRUE(CheckGradients(
        [chunk_size](const std::vector<at::Tensor>& x) {
          return ChunkAttention(x[0], x[1], x[2], chunk_size);
        },
        {in.q, in.k, in.v}))
        << chunk_size;
  }
}

TEST(ChunkAttention, StridedInputs) {
  // One projection holds all, [batch, seq_len, heads, 3 head_dim].
  const at::Tensor all = RandomNormal({2, 33, 3, 15}, 7).transpose(1, 2);
  const at::Tensor q = all.slice(3, 0, 5), k = all.slice(3, 5, 10),
                   v = all.slice(3, 10);
  EXPECT_THAT(ChunkAttention(q, k, v, 4),
              IsCloseTo(ChunkAttention(q.contiguous(), k.contiguous(),
                                       v.contiguous(), 4),
                        1e-13, 1e-14));
}

TEST(ChunkAttention, Empty) {
  for (const std::vector<int64_t>& sizes :
       {std::vector<int64_t>{0, 2, 5, 4}, {2, 0, 5, 4}, {2, 2, 0, 4}}) {
    const at::Tensor x = at::empty(sizes).requires_grad_();
    const at::Tensor out = ChunkAttention(x, x, x, 4);
    EXPECT_EQ(out.sizes(), sizes);
    out.sum().backward();
    EXPECT_EQ(x.grad().sizes(), sizes);
  }
}

TEST(ChunkAttention, GradientsKeepTheInputsDtype) {
  const Inputs in = Random(1, 2, 65, 8, 8);
  std::vector<at::Tensor> grads[2];
  for (const bool half : {false, true}) {
    std::vector<at::Tensor> x = {in.q, in.k, in.v};
    for (at::Tensor& t : x) {
      t = t.to(half ? at::kBFloat16 : at::kDouble).detach().requires_grad_();
    }
    grads[half] = torch::autograd::grad(
        {ChunkAttention(x[0], x[1], x[2], 16)}, x,
        {RandomNormal(in.v.sizes(), 5).to(x[0].scalar_type())});
  }
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(grads[1][i].scalar_type(), at::kBFloat16);
    EXPECT_THAT(grads[1][i], RelativeErrorBelow(grads[0][i], 2e-2)) << i;
  }
}

TEST(ChunkAttention, DifferentiatingTwiceIsAnError) {
  const at::Tensor x = RandomNormal({1, 1, 4, 2}, 1).requires_grad_();
  const auto grads = torch::autograd::grad({ChunkAttention(x, x, x, 2)}, {x},
                                           {RandomNormal({1, 1, 4, 2}, 2)},
                                           std::nullopt, /*create_graph=*/true);
  EXPECT_THAT([&] { grads[0].sum().backward(); },
              ThrowsMessage<c10::Error>(HasSubstr("not implemented")));
}

// Token by token over a cache of chunk ends, what lies behind them poisoned.
TEST(ChunkAttentionStep, IsTheFullRun) {
  constexpr int64_t kSeqLen = 37, kChunk = 8;
  const Inputs in = Random(2, 3, kSeqLen, 6, 6);
  const at::Tensor expected = ChunkAttention(in.q, in.k, in.v, kChunk);
  at::Tensor k_cache = at::full({2, 3, 5, 6}, NAN, at::kDouble),
             v_cache = k_cache.clone();
  for (int64_t t = 0; t < kSeqLen; ++t) {
    const int64_t chunks = t / kChunk;
    EXPECT_THAT(ChunkAttentionStep(in.q.select(2, t), in.k.select(2, t),
                                   in.v.select(2, t), k_cache, v_cache,
                                   at::scalar_tensor(chunks, at::kLong)),
                IsCloseTo(expected.select(2, t), 1e-12, 1e-13))
        << t;
    if (t % kChunk == kChunk - 1) {
      k_cache.select(2, chunks).copy_(in.k.select(2, t));
      v_cache.select(2, chunks).copy_(in.v.select(2, t));
    }
  }
}

TEST(ChunkAttentionStep, AnEmptyCacheReturnsV) {
  const at::Tensor x = RandomNormal({2, 3, 4}, 1).to(at::kHalf),
                   v = RandomNormal({2, 3, 4}, 2).to(at::kHalf),
                   cache = at::empty({2, 3, 0, 4}, at::kHalf);
  EXPECT_THAT(ChunkAttentionStep(x, x, v, cache, cache,
                                 at::scalar_tensor(0, at::kLong).view({1})),
              IsIdenticalTo(v));
}

TEST(ChunkAttentionStep, BadInputs) {
  const at::Tensor x = at::ones({2, 3, 8}), cache = at::ones({2, 3, 5, 8});
  const auto error = [](const at::Tensor& q, const at::Tensor& k,
                        const at::Tensor& cache, const at::Tensor& num_chunks,
                        const char* message) {
    EXPECT_THAT([&] { ChunkAttentionStep(q, k, q, cache, cache, num_chunks); },
                ThrowsMessage<c10::Error>(HasSubstr(message)));
  };
  const at::Tensor two = at::scalar_tensor(2, at::kLong);
  error(x[0], x[0], cache, two, "q must be [batch, heads, head_dim]");
  error(x, x.slice(2, 0, 4), cache, two, "q's shape [2, 3, 8], not [2, 3, 4]");
  error(x, x, cache.slice(3, 0, 4), two, "not [2, 3, 5, 4]");
  error(x, x, cache[0], two, "not [3, 5, 8]");
  error(x, x, cache.to(at::kHalf), two, "Float on cpu, not Half");
  error(x, x, cache, two.to(at::kInt), "num_chunks must be one int64");
  error(x, x, cache, two.expand({2}), "num_chunks must be one int64");
  error(x, x, cache, two + 4, "num_chunks is 6, the cache's capacity 5");
  error(x, x, cache, two - 3, "num_chunks is -1");
}

TEST(ChunkAttention, BadInputs) {
  const at::Tensor x = at::ones({2, 3, 4, 8});
  const auto error = [](const at::Tensor& q, const at::Tensor& k,
                        const at::Tensor& v, int64_t chunk_size,
                        const char* message) {
    EXPECT_THAT([&] { ChunkAttention(q, k, v, chunk_size); },
                ThrowsMessage<c10::Error>(HasSubstr(message)));
  };
  error(x, x, x, 0, "chunk_size must be positive, not 0");
  error(x[0], x[0], x[0], 2, "not [3, 4, 8]");
  error(x, x.slice(2, 0, 3), x, 2, "k must have q's shape [2, 3, 4, 8], not");
  error(x, x, x.slice(1, 0, 1), 2, "not [2, 1, 4, 8]");
  error(x, x, x.to(at::kHalf), 2, "one floating dtype, not Float, Float and");
}

}  // namespace
}  // namespace repro
