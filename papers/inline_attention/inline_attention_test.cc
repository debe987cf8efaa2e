#include "papers/inline_attention/inline_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_lstsq.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <string>
#include <tuple>
#include <vector>

#include "common/count/flops.h"
#include "common/nn/attention.h"
#include "common/nn/testing.h"
#include "common/tensor/testing.h"

namespace repro::inline_attention {
namespace {

double At(const at::Tensor& x, int64_t i, int64_t j) {
  return x[i][j].item<double>();
}

// The definition of one head by loops, q: [n, d], k: [m, d].
at::Tensor WeightsByLoops(const at::Tensor& q, const at::Tensor& k,
                          double scale) {
  const int64_t n = q.size(0), m = k.size(0), dim = q.size(1);
  at::Tensor out = at::zeros({n, m}, at::kDouble);
  for (int64_t i = 0; i < n; ++i) {
    std::vector<double> dots;
    double mean = 0;
    for (int64_t j = 0; j < m; ++j) {
      double dot = 0;
      for (int64_t c = 0; c < dim; ++c) dot += At(q, i, c) * At(k, j, c);
      dots.push_back(scale / static_cast<double>(m) * dot);
      mean += dots.back() / static_cast<double>(m);
    }
    for (int64_t j = 0; j < m; ++j) {
      out[i][j].fill_(dots[j] - mean + 1 / static_cast<double>(m));
    }
  }
  return out;
}

// ------------------------------------------------------------------- weights

TEST(InLineWeightsTest, AreTheirDefinition) {
  const at::Tensor q = RandomNormal({2, 7, 3}, 1),
                   k = RandomNormal({2, 5, 3}, 2),
                   v = RandomNormal({2, 5, 4}, 3);
  const at::Tensor weights = InLineWeights(q, k, 0.7);
  const at::Tensor out = InLineAttend(q, k, v, 0.7);
  for (int64_t h = 0; h < 2; ++h) {
    const at::Tensor expected = WeightsByLoops(q[h], k[h], 0.7);
    EXPECT_THAT(weights[h], IsCloseTo(expected, 1e-12, 1e-12));
    EXPECT_THAT(out[h], IsCloseTo(expected.matmul(v[h]), 1e-12, 1e-12));
  }
}

TEST(InLineWeightsTest, RowsSumToOneAndMayBeNegative) {
  const at::Tensor w =
      InLineWeights(4 * RandomNormal({9, 6}, 1), RandomNormal({12, 6}, 2), 0.5);
  EXPECT_THAT(w.sum(1), IsCloseTo(at::ones({9}, at::kDouble), 1e-12, 0));
  EXPECT_LT(w.min().item<double>(), 0);
}

TEST(InLineAttendTest, Limits) {
  const at::Tensor q = RandomNormal({6, 4}, 1), k = RandomNormal({8, 4}, 2),
                   v = RandomNormal({8, 3}, 3);
  const at::Tensor mean = v.mean(0, true).expand({6, 3});
  EXPECT_THAT(InLineAttend(at::zeros_like(q), k, v, 0.5),
              IsCloseTo(mean, 1e-12, 1e-12));
  EXPECT_THAT(InLineAttend(q, k.narrow(0, 0, 1).expand({8, 4}), v, 0.5),
              IsCloseTo(mean, 1e-12, 1e-12));
  EXPECT_THAT(InLineAttend(q, k, at::full({8, 3}, 2.5, at::kDouble), 0.5),
              IsCloseTo(at::full({6, 3}, 2.5, at::kDouble), 1e-12, 0));
  // Shifted keys; a single key.
  EXPECT_THAT(InLineAttend(q, k + RandomNormal({1, 4}, 4), v, 0.5),
              IsCloseTo(InLineAttend(q, k, v, 0.5), 1e-11, 1e-12));
  EXPECT_THAT(InLineAttend(q, k.narrow(0, 0, 1), v.narrow(0, 0, 1), 0.5),
              IsCloseTo(v.narrow(0, 0, 1).expand({6, 3}), 1e-12, 1e-12));
  EXPECT_EQ(InLineAttend(q.narrow(0, 0, 0), k, v, 0.5).size(0), 0);
}

TEST(InLineWeightsTest, AreAffineInTheQuery) {
  const at::Tensor q = RandomNormal({3, 4}, 1), k = RandomNormal({8, 4}, 2);
  EXPECT_THAT(
      InLineWeights(-2.5 * q, k, 0.5) - 0.125,
      IsCloseTo(-2.5 * (InLineWeights(q, k, 0.5) - 0.125), 1e-11, 1e-12));
}

// Injectivity, by its inverse: n (w - 1 / n) / s = (K - mean) q has one
// solution q where the keys' differences span the space.
TEST(InLineWeightsTest, QueriesAreFoundFromTheirWeights) {
  const at::Tensor q = RandomNormal({5, 4}, 1), k = RandomNormal({8, 4}, 2);
  const at::Tensor w = InLineWeights(q, k, 0.5);
  const at::Tensor found = std::get<0>(at::linalg_lstsq(
      k - k.mean(0, true), (8 * (w - 0.125) / 0.5).transpose(0, 1)));
  EXPECT_THAT(found.transpose(0, 1), IsCloseTo(q, 1e-10, 1e-12));
}

// The square roots: 4,096 keys of 8 by values of 10 overflow float16 (65,504)
// in sum, not divided by n.
TEST(InLineAttendTest, HalfPrecisionDoesNotOverflow) {
  const at::Tensor k = at::full({4096, 16}, 8, at::kDouble),
                   v = at::full({4096, 2}, 10, at::kDouble),
                   q = RandomNormal({4, 16}, 3);
  const at::Tensor out =
      InLineAttend(q.to(at::kHalf), k.to(at::kHalf), v.to(at::kHalf), 0.25);
  EXPECT_THAT(out, IsCloseTo(at::full({4, 2}, 10, at::kDouble), 0, 1));
}

TEST(DivisionTest, IsItsDefinition) {
  const at::Tensor q = RandomNormal({7, 3}, 1).abs(),
                   k = RandomNormal({5, 3}, 2).abs(),
                   v = RandomNormal({5, 4}, 3);
  const at::Tensor w = DivisionWeights(q, k, 0);
  for (int64_t i = 0; i < 7; ++i) {
    double sum = 0;
    for (int64_t j = 0; j < 5; ++j) sum += (q[i] * k[j]).sum().item<double>();
    for (int64_t j = 0; j < 5; ++j) {
      EXPECT_NEAR(At(w, i, j), (q[i] * k[j]).sum().item<double>() / sum, 1e-12);
    }
  }
  EXPECT_THAT(DivisionAttend(q, k, v, 0), IsCloseTo(w.matmul(v), 1e-12, 1e-12));
  EXPECT_THAT(DivisionAttend(q, k, v),
              IsCloseTo(DivisionWeights(q, k).matmul(v), 1e-12, 1e-12));
  // A query that sees nothing.
  EXPECT_THAT(DivisionAttend(at::zeros_like(q), k, v),
              IsIdenticalTo(at::zeros({7, 4}, at::kDouble)));
}

TEST(FeatureMapTest, Values) {
  const at::Tensor x = at::tensor({-2.0, 0.0, 3.0}, at::kDouble);
  const auto map = [&](FeatureMap phi) { return ApplyFeatureMap(phi, x); };
  EXPECT_THAT(map(FeatureMap::kIdentity), IsIdenticalTo(x));
  EXPECT_THAT(map(FeatureMap::kRelu),
              IsIdenticalTo(at::tensor({0.0, 0.0, 3.0}, at::kDouble)));
  EXPECT_THAT(map(FeatureMap::kLeakyRelu),
              IsCloseTo(at::tensor({-0.02, 0.0, 3.0}, at::kDouble), 1e-15, 0));
  EXPECT_THAT(
      map(FeatureMap::kExp),
      IsCloseTo(at::tensor({std::exp(-0.4), 1.0, std::exp(0.6)}, at::kDouble),
                1e-15, 0));
}

// Two matrix products in place of n x n weights: 2 n d head_dim multiply-adds
// over all heads, and n d for the mean.
TEST(InLineAttendTest, IsLinearInTheLength) {
  const auto count = [](int64_t n) {
    const at::Tensor x = at::empty({n, 8}, at::kMeta);
    return CountFlops(FlopConvention::kConvMatmul,
                      [&] { InLineAttend(x, x, x, 1); })
        .total;
  };
  EXPECT_EQ(count(100), 2 * 100 * 8 * 8 + 100 * 8);
  EXPECT_EQ(count(1000), 10 * count(100));
}

TEST(InLineAttendTest, Gradients) {
  EXPECT_TRUE(CheckGradients(
      [](const std::vector<at::Tensor>& x) {
        return InLineAttend(x[0], x[1], x[2], 0.8);
      },
      {RandomNormal({4, 3}, 1), RandomNormal({5, 3}, 2),
       RandomNormal({5, 2}, 3)}));
}

TEST(InLineAttendTest, RefusesOtherShapes) {
  const at::Tensor q = RandomNormal({4, 3}, 1);
  EXPECT_THROW(InLineAttend(q, RandomNormal({4, 2}, 3), q, 1), c10::Error);
  EXPECT_THROW(InLineAttend(q, q, RandomNormal({5, 3}, 3), 1), c10::Error);
  EXPECT_THROW(InLineAttend(q[0], q, q, 1), c10::Error);
  EXPECT_THROW(InLineWeights(q, q.narrow(0, 0, 0), 1), c10::Error);
  EXPECT_THROW(DivisionWeights(q, RandomNormal({4, 2}, 3)), c10::Error);
  EXPECT_THROW(DivisionAttend(q, q, RandomNormal({5, 3}, 3)), c10::Error);
}

// ----------------------------------------------------------------- confusion

TEST(CountDistinctRowsTest, WorkedExample) {
  const at::Tensor w =
      at::tensor({1., 2., 1., 2.05, 3., 2., 1., 2.}, at::kDouble).view({4, 2});
  EXPECT_EQ(CountDistinctRows(w, 0), 3);
  EXPECT_EQ(CountDistinctRows(w, 0.1), 2);
  EXPECT_EQ(CountDistinctRows(w.narrow(0, 0, 0), 0), 0);
  EXPECT_THROW(CountDistinctRows(w[0], 0), c10::Error);
}

TEST(CountConfusedPairsTest, WorkedExample) {
  // Queries 0 and 1 are alike; 2 is far from both; so is 3.
  const at::Tensor q =
      at::tensor({1., 0., 1.1, 0., 2., 0., 0., 1.}, at::kDouble)
          .view({1, 4, 2});
  // Row 2 is nearly row 0, row 3 neither; row 1 is not row 2 by 5%.
  const at::Tensor w =
      at::tensor({0.6, 0.4, 0.61, 0.39, 0.602, 0.398, 0.1, 0.9}, at::kDouble)
          .view({1, 4, 2});
  const ConfusedPairs pairs = CountConfusedPairs(q, w);
  EXPECT_EQ(pairs.differing, 5);
  EXPECT_EQ(pairs.confused, 1);
  EXPECT_THROW(CountConfusedPairs(q, w[0]), c10::Error);
}

TEST(CountConfusedPairsTest, AllMultiplesUnderDivisionNoneUnderSubtraction) {
  const at::Tensor q =
      RandomNormal({1, 6}, 1).abs() *
      at::tensor({1., 2., 4., 8., 16.}, at::kDouble).view({5, 1});
  const at::Tensor k = RandomNormal({9, 6}, 2).abs();
  const ConfusedPairs division = CountConfusedPairs(q, DivisionWeights(q, k));
  const ConfusedPairs subtraction =
      CountConfusedPairs(q, InLineWeights(q, k, 0.4));
  EXPECT_EQ(division.differing, 10);
  EXPECT_EQ(division.confused, 10);
  EXPECT_EQ(subtraction.differing, 10);
  EXPECT_EQ(subtraction.confused, 0);
}

// ------------------------------------------------------------------ residual

// [n, dim] of a map of `side` by `side`, kernels [dim, 3, 3], by loops.
at::Tensor ConvolveByLoops(const at::Tensor& v, const at::Tensor& kernels,
                           int64_t side) {
  at::Tensor out = at::zeros_like(v);
  for (int64_t i = 0; i < side * side; ++i) {
    for (int64_t c = 0; c < v.size(1); ++c) {
      double sum = 0;
      for (int64_t j = 0; j < side * side; ++j) {
        const int64_t down = j / side - i / side;
        const int64_t right = j % side - i % side;
        if (std::abs(down) > 1 || std::abs(right) > 1) continue;
        sum += At(kernels[c], down + 1, right + 1) * At(v, j, c);
      }
      out[i][c].fill_(sum);
    }
  }
  return out;
}

double Gelu(double x) { return x / 2 * (1 + std::erf(x / std::sqrt(2.0))); }

// [dim, 3, 3] of a module's parameters under `prefix`, head by head.
at::Tensor KernelsByLoops(const Module& module, const std::string& prefix,
                          const at::Tensor& mean, int64_t heads) {
  const int64_t dim = mean.size(0), width = dim / heads;
  const auto layer = [&](const char* name, const std::vector<double>& in,
                         int64_t outs_a_head) {
    const at::Tensor weight = ParameterOf(module, prefix + name + ".weight"),
                     bias = ParameterOf(module, prefix + name + ".bias");
    std::vector<double> out;
    for (int64_t h = 0; h < heads; ++h) {
      for (int64_t o = h * outs_a_head; o < (h + 1) * outs_a_head; ++o) {
        double sum = bias[o].item<double>();
        for (int64_t c = 0; c < width; ++c) {
          sum += At(weight[o], c, 0) * in[h * width + c];
        }
        out.push_back(sum);
      }
    }
    return out;
  };
  std::vector<double> x;
  for (int64_t c = 0; c < dim; ++c) x.push_back(mean[c].item<double>());
  x = layer("0", x, width);
  for (double& value : x) value = Gelu(value);
  return at::tensor(layer("2", x, 9 * width), at::kDouble).view({dim, 3, 3});
}

TEST(LocalResidualTest, IsItsDefinition) {
  const LocalResidual residual(6, 2, DoubleInitializer(1));
  Randomise(residual, 2);
  const at::Tensor v = RandomNormal({2, 20, 6}, 3),
                   mean = RandomNormal({2, 6}, 4);
  const at::Tensor square = residual.Forward(v.narrow(1, 0, 16), mean, 4, 4);
  for (int64_t b = 0; b < 2; ++b) {
    const at::Tensor kernels = KernelsByLoops(residual, "", mean[b], 2);
    EXPECT_THAT(residual.Kernels(mean)[b].detach(),
                IsCloseTo(kernels, 1e-12, 1e-12));
    EXPECT_THAT(square[b].detach(),
                IsCloseTo(ConvolveByLoops(v[b].narrow(0, 0, 16), kernels, 4),
                          1e-11, 1e-12));
  }
  // A map that is not square: its transpose is the other way round.
  EXPECT_EQ(residual.Forward(v, mean, 4, 5).sizes(), v.sizes());
  EXPECT_THROW(residual.Forward(v, mean, 4, 4), c10::Error);
  EXPECT_THROW(residual.Forward(v, mean.narrow(0, 0, 1), 4, 5), c10::Error);
  EXPECT_THROW(residual.Kernels(RandomNormal({2, 5}, 1)), c10::Error);
  EXPECT_THROW(LocalResidual(6, 4, DoubleInitializer(1)), c10::Error);
}

TEST(LocalResidualTest, CentreTapsScaleChannels) {
  const LocalResidual residual(4, 2, DoubleInitializer(1));
  at::NoGradGuard no_grad;
  for (const auto& [name, parameter] : residual.NamedParameters()) {
    at::Tensor(parameter).zero_();
  }
  const at::Tensor scales = at::tensor({2., -1., 0.5, 3.}, at::kDouble);
  ParameterOf(residual, "2.bias").view({4, 9}).select(1, 4).copy_(scales);
  const at::Tensor v = RandomNormal({3, 25, 4}, 2);
  EXPECT_THAT(residual.Forward(v, RandomNormal({3, 4}, 3), 5, 5),
              IsCloseTo(v * scales, 1e-12, 1e-12));
}

// A kernel sees its own head's channels of the mean alone.
TEST(LocalResidualTest, HeadsAreApart) {
  const LocalResidual residual(6, 2, DoubleInitializer(1));
  Randomise(residual, 2);
  at::NoGradGuard no_grad;
  const at::Tensor mean = RandomNormal({1, 6}, 3);
  at::Tensor other = mean.clone();
  other.narrow(1, 3, 3).add_(1);
  const at::Tensor a = residual.Kernels(mean)[0],
                   b = residual.Kernels(other)[0];
  EXPECT_THAT(a.narrow(0, 0, 3), IsIdenticalTo(b.narrow(0, 0, 3)));
  // [3, 9]: some weight of each channel's kernel.
  const at::Tensor changes = (a - b).narrow(0, 3, 3).flatten(1).abs();
  EXPECT_GT(changes.amax(1).min().item<double>(), 1e-2);
}

// --------------------------------------------------------------------- layer

AttentionSite Site(VisionBackbone backbone, int64_t dim, int64_t heads,
                   int64_t side, int64_t block = 0) {
  AttentionSite site;
  site.backbone = backbone;
  site.block = block;
  site.dim = dim;
  site.num_heads = heads;
  site.side = side;
  site.prefix = backbone == VisionBackbone::kDeit ? 1 : 0;
  return site;
}

// The layer from its parameters for the tokens of one image or window.
at::Tensor LayerByLoops(const InLineAttention& attention,
                        const InLineOptions& options, const at::Tensor& x,
                        const at::Tensor& source, int64_t side) {
  const AttentionSite& site = attention.site();
  const int64_t dim = site.dim, width = dim / site.num_heads, map = side * side;
  const auto linear = [&](const std::string& name, const at::Tensor& in) {
    return in.matmul(ParameterOf(attention, name + ".weight").t()) +
           ParameterOf(attention, name + ".bias");
  };
  const at::Tensor qkv = site.backbone == VisionBackbone::kPvt
                             ? at::cat({linear("q", x), linear("kv", x)}, -1)
                             : linear("qkv", x);
  const at::Tensor v = qkv.narrow(1, 2 * dim, dim);
  std::vector<at::Tensor> heads;
  for (int64_t h = 0; h < site.num_heads; ++h) {
    const at::Tensor q = ApplyFeatureMap(options.feature_map,
                                         qkv.narrow(1, h * width, width)),
                     k = ApplyFeatureMap(options.feature_map,
                                         qkv.narrow(1, dim + h * width, width));
    heads.push_back(
        WeightsByLoops(q, k, 1 / std::sqrt(static_cast<double>(width)))
            .matmul(v.narrow(1, h * width, width)));
  }
  at::Tensor out = at::cat(heads, 1);
  const at::Tensor values = v.narrow(0, site.prefix, map);
  at::Tensor local = at::zeros_like(values);
  if (options.residual) {
    local =
        local + ConvolveByLoops(values,
                                KernelsByLoops(attention, "residual.",
                                               source.mean(0), site.num_heads),
                                side);
  }
  if (site.backbone == VisionBackbone::kCswin) {
    local =
        local +
        ConvolveByLoops(
            values, ParameterOf(attention, "get_v.weight").squeeze(1), side) +
        ParameterOf(attention, "get_v.bias");
  }
  out.narrow(0, site.prefix, map).add_(local);
  return linear("proj", out);
}

// DeiT has [CLS], PVT its own projections, CSWin a convolution and a mean of
// the block's input.
TEST(InLineAttentionTest, IsItsDefinition) {
  for (const VisionBackbone backbone :
       {VisionBackbone::kDeit, VisionBackbone::kPvt, VisionBackbone::kSwin,
        VisionBackbone::kCswin}) {
    for (const FeatureMap map : {FeatureMap::kIdentity, FeatureMap::kExp}) {
      InLineOptions options;
      options.feature_map = map;
      options.residual =
          backbone != VisionBackbone::kPvt || map == FeatureMap::kExp;
      const AttentionSite site = Site(backbone, 6, 2, 4);
      const InLineAttention attention(site, options, DoubleInitializer(1));
      Randomise(attention, 30);
      EXPECT_EQ(HasParameter(attention, "residual.2.bias"), options.residual);
      const at::Tensor x = RandomNormal({2, site.num_tokens(), 6}, 7),
                       input = RandomNormal({2, site.num_tokens(), 6}, 8);
      const at::Tensor out = attention.Forward(x, input).detach();
      for (int64_t b = 0; b < 2; ++b) {
        const at::Tensor& source =
            backbone == VisionBackbone::kCswin ? input : x;
        EXPECT_THAT(out[b], IsCloseTo(LayerByLoops(attention, options, x[b],
                                                   source[b], site.side),
                                      1e-10, 1e-10));
      }
    }
  }
}

// Blocks of odd number shift by half a window, without a mask, unless the
// window is the map.
TEST(InLineAttentionTest, Windows) {
  for (const int64_t block : {0, 1}) {
    InLineOptions options;
    options.window = 3;
    const AttentionSite site = Site(VisionBackbone::kSwin, 4, 2, 6, block);
    const InLineAttention attention(site, options, DoubleInitializer(1));
    Randomise(attention, 5);
    const at::Tensor x = RandomNormal({1, 36, 4}, 2);
    const at::Tensor out = attention.Forward(x, x).detach()[0];
    // Window (1, 0): the rows 3 to 5 and the columns 0 to 2, one further on
    // both ways in a shifted block, around the end.
    std::vector<int64_t> places;
    for (int64_t i = 3; i < 6; ++i) {
      for (int64_t j = 0; j < 3; ++j) {
        places.push_back((i + block) % 6 * 6 + (j + block) % 6);
      }
    }
    const at::Tensor index = at::tensor(places, at::kLong);
    const at::Tensor tokens = x[0].index_select(0, index);
    EXPECT_THAT(out.index_select(0, index),
                IsCloseTo(LayerByLoops(attention, options, tokens, tokens, 3),
                          1e-10, 1e-10));
  }
  InLineOptions whole, large;
  large.window = 7;
  const AttentionSite site = Site(VisionBackbone::kSwin, 4, 2, 6, 1);
  const InLineAttention a(site, whole, DoubleInitializer(1)),
      b(site, large, DoubleInitializer(1));
  const at::Tensor x = RandomNormal({2, 36, 4}, 2);
  EXPECT_THAT(a.Forward(x, x).detach(),
              IsIdenticalTo(b.Forward(x, x).detach()));
}

// Without the residual the other normalisations are attention as it is known.
TEST(InLineAttentionTest, OtherNormalisations) {
  const AttentionSite site = Site(VisionBackbone::kSwin, 6, 2, 3);
  const at::Tensor x = RandomNormal({2, 9, 6}, 2);
  for (const Normalisation normalisation :
       {Normalisation::kDivision, Normalisation::kSoftmax}) {
    InLineOptions options;
    options.residual = false;
    options.normalisation = normalisation;
    if (normalisation == Normalisation::kDivision) {
      options.feature_map = FeatureMap::kRelu;
    }
    int observed = 0;
    at::Tensor weights;
    options.observe = [&](const at::Tensor& q, const at::Tensor& w) {
      ++observed;
      EXPECT_EQ(q.sizes(), at::IntArrayRef({2, 2, 9, 3}));
      weights = w.detach();
    };
    const InLineAttention attention(site, options, DoubleInitializer(1));
    Randomise(attention, 3);
    const at::Tensor out = attention.Forward(x, x).detach();
    EXPECT_EQ(observed, 1);
    const at::Tensor qkv = x.matmul(ParameterOf(attention, "qkv.weight").t()) +
                           ParameterOf(attention, "qkv.bias");
    const auto part = [&](int64_t i) {
      return SplitHeads(qkv.narrow(2, 6 * i, 6), 2);
    };
    const at::Tensor expected_weights =
        normalisation == Normalisation::kSoftmax
            ? SoftmaxAttentionMap(part(0), part(1))
            : DivisionWeights(part(0).clamp_min(0), part(1).clamp_min(0));
    EXPECT_THAT(weights, IsCloseTo(expected_weights, 1e-10, 1e-12));
    EXPECT_THAT(
        out,
        IsCloseTo(MergeHeads(expected_weights.matmul(part(2)))
                          .matmul(ParameterOf(attention, "proj.weight").t()) +
                      ParameterOf(attention, "proj.bias"),
                  1e-10, 1e-12));
  }
}

TEST(InLineAttentionTest, RefusesWhatDoesNotFit) {
  InLineOptions options;
  const auto make = [&](VisionBackbone backbone, int64_t window) {
    options.window = window;
    InLineAttention(Site(backbone, 4, 2, 6), options, Initializer::Meta());
  };
  make(VisionBackbone::kSwin, 2);
  make(VisionBackbone::kDeit, 6);
  EXPECT_THROW(make(VisionBackbone::kSwin, 4), c10::Error);
  EXPECT_THROW(make(VisionBackbone::kSwin, -1), c10::Error);
  EXPECT_THROW(make(VisionBackbone::kDeit, 3), c10::Error);
  options.normalisation = Normalisation::kSoftmax;
  options.feature_map = FeatureMap::kRelu;
  EXPECT_THROW(make(VisionBackbone::kSwin, 0), c10::Error);
  const InLineAttention attention(Site(VisionBackbone::kSwin, 4, 2, 6),
                                  InLineOptions(), DoubleInitializer(1));
  const at::Tensor wrong = RandomNormal({1, 35, 4}, 1);
  EXPECT_THROW(attention.Forward(wrong, wrong), c10::Error);
}

}  // namespace
}  // namespace repro::inline_attention
