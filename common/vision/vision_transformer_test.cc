#include "common/vision/vision_transformer.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/count/flops.h"
#include "common/count/parameters.h"
#include "common/nn/testing.h"
#include "common/tensor/testing.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

std::set<std::string> Names(const Module& module) {
  std::set<std::string> names;
  for (const auto& entry : module.NamedParameters()) names.insert(entry.first);
  return names;
}

at::Tensor MapLinear(const Module& m, const std::string& name,
                     const at::Tensor& x) {
  return x.matmul(ParameterOf(m, name + ".weight").t()) +
         ParameterOf(m, name + ".bias");
}

at::Tensor MapNorm(const Module& m, const std::string& name,
                   const at::Tensor& x, double eps) {
  const at::Tensor centred = x - x.mean(-1, true);
  return centred / ((centred * centred).mean(-1, true) + eps).sqrt() *
             ParameterOf(m, name + ".weight") +
         ParameterOf(m, name + ".bias");
}

// Softmax attention by its definition, token by token and head by head. q: [n,
// dim], k and v: [m, dim]; `seen` says which keys a query sees, `bias` what is
// added to a head's logit.
at::Tensor Attend(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    int64_t heads,
    const std::function<bool(int64_t head, int64_t i, int64_t j)>& seen,
    const std::function<double(int64_t head, int64_t i, int64_t j)>& bias) {
  const int64_t width = q.size(1) / heads;
  at::Tensor out = at::zeros(q.sizes(), at::kDouble);
  for (int64_t h = 0; h < heads; ++h) {
    const auto head = [&](const at::Tensor& x, int64_t i) {
      return x[i].narrow(0, h * width, width);
    };
    for (int64_t i = 0; i < q.size(0); ++i) {
      double total = 0;
      at::Tensor sum = at::zeros({width}, at::kDouble);
      for (int64_t j = 0; j < k.size(0); ++j) {
        if (!seen(h, i, j)) continue;
        const double weight =
            std::exp((head(q, i) * head(k, j)).sum().item<double>() /
                         std::sqrt(static_cast<double>(width)) +
                     bias(h, i, j));
        total += weight;
        sum = sum + weight * head(v, j);
      }
      out[i].narrow(0, h * width, width).copy_(sum / total);
    }
  }
  return out;
}

bool All(int64_t, int64_t, int64_t) { return true; }
double None(int64_t, int64_t, int64_t) { return 0; }

// A block whose MLP adds nothing: x + Attention(LayerNorm(x)).
struct OneBlock {
  OneBlock(VisionBackbone backbone, int64_t dim, int64_t heads, int64_t side,
           int64_t window, int64_t number, bool fused = false) {
    config.backbone = backbone;
    config.image_side = 4 * side;
    config.dims = {dim, 2 * dim};  // the block is not of the last stage
    config.depths = {2, 1};
    config.num_heads = {heads, heads};
    config.mlp_ratios = {1, 1};
    config.windows = {window, window};
    config.fused_softmax = fused;
    site.backbone = backbone;
    site.block = number;
    site.dim = dim;
    site.num_heads = heads;
    site.side = side;
    site.prefix = backbone == VisionBackbone::kDeit ? 1 : 0;
    block = std::make_unique<VisionBlock>(config, site, DoubleInitializer(1),
                                          nullptr);
    Randomise(*block, 10);
    ParameterOf(*block, "mlp.fc2.weight").detach().zero_();
    ParameterOf(*block, "mlp.fc2.bias").detach().zero_();
    x = RandomNormal({2, site.num_tokens(), dim}, 5);
    normed = MapNorm(
        *block, "norm1", x,
        backbone == VisionBackbone::kDeit || backbone == VisionBackbone::kPvt
            ? 1e-6
            : 1e-5);
  }

