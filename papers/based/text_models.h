// The small models that are trained side by side on characters.
#ifndef REPRO_PAPERS_BASED_TEXT_MODELS_H_
#define REPRO_PAPERS_BASED_TEXT_MODELS_H_

#include <c10/core/Device.h>

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/train/language_model.h"

namespace repro::based {

struct TextModelSize {
  int64_t dim = 384;
  int64_t num_layers = 6;
  int64_t num_heads = 6;
};

// "attention" (a LLaMA of that size), and of its number of parameters, by the
// width of SwiGLU, "based" (BaseConv, linear and sliding layers in turn, window
// 33) and "linear" (linear layers alone). Float32 weights; on CUDA with
// bfloat16 activations. NotFound: another name.
absl::StatusOr<NamedLanguageModel> TextModel(absl::string_view name,
                                             const TextModelSize& size,
                                             int64_t vocab_size,
                                             c10::Device device);

}  // namespace repro::based

#endif  // REPRO_PAPERS_BASED_TEXT_MODELS_H_
