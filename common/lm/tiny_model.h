// A model of a few thousand random weights and a tokenizer of single bytes, for
// tests of what runs models.
#ifndef REPRO_COMMON_LM_TINY_MODEL_H_
#define REPRO_COMMON_LM_TINY_MODEL_H_

#include <cstdint>
#include <memory>

#include "common/lm/model.h"
#include "common/tokenizer/tokenizer.h"

namespace repro::lm {

// Ids 0 to 255: bytes; then <|im_start|> and <|im_end|>, the end of text; with
// ChatML's template.
constexpr int32_t kTinyStart = 256, kTinyEnd = 257;
constexpr int64_t kTinyVocabulary = 258;

std::unique_ptr<Tokenizer> TinyTokenizer();

// Two layers, a context of max_positions. A greedy text goes on until
// max_tokens: the end of text is never the likeliest token.
std::unique_ptr<LanguageModel> TinyModel(int64_t max_positions);

}  // namespace repro::lm

#endif  // REPRO_COMMON_LM_TINY_MODEL_H_
