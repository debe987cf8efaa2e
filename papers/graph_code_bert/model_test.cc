#include "papers/graph_code_bert/model.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/count/parameters.h"
#include "common/encoder/objectives.h"
#include "common/tensor/generator.h"
#include "common/train/optimizer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "papers/graph_code_bert/pretraining.h"
#include "papers/graph_code_bert/speed.h"
#include "papers/graph_code_bert/transformer.h"

namespace repro::graph_code_bert {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

const c10::Device kCpu(c10::kCPU);

encoder::TransformerConfig TinyConfig() {
  encoder::TransformerConfig config;
  config.vocab_size = 40;
  config.dim = 16;
  config.num_layers = 2;
  config.num_heads = 2;
  config.ffn_dim = 32;
  config.max_positions = 64;
  config.init_std = 0.3;  // so that attention is far from uniform
  return config;
}

GraphCodeBert TinyModel() {
  return GraphCodeBert(TinyConfig(),
                       Initializer(MakeGenerator(1), at::kDouble));
}

// Ten tokens of one or two pieces, three nodes.
GraphInput Example() {
  code::DataFlowGraph graph;
  graph.tokens.assign(10, "t");
  graph.edges = {
      {"t", 1, code::DataFlowRelation::kComesFrom, {}, {}},
      {"t", 4, code::DataFlowRelation::kComputedFrom, {"t", "t"}, {1, 8}},
      {"t", 8, code::DataFlowRelation::kComesFrom, {"t"}, {1}}};
  TokenPieces pieces;
  for (int32_t i = 0; i < 10; ++i) {
    pieces.push_back({5 + i});
    if (i % 2 == 0) pieces.back().push_back(20 + i);
  }
  return *MakeGraphInput(graph, pieces, {});
}

TEST(GraphBatchTest, PadsToTheLongest) {
  const GraphInput input = Example();
  const GraphInput text = WithoutDataFlow(input);
  const GraphBatch batch = MakeGraphBatch({&text, &input}, {}, 1, kCpu);
  EXPECT_EQ(batch.tokens.sizes(), (std::vector<int64_t>{2, 20}));
  EXPECT_EQ(batch.tokens[0][17].item<int64_t>(), 1);
  EXPECT_EQ(batch.positions[0][17].item<int64_t>(), 1);
  EXPECT_EQ(batch.mask[0].sum().item<int64_t>(), 17 * 17);
  EXPECT_FALSE(batch.mask[0].select(1, 18).any().item<bool>());
  EXPECT_EQ(batch.maskable.sum().item<int64_t>(), 2 * 15);
  EXPECT_EQ(batch.node_pieces[1].sum().item<int64_t>(), 1 + 2 + 2);
}

TEST(MeanNodeEmbeddingsTest, MeanOfPieces) {
  GraphInput input = Example();
  input.nodes[2] = {};  // cut off
  const GraphBatch batch = MakeGraphBatch({&input}, {}, 1, kCpu);
  const at::Tensor words = at::randn({1, 20, 4}, MakeGenerator(2), at::kDouble);
  const at::Tensor out = MeanNodeEmbeddings(words, batch)[0];
  EXPECT_TRUE(at::allclose(out.slice(0, 0, 17), words[0].slice(0, 0, 17)));
  const GraphInput::Span span = input.nodes[1];
  ASSERT_EQ(span.end - span.begin, 2);
  EXPECT_TRUE(at::allclose(
      out[18], (words[0][span.begin] + words[0][span.begin + 1]) / 2));
  EXPECT_EQ(out[19].abs().max().item<double>(), 0);
}

// Without nodes the model is RoBERTa, positions and all.
TEST(GraphCodeBertTest, PlainEncoderWithoutNodes) {
  const GraphCodeBert model = TinyModel();
  const GraphInput text = WithoutDataFlow(Example());
  const GraphBatch batch = MakeGraphBatch({&text}, {}, 1, kCpu);
  EXPECT_TRUE(at::allclose(
      model.Forward(batch),
      model.encoder().Forward(batch.tokens, at::ones({1, 17}, at::kBool)),
      1e-10, 1e-10));
}

TEST(GraphCodeBertTest, PaddingChangesNothing) {
  const GraphCodeBert model = TinyModel();
  const GraphInput input = Example(), text = WithoutDataFlow(input);
  const at::Tensor alone =
      model.Forward(MakeGraphBatch({&text}, {}, 1, kCpu))[0];
  const at::Tensor padded =
      model.Forward(MakeGraphBatch({&text, &input}, {}, 1, kCpu))[0];
  EXPECT_TRUE(at::allclose(alone, padded.slice(0, 0, 17), 1e-10, 1e-10));
}

// All nodes share a position: their order says nothing.
TEST(GraphCodeBertTest, OrderOfNodesDoesNotMatter) {
  const GraphCodeBert model = TinyModel();
  const GraphInput input = Example();
  GraphInput permuted = input;
  const std::vector<int64_t> to = {2, 0, 1};
  for (int64_t i = 0; i < 3; ++i) permuted.nodes[to[i]] = input.nodes[i];
  for (auto& [i, j] : permuted.edges) {
    i = to[i];
    j = to[j];
  }
  GraphInput reversed = input;
  for (auto& [i, j] : reversed.edges) std::swap(i, j);
  const auto cls = [&](const GraphInput& of) {
    return model.Forward(MakeGraphBatch({&of}, {}, 1, kCpu))[0][0];
  };
  EXPECT_TRUE(at::allclose(cls(permuted), cls(input), 1e-10, 1e-10));
  // The edges do.
  EXPECT_FALSE(at::allclose(cls(reversed), cls(input), 1e-6, 1e-6));
  EXPECT_FALSE(
      at::allclose(cls(WithoutDataFlow(input)), cls(input), 1e-6, 1e-6));
}

TEST(PretrainingLossesTest, NoPairsNoStructureLoss) {
  const GraphCodeBert model = TinyModel();
  const GraphInput input = Example();
  const auto losses = model.PretrainingLosses(
      MakeGraphBatch({&input}, {}, 1, kCpu), {}, 4, 5, MakeGenerator(3));
  EXPECT_EQ(losses.structure.item<double>(), 0);
  EXPECT_GT(losses.masked_language_model.item<double>(), 0);
}

// Probability 1/2 for every pair.
TEST(PretrainingLossesTest, ScaleOfThePairs) {
  const GraphCodeBert model = TinyModel();
  const GraphInput input = Example();
  std::mt19937_64 random(4);
  const PairSample sample = SampleEdges(input, 1, random);
  ASSERT_FALSE(sample.pairs.empty());
  const GraphBatch batch = MakeGraphBatch({&input}, {}, 1, kCpu);
  const auto structure = [&](double scale) {
    return model
        .PretrainingLosses(batch, {sample}, 4, 5, MakeGenerator(3), scale)
        .structure.item<double>();
  };
  EXPECT_NEAR(structure(0), std::log(2), 1e-6);
  EXPECT_GT(std::abs(structure(1) - structure(0.5)), 1e-3);
}

// One function, learnt by heart: all three losses fall below ln 2 and ln 40. An
// inner product does not tell (i, j) from (j, i), so that the loss of edges
// stays above 0: of node 0's seven pairs without an edge one is an edge's
// reverse.
TEST(PretrainingLossesTest, Fall) {
  code::DataFlowGraph graph;
  graph.tokens.assign(10, "t");
  for (const int token : {0, 2, 4, 6, 8}) {
    graph.edges.push_back(
        {"t", token, code::DataFlowRelation::kComesFrom, {}, {}});
  }
  graph.edges[1].source_indexes = {0};
  graph.edges[3].source_indexes = {4};
  TokenPieces pieces;
  for (int32_t i = 0; i < 10; ++i) pieces.push_back({5 + i});
  const GraphInput input = *MakeGraphInput(graph, pieces, {});
  encoder::TransformerConfig config = TinyConfig();
  config.init_std = 0.1;
  const GraphCodeBert model(config, Initializer(MakeGenerator(1)));
  AdamOptions adam;
  adam.rate = 3e-3;
  const auto optimizer = MakeAdam(model.Parameters(), adam);
  std::mt19937_64 random(4);
  at::Generator generator = MakeGenerator(5);
  double language_model = 0, edges = 0, alignment = 0;
  for (int step = 0; step < 600; ++step) {
    std::vector<PairSample> samples;
    std::vector<MaskOptions> masks(4);
    for (MaskOptions& mask : masks) {
      samples.push_back(step % 2 == 0 ? SampleEdges(input, .2, random)
                                      : SampleAlignment(input, .2, random));
      (step % 2 == 0 ? mask.hidden_edges : mask.hidden_alignment) =
          samples.back().hidden;
    }
    const auto losses = model.PretrainingLosses(
        MakeGraphBatch(std::vector<const GraphInput*>(4, &input), masks, 1,
                       kCpu),
        samples, 4, 5, generator);
    optimizer->ZeroGradients();
    (losses.masked_language_model + losses.structure).backward();
    optimizer->Step();
    if (step < 500) continue;
    language_model += losses.masked_language_model.item<double>() / 100;
    (step % 2 == 0 ? edges : alignment) += losses.structure.item<double>() / 50;
  }
  EXPECT_LT(language_model, 1.5);
  EXPECT_LT(edges, 0.5);
  EXPECT_LT(alignment, 0.5);
}

TEST(CloneHeadTest, TwoFunctionsSideBySide) {
  const CloneHead head(16, 0.1, Initializer(MakeGenerator(1), at::kDouble));
  // 32 to 16 to 2, with biases.
  EXPECT_EQ(CountParameters(head), 32 * 16 + 16 + 16 * 2 + 2);
  const at::Tensor a = at::randn({3, 7, 16}, MakeGenerator(2), at::kDouble);
  const at::Tensor b = at::randn({3, 5, 16}, MakeGenerator(3), at::kDouble);
  const at::Tensor out = head.Forward(a, b);
  EXPECT_EQ(out.sizes(), (std::vector<int64_t>{3, 2}));
  // Only [CLS] counts.
  EXPECT_TRUE(at::allclose(out, head.Forward(a.slice(1, 0, 1), b)));
  EXPECT_FALSE(at::allclose(out, head.Forward(b, a)));
}

class GenerationHeadTest : public ::testing::Test {
 protected:
  static DecoderConfig Config() {
    DecoderConfig config;
    config.num_layers = 2;
    config.num_heads = 2;
    config.ffn_dim = 32;
    config.max_positions = 12;
    return config;
  }

