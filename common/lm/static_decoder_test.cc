#include "common/lm/static_decoder.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>

#include <memory>
#include <vector>

#include "common/lm/dense_state.h"
#include "common/tensor/generator.h"
#include "common/tensor/testing.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro::lm {
namespace {

ModelConfig SmallConfig(bool bias) {
  ModelConfig config;
  config.vocab_size = 61;
  config.hidden_size = 32;
  config.intermediate_size = 48;
  config.num_layers = 2;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 8;
  config.max_positions = 64;
  config.rope_theta = 100;
  config.attention_bias = bias;
  config.tie_embeddings = bias;
  return config;
}

// Weights large enough that attention is far from uniform.
std::unique_ptr<LanguageModel> SmallModel(bool bias) {
  auto model =
      RandomModel(SmallConfig(bias), MakeGenerator(1), at::kCPU, at::kDouble);
  ModelWeights& weights = model->mutable_weights();
  for (LayerWeights& layer : weights.layers) {
    for (LinearWeight* weight :
         {&layer.qkv, &layer.output, &layer.gate_up, &layer.down}) {
      weight->dense.mul_(20);
    }
  }
  return model;
}

at::Tensor Prompt(int64_t tokens, uint64_t seed) {
  return at::randint(61, {tokens}, MakeGenerator(seed), at::kLong);
}

TEST(StaticDecoder, IsTheModelTokenByToken) {
  const at::NoGradGuard no_grad;
  for (const bool bias : {false, true}) {
    const auto model = SmallModel(bias);
    StaticDecoder decoder(*model, /*batch=*/2, /*capacity=*/32);
    const std::vector<at::Tensor> prompts = {Prompt(9, 2), Prompt(1, 3)};
    std::vector<std::unique_ptr<AttentionState>> states;
    std::vector<at::Tensor> logits;
    for (int64_t b = 0; b < 2; ++b) {
      decoder.Prefill(b, prompts[b], /*chunk=*/4);
      states.push_back(
          MakeDenseState(model->config(), model->device(), model->dtype()));
      logits.push_back(model->Forward({{prompts[b], states[b].get(), 0}})[0]);
    }
    for (int64_t step = 0; step < 12; ++step) {
      for (int64_t b = 0; b < 2; ++b) {
        // The model's own cast of logits to float32.
        EXPECT_THAT(decoder.logits()[b], IsCloseTo(logits[b], 1e-5, 1e-6))
            << "sequence " << b << " step " << step;
        const at::Tensor token = logits[b].argmax(-1, /*keepdim=*/true);
        EXPECT_EQ(decoder.tokens()[b].item<int64_t>(), token.item<int64_t>());
        EXPECT_EQ(decoder.lengths()[b].item<int32_t>(),
                  prompts[b].size(0) + step);
        logits[b] = model->Forward(
            {{token, states[b].get(), prompts[b].size(0) + step}})[0];
      }
      decoder.Step();
    }
  }
}

TEST(StaticDecoder, ASequenceStartsAnew) {
  const at::NoGradGuard no_grad;
  const auto model = SmallModel(false);
  StaticDecoder decoder(*model, 1, 16);
  decoder.Prefill(0, Prompt(7, 2));
  const at::Tensor expected = decoder.logits().clone();
  decoder.Step();
  decoder.Prefill(0, Prompt(3, 5));
  decoder.Prefill(0, Prompt(7, 2));
  EXPECT_THAT(decoder.logits(), IsCloseTo(expected, 0, 0));
}

// The recorded step against the model's own pass on the same GPU.
TEST(StaticDecoder, IsTheModelOnCuda) {
  REPRO_SKIP_WITHOUT_CUDA();
  const at::NoGradGuard no_grad;
  const c10::Device device(c10::kCUDA, 0);
  ModelConfig config = SmallConfig(false);
  config.hidden_size = 256;
  config.intermediate_size = 512;
  config.head_dim = 64;
  config.max_positions = 2048;
  for (const int64_t batch : {1, 2}) {
    const auto model =
        RandomModel(config, MakeGenerator(1, 0, device), device, at::kBFloat16);
    StaticDecoder decoder(*model, batch, /*capacity=*/1100);
    std::vector<std::unique_ptr<AttentionState>> states;
    const std::vector<at::Tensor> prompts = {Prompt(1000, 2), Prompt(3, 3)};
    for (int64_t b = 0; b < batch; ++b) {
      decoder.Prefill(b, prompts[b]);
      states.push_back(
          MakeDenseState(model->config(), model->device(), model->dtype()));
      model->Forward({{prompts[b], states[b].get(), 0}});
    }
    for (int64_t step = 0; step < 20; ++step) {
      // The decoder's tokens for both: near ties are told apart by rounding.
      const at::Tensor tokens = decoder.tokens().clone();
      decoder.Step();
      for (int64_t b = 0; b < batch; ++b) {
        EXPECT_THAT(
            decoder.logits()[b],
            RelativeErrorBelow(
                model->Forward({{tokens.narrow(0, b, 1), states[b].get(),
                                 prompts[b].size(0) + step}})[0],
                2e-2))
            << "batch " << batch << " sequence " << b << " step " << step;
      }
    }
  }
}

TEST(StaticDecoder, Errors) {
  const at::NoGradGuard no_grad;
  const auto model = SmallModel(false);
  EXPECT_THROW(StaticDecoder(*model, 0, 16), c10::Error);
  EXPECT_THROW(StaticDecoder(*model, 1, 0), c10::Error);
  StaticDecoder decoder(*model, 1, 4);
  EXPECT_THROW(decoder.Prefill(1, Prompt(2, 1)), c10::Error);
  EXPECT_THROW(decoder.Prefill(0, Prompt(5, 1)), c10::Error);
  EXPECT_THROW(decoder.Prefill(0, at::zeros({0}, at::kLong)), c10::Error);
  EXPECT_THROW(decoder.SetLength(5), c10::Error);
  decoder.Prefill(0, Prompt(3, 1));
  EXPECT_NO_THROW(decoder.Step());
  EXPECT_THROW(decoder.Step(), c10::Error);
}

}  // namespace
}  // namespace repro::lm
