#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/complex.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/imag.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/polar.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/real.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "common/count/parameters.h"
#include "common/nn/greedy.h"
#include "common/nn/llama.h"
#include "common/nn/recompute.h"
#include "common/nn/rotary.h"
#include "common/nn/transnormer.h"
#include "common/tensor/generator.h"
#include "common/tensor/testing.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

// Large initial weights, so that attention is far from uniform.
constexpr double kStd = 0.3;

Initializer Init(uint64_t seed, at::ScalarType dtype = at::kDouble) {
  return Initializer(MakeGenerator(seed), dtype);
}

at::Tensor RandomTokens(at::IntArrayRef shape, int64_t vocab_size,
                        uint64_t seed) {
  return at::randint(vocab_size, shape, MakeGenerator(seed), at::kLong);
}

std::map<std::string, at::Tensor> ByName(const Module& module) {
  std::map<std::string, at::Tensor> out;
  for (const auto& [name, tensor] : module.NamedParameters()) {
    out.emplace(name, tensor.detach());
  }
  return out;
}

template <typename M>
std::vector<at::Tensor> Gradients(const M& model, const at::Tensor& tokens) {
  const at::Tensor logits = model.Forward(tokens);
  (logits * RandomNormal(logits.sizes(), 99, logits.options()))
      .sum()
      .backward();
  std::vector<at::Tensor> out;
  for (at::Tensor& p : model.Parameters()) {
    out.push_back(p.grad());
    p.mutable_grad().reset();
  }
  return out;
}

// --- rotary ---

TEST(RotaryTest, TurnsPairsAsComplexNumbers) {
  const int64_t n = 5, d = 6;
  const at::Tensor x = RandomNormal({2, n, d}, 1);
  const at::Tensor positions = at::tensor({0, 1, 2, 7, 100}, at::kLong);
  const at::Tensor out =
      ApplyRotary(x, MakeRotaryTable(positions, d, at::kDouble, 500));
  at::Tensor angle = at::zeros({n, d / 2}, at::kDouble);
  for (int64_t p = 0; p < n; ++p) {
    for (int64_t i = 0; i < d / 2; ++i) {
      angle[p][i] = positions[p].item<int64_t>() * std::pow(500, -2.0 * i / d);
    }
  }
  const at::Tensor turned =
      at::complex(x.narrow(-1, 0, d / 2), x.narrow(-1, d / 2, d / 2)) *
      at::polar(at::ones({n, d / 2}, at::kDouble), angle);
  EXPECT_THAT(out, IsCloseTo(at::cat({at::real(turned), at::imag(turned)}, -1),
                             1e-5, 1e-5));  // angles are float32
}

TEST(RotaryTest, RefusesWhatDoesNotFit) {
  const at::Tensor positions = at::arange(4);
  EXPECT_THROW(MakeRotaryTable(positions, 5, at::kFloat), c10::Error);
  EXPECT_THROW(MakeRotaryTable(positions.view({2, 2}), 4, at::kFloat),
               c10::Error);
  const RotaryTable table = MakeRotaryTable(positions, 4, at::kFloat);
  EXPECT_THROW(ApplyRotary(at::zeros({3, 4}), table), c10::Error);
  EXPECT_THROW(ApplyRotary(at::zeros({4, 6}), table), c10::Error);
}

// --- recompute ---

TEST(RecomputeTest, GivesTheSameGradientsToInputAndLeaves) {
  const at::Tensor w = RandomNormal({3}, 1).requires_grad_();
  int calls = 0;
  const auto function = [&](const at::Tensor& x) {
    ++calls;
    return (x * w).sin() * w;
  };
  const at::Tensor x = RandomNormal({2, 3}, 2).requires_grad_();
  const at::Tensor scale = RandomNormal({2, 3}, 3);
  (function(x) * scale).sum().backward();
  const at::Tensor x_grad = x.grad().clone(), w_grad = w.grad().clone();
  x.mutable_grad().reset();
  w.mutable_grad().reset();

  calls = 0;
  const at::Tensor out = Recompute(function, x);
  EXPECT_EQ(calls, 1);
  (out * scale).sum().backward();
  EXPECT_EQ(calls, 2);
  EXPECT_THAT(x.grad(), IsIdenticalTo(x_grad));
  EXPECT_THAT(w.grad(), IsIdenticalTo(w_grad));

  w.mutable_grad().reset();
  (Recompute(function, x.detach()) * scale).sum().backward();
  EXPECT_THAT(w.grad(), IsIdenticalTo(w_grad));

  at::NoGradGuard no_grad;
  EXPECT_FALSE(Recompute(function, x).requires_grad());
}

