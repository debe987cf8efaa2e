#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "common/nn/attention.h"
#include "common/nn/initializer.h"
#include "common/nn/layers.h"
#include "common/nn/module.h"
#include "common/tensor/generator.h"
#include "common/tensor/testing.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro {
namespace {

using ::testing::ElementsAre;

Initializer Init(uint64_t seed) { return Initializer(MakeGenerator(seed)); }

at::Tensor Draw(at::IntArrayRef shape, uint64_t seed) {
  return at::randn(shape, MakeGenerator(seed), at::kDouble);
}

class Block : public Module {
 public:
  explicit Block(const Initializer& init)
      : linear(AddModule<Linear>("linear", 3, 3, init)),
        norm(AddModule<BatchNorm2d>("norm", 3, init)) {}
  Linear* linear;
  BatchNorm2d* norm;
};

class Net : public Module {
 public:
  explicit Net(const Initializer& init)
      : block(AddModule<Block>("block", init)),
        scale(AddParameter("scale", init.Ones({2}))) {}
  using Module::AddBuffer;
  using Module::AddParameter;
  Block* block;
  at::Tensor scale;
};

std::vector<std::string> Names(const NamedTensors& tensors) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors) names.push_back(name);
  return names;
}

TEST(ModuleTest, NamesParametersAndBuffersByPath) {
  const Net net(Init(1));
  EXPECT_THAT(Names(net.NamedParameters()),
              ElementsAre("scale", "block.linear.weight", "block.linear.bias",
                          "block.norm.weight", "block.norm.bias"));
  EXPECT_THAT(Names(net.NamedBuffers()),
              ElementsAre("block.norm.running_mean", "block.norm.running_var"));
  for (const at::Tensor& p : net.Parameters()) {
    EXPECT_TRUE(p.requires_grad() && p.is_leaf());
  }
}

TEST(ModuleTest, TrainReachesChildren) {
  Net net(Init(1));
  EXPECT_TRUE(net.block->norm->training());
  net.Train(false);
  EXPECT_FALSE(net.block->norm->training());
  net.Train();
  EXPECT_TRUE(net.block->norm->training());
}

TEST(ModuleTest, ToConvertsInPlace) {
  Net net(Init(1));
  const at::Tensor handle = net.Parameters()[1];
  const at::Tensor before = handle.detach().to(at::kDouble).clone();
  net.To(at::kDouble);
  EXPECT_THAT(handle, IsIdenticalTo(before));
  EXPECT_TRUE(handle.requires_grad());
  EXPECT_EQ(net.NamedBuffers()[0].second.scalar_type(), at::kDouble);
  EXPECT_EQ(net.block->linear->Forward(Draw({2, 3}, 1)).scalar_type(),
            at::kDouble);
}

TEST(ModuleTest, RefusesBadNamesAndUndefinedTensors) {
  Net net(Init(1));
  EXPECT_THROW(net.AddParameter("scale", at::ones({1})), c10::Error);
  EXPECT_THROW(net.AddBuffer("block", at::ones({1})), c10::Error);
  EXPECT_THROW(net.AddParameter("a.b", at::ones({1})), c10::Error);
  EXPECT_THROW(net.AddParameter("", at::ones({1})), c10::Error);
  EXPECT_THROW(net.AddParameter("x", at::Tensor()), c10::Error);
}

