#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/count/parameters.h"
#include "common/nn/initializer.h"
#include "common/tensor/generator.h"
#include "common/tensor/testing.h"
#include "papers/rank_ef/feedback.h"
#include "papers/rank_ef/ranker.h"
#include "papers/rank_ef/ranking.h"
#include "papers/rank_ef/training.h"

namespace repro::rank_ef {
namespace {

encoder::EncoderDecoderConfig TinyConfig(int64_t vocab_size) {
  encoder::EncoderDecoderConfig config;
  config.vocab_size = vocab_size;
  config.dim = 32;
  config.num_heads = 2;
  config.head_dim = 16;
  config.ffn_dim = 64;
  config.encoder_layers = 2;
  config.decoder_layers = 1;
  config.dropout = 0;
  config.pad_id = kPad;
  config.eos_id = kEnd;
  return config;
}

Initializer Float64(uint64_t seed) {
  return Initializer(MakeGenerator(seed), at::kDouble);
}

RankerBatch ClassificationBatch(int64_t seed) {
  return {at::randint(3, 50, {4, 7}, MakeGenerator(seed), at::kLong),
          at::ones({4, 7}, at::kBool),
          at::randint(0, 3, {4}, MakeGenerator(seed + 1), at::kLong)};
}

RankerBatch GenerationBatch(int64_t seed) {
  RankerBatch batch = ClassificationBatch(seed);
  batch.labels = at::randint(3, 50, {4, 5}, MakeGenerator(seed + 2), at::kLong);
  batch.labels.narrow(1, 3, 2).narrow(0, 0, 2).fill_(-100);
  return batch;
}

// -------------------------------------------------------------------- ranker

// T5-large by its layers: attention 4 d^2, feed-forward 2 d f, norms d, and for
// each stack 32 x 16 relative positions and a last norm.
TEST(RankerTest, ParametersInClosedForm) {
  const Ranker ranker(encoder::EncoderDecoderConfig::Large(32100),
                      Initializer::Meta());
  const int64_t d = 1024, f = 4096, layers = 24;
  const int64_t embedding = 32100 * d;
  const int64_t stack = 32 * 16 + d;
  const int64_t encoder = layers * (4 * d * d + 2 * d * f + 2 * d) + stack;
  const int64_t decoder = layers * (8 * d * d + 2 * d * f + 3 * d) + stack;
  const int64_t head = d * 128 + 128 + 128 * 3 + 3;
  EXPECT_EQ(CountParameters(ranker), embedding + encoder + decoder + head);
  EXPECT_EQ(CountClassifierParameters(ranker), embedding + encoder + head);
}

TEST(RankerTest, PaddingChangesNothing) {
  const Ranker ranker(TinyConfig(50), Float64(1));
  const RankerBatch batch = ClassificationBatch(3);
  const at::Tensor padded =
      at::cat({batch.tokens, at::full({4, 5}, 9, at::kLong)}, 1);
  const at::Tensor mask =
      at::cat({batch.mask, at::zeros({4, 5}, at::kBool)}, 1);
  EXPECT_THAT(ranker.ClassLogits(padded, mask),
              IsCloseTo(ranker.ClassLogits(batch.tokens, batch.mask), 0, 1e-9));
}

// The mean over labels of minus the log-probability, by hand.
TEST(RankerTest, GenerationLossByHand) {
  Ranker ranker(TinyConfig(50), Float64(1));
  const RankerBatch batch = GenerationBatch(5);
  const at::Tensor states = ranker.model()->Encode(batch.tokens, batch.mask);
  double sum = 0, count = 0;
  for (int64_t row = 0; row < 4; ++row) {
    std::vector<int64_t> inputs = {kPad};
    for (int64_t i = 0; i < 5; ++i) {
      const int64_t label = batch.labels[row][i].item<int64_t>();
      if (label == -100) break;
      // Position by position, with a decoder that sees the earlier ones only.
      const at::Tensor logits = ranker.model()->Decode(
          at::tensor(inputs, at::kLong).unsqueeze(0), states.narrow(0, row, 1),
          batch.mask.narrow(0, row, 1));
      sum -= at::log_softmax(logits[0][i], -1)[label].item<double>();
      ++count;
      inputs.push_back(label);
    }
  }
  EXPECT_NEAR(ranker.GenerationLoss(batch).item<double>(), sum / count, 1e-6);
}

TEST(RankerTest, HardSharingWeighsTheTwoLosses) {
  const Ranker ranker(TinyConfig(50), Float64(1));
  const RankerBatch classification = ClassificationBatch(3);
  const RankerBatch generation = GenerationBatch(5);
  const double cls = ranker.ClassificationLoss(classification).item<double>();
  const double gen = ranker.GenerationLoss(generation).item<double>();
  EXPECT_NEAR(
      HardSharingLoss(ranker, classification, generation, 1).item<double>(),
      cls, 1e-12);
  EXPECT_NEAR(
      HardSharingLoss(ranker, classification, generation, 0.25).item<double>(),
      0.25 * cls + 0.75 * gen, 1e-9);
}

TEST(RankerTest, SoftSharingOfEqualEncodersIsFreeAndHasAGradient) {
  const Ranker a(TinyConfig(50), Float64(1));
  const Ranker b(TinyConfig(50), Float64(1));
  const at::Tensor penalty = SoftSharingPenalty(a, b);
  EXPECT_EQ(penalty.item<double>(), 0);
  penalty.backward();
  for (const auto& [name, value] : a.NamedParameters()) {
    if (!value.grad().defined()) continue;
    EXPECT_EQ(value.grad().abs().max().item<double>(), 0) << name;
  }
}

TEST(RankerTest, SoftSharingSumsTheNormsOfTheEncoder) {
  const Ranker a(TinyConfig(50), Float64(1));
  const Ranker b(TinyConfig(50), Float64(2));
  double expected = 0;
  const NamedTensors of_b = b.NamedParameters();
  size_t i = 0;
  for (const auto& [name, value] : a.NamedParameters()) {
    const at::Tensor difference = (value - of_b[i++].second).flatten();
    if (name.find("decoder") != std::string::npos ||
        name.find("class_head") != std::string::npos) {
      continue;
    }
    double squares = 0;
    for (int64_t j = 0; j < difference.numel(); ++j) {
      squares += std::pow(difference[j].item<double>(), 2);
    }
    expected += std::sqrt(squares);
  }
  EXPECT_GT(expected, 1);
  EXPECT_NEAR(SoftSharingPenalty(a, b).item<double>(), expected,
              1e-9 * expected);
}

TEST(RankerTest, SchemesHaveNames) {
  for (const char* name : {"classification", "hard", "soft", "intermediate"}) {
    const auto scheme = ParseScheme(name);
    ASSERT_TRUE(scheme.ok());
    EXPECT_STREQ(SchemeName(*scheme), name);
  }
  EXPECT_EQ(ParseScheme("Hard").status().code(),
            absl::StatusCode::kInvalidArgument);
}

// ------------------------------------------------------------------ examples

// Problems "add p", each with programs that do, that subtract, and that name a
// variable that there is not.
CandidatePool AddingPool(int problems) {
  CandidatePool pool;
  for (int p = 0; p < problems; ++p) {
    pool.problems.push_back(
        {absl::StrCat("Add/", p),
         absl::StrCat("def f(x):\n    \"\"\"Add ", p, ".\"\"\"\n"), "f", "",
         ""});
    auto& candidates = pool.candidates.emplace_back();
    for (const char* form :
         {"return x @ #", "y = x @ #\n    return y", "return (x @ #)"}) {
      for (const char kind : {'+', '-', '?'}) {
        std::string code = absl::StrCat("    ", form, "\n");
        Candidate candidate;
        if (kind == '?') code.replace(code.find('x'), 1, "z");
        code.replace(code.find('@'), 1, 1, kind == '?' ? '+' : kind);
        code.replace(code.find('#'), 1, absl::StrCat(p));
        if (kind == '-') {
          candidate.feedback = {FeedbackClass::kIntentError, "OutputMismatch",
                                absl::StrCat("Expected ", p, ", but got -", p)};
        } else if (kind == '?') {
          candidate.feedback = {FeedbackClass::kExecutionError, "NameError",
                                "name 'z' is not defined", 3, code};
        }
        candidate.completion = code;
        candidate.first = static_cast<int64_t>(candidates.size());
        candidates.push_back(candidate);
      }
    }
  }
  return pool;
}

std::vector<Place> AllPlaces(const CandidatePool& pool) {
  std::vector<Place> places;
  for (size_t p = 0; p < pool.candidates.size(); ++p) {
    for (size_t i = 0; i < pool.candidates[p].size(); ++i) {
      places.push_back({p, i});
    }
  }
  return places;
}

TEST(ExamplesTest, TextsAreFramedAndCut) {
  CandidatePool pool = AddingPool(2);
  pool.candidates[0][0].completion += "# </s> \u00e4\n";
  const auto tokenizer = TrainTokenizer(pool, AllPlaces(pool), 400);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  RankerTraining training;
  training.source_tokens = 200;
  training.feedback_tokens = 9;
  const auto examples =
      EncodeExamples(**tokenizer, pool, AllPlaces(pool), training);
  ASSERT_TRUE(examples.ok()) << examples.status();
  ASSERT_EQ(examples->places.size(), 18u);
  const std::vector<int32_t>& input = examples->classification[0];
  ASSERT_GT(input.size(), 3u);
  EXPECT_EQ(input.front(), kBegin);
  EXPECT_EQ(input.back(), kEnd);
  // What stands in the program is text, whatever it looks like.
  EXPECT_EQ(std::count(input.begin(), input.end(), kEnd), 1);
  const auto text = (*tokenizer)->Decode(input);
  ASSERT_TRUE(text.ok());
  EXPECT_EQ(*text,
            RankerInput(RankerTask::kClassification, pool.problems[0].prompt,
                        pool.candidates[0][0].completion));
  EXPECT_NE(examples->generation[0], input);
  EXPECT_EQ(examples->feedback[1].size(), 9u);
  EXPECT_NE(examples->feedback[1].back(), kEnd);
  EXPECT_EQ(examples->labels,
            std::vector<int64_t>(
                {0, 2, 1, 0, 2, 1, 0, 2, 1, 0, 2, 1, 0, 2, 1, 0, 2, 1}));
}

// ------------------------------------------------------------------ training

ScaledRanker SmokeRanker() {
  ScaledRanker options;
  options.model = TinyConfig(0);
  options.vocab_size = 300;
  options.folds = 2;
  options.training.rate = 5e-3;
  options.training.warmup_steps = 5;
  options.training.epochs = 20;
  options.training.batch_size = 18;
  options.training.source_tokens = 96;
  options.training.feedback_tokens = 48;
  return options;
}

Grid GridIn(const std::string& folder) {
  Grid grid;
  grid.seeds = {3};
  grid.checkpoint_dir = absl::StrCat(::testing::TempDir(), "/", folder);
  EXPECT_EQ(std::system(absl::StrCat("mkdir -p ", grid.checkpoint_dir).c_str()),
            0);
  return grid;
}

bool IsCorrect(const Candidate& candidate) {
  return candidate.feedback.label == FeedbackClass::kCorrect;
}

// Every scheme learns from half of the problems what holds of the others.
TEST(CrossValidateTest, AllSchemesLearn) {
  const CandidatePool pool = AddingPool(12);
  std::vector<RankerVariant> variants;
  for (const char* name : {"classification", "hard", "soft", "intermediate"}) {
    variants.push_back({*ParseScheme(name)});
  }
  const auto scores =
      CrossValidate(pool, variants, Split::kByProblem, SmokeRanker(),
                    c10::Device(c10::kCPU), GridIn("schemes"));
  ASSERT_TRUE(scores.ok()) << scores.status();
  ASSERT_EQ(scores->size(), 4u);
  for (const auto& [name, of_seeds] : *scores) {
    ASSERT_EQ(of_seeds.size(), 1u);
    EXPECT_GT(*WithinProblemAuc(pool, of_seeds[0].correct, IsCorrect), 0.9)
        << name;
    EXPECT_GT(*WithinProblemAuc(pool, of_seeds[0].execution_error,
                                [](const Candidate& candidate) {
                                  return candidate.feedback.label ==
                                         FeedbackClass::kExecutionError;
                                }),
              0.9)
        << name;
  }
}

// The same seed gives the same scores, and both splits score every candidate.
TEST(CrossValidateTest, RepeatsAndCoversThePool) {
  const CandidatePool pool = AddingPool(3);
  ScaledRanker options = SmokeRanker();
  options.training.epochs = 1;
  options.model.dropout = 0.1;
  const std::vector<RankerVariant> variants = {{Scheme::kHard, 0.1}};
  const auto run = [&](Split split, const char* folder) {
    const auto scores = CrossValidate(pool, variants, split, options,
                                      c10::Device(c10::kCPU), GridIn(folder));
    EXPECT_TRUE(scores.ok()) << scores.status();
    return scores->at("hard0.1")[0];
  };
  const HeldOutScores first = run(Split::kByProblem, "first");
  EXPECT_EQ(first.correct, run(Split::kByProblem, "second").correct);
  const HeldOutScores known = run(Split::kWithinProblem, "first");
  EXPECT_NE(first.correct, known.correct);
  for (const HeldOutScores& scores : {first, known}) {
    for (const auto& of_problem : scores.correct) {
      for (const double score : of_problem) {
        EXPECT_GT(score, 0);
        EXPECT_LT(score, 1);
      }
    }
  }
}

TEST(CrossValidateTest, RefusesWhatMakesNoSense) {
  ScaledRanker options = SmokeRanker();
  options.folds = 1;
  EXPECT_EQ(CrossValidate(AddingPool(2), {{Scheme::kHard}}, Split::kByProblem,
                          options, c10::Device(c10::kCPU), GridIn("one"))
                .status()
                .code(),
            absl::StatusCode::kInvalidArgument);
  options.folds = 3;  // more folds than problems: one has nothing to rank
  options.training.epochs = 1;
  EXPECT_TRUE(CrossValidate(AddingPool(2), {{Scheme::kClassification}},
                            Split::kByProblem, options, c10::Device(c10::kCPU),
                            GridIn("few"))
                  .ok());
  EXPECT_EQ(TrainRanker(Scheme::kHard, {}, TinyConfig(300), {}, 0,
                        c10::Device(c10::kCPU), {})
                .status()
                .code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(CrossValidateTest, StopsWhenToldTo) {
  Grid grid = GridIn("stopped");
  grid.cancelled = [] { return true; };
  EXPECT_EQ(
      CrossValidate(AddingPool(2), {{Scheme::kHard}}, Split::kByProblem,
                    SmokeRanker(), c10::Device(c10::kCPU), std::move(grid))
          .status()
          .code(),
      absl::StatusCode::kCancelled);
}

TEST(ScaledRankerTest, KeepsThePublishedWeights) {
  const RankerTraining published;
  const RankerTraining scaled = ScaledRanker::Default().training;
  EXPECT_EQ(scaled.loss_weight, published.loss_weight);
  EXPECT_EQ(scaled.weight_decay, published.weight_decay);
}

}  // namespace
}  // namespace repro::rank_ef
