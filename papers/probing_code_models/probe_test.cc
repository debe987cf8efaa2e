#include "papers/probing_code_models/probe.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/count/parameters.h"
#include "common/encoder/transformer_encoder.h"
#include "common/nn/initializer.h"
#include "common/tensor/generator.h"
#include "common/tensor/testing.h"
#include "common/train/optimizer.h"
#include "papers/probing_code_models/mini_language.h"
#include "papers/probing_code_models/probing.h"

namespace repro::probing_code_models {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pointwise;

const c10::Device kCpu(c10::kCPU);

std::vector<Initializer> Inits(int64_t count, uint64_t seed,
                               at::ScalarType dtype = at::kFloat) {
  std::vector<Initializer> inits;
  for (int64_t i = 0; i < count; ++i) {
    inits.emplace_back(MakeGenerator(seed, i), dtype);
  }
  return inits;
}

at::Tensor Parameter(const Module& module, const std::string& name) {
  for (const auto& [own, value] : module.NamedParameters()) {
    if (own == name) return value;
  }
  ADD_FAILURE() << "no parameter " << name;
  return {};
}

void Set(const Module& module, const std::string& name,
         const at::Tensor& value) {
  const at::NoGradGuard no_grad;
  at::Tensor parameter = Parameter(module, name);
  parameter.copy_(value.view(parameter.sizes()));
}

at::Tensor Normal(at::IntArrayRef shape, uint64_t seed,
                  at::ScalarType dtype = at::kFloat) {
  return RandomNormal(shape, seed, dtype);
}

PairTensors Pairs(const std::vector<PairExample>& examples) {
  const auto pairs = MakePairTensors(examples, kCpu);
  EXPECT_TRUE(pairs.ok()) << pairs.status();
  return *pairs;
}

// ---- Pooling ----------------------------------------------------------------

// h = (1, 0), (0, 2), (3, 1) with w = (0.5, -0.25), worked by hand.
TEST(PairProbes, PoolsTheWorkedExample) {
  const at::NoGradGuard no_grad;
  PairProbes probe(2, Inits(1, 1, at::kDouble));
  const at::Tensor states =
      at::tensor({1., 0., 0., 2., 3., 1.}).to(at::kDouble).view({1, 1, 3, 2});
  const PairTensors pairs = Pairs({{0, {{{0, 2}}, {{1, 1}}}, true}});
  Set(probe, "score.weight", at::tensor({0.5, -0.25}));
  for (const double bias : {0.0, 7.0}) {
    Set(probe, "score.bias", at::tensor({bias}));
    const at::Tensor v = probe.Pool(states, pairs).flatten();
    EXPECT_NEAR(v[0].item<double>(), 2.1093987, 5e-8);
    EXPECT_NEAR(v[1].item<double>(), 0.8186105, 5e-8);
    // One token: its own state.
    EXPECT_DOUBLE_EQ(v[2].item<double>(), 0);
    EXPECT_DOUBLE_EQ(v[3].item<double>(), 2);
  }
  Set(probe, "score.weight", at::tensor({0., 0.}));
  const at::Tensor mean = probe.Pool(states, pairs).flatten();
  EXPECT_NEAR(mean[0].item<double>(), 4. / 3, 1e-15);
  EXPECT_NEAR(mean[1].item<double>(), 1, 1e-15);
}

// The released module's masked softmax: logits times mask, softmax, mask,
// normalised with 1e-13; pieces times their mask, summed. By loops in float64.
TEST(PairProbes, PoolsAsTheReleasedModule) {
  const at::NoGradGuard no_grad;
  constexpr int64_t kProbes = 3, kPrograms = 4, kSeqLen = 11, kDim = 5;
  PairProbes probes(kDim, Inits(kProbes, 2, at::kDouble));
  const at::Tensor states =
      Normal({kProbes, kPrograms, kSeqLen, kDim}, 3, at::kDouble);
  std::mt19937_64 random(4);
  std::vector<PairExample> examples;
  while (examples.size() < 40) {
    const auto span = [&]() -> Span {
      const auto begin = static_cast<int64_t>(random() % kSeqLen);
      return {begin,
              begin + static_cast<int64_t>(random() % (kSeqLen - begin))};
    };
    const OverlapRule rule = random() % 2 == 0 ? OverlapRule::kAsPublished
                                               : OverlapRule::kInGraphAsCoded;
    const auto pieces = *ResolveOverlap(span(), span(), rule);
    if (!pieces.has_value()) continue;
    examples.push_back(
        {static_cast<int64_t>(random() % kPrograms), *pieces, false});
  }
  const at::Tensor pooled = probes.Pool(states, Pairs(examples));
  ASSERT_EQ(pooled.sizes(), (std::vector<int64_t>{kProbes, 40, 2 * kDim}));
  for (int64_t m = 0; m < kProbes; ++m) {
    const at::Tensor w = Parameter(probes, "score.weight")[m].flatten();
    const double b = Parameter(probes, "score.bias")[m].item<double>();
    for (size_t i = 0; i < examples.size(); ++i) {
      const at::Tensor h = states[m][examples[i].program];
      std::vector<at::Tensor> nodes;
      for (const Pieces& pieces :
           {examples[i].nodes.first, examples[i].nodes.second}) {
        at::Tensor sum = at::zeros({kDim}, at::kDouble);
        for (const Span& span : pieces) {
          at::Tensor mask = at::zeros({kSeqLen}, at::kDouble);
          mask.slice(0, span.begin, span.end + 1).fill_(1);
          at::Tensor weights = at::softmax((h.matmul(w) + b) * mask, 0) * mask;
          weights = weights / (weights.sum() + 1e-13);
          sum = sum + weights.matmul(h);
        }
        nodes.push_back(sum);
      }
      EXPECT_THAT(pooled[m][i], IsCloseTo(at::cat(nodes), 1e-9, 1e-9));
    }
  }
}

TEST(PairProbes, DoubledPieceDoublesTheVector) {
  const at::NoGradGuard no_grad;
  PairProbes probe(4, Inits(1, 5));
  const at::Tensor states = Normal({1, 1, 10, 4}, 6);
  const auto second = [&](OverlapRule rule) {
    const PairPieces pieces = **ResolveOverlap({2, 9}, {4, 6}, rule);
    return probe.Pool(states, Pairs({{0, pieces, true}})).flatten().slice(0, 4);
  };
  EXPECT_THAT(second(OverlapRule::kInGraphAsCoded),
              IsCloseTo(2 * second(OverlapRule::kAsPublished), 1e-6, 1e-6));
}

// A linear classifier of two vectors side by side cannot relate one to the
// other: it scores (A, B) + (C, D) as (A, D) + (C, B).
TEST(PairProbes, IsAdditiveInItsNodes) {
  const at::NoGradGuard no_grad;
  PairProbes probe(6, Inits(2, 60, at::kDouble));
  const at::Tensor states = Normal({2, 1, 12, 6}, 61, at::kDouble);
  const Pieces a = {{0, 2}}, b = {{3, 5}}, c = {{6, 6}}, d = {{7, 9}, {11, 11}};
  const at::Tensor logits = probe.Forward(states, Pairs({{0, {a, b}, true},
                                                         {0, {c, d}, true},
                                                         {0, {a, d}, true},
                                                         {0, {c, b}, true}}));
  EXPECT_THAT(logits.narrow(1, 0, 2).sum(1),
              IsCloseTo(logits.narrow(1, 2, 2).sum(1), 1e-12, 1e-12));
  EXPECT_GT(
      (logits.select(1, 0) - logits.select(1, 2)).abs().max().item<double>(),
      1e-3);
}

TEST(PairProbes, HasThePapersParameters) {
  EXPECT_EQ(CountParameters(PairProbes(768, {Initializer::Meta()})), 3843);
}

TEST(PairProbes, RefusesWhatDoesNotFit) {
  PairProbes probe(4, Inits(1, 7));
  const PairTensors pairs = Pairs({{0, {{{0, 2}}, {{3, 5}}}, true}});
  EXPECT_NO_THROW(probe.Forward(Normal({1, 1, 6, 4}, 1), pairs));
  EXPECT_THROW(probe.Forward(Normal({1, 1, 5, 4}, 1), pairs), c10::Error);
  EXPECT_THROW(probe.Forward(Normal({1, 1, 6, 3}, 1), pairs), c10::Error);
  EXPECT_THROW(probe.Forward(Normal({2, 1, 6, 4}, 1), pairs), c10::Error);
  EXPECT_THROW(probe.Forward(Normal({1, 6, 4}, 1), pairs), c10::Error);
  EXPECT_TRUE(absl::IsInvalidArgument(MakePairTensors({}, kCpu).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      MakePairTensors({{0, {{}, {{1, 1}}}, true}}, kCpu).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      MakePairTensors({{0, {{{2, 1}}, {{1, 1}}}, true}}, kCpu).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      MakePairTensors({{0, {{{0, 1}}, {{-1, 1}}}, true}}, kCpu).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      MakePairTensors({{0, {{{0, 0}, {1, 1}, {2, 2}}, {{3, 3}}}, true}}, kCpu)
          .status()));
}

// ---- Training ---------------------------------------------------------------

TEST(ClipStackedGradients, ClipsEachModelAsIfAlone) {
  const auto parameters = [] {
    return std::vector<at::Tensor>{at::zeros({3, 4}), at::zeros({3, 2, 2})};
  };
  std::vector<at::Tensor> stacked = parameters();
  stacked[0].mutable_grad() = Normal({3, 4}, 8) * 0.2;
  stacked[1].mutable_grad() = Normal({3, 2, 2}, 9);
  // One of the models is below the bound.
  stacked[0].mutable_grad()[1].mul_(1e-3);
  stacked[1].mutable_grad()[1].mul_(1e-3);
  std::vector<std::vector<at::Tensor>> alone;
  for (int64_t m = 0; m < 3; ++m) {
    alone.push_back({at::zeros({4}), at::zeros({2, 2})});
    for (size_t i = 0; i < 2; ++i) {
      alone[m][i].mutable_grad() = stacked[i].grad()[m].clone();
    }
    ClipGradientNorm(alone[m], 0.5);
  }
  ClipStackedGradients(stacked, 0.5);
  for (int64_t m = 0; m < 3; ++m) {
    for (size_t i = 0; i < 2; ++i) {
      EXPECT_THAT(stacked[i].grad()[m],
                  IsCloseTo(alone[m][i].grad(), 1e-6, 1e-7));
    }
  }
}

// Pairs that are linked if the first dimension of the first node's only token
// is positive; with `noise` the labels are coins.
PairTensors PairsBySign(const at::Tensor& states, int64_t count, uint64_t seed,
                        bool noise) {
  std::mt19937_64 random(seed);
  std::vector<PairExample> examples;
  for (int64_t i = 0; i < count; ++i) {
    const auto program = static_cast<int64_t>(random() % states.size(1));
    const auto token = static_cast<int64_t>(random() % states.size(2));
    const bool linked = noise ? random() % 2 == 0
                              : states[0][program][token][0].item<float>() > 0;
    examples.push_back(
        {program, {{{token, token}}, {{0, states.size(2) - 1}}}, linked});
  }
  return Pairs(examples);
}

ProbeTrainingOptions QuickTraining() {
  ProbeTrainingOptions options;
  options.epochs = 6;
  options.batch_size = 32;
  options.rate = 0.05;
  options.validations_per_epoch = 2;
  return options;
}

TEST(TrainPairProbes, LearnsWhatIsThereAndNothingElse) {
  // Probe 1's states do not hold the sign: they are another draw.
  const at::Tensor states =
      at::cat({Normal({1, 60, 6, 4}, 10), Normal({1, 60, 6, 4}, 11)});
  const at::Tensor valid_states =
      at::cat({Normal({1, 60, 6, 4}, 12), Normal({1, 60, 6, 4}, 13)});
  PairProbes probes(4, Inits(2, 14), 0.1, MakeGenerator(15));
  const auto best = TrainPairProbes(
      probes, states, PairsBySign(states, 600, 16, false), valid_states,
      PairsBySign(valid_states, 400, 17, false), QuickTraining(), 18);
  ASSERT_TRUE(best.ok()) << best.status();
  EXPECT_GT((*best)[0], 0.85);
  // Chance has a standard deviation of 1 / sqrt(400); the best of 12.
  EXPECT_LT((*best)[1], 0.2);
  // What is kept are the parameters of the best validation.
  const auto counts = TestPairProbes(probes, valid_states,
                                     PairsBySign(valid_states, 400, 17, false));
  EXPECT_EQ(ScoreOf(counts[0]).mcc, (*best)[0]);
  EXPECT_EQ(ScoreOf(counts[1]).mcc, (*best)[1]);
  EXPECT_EQ(counts[0].items(), 400);
}

TEST(TrainPairProbes, StackedIsEachAlone) {
  const at::Tensor states = Normal({3, 20, 6, 4}, 20);
  const PairTensors train = PairsBySign(states, 150, 21, false);
  const PairTensors valid = PairsBySign(states, 90, 22, true);
  // Dropout draws for all at once, so it is left out here.
  PairProbes stacked(4, Inits(3, 23));
  const auto best = TrainPairProbes(stacked, states, train, states, valid,
                                    QuickTraining(), 24);
  ASSERT_TRUE(best.ok()) << best.status();
  for (int64_t m = 0; m < 3; ++m) {
    PairProbes alone(4, {Initializer(MakeGenerator(23, m))});
    const at::Tensor own = states.narrow(0, m, 1);
    const auto own_best =
        TrainPairProbes(alone, own, train, own, valid, QuickTraining(), 24);
    ASSERT_TRUE(own_best.ok()) << own_best.status();
    EXPECT_NEAR((*own_best)[0], (*best)[m], 1e-12);
    for (const auto& [name, value] : alone.NamedParameters()) {
      // No loss depends on it, and Adam scales up what rounding leaves.
      if (name == "score.bias") continue;
      EXPECT_THAT(Parameter(stacked, name).narrow(0, m, 1),
                  IsCloseTo(value, 1e-3, 1e-4))
          << name;
    }
  }
}

TEST(TrainPairProbes, StopsAndRefuses) {
  const at::Tensor states = Normal({1, 5, 6, 4}, 30);
  const PairTensors pairs = PairsBySign(states, 40, 31, false);
  PairProbes probe(4, Inits(1, 32));
  int64_t calls = 0;
  EXPECT_TRUE(absl::IsCancelled(
      TrainPairProbes(probe, states, pairs, states, pairs, QuickTraining(), 1,
                      [&](double) { return ++calls < 3; })
          .status()));
  EXPECT_EQ(calls, 3);
  ProbeTrainingOptions none;
  none.epochs = 0;
  EXPECT_TRUE(absl::IsInvalidArgument(
      TrainPairProbes(probe, states, pairs, states, pairs, none, 1).status()));
}

TEST(TrainTagProbes, LearnsTheTagsThatStatesHold) {
  // Tag 1 to 3 by the largest of the first three dimensions.
  const at::Tensor states = Normal({2, 30, 8, 5}, 40);
  TagExamples examples;
  for (int64_t program = 0; program < 30; ++program) {
    auto& tokens = examples.tokens.emplace_back();
    auto& tags = examples.tags.emplace_back();
    for (int64_t t = 1; t < 7; ++t) {
      tokens.push_back(program * 8 + t);
      tags.push_back(
          1 + states[0][program][t].slice(0, 0, 3).argmax().item<int64_t>());
    }
  }
  ProbeTrainingOptions options = QuickTraining();
  options.batch_size = 5;
  options.epochs = 20;
  TagProbes probes(5, 4, Inits(2, 41), 0.1, MakeGenerator(42));
  const auto best =
      TrainTagProbes(probes, states, examples, states, examples, options, 43);
  ASSERT_TRUE(best.ok()) << best.status();
  EXPECT_GT((*best)[0], 0.9);
  // The states of the other layer are of another draw; 180 tokens, 5
  // dimensions.
  EXPECT_LT((*best)[1], 0.45);
  EXPECT_EQ(*TestTagProbes(probes, states, examples), *best);
  EXPECT_TRUE(absl::IsInvalidArgument(
      TestTagProbes(probes, states, TagExamples()).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      TrainTagProbes(probes, states, {}, states, examples, options, 1)
          .status()));
}

TEST(MeasureProbeSpeed, TimesBoth) {
  const ProbeSpeed speed = MeasureProbeSpeed(2, 3, 16, 4, 5, kCpu, 1);
  EXPECT_GT(speed.stacked_ms, 0);
  EXPECT_GT(speed.sequential_ms, 0);
}

// ---- Encoders of the mini-language -----------------------------------------

encoder::TransformerConfig TinyConfig() {
  encoder::TransformerConfig config;
  config.vocab_size = static_cast<int64_t>(Vocabulary().size());
  config.dim = 8;
  config.num_layers = 3;
  config.num_heads = 2;
  config.ffn_dim = 16;
  config.max_positions = 20;
  return config;
}

TEST(LayerStates, GoesFromTheEmbeddingToTheOutput) {
  const at::NoGradGuard no_grad;
  const encoder::TransformerConfig config = TinyConfig();
  encoder::TransformerEncoder model(config, Initializer(MakeGenerator(50)));
  const at::Tensor tokens =
      at::tensor({1, 9, 12, 30, 2, 0}, at::kLong).view({1, 6});
  const at::Tensor mask = tokens != 0;
  const at::Tensor states = LayerStates(model, tokens, mask);
  ASSERT_EQ(states.sizes(), (std::vector<int64_t>{4, 1, 6, 8}));
  model.Train(false);
  EXPECT_THAT(states[3], IsCloseTo(model.Forward(tokens, mask), 1e-6, 1e-6));
  // H_0 by hand: the norm of word + position + type.
  const at::Tensor positions = at::tensor({2, 3, 4, 5, 6, 1}, at::kLong);
  const at::Tensor sum =
      model.word_embedding().index_select(0, tokens[0]) +
      Parameter(model, "layers.position_embedding").index_select(0, positions) +
      Parameter(model, "layers.type_embedding")[0];
  EXPECT_THAT(states[0][0],
              IsCloseTo(at::layer_norm(sum, {8}, {}, {}, 1e-5), 1e-5, 1e-5));
  // Layers differ from each other.
  EXPECT_GT((states[1] - states[2]).abs().max().item<float>(), 1e-3);
}

TEST(PairsOfTask, LabelsAreTheGraphs) {
  std::mt19937_64 random(51);
  std::vector<Program> programs;
  for (int i = 0; i < 20; ++i) programs.push_back(DrawProgram({}, random));
  std::map<std::string, int64_t> sizes;
  for (const std::string& task : Tasks()) {
    if (task == "tag") continue;
    const auto pairs = PairsOfTask(task, programs, 4, random);
    int64_t linked = 0;
    for (const PairExample& pair : pairs) {
      linked += pair.linked;
      ASSERT_LT(pair.program, 20);
    }
    EXPECT_EQ(2 * linked, static_cast<int64_t>(pairs.size())) << task;
    sizes[task] = static_cast<int64_t>(pairs.size());
  }
  for (const auto& [task, size] : sizes) EXPECT_GT(size, 20) << task;
  // Statements of one part that no edge joins: only inGraph calls them linked.
  const auto program =
      ParseProgram("a = 1 ; b = a ; c = b ; d = 2 ; print d ;");
  ASSERT_TRUE(program.ok());
  const auto linked_spans = [&](const std::string& task) {
    std::set<std::pair<int64_t, int64_t>> spans;
    for (const PairExample& pair : PairsOfTask(task, {*program}, 99, random)) {
      const int64_t a = pair.nodes.first[0].begin;
      const int64_t b = pair.nodes.second[0].begin;
      if (pair.linked) spans.insert({std::min(a, b), std::max(a, b)});
    }
    return spans;
  };
  EXPECT_EQ(linked_spans("ddg"),
            (std::set<std::pair<int64_t, int64_t>>{{1, 5}, {5, 9}, {13, 17}}));
  EXPECT_EQ(linked_spans("in_ddg"), (std::set<std::pair<int64_t, int64_t>>{
                                        {1, 5}, {1, 9}, {5, 9}, {13, 17}}));
}

TEST(TagsOf, NamesTokensWithATypeAlone) {
  const auto program = ParseProgram("a = 1 ;");
  ASSERT_TRUE(program.ok());
  const TagExamples examples = TagsOf({*program, *program}, 10);
  EXPECT_THAT(examples.tokens[0], ElementsAre(1, 3));
  EXPECT_THAT(examples.tokens[1], ElementsAre(11, 13));
  EXPECT_THAT(examples.tags[1], ElementsAre(Tag(2, TagPosition::kUnit),
                                            Tag(6, TagPosition::kUnit)));
}

ProbingOptions TinyOptions() {
  ProbingOptions options = ProbingOptions::Small();
  options.dim = 16;
  options.num_layers = 2;
  options.num_heads = 2;
  options.pretraining_steps = 3;
  options.pretraining_batch = 4;
  options.train_programs = 40;
  options.validation_programs = 20;
  options.test_programs = 20;
  options.probes.epochs = 1;
  options.tag_probes.epochs = 4;
  options.tag_probes.rate = 0.05;
  return options;
}

TEST(ProbeEncoder, RunsEndToEndAndRepeats) {
  const auto probe = [](EncoderKind kind, uint64_t seed) {
    const auto scores = ProbeEncoder(kind, TinyOptions(), seed, kCpu,
                                     [](double) { return true; });
    EXPECT_TRUE(scores.ok()) << scores.status();
    std::vector<double> test;
    for (const LayerScores& of_task : *scores) {
      EXPECT_EQ(of_task.validation.size(), 3u);
      test.insert(test.end(), of_task.test.begin(), of_task.test.end());
    }
    EXPECT_EQ(test.size(), 3 * Tasks().size());
    return test;
  };
  const std::vector<double> random = probe(EncoderKind::kRandom, 1);
  EXPECT_EQ(probe(EncoderKind::kRandom, 1), random);
  EXPECT_NE(probe(EncoderKind::kRandom, 2), random);
  const std::vector<double> trained = probe(EncoderKind::kPretrained, 1);
  EXPECT_NE(trained, random);
  EXPECT_NE(probe(EncoderKind::kDataFlow, 1), trained);
  // Untrained encoders tell tokens: most tags follow from the token.
  EXPECT_GT(random[3 * 6], 0.3);
}

TEST(ProbeEncoder, StopsAndRefuses) {
  EXPECT_TRUE(
      absl::IsCancelled(ProbeEncoder(EncoderKind::kPretrained, TinyOptions(), 1,
                                     kCpu, [](double) { return false; })
                            .status()));
  const auto refuses = [](const ProbingOptions& options) {
    return absl::IsInvalidArgument(
        ProbeEncoder(EncoderKind::kRandom, options, 1, kCpu, [](double) {
          return true;
        }).status());
  };
  ProbingOptions options = TinyOptions();
  options.test_programs = 0;
  EXPECT_TRUE(refuses(options));
  options = TinyOptions();
  options.programs.max_tokens = 20;
  EXPECT_TRUE(refuses(options));
  EXPECT_THAT(std::string(ParseEncoderKind("bert").status().message()),
              HasSubstr("random, pretrained, data_flow"));
}

TEST(BestByValidation, IsTheFirstOfTheBest) {
  EXPECT_EQ(BestByValidation({{.1, .5, .5}, {.9, .1, .2}}), 1);
}

}  // namespace
}  // namespace repro::probing_code_models