  const GenerationHead head_{16, Config(),
                             Initializer(MakeGenerator(1), at::kDouble)};
  const at::Tensor words_ = at::randn({40, 16}, MakeGenerator(2), at::kDouble);
  const at::Tensor states_ =
      at::randn({2, 5, 16}, MakeGenerator(3), at::kDouble);
  const at::Tensor mask_ = at::tensor({1, 1, 1, 1, 1, 1, 1, 1, 0, 0}, at::kLong)
                               .view({2, 5})
                               .to(at::kBool);
};

TEST_F(GenerationHeadTest, SeesWhatWasSaidAndTheSourceAlone) {
  const at::Tensor said =
      at::randint(0, 40, {2, 6}, MakeGenerator(4), at::kLong);
  const at::Tensor logits = head_.Forward(said, states_, mask_, words_);
  EXPECT_EQ(logits.sizes(), (std::vector<int64_t>{2, 6, 40}));
  at::Tensor other = said.clone();
  other.select(1, 4).copy_((said.select(1, 4) + 1).remainder(40));
  const at::Tensor changed = head_.Forward(other, states_, mask_, words_);
  EXPECT_TRUE(at::allclose(changed.slice(1, 0, 4), logits.slice(1, 0, 4)));
  EXPECT_FALSE(at::allclose(changed.slice(1, 4), logits.slice(1, 4)));
  at::Tensor padding = states_.clone();
  padding[1].slice(0, 3).zero_();
  EXPECT_TRUE(
      at::allclose(head_.Forward(said, padding, mask_, words_), logits));
  padding[1][2].zero_();
  EXPECT_FALSE(
      at::allclose(head_.Forward(said, padding, mask_, words_), logits));
}

// Each id is the best one behind those before it, by one pass over all.
TEST_F(GenerationHeadTest, GreedyIsTheBestOfEachStep) {
  const auto said = head_.Generate(states_, mask_, words_, 0, /*end_id=*/-1, 8);
  ASSERT_THAT(said, SizeIs(2));
  for (int64_t row = 0; row < 2; ++row) {
    ASSERT_THAT(said[row], SizeIs(8));
    std::vector<int64_t> inputs = {0};
    inputs.insert(inputs.end(), said[row].begin(), said[row].end() - 1);
    const at::Tensor best =
        head_
            .Forward(at::tensor(inputs, at::kLong).unsqueeze(0),
                     states_.slice(0, row, row + 1),
                     mask_.slice(0, row, row + 1), words_)[0]
            .argmax(-1);
    EXPECT_TRUE(best.equal(at::tensor(said[row], at::kLong)));
  }
  const int64_t end = said[0][0];
  EXPECT_THAT(head_.Generate(states_, mask_, words_, 0, end, 8)[0], IsEmpty());
  // Never beyond the table of positions.
  EXPECT_THAT(head_.Generate(states_, mask_, words_, 0, -1, 100)[0],
              SizeIs(12));
}

TEST(SpeedTest, RandomInputIsFull) {
  std::mt19937_64 random(1);
  const GraphInput input = RandomFullInput(50, random);
  EXPECT_EQ(input.length(), 50);
  EXPECT_EQ(input.num_nodes(), 10);
  const MaskedAttentionSpeed speed =
      TimeMaskedAttention(20, 2, kCpu, 1, {1, 3});
  EXPECT_GT(speed.MaskedOverDense(), 0);
}

Columns Pairs(const std::vector<std::string>& names) {
  Columns columns;
  for (const std::string& name : names) {
    columns["java"].push_back(absl::StrCat("public int ", name, "(int a) {int ",
                                           name, " = a;return ", name, ";}"));
    columns["cs"].push_back(absl::StrCat("public virtual int ", name,
                                         "(int b) {return ", name, " + b;}"));
  }
  return columns;
}

PretrainingOptions TinyOptions() {
  PretrainingOptions options;
  options.vocab_size = 300;
  options.dim = 16;
  options.num_layers = 1;
  options.num_heads = 2;
  options.batch_size = 4;
  options.pretraining_steps = 4;
  options.search_steps = 4;
  return options;
}

TEST(PretrainingTest, EachArm) {
  const Columns train = Pairs({"f", "get", "size", "peek", "next", "sum"});
  const Columns test = Pairs({"put", "last", "count"});
  const PretrainingOptions options = TinyOptions();
  const auto data = PreparePretraining(train, test, options);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_THAT(data->train_java, SizeIs(6));
  EXPECT_GT(data->test_cs[0].num_nodes(), 0);
  const auto go = [](double) { return true; };
  for (const Arm arm :
       {Arm::kFull, Arm::kNoEdgePrediction, Arm::kNoNodeAlignment,
        Arm::kNoDataFlow, Arm::kShuffledEdges}) {
    EXPECT_EQ(*ParseArm(ArmName(arm)), arm);
    const auto score =
        RetrievalAfterPretraining(*data, arm, options, 1, kCpu, go);
    ASSERT_TRUE(score.ok()) << score.status();
    EXPECT_GE(*score, 1. / 3);  // the last rank for each
    EXPECT_LE(*score, 1);
    EXPECT_EQ(*RetrievalAfterPretraining(*data, arm, options, 1, kCpu, go),
              *score);
  }
  EXPECT_TRUE(absl::IsCancelled(
      RetrievalAfterPretraining(*data, Arm::kFull, options, 1, kCpu,
                                [](double) { return false; })
          .status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ParseArm("half").status()));
}

// To say the source again is learnt in a few hundred steps.
TEST(TransformerTest, LearnsOneAnswer) {
  TransformerOptions options;
  options.vocab_size = 260;
  options.dim = 32;
  options.num_layers = 1;
  options.batch_size = 4;
  options.steps = 150;
  options.rate = 3e-3;
  const std::vector<std::string> sources(8, "a b");
  const auto go = [](double) { return true; };
  const auto outputs =
      TrainAndTranslate(sources, std::vector<std::string>(8, "c d"), {"a b"},
                        options, 1, kCpu, go);
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_THAT(*outputs, ::testing::ElementsAre("c d"));
  EXPECT_TRUE(absl::IsInvalidArgument(
      TrainAndTranslate({}, {}, {}, options, 1, kCpu, go).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      TrainAndTranslate(sources, {"c"}, {}, options, 1, kCpu, go).status()));
}

}  // namespace
}  // namespace repro::graph_code_bert
