#include "papers/infini_retri/infini_retri.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/lm/attention.h"
#include "common/lm/attention_state.h"
#include "common/lm/config.h"
#include "common/lm/generate.h"
#include "common/lm/model.h"
#include "common/lm/tiny_model.h"
#include "common/tensor/generator.h"
#include "common/tensor/testing.h"
#include "common/testbed/small_recipe.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "papers/infini_retri/cost.h"
#include "papers/infini_retri/heat_maps.h"
#include "papers/infini_retri/needle.h"
#include "papers/infini_retri/question_attention.h"
#include "papers/infini_retri/recall.h"
#include "papers/infini_retri/selection.h"
#include "papers/infini_retri/sentences.h"

namespace repro::infini_retri {
namespace {

using ::testing::DoubleNear;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pointwise;
using ::testing::SizeIs;

// --- Sentences and chunks ---

// Values of split_sentence of infini-retri 0.0.3 (retrieval.py).
TEST(SplitSentencesTest, JoinsNamesAndKeepsSeparators) {
  EXPECT_THAT(*SplitSentences("Mr. Li came. He left!"),
              ElementsAre("Mr. Li came. He left!"));
  EXPECT_THAT(*SplitSentences(
                  "Mr. Li came home. The weather was fine! Why not? Because "
                  "it rained.\n\nNew paragraph here... ok"),
              ElementsAre("Mr.", " Li came home.", " The weather was fine!",
                          " Why not?", " Because it rained.\n\n",
                          "New paragraph here... ok"));
}

TEST(SplitSentencesTest, CountsCodePoints) {
  EXPECT_THAT(*SplitSentences("今天天气很好。我们去公园吧！好吗？"),
              ElementsAre("今天天气很好。", "我们去公园吧！", "好吗？"));
  // Eight characters of three bytes each join a full stop, nine do not.
  EXPECT_THAT(*SplitSentences("No. 今天天气很好啊呀"), SizeIs(1));
  EXPECT_THAT(*SplitSentences("No. 今天天气很好啊呀呢"), SizeIs(2));
  EXPECT_THAT(*SplitSentences("No. 今天天气很好啊呀呢", kJoinedByChunks),
              SizeIs(1));
}

TEST(SplitSentencesTest, LosesNothing) {
  for (const char* text :
       {"One. Two words here! \n\n\n\nThree more of them", "...", "\n\n.a",
        "  Leading blanks stay here. And trailing ones \n", "no end",
        "a\n\n\nb. longer than eight", "Ünïcödé？ 。！"}) {
    EXPECT_EQ(absl::StrJoin(*SplitSentences(text), ""), text) << text;
  }
}

TEST(SplitSentencesTest, BlankTextHasNone) {
  EXPECT_THAT(*SplitSentences(""), IsEmpty());
  EXPECT_THAT(*SplitSentences(" \n\n \t"), IsEmpty());
}

TEST(SplitSentencesTest, RefusesWhatIsNotUtf8) {
  const auto sentences = SplitSentences("abc\xff.");
  EXPECT_TRUE(absl::IsInvalidArgument(sentences.status()));
  EXPECT_THAT(sentences.status().message(), HasSubstr("byte 3"));
}

// A token a byte.
TEST(SplitChunksTest, PacksWholeSentences) {
  const auto tokenizer = lm::TinyTokenizer();
  const std::string text = "aaaaaaaaaaaa!bbbbbbbbbbbb!cccccccccccc!";
  // 13 each, and one for the separator between two: 27.
  EXPECT_THAT(*SplitChunks(text, *tokenizer, 27),
              ElementsAre("aaaaaaaaaaaa!bbbbbbbbbbbb!", "cccccccccccc!"));
  EXPECT_THAT(*SplitChunks(text, *tokenizer, 26), SizeIs(3));
  EXPECT_THAT(*SplitChunks(text, *tokenizer, 41), SizeIs(1));
}

TEST(SplitChunksTest, CutsLongSentencesAtSpacesAndLongWordsAnywhere) {
  const auto tokenizer = lm::TinyTokenizer();
  EXPECT_THAT(*SplitChunks("short one!one two three four five! end it now",
                           *tokenizer, 10),
              ElementsAre("short one!", "one two", " three", " four", " five!",
                          " end it", " now"));
  const std::string word = "今今今今今 yes";
  const auto chunks = SplitChunks(word, *tokenizer, 7);
  EXPECT_THAT(*chunks, ElementsAre("今今", "今今", "今", " yes"));
  for (const int64_t size : {1, 3, 5, 100}) {
    const std::string text = "A sentence. Another sentence of words! x";
    EXPECT_EQ(absl::StrJoin(*SplitChunks(text, *tokenizer, size), ""), text);
  }
}

TEST(SplitChunksTest, RefusesSizesThatCannotBe) {
  const auto tokenizer = lm::TinyTokenizer();
  EXPECT_TRUE(
      absl::IsInvalidArgument(SplitChunks("a", *tokenizer, 0).status()));
  EXPECT_THAT(SplitChunks("今", *tokenizer, 2).status().message(),
              HasSubstr("3 tokens of the character"));
}

// --- Selection ---

std::vector<double> Impulse(int64_t size, int64_t at) {
  std::vector<double> x(size);
  x[at] = 1;
  return x;
}

std::vector<double> Ones(int64_t size, int64_t first, int64_t last) {
  std::vector<double> x(size);
  for (int64_t i = first; i <= last; ++i) x[i] = 1;
  return x;
}

// As scipy.signal.convolve2d(x, ones, mode="same") gives them.
TEST(PhraseSumsTest, EvenWidthsLookFurtherLeft) {
  EXPECT_EQ(PhraseSums(Impulse(12, 5), 8), Ones(12, 2, 9));
  EXPECT_EQ(PhraseSums(Impulse(12, 5), 3), Ones(12, 4, 6));
  EXPECT_EQ(PhraseSums(Impulse(12, 5), 4), Ones(12, 4, 7));
  EXPECT_EQ(PhraseSums(Impulse(12, 5), 1), Impulse(12, 5));
  // Zeros around; a width beyond the text.
  EXPECT_THAT(PhraseSums({1, 2, 4}, 2), ElementsAre(1, 3, 6));
  EXPECT_THAT(PhraseSums({1, 2, 4}, 100), ElementsAre(7, 7, 7));
  EXPECT_THAT(PhraseSums({}, 8), IsEmpty());
  EXPECT_THROW(PhraseSums({1}, 0), c10::Error);
}

TEST(SelectionTest, ConvolutionRejectsAnIsolatedSpike) {
  const std::vector<double> scores = {.07, .03, .02, .22, .03,
                                      .02, .12, .13, .14, .11};
  const std::vector<int64_t> lengths = {3, 3, 4};
  EXPECT_THAT(TopPositions(scores, 2), ElementsAre(3, 8));
  EXPECT_THAT(SentencesAt(TopPositions(scores, 2), lengths), ElementsAre(1, 2));
  const std::vector<double> sums = PhraseSums(scores, 3);
  EXPECT_THAT(sums,
              Pointwise(::testing::DoubleNear(1e-12),
                        {.10, .12, .27, .27, .27, .17, .27, .39, .38, .25}));
  EXPECT_THAT(TopPositions(sums, 2), ElementsAre(7, 8));
  EXPECT_THAT(SentencesAt(TopPositions(sums, 2), lengths), ElementsAre(2));
}

TEST(SelectionTest, TiesTakeTheFirstAndLargeKTakesAll) {
  EXPECT_THAT(TopPositions({1, 2, 2, 1, 2}, 2), ElementsAre(1, 2));
  EXPECT_THAT(TopPositions({3, 1}, 300), ElementsAre(0, 1));
  EXPECT_THAT(TopPositions({3, 1}, 0), IsEmpty());
  EXPECT_THROW(TopPositions({1, NAN}, 1), c10::Error);
}

TEST(SelectionTest, SentencesWithoutTokensAreNeverKept) {
  EXPECT_THAT(SentencesAt({0, 1, 4}, {0, 2, 0, 2, 1, 0}), ElementsAre(1, 4));
  EXPECT_THROW(SentencesAt({5}, {2, 3}), c10::Error);
}

TEST(SelectionTest, WeightsAreSquared) {
  // Two rows, five tokens, of which the last two are the rows themselves.
  const at::Tensor attention = at::tensor({0.1, 0.2, 0.3, 0.4, 0.0,  //
                                           0.5, 0.1, 0.1, 0.1, 0.2},
                                          at::kDouble)
                                   .view({2, 5});
  const std::vector<double> weights = QuestionWeights(attention);
  EXPECT_THAT(weights,
              Pointwise(::testing::DoubleNear(1e-15), {0.4, 0.1 + 0.2}));
  EXPECT_THAT(TokenScores(attention, weights, 1, 2, 1),
              Pointwise(::testing::DoubleNear(1e-15),
                        {0.16 * 0.2 + 0.09 * 0.1, 0.16 * 0.3 + 0.09 * 0.1}));
  // The convolution does not see what is outside of the context.
  const double sum = 0.16 * 0.5 + 0.09 * 0.2;
  EXPECT_THAT(TokenScores(attention, weights, 1, 2, 3),
              Each(DoubleNear(sum, 1e-15)));
  EXPECT_THROW(TokenScores(attention, weights, 4, 2, 1), c10::Error);
  EXPECT_THROW(TokenScores(attention, {1}, 0, 2, 1), c10::Error);
}

// --- Attention of the question ---

lm::ModelConfig SmallConfig(int64_t max_positions) {
  lm::ModelConfig config;
  config.vocab_size = 50;
  config.hidden_size = 48;
  config.intermediate_size = 32;
  config.num_layers = 3;
  config.num_heads = 6;
  config.num_kv_heads = 2;
  config.head_dim = 16;  // as fused attention takes it
  config.rope_theta = 100;
  config.max_positions = max_positions;
  return config;
}

// Weights large enough that attention is not uniform; the same in each dtype.
std::unique_ptr<lm::LanguageModel> SmallModel(int64_t max_positions,
                                              at::ScalarType dtype) {
  const lm::ModelConfig config = SmallConfig(max_positions);
  lm::ModelWeights weights =
      lm::RandomModel(config, MakeGenerator(7), at::kCPU, at::kFloat)
          ->weights();
  const auto convert = [dtype](at::Tensor& x, double factor = 1) {
    x = x.mul(factor).to(dtype);
  };
  convert(weights.embedding);
  convert(weights.final_norm);
  convert(weights.head.dense);
  for (lm::LayerWeights& layer : weights.layers) {
    convert(layer.attention_norm);
    convert(layer.qkv.dense, 30);
    convert(layer.output.dense, 10);
    convert(layer.ffn_norm);
    convert(layer.gate_up.dense);
    convert(layer.down.dense);
  }
  return std::make_unique<lm::LanguageModel>(config, std::move(weights));
}

std::vector<int32_t> SomeTokens(int64_t count, int64_t factor = 7) {
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < count; ++i) {
    tokens.push_back(static_cast<int32_t>((i * i * factor + 3) % 50));
  }
  return tokens;
}

// Keeps the unrotated queries and keys of each layer.
class Capture : public lm::AttentionState {
 public:
  at::Tensor Attend(const lm::AttentionInput& input) override {
    q.push_back(input.q.to(at::kDouble).contiguous());
    k.push_back(input.k.to(at::kDouble).contiguous());
    return lm::DenseAttention(input.rope->Apply(input.q, 0),
                              input.rope->Apply(input.k, 0), input.v);
  }
  int64_t Bytes() const override { return 0; }

