#ifndef REPRO_COMMON_NN_GREEDY_H_
#define REPRO_COMMON_NN_GREEDY_H_

#include <c10/core/Device.h>

#include <cstdint>
#include <vector>

#include "common/nn/llama.h"

namespace repro {

// What a model writes after each prompt, by the likeliest token: up to `end`,
// which is left out, or max_tokens. Prompts of one length go through the model
// together and need no padding. The model is on `device`; no prompt is empty
// (c10::Error).
std::vector<std::vector<int32_t>> WriteGreedily(
    const Llama& model, const std::vector<std::vector<int32_t>>& prompts,
    int32_t end, int64_t max_tokens, c10::Device device);

}  // namespace repro

#endif  // REPRO_COMMON_NN_GREEDY_H_