  // Of image b after LayerNorm.
  std::vector<at::Tensor> Qkv(int64_t b) const {
    return MapLinear(*block, "attn.qkv", normed[b]).chunk(3, -1);
  }
  // Compares with what attention gives before the projection, an image each.
  void Expect(const std::vector<at::Tensor>& attended) const {
    const at::Tensor expected =
        x + MapLinear(*block, "attn.proj", at::stack(attended));
    EXPECT_THAT(block->Forward(x).detach(), IsCloseTo(expected, 1e-10, 1e-10));
  }

  VisionConfig config;
  AttentionSite site;
  std::unique_ptr<VisionBlock> block;
  at::Tensor x, normed;
};

TEST(VisionBlockTest, DeitAttendsToAllTokens) {
  for (const bool fused : {false, true}) {
    const OneBlock one(VisionBackbone::kDeit, 6, 2, 2, 0, 0, fused);
    std::vector<at::Tensor> attended;
    for (int64_t b = 0; b < 2; ++b) {
      const auto t = one.Qkv(b);
      attended.push_back(Attend(t[0], t[1], t[2], 2, All, None));
    }
    one.Expect(attended);
  }
}

TEST(VisionBlockTest, PvtShrinksKeysAndValues) {
  const int64_t dim = 6, side = 4, reduction = 2;
  const OneBlock one(VisionBackbone::kPvt, dim, 3, side, reduction, 0);
  std::vector<at::Tensor> attended;
  for (int64_t b = 0; b < 2; ++b) {
    const at::Tensor weight =
        ParameterOf(*one.block, "attn.sr.weight").flatten(1);
    std::vector<at::Tensor> cells;
    for (int64_t i = 0; i < side; i += reduction) {
      for (int64_t j = 0; j < side; j += reduction) {
        // [dim, 2, 2]: the cell's tokens, as the kernel has them.
        const at::Tensor cell = one.normed[b]
                                    .t()
                                    .reshape({dim, side, side})
                                    .narrow(1, i, 2)
                                    .narrow(2, j, 2);
        cells.push_back(at::mv(weight, cell.reshape({-1})) +
                        ParameterOf(*one.block, "attn.sr.bias"));
      }
    }
    const at::Tensor source =
        MapNorm(*one.block, "attn.norm", at::stack(cells), 1e-5);
    const auto kv = MapLinear(*one.block, "attn.kv", source).chunk(2, -1);
    attended.push_back(Attend(MapLinear(*one.block, "attn.q", one.normed[b]),
                              kv[0], kv[1], 3, All, None));
  }
  one.Expect(attended);
}

// Windows of 3, in the second block shifted by 1: rows 0, 1 to 3, 4 to 6, 7 to
// 8 of a map of side 9.
TEST(VisionBlockTest, SwinAttendsInShiftedWindows) {
  for (const int64_t number : {0, 1}) {
    const int64_t side = 9, window = 3, shift = number == 1 ? 1 : 0;
    const OneBlock one(VisionBackbone::kSwin, 4, 2, side, window, number);
    const auto group = [&](int64_t row) {
      return row < shift ? -1 : (row - shift) / window;
    };
    const at::Tensor table =
        ParameterOf(*one.block, "attn.relative_position_bias_table");
    ASSERT_EQ(table.sizes(), at::IntArrayRef({25, 2}));
    std::vector<at::Tensor> attended;
    for (int64_t b = 0; b < 2; ++b) {
      const auto t = one.Qkv(b);
      attended.push_back(Attend(
          t[0], t[1], t[2], 2,
          [&](int64_t, int64_t i, int64_t j) {
            return group(i / side) == group(j / side) &&
                   group(i % side) == group(j % side);
          },
          [&](int64_t h, int64_t i, int64_t j) {
            const int64_t down = i / side - j / side,
                          right = i % side - j % side;
            return table[(down + 2) * 5 + right + 2][h].item<double>();
          }));
    }
    one.Expect(attended);
  }
}