// --- LLaMA ---

LlamaConfig SmallLlama() {
  LlamaConfig config;
  config.vocab_size = 11;
  config.dim = 12;
  config.num_layers = 2;
  config.num_heads = 3;
  config.ffn_dim = 10;
  config.init_std = kStd;
  return config;
}

// transformers' LlamaConfig() of 7B has 6,738,415,616 parameters.
TEST(LlamaTest, CountsTheParametersOfLlama7B) {
  EXPECT_EQ(CountParameters(Llama(LlamaConfig::Llama7B(), Initializer::Meta())),
            6738415616);
}

TEST(LlamaTest, OneLayerIsItsEquations) {
  LlamaConfig config = SmallLlama();
  config.num_layers = 1;
  const int64_t n = 7, heads = 3, d = 4;
  const Llama model(config, Init(1));
  const at::Tensor tokens = RandomTokens({2, n}, config.vocab_size, 2);
  std::map<std::string, at::Tensor> w = ByName(model);
  const auto norm = [](const at::Tensor& x) {
    return x / (x.pow(2).mean(-1, true) + 1e-6).sqrt();
  };
  const auto times = [](const at::Tensor& x, const at::Tensor& weight) {
    return at::matmul(x, weight.t());
  };
  at::Tensor x = at::embedding(w["embedding"], tokens);
  const at::Tensor qkv = times(norm(x), w["layer0.qkv.weight"]);
  const RotaryTable rotary = MakeRotaryTable(at::arange(n), d, at::kDouble);
  std::vector<at::Tensor> outputs;
  for (int64_t h = 0; h < heads; ++h) {
    const at::Tensor q = ApplyRotary(qkv.narrow(-1, h * d, d), rotary);
    const at::Tensor k = ApplyRotary(qkv.narrow(-1, 12 + h * d, d), rotary);
    const at::Tensor v = qkv.narrow(-1, 24 + h * d, d);
    const at::Tensor scores =
        (at::matmul(q, k.transpose(-1, -2)) / std::sqrt(d))
            .masked_fill(at::ones({n, n}, at::kBool).triu(1), -INFINITY);
    outputs.push_back(at::matmul(at::softmax(scores, -1), v));
  }
  x = x + times(at::cat(outputs, -1), w["layer0.output.weight"]);
  const at::Tensor gate_up = times(norm(x), w["layer0.ffn.gate_up.weight"]);
  const at::Tensor gate = gate_up.narrow(-1, 0, 10);
  x = x + times(gate * at::sigmoid(gate) * gate_up.narrow(-1, 10, 10),
                w["layer0.ffn.down.weight"]);
  EXPECT_THAT(model.Forward(tokens),
              IsCloseTo(times(norm(x), w["head"]), 1e-9, 1e-9));
}

// Grouped queries are ordinary ones whose keys and values are repeated.
TEST(LlamaTest, GroupedQueriesAreRepeatedKeys) {
  LlamaConfig config = SmallLlama();
  config.num_layers = 1;
  config.num_heads = 6;
  config.num_kv_heads = 2;
  const Llama grouped(config, Init(1));
  config.num_kv_heads = 6;
  const Llama full(config, Init(2));
  std::map<std::string, at::Tensor> from = ByName(grouped), to = ByName(full);
  for (auto& [name, tensor] : to) {
    if (name != "layer0.qkv.weight") tensor.copy_(from[name]);
  }
  const at::Tensor qkv = from["layer0.qkv.weight"];
  std::vector<at::Tensor> rows = {qkv.narrow(0, 0, 12)};
  for (const int64_t first : {12, 16}) {  // of keys, of values
    rows.push_back(qkv.narrow(0, first, 4)
                       .view({2, 1, 2, 12})
                       .expand({2, 3, 2, 12})
                       .reshape({12, 12}));
  }
  to["layer0.qkv.weight"].copy_(at::cat(rows));
  const at::Tensor tokens = RandomTokens({2, 9}, config.vocab_size, 3);
  EXPECT_THAT(grouped.Forward(tokens),
              IsCloseTo(full.Forward(tokens), 1e-9, 1e-9));
}

