#include "kernels/sliding_window_attention/sliding_window_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>
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

// The whole matrix of scores.
at::Tensor Quadratic(const at::Tensor& q, const at::Tensor& k,
                     const at::Tensor& v, int64_t window, double scale) {
  const at::Tensor t = at::arange(q.size(2));
  const at::Tensor distance = t.unsqueeze(1) - t;
  const at::Tensor scores =
      (at::matmul(q, k.transpose(-1, -2)) * scale)
          .masked_fill((distance < 0).logical_or(distance >= window),
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

class SlidingWindowShapes
    : public testing::TestWithParam<std::tuple<int64_t, int64_t>> {};

TEST_P(SlidingWindowShapes, IsTheMaskedSoftmax) {
  const auto [seq_len, window] = GetParam();
  const Inputs in = Random(2, 2, seq_len, 16, 24);
  const at::Tensor expected = Quadratic(in.q, in.k, in.v, window, 0.25);
  EXPECT_THAT(SlidingWindowAttention(in.q, in.k, in.v, window),
              IsCloseTo(expected, 1e-10, 1e-12));
  for (const auto& [type, bound] :
       {std::make_pair(at::kFloat, 1e-5), std::make_pair(at::kBFloat16, 1e-2),
        std::make_pair(at::kHalf, 2e-3)}) {
    const at::Tensor out = SlidingWindowAttention(in.q.to(type), in.k.to(type),
                                                  in.v.to(type), window);
    EXPECT_EQ(out.scalar_type(), type);
    EXPECT_THAT(out, RelativeErrorBelow(expected, bound)) << type;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Lengths, SlidingWindowShapes,
    testing::Combine(
        testing::Values<int64_t>(1, 63, 64, 65, 500),
        testing::Values<int64_t>(1, 7, 65, 128, 500,
                                 std::numeric_limits<int64_t>::max())));

TEST(SlidingWindowAttention, GradientsOverSeveralBlocksAreAutograds) {
  Inputs in = Random(1, 2, 300, 8, 12);
  for (at::Tensor* t : {&in.q, &in.k, &in.v}) t->requires_grad_();
  const at::Tensor grad = RandomNormal(in.v.sizes(), 4);
  for (const int64_t window : {1, 65, 299}) {
    const auto ours = torch::autograd::grad(
        {SlidingWindowAttention(in.q, in.k, in.v, window, 0.3)},
        {in.q, in.k, in.v}, {grad});
    const auto expected = torch::autograd::grad(
        {Quadratic(in.q, in.k, in.v, window, 0.3)}, {in.q, in.k, in.v}, {grad});
    for (int i = 0; i < 3; ++i) {
      EXPECT_THAT(ours[i], IsCloseTo(expected[i], 1e-9, 1e-11)) << window << i;
    }
  }
}

TEST(SlidingWindowAttention, Gradients) {
  const Inputs in = Random(2, 1, 7, 3, 2);
  for (const int64_t window : {1, 3, 10}) {
    EXPECT_TRUE(CheckGradients(
        [window](const std::vector<at::Tensor>& x) {
          return SlidingWindowAttention(x[0], x[1], x[2], window);
        },
        {in.q, in.k, in.v}))
        << window;
  }
}

TEST(SlidingWindowAttention, WorkedExample) {
  // Scores of zero: means over the window.
  const at::Tensor v = at::tensor({1., 3., 5., 7.}).view({1, 1, 4, 1});
  EXPECT_THAT(SlidingWindowAttention(at::zeros_like(v), v, v, 2).flatten(),
              IsCloseTo(at::tensor({1., 2., 4., 6.}), 0, 1e-6));
  // Scores ln 3 and 0 at distance 1 and 0: weights 3/4 and 1/4.
  const at::Tensor k =
      at::tensor({std::log(3.), 0., std::log(3.), 0.}).view({1, 1, 4, 1});
  EXPECT_THAT(SlidingWindowAttention(at::ones_like(v), k, v, 2)
                  .flatten()
                  .slice(0, 1, 4, 2),
              IsCloseTo(at::tensor({1.5, 5.5}), 0, 1e-6));
}

TEST(SlidingWindowAttention, AWindowOfOneReturnsV) {
  const Inputs in = Random(1, 2, 70, 4, 5);
  EXPECT_THAT(SlidingWindowAttention(in.q, in.k, in.v, 1),
              IsCloseTo(in.v, 1e-14, 0));
}

TEST(SlidingWindowAttention, LargeScoresDoNotOverflow) {
  const Inputs in = Random(1, 1, 80, 8, 4);
  const at::Tensor out = SlidingWindowAttention(in.q.to(at::kFloat) * 1e3,
                                                in.k.to(at::kFloat) * 1e3,
                                                in.v.to(at::kFloat), 16);
  EXPECT_THAT(out,
              RelativeErrorBelow(
                  Quadratic(in.q, in.k, in.v, 16, 1e6 / std::sqrt(8.)), 1e-3));
}

TEST(SlidingWindowAttention, StridedInputs) {
  // One projection holds all, [batch, seq_len, heads, 3 head_dim].
  const at::Tensor all = RandomNormal({2, 33, 3, 15}, 7).transpose(1, 2);
  const at::Tensor q = all.slice(3, 0, 5), k = all.slice(3, 5, 10),
                   v = all.slice(3, 10);
  EXPECT_THAT(SlidingWindowAttention(q, k, v, 9),
              IsCloseTo(SlidingWindowAttention(q.contiguous(), k.contiguous(),
                                               v.contiguous(), 9),
                        1e-13, 1e-14));
}

TEST(SlidingWindowAttention, Empty) {
  for (const std::vector<int64_t>& sizes :
       {std::vector<int64_t>{0, 2, 5, 4}, {2, 0, 5, 4}, {2, 2, 0, 4}}) {
    const at::Tensor x = at::empty(sizes).requires_grad_();
    const at::Tensor out = SlidingWindowAttention(x, x, x, 4);
    EXPECT_EQ(out.sizes(), sizes);
    out.sum().backward();
    EXPECT_EQ(x.grad().sizes(), sizes);
  }
}

TEST(SlidingWindowAttention, GradientsKeepTheInputsDtype) {
  const Inputs in = Random(1, 2, 65, 8, 8);
  std::vector<at::Tensor> grads[2];
  for (const bool half : {false, true}) {
    std::vector<at::Tensor> x = {in.q, in.k, in.v};
    for (at::Tensor& t : x) {
      t = t.to(half ? at::kBFloat16 : at::kDouble).detach().requires_grad_();
    }
    grads[half] = torch::autograd::grad(
        {SlidingWindowAttention(x[0], x[1], x[2], 20)}, x,
        {RandomNormal(in.v.sizes(), 5).to(x[0].scalar_type())});
  }
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(grads[1][i].scalar_type(), at::kBFloat16);
    EXPECT_THAT(grads[1][i], RelativeErrorBelow(grads[0][i], 2e-2)) << i;
  }
}

TEST(SlidingWindowAttention, DifferentiatingTwiceIsAnError) {
  const at::Tensor x = RandomNormal({1, 1, 4, 2}, 1).requires_grad_();
  const auto grads =
      torch::autograd::grad({SlidingWindowAttention(x, x, x, 2)}, {x},
                            {RandomNormal({1, 1, 4, 2}, 2)}, std::nullopt,
                            /*create_graph=*/true);
  EXPECT_THAT([&] { grads[0].sum().backward(); },
              ThrowsMessage<c10::Error>(HasSubstr("not implemented")));
}

TEST(SlidingWindowAttention, BadInputs) {
  const at::Tensor x = at::ones({2, 3, 4, 8});
  const auto error = [](const at::Tensor& q, const at::Tensor& k,
                        const at::Tensor& v, int64_t window,
                        const char* message) {
    EXPECT_THAT([&] { SlidingWindowAttention(q, k, v, window); },
                ThrowsMessage<c10::Error>(HasSubstr(message)));
  };
  error(x, x, x, 0, "window must be positive, not 0");
  error(x[0], x[0], x[0], 2, "not [3, 4, 8]");
  error(x, x.slice(2, 0, 3), x, 2, "k must have q's shape [2, 3, 4, 8], not");
  error(x, x, x.slice(1, 0, 1), 2, "not [2, 1, 4, 8]");
  error(x.slice(3, 0, 0), x.slice(3, 0, 0), x, 2, "not [2, 3, 4, 0]");
  error(x, x, x.to(at::kHalf), 2, "one floating dtype, not Float, Float and");
  error(x.to(at::kLong), x.to(at::kLong), x.to(at::kLong), 2,
        "one floating dtype");
}

}  // namespace
}  // namespace repro
