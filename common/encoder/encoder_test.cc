#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "common/count/parameters.h"
#include "common/encoder/fill_parameters.h"
#include "common/encoder/masked_attention.h"
#include "common/encoder/objectives.h"
#include "common/encoder/parameter_gradients.h"
#include "common/encoder/sequence_encoder.h"
#include "common/encoder/transformer_encoder.h"
#include "common/tensor/generator.h"
#include "common/tensor/testing.h"
#include "common/train/optimizer.h"
#include "common/train/trainer.h"

namespace repro::encoder {
namespace {

using ::testing::HasSubstr;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

Initializer Init(uint64_t seed, at::ScalarType dtype = at::kDouble) {
  return Initializer(MakeGenerator(seed), dtype);
}

at::Tensor Doubles(const std::vector<double>& values) {
  return at::tensor(values, at::kDouble);
}

at::Tensor Ids(const std::vector<int64_t>& values, at::IntArrayRef shape) {
  return at::tensor(values, at::kLong).view(shape);
}

std::map<std::string, at::Tensor> ByName(const Module& module) {
  std::map<std::string, at::Tensor> out;
  for (const auto& [name, tensor] : module.NamedParameters()) {
    out.emplace(name, tensor.detach());
  }
  return out;
}

// MaskedAttention by loops over [batch, heads, len, dim] in float64.
at::Tensor PlainAttention(const at::Tensor& q, const at::Tensor& k,
                          const at::Tensor& v, const at::Tensor& allowed,
                          const at::Tensor& bias, double scale) {
  const auto Q = q.accessor<double, 4>(), K = k.accessor<double, 4>(),
             V = v.accessor<double, 4>(), B = bias.accessor<double, 4>();
  const auto M = allowed.accessor<bool, 3>();
  at::Tensor out =
      at::zeros({q.size(0), q.size(1), q.size(2), v.size(3)}, at::kDouble);
  auto O = out.accessor<double, 4>();
  for (int64_t b = 0; b < q.size(0); ++b) {
    for (int64_t h = 0; h < q.size(1); ++h) {
      for (int64_t t = 0; t < q.size(2); ++t) {
        std::vector<double> weight(k.size(2), 0);
        double total = 0;
        for (int64_t s = 0; s < k.size(2); ++s) {
          if (!M[b][t][s]) continue;
          double score = B[0][h][t][s];
          for (int64_t d = 0; d < q.size(3); ++d) {
            score += scale * Q[b][h][t][d] * K[b][h][s][d];
          }
          total += weight[s] = std::exp(score);
        }
        for (int64_t s = 0; s < k.size(2) && total > 0; ++s) {
          for (int64_t d = 0; d < v.size(3); ++d) {
            O[b][h][t][d] += weight[s] / total * V[b][h][s][d];
          }
        }
      }
    }
  }
  return out;
}

ScoreMask MaskOf(const at::Tensor& mask, const at::Tensor& bias = {}) {
  return MakeScoreMask(mask, bias, 2, 5, 7, at::kDouble);
}

struct AttentionInputs {
  at::Tensor q = RandomNormal({2, 3, 5, 4}, 1);
  at::Tensor k = RandomNormal({2, 3, 7, 4}, 2);
  at::Tensor v = RandomNormal({2, 3, 7, 6}, 3);
  at::Tensor bias = RandomNormal({1, 3, 5, 7}, 4);
  at::Tensor pairs = at::rand({2, 5, 7}, MakeGenerator(5), at::kDouble) < 0.5;