  std::vector<at::Tensor> q, k;
};

// x turned to its position by the definition: pairs (i, i + dim / 2), angles
// position * theta^(-2 i / dim).
std::vector<double> Rotated(const at::Tensor& x, int64_t position,
                            double theta) {
  const double* in = x.const_data_ptr<double>();
  const int64_t dim = x.numel();
  std::vector<double> out(dim);
  for (int64_t i = 0; i < dim / 2; ++i) {
    const double angle = static_cast<double>(position) *
                         std::pow(theta, -2.0 * static_cast<double>(i) /
                                             static_cast<double>(dim));
    out[i] = in[i] * std::cos(angle) - in[i + dim / 2] * std::sin(angle);
    out[i + dim / 2] =
        in[i] * std::sin(angle) + in[i + dim / 2] * std::cos(angle);
  }
  return out;
}

// Softmax by plain loops in float64, summed over heads.
at::Tensor ByLoops(const at::Tensor& q, const at::Tensor& k, int64_t rows,
                   double theta) {
  const int64_t heads = q.size(0), tokens = q.size(1), dim = q.size(2);
  const int64_t group = heads / k.size(0);
  at::Tensor out = at::zeros({rows, tokens}, at::kDouble);
  auto sums = out.accessor<double, 2>();
  for (int64_t h = 0; h < heads; ++h) {
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t i = tokens - rows + r;
      const std::vector<double> query = Rotated(q[h][i], i, theta);
      std::vector<double> p;
      double sum = 0;
      for (int64_t j = 0; j <= i; ++j) {
        const std::vector<double> key = Rotated(k[h / group][j], j, theta);
        double dot = 0;
        for (int64_t d = 0; d < dim; ++d) dot += query[d] * key[d];
        p.push_back(std::exp(dot / std::sqrt(dim)));
        sum += p.back();
      }
      for (int64_t j = 0; j <= i; ++j) sums[r][j] += p[j] / sum;
    }
  }
  return out;
}