TEST(LlamaTest, DecodingIsForward) {
  for (const int64_t kv_heads : {3, 1}) {
    for (const bool device_length : {false, true}) {
      if (device_length && kv_heads != 3) continue;
      LlamaConfig config = SmallLlama();
      config.num_kv_heads = kv_heads;
      config.tie_embeddings = kv_heads == 1;
      const Llama model(config, Init(1, at::kFloat));
      const at::Tensor tokens = RandomTokens({2, 10}, config.vocab_size, 2);
      const at::Tensor all = model.Forward(tokens);
      LlamaCache cache = model.MakeCache(2, 10, device_length);
      EXPECT_THAT(model.Prefill(tokens.narrow(1, 0, 4), &cache),
                  IsCloseTo(all.select(1, 3), 1e-4, 1e-4));
      for (int64_t t = 4; t < 10; ++t) {
        EXPECT_THAT(model.Step(tokens.select(1, t), &cache),
                    IsCloseTo(all.select(1, t), 1e-4, 1e-4))
            << t << " of kv_heads " << kv_heads;
      }
      EXPECT_EQ(cache.length, 10);
      EXPECT_EQ(cache.position.item<int64_t>(), 10);
    }
  }
}

// One prompt at a time, by the whole forward run.
TEST(WriteGreedilyTest, IsForwardsLikeliestToken) {
  const at::NoGradGuard no_grad;
  const Llama model(SmallLlama(), Init(3, at::kFloat));
  const std::vector<std::vector<int32_t>> prompts = {
      {1, 2, 3}, {4}, {5, 6, 7}, {8, 0}, {2, 2, 2}};
  constexpr int64_t kMaxTokens = 6;
  std::vector<std::vector<int32_t>> expected;
  for (std::vector<int32_t> tokens : prompts) {
    const size_t length = tokens.size();
    for (int64_t t = 0; t < kMaxTokens; ++t) {
      const at::Tensor logits =
          model.Forward(at::tensor(tokens, at::kLong).unsqueeze(0))[0][-1];
      tokens.push_back(logits.argmax().item<int32_t>());
    }
    expected.emplace_back(tokens.begin() + length, tokens.end());
  }
  EXPECT_EQ(WriteGreedily(model, prompts, /*end=*/-1, kMaxTokens, at::kCPU),
            expected);
  // Up to the third token of the first text.
  const int32_t end = expected[0][2];
  for (std::vector<int32_t>& text : expected) {
    text.erase(std::find(text.begin(), text.end(), end), text.end());
  }
  EXPECT_LT(expected[0].size(), 3);
  EXPECT_EQ(WriteGreedily(model, prompts, end, kMaxTokens, at::kCPU), expected);
  EXPECT_TRUE(WriteGreedily(model, {}, end, kMaxTokens, at::kCPU).empty());
  EXPECT_THROW(WriteGreedily(model, {{1}, {}}, end, kMaxTokens, at::kCPU),
               c10::Error);
}

TEST(LlamaTest, RecomputingGivesTheSameGradients) {
  LlamaConfig config = SmallLlama();
  const at::Tensor tokens = RandomTokens({2, 6}, config.vocab_size, 2);
  const std::vector<at::Tensor> expected =
      Gradients(Llama(config, Init(1)), tokens);
  config.recompute = true;
  const std::vector<at::Tensor> out = Gradients(Llama(config, Init(1)), tokens);
  ASSERT_EQ(out.size(), expected.size());
  for (size_t i = 0; i < out.size(); ++i) {
    EXPECT_THAT(out[i], IsIdenticalTo(expected[i])) << i;
  }
}