TEST(InitializerTest, MomentsAndBoundsOfEachDistribution) {
  const Initializer init = Init(7);
  const int64_t n = 400;
  // Of m samples the standard deviation has relative error 1 / sqrt(2 m) for a
  // normal: 0.18% here. 1% is over five of them; the seed is fixed.
  const auto std_of = [](const at::Tensor& x) {
    return x.std().item<double>();
  };
  EXPECT_NEAR(std_of(init.Normal({n, n}, 0.3)) / 0.3, 1, 0.01);

  // fan_out = 400 * 3 * 3 / 4 groups = 900.
  const at::Tensor kaiming = init.KaimingNormalFanOut({n, 50, 3, 3}, 4);
  EXPECT_NEAR(std_of(kaiming) / std::sqrt(2.0 / 900), 1, 0.01);

  const double bound = std::sqrt(6.0 / 500);
  const at::Tensor xavier = init.XavierUniform({n, 100});
  EXPECT_LE(xavier.abs().max().item<double>(), bound * (1 + 1e-6));
  EXPECT_NEAR(std_of(xavier) / (bound / std::sqrt(3.0)), 1, 0.01);

  const at::Tensor fan_in = init.UniformFanIn({n, 100}, 100);
  EXPECT_LE(fan_in.abs().max().item<double>(), 0.1 * (1 + 1e-6));
  EXPECT_NEAR(std_of(fan_in) / (0.1 / std::sqrt(3.0)), 1, 0.01);
}

TEST(InitializerTest, TruncatedNormal) {
  const at::Tensor narrow = Init(3).TruncatedNormal({400, 400}, 0.02);
  EXPECT_NEAR(narrow.std().item<double>() / 0.02, 1, 0.01);
  // Cut at 2 = 2 std. scipy.stats.truncnorm.std(-2, 2) = 0.8796256610342398
  const at::Tensor wide = Init(3).TruncatedNormal({400, 400}, 1);
  EXPECT_LE(wide.abs().max().item<double>(), 2);
  EXPECT_NEAR(wide.std().item<double>() / 0.8796256610342398, 1, 0.01);
  EXPECT_NEAR(wide.mean().item<double>(), 0, 0.01);
}

TEST(InitializerTest, SeededAndFreeOnMeta) {
  EXPECT_THAT(Init(5).Normal({10}, 1), IsIdenticalTo(Init(5).Normal({10}, 1)));
  const Initializer half(MakeGenerator(5), at::TensorOptions(at::kDouble));
  EXPECT_THAT(half.Normal({10}, 1),
              IsIdenticalTo(Init(5).Normal({10}, 1).to(at::kDouble)));
  const Initializer meta = Initializer::Meta();
  for (const at::Tensor& x :
       {meta.Ones({1 << 20, 1 << 20}), meta.Normal({3, 2}, 1),
        meta.TruncatedNormal({3, 2}, 1), meta.XavierUniform({3, 2})}) {
    EXPECT_TRUE(x.is_meta());
  }
  EXPECT_THROW(Init(1).XavierUniform({3}), c10::Error);
}

TEST(LinearTest, IsXTimesWeightTransposedPlusBias) {
  const Linear linear(at::tensor({1., 2., 3., 4., 5., 6.}).view({2, 3}),
                      at::tensor({10., 20.}));
  EXPECT_THAT(linear.Forward(at::tensor({1., 0., -1.}).view({1, 3})),
              IsCloseTo(at::tensor({8., 18.}).view({1, 2}), 0, 0));
  const Linear no_bias(at::ones({2, 3}), at::Tensor());
  EXPECT_EQ(no_bias.Parameters().size(), 1);
  EXPECT_THROW(Linear(at::ones({2, 3}), at::ones({3})), c10::Error);
  EXPECT_THROW(Linear(at::ones({3}), at::Tensor()), c10::Error);
}

TEST(StackedLinearTest, IsEachModelsLinear) {
  const StackedLinear stacked(5, 4, {Init(1), Init(2), Init(3)});
  const at::Tensor x = Draw({3, 7, 5}, 4).to(at::kFloat);
  const at::Tensor y = stacked.Forward(x);
  ASSERT_EQ(y.sizes(), at::IntArrayRef({3, 7, 4}));
  for (int m = 0; m < 3; ++m) {
    const Linear alone(5, 4, Init(m + 1));
    EXPECT_THAT(y[m], IsCloseTo(alone.Forward(x[m]), 1e-5, 1e-6));
  }
  EXPECT_THROW(stacked.Forward(x.narrow(0, 0, 2)), c10::Error);
  EXPECT_THROW(StackedLinear(5, 4, {}), c10::Error);
  EXPECT_THROW(StackedLinear({at::ones({2, 3}), at::ones({3, 3})},
                             {at::ones({2}), at::ones({3})}),
               c10::Error);
}

