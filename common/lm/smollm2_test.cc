// Checkpoints: SmolLM2 against transformers' reading of the same file, and what
// SaveModel writes.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>
#include <sys/stat.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/assets/asset_store.h"
#include "common/data/io.h"
#include "common/lm/default_model.h"
#include "common/lm/dense_state.h"
#include "common/lm/model.h"
#include "common/lm/perplexity.h"
#include "common/tensor/generator.h"
#include "common/tensor/testing.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace repro::lm {
namespace {

using ::testing::HasSubstr;

at::Tensor Ids(const nlohmann::json& list) {
  return at::tensor(list.get<std::vector<int64_t>>(), at::kLong);
}

std::unique_ptr<AttentionState> Dense(const LanguageModel& model) {
  return MakeDenseState(model.config(), at::kCPU, model.dtype());
}

class SmolLm2Test : public ::testing::Test {
 protected:
  void SetUp() override {
    AssetStoreOptions options = AssetStoreOptions::FromEnvironment();
    options.offline = true;
    const auto asset = AssetStore(options).Locate(DefaultModel());
    if (absl::IsNotFound(asset.status())) GTEST_SKIP() << asset.status();
    ASSERT_TRUE(asset.ok()) << asset.status();
    path_ = asset->path;
    std::ifstream file("common/lm/testdata/smollm2_reference.json");
    reference_ = nlohmann::json::parse(file);
  }

  std::unique_ptr<LanguageModel> Load(bool keep_quantized,
                                      at::ScalarType dtype = at::kFloat) {
    LoadOptions options;
    options.keep_quantized = keep_quantized;
    options.dtype = dtype;
    auto model = LoadModel(path_, options);
    EXPECT_TRUE(model.ok()) << model.status();
    return *std::move(model);
  }

