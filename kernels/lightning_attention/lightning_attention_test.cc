#include "kernels/lightning_attention/lightning_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>
#include <torch/csrc/autograd/autograd.h>

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/testing/testing.h"

namespace repro {
namespace {

struct Inputs {
  at::Tensor q, k, v, decay, state;
};

// float64; slopes from strong to none over the heads.
Inputs Random(int64_t batch, int64_t heads, int64_t length, int64_t key_dim,
              int64_t value_dim, uint64_t seed = 1) {
  Inputs in;
  in.q = RandomNormal({batch, heads, length, key_dim}, seed);
  in.k = RandomNormal({batch, heads, length, key_dim}, seed + 1);
  in.v = RandomNormal({batch, heads, length, value_dim}, seed + 2);
  in.decay = at::tensor({2.0, 0.1, 0.004, 0.0}, at::kFloat).narrow(0, 0, heads);
  in.state = RandomNormal({batch, heads, key_dim, value_dim}, seed + 3);
  return in;
}

// o_t = sum_{j <= t} e^{-s (t - j)} (q_t . k_j) v_j + e^{-s (t + 1)} q_t KV_0.
at::Tensor Quadratic(const Inputs& in) {
  const at::Tensor s = in.decay.to(at::kDouble).view({-1, 1, 1});
  const at::Tensor t = at::arange(in.q.size(2), at::kDouble);
  const at::Tensor mask =
      at::exp(-s * (t.unsqueeze(1) - t).clamp_min(0)).tril();
  return at::matmul(at::matmul(in.q, in.k.transpose(2, 3)) * mask, in.v) +
         at::exp(-s * (t + 1).unsqueeze(1)) * at::matmul(in.q, in.state);
}

// KV_t = e^{-s} KV_{t-1} + k_t^T v_t, o_t = q_t KV_t, and the last KV.
std::pair<at::Tensor, at::Tensor> Recurrent(const Inputs& in) {
  const at::Tensor factor =
      at::exp(-in.decay.to(at::kDouble)).view({1, -1, 1, 1});
  at::Tensor state = in.state;
  std::vector<at::Tensor> out;
  for (int64_t t = 0; t < in.q.size(2); ++t) {
    const auto row = [t](const at::Tensor& x) { return x.narrow(2, t, 1); };
    state = factor * state + at::matmul(row(in.k).transpose(2, 3), row(in.v));
    out.push_back(at::matmul(row(in.q), state));
  }
  return {out.empty() ? at::empty(in.v.sizes(), at::kDouble) : at::cat(out, 2),
          state};
}

TEST(LightningAttention, WorkedExample) {
  // q = k = v = dO = 1 and e^{-s} = 1/2: o = dq = (1, 1.5, 1.75, 1.875), dk =
  // dv = its reverse.
  const auto ones = [] {
    return at::ones({1, 1, 4, 1}, at::kDouble).requires_grad_();
  };
  const at::Tensor q = ones(), k = ones(), v = ones();
  const at::Tensor decay = at::full({1}, 0.6931471805599453, at::kDouble);
  const auto [out, state] = LightningAttention(q, k, v, decay);
  out.backward(at::ones_like(out));
  const at::Tensor expected =
      at::tensor({1.0, 1.5, 1.75, 1.875}).view({1, 1, 4, 1});
  const at::Tensor reversed = expected.flip({2});
  EXPECT_THAT(out, IsCloseTo(expected, 1e-14, 0));
  EXPECT_THAT(state, IsCloseTo(at::full({1, 1, 1, 1}, 1.875), 1e-14, 0));
  EXPECT_THAT(q.grad(), IsCloseTo(expected, 1e-14, 0));
  EXPECT_THAT(k.grad(), IsCloseTo(reversed, 1e-14, 0));
  EXPECT_THAT(v.grad(), IsCloseTo(reversed, 1e-14, 0));
}

class LightningAttentionLength : public testing::TestWithParam<int64_t> {};

TEST_P(LightningAttentionLength, ChunkedIsRecurrentIsQuadratic) {
  const int64_t length = GetParam();
  const Inputs in = Random(2, 4, length, 8, 5);
  const auto [out, state] =
      LightningAttention(in.q, in.k, in.v, in.decay, in.state);
  const auto [recurrent, last] = Recurrent(in);
  EXPECT_THAT(out, RelativeErrorBelow(recurrent, 1e-12));
  EXPECT_THAT(out, RelativeErrorBelow(Quadratic(in), 1e-12));
  EXPECT_THAT(state, RelativeErrorBelow(last, 1e-12));
  const auto to = [](const at::Tensor& x, at::ScalarType type) {
    return x.to(type);
  };
  const auto [single, single_state] = LightningAttention(
      to(in.q, at::kFloat), to(in.k, at::kFloat), to(in.v, at::kFloat),
      in.decay, to(in.state, at::kFloat));
  EXPECT_EQ(single.scalar_type(), at::kFloat);
  EXPECT_THAT(single, RelativeErrorBelow(recurrent, 1e-5));
  EXPECT_THAT(single_state, RelativeErrorBelow(last, 1e-5));
  const auto [half, half_state] = LightningAttention(
      to(in.q, at::kBFloat16), to(in.k, at::kBFloat16), to(in.v, at::kBFloat16),
      in.decay, to(in.state, at::kFloat));
  EXPECT_EQ(half.scalar_type(), at::kBFloat16);
  EXPECT_EQ(half_state.scalar_type(), at::kFloat);
  EXPECT_THAT(half, RelativeErrorBelow(recurrent, 1e-2));
}

INSTANTIATE_TEST_SUITE_P(Lengths, LightningAttentionLength,
                         testing::Values(1, 2, 63, 64, 65, 127, 200, 1000));

TEST(LightningAttention, GradientsAreTheQuadraticForms) {
  const Inputs in = Random(2, 4, 150, 6, 4, 7);
  const std::vector<at::Tensor> leaves = {in.q, in.k, in.v, in.state};
  for (const at::Tensor& leaf : leaves) leaf.requires_grad_();
  const at::Tensor dout = RandomNormal({2, 4, 150, 4}, 20);
  const at::Tensor dstate = RandomNormal(in.state.sizes(), 21);
  const auto [out, state] =
      LightningAttention(in.q, in.k, in.v, in.decay, in.state);
  const auto gradients =
      torch::autograd::grad({out, state}, leaves, {dout, dstate});
  const at::Tensor expected_state = Recurrent(in).second;
  const auto expected = torch::autograd::grad({Quadratic(in), expected_state},
                                              leaves, {dout, dstate});
  for (size_t i = 0; i < leaves.size(); ++i) {
    EXPECT_THAT(gradients[i], RelativeErrorBelow(expected[i], 1e-12)) << i;
  }
}

TEST(LightningAttention, GradientsAreFiniteDifferences) {
  const Inputs in = Random(1, 2, 67, 3, 2, 30);
  const auto both = [&](const auto& x) {
    const auto [out, state] =
        LightningAttention(x[0], x[1], x[2], in.decay, x[3]);
    return at::cat({out.flatten(), state.flatten()});
  };
  EXPECT_TRUE(CheckGradients(both, {in.q, in.k, in.v, in.state}));
}

TEST(LightningAttention, GradientThroughOneResult) {
  const Inputs in = Random(1, 2, 70, 3, 2, 40);
  EXPECT_TRUE(CheckGradients(
      [&](const auto& x) {
        return std::get<0>(LightningAttention(x[0], x[1], x[2], in.decay));
      },
      {in.q, in.k, in.v}));
  EXPECT_TRUE(CheckGradients(
      [&](const auto& x) {
        // q has no part in the state.
        return std::get<1>(LightningAttention(in.q, x[0], x[1], in.decay));
      },
      {in.k, in.v}));
}

TEST(LightningAttention, Homogeneity) {
  // <dq, q> = <dk, k> = <dv, v> = <dO, o>: o is linear in each.
  const Inputs in = Random(1, 3, 130, 4, 4, 50);
  const std::vector<at::Tensor> leaves = {in.q, in.k, in.v};
  for (const at::Tensor& leaf : leaves) leaf.requires_grad_();
  const at::Tensor dout = RandomNormal({1, 3, 130, 4}, 55);
  const at::Tensor out =
      std::get<0>(LightningAttention(in.q, in.k, in.v, in.decay));
  const at::Tensor expected = (out.detach() * dout).sum();
  out.backward(dout);
  for (const at::Tensor& leaf : leaves) {
    EXPECT_THAT((leaf.grad() * leaf.detach()).sum(),
                IsCloseTo(expected, 1e-12, 0));
  }
}

TEST(LightningAttention, LimitsOfDecay) {
  Inputs in = Random(1, 2, 100, 3, 3, 60);
  in.state.zero_();
  in.decay = at::tensor({0.0, 1000.0}, at::kFloat);
  const auto [out, state] = LightningAttention(in.q, in.k, in.v, in.decay);
  // s = 0: prefix sums of k^T v; s to infinity: (q_t . k_t) v_t.
  const at::Tensor outer =
      in.k.unsqueeze(4) * in.v.unsqueeze(3);  // [1, 2, n, key, value]
  const at::Tensor prefix =
      at::matmul(in.q.unsqueeze(3), outer.cumsum(2)).squeeze(3);
  const at::Tensor own = (in.q * in.k).sum(-1, /*keepdim=*/true) * in.v;
  EXPECT_THAT(out.select(1, 0), RelativeErrorBelow(prefix.select(1, 0), 1e-12));
  EXPECT_THAT(out.select(1, 1), RelativeErrorBelow(own.select(1, 1), 1e-12));
}

TEST(LightningAttention, StridedInputs) {
  const Inputs in = Random(2, 3, 90, 6, 4, 70);
  // [batch, n, heads, dim] in memory, every second element of the last axis.
  const auto strided = [](const at::Tensor& x) {
    return at::stack(
               {x.transpose(1, 2).contiguous(), x.transpose(1, 2).contiguous()},
               4)
        .select(4, 1)
        .transpose(1, 2);
  };
  const auto [out, state] =
      LightningAttention(in.q, in.k, in.v, in.decay, in.state);
  const auto [out2, state2] =
      LightningAttention(strided(in.q), strided(in.k), strided(in.v), in.decay,
                         in.state.transpose(2, 3).contiguous().transpose(2, 3));
  EXPECT_THAT(out2, IsIdenticalTo(out));
  EXPECT_THAT(state2, IsIdenticalTo(state));
}

TEST(LightningAttention, WithoutFinalState) {
  const Inputs in = Random(1, 2, 70, 4, 3, 75);
  in.v.requires_grad_();
  const at::Tensor expected =
      std::get<0>(LightningAttention(in.q, in.k, in.v, in.decay));
  const auto [out, state] =
      LightningAttention(in.q, in.k, in.v, in.decay, std::nullopt, std::nullopt,
                         /*output_final_state=*/false);
  EXPECT_THAT(out, IsIdenticalTo(expected));
  EXPECT_EQ(state.numel(), 0);
  const at::Tensor dout = RandomNormal(out.sizes(), 76);
  EXPECT_THAT(
      torch::autograd::grad({out}, {in.v}, {dout})[0],
      IsIdenticalTo(torch::autograd::grad({expected}, {in.v}, {dout})[0]));
}

TEST(LightningAttention, StateCarriesOver) {
  const Inputs in = Random(2, 4, 150, 5, 6, 80);
  const auto [out, state] =
      LightningAttention(in.q, in.k, in.v, in.decay, in.state);
  const auto part = [](const at::Tensor& x, int64_t from, int64_t to) {
    return x.narrow(2, from, to - from);
  };
  const auto [first, middle] =
      LightningAttention(part(in.q, 0, 70), part(in.k, 0, 70),
                         part(in.v, 0, 70), in.decay, in.state);
  const auto [second, last] =
      LightningAttention(part(in.q, 70, 150), part(in.k, 70, 150),
                         part(in.v, 70, 150), in.decay, middle);
  EXPECT_THAT(at::cat({first, second}, 2), RelativeErrorBelow(out, 1e-12));
  EXPECT_THAT(last, RelativeErrorBelow(state, 1e-12));
}

TEST(LightningAttention, PrefillThenDecodeIsTheFullRun) {
  const Inputs in = Random(2, 4, 100, 5, 6, 90);
  const auto [out, state] = LightningAttention(in.q, in.k, in.v, in.decay);
  const auto [prefill, kv] =
      LightningAttention(in.q.narrow(2, 0, 77), in.k.narrow(2, 0, 77),
                         in.v.narrow(2, 0, 77), in.decay);
  std::vector<at::Tensor> outs = {prefill};
  for (int64_t t = 77; t < 100; ++t) {
    outs.push_back(LightningAttentionStep(in.q.select(2, t), in.k.select(2, t),
                                          in.v.select(2, t), in.decay, kv)
                       .unsqueeze(2));
  }
  EXPECT_THAT(at::cat(outs, 2), RelativeErrorBelow(out, 1e-12));
  EXPECT_THAT(kv, RelativeErrorBelow(state, 1e-12));
}

TEST(LightningAttention, CuSeqlensAreSeparateSequences) {
  const std::vector<int64_t> bounds = {0, 1, 1, 65, 130, 200};
  Inputs in = Random(1, 4, 200, 5, 6, 100);
  const int64_t sequences = static_cast<int64_t>(bounds.size()) - 1;
  in.state = RandomNormal({sequences, 4, 5, 6}, 105);
  const std::vector<at::Tensor> leaves = {in.q, in.k, in.v, in.state};
  for (const at::Tensor& leaf : leaves) leaf.requires_grad_();
  const at::Tensor dout = RandomNormal({1, 4, 200, 6}, 106);
  const at::Tensor dstate = RandomNormal(in.state.sizes(), 107);
  std::vector<at::Tensor> outs, states;
  for (int64_t i = 0; i < sequences; ++i) {
    const auto part = [&](const at::Tensor& x) {
      return x.narrow(2, bounds[i], bounds[i + 1] - bounds[i]);
    };
    const auto [out, state] = LightningAttention(
        part(in.q), part(in.k), part(in.v), in.decay, in.state.narrow(0, i, 1));
    outs.push_back(out);
    states.push_back(state);
  }
  const at::Tensor expected = at::cat(outs, 2), last = at::cat(states, 0);
  const auto expected_gradients =
      torch::autograd::grad({expected, last}, leaves, {dout, dstate});
  for (const auto type : {at::kInt, at::kLong}) {
    const auto [out, state] = LightningAttention(
        in.q, in.k, in.v, in.decay, in.state, at::tensor(bounds, type));
    EXPECT_THAT(out, IsIdenticalTo(expected));
    EXPECT_THAT(state, IsIdenticalTo(last));
    const auto gradients =
        torch::autograd::grad({out, state}, leaves, {dout, dstate});
    for (size_t i = 0; i < leaves.size(); ++i) {
      EXPECT_THAT(gradients[i],
                  RelativeErrorBelow(expected_gradients[i], 1e-14))
          << i;
    }
  }
}

TEST(LightningAttention, Empty) {
  const at::Tensor decay = at::zeros({3}, at::kFloat);
  const auto [out, state] =
      LightningAttention(at::empty({0, 3, 5, 4}), at::empty({0, 3, 5, 4}),
                         at::empty({0, 3, 5, 2}), decay);
  EXPECT_EQ(out.sizes(), at::IntArrayRef({0, 3, 5, 2}));
  EXPECT_EQ(state.sizes(), at::IntArrayRef({0, 3, 4, 2}));
  // No token: the state stays, and its gradient passes through.
  const at::Tensor initial = RandomNormal({2, 3, 4, 2}, 110).to(at::kFloat);
  initial.requires_grad_();
  const auto [none, same] =
      LightningAttention(at::empty({2, 3, 0, 4}), at::empty({2, 3, 0, 4}),
                         at::empty({2, 3, 0, 2}), decay, initial);
  EXPECT_EQ(none.sizes(), at::IntArrayRef({2, 3, 0, 2}));
  EXPECT_THAT(same, IsIdenticalTo(initial));
  same.backward(at::ones_like(same));
  EXPECT_THAT(initial.grad(), IsIdenticalTo(at::ones({2, 3, 4, 2})));
}

TEST(LightningAttention, Errors) {
  const Inputs in = Random(2, 2, 10, 4, 3, 120);
  const auto run = [&](const Inputs& x, std::optional<at::Tensor> state = {},
                       std::optional<at::Tensor> cu_seqlens = {}) {
    LightningAttention(x.q, x.k, x.v, x.decay, state, cu_seqlens);
  };
  Inputs bad = in;
  bad.k = RandomNormal({2, 2, 10, 5}, 1);
  EXPECT_THROW(run(bad), c10::Error);
  bad = in;
  bad.v = RandomNormal({2, 2, 9, 3}, 1);
  EXPECT_THROW(run(bad), c10::Error);
  bad = in;
  bad.v = in.v.to(at::kFloat);
  EXPECT_THROW(run(bad), c10::Error);
  bad = in;
  bad.decay = at::zeros({3}, at::kFloat);
  EXPECT_THROW(run(bad), c10::Error);
  bad = in;
  bad.q = in.q.select(0, 0);
  EXPECT_THROW(run(bad), c10::Error);
  bad = in;
  bad.q = in.q.to(at::kLong);
  bad.k = bad.q;
  bad.v = in.v.to(at::kLong);
  EXPECT_THROW(run(bad), c10::Error);
  EXPECT_THROW(run(in, RandomNormal({2, 2, 3, 4}, 1)), c10::Error);
  EXPECT_THROW(run(in, in.state.to(at::kHalf)), c10::Error);
  // cu_seqlens: batch of two, wrong dtype, wrong end, wrong start, descending.
  EXPECT_THROW(run(in, {}, at::tensor({0, 10}, at::kInt)), c10::Error);
  const Inputs one = Random(1, 2, 10, 4, 3, 120);
  EXPECT_THROW(run(one, {}, at::tensor({0.0, 10.0})), c10::Error);
  EXPECT_THROW(run(one, {}, at::tensor({0, 9}, at::kInt)), c10::Error);
  EXPECT_THROW(run(one, {}, at::tensor({1, 10}, at::kInt)), c10::Error);
  EXPECT_THROW(run(one, {}, at::tensor({0, 7, 5, 10}, at::kInt)), c10::Error);
  EXPECT_THROW(run(one, in.state, at::tensor({0, 10}, at::kInt)), c10::Error);
}

TEST(LightningAttention, NoDoubleBackward) {
  const Inputs in = Random(1, 2, 10, 4, 3, 130);
  in.q.requires_grad_();
  const at::Tensor out =
      std::get<0>(LightningAttention(in.q, in.k, in.v, in.decay));
  EXPECT_THROW(torch::autograd::grad({out.sum()}, {in.q}, {},
                                     /*retain_graph=*/true,
                                     /*create_graph=*/true),
               c10::Error);
}

TEST(LightningAttention, InferenceMode) {
  const Inputs in = Random(1, 2, 70, 4, 3, 140);
  const auto [out, state] = LightningAttention(in.q, in.k, in.v, in.decay);
  const c10::InferenceMode guard;
  const auto [again, again_state] =
      LightningAttention(in.q, in.k, in.v, in.decay);
  EXPECT_THAT(again, IsIdenticalTo(out));
  EXPECT_THAT(again_state, IsIdenticalTo(state));
}

TEST(LightningAttentionStep, WorkedExample) {
  // KV = 1/2 * 2 + 3 * 4 = 13, o = 5 * 13.
  const auto one = [](double x) { return at::full({1, 1, 1}, x, at::kDouble); };
  const at::Tensor state = at::full({1, 1, 1, 1}, 2.0, at::kDouble);
  const at::Tensor out = LightningAttentionStep(
      one(5), one(3), one(4), at::full({1}, 0.6931471805599453, at::kDouble),
      state);
  EXPECT_THAT(out, IsCloseTo(one(65), 1e-14, 0));
  EXPECT_THAT(state, IsCloseTo(at::full({1, 1, 1, 1}, 13.0), 1e-14, 0));
}

TEST(LightningAttentionStep, Errors) {
  const Inputs in = Random(2, 2, 1, 4, 3, 150);
  const at::Tensor q = in.q.select(2, 0), k = in.k.select(2, 0),
                   v = in.v.select(2, 0);
  EXPECT_THROW(LightningAttentionStep(in.q, in.k, in.v, in.decay, in.state),
               c10::Error);
  EXPECT_THROW(
      LightningAttentionStep(q, k, v, in.decay, in.state.narrow(0, 0, 1)),
      c10::Error);
  EXPECT_THROW(LightningAttentionStep(
                   q, k, v, in.decay,
                   in.state.transpose(2, 3).contiguous().transpose(2, 3)),
               c10::Error);
  EXPECT_THROW(LightningAttentionStep(q.clone().requires_grad_(), k, v,
                                      in.decay, in.state),
               c10::Error);
}

}  // namespace
}  // namespace repro