TEST(LlamaTest, MixedPrecisionKeepsWeightsAndGradientsInFloat32) {
  LlamaConfig config = SmallLlama();
  config.init_std = 0.1;
  const at::Tensor tokens = RandomTokens({2, 6}, config.vocab_size, 2);
  const at::Tensor expected =
      Llama(config, Init(1, at::kFloat)).Forward(tokens);
  config.compute_dtype = at::kBFloat16;
  const Llama model(config, Init(1, at::kFloat));
  const at::Tensor logits = model.Forward(tokens);
  EXPECT_EQ(logits.scalar_type(), at::kBFloat16);
  EXPECT_THAT(logits, RelativeErrorBelow(expected, 0.02));
  for (const at::Tensor& gradient : Gradients(model, tokens)) {
    EXPECT_EQ(gradient.scalar_type(), at::kFloat);
  }
}

TEST(LlamaTest, RefusesWhatDoesNotFit) {
  LlamaConfig config = SmallLlama();
  const Llama model(config, Init(1));
  EXPECT_THROW(model.Forward(at::zeros({3}, at::kLong)), c10::Error);
  LlamaCache cache = model.MakeCache(1, 2);
  EXPECT_THROW(model.Prefill(at::zeros({1, 3}, at::kLong), &cache), c10::Error);
  EXPECT_THROW(model.Prefill(at::zeros({2, 2}, at::kLong), &cache), c10::Error);
  model.Prefill(at::zeros({1, 2}, at::kLong), &cache);
  EXPECT_THAT([&] { model.Step(at::zeros({1}, at::kLong), &cache); },
              ThrowsMessage<c10::Error>(HasSubstr("full")));
  EXPECT_THROW(model.Prefill(at::zeros({1, 1}, at::kLong), &cache), c10::Error);
  config.num_heads = 5;
  EXPECT_THROW(Llama(config, Init(1)), c10::Error);
  config = SmallLlama();
  config.num_kv_heads = 2;
  EXPECT_THROW(Llama(config, Init(1)), c10::Error);
  config.num_kv_heads = 1;
  EXPECT_THROW(Llama(config, Init(1)).MakeCache(1, 2, true), c10::Error);
}

// --- TransNormerLLM ---

TransnormerConfig SmallTransnormer() {
  TransnormerConfig config;
  config.vocab_size = 11;
  config.dim = 12;
  config.num_layers = 3;
  config.num_heads = 3;
  config.glu_dim = 10;
  config.init_std = kStd;
  return config;
}

// 24 (5 * 1024^2 + 3 * 1024 * 2816) + 64000 * 1024, and LRPE's 1024 angles.
TEST(TransnormerTest, CountsTheParametersOfTheReleasedConfiguration) {
  TransnormerConfig config = TransnormerConfig::Size385M();
  EXPECT_EQ(CountParameters(Transnormer(config, Initializer::Meta())),
            398983168 + 1024);
  config.lrpe = TransnormerLrpe::kNone;
  const Transnormer model(config, Initializer::Meta());
  EXPECT_EQ(CountParameters(model), 398983168);
  EXPECT_EQ(ParametersByPrefix(model).at("layer7"), 13893632);
}

TEST(TransnormerTest, OptionsAddAndRemoveParameters) {
  const auto count = [](const TransnormerConfig& config) {
    return CountParameters(Transnormer(config, Initializer::Meta()));
  };
  const TransnormerConfig base = SmallTransnormer();
  const int64_t reference = 2 * 11 * 12 + 3 * (5 * 144 + 3 * 120) + 12;
  EXPECT_EQ(count(base), reference);
  TransnormerConfig config = base;
  config.gate = false;
  EXPECT_EQ(count(config), reference - 3 * 144);
  config = base;
  config.norm = TransnormerNorm::kRms;
  EXPECT_EQ(count(config), reference + (3 * 3 + 1) * 12);
  config.norm = TransnormerNorm::kLayer;
  EXPECT_EQ(count(config), reference + (3 * 3 + 1) * 24);
  config = base;
  config.lrpe = TransnormerLrpe::kAllLayers;
  EXPECT_EQ(count(config), reference + 24);
  config = base;
  config.hidden_dim = 24;
  EXPECT_EQ(count(config), reference + 3 * 5 * 144 + 12);
}