TEST(VisionBlockTest, SwinsWindowIsAtMostTheMapAndThenDoesNotShift) {
  const OneBlock one(VisionBackbone::kSwin, 4, 2, 3, 7, /*number=*/1);
  EXPECT_EQ(
      ParameterOf(*one.block, "attn.relative_position_bias_table").size(0), 25);
  EXPECT_EQ(one.block->NamedBuffers().size(), 1);  // no mask
}

// Two heads in upright stripes, two in level ones, each with its convolution of
// the values, which sees zeros outside the stripe.
TEST(VisionBlockTest, CswinAttendsInStripes) {
  const int64_t side = 4, dim = 8, heads = 4, width = 2;
  const OneBlock one(VisionBackbone::kCswin, dim, heads, side, width, 0);
  const auto stripe = [&](int64_t head, int64_t token) {
    return (head < heads / 2 ? token % side : token / side) / width;
  };
  std::vector<at::Tensor> attended;
  for (int64_t b = 0; b < 2; ++b) {
    const auto t = one.Qkv(b);
    at::Tensor out = Attend(
        t[0], t[1], t[2], heads,
        [&](int64_t h, int64_t i, int64_t j) {
          return stripe(h, i) == stripe(h, j);
        },
        None);
    for (int64_t c = 0; c < dim; ++c) {
      const int64_t head = c / (dim / heads);
      const std::string name = c < dim / 2 ? "attn.get_v0" : "attn.get_v1";
      const at::Tensor kernel =
          ParameterOf(*one.block, name + ".weight")[c % (dim / 2)][0];
      for (int64_t i = 0; i < side * side; ++i) {
        double sum = ParameterOf(*one.block, name + ".bias")[c % (dim / 2)]
                         .item<double>();
        for (int64_t j = 0; j < side * side; ++j) {
          const int64_t down = j / side - i / side, right = j % side - i % side;
          if (std::abs(down) > 1 || std::abs(right) > 1) continue;
          if (stripe(head, i) != stripe(head, j)) continue;
          sum += kernel[down + 1][right + 1].item<double>() *
                 t[2][j][c].item<double>();
        }
        out[i][c] += sum;
      }
    }
    attended.push_back(out);
  }
  one.Expect(attended);
}

TEST(PartitionMapTest, WindowsRowByRowAndBack) {
  const at::Tensor x = at::arange(16, at::kDouble).view({1, 16, 1});
  EXPECT_THAT(PartitionMap(x, 4, 2, 4).flatten(1),
              IsIdenticalTo(x.view({2, 8})));
  const at::Tensor upright = PartitionMap(x, 4, 4, 2).flatten(1);
  EXPECT_EQ(upright[1][3].item<double>(), 7);  // second row, fourth column
  const at::Tensor y = RandomNormal({3, 36, 2}, 1);
  EXPECT_THAT(RestoreMap(PartitionMap(y, 6, 2, 3), 6, 2, 3), IsIdenticalTo(y));
  EXPECT_THROW(PartitionMap(y, 6, 4, 3), c10::Error);
  EXPECT_THROW(PartitionMap(y, 5, 1, 1), c10::Error);
}

