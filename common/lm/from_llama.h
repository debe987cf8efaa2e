#ifndef REPRO_COMMON_LM_FROM_LLAMA_H_
#define REPRO_COMMON_LM_FROM_LLAMA_H_

#include <cstdint>
#include <memory>

#include "common/lm/model.h"
#include "common/nn/llama.h"

namespace repro::lm {

// The trained model for inference, with the same logits. Weights of the
// activations' dtype share the model's memory, without gradients; others are
// converted. max_positions: the trained context, which the model does not know.
std::unique_ptr<LanguageModel> FromLlama(const Llama& llama,
                                         int64_t max_positions = 8192);

}  // namespace repro::lm

#endif  // REPRO_COMMON_LM_FROM_LLAMA_H_
