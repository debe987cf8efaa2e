#include "common/checkpoint/hf_config.h"

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_replace.h"
#include "common/checkpoint/gguf.h"
#include "common/data/io.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro {
namespace {

using lm::ModelConfig;
using lm::RopeScaling;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Corpus(const std::string& name) {
  const auto content = ReadFile("common/checkpoint/testdata/corpus/" + name);
  EXPECT_TRUE(content.ok()) << content.status();
  return content.ok() ? *content : "";
}

std::string SmolLm2() { return Corpus("hf_config/smollm2.json"); }

TEST(HfConfigTest, SmolLm2) {
  const auto config = ParseHfConfig(SmolLm2(), "config.json");
  ASSERT_TRUE(config.ok()) << config.status();
  const ModelConfig expected = ModelConfig::SmolLm2_135M();
  EXPECT_EQ(config->architecture, "llama");
  EXPECT_EQ(config->vocab_size, expected.vocab_size);
  EXPECT_EQ(config->hidden_size, expected.hidden_size);
  EXPECT_EQ(config->intermediate_size, expected.intermediate_size);
  EXPECT_EQ(config->num_layers, expected.num_layers);
  EXPECT_EQ(config->num_heads, expected.num_heads);
  EXPECT_EQ(config->num_kv_heads, expected.num_kv_heads);
  EXPECT_EQ(config->head_dim, expected.head_dim);
  EXPECT_EQ(config->rms_norm_eps, expected.rms_norm_eps);
  EXPECT_EQ(config->rope_theta, expected.rope_theta);
  EXPECT_EQ(config->rope_scaling.type, RopeScaling::Type::kNone);
  EXPECT_EQ(config->max_positions, expected.max_positions);
  EXPECT_EQ(config->tie_embeddings, expected.tie_embeddings);
  EXPECT_FALSE(config->attention_bias);
  EXPECT_EQ(config->bos_id, 1);
  EXPECT_THAT(config->eos_ids, ElementsAre(2));
  // `sum(p.numel() for p in model.parameters())` of the published model.
  EXPECT_EQ(lm::NumParameters(*config), 134515008);
}

TEST(HfConfigTest, Llama3Scaling) {
  const auto config =
      ParseHfConfig(Corpus("hf_config/llama3.json"), "config.json");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->rope_scaling.type, RopeScaling::Type::kLlama3);
  EXPECT_EQ(config->rope_scaling.factor, 8);
  EXPECT_EQ(config->rope_scaling.low_freq_factor, 1);
  EXPECT_EQ(config->rope_scaling.high_freq_factor, 4);
  EXPECT_EQ(config->rope_scaling.original_max_positions, 8192);
  EXPECT_THAT(config->eos_ids, ElementsAre(128001, 128009));
}

// SmolLM2's config with a piece replaced.
absl::StatusOr<ModelConfig> With(const std::string& from,
                                 const std::string& to) {
  const std::string text = absl::StrReplaceAll(SmolLm2(), {{from, to}});
  EXPECT_NE(text, SmolLm2()) << from;
  return ParseHfConfig(text, "config.json");
}

TEST(HfConfigTest, OptionalFields) {
  EXPECT_EQ(With("\"num_key_value_heads\": 3, ", "")->num_kv_heads, 9);
  EXPECT_EQ(
      With("\"hidden_act\"", "\"head_dim\": 32, \"hidden_act\"")->head_dim, 32);
  EXPECT_EQ(
      With("\"hidden_act\"", "\"head_dim\": null, \"hidden_act\"")->head_dim,
      64);
  EXPECT_EQ(With("\"rope_theta\": 100000, ", "")->rope_theta, 10000);
  EXPECT_EQ(With("\"bos_token_id\": 1, ", "")->bos_id, -1);
  EXPECT_TRUE(
      With("\"eos_token_id\": 2", "\"eos_token_id\": null")->eos_ids.empty());
  const auto linear =
      With("\"rope_scaling\": null",
           "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 4.0}");
  ASSERT_TRUE(linear.ok()) << linear.status();
  EXPECT_EQ(linear->rope_scaling.type, RopeScaling::Type::kLinear);
  EXPECT_EQ(linear->rope_scaling.factor, 4);
  const auto newer = With(
      "\"rope_theta\": 100000, \"rope_scaling\": null",
      "\"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 5e5}");
  ASSERT_TRUE(newer.ok()) << newer.status();
  EXPECT_EQ(newer->rope_theta, 5e5);
  EXPECT_EQ(newer->rope_scaling.type, RopeScaling::Type::kNone);
}