TEST(QuestionAttentionTest, IsSoftmaxInFloat64OfEachLayer) {
  const at::NoGradGuard no_grad;
  const auto model = SmallModel(64, at::kDouble);
  const std::vector<int32_t> tokens = SomeTokens(23);
  Capture capture;
  model->Hidden({{at::tensor(std::vector<int64_t>(tokens.begin(), tokens.end()),
                             at::kLong),
                  &capture}});
  for (int64_t layer = 0; layer < 3; ++layer) {
    for (const int64_t rows : {1, 5, 23}) {
      const at::Tensor expected =
          ByLoops(capture.q[layer], capture.k[layer], rows, 100);
      const at::Tensor got = QuestionAttention(*model, tokens, rows, layer);
      EXPECT_EQ(got.scalar_type(), at::kDouble);
      // The model's angles are in float32.
      EXPECT_THAT(got, IsCloseTo(expected, 1e-4, 1e-5));
      if (layer == 2) {
        EXPECT_THAT(QuestionAttention(*model, tokens, rows),
                    IsIdenticalTo(got));
      }
    }
  }
  // Each head's row is a distribution.
  EXPECT_THAT(QuestionAttention(*model, tokens, 5).sum(1),
              IsCloseTo(at::tensor({6., 6., 6., 6., 6.}), 1e-9, 0));
}

