#include "papers/graph_code_bert/graph_input.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/code/data_flow.h"
#include "common/tokenizer/bpe_trainer.h"
#include "common/tokenizer/loader.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "papers/graph_code_bert/released.h"

namespace repro::graph_code_bert {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;

// The paper's figure 1 with a signature: 26 tokens, 11 nodes, 9 edges.
constexpr char kMax[] =
    "def max(a,b):\n"
    "    x=0\n"
    "    if b>a:\n"
    "        x=b\n"
    "    else:\n"
    "        x=a\n"
    "    return x";

code::DataFlowGraph MaxGraph() {
  return *code::DataFlow(code::CodeLanguage::kPython, kMax);
}

// `count` pieces a token, numbered from 10.
TokenPieces PiecesOf(size_t tokens, int count = 1) {
  TokenPieces pieces(tokens);
  int32_t next = 10;
  for (std::vector<int32_t>& of_token : pieces) {
    for (int i = 0; i < count; ++i) of_token.push_back(next++);
  }
  return pieces;
}

GraphInput MaxInput(const GraphInputOptions& options = {}) {
  return *MakeGraphInput(MaxGraph(), PiecesOf(26), options);
}

int64_t Cells(const std::vector<uint8_t>& mask) {
  return std::accumulate(mask.begin(), mask.end(), int64_t{0});
}

MaskOptions AsCoded() {
  MaskOptions options;
  options.self_attention = SelfAttention::kAsCoded;
  return options;
}

TEST(GraphInputTest, PaperExample) {
  const GraphInput input = MaxInput();
  EXPECT_EQ(input.num_text, 28);
  EXPECT_EQ(input.length(), 39);
  EXPECT_THAT(input.special, ElementsAre(0, 27));
  EXPECT_EQ(input.ids[0], 0);
  EXPECT_EQ(input.ids[1], 10);
  EXPECT_EQ(input.ids[27], 2);
  EXPECT_EQ(input.positions[0], 2);
  EXPECT_EQ(input.positions[27], 29);
  for (int64_t i = input.num_text; i < input.length(); ++i) {
    EXPECT_EQ(input.ids[i], 3);
    EXPECT_EQ(input.positions[i], 0);
  }
  // a3, b5, x8, 0@10, b12, a14, x16, b18, x21, a23, x25
  EXPECT_THAT(input.edges, ElementsAre(Pair(2, 3), Pair(4, 1), Pair(5, 0),
                                       Pair(6, 7), Pair(7, 1), Pair(8, 9),
                                       Pair(9, 0), Pair(10, 6), Pair(10, 8)));
  EXPECT_EQ(input.nodes[0].begin, 4);  // behind [CLS] and three tokens
  EXPECT_EQ(input.nodes[0].end, 5);
}

// 28^2 of text, [CLS] and [SEP] to 11 nodes, 11 nodes and their pieces both
// ways, 9 edges; 11 more where a node may attend to itself.
TEST(AttentionMaskTest, PaperExample) {
  const GraphInput input = MaxInput();
  EXPECT_EQ(Cells(AttentionMask(input, AsCoded())), 784 + 22 + 22 + 9);
  EXPECT_EQ(Cells(AttentionMask(input, {})), 784 + 22 + 22 + 9 + 11);
  const std::vector<uint8_t> mask = AttentionMask(input, AsCoded());
  const auto at = [&](int64_t i, int64_t j) { return mask[i * 39 + j]; };
  EXPECT_EQ(at(28 + 2, 28 + 3), 1);  // x8 comes from 0
  EXPECT_EQ(at(28 + 3, 28 + 2), 0);  // and not the other way
  EXPECT_EQ(at(28, 4), 1);
  EXPECT_EQ(at(4, 28), 1);
  EXPECT_EQ(at(28, 5), 0);
  EXPECT_EQ(at(5, 28), 0);
  EXPECT_EQ(at(28, 0), 0);  // a node does not attend to [CLS]
  EXPECT_EQ(at(0, 28), 1);
}

TEST(AttentionMaskTest, HidesLinksOfNodes) {
  const GraphInput input = MaxInput();
  MaskOptions options = AsCoded();
  options.hidden_edges.assign(11, false);
  options.hidden_edges[1] = true;  // b5: two edges lead to it
  EXPECT_EQ(Cells(AttentionMask(input, options)), 837 - 2);
  options = AsCoded();
  options.hidden_alignment.assign(11, true);
  EXPECT_EQ(Cells(AttentionMask(input, options)), 837 - 22);
}

// A token that is computed from itself may see itself in the released code.
TEST(AttentionMaskTest, IncrementSeesItself) {
  const auto graph = code::DataFlow(
      code::CodeLanguage::kJava,
      "public int f(int a,int b){int x=0;for(int i=0;i<a;i++){x+=b;}"
      "return x;}");
  const GraphInput input =
      *MakeGraphInput(*graph, PiecesOf(graph->tokens.size()), {});
  const std::vector<uint8_t> mask = AttentionMask(input, AsCoded());
  int64_t diagonal = 0;
  for (int64_t i = input.num_text; i < input.length(); ++i) {
    diagonal += mask[i * input.length() + i];
  }
  EXPECT_EQ(diagonal, 1);  // i++
}

// 10 + 3 positions for 26 tokens and 11 nodes: 3 places are kept for nodes, the
// text has 8 pieces, [CLS] and [SEP].
TEST(GraphInputTest, CutsTextAndNodes) {
  GraphInputOptions options;
  options.code_length = 10;
  options.data_flow_length = 3;
  const GraphInput input = MaxInput(options);
  EXPECT_EQ(input.num_text, 10);
  EXPECT_EQ(input.length(), 13);
  EXPECT_EQ(input.nodes[0].begin, 4);  // a3
  EXPECT_EQ(input.nodes[1].begin, 6);  // b5
  EXPECT_EQ(input.nodes[2].end, 0);    // x8 is the ninth token: cut off
  EXPECT_THAT(input.edges, IsEmpty());
  // Nothing but [CLS] and [SEP] sees it, and as coded it sees nothing.
  const std::vector<uint8_t> mask = AttentionMask(input, AsCoded());
  EXPECT_EQ(Cells(mask), 100 + 6 + 4);
}

// Unused places of nodes go to the text.
TEST(GraphInputTest, TextTakesUnusedPlaces) {
  code::DataFlowGraph graph;
  graph.tokens.assign(50, "t");
  GraphInputOptions options;
  options.code_length = 10;
  options.data_flow_length = 20;
  EXPECT_EQ(MakeGraphInput(graph, PiecesOf(50), options)->num_text, 30);
}

// A token of which only a part is kept counts as cut off.
TEST(GraphInputTest, PartlyKeptTokens) {
  code::DataFlowGraph graph;
  graph.tokens = {"x", "=", "y"};
  graph.edges = {{"x", 0, code::DataFlowRelation::kComputedFrom, {"y"}, {2}},
                 {"y", 2, code::DataFlowRelation::kComesFrom, {}, {}}};
  GraphInputOptions options;
  options.code_length = 7;
  options.data_flow_length = 2;
  // 5 of 6 pieces remain: of y only the first.
  const GraphInput input = *MakeGraphInput(graph, PiecesOf(3, 2), options);
  EXPECT_EQ(input.num_text, 7);
  EXPECT_EQ(input.nodes[0].begin, 1);
  EXPECT_EQ(input.nodes[0].end, 3);
  EXPECT_EQ(input.nodes[1].end, 0);
  EXPECT_THAT(input.edges, ElementsAre(Pair(0, 1)));
}

TEST(GraphInputTest, CommentComesFirst) {
  const GraphInput input =
      *MakeGraphInput(MaxGraph(), PiecesOf(26), {}, {7, 8, 9});
  EXPECT_THAT(input.special, ElementsAre(0, 4, 31));
  EXPECT_EQ(input.code_begin, 5);
  EXPECT_EQ(input.num_text, 32);
  EXPECT_EQ(input.nodes[0].begin, 8);
  // A comment alone can fill the text; nodes are then without code.
  GraphInputOptions options;
  options.code_length = 6;
  options.data_flow_length = 1;
  const GraphInput full = *MakeGraphInput(MaxGraph(), PiecesOf(26), options,
                                          std::vector<int32_t>(100, 7));
  EXPECT_EQ(full.num_text, 6);
  EXPECT_EQ(full.code_begin, full.code_end);
}

// Edges lead to the last of several nodes of one token; repeated ones are one.
TEST(GraphInputTest, SeveralNodesOfOneToken) {
  code::DataFlowGraph graph;
  graph.tokens = {"a", "b"};
  graph.edges = {{"a", 0, code::DataFlowRelation::kComesFrom, {}, {}},
                 {"a", 0, code::DataFlowRelation::kComputedFrom, {}, {}},
                 {"b", 1, code::DataFlowRelation::kComesFrom, {"a"}, {0, 0}}};
  EXPECT_THAT(MakeGraphInput(graph, PiecesOf(2), {})->edges,
              ElementsAre(Pair(2, 1)));
}

TEST(GraphInputTest, EmptySource) {
  const GraphInput input = *MakeGraphInput({}, {}, {});
  EXPECT_EQ(input.length(), 2);
  EXPECT_EQ(Cells(AttentionMask(input, {})), 4);
  std::mt19937_64 random(0);
  EXPECT_THAT(SampleEdges(input, .2, random).pairs, IsEmpty());
  EXPECT_THAT(SampleAlignment(input, .2, random).pairs, IsEmpty());
  EXPECT_THAT(ShuffleEdges(input, random).edges, IsEmpty());
}

TEST(GraphInputTest, BadInput) {
  EXPECT_THAT(
      std::string(
          MakeGraphInput(MaxGraph(), PiecesOf(25), {}).status().message()),
      HasSubstr("25 tokens for 26"));
  code::DataFlowGraph graph;
  graph.edges = {{"a", 0, code::DataFlowRelation::kComesFrom, {}, {}}};
  EXPECT_TRUE(absl::IsInvalidArgument(MakeGraphInput(graph, {}, {}).status()));
  GraphInputOptions options;
  options.code_length = 3;
  EXPECT_TRUE(absl::IsInvalidArgument(
      MakeGraphInput(MaxGraph(), PiecesOf(26), options).status()));
}

TEST(SampleEdgesTest, LinkedAndUnlinkedPairsOfTheDrawnNodes) {
  const GraphInput input = MaxInput();
  const std::set<std::pair<int64_t, int64_t>> edges(input.edges.begin(),
                                                    input.edges.end());
  std::mt19937_64 random(1);
  for (int repeat = 0; repeat < 50; ++repeat) {
    const PairSample sample = SampleEdges(input, .2, random);
    EXPECT_EQ(std::count(sample.hidden.begin(), sample.hidden.end(), true), 2);
    int64_t linked = 0;
    std::set<std::pair<int64_t, int64_t>> seen;
    for (const PairSample::Pair& pair : sample.pairs) {
      const int64_t i = pair.first - 28, j = pair.second - 28;
      EXPECT_TRUE(sample.hidden[i] || sample.hidden[j]);
      EXPECT_EQ(edges.count({i, j}), pair.linked);
      EXPECT_TRUE(seen.insert({i, j}).second);
      linked += pair.linked;
    }
    EXPECT_THAT(sample.pairs, SizeIs(2 * linked));
    int64_t incident = 0;
    for (const auto& [i, j] : input.edges) {
      incident += sample.hidden[i] || sample.hidden[j];
    }
    EXPECT_EQ(linked, incident);
    // The mask shows none of them.
    MaskOptions options = AsCoded();
    options.hidden_edges = sample.hidden;
    const std::vector<uint8_t> mask = AttentionMask(input, options);
    for (const PairSample::Pair& pair : sample.pairs) {
      EXPECT_EQ(mask[pair.first * input.length() + pair.second], 0);
    }
  }
}

TEST(SampleAlignmentTest, PiecesOfTheDrawnNodes) {
  const GraphInput input = *MakeGraphInput(MaxGraph(), PiecesOf(26, 3), {});
  std::mt19937_64 random(2);
  const PairSample sample = SampleAlignment(input, .2, random);
  // Two nodes of three pieces, and as many negatives.
  EXPECT_THAT(sample.pairs, SizeIs(12));
  for (const PairSample::Pair& pair : sample.pairs) {
    const GraphInput::Span span = input.nodes[pair.first - input.num_text];
    EXPECT_TRUE(sample.hidden[pair.first - input.num_text]);
    EXPECT_EQ(span.begin <= pair.second && pair.second < span.end, pair.linked);
    EXPECT_GE(pair.second, input.code_begin);
    EXPECT_LT(pair.second, input.code_end);
  }
}

TEST(ControlsTest, ShuffledEdges) {
  const GraphInput input = MaxInput();
  std::mt19937_64 random(3);
  std::vector<int64_t> seen(11 * 11, 0);
  for (int repeat = 0; repeat < 1000; ++repeat) {
    const GraphInput shuffled = ShuffleEdges(input, random);
    ASSERT_THAT(shuffled.edges, SizeIs(9));
    EXPECT_EQ(std::adjacent_find(shuffled.edges.begin(), shuffled.edges.end()),
              shuffled.edges.end());
    for (const auto& [i, j] : shuffled.edges) ++seen[i * 11 + j];
    EXPECT_EQ(shuffled.ids, input.ids);
  }
  // Each of the 110 pairs is drawn 1000 * 9 / 110 = 82 times on average, with
  // a standard deviation of 8.7; a node's pair with itself never.
  for (int64_t i = 0; i < 11; ++i) {
    for (int64_t j = 0; j < 11; ++j) {
      const int64_t count = seen[i * 11 + j];
      if (i == j) {
        EXPECT_EQ(count, 0);
      } else {
        EXPECT_GT(count, 30);
        EXPECT_LT(count, 134);
      }
    }
  }
}

TEST(ControlsTest, WithoutDataFlow) {
  const GraphInput input = WithoutDataFlow(MaxInput());
  EXPECT_EQ(input.length(), 28);
  EXPECT_THAT(AttentionMask(input, {}), Each(1));
}

// Tokens in the middle of a text get the pieces that they have there.
TEST(EncodeTokensTest, PutsASpaceBeforeAllButTheFirst) {
  BpeTrainer trainer;
  trainer.AddWord(" x", 100);
  BpeTrainingOptions options;
  options.special_tokens = {"<s>", "<pad>", "</s>", "<unk>", "<mask>"};
  options.vocab_size = 5 + 256 + 1;
  const auto bpe = trainer.Train(options);
  ASSERT_TRUE(bpe.ok()) << bpe.status();
  const auto tokenizer = ParseTokenizerJson(bpe->ToJson(), "", "test");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const auto pieces = EncodeTokens({"x", "x", "<s>", "\xff"}, **tokenizer);
  ASSERT_TRUE(pieces.ok()) << pieces.status();
  EXPECT_THAT((*pieces)[0], SizeIs(1));
  EXPECT_THAT((*pieces)[1], ElementsAre(261));
  EXPECT_NE((*pieces)[0], (*pieces)[1]);
  EXPECT_GT((*pieces)[2].size(), 1u);  // text, not the special token
  EXPECT_THAT((*pieces)[2], Each(::testing::Ge(5)));
}

TEST(ReadColumnsTest, BadFiles) {
  const auto message = [](absl::string_view content) {
    return std::string(
        ParseColumns(content, "f.tsv", {"a", "b"}).status().message());
  };
  EXPECT_THAT(message(""), HasSubstr("f.tsv: empty"));
  EXPECT_THAT(message("a\tb\n"), HasSubstr("no line below"));
  EXPECT_THAT(message("a\ta\n"), HasSubstr("'a' is named twice"));
  EXPECT_THAT(message("a\tc\nx\ty\n"), HasSubstr("no column 'b'"));
  EXPECT_THAT(message("a\tb\nx\ty\nx\n"), HasSubstr("f.tsv:3: 1 fields"));
  EXPECT_TRUE(
      absl::IsNotFound(ReadColumns("/nowhere/f.tsv.gz", {"a"}).status()));
  const auto columns = ParseColumns("a\tb\nx\ty z\n\t\n", "f.tsv", {"a", "b"});
  ASSERT_TRUE(columns.ok()) << columns.status();
  EXPECT_THAT(columns->at("b"), ElementsAre("y z", ""));
}

// By hand: `a b c d e` for `a b c d f` matches 4, 3, 2, 1 n-grams of 5, 4, 3,
// 2; with one added 5/6 4/5 3/4 2/3, whose product is 1/3. Lengths are equal.
TEST(ScoreGenerationTest, WorkedExample) {
  const auto score = ScoreGeneration({"a b c d f"}, {"a b c d e"});
  ASSERT_TRUE(score.ok()) << score.status();
  EXPECT_NEAR(score->bleu, 100 * std::pow(1. / 3, .25), 1e-10);
  EXPECT_EQ(score->exact_match, 0);
  EXPECT_EQ(ScoreGeneration({" a b "}, {"a b"})->exact_match, 100);
  EXPECT_NEAR(ScoreGeneration({"a b"}, {"a b"})->bleu, 100, 1e-10);
  EXPECT_TRUE(absl::IsInvalidArgument(ScoreGeneration({}, {}).status()));
  EXPECT_TRUE(
      absl::IsInvalidArgument(ScoreGeneration({"a", "b"}, {"a"}).status()));
}

// The two examples above: 11 nodes and 9 edges in 26 tokens.
TEST(MeanDataFlowSizesTest, PaperExample) {
  const auto sizes =
      MeanDataFlowSizes(code::CodeLanguage::kPython, {kMax, "pass"});
  ASSERT_TRUE(sizes.ok()) << sizes.status();
  EXPECT_EQ(sizes->tokens, 13.5);
  EXPECT_EQ(sizes->nodes, 5.5);
  EXPECT_EQ(sizes->edges, 4.5);
  EXPECT_TRUE(absl::IsInvalidArgument(
      MeanDataFlowSizes(code::CodeLanguage::kPython, {}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      MeanDataFlowSizes(code::CodeLanguage::kC, {"int a;"}).status()));
}

}  // namespace
}  // namespace repro::graph_code_bert