// Blocks that add nothing leave embedding, merging and norms.
TEST(VisionTransformerTest, SwinMergesFourNeighboursColumnByColumn) {
  VisionConfig config;
  config.backbone = VisionBackbone::kSwin;
  config.image_side = 8;
  config.dims = {3, 6};
  config.depths = {1, 1};
  config.num_heads = {1, 1};
  config.mlp_ratios = {1, 1};
  config.windows = {2, 1};
  const VisionTransformer model(config, DoubleInitializer(1));
  Randomise(model, 3);
  for (const char* stage : {"0", "1"}) {
    for (const char* part : {"attn.proj", "mlp.fc2"}) {
      const std::string name =
          std::string("layers.") + stage + ".blocks.0." + part;
      ParameterOf(model, name + ".weight").detach().zero_();
      ParameterOf(model, name + ".bias").detach().zero_();
    }
  }
  const at::Tensor image = RandomNormal({1, 3, 8, 8}, 9);
  std::vector<at::Tensor> patches;
  for (const auto& [row, column] : std::vector<std::pair<int64_t, int64_t>>{
           {0, 0}, {1, 0}, {0, 1}, {1, 1}}) {
    const at::Tensor patch =
        image[0].narrow(1, 4 * row, 4).narrow(2, 4 * column, 4).reshape({-1});
    patches.push_back(
        MapNorm(model, "patch_embed.norm",
                at::mv(ParameterOf(model, "patch_embed.proj.weight").flatten(1),
                       patch) +
                    ParameterOf(model, "patch_embed.proj.bias"),
                1e-5));
  }
  const at::Tensor merged = at::mv(
      ParameterOf(model, "layers.0.downsample.reduction.weight"),
      MapNorm(model, "layers.0.downsample.norm", at::cat(patches), 1e-5));
  EXPECT_THAT(model.Features(image)[0].detach(),
              IsCloseTo(MapNorm(model, "norm", merged, 1e-5), 1e-10, 1e-10));
}

// Parameters and multiply-adds in 10^9 of torchvision 0.26's vit_b_16, swin_t,
// swin_s, swin_b ("num_params" and "_ops" of their weights' meta data) and
// parameters of timm's deit_tiny_patch16_224 and deit_small_patch16_224.
TEST(VisionTransformerTest, CountsOfTheLibraries) {
  const auto parameters = [](const char* name) {
    return CountParameters(
        VisionTransformer(*VisionConfig::Named(name), Initializer::Meta()));
  };
  const auto multiply_adds = [](const char* name) {
    const VisionTransformer model(*VisionConfig::Named(name),
                                  Initializer::Meta());
    return 1e-9 * CountFlops(FlopConvention::kConvMatmul, [&] {
                    model.Forward(at::empty({1, 3, 224, 224}, at::kMeta));
                  }).total;
  };
  EXPECT_EQ(parameters("deit_t"), 5717416);
  EXPECT_EQ(parameters("deit_s"), 22050664);
  EXPECT_EQ(parameters("deit_b"), 86567656);
  EXPECT_EQ(parameters("swin_t"), 28288354);
  EXPECT_EQ(parameters("swin_s"), 49606258);
  EXPECT_EQ(parameters("swin_b"), 87768224);
  EXPECT_NEAR(multiply_adds("deit_b"), 17.564, 1e-3);
  EXPECT_NEAR(multiply_adds("swin_t"), 4.491, 1e-3);
  EXPECT_NEAR(multiply_adds("swin_s"), 8.741, 1e-3);
  EXPECT_NEAR(multiply_adds("swin_b"), 15.431, 1e-3);
}

// PVT by its papers' tables: 13.2, 24.5, 44.2, 61.4 million, which have a class
// token and a last norm of 4 * 512 more; and stage by stage.
TEST(VisionTransformerTest, CountsOfPvtAndCswin) {
  for (const auto& [name, printed] :
       std::vector<std::pair<std::string, double>>{{"pvt_t", 13.2},
                                                   {"pvt_s", 24.5},
                                                   {"pvt_m", 44.2},
                                                   {"pvt_l", 61.4}}) {
    const VisionConfig c = *VisionConfig::Named(name);
    const VisionTransformer model(c, Initializer::Meta());
    const int64_t counted = CountParameters(model);
    EXPECT_NEAR(1e-6 * (counted + 4 * 512), printed, 0.05) << name;
    int64_t expected = 512 * 1000 + 1000;
    for (int64_t i = 0; i < 4; ++i) {
      const int64_t d = c.dims[i], r = c.windows[i], in = i ? c.dims[i - 1] : 3;
      const int64_t k = i ? 2 : 4, side = 56 >> i, m = c.mlp_ratios[i] * d;
      expected += in * k * k * d + 3 * d + side * side * d;
      expected += c.depths[i] * (4 * d + 4 * d * d + 4 * d + 2 * d * m + m + d +
                                 (r > 1 ? r * r * d * d + 3 * d : 0));
    }
    EXPECT_EQ(counted, expected) << name;
  }
  for (const std::string name : {"cswin_t", "cswin_s", "cswin_b"}) {
    const VisionConfig c = *VisionConfig::Named(name);
    const VisionTransformer model(c, Initializer::Meta());
    int64_t expected = c.dims[3] * 1002 + 1000;
    for (int64_t i = 0; i < 4; ++i) {
      const int64_t d = c.dims[i], in = i ? c.dims[i - 1] : 3, k = i ? 3 : 7;
      expected += in * k * k * d + 3 * d;
      expected += c.depths[i] * (12 * d * d + 13 * d + 10 * d);
    }
    EXPECT_EQ(CountParameters(model), expected) << name;
    EXPECT_EQ(model.Forward(at::empty({2, 3, 224, 224}, at::kMeta)).sizes(),
              at::IntArrayRef({2, 1000}));
  }
}