TEST(QuestionAttentionTest, SeesEarlierLayersThroughFusedAttention) {
  const std::vector<int32_t> tokens = SomeTokens(40);
  EXPECT_THAT(
      QuestionAttention(*SmallModel(64, at::kFloat), tokens, 6),
      IsCloseTo(QuestionAttention(*SmallModel(64, at::kDouble), tokens, 6),
                5e-3, 1e-4));
}

TEST(QuestionAttentionTest, RefusesRowsAndLayersThatAreNotThere) {
  const auto model = SmallModel(64, at::kFloat);
  EXPECT_THROW(QuestionAttention(*model, SomeTokens(4), 5), c10::Error);
  EXPECT_THROW(QuestionAttention(*model, SomeTokens(4), 0), c10::Error);
  EXPECT_THROW(QuestionAttention(*model, SomeTokens(4), 1, 3), c10::Error);
  EXPECT_THROW(SummedAttention(at::zeros({3, 2, 8}), at::zeros({2, 4, 8})),
               c10::Error);
}

// --- Retriever ---

std::vector<TokenSentence> SomeSentences(int64_t count, int64_t factor) {
  std::vector<TokenSentence> sentences;
  for (int64_t i = 0; i < count; ++i) {
    sentences.push_back(SomeTokens(1 + i % 4, factor + i));
  }
  return sentences;
}

// The scores by loops over the definition: s_j = sum_i u_i^2 sum_t A[i, j + t].
std::vector<int64_t> SelectByLoops(const at::Tensor& attention, int64_t begin,
                                   const std::vector<TokenSentence>& context,
                                   const std::vector<double>& u, int64_t k,
                                   int64_t left, int64_t right) {
  const at::Tensor values = attention.to(at::kDouble);
  const auto a = values.accessor<double, 2>();
  std::vector<int64_t> sentence_of;
  for (size_t s = 0; s < context.size(); ++s) {
    sentence_of.insert(sentence_of.end(), context[s].size(),
                       static_cast<int64_t>(s));
  }
  const auto count = static_cast<int64_t>(sentence_of.size());
  std::vector<std::pair<double, int64_t>> scores;
  for (int64_t j = 0; j < count; ++j) {
    double score = 0;
    for (size_t i = 0; i < u.size(); ++i) {
      for (int64_t t = -left; t <= right; ++t) {
        if (j + t < 0 || j + t >= count) continue;
        score += u[i] * u[i] * a[i][begin + j + t];
      }
    }
    scores.emplace_back(-score, j);
  }
  std::sort(scores.begin(), scores.end());
  std::vector<int64_t> kept;
  for (int64_t i = 0; i < std::min(k, count); ++i) {
    kept.push_back(sentence_of[scores[i].second]);
  }
  std::sort(kept.begin(), kept.end());
  kept.erase(std::unique(kept.begin(), kept.end()), kept.end());
  return kept;
}

TEST(RetrieverTest, SelectsByDefinitionWithTheFirstContextsWeights) {
  const auto model = SmallModel(128, at::kFloat);
  const PromptFrame frame = {SomeTokens(3), SomeTokens(2, 11),
                             SomeTokens(5, 13)};
  RetrieverOptions options;
  options.top_k = 4;
  Retriever retriever(model.get(), frame, options);
  std::vector<double> first_weights;
  for (const int64_t round : {0, 1}) {
    const auto context = SomeSentences(15, 3 + 2 * round);
    const auto kept = retriever.Select(context);
    ASSERT_TRUE(kept.ok()) << kept.status();
    const at::Tensor attention =
        QuestionAttention(*model, retriever.Prompt(context), 5);
    if (round == 0) {
      const at::Tensor u =
          attention.narrow(1, attention.size(1) - 5, 5).to(at::kDouble).sum(1);
      first_weights.assign(u.const_data_ptr<double>(),
                           u.const_data_ptr<double>() + 5);
    }
    EXPECT_THAT(retriever.question_weights(),
                Pointwise(::testing::DoubleNear(1e-12), first_weights));
    EXPECT_EQ(*kept,
              SelectByLoops(attention, 3, context, first_weights, 4, 4, 3));
  }
}

TEST(RetrieverTest, KeepsAllOfAShortContextAndPutsThePromptTogether) {
  const auto model = SmallModel(128, at::kFloat);
  Retriever retriever(model.get(), {{1, 2}, {3}, {4, 5}}, {});
  EXPECT_THAT(*retriever.Select({{6}, {7, 8}, {9}}), ElementsAre(0, 1, 2));
  EXPECT_THAT(retriever.Prompt({{6}, {7, 8}}),
              ElementsAre(1, 2, 6, 7, 8, 3, 4, 5));
}

TEST(RetrieverTest, OneWeightForAllRows) {
  const auto model = SmallModel(128, at::kFloat);
  RetrieverOptions options;
  options.use_question_weights = false;
  Retriever retriever(model.get(), {{}, {}, {4, 5}}, options);
  ASSERT_TRUE(retriever.Select({{6}, {7, 8}}).ok());
  EXPECT_THAT(retriever.question_weights(), ElementsAre(1, 1));
}

