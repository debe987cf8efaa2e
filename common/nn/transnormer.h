// TransNormerLLM, "TNL" (Qin et al. 2024, arXiv 2405.17381 and 2307.14995):
// x += GLA(SRMSNorm x); x += SGLU(SRMSNorm x), without biases.
//
//   GLA x = Wo [u * Norm(Attention(silu q, silu k, v))],  [q k v u] = x W
//   SGLU x = [(x W1) * (x W2)] W3
//   Attention: o_t = sum_{j<=t} exp(-s (t - j)) (q_t . k_j) v_j
//   SRMSNorm x = x / sqrt(mean(x^2) + eps)
//
// with one decay s for each head and layer, and in the first layer LRPE-d:
// q and k turned into [x cos(p theta), x sin(p theta)] at position p.
//
//   Transnormer model(config, Initializer(generator, options));
//   at::Tensor logits = model.Forward(tokens);
//
//   TransnormerState state = model.MakeState(batch);
//   at::Tensor next = model.Prefill(prompt, &state);   // [batch, vocab_size]
//   next = model.Step(next.argmax(-1), &state);
//
// The state's size does not depend on the length. Weights take the
// initialiser's dtype and device: bfloat16 on CUDA, float32 on the CPU. Float32
// weights with `compute_dtype` bfloat16 train in mixed precision.
#ifndef REPRO_COMMON_NN_TRANSNORMER_H_
#define REPRO_COMMON_NN_TRANSNORMER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "common/nn/initializer.h"
#include "common/nn/module.h"

namespace repro {

// How s depends on head h = 0 ... H - 1 and layer l = 0 ... L - 1.
enum class TransnormerDecay {
  kNone,  // s = 0
  // The released code: s = 2^(-8 (h + 1) / H) (1 - l / (L - 1) + 1e-5).
  kAsCoded,
  // The paper: s = (8 h / H) (1 - l / L), h and l from 1: the last layer does
  // not decay.
  kAsPublished,
};

enum class TransnormerLrpe { kNone, kFirstLayer, kAllLayers };

enum class TransnormerNorm {
  kSimpleRms,  // no weight
  kRms,        // with one
  kLayer,      // LayerNorm, weight and bias
};

enum class TransnormerActivation { kNone, kSilu, kEluPlusOne };

// The same attention computed in three ways.
enum class TransnormerAttention {
  kKernel,     // kernels/lightning_attention, linear in the length
  kQuadratic,  // (q k^T * M) v with the mask of decays M
  kRecurrent,  // KV_t = exp(-s) KV_{t-1} + k_t^T v_t, token by token
};

struct TransnormerConfig {
  int64_t vocab_size = 0;
  int64_t dim = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t hidden_dim = 0;  // of attention, all heads together; 0: dim
  int64_t glu_dim = 0;     // SGLU's hidden width
  bool tie_embeddings = false;
  bool scale_embedding = true;  // embedding times sqrt(dim)
  double norm_eps = 1e-6;
  double init_std = 0.02;

  TransnormerDecay decay = TransnormerDecay::kAsCoded;
  // False: every layer decays as layer 0 (as coded), or without the factor
  // 1 - l / L (as published).
  bool decay_temperature = true;
  TransnormerLrpe lrpe = TransnormerLrpe::kFirstLayer;
  // Sinusoids (Vaswani et al. 2017, section 3.5) are added to the embedding.
  bool absolute_positions = false;
  bool gate = true;  // u
  TransnormerNorm norm = TransnormerNorm::kSimpleRms;
  TransnormerActivation activation = TransnormerActivation::kSilu;  // q and k
  TransnormerActivation glu_activation = TransnormerActivation::kNone;  // x W1
  TransnormerAttention attention = TransnormerAttention::kKernel;

  // Of activations; empty: the weights'.
  std::optional<at::ScalarType> compute_dtype;
  // The backward keeps each layer's input alone (common/nn/recompute.h).
  bool recompute = false;

  // The released configuration of 0.39B parameters: 24 layers of 1024, 8
  // heads, SGLU 2816, 64,000 tokens, the embedding tied to the head.
  static TransnormerConfig Size385M();
};

// The decays s of one layer, [num_heads] float32 on the CPU.
at::Tensor TransnormerSlopes(const TransnormerConfig& config, int64_t layer);

// LRPE-d: [x cos(p theta), x sin(p theta)]. x: [batch, heads, seq_len,
// head_dim], theta: [heads, head_dim], positions: [seq_len] -> [batch, heads,
// seq_len, 2 head_dim] of x's dtype; angles in float32.
at::Tensor Lrpe(const at::Tensor& x, const at::Tensor& theta,
                const at::Tensor& positions);

// What decoding keeps of all past tokens.
struct TransnormerState {
  // One a layer: [batch, num_heads, key_dim, head_dim] float32; key_dim is
  // twice head_dim where LRPE-d is used.
  std::vector<at::Tensor> kv;
  at::Tensor position;  // [1] int64 on the device: tokens seen
};

class TransnormerBlock;

class Transnormer : public Module {
 public:
  Transnormer(const TransnormerConfig& config, const Initializer& init);
  ~Transnormer() override;

  const TransnormerConfig& config() const { return config_; }

  // tokens: [batch, seq_len] int64 -> logits [batch, seq_len, vocab_size].
  at::Tensor Forward(const at::Tensor& tokens) const;
  // The two halves of Forward: [batch, seq_len, dim] after the last norm, and
  // the product with the head for any [..., dim], so that a loss over a long
  // sequence or a large vocabulary can be taken in pieces.
  at::Tensor Features(const at::Tensor& tokens) const;
  at::Tensor Logits(const at::Tensor& features) const;

  // The state before any token.
  TransnormerState MakeState(int64_t batch) const;
  // Takes in tokens [batch, seq_len], after those that the state has seen; the
  // logits after the last one, [batch, vocab_size]. Without gradients, as Step.
  at::Tensor Prefill(const at::Tensor& tokens, TransnormerState* state) const;
  // One token a sequence, tokens: [batch]; the logits after it. Everything is
  // updated in place on the device, so that a captured graph serves every step.
  at::Tensor Step(const at::Tensor& tokens, TransnormerState* state) const;

 private:
  // positions: [seq_len] int64.
  at::Tensor Embed(const at::Tensor& tokens, const at::Tensor& positions) const;

  TransnormerConfig config_;
  at::Tensor embedding_;  // "embedding": [vocab_size, dim]
  at::Tensor head_;       // "head": [vocab_size, dim], unless tied
  std::vector<TransnormerBlock*> blocks_;
  Module* norm_;
};

}  // namespace repro

#endif  // REPRO_COMMON_NN_TRANSNORMER_H_
