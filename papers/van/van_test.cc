#include "papers/van/van.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>
#include <string>
#include <vector>

#include "common/count/flops.h"
#include "common/count/parameters.h"
#include "common/tensor/generator.h"
#include "common/tensor/testing.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "papers/van/large_kernel_attention.h"
#include "papers/van/two_marks.h"

namespace repro::van {
namespace {

using ::testing::HasSubstr;

Initializer Float64(uint64_t seed) {
  return Initializer(MakeGenerator(seed), at::kDouble);
}

at::Tensor Random(at::IntArrayRef shape, uint64_t seed) {
  return at::randn(shape, MakeGenerator(seed, 1), at::kDouble);
}

// The module's parameter of that name, sharing its storage.
at::Tensor Parameter(const Module& module, const std::string& name) {
  for (const auto& [known, tensor] : module.NamedParameters()) {
    if (known == name) return tensor.detach();
  }
  ADD_FAILURE() << "no parameter " << name;
  return at::zeros({1});
}

void FillParameters(const Module& module, double weight, double bias) {
  at::NoGradGuard no_grad;
  for (auto [name, tensor] : module.NamedParameters()) {
    const bool is_bias = name.find("bias") != std::string::npos;
    tensor.fill_(is_bias ? bias : weight);
  }
}

// The definition, by loops: depth-wise (one channel a group) or full
// convolution, output position (y, x), zero outside.
at::Tensor NaiveConv(const at::Tensor& x, const at::Tensor& weight,
                     const at::Tensor& bias, int64_t dilation) {
  const auto in = x.accessor<double, 4>();
  const auto w = weight.accessor<double, 4>();
  const auto b = bias.accessor<double, 1>();
  const bool depthwise = weight.size(1) == 1 && x.size(1) > 1;
  const int64_t size = weight.size(2);
  const int64_t before = dilation * (size - 1) / 2;
  at::Tensor out = at::zeros_like(x);
  auto o = out.accessor<double, 4>();
  for (int64_t n = 0; n < x.size(0); ++n) {
    for (int64_t c = 0; c < x.size(1); ++c) {
      for (int64_t y = 0; y < x.size(2); ++y) {
        for (int64_t z = 0; z < x.size(3); ++z) {
          double sum = b[c];
          for (int64_t k = 0; k < weight.size(1); ++k) {
            for (int64_t i = 0; i < size; ++i) {
              for (int64_t j = 0; j < size; ++j) {
                const int64_t u = y - before + i * dilation;
                const int64_t v = z - before + j * dilation;
                if (u < 0 || v < 0 || u >= x.size(2) || v >= x.size(3)) {
                  continue;
                }
                sum += w[c][k][i][j] * in[n][depthwise ? c : k][u][v];
              }
            }
          }
          o[n][c][y][z] = sum;
        }
      }
    }
  }
  return out;
}

TEST(LargeKernelAttention, IsEquationsOneAndTwo) {
  // 18 / 3 = 6 taps three apart span 16: the case of asymmetric padding.
  for (const auto& [kernel_size, dilation] :
       std::vector<std::pair<int64_t, int64_t>>{
           {21, 3}, {7, 2}, {14, 3}, {28, 4}, {18, 3}, {9, 1}}) {
    LkaConfig config;
    config.kernel_size = kernel_size;
    config.dilation = dilation;
    LargeKernelAttention lka(3, config, Float64(7));
    at::NoGradGuard no_grad;
    for (auto [name, tensor] : lka.NamedParameters()) {
      tensor.copy_(Random(tensor.sizes(), tensor.numel()));
    }
    const at::Tensor f = Random({2, 3, 9, 11}, 8);
    at::Tensor a = f;
    a = NaiveConv(a, Parameter(lka, "conv0.weight"),
                  Parameter(lka, "conv0.bias"), 1);
    a = NaiveConv(a, Parameter(lka, "conv_spatial.weight"),
                  Parameter(lka, "conv_spatial.bias"), dilation);
    a = NaiveConv(a, Parameter(lka, "conv1.weight"),
                  Parameter(lka, "conv1.bias"), 1);
    EXPECT_THAT(lka.AttentionMap(f), IsCloseTo(a, 1e-10, 1e-10))
        << "K = " << kernel_size << ", d = " << dilation;
    EXPECT_THAT(lka.Forward(f), IsCloseTo(a * f, 1e-10, 1e-10));
  }
}

TEST(LargeKernelAttention, GatesAreThoseOfTableThree) {
  const at::Tensor f = Random({1, 2, 5, 5}, 3);
  const auto run = [&](const char* name, bool attention_map) {
    const LargeKernelAttention lka(2, *LkaConfig::Named(name), Float64(4));
    return (attention_map ? lka.AttentionMap(f) : lka.Forward(f)).detach();
  };
  const at::Tensor a = run("full", true);
  EXPECT_THAT(run("no_gate", false), IsIdenticalTo(a));
  EXPECT_THAT(run("add", false), IsCloseTo(a + f, 1e-12, 0));
  EXPECT_THAT(run("sigmoid", false),
              IsCloseTo(f / (1 + (-a).exp()), 1e-12, 1e-15));
}

TEST(LargeKernelAttention, IsTheIdentityWithAConstantMapOfOne) {
  const LargeKernelAttention lka(4, LkaConfig(), Float64(1));
  Parameter(lka, "conv1.weight").zero_();
  Parameter(lka, "conv1.bias").fill_(1);
  const at::Tensor f = Random({2, 4, 8, 8}, 2);
  EXPECT_THAT(lka.Forward(f).detach(), IsIdenticalTo(f));
}

// 5 + 6 * 3 = 23: the two steps reach over a solid 23 x 23 square. Along one
// axis the response is 1 1 1 (2 2 1) x 6 1 1: five ones at each of seven
// places, three apart.
TEST(LargeKernelAttention, ImpulseResponseCovers23By23) {
  LkaConfig config;
  config.pointwise = false;
  config.gate = Gate::kNone;
  const LargeKernelAttention lka(1, config, Float64(1));
  FillParameters(lka, /*weight=*/1, /*bias=*/0);
  at::Tensor impulse = at::zeros({1, 1, 41, 41}, at::kDouble);
  impulse[0][0][20][20] = 1;
  const at::Tensor response = lka.Forward(impulse)[0][0].detach();

  std::vector<double> profile = {1, 1, 1, 2, 2, 1, 2, 2, 1, 2, 2, 1,
                                 2, 2, 1, 2, 2, 1, 2, 2, 1, 1, 1};
  ASSERT_EQ(profile.size(), 23);
  const at::Tensor line =
      at::from_blob(profile.data(), {23}, at::kDouble).clone();
  EXPECT_EQ(line.sum().item<double>(), 35);
  at::Tensor expected = at::zeros({41, 41}, at::kDouble);
  expected.slice(0, 9, 32).slice(1, 9, 32).copy_(at::outer(line, line));
  EXPECT_TRUE(at::equal(response, expected));
  EXPECT_EQ(response.max().item<double>(), 4);
  EXPECT_EQ(response.sum().item<double>(), 1225);
  EXPECT_EQ(response[20][20].item<double>(), 1);
}

TEST(LargeKernelAttention, CommutesWithShiftsAwayFromTheBorder) {
  LkaConfig config;
  config.kernel_size = 9;
  const LargeKernelAttention lka(2, config, Float64(5));
  at::Tensor f = at::zeros({1, 2, 40, 40}, at::kDouble);
  f.slice(2, 15, 20).slice(3, 15, 20).copy_(Random({1, 2, 5, 5}, 6));
  const at::Tensor shifted = f.roll({4, -3}, {2, 3});
  EXPECT_THAT(
      lka.Forward(shifted).detach(),
      IsCloseTo(lka.Forward(f).detach().roll({4, -3}, {2, 3}), 1e-12, 1e-14));
}

TEST(LargeKernelAttention, GradientsAreThoseOfFiniteDifferences) {
  LkaConfig config;
  config.kernel_size = 6;  // 2 x 2 with dilation 3: asymmetric padding
  for (const Gate gate :
       {Gate::kProduct, Gate::kNone, Gate::kSum, Gate::kSigmoid}) {
    config.gate = gate;
    const LargeKernelAttention lka(2, config, Float64(9));
    EXPECT_TRUE(CheckGradients(
        [&](const std::vector<at::Tensor>& inputs) {
          return lka.Forward(inputs[0]);
        },
        {Random({1, 2, 4, 5}, 10)}));
  }
}

// Section 3.1: for K = 21 the depth-wise taps of d = 1..10, least at d = 3.
TEST(LargeKernelAttention, ParametersAreEquationThree) {
  const std::vector<int64_t> taps = {442, 130, 74,  85,  106,
                                     137, 178, 234, 298, 370};
  for (int64_t dilation = 1; dilation <= 10; ++dilation) {
    EXPECT_EQ(LkaParameters(32, 21, dilation), 32 * (taps[dilation - 1] + 32));
    LkaConfig config;
    config.dilation = dilation;
    const LargeKernelAttention lka(32, config, Initializer::Meta());
    EXPECT_EQ(CountParameters(lka), LkaParameters(32, 21, dilation) + 3 * 32);
  }
}

TEST(LargeKernelAttention, RejectsBadInput) {
  const LargeKernelAttention lka(4, LkaConfig(), Initializer::Meta());
  EXPECT_THROW(lka.Forward(at::empty({1, 3, 8, 8}, at::kMeta)), c10::Error);
  EXPECT_THROW(lka.Forward(at::empty({4, 8, 8}, at::kMeta)), c10::Error);
  LkaConfig config;
  config.dilation = 0;
  EXPECT_THROW(LargeKernelAttention(4, config, Initializer::Meta()),
               c10::Error);
  EXPECT_THAT(std::string(LkaConfig::Named("ful").status().message()),
              HasSubstr("no_dw_d"));
}

// Attention with a zero last projection is its own skip, so that the first
// half of the block is x + lambda1 BN(x): LayerScale acts on the inner skip.
TEST(Block, LayerScaleActsOnTheInnerSkip) {
  VanConfig config = *VanConfig::Named("b0");
  config.layer_scale_init = 0.25;
  Block block(config, config.stages[0], /*drop_path=*/0, Float64(1));
  block.Train(false);
  for (const char* name : {"attn.proj_2.weight", "attn.proj_2.bias",
                           "mlp.fc2.weight", "mlp.fc2.bias"}) {
    Parameter(block, name).zero_();
  }
  at::NoGradGuard no_grad;
  const at::Tensor x = Random({2, 32, 6, 6}, 2);
  EXPECT_THAT(block.Forward(x, {}),
              IsCloseTo(x + 0.25 * x / std::sqrt(1 + 1e-5), 1e-12, 1e-14));
}

TEST(Block, IsTheIdentityWithZeroLayerScale) {
  VanConfig config = *VanConfig::Named("b0");
  config.layer_scale_init = 0;
  Block block(config, config.stages[1], 0, Float64(1));
  at::NoGradGuard no_grad;
  const at::Tensor x = Random({2, 64, 5, 5}, 2);
  EXPECT_THAT(block.Forward(x, {}), IsIdenticalTo(x));
}

TEST(Block, DropPathDropsWholeSamples) {
  VanConfig config = *VanConfig::Named("b0");
  Block block(config, config.stages[0], /*drop_path=*/0.5, Float64(1));
  at::NoGradGuard no_grad;
  const at::Tensor x = Random({64, 32, 4, 4}, 2);
  const at::Tensor change =
      (block.Forward(x, MakeGenerator(3)) - x).abs().amax({1, 2, 3});
  // Both branches are dropped for a quarter of the samples.
  const int64_t unchanged = (change == 0).sum().item<int64_t>();
  EXPECT_GT(unchanged, 4);
  EXPECT_LT(unchanged, 32);
}

TEST(Block, DoublingHeightAndWidthTakesFourTimesTheMultiplyAdds) {
  const VanConfig config = *VanConfig::Named("b2");
  Block block(config, config.stages[2], 0, Initializer::Meta());
  const auto count = [&](int64_t side) {
    return CountFlops(
               FlopConvention::kConvLinearBiasNorm,
               [&] {
                 block.Forward(at::empty({1, 320, side, side}, at::kMeta), {});
               })
        .total;
  };
  EXPECT_EQ(count(28), 4 * count(14));
  EXPECT_GT(count(14), 0);
}

TEST(Van, StagesHalveTheResolution) {
  for (const std::string& name : VanConfig::Names()) {
    const VanConfig config = *VanConfig::Named(name);
    Van model(config, Initializer::Meta());
    for (const int64_t side : {224, 384}) {
      const std::vector<at::Tensor> features =
          model.Features(at::empty({2, 3, side, side}, at::kMeta));
      ASSERT_EQ(features.size(), 4);
      for (int i = 0; i < 4; ++i) {
        EXPECT_EQ(features[i].sizes(),
                  at::IntArrayRef({2, config.stages[i].channels,
                                   side >> (i + 2), side >> (i + 2)}));
      }
    }
  }
}

TEST(Van, ForwardOnRandomWeights) {
  Van model(*VanConfig::Named("b0"), Initializer(MakeGenerator(1)));
  model.Train(false);
  at::NoGradGuard no_grad;
  // Sides that the strides do not divide.
  const at::Tensor logits =
      model.Forward(at::randn({2, 3, 70, 41}, MakeGenerator(2), at::kFloat));
  EXPECT_EQ(logits.sizes(), at::IntArrayRef({2, 1000}));
  EXPECT_TRUE(logits.isfinite().all().item<bool>());
  EXPECT_GT(logits.std().item<double>(), 0);
}

// With zero LayerScale a stage is its patch embedding and LayerNorm, whose
// output has mean 0 and variance 1 over channels.
TEST(Van, StagesEndInLayerNorm) {
  VanConfig config = *VanConfig::Named("b0");
  config.layer_scale_init = 0;
  Van model(config, Float64(1));
  model.Train(false);
  at::NoGradGuard no_grad;
  const at::Tensor images = Random({1, 3, 64, 64}, 2);
  const std::vector<at::Tensor> features = model.Features(images);
  for (const at::Tensor& feature : features) {
    EXPECT_LT(feature.mean(1).abs().max().item<double>(), 1e-9);
    EXPECT_NEAR(feature.var(1, /*unbiased=*/false).mean().item<double>(), 1,
                1e-4);
  }
  PatchEmbedding embedding(3, config.stages[0], Float64(1));
  embedding.Train(false);
  const at::Tensor x = embedding.Forward(images);
  const at::Tensor centred = x - x.mean(1, /*keepdim=*/true);
  EXPECT_THAT(
      features[0],
      IsCloseTo(centred / ((centred * centred).mean(1, true) + 1e-6).sqrt(),
                1e-9, 1e-9));
}

// Names and shapes as in the authors' checkpoints (models/van.py of
// VAN-Classification).
TEST(Van, ParametersAreNamedAsTheAuthorsNameThem) {
  const Van model(*VanConfig::Named("b0"), Initializer::Meta());
  for (const auto& [name, shape] :
       std::vector<std::pair<std::string, std::vector<int64_t>>>{
           {"patch_embed1.proj.weight", {32, 3, 7, 7}},
           {"patch_embed4.norm.bias", {256}},
           {"block1.0.layer_scale_1", {32}},
           {"block1.2.norm2.weight", {32}},
           {"block2.1.attn.proj_1.weight", {64, 64, 1, 1}},
           {"block3.4.attn.spatial_gating_unit.conv0.weight", {160, 1, 5, 5}},
           {"block3.4.attn.spatial_gating_unit.conv_spatial.weight",
            {160, 1, 7, 7}},
           {"block3.4.attn.spatial_gating_unit.conv1.bias", {160}},
           {"block4.1.mlp.fc1.weight", {1024, 256, 1, 1}},
           {"block4.1.mlp.dwconv.dwconv.weight", {1024, 1, 3, 3}},
           {"norm4.weight", {256}},
           {"head.weight", {1000, 256}}}) {
    EXPECT_EQ(Parameter(model, name).sizes(), at::IntArrayRef(shape)) << name;
  }
  // A stage's embedding and norms, the head, and 22 in a block.
  EXPECT_EQ(model.NamedParameters().size(), 4 * 6 + 2 + 13 * 22);
}

TEST(Van, InitialisationIsThePapers) {
  const Van model(*VanConfig::Named("b2"), Initializer(MakeGenerator(1)));
  // fan_out of a depth-wise 7 x 7 is 49, of a 1 x 1 to 512 channels 512.
  const auto std_of = [&](const char* name) {
    return Parameter(model, name).std().item<double>();
  };
  EXPECT_NEAR(std_of("block4.0.attn.spatial_gating_unit.conv_spatial.weight"),
              std::sqrt(2.0 / 49), 0.005);
  EXPECT_NEAR(std_of("block4.0.attn.proj_1.weight"), std::sqrt(2.0 / 512),
              0.0005);
  EXPECT_NEAR(std_of("head.weight"), 0.02, 0.0002);
  EXPECT_TRUE(
      (Parameter(model, "block1.0.layer_scale_2") == 0.01f).all().item<bool>());
  EXPECT_EQ(Parameter(model, "head.bias").abs().max().item<double>(), 0);
}

TEST(Van, SameSeedSameLogits) {
  const auto logits = [](uint64_t seed) {
    VanConfig config = *VanConfig::Named("b0");
    config.drop_path = 0.1;
    Van model(config, Initializer(MakeGenerator(seed)));
    at::NoGradGuard no_grad;
    return model.Forward(
        at::randn({2, 3, 64, 64}, MakeGenerator(9), at::kFloat),
        MakeGenerator(seed, 5));
  };
  EXPECT_THAT(logits(1), IsIdenticalTo(logits(1)));
  EXPECT_FALSE(at::equal(logits(1), logits(2)));
}

TEST(Van, RejectsBadInput) {
  EXPECT_THAT(std::string(VanConfig::Named("b7").status().message()),
              HasSubstr("b6"));
  VanConfig config = *VanConfig::Named("b0");
  Van model(config, Initializer::Meta());
  EXPECT_THROW(model.Forward(at::empty({1, 1, 224, 224}, at::kMeta)),
               c10::Error);
  EXPECT_THROW(model.Forward(at::empty({3, 224, 224}, at::kMeta)), c10::Error);
  config.drop_path = 0.1;
  Van dropping(config, Initializer::Meta());
  EXPECT_THROW(dropping.Forward(at::empty({1, 3, 64, 64}, at::kMeta)),
               c10::Error);
  EXPECT_THROW(Van(VanConfig(), Initializer::Meta()), c10::Error);
}

TEST(TwoMarks, LabelsAndDistancesAreThoseOfTheImages) {
  TwoMarksOptions options;
  options.noise = 0;
  const int64_t count = 500;
  const TwoMarks batch = MakeTwoMarks(options, count, MakeGenerator(1));
  ASSERT_EQ(batch.images.sizes(), at::IntArrayRef({count, 1, 28, 28}));
  double same = 0;
  std::vector<int> seen(21, 0);
  for (int64_t i = 0; i < count; ++i) {
    const at::Tensor image = batch.images[i][0];
    // Marks of 9 pixels: the sum tells the signs, the extent the distance.
    const double sum = image.sum().item<double>();
    EXPECT_EQ(image.abs().sum().item<double>(), 18);
    EXPECT_EQ(batch.labels[i].item<int64_t>(), std::abs(sum) == 18 ? 1 : 0);
    const at::Tensor places = image.nonzero();
    const at::Tensor extent =
        std::get<0>(places.max(0)) - std::get<0>(places.min(0));
    const int64_t distance = batch.distances[i].item<int64_t>();
    EXPECT_EQ(extent.max().item<int64_t>() - 2, distance);
    ASSERT_GE(distance, 6);
    ASSERT_LE(distance, 20);
    ++seen[distance];
    same += batch.labels[i].item<int64_t>();
  }
  for (int64_t distance = 6; distance <= 20; ++distance) {
    EXPECT_GT(seen[distance], 0) << distance;
  }
  // Within five standard deviations of one half.
  EXPECT_NEAR(same / count, 0.5, 5 * 0.5 / std::sqrt(count));
}

TEST(TwoMarks, RejectsDistancesThatDoNotFit) {
  TwoMarksOptions options;
  options.max_distance = 26;
  EXPECT_THROW(MakeTwoMarks(options, 1, MakeGenerator(1)), c10::Error);
  options = TwoMarksOptions();
  options.min_distance = 2;
  EXPECT_THROW(MakeTwoMarks(options, 1, MakeGenerator(1)), c10::Error);
  EXPECT_THROW(MakeTwoMarks(TwoMarksOptions(), 0, MakeGenerator(1)),
               c10::Error);
}

}  // namespace
}  // namespace repro::van