TEST(RetrieverTest, RefusesWhatCannotBe) {
  const auto model = SmallModel(32, at::kFloat);
  const auto error = [&](PromptFrame frame, RetrieverOptions options,
                         const std::vector<TokenSentence>& context) {
    return Retriever(model.get(), std::move(frame), options)
        .Select(context)
        .status();
  };
  const PromptFrame frame = {{}, {}, {1}};
  EXPECT_TRUE(absl::IsInvalidArgument(error(frame, {}, {})));
  EXPECT_TRUE(absl::IsInvalidArgument(error(frame, {}, {{}, {}})));
  EXPECT_TRUE(absl::IsInvalidArgument(error({{}, {}, {}}, {}, {{1}})));
  EXPECT_TRUE(absl::IsInvalidArgument(error(frame, {/*top_k=*/0}, {{1}})));
  EXPECT_TRUE(absl::IsInvalidArgument(
      error(frame, {/*top_k=*/1, /*phrase_width=*/0}, {{1}})));
  RetrieverOptions no_layer;
  no_layer.layer = 3;
  EXPECT_TRUE(absl::IsInvalidArgument(error(frame, no_layer, {{1}})));
  EXPECT_FALSE(error(frame, {}, {{1000}}).ok());  // no such token
  EXPECT_TRUE(error(frame, {}, {SomeTokens(31)}).ok());
  const absl::Status too_long = error(frame, {}, {SomeTokens(32)});
  EXPECT_TRUE(absl::IsInvalidArgument(too_long));
  EXPECT_THAT(too_long.message(),
              HasSubstr("make chunk_size or top_k smaller"));
}

// A context whose best token is in another sentence by the first layer than by
// the others.
TEST(BestLayerTest, RanksAnswersByTheirBestToken) {
  const auto model = SmallModel(128, at::kFloat);
  RetrieverOptions options;
  options.top_k = 1;
  options.phrase_width = 1;
  std::vector<LayerProbe> probes;
  for (int64_t factor = 3; probes.empty() && factor < 60; ++factor) {
    const PromptFrame frame = {{1}, {}, SomeTokens(3, factor)};
    const auto context = SomeSentences(12, factor);
    std::vector<int64_t> first_of;  // the only sentence kept by each layer
    for (options.layer = 0; options.layer < 3; ++options.layer) {
      first_of.push_back(
          Retriever(model.get(), frame, options).Select(context)->at(0));
    }
    if (first_of[0] == first_of[1] || first_of[0] == first_of[2]) continue;
    probes.push_back({frame, context, first_of[0]});
  }
  ASSERT_THAT(probes, SizeIs(1));
  EXPECT_EQ(*BestLayer(*model, probes, options), 0);
  // One sentence alone ranks first by each: the last layer.
  EXPECT_EQ(*BestLayer(*model, {{{{}, {}, {1}}, {{2, 3}}, 0}}, options), 2);
  EXPECT_FALSE(BestLayer(*model, {}, options).ok());
  probes[0].answer = 12;
  EXPECT_FALSE(BestLayer(*model, probes, options).ok());
}

// --- Text ---

// No sampling; few tokens.
Options TinyOptions(int64_t chunk_size) {
  Options options;
  options.chunk_size = chunk_size;
  options.prompt = "Read.\n\n{context}\n\nQ: {question}\n\nA:";
  options.max_new_tokens = 4;
  options.sampling = {};
  return options;
}

TEST(InfiniRetriTest, ShortTextIsThePlainPrompt) {
  const auto model = lm::TinyModel(512);
  const auto tokenizer = lm::TinyTokenizer();
  const std::string text = "One sentence is here. Another one is there! Ok?";
  const Options options = TinyOptions(100);
  const auto answer = Ask(*model, *tokenizer, text, "What?", options);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->retrieved.memory, text);
  EXPECT_EQ(answer->retrieved.chunks, 1);
  EXPECT_EQ(answer->retrieved.text_tokens, text.size());
  const auto plain = lm::EncodeChat(
      *tokenizer,
      {{"system", ""},
       {"user", absl::StrCat("Read.\n\n", text, "\n\nQ: What?\n\nA:")}});
  EXPECT_EQ(answer->prompt_tokens, plain->size());
  const auto frame = MakeFrame(*tokenizer, options.prompt, "What?");
  EXPECT_EQ(
      Retriever(model.get(), *frame, {}).Prompt({*tokenizer->Encode(text)}),
      *plain);
}

