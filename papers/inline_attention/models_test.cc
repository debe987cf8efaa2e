// The models and the study.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/im2col.h>
#include <c10/util/Exception.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "absl/status/status.h"
#include "common/count/flops.h"
#include "common/count/parameters.h"
#include "common/nn/testing.h"
#include "common/tensor/testing.h"
#include "papers/inline_attention/inline_attention.h"
#include "papers/inline_attention/study.h"

namespace repro::inline_attention {
namespace {

using ::testing::HasSubstr;

// -------------------------------------------------------------------- models

// Parameters of the residual of a block, less those of what a softmax block has
// beside its projections.
int64_t ExtraParameters(const VisionConfig& v, int64_t stage) {
  const int64_t h = v.num_heads[stage], d = v.dims[stage],
                side = v.MapSide(stage);
  const int64_t residual = d * d / h + d + 9 * d * d / h + 9 * d;
  switch (v.backbone) {
    case VisionBackbone::kDeit:
      return residual;
    case VisionBackbone::kPvt: {
      const int64_t r = v.windows[stage];
      return residual - (r > 1 ? r * r * d * d + 3 * d : 0);
    }
    case VisionBackbone::kSwin: {
      const int64_t w = std::min(v.windows[stage], side);
      return residual - (2 * w - 1) * (2 * w - 1) * h;
    }
    case VisionBackbone::kCswin:
      return residual;  // LePE is there already
  }
  return 0;
}

TEST(InLineModelTest, ParametersOfAllModels) {
  for (const std::string& name : InLineModelConfig::Names()) {
    const InLineModelConfig config = *InLineModelConfig::Named(name);
    int64_t expected =
        CountParameters(VisionTransformer(config.vision, Initializer::Meta()));
    for (size_t i = 0; i < config.inline_blocks.size(); ++i) {
      expected += config.inline_blocks[i] *
                  ExtraParameters(config.vision, static_cast<int64_t>(i));
    }
    EXPECT_EQ(CountParameters(*MakeInLineModel(config, Initializer::Meta())),
              expected)
        << name;
  }
}

// By fvcore's rules, those of a block: projections and MLP, two products and
// one with the mean key, the residual's two layers and its convolution, norms.
int64_t BlockFlops(const VisionConfig& v, int64_t stage) {
  const int64_t h = v.num_heads[stage], d = v.dims[stage],
                map = v.MapSide(stage) * v.MapSide(stage),
                n = map + (v.backbone == VisionBackbone::kDeit ? 1 : 0);
  return n * d * d * (4 + 2 * v.mlp_ratios[stage]) + 2 * n * d * d / h + n * d +
         10 * d * d / h + 9 * map * d + 2 * 5 * n * d;
}

TEST(InLineModelTest, FlopsOfModelsOfInLineAlone) {
  for (const std::string name :
       {"deit_t", "deit_s", "deit_b", "pvt_t", "pvt_l"}) {
    const InLineModelConfig config = *InLineModelConfig::Named(name);
    const VisionConfig& v = config.vision;
    int64_t expected = v.dims.back() * 1000;
    if (v.backbone == VisionBackbone::kDeit) {
      const int64_t map = v.MapSide(0) * v.MapSide(0);
      expected += map * v.dims[0] * 3 * 16 * 16 + 5 * (map + 1) * v.dims[0];
    } else {
      for (int64_t i = 0; i < 4; ++i) {
        const int64_t map = v.MapSide(i) * v.MapSide(i);
        expected += map * v.dims[i] * (i > 0 ? 4 * v.dims[i - 1] : 48) +
                    5 * map * v.dims[i];
      }
    }
    for (size_t i = 0; i < v.dims.size(); ++i) {
      ASSERT_EQ(config.inline_blocks[i], v.depths[i]);
      expected += v.depths[i] * BlockFlops(v, static_cast<int64_t>(i));
    }
    const auto model = MakeInLineModel(config, Initializer::Meta());
    const at::Tensor image =
        at::empty({1, 3, v.image_side, v.image_side}, at::kMeta);
    EXPECT_EQ(
        CountFlops(FlopConvention::kFvcore, [&] { model->Forward(image); })
            .total,
        expected)
        << name;
  }
}

TEST(InLineModelTest, InLineStandsWhereTheConfigurationsPutIt) {
  const auto model = [](const char* name) {
    return MakeInLineModel(*InLineModelConfig::Named(name),
                           Initializer::Meta());
  };
  EXPECT_EQ(
      ParameterOf(*model("deit_b"), "blocks.11.attn.residual.2.weight").sizes(),
      at::IntArrayRef({9 * 384, 32, 1}));
  EXPECT_TRUE(HasParameter(*model("pvt_t"), "block4.1.attn.residual.0.weight"));
  const auto swin = model("swin_b_384");
  EXPECT_TRUE(HasParameter(*swin, "layers.2.blocks.1.attn.residual.0.weight"));
  EXPECT_FALSE(HasParameter(*swin, "layers.2.blocks.2.attn.residual.0.weight"));
  EXPECT_EQ(
      ParameterOf(*swin, "layers.2.blocks.2.attn.relative_position_bias_table")
          .size(0),
      23 * 23);
  const auto cswin = model("cswin_b");
  EXPECT_TRUE(HasParameter(*cswin, "stage2.5.attn.get_v.weight"));
  EXPECT_TRUE(HasParameter(*cswin, "stage3.0.attn.get_v1.weight"));
  EXPECT_THAT(std::string(InLineModelConfig::Named("swin").status().message()),
              HasSubstr("swin_b_384"));
  InLineModelConfig broken = *InLineModelConfig::Named("swin_t");
  broken.inline_blocks.pop_back();
  EXPECT_THROW(MakeInLineModel(broken, Initializer::Meta()), c10::Error);
}

TEST(InLineModelTest, RunsForwardAndBackward) {
  InLineModelConfig config;
  config.vision.backbone = VisionBackbone::kSwin;
  config.vision.image_side = 32;
  config.vision.num_classes = 4;
  config.vision.dims = {8, 16};
  config.vision.depths = {2, 2};
  config.vision.num_heads = {2, 2};
  config.vision.mlp_ratios = {2, 2};
  config.vision.windows = {4, 4};
  config.inline_blocks = {2, 1};
  config.options.window = 4;
  const auto model = MakeInLineModel(config, DoubleInitializer(1));
  const at::Tensor images = RandomNormal({3, 3, 32, 32}, 2);
  const at::Tensor all = model->Forward(images);
  // Kernels are an image's own.
  EXPECT_THAT(model->Forward(images.narrow(0, 2, 1)).detach(),
              IsCloseTo(all.narrow(0, 2, 1).detach(), 1e-10, 1e-12));
  all.square().sum().backward();
  for (const auto& [name, parameter] : model->NamedParameters()) {
    EXPECT_TRUE(parameter.grad().defined()) << name;
  }
}

// --------------------------------------------------------------------- study

TEST(SquaresTest, SameStateSameImagesAllClasses) {
  std::mt19937_64 first(1), second(1);
  const SquareImages drawn = DrawSquares(400, 24, first);
  const SquareImages again = DrawSquares(400, 24, second);
  EXPECT_THAT(drawn.images, IsIdenticalTo(again.images));
  EXPECT_THAT(drawn.labels, IsIdenticalTo(again.labels));
  EXPECT_EQ(drawn.images.sizes(), at::IntArrayRef({400, 3, 24, 24}));
  for (int64_t c = 0; c < kSquareClasses; ++c) {
    const auto count = (drawn.labels == c).sum().item<int64_t>();
    EXPECT_GT(count, 35);
    EXPECT_LT(count, 100);
  }
  EXPECT_EQ(DrawSquares(0, 24, first).labels.size(0), 0);
  EXPECT_THROW(DrawSquares(1, 9, first), c10::Error);
}

// An 8 x 8 window of one shade has the label's colour: channels high (1) or low
// (0) are red 100, green 010, blue 001, yellow 110, magenta 101, cyan 011.
TEST(SquaresTest, LabelsNameTheColourOfTheLargeSquare) {
  std::mt19937_64 random(2);
  const SquareImages drawn = DrawSquares(200, 24, random);
  const std::vector<std::vector<bool>> high = {
      {true, false, false}, {false, true, false}, {false, false, true},
      {true, true, false},  {true, false, true},  {false, true, true}};
  // Windows as rows: [200, 3, 64, 17 * 17].
  const at::Tensor windows =
      at::im2col(drawn.images, {8, 8}, {1, 1}, {0, 0}, {1, 1})
          .view({200, 3, 64, 17 * 17});
  // The background is of one shade too: 0.
  const at::Tensor means = windows.mean(2);
  const at::Tensor spread =
      std::get<0>((windows.amax(2) - windows.amin(2)).max(1)) +
      (std::get<0>(means.max(1)) < 0.2).to(at::kFloat);
  for (int64_t i = 0; i < 200; ++i) {
    const int64_t best = spread[i].argmin().item<int64_t>();
    EXPECT_LE(spread[i][best].item<double>(), 0.6) << "image " << i;
    for (int64_t c = 0; c < 3; ++c) {
      EXPECT_EQ(means[i][c][best].item<double>() > 0.2,
                high[drawn.labels[i].item<int64_t>()][c])
          << "image " << i << ", channel " << c;
    }
  }
}

TEST(StudyTest, SameSeedSameNumbers) {
  StudyOptions options;
  options.vision.dims = {12};
  options.steps = 2;
  options.batch = 4;
  options.test_images = 20;
  GridCell cell;
  cell.seed = 3;
  for (const std::string& name : ArmNames()) {
    cell.name = name;
    const auto first = TrainArm(options, cell, at::Device(at::kCPU));
    ASSERT_TRUE(first.ok()) << first.status();
    ASSERT_EQ(first->size(), 2);
    for (const double percent : *first) {
      EXPECT_GE(percent, 0);
      EXPECT_LE(percent, 100);
    }
    EXPECT_EQ(*first, *TrainArm(options, cell, at::Device(at::kCPU)));
  }
  cell.name = "performer";
  EXPECT_EQ(TrainArm(options, cell, at::Device(at::kCPU)).status().code(),
            absl::StatusCode::kInvalidArgument);
  cell.name = "linear";
  cell.cancelled = [] { return true; };
  EXPECT_EQ(TrainArm(options, cell, at::Device(at::kCPU)).status().code(),
            absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace repro::inline_attention
