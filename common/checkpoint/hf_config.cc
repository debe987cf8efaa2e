#include "common/checkpoint/hf_config.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/checkpoint/json.h"
#include "common/data/io.h"
#include "common/status/macros.h"

namespace repro {
namespace {

using lm::ModelConfig;
using lm::RopeScaling;
using nlohmann::json;

constexpr int kMaxDepth = 16;
constexpr size_t kMaxEosIds = 64;

// Typed reading of one JSON object.
class Fields {
 public:
  Fields(const json& object, std::string name)
      : object_(object), name_(std::move(name)) {}

  // False for a null too.
  bool Has(const char* field) const {
    const auto found = object_.find(field);
    return found != object_.end() && !found->is_null();
  }

  const json& operator[](const char* field) const { return object_[field]; }

  absl::StatusOr<int64_t> Int(
      const char* field,
      std::optional<int64_t> otherwise = std::nullopt) const {
    if (!Has(field)) {
      if (otherwise.has_value()) return *otherwise;
      return Missing(field);
    }
    const json& value = object_[field];
    const bool fits =
        value.is_number_integer() &&
        (!value.is_number_unsigned() ||
         value.get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX));
    if (!fits) return Wrong(field, "an integer");
    return value.get<int64_t>();
  }

  absl::StatusOr<double> Float(
      const char* field, std::optional<double> otherwise = std::nullopt) const {
    if (!Has(field)) {
      if (otherwise.has_value()) return *otherwise;
      return Missing(field);
    }
    if (!object_[field].is_number()) return Wrong(field, "a number");
    return object_[field].get<double>();
  }

  absl::StatusOr<bool> Bool(const char* field, bool otherwise) const {
    if (!Has(field)) return otherwise;
    if (!object_[field].is_boolean()) return Wrong(field, "true or false");
    return object_[field].get<bool>();
  }

  absl::StatusOr<std::string> String(
      const char* field,
      std::optional<std::string> otherwise = std::nullopt) const {
    if (!Has(field)) {
      if (otherwise.has_value()) return *otherwise;
      return Missing(field);
    }
    if (!object_[field].is_string()) return Wrong(field, "a string");
    return object_[field].get<std::string>();
  }

  absl::Status Missing(const char* field) const {
    return absl::InvalidArgumentError(
        absl::StrCat(name_, ": has no field '", field, "'"));
  }

  absl::Status Wrong(const char* field, absl::string_view wanted) const {
    return absl::InvalidArgumentError(
        absl::StrCat(name_, ": field '", field, "' is not ", wanted));
  }

  absl::Status Unsupported(const char* field, absl::string_view value,
                           absl::string_view supported) const {
    return absl::UnimplementedError(
        absl::StrCat(name_, ": field '", field, "' is ", value,
                     ", which is not supported (", supported, " is)"));
  }

 private:
  const json& object_;
  std::string name_;
};

// rope_scaling of transformers 4, or rope_parameters of transformers 5, which
// holds rope_theta too.
absl::Status ParseRope(const Fields& root, const std::string& name,
                       ModelConfig* config) {
  REPRO_ASSIGN_OR_RETURN(config->rope_theta,
                         root.Float("rope_theta", config->rope_theta));
  const char* field =
      root.Has("rope_scaling") ? "rope_scaling" : "rope_parameters";
  if (!root.Has(field)) return absl::OkStatus();
  if (!root[field].is_object()) return root.Wrong(field, "an object");
  const Fields rope(root[field], absl::StrCat(name, ": ", field));
  REPRO_ASSIGN_OR_RETURN(config->rope_theta,
                         rope.Float("rope_theta", config->rope_theta));
  const char* type_field = rope.Has("rope_type") ? "rope_type" : "type";
  REPRO_ASSIGN_OR_RETURN(const std::string type,
                         rope.String(type_field, "default"));
  RopeScaling& scaling = config->rope_scaling;
  if (type == "default") return absl::OkStatus();
  if (type != "linear" && type != "llama3") {
    return rope.Unsupported(type_field, Quoted(type),
                            "'default', 'linear' or 'llama3'");
  }
  REPRO_ASSIGN_OR_RETURN(scaling.factor, rope.Float("factor"));
  if (type == "linear") {
    scaling.type = RopeScaling::Type::kLinear;
    return absl::OkStatus();
  }
  scaling.type = RopeScaling::Type::kLlama3;
  REPRO_ASSIGN_OR_RETURN(scaling.low_freq_factor,
                         rope.Float("low_freq_factor"));
  REPRO_ASSIGN_OR_RETURN(scaling.high_freq_factor,
                         rope.Float("high_freq_factor"));
  REPRO_ASSIGN_OR_RETURN(scaling.original_max_positions,
                         rope.Int("original_max_position_embeddings"));
  return absl::OkStatus();
}

absl::Status ParseEosIds(const Fields& root, ModelConfig* config) {
  if (!root.Has("eos_token_id")) return absl::OkStatus();
  const json& value = root["eos_token_id"];
  const json list = value.is_array() ? value : json::array({value});
  for (const json& id : list) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > INT32_MAX ||
        config->eos_ids.size() == kMaxEosIds) {
      return root.Wrong("eos_token_id", "a token's number or a list of them");
    }
    config->eos_ids.push_back(id.get<int64_t>());
  }
  return absl::OkStatus();
}

