#include "papers/duo_attention/duo_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "common/lm/attention.h"
#include "common/lm/dense_state.h"
#include "common/lm/model.h"
#include "common/lm/policy.h"
#include "common/lm/static_decoder.h"
#include "common/tensor/generator.h"
#include "common/tokenizer/loader.h"
#include "common/tokenizer/tokenizer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "papers/duo_attention/decoder.h"
#include "papers/duo_attention/gate_experiment.h"
#include "papers/duo_attention/gate_training.h"
#include "papers/duo_attention/heads.h"
#include "papers/duo_attention/memory.h"
#include "papers/duo_attention/passkeys.h"
#include "papers/duo_attention/speed.h"

namespace repro::duo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

lm::ModelConfig Config(int64_t num_kv_heads) {
  lm::ModelConfig c;
  c.vocab_size = 50;
  c.hidden_size = 48;
  c.intermediate_size = 64;
  c.num_layers = 3;
  c.num_heads = 4;
  c.num_kv_heads = num_kv_heads;
  c.head_dim = 16;
  c.max_positions = 256;
  return c;
}

// Weights large enough for attention to matter.
std::unique_ptr<lm::LanguageModel> Model(int64_t num_kv_heads) {
  const at::NoGradGuard no_grad;
  auto model = lm::RandomModel(Config(num_kv_heads), MakeGenerator(3), at::kCPU,
                               at::kFloat);
  for (lm::LayerWeights& layer : model->mutable_weights().layers) {
    layer.qkv.dense.mul_(15);
    layer.output.dense.mul_(5);
  }
  return model;
}

at::Tensor Tokens(int64_t count) {
  return at::randint(0, 50, {count}, MakeGenerator(4),
                     at::TensorOptions(at::kLong));
}

const HeadSet kSome = {{1, 3}, {}, {0, 1, 2, 3}};

// Hidden states of the tokens, fed in chunks.
at::Tensor Hidden(const lm::LanguageModel& model, lm::AttentionState* state,
                  const at::Tensor& tokens,
                  const std::vector<int64_t>& chunks) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> out;
  int64_t first = 0;
  for (const int64_t count : chunks) {
    out.push_back(
        model.Hidden({{tokens.narrow(0, first, count), state, first}}));
    first += count;
  }
  return at::cat(out);
}

// By the definition: each head has a mask of its own over the whole sequence.
class MaskedState : public lm::AttentionState {
 public:
  MaskedState(HeadSet full, at::Tensor mask)
      : full_(std::move(full)), mask_(std::move(mask)) {}
  at::Tensor Attend(const lm::AttentionInput& in) override {
    const int64_t length = in.q.size(1), group = in.q.size(0) / in.k.size(0);
    const at::Tensor places = at::arange(length, at::kLong);
    const at::Tensor causal = places <= places.unsqueeze(1);
    std::vector<at::Tensor> masks;
    for (int64_t h = 0; h < in.q.size(0); ++h) {
      bool full = false;
      for (const int64_t f : full_[in.layer]) full = full || f == h / group;
      masks.push_back(full ? causal : mask_);
    }
    const at::Tensor bias =
        at::zeros({in.q.size(0), length, length})
            .masked_fill(at::stack(masks).logical_not(), -INFINITY);
    return lm::BiasedAttention(in.rope->Apply(in.q, 0), in.rope->Apply(in.k, 0),
                               in.v, bias);
  }
  int64_t Bytes() const override { return 0; }

 private:
  HeadSet full_;
  at::Tensor mask_;
};

