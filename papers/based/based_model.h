// Based: a decoder whose layers mix tokens by Taylor linear attention, by
// softmax attention over a short sliding window, or by a gated convolution of
// width 3.
//
//   x += mixer(RMSNorm x);  x += SwiGLU(RMSNorm x)
//
//   BasedModel model(BasedConfig::Size1300M(), Initializer(generator,
//   options)); at::Tensor logits = model.Forward(tokens);
//
//   BasedState state = model.MakeState(batch);
//   at::Tensor next = model.Prefill(prompt, &state);  // [batch, vocab_size]
//   next = model.Step(next.argmax(-1), &state);
//
// The residual x and the norms are float32 (float64 in a float64 model); all
// else has the weights' dtype, or `compute_dtype`.
#ifndef REPRO_PAPERS_BASED_BASED_MODEL_H_
#define REPRO_PAPERS_BASED_BASED_MODEL_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "common/nn/initializer.h"
#include "common/nn/llama.h"
#include "common/nn/module.h"
#include "kernels/taylor_linear_attention/taylor_linear_attention.h"

namespace repro::based {

struct BasedConfig {
  int64_t vocab_size = 50264;  // GPT-2's 50257, padded to a multiple of 8
  int64_t dim = 0;
  int64_t num_layers = 0;
  std::vector<int64_t> linear_layers;   // from 0
  std::vector<int64_t> sliding_layers;  // the others are BaseConv
  int64_t num_heads = 16;               // of linear and sliding layers
  int64_t linear_heads = 0;             // of linear layers; 0: num_heads
  int64_t feature_dim = 16;             // of q and k of linear layers, a head
  int64_t window = 129;  // keys that a query sees, its own included
  int64_t ffn_dim = 0;   // SwiGLU's; 0: 2 dim rounded up to a multiple of 256
  double linear_eps = 1e-12;
  double rope_base = 10000;
  double norm_eps = 1e-5;
  std::optional<at::ScalarType> compute_dtype;

  // 362,620,928 parameters.
  static BasedConfig Size360M();
  // 1,349,453,056 parameters.
  static BasedConfig Size1300M();
};

// The attention models that the paper compares with, with the GPT-2 vocabulary
// padded to 50272, rotary positions, SwiGLU and tied embeddings: 359,810,048
// and 1,327,080,720 parameters.
LlamaConfig Attention360M();
LlamaConfig Attention1300M();

// What one layer remembers; tensors of other kinds of layers are undefined.
struct LayerState {
  TaylorState sums;   // linear
  at::Tensor keys;    // sliding: [batch, heads, window - 1, head_dim]; the key
  at::Tensor values;  // of position p is at p mod (window - 1)
  at::Tensor inputs;  // BaseConv: [batch, 2, 2 dim], the last two, old first
};

// Step changes all of it in place, so that a captured graph serves every step.
struct BasedState {
  std::vector<LayerState> layers;
  at::Tensor position;  // [1] int64 on the device: tokens seen
};

// How a layer mixes tokens. `rotary` is of the tokens' positions.
class Mixer : public Module {
 public:
  // x: [batch, seq_len, dim] -> the same, from the first token on. If there is
  // a state it is set to that after the last token.
  virtual at::Tensor Forward(const at::Tensor& x, const RotaryTable& rotary,
                             LayerState* state) const = 0;
  // x: [batch, 1, dim], the token after `position` [1] others.
  virtual at::Tensor Step(const at::Tensor& x, const RotaryTable& rotary,
                          const at::Tensor& position,
                          LayerState* state) const = 0;
  virtual LayerState MakeState(int64_t batch,
                               const at::TensorOptions& options) const = 0;
};

// q, k: dim -> heads * feature_dim, v: dim -> dim, y: dim -> dim, no biases, no
// positions; y as in kernels/taylor_linear_attention, normalised.
class LinearMixer : public Mixer {
 public:
  LinearMixer(const BasedConfig& config, const Initializer& init);
  at::Tensor Forward(const at::Tensor& x, const RotaryTable& rotary,
                     LayerState* state) const override;
  at::Tensor Step(const at::Tensor& x, const RotaryTable& rotary,
                  const at::Tensor& position, LayerState* state) const override;
  LayerState MakeState(int64_t batch,
                       const at::TensorOptions& options) const override;