TEST(TransnormerTest, SlopesOfBothConventions) {
  TransnormerConfig config;
  config.num_heads = 4;
  config.num_layers = 3;
  EXPECT_THAT(
      TransnormerSlopes(config, 0),
      IsCloseTo(at::tensor({0.25, 0.0625, 0.015625, 0.00390625}) * (1 + 1e-5),
                1e-6, 0));
  EXPECT_THAT(
      TransnormerSlopes(config, 1),
      IsCloseTo(at::tensor({0.25, 0.0625, 0.015625, 0.00390625}) * (0.5 + 1e-5),
                1e-6, 0));
  EXPECT_THAT(
      TransnormerSlopes(config, 2),
      IsCloseTo(at::tensor({2.5e-6, 6.25e-7, 1.5625e-7, 3.90625e-8}), 1e-6, 0));
  config.decay_temperature = false;
  EXPECT_THAT(TransnormerSlopes(config, 2),
              IsIdenticalTo(TransnormerSlopes(config, 0)));
  config.decay = TransnormerDecay::kAsPublished;
  EXPECT_THAT(TransnormerSlopes(config, 1),
              IsCloseTo(at::tensor({2.0, 4.0, 6.0, 8.0}), 1e-6, 0));
  config.decay_temperature = true;
  EXPECT_THAT(TransnormerSlopes(config, 0),
              IsCloseTo(at::tensor({2.0, 4.0, 6.0, 8.0}) * (2.0 / 3), 1e-6, 0));
  EXPECT_THAT(TransnormerSlopes(config, 2), IsCloseTo(at::zeros({4}), 0, 0));
  config.decay = TransnormerDecay::kNone;
  EXPECT_THAT(TransnormerSlopes(config, 0), IsCloseTo(at::zeros({4}), 0, 0));
  EXPECT_THROW(TransnormerSlopes(config, 3), c10::Error);
}

// sum_i q_i k_i cos((t - j) theta_i), which sees t - j alone.
TEST(TransnormerTest, LrpeProductsDependOnTheDistance) {
  const at::Tensor q = RandomNormal({1, 2, 1, 4}, 1);
  const at::Tensor k = RandomNormal({1, 2, 1, 4}, 2);
  const at::Tensor theta = RandomNormal({2, 4}, 3).abs();
  const auto product = [&](int64_t t, int64_t j) {
    return (Lrpe(q, theta, at::tensor({t})) * Lrpe(k, theta, at::tensor({j})))
        .sum(-1);
  };
  for (const int64_t distance : {0, 1, 13}) {
    const at::Tensor expected =
        (q * k * (distance * theta).cos().unsqueeze(1)).sum(-1);
    EXPECT_THAT(product(distance, 0), IsCloseTo(expected, 1e-5, 1e-5));
    EXPECT_THAT(product(5 + distance, 5), IsCloseTo(expected, 1e-5, 1e-5));
  }
  EXPECT_THAT(Lrpe(q, at::zeros({2, 4}, at::kDouble), at::tensor({3})),
              IsCloseTo(at::cat({q, at::zeros_like(q)}, -1), 0, 0));
}

