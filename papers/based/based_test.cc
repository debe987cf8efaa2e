#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cumsum.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "common/count/parameters.h"
#include "common/nn/initializer.h"
#include "common/nn/llama.h"
#include "common/tensor/generator.h"
#include "common/tensor/testing.h"
#include "kernels/taylor_linear_attention/taylor_linear_attention.h"
#include "papers/based/based_model.h"
#include "papers/based/feature_map.h"
#include "papers/based/mqar_model.h"
#include "papers/based/speed.h"
#include "papers/based/text_models.h"

namespace repro::based {
namespace {

at::Tensor Taylor(const at::Tensor& q, const at::Tensor& k,
                  const at::Tensor& v) {
  return QuadraticLinearAttention(q, k, v, FeatureMap::kTaylor);
}

TEST(FeatureMapTest, ProductOfFeaturesIsTheTaylorSeries) {
  const at::Tensor q = RandomNormal({9, 16}, 1), k = RandomNormal({9, 16}, 2);
  const at::Tensor s = (q * k).sum(-1) / 4;
  EXPECT_THAT((TaylorFeatures(q) * TaylorFeatures(k)).sum(-1),
              IsCloseTo(1 + s + s * s / 2, 0, 1e-12));
  EXPECT_EQ(TaylorFeatures(q).size(-1), 273);
  EXPECT_EQ(DistinctTaylorFeatures(16), 153);
}

// All q, k 1/16 and v 1/64: s = 1/64, f = 1.0157470703.
TEST(FeatureMapTest, WorkedExample) {
  const at::Tensor q = at::full({1, 2, 70, 16}, 1.0 / 16, at::kDouble);
  const at::Tensor v = at::full({1, 2, 70, 8}, 1.0 / 64, at::kDouble);
  EXPECT_THAT(Taylor(q, q, v), IsCloseTo(v, 1e-12, 0));
  const at::Tensor sum =
      std::get<0>(TaylorLinearAttention(q, q, v, /*normalize=*/false));
  EXPECT_NEAR(sum[0][1][69][3].item<double>(), 70 * 1.0157470703 / 64, 1e-9);
}

TEST(FeatureMapTest, QuadraticFormIsTheKernelsReference) {
  for (const int64_t seq_len : {1, 63, 130}) {
    const at::Tensor q = RandomNormal({2, 3, seq_len, 16}, 3);
    const at::Tensor k = RandomNormal({2, 3, seq_len, 16}, 4);
    const at::Tensor v = RandomNormal({2, 3, seq_len, 10}, 5);
    EXPECT_THAT(std::get<0>(TaylorLinearAttention(q, k, v)),
                IsCloseTo(Taylor(q, k, v), 1e-9, 1e-10));
  }
}

// The other maps against their features written out, a token at a time.
TEST(FeatureMapTest, OtherMapsAreTheirRecurrences) {
  const at::Tensor q = RandomNormal({7, 4}, 6), k = RandomNormal({7, 4}, 7);
  const at::Tensor v = RandomNormal({7, 3}, 8);
  for (const char* name : {"identity", "relu", "square"}) {
    const FeatureMap map = *ParseFeatureMap(name);
    const auto phi = [map](const at::Tensor& x) {
      return map == FeatureMap::kIdentity ? x
             : map == FeatureMap::kRelu   ? x.clamp_min(0)
                                          : x * x;
    };
    at::Tensor state = at::zeros_like(phi(k[0]).outer(v[0]));
    at::Tensor sum = at::zeros_like(k[0]);
    const at::Tensor y = QuadraticLinearAttention(q, k, v, map);
    for (int64_t t = 0; t < 7; ++t) {
      state = state + phi(k[t]).outer(v[t]);
      sum = sum + phi(k[t]);
      const at::Tensor divisor = map == FeatureMap::kIdentity
                                     ? at::full({}, t + 1.0, at::kDouble)
                                     : phi(q[t]).dot(sum) + 1e-12;
      EXPECT_THAT(y[t],
                  IsCloseTo(phi(q[t]).matmul(state) / divisor, 1e-9, 1e-9))
          << name << " " << t;
    }
  }
  EXPECT_FALSE(ParseFeatureMap("cube").ok());
  EXPECT_THROW(Taylor(q, k.narrow(0, 0, 6), v), c10::Error);
}

TEST(FeatureMapTest, ZeroQueriesGiveTheRunningMeanAndOutputsStayInTheHull) {
  const at::Tensor q = RandomNormal({1, 40, 16}, 9);
  const at::Tensor v = RandomNormal({1, 40, 5}, 10);
  const at::Tensor mean =
      at::cumsum(v, 1) / at::cumsum(at::full({1, 40, 1}, 1.0, at::kDouble), 1);
  EXPECT_THAT(Taylor(at::zeros_like(q), q, v), IsCloseTo(mean, 1e-10, 1e-12));
  const at::Tensor y = Taylor(q, RandomNormal({1, 40, 16}, 11), v);
  EXPECT_LE((y.amax(1) - v.amax(1)).max().item<double>(), 0);
  EXPECT_GE((y.amin(1) - v.amin(1)).min().item<double>(), 0);
}

TEST(FeatureMapTest, StateSizesOfTheFrontier) {
  MqarModelConfig config;
  config.dim = 48;
  config.feature_dim = 8;
  EXPECT_EQ(config.StateBytes(), 9396);
  config.dim = 128;
  config.feature_dim = 24;
  EXPECT_EQ(config.StateBytes(), 169236);
  config.mixer = MqarModelConfig::Mixer::kSliding;
  config.window = 32;
  EXPECT_EQ(config.StateBytes(), 34304);
  EXPECT_EQ(config.Name(), "sliding_d128_w32");
  EXPECT_EQ(WindowOfBytes(128, 34304), 32);
  EXPECT_EQ(WindowOfBytes(128, 0), 1);
}

TEST(BasedModelTest, ParametersOfTheConfigurations) {
  const auto count = [](const BasedConfig& config) {
    return CountParameters(BasedModel(config, Initializer::Meta()));
  };
  EXPECT_EQ(count(BasedConfig::Size360M()), 362620928);
  EXPECT_EQ(count(BasedConfig::Size1300M()), 1349453056);
  EXPECT_EQ(CountParameters(Llama(Attention360M(), Initializer::Meta())),
            359810048);
  EXPECT_EQ(CountParameters(Llama(Attention1300M(), Initializer::Meta())),
            1327080720);
  BasedConfig config = BasedConfig::Size360M();
  config = WithParameters(config, 370000000);
  EXPECT_NEAR(count(config), 370000000, 1.5 * 1024 * 27);
}

BasedConfig Tiny() {
  BasedConfig config;
  config.vocab_size = 23;
  config.dim = 16;
  config.num_layers = 4;
  config.linear_layers = {1, 3};
  config.sliding_layers = {2};
  config.num_heads = 2;
  config.feature_dim = 4;
  config.window = 6;
  config.ffn_dim = 24;
  return config;
}

Initializer Float64(uint64_t seed) {
  return Initializer(MakeGenerator(seed), at::kDouble);
}

at::Tensor Tokens(int64_t batch, int64_t seq_len) {
  return at::randint(23, {batch, seq_len}, MakeGenerator(12), at::kLong);
}

TEST(BasedModelTest, PrefillAndStepsAreTheFullRun) {
  const BasedModel model(Tiny(), Float64(1));
  const at::Tensor tokens = Tokens(3, 24);
  at::NoGradGuard no_grad;
  const at::Tensor full = model.Forward(tokens);
  // Shorter than the convolution's, than the window's memory, as long, longer.
  for (const int64_t prompt : {1, 2, 3, 5, 6, 17}) {
    BasedState state = model.MakeState(3);
    EXPECT_THAT(model.Prefill(tokens.narrow(1, 0, prompt), &state),
                IsCloseTo(full.select(1, prompt - 1), 1e-8, 1e-9))
        << prompt;
    for (int64_t t = prompt; t < 24; ++t) {
      ASSERT_THAT(model.Step(tokens.select(1, t), &state),
                  IsCloseTo(full.select(1, t), 1e-8, 1e-9))
          << prompt << " " << t;
    }
    EXPECT_EQ(state.position.item<int64_t>(), 24);
  }
  BasedState state = model.MakeState(3);
  for (int64_t t = 0; t < 8; ++t) {
    ASSERT_THAT(model.Step(tokens.select(1, t), &state),
                IsCloseTo(full.select(1, t), 1e-8, 1e-9));
  }
}

TEST(BasedModelTest, IsCausal) {
  const BasedModel model(Tiny(), Float64(2));
  const at::Tensor tokens = Tokens(1, 20);
  at::Tensor changed = tokens.clone();
  changed[0][11] = (changed[0][11] + 1) % 23;
  at::NoGradGuard no_grad;
  const at::Tensor difference =
      (model.Forward(tokens) - model.Forward(changed)).abs().amax(-1)[0];
  EXPECT_LT(difference.narrow(0, 0, 11).max().item<double>(), 1e-12);
  EXPECT_GT(difference[11].item<double>(), 1e-6);
  EXPECT_GT(difference[19].item<double>(), 1e-12);
}

TEST(BasedModelTest, HasGradientsOfAllParameters) {
  const BasedModel model(Tiny(), Float64(3));
  const at::Tensor weights = RandomNormal({2, 9, 23}, 13);
  const at::Tensor tokens = Tokens(2, 9);
  (model.Forward(tokens) * weights).sum().backward();
  // By central differences along a direction of each parameter.
  for (const auto& [name, parameter] : model.NamedParameters()) {
    ASSERT_TRUE(parameter.grad().defined()) << name;
    const at::Tensor direction = RandomNormal(parameter.sizes(), 14);
    at::NoGradGuard no_grad;
    const auto value = [&, p = parameter](double step) {
      p.add_(direction, step);
      const double out = (model.Forward(tokens) * weights).sum().item<double>();
      p.sub_(direction, step);
      return out;
    };
    const double slope = (value(1e-6) - value(-1e-6)) / 2e-6;
    EXPECT_NEAR((parameter.grad() * direction).sum().item<double>(), slope,
                1e-5 * (1 + std::abs(slope)))
        << name;
  }
}

TEST(BasedModelTest, HalfPrecisionKeepsResidualAndNormsInFloat32) {
  const BasedConfig config = Tiny();
  const BasedModel half(config, Initializer(MakeGenerator(4), at::kBFloat16));
  const BasedModel full(config, Float64(4));
  for (const auto& [name, value] : half.NamedParameters()) {
    EXPECT_EQ(value.scalar_type(), name.find("norm") != std::string::npos
                                       ? at::kFloat
                                       : at::kBFloat16)
        << name;
  }
  at::NoGradGuard no_grad;
  const at::Tensor tokens = Tokens(2, 30);
  EXPECT_THAT(half.Forward(tokens),
              RelativeErrorBelow(full.Forward(tokens), 0.03));
}

TEST(BasedModelTest, BadConfigurationsAreRefused) {
  const auto make = [](BasedConfig config) {
    BasedModel model(config, Initializer::Meta());
  };
  BasedConfig config = Tiny();
  config.num_heads = 3;
  EXPECT_THROW(make(config), c10::Error);
  config = Tiny();
  config.sliding_layers = {1};
  EXPECT_THROW(make(config), c10::Error);
  config = Tiny();
  config.window = 0;
  EXPECT_THROW(make(config), c10::Error);
  const BasedModel model(Tiny(), Float64(5));
  EXPECT_THROW(model.Forward(Tokens(1, 4)[0]), c10::Error);
  EXPECT_THROW(model.MakeState(0), c10::Error);
}

MqarModelConfig SmallMqar(MqarModelConfig::Mixer mixer) {
  MqarModelConfig config;
  config.vocab_size = 24;
  config.dim = 12;
  config.mixer = mixer;
  config.feature_dim = 3;
  config.window = 4;
  config.dropout = 0;
  return config;
}

// A stack of models is each model alone.
TEST(MqarModelTest, StackedModelsAreIndependent) {
  at::NoGradGuard no_grad;
  const at::Tensor tokens = Tokens(2, 10);
  const at::Tensor positions =
      at::randint(10, {2, 3}, MakeGenerator(1), at::kLong);
  for (const auto mixer :
       {MqarModelConfig::Mixer::kLinear, MqarModelConfig::Mixer::kSliding}) {
    const MqarModelConfig config = SmallMqar(mixer);
    const at::Tensor both =
        MqarModel(config, {5, 9}, at::kCPU).Forward(tokens, positions, {});
    EXPECT_EQ(both.sizes(), at::IntArrayRef({2, 2, 3, 24}));
    EXPECT_THAT(
        both[1],
        IsCloseTo(
            MqarModel(config, {9}, at::kCPU).Forward(tokens, positions, {})[0],
            1e-4, 1e-6));
    EXPECT_GT((both[0] - both[1]).abs().max().item<double>(), 1e-4);
  }
}

// What a sliding model sees: the window and two tokens more, by the filter.
TEST(MqarModelTest, WindowBoundsWhatIsSeen) {
  at::NoGradGuard no_grad;
  const MqarModelConfig config = SmallMqar(MqarModelConfig::Mixer::kSliding);
  const MqarModel model(config, {5}, at::kCPU);
  const at::Tensor tokens = Tokens(1, 12);
  const at::Tensor last = at::full({1, 1}, 11, at::kLong);
  const at::Tensor before = model.Forward(tokens, last, {});
  for (int64_t t = 0; t < 12; ++t) {
    at::Tensor changed = tokens.clone();
    changed[0][t] = (changed[0][t] + 1) % 23;
    const double difference =
        (model.Forward(changed, last, {}) - before).abs().max().item<double>();
    if (t < 12 - 4 - 2) {
      EXPECT_EQ(difference, 0) << t;
    } else {
      EXPECT_GT(difference, 0) << t;
    }
  }
}

TEST(MqarModelTest, TrainingLearnsAndSeedsGiveTheSame) {
  MqarTraining training;
  training.vocab_size = 16;
  training.train = {{16, 2, 2000}};
  training.test = {{16, 2, 200}};
  training.epochs = 8;
  training.batch_size = 50;
  training.rate = 1e-2;
  EXPECT_EQ(training.StepsPerEpoch(), 40);
  const MqarData data = MakeMqarData(training, at::kCPU);
  MqarModelConfig config = SmallMqar(MqarModelConfig::Mixer::kSliding);
  config.vocab_size = 16;
  config.dim = 32;
  config.window = 16;
  const GridCell cell;
  const auto first = TrainMqar(config, training, data, {1, 2}, at::kCPU, cell);
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_EQ(first->size(), 2u);
  // Of 8 values one is right by chance.
  EXPECT_GT((*first)[0], 0.5);
  training.epochs = 1;
  training.train[0].num_examples = 100;
  const MqarData less = MakeMqarData(training, at::kCPU);
  const auto a = TrainMqar(config, training, less, {3}, at::kCPU, cell);
  const auto b = TrainMqar(config, training, less, {3}, at::kCPU, cell);
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_EQ(*a, *b);
}

TEST(MqarModelTest, PublishedSegments) {
  const MqarTraining training = MqarTraining::Published();
  int64_t train = 0, test = 0;
  for (const MqarSegment& s : training.train) train += s.num_examples;
  for (const MqarSegment& s : training.test) test += s.num_examples;
  EXPECT_EQ(train, 180000);
  EXPECT_EQ(test, 7000);
  EXPECT_EQ(training.StepsPerEpoch(), 391 + 4 * 79);
}

TEST(SpeedTest, TinyModelsRunOnTheCpu) {
  SpeedOptions options;
  options.batch = 2;
  options.new_tokens = 9;
  options.prefill_batch = 2;
  options.prefill_tokens = 12;
  options.repetitions = 3;
  for (const char* name : {"based_tiny", "attention_tiny"}) {
    const auto speed = MeasureModelSpeed(name, options, at::kCPU, 1);
    ASSERT_TRUE(speed.ok()) << speed.status();
    EXPECT_GT(speed->generated_per_second, 0);
    EXPECT_GT(speed->prefilled_per_second, 0);
  }
  EXPECT_FALSE(MeasureModelSpeed("mamba", options, at::kCPU, 1).ok());
}

TEST(SpeedTest, OperatorsRunOnTheCpu) {
  const OperatorTimes times = MeasureOperators(1, 65, at::kCPU, 1);
  EXPECT_GT(times.taylor, 0);
  EXPECT_GT(times.flash, 0);
}

TEST(TextModelsTest, HaveEqualParametersAndStartUniform) {
  const at::Tensor windows = Tokens(2, 33);
  std::vector<double> parameters, losses;
  for (const char* name : {"attention", "based", "linear"}) {
    const auto named = TextModel(name, TextModelSize(), 65, at::kCPU);
    ASSERT_TRUE(named.ok()) << named.status();
    const LanguageModel model = named->make(1);
    parameters.push_back(static_cast<double>(CountParameters(*model.module)));
    losses.push_back(EvaluateLanguageModel(model.logits, windows, 2));
    EXPECT_NEAR(losses.back(), std::log(65), 0.3) << name;
  }
  EXPECT_NEAR(parameters[1] / parameters[0], 1, 0.002);
  EXPECT_NEAR(parameters[2] / parameters[0], 1, 0.002);
  EXPECT_NE(losses[0], losses[1]);
  EXPECT_NE(losses[1], losses[2]);
  EXPECT_FALSE(TextModel("mamba", TextModelSize(), 65, at::kCPU).ok());
}

// 19 32 tokens' embeddings, 2 layers of 4 32^2 + 3 32 32 + 64, a norm: 15,104
// weights; keys and values of 2 layers of 32 for 4 past tokens of 3 sequences.
TEST(SpeedTest, BytesOfAStep) {
  EXPECT_DOUBLE_EQ(*BytesPerStep("attention_tiny", 3, 9),
                   2.0 * 15104 + 2 * 2 * 2 * 32 * 4 * 3);
}

}  // namespace
}  // namespace repro::based
