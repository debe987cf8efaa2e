#include "common/encoder/encoder_decoder.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "common/count/parameters.h"
#include "common/encoder/fill_parameters.h"
#include "common/encoder/objectives.h"
#include "common/encoder/parameter_gradients.h"
#include "common/tensor/generator.h"
#include "common/tensor/testing.h"
#include "common/train/optimizer.h"

namespace repro::encoder {
namespace {

using ::testing::ElementsAre;

at::Tensor Ids(const std::vector<int64_t>& values, at::IntArrayRef shape) {
  return at::tensor(values, at::kLong).view(shape);
}

at::Tensor Doubles(const std::vector<double>& values) {
  return at::tensor(values, at::kDouble);
}

EncoderDecoderConfig ExpectedConfig(bool gated) {
  EncoderDecoderConfig config;
  config.vocab_size = 11;
  config.dim = 8;
  config.num_heads = 3;
  config.head_dim = 4;
  config.ffn_dim = 10;
  config.encoder_layers = 2;
  config.decoder_layers = 2;
  config.num_buckets = 8;
  config.max_distance = 16;
  config.gated_gelu = gated;
  config.tie_embeddings = !gated;
  return config;
}

EncoderDecoderConfig ToyConfig(int64_t vocab_size) {
  EncoderDecoderConfig config = EncoderDecoderConfig::Tiny(vocab_size);
  config.dim = 32;
  config.head_dim = 8;
  config.ffn_dim = 64;
  return config;
}

at::Tensor Source() { return Ids({5, 6, 7, 2, 1, 8, 3, 1, 0, 0}, {2, 5}); }
at::Tensor SourceMask() {
  return Ids({1, 1, 1, 1, 1, 1, 1, 1, 0, 0}, {2, 5}).to(at::kBool);
}
at::Tensor Targets() { return Ids({0, 4, 9, 3, 0, 10, 2, 2}, {2, 4}); }

Initializer Init(uint64_t seed, at::ScalarType dtype = at::kDouble) {
  return Initializer(MakeGenerator(seed), dtype);
}

// testdata/make_expected.py prints these. transformers computes the norms' mean
// squares in float32 also for a float64 model, so that its numbers are good to
// about 1e-7.
TEST(EncoderDecoderTest, AgreesWithTransformersT5) {
  EncoderDecoder model(ExpectedConfig(false), Init(1));
  FillParameters(model);
  const at::Tensor states = model.Encode(Source(), SourceMask());
  EXPECT_THAT(
      states[0][3],
      IsCloseTo(Doubles({0.39485977358, 0.195511126326, -0.0329158120252,
                         0.13264448154, 0.371237560861, 0.326588357935,
                         0.0460123908449, 0.00656664964505}),
                1e-6, 1e-9));
  EXPECT_THAT(
      states[1][2],
      IsCloseTo(Doubles({0.2773187693, -0.252178023573, -0.0989662379067,
                         0.105175930902, 0.38501738441, -0.0490911588462,
                         -0.225094688987, 0.00582269832679}),
                1e-6, 1e-9));
  const at::Tensor logits = model.Decode(Targets(), states, SourceMask());
  EXPECT_THAT(
      logits[0][3],
      IsCloseTo(
          Doubles({-0.00446658274808, -0.00739677469444, -0.00700678937999,
                   -0.00347167882762, 0.0016217581003, 0.00598723931919,
                   0.00766523894459, 0.00590255623291, 0.00149040347587,
                   -0.00359074407071, -0.00706012063528}),
          1e-6, 1e-9));
  EXPECT_THAT(
      logits[1][2],
      IsCloseTo(Doubles({-0.0101169611447, -0.0168327396986, -0.0159928359595,
                         -0.00797425604301, 0.0036237141726, 0.0135951141745,
                         0.0174640991638, 0.0134940046462, 0.00346687997232,
                         -0.00811641702335, -0.0160565121705}),
                1e-6, 1e-9));
}

TEST(EncoderDecoderTest, AgreesWithTransformersGatedT5) {
  EncoderDecoder model(ExpectedConfig(true), Init(1));
  FillParameters(model);
  const at::Tensor states = model.Encode(Source(), SourceMask());
  EXPECT_THAT(
      states[1][2],
      IsCloseTo(Doubles({-0.22432040313, 0.021187929947, -0.0874765950308,
                         -0.440583853041, -0.447194946361, -0.0300405371253,
                         -0.0114726398226, -0.246907002373}),
                1e-6, 1e-9));
  EXPECT_THAT(
      model.Decode(Targets(), states, SourceMask())[1][2],
      IsCloseTo(Doubles({0.017583798617, -0.00175388347654, -0.0203043029756,
                         -0.029740765673, -0.025827543138, -0.0103211566941,
                         0.00981806922058, 0.0255502756548, 0.0298137747481,
                         0.0206948171537, 0.00228661334476}),
                1e-6, 1e-9));
}

TEST(EncoderDecoderTest, GeneratesAsTransformers) {
  GenerateOptions options;
  options.max_length = 6;
  EncoderDecoder tied(ExpectedConfig(false), Init(1));
  FillParameters(tied);
  std::vector<Generated> greedy =
      tied.Generate(Source(), SourceMask(), options);
  EXPECT_THAT(greedy[0].tokens, ElementsAre(6));
  EXPECT_THAT(greedy[1].tokens, ElementsAre(6));
  EXPECT_TRUE(greedy[0].finished);
  options.num_beams = 3;
  std::vector<Generated> beams = tied.Generate(Source(), SourceMask(), options);
  EXPECT_THAT(beams[0].tokens, ElementsAre(6, 10, 6, 10, 6));
  EXPECT_THAT(beams[1].tokens, ElementsAre(6, 10, 6, 10, 6));
  EXPECT_NEAR(beams[0].log_probability / 6, -2.3767974376678467, 1e-6);
  EXPECT_NEAR(beams[1].log_probability / 6, -2.3771352767944336, 1e-6);

  EncoderDecoder gated(ExpectedConfig(true), Init(1));
  FillParameters(gated);
  beams = gated.Generate(Source(), SourceMask(), options);
  EXPECT_THAT(beams[0].tokens, ElementsAre(9, 8, 9, 9, 8, 8));
  EXPECT_THAT(beams[1].tokens, ElementsAre(7, 4, 4, 4, 4, 3));
  EXPECT_FALSE(beams[0].finished);
  EXPECT_NEAR(beams[0].log_probability / 6, -2.370081663131714, 1e-6);
  options.num_beams = 1;
  greedy = gated.Generate(Source(), SourceMask(), options);
  EXPECT_THAT(greedy[0].tokens, ElementsAre(8, 8, 8, 8, 8, 8));
  EXPECT_THAT(greedy[1].tokens, ElementsAre(8, 3, 3, 3, 3, 3));
}

// T5Attention._relative_position_bucket of transformers, 32 buckets up to 128.
TEST(RelativePositionBucketTest, AgreesWithTransformers) {
  const at::Tensor distance = at::tensor(
      std::vector<int64_t>{-200, -128, -127, -91, -64, -17, -16, -15, -8,
                           -7,   -1,   0,    1,   7,   8,   9,   12,  15,
                           16,   31,   45,   90,  91,  127, 128, 200},
      at::kLong);
  EXPECT_THAT(RelativePositionBucket(distance, true, 32, 128),
              IsIdenticalTo(at::tensor(
                  std::vector<int64_t>{15, 15, 15, 15, 14, 10, 10, 9,  8,
                                       7,  1,  0,  17, 23, 24, 24, 25, 25,
                                       26, 27, 28, 30, 31, 31, 31, 31},
                  at::kLong)));
  EXPECT_THAT(
      RelativePositionBucket(distance, false, 32, 128),
      IsIdenticalTo(at::tensor(
          std::vector<int64_t>{31, 31, 31, 29, 26, 16, 16, 15, 8, 7, 1, 0, 0,
                               0,  0,  0,  0,  0,  0,  0,  0,  0, 0, 0, 0, 0},
          at::kLong)));
}

// 737,639,424 is what transformers counts for CodeT5+ 770M's body.
TEST(EncoderDecoderTest, LargeHasThePublishedParameters) {
  EXPECT_EQ(CountParameters(EncoderDecoder(EncoderDecoderConfig::Large(32100),
                                           Initializer::Meta())),
            737639424);
}

// Source padding and what stands in it change nothing; neither do target tokens
// after a position.
TEST(EncoderDecoderTest, PaddingAndFutureDoNotMatter) {
  EncoderDecoder model(ExpectedConfig(false), Init(3));
  const at::Tensor states = model.Encode(Source(), SourceMask());
  const at::Tensor logits = model.Decode(Targets(), states, SourceMask());

  const at::Tensor longer = at::cat(
      {Source().masked_fill(~SourceMask(), 9), at::full({2, 3}, 4, at::kLong)},
      1);
  const at::Tensor longer_mask =
      at::cat({SourceMask(), at::full({2, 3}, false, at::kBool)}, 1);
  const at::Tensor longer_states = model.Encode(longer, longer_mask);
  EXPECT_THAT(model.Decode(Targets(), longer_states, longer_mask),
              IsCloseTo(logits, 1e-12, 1e-13));
  const at::Tensor more = at::cat({Targets(), Targets()}, 1);
  EXPECT_THAT(model.Decode(more, states, SourceMask()).narrow(1, 0, 4),
              IsCloseTo(logits, 1e-12, 1e-13));
}

double LogProbability(const EncoderDecoder& model, const at::Tensor& source,
                      std::vector<int64_t> tokens, bool finished) {
  if (finished) tokens.push_back(model.config().eos_id);
  const at::Tensor labels =
      Ids(tokens, {1, static_cast<int64_t>(tokens.size())});
  at::NoGradGuard no_grad;
  return at::log_softmax(model.Decode(ShiftRight(labels, model.config()),
                                      model.Encode(source, {}), {}),
                         -1)
      .gather(-1, labels.unsqueeze(-1))
      .sum()
      .item<double>();
}

// With beams for every text, beam search is exhaustive: it finds the best of
// all 4 + 4^2 + 4^3 texts, and its log-probability is teacher forcing's.
TEST(EncoderDecoderTest, ManyBeamsFindTheBestText) {
  EncoderDecoderConfig config = ExpectedConfig(true);
  config.vocab_size = 5;
  const at::Tensor source = Ids({4, 2, 3}, {1, 3});
  for (const uint64_t seed : {1, 2, 3, 4, 5}) {
    for (const double penalty : {0.0, 1.0, 2.0}) {
      EncoderDecoder model(config, Init(seed));
      GenerateOptions options;
      options.max_length = 3;
      options.num_beams = 64;
      options.length_penalty = penalty;
      const Generated found = model.Generate(source, {}, options)[0];

      double best = -std::numeric_limits<double>::infinity();
      std::vector<int64_t> best_text;
      const auto consider = [&](const std::vector<int64_t>& text,
                                bool finished) {
        const double score =
            LogProbability(model, source, text, finished) /
            std::pow(static_cast<double>(text.size() + finished), penalty);
        if (score > best) {
          best = score;
          best_text = text;
        }
      };
      std::vector<std::vector<int64_t>> texts = {{}};
      for (int length = 0; length < 3; ++length) {
        std::vector<std::vector<int64_t>> longer;
        for (const std::vector<int64_t>& text : texts) {
          consider(text, true);
          for (const int64_t token : {0, 2, 3, 4}) {
            longer.push_back(text);
            longer.back().push_back(token);
          }
        }
        texts = longer;
      }
      for (const std::vector<int64_t>& text : texts) consider(text, false);
      EXPECT_EQ(found.tokens, best_text) << seed << " " << penalty;
      EXPECT_NEAR(found.log_probability,
                  LogProbability(model, source, found.tokens, found.finished),
                  1e-10);
    }
  }
}

TEST(EncoderDecoderTest, GradientsAgreeWithDifferences) {
  EncoderDecoder model(ExpectedConfig(false), Init(2));
  const at::Tensor labels = Ids({4, 9, 3, 1, 10, 2, 1, kIgnoredLabel}, {2, 4});
  const auto loss = [&] {
    return TokenCrossEntropy(
        model.Decode(ShiftRight(labels, model.config()),
                     model.Encode(Source(), SourceMask()), SourceMask()),
        labels);
  };
  ExpectParameterGradients(model, loss);
}

// A source of three tokens is to be said in reverse after a coin's throw, which
// nothing foretells: the optimum is ln 2 nats for the coin and 0 for the other
// four tokens of the target.
TEST(EncoderDecoderTest, LearnsToTheKnownOptimum) {
  constexpr int64_t kVocab = 8;  // pad, eos, heads, tails, four letters
  std::vector<int64_t> sources, labels;
  for (int64_t i = 0; i < 64; ++i) {
    const int64_t a = 4 + i % 4, b = 4 + i / 4 % 4, c = 4 + i / 16;
    for (const int64_t coin : {2, 3}) {
      sources.insert(sources.end(), {a, b, c});
      labels.insert(labels.end(), {coin, c, b, a, 1});
    }
  }
  const at::Tensor source = Ids(sources, {128, 3});
  const at::Tensor label = Ids(labels, {128, 5});
  EncoderDecoder model(ToyConfig(kVocab), Init(7, at::kFloat));
  AdamOptions adam;
  adam.rate = 3e-3;
  const std::unique_ptr<Optimizer> optimizer =
      MakeAdam(model.Parameters(), adam);
  double loss = 0;
  for (int step = 0; step < 600; ++step) {
    optimizer->ZeroGradients();
    const at::Tensor value =
        TokenCrossEntropy(model.Decode(ShiftRight(label, model.config()),
                                       model.Encode(source, {}), {}),
                          label);
    value.backward();
    ClipGradientNorm(model.Parameters(), 1);
    optimizer->Step();
    loss = value.item<double>();
  }
  EXPECT_NEAR(loss, std::log(2.0) / 5, 0.02);
  const std::vector<Generated> said = model.Generate(source, {}, {});
  for (int64_t i = 0; i < 128; ++i) {
    ASSERT_EQ(said[i].tokens.size(), 4) << i;
    EXPECT_TRUE(said[i].finished);
    EXPECT_THAT(
        std::vector<int64_t>(said[i].tokens.begin() + 1, said[i].tokens.end()),
        ElementsAre(sources[3 * i + 2], sources[3 * i + 1], sources[3 * i]));
  }
}

TEST(EncoderDecoderTest, DropoutDrawsFromItsGeneratorAlone) {
  EncoderDecoderConfig config = ExpectedConfig(false);
  const auto logits = [&](uint64_t seed, bool training) {
    EncoderDecoder model(config, Init(1), MakeGenerator(seed));
    model.Train(training);
    return model.Decode(Targets(), model.Encode(Source(), SourceMask()),
                        SourceMask());
  };
  EXPECT_THAT(logits(1, true), IsIdenticalTo(logits(1, true)));
  EXPECT_FALSE(logits(1, true).equal(logits(2, true)));
  EXPECT_THAT(logits(1, false), IsIdenticalTo(logits(2, false)));
}

TEST(ShiftRightTest, BeginsWithPaddingAndDropsTheLast) {
  EXPECT_THAT(ShiftRight(Ids({5, 6, 1, 7, 1, kIgnoredLabel}, {2, 3}),
                         ExpectedConfig(false)),
              IsIdenticalTo(Ids({0, 5, 6, 0, 7, 1}, {2, 3})));
}

TEST(EncoderDecoderTest, RejectsWhatMakesNoSense) {
  EncoderDecoder model(ExpectedConfig(false), Init(1));
  EXPECT_THROW(model.Encode(Source()[0], {}), c10::Error);
  EXPECT_THROW(model.Encode(Source().to(at::kDouble), {}), c10::Error);
  EXPECT_THROW(model.Encode(Source(), SourceMask().narrow(1, 0, 4)),
               c10::Error);
  EXPECT_THROW(model.Encode(at::full({2, 0}, 1, at::kLong), {}), c10::Error);
  EXPECT_THROW(model.Encode(at::full({1, 2}, 11, at::kLong), {}),
               std::exception);
  GenerateOptions options;
  options.num_beams = 0;
  EXPECT_THROW(model.Generate(Source(), SourceMask(), options), c10::Error);
  EncoderDecoderConfig config = ExpectedConfig(false);
  config.num_buckets = 3;
  EXPECT_THROW(EncoderDecoder(config, Init(1)), c10::Error);
}

}  // namespace
}  // namespace repro::encoder
