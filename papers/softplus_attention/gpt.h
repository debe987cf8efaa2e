// The decoder of the paper's experiments: GPT-2's blocks with rotary positions
// in place of learned ones, and any AttentionForm.
//
//   x += W_o Attend(RoPE q, RoPE k, v), [q, k, v] = W LayerNorm(x) + b
//   x += W' gelu(W LayerNorm(x) + b) + b'
//
//   Gpt model(GptConfig::Gpt2Small(), Initializer(generator, options));
//   at::Tensor logits = model.Forward(tokens);
#ifndef REPRO_PAPERS_SOFTPLUS_ATTENTION_GPT_H_
#define REPRO_PAPERS_SOFTPLUS_ATTENTION_GPT_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "common/nn/initializer.h"
#include "common/nn/layers.h"
#include "common/nn/module.h"
#include "papers/softplus_attention/softplus_attention.h"

namespace repro::softplus_attention {

struct GptConfig {
  int64_t vocab_size = 0;
  int64_t dim = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  double rope_base = 10000;
  // Of what is between the norms and the residual, which is float32 (float64
  // in a float64 model); empty: the weights'.
  std::optional<at::ScalarType> compute_dtype;

  // 123,653,376 parameters, the output layer being the embedding.
  static GptConfig Gpt2Small();
};

class GptBlock;

// Weights start as GPT-2's: N(0, 0.02^2), those of the two projections to the
// residual over sqrt(2 num_layers), biases 0.
class Gpt : public Module {
 public:
  Gpt(const GptConfig& config, const Initializer& init);
  ~Gpt() override;

  // tokens: [batch, seq_len] int64 -> logits [batch, seq_len, vocab_size].
  at::Tensor Forward(const at::Tensor& tokens) const;

  // The form of all layers from here on; lssa until then. It has no parameters,
  // so that a model can be read in another form than it was trained in.
  void set_form(const AttentionForm& form) { form_ = form; }
  const AttentionForm& form() const { return form_; }

  // Calls `look` with each layer's weights, [batch, num_heads, seq_len,
  // seq_len], while it reads tokens. No gradients; no window.
  void VisitWeights(
      const at::Tensor& tokens,
      const std::function<void(const at::Tensor& weights)>& look) const;

  // W_k = W_q and W_o = W_v transposed in each layer, so that tokens look for
  // their like and copy what they find: recall forms in a fraction of the steps
  // (common/testbed).
  void StartSymmetric();

 private:
  using Attention = std::function<at::Tensor(
      const at::Tensor& q, const at::Tensor& k, const at::Tensor& v)>;

  at::Tensor Run(const at::Tensor& tokens, const Attention& attention) const;

  GptConfig config_;
  AttentionForm form_;
  at::Tensor embedding_;  // "embedding": [vocab_size, dim], the head too
  std::vector<GptBlock*> blocks_;
  LayerNorm* norm_;
};

}  // namespace repro::softplus_attention

#endif  // REPRO_PAPERS_SOFTPLUS_ATTENTION_GPT_H_
