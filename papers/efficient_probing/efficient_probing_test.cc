#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/count/flops.h"
#include "common/count/parameters.h"
#include "common/nn/testing.h"
#include "common/tensor/generator.h"
#include "common/tensor/testing.h"
#include "papers/efficient_probing/probes.h"
#include "papers/efficient_probing/small_vit.h"
#include "papers/efficient_probing/stripes.h"
#include "papers/efficient_probing/study.h"

namespace repro::efficient_probing {
namespace {

using ::testing::HasSubstr;

void Set(const Module& module, const std::string& name,
         const at::Tensor& value) {
  at::NoGradGuard no_grad;
  for (const auto& [key, parameter] : module.NamedParameters()) {
    if (key == name) {
      at::Tensor(parameter).copy_(value);
      return;
    }
  }
  FAIL() << "no parameter " << name;
}

double At(const at::Tensor& x, int64_t i) { return x[i].item<double>(); }
double At(const at::Tensor& x, int64_t i, int64_t j) {
  return x[i][j].item<double>();
}
double At(const at::Tensor& x, int64_t i, int64_t j, int64_t k) {
  return x[i][j][k].item<double>();
}

std::vector<double> Softmax(std::vector<double> logits) {
  double sum = 0;
  for (double& logit : logits) sum += logit = std::exp(logit);
  for (double& logit : logits) logit /= sum;
  return logits;
}

std::string ErrorOf(const std::function<void()>& call) {
  try {
    call();
  } catch (const c10::Error& error) {
    return error.what_without_backtrace();
  }
  return "no error";
}

// ------------------------------------------------------- efficient probing

TEST(EfficientProbing, WorkedExample) {
  // u_1 = (sqrt 2 ln 3, 0) gives the first of two unit tokens the weight 3/4.
  EfficientProbing ep(2, 2, DoubleInitializer(0));
  Set(ep, "queries",
      at::tensor({std::sqrt(2.0) * std::log(3.0), 0.0, 0.0, 0.0}, at::kDouble)
          .view({2, 2}));
  Set(ep, "v", at::tensor({1.0, 0.0, 0.0, 1.0}, at::kDouble).view({2, 2}));
  const at::Tensor x =
      at::tensor({1.0, 0.0, 0.0, 1.0}, at::kDouble).view({1, 2, 2});
  EXPECT_THAT(
      ep.Attention(x),
      IsCloseTo(at::tensor({0.75, 0.25, 0.5, 0.5}, at::kDouble).view({1, 2, 2}),
                1e-12, 1e-12));
  EXPECT_THAT(ep.Forward(x),
              IsCloseTo(at::tensor({0.75, 0.5}, at::kDouble).view({1, 2}),
                        1e-12, 1e-12));
}

// The definition by loops.
at::Tensor EpByLoops(const EfficientProbing& ep, const at::Tensor& x) {
  const at::Tensor u = ep.queries().detach();
  const at::Tensor w = ep.value_weight().detach();
  const int64_t dim = x.size(2), queries = u.size(0);
  const int64_t width = ep.output_dim() / queries;
  at::Tensor out = at::zeros({x.size(0), ep.output_dim()}, at::kDouble);
  for (int64_t b = 0; b < x.size(0); ++b) {
    for (int64_t j = 0; j < queries; ++j) {
      std::vector<double> logits;
      for (int64_t n = 0; n < x.size(1); ++n) {
        double dot = 0;
        for (int64_t d = 0; d < dim; ++d) dot += At(u, j, d) * At(x, b, n, d);
        logits.push_back(dot / std::sqrt(static_cast<double>(dim)));
      }
      const std::vector<double> weights = Softmax(logits);
      for (int64_t o = j * width; o < (j + 1) * width; ++o) {
        double sum = 0;
        for (int64_t n = 0; n < x.size(1); ++n) {
          for (int64_t d = 0; d < dim; ++d) {
            sum += weights[n] * At(w, o, d) * At(x, b, n, d);
          }
        }
        out[b][o].fill_(sum);
      }
    }
  }
  return out;
}

TEST(EfficientProbing, BothOrdersAreTheDefinition) {
  struct Size {
    int64_t dim, queries, output_dim, tokens;
  };
  for (const Size& size : {Size{6, 3, 6, 5}, Size{6, 2, 4, 1}, Size{5, 1, 3, 7},
                           Size{8, 8, 8, 2}}) {
    EfficientProbing ep(size.dim, size.queries, DoubleInitializer(1),
                        {size.output_dim});
    // Queries large enough that the weights are not flat.
    Set(ep, "queries", 2 * RandomNormal({size.queries, size.dim}, 2));
    const at::Tensor x = RandomNormal({3, size.tokens, size.dim}, 3);
    const at::Tensor expected = EpByLoops(ep, x);
    EXPECT_THAT(ep.Forward(x), IsCloseTo(expected, 1e-10, 1e-12));
    EXPECT_THAT(ep.ForwardAsCoded(x), IsCloseTo(expected, 1e-10, 1e-12));
  }
}

TEST(EfficientProbing, BothOrdersHaveTheSameGradients) {
  EfficientProbing ep(12, 4, DoubleInitializer(4), {8});
  Set(ep, "queries", RandomNormal({4, 12}, 5));
  // Not contiguous, as patches behind [CLS] are.
  const at::Tensor x = RandomNormal({3, 10, 12}, 6).narrow(1, 1, 9);
  const at::Tensor upstream = RandomNormal({3, 8}, 7);
  std::vector<at::Tensor> gradients;
  for (const bool coded : {false, true}) {
    const at::Tensor y = coded ? ep.ForwardAsCoded(x) : ep.Forward(x);
    (y * upstream).sum().backward();
    for (at::Tensor& parameter : ep.Parameters()) {
      gradients.push_back(parameter.grad().clone());
      parameter.mutable_grad().reset();
    }
  }
  ASSERT_EQ(gradients.size(), 4u);
  EXPECT_GT(gradients[0].abs().max().item<double>(), 1e-3);
  EXPECT_THAT(gradients[0], IsCloseTo(gradients[2], 1e-9, 1e-12));
  EXPECT_THAT(gradients[1], IsCloseTo(gradients[3], 1e-9, 1e-12));
}

TEST(EfficientProbing, WithoutValuesPoolsBlocksOfTheTokens) {
  EfficientProbingOptions options;
  options.value_projection = false;
  EfficientProbing bare(6, 3, DoubleInitializer(8), options);
  EfficientProbing identity(6, 3, DoubleInitializer(8));
  const at::Tensor queries = RandomNormal({3, 6}, 9);
  Set(bare, "queries", queries);
  Set(identity, "queries", queries);
  at::Tensor eye = at::zeros({6, 6}, at::kDouble);
  for (int64_t i = 0; i < 6; ++i) eye[i][i].fill_(1);
  Set(identity, "v", eye);
  const at::Tensor x = RandomNormal({2, 6, 6}, 10).narrow(1, 1, 5);
  EXPECT_THAT(bare.Forward(x), IsCloseTo(identity.Forward(x), 1e-12, 1e-12));
  EXPECT_THAT(bare.ForwardAsCoded(x),
              IsCloseTo(identity.Forward(x), 1e-12, 1e-12));
  EXPECT_EQ(CountParameters(bare), 18);
}

TEST(EfficientProbing, ZeroQueriesAverageTheValues) {
  EfficientProbing ep(6, 2, DoubleInitializer(11));
  MeanToken mean(6, /*value_projection=*/true, DoubleInitializer(12));
  Set(ep, "queries", at::zeros({2, 6}, at::kDouble));
  Set(mean, "v.weight", ParameterOf(ep, "v"));
  const at::Tensor x = RandomNormal({4, 9, 6}, 13);
  EXPECT_THAT(ep.Forward(x), IsCloseTo(mean.Forward(x), 1e-12, 1e-12));
}

TEST(EfficientProbing, IgnoresTheOrderOfTokens) {
  EfficientProbing ep(6, 2, DoubleInitializer(14));
  Set(ep, "queries", RandomNormal({2, 6}, 15));
  const at::Tensor x = RandomNormal({2, 5, 6}, 16);
  const at::Tensor order = at::tensor({3, 0, 4, 1, 2}, at::kLong);
  EXPECT_THAT(ep.Forward(x.index_select(1, order)),
              IsCloseTo(ep.Forward(x), 1e-12, 1e-12));
  EXPECT_THAT(ep.Attention(x).sum(-1),
              IsCloseTo(at::ones({2, 2}, at::kDouble), 1e-12, 1e-12));
}

TEST(EfficientProbing, ABlockBelongsToItsQuery) {
  EfficientProbing ep(6, 3, DoubleInitializer(17)),
      moved(6, 3, DoubleInitializer(17));
  const at::Tensor queries = RandomNormal({3, 6}, 18);
  const at::Tensor order = at::tensor({2, 0, 1}, at::kLong);
  const at::Tensor x = RandomNormal({2, 5, 6}, 19);
  const auto blocks = [](const at::Tensor& y) { return y.view({-1, 3, 2}); };
  Set(ep, "queries", queries);
  Set(moved, "queries", queries.index_select(0, order));
  const at::Tensor expected =
      blocks(ep.Forward(x)).index_select(1, order).contiguous();
  EXPECT_GT((blocks(moved.Forward(x)) - expected).abs().max().item<double>(),
            1e-3);
  Set(moved, "v",
      ParameterOf(ep, "v").view({3, 2, 6}).index_select(0, order).reshape(
          {6, 6}));
  EXPECT_THAT(blocks(moved.Forward(x)), IsCloseTo(expected, 1e-12, 1e-12));
}

TEST(EfficientProbing, HoldsAllThatTheKeysOfCrossAttentionCanDo) {
  // Head j's logit d^{-1/2} q_j^T W_Kj x is D^{-1/2} u_j^T x for
  // u_j = sqrt(D / d) W_Kj^T q_j.
  constexpr int64_t kDim = 12, kHeads = 3, kWidth = 4;
  CrossAttention mhca(kDim, kHeads, DoubleInitializer(20));
  EfficientProbing ep(kDim, kHeads, DoubleInitializer(21));
  Set(mhca, "query", RandomNormal({1, kDim}, 22));
  const at::Tensor keys = ParameterOf(mhca, "k.weight"),
                   query = ParameterOf(mhca, "query")[0];
  at::Tensor queries = at::zeros({kHeads, kDim}, at::kDouble);
  for (int64_t j = 0; j < kHeads; ++j) {
    for (int64_t d = 0; d < kDim; ++d) {
      double sum = 0;
      for (int64_t i = j * kWidth; i < (j + 1) * kWidth; ++i) {
        sum += At(keys, i, d) * At(query, i);
      }
      queries[j][d].fill_(std::sqrt(static_cast<double>(kHeads)) * sum);
    }
  }
  Set(ep, "queries", queries);
  Set(ep, "v", ParameterOf(mhca, "v.weight"));
  const at::Tensor x = RandomNormal({2, 7, kDim}, 23);
  EXPECT_THAT(ep.Forward(x), IsCloseTo(mhca.Forward(x), 1e-10, 1e-12));
}

TEST(EfficientProbing, RunsInTheTypeOfItsTokens) {
  EfficientProbing ep(32, 4, Initializer(MakeGenerator(24)));
  const at::Tensor x = RandomNormal({2, 9, 32}, 25);
  const at::Tensor expected = ep.Forward(x);
  EXPECT_EQ(expected.scalar_type(), at::kDouble);
  EXPECT_THAT(ep.Forward(x.to(at::kFloat)).to(at::kDouble),
              IsCloseTo(expected, 1e-4, 1e-5));
  const at::Tensor half = ep.Forward(x.to(at::kBFloat16));
  EXPECT_EQ(half.scalar_type(), at::kBFloat16);
  EXPECT_THAT(half.to(at::kDouble), IsCloseTo(expected, 5e-2, 5e-2));
}

TEST(EfficientProbing, RefusesWhatDoesNotFit) {
  const Initializer init = DoubleInitializer(26);
  EXPECT_THAT(ErrorOf([&] { EfficientProbing(6, 4, init); }),
              HasSubstr("do not divide"));
  EXPECT_THAT(ErrorOf([&] { EfficientProbing(6, 0, init); }),
              HasSubstr("do not divide"));
  EfficientProbingOptions narrow;
  narrow.output_dim = 4;
  narrow.value_projection = false;
  EXPECT_THAT(ErrorOf([&] { EfficientProbing(6, 2, init, narrow); }),
              HasSubstr("without W_V"));
  EfficientProbing ep(6, 2, init);
  EXPECT_THAT(ErrorOf([&] {
                ep.Forward(RandomNormal({2, 5, 4}, 0));
              }),
              HasSubstr("[2, 5, 4]"));
  EXPECT_THAT(ErrorOf([&] {
                ep.Forward(RandomNormal({5, 6}, 0));
              }),
              HasSubstr("[5, 6]"));
  EXPECT_THAT(ErrorOf([&] {
                ep.Forward(at::zeros({2, 0, 6}, at::kDouble));
              }),
              HasSubstr("no tokens"));
  EXPECT_THAT(ErrorOf([&] {
                ep.Forward(at::zeros({2, 5, 6}, at::kLong));
              }),
              HasSubstr("x"));
  EXPECT_EQ(ep.Forward(at::zeros({0, 5, 6}, at::kDouble)).size(0), 0);
}

// ------------------------------------------------------------ other probes

TEST(CrossAttention, IsItsDefinition) {
  for (const bool keys : {true, false}) {
    CrossAttentionOptions options;
    options.key_projection = keys;
    CrossAttention mhca(6, 3, DoubleInitializer(27), options);
    Set(mhca, "query", 2 * RandomNormal({1, 6}, 28));
    const at::Tensor q = ParameterOf(mhca, "query")[0],
                     wv = ParameterOf(mhca, "v.weight");
    const at::Tensor x = RandomNormal({2, 4, 6}, 29);
    const at::Tensor k =
        keys ? x.matmul(ParameterOf(mhca, "k.weight").t()) : x.clone();
    const at::Tensor v = x.matmul(wv.t());
    at::Tensor expected = at::zeros({2, 6}, at::kDouble);
    for (int64_t b = 0; b < 2; ++b) {
      for (int64_t h = 0; h < 3; ++h) {
        std::vector<double> logits;
        for (int64_t n = 0; n < 4; ++n) {
          logits.push_back((At(q, 2 * h) * At(k, b, n, 2 * h) +
                            At(q, 2 * h + 1) * At(k, b, n, 2 * h + 1)) /
                           std::sqrt(2.0));
        }
        const std::vector<double> weights = Softmax(logits);
        for (int64_t i = 2 * h; i < 2 * h + 2; ++i) {
          double sum = 0;
          for (int64_t n = 0; n < 4; ++n) sum += weights[n] * At(v, b, n, i);
          expected[b][i].fill_(sum);
        }
      }
    }
    EXPECT_THAT(mhca.Forward(x), IsCloseTo(expected, 1e-10, 1e-12));
  }
  EXPECT_THAT(ErrorOf([] { CrossAttention(6, 4, DoubleInitializer(0)); }),
              HasSubstr("do not divide"));
}

TEST(CrossAttention, OfAimReadsNormalisedTokens) {
  CrossAttentionOptions aim;
  aim.normalize_tokens = true;
  CrossAttention normalized(4, 2, DoubleInitializer(30), aim),
      plain(4, 2, DoubleInitializer(30));
  for (const char* name : {"query", "k.weight", "v.weight"}) {
    Set(plain, name, ParameterOf(normalized, name));
  }
  const at::Tensor x = 3 * RandomNormal({3, 5, 4}, 31) + 2;
  const at::Tensor mean = x.mean(at::IntArrayRef({0, 1})), centred = x - mean;
  const at::Tensor variance = centred.square().mean(at::IntArrayRef({0, 1}));
  EXPECT_THAT(normalized.Forward(x),
              IsCloseTo(plain.Forward(centred / (variance + 1e-6).sqrt()), 1e-9,
                        1e-12));
}

TEST(AveragedQueries, IsTheMeanOfTheQueriesPoolings) {
  AveragedQueries averaged(6, 2, DoubleInitializer(32));
  Set(averaged, "queries", 2 * RandomNormal({2, 6}, 33));
  const at::Tensor queries = ParameterOf(averaged, "queries");
  const at::Tensor x = RandomNormal({2, 5, 6}, 34);
  const at::Tensor keys = x.matmul(ParameterOf(averaged, "k.weight").t());
  at::Tensor expected = at::zeros({2, 6}, at::kDouble);
  for (int64_t b = 0; b < 2; ++b) {
    for (int64_t j = 0; j < 2; ++j) {
      std::vector<double> logits;
      for (int64_t n = 0; n < 5; ++n) {
        logits.push_back((queries[j] * keys[b][n]).sum().item<double>() /
                         std::sqrt(6.0));
      }
      const std::vector<double> weights = Softmax(logits);
      for (int64_t n = 0; n < 5; ++n) expected[b] += 0.5 * weights[n] * x[b][n];
    }
  }
  EXPECT_THAT(averaged.Forward(x), IsCloseTo(expected, 1e-10, 1e-12));
  // As many parameters as EP's, so that logs do not tell which was trained.
  EXPECT_EQ(CountParameters(averaged),
            CountParameters(EfficientProbing(6, 2, DoubleInitializer(35))));
}

TEST(MeanToken, IsTheMean) {
  const at::Tensor x = RandomNormal({2, 3, 4}, 36);
  MeanToken mean(4, false, DoubleInitializer(0));
  EXPECT_THAT(mean.Forward(x),
              IsCloseTo((x.select(1, 0) + x.select(1, 1) + x.select(1, 2)) / 3,
                        1e-12, 1e-12));
  EXPECT_THAT(FirstToken(4).Forward(x), IsCloseTo(x.select(1, 0), 0, 0));
}

TEST(FeatureNorm, TakesTheBatchInTrainingAndTheRunningOnesAfter) {
  FeatureNorm norm(1, DoubleInitializer(0));
  const at::Tensor x = at::tensor({1.0, 3.0}, at::kDouble).view({2, 1});
  const double scale = 1 / std::sqrt(1 + 1e-6);
  EXPECT_THAT(norm.Forward(x),
              IsCloseTo(at::tensor({-scale, scale}, at::kDouble).view({2, 1}),
                        1e-12, 1e-12));
  // Running mean 0.9 * 0 + 0.1 * 2, variance 0.9 * 1 + 0.1 * 2 (unbiased).
  norm.Train(false);
  const double running = 1 / std::sqrt(1.1 + 1e-6);
  EXPECT_THAT(
      norm.Forward(x),
      IsCloseTo(
          at::tensor({0.8 * running, 2.8 * running}, at::kDouble).view({2, 1}),
          1e-12, 1e-12));
  EXPECT_TRUE(norm.Parameters().empty());
  norm.Train(true);
  EXPECT_THAT(ErrorOf([&] {
                norm.Forward(at::ones({1, 1}, at::kDouble));
              }),
              HasSubstr("one row"));
  EXPECT_THAT(ErrorOf([&] {
                norm.Forward(at::ones({2, 3}, at::kDouble));
              }),
              HasSubstr("[2, 3]"));
}

// ---------------------------------------------------------------- the head

TEST(ProbeHead, ParametersFollowTheFormulas) {
  const auto count = [](const PoolingConfig& config, int64_t classes) {
    return CountParameters(ProbeHead(config, classes, Initializer::Meta()));
  };
  for (const int64_t dim : {16, 48}) {
    for (const int64_t m : {1, 4, 8}) {
      for (const int64_t classes : {2, 10}) {
        const int64_t classifier = dim * classes + classes;
        const int64_t square = dim * dim;
        EXPECT_EQ(count({"ep", dim, m}, classes),
                  square + m * dim + classifier);
        EXPECT_EQ(count({"ep", dim, m, dim / 2}, classes),
                  square / 2 + m * dim + dim / 2 * classes + classes);
        EXPECT_EQ(count({"ep_no_v", dim, m}, classes), m * dim + classifier);
        EXPECT_EQ(count({"averaged", dim, m}, classes),
                  square + m * dim + classifier);
        for (const char* name : {"mhca", "aim"}) {
          EXPECT_EQ(count({name, dim, m}, classes),
                    2 * square + dim + classifier);
        }
        EXPECT_EQ(count({"mhca_no_k", dim, m}, classes),
                  square + dim + classifier);
        EXPECT_EQ(count({"first", dim}, classes), classifier);
        EXPECT_EQ(count({"mean", dim}, classes), classifier);
        EXPECT_EQ(count({"mean_v", dim}, classes), square + classifier);
      }
    }
  }
}

TEST(ProbeHead, NormalisesBetweenPoolingAndClassifier) {
  ProbeHead head({"mean", 4}, 3, DoubleInitializer(37));
  const at::Tensor x = RandomNormal({5, 6, 4}, 38);
  const at::Tensor pooled = x.mean(1), mean = pooled.mean({0}, true);
  const at::Tensor variance = (pooled - mean).square().mean({0}, true);
  const at::Tensor features = (pooled - mean) / (variance + 1e-6).sqrt();
  EXPECT_THAT(head.Forward(x),
              IsCloseTo(features.matmul(ParameterOf(head, "head.weight").t()) +
                            ParameterOf(head, "head.bias"),
                        1e-9, 1e-12));
}

TEST(ProbeHead, RefusesUnknownPoolings) {
  const auto error = [](const PoolingConfig& config) {
    return ErrorOf([&] { ProbeHead(config, 3, DoubleInitializer(0)); });
  };
  EXPECT_THAT(error({"max", 4}), HasSubstr("there is no pooling 'max'"));
  EXPECT_THAT(error({"", 4}), HasSubstr("there is no pooling ''"));
  EXPECT_THAT(error({"mean", 4, 1, 2}), HasSubstr("only ep"));
  EXPECT_THAT(error({"ep", 0}), HasSubstr("0 channels"));
  EXPECT_THAT(error({"ep", 4, -1}), HasSubstr("-1 queries"));
}

TEST(ProbeHead, MultiplyAddsFollowTheFormulas) {
  constexpr int64_t kTokens = 7, kDim = 24, kQueries = 4, kOut = 8;
  const at::Tensor x = RandomNormal({1, kTokens, kDim}, 39);
  EfficientProbing ep(kDim, kQueries, DoubleInitializer(40), {kOut});
  const auto count = [](const std::function<void()>& forward) {
    return CountFlops(FlopConvention::kConvMatmul, forward).total;
  };
  EXPECT_EQ(count([&] { ep.Forward(x); }),
            kDim * (2 * kQueries * kTokens + kOut));
  EXPECT_EQ(count([&] { ep.ForwardAsCoded(x); }),
            kDim * (kQueries * kTokens + kTokens * kOut) + kTokens * kOut);
  CrossAttention mhca(kDim, 3, DoubleInitializer(41));
  EXPECT_EQ(count([&] { mhca.Forward(x); }),
            2 * kTokens * kDim * kDim + 2 * kTokens * kDim);
}

// -------------------------------------------------------------------- LARS

TEST(Lars, TwoStepsByHand) {
  // |w| = 5, |g| = 10: the gradient is scaled by 0.001 * 5 / 10.
  at::Tensor w = at::tensor({3.0, 4.0}, at::kDouble).view({1, 2});
  at::Tensor b = at::tensor({1.0}, at::kDouble);
  w.requires_grad_();
  b.requires_grad_();
  LarsOptions options;
  options.rate = 2;
  const auto lars = MakeLars({w, b}, options);
  const auto step = [&] {
    w.mutable_grad() = at::tensor({6.0, -8.0}, at::kDouble).view({1, 2});
    b.mutable_grad() = at::tensor({0.5}, at::kDouble);
    lars->Step();
  };
  step();
  const double w0 = 3 - 2 * 0.0005 * 6, w1 = 4 + 2 * 0.0005 * 8;
  EXPECT_NEAR(At(w, 0, 0), w0, 1e-12);
  EXPECT_NEAR(At(w, 0, 1), w1, 1e-12);
  EXPECT_NEAR(At(b, 0), 0, 1e-12);  // not scaled: 1 - 2 * 0.5
  step();
  const double ratio = 0.001 * std::sqrt(w0 * w0 + w1 * w1) / 10;
  EXPECT_NEAR(At(w, 0, 0), w0 - 2 * (0.9 * 0.0005 * 6 + ratio * 6), 1e-12);
  EXPECT_NEAR(At(w, 0, 1), w1 + 2 * (0.9 * 0.0005 * 8 + ratio * 8), 1e-12);
  EXPECT_NEAR(At(b, 0), 0 - 2 * (0.9 * 0.5 + 0.5), 1e-12);
}

TEST(Lars, ZeroNormsLeaveTheGradient) {
  at::Tensor zero = at::zeros({1, 2}, at::kDouble).requires_grad_();
  at::Tensor still = at::ones({1, 2}, at::kDouble).requires_grad_();
  at::Tensor without = at::ones({1, 2}, at::kDouble).requires_grad_();
  const auto lars = MakeLars({zero, still, without}, {1.0});
  zero.mutable_grad() = at::tensor({3.0, 4.0}, at::kDouble).view({1, 2});
  still.mutable_grad() = at::zeros({1, 2}, at::kDouble);
  lars->Step();
  EXPECT_NEAR(At(zero, 0, 0), -3, 1e-12);
  EXPECT_NEAR(At(zero, 0, 1), -4, 1e-12);
  EXPECT_NEAR(At(still, 0, 0), 1, 1e-12);
  EXPECT_NEAR(At(without, 0, 1), 1, 1e-12);
}

TEST(Lars, WeightDecayCountsForTheNorm) {
  at::Tensor w = at::tensor({3.0, 4.0}, at::kDouble).view({1, 2});
  w.requires_grad_();
  LarsOptions options;
  options.rate = 1;
  options.weight_decay = 2;
  const auto lars = MakeLars({w}, options);
  w.mutable_grad() = at::tensor({0.0, -3.0}, at::kDouble).view({1, 2});
  lars->Step();  // g' = (6, 5)
  const double ratio = 0.001 * 5 / std::sqrt(61.0);
  EXPECT_NEAR(At(w, 0, 0), 3 - ratio * 6, 1e-12);
  EXPECT_NEAR(At(w, 0, 1), 4 - ratio * 5, 1e-12);
}

// -------------------------------------------------------------------- k-NN

TEST(NearestNeighbours, VotesBySimilarity) {
  // Cosines to (2, 0): 1, 0.8, 0.8, 0 of the classes 1, 0, 0, 2.
  const at::Tensor train =
      at::tensor({5.0, 0.0, 4.0, 3.0, 4.0, -3.0, 0.0, 2.0}, at::kDouble)
          .view({4, 2});
  const at::Tensor labels = at::tensor({1, 0, 0, 2}, at::kLong);
  const at::Tensor test = at::tensor({2.0, 0.0}, at::kDouble).view({1, 2});
  const auto winner = [&](int64_t k, double temperature) {
    return NearestNeighbours(train, labels, test, k, temperature, 3)[0]
        .item<int64_t>();
  };
  EXPECT_EQ(winner(1, 0.1), 1);
  // 2 exp(0.8 / T) passes exp(1 / T) at T = 0.2 / ln 2 = 0.2885.
  EXPECT_EQ(winner(3, 0.28), 1);
  EXPECT_EQ(winner(3, 0.30), 0);
  EXPECT_EQ(winner(100, 0.30), 0);
  EXPECT_EQ(winner(3, 1e-4), 1);  // exp(1 / T) is beyond a double
}

TEST(NearestNeighbours, RefusesWhatDoesNotFit) {
  const at::Tensor x = RandomNormal({4, 2}, 42);
  const at::Tensor labels = at::zeros({4}, at::kLong);
  const auto error = [&](const at::Tensor& train, const at::Tensor& of,
                         int64_t k, double temperature) {
    return ErrorOf([&] { NearestNeighbours(train, of, x, k, temperature, 2); });
  };
  EXPECT_THAT(error(x, labels, 0, 1), HasSubstr("k 0"));
  EXPECT_THAT(error(x, labels, 1, 0), HasSubstr("temperature 0"));
  EXPECT_THAT(error(RandomNormal({4, 3}, 0), labels, 1, 1), HasSubstr("dim"));
  EXPECT_THAT(error(x, labels.narrow(0, 0, 3), 1, 1), HasSubstr("labels"));
  EXPECT_THAT(error(x, labels.to(at::kFloat), 1, 1), HasSubstr("labels"));
  EXPECT_THAT(error(x.narrow(0, 0, 0), labels.narrow(0, 0, 0), 1, 1),
              HasSubstr("0 training features"));
}

// ---------------------------------------------------------- small encoders

TEST(DrawImages, IsSeededBalancedAndWithoutOutliers) {
  std::mt19937_64 first(1), again(1), other(2);
  const Images images = DrawImages(2000, true, first);
  EXPECT_TRUE(images.view.equal(DrawImages(2000, true, again).view));
  EXPECT_FALSE(images.view.equal(DrawImages(2000, true, other).view));
  EXPECT_FALSE(images.view.equal(images.other_view));
  EXPECT_EQ(images.view.sizes(), (std::vector<int64_t>{2000, 3, 24, 24}));
  // Gain 1.3 of a slope of at most 1.5, shift 0.2, noise 0.03.
  EXPECT_LT(images.view.abs().max().item<double>(), 2.18);
  std::map<int64_t, int> counts;
  for (int64_t i = 0; i < 2000; ++i) {
    ++counts[images.labels[i].item<int64_t>()];
  }
  ASSERT_EQ(counts.size(), 10u);
  for (const auto& [label, count] : counts) {
    EXPECT_NEAR(count, 200, 70) << label;  // five standard deviations
  }
  EXPECT_FALSE(DrawImages(1, false, first).other_view.defined());
  EXPECT_EQ(DrawImages(0, false, first).view.size(0), 0);
}

TEST(Patches, AreSquaresOfTheImage) {
  const at::Tensor image =
      at::arange(3 * 4 * 6, at::kDouble).view({1, 3, 4, 6});
  const at::Tensor patches = Patches(image, 2);
  ASSERT_EQ(patches.sizes(), (std::vector<int64_t>{1, 6, 12}));
  for (int64_t patch = 0; patch < 6; ++patch) {
    for (int64_t i = 0; i < 12; ++i) {
      const int64_t channel = i / 4, y = patch / 3 * 2 + i / 2 % 2;
      const int64_t x = patch % 3 * 2 + i % 2;
      EXPECT_EQ(At(patches, 0, patch, i), (channel * 4 + y) * 6 + x);
    }
  }
  EXPECT_THAT(ErrorOf([&] { Patches(image, 4); }), HasSubstr("do not divide"));
  EXPECT_THAT(ErrorOf([&] { Patches(image.narrow(1, 0, 1), 2); }),
              HasSubstr("images"));
}

VitConfig TinyVit() {
  VitConfig config;
  config.patch = 8;
  config.dim = 16;
  config.depth = 2;
  config.heads = 2;
  config.mlp_dim = 16;
  return config;
}

TEST(Vit, AllPatchesKeptIsAllOfTheImage) {
  const VitConfig config = TinyVit();
  Vit vit(config, DoubleInitializer(43));
  const at::Tensor images = RandomNormal({2, 3, 24, 24}, 44);
  const at::Tensor patches = Patches(images, config.patch);
  const at::Tensor all = at::arange(9, at::kLong).expand({2, 9});
  const at::Tensor tokens = vit.Forward(images);
  ASSERT_EQ(tokens.sizes(), (std::vector<int64_t>{2, 10, 16}));
  EXPECT_THAT(vit.ForwardKept(patches, all), IsCloseTo(tokens, 1e-10, 1e-12));
  // Tokens carry their place with them.
  const at::Tensor reversed = vit.ForwardKept(patches, all.flip(1));
  EXPECT_THAT(reversed.select(1, 0),
              IsCloseTo(tokens.select(1, 0), 1e-10, 1e-12));
  EXPECT_THAT(reversed.select(1, 1),
              IsCloseTo(tokens.select(1, 9), 1e-10, 1e-12));
  EXPECT_THAT(ErrorOf([&] {
                vit.Forward(RandomNormal({2, 3, 16, 24}, 0));
              }),
              HasSubstr("images"));
}

TEST(Vit, LoraStartsAtTheFrozenFunction) {
  Vit vit(TinyVit(), DoubleInitializer(45));
  const at::Tensor images = RandomNormal({2, 3, 24, 24}, 46);
  const at::Tensor before = vit.Forward(images).detach();
  const std::vector<at::Tensor> added =
      vit.FreezeAndAddLora(1, 3, DoubleInitializer(47));
  ASSERT_EQ(added.size(), 4u);
  int64_t elements = 0;
  for (const at::Tensor& tensor : added) elements += tensor.numel();
  EXPECT_EQ(elements, 3 * (16 + 48) + 3 * (16 + 16));
  EXPECT_THAT(vit.Forward(images), IsCloseTo(before, 1e-12, 1e-12));
  vit.Forward(images).square().sum().backward();
  // A's gradient is zero as long as B is.
  EXPECT_EQ(added[0].grad().abs().max().item<double>(), 0);
  EXPECT_GT(added[1].grad().abs().max().item<double>(), 0);
  int64_t with_gradient = 0;
  for (const at::Tensor& parameter : vit.Parameters()) {
    with_gradient += parameter.grad().defined();
  }
  EXPECT_EQ(with_gradient, 4);
  {
    at::NoGradGuard no_grad;
    at::Tensor(added[1]).fill_(0.1);
  }
  EXPECT_GT((vit.Forward(images) - before).abs().max().item<double>(), 1e-3);
  EXPECT_THAT(
      ErrorOf([&] { vit.FreezeAndAddLora(3, 3, DoubleInitializer(0)); }),
      HasSubstr("3 of 2 blocks"));
}

TEST(MaskedAutoencoder, LossIsTheMeanSquareOverMaskedPixels) {
  // Without weights the last layer predicts its bias for every pixel.
  MaskedAutoencoder mae(TinyVit(), DoubleInitializer(48));
  Set(mae, "pixels.weight", at::zeros({192, 48}, at::kDouble));
  Set(mae, "pixels.bias", at::zeros({192}, at::kDouble));
  const at::Tensor images = at::full({2, 3, 24, 24}, 0.5, at::kDouble);
  EXPECT_NEAR(mae.Loss(images, MakeGenerator(1)).item<double>(), 0.25, 1e-12);
  Set(mae, "pixels.bias", at::full({192}, 0.5, at::kDouble));
  EXPECT_NEAR(mae.Loss(images, MakeGenerator(1)).item<double>(), 0, 1e-12);
}

TEST(MaskedAutoencoder, SeesNoMaskedPatch) {
  // The loss is the mean of (p - x)^2 over the n hidden pixels x, so that
  // x - n/2 dL/dx is the prediction p: which does not change with x. For the
  // pixels of a kept patch that sum has no such meaning, and it does change.
  MaskedAutoencoder mae(TinyVit(), DoubleInitializer(49));
  const at::Tensor images = RandomNormal({1, 3, 24, 24}, 50);
  const auto predicted = [&](const at::Tensor& from) {
    at::Tensor x = from.clone().requires_grad_();
    mae.Loss(x, MakeGenerator(2)).backward();
    return (Patches(x.detach(), 8) - Patches(x.grad(), 8) * (7 * 192 / 2.0))[0];
  };
  const at::Tensor before = predicted(images);  // [9, 192]
  int hidden = 0;
  for (int64_t i = 0; i < 9; ++i) {
    const at::Tensor changed = images.clone();
    changed.narrow(2, i / 3 * 8, 8).narrow(3, i % 3 * 8, 8).add_(1);
    const at::Tensor after = predicted(changed);
    hidden += (after[i] - before[i]).abs().max().item<double>() < 1e-9;
  }
  EXPECT_EQ(hidden, 7);  // 9 less a quarter, 2
}

TEST(ContrastiveModel, IsSymmetricAndKnowsEqualViews) {
  ContrastiveModel model(TinyVit(), DoubleInitializer(51));
  const at::Tensor a = RandomNormal({6, 3, 24, 24}, 52);
  const at::Tensor b = RandomNormal({6, 3, 24, 24}, 53);
  const auto loss = [&](const at::Tensor& x, const at::Tensor& y) {
    return model.Loss(x, y).item<double>();
  };
  EXPECT_NEAR(loss(a, b), loss(b, a), 1e-12);
  // With equal views each image's own cosine, 1, is the largest.
  EXPECT_LE(loss(a, a), std::log(6.0));
  // All images equal: nothing tells them apart.
  const at::Tensor same = a.narrow(0, 0, 1).expand({6, 3, 24, 24});
  EXPECT_NEAR(loss(same, same), std::log(6.0), 1e-9);
}

// --------------------------------------------------------------- the study

StudyOptions TinyStudy() {
  StudyOptions options;
  options.vit = TinyVit();
  options.vit.dim = 32;
  options.mae_steps = 2;
  options.contrastive_steps = 2;
  options.batch = 8;
  options.train_images = 64;
  options.test_images = 40;
  options.probe_epochs = 1;
  options.probe_batch = 32;
  options.lora_epochs = 1;
  options.lora_batch = 32;
  return options;
}

TEST(Study, MeasuresAllNamesAlikeForASeed) {
  const auto run = [](uint64_t seed) {
    return RunStudy(
        TinyStudy(), seed, c10::Device(c10::kCPU),
        [](double, const std::string&) {}, [] { return false; });
  };
  const auto first = run(3), again = run(3), other = run(4);
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_TRUE(again.ok() && other.ok());
  std::vector<std::string> names;
  for (const auto& [name, accuracy] : *first) {
    names.push_back(name);
    EXPECT_GE(accuracy, 0) << name;
    EXPECT_LE(accuracy, 100) << name;
  }
  EXPECT_EQ(names, MeasureNames());
  EXPECT_EQ(*first, *again);
  EXPECT_NE(*first, *other);
}

TEST(Study, StopsAndRefuses) {
  const auto run = [](const StudyOptions& options, bool cancelled) {
    return RunStudy(
               options, 0, c10::Device(c10::kCPU),
               [](double, const std::string&) {}, [=] { return cancelled; })
        .status()
        .code();
  };
  EXPECT_EQ(run(TinyStudy(), true), absl::StatusCode::kCancelled);
  StudyOptions options = TinyStudy();
  options.train_images = 16;
  EXPECT_EQ(run(options, false), absl::StatusCode::kInvalidArgument);
  options = TinyStudy();
  options.lora_batch = 65;
  EXPECT_EQ(run(options, false), absl::StatusCode::kInvalidArgument);
  options = TinyStudy();
  options.mae_steps = 0;
  EXPECT_EQ(run(options, false), absl::StatusCode::kInvalidArgument);
  options = TinyStudy();
  options.vit.dim = 16;  // an eighth is less than 4 queries
  EXPECT_EQ(run(options, false), absl::StatusCode::kInvalidArgument);
  options = TinyStudy();
  options.vit.side = 32;
  EXPECT_EQ(run(options, false), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace repro::efficient_probing
