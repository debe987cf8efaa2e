#include "papers/agent_attention/agent_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_qr.h>
#include <ATen/ops/linalg_svdvals.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/randperm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/util/Exception.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "absl/status/status.h"
#include "common/count/flops.h"
#include "common/count/parameters.h"
#include "common/nn/attention.h"
#include "common/nn/testing.h"
#include "common/tensor/generator.h"
#include "common/tensor/testing.h"
#include "papers/agent_attention/agent_sd.h"
#include "papers/agent_attention/study.h"

namespace repro::agent_attention {
namespace {

using ::testing::HasSubstr;

double At(const at::Tensor& x, int64_t i, int64_t j) {
  return x[i][j].item<double>();
}

std::vector<double> Softmax(std::vector<double> logits) {
  double sum = 0;
  for (double& logit : logits) sum += logit = std::exp(logit);
  for (double& logit : logits) logit /= sum;
  return logits;
}

// softmax(scale a b^T + bias) of one head by loops: a [n, d], b [m, d].
at::Tensor WeightsByLoops(const at::Tensor& a, const at::Tensor& b,
                          double scale, const at::Tensor& bias) {
  at::Tensor out = at::zeros({a.size(0), b.size(0)}, at::kDouble);
  for (int64_t i = 0; i < a.size(0); ++i) {
    std::vector<double> logits;
    for (int64_t j = 0; j < b.size(0); ++j) {
      double dot = 0;
      for (int64_t c = 0; c < a.size(1); ++c) dot += At(a, i, c) * At(b, j, c);
      logits.push_back(scale * dot + (bias.defined() ? At(bias, i, j) : 0));
    }
    const std::vector<double> weights = Softmax(logits);
    for (int64_t j = 0; j < b.size(0); ++j) out[i][j].fill_(weights[j]);
  }
  return out;
}

// The map from values to outputs, by giving the values the identity.
at::Tensor Composite(const at::Tensor& q, const at::Tensor& k,
                     const at::Tensor& agents, double scale) {
  return AgentAttend(q, k, at::eye(k.size(0), at::kDouble), agents, {}, {},
                     scale, scale);
}

// ------------------------------------------------------------- two softmaxes

TEST(AgentAttendTest, IsItsDefinition) {
  const at::Tensor q = RandomNormal({2, 7, 3}, 1),
                   k = RandomNormal({2, 5, 3}, 2),
                   v = RandomNormal({2, 5, 4}, 3),
                   a = RandomNormal({2, 4, 3}, 4),
                   b1 = RandomNormal({2, 4, 5}, 5),
                   b2 = RandomNormal({2, 7, 4}, 6);
  const at::Tensor out = AgentAttend(q, k, v, a, b1, b2, 0.7, 1.3);
  for (int64_t h = 0; h < 2; ++h) {
    const at::Tensor expected =
        WeightsByLoops(q[h], a[h], 1.3, b2[h])
            .matmul(WeightsByLoops(a[h], k[h], 0.7, b1[h]).matmul(v[h]));
    EXPECT_THAT(out[h], IsCloseTo(expected, 1e-12, 1e-12));
  }
}

TEST(AgentAttendTest, CompositeIsStochasticAndOfLowRank) {
  const at::Tensor w =
      Composite(RandomNormal({12, 6}, 1), RandomNormal({12, 6}, 2),
                RandomNormal({4, 6}, 3), 1.5);
  EXPECT_GE(w.min().item<double>(), 0);
  EXPECT_THAT(w.sum(1), IsCloseTo(at::ones({12}, at::kDouble), 1e-12, 0));
  const at::Tensor singular = at::linalg_svdvals(w);
  EXPECT_GT(singular[3].item<double>(), 1e-6);
  EXPECT_LT(singular[4].item<double>(), 1e-14);
}

TEST(AgentAttendTest, Limits) {
  const at::Tensor q = RandomNormal({6, 4}, 1), k = RandomNormal({6, 4}, 2),
                   v = RandomNormal({6, 3}, 3), a = RandomNormal({2, 4}, 4);
  // Constant values; keys that say nothing; a single agent.
  EXPECT_THAT(
      AgentAttend(q, k, at::full({6, 3}, 2.5, at::kDouble), a, {}, {}, 1, 1),
      IsCloseTo(at::full({6, 3}, 2.5, at::kDouble), 1e-12, 0));
  EXPECT_THAT(AgentAttend(q, at::zeros_like(k), v, a, {}, {}, 1, 1),
              IsCloseTo(v.mean(0, true).expand({6, 3}), 1e-12, 1e-12));
  const at::Tensor one = AgentAttend(q, k, v, a.narrow(0, 0, 1), {}, {}, 1, 1);
  EXPECT_THAT(one, IsCloseTo(one.narrow(0, 0, 1).expand({6, 3}), 1e-12, 1e-12));
  // Every token its own agent, orthonormal and sharp: the identity.
  const at::Tensor u = std::get<0>(at::linalg_qr(RandomNormal({6, 6}, 5)));
  EXPECT_THAT(AgentAttend(u, u, v, u, {}, {}, 100, 100),
              IsCloseTo(v, 1e-12, 1e-12));
}

TEST(AgentAttendTest, OrderOfKeysDoesNotMatter) {
  const at::Tensor q = RandomNormal({5, 4}, 1), k = RandomNormal({7, 4}, 2),
                   v = RandomNormal({7, 3}, 3), a = RandomNormal({2, 4}, 4);
  const at::Tensor order = at::randperm(7, MakeGenerator(5), at::kLong);
  EXPECT_THAT(AgentAttend(q, k.index_select(0, order), v.index_select(0, order),
                          a, {}, {}, 1, 1),
              IsCloseTo(AgentAttend(q, k, v, a, {}, {}, 1, 1), 1e-12, 1e-12));
}

// phi_q(Q) phi_k(K)^T V without the n x n matrix: multiply-adds 4 n n_a d.
TEST(AgentAttendTest, IsLinearInTheLength) {
  const auto count = [](int64_t n) {
    const at::Tensor x = at::empty({n, 8}, at::kMeta);
    const at::Tensor a = at::empty({3, 8}, at::kMeta);
    return CountFlops(FlopConvention::kConvMatmul,
                      [&] { AgentAttend(x, x, x, a, {}, {}, 1, 1); })
        .total;
  };
  EXPECT_EQ(count(100), 4 * 100 * 3 * 8);
  EXPECT_EQ(count(1000), 10 * count(100));
}

TEST(AgentAttendTest, Gradients) {
  EXPECT_TRUE(CheckGradients(
      [](const std::vector<at::Tensor>& x) {
        return AgentAttend(x[0], x[1], x[2], x[3], x[4], x[5], 0.8, 1.2);
      },
      {RandomNormal({4, 3}, 1), RandomNormal({5, 3}, 2),
       RandomNormal({5, 2}, 3), RandomNormal({2, 3}, 4),
       RandomNormal({2, 5}, 5), RandomNormal({4, 2}, 6)}));
}

TEST(AgentAttendTest, RefusesOtherShapes) {
  const at::Tensor q = RandomNormal({4, 3}, 1), a = RandomNormal({2, 3}, 2);
  EXPECT_THROW(AgentAttend(q, RandomNormal({4, 2}, 3), q, a, {}, {}, 1, 1),
               c10::Error);
  EXPECT_THROW(AgentAttend(q, q, RandomNormal({5, 3}, 3), a, {}, {}, 1, 1),
               c10::Error);
  EXPECT_THROW(AgentAttend(q, q, q, RandomNormal({2, 4}, 3), {}, {}, 1, 1),
               c10::Error);
  EXPECT_THROW(AgentAttend(q[0], q, q, a, {}, {}, 1, 1), c10::Error);
}

// -------------------------------------------------------------------- agents

TEST(PoolAgentsTest, MeansOfParts) {
  const at::Tensor x = RandomNormal({1, 14 * 14, 2}, 1);
  const at::Tensor map = x[0].view({14, 14, 2});
  const at::Tensor halves = PoolAgents(x, 14, 7)[0];
  EXPECT_THAT(halves[1 * 7 + 3],
              IsCloseTo(map.slice(0, 2, 4).slice(1, 6, 8).flatten(0, 1).mean(0),
                        1e-12, 1e-12));
  // 56 rows in 3 parts: [0, 19), [18, 38), [37, 56).
  const at::Tensor y = RandomNormal({2, 56 * 56, 3}, 2);
  const at::Tensor thirds = PoolAgents(y, 56, 3);
  ASSERT_EQ(thirds.sizes(), at::IntArrayRef({2, 9, 3}));
  const at::Tensor tall = y[1].view({56, 56, 3});
  EXPECT_THAT(
      thirds[1][5],
      IsCloseTo(tall.slice(0, 18, 38).slice(1, 37, 56).flatten(0, 1).mean(0),
                1e-12, 1e-12));
  EXPECT_THAT(PoolAgents(x, 14, 14), IsCloseTo(x, 0, 0));
  EXPECT_THROW(PoolAgents(x, 13, 7), c10::Error);
  EXPECT_THROW(PoolAgents(x, 14, 15), c10::Error);
  EXPECT_THROW(PoolAgents(x, 14, 0), c10::Error);
}

AttentionSite Site(VisionBackbone backbone, int64_t dim, int64_t heads,
                   int64_t side) {
  AttentionSite site;
  site.backbone = backbone;
  site.dim = dim;
  site.num_heads = heads;
  site.side = side;
  site.prefix = backbone == VisionBackbone::kDeit ? 1 : 0;
  return site;
}

// Bilinear without aligned corners by its definition: output i reads the input
// at (i + 1/2) 7 / side - 1/2, clamped at the lower end, the last row repeated.
double Bilinear(const at::Tensor& grid, int64_t side, int64_t i, int64_t j) {
  const auto axis = [&](int64_t k) {
    const double at = std::max(
        0.0,
        (static_cast<double>(k) + 0.5) * 7 / static_cast<double>(side) - 0.5);
    const auto low = static_cast<int64_t>(at);
    return std::make_tuple(low, std::min<int64_t>(low + 1, 6),
                           at - static_cast<double>(low));
  };
  const auto [top, bottom, down] = axis(i);
  const auto [left, right, over] = axis(j);
  return (1 - down) *
             ((1 - over) * At(grid, top, left) + over * At(grid, top, right)) +
         down * ((1 - over) * At(grid, bottom, left) +
                 over * At(grid, bottom, right));
}

TEST(AgentAttentionTest, BiasesAreLaidOutAsDefined) {
  for (const int64_t side : {5, 7, 12}) {
    AgentOptions options;
    options.num_agents = 4;
    const AgentAttention attention(Site(VisionBackbone::kDeit, 6, 2, side),
                                   options, DoubleInitializer(1));
    Randomise(attention, 3);
    const at::Tensor b1 = attention.AggregationBias().detach();
    const at::Tensor b2 = attention.BroadcastBias().detach();
    const int64_t n = side * side;
    ASSERT_EQ(b1.sizes(), at::IntArrayRef({1, 2, 4, 1 + n}));
    ASSERT_EQ(b2.sizes(), at::IntArrayRef({1, 2, 1 + n, 4}));
    const auto get = [&](const char* name) {
      return ParameterOf(attention, name);
    };
    for (int64_t h = 0; h < 2; ++h) {
      for (int64_t a = 0; a < 4; ++a) {
        EXPECT_EQ(At(b1[0][h], a, 0), At(get("ac_bias")[0][h], a, 0));
        EXPECT_EQ(At(b2[0][h], 0, a), At(get("ca_bias")[0][h], 0, a));
        for (int64_t i = 0; i < side; ++i) {
          for (int64_t j = 0; j < side; ++j) {
            EXPECT_NEAR(At(b1[0][h], a, 1 + i * side + j),
                        Bilinear(get("an_bias")[h][a], side, i, j) +
                            At(get("ah_bias")[0][h][a], i, 0) +
                            At(get("aw_bias")[0][h][a], 0, j),
                        1e-12);
            EXPECT_NEAR(At(b2[0][h], 1 + i * side + j, a),
                        Bilinear(get("na_bias")[h][a], side, i, j) +
                            At(get("ha_bias")[0][h][i], 0, a) +
                            At(get("wa_bias")[0][h][0], j, a),
                        1e-12);
          }
        }
      }
    }
  }
}

TEST(AgentAttentionTest, ConstantBiasGridsStayConstant) {
  AgentOptions options;
  options.num_agents = 9;
  const AgentAttention attention(Site(VisionBackbone::kSwin, 4, 2, 11), options,
                                 DoubleInitializer(1));
  at::NoGradGuard no_grad;
  for (const auto& [name, parameter] : attention.NamedParameters()) {
    at::Tensor(parameter).fill_(name == "an_bias" ? 0.75 : 0);
  }
  EXPECT_THAT(attention.AggregationBias(),
              IsCloseTo(at::full({1, 2, 9, 121}, 0.75, at::kDouble), 1e-12, 0));
  EXPECT_THAT(attention.BroadcastBias(),
              IsIdenticalTo(at::zeros({1, 2, 121, 9}, at::kDouble)));
}

// The whole layer from its parameters, head by head, with the convolution by
// loops. DeiT has [CLS], PVT its own projections, CSWin another name.
TEST(AgentAttentionTest, IsItsDefinition) {
  const int64_t dim = 6, heads = 2, side = 5, width = dim / heads;
  for (const VisionBackbone backbone :
       {VisionBackbone::kDeit, VisionBackbone::kPvt, VisionBackbone::kSwin,
        VisionBackbone::kCswin}) {
    AgentOptions options;
    options.num_agents = 4;
    options.broadcast_exponent = 0.3;
    options.shortcut = 0.2;
    const AttentionSite site = Site(backbone, dim, heads, side);
    const AgentAttention attention(site, options, DoubleInitializer(1));
    Randomise(attention, 30);
    const at::Tensor x = RandomNormal({2, site.num_tokens(), dim}, 7);
    std::vector<at::Tensor> expected;
    for (int64_t b = 0; b < 2; ++b) {
      const auto linear = [&](const std::string& name, const at::Tensor& in) {
        return in.matmul(ParameterOf(attention, name + ".weight").t()) +
               ParameterOf(attention, name + ".bias");
      };
      const bool pvt = backbone == VisionBackbone::kPvt;
      const at::Tensor qkv =
          pvt ? at::cat({linear("q", x[b]), linear("kv", x[b])}, -1)
              : linear("qkv", x[b]);
      const at::Tensor q = qkv.narrow(1, 0, dim), k = qkv.narrow(1, dim, dim),
                       v = qkv.narrow(1, 2 * dim, dim);
      // Rows and columns [0, 3) and [2, 5).
      const at::Tensor map =
          q.narrow(0, site.prefix, side * side).reshape({side, side, dim});
      std::vector<at::Tensor> agents;
      for (const int64_t i : {0, 2}) {
        for (const int64_t j : {0, 2}) {
          agents.push_back(
              map.slice(0, i, i + 3).slice(1, j, j + 3).flatten(0, 1).mean(0));
        }
      }
      const at::Tensor a = at::stack(agents);
      std::vector<at::Tensor> outputs;
      for (int64_t h = 0; h < heads; ++h) {
        const auto head = [&](const at::Tensor& t) {
          return t.narrow(1, h * width, width);
        };
        const double scale = 1 / std::sqrt(static_cast<double>(width));
        outputs.push_back(
            WeightsByLoops(head(q), head(a), std::pow(scale, 0.3),
                           attention.BroadcastBias()[0][h].detach())
                .matmul(
                    WeightsByLoops(head(a), head(k), scale,
                                   attention.AggregationBias()[0][h].detach())
                        .matmul(head(v))));
      }
      at::Tensor out = at::cat(outputs, 1) + 0.2 * v;
      const std::string conv =
          backbone == VisionBackbone::kCswin ? "get_v" : "dwc";
      const at::Tensor kernel = ParameterOf(attention, conv + ".weight");
      for (int64_t i = 0; i < side * side; ++i) {
        for (int64_t c = 0; c < dim; ++c) {
          double sum = ParameterOf(attention, conv + ".bias")[c].item<double>();
          for (int64_t j = 0; j < side * side; ++j) {
            const int64_t down = j / side - i / side;
            const int64_t right = j % side - i % side;
            if (std::abs(down) > 1 || std::abs(right) > 1) continue;
            sum += At(kernel[c][0], down + 1, right + 1) *
                   At(v, site.prefix + j, c);
          }
          out[site.prefix + i][c] += sum;
        }
      }
      expected.push_back(linear("proj", out));
    }
    EXPECT_THAT(attention.Forward(x, x).detach(),
                IsCloseTo(at::stack(expected), 1e-10, 1e-10));
  }
}

TEST(AgentAttentionTest, RefusesWhatDoesNotFit) {
  AgentOptions options;
  const auto make = [&](int64_t agents, int64_t side) {
    options.num_agents = agents;
    AgentAttention(Site(VisionBackbone::kSwin, 4, 2, side), options,
                   Initializer::Meta());
  };
  make(49, 7);
  EXPECT_THROW(make(49, 6), c10::Error);
  EXPECT_THROW(make(48, 7), c10::Error);
  EXPECT_THROW(make(0, 7), c10::Error);
  const AgentAttention attention(Site(VisionBackbone::kSwin, 4, 2, 7),
                                 AgentOptions(), DoubleInitializer(1));
  const at::Tensor wrong = RandomNormal({1, 48, 4}, 1);
  EXPECT_THROW(attention.Forward(wrong, wrong), c10::Error);
}

// -------------------------------------------------------------------- models

// Parameters of agent biases and convolution of a block, less those of what a
// softmax block has in their place.
int64_t ExtraParameters(const AgentModelConfig& config, int64_t stage) {
  const VisionConfig& v = config.vision;
  const int64_t h = v.num_heads[stage], a = config.num_agents[stage],
                d = v.dims[stage], side = v.MapSide(stage);
  int64_t extra = 2 * h * a * 49 + 4 * h * a * side;
  const int64_t convolution = 10 * d;
  switch (v.backbone) {
    case VisionBackbone::kDeit:
      return extra + 2 * h * a + convolution;
    case VisionBackbone::kPvt: {
      const int64_t r = v.windows[stage];
      return extra + convolution - (r > 1 ? r * r * d * d + 3 * d : 0);
    }
    case VisionBackbone::kSwin: {
      const int64_t w = std::min(v.windows[stage], side);
      return extra + convolution - (2 * w - 1) * (2 * w - 1) * h;
    }
    case VisionBackbone::kCswin:
      return extra;  // LePE is there already
  }
  return 0;
}

// Multiply-adds that agents add to a backbone's block without its attention
// core, and norms, by fvcore's rules.
int64_t AgentFlops(const AgentModelConfig& config, int64_t stage) {
  const VisionConfig& v = config.vision;
  const int64_t h = v.num_heads[stage], a = config.num_agents[stage],
                d = v.dims[stage], side = v.MapSide(stage), map = side * side,
                n = map + (v.backbone == VisionBackbone::kDeit ? 1 : 0);
  return n * d * d * (4 + 2 * v.mlp_ratios[stage])  // projections and MLP
         + 4 * n * a * d                            // two softmaxes
         + 9 * map * d                              // convolution
         + map * d                                  // pooling
         + 2 * 4 * h * a * map                      // resized biases
         + 2 * 5 * n * d;                           // norms
}

TEST(AgentModelTest, ParametersOfAllModels) {
  for (const std::string& name : AgentModelConfig::Names()) {
    const AgentModelConfig config = *AgentModelConfig::Named(name);
    int64_t expected =
        CountParameters(VisionTransformer(config.vision, Initializer::Meta()));
    for (size_t i = 0; i < config.agent_blocks.size(); ++i) {
      expected += config.agent_blocks[i] *
                  ExtraParameters(config, static_cast<int64_t>(i));
    }
    EXPECT_EQ(CountParameters(*MakeAgentModel(config, Initializer::Meta())),
              expected)
        << name;
  }
}

TEST(AgentModelTest, FlopsOfModelsOfAgentsAlone) {
  for (const std::string name :
       {"deit_t", "deit_s_448", "pvt_t", "pvt_m_256"}) {
    const AgentModelConfig config = *AgentModelConfig::Named(name);
    const VisionConfig& v = config.vision;
    int64_t expected = v.dims.back() * 1000;
    if (v.backbone == VisionBackbone::kDeit) {
      const int64_t map = v.MapSide(0) * v.MapSide(0);
      expected += map * v.dims[0] * 3 * 16 * 16 + 5 * (map + 1) * v.dims[0];
    } else {
      for (int64_t i = 0; i < 4; ++i) {
        const int64_t map = v.MapSide(i) * v.MapSide(i);
        expected += map * v.dims[i] * (i ? 4 * v.dims[i - 1] : 48) +
                    5 * map * v.dims[i];
      }
    }
    for (size_t i = 0; i < v.dims.size(); ++i) {
      ASSERT_EQ(config.agent_blocks[i], v.depths[i]);
      expected += v.depths[i] * AgentFlops(config, static_cast<int64_t>(i));
    }
    const auto model = MakeAgentModel(config, Initializer::Meta());
    const at::Tensor image =
        at::empty({1, 3, v.image_side, v.image_side}, at::kMeta);
    EXPECT_EQ(
        CountFlops(FlopConvention::kFvcore, [&] { model->Forward(image); })
            .total,
        expected)
        << name;
  }
}

TEST(AgentModelTest, AgentsStandWhereTheConfigurationsPutThem) {
  const auto model = [](const char* name) {
    return MakeAgentModel(*AgentModelConfig::Named(name), Initializer::Meta());
  };
  EXPECT_TRUE(HasParameter(*model("deit_b"), "blocks.3.attn.an_bias"));
  EXPECT_FALSE(HasParameter(*model("deit_b"), "blocks.4.attn.an_bias"));
  EXPECT_TRUE(HasParameter(*model("pvt_t"), "block4.1.attn.ac_bias") == false &&
              HasParameter(*model("pvt_t"), "block4.1.attn.dwc.weight"));
  const auto swin = model("swin_b_384");
  EXPECT_EQ(ParameterOf(*swin, "layers.2.blocks.1.attn.ah_bias").size(3), 24);
  EXPECT_FALSE(HasParameter(*swin, "layers.2.blocks.2.attn.ah_bias"));
  EXPECT_EQ(
      ParameterOf(*swin, "layers.2.blocks.2.attn.relative_position_bias_table")
          .size(0),
      23 * 23);
  const auto cswin = model("cswin_b");
  EXPECT_TRUE(HasParameter(*cswin, "stage2.5.attn.get_v.weight"));
  EXPECT_TRUE(HasParameter(*cswin, "stage3.0.attn.get_v1.weight"));
  EXPECT_THAT(std::string(AgentModelConfig::Named("swin").status().message()),
              HasSubstr("swin_s_288"));
  AgentModelConfig broken = *AgentModelConfig::Named("swin_t");
  broken.num_agents.pop_back();
  EXPECT_THROW(MakeAgentModel(broken, Initializer::Meta()), c10::Error);
}

TEST(AgentModelTest, RunsForwardAndBackward) {
  AgentModelConfig config;
  config.vision.backbone = VisionBackbone::kSwin;
  config.vision.image_side = 32;
  config.vision.num_classes = 4;
  config.vision.dims = {8, 16};
  config.vision.depths = {2, 2};
  config.vision.num_heads = {2, 2};
  config.vision.mlp_ratios = {2, 2};
  config.vision.windows = {4, 4};
  config.num_agents = {9, 4};
  config.agent_blocks = {2, 1};
  const auto model = MakeAgentModel(config, DoubleInitializer(1));
  const at::Tensor images = RandomNormal({3, 3, 32, 32}, 2);
  const at::Tensor all = model->Forward(images);
  EXPECT_THAT(model->Forward(images.narrow(0, 2, 1)).detach(),
              IsCloseTo(all.narrow(0, 2, 1).detach(), 1e-10, 1e-12));
  all.square().sum().backward();
  for (const auto& [name, parameter] : model->NamedParameters()) {
    EXPECT_TRUE(parameter.grad().defined()) << name;
  }
}

// ------------------------------------------------------------------- AgentSD

MergePlaces Places(int64_t n, std::vector<int64_t> destinations) {
  return MergePlaces::Of(n, at::tensor(destinations, at::kLong),
                         at::Device(at::kCPU));
}

TEST(MergePlacesTest, OneTokenOfEachCell) {
  const MergePlaces places =
      MergePlaces::Draw(9, 6, 4, MakeGenerator(1), at::Device(at::kCPU));
  // Two rows of one cell; what fills no cell is a source.
  ASSERT_EQ(places.destinations.size(0), 2);
  ASSERT_EQ(places.sources.size(0), 52);
  for (int64_t i = 0; i < 2; ++i) {
    const int64_t place = places.destinations[i].item<int64_t>();
    EXPECT_EQ(place / 6 / 4, i);
    EXPECT_LT(place % 6, 4);
  }
  const at::Tensor all =
      std::get<0>(at::cat({places.destinations, places.sources}).sort());
  EXPECT_THAT(all, IsIdenticalTo(at::arange(54, at::kLong)));
  // Every token of a cell is drawn.
  std::vector<int64_t> counts(16);
  for (uint64_t seed = 0; seed < 400; ++seed) {
    const MergePlaces drawn =
        MergePlaces::Draw(4, 4, 4, MakeGenerator(seed), at::Device(at::kCPU));
    ++counts[drawn.destinations[0].item<int64_t>()];
  }
  EXPECT_GT(*std::min_element(counts.begin(), counts.end()), 5);
  EXPECT_LT(*std::max_element(counts.begin(), counts.end()), 60);

  EXPECT_THROW(Places(4, {0, 4}), c10::Error);
  EXPECT_THROW(Places(4, {-1}), c10::Error);
  EXPECT_THROW(Places(4, {1, 1}), c10::Error);
  EXPECT_THROW(Places(4, {}), c10::Error);
  EXPECT_THROW(
      MergePlaces::Draw(3, 8, 4, MakeGenerator(1), at::Device(at::kCPU)),
      c10::Error);
}

// Token 1 is exactly like destination 0, tokens 2 and 3 less and less like
// destination 4.
TEST(TokenMergeTest, WorkedExample) {
  const at::Tensor hidden =
      at::tensor({1., 0., 2., 0., 0.1, 1., 0.5, 1., 0., 3.}, at::kDouble)
          .view({1, 5, 2});
  const TokenMerge merge(hidden, Places(5, {0, 4}), 2);
  const at::Tensor x =
      at::tensor({10., 20., 30., 40., 50.}, at::kDouble).view({1, 5, 1});
  const at::Tensor merged = merge.Merge(x);
  // Token 3 is left; (10 + 20) / 2 and (50 + 30) / 2.
  EXPECT_THAT(merged.flatten(),
              IsCloseTo(at::tensor({40., 15., 40.}, at::kDouble), 1e-12, 0));
  EXPECT_THAT(merge.Merge(x, 3).flatten(),
              IsCloseTo(at::tensor({15., 40.}, at::kDouble), 1e-12, 0));
  EXPECT_THAT(
      merge.Unmerge(at::tensor({1., 2., 3.}, at::kDouble).view({1, 3, 1}))
          .flatten(),
      IsCloseTo(at::tensor({2., 2., 3., 1., 3.}, at::kDouble), 0, 0));
  EXPECT_THROW(TokenMerge(hidden, Places(5, {0, 4}), 4), c10::Error);
  EXPECT_THROW(TokenMerge(hidden, Places(6, {0, 4}), 1), c10::Error);
  EXPECT_THROW(TokenMerge(hidden, MergePlaces(), 1), c10::Error);
  EXPECT_THROW(merge.Merge(x, 4), c10::Error);
  EXPECT_THROW(merge.Unmerge(x), c10::Error);
}

TEST(TokenMergeTest, TokensThatAreLeftKeepTheirPlaces) {
  const at::Tensor hidden = RandomNormal({2, 36, 4}, 1);
  const MergePlaces places =
      MergePlaces::Draw(6, 6, 3, MakeGenerator(2), at::Device(at::kCPU));
  const TokenMerge none(hidden, places, 0);
  EXPECT_THAT(none.Unmerge(none.Merge(hidden)), IsIdenticalTo(hidden));
  // A function that is constant over what is merged survives.
  const TokenMerge all(hidden, places, 32);
  const at::Tensor constant = at::full({2, 36, 3}, 1.5, at::kDouble);
  EXPECT_THAT(all.Unmerge(all.Merge(constant)), IsCloseTo(constant, 1e-12, 0));
  // Sums: a destination's mean times how many it stands for.
  const at::Tensor count =
      all.Unmerge(at::arange(4, at::kDouble).view({1, 4, 1}).expand({2, 4, 1}));
  for (int64_t b = 0; b < 2; ++b) {
    const at::Tensor means = all.Merge(hidden)[b];
    at::Tensor total = at::zeros({4}, at::kDouble);
    for (int64_t d = 0; d < 4; ++d) {
      const double members =
          (count[b] == static_cast<double>(d)).sum().item<double>();
      total = total + members * means[d];
    }
    EXPECT_THAT(total, IsCloseTo(hidden[b].sum(0), 1e-10, 1e-12));
  }
}

at::Tensor Normed(const at::Tensor& x) {
  const at::Tensor centred = x - x.mean(-1, true);
  return centred / ((centred * centred).mean(-1, true) + 1e-5).sqrt();
}

TEST(SdAttentionBlockTest, PlainMergedAndThroughAgents) {
  const int64_t dim = 6, heads = 2, width = 3;
  const SdAttentionBlock block(dim, heads, DoubleInitializer(3));
  EXPECT_TRUE(HasParameter(block, "attn1.to_out.0.bias"));
  EXPECT_FALSE(HasParameter(block, "attn1.to_q.bias"));
  const at::Tensor x = RandomNormal({2, 64, dim}, 4);
  const MergePlaces places =
      MergePlaces::Draw(8, 8, 4, MakeGenerator(5), at::Device(at::kCPU));
  const auto layer = [&](const char* name, const at::Tensor& in) {
    return in.matmul(
        ParameterOf(block, std::string("attn1.") + name + ".weight").t());
  };
  // Attention over `tokens`, through `agents` if there are any.
  const auto attend = [&](const at::Tensor& tokens, const at::Tensor& agents) {
    const at::Tensor q = layer("to_q", tokens), k = layer("to_k", tokens),
                     v = layer("to_v", tokens);
    std::vector<at::Tensor> images;
    for (int64_t b = 0; b < tokens.size(0); ++b) {
      std::vector<at::Tensor> outputs;
      for (int64_t h = 0; h < heads; ++h) {
        const auto head = [&](const at::Tensor& t) {
          return t[b].narrow(1, h * width, width);
        };
        const double scale = 1 / std::sqrt(3.0);
        if (agents.defined()) {
          const at::Tensor a = head(layer("to_q", agents));
          outputs.push_back(
              WeightsByLoops(head(q), a, std::pow(3.0, -0.15), {})
                  .matmul(
                      WeightsByLoops(a, head(k), scale, {}).matmul(head(v))) +
              0.075 * head(v));
        } else {
          outputs.push_back(
              WeightsByLoops(head(q), head(k), scale, {}).matmul(head(v)));
        }
      }
      images.push_back(at::cat(outputs, 1));
    }
    return layer("to_out.0", at::stack(images)) +
           ParameterOf(block, "attn1.to_out.0.bias");
  };
  const at::Tensor y = Normed(x);

  AgentSdOptions options;
  for (const bool fused : {false, true}) {
    options.fused_softmax = fused;
    EXPECT_THAT(block.Forward(x, options).detach(),
                IsCloseTo(x + attend(y, {}), 1e-10, 1e-12));
  }
  options.fused_softmax = false;

  // Half of 64 tokens are merged, 60 into the 4 agents: 2 * 4 < 32.
  options.merge_ratio = 0.5;
  const TokenMerge merge(x, places, 32);
  const at::Tensor with_agents = block.Forward(x, options, places).detach();
  EXPECT_THAT(
      with_agents,
      IsCloseTo(x + merge.Unmerge(attend(merge.Merge(y), merge.Merge(y, 60))),
                1e-10, 1e-12));
  // 60 is all there are, which is below 0.95 * 64 = 60.8.
  options.agent_ratio = 1;
  EXPECT_THAT(block.Forward(x, options, places).detach(),
              IsIdenticalTo(with_agents));
  // Twice as many agents as half of what is left: plain attention, as without.
  options.agent_ratio = 0.75;  // 2 * 16 = 32
  const at::Tensor merged_alone = block.Forward(x, options, places).detach();
  EXPECT_THAT(
      merged_alone,
      IsCloseTo(x + merge.Unmerge(attend(merge.Merge(y), {})), 1e-10, 1e-12));
  EXPECT_FALSE(merged_alone.equal(with_agents));

  EXPECT_THROW(block.Forward(x, options), c10::Error);  // no places
  options.merge_ratio = 1;
  EXPECT_THROW(block.Forward(x, options, places), c10::Error);
  EXPECT_THROW(SdAttentionBlock(7, 2, DoubleInitializer(1)), c10::Error);
}

// The README's settings on 64 x 64 tokens: 256 agents in the first steps at
// every ratio, plain attention in the later ones.
TEST(SdAttentionBlockTest, TheReadmesSettings) {
  const SdAttentionBlock block(4, 1, Initializer(MakeGenerator(1)));
  const at::Tensor x = at::randn({1, 4096, 4}, MakeGenerator(2), at::kFloat);
  at::NoGradGuard no_grad;
  const auto count = [&](int64_t cell, double ratio, double agent_ratio) {
    AgentSdOptions options;
    options.merge_ratio = ratio;
    options.agent_ratio = agent_ratio;
    const MergePlaces places =
        MergePlaces::Draw(64, 64, cell, MakeGenerator(3), at::Device(at::kCPU));
    return CountFlops(FlopConvention::kConvMatmul,
                      [&] { block.Forward(x, options, places); })
        .total;
  };
  const auto expected = [&](int64_t cells, int64_t left, int64_t agents) {
    return (4096 - cells) * cells * 4  // likeness
           + (4 * left + agents) * 16  // projections
           + (agents > 0 ? 4 * left * agents * 4 : 2 * left * left * 4);
  };
  EXPECT_EQ(count(4, 0.1, 0.95), expected(256, 4096 - 409, 256));
  EXPECT_EQ(count(4, 0.5, 0.95), expected(256, 2048, 256));
  EXPECT_EQ(count(2, 0.1, 0.5), expected(1024, 4096 - 409, 0));
  EXPECT_EQ(count(2, 0.5, 0.5), expected(1024, 2048, 0));
}

// --------------------------------------------------------------------- study

TEST(DiscsTest, SameStateSameImagesAllClasses) {
  std::mt19937_64 first(1), second(1);
  const DiscImages drawn = DrawDiscs(400, 24, first);
  const DiscImages again = DrawDiscs(400, 24, second);
  EXPECT_THAT(drawn.images, IsIdenticalTo(again.images));
  EXPECT_THAT(drawn.labels, IsIdenticalTo(again.labels));
  EXPECT_EQ(drawn.images.sizes(), at::IntArrayRef({400, 3, 24, 24}));
  for (int64_t c = 0; c < kDiscClasses; ++c) {
    const auto count = (drawn.labels == c).sum().item<int64_t>();
    EXPECT_GT(count, 15);
    EXPECT_LT(count, 70);
  }
  EXPECT_EQ(DrawDiscs(0, 24, first).labels.size(0), 0);
  EXPECT_THROW(DrawDiscs(1, 16, first), c10::Error);
}

// Class 0 is the pair of colours 0 and 1 (red, green), 9 that of 3 and 4
// (yellow, magenta): the large discs have at least 2 * 38 of the 576 pixels.
TEST(DiscsTest, LabelsNameTheColoursOfLargeDiscs) {
  std::mt19937_64 random(2);
  const DiscImages drawn = DrawDiscs(600, 24, random);
  const at::Tensor red = drawn.images.select(1, 0),
                   green = drawn.images.select(1, 1),
                   blue = drawn.images.select(1, 2);
  const auto share = [&](const at::Tensor& where, int64_t label) {
    return where.to(at::kDouble)
        .flatten(1)
        .mean(1)
        .masked_select(drawn.labels == label)
        .mean()
        .item<double>();
  };
  const at::Tensor is_red = (red > 0.45) & (green < 0) & (blue < 0);
  const at::Tensor is_green = (green > 0.45) & (red < 0) & (blue < 0);
  const at::Tensor is_yellow = (red > 0.3) & (green > 0.3) & (blue < 0);
  EXPECT_GT(share(is_red, 0), share(is_red, 9) + 0.04);
  EXPECT_GT(share(is_green, 0), share(is_green, 9) + 0.04);
  EXPECT_GT(share(is_yellow, 9), share(is_yellow, 0) + 0.04);
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
    EXPECT_EQ(first->size(), name == "softmax" ? 4 : 1);
    for (const double accuracy : *first) {
      EXPECT_GE(accuracy, 0);
      EXPECT_LE(accuracy, 100);
    }
    EXPECT_EQ(*first, *TrainArm(options, cell, at::Device(at::kCPU)));
  }
  cell.name = "agents";
  EXPECT_EQ(TrainArm(options, cell, at::Device(at::kCPU)).status().code(),
            absl::StatusCode::kInvalidArgument);
  cell.name = "linear";
  cell.cancelled = [] { return true; };
  EXPECT_EQ(TrainArm(options, cell, at::Device(at::kCPU)).status().code(),
            absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace repro::agent_attention