TEST(HfConfigTest, Qwen2AndMistral) {
  const auto qwen = With("\"model_type\": \"llama\"",
                         "\"model_type\": \"qwen2\", \"sliding_window\": 1024, "
                         "\"use_sliding_window\": false");
  ASSERT_TRUE(qwen.ok()) << qwen.status();
  EXPECT_TRUE(qwen->attention_bias);
  EXPECT_EQ(qwen->max_positions, 8192);
  const auto mistral =
      With("\"model_type\": \"llama\"",
           "\"model_type\": \"mistral\", \"sliding_window\": 4096");
  ASSERT_TRUE(mistral.ok()) << mistral.status();
  EXPECT_FALSE(mistral->attention_bias);
  EXPECT_EQ(mistral->max_positions, 4096);
}

TEST(HfConfigTest, UnsupportedIsNamed) {
  const struct {
    const char* from;
    const char* to;
    const char* part;
  } cases[] = {
      {"\"model_type\": \"llama\"", "\"model_type\": \"mixtral\"",
       "'model_type' is 'mixtral'"},
      {"\"model_type\": \"llama\"",
       "\"model_type\": \"mixtral\", \"num_local_experts\": 8",
       "'num_local_experts' is 8"},
      {"\"rope_scaling\": null",
       "\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4.0}",
       "'rope_type' is 'yarn'"},
      {"\"rope_scaling\": null",
       "\"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 4.0}",
       "'type' is 'dynamic'"},
      {"\"attention_bias\": false", "\"attention_bias\": true",
       "'attention_bias' is true"},
      {"\"mlp_bias\": false", "\"mlp_bias\": true", "'mlp_bias' is true"},
      {"\"silu\"", "\"gelu\"", "'hidden_act' is 'gelu'"},
      {"\"silu\"", "\"silu\", \"partial_rotary_factor\": 0.5",
       "'partial_rotary_factor' is 0.5"},
      {"\"silu\"", "\"silu\", \"quantization_config\": {}",
       "'quantization_config'"},
  };
  for (const auto& c : cases) {
    const auto config = With(c.from, c.to);
    EXPECT_EQ(config.status().code(), absl::StatusCode::kUnimplemented)
        << config.status();
    EXPECT_THAT(std::string(config.status().message()), HasSubstr(c.part));
    EXPECT_THAT(std::string(config.status().message()),
                HasSubstr("config.json"));
  }
}

TEST(HfConfigTest, MalformedIsNamed) {
  const struct {
    const char* from;
    const char* to;
    const char* part;
  } cases[] = {
      {"\"vocab_size\": 49152, ", "", "no field 'vocab_size'"},
      {"\"vocab_size\": 49152", "\"vocab_size\": \"49152\"", "'vocab_size'"},
      {"\"vocab_size\": 49152", "\"vocab_size\": 0", "vocab_size"},
      {"49152", "49152.5", "'vocab_size' is not an integer"},
      {"49152", "18446744073709551615", "'vocab_size' is not an integer"},
      {"\"num_attention_heads\": 9", "\"num_attention_heads\": 0",
       "'num_attention_heads'"},
      {"\"num_key_value_heads\": 3", "\"num_key_value_heads\": 2",
       "num_kv_heads"},
      {"1e-05", "\"small\"", "'rms_norm_eps' is not a number"},
      {"\"rope_scaling\": null", "\"rope_scaling\": 2", "'rope_scaling'"},
      {"\"rope_scaling\": null", "\"rope_scaling\": {\"type\": \"linear\"}",
       "no field 'factor'"},
      {"\"rope_scaling\": null",
       "\"rope_scaling\": {\"type\": \"llama3\", \"factor\": 8}",
       "no field 'low_freq_factor'"},
      {"\"eos_token_id\": 2", "\"eos_token_id\": [2, -1]", "'eos_token_id'"},
      {"\"eos_token_id\": 2", "\"eos_token_id\": 49152", "eos"},
      {"true", "1", "'tie_word_embeddings' is not true or false"},
      {"\"model_type\": \"llama\"", "\"model_type\": 3", "'model_type'"},
      {"{", "", "not valid JSON"},
      {"\"hidden_act\"", "\"vocab_size\": 3, \"hidden_act\"",
       "'vocab_size' comes twice"},
  };
  for (const auto& c : cases) {
    const auto config = With(c.from, c.to);
    ASSERT_FALSE(config.ok()) << c.to;
    EXPECT_THAT(std::string(config.status().message()), HasSubstr(c.part));
    EXPECT_THAT(std::string(config.status().message()),
                HasSubstr("config.json"));
  }
}

