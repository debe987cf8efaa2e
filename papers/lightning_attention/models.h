// The small models that are trained side by side, by name, and the parameters
// of the paper's.
#ifndef REPRO_PAPERS_LIGHTNING_ATTENTION_MODELS_H_
#define REPRO_PAPERS_LIGHTNING_ATTENTION_MODELS_H_

#include <c10/core/Device.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/nn/llama.h"
#include "common/nn/transnormer.h"
#include "common/train/language_model.h"

namespace repro::lightning_attention {

struct SmallModelSize {
  int64_t dim = 384;
  int64_t num_layers = 4;
  int64_t num_heads = 6;
  int64_t glu_dim = 1024;
};

// Of tables 4 to 9: "mix" (TNL: LRPE-d in the first layer, decay, temperature,
// gate, SRMSNorm, silu, no activation in SGLU), and what differs from it in one
// thing: "absolute", "decay", "lrpe", "lrpe_d" (table 4), "no_temperature" (5),
// "no_gate" (6), "rms_norm", "layer_norm" (7), "no_activation", "elu_plus_one"
// (8), "glu_silu" (9); "chunked", "quadratic", "recurrent": mix with its
// attention computed so. NotFound: another name.
absl::StatusOr<TransnormerConfig> SmallTransnormer(absl::string_view name,
                                                   const SmallModelSize& size,
                                                   int64_t vocab_size);

// A LLaMA of the same dim, layers and heads and of the same number of
// parameters as "mix", but for norms and rounding: 4 dim^2 + 3 dim ffn_dim a
// layer against 5 dim^2 + 3 dim glu_dim.
LlamaConfig SmallLlama(const SmallModelSize& size, int64_t vocab_size);

// Any of these, "tnl_small" (mix), "llama_small", "tnl_medium" and
// "llama_medium" (twice as many layers) for CompareLanguageModels: float32
// weights; on CUDA with bfloat16 activations.
absl::StatusOr<std::vector<NamedLanguageModel>> SmallModels(
    const std::vector<std::string>& names, const SmallModelSize& size,
    int64_t vocab_size, c10::Device device);

// 400 steps of 64 x 256 characters.
LanguageModelTraining SmallModelTraining();

// Parameters of the post-2017 Transformer that Table 1 compares with, as
// fairseq builds it: embedding tied to the head, biases, LayerNorm twice a
// layer and once at the end, a feed-forward layer with one hidden layer of
// `ffn`, sinusoidal positions.
int64_t TransformerParameters(int64_t dim, int64_t layers, int64_t ffn,
                              int64_t vocabulary);

}  // namespace repro::lightning_attention

#endif  // REPRO_PAPERS_LIGHTNING_ATTENTION_MODELS_H_