TEST(StackedLinearTest, GradientsDoNotMix) {
  const StackedLinear stacked(2, 2, {Init(1), Init(2)});
  stacked.Forward(at::ones({2, 3, 2}))[0].sum().backward();
  const at::Tensor gradient = stacked.Parameters()[0].grad();
  EXPECT_GT(gradient[0].abs().sum().item<double>(), 0);
  EXPECT_EQ(gradient[1].abs().sum().item<double>(), 0);
}

TEST(Conv2dTest, GroupedDilatedStrided) {
  // Each channel's 3 x 3 ones kernel with dilation 2, at stride 2 and padding
  // 2, sums the 3 x 3 grid around (0,0), (0,2), ... of a 4 x 4 image.
  Conv2dOptions options;
  options.stride = 2, options.padding = 2, options.dilation = 2;
  options.groups = 2;
  const Conv2d conv(at::ones({2, 1, 3, 3}),
                    at::tensor({0., 100.}).to(at::kFloat), options);
  const at::Tensor image = at::arange(16, at::kFloat).view({1, 1, 4, 4});
  // Positions (0,0),(0,2),(2,0),(2,2) all have the even pixels 0,2,8,10 in
  // reach and no others: 20.
  const at::Tensor out = conv.Forward(image.expand({1, 2, 4, 4}));
  EXPECT_THAT(out[0][0], IsCloseTo(at::full({2, 2}, 20.0), 0, 0));
  EXPECT_THAT(out[0][1], IsCloseTo(at::full({2, 2}, 120.0), 0, 0));
}

TEST(NormTest, LayerNormAndBatchNorm) {
  LayerNorm layer(4, Init(1), 0);
  // Mean 2.5, variance 1.25 (over n, not n - 1).
  const double s = std::sqrt(1.25);
  EXPECT_THAT(
      layer.Forward(at::tensor({1., 2., 3., 4.}).to(at::kFloat)),
      IsCloseTo(at::tensor({-1.5 / s, -0.5 / s, 0.5 / s, 1.5 / s}), 1e-6, 0));

  BatchNorm2d batch(1, Init(1), 0);
  const at::Tensor x =
      at::tensor({1., 2., 3., 4.}).to(at::kFloat).view({2, 1, 1, 2});
  EXPECT_THAT(
      batch.Forward(x).flatten(),
      IsCloseTo(at::tensor({-1.5 / s, -0.5 / s, 0.5 / s, 1.5 / s}), 1e-6, 0));
  // running = 0.9 initial + 0.1 batch; the running variance is the unbiased
  // one, 5 / 3.
  const NamedTensors buffers = batch.NamedBuffers();
  EXPECT_NEAR(buffers[0].second.item<double>(), 0.25, 1e-6);
  EXPECT_NEAR(buffers[1].second.item<double>(), 0.9 + 0.1 * 5 / 3, 1e-6);
  batch.Train(false);
  EXPECT_NEAR(batch.Forward(x)[0][0][0][0].item<double>(),
              0.75 / std::sqrt(0.9 + 0.1 * 5 / 3), 1e-6);
  EXPECT_THROW(batch.Forward(at::ones({2, 3, 1, 1})), c10::Error);
}