  std::string path_;
  nlohmann::json reference_;
  at::NoGradGuard no_grad_;
};

TEST_F(SmolLm2Test, LogitsAreThoseOfTransformers) {
  const auto model = Load(/*keep_quantized=*/false);
  EXPECT_EQ(model->WeightBytes(), 4 * 134515008);
  for (const auto& prompt : reference_["prompts"]) {
    const auto state = Dense(*model);
    const at::Tensor logits =
        model->Forward({{Ids(prompt["tokens"]), state.get(), 0}})[0].to(
            at::kDouble);
    // Logits reach 40; float32 keeps 7 digits and 30 layers lose one or two.
    const auto [values, ids] = logits.topk(10);
    EXPECT_THAT(ids, IsIdenticalTo(Ids(prompt["top_ids"])));
    EXPECT_THAT(
        values,
        IsCloseTo(at::tensor(prompt["top_logits"].get<std::vector<double>>(),
                             at::kDouble),
                  1e-5, 1e-4));
    EXPECT_NEAR(logits.logsumexp(0).item<double>(),
                prompt["log_sum_exp"].get<double>(), 1e-4);
    EXPECT_NEAR(logits.sum().item<double>(), prompt["sum"].get<double>(),
                1e-4 * 49152);
    EXPECT_NEAR(logits.square().sum().item<double>() /
                    prompt["sum_of_squares"].get<double>(),
                1, 1e-5);
  }
  const auto& text = reference_["perplexity"];
  const double expected =
      std::exp(text["negative_log_likelihood"].get<double>() /
               text["predicted"].get<int64_t>());
  for (const int64_t stride : {1000, 64}) {
    const Likelihood result = Perplexity(
        *model, [&] { return Dense(*model); }, Ids(text["tokens"]), stride);
    EXPECT_EQ(result.predicted, text["predicted"].get<int64_t>());
    EXPECT_NEAR(result.perplexity() / expected, 1, 1e-4);
  }
}

// The matrix kernels for blocks round activations to 8 bits.
TEST_F(SmolLm2Test, QuantisedWeightsAreAsGood) {
  const auto model = Load(/*keep_quantized=*/true);
  EXPECT_LT(model->WeightBytes(), 110e6);
  const at::Tensor text = Ids(reference_["perplexity"]["tokens"]);
  const int64_t count = text.size(0) - 1;
  const auto log_probabilities = [&](const LanguageModel& of) {
    const auto state = Dense(of);
    return of.Logits(of.Hidden({{text.narrow(0, 0, count), state.get(), 0}}))
        .to(at::kDouble)
        .log_softmax(-1);
  };
  const at::Tensor rounded = log_probabilities(*model);
  const at::Tensor exact = log_probabilities(*Load(/*keep_quantized=*/false));
  // The text is as likely up to three standard errors of the paired difference
  // over its tokens, and the distributions are close.
  const at::Tensor loss =
      (exact - rounded).gather(1, text.narrow(0, 1, count).unsqueeze(1));
  EXPECT_LT(loss.mean().item<double>(),
            3 * loss.std().item<double>() / std::sqrt(count));
  EXPECT_LT((exact.exp() * (exact - rounded)).sum(-1).mean().item<double>(),
            0.01);
  for (const auto& prompt : reference_["prompts"]) {
    const auto& top = prompt["top_logits"];
    // Rounding may turn two tokens that are nearly as likely.
    if (top[0].get<double>() - top[1].get<double>() < 1) continue;
    const auto state = Dense(*model);
    EXPECT_EQ(model->Forward({{Ids(prompt["tokens"]), state.get(), 0}})[0]
                  .argmax()
                  .item<int64_t>(),
              prompt["top_ids"][0].get<int64_t>());
  }
  // One token at a time is the same to rounding of the scales' inputs.
  const at::Tensor tokens = Ids(reference_["prompts"][1]["tokens"]);
  const auto state = Dense(*model), stepped = Dense(*model);
  const at::Tensor logits = model->Forward({{tokens, state.get(), 0}});
  at::Tensor last;
  for (int64_t i = 0; i < tokens.size(0); ++i) {
    last = model->Forward({{tokens.narrow(0, i, 1), stepped.get(), i}});
  }
  EXPECT_THAT(last, RelativeErrorBelow(logits, 0.02));
}

// --- SaveModel ---

std::string Folder(const std::string& name) {
  const std::string folder = ::testing::TempDir() + "/" + name;
  mkdir(folder.c_str(), 0755);
  return folder;
}

ModelConfig SmallConfig() {
  ModelConfig config;
  config.vocab_size = 29;
  config.hidden_size = 24;
  config.intermediate_size = 40;
  config.num_layers = 2;
  config.num_heads = 6;
  config.num_kv_heads = 2;
  config.head_dim = 8;
  config.max_positions = 64;
  config.bos_id = 1;
  config.eos_ids = {2, 5};
  config.rope_scaling = {RopeScaling::Type::kLlama3, 8, 1, 4, 32};
  return config;
}

TEST(SaveModelTest, LoadsAsItWas) {
  for (const bool qwen : {false, true}) {
    ModelConfig config = SmallConfig();
    config.tie_embeddings = qwen;
    if (qwen) {
      config.architecture = "qwen2";
      config.attention_bias = true;
      config.rope_scaling = {RopeScaling::Type::kLinear, 2};
    }
    const auto model =
        RandomModel(config, MakeGenerator(1), at::kCPU, at::kFloat);
    const std::string folder = Folder("saved");
    ASSERT_TRUE(SaveModel(*model, folder).ok());
    const auto loaded = LoadModel(folder, {});
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    const ModelConfig& c = (*loaded)->config();
    EXPECT_EQ(c.eos_ids, config.eos_ids);
    EXPECT_EQ(c.bos_id, 1);
    EXPECT_EQ(c.architecture, config.architecture);
    const at::Tensor tokens = at::arange(20, at::kLong);
    at::NoGradGuard no_grad;
    const auto before = Dense(*model), after = Dense(**loaded);
    EXPECT_THAT((*loaded)->Forward({{tokens, after.get(), 0}}),
                IsIdenticalTo(model->Forward({{tokens, before.get(), 0}})));
  }
}

TEST(LoadModelTest, SaysWhatIsWrong) {
  const std::string folder = Folder("wrong");
  const auto message = [&](const std::string& path) {
    return std::string(LoadModel(path, {}).status().message());
  };
  EXPECT_THAT(message("/no/such.gguf"), HasSubstr("/no/such.gguf"));
  ASSERT_TRUE(WriteFileAtomically(folder + "/x.gguf", "GGUF").ok());
  EXPECT_THAT(message(folder + "/x.gguf"), HasSubstr("x.gguf"));

  const auto model =
      RandomModel(SmallConfig(), MakeGenerator(1), at::kCPU, at::kFloat);
  ASSERT_TRUE(SaveModel(*model, folder).ok());
  std::ifstream file(folder + "/config.json");
  const auto config = nlohmann::json::parse(file);
  const auto with = [&](const char* field, int64_t value) {
    auto changed = config;
    changed[field] = value;
    EXPECT_TRUE(
        WriteFileAtomically(folder + "/config.json", changed.dump()).ok());
    return message(folder);
  };
  EXPECT_THAT(with("vocab_size", 30),
              HasSubstr("tensor 'lm_head.weight' is [29, 24], expected "
                        "[30, 24]"));
  EXPECT_THAT(with("num_hidden_layers", 3),
              HasSubstr("model.layers.2.input_layernorm.weight"));
  EXPECT_THAT(with("num_hidden_layers", 1),
              HasSubstr("has no place in a model of architecture llama"));
  EXPECT_THAT(with("num_attention_heads", 5), HasSubstr("num_heads"));
}

}  // namespace
}  // namespace repro::lm