TEST(VisionTransformerTest, NamesAreThoseOfTheAuthorsCode) {
  const auto names = [](const char* name) {
    return Names(
        VisionTransformer(*VisionConfig::Named(name), Initializer::Meta()));
  };
  for (const char* name : {"cls_token", "pos_embed", "patch_embed.proj.weight",
                           "blocks.11.attn.qkv.bias", "blocks.0.mlp.fc1.weight",
                           "norm.weight", "head.bias"}) {
    EXPECT_THAT(names("deit_t"), Contains(name));
  }
  for (const char* name :
       {"pos_embed4", "patch_embed2.norm.weight", "block1.0.attn.q.weight",
        "block3.1.attn.sr.bias", "block4.1.attn.kv.weight", "head.weight"}) {
    EXPECT_THAT(names("pvt_t"), Contains(name));
  }
  for (const char* name :
       {"patch_embed.norm.bias", "layers.3.blocks.1.norm2.weight",
        "layers.0.blocks.0.attn.relative_position_bias_table",
        "layers.2.downsample.reduction.weight", "norm.bias"}) {
    EXPECT_THAT(names("swin_t"), Contains(name));
  }
  for (const char* name :
       {"stage1_conv_embed.0.weight", "stage1_conv_embed.2.bias",
        "merge3.conv.weight", "stage3.20.mlp.fc2.bias", "norm.weight"}) {
    EXPECT_THAT(names("cswin_t"), Contains(name));
  }
}

// Adds the mean of the values over tokens.
class MeanAttention : public BlockAttention {
 public:
  MeanAttention(const AttentionSite& site, const Initializer& init)
      : BlockAttention(site, init) {}
  at::Tensor Forward(const at::Tensor& x,
                     const at::Tensor& input) const override {
    EXPECT_EQ(x.sizes(), input.sizes());
    return Output(Project(x).v.mean(1, /*keepdim=*/true).expand_as(x));
  }
};

TEST(VisionTransformerTest, AFactoryChoosesBlockByBlock) {
  std::vector<AttentionSite> sites;
  const VisionTransformer model(
      *VisionConfig::Named("pvt_t"), Initializer::Meta(),
      [&](const AttentionSite& site, const Initializer& init,
          VisionBlock* block) -> BlockAttention* {
        sites.push_back(site);
        if (site.stage != 1 || site.block != 0) return nullptr;
        return block->AddAttention<MeanAttention>(site, init);
      });
  ASSERT_EQ(sites.size(), 8);
  EXPECT_EQ(sites[3].stage, 1);
  EXPECT_EQ(sites[3].block, 1);
  EXPECT_EQ(sites[3].dim, 128);
  EXPECT_EQ(sites[3].num_heads, 2);
  EXPECT_EQ(sites[3].num_tokens(), 28 * 28);
  // The chosen block has no spatial reduction, its neighbour has.
  const std::set<std::string> names = Names(model);
  EXPECT_EQ(names.count("block2.0.attn.sr.weight"), 0);
  EXPECT_EQ(names.count("block2.1.attn.sr.weight"), 1);
  EXPECT_EQ(model.Forward(at::empty({3, 3, 224, 224}, at::kMeta)).sizes(),
            at::IntArrayRef({3, 1000}));
}

