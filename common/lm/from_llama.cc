#include "common/lm/from_llama.h"

#include <map>
#include <string>
#include <utility>

namespace repro::lm {

std::unique_ptr<LanguageModel> FromLlama(const Llama& llama,
                                         int64_t max_positions) {
  const LlamaConfig& from = llama.config();
  ModelConfig config;
  config.vocab_size = from.vocab_size;
  config.hidden_size = from.dim;
  config.intermediate_size = from.ffn_dim;
  config.num_layers = from.num_layers;
  config.num_heads = from.num_heads;
  config.num_kv_heads = from.num_kv_heads;
  config.head_dim = from.dim / from.num_heads;
  config.rms_norm_eps = from.norm_eps;
  config.rope_theta = from.rope_base;
  config.max_positions = max_positions;
  config.tie_embeddings = from.tie_embeddings;

  std::map<std::string, at::Tensor> parameters;
  for (const auto& [name, tensor] : llama.NamedParameters()) {
    parameters.emplace(name, tensor.detach());
  }
  const at::ScalarType dtype =
      from.compute_dtype.value_or(parameters.at("embedding").scalar_type());
  const auto get = [&](const std::string& name) {
    return parameters.at(name).to(dtype);
  };
  ModelWeights weights;
  weights.embedding = get("embedding");
  for (int64_t l = 0; l < config.num_layers; ++l) {
    const std::string prefix = "layer" + std::to_string(l) + ".";
    LayerWeights layer;
    layer.attention_norm = get(prefix + "attention_norm.weight");
    layer.qkv = DenseWeight(get(prefix + "qkv.weight"));
    layer.output = DenseWeight(get(prefix + "output.weight"));
    layer.ffn_norm = get(prefix + "ffn_norm.weight");
    layer.gate_up = DenseWeight(get(prefix + "ffn.gate_up.weight"));
    layer.down = DenseWeight(get(prefix + "ffn.down.weight"));
    weights.layers.push_back(std::move(layer));
  }
  weights.final_norm = get("norm.weight");
  weights.head =
      DenseWeight(config.tie_embeddings ? weights.embedding : get("head"));
  return std::make_unique<LanguageModel>(std::move(config), std::move(weights));
}

}  // namespace repro::lm
