// The shape of a language model as its checkpoint states it.
#ifndef REPRO_COMMON_CHECKPOINT_HF_CONFIG_H_
#define REPRO_COMMON_CHECKPOINT_HF_CONFIG_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/checkpoint/gguf.h"
#include "common/lm/config.h"

namespace repro {

// Both return a config that lm::Validate accepts. InvalidArgument for a missing
// or malformed field, Unimplemented for what the runtime does not do (another
// architecture, experts, another kind of rope scaling or activation, ...);
// errors name file and field. A sliding window bounds max_positions: below it
// such a model attends to everything.

// Hugging Face's config.json of a Llama, Mistral or Qwen2 model; `name` stands
// for the file in errors.
absl::StatusOr<lm::ModelConfig> ParseHfConfig(absl::string_view json,
                                              const std::string& name);

// The metadata of a GGUF file of architecture "llama" (Mistral's too) or
// "qwen2". Llama 3's rope scaling is recognised by the tensor that holds its
// factors.
absl::StatusOr<lm::ModelConfig> GgufModelConfig(const GgufFile& file);

}  // namespace repro

#endif  // REPRO_COMMON_CHECKPOINT_HF_CONFIG_H_