TEST(GgufModelConfigTest, Fields) {
  const std::string bytes = Corpus("gguf/model.gguf");
  const auto file = ParseGguf(bytes, "model.gguf", nullptr);
  ASSERT_TRUE(file.ok()) << file.status();
  const auto config = GgufModelConfig(**file);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->architecture, "llama");
  EXPECT_EQ(config->vocab_size, 4);
  EXPECT_EQ(config->hidden_size, 8);
  EXPECT_EQ(config->intermediate_size, 16);
  EXPECT_EQ(config->num_layers, 1);
  EXPECT_EQ(config->num_heads, 2);
  EXPECT_EQ(config->num_kv_heads, 1);
  EXPECT_EQ(config->head_dim, 4);
  EXPECT_FLOAT_EQ(config->rms_norm_eps, 1e-5);
  EXPECT_EQ(config->rope_theta, 10000);
  EXPECT_EQ(config->rope_scaling.type, RopeScaling::Type::kLinear);
  EXPECT_EQ(config->rope_scaling.factor, 2);
  EXPECT_EQ(config->max_positions, 64);
  EXPECT_TRUE(config->tie_embeddings);
  EXPECT_FALSE(config->attention_bias);
  EXPECT_EQ(config->bos_id, 0);
  EXPECT_THAT(config->eos_ids, ElementsAre(1));
}

TEST(GgufModelConfigTest, Llama3ScalingByItsFactors) {
  std::string bytes = Corpus("gguf/llama3.gguf");
  const auto parse = [&bytes] {
    const auto file = ParseGguf(bytes, "model.gguf", nullptr);
    EXPECT_TRUE(file.ok()) << file.status();
    return GgufModelConfig(**file);
  };
  const auto config = parse();
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->head_dim, 64);
  EXPECT_EQ(config->rope_theta, 5e5);
  EXPECT_EQ(config->rope_scaling.type, RopeScaling::Type::kLlama3);
  EXPECT_EQ(config->rope_scaling.factor, 8);
  EXPECT_EQ(config->rope_scaling.original_max_positions, 8192);
  // The file's last number scales the lowest frequency, by 8.
  ASSERT_EQ(bytes.substr(bytes.size() - 4), std::string("\0\0\0\x41", 4));
  bytes[bytes.size() - 2] = 0x10;
  EXPECT_EQ(parse().status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(parse().status().message()),
              HasSubstr("rope_freqs.weight"));
}

// Replacing bytes by as many others keeps the file well-formed.
absl::Status GgufWith(const std::string& from, const std::string& to) {
  EXPECT_EQ(from.size(), to.size());
  const std::string bytes =
      absl::StrReplaceAll(Corpus("gguf/model.gguf"), {{from, to}});
  EXPECT_NE(bytes, Corpus("gguf/model.gguf")) << from;
  const auto file = ParseGguf(bytes, "model.gguf", nullptr);
  return file.ok() ? GgufModelConfig(**file).status() : file.status();
}

TEST(GgufModelConfigTest, ErrorsNameTheKey) {
  const struct {
    const char* from;
    const char* to;
    absl::StatusCode code;
    const char* part;
  } cases[] = {
      {"llama", "gemma", absl::StatusCode::kUnimplemented,
       "'general.architecture' is 'gemma'"},
      {"linear", "longro", absl::StatusCode::kUnimplemented,
       "'llama.rope.scaling.type' is 'longro'"},
      {"llama.block_count", "llama.block_kount", absl::StatusCode::kNotFound,
       "'llama.block_count'"},
      {"token_embd", "token_embe", absl::StatusCode::kNotFound,
       "'token_embd.weight'"},
  };
  for (const auto& c : cases) {
    const absl::Status status = GgufWith(c.from, c.to);
    EXPECT_EQ(status.code(), c.code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.part));
  }
}

}  // namespace
}  // namespace repro
