#include "papers/positional_attention/positional_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cumsum.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/randperm.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <stdlib.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "common/nn/initializer.h"
#include "common/tensor/generator.h"
#include "common/tensor/testing.h"
#include "gtest/gtest.h"
#include "papers/positional_attention/tasks.h"
#include "papers/positional_attention/training.h"

namespace repro::positional_attention {
namespace {

using ::testing::HasSubstr;

std::vector<Initializer> Seeds(int models, uint64_t first = 0) {
  std::vector<Initializer> inits;
  for (int m = 0; m < models; ++m) {
    inits.emplace_back(MakeGenerator(first + m));
  }
  return inits;
}

NetworkConfig Config(Architecture architecture, int64_t n = 8) {
  NetworkConfig config;
  config.architecture = architecture;
  config.n = n;
  return config;
}

// [models, batch, n + 1] with the scratchpad's zeros.
at::Tensor Values(int64_t models, int64_t batch, int64_t n, uint64_t seed = 7) {
  at::Tensor values =
      at::randn({models, batch, n + 1}, MakeGenerator(seed), at::kDouble);
  values.select(2, n).zero_();
  return values;
}

// Every bias takes a value that is not 0, so that nothing about it is hidden.
void FillBiases(Network& network, double std) {
  const at::NoGradGuard no_grad;
  for (const char* name : {"encoder.bias", "qk.bias", "v.bias", "o.bias",
                           "mlp1.bias", "mlp2.bias", "decoder.bias"}) {
    network.Parameter(name).normal_(0, std, MakeGenerator(11));
  }
}

void ZeroBiases(Network& network) { FillBiases(network, 0); }

class BothArchitectures : public testing::TestWithParam<Architecture> {};
INSTANTIATE_TEST_SUITE_P(All, BothArchitectures,
                         testing::Values(Architecture::kPositional,
                                         Architecture::kStandard),
                         [](const auto& info) {
                           return info.param == Architecture::kPositional
                                      ? std::string("Positional")
                                      : std::string("Standard");
                         });

// One model, one head at a time, in loops over scalars.
double LoopForward(const Network& network, const std::vector<double>& values,
                   int64_t position) {
  const NetworkConfig& c = network.config();
  const int64_t s = c.seq_len();
  using Matrix = std::vector<std::vector<double>>;
  const auto matrix = [&](const char* name, int64_t layer) {
    at::Tensor t = network.Parameter(name).detach().select(0, 0);
    if (layer >= 0) t = t.select(0, layer);
    t = t.dim() == 1 ? t.unsqueeze(1) : t;
    Matrix m(t.size(0), std::vector<double>(t.size(1)));
    for (int64_t i = 0; i < t.size(0); ++i) {
      for (int64_t j = 0; j < t.size(1); ++j) {
        m[i][j] = t.select(0, i).select(0, j).item<double>();
      }
    }
    return m;
  };
  const auto linear = [&](const std::string& name, int64_t layer,
                          const Matrix& x) {
    const Matrix w = matrix((name + ".weight").c_str(), layer);
    const Matrix b = matrix((name + ".bias").c_str(), layer);
    Matrix y(x.size(), std::vector<double>(w.size()));
    for (size_t i = 0; i < x.size(); ++i) {
      for (size_t o = 0; o < w.size(); ++o) {
        y[i][o] = b[o][0];
        for (size_t k = 0; k < x[i].size(); ++k) y[i][o] += w[o][k] * x[i][k];
      }
    }
    return y;
  };
  const bool positional = c.architecture == Architecture::kPositional;
  Matrix p(s, std::vector<double>(s, 0));
  Matrix x(s);
  for (int64_t i = 0; i < s; ++i) {
    p[i][i] = 1;
    x[i] = {values[i]};
    if (!positional) x[i].insert(x[i].end(), p[i].begin(), p[i].end());
  }
  x = linear("encoder", -1, x);
  for (int64_t layer = 0; layer < c.num_layers(); ++layer) {
    const Matrix qk = linear("qk", layer, positional ? p : x);
    const Matrix v = linear("v", layer, x);
    const int64_t width = c.qk_width(), head_dim = c.dim / c.heads;
    Matrix mixed(s, std::vector<double>(c.dim, 0));
    for (int64_t h = 0; h < c.heads; ++h) {
      for (int64_t i = 0; i < s; ++i) {
        std::vector<double> weight(s);
        double total = 0;
        for (int64_t j = 0; j < s; ++j) {
          double dot = 0;
          for (int64_t k = 0; k < width; ++k) {
            dot += qk[i][2 * h * width + k] * qk[j][(2 * h + 1) * width + k];
          }
          total += weight[j] = std::exp(dot / std::sqrt(width));
        }
        for (int64_t j = 0; j < s; ++j) {
          for (int64_t d = h * head_dim; d < (h + 1) * head_dim; ++d) {
            mixed[i][d] += weight[j] / total * v[j][d];
          }
        }
      }
    }
    const Matrix o = linear("o", layer, mixed);
    Matrix xo = x;
    for (int64_t i = 0; i < s; ++i) {
      xo[i].insert(xo[i].end(), o[i].begin(), o[i].end());
    }
    Matrix hidden = linear("mlp1", layer, xo);
    for (auto& row : hidden) {
      for (double& value : row) value = std::max(value, 0.0);
    }
    x = linear("mlp2", layer, hidden);
  }
  return linear("decoder", -1, x)[position][0];
}

TEST_P(BothArchitectures, ForwardIsTheEquations) {
  NetworkConfig config = Config(GetParam(), 3);
  config.dim = 6;
  config.mlp_hidden = 5;
  Network network(config, Seeds(1));
  network.To(at::kDouble);
  FillBiases(network, 0.3);
  const at::Tensor values = Values(1, 2, 3);
  const at::Tensor out = network.Forward(values);
  ASSERT_EQ(out.sizes(), values.sizes());
  for (int64_t b = 0; b < 2; ++b) {
    std::vector<double> row;
    for (int64_t i = 0; i < 4; ++i) {
      row.push_back(values.select(1, b).select(1, i).item<double>());
    }
    for (int64_t i = 0; i < 4; ++i) {
      EXPECT_NEAR(out.select(1, b).select(1, i).item<double>(),
                  LoopForward(network, row, i), 1e-12);
    }
  }
}

// Values and gradients of the fast form against the equations, in float64.
TEST_P(BothArchitectures, FoldedFormIsTheSameFunction) {
  for (const int64_t layers : {0, 1}) {
    NetworkConfig config = Config(GetParam(), 4);
    config.layers = layers;
    config.mlp_hidden = 24;
    Network network(config, Seeds(3));
    network.To(at::kDouble);
    FillBiases(network, 0.3);
    const at::Tensor values = Values(3, 6, 4);
    const at::Tensor weight = Values(3, 6, 4, /*seed=*/8);
    at::Tensor weights = network.Parameters()[0];

    const at::Tensor expected = network.Forward(values);
    (expected * weight).sum().backward();
    const at::Tensor expected_gradient = weights.grad().clone();
    for (const int64_t chunks : {1, 5}) {
      weights.mutable_grad().zero_();
      const at::Tensor out = network.ForwardFolded(values, chunks);
      EXPECT_THAT(out, IsCloseTo(expected, 1e-11, 1e-12));
      (out * weight).sum().backward();
      EXPECT_THAT(weights.grad(), IsCloseTo(expected_gradient, 1e-10, 1e-11));
    }
  }
}

TEST_P(BothArchitectures, StackedModelsAreIndependent) {
  const NetworkConfig config = Config(GetParam());
  const Network stack(config, Seeds(3));
  const at::Tensor values = Values(3, 5, 8).to(at::kFloat);
  const at::Tensor out = stack.Forward(values);
  for (int64_t m = 0; m < 3; ++m) {
    const Network one(config, Seeds(1, m));
    EXPECT_THAT(one.Parameters()[0].select(0, 0),
                IsIdenticalTo(stack.Parameters()[0].select(0, m)));
    EXPECT_THAT(one.Forward(values.narrow(0, m, 1)),
                IsCloseTo(out.narrow(0, m, 1), 1e-5, 1e-6));
  }
}

TEST_P(BothArchitectures, ZeroQueriesAndKeysAttendUniformly) {
  Network network(Config(GetParam()), Seeds(1));
  {
    const at::NoGradGuard no_grad;
    network.Parameter("qk.weight").zero_();
  }
  std::vector<at::Tensor> maps;
  network.Forward(Values(1, 2, 8).to(at::kFloat), &maps);
  ASSERT_EQ(maps.size(), 4);
  for (const at::Tensor& map : maps) {
    EXPECT_THAT(map, IsCloseTo(at::full_like(map, 1.0 / 9), 1e-6, 0));
  }
  // With v and o the identity, a layer's o is then the mean over positions.
  const at::Tensor x = Values(1, 2, 5).unsqueeze(-1).expand({1, 2, 6, 4});
  const at::Tensor identity = at::zeros({1, 4, 4}, at::kDouble);
  for (int64_t i = 0; i < 4; ++i) identity.select(1, i).select(1, i).fill_(1);
  const at::Tensor zero = at::zeros({1, 4}, at::kDouble);
  EXPECT_THAT(ApplyAttention(at::full({1, 2, 6, 6}, 1.0 / 6, at::kDouble), x,
                             identity, zero, identity, zero),
              IsCloseTo(x.mean(2, true).expand_as(x), 1e-12, 1e-14));
}

TEST(PositionalAttention, MapsDependOnPositionsAlone) {
  Network network(Config(Architecture::kPositional), Seeds(2));
  const at::Tensor values =
      Values(2, 4, 8).to(at::kFloat).set_requires_grad(true);
  std::vector<at::Tensor> maps, scaled, permuted;
  network.Forward(values, &maps);
  network.Forward(values.detach() * 1000, &scaled);
  network.Forward(
      values.detach().index_select(2, at::randperm(9, MakeGenerator(3))),
      &permuted);
  ASSERT_EQ(maps.size(), 4);
  for (size_t layer = 0; layer < maps.size(); ++layer) {
    EXPECT_EQ(maps[layer].sizes(), at::IntArrayRef({2, 2, 9, 9}));
    EXPECT_THAT(scaled[layer], IsIdenticalTo(maps[layer]));
    EXPECT_THAT(permuted[layer], IsIdenticalTo(maps[layer]));
    EXPECT_THAT(maps[layer].sum(-1),
                IsCloseTo(at::full({2, 2, 9}, 1.0), 1e-6, 0));
    // No path from the values: their gradient is not 0 by cancellation, there
    // is none.
    maps[layer].square().sum().backward({}, /*retain_graph=*/true);
    EXPECT_FALSE(values.grad().defined());
  }
}

TEST(StandardAttention, MapsDependOnValues) {
  Network network(Config(Architecture::kStandard), Seeds(1));
  network.To(at::kDouble);
  const at::Tensor values = Values(1, 4, 8).set_requires_grad(true);
  std::vector<at::Tensor> maps, scaled;
  network.Forward(values, &maps);
  network.Forward(values.detach() * 10, &scaled);
  ASSERT_EQ(maps.size(), 4);
  // Without a residual the later layers' maps vary little at initialisation,
  // by far more than rounding (1e-16) all the same.
  for (size_t layer = 0; layer < maps.size(); ++layer) {
    EXPECT_EQ(maps[layer].sizes(), at::IntArrayRef({1, 4, 2, 9, 9}));
    EXPECT_GT((maps[layer] - scaled[layer]).abs().max().item<double>(), 1e-9);
  }
  maps[1].square().sum().backward();
  EXPECT_GT(values.grad().abs().max().item<double>(), 0);
}

// Why positional attention extrapolates in value: with zero biases
// f(c x) = c f(x) for c > 0, as the labels have it.
TEST(PositionalAttention, IsPositivelyHomogeneousWithoutBiases) {
  for (const double c : {0.5, 3.0, 10.0}) {
    const at::Tensor values = Values(1, 16, 8);
    Network positional(Config(Architecture::kPositional), Seeds(1));
    positional.To(at::kDouble);
    ZeroBiases(positional);
    EXPECT_THAT(positional.Forward(values * c),
                IsCloseTo(positional.Forward(values) * c, 1e-11, 1e-13));
    EXPECT_THAT(positional.ForwardFolded(values * c),
                IsCloseTo(positional.ForwardFolded(values) * c, 1e-11, 1e-13));

    // Standard attention, and positional attention with biases, are not.
    Network standard(Config(Architecture::kStandard), Seeds(1));
    standard.To(at::kDouble);
    ZeroBiases(standard);
    Network biased(Config(Architecture::kPositional), Seeds(1));
    biased.To(at::kDouble);
    FillBiases(biased, 0.3);
    for (const Network* network : {&standard, &biased}) {
      const at::Tensor scaled = network->Forward(values) * c;
      EXPECT_GT((network->Forward(values * c) - scaled).norm().item<double>(),
                1e-3 * scaled.norm().item<double>());
    }
  }
}

TEST(Network, HasThePublishedNumberOfParameters) {
  const auto count = [](Architecture architecture, int64_t n,
                        int64_t layers = 0, int64_t hidden = 64) {
    NetworkConfig config = Config(architecture, n);
    config.layers = layers;
    config.mlp_hidden = hidden;
    return Network(config, {Initializer::Meta()}).parameters_per_model();
  };
  // n = 8 by hand: encoder 64 * 1 + 64; 4 layers of q, k 36 * 9 + 36, v and o
  // 64 * 64 + 64 each, MLP 64 * 128 + 64 and 64 * 64 + 64; decoder 64 + 1.
  EXPECT_EQ(count(Architecture::kPositional, 8),
            128 + 4 * (360 + 2 * 4160 + 8256 + 4160) + 65);
  EXPECT_EQ(count(Architecture::kStandard, 8),
            64 * 10 + 64 + 4 * (256 * 65 + 2 * 4160 + 8256 + 4160) + 65);
  EXPECT_EQ(count(Architecture::kPositional, 32), 151537);
  EXPECT_EQ(count(Architecture::kStandard, 8, 1, 2), 26179);
}

TEST(Network, HasLogarithmicDepth) {
  for (const auto& [n, layers] : std::vector<std::pair<int64_t, int64_t>>{
           {1, 1}, {2, 2}, {3, 2}, {4, 3}, {7, 3}, {8, 4}, {16, 5}, {32, 6}}) {
    EXPECT_EQ(Config(Architecture::kPositional, n).num_layers(), layers) << n;
  }
}

TEST(Network, InitialisesAsPublished) {
  const Network network(Config(Architecture::kPositional), Seeds(4));
  const auto max = [&](const char* name) {
    return network.Parameter(name).abs().max().item<double>();
  };
  // Xavier's bound counts all heads and both q and k: fan_out 2 * 9 * 2. The
  // largest of at least 2^10 draws is close to its bound.
  for (const auto& [name, bound] : std::vector<std::pair<const char*, double>>{
           {"qk.weight", std::sqrt(6.0 / (9 + 36))},
           {"v.weight", std::sqrt(6.0 / 128)},
           {"o.weight", std::sqrt(6.0 / 128)},
           {"mlp1.weight", 1 / std::sqrt(128.0)},
           {"mlp1.bias", 1 / std::sqrt(128.0)},
           {"mlp2.weight", 1 / std::sqrt(64.0)}}) {
    EXPECT_LE(max(name), bound) << name;
    EXPECT_GT(max(name), 0.98 * bound) << name;
  }
  for (const char* name : {"qk.bias", "v.bias", "o.bias"}) {
    EXPECT_EQ(max(name), 0) << name;
  }
  EXPECT_LE(max("encoder.weight"), 1);
  EXPECT_GT(max("encoder.weight"), 0.9);
}

TEST(Network, RefusesWrongShapes) {
  const Network network(Config(Architecture::kPositional), Seeds(2));
  EXPECT_THROW(network.Forward(at::zeros({2, 3, 8})), c10::Error);
  EXPECT_THROW(network.Forward(at::zeros({1, 3, 9})), c10::Error);
  EXPECT_THROW(network.ForwardFolded(at::zeros({2, 3, 9}), 4), c10::Error);
  EXPECT_THROW(network.Parameter("mlp3.weight"), c10::Error);
  NetworkConfig config;
  config.heads = 3;
  EXPECT_THROW(Network(config, Seeds(1)), c10::Error);
  EXPECT_THROW(Network(NetworkConfig(), {}), c10::Error);
}

// Finding: turning q and k of a head by the same angle at every position
// changes no score, which is what positions counted along the heads do.
TEST(RotaryEmbedding, AlongHeadsLeavesScoresUnchanged) {
  const at::Generator generator = MakeGenerator(5);
  const at::Tensor q = at::randn({3, 2, 9, 64}, generator, at::kDouble);
  const at::Tensor k = at::randn({3, 2, 9, 64}, generator, at::kDouble);
  const at::Tensor scores = at::matmul(q, k.transpose(2, 3));
  const auto rotated = [&](int64_t axis) {
    return at::matmul(RotaryEmbedding(q, axis),
                      RotaryEmbedding(k, axis).transpose(2, 3));
  };
  EXPECT_THAT(rotated(1), IsCloseTo(scores, 1e-12, 1e-12));
  // Along positions it does change them, by a function of their distance.
  EXPECT_GT((rotated(2) - scores).abs().max().item<double>(), 1);
  const at::Tensor one_q = q.narrow(2, 0, 1).expand_as(q);
  const at::Tensor one_k = k.narrow(2, 0, 1).expand_as(k);
  const at::Tensor same = at::matmul(RotaryEmbedding(one_q, 2),
                                     RotaryEmbedding(one_k, 2).transpose(2, 3));
  EXPECT_THAT(same.narrow(2, 1, 8).narrow(3, 1, 8),
              IsCloseTo(same.narrow(2, 0, 8).narrow(3, 0, 8), 1e-11, 1e-11));
}

TEST(Labels, WorkedExamples) {
  const at::Tensor x = at::tensor({1.0, -2.0, 3.0});
  const auto expect = [&](Task task, const at::Tensor& in,
                          const std::vector<double>& expected) {
    EXPECT_THAT(Labels(task, in), IsIdenticalTo(at::tensor(expected)))
        << TaskName(task);
  };
  expect(Task::kSum, x, {1, -1, 2});
  expect(Task::kMin, x, {1, -2, -2});
  expect(Task::kMedian, x, {1, -0.5, 1});
  expect(Task::kSort, x, {-2, 1, 3});
  expect(Task::kMaxSumSubarray, x, {1, 1, 3});
  expect(Task::kMaxSumSubarray, at::tensor({-1.0, -2.0}), {-1, -1});
  expect(Task::kMaxSumSubarray, at::tensor({2.0, -1.0, 2.0, -5.0, 1.0}),
         {2, 2, 3, 3, 3});
}

// Against direct loops over all prefixes and parts.
TEST(Labels, AgreeWithExhaustiveSearch) {
  const at::Tensor x = at::randn({20, 7}, MakeGenerator(1), at::kDouble);
  for (int64_t row = 0; row < x.size(0); ++row) {
    std::vector<double> v;
    for (int64_t i = 0; i < 7; ++i) {
      v.push_back(x.select(0, row).select(0, i).item<double>());
    }
    const auto label = [&](Task task, int64_t i) {
      return Labels(task, x).select(0, row).select(0, i).item<double>();
    };
    std::vector<double> all = v;
    std::sort(all.begin(), all.end());
    for (int64_t i = 0; i < 7; ++i) {
      std::vector<double> prefix(v.begin(), v.begin() + i + 1);
      double sum = 0, best = -1e9;
      for (int64_t from = 0; from <= i; ++from) {
        double part = 0;
        for (int64_t to = from; to <= i; ++to) {
          best = std::max(best, part += v[to]);
        }
        sum += v[from];
      }
      std::sort(prefix.begin(), prefix.end());
      EXPECT_NEAR(label(Task::kSum, i), sum, 1e-12);
      EXPECT_EQ(label(Task::kMin, i), prefix.front());
      EXPECT_NEAR(label(Task::kMedian, i),
                  (prefix[i / 2] + prefix[(i + 1) / 2]) / 2, 1e-12);
      EXPECT_EQ(label(Task::kSort, i), all[i]);
      EXPECT_NEAR(label(Task::kMaxSumSubarray, i), best, 1e-12);
    }
  }
}

TEST(Labels, ScaleWithTheirInputs) {
  const at::Tensor x = at::randn({50, 8}, MakeGenerator(2), at::kDouble);
  for (const Task task : AllTasks()) {
    EXPECT_THAT(Labels(task, x * 7), IsCloseTo(Labels(task, x) * 7, 1e-12, 0))
        << TaskName(task);
    EXPECT_EQ(*ParseTask(TaskName(task)), task);
  }
  EXPECT_THAT(std::string(ParseTask("summ").status().message()),
              HasSubstr("max_sum_subarray"));
}

TEST(DrawInputs, RejectsIntervalsInsideTheTrainingRange) {
  const at::Tensor train = DrawInputs(4000, 8, 2, MakeGenerator(1));
  EXPECT_EQ(train.sizes(), at::IntArrayRef({4000, 8}));
  EXPECT_LE(train.abs().max().item<double>(), 2);
  const at::Tensor test = DrawInputs(4000, 200, 6, MakeGenerator(2));
  EXPECT_LE(test.abs().max().item<double>(), 6);
  // An interval beyond the training range by epsilon of its width shows in 200
  // draws with probability 1 - (1 - epsilon)^200; all but a few samples do.
  const double beyond =
      (test.abs().amax(1) > 2).to(at::kDouble).mean().item<double>();
  EXPECT_GT(beyond, 0.97);
  // Without rejection 1/9 of the intervals would lie inside.
  EXPECT_LT(beyond, 1);

  EXPECT_THAT(DrawInputs(3, 8, 4, MakeGenerator(9)),
              IsIdenticalTo(DrawInputs(3, 8, 4, MakeGenerator(9))));
  EXPECT_EQ(DrawInputs(0, 8, 4, MakeGenerator(9)).size(0), 0);
  EXPECT_THROW(DrawInputs(3, 8, 1, MakeGenerator(9)), c10::Error);
}

// Moments of the training distribution in closed form: given the interval's
// ends, E x^2 = (a^2 + ab + b^2) / 3 with E a^2 = h^2 / 3, E ab = 0, so
// E x^2 = 2 h^2 / 9, and E x_i x_j = E ((a + b) / 2)^2 = h^2 / 6. Predicting 0
// for prefix sums therefore has the error
// mean_i (i 2 h^2 / 9 + i (i - 1) h^2 / 6), i = 1..n.
TEST(DrawInputs, HasTheErrorOfPredictingZero) {
  const double h = 2;
  const at::Tensor x = DrawInputs(200000, 8, h, MakeGenerator(4));
  double expected = 0;
  for (int i = 1; i <= 8; ++i) {
    expected += (i * 2 * h * h / 9 + i * (i - 1) * h * h / 6) / 8;
  }
  const at::Tensor per_sample =
      Labels(Task::kSum, x).to(at::kDouble).square().mean(1);
  const double standard_error =
      per_sample.std().item<double>() / std::sqrt(200000.0);
  EXPECT_NEAR(per_sample.mean().item<double>(), expected, 5 * standard_error);
}

TrainingConfig Tiny(Architecture architecture) {
  TrainingConfig config;
  config.network.architecture = architecture;
  config.network.n = 2;
  config.network.dim = 8;
  config.network.mlp_hidden = 8;
  config.tasks = {Task::kSum, Task::kMin};
  config.seeds = {0, 1, 2};
  config.train_samples = 96;
  config.test_samples = 64;
  config.batch = 32;
  config.epochs = 12;
  config.rate = 5e-3;
  config.patience = 2;
  config.scales = {1, 10};
  return config;
}

const at::Device kCpu(at::kCPU);

TEST_P(BothArchitectures, TrainingLearnsAndIsRepeatable) {
  TrainingConfig config = Tiny(GetParam());
  const auto once = TrainAndTest(config, kCpu);
  ASSERT_TRUE(once.ok()) << once.status();
  const auto again = TrainAndTest(config, kCpu);
  ASSERT_TRUE(again.ok()) << again.status();
  config.epochs = 1;
  const auto little = TrainAndTest(config, kCpu);
  ASSERT_TRUE(little.ok()) << little.status();
  for (size_t t = 0; t < 2; ++t) {
    for (size_t s = 0; s < 3; ++s) {
      EXPECT_EQ((*once)[t][s].val_mse, (*again)[t][s].val_mse);
      EXPECT_EQ((*once)[t][s].test_mse, (*again)[t][s].test_mse);
      EXPECT_LT((*once)[t][s].val_mse, (*little)[t][s].val_mse);
      EXPECT_EQ((*once)[t][s].test_mse.size(), 2);
    }
  }
}

TEST_P(BothArchitectures, TrainingGoesOnFromACheckpoint) {
  const TrainingConfig config = Tiny(GetParam());
  const auto expected = TrainAndTest(config, kCpu);
  ASSERT_TRUE(expected.ok()) << expected.status();

  TrainingHooks hooks;
  hooks.checkpoint_path =
      testing::TempDir() + (GetParam() == Architecture::kPositional
                                ? "/positional_checkpoint"
                                : "/standard_checkpoint");
  ::unlink(hooks.checkpoint_path.c_str());
  // 36 steps; stopped at the first batch of an epoch, in the middle of one and
  // after one.
  for (const int stop : {6, 13, 32}) {
    int64_t reached = 0;
    hooks.progress = [&](int64_t done, int64_t, const std::string&) {
      reached = done;
    };
    hooks.cancelled = [&] { return reached >= stop; };
    const auto stopped = TrainAndTest(config, kCpu, hooks);
    ASSERT_FALSE(stopped.ok());
    EXPECT_TRUE(absl::IsCancelled(stopped.status())) << stopped.status();
  }
  hooks.cancelled = nullptr;
  const auto resumed = TrainAndTest(config, kCpu, hooks);
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  for (size_t t = 0; t < 2; ++t) {
    for (size_t s = 0; s < 3; ++s) {
      EXPECT_EQ((*resumed)[t][s].train_mse, (*expected)[t][s].train_mse);
      EXPECT_EQ((*resumed)[t][s].test_mse, (*expected)[t][s].test_mse);
    }
  }

  TrainingConfig other = config;
  other.rate = 1e-3;
  EXPECT_TRUE(
      absl::IsFailedPrecondition(TrainAndTest(other, kCpu, hooks).status()));
}

// A seed's result does not depend on what is stacked beside it.
TEST(Training, SeedsAreIndependentOfTheirStack) {
  TrainingConfig config = Tiny(Architecture::kPositional);
  const auto all = TrainAndTest(config, kCpu);
  config.tasks = {Task::kMin};
  config.seeds = {2};
  const auto one = TrainAndTest(config, kCpu);
  ASSERT_TRUE(all.ok() && one.ok());
  EXPECT_NEAR((*one)[0][0].val_mse / (*all)[1][2].val_mse, 1, 1e-3);
}

TEST(Training, RefusesImpossibleConfigurations) {
  for (const auto& spoil : std::vector<void (*)(TrainingConfig&)>{
           [](TrainingConfig& c) { c.batch = 33; },
           [](TrainingConfig& c) { c.epochs = 0; },
           [](TrainingConfig& c) { c.seeds.clear(); },
           [](TrainingConfig& c) { c.tasks.clear(); }}) {
    TrainingConfig config = Tiny(Architecture::kPositional);
    spoil(config);
    EXPECT_TRUE(absl::IsInvalidArgument(TrainAndTest(config, kCpu).status()));
  }
}

// At the true labels the error is 0; scratchpad and masking of the last node:
// a network that predicts 0 has the labels' mean square.
TEST(MeanSquaredErrors, OfANetworkThatPredictsZero) {
  Network network(Config(Architecture::kPositional), Seeds(2));
  {
    const at::NoGradGuard no_grad;
    network.Parameters()[0].zero_();
  }
  const at::Tensor values = Values(2, 10, 8).to(at::kFloat);
  const at::Tensor labels = at::cumsum(values.narrow(2, 0, 8), 2);
  EXPECT_THAT(MeanSquaredErrors(network, values, labels),
              IsCloseTo(labels.to(at::kDouble).square().mean({1, 2}), 1e-5, 0));
}

}  // namespace
}  // namespace repro::positional_attention