// A byte a token, so that lengths are known.
TEST(InfiniRetriTest, MemoryIsSentencesOfTheTextInOrder) {
  const auto model = lm::TinyModel(400);
  const auto tokenizer = lm::TinyTokenizer();
  std::string text;
  std::vector<std::string> sentences;
  for (int i = 0; i < 40; ++i) {
    sentences.push_back(absl::StrCat("Sentence number ", 100 + i, " is this!"));
    text += sentences.back();
  }
  Options options = TinyOptions(100);
  options.retriever.top_k = 6;
  options.retriever.phrase_width = 2;
  int64_t calls = 0;
  const auto check = [&](int64_t chunk, int64_t chunks,
                         absl::string_view memory) {
    EXPECT_EQ(chunk, ++calls);
    EXPECT_EQ(chunks, 14);  // three sentences of 28 and separators each
    const auto parts = *SplitSentences(memory);
    EXPECT_LE(parts.size(), 6);
    size_t at = 0;
    for (const std::string& part : parts) {
      while (at < sentences.size() && sentences[at] != part) ++at;
      EXPECT_LT(at, sentences.size()) << part;
      EXPECT_LT(at, 3 * chunk);  // of what was read
    }
    return true;
  };
  const auto retrieved =
      Retrieve(*model, *tokenizer, text, "Which?", options, check);
  ASSERT_TRUE(retrieved.ok()) << retrieved.status();
  EXPECT_EQ(calls, 14);
  EXPECT_EQ(retrieved->text_tokens, text.size());
  EXPECT_LE(retrieved->longest_prompt, 400);
  EXPECT_TRUE(absl::IsCancelled(
      Retrieve(*model, *tokenizer, text, "Which?", options,
               [](int64_t, int64_t, absl::string_view) { return false; })
          .status()));
}

TEST(InfiniRetriTest, AsksTheEndOfTheTextWithoutAQuestion) {
  const auto model = lm::TinyModel(2048);
  const auto tokenizer = lm::TinyTokenizer();
  const std::string text = std::string(600, 'a') + ". The end.";
  const Options options = TinyOptions(700);
  const auto without = Ask(*model, *tokenizer, text, "", options);
  ASSERT_TRUE(without.ok()) << without.status();
  const auto with =
      Ask(*model, *tokenizer, text, text.substr(text.size() - 512), options);
  EXPECT_EQ(without->prompt_tokens, with->prompt_tokens);
  EXPECT_EQ(without->text, with->text);
}

TEST(InfiniRetriTest, TextCannotWriteSpecialTokens) {
  const auto tokenizer = lm::TinyTokenizer();
  const auto frame =
      MakeFrame(*tokenizer, "{context} {question}", "<|im_end|>");
  ASSERT_TRUE(frame.ok());
  EXPECT_EQ(frame->before.front(), lm::kTinyStart);
  // The question is its bytes; the turn ends once, after it.
  EXPECT_THAT(std::vector<int32_t>(frame->question.begin(),
                                   frame->question.begin() + 10),
              Each(::testing::Lt(256)));
  EXPECT_EQ(frame->question[10], lm::kTinyEnd);
}

TEST(InfiniRetriTest, RefusesBadInput) {
  const auto model = lm::TinyModel(200);
  const auto tokenizer = lm::TinyTokenizer();
  const auto error = [&](const std::string& text, const std::string& question,
                         const Options& options) {
    return Ask(*model, *tokenizer, text, question, options).status();
  };
  const Options options = TinyOptions(50);
  EXPECT_TRUE(error("A text.", "Q", options).ok());
  EXPECT_THAT(error("", "Q", options).message(), HasSubstr("blank"));
  EXPECT_THAT(error(" \n\n ", "Q", options).message(), HasSubstr("blank"));
  EXPECT_THAT(error("a\xc3", "Q", options).message(), HasSubstr("UTF-8"));
  EXPECT_TRUE(absl::IsInvalidArgument(error("A text.", "\xc3", options)));
  EXPECT_TRUE(absl::IsInvalidArgument(error("A text.", "Q", TinyOptions(0))));
  for (const char* prompt :
       {"", "{context}", "{question}", "{question} {context}",
        "{context} {context} {question}"}) {
    Options wrong = options;
    wrong.prompt = prompt;
    EXPECT_THAT(error("A text.", "Q", wrong).message(),
                HasSubstr("must hold {context}"))
        << prompt;
  }
  // One sentence of 300 bytes: six chunks. With all of them kept the prompt
  // outgrows the context.
  EXPECT_THAT(error(std::string(300, 'a'), "Q", options).message(),
              HasSubstr("the model's context is 200"));
}

// One sentence is as long as several chunks: its parts are read one by one.
TEST(InfiniRetriTest, ReadsASentenceLongerThanAChunk) {
  const auto model = lm::TinyModel(1024);
  const auto tokenizer = lm::TinyTokenizer();
  const auto retrieved =
      Retrieve(*model, *tokenizer, std::string(300, 'a'), "Q", TinyOptions(50));
  ASSERT_TRUE(retrieved.ok()) << retrieved.status();
  EXPECT_EQ(retrieved->chunks, 6);
  EXPECT_EQ(retrieved->memory, std::string(300, 'a'));
}

TEST(InfiniRetriTest, PublishedDefaults) {
  EXPECT_EQ(Options().sampling.temperature, 0.5);
  EXPECT_EQ(Options::Pipeline().sampling.temperature, 0.1);
  EXPECT_THAT(Options().prompt, HasSubstr("Be very concise"));
}

// --- What the experiments measure ---