TEST(TransnormerTest, OneLayerIsItsEquations) {
  TransnormerConfig config = SmallTransnormer();
  config.num_layers = 1;
  config.decay = TransnormerDecay::kNone;
  const int64_t n = 7, heads = 3, d = 4;
  const Transnormer model(config, Init(1));
  const at::Tensor tokens = RandomTokens({2, n}, config.vocab_size, 2);
  std::map<std::string, at::Tensor> w = ByName(model);
  EXPECT_THAT(
      w["layer0.theta"],
      IsCloseTo(at::pow(10000, at::arange(12, at::kDouble) / -6).view({3, 4}),
                1e-5, 0));
  const auto norm = [](const at::Tensor& x) {
    return x / (x.pow(2).mean(-1, true) + 1e-6).sqrt();
  };
  const auto times = [](const at::Tensor& x, const at::Tensor& weight) {
    return at::matmul(x, weight.t());
  };
  at::Tensor x = at::embedding(w["embedding"], tokens) * std::sqrt(12);
  const at::Tensor qkvu = times(norm(x), w["layer0.qkvu.weight"]);
  const at::Tensor distance =
      at::arange(n, at::kDouble).view({-1, 1}) - at::arange(n, at::kDouble);
  std::vector<at::Tensor> outputs;
  for (int64_t h = 0; h < heads; ++h) {
    at::Tensor q = qkvu.narrow(-1, h * d, d);
    at::Tensor k = qkvu.narrow(-1, 12 + h * d, d);
    q = q * at::sigmoid(q);
    k = k * at::sigmoid(k);
    at::Tensor scores = at::zeros({2, n, n}, at::kDouble);
    for (int64_t i = 0; i < d; ++i) {
      scores += q.narrow(-1, i, 1) * k.narrow(-1, i, 1).transpose(1, 2) *
                (distance * w["layer0.theta"][h][i]).cos();
    }
    outputs.push_back(
        at::matmul(scores.tril(), qkvu.narrow(-1, 24 + h * d, d)));
  }
  x = x + times(norm(at::cat(outputs, -1)) * qkvu.narrow(-1, 36, 12),
                w["layer0.output.weight"]);
  const at::Tensor glu = times(norm(x), w["layer0.glu_in.weight"]);
  x = x + times(glu.narrow(-1, 0, 10) * glu.narrow(-1, 10, 10),
                w["layer0.glu_out.weight"]);
  EXPECT_THAT(model.Forward(tokens),
              IsCloseTo(times(norm(x), w["head"]), 1e-4, 1e-4));
}

// Every choice that changes what is computed.
std::vector<TransnormerConfig> Variants() {
  std::vector<TransnormerConfig> out(8, SmallTransnormer());
  out[1].lrpe = TransnormerLrpe::kAllLayers;
  out[2].decay = TransnormerDecay::kAsPublished;
  out[2].lrpe = TransnormerLrpe::kNone;
  out[3].decay = TransnormerDecay::kNone;
  out[3].absolute_positions = true;
  out[4].gate = false;
  out[4].norm = TransnormerNorm::kRms;
  out[4].tie_embeddings = true;
  out[5].activation = TransnormerActivation::kEluPlusOne;
  out[5].norm = TransnormerNorm::kLayer;
  out[6].activation = TransnormerActivation::kNone;
  out[6].glu_activation = TransnormerActivation::kSilu;
  out[7].num_heads = 1;  // LRPE's keys are 192 wide
  out[7].hidden_dim = 96;
  return out;
}

TEST(TransnormerTest, ThreeFormsOfAttentionAgree) {
  for (const TransnormerConfig& base : Variants()) {
    TransnormerConfig config = base;
    const at::Tensor tokens = RandomTokens({2, 70}, config.vocab_size, 2);
    config.attention = TransnormerAttention::kQuadratic;
    const Transnormer quadratic(config, Init(1));
    const at::Tensor expected = quadratic.Forward(tokens);
    const std::vector<at::Tensor> gradients = Gradients(quadratic, tokens);
    for (const TransnormerAttention form :
         {TransnormerAttention::kKernel, TransnormerAttention::kRecurrent}) {
      config.attention = form;
      const Transnormer model(config, Init(1));
      EXPECT_THAT(model.Forward(tokens), IsCloseTo(expected, 1e-5, 1e-5));
      const std::vector<at::Tensor> out = Gradients(model, tokens);
      ASSERT_EQ(out.size(), gradients.size());
      for (size_t i = 0; i < out.size(); ++i) {
        EXPECT_THAT(out[i], RelativeErrorBelow(gradients[i], 1e-4)) << i;
      }
    }
  }
}

