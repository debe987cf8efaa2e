#include "kernels/taylor_linear_attention/taylor_linear_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cumsum.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/util/Exception.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <tuple>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/testing/testing.h"

namespace repro {
namespace {

constexpr double kEps = 1e-12;

struct Inputs {
  at::Tensor q, k, v;
};

Inputs Draw(int64_t n, int64_t d, int64_t value_dim, uint64_t seed,
            int64_t batch = 2, int64_t heads = 3) {
  return {RandomNormal({batch, heads, n, d}, seed),
          RandomNormal({batch, heads, n, d}, seed + 1),
          RandomNormal({batch, heads, n, value_dim}, seed + 2)};
}

// The definition, with the n x n matrix f.
at::Tensor Quadratic(const Inputs& x, bool normalize, double eps = kEps) {
  const at::Tensor s = at::matmul(x.q, x.k.transpose(-1, -2)) /
                       std::sqrt(static_cast<double>(x.q.size(-1)));
  const at::Tensor f = (1 + s + s * s / 2).tril();
  const at::Tensor y = at::matmul(f, x.v);
  return normalize ? y / (f.sum(-1, true) + eps) : y;
}

at::Tensor Narrow(const at::Tensor& x, int64_t start, int64_t length) {
  return x.narrow(2, start, length);
}

Inputs Narrow(const Inputs& x, int64_t start, int64_t length) {
  return {Narrow(x.q, start, length), Narrow(x.k, start, length),
          Narrow(x.v, start, length)};
}

at::Tensor Attention(const Inputs& x, bool normalize) {
  return std::get<0>(TaylorLinearAttention(x.q, x.k, x.v, normalize, kEps));
}

class Shapes
    : public testing::TestWithParam<std::tuple<int64_t, int64_t, int64_t>> {};

TEST_P(Shapes, IsTheQuadraticForm) {
  const auto [n, d, value_dim] = GetParam();
  const Inputs x = Draw(n, d, value_dim, 1, 1, 2);
  for (const bool normalize : {false, true}) {
    const at::Tensor expected = Quadratic(x, normalize);
    EXPECT_THAT(Attention(x, normalize), RelativeErrorBelow(expected, 1e-13))
        << normalize;
    EXPECT_THAT(
        Attention({x.q.to(at::kFloat), x.k.to(at::kFloat), x.v.to(at::kFloat)},
                  normalize),
        RelativeErrorBelow(expected, 1e-5))
        << normalize;
    const Inputs rounded = {x.q.to(at::kBFloat16), x.k.to(at::kBFloat16),
                            x.v.to(at::kBFloat16)};
    const Inputs exact = {rounded.q.to(at::kDouble), rounded.k.to(at::kDouble),
                          rounded.v.to(at::kDouble)};
    EXPECT_THAT(Attention(rounded, normalize),
                RelativeErrorBelow(Quadratic(exact, normalize), 1e-2))
        << normalize;
  }
}

INSTANTIATE_TEST_SUITE_P(TaylorLinearAttention, Shapes,
                         testing::Combine(testing::Values(1, 63, 64, 65, 1000),
                                          testing::Values(8, 16),
                                          testing::Values(48, 64)));

TEST(TaylorLinearAttention, LongSequence) {
  const Inputs x = Draw(4097, 16, 8, 4, 1, 1);
  EXPECT_THAT(Attention(x, true),
              RelativeErrorBelow(Quadratic(x, true), 1e-12));
}

// q = k = 1/16 in 16 dimensions, v = 1/64: s = 1/64, f = 1.01574707...
TEST(TaylorLinearAttention, WorkedExample) {
  const int64_t n = 130;
  const Inputs x = {at::full({1, 1, n, 16}, 1.0 / 16, at::kDouble),
                    at::full({1, 1, n, 16}, 1.0 / 16, at::kDouble),
                    at::full({1, 1, n, 64}, 1.0 / 64, at::kDouble)};
  const at::Tensor t = at::arange(1, n + 1, at::kDouble).view({1, 1, n, 1});
  EXPECT_THAT(Attention(x, false),
              IsCloseTo((t * 1.0157470703125 / 64).expand(x.v.sizes()), 1e-12,
                        0));  // 1 + 1/64 + 1/8192
  EXPECT_THAT(Attention(x, true), IsCloseTo(x.v, 1e-11, 0));
}

TEST(TaylorLinearAttention, ZeroQueryGivesTheRunningMean) {
  Inputs x = Draw(100, 16, 12, 7);
  x.q = at::zeros_like(x.q);
  const at::Tensor t = at::arange(1, 101, at::kDouble).view({100, 1});
  EXPECT_THAT(Attention(x, true),
              IsCloseTo(at::cumsum(x.v, 2) / t, 1e-11, 1e-12));
}

// f > 0: each output lies within the values so far.
TEST(TaylorLinearAttention, IsAConvexCombination) {
  const Inputs x = Draw(150, 16, 5, 8);
  const at::Tensor y =
      std::get<0>(TaylorLinearAttention(x.q, x.k, x.v, true, /*eps=*/0));
  const at::Tensor above = std::get<0>(x.v.cummax(2)) + 1e-12 - y;
  const at::Tensor below = y - std::get<0>(x.v.cummin(2)) + 1e-12;
  EXPECT_TRUE((above >= 0).all().item<bool>());
  EXPECT_TRUE((below >= 0).all().item<bool>());
}

TEST(TaylorLinearAttention, IsCausal) {
  const Inputs x = Draw(100, 16, 8, 9);
  const int64_t changed = 70;
  Inputs other = {x.q.clone(), x.k.clone(), x.v.clone()};
  for (at::Tensor* t : {&other.q, &other.k, &other.v}) {
    t->select(2, changed).add_(1);
  }
  const at::Tensor y = Attention(x, true), z = Attention(other, true);
  EXPECT_THAT(Narrow(z, 0, changed), IsIdenticalTo(Narrow(y, 0, changed)));
  EXPECT_FALSE(z.select(2, changed).equal(y.select(2, changed)));
}

// phi of the header, feature by feature.
TEST(TaylorLinearAttention, StateIsTheSumOfFeatures) {
  const Inputs x = Draw(70, 3, 4, 10, 1, 1);
  const auto [y, state] = TaylorLinearAttention(x.q, x.k, x.v);
  const double linear = std::pow(3.0, 0.25), square = std::sqrt(2.0 * 3.0);
  std::vector<at::Tensor> features = {at::full({70}, 1.0, at::kDouble)};
  for (int a = 0; a < 3; ++a) {
    features.push_back(x.k[0][0].select(1, a) / linear);
  }
  for (int a = 0; a < 3; ++a) {
    for (int b = 0; b < 3; ++b) {
      features.push_back(x.k[0][0].select(1, a) * x.k[0][0].select(1, b) /
                         square);
    }
  }
  const at::Tensor phi = at::stack(features);  // [13, 70]
  EXPECT_THAT(state.kv[0][0],
              IsCloseTo(at::matmul(phi, x.v[0][0]), 1e-12, 1e-12));
  EXPECT_THAT(state.k[0][0], IsCloseTo(phi.sum(1), 1e-12, 1e-12));
}

TEST(TaylorLinearAttention, PrefillThenStepsIsTheFullRun) {
  const Inputs x = Draw(90, 16, 24, 11);
  for (const bool normalize : {false, true}) {
    const auto [expected, last] =
        TaylorLinearAttention(x.q, x.k, x.v, normalize, kEps);
    const Inputs prompt = Narrow(x, 0, 77);
    auto [y, state] =
        TaylorLinearAttention(prompt.q, prompt.k, prompt.v, normalize, kEps);
    std::vector<at::Tensor> out = {y};
    for (int64_t t = 77; t < 90; ++t) {
      out.push_back(
          TaylorLinearAttentionStep(x.q.select(2, t), x.k.select(2, t),
                                    x.v.select(2, t), state, normalize, kEps)
              .unsqueeze(2));
    }
    EXPECT_THAT(at::cat(out, 2), RelativeErrorBelow(expected, 1e-13));
    EXPECT_THAT(state.kv, RelativeErrorBelow(last.kv, 1e-13));
    EXPECT_THAT(state.k, RelativeErrorBelow(last.k, 1e-13));
  }
}

TEST(TaylorLinearAttention, ContinuesFromAState) {
  const Inputs x = Draw(200, 16, 24, 12);
  const auto [expected, last] = TaylorLinearAttention(x.q, x.k, x.v);
  const Inputs head = Narrow(x, 0, 101), tail = Narrow(x, 101, 99);
  const auto [y, state] = TaylorLinearAttention(head.q, head.k, head.v);
  const at::Tensor kv = state.kv.clone();
  const auto [z, final_state] =
      TaylorLinearAttention(tail.q, tail.k, tail.v, true, kEps, state);
  EXPECT_THAT(at::cat({y, z}, 2), RelativeErrorBelow(expected, 1e-13));
  EXPECT_THAT(final_state.kv, RelativeErrorBelow(last.kv, 1e-13));
  EXPECT_THAT(final_state.k, RelativeErrorBelow(last.k, 1e-13));
  EXPECT_THAT(state.kv, IsIdenticalTo(kv));  // an input is not written to
}

TEST(TaylorLinearAttention, StridedInputs) {
  const Inputs x = Draw(70, 16, 8, 13);
  const auto strided = [](const at::Tensor& t) {
    return t.permute({3, 2, 0, 1}).contiguous().permute({2, 3, 1, 0});
  };
  EXPECT_THAT(Attention({strided(x.q), strided(x.k), strided(x.v)}, true),
              RelativeErrorBelow(Attention(x, true), 1e-14));
}

TEST(TaylorLinearAttention, Empty) {
  for (const int64_t batch : {0, 2}) {
    const int64_t n = batch == 0 ? 5 : 0;
    const Inputs x = Draw(n, 16, 8, 14, batch);
    const auto [y, state] = TaylorLinearAttention(x.q, x.k, x.v);
    EXPECT_EQ(y.sizes(), x.v.sizes());
    EXPECT_THAT(state.kv,
                IsIdenticalTo(at::zeros({batch, 3, 273, 8}, at::kDouble)));
    EXPECT_THAT(state.k,
                IsIdenticalTo(at::zeros({batch, 3, 273}, at::kDouble)));
    const at::Tensor q = x.q.clone().requires_grad_();
    at::sum(std::get<0>(TaylorLinearAttention(q, x.k, x.v))).backward();
    EXPECT_EQ(q.grad().sizes(), x.q.sizes());
  }
}

TEST(TaylorLinearAttention, Gradients) {
  const Inputs x = Draw(70, 3, 2, 15, 1, 1);
  for (const bool normalize : {false, true}) {
    EXPECT_TRUE(CheckGradients(
        [&](const auto& in) {
          return Attention({in[0], in[1], in[2]}, normalize);
        },
        {x.q, x.k, x.v}));
  }
  // From a state that is not zero.
  const Inputs before = Draw(20, 3, 2, 18, 1, 1);
  const auto [y, state] = TaylorLinearAttention(before.q, before.k, before.v);
  EXPECT_TRUE(CheckGradients(
      [&, &state = state](const auto& in) {
        return std::get<0>(
            TaylorLinearAttention(in[0], in[1], in[2], true, kEps, state));
      },
      {x.q, x.k, x.v}));
}

TEST(TaylorLinearAttention, GradientsAreTheQuadraticForms) {
  Inputs x = Draw(200, 16, 24, 19);
  const at::Tensor dy = RandomNormal(x.v.sizes(), 20);
  for (at::Tensor* t : {&x.q, &x.k, &x.v}) t->requires_grad_();
  for (const bool normalize : {false, true}) {
    const auto expected =
        torch::autograd::grad({Quadratic(x, normalize)}, {x.q, x.k, x.v}, {dy});
    const auto actual =
        torch::autograd::grad({Attention(x, normalize)}, {x.q, x.k, x.v}, {dy});
    for (int i = 0; i < 3; ++i) {
      EXPECT_THAT(actual[i], RelativeErrorBelow(expected[i], 1e-12)) << i;
    }
  }
}

TEST(TaylorLinearAttention, StateHasNoGradient) {
  const Inputs x = Draw(5, 4, 3, 21);
  const auto [y, state] =
      TaylorLinearAttention(x.q.clone().requires_grad_(), x.k, x.v);
  EXPECT_TRUE(y.requires_grad());
  EXPECT_FALSE(state.kv.requires_grad());
  EXPECT_FALSE(state.k.requires_grad());
}

TEST(TaylorLinearAttention, Errors) {
  const Inputs x = Draw(5, 4, 3, 22);
  const auto run = [&](const at::Tensor& q, const at::Tensor& k,
                       const at::Tensor& v) { TaylorLinearAttention(q, k, v); };
  EXPECT_THROW(run(x.q[0], x.k[0], x.v[0]), c10::Error);
  EXPECT_THROW(run(x.q, Narrow(x.k, 0, 4), x.v), c10::Error);
  EXPECT_THROW(run(x.q, x.k, Narrow(x.v, 0, 4)), c10::Error);
  EXPECT_THROW(run(x.q, x.k, x.v.to(at::kFloat)), c10::Error);
  EXPECT_THROW(run(x.q.narrow(3, 0, 0), x.k.narrow(3, 0, 0), x.v), c10::Error);
  EXPECT_THROW(run(x.q.to(at::kLong), x.k.to(at::kLong), x.v.to(at::kLong)),
               c10::Error);

  const auto [y, state] = TaylorLinearAttention(x.q, x.k, x.v);
  TaylorState wrong_type = {state.kv.to(at::kFloat), state.k};
  TaylorState wrong_shape = {state.kv, state.k.narrow(2, 0, 4)};
  for (const TaylorState& wrong : {wrong_type, wrong_shape}) {
    EXPECT_THROW(TaylorLinearAttention(x.q, x.k, x.v, true, kEps, wrong),
                 c10::Error);
    EXPECT_THROW(TaylorLinearAttentionStep(x.q.select(2, 0), x.k.select(2, 0),
                                           x.v.select(2, 0), wrong),
                 c10::Error);
  }
  const at::Tensor q = x.q.clone().requires_grad_();
  EXPECT_THROW(TaylorLinearAttentionStep(q.select(2, 0), x.k.select(2, 0),
                                         x.v.select(2, 0), state),
               c10::Error);
  const at::Tensor once = std::get<0>(TaylorLinearAttention(q, x.k, x.v));
  EXPECT_THROW(torch::autograd::grad({once.sum()}, {q}, {},
                                     /*retain_graph=*/true,
                                     /*create_graph=*/true),
               c10::Error);
}

}  // namespace
}  // namespace repro
