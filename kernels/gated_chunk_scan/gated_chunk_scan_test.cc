#include "kernels/gated_chunk_scan/gated_chunk_scan.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cumsum.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/tril.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/autograd.h>

#include <tuple>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/testing/testing.h"

namespace repro {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

struct Inputs {
  at::Tensor gate, k, v;
};

Inputs Random(int64_t batch, int64_t seq_len, int64_t heads, int64_t groups,
              int64_t dim, double bias = 0) {
  return {at::sigmoid(RandomNormal({batch, seq_len, heads, dim}, 1) + bias),
          RandomNormal({batch, seq_len, groups, dim}, 2),
          RandomNormal({batch, seq_len, heads, dim}, 3)};
}

// y_t = sum_{s <= t in t's chunk} exp(G_t - G_s) (1 - g_s) x_s with G the
// running sum of log g: a weighted sum, another algorithm than the recurrence.
at::Tensor WeightedSum(const at::Tensor& gate, const at::Tensor& x,
                       int64_t chunk_size) {
  const int64_t repeats = gate.size(2) / x.size(2);
  const at::Tensor values = x.repeat({1, 1, repeats, 1});
  std::vector<at::Tensor> chunks;
  for (int64_t t = 0; t < gate.size(1); t += chunk_size) {
    const int64_t n = std::min(chunk_size, gate.size(1) - t);
    const at::Tensor g = gate.narrow(1, t, n).permute({0, 2, 3, 1});
    const at::Tensor log_sum = g.log().cumsum(-1);
    const at::Tensor weights =
        (log_sum.unsqueeze(-1) - log_sum.unsqueeze(-2)).exp().tril();
    const at::Tensor inputs =
        (1 - g) * values.narrow(1, t, n).permute({0, 2, 3, 1});
    chunks.push_back(at::matmul(weights, inputs.unsqueeze(-1))
                         .squeeze(-1)
                         .permute({0, 3, 1, 2}));
  }
  return at::cat(chunks, 1);
}

class GatedChunkScanShapes
    : public testing::TestWithParam<std::tuple<int64_t, int64_t>> {};

TEST_P(GatedChunkScanShapes, IsTheWeightedSum) {
  const auto [seq_len, chunk_size] = GetParam();
  const Inputs in = Random(2, seq_len, 4, 2, 3);
  const auto [k, v] = GatedChunkScan(in.gate, in.k, in.v, chunk_size);
  const at::Tensor expected_k = WeightedSum(in.gate, in.k, chunk_size),
                   expected_v = WeightedSum(in.gate, in.v, chunk_size);
  EXPECT_THAT(k, IsCloseTo(expected_k, 1e-10, 1e-12));
  EXPECT_THAT(v, IsCloseTo(expected_v, 1e-10, 1e-12));

  const auto [k32, v32] =
      GatedChunkScan(in.gate.to(at::kFloat), in.k.to(at::kFloat),
                     in.v.to(at::kFloat), chunk_size);
  EXPECT_EQ(k32.scalar_type(), at::kFloat);
  EXPECT_THAT(k32, RelativeErrorBelow(expected_k, 1e-6));
  EXPECT_THAT(v32, RelativeErrorBelow(expected_v, 1e-6));

  for (const auto type : {at::kBFloat16, at::kHalf}) {
    for (const auto gate_type : {at::kFloat, type}) {
      const auto [k16, v16] = GatedChunkScan(
          in.gate.to(gate_type), in.k.to(type), in.v.to(type), chunk_size);
      EXPECT_EQ(v16.scalar_type(), type);
      const double bound = type == at::kHalf ? 2e-3 : 1e-2;
      EXPECT_THAT(k16, RelativeErrorBelow(expected_k, bound));
      EXPECT_THAT(v16, RelativeErrorBelow(expected_v, bound));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Lengths, GatedChunkScanShapes,
    testing::Combine(testing::Values<int64_t>(1, 63, 64, 65, 500),
                     testing::Values<int64_t>(1, 3, 16, 64, 1000)));

TEST(GatedChunkScan, WorkedExample) {
  // g = 1/2 and chunks of two, by hand.
  const at::Tensor k = at::tensor({1., 2., 0., 1.}).view({1, 4, 1, 1}),
                   v = at::tensor({1., 3., 5., 7.}).view({1, 4, 1, 1});
  const auto [yk, yv] = GatedChunkScan(at::full_like(k, .5), k, v, 2);
  EXPECT_THAT(yk.flatten(), IsCloseTo(at::tensor({.5, 1.25, 0., .5}), 0, 1e-7));
  EXPECT_THAT(yv.flatten(),
              IsCloseTo(at::tensor({.5, 1.75, 2.5, 4.75}), 0, 1e-7));
}

TEST(GatedChunkScan, OfAConstantIsItTimesWhatTheGatesForgot) {
  const Inputs in = Random(1, 48, 2, 1, 5);
  const auto [k, v] = GatedChunkScan(in.gate, at::full_like(in.k, 3.),
                                     at::full_like(in.v, -2.), 16);
  const at::Tensor forgot =
      (1 - in.gate.view({1, 3, 16, 2, 5}).cumprod(2)).view({1, 48, 2, 5});
  EXPECT_THAT(k, IsCloseTo(3 * forgot, 1e-12, 1e-14));
  EXPECT_THAT(v, IsCloseTo(-2 * forgot, 1e-12, 1e-14));
}

TEST(GatedChunkScan, ChunkSizeOneDoesNotAverage) {
  const Inputs in = Random(2, 9, 2, 2, 4);
  const auto [k, v] = GatedChunkScan(in.gate, in.k, in.v, 1);
  EXPECT_THAT(k, IsCloseTo((1 - in.gate) * in.k, 1e-14, 0));
  EXPECT_THAT(v, IsCloseTo((1 - in.gate) * in.v, 1e-14, 0));
}

TEST(GatedChunkScan, HeadsTakeTheGroupsInTurn) {
  const Inputs in = Random(1, 10, 6, 3, 2);
  const auto k = std::get<0>(GatedChunkScan(in.gate, in.k, in.v, 4));
  const auto repeated = std::get<0>(GatedChunkScan(
      in.gate,
      at::stack({in.k.select(2, 0), in.k.select(2, 1), in.k.select(2, 2),
                 in.k.select(2, 0), in.k.select(2, 1), in.k.select(2, 2)},
                2),
      in.v, 4));
  EXPECT_THAT(k, IsIdenticalTo(repeated));
}

TEST(GatedChunkScan, StridedInputs) {
  // One projection holds all, as in RAT.
  const at::Tensor all = RandomNormal({2, 21, 10, 4}, 7);
  const at::Tensor
      gate = at::sigmoid(all).slice(2, 4, 8),
      k = all.slice(2, 8),
      v = all.slice(2, 0, 4).transpose(0, 1).contiguous().transpose(0, 1);
  const auto [yk, yv] = GatedChunkScan(gate, k, v, 8);
  const auto [dense_k, dense_v] =
      GatedChunkScan(gate.contiguous(), k.contiguous(), v.contiguous(), 8);
  EXPECT_THAT(yk, IsIdenticalTo(dense_k));
  EXPECT_THAT(yv, IsIdenticalTo(dense_v));
}

TEST(GatedChunkScan, Empty) {
  for (const std::vector<int64_t>& sizes : {std::vector<int64_t>{0, 5, 2, 4},
                                            {2, 0, 2, 4},
                                            {2, 5, 0, 4},
                                            {2, 5, 2, 0}}) {
    const at::Tensor x = at::empty(sizes).requires_grad_();
    const auto [k, v] = GatedChunkScan(x, x, x, 4);
    EXPECT_EQ(k.sizes(), sizes);
    EXPECT_EQ(v.sizes(), sizes);
    (k + v).sum().backward();
    EXPECT_EQ(x.grad().sizes(), sizes);
  }
}

TEST(GatedChunkScan, Gradients) {
  for (const int64_t chunk_size : {1, 3, 4, 100}) {
    const Inputs in = Random(2, 7, 4, 2, 2);
    EXPECT_TRUE(CheckGradients(
        [&](const std::vector<at::Tensor>& x) {
          const auto [k, v] = GatedChunkScan(x[0], x[1], x[2], chunk_size);
          return at::stack({k, v});
        },
        {in.gate, in.k, in.v}))
        << chunk_size;
  }
}

TEST(GatedChunkScan, GradientOfOneOutputAlone) {
  const Inputs in = Random(1, 5, 2, 1, 3);
  EXPECT_TRUE(CheckGradients(
      [](const std::vector<at::Tensor>& x) {
        return std::get<0>(GatedChunkScan(x[0], x[1], x[2], 3));
      },
      {in.gate, in.k, in.v}));
}

TEST(GatedChunkScan, GradientsKeepTheInputsDtypes) {
  const Inputs in = Random(1, 33, 4, 2, 3);
  const at::Tensor gate = in.gate.to(at::kFloat).requires_grad_(),
                   k = in.k.to(at::kBFloat16).requires_grad_(),
                   v = in.v.to(at::kBFloat16).requires_grad_();
  const auto [yk, yv] = GatedChunkScan(gate, k, v, 16);
  const at::Tensor weight = RandomNormal(yv.sizes(), 5);
  ((yk + yv) * weight.to(at::kBFloat16)).sum().backward();
  EXPECT_EQ(gate.grad().scalar_type(), at::kFloat);
  EXPECT_EQ(k.grad().scalar_type(), at::kBFloat16);
  EXPECT_EQ(v.grad().scalar_type(), at::kBFloat16);

  for (at::Tensor* t :
       {const_cast<at::Tensor*>(&in.gate), const_cast<at::Tensor*>(&in.k),
        const_cast<at::Tensor*>(&in.v)}) {
    t->requires_grad_();
  }
  const auto [yk64, yv64] = GatedChunkScan(in.gate, in.k, in.v, 16);
  ((yk64 + yv64) * weight).sum().backward();
  EXPECT_THAT(gate.grad(), RelativeErrorBelow(in.gate.grad(), 1e-2));
  EXPECT_THAT(k.grad(), RelativeErrorBelow(in.k.grad(), 1e-2));
  EXPECT_THAT(v.grad(), RelativeErrorBelow(in.v.grad(), 1e-2));
}

TEST(GatedChunkScan, DifferentiatingTwiceIsAnError) {
  const at::Tensor x = RandomNormal({1, 4, 2, 2}, 1).requires_grad_();
  const at::Tensor v = std::get<1>(GatedChunkScan(at::sigmoid(x), x, x, 2));
  const auto grads = torch::autograd::grad({v.square().sum()}, {x}, {},
                                           std::nullopt, /*create_graph=*/true);
  EXPECT_THAT([&] { grads[0].sum().backward(); },
              ThrowsMessage<c10::Error>(HasSubstr("differentiated twice")));
}

// Tokens one at a time, after a prefix that the scan has done.
TEST(GatedChunkScanStep, IsTheScan) {
  constexpr int64_t kSeqLen = 37, kChunk = 8, kPrefix = 19;
  Inputs in = Random(2, kSeqLen, 4, 2, 3);
  for (at::Tensor* t : {&in.gate, &in.k, &in.v}) *t = t->to(at::kFloat);
  const auto [k, v] = GatedChunkScan(in.gate, in.k, in.v, kChunk);
  for (const int64_t prefix : {int64_t{0}, kPrefix}) {
    // Where a chunk starts, whatever the states hold must not matter.
    at::Tensor k_state = at::full({2, 4, 3}, NAN), v_state = k_state.clone();
    if (prefix > 0) {
      k_state = k.select(1, prefix - 1).clone();
      v_state = v.select(1, prefix - 1).clone();
    }
    for (int64_t t = prefix; t < kSeqLen; ++t) {
      const at::Tensor first =
          at::scalar_tensor(t % kChunk == 0, at::kBool).view({1});
      GatedChunkScanStep(in.gate.select(1, t), in.k.select(1, t),
                         in.v.select(1, t), first, k_state, v_state);
      EXPECT_THAT(k_state, IsCloseTo(k.select(1, t), 1e-5, 1e-6)) << t;
      EXPECT_THAT(v_state, IsCloseTo(v.select(1, t), 1e-5, 1e-6)) << t;
    }
  }
}

TEST(GatedChunkScanStep, KeepsFloatStatesOfHalfInputs) {
  // A gate of 0.999 in float32: in bfloat16 it would round to 1.
  const at::Tensor gate = at::full({1, 1, 2}, .999),
                   x = at::ones({1, 1, 2}, at::kBFloat16);
  const at::Tensor k = at::zeros({1, 1, 2}), v = at::zeros({1, 1, 2});
  const at::Tensor first = at::scalar_tensor(false, at::kBool);
  for (int i = 0; i < 10; ++i) GatedChunkScanStep(gate, x, x, first, k, v);
  // 1 - .999^10
  EXPECT_THAT(v, IsCloseTo(at::full({1, 1, 2}, 0.00995511979025202), 1e-4, 0));
}

TEST(GatedChunkScan, BadInputs) {
  const at::Tensor x = at::ones({2, 4, 4, 8});
  const auto error = [](const at::Tensor& gate, const at::Tensor& k,
                        const at::Tensor& v, int64_t chunk_size,
                        const char* message) {
    EXPECT_THAT([&] { GatedChunkScan(gate, k, v, chunk_size); },
                ThrowsMessage<c10::Error>(HasSubstr(message)));
  };
  error(x, x, x, 0, "chunk_size must be positive, not 0");
  error(x, x, x[0], 2, "v must be [batch, seq_len, heads, head_dim], not [4");
  error(x.slice(1, 0, 3), x, x, 2, "not [2, 3, 4, 8]");
  error(x, x.slice(3, 0, 4), x, 2, "not [2, 4, 4, 4]");
  error(x, x.slice(1, 0, 2), x, 2, "not [2, 2, 4, 8]");
  error(x, x.slice(2, 0, 3), x, 2, "v's 4 heads are no multiple of k's 3");
  error(x, x.slice(2, 0, 0), x, 2, "v's 4 heads are no multiple of k's 0");
  error(x, x.to(at::kDouble), x, 2, "one floating dtype, not Double and Float");
  error(x, x.to(at::kLong), x.to(at::kLong), 2, "one floating dtype");
  error(x.to(at::kHalf), x, x, 2, "gate must be float32 or of v's dtype");
  error(x, x, x.to(at::kMeta), 2, "");
}

TEST(GatedChunkScanStep, BadInputs) {
  const at::Tensor x = at::ones({2, 4, 8});
  const at::Tensor first = at::scalar_tensor(true, at::kBool);
  const auto error = [&](const at::Tensor& v, const at::Tensor& first,
                         const at::Tensor& k_state, const char* message) {
    EXPECT_THAT([&] { GatedChunkScanStep(v, x, v, first, k_state, x); },
                ThrowsMessage<c10::Error>(HasSubstr(message)));
  };
  error(x[0], first, x, "v must be [batch, heads, head_dim], not [4, 8]");
  error(x, x, x, "first must be one bool");
  error(x, first.expand({2}), x, "first must be one bool");
  error(x, first, x.to(at::kHalf), "states must be float32");
  error(x, first, x[0], "states must be float32 of v's shape [2, 4, 8]");
}

}  // namespace
}  // namespace repro