std::string WriteTemporary(const std::string& name, const std::string& text) {
  const std::string path = testing::TempDir() + name;
  std::ofstream(path) << text;
  return path;
}

constexpr char kHeader[] =
    "model,method,context_length,depth_percent,matched_words_of_11\n";

TEST(HeatMapsTest, Statistics) {
  const auto maps = ReadHeatMaps(WriteTemporary(
      "cells.csv", absl::StrCat(kHeader,
                                "m,a,1,0,11\nm,a,1,50,0\nm,a,2,0,11\n"
                                "m,b,1,0,3\n")));
  ASSERT_TRUE(maps.ok()) << maps.status();
  const auto& cells = maps->at({"m", "a"});
  EXPECT_DOUBLE_EQ(*HeatMapStatistic(cells, "map_score"), 2.0 / 3);
  EXPECT_EQ(*HeatMapStatistic(cells, "matched"), 22);
  EXPECT_EQ(*HeatMapStatistic(cells, "perfect"), 2);
  EXPECT_EQ(*HeatMapStatistic(cells, "up_to", 1), 0.5);
  EXPECT_EQ(*HeatMapStatistic(cells, "beyond", 1), 1);
  EXPECT_FALSE(HeatMapStatistic(cells, "beyond", 2).ok());
  EXPECT_FALSE(HeatMapStatistic(cells, "median").ok());
}

TEST(HeatMapsTest, RefusesDamagedFiles) {
  for (const char* rows :
       {"m,a,0,0,1\n", "m,a,1,101,1\n", "m,a,1,0,12\n", "m,a,1,0,-1\n",
        "m,a,1,0,x\n", "m,a,1,0,1\nm,a,1,0,2\n"}) {
    EXPECT_THAT(
        ReadHeatMaps(WriteTemporary("damaged.csv", absl::StrCat(kHeader, rows)))
            .status()
            .message(),
        HasSubstr("damaged.csv:"))
        << rows;
  }
}

TEST(NeedleTest, MatchedWordsAsTheScriptCountsThem) {
  // 12 words of which "a" is there twice.
  EXPECT_EQ(*MatchedWords(kNeedleAnswer, kNeedleAnswer), 1);
  EXPECT_DOUBLE_EQ(
      *MatchedWords("EAT a sandwich on a sunny day", kNeedleAnswer),
      5.0 / 11);  // "day" is not "day."
  EXPECT_EQ(*MatchedWords("", kNeedleAnswer), 0);
  EXPECT_FALSE(MatchedWords("x", " ").ok());
}

TEST(NeedleTest, TextHasItsLengthAndTheNeedleAtItsDepth) {
  const auto tokenizer = lm::TinyTokenizer();
  const std::vector<std::string> essays = {
      "The first essay says this. It says no more!",
      "A second essay is shorter than that one was."};
  for (const double depth : {0.0, 0.5, 1.0}) {
    const auto text =
        MakeNeedleText(essays, *tokenizer, kNeedle, 1000, depth, 3);
    ASSERT_TRUE(text.ok()) << text.status();
    EXPECT_LE(text->size(), 1000);
    EXPECT_GT(text->size(), 900);
    EXPECT_NEAR(static_cast<double>(text->find(kNeedle)) / 900, depth, 0.1);
    EXPECT_EQ(*MakeNeedleText(essays, *tokenizer, kNeedle, 1000, depth, 3),
              *text);
  }
  EXPECT_FALSE(MakeNeedleText(essays, *tokenizer, kNeedle, 20, 0, 1).ok());
  EXPECT_FALSE(MakeNeedleText(essays, *tokenizer, kNeedle, 1000, 1.5, 1).ok());
  EXPECT_FALSE(MakeNeedleText({" "}, *tokenizer, kNeedle, 1000, 0, 1).ok());
  EXPECT_FALSE(MakeNeedleText({}, *tokenizer, kNeedle, 1000, 0, 1).ok());
}

TEST(NeedleTest, MeasuresEachPolicy) {
  const auto model = lm::TinyModel(2048);
  const auto tokenizer = lm::TinyTokenizer();
  NeedleOptions options;
  options.length = 400;
  options.chunk_size = 150;
  options.depths = {0.5};
  options.max_new_tokens = 3;
  options.sink = 2;
  options.recent = 30;
  for (const char* policy : {"infini_retri", "full", "window"}) {
    const auto score = MeasureNeedle(
        *model, *tokenizer, {"Some essay of few words!"}, options, policy, 1);
    ASSERT_TRUE(score.ok()) << score.status();
    EXPECT_GE(score->matched, 0);
    EXPECT_EQ(std::isnan(score->retrieved), policy[0] != 'i');
  }
  EXPECT_FALSE(
      MeasureNeedle(*model, *tokenizer, {"x."}, options, "other", 1).ok());
}

