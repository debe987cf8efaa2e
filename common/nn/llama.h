// The Transformer that language-model papers compare with: LLaMA's blocks
// (Touvron et al. 2023, arXiv 2302.13971), x += Attention(RMSNorm x);
// x += SwiGLU(RMSNorm x), with rotary positions and no biases.
//
//   Llama model(config, Initializer(generator, options));
//   at::Tensor logits = model.Forward(tokens);
//
//   LlamaCache cache = model.MakeCache(batch, prompt_len + new_tokens);
//   at::Tensor next = model.Prefill(prompt, &cache);   // [batch, vocab_size]
//   next = model.Step(next.argmax(-1), &cache);
//
// Weights take the initialiser's dtype and device: bfloat16 on CUDA, float32 on
// the CPU. Float32 weights with `compute_dtype` bfloat16 train in mixed
// precision.
#ifndef REPRO_COMMON_NN_LLAMA_H_
#define REPRO_COMMON_NN_LLAMA_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "common/nn/initializer.h"
#include "common/nn/layers.h"
#include "common/nn/module.h"
#include "common/nn/rotary.h"

namespace repro {

// weight * x / sqrt(mean(x^2) + eps) over the last axis. x: [..., dim]; the
// weight starts at 1 and may be float32 for any x. kernels/rms_norm.
class RmsNormLayer : public Module {
 public:
  RmsNormLayer(int64_t dim, const Initializer& init, double eps = 1e-6);

  at::Tensor Forward(const at::Tensor& x) const;

 private:
  double eps_;
  at::Tensor weight_;
};

// down(silu(gate x) * (up x)), without biases (Shazeer 2020). x: [..., dim].
class SwiGlu : public Module {
 public:
  SwiGlu(int64_t dim, int64_t hidden_dim, const Initializer& init,
         double std = 0.02);

  at::Tensor Forward(const at::Tensor& x) const;

 private:
  Linear* gate_up_;  // one product; gate's rows first
  Linear* down_;
};

struct LlamaConfig {
  int64_t vocab_size = 0;
  int64_t dim = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;     // head_dim = dim / num_heads
  int64_t num_kv_heads = 0;  // grouped queries; 0: num_heads
  int64_t ffn_dim = 0;       // SwiGLU's hidden width
  double rope_base = 10000;
  double norm_eps = 1e-6;
  double init_std = 0.02;
  bool tie_embeddings = false;
  // Of activations; empty: the weights'.
  std::optional<at::ScalarType> compute_dtype;
  // The backward keeps each layer's input alone (common/nn/recompute.h).
  bool recompute = false;

  // LLaMA 7B: 32 layers of 4096, 32 heads, SwiGLU 11008, 32,000 tokens.
  static LlamaConfig Llama7B();
};

// Keys and values of past tokens.
struct LlamaCache {
  // One a layer: [batch, num_kv_heads, capacity, head_dim].
  std::vector<at::Tensor> k;
  std::vector<at::Tensor> v;
  int64_t length = 0;   // tokens held; a replayed graph does not count here
  at::Tensor position;  // [1] int64 on the device, the same number
  // Step reads `position` alone and not `length`, so that a captured graph
  // serves every step: attention is kernels/chunk_attention's step at chunk
  // size 1, which needs num_kv_heads = num_heads.
  bool device_length = false;
};

class LlamaBlock;

class Llama : public Module {
 public:
  Llama(const LlamaConfig& config, const Initializer& init);
  ~Llama() override;

  const LlamaConfig& config() const { return config_; }

  // tokens: [batch, seq_len] int64 -> logits [batch, seq_len, vocab_size].
  at::Tensor Forward(const at::Tensor& tokens) const;
  // The two halves of Forward: [batch, seq_len, dim] after the last norm, and
  // the product with the head for any [..., dim], so that a loss over a long
  // sequence or a large vocabulary can be taken in pieces.
  at::Tensor Features(const at::Tensor& tokens) const;
  at::Tensor Logits(const at::Tensor& features) const;

  // Room for `capacity` tokens of `batch` sequences.
  LlamaCache MakeCache(int64_t batch, int64_t capacity,
                       bool device_length = false) const;
  // Appends tokens [batch, seq_len] to an empty cache; the logits after the
  // last one, [batch, vocab_size]. Without gradients, as Step.
  at::Tensor Prefill(const at::Tensor& tokens, LlamaCache* cache) const;
  // Appends one token a sequence, tokens: [batch]; the logits after it. The
  // cache must have room for it.
  at::Tensor Step(const at::Tensor& tokens, LlamaCache* cache) const;

 private:
  at::Tensor Embed(const at::Tensor& tokens) const;

  LlamaConfig config_;
  at::Tensor embedding_;  // "embedding": [vocab_size, dim]
  at::Tensor head_;       // "head": [vocab_size, dim], unless tied
  std::vector<LlamaBlock*> blocks_;
  RmsNormLayer* norm_;
};

}  // namespace repro

#endif  // REPRO_COMMON_NN_LLAMA_H_
