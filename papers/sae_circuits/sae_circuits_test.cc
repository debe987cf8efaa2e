#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "absl/status/status.h"
#include "common/count/parameters.h"
#include "common/nn/initializer.h"
#include "common/nn/testing.h"
#include "common/tensor/generator.h"
#include "common/tensor/testing.h"
#include "papers/sae_circuits/circuit.h"
#include "papers/sae_circuits/name_task.h"
#include "papers/sae_circuits/planted.h"
#include "papers/sae_circuits/sparse_autoencoder.h"

namespace repro::sae_circuits {
namespace {

using ::testing::HasSubstr;

double At(const at::Tensor& x, std::initializer_list<int64_t> index) {
  at::Tensor value = x;
  for (const int64_t i : index) value = value.select(0, i);
  return value.item<double>();
}

template <typename Function>
std::string ErrorOf(const Function& function) {
  try {
    function();
  } catch (const c10::Error& error) {
    return error.what_without_backtrace();
  }
  return "no error";
}

// ---- Autoencoder ------------------------------------------------------------

TEST(SparseAutoencoder, AgreesWithLoops) {
  constexpr int64_t kDim = 5, kFeatures = 7, kItems = 3;
  SparseAutoencoder model(kDim, kFeatures, DoubleInitializer(1));
  {
    // Rows that are not of norm 1, and a bias, as after a step of Adam.
    at::NoGradGuard no_grad;
    ParameterOf(model, "encoder").mul_(1.7);
    ParameterOf(model, "decoder").add_(0.2);
    ParameterOf(model, "shared_bias").copy_(RandomNormal({kDim}, 2));
  }
  const at::Tensor encoder = ParameterOf(model, "encoder").detach().clone();
  const at::Tensor decoder = ParameterOf(model, "decoder").detach().clone();
  const at::Tensor b = ParameterOf(model, "shared_bias"),
                   b_e = ParameterOf(model, "encoder_bias");
  const at::Tensor x = RandomNormal({kItems, kDim}, 3);
  const auto output = model.Forward(x);
  const auto norm = [](const at::Tensor& rows, int64_t row) {
    double squares = 0;
    for (int64_t j = 0; j < rows.size(1); ++j) {
      squares += At(rows, {row, j}) * At(rows, {row, j});
    }
    return std::sqrt(squares);
  };
  double error = 0, activity = 0;
  for (int64_t n = 0; n < kItems; ++n) {
    std::vector<double> a;
    for (int64_t f = 0; f < kFeatures; ++f) {
      double sum = At(b_e, {f});
      for (int64_t j = 0; j < kDim; ++j) {
        sum += At(encoder, {f, j}) / norm(encoder, f) *
               (At(x, {n, j}) - At(b, {j}));
      }
      a.push_back(std::max(0.0, sum));
      activity += a.back() / kItems;
      EXPECT_NEAR(At(output.activations, {n, f}), a.back(), 1e-12);
    }
    for (int64_t j = 0; j < kDim; ++j) {
      double sum = At(b, {j});
      for (int64_t f = 0; f < kFeatures; ++f) {
        sum += At(decoder, {j, f}) / norm(decoder, j) * a[f];
      }
      EXPECT_NEAR(At(output.reconstruction, {n, j}), sum, 1e-12);
      error += (sum - At(x, {n, j})) * (sum - At(x, {n, j})) / (kItems * kDim);
    }
  }
  EXPECT_GT(activity, 0);
  EXPECT_NEAR(AutoencoderLoss(output, x, 0.3).item<double>(),
              error + 0.3 * activity, 1e-12);
  for (const char* name : {"encoder", "decoder"}) {
    const at::Tensor rows = ParameterOf(model, name);
    for (int64_t i = 0; i < rows.size(0); ++i) {
      EXPECT_NEAR(norm(rows, i), 1, 1e-12) << name << " " << i;
    }
  }
}

TEST(SparseAutoencoder, GradientsStandOnTheirRows) {
  SparseAutoencoder model(6, 9, DoubleInitializer(1));
  const at::Tensor x = RandomNormal({4, 6}, 2);
  AutoencoderLoss(model.Forward(x), x, 0.1).backward();
  for (const char* name : {"encoder", "decoder"}) {
    const at::Tensor rows = ParameterOf(model, name).detach();
    const at::Tensor before = ParameterOf(model, name).grad().clone();
    ASSERT_GT((before * rows).sum(-1).abs().max().item<double>(), 1e-3);
  }
  const at::Tensor encoder_before =
      ParameterOf(model, "encoder").grad().clone();
  const at::Tensor bias_before =
      ParameterOf(model, "encoder_bias").grad().clone();
  model.ProjectGradients();
  for (const char* name : {"encoder", "decoder"}) {
    const at::Tensor rows = ParameterOf(model, name).detach();
    EXPECT_THAT((ParameterOf(model, name).grad() * rows).sum(-1),
                IsCloseTo(at::zeros({rows.size(0)}, at::kDouble), 0, 1e-14));
  }
  // What was taken lies along the row: its part across is what it was.
  const at::Tensor rows = ParameterOf(model, "encoder").detach();
  const at::Tensor taken =
      encoder_before - ParameterOf(model, "encoder").grad();
  EXPECT_THAT(taken, IsCloseTo((taken * rows).sum(-1, true) * rows, 0, 1e-14));
  EXPECT_THAT(ParameterOf(model, "encoder_bias").grad(),
              IsIdenticalTo(bias_before));
}

// The derivative along the sphere, by differences: moving a row along the
// projected gradient changes the loss by its squared norm, moving it along
// itself by nothing.
TEST(SparseAutoencoder, LossDoesNotSeeTheLengthOfRows) {
  SparseAutoencoder model(6, 9, DoubleInitializer(1));
  const at::Tensor x = RandomNormal({4, 6}, 2);
  const auto loss = [&] {
    at::NoGradGuard no_grad;
    return AutoencoderLoss(model.Forward(x), x, 0.1).item<double>();
  };
  AutoencoderLoss(model.Forward(x), x, 0.1).backward();
  model.ProjectGradients();
  const double whole = loss();
  for (const char* name : {"encoder", "decoder"}) {
    at::Tensor rows = ParameterOf(model, name);
    const at::Tensor start = rows.detach().clone();
    const auto moved = [&](const at::Tensor& by) {
      at::NoGradGuard no_grad;
      rows.copy_(start + by);
      const double value = loss();
      rows.copy_(start);
      return value;
    };
    const at::Tensor gradient = rows.grad();
    constexpr double kStep = 1e-6;
    EXPECT_NEAR(
        (moved(kStep * gradient) - moved(-kStep * gradient)) / (2 * kStep),
        gradient.square().sum().item<double>(), 1e-6)
        << name;
    EXPECT_NEAR(moved(2 * start), whole, 1e-12) << name;
  }
}

TEST(SparseAutoencoder, Parameters) {
  // d + F d + F + d F
  for (const auto& [features, dim, expected] :
       std::vector<std::tuple<int64_t, int64_t, int64_t>>{
           {200, 768, 768 + 2 * 153600 + 200}, {3, 2, 2 + 6 + 3 + 6}}) {
    EXPECT_EQ(
        CountParameters(SparseAutoencoder(dim, features, Initializer::Meta())),
        expected);
  }
}

TEST(SparseAutoencoder, RefusesWrongShapes) {
  EXPECT_THAT(ErrorOf([] { SparseAutoencoder(0, 3, DoubleInitializer(1)); }),
              HasSubstr("3 features of dim 0"));
  SparseAutoencoder model(4, 3, DoubleInitializer(1));
  EXPECT_THAT(ErrorOf([&] {
                model.Forward(RandomNormal({2, 5}, 1));
              }),
              HasSubstr("x: expected [..., dim=4], got [2, 5]"));
  EXPECT_THAT(ErrorOf([&] { model.ProjectGradients(); }),
              HasSubstr("backward comes first"));
  EXPECT_THAT(ErrorOf([&] {
                FindCodes(model, RandomNormal({2, 4}, 1));
              }),
              HasSubstr("vectors: expected"));
  const at::Tensor vectors = RandomNormal({6, 2, 4}, 1);
  AutoencoderOptions options;
  EXPECT_THAT(ErrorOf([&] { TrainAutoencoder(vectors, options, 1); }),
              HasSubstr("10 training examples of 6"));
  options.train_examples = 0;
  EXPECT_THAT(ErrorOf([&] { TrainAutoencoder(vectors, options, 1); }),
              HasSubstr("0 training examples"));
}

TEST(TrainAutoencoder, LowersTheLossAndRepeatsItself) {
  const at::Tensor vectors = DrawPlanted({}, 3).vectors;
  AutoencoderOptions options;
  options.num_features = 40;
  options.steps = 0;
  const auto loss = [&](SparseAutoencoder& model) {
    at::NoGradGuard no_grad;
    return AutoencoderLoss(model.Forward(vectors), vectors, options.lambda)
        .item<double>();
  };
  const double start = loss(*TrainAutoencoder(vectors, options, 1));
  options.steps = 100;
  const auto model = TrainAutoencoder(vectors, options, 1);
  const auto again = TrainAutoencoder(vectors, options, 1);
  const auto other = TrainAutoencoder(vectors, options, 2);
  EXPECT_THAT(ParameterOf(*again, "encoder"),
              IsIdenticalTo(ParameterOf(*model, "encoder")));
  EXPECT_LT(loss(*model), 0.8 * start);
  EXPECT_NE(loss(*other), loss(*model));
}

TEST(FindCodes, TakesTheFirstOfTheLargest) {
  SparseAutoencoder model(4, 6, DoubleInitializer(5));
  // More than the examples that are looked at together.
  const at::Tensor vectors = RandomNormal({130, 3, 4}, 6);
  const HeadCodes codes = FindCodes(model, vectors);
  ASSERT_EQ(codes.num_examples, 130);
  ASSERT_EQ(codes.num_heads, 3);
  const at::Tensor a = model.Forward(vectors).activations;
  for (int64_t e = 0; e < 130; ++e) {
    for (int64_t h = 0; h < 3; ++h) {
      int64_t best = 0;
      for (int64_t f = 1; f < 6; ++f) {
        if (At(a, {e, h, f}) > At(a, {e, h, best})) best = f;
      }
      EXPECT_EQ(codes.at(e, h), best);
    }
  }
  // Features that nothing turns on: the first one's code.
  {
    at::NoGradGuard no_grad;
    ParameterOf(model, "encoder_bias").fill_(-100);
  }
  const HeadCodes none = FindCodes(model, vectors);
  EXPECT_EQ(*std::max_element(none.codes.begin(), none.codes.end()), 0);
  EXPECT_TRUE(FindCodes(model, RandomNormal({0, 3, 4}, 6)).codes.empty());
}

// ---- Planted circuits -------------------------------------------------------

TEST(DrawPlanted, HasTheClustersThatItSays) {
  PlantedOptions options;
  options.examples = 200;
  options.heads = 9;
  options.dim = 3;
  options.circuit_heads = 4;
  options.shared_clusters = 2;
  options.private_clusters = 3;
  options.noise = 0;
  options.diverse_heads = 2;
  const Planted planted = DrawPlanted(options, 1);
  ASSERT_EQ(planted.vectors.sizes(), (std::vector<int64_t>{200, 9, 3}));
  EXPECT_EQ(
      std::count(planted.in_circuit.begin(), planted.in_circuit.end(), true),
      4);
  int64_t diverse = 0;
  for (int64_t h = 0; h < 9; ++h) {
    // Without noise a vector is its cluster.
    std::set<double> positive, negative, all;
    int64_t in_private = 0;
    for (int64_t e = 100; e < 200; ++e) {
      negative.insert(At(planted.vectors, {e, h, 0}));
    }
    for (int64_t e = 0; e < 100; ++e) {
      const double x = At(planted.vectors, {e, h, 0});
      positive.insert(x);
      in_private += negative.count(x) == 0;
    }
    if (positive.size() == 100) {
      ++diverse;
      EXPECT_FALSE(planted.in_circuit[h]);
      continue;
    }
    EXPECT_EQ(negative.size(), 2u);
    if (planted.in_circuit[h]) {
      EXPECT_EQ(positive.size(), 5u);
      // Binomial(100, 1/2)
      EXPECT_GT(in_private, 25);
      EXPECT_LT(in_private, 75);
    } else {
      EXPECT_EQ(positive, negative);
    }
  }
  EXPECT_EQ(diverse, 2);
}

TEST(DrawPlanted, ScalesTheCircuitAndRefusesOtherSizes) {
  PlantedOptions options;
  const Planted loud = DrawPlanted(options, 2);
  options.circuit_scale = 0.5;
  const Planted quiet = DrawPlanted(options, 2);
  for (int64_t h = 0; h < options.heads; ++h) {
    EXPECT_THAT(
        quiet.vectors.select(1, h),
        IsCloseTo(loud.vectors.select(1, h) * (loud.in_circuit[h] ? 0.5 : 1), 0,
                  1e-6));
  }
  options.diverse_heads = 19;
  EXPECT_THAT(ErrorOf([&] { DrawPlanted(options, 1); }),
              HasSubstr("19 diverse"));
  options = {};
  options.examples = 7;
  EXPECT_THAT(ErrorOf([&] { DrawPlanted(options, 1); }),
              HasSubstr("7 examples"));
}

TEST(RunPlantedStudy, RunsAtATinySizeAndRepeatsItself) {
  PlantedOptions planted;
  planted.examples = 40;
  planted.heads = 14;
  planted.dim = 8;
  AutoencoderOptions autoencoder;
  autoencoder.num_features = 30;
  autoencoder.steps = 20;
  const auto areas = RunPlantedStudy(planted, autoencoder, 1);
  ASSERT_TRUE(areas.ok()) << areas.status();
  EXPECT_EQ(areas->size(), 9u);
  for (const auto& [name, area] : *areas) {
    EXPECT_GE(area, 0) << name;
    EXPECT_LE(area, 1) << name;
  }
  EXPECT_EQ(*RunPlantedStudy(planted, autoencoder, 1), *areas);
}

// ---- The name task ----------------------------------------------------------

TEST(DrawNamePrompts, HaveTheFormOfTheTask) {
  NameTask task;
  task.names = 5;
  task.fillers = 3;
  task.length = 10;
  const NamePrompts prompts = DrawNamePrompts(task, 60, 40, MakeGenerator(1));
  ASSERT_EQ(prompts.tokens.sizes(), (std::vector<int64_t>{100, 10}));
  std::set<int64_t> places, orders;
  for (int64_t i = 0; i < 100; ++i) {
    std::vector<int64_t> names, filler;
    int64_t first = -1;
    for (int64_t t = 0; t < 10; ++t) {
      const int64_t token = prompts.tokens[i][t].item<int64_t>();
      if (token >= NameTask::kFirstName &&
          token < NameTask::kFirstName + task.names) {
        if (names.empty()) first = t;
        names.push_back(token);
      } else if (token >= NameTask::kFirstName + task.names) {
        EXPECT_LT(token, task.vocabulary());
        filler.push_back(token);
      }
    }
    places.insert(first);
    ASSERT_EQ(names.size(), 3u);
    EXPECT_EQ(filler.size(), 3u);
    EXPECT_EQ(prompts.tokens[i][0].item<int64_t>(), NameTask::kBegin);
    EXPECT_EQ(prompts.tokens[i][first + 1].item<int64_t>(), NameTask::kAnd);
    EXPECT_EQ(prompts.tokens[i][first + 2].item<int64_t>(), names[1]);
    EXPECT_EQ(prompts.tokens[i][7].item<int64_t>(), names[2]);
    EXPECT_EQ(prompts.tokens[i][8].item<int64_t>(), NameTask::kGave);
    EXPECT_EQ(prompts.tokens[i][9].item<int64_t>(), NameTask::kTo);
    EXPECT_NE(names[0], names[1]);
    const int64_t answer = prompts.answers[i].item<int64_t>();
    EXPECT_EQ(prompts.subjects[i].item<int64_t>(), names[2]);
    EXPECT_NE(answer, names[2]);
    EXPECT_TRUE(answer == names[0] || answer == names[1]);
    EXPECT_EQ(i < 60, names[2] == names[0] || names[2] == names[1]);
    orders.insert(answer == names[0]);
  }
  EXPECT_EQ(places, (std::set<int64_t>{1, 2, 3, 4}));
  EXPECT_EQ(orders.size(), 2u);
  task.length = 6;
  EXPECT_THAT(ErrorOf([&] { DrawNamePrompts(task, 1, 1, MakeGenerator(1)); }),
              HasSubstr("6 tokens"));
}

struct Small {
  NameTask task;
  AttentionOnlyConfig config;
  NamePrompts prompts;