VisionConfig Small(VisionBackbone backbone) {
  VisionConfig config;
  config.backbone = backbone;
  config.image_side = 32;
  config.num_classes = 5;
  config.patch = 8;
  config.dims = {8, 16};
  config.depths = {2, 2};
  config.num_heads = {2, 4};
  config.mlp_ratios = {2, 2};
  config.windows = {2, 2};
  if (backbone == VisionBackbone::kDeit) {
    config.dims = config.depths = {8};
    config.num_heads = config.mlp_ratios = config.windows = {2};
  }
  return config;
}

TEST(VisionTransformerTest, ImagesOfABatchDoNotMixAndGradientsFlow) {
  for (const VisionBackbone backbone :
       {VisionBackbone::kDeit, VisionBackbone::kPvt, VisionBackbone::kSwin,
        VisionBackbone::kCswin}) {
    const VisionTransformer model(Small(backbone), DoubleInitializer(4));
    const at::Tensor images = RandomNormal({3, 3, 32, 32}, 2);
    const at::Tensor all = model.Forward(images);
    ASSERT_EQ(all.sizes(), at::IntArrayRef({3, 5}));
    EXPECT_THAT(model.Forward(images.narrow(0, 1, 1)).detach(),
                IsCloseTo(all.narrow(0, 1, 1).detach(), 1e-10, 1e-12));
    all.square().sum().backward();
    for (const auto& [name, parameter] : model.NamedParameters()) {
      ASSERT_TRUE(parameter.grad().defined()) << name;
      EXPECT_TRUE(parameter.grad().isfinite().all().item<bool>()) << name;
    }
  }
}

TEST(VisionTransformerTest, RefusesWhatDoesNotFit) {
  const auto make = [](const std::function<void(VisionConfig*)>& change) {
    VisionConfig config = Small(VisionBackbone::kSwin);
    change(&config);
    VisionTransformer(config, Initializer::Meta());
  };
  make([](VisionConfig*) {});
  EXPECT_THROW(make([](VisionConfig* c) { c->depths = {1}; }), c10::Error);
  EXPECT_THROW(make([](VisionConfig* c) { c->dims.clear(); }), c10::Error);
  EXPECT_THROW(make([](VisionConfig* c) { c->image_side = 36; }), c10::Error);
  EXPECT_THROW(make([](VisionConfig* c) {
                 c->num_heads = {3, 3};
               }),
               c10::Error);
  EXPECT_THROW(make([](VisionConfig* c) { c->dims = {8, 12}; }), c10::Error);
  EXPECT_THROW(make([](VisionConfig* c) { c->windows = {3, 2}; }), c10::Error);
  EXPECT_THROW(make([](VisionConfig* c) { c->windows = {0, 2}; }), c10::Error);
  EXPECT_THROW(
      make([](VisionConfig* c) { c->backbone = VisionBackbone::kDeit; }),
      c10::Error);
  EXPECT_THROW(make([](VisionConfig* c) {
                 c->backbone = VisionBackbone::kPvt;
                 c->windows = {3, 1};
               }),
               c10::Error);
  const VisionTransformer model(Small(VisionBackbone::kPvt),
                                Initializer::Meta());
  EXPECT_THROW(model.Forward(at::empty({1, 3, 28, 28}, at::kMeta)), c10::Error);
  EXPECT_THROW(model.Forward(at::empty({1, 1, 32, 32}, at::kMeta)), c10::Error);
  EXPECT_THAT(std::string(VisionConfig::Named("swin").status().message()),
              HasSubstr("swin_t"));
}

}  // namespace
}  // namespace repro