TEST(LayerScaleTest, ScalesItsAxis) {
  const LayerScale nchw(3, 0.01, 1, Init(1));
  EXPECT_THAT(nchw.Forward(at::ones({2, 3, 4, 5})),
              IsCloseTo(at::full({2, 3, 4, 5}, 0.01), 1e-6, 0));
  const LayerScale last(3, 2, -1, Init(1));
  last.Parameters()[0].detach().copy_(at::tensor({1., 2., 3.}));
  EXPECT_THAT(last.Forward(at::ones({2, 3}))[1],
              IsCloseTo(at::tensor({1., 2., 3.}), 0, 0));
  EXPECT_THROW(nchw.Forward(at::ones({2, 4, 3})), c10::Error);
  EXPECT_THROW(nchw.Forward(at::ones({3})), c10::Error);
}

TEST(DropTest, DropsTheShareAndKeepsTheMean) {
  const at::Tensor x = at::ones({1000, 100});
  const at::Tensor y = Dropout(x, 0.2, true, MakeGenerator(1));
  // Kept elements are 1 / 0.8. Of 1e5 draws the share's error is 0.0013.
  EXPECT_NEAR((y == 0).to(at::kDouble).mean().item<double>(), 0.2, 0.006);
  EXPECT_NEAR(y.max().item<double>(), 1.25, 1e-6);
  EXPECT_THAT(y, IsIdenticalTo(Dropout(x, 0.2, true, MakeGenerator(1))));
  EXPECT_THAT(Dropout(x, 0.2, false, MakeGenerator(1)), IsIdenticalTo(x));
  EXPECT_THAT(Dropout(x, 0, true, MakeGenerator(1)), IsIdenticalTo(x));
  EXPECT_THROW(Dropout(x, 1, true, MakeGenerator(1)), c10::Error);

  const at::Tensor paths = DropPath(x, 0.5, true, MakeGenerator(2));
  const at::Tensor sums = paths.sum(1);
  EXPECT_TRUE(((sums == 0) | (sums == 200)).all().item<bool>());
  EXPECT_NEAR(sums.mean().item<double>(), 100, 16);
  EXPECT_THROW(DropPath(at::ones({}), 0.5, true, MakeGenerator(2)), c10::Error);
}

class AttentionTest : public testing::TestWithParam<bool> {};

TEST_P(AttentionTest, SoftmaxAgreesWithLibTorch) {
  const bool causal = GetParam();
  const at::Tensor q = Draw({2, 3, 7, 4}, 1), k = Draw({2, 3, 7, 4}, 2),
                   v = Draw({2, 3, 7, 5}, 3);
  EXPECT_THAT(
      SoftmaxAttention(q, k, v, causal),
      IsCloseTo(at::scaled_dot_product_attention(q, k, v, {}, 0, causal), 1e-10,
                1e-12));
  EXPECT_THAT(
      SoftmaxAttention(q, k, v, causal, 0.3),
      IsCloseTo(at::scaled_dot_product_attention(q, k, v, {}, 0, causal, 0.3),
                1e-10, 1e-12));
}

// The sum over sources in plain loops.
TEST_P(AttentionTest, LinearIsItsDefinition) {
  const bool causal = GetParam();
  // 150 is two full chunks of 64 and a part.
  const int64_t n = 150, d = 3, m = 2;
  const at::Tensor q = Draw({n, d}, 1), k = Draw({n, d}, 2),
                   v = Draw({n, m}, 3);
  const auto phi = [](double x) { return x > 0 ? x + 1 : std::exp(x); };
  at::Tensor expected = at::zeros({n, m}, at::kDouble);
  const auto qa = q.accessor<double, 2>(), ka = k.accessor<double, 2>(),
             va = v.accessor<double, 2>();
  auto out = expected.accessor<double, 2>();
  for (int64_t i = 0; i < n; ++i) {
    double total = 0;
    for (int64_t j = 0; j < (causal ? i + 1 : n); ++j) {
      double weight = 0;
      for (int64_t c = 0; c < d; ++c) weight += phi(qa[i][c]) * phi(ka[j][c]);
      total += weight;
      for (int64_t c = 0; c < m; ++c) out[i][c] += weight * va[j][c];
    }
    for (int64_t c = 0; c < m; ++c) out[i][c] /= total + 1e-6;
  }
  EXPECT_THAT(LinearAttention(q, k, v, causal),
              IsCloseTo(expected, 1e-10, 1e-12));
}

