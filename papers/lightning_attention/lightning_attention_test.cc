#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "common/count/parameters.h"
#include "common/nn/llama.h"
#include "common/nn/transnormer.h"
#include "common/tensor/testing.h"
#include "common/train/language_model.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/rms_norm/rms_norm.h"
#include "papers/lightning_attention/generation.h"
#include "papers/lightning_attention/models.h"
#include "papers/lightning_attention/simple_rms_norm.h"
#include "papers/lightning_attention/stability.h"

namespace repro::lightning_attention {
namespace {

const c10::Device kCpu(at::kCPU);

// --- SRMSNorm ---

TEST(SimpleRmsNormTest, EagerAndFusedAgree) {
  EXPECT_THAT(EagerSimpleRmsNorm(at::tensor({3.0f, 4.0f}), 0),
              IsCloseTo(at::tensor({0.848528, 1.131371}), 1e-5, 0));
  const at::Tensor x = RandomNormal({3, 5, 33}, 1, at::kFloat);
  EXPECT_THAT(RmsNorm(x), IsCloseTo(EagerSimpleRmsNorm(x), 1e-5, 1e-6));
}

// The gradient is orthogonal to x, the norm being constant along it.
TEST(SimpleRmsNormTest, GradientIsOrthogonalToInput) {
  const at::Tensor x = RandomNormal({4, 17}, 1).requires_grad_();
  RmsNorm(x, std::nullopt, 0).backward(RandomNormal({4, 17}, 2));
  EXPECT_THAT((x.grad() * x.detach()).sum(-1),
              IsCloseTo(at::zeros({4}, at::kDouble), 0, 1e-12));
}

// The repository's numbers: 48.023438 and 118.823437 MiB at 12 x 512 rows.
TEST(SimpleRmsNormTest, BytesAreTheBenchmarks) {
  const double mib = 1 << 20;
  EXPECT_NEAR(SimpleRmsNormForwardBytes(12 * 512, 2048, 2) / mib, 48.023438,
              1e-6);
  EXPECT_NEAR(SimpleRmsNormBackwardBytes(12 * 512, 2048, 2) / mib, 118.823437,
              1e-6);
  EXPECT_NEAR(SimpleRmsNormBackwardBytes(12 * 32768, 2048, 2) / mib, 7604.7,
              1e-6);
}

// With a peak of n + 1 in the n-th of 20 calls the mean is 10.5; the gradients
// that the runs need exist.
TEST(SimpleRmsNormTest, MeasuringAveragesTheRuns) {
  int calls = 0;
  const auto peak = [&](const std::function<void()>& run) -> int64_t {
    run();
    return ++calls;
  };
  EXPECT_EQ(MeasureBackwardBytes(6, 8, at::kFloat, peak), 10.5);
  EXPECT_EQ(calls, kBackwardRepetitions);
  EXPECT_EQ(MeasureForwardBytes(6, 8, at::kFloat, peak), 21);
}

// --- robust inference ---

TEST(StabilityTest, BothFormsAgreeWhereNothingOverflows) {
  const at::Tensor q = RandomNormal({100}, 1), k = RandomNormal({100}, 2),
                   v = RandomNormal({100}, 3);
  at::Tensor expected = at::zeros({100}, at::kDouble);
  for (int t = 0; t < 100; ++t) {
    for (int j = 0; j <= t; ++j) {
      expected[t] += std::exp(-0.5 * (t - j)) * q[t] * k[j] * v[j];
    }
  }
  EXPECT_THAT(RobustRecurrence(q, k, v, 0.5), IsCloseTo(expected, 1e-9, 1e-12));
  EXPECT_THAT(NaiveRecurrence(q, k, v, 0.5), IsCloseTo(expected, 1e-9, 1e-12));
}

// lambda = 1/2 and ones: 1, 1.5, 1.75, 1.875.
TEST(StabilityTest, WorkedExample) {
  const at::Tensor ones = at::ones({4}, at::kDouble);
  EXPECT_THAT(RobustRecurrence(ones, ones, ones, std::log(2.0)),
              IsCloseTo(at::tensor({1.0, 1.5, 1.75, 1.875}), 1e-6, 0));
}

TEST(StabilityTest, NaiveFormOverflowsWhereTheDtypeEnds) {
  const at::Tensor ones = at::ones({200});
  // e^{t/2} passes 3.4028e38 = e^88.72 at t = 178; the sum of all of them up to
  // t, e^{t/2} / (1 - e^{-1/2}), at 176.
  EXPECT_EQ(FirstNotFinite(NaiveRecurrence(ones, ones * 0, ones, 0.5)), 178);
  const at::Tensor naive = NaiveRecurrence(ones, ones, ones, 0.5);
  EXPECT_EQ(FirstNotFinite(naive), 176);
  EXPECT_EQ(CountNotFinite(naive), 25);
  EXPECT_EQ(FirstNotFinite(RobustRecurrence(ones, ones, ones, 0.5)), 0);
}

// --- models ---

TEST(ModelsTest, TransnormerAndLlamaHaveEqualParameters) {
  for (const int64_t layers : {4, 8}) {
    SmallModelSize size;
    size.num_layers = layers;
    const absl::StatusOr<TransnormerConfig> tnl =
        SmallTransnormer("mix", size, 65);
    ASSERT_TRUE(tnl.ok());
    const double a = CountParameters(Transnormer(*tnl, Initializer::Meta()));
    const double b =
        CountParameters(Llama(SmallLlama(size, 65), Initializer::Meta()));
    EXPECT_NEAR(a / b, 1, 1e-3);
  }
}

TEST(ModelsTest, EveryNameIsItsOwnModel) {
  std::vector<TransnormerConfig> configs;
  for (const char* name :
       {"mix", "absolute", "decay", "lrpe", "lrpe_d", "no_temperature",
        "no_gate", "rms_norm", "layer_norm", "no_activation", "elu_plus_one",
        "glu_silu"}) {
    const absl::StatusOr<TransnormerConfig> config =
        SmallTransnormer(name, SmallModelSize(), 65);
    ASSERT_TRUE(config.ok()) << name;
    for (const TransnormerConfig& other : configs) {
      EXPECT_FALSE(config->decay == other.decay && config->lrpe == other.lrpe &&
                   config->absolute_positions == other.absolute_positions &&
                   config->decay_temperature == other.decay_temperature &&
                   config->gate == other.gate && config->norm == other.norm &&
                   config->activation == other.activation &&
                   config->glu_activation == other.glu_activation)
          << name;
    }
    configs.push_back(*config);
  }
  EXPECT_EQ(SmallTransnormer("mixed", SmallModelSize(), 65).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(SmallModels({"mixed"}, SmallModelSize(), 65, kCpu).status().code(),
            absl::StatusCode::kNotFound);
}

// What the GPU experiments do, at a size for a test: every model learns that
// "ab" goes on as "ab".
TEST(ModelsTest, EveryModelLearns) {
  std::string text;
  for (int i = 0; i < 2000; ++i) text += "ab";
  const TextDataset data = MakeTextDataset(text, TextUnit::kCharacter);
  SmallModelSize size;
  size.dim = 12;
  size.num_layers = 1;
  size.num_heads = 2;
  size.glu_dim = 8;
  LanguageModelTraining training = SmallModelTraining();
  training.steps = 30;
  training.batch_size = 4;
  training.seq_len = 16;
  training.warmup_steps = 2;
  training.adam.rate = 0.02;
  training.valid_windows = 4;
  const absl::StatusOr<std::vector<NamedLanguageModel>> models = SmallModels(
      {"mix", "absolute", "lrpe", "no_gate", "layer_norm", "elu_plus_one",
       "recurrent", "quadratic", "llama_small", "tnl_medium", "llama_medium"},
      size, data.vocab_size, kCpu);
  ASSERT_TRUE(models.ok()) << models.status();
  Grid grid;
  grid.seeds = {0};
  grid.checkpoint_dir = testing::TempDir();
  const absl::StatusOr<LanguageModelOutcomes> outcomes =
      CompareLanguageModels(data, training, *models, grid);
  ASSERT_TRUE(outcomes.ok()) << outcomes.status();
  EXPECT_EQ(outcomes->size(), 11u);
  for (const auto& [name, outcome] : *outcomes) {
    EXPECT_LT(outcome[0].valid_loss, 0.2) << name;
  }
}

// Table 1: 44.65 M.
TEST(ModelsTest, CountsTheTransformer) {
  // One layer of width 1 with one hidden unit and one token: embedding 1,
  // attention 4 weights and 4 biases, feed-forward 2 and 2, three norms of 2.
  EXPECT_EQ(TransformerParameters(1, 1, 1, 1), 1 + 8 + 4 + 6);
}

// --- generation ---

TEST(GenerationTest, RunsAtATinySize) {
  ThroughputOptions options;
  options.prompt_tokens = 8;
  options.new_tokens = 16;
  options.memory_bytes = 1e6;
  options.reserve_bytes = 1e5;
  options.max_batch = 5;
  options.prefill_batch = 2;
  options.positions = 4;
  for (const char* name : {"tnl_tiny", "llama_tiny"}) {
    absl::StatusOr<std::unique_ptr<TextGenerator>> generator =
        MakeTextGenerator(name, kCpu, 1);
    ASSERT_TRUE(generator.ok()) << generator.status();
    const int64_t batch = FillingBatch(**generator, options);
    EXPECT_EQ(batch, 5);
    (*generator)->Allocate(batch, 24, 1);
    EXPECT_GT(TokensPerSecond(**generator, batch, options, kCpu, 1), 0);
    EXPECT_GT(StepMilliseconds(**generator, 10, 3, kCpu), 0);
  }
  EXPECT_EQ(MakeTextGenerator("gpt", kCpu, 1).status().code(),
            absl::StatusCode::kNotFound);
}

TEST(GenerationTest, TheBatchFillsWhatTheWeightsLeave) {
  absl::StatusOr<std::unique_ptr<TextGenerator>> generator =
      MakeTextGenerator("llama_tiny", kCpu, 1);
  ASSERT_TRUE(generator.ok());
  // Two layers of keys and values, 2 heads of 4 numbers of 4 bytes, 24 tokens.
  EXPECT_EQ((*generator)->BytesPerSequence(24), 2 * 2 * 2 * 4 * 4 * 24);
  ThroughputOptions options;
  options.prompt_tokens = 8;
  options.new_tokens = 16;
  options.reserve_bytes = 1000;
  options.memory_bytes = 1000 + (*generator)->WeightBytes() + 7.5 * 3072;
  EXPECT_EQ(FillingBatch(**generator, options), 7);
  options.memory_bytes = 0;
  EXPECT_EQ(FillingBatch(**generator, options), 1);

  absl::StatusOr<std::unique_ptr<TextGenerator>> tnl =
      MakeTextGenerator("tnl_tiny", kCpu, 1);
  ASSERT_TRUE(tnl.ok());
  // A state of 8 x 8 for 2 heads in 2 layers, twice that in the first.
  EXPECT_EQ((*tnl)->BytesPerSequence(24), 4 * 2 * 64 * 3);
  EXPECT_EQ((*tnl)->BytesPerSequence(1 << 20), (*tnl)->BytesPerSequence(1));
}

}  // namespace
}  // namespace repro::lightning_attention
