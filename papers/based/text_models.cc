#include "papers/based/text_models.h"

#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/count/parameters.h"
#include "common/nn/initializer.h"
#include "common/nn/llama.h"
#include "common/tensor/generator.h"
#include "papers/based/based_model.h"

namespace repro::based {

absl::StatusOr<NamedLanguageModel> TextModel(absl::string_view name,
                                             const TextModelSize& size,
                                             int64_t vocab_size,
                                             c10::Device device) {
  std::optional<at::ScalarType> compute;
  if (device.is_cuda()) compute = at::kBFloat16;
  LlamaConfig attention;
  attention.vocab_size = vocab_size;
  attention.dim = size.dim;
  attention.num_layers = size.num_layers;
  attention.num_heads = size.num_heads;
  attention.ffn_dim = 8 * size.dim / 3;
  attention.tie_embeddings = true;
  attention.compute_dtype = compute;
  const auto init = [device](uint64_t seed) {
    return Initializer(MakeGenerator(seed), at::TensorOptions(device));
  };
  if (name == "attention") {
    return NamedLanguageModel{
        std::string(name), [attention, init](uint64_t seed) {
          return AsLanguageModel(
              std::make_unique<Llama>(attention, init(seed)));
        }};
  }
  if (name != "based" && name != "linear") {
    return absl::NotFoundError(absl::StrCat(
        "text model '", name, "': write attention, based or linear"));
  }
  BasedConfig config;
  config.vocab_size = vocab_size;
  config.dim = size.dim;
  config.num_layers = size.num_layers;
  config.num_heads = size.num_heads;
  config.window = 33;
  config.compute_dtype = compute;
  for (int64_t l = 0; l < size.num_layers; ++l) {
    if (name == "linear" || l % 3 == 1) {
      config.linear_layers.push_back(l);
    } else if (l % 3 == 2) {
      config.sliding_layers.push_back(l);
    }
  }
  config = WithParameters(
      config, CountParameters(Llama(attention, Initializer::Meta())));
  return NamedLanguageModel{
      std::string(name), [config, init](uint64_t seed) {
        return AsLanguageModel(
            std::make_unique<BasedModel>(config, init(seed)));
      }};
}

}  // namespace repro::based