TEST_P(AttentionTest, Gradients) {
  const bool causal = GetParam();
  const std::vector<at::Tensor> inputs = {
      Draw({1, 2, 3, 2}, 1), Draw({1, 2, 3, 2}, 2), Draw({1, 2, 3, 2}, 3)};
  EXPECT_TRUE(CheckGradients(
      [=](const auto& x) { return SoftmaxAttention(x[0], x[1], x[2], causal); },
      inputs));
  EXPECT_TRUE(CheckGradients(
      [=](const auto& x) { return LinearAttention(x[0], x[1], x[2], causal); },
      inputs));
}

TEST_P(AttentionTest, EmptyAndBadShapes) {
  const bool causal = GetParam();
  const at::Tensor empty = at::empty({2, 0, 4});
  for (const auto attention :
       {+[](const at::Tensor&q, const at::Tensor&k, const at::Tensor&v,
            bool c) { return SoftmaxAttention(q, k, v, c); },
        +[](const at::Tensor&q, const at::Tensor&k, const at::Tensor&v,
            bool c) { return LinearAttention(q, k, v, c); }}) {
    EXPECT_EQ(attention(empty, empty, at::empty({2, 0, 5}), causal).sizes(),
              at::IntArrayRef({2, 0, 5}));
    const at::Tensor q = at::ones({2, 3, 4});
    EXPECT_THROW(attention(q, at::ones({2, 3, 5}), q, causal), c10::Error);
    EXPECT_THROW(attention(q, q, at::ones({2, 4, 4}), causal), c10::Error);
    EXPECT_THROW(attention(at::ones({4}), q, q, causal), c10::Error);
    EXPECT_THROW(attention(q, q.to(at::kLong), q, causal), c10::Error);
  }
}

INSTANTIATE_TEST_SUITE_P(Causal, AttentionTest, testing::Bool());

TEST(AttentionMapTest, CausalNeedsEqualLengthsAndRowsSumToOne) {
  const at::Tensor q = Draw({2, 3, 4}, 1), k = Draw({2, 5, 4}, 2);
  EXPECT_THROW(SoftmaxAttentionMap(q, k, true), c10::Error);
  EXPECT_THAT(SoftmaxAttentionMap(q, k).sum(-1),
              IsCloseTo(at::ones({2, 3}), 1e-12, 0));
  const at::Tensor map = SoftmaxAttentionMap(q, q, true);
  EXPECT_EQ(map.triu(1).abs().sum().item<double>(), 0);
  EXPECT_EQ(map[0][0][0].item<double>(), 1);
}

TEST(AttentionMapTest, OneMapServesABatchOfValues) {
  const at::Tensor q = Draw({2, 3, 4}, 1), k = Draw({2, 3, 4}, 2),
                   v = Draw({6, 2, 3, 5}, 3);
  const at::Tensor out = SoftmaxAttention(q, k, v);
  for (int b = 0; b < 6; ++b) {
    EXPECT_THAT(out[b], IsCloseTo(SoftmaxAttention(q, k, v[b]), 1e-12, 1e-14));
  }
}

TEST(HeadsTest, SplitAndMerge) {
  const at::Tensor x = at::arange(12).view({1, 2, 6});
  const at::Tensor split = SplitHeads(x, 3);
  EXPECT_EQ(split.sizes(), at::IntArrayRef({1, 3, 2, 2}));
  // Head 1 of position 0 is columns 2 and 3.
  EXPECT_EQ(split[0][1][0][1].item<int64_t>(), 3);
  EXPECT_THAT(MergeHeads(split), IsIdenticalTo(x));
  EXPECT_THROW(SplitHeads(x, 4), c10::Error);
  EXPECT_THROW(SplitHeads(x, 0), c10::Error);
}

}  // namespace
}  // namespace repro