double Distance(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

TEST(HeadsTest, ReadsTheAuthorsFormatAndRefusesOthers) {
  const auto gates = ParseGates("1.0\t0.5\n-0.0014\t0\n", "f");
  ASSERT_TRUE(gates.ok()) << gates.status();
  EXPECT_EQ((*gates)[1][0].item<double>(), -0.0014);
  EXPECT_EQ(ShareAbove(*gates, 0.4), 0.5);
  const auto again = ParseGates(FormatGates(*gates), "f");
  EXPECT_TRUE(again->equal(*gates));
  EXPECT_THAT(ParseGates("1\t2\n3\n", "f").status().message(),
              HasSubstr("f:2"));
  EXPECT_THAT(ParseGates("1\tx\n", "f").status().message(),
              HasSubstr("column 2"));
  EXPECT_FALSE(ParseGates("", "f").ok());
  EXPECT_FALSE(ParseGates("nan\n", "f").ok());
  EXPECT_FALSE(ReadGates("/no/such/file").ok());
}

TEST(HeadsTest, QuantileKeepsTheShareAndNoiseBreaksTies) {
  const at::Tensor different = at::arange(64, at::kDouble).view({8, 8}) / 64.0;
  EXPECT_EQ(CountHeads(SelectHeads(different, 0.75, nullptr)), 16);
  EXPECT_EQ(CountHeads(SelectHeads(different, 0, nullptr)), 64);
  EXPECT_EQ(CountHeads(SelectHeads(different, 1, nullptr)), 0);
  EXPECT_THAT(SelectHeads(different, 0.75, nullptr)[7],
              ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  const at::Tensor same = at::full({8, 8}, 1.0, at::kDouble);
  EXPECT_EQ(CountHeads(SelectHeads(same, 0.75, nullptr)), 64);
  at::Generator generator = MakeGenerator(1);
  EXPECT_EQ(CountHeads(SelectHeads(same, 0.75, &generator)), 16);
  EXPECT_EQ(CountHeads(RandomHeads(8, 8, 16, MakeGenerator(2))), 16);
}

TEST(HeadsTest, ProfileIsTheWeightOutOfSight) {
  const auto model = Model(2);
  const at::Tensor tokens = Tokens(24).unsqueeze(0);
  const at::Tensor places = at::zeros({1, 24}, at::kBool);
  places[0][20] = true;
  // All is seen: nothing is out of sight. Nothing is seen but itself: almost
  // everything.
  EXPECT_EQ(
      AttentionProfile(*model, tokens, places, 4, 24).max().item<double>(), 0);
  const at::Tensor all = AttentionProfile(*model, tokens, places, 0, 1);
  EXPECT_GT(all.min().item<double>(), 0);
  EXPECT_LE(all.max().item<double>(), 1);
  EXPECT_LT(AttentionProfile(*model, tokens, places, 2, 8).max().item<double>(),
            all.max().item<double>());
}

TEST(DuoStateTest, AllHeadsFullIsDense) {
  const auto model = Model(2);
  const at::Tensor tokens = Tokens(30);
  const auto duo = MakeDuoState(*model, {{0, 1}, {0, 1}, {0, 1}}, {});
  const auto dense = lm::MakeDenseState(model->config(), at::kCPU, at::kFloat);
  EXPECT_LT(Distance(Hidden(*model, duo.get(), tokens, {20, 1, 9}),
                     Hidden(*model, dense.get(), tokens, {30})),
            1e-4);
}

TEST(DuoStateTest, ShortSequencesAreDense) {
  const auto model = Model(4);
  const at::Tensor tokens = Tokens(20);
  DuoOptions options;
  options.sink = 4;
  options.recent = 16;
  const auto duo = MakeDuoState(*model, kSome, options);
  const auto dense = lm::MakeDenseState(model->config(), at::kCPU, at::kFloat);
  EXPECT_LT(Distance(Hidden(*model, duo.get(), tokens, {7, 1, 1, 11}),
                     Hidden(*model, dense.get(), tokens, {20})),
            1e-4);
}

TEST(DuoStateTest, WindowRuleIsTheMaskHoweverTheTokensCome) {
  for (const int64_t kv_heads : {int64_t{4}, int64_t{2}}) {
    const auto model = Model(kv_heads);
    const at::Tensor tokens = Tokens(60);
    const HeadSet heads = kv_heads == 4 ? kSome : HeadSet{{1}, {}, {0, 1}};
    DuoOptions options;
    options.sink = 3;
    options.recent = 9;
    options.rule = StreamingRule::kWindow;
    MaskedState masked(heads, MakeStreamingMask({3, 9, 0}, 60));
    const at::Tensor want = Hidden(*model, &masked, tokens, {60});
    for (const auto& chunks : std::vector<std::vector<int64_t>>{
             {60}, {25, 1, 1, 33}, {1, 1, 40, 18}}) {
      const auto duo = MakeDuoState(*model, heads, options);
      EXPECT_LT(Distance(Hidden(*model, duo.get(), tokens, chunks), want),
                1e-4);
    }
  }
}

TEST(DuoStateTest, ChunkRuleIsTheStaticCache) {
  const auto model = Model(4);
  const HeadSet first = ReorderHeads(model.get(), kSome);
  const at::Tensor tokens = Tokens(60);
  DuoOptions options;
  options.sink = 3;
  options.recent = 9;
  StaticCacheOptions fixed;
  fixed.full_heads = {2, 0, 4};
  fixed.capacity = 60;
  fixed.sink = 3;
  fixed.recent = 9;
  fixed.chunk = 25;
  const std::vector<int64_t> chunks = {25, 25, 1, 1, 8};
  const auto duo = MakeDuoState(*model, first, options);
  StaticDuoState state(model->config(), at::kCPU, at::kFloat, fixed);
  EXPECT_LT(Distance(Hidden(*model, duo.get(), tokens, chunks),
                     Hidden(*model, &state, tokens, chunks)),
            1e-4);
  // 2 of 4, 0 of 4 and 4 of 4 heads of 16 floats.
  EXPECT_EQ(state.Bytes(),
            2 * 4 * 16 * (60 * (2 + 0 + 4) + (3 + 9 + 25) * (2 + 4 + 0)));
  EXPECT_THROW(model->Hidden({{Tokens(1), &state, 60}}), c10::Error);
}

TEST(DuoStateTest, ReorderedWeightsComputeTheSame) {
  for (const int64_t kv_heads : {int64_t{4}, int64_t{2}}) {
    const auto model = Model(kv_heads);
    const auto reordered = Model(kv_heads);
    const HeadSet heads = kv_heads == 4 ? kSome : HeadSet{{1}, {}, {0, 1}};
    const HeadSet first = ReorderHeads(reordered.get(), heads);
    for (size_t l = 0; l < heads.size(); ++l) {
      ASSERT_EQ(first[l].size(), heads[l].size());
    }
    const at::Tensor tokens = Tokens(40);
    const auto dense = [&] {
      return lm::MakeDenseState(model->config(), at::kCPU, at::kFloat);
    };
    EXPECT_LT(Distance(Hidden(*reordered, dense().get(), tokens, {40}),
                       Hidden(*model, dense().get(), tokens, {40})),
              1e-4);
    DuoOptions options;
    options.sink = 2;
    options.recent = 5;
    EXPECT_LT(
        Distance(
            Hidden(*reordered, MakeDuoState(*reordered, first, options).get(),
                   tokens, {30, 1, 9}),
            Hidden(*model, MakeDuoState(*model, heads, options).get(), tokens,
                   {30, 1, 9})),
        1e-4);
  }
}

TEST(DuoStateTest, FourBitsAreNearAndSmaller) {
  const auto model = Model(4);
  const at::Tensor tokens = Tokens(64);
  DuoOptions options;
  const auto exact = MakeDuoState(*model, {{0, 1, 2, 3}, {0}, {1}}, options);
  options.bits = 4;
  const auto rough = MakeDuoState(*model, {{0, 1, 2, 3}, {0}, {1}}, options);
  const at::Tensor a = Hidden(*model, exact.get(), tokens, {64});
  const at::Tensor b = Hidden(*model, rough.get(), tokens, {64});
  EXPECT_GT(Distance(a, b), 0);
  EXPECT_LT((a - b).norm().item<double>(), 0.5 * a.norm().item<double>());
  EXPECT_LT(rough->Bytes(), exact->Bytes());
  options.bits = 8;
  EXPECT_THROW(MakeDuoState(*model, kSome, options), c10::Error);
  EXPECT_THROW(MakeDuoState(*model, {{4}, {}, {}}, {}), c10::Error);
  EXPECT_THROW(MakeDuoState(*model, {{0}}, {}), c10::Error);
}

TEST(DecoderTest, FullHeadsAloneAreTheStaticDecoder) {
  const auto model = Model(2);
  lm::StaticDecoder dense(*model, 1, 20);
  DecoderOptions options;
  options.full_heads = {2, 2, 2};
  options.capacity = 20;
  DuoDecoder duo(*model, options);
  dense.SetLength(0);
  for (int i = 0; i < 20; ++i) {
    dense.Step();
    duo.Step();
    ASSERT_LT(Distance(duo.logits(), dense.logits()), 1e-4) << i;
  }
  EXPECT_THROW(duo.Step(), c10::Error);
}

TEST(DecoderTest, DecodesAsTheStateWithTheWindowRule) {
  const auto model = Model(4);
  const HeadSet first = ReorderHeads(model.get(), kSome);
  for (const int64_t bits : {int64_t{16}, int64_t{4}}) {
    DecoderOptions options;
    options.full_heads = {2, 0, 4};
    options.capacity = 40;
    options.sink = 3;
    options.recent = 9;
    options.bits = bits;
    DuoDecoder decoder(*model, options);
    DuoOptions same;
    same.sink = 3;
    same.recent = 9;
    same.rule = StreamingRule::kWindow;
    same.bits = bits;
    const auto state = MakeDuoState(*model, first, same);
    const at::NoGradGuard no_grad;
    for (int64_t i = 0; i < 40; ++i) {
      const at::Tensor token = decoder.tokens().clone();
      decoder.Step();
      ASSERT_LT(
          Distance(decoder.logits(), model->Forward({{token, state.get(), i}})),
          1e-3)
          << bits << " bits, step " << i;
    }
  }
}

TEST(GateTrainingTest, MaskInBlocksAndExact) {
  const at::Tensor exact = MakeStreamingMask({2, 3, 0}, 8);
  EXPECT_EQ(exact[7].sum().item<int64_t>(), 5);
  EXPECT_TRUE(exact[7][5].item<bool>());
  EXPECT_FALSE(exact[7][4].item<bool>());
  // Blocks of 2: the first and the last 2 with the query's own.
  const at::Tensor blocks = MakeStreamingMask({2, 4, 2}, 10);
  EXPECT_EQ(blocks[8].sum().item<int64_t>(), 2 + 3);
  EXPECT_EQ(blocks[9].sum().item<int64_t>(), 2 + 4);
}

TEST(GateTrainingTest, RatesAreTheAuthors) {
  EXPECT_DOUBLE_EQ(RateFactor(0, 2000), 0.1);
  EXPECT_DOUBLE_EQ(RateFactor(199, 2000), 0.5);
  EXPECT_DOUBLE_EQ(RateFactor(1000, 2000), 1);
  EXPECT_DOUBLE_EQ(RateFactor(1800, 2000), 0.5);
  EXPECT_DOUBLE_EQ(RateFactor(1999, 2000), 0.1);
}

TEST(GateTrainingTest, OpenGatesLoseNothingAndClosedOnesAreStreaming) {
  const auto model = Model(2);
  const at::Tensor tokens = Tokens(50);
  const at::Tensor labelled = at::arange(50, at::kLong) >= 40;
  for (const int64_t block : {int64_t{0}, int64_t{4}}) {
    GateTraining training;
    training.mask = {2, 8, block};
    const GateLoss open = ComputeGateLoss(
        *model, at::full({3, 2}, 1.0, at::kFloat), tokens, labelled, training);
    EXPECT_LT(open.distillation.item<double>(), 1e-8);
    EXPECT_FLOAT_EQ(open.total.item<float>(),
                    open.distillation.item<float>() + 0.05f);
    const at::Tensor none = at::zeros({3, 2}, at::kFloat);
    const GateLoss closed =
        ComputeGateLoss(*model, none, tokens, labelled, training);
    MaskedState masked({{}, {}, {}}, MakeStreamingMask(training.mask, 50));
    const auto dense =
        lm::MakeDenseState(model->config(), at::kCPU, at::kFloat);
    const double want =
        (Hidden(*model, &masked, tokens, {50}).narrow(0, 40, 10) -
         Hidden(*model, dense.get(), tokens, {50}).narrow(0, 40, 10))
            .pow(2)
            .mean()
            .item<double>();
    EXPECT_NEAR(closed.distillation.item<double>(), want, 1e-4 * want);
    training.normalised = false;
    EXPECT_NEAR(ComputeGateLoss(*model, none, tokens, labelled, training)
                    .distillation.item<double>(),
                want * 10 * 48, 1e-3 * want * 480);
  }
}

TEST(GateTrainingTest, GradientIsTheDifferenceQuotient) {
  const auto model = Model(2);
  const at::Tensor tokens = Tokens(40);
  const at::Tensor labelled = at::arange(40, at::kLong) >= 30;
  GateTraining training;
  training.mask = {2, 6, 0};
  const at::Tensor alpha =
      at::full({3, 2}, 0.5, at::kFloat).set_requires_grad(true);
  ComputeGateLoss(*model, alpha, tokens, labelled, training).total.backward();
  const auto at_value = [&](double change) {
    const at::NoGradGuard no_grad;
    const at::Tensor moved = alpha.detach().clone();
    moved[1][1] += change;
    return ComputeGateLoss(*model, moved, tokens, labelled, training)
        .total.item<double>();
  };
  const double quotient = (at_value(1e-2) - at_value(-1e-2)) / 2e-2;
  EXPECT_NEAR(alpha.grad()[1][1].item<double>(), quotient,
              0.02 * std::abs(quotient) + 1e-5);
}

TEST(GateTrainingTest, UselessHeadsClose) {
  // Everything is in sight: streaming is as good as full attention.
  const auto model = Model(2);
  GateTraining training;
  training.mask = {16, 64, 0};
  training.steps = 120;
  const auto gates = TrainGates(*model, training, [&](int64_t) {
    return GateSample{Tokens(24), at::arange(24, at::kLong) >= 16};
  });
  ASSERT_TRUE(gates.ok()) << gates.status();
  EXPECT_LT(gates->max().item<double>(), 0.1);
  training.cancelled = [] { return true; };
  EXPECT_FALSE(
      TrainGates(*model, training, [](int64_t) { return GateSample{}; }).ok());
}

// A token a byte.
std::unique_ptr<Tokenizer> Bytes() {
  GgmlVocabulary vocabulary;
  vocabulary.model = "gpt2";
  vocabulary.pre = "gpt-2";
  for (char c = 33; c < 127; ++c) {
    vocabulary.tokens.push_back(std::string(1, c));
  }
  vocabulary.tokens.push_back("\u0120");  // space
  vocabulary.tokens.push_back("\u010a");  // line feed
  vocabulary.token_types.assign(vocabulary.tokens.size(), 1);
  auto tokenizer = TokenizerFromGgml(vocabulary, "test");
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

std::string Text(const Tokenizer& tokenizer, const at::Tensor& ids) {
  std::vector<int32_t> list;
  for (int64_t i = 0; i < ids.size(0); ++i) {
    list.push_back(static_cast<int32_t>(ids[i].item<int64_t>()));
  }
  return *tokenizer.Decode(list);
}

TEST(PasskeysTest, NeedlesAreAskedForAtTheEnd) {
  const auto tokenizer = Bytes();
  PasskeyConfig config;
  config.num_passkeys = 2;
  config.passkey_words = 3;
  config.least_length = 900;
  config.most_length = 900;
  config.num_lengths = 1;
  const auto texts =
      PasskeyTexts::Create(*tokenizer, "grass is green. ", config);
  ASSERT_TRUE(texts.ok()) << texts.status();
  const GateSample sample = texts->Draw(MakeGenerator(6));
  EXPECT_LE(sample.tokens.size(0), 900);
  EXPECT_GT(sample.tokens.size(0), 800);
  const int64_t tail = sample.labelled.sum().item<int64_t>();
  const int64_t prompt = sample.tokens.size(0) - tail;
  EXPECT_TRUE(sample.labelled.narrow(0, prompt, tail).all().item<bool>());
  const std::string before =
      Text(*tokenizer, sample.tokens.narrow(0, 0, prompt));
  const std::string after =
      Text(*tokenizer, sample.tokens.narrow(0, prompt, tail));
  EXPECT_THAT(before, ::testing::StartsWith("<|im_start|> This is a very"));
  EXPECT_THAT(before, ::testing::EndsWith(" </book>.\n\n"));
  for (const char* ordinal : {"first", "second"}) {
    const std::string question = std::string("what is the ") + ordinal +
                                 " passkey to the vault?\nPasskey: ";
    const size_t at = after.find(question);
    ASSERT_NE(at, std::string::npos);
    const size_t start = at + question.size();
    const std::string passkey =
        after.substr(start, after.find("\n\n", start) - start);
    EXPECT_EQ(std::count(passkey.begin(), passkey.end(), ' '), 2);
    EXPECT_THAT(before,
                HasSubstr(std::string("it's the ") + ordinal +
                          " passkey to the vault: " + passkey + "\n\n"));
  }
  EXPECT_FALSE(texts->Draw(MakeGenerator(7)).tokens.equal(sample.tokens));
  config.least_length = 100;
  EXPECT_FALSE(
      PasskeyTexts::Create(*tokenizer, "grass is green. ", config).ok());
  EXPECT_FALSE(PasskeyTexts::Create(*tokenizer, "", {}).ok());
  config.num_passkeys = 11;
  EXPECT_FALSE(PasskeyTexts::Create(*tokenizer, "grass ", config).ok());
}

TEST(MemoryTest, ClosedFormsAreTheDossiers) {
  // 2.5526 and 1.6686, computed apart from this code.
  const auto ratio = [](const lm::ModelConfig& c, double full, int64_t tokens) {
    return StaticBytes(c, {}, tokens) / StaticBytes(c, {full}, tokens);
  };
  EXPECT_NEAR(ratio(lm::ModelConfig::Llama2_7B(), 0.25, 134000), 2.5526, 5e-5);
  EXPECT_NEAR(ratio(lm::ModelConfig::Llama3_8B(), 0.5, 517000), 1.6686, 5e-5);
  const lm::ModelConfig c = lm::ModelConfig::Llama3_8B();
  EXPECT_EQ(BytesPerToken(c, {1, true}), 34816 + 4096);
  EXPECT_EQ(BytesPerToken(c, {0.5, true}), 17408 + 4096);
  const double tokens = Capacity(c, {0.5, true}, 80e9);
  EXPECT_NEAR(CapacityBytes(c, {0.5, true}, tokens), 80e9, 1);
}

TEST(MemoryTest, ClosedFormIsWhatTheCacheHolds) {
  const lm::ModelConfig c = Config(4);
  StaticCacheOptions options;
  options.full_heads = EvenHeads(3, 4, 0.5);
  options.capacity = 5000;
  // In two bytes an entry, without allocating.
  const StaticDuoState state(c, at::kMeta, at::kBFloat16, options);
  EXPECT_EQ(static_cast<double>(state.Bytes()) + 2.0 * NumParameters(c),
            StaticBytes(c, {0.5}, 5000));
  EXPECT_THAT(EvenHeads(4, 8, 0.25), ElementsAre(2, 2, 2, 2));
  EXPECT_THAT(EvenHeads(2, 1, 0.5), ElementsAre(0, 1));
}

TEST(SpeedTest, EveryMeasurementRunsAtATinySize) {
  const SpeedRun run{at::kCPU, {0, 1}, std::make_shared<ModelCache>()};
  const at::NoGradGuard no_grad;
  for (const auto measure :
       {MeasureDecode, MeasurePrefill, MeasurePrefillMemory, MeasureAllocated,
        MeasureCapacityReal}) {
    for (const char* name : {"tiny:1@600x100", "tiny:0.5@600x100"}) {
      const auto c = ParseSpeedCase(name);
      ASSERT_TRUE(c.ok()) << c.status();
      std::vector<double> samples;
      std::string scale;
      measure(*c, run, &samples, &scale);
      ASSERT_EQ(samples.size(), 2);
      for (const double sample : samples) EXPECT_GT(sample, 0);
    }
  }
  EXPECT_FALSE(ParseSpeedCase("llama2:2@100").ok());
  EXPECT_FALSE(ParseSpeedCase("gpt:1@100").ok());
  EXPECT_FALSE(ParseSpeedCase("llama2:1").ok());
}

TEST(GateExperimentTest, ComparesAtATinySize) {
  auto recipe = testbed::FindRecipe("testbed_small");
  ASSERT_TRUE(recipe.ok());
  lm::ModelConfig c = Config(4);
  c.vocab_size = recipe->vocabulary.size();
  const auto model = lm::RandomModel(c, MakeGenerator(5), at::kCPU, at::kFloat);
  GateExperiment experiment;
  experiment.names = {"dense",       "duo@0.5",    "random@0.5",
                      "profile@0.5", "window@0.5", "key_value:dense"};
  experiment.steps = 3;
  experiment.count = 2;
  experiment.profile_sequences = 1;
  Quantities quantities;
  std::string scale;
  const absl::Status status =
      CompareHeads(*model, *recipe, experiment, 1, &quantities, &scale);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(quantities.size(), 6);
  EXPECT_THAT(scale, HasSubstr("3 of 2000 steps"));
  experiment.names = {"other@0.5"};
  EXPECT_FALSE(
      CompareHeads(*model, *recipe, experiment, 1, &quantities, &scale).ok());
}

TEST(PolicyTest, RunsByNameAndNamesWhatIsWrong) {
  const auto model = Model(4);
  const auto prepare = [&](const std::string& options) {
    return lm::PreparePolicy("duo", *lm::PolicyOptions::Parse(options), *model);
  };
  const auto factory = prepare("sink=2,recent=4,sparsity=0.5");
  ASSERT_TRUE(factory.ok()) << factory.status();
  const auto state = (*factory)();
  EXPECT_TRUE(Hidden(*model, state.get(), Tokens(40), {30, 1, 9})
                  .isfinite()
                  .all()
                  .item<bool>());
  EXPECT_THAT(prepare("bits=8").status().message(), HasSubstr("4 or 16"));
  EXPECT_THAT(prepare("rule=x").status().message(), HasSubstr("window"));
  EXPECT_FALSE(prepare("gates=/no/such/file").ok());
  EXPECT_FALSE(prepare("sparsity=2").ok());
}

}  // namespace
}  // namespace repro::duo