 private:
  struct Heads {
    at::Tensor q, k, v;  // [batch, heads, seq_len, ...]
  };
  Heads Project(const at::Tensor& x) const;

  int64_t heads_, feature_dim_, value_dim_;
  double eps_;
  Linear* qkv_;
  Linear* output_;
};

// Softmax attention over `window` keys, rotary positions, no biases.
class SlidingMixer : public Mixer {
 public:
  SlidingMixer(const BasedConfig& config, const Initializer& init);
  at::Tensor Forward(const at::Tensor& x, const RotaryTable& rotary,
                     LayerState* state) const override;
  at::Tensor Step(const at::Tensor& x, const RotaryTable& rotary,
                  const at::Tensor& position, LayerState* state) const override;
  LayerState MakeState(int64_t batch,
                       const at::TensorOptions& options) const override;

 private:
  struct Heads {
    at::Tensor q, k, v;
  };
  Heads Project(const at::Tensor& x, const RotaryTable& rotary) const;

  int64_t heads_, head_dim_, window_;
  Linear* qkv_;
  Linear* output_;
};

// [u1, u2] = W x + b; y = W' (silu(conv(u1)) * u2) + b', conv causal, of width
// 3, one filter a channel, without bias.
class BaseConvMixer : public Mixer {
 public:
  BaseConvMixer(const BasedConfig& config, const Initializer& init);
  at::Tensor Forward(const at::Tensor& x, const RotaryTable& rotary,
                     LayerState* state) const override;
  at::Tensor Step(const at::Tensor& x, const RotaryTable& rotary,
                  const at::Tensor& position, LayerState* state) const override;
  LayerState MakeState(int64_t batch,
                       const at::TensorOptions& options) const override;

 private:
  int64_t inner_;
  Linear* input_;
  Linear* output_;
  at::Tensor filter_;  // "filter": [3, 2 dim], the oldest token's first
};

class BasedModel : public Module {
 public:
  BasedModel(const BasedConfig& config, const Initializer& init);

  const BasedConfig& config() const { return config_; }

  // tokens: [batch, seq_len] int64 -> logits [batch, seq_len, vocab_size].
  at::Tensor Forward(const at::Tensor& tokens) const;

  BasedState MakeState(int64_t batch) const;
  // Takes in tokens [batch, seq_len] from the first on; sets the state. The
  // logits after the last one, [batch, vocab_size]. No gradients, as Step.
  at::Tensor Prefill(const at::Tensor& tokens, BasedState* state) const;
  // Takes in one token a sequence, tokens: [batch]; the logits after it.
  at::Tensor Step(const at::Tensor& tokens, BasedState* state) const;

 private:
  struct Block {
    RmsNormLayer* mixer_norm;
    Mixer* mixer;
    RmsNormLayer* ffn_norm;
    SwiGlu* ffn;
  };

  at::ScalarType compute_dtype() const;
  at::Tensor Embed(const at::Tensor& tokens) const;
  at::Tensor Features(const at::Tensor& tokens, BasedState* state) const;
  at::Tensor Logits(const at::Tensor& x) const;
  RotaryTable Rotary(const at::Tensor& positions) const;
  // x + ffn(norm x)
  at::Tensor FeedForward(const Block& block, const at::Tensor& x) const;
  at::Tensor Normalized(const RmsNormLayer& norm, const at::Tensor& x) const;

  BasedConfig config_;
  at::Tensor embedding_;  // "embedding": [vocab_size, dim], the head too
  std::vector<Block> blocks_;
  RmsNormLayer* norm_;
};

// `config` with the ffn_dim at which a BasedModel has the number of parameters
// that is nearest to `parameters`.
BasedConfig WithParameters(BasedConfig config, int64_t parameters);

}  // namespace repro::based

#endif  // REPRO_PAPERS_BASED_BASED_MODEL_H_