  AttentionInputs() { pairs[1].select(0, 3).fill_(false); }  // an empty row
};

TEST(MaskedAttentionTest, AgreesWithLoops) {
  const AttentionInputs in;
  MaskedAttentionOptions options;
  options.scale = 0.7;
  const at::Tensor expected =
      PlainAttention(in.q, in.k, in.v, in.pairs, in.bias, 0.7);
  EXPECT_THAT(
      MaskedAttention(in.q, in.k, in.v, MaskOf(in.pairs, in.bias), options),
      IsCloseTo(expected, 1e-12, 1e-13));
  // The path that keeps the map.
  at::Tensor map;
  options.map = &map;
  EXPECT_THAT(
      MaskedAttention(in.q, in.k, in.v, MaskOf(in.pairs, in.bias), options),
      IsCloseTo(expected, 1e-12, 1e-13));
  at::Tensor sums = at::ones({2, 3, 5}, at::kDouble);
  sums[1].select(1, 3).fill_(0);
  EXPECT_THAT(map.sum(-1), IsCloseTo(sums, 1e-12, 1e-13));
  EXPECT_TRUE(map.masked_select(~in.pairs.unsqueeze(1).expand(map.sizes()))
                  .eq(0)
                  .all()
                  .item<bool>());
}

TEST(MaskedAttentionTest, NoMaskAndPaddingMask) {
  const AttentionInputs in;
  const at::Tensor no_bias = at::zeros({1, 3, 5, 7}, at::kDouble);
  EXPECT_THAT(
      MaskedAttention(in.q, in.k, in.v, {}, {}),
      IsCloseTo(PlainAttention(in.q, in.k, in.v, at::ones({2, 5, 7}, at::kBool),
                               no_bias, 1),
                1e-12, 1e-13));
  const at::Tensor padding = at::arange(7).unsqueeze(0) < Ids({4, 7}, {2, 1});
  EXPECT_THAT(MaskedAttention(in.q, in.k, in.v, MaskOf(padding), {}),
              IsCloseTo(PlainAttention(
                            in.q, in.k, in.v,
                            padding.unsqueeze(1).expand({2, 5, 7}).contiguous(),
                            no_bias, 1),
                        1e-12, 1e-13));
}

TEST(MaskedAttentionTest, Gradients) {
  const AttentionInputs in;
  for (const bool with_map : {false, true}) {
    at::Tensor map;
    MaskedAttentionOptions options;
    if (with_map) options.map = &map;
    EXPECT_TRUE(CheckGradients(
        [&](const std::vector<at::Tensor>& x) {
          return MaskedAttention(x[0], x[1], x[2], MaskOf(in.pairs, x[3]),
                                 options);
        },
        {in.q, in.k, in.v, in.bias}));
  }
}

TEST(MaskedAttentionTest, RejectsOddMasks) {
  EXPECT_THROW(MaskOf(at::ones({2, 7}, at::kDouble)), c10::Error);
  EXPECT_THROW(MaskOf(at::ones({2, 5}, at::kBool)), c10::Error);
  EXPECT_THROW(MaskOf(at::ones({2, 7, 5}, at::kBool)), c10::Error);
  MultiHeadAttentionConfig uneven;
  uneven.dim = 10;
  uneven.num_heads = 3;
  EXPECT_THROW(MultiHeadAttention(uneven, Init(1)), c10::Error);
}

TransformerConfig SmallTransformer() {
  TransformerConfig config;
  config.vocab_size = 11;
  config.dim = 8;
  config.num_layers = 2;
  config.num_heads = 2;
  config.ffn_dim = 12;
  config.max_positions = 12;
  return config;
}

at::Tensor RobertaTokens() {
  return Ids({0, 5, 6, 7, 2, 0, 8, 2, 1, 1}, {2, 5});
}

// testdata/make_expected.py prints these.
TEST(TransformerEncoderTest, AgreesWithTransformersRoberta) {
  TransformerEncoder model(SmallTransformer(), Init(1));
  FillParameters(model);
  const at::Tensor tokens = RobertaTokens();
  const at::Tensor h = model.Forward(tokens, tokens != 1);
  EXPECT_THAT(h[0][3], IsCloseTo(Doubles({0.3521855666, -0.0340184095505,
                                          -0.180260308048, -0.464468885441,
                                          0.100194866416, 0.450360636387,
                                          0.292354024494, 0.275553428995}),
                                 1e-9, 1e-11));
  EXPECT_THAT(h[1][1], IsCloseTo(Doubles({0.34911846753, -0.017676968545,
                                          -0.176899682177, -0.448370438236,
                                          0.092142686221, 0.467513423385,
                                          0.30696567246, 0.280798774646}),
                                 1e-9, 1e-11));
  MaskedLanguageModelHead head(SmallTransformer(), Init(1));
  FillParameters(head);
  EXPECT_THAT(
      head.Forward(h, model.word_embedding())[0][1],
      IsCloseTo(Doubles({0.054848430404, 0.401226733835, 0.563362063278,
                         0.466281458041, 0.154347839574, -0.229023008143,
                         -0.50733568598, -0.552313580173, -0.343054136982,
                         0.0242531190258, 0.380565735864}),
                1e-9, 1e-11));
}

// 124,645,632 is what transformers counts for roberta-base with its pooler.
TEST(TransformerEncoderTest, RobertaBaseHasItsParameters) {
  const Initializer meta = Initializer::Meta();
  EXPECT_EQ(CountParameters(
                TransformerEncoder(TransformerConfig::RobertaBase(), meta)) +
                CountParameters(Pooler(768, meta)),
            124645632);
}

TEST(TransformerEncoderTest, PaddingDoesNotMatter) {
  TransformerEncoder model(SmallTransformer(), Init(2));
  const at::Tensor tokens = RobertaTokens();
  const at::Tensor mask = tokens != 1;
  const at::Tensor h = model.Forward(tokens, mask);
  const at::Tensor more = at::cat(
      {tokens.masked_fill(~mask, 9), at::full({2, 4}, 7, at::kLong)}, 1);
  const at::Tensor more_mask = at::cat({mask, at::zeros({2, 4}, at::kBool)}, 1);
  const at::Tensor tokens_only = mask.unsqueeze(-1);
  EXPECT_THAT((model.Forward(more, more_mask).narrow(1, 0, 5) * tokens_only),
              IsCloseTo(h * tokens_only, 1e-12, 1e-13));
}

// GraphCodeBERT's nodes all have one position, so that with a mask that moves
// along their order is of no account; and a mask row decides what a token sees.
TEST(TransformerEncoderTest, PairMaskDecidesWhoSeesWhom) {
  TransformerEncoder model(SmallTransformer(), Init(3));
  const at::Tensor x = RandomNormal({1, 6, 8}, 1);
  at::Tensor mask = at::rand({1, 6, 6}, MakeGenerator(2), at::kDouble) < 0.5;
  mask[0].fill_diagonal_(true);
  mask[0][0].fill_(true);
  const at::Tensor positions = Ids({2, 3, 4, 0, 0, 0}, {1, 6});
  const at::Tensor h = model.ForwardEmbeddings(x, mask, positions);

  const at::Tensor order = Ids({0, 1, 2, 5, 3, 4}, {6});
  const at::Tensor permuted = model.ForwardEmbeddings(
      x.index_select(1, order),
      mask.index_select(1, order).index_select(2, order), positions);
  EXPECT_THAT(permuted, IsCloseTo(h.index_select(1, order), 1e-12, 1e-13));

  // In one layer a token depends on what it may see, and on nothing else.
  TransformerConfig one = SmallTransformer();
  one.num_layers = 1;
  TransformerEncoder single(one, Init(4));
  at::Tensor input = x.clone().requires_grad_();
  // Weighted: a norm's outputs always have the same plain sum.
  single.ForwardEmbeddings(input, mask, positions)[0][4]
      .dot(RandomNormal({8}, 9))
      .backward();
  EXPECT_THAT(input.grad()[0].abs().sum(-1) > 0, IsIdenticalTo(mask[0][4]));

  std::vector<at::Tensor> maps;
  EXPECT_THAT(model.ForwardEmbeddings(x, mask, positions, &maps),
              IsCloseTo(h, 1e-12, 1e-13));
  ASSERT_EQ(maps.size(), 2);
  EXPECT_EQ(maps[1].sizes(), (at::IntArrayRef{1, 2, 6, 6}));
}

TEST(TransformerEncoderTest, Gradients) {
  TransformerConfig config = SmallTransformer();
  config.init_std = 0.3;
  TransformerEncoder model(config, Init(5));
  MaskedLanguageModelHead head(config, Init(6));
  const at::Tensor tokens = RobertaTokens();
  const at::Tensor labels = at::where(tokens > 5, tokens, kIgnoredLabel);
  const auto loss = [&] {
    return TokenCrossEntropy(head.Forward(model.Forward(tokens, tokens != 1),
                                          model.word_embedding()),
                             labels);
  };
  ExpectParameterGradients(model, loss);
}

TEST(TransformerEncoderTest, RejectsWhatDoesNotFit) {
  TransformerEncoder model(SmallTransformer(), Init(1));
  const at::Tensor tokens = at::zeros({1, 11}, at::kLong);
  EXPECT_THROW(model.Forward(tokens, tokens == 0), c10::Error);
  EXPECT_THROW(model.ForwardEmbeddings(RandomNormal({1, 3, 8}, 1), {},
                                       Ids({0, 1}, {1, 2})),
               c10::Error);
  EXPECT_THROW(model.ForwardEmbeddings(RandomNormal({1, 3, 7}, 1), {},
                                       Ids({0, 1, 2}, {1, 3})),
               c10::Error);
}

TEST(TokenPairLogitsTest, AreInnerProducts) {
  const at::Tensor h = RandomNormal({2, 4, 3}, 1);
  const at::Tensor logits =
      TokenPairLogits(h, Ids({0, 1, 2, 1, 3, 3, 1, 0, 2}, {3, 3}));
  EXPECT_THAT(logits,
              IsCloseTo(at::stack({h[0][1].dot(h[0][2]), h[1][3].dot(h[1][3]),
                                   h[1][0].dot(h[1][2])}),
                        1e-12, 1e-13));
  EXPECT_THROW(TokenPairLogits(h, Ids({0, 4, 2}, {1, 3})), std::exception);
  EXPECT_THROW(TokenPairLogits(h, Ids({0, 1}, {1, 2})), c10::Error);
}

TEST(ClassificationHeadTest, AgreesWithItsEquation) {
  ClassificationHeadConfig config;
  config.in_dim = 6;
  config.hidden_dim = 4;
  config.num_classes = 3;
  config.init_std = 0.5;
  const at::Tensor x = RandomNormal({2, 5, 6}, 1);
  ClassificationHead tanh(config, Init(1));
  std::map<std::string, at::Tensor> w = ByName(tanh);
  EXPECT_THAT(
      tanh.Forward(x),
      IsCloseTo(
          x.matmul(w["dense.weight"].t()).tanh().matmul(w["out.weight"].t()),
          1e-12, 1e-13));
  config.activation = ClassificationHeadConfig::Activation::kRelu;
  ClassificationHead relu(config, Init(1));
  EXPECT_THAT(
      relu.Forward(x),
      IsCloseTo(
          x.matmul(w["dense.weight"].t()).relu().matmul(w["out.weight"].t()),
          1e-12, 1e-13));
}

constexpr const char* kNames[] = {"nbow", "1dcnn", "rnn", "selfatt",
                                  "convselfatt"};

SequenceEncoderConfig SmallEncoder(const std::string& name,
                                   Pooling pooling = Pooling::kWeightedMean) {
  SequenceEncoderConfig config = *SequenceEncoderConfig::ByName(name, 12);
  config.dim = 8;
  config.num_heads = 2;
  config.ffn_dim = 12;
  config.max_length = 16;
  config.pooling = pooling;
  std::fill(config.kernel_widths.begin(), config.kernel_widths.end(), 4);
  return config;
}

at::Tensor EncoderTokens() {
  return Ids({3, 5, 6, 7, 2, 9, 8, 2, 0, 0, 4, 0, 0, 0, 0}, {3, 5});
}
at::Tensor EncoderMask() {
  return at::arange(5).unsqueeze(0) < Ids({5, 3, 1}, {3, 1});
}

class SequenceEncoderTest : public testing::TestWithParam<const char*> {};

TEST_P(SequenceEncoderTest, PaddingDoesNotMatter) {
  for (const Pooling pooling :
       {Pooling::kMean, Pooling::kMax, Pooling::kWeightedMean}) {
    SequenceEncoderConfig config = SmallEncoder(GetParam(), pooling);
    SequenceEncoder model(config, Init(1));
    const at::Tensor vectors = model.Forward(EncoderTokens(), EncoderMask());
    EXPECT_EQ(vectors.sizes(), (at::IntArrayRef{3, 8}));
    const at::Tensor garbage =
        at::cat({EncoderTokens().masked_fill(~EncoderMask(), 11),
                 at::full({3, 4}, 10, at::kLong)},
                1);
    const at::Tensor mask =
        at::cat({EncoderMask(), at::zeros({3, 4}, at::kBool)}, 1);
    EXPECT_THAT(model.Forward(garbage, mask), IsCloseTo(vectors, 1e-11, 1e-12));
    // A sequence alone, without padding.
    EXPECT_THAT(model.Forward(EncoderTokens().narrow(0, 1, 1).narrow(1, 0, 3),
                              at::ones({1, 3}, at::kBool))[0],
                IsCloseTo(vectors[1], 1e-11, 1e-12));
  }
}

TEST_P(SequenceEncoderTest, Gradients) {
  SequenceEncoder model(SmallEncoder(GetParam()), Init(2));
  const at::Tensor weight = RandomNormal({3, 8}, 3);
  ExpectParameterGradients(
      model,
      [&] {
        return (model.Forward(EncoderTokens(), EncoderMask()) * weight).sum();
      },
      1e-7);
}

TEST_P(SequenceEncoderTest, DropoutDrawsFromItsGeneratorAlone) {
  const auto vectors = [&](uint64_t seed, bool training) {
    SequenceEncoder model(SmallEncoder(GetParam()), Init(1),
                          MakeGenerator(seed));
    model.Train(training);
    return model.Forward(EncoderTokens(), EncoderMask());
  };
  EXPECT_THAT(vectors(1, true), IsIdenticalTo(vectors(1, true)));
  EXPECT_FALSE(vectors(1, true).equal(vectors(2, true)));
  EXPECT_THAT(vectors(1, false), IsIdenticalTo(vectors(2, false)));
}

// A query's tokens are its code's tokens under a renaming, in the same order;
// the loss over pairs falls to its optimum, 0, and every query finds its code.
TEST_P(SequenceEncoderTest, LearnsPairs) {
  constexpr int64_t kPairs = 24;
  constexpr int64_t kLength = 6;
  const at::Tensor code =
      at::randint(1, 20, {kPairs, kLength}, MakeGenerator(1), at::kLong);
  const at::Tensor query = code + 20;
  const at::Tensor mask = at::ones({kPairs, kLength}, at::kBool);
  SequenceEncoderConfig config = SmallEncoder(GetParam());
  config.vocab_size = 40;
  config.dim = 16;
  SequenceEncoder queries(config, Init(2, at::kFloat));
  SequenceEncoder codes(config, Init(3, at::kFloat));
  std::vector<at::Tensor> parameters = queries.Parameters();
  for (const at::Tensor& p : codes.Parameters()) parameters.push_back(p);
  AdamOptions adam;
  adam.rate = 1e-2;
  const std::unique_ptr<Optimizer> optimizer = MakeAdam(parameters, adam);
  at::Tensor scores;
  double loss = 0;
  for (int step = 0; step < 700; ++step) {
    optimizer->ZeroGradients();
    const at::Tensor q = queries.Forward(query, mask);
    const at::Tensor c = codes.Forward(code, mask);
    const at::Tensor value = SoftmaxPairLoss(q, c);
    value.backward();
    ClipGradientNorm(parameters, 1);
    optimizer->Step();
    loss = value.item<double>();
    scores = q.matmul(c.t()).detach();
  }
  EXPECT_LT(loss, 0.05);
  EXPECT_THAT(scores.argmax(-1), IsIdenticalTo(at::arange(kPairs)));
}

// A run that is killed and resumed from common/train's checkpoint gives the
// bits of one that is not, dropout included.
TEST_P(SequenceEncoderTest, ResumesExactly) {
  const std::string path =
      testing::TempDir() + "/encoder_" + GetParam() + ".pt";
  const auto train = [&](int64_t steps, const std::string& checkpoint) {
    at::Generator dropout = MakeGenerator(4);
    SequenceEncoder model(SmallEncoder(GetParam()), Init(1), dropout);
    const std::unique_ptr<Optimizer> optimizer =
        MakeAdam(model.Parameters(), AdamOptions());
    TrainOptions options;
    options.num_steps = steps;
    options.checkpoint_path = checkpoint;
    options.identity = GetParam();
    TrainState state;
    state.model = &model;
    state.optimizer = optimizer.get();
    state.generators = {dropout};
    const auto result = Train(options, state, [&](int64_t) {
      const at::Tensor v = model.Forward(EncoderTokens(), EncoderMask());
      return SoftmaxPairLoss(v, v);
    });
    EXPECT_TRUE(result.ok()) << result.status();
    model.Train(false);
    return model.Forward(EncoderTokens(), EncoderMask()).detach();
  };
  std::remove(path.c_str());
  train(3, path);
  EXPECT_THAT(train(6, path), IsIdenticalTo(train(6, "")));
  std::remove(path.c_str());
}

INSTANTIATE_TEST_SUITE_P(All, SequenceEncoderTest, testing::ValuesIn(kNames));

TEST(PoolTest, AgreesWithItsEquations) {
  const at::Tensor h = RandomNormal({3, 5, 8}, 1);
  const at::Tensor mask = EncoderMask();
  Pool weighted(Pooling::kWeightedMean, 8, Init(1));
  const at::Tensor u = ByName(weighted)["weight"];
  const at::Tensor mean = Pool(Pooling::kMean, 8, Init(1)).Forward(h, mask);
  const at::Tensor most = Pool(Pooling::kMax, 8, Init(1)).Forward(h, mask);
  const at::Tensor got = weighted.Forward(h, mask);
  const int64_t lengths[] = {5, 3, 1};
  for (int64_t b = 0; b < 3; ++b) {
    for (int64_t d = 0; d < 8; ++d) {
      double sum = 0, top = -kInfinity, up = 0, down = 1e-8;
      for (int64_t t = 0; t < lengths[b]; ++t) {
        const double x = h[b][t][d].item<double>();
        const double w = 1 / (1 + std::exp(-h[b][t].dot(u).item<double>()));
        sum += x;
        top = std::max(top, x);
        up += w * x;
        down += w;
      }
      EXPECT_NEAR(mean[b][d].item<double>(), sum / lengths[b], 1e-12);
      EXPECT_EQ(most[b][d].item<double>(), top);
      EXPECT_NEAR(got[b][d].item<double>(), up / down, 1e-12);
    }
  }
}

TEST(PoolTest, NoTokensGiveZero) {
  const at::Tensor h = RandomNormal({1, 4, 8}, 1) / 0.0;  // infinities
  const at::Tensor mask = at::zeros({1, 4}, at::kBool);
  for (const Pooling pooling :
       {Pooling::kMean, Pooling::kMax, Pooling::kWeightedMean}) {
    EXPECT_THAT(Pool(pooling, 8, Init(1)).Forward(h, mask),
                IsIdenticalTo(at::zeros({1, 8}, at::kDouble)));
  }
}

double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

using Vector = std::vector<double>;

Vector Flat(const at::Tensor& x) {
  const at::Tensor flat = x.contiguous();
  return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
}

// rows x columns times vector.
Vector Times(const at::Tensor& matrix, const Vector& x) {
  const Vector m = Flat(matrix);
  Vector out(matrix.size(0), 0);
  for (size_t i = 0; i < out.size(); ++i) {
    for (size_t j = 0; j < x.size(); ++j) out[i] += m[i * x.size() + j] * x[j];
  }
  return out;
}

// The two directions' token vectors of one sequence by the cells' equations.
std::vector<Vector> PlainRecurrent(const SequenceEncoder& model,
                                   const std::vector<int64_t>& tokens) {
  std::map<std::string, at::Tensor> w = ByName(model);
  const size_t units = model.config().dim / 2;
  std::vector<Vector> out(tokens.size());
  for (const std::string direction : {"forward", "backward"}) {
    std::vector<Vector> inputs;
    for (const int64_t token : tokens) {
      inputs.push_back(Flat(w["embedding"][token]));
    }
    if (direction == "backward") std::reverse(inputs.begin(), inputs.end());
    for (int64_t layer = 0; layer < model.config().recurrent_layers; ++layer) {
      const auto name = [&](const char* part) {
        return direction + "." + part + std::to_string(layer);
      };
      const Vector bias = Flat(w[name("input_bias")]);
      const Vector state_bias = Flat(w[name("state_bias")]);
      Vector h(units, 0), c(units, 0);
      for (Vector& input : inputs) {
        const Vector x = Times(w[name("input_weight")], input);
        const Vector s = Times(w[name("state_weight")], h);
        const auto gate = [&](size_t part, size_t i) {
          const size_t at = part * units + i;
          return x[at] + bias[at] + s[at] + state_bias[at];
        };
        for (size_t i = 0; i < units; ++i) {
          if (model.config().cell == RecurrentCell::kLstm) {
            c[i] = Sigmoid(gate(1, i)) * c[i] +
                   Sigmoid(gate(0, i)) * std::tanh(gate(2, i));
            input.resize(units);
            input[i] = Sigmoid(gate(3, i)) * std::tanh(c[i]);
          } else {
            const size_t at = 2 * units + i;
            const double candidate =
                std::tanh(x[at] + bias[at] +
                          Sigmoid(gate(0, i)) * (s[at] + state_bias[at]));
            const double update = Sigmoid(gate(1, i));
            input.resize(units);
            input[i] = (1 - update) * candidate + update * h[i];
          }
        }
        h = input;
      }
    }
    if (direction == "backward") std::reverse(inputs.begin(), inputs.end());
    for (size_t t = 0; t < tokens.size(); ++t) {
      out[t].insert(out[t].end(), inputs[t].begin(), inputs[t].end());
    }
  }
  return out;
}

TEST(SequenceEncoderReferenceTest, RecurrentCellsAgreeWithTheirEquations) {
  for (const RecurrentCell cell : {RecurrentCell::kLstm, RecurrentCell::kGru}) {
    SequenceEncoderConfig config = SmallEncoder("rnn");
    config.cell = cell;
    SequenceEncoder model(config, Init(3));
    const at::Tensor h = model.TokenVectors(EncoderTokens(), EncoderMask());
    const std::vector<Vector> expected = PlainRecurrent(model, {9, 8, 2});
    for (int64_t t = 0; t < 3; ++t) {
      EXPECT_THAT(h[1][t], IsCloseTo(Doubles(expected[t]), 1e-11, 1e-12));
    }
  }
}

TEST(SequenceEncoderReferenceTest, ConvolutionsAgreeWithLoops) {
  SequenceEncoder model(SmallEncoder("1dcnn"), Init(4));
  std::map<std::string, at::Tensor> w = ByName(model);
  const std::vector<int64_t> tokens = {9, 8, 2};
  std::vector<Vector> h;
  for (size_t t = 0; t < tokens.size(); ++t) {
    h.push_back(
        Flat(w["embedding"][tokens[t]] +
             w["convolutions.position_embedding"][static_cast<int64_t>(t)]));
  }
  for (int layer = 0; layer < 3; ++layer) {
    const std::string suffix = std::to_string(layer);
    const auto kernel = w["convolutions.weight" + suffix].accessor<double, 3>();
    const Vector bias = Flat(w["convolutions.bias" + suffix]);
    std::vector<Vector> next(h.size());
    for (int t = 0; t < 3; ++t) {
      for (int o = 0; o < 8; ++o) {
        double sum = bias[o] + (layer > 0 ? h[t][o] : 0);
        for (int k = 0; k < 4; ++k) {
          const int source = t + k - 1;  // one of padding left, two right
          if (source < 0 || source >= 3) continue;
          for (int i = 0; i < 8; ++i) sum += kernel[o][i][k] * h[source][i];
        }
        next[t].push_back(std::tanh(sum));
      }
    }
    h = next;
  }
  const at::Tensor got = model.TokenVectors(EncoderTokens(), EncoderMask());
  for (int64_t t = 0; t < 3; ++t) {
    EXPECT_THAT(got[1][t], IsCloseTo(Doubles(h[t]), 1e-11, 1e-12));
  }
}

// As the authors' code has it, padding is token 0 and leaks into the tokens.
TEST(SequenceEncoderReferenceTest, UnmaskedConvolutionsSeePadding) {
  SequenceEncoderConfig config = SmallEncoder("1dcnn");
  config.mask_convolutions = false;
  SequenceEncoder model(config, Init(4));
  const at::Tensor h = model.TokenVectors(EncoderTokens(), EncoderMask());
  const at::Tensor other = model.TokenVectors(
      EncoderTokens().masked_fill(~EncoderMask(), 1), EncoderMask());
  EXPECT_FALSE(at::allclose(h[1].narrow(0, 0, 3), other[1].narrow(0, 0, 3)));
}

TEST(SequenceEncoderReferenceTest, SelfAttentionIsTheTransformer) {
  SequenceEncoder model(SmallEncoder("selfatt"), Init(5));
  TransformerConfig config;
  config.dim = 8;
  config.num_layers = 3;
  config.num_heads = 2;
  config.ffn_dim = 12;
  config.max_positions = 16;
  config.num_types = 0;
  config.norm_eps = 1e-12;
  TransformerLayers layers(config, Init(6));
  std::map<std::string, at::Tensor> w = ByName(model);
  for (auto& [name, parameter] : layers.NamedParameters()) {
    at::NoGradGuard no_grad;
    parameter.copy_(w.at("attention." + name));
  }
  EXPECT_THAT(
      model.TokenVectors(EncoderTokens(), EncoderMask()),
      IsIdenticalTo(layers.Forward(w["embedding"].index({EncoderTokens()}),
                                   EncoderMask(), at::arange(5).unsqueeze(0))));
}

TEST(SequenceEncoderReferenceTest, AuthorsHyperparameters) {
  const auto count = [](const SequenceEncoderConfig& config) {
    return CountParameters(SequenceEncoder(config, Initializer::Meta()));
  };
  constexpr int64_t kTable = 10000 * 128;
  EXPECT_EQ(count(SequenceEncoderConfig::BagOfWords(10000)), kTable + 128);
  EXPECT_EQ(count(SequenceEncoderConfig::Convolution(10000)),
            kTable + 128 + 200 * 128 + 3 * (16 * 128 * 128 + 128));
  // Of each direction: 4 gates of 64 units from 128 + 64 and 64 + 64 inputs,
  // with two biases.
  EXPECT_EQ(count(SequenceEncoderConfig::Recurrent(10000)),
            kTable + 128 + 2 * 256 * (192 + 2 + 128 + 2));
  constexpr int64_t kLayer =
      4 * (128 * 128 + 128) + 2 * 128 * 512 + 512 + 128 + 4 * 128;
  EXPECT_EQ(count(SequenceEncoderConfig::SelfAttention(10000)),
            kTable + 128 + 200 * 128 + 2 * 128 + 3 * kLayer);
  EXPECT_EQ(count(SequenceEncoderConfig::ConvolutionSelfAttention(10000)),
            kTable + 128 + 200 * 128 + 2 * 128 + 2 * kLayer +
                2 * (8 * 128 * 128 + 128));
}

TEST(SequenceEncoderReferenceTest, RejectsWhatMakesNoSense) {
  EXPECT_THAT(SequenceEncoderConfig::ByName("cnn", 10).status().ToString(),
              HasSubstr("nbow"));
  SequenceEncoder model(SmallEncoder("rnn"), Init(1));
  const at::Tensor tokens = EncoderTokens();
  EXPECT_THROW(model.Forward(tokens, EncoderMask().flip({1})), c10::Error);
  EXPECT_THROW(model.Forward(tokens, EncoderMask().to(at::kFloat)), c10::Error);
  EXPECT_THROW(model.Forward(at::zeros({1, 17}, at::kLong),
                             at::ones({1, 17}, at::kBool)),
               c10::Error);
  EXPECT_THROW(model.Forward(tokens + 10, EncoderMask()), std::exception);
}

// Text in which the second half repeats the first: what is masked in one half
// stands in the other, so that masked language modelling can fall to 0.
TEST(MaskedLanguageModelTest, LearnsToTheKnownOptimum) {
  constexpr int64_t kVocab = 12, kMask = 1;
  TransformerConfig config = SmallTransformer();
  config.vocab_size = kVocab;
  config.dim = 32;
  config.num_heads = 4;
  config.ffn_dim = 64;
  config.init_std = 0.1;
  TransformerEncoder model(config, Init(1, at::kFloat));
  MaskedLanguageModelHead head(config, Init(2, at::kFloat));
  std::vector<at::Tensor> parameters = model.Parameters();
  for (const at::Tensor& p : head.Parameters()) parameters.push_back(p);
  AdamOptions adam;
  adam.rate = 3e-3;
  const std::unique_ptr<Optimizer> optimizer = MakeAdam(parameters, adam);
  double recent = 0;
  for (int step = 0; step < 500; ++step) {
    const at::Tensor half =
        at::randint(2, kVocab, {64, 4}, MakeGenerator(3, step), at::kLong);
    const at::Tensor tokens = at::cat({half, half}, 1);
    // One token of each row, so that its copy is there.
    const at::Tensor place =
        at::randint(8, {64, 1}, MakeGenerator(4, step), at::kLong);
    const at::Tensor chosen =
        at::zeros({64, 8}, at::kBool).scatter_(1, place, true);
    TokenMaskingOptions options;
    options.mask_id = kMask;
    options.vocab_size = kVocab;
    options.select = 1;
    options.mask = 1;
    options.random = 0;
    const MaskedTokens masked =
        MaskTokens(tokens, chosen, options, MakeGenerator(5, step));
    optimizer->ZeroGradients();
    const at::Tensor loss = TokenCrossEntropy(
        head.Forward(model.Forward(masked.inputs, at::ones({64, 8}, at::kBool)),
                     model.word_embedding()),
        masked.labels);
    loss.backward();
    ClipGradientNorm(parameters, 1);
    optimizer->Step();
    if (step >= 480) recent += loss.item<double>() / 20;
  }
  EXPECT_LT(recent, 0.1);
}

}  // namespace
}  // namespace repro::encoder