TEST(TransnormerTest, DecodingIsForward) {
  for (const TransnormerConfig& config : Variants()) {
    const Transnormer model(config, Init(1, at::kFloat));
    const at::Tensor tokens = RandomTokens({2, 80}, config.vocab_size, 2);
    const at::Tensor all = model.Forward(tokens);
    TransnormerState state = model.MakeState(2);
    EXPECT_THAT(model.Prefill(tokens.narrow(1, 0, 66), &state),
                IsCloseTo(all.select(1, 65), 1e-3, 1e-3));
    for (int64_t t = 66; t < 70; ++t) {
      EXPECT_THAT(model.Step(tokens.select(1, t), &state),
                  IsCloseTo(all.select(1, t), 1e-3, 1e-3));
    }
    EXPECT_THAT(model.Prefill(tokens.narrow(1, 70, 10), &state),
                IsCloseTo(all.select(1, 79), 1e-3, 1e-3));
    EXPECT_EQ(state.position.item<int64_t>(), 80);
  }
}

// The norm after attention takes out any positive factor of v, and with it
// 1 / sqrt(head_dim).
TEST(TransnormerTest, OutputDoesNotDependOnTheScaleOfValues) {
  TransnormerConfig config = SmallTransnormer();
  config.norm_eps = 1e-30;
  const Transnormer model(config, Init(1));
  const at::Tensor tokens = RandomTokens({2, 20}, config.vocab_size, 2);
  const at::Tensor expected = model.Forward(tokens).detach();
  for (auto& [name, tensor] : ByName(model)) {
    if (testing::Value(name, HasSubstr("qkvu"))) {
      at::Tensor(tensor).narrow(0, 24, 12).mul_(7);
    }
  }
  EXPECT_THAT(model.Forward(tokens), IsCloseTo(expected, 1e-9, 1e-9));
}

TEST(TransnormerTest, IsCausal) {
  const Transnormer model(SmallTransnormer(), Init(1));
  const at::Tensor tokens = RandomTokens({1, 70}, 11, 2);
  at::Tensor changed = tokens.clone();
  changed[0][40] = (changed[0][40] + 1) % 11;
  const at::Tensor a = model.Forward(tokens), b = model.Forward(changed);
  EXPECT_THAT(a.narrow(1, 0, 40), IsCloseTo(b.narrow(1, 0, 40), 0, 1e-12));
  EXPECT_GT((a - b).narrow(1, 69, 1).abs().max().item<double>(), 1e-6);
}

TEST(TransnormerTest, RecomputingGivesTheSameGradients) {
  TransnormerConfig config = SmallTransnormer();
  const at::Tensor tokens = RandomTokens({2, 6}, config.vocab_size, 2);
  const std::vector<at::Tensor> expected =
      Gradients(Transnormer(config, Init(1)), tokens);
  config.recompute = true;
  const std::vector<at::Tensor> out =
      Gradients(Transnormer(config, Init(1)), tokens);
  ASSERT_EQ(out.size(), expected.size());
  for (size_t i = 0; i < out.size(); ++i) {
    EXPECT_THAT(out[i], IsIdenticalTo(expected[i])) << i;
  }
}

TEST(TransnormerTest, RefusesWhatDoesNotFit) {
  TransnormerConfig config = SmallTransnormer();
  const Transnormer model(config, Init(1));
  EXPECT_THROW(model.Forward(at::zeros({3}, at::kLong)), c10::Error);
  EXPECT_THROW(model.MakeState(0), c10::Error);
  TransnormerState state = model.MakeState(2);
  EXPECT_THROW(model.Prefill(at::zeros({1, 3}, at::kLong), &state), c10::Error);
  EXPECT_THROW(model.Prefill(at::zeros({2, 0}, at::kLong), &state), c10::Error);
  EXPECT_THROW(model.Step(at::zeros({3}, at::kLong), &state), c10::Error);
  config.num_heads = 5;
  EXPECT_THROW(Transnormer(config, Init(1)), c10::Error);
  config = SmallTransnormer();
  config.glu_dim = 0;
  EXPECT_THROW(Transnormer(config, Init(1)), c10::Error);
}

}  // namespace
}  // namespace repro