  Small() {
    task.names = 4;
    task.fillers = 2;
    task.length = 9;
    config.layers = 2;
    config.heads = 2;
    config.dim = 6;
    prompts = DrawNamePrompts(task, 5, 0, MakeGenerator(3));
  }
};

// One layer and head in loops.
TEST(AttentionOnlyModel, AgreesWithLoops) {
  Small small;
  small.config.layers = 1;
  const AttentionOnlyModel model(small.task, small.config,
                                 DoubleInitializer(1));
  const auto output = model.Forward(small.prompts.tokens, true);
  constexpr int64_t kDim = 6, kHeadDim = 3, kLength = 9;
  const at::Tensor embed = ParameterOf(model, "tokens"),
                   place = ParameterOf(model, "positions");
  const at::Tensor qkv = ParameterOf(model, "layer0_qkv.weight"),
                   w_o = ParameterOf(model, "layer0_output"),
                   unembed = ParameterOf(model, "unembed.weight");
  using Vector = std::vector<double>;
  const auto normal = [](const Vector& x) {
    double mean = 0, variance = 0;
    for (const double v : x) mean += v / kDim;
    for (const double v : x) variance += (v - mean) * (v - mean) / kDim;
    Vector y;
    for (const double v : x) {
      y.push_back((v - mean) / std::sqrt(variance + 1e-5));
    }
    return y;
  };
  for (int64_t n = 0; n < 2; ++n) {
    std::vector<Vector> x, h;
    for (int64_t t = 0; t < kLength; ++t) {
      const int64_t token = small.prompts.tokens[n][t].item<int64_t>();
      x.emplace_back();
      for (int64_t d = 0; d < kDim; ++d) {
        x[t].push_back(At(embed, {token, d}) + At(place, {t, d}));
      }
      h.push_back(normal(x[t]));
    }
    Vector last = x[kLength - 1];
    for (int64_t head = 0; head < 2; ++head) {
      const auto project = [&](int64_t part, int64_t t, int64_t i) {
        double sum = 0;
        for (int64_t d = 0; d < kDim; ++d) {
          sum += At(qkv, {part * kDim + head * kHeadDim + i, d}) * h[t][d];
        }
        return sum;
      };
      for (int64_t t = 0; t < kLength; ++t) {
        Vector weights, z(kHeadDim, 0);
        double total = 0;
        for (int64_t s = 0; s <= t; ++s) {
          double score = 0;
          for (int64_t i = 0; i < kHeadDim; ++i) {
            score += project(0, t, i) * project(1, s, i);
          }
          weights.push_back(std::exp(score / std::sqrt(3.0)));
          total += weights.back();
        }
        for (int64_t i = 0; i < kHeadDim; ++i) {
          for (int64_t s = 0; s <= t; ++s) {
            z[i] += weights[s] / total * project(2, s, i);
          }
        }
        for (int64_t d = 0; d < kDim; ++d) {
          double written = 0;
          for (int64_t i = 0; i < kHeadDim; ++i) {
            written += z[i] * At(w_o, {head, i, d});
          }
          EXPECT_NEAR(At(output.heads, {n, 0, head, t, d}), written, 1e-12);
          if (t == kLength - 1) last[d] += written;
        }
      }
    }
    const Vector top = normal(last);
    for (int64_t token = 0; token < small.task.vocabulary(); ++token) {
      double logit = 0;
      for (int64_t d = 0; d < kDim; ++d) {
        logit += At(unembed, {token, d}) * top[d];
      }
      EXPECT_NEAR(At(output.logits, {n, token}), logit, 1e-12);
    }
  }
}

TEST(AttentionOnlyModel, GatesReplaceHeads) {
  const Small small;
  const AttentionOnlyModel model(small.task, small.config,
                                 DoubleInitializer(1));
  const at::Tensor tokens = small.prompts.tokens;
  const auto plain = model.Forward(tokens);
  EXPECT_FALSE(plain.heads.defined());
  const at::Tensor open = at::ones({1, 2, 2}, at::kDouble);
  EXPECT_THAT(model.Forward(tokens, false, {open, {}}).logits,
              IsCloseTo(plain.logits, 0, 1e-12));
  // Closed gates leave the embedding of the last token, the same in all.
  const at::Tensor closed = model.Forward(tokens, false, {0 * open, {}}).logits;
  EXPECT_THAT(closed,
              IsCloseTo(closed.select(0, 0).expand_as(closed), 0, 1e-12));
  // Each head replaced by what it writes anyway, for the first prompt.
  const at::Tensor own = model.Forward(tokens, true).heads.select(0, 0);
  EXPECT_THAT(
      model.Forward(tokens.narrow(0, 0, 1), false, {0 * open, own}).logits,
      IsCloseTo(plain.logits.narrow(0, 0, 1), 0, 1e-12));
  EXPECT_THAT(ErrorOf([&] { model.Forward(tokens.narrow(1, 0, 5)); }),
              HasSubstr("tokens: expected"));
  EXPECT_THAT(ErrorOf([&] {
                model.Forward(tokens, false, {at::ones({1, 2, 3}), {}});
              }),
              HasSubstr("gates: expected"));
}

TEST(AblationEffects, OfOnePromptsOwnOutputsAreNone) {
  Small small;
  const AttentionOnlyModel model(small.task, small.config,
                                 DoubleInitializer(1));
  NamePrompts one = small.prompts;
  one.tokens = one.tokens.narrow(0, 0, 1);
  one.answers = one.answers.narrow(0, 0, 1);
  one.subjects = one.subjects.narrow(0, 0, 1);
  const at::Tensor own =
      model.Forward(one.tokens, true).heads.select(0, 0).detach();
  for (const double effect : AblationEffects(model, one, own)) {
    EXPECT_NEAR(effect, 0, 1e-12);
  }
  // With another prompt's outputs in place the last layer's effects are those
  // of changing its contribution to the last token alone.
  const at::Tensor other =
      model.Forward(small.prompts.tokens.narrow(0, 1, 1), true)
          .heads.select(0, 0)
          .detach();
  const std::vector<double> effects = AblationEffects(model, one, other);
  ASSERT_EQ(effects.size(), 4u);
  const double whole =
      LogitDifference(model.Forward(one.tokens).logits, one).item<double>();
  at::Tensor changed = own.clone();
  changed.select(0, 1).select(0, 0).copy_(other.select(0, 1).select(0, 0));
  const at::Tensor logits =
      model
          .Forward(one.tokens, false,
                   {at::zeros({1, 2, 2}, at::kDouble), changed})
          .logits;
  EXPECT_NEAR(effects[2], whole - LogitDifference(logits, one).item<double>(),
              1e-12);
  EXPECT_GT(std::abs(effects[2]), 1e-6);
}

TEST(GradientImportance, AgreesWithDifferences) {
  const Small small;
  const AttentionOnlyModel model(small.task, small.config,
                                 DoubleInitializer(1));
  const std::vector<double> importance =
      GradientImportance(model, small.prompts);
  ASSERT_EQ(importance.size(), 4u);
  constexpr double kStep = 1e-5;
  for (int64_t i = 0; i < 4; ++i) {
    const auto logits = [&](double by) {
      at::Tensor gates = at::ones({1, 2, 2}, at::kDouble);
      gates.view({4}).select(0, i).add_(by);
      return model.Forward(small.prompts.tokens, false, {gates, {}}).logits;
    };
    const at::Tensor slope = (logits(kStep) - logits(-kStep)) / (2 * kStep);
    double expected = 0;
    for (int64_t n = 0; n < 5; ++n) {
      const auto of = [&](const at::Tensor& tokens) {
        return At(slope, {n, tokens[n].item<int64_t>()});
      };
      expected +=
          std::abs(of(small.prompts.answers) - of(small.prompts.subjects)) / 5;
    }
    EXPECT_NEAR(importance[i], expected, 1e-6);
  }
  for (const at::Tensor& parameter : model.Parameters()) {
    EXPECT_FALSE(parameter.grad().defined());
  }
}

NameStudyOptions Tiny() {
  NameStudyOptions options;
  options.task.names = 4;
  options.task.length = 8;
  options.model.layers = 2;
  options.model.heads = 4;
  options.model.dim = 16;
  options.steps = 20;
  options.batch = 8;
  options.examples = 20;
  options.circuit_heads = 2;
  options.autoencoder.num_features = 12;
  options.autoencoder.steps = 10;
  options.repeats = 2;
  return options;
}

TEST(RunNameStudy, RunsAtATinySizeAndRepeatsItself) {
  for (const KnownCircuit known :
       {KnownCircuit::kAblation, KnownCircuit::kCut}) {
    NameStudyOptions options = Tiny();
    options.known = known;
    double share = 0;
    const auto progress = [&](double done) {
      EXPECT_GE(done, share);
      share = done;
      return true;
    };
    const auto measured =
        RunNameStudy(options, 1, c10::Device(at::kCPU), progress);
    ASSERT_TRUE(measured.ok()) << measured.status();
    EXPECT_EQ(share, 1);
    std::vector<std::string> names;
    for (const auto& [name, value] : *measured) {
      names.push_back(name);
      EXPECT_GE(value, 0) << name;
      EXPECT_LE(value, 1 + 1e-12) << name;
    }
    EXPECT_EQ(names, NameStudyMeasures(known));
    share = 0;
    EXPECT_EQ(*RunNameStudy(options, 1, c10::Device(at::kCPU), progress),
              *measured);
  }
}

TEST(RunNameStudy, StopsAndRefuses) {
  const c10::Device cpu(at::kCPU);
  EXPECT_TRUE(absl::IsCancelled(
      RunNameStudy(Tiny(), 1, cpu, [](double) { return false; }).status()));
  // Only after the training.
  EXPECT_TRUE(absl::IsCancelled(RunNameStudy(Tiny(), 1, cpu, [](double done) {
                                  return done < 0.6;
                                }).status()));
  NameStudyOptions options = Tiny();
  options.circuit_heads = 8;
  const auto status =
      RunNameStudy(options, 1, cpu, [](double) { return true; }).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(status.message(), HasSubstr("8 of 8 heads"));
  options.known = KnownCircuit::kCut;
  options.circuit_heads = 3;
  EXPECT_THAT(RunNameStudy(options, 1, cpu, [](double) { return true; })
                  .status()
                  .message(),
              HasSubstr("3 of 8 heads in 2 layers"));
}

}  // namespace
}  // namespace repro::sae_circuits