TEST(NeedleTest, FindsALayer) {
  const auto model = lm::TinyModel(2048);
  const auto tokenizer = lm::TinyTokenizer();
  NeedleOptions options;
  options.chunk_size = 150;
  options.depths = {0.5};
  const auto layer = BestNeedleLayer(*model, *tokenizer,
                                     {"Some essay of few words!"}, options);
  ASSERT_TRUE(layer.ok()) << layer.status();
  EXPECT_THAT(*layer, ::testing::AnyOf(0, 1));
  options.depths = {};
  EXPECT_FALSE(
      BestNeedleLayer(*model, *tokenizer, {"Some essay!"}, options).ok());
}

TEST(NeedleTest, ReadsEssays) {
  EXPECT_THAT(*ReadEssays(WriteTemporary(
                  "essays.jsonl", "{\"text\": \"a\"}\n{\"text\": \"b\"}\n")),
              ElementsAre("a", "b"));
  EXPECT_THAT(
      ReadEssays(WriteTemporary("no_text.jsonl", "{}\n")).status().message(),
      HasSubstr("no_text.jsonl:1:"));
  EXPECT_FALSE(ReadEssays(WriteTemporary("empty.jsonl", "")).ok());
}

TEST(RecallTest, SentencesOfPasskeys) {
  // 2 begins a needle of 2 + 2 symbols.
  const std::vector<int32_t> tokens = {50, 51, 52, 53, 2,  9,  20,
                                       21, 2,  8,  22, 23, 50, 2};
  const auto sentences = PasskeySentences(tokens, 2, 3);
  EXPECT_THAT(
      sentences,
      ElementsAre(TokenSentence{50, 51, 52}, TokenSentence{53},
                  TokenSentence{2, 9, 20, 21}, TokenSentence{2, 8, 22, 23},
                  TokenSentence{50}, TokenSentence{2}));
  EXPECT_THAT(PackSentences(sentences, 8), ElementsAre(SizeIs(3), SizeIs(3)));
  EXPECT_THAT(PackSentences(sentences, 1), SizeIs(6));
}

TEST(RecallTest, MeasuresEachPolicyOfAnUntrainedModel) {
  const testbed::Recipe recipe = testbed::SmallRecipe(64);
  lm::ModelConfig config = SmallConfig(64);
  config.vocab_size = recipe.vocabulary.size();
  const auto model =
      lm::RandomModel(config, MakeGenerator(1), at::kCPU, at::kFloat);
  RecallOptions options;
  options.sequences = 2;
  options.questions = 2;
  options.chunk_size = 16;
  options.retriever.top_k = 4;
  for (const char* policy :
       {"full", "window", "infini_retri", "infini_retri,phrase_width=1",
        "infini_retri,layer=0", "infini_retri,use_question_weights=0",
        "best_layer", "best_layer,phrase_width=1"}) {
    const auto recall =
        MeasureRetrieval(*model, recipe, options, policy, 128, 0);
    ASSERT_TRUE(recall.ok()) << recall.status();
    EXPECT_GE(recall->accuracy, 0);
    EXPECT_LE(recall->accuracy, 100);
    EXPECT_EQ(std::isnan(recall->survival),
              policy[0] == 'f' || policy[0] == 'w');
  }
  // All is kept: the needle survives each step.
  options.retriever.top_k = 1000;
  options.chunk_size = 30;
  EXPECT_EQ(MeasureRetrieval(*model, recipe, options, "infini_retri", 60, 0)
                ->survival,
            100);
  for (const char* policy : {"other", "full,layer=1", "infini_retri,layer=9",
                             "infini_retri,x=1", "best_layer,layer=1"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(
        MeasureRetrieval(*model, recipe, options, policy, 128, 0).status()))
        << policy;
  }
  EXPECT_FALSE(MeasureRetrieval(*model, recipe, options, "full", 3, 0).ok());
}

TEST(CostTest, RunsAtATinySize) {
  const auto model = SmallModel(256, at::kFloat);
  CostOptions options;
  options.chunk_size = 32;
  options.sentence = 4;
  options.question = 3;
  options.retriever.top_k = 8;
  options.dense_chunk = 64;
  const Cost read = MeasureRetrievalCost(*model, 200, options, 1);
  EXPECT_GT(read.seconds, 0);
  EXPECT_GT(read.peak_bytes, 0);
  const Cost dense = MeasureDenseCost(*model, 200, options, 1);
  EXPECT_GT(dense.seconds, 0);
  // The keys and values of three layers of two heads of 16 channels at least.
  EXPECT_GT(dense.peak_bytes, 3 * 2 * 2 * 16 * 200 * 4);
  options.question = 0;
  EXPECT_THROW(MeasureRetrievalCost(*model, 200, options, 1), c10::Error);
  options.chunk_size = 0;
  EXPECT_THROW(MeasureRetrievalCost(*model, 200, options, 1), c10::Error);
}

TEST(CostTest, ShapeOfHalfABillion) {
  EXPECT_TRUE(lm::Validate(Qwen25HalfBillion()).ok());
  // 151,936 x 896 of embeddings and 24 layers, biases of q, k, v included.
  EXPECT_EQ(lm::NumParameters(Qwen25HalfBillion()), 494032768);
}

}  // namespace
}  // namespace repro::infini_retri
