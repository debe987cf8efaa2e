#include "papers/lightning_attention/models.h"

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/nn/initializer.h"
#include "common/status/macros.h"
#include "common/tensor/generator.h"

namespace repro::lightning_attention {

absl::StatusOr<TransnormerConfig> SmallTransnormer(absl::string_view name,
                                                   const SmallModelSize& size,
                                                   int64_t vocab_size) {
  TransnormerConfig config;
  config.vocab_size = vocab_size;
  config.dim = size.dim;
  config.num_layers = size.num_layers;
  config.num_heads = size.num_heads;
  config.glu_dim = size.glu_dim;
  if (name == "mix" || name == "chunked") return config;
  if (name == "quadratic") {
    config.attention = TransnormerAttention::kQuadratic;
  } else if (name == "recurrent") {
    config.attention = TransnormerAttention::kRecurrent;
  } else if (name == "absolute") {
    config.lrpe = TransnormerLrpe::kNone;
    config.decay = TransnormerDecay::kNone;
    config.absolute_positions = true;
  } else if (name == "decay") {
    config.lrpe = TransnormerLrpe::kNone;
  } else if (name == "lrpe") {
    config.lrpe = TransnormerLrpe::kAllLayers;
    config.decay = TransnormerDecay::kNone;
  } else if (name == "lrpe_d") {
    config.lrpe = TransnormerLrpe::kAllLayers;
  } else if (name == "no_temperature") {
    config.decay_temperature = false;
  } else if (name == "no_gate") {
    config.gate = false;
  } else if (name == "rms_norm") {
    config.norm = TransnormerNorm::kRms;
  } else if (name == "layer_norm") {
    config.norm = TransnormerNorm::kLayer;
  } else if (name == "no_activation") {
    config.activation = TransnormerActivation::kNone;
  } else if (name == "elu_plus_one") {
    config.activation = TransnormerActivation::kEluPlusOne;
  } else if (name == "glu_silu") {
    config.glu_activation = TransnormerActivation::kSilu;
  } else {
    return absl::NotFoundError(
        absl::StrCat("small models: no TNL is called '", name, "'"));
  }
  return config;
}

LlamaConfig SmallLlama(const SmallModelSize& size, int64_t vocab_size) {
  LlamaConfig config;
  config.vocab_size = vocab_size;
  config.dim = size.dim;
  config.num_layers = size.num_layers;
  config.num_heads = size.num_heads;
  config.ffn_dim = size.glu_dim + size.dim / 3;
  return config;
}

absl::StatusOr<std::vector<NamedLanguageModel>> SmallModels(
    const std::vector<std::string>& names, const SmallModelSize& size,
    int64_t vocab_size, c10::Device device) {
  std::optional<at::ScalarType> compute_dtype;
  if (device.is_cuda()) compute_dtype = at::kBFloat16;
  // Drawn on the CPU: the same weights on every device.
  const auto init = [device](uint64_t seed) {
    return Initializer(MakeGenerator(seed), at::TensorOptions(device));
  };
  std::vector<NamedLanguageModel> models;
  for (const std::string& name : names) {
    SmallModelSize own = size;
    if (absl::EndsWith(name, "_medium")) own.num_layers *= 2;
    if (absl::StartsWith(name, "llama_")) {
      LlamaConfig config = SmallLlama(own, vocab_size);
      config.compute_dtype = compute_dtype;
      models.push_back({name, [=](uint64_t seed) {
                          return AsLanguageModel(
                              std::make_unique<Llama>(config, init(seed)));
                        }});
      continue;
    }
    REPRO_ASSIGN_OR_RETURN(
        TransnormerConfig config,
        SmallTransnormer(absl::StartsWith(name, "tnl_") ? "mix" : name, own,
                         vocab_size));
    config.compute_dtype = compute_dtype;
    models.push_back({name, [=](uint64_t seed) {
                        return AsLanguageModel(
                            std::make_unique<Transnormer>(config, init(seed)));
                      }});
  }
  return models;
}

LanguageModelTraining SmallModelTraining() {
  LanguageModelTraining training;
  training.steps = 400;
  training.batch_size = 64;
  training.seq_len = 256;
  training.adam.rate = 1e-3;
  training.adam.weight_decay = 0.1;
  training.warmup_steps = 40;
  training.final_rate = 1e-4;
  return training;
}

int64_t TransformerParameters(int64_t dim, int64_t layers, int64_t ffn,
                              int64_t vocabulary) {
  const int64_t attention = 4 * (dim * dim + dim);
  const int64_t feed_forward = 2 * dim * ffn + ffn + dim;
  const int64_t norm = 2 * dim;
  return vocabulary * dim + layers * (attention + feed_forward + 2 * norm) +
         norm;
}

}  // namespace repro::lightning_attention
