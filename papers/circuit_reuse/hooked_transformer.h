// A decoder of GPT-2's form whose inner values can be read and replaced.
//
//   HookedTransformer model(TransformerConfig::Gpt2Medium(), init);
//   at::Tensor logits = model.Forward(
//       tokens, [&](HookPoint point, int64_t layer, const at::Tensor& value) {
//         if (point == HookPoint::kZ && layer == 3) Look(value);
//         return value;
//       });
//
// x_0 = E[tokens] + P; in layer l (Vaswani et al. 2017; Radford et al. 2019):
//   q, k, v = LayerNorm(x) W_qkv + b, z_h = softmax(q_h k_h^T / sqrt(d_h)) v_h,
//   x += sum_h z_h W_O^h + b_O,  x += MLP(LayerNorm(x)) with gelu (tanh);
// logits = LayerNorm(x_L) U. Wrong shapes throw c10::Error.
#ifndef REPRO_PAPERS_CIRCUIT_REUSE_HOOKED_TRANSFORMER_H_
#define REPRO_PAPERS_CIRCUIT_REUSE_HOOKED_TRANSFORMER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/nn/initializer.h"
#include "common/nn/layers.h"
#include "common/nn/module.h"

namespace repro::circuit_reuse {

struct TransformerConfig {
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t dim = 0;
  int64_t mlp_dim = 0;
  int64_t vocabulary = 0;
  int64_t positions = 0;   // longest prompt
  bool tied = false;       // U = E^T
  double init_std = 0.02;  // of E, P and the projections

  int64_t head_dim() const { return dim / heads; }
  // 24 layers of 16 heads, dim 1024, vocabulary 50257, 1024 positions, tied.
  static TransformerConfig Gpt2Medium();
};

// Where a value can be replaced, and its shape.
enum class HookPoint {
  kResidual,   // before the layer; layer L: after the last [batch, len, dim]
  kQuery,      // [batch, heads, len, head_dim]
  kKey,        // the same
  kValue,      // the same
  kAttention,  // after the softmax [batch, heads, len, len]
  kZ,          // attention times values [batch, heads, len, head_dim]
  kMlp,        // what the MLP adds [batch, len, dim]
};

// Returns the value to go on with, of the same shape.
using Hook = std::function<at::Tensor(HookPoint point, int64_t layer,
                                      const at::Tensor& value)>;

// Calls the hooks one after the other, each with what the one before returned.
Hook ComposeHooks(std::vector<Hook> hooks);

class HookedTransformer : public Module {
 public:
  HookedTransformer(const TransformerConfig& config, const Initializer& init);

  // tokens: [batch, len] int64 -> logits [batch, len, vocabulary].
  at::Tensor Forward(const at::Tensor& tokens, const Hook& hook = {}) const;

  // The pieces of Forward = Unembed(Run(Embed(tokens), 0, hook)).
  at::Tensor Embed(const at::Tensor& tokens) const;
  // Layers `first`, first + 1, ... on x: [batch, len, dim].
  at::Tensor Run(at::Tensor x, int64_t first, const Hook& hook = {}) const;
  // x: [..., dim] -> [..., vocabulary].
  at::Tensor Unembed(const at::Tensor& x) const;

  // The pieces of a layer, at any positions.
  // x: [..., dim] -> [..., 3, heads, head_dim]: queries, keys, values.
  at::Tensor QueryKeyValue(int64_t layer, const at::Tensor& x) const;
  // z: [..., heads, head_dim] -> [..., dim], sum_h z_h W_O^h + b_O.
  at::Tensor Project(int64_t layer, const at::Tensor& z) const;
  // z: [..., heads, head_dim] -> [..., heads, dim], z_h W_O^h.
  at::Tensor ProjectEach(int64_t layer, const at::Tensor& z) const;
  at::Tensor Mlp(int64_t layer, const at::Tensor& x) const;

  // The final norm of a part of the residual stream with the scale of the
  // whole: gamma (part - mean(part)) / sigma(whole). The parts of a whole sum
  // to LayerNorm(whole) - beta. part, whole: [..., dim], which broadcast.
  at::Tensor NormPart(const at::Tensor& part, const at::Tensor& whole) const;
  // [vocabulary, dim]: a row for each token.
  const at::Tensor& unembedding() const {
    return unembedding_.defined() ? unembedding_ : embedding_;
  }

  const TransformerConfig& config() const { return config_; }

 private:
  struct Layer {
    LayerNorm* attention_norm;
    at::Tensor qkv, qkv_bias;        // [3 dim, dim], [3 dim]
    at::Tensor output, output_bias;  // [dim, dim], [dim]
    LayerNorm* mlp_norm;
    Linear* up;
    Linear* down;
  };

  TransformerConfig config_;
  at::Tensor embedding_, positions_;  // [vocabulary, dim], [positions, dim]
  at::Tensor unembedding_;            // undefined if tied
  std::vector<Layer> layers_;
  LayerNorm* norm_;
  at::Tensor norm_weight_;
};

// GPT-2's weights from model.safetensors as Hugging Face has it (names
// "h.0.attn.c_attn.weight" or with "transformer." before them; matrices
// [in, out]), in float32. Sizes are read from the shapes; `heads` they don't
// tell: 16 for GPT2-Medium. Errors: those of Safetensors; InvalidArgument for a
// shape that does not fit, naming file and tensor.
absl::StatusOr<std::unique_ptr<HookedTransformer>> LoadGpt2(
    const std::string& path, int64_t heads);

}  // namespace repro::circuit_reuse

#endif  // REPRO_PAPERS_CIRCUIT_REUSE_HOOKED_TRANSFORMER_H_
