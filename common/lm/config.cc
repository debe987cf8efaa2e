#include "common/lm/config.h"

#include "absl/strings/str_cat.h"

namespace repro::lm {
namespace {

ModelConfig Llama(int64_t vocab_size, int64_t hidden_size,
                  int64_t intermediate_size, int64_t num_layers,
                  int64_t num_heads, int64_t num_kv_heads) {
  ModelConfig config;
  config.vocab_size = vocab_size;
  config.hidden_size = hidden_size;
  config.intermediate_size = intermediate_size;
  config.num_layers = num_layers;
  config.num_heads = num_heads;
  config.num_kv_heads = num_kv_heads;
  config.head_dim = hidden_size / num_heads;
  return config;
}

}  // namespace

ModelConfig ModelConfig::Llama2_7B() {
  ModelConfig config = Llama(32000, 4096, 11008, 32, 32, 32);
  config.max_positions = 4096;
  config.bos_id = 1;
  config.eos_ids = {2};
  return config;
}

ModelConfig ModelConfig::Llama3_8B() {
  ModelConfig config = Llama(128256, 4096, 14336, 32, 32, 8);
  config.rope_theta = 500000;
  config.max_positions = 8192;
  config.bos_id = 128000;
  config.eos_ids = {128001, 128009};
  return config;
}

ModelConfig ModelConfig::SmolLm2_135M() {
  ModelConfig config = Llama(49152, 576, 1536, 30, 9, 3);
  config.rope_theta = 100000;
  config.max_positions = 8192;
  config.tie_embeddings = true;
  config.bos_id = 1;
  config.eos_ids = {2};
  return config;
}

absl::Status Validate(const ModelConfig& config) {
  constexpr int64_t kMost = int64_t{1} << 31;
  const auto error = [](auto&&... parts) {
    return absl::InvalidArgumentError(
        absl::StrCat("model configuration: ", parts...));
  };
  const std::pair<const char*, int64_t> sizes[] = {
      {"vocab_size", config.vocab_size},
      {"hidden_size", config.hidden_size},
      {"intermediate_size", config.intermediate_size},
      {"num_layers", config.num_layers},
      {"num_heads", config.num_heads},
      {"num_kv_heads", config.num_kv_heads},
      {"head_dim", config.head_dim},
      {"max_positions", config.max_positions},
  };
  for (const auto& [name, size] : sizes) {
    if (size <= 0 || size >= kMost) {
      return error(name, " is ", size, ", want 1 to 2^31 - 1");
    }
  }
  if (config.num_layers > 10000) {
    return error("num_layers is ", config.num_layers, ", want at most 10000");
  }
  if (config.num_heads % config.num_kv_heads != 0) {
    return error("num_heads ", config.num_heads,
                 " is not a multiple of num_kv_heads ", config.num_kv_heads);
  }
  if (config.head_dim % 2 != 0) {
    return error("head_dim ", config.head_dim, " is odd");
  }
  // Negated, so that NaN is refused.
  if (!(config.rms_norm_eps >= 0 && config.rms_norm_eps < 1)) {
    return error("rms_norm_eps is ", config.rms_norm_eps, ", want [0, 1)");
  }
  if (!(config.rope_theta > 0 && config.rope_theta < 1e30)) {
    return error("rope_theta is ", config.rope_theta, ", want a positive one");
  }
  const RopeScaling& scaling = config.rope_scaling;
  if (scaling.type != RopeScaling::Type::kNone &&
      !(scaling.factor > 0 && scaling.factor < 1e30)) {
    return error("rope scaling's factor is ", scaling.factor);
  }
  if (scaling.type == RopeScaling::Type::kLlama3 &&
      !(scaling.low_freq_factor > 0 &&
        scaling.high_freq_factor > scaling.low_freq_factor &&
        scaling.high_freq_factor < 1e30 && scaling.original_max_positions > 0 &&
        scaling.original_max_positions < kMost)) {
    return error("rope scaling's low_freq_factor ", scaling.low_freq_factor,
                 ", high_freq_factor ", scaling.high_freq_factor,
                 ", original_max_positions ", scaling.original_max_positions,
                 " are not 0 < low < high and 1 to 2^31 - 1");
  }
  const auto bad_token = [&](int64_t id) {
    return id < -1 || id >= config.vocab_size;
  };
  if (bad_token(config.bos_id)) return error("bos_id is ", config.bos_id);
  for (int64_t id : config.eos_ids) {
    if (bad_token(id)) return error("an eos id is ", id);
  }
  // In floating point, where the product of the largest sizes is finite.
  const double rows = 2.0 * config.num_heads + 2.0 * config.num_kv_heads;
  const double parameters =
      config.num_layers * 1.0 * config.hidden_size *
          (rows * config.head_dim + 3.0 * config.intermediate_size) +
      2.0 * config.vocab_size * config.hidden_size;
  if (parameters >= static_cast<double>(int64_t{1} << 40)) {
    return error("about ", parameters, " parameters, want less than 2^40");
  }
  return absl::OkStatus();
}

int64_t NumParameters(const ModelConfig& config) {
  const int64_t q = config.num_heads * config.head_dim;
  const int64_t kv = config.num_kv_heads * config.head_dim;
  const int64_t attention = config.hidden_size * (2 * q + 2 * kv) +
                            (config.attention_bias ? q + 2 * kv : 0);
  const int64_t ffn = 3 * config.hidden_size * config.intermediate_size;
  const int64_t norms = 2 * config.hidden_size;
  return config.num_layers * (attention + ffn + norms) + config.hidden_size +
         config.vocab_size * config.hidden_size *
             (config.tie_embeddings ? 1 : 2);
}

}  // namespace repro::lm
