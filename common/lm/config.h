// The shape of a decoder-only language model of LLaMA's kind: RMSNorm, rotary
// positions, grouped-query attention, SwiGLU.
#ifndef REPRO_COMMON_LM_CONFIG_H_
#define REPRO_COMMON_LM_CONFIG_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace repro::lm {

// How rotary angles are changed for contexts longer than those of training.
struct RopeScaling {
  enum class Type {
    kNone,
    kLinear,  // positions divided by `factor`
    kLlama3,  // low frequencies divided by `factor`, high ones kept
  };
  Type type = Type::kNone;
  double factor = 1;
  double low_freq_factor = 1;   // kLlama3
  double high_freq_factor = 4;  // kLlama3
  int64_t original_max_positions = 8192;
};

struct ModelConfig {
  std::string architecture = "llama";  // or "qwen2", "mistral"
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;  // SwiGLU's width
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  double rms_norm_eps = 1e-5;
  double rope_theta = 10000;
  RopeScaling rope_scaling;
  int64_t max_positions = 0;  // the trained context, in tokens
  bool tie_embeddings = false;
  bool attention_bias = false;  // of q, k, v (Qwen2)
  int64_t bos_id = -1;          // -1: none
  std::vector<int64_t> eos_ids;

  // Query heads that share one head of keys and values.
  int64_t group_size() const { return num_heads / num_kv_heads; }

  static ModelConfig Llama2_7B();
  static ModelConfig Llama3_8B();
  static ModelConfig SmolLm2_135M();
};

// OK, or which field cannot be: sizes positive and below 2^31, heads divisible,
// head_dim even, the number of parameters below 2^40.
absl::Status Validate(const ModelConfig& config);

// Of all weights, embedding and head counted once if tied.
int64_t NumParameters(const ModelConfig& config);

}  // namespace repro::lm

#endif  // REPRO_COMMON_LM_CONFIG_H_