absl::StatusOr<ModelConfig> Validated(ModelConfig config,
                                      absl::string_view name) {
  if (const absl::Status status = lm::Validate(config); !status.ok()) {
    return absl::Status(status.code(),
                        absl::StrCat(name, ": ", status.message()));
  }
  return config;
}

// Of Llama 3.1's scaling (the function compute_llama3_parameters of
// transformers): what each of head_dim / 2 frequencies is divided by.
std::vector<double> Llama3Factors(const ModelConfig& config,
                                  const RopeScaling& scaling) {
  constexpr double kTwoPi = 6.283185307179586;
  std::vector<double> factors(config.head_dim / 2);
  for (size_t i = 0; i < factors.size(); ++i) {
    const double wavelength =
        kTwoPi *
        std::pow(config.rope_theta, 2.0 * static_cast<double>(i) /
                                        static_cast<double>(config.head_dim));
    const double turns =
        static_cast<double>(scaling.original_max_positions) / wavelength;
    const double kept =
        std::clamp((turns - scaling.low_freq_factor) /
                       (scaling.high_freq_factor - scaling.low_freq_factor),
                   0.0, 1.0);
    factors[i] = 1 / ((1 - kept) / scaling.factor + kept);
  }
  return factors;
}

// GGUF keeps the factors, not what they come from: all models so far scale with
// 1, 4 and 8192 and differ by `factor` alone.
absl::Status RecogniseLlama3(const GgufFile& file, ModelConfig* config) {
  constexpr absl::string_view kName = "rope_freqs.weight";
  if (!file.HasTensor(kName)) return absl::OkStatus();
  REPRO_ASSIGN_OR_RETURN(const GgufTensor* tensor, file.Tensor(kName));
  const int64_t count = tensor->numel();
  if (tensor->type != GgmlType::kF32 || count * 2 != config->head_dim) {
    return absl::InvalidArgumentError(
        absl::StrCat(file.path(), ": tensor 'rope_freqs.weight' is not ",
                     config->head_dim / 2, " numbers of type F32"));
  }
  std::vector<float> stated(count);
  DequantizeBlocks(tensor->type, tensor->data.data(), count, stated.data());
  RopeScaling scaling;
  scaling.type = RopeScaling::Type::kLlama3;
  scaling.factor = *std::max_element(stated.begin(), stated.end());
  const std::vector<double> factors = Llama3Factors(*config, scaling);
  for (int64_t i = 0; i < count; ++i) {
    if (!(std::abs(stated[i] / factors[i] - 1) < 1e-4)) {
      return absl::UnimplementedError(absl::StrCat(
          file.path(), ": tensor 'rope_freqs.weight' scales frequency ", i,
          " by ", stated[i], ", not as Llama 3 does (", factors[i], ")"));
    }
  }
  config->rope_scaling = scaling;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelConfig> ParseHfConfig(absl::string_view text,
                                          const std::string& name) {
  REPRO_ASSIGN_OR_RETURN(const json root_json,
                         ParseJsonObject(text, name, kMaxDepth));
  const Fields root(root_json, name);
  ModelConfig config;
  REPRO_ASSIGN_OR_RETURN(config.architecture, root.String("model_type"));
  for (const char* field :
       {"num_local_experts", "num_experts", "n_routed_experts"}) {
    REPRO_ASSIGN_OR_RETURN(const int64_t experts, root.Int(field, 0));
    if (experts > 0) {
      return root.Unsupported(field, absl::StrCat(experts),
                              "a model without experts");
    }
  }
  const bool qwen2 = config.architecture == "qwen2";
  if (config.architecture != "llama" && config.architecture != "mistral" &&
      !qwen2) {
    return root.Unsupported("model_type", Quoted(config.architecture),
                            "'llama', 'mistral' or 'qwen2'");
  }
  REPRO_ASSIGN_OR_RETURN(config.vocab_size, root.Int("vocab_size"));
  REPRO_ASSIGN_OR_RETURN(config.hidden_size, root.Int("hidden_size"));
  REPRO_ASSIGN_OR_RETURN(config.intermediate_size,
                         root.Int("intermediate_size"));
  REPRO_ASSIGN_OR_RETURN(config.num_layers, root.Int("num_hidden_layers"));
  REPRO_ASSIGN_OR_RETURN(config.num_heads, root.Int("num_attention_heads"));
  REPRO_ASSIGN_OR_RETURN(config.num_kv_heads,
                         root.Int("num_key_value_heads", config.num_heads));
  if (config.num_heads < 1) {
    return root.Wrong("num_attention_heads", "positive");
  }
  REPRO_ASSIGN_OR_RETURN(
      config.head_dim,
      root.Int("head_dim", config.hidden_size / config.num_heads));
  REPRO_ASSIGN_OR_RETURN(config.rms_norm_eps, root.Float("rms_norm_eps", 1e-6));
  REPRO_ASSIGN_OR_RETURN(config.max_positions,
                         root.Int("max_position_embeddings"));
  REPRO_RETURN_IF_ERROR(ParseRope(root, name, &config));
  REPRO_ASSIGN_OR_RETURN(config.tie_embeddings,
                         root.Bool("tie_word_embeddings", false));
  REPRO_ASSIGN_OR_RETURN(config.bos_id, root.Int("bos_token_id", -1));
  REPRO_RETURN_IF_ERROR(ParseEosIds(root, &config));

  config.attention_bias = qwen2;
  for (const char* field : {"attention_bias", "mlp_bias"}) {
    REPRO_ASSIGN_OR_RETURN(const bool bias, root.Bool(field, false));
    // Llama's attention_bias is one of the output projection too.
    if (bias && !(qwen2 && absl::string_view(field) == "attention_bias")) {
      return root.Unsupported(field, "true", "false");
    }
  }
  REPRO_ASSIGN_OR_RETURN(const std::string activation,
                         root.String("hidden_act", "silu"));
  if (activation != "silu") {
    return root.Unsupported("hidden_act", Quoted(activation), "'silu'");
  }
  REPRO_ASSIGN_OR_RETURN(const double rotated,
                         root.Float("partial_rotary_factor", 1));
  if (rotated != 1) {
    return root.Unsupported("partial_rotary_factor", absl::StrCat(rotated),
                            "1");
  }
  if (root.Has("quantization_config")) {
    return root.Unsupported("quantization_config", "present",
                            "a model with float weights");
  }
  REPRO_ASSIGN_OR_RETURN(const int64_t window,
                         root.Int("sliding_window", config.max_positions));
  REPRO_ASSIGN_OR_RETURN(const bool use_window,
                         root.Bool("use_sliding_window", !qwen2));
  if (use_window) config.max_positions = std::min(config.max_positions, window);
  return Validated(std::move(config), name);
}

absl::StatusOr<ModelConfig> GgufModelConfig(const GgufFile& file) {
  ModelConfig config;
  REPRO_ASSIGN_OR_RETURN(const absl::string_view architecture,
                         file.String("general.architecture"));
  if (architecture != "llama" && architecture != "qwen2") {
    return absl::UnimplementedError(
        absl::StrCat(file.path(), ": metadata 'general.architecture' is ",
                     Quoted(architecture),
                     ", which is not supported ('llama' and 'qwen2' are)"));
  }
  config.architecture = std::string(architecture);
  const auto key = [&architecture](absl::string_view suffix) {
    return absl::StrCat(architecture, ".", suffix);
  };
  REPRO_ASSIGN_OR_RETURN(const int64_t experts,
                         file.Int(key("expert_count"), 0));
  if (experts > 0) {
    return absl::UnimplementedError(
        absl::StrCat(file.path(), ": metadata '", key("expert_count"), "' is ",
                     experts, ": mixtures of experts are not supported"));
  }
  REPRO_ASSIGN_OR_RETURN(config.hidden_size, file.Int(key("embedding_length")));
  REPRO_ASSIGN_OR_RETURN(config.intermediate_size,
                         file.Int(key("feed_forward_length")));
  REPRO_ASSIGN_OR_RETURN(config.num_layers, file.Int(key("block_count")));
  REPRO_ASSIGN_OR_RETURN(config.num_heads,
                         file.Int(key("attention.head_count")));
  REPRO_ASSIGN_OR_RETURN(
      config.num_kv_heads,
      file.Int(key("attention.head_count_kv"), config.num_heads));
  if (config.num_heads < 1) {
    return absl::InvalidArgumentError(absl::StrCat(file.path(), ": metadata '",
                                                   key("attention.head_count"),
                                                   "' is ", config.num_heads));
  }
  REPRO_ASSIGN_OR_RETURN(config.head_dim,
                         file.Int(key("attention.key_length"),
                                  config.hidden_size / config.num_heads));
  for (const char* same : {"attention.value_length", "rope.dimension_count"}) {
    REPRO_ASSIGN_OR_RETURN(const int64_t dim,
                           file.Int(key(same), config.head_dim));
    if (dim != config.head_dim) {
      return absl::UnimplementedError(
          absl::StrCat(file.path(), ": metadata '", key(same), "' is ", dim,
                       ", which is not supported (the head's width, ",
                       config.head_dim, ", is)"));
    }
  }
  REPRO_ASSIGN_OR_RETURN(config.rms_norm_eps,
                         file.Float(key("attention.layer_norm_rms_epsilon")));
  REPRO_ASSIGN_OR_RETURN(config.max_positions, file.Int(key("context_length")));
  REPRO_ASSIGN_OR_RETURN(
      const int64_t window,
      file.Int(key("attention.sliding_window"), config.max_positions));
  config.max_positions = std::min(config.max_positions, window);
  REPRO_ASSIGN_OR_RETURN(config.rope_theta,
                         file.Float(key("rope.freq_base"), config.rope_theta));

  // Files made before the type had a key of its own have the factor alone.
  REPRO_ASSIGN_OR_RETURN(config.rope_scaling.factor,
                         file.Float(file.Has(key("rope.scale_linear"))
                                        ? key("rope.scale_linear")
                                        : key("rope.scaling.factor"),
                                    1));
  REPRO_ASSIGN_OR_RETURN(
      const absl::string_view scaling,
      file.String(key("rope.scaling.type"),
                  config.rope_scaling.factor == 1 ? "none" : "linear"));
  if (scaling == "linear") {
    config.rope_scaling.type = RopeScaling::Type::kLinear;
  } else if (scaling == "none") {
    config.rope_scaling.factor = 1;
  } else {
    return absl::UnimplementedError(absl::StrCat(
        file.path(), ": metadata '", key("rope.scaling.type"), "' is ",
        Quoted(scaling), ", which is not supported ('none' and 'linear' are)"));
  }
  if (config.head_dim > 0 && config.rope_theta > 0) {
    REPRO_RETURN_IF_ERROR(RecogniseLlama3(file, &config));
  }

  // [vocab_size, hidden_size]; the metadata may lack the number.
  REPRO_ASSIGN_OR_RETURN(const GgufTensor* embedding,
                         file.Tensor("token_embd.weight"));
  config.vocab_size = embedding->shape[0];
  config.tie_embeddings = !file.HasTensor("output.weight");
  config.attention_bias = file.HasTensor("blk.0.attn_q.bias");
  REPRO_ASSIGN_OR_RETURN(config.bos_id,
                         file.Int("tokenizer.ggml.bos_token_id", -1));
  for (const char* end :
       {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"}) {
    REPRO_ASSIGN_OR_RETURN(const int64_t id, file.Int(end, -1));
    if (id >= 0 && std::find(config.eos_ids.begin(), config.eos_ids.end(),
                             id) == config.eos_ids.end()) {
      config.eos_ids.push_back(id);
    }
  }
  return Validated(std::move(config), file.path());
}

}  // namespace repro
