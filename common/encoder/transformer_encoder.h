// The Transformer encoder in RoBERTa's layout (learned positions, post-norm,
// GELU; Liu et al. 2019, arXiv 1907.11692) under any mask of token pairs, and
// the heads that go on it.
//
//   TransformerEncoder model(config, init, dropout_generator);
//   at::Tensor h = model.Forward(tokens, padding_mask);  // [batch, seq_len,
//   dim]
//
// A graph-guided mask and nodes whose embedding is a mean of others':
//
//   at::Tensor words = model.WordEmbeddings(tokens);
//   ...
//   at::Tensor h = model.ForwardEmbeddings(words, pair_mask, position_ids);
#ifndef REPRO_COMMON_ENCODER_TRANSFORMER_ENCODER_H_
#define REPRO_COMMON_ENCODER_TRANSFORMER_ENCODER_H_

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "common/encoder/masked_attention.h"
#include "common/nn/initializer.h"
#include "common/nn/layers.h"
#include "common/nn/module.h"

namespace repro::encoder {

struct TransformerConfig {
  int64_t vocab_size = 0;
  int64_t dim = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t ffn_dim = 0;
  int64_t max_positions = 0;  // rows of the position table
  int64_t num_types = 1;      // rows of the token type table; 0: no table
  double norm_eps = 1e-5;
  double dropout = 0.1;  // of embeddings and of each sublayer's output
  double attention_dropout = 0.1;  // of attention maps
  double init_std = 0.02;
  // RoBERTa numbers positions from padding_id + 1 and gives padding
  // padding_id.
  int64_t padding_id = 1;

  // 12 layers of 768, 12 heads, 3072, 50,265 tokens, 514 positions:
  // 124,645,632 parameters with the pooler.
  static TransformerConfig RobertaBase();
};

class TransformerLayer;

// num_layers of x = norm(x + Attention(x)); x = norm(x + FFN(x)), after
// norm(embeddings + positions (+ type 0)). Takes any vectors for embeddings.
class TransformerLayers : public Module {
 public:
  TransformerLayers(const TransformerConfig& config, const Initializer& init,
                    at::Generator generator = {});

  // embeddings: [batch, seq_len, dim]; mask: bool, true where attention is
  // allowed, [batch, seq_len] (padding) or [batch, target_len, source_len]
  // (any), or undefined; position_ids: int64 [batch, seq_len] or [1, seq_len],
  // < max_positions. maps: receives each layer's
  // [batch, heads, seq_len, seq_len].
  at::Tensor Forward(const at::Tensor& embeddings, const at::Tensor& mask,
                     const at::Tensor& position_ids,
                     std::vector<at::Tensor>* maps = nullptr) const;

 private:
  TransformerConfig config_;
  at::Generator generator_;
  at::Tensor position_embedding_;  // "position_embedding"
  at::Tensor type_embedding_;      // "type_embedding"
  LayerNorm* norm_;
  std::vector<TransformerLayer*> layers_;
};

class TransformerEncoder : public Module {
 public:
  // Dropout draws from `generator`; undefined: no dropout, whatever the
  // configuration says.
  TransformerEncoder(const TransformerConfig& config, const Initializer& init,
                     at::Generator generator = {});

  const TransformerConfig& config() const { return config_; }
  // [vocab_size, dim], for an MLM head that is tied to it.
  const at::Tensor& word_embedding() const { return word_embedding_; }

  // tokens: int64 [batch, seq_len] -> [batch, seq_len, dim].
  at::Tensor WordEmbeddings(const at::Tensor& tokens) const;
  // As TransformerLayers::Forward.
  at::Tensor ForwardEmbeddings(const at::Tensor& embeddings,
                               const at::Tensor& mask,
                               const at::Tensor& position_ids,
                               std::vector<at::Tensor>* maps = nullptr) const;
  // With RobertaPositions; mask: bool [batch, seq_len], true for tokens.
  at::Tensor Forward(const at::Tensor& tokens, const at::Tensor& mask,
                     std::vector<at::Tensor>* maps = nullptr) const;

 private:
  TransformerConfig config_;
  at::Tensor word_embedding_;  // "word_embedding": [vocab_size, dim]
  TransformerLayers* layers_;
};

// padding_id + 1, padding_id + 2, ... for the tokens of each row (mask true),
// padding_id for the rest. mask: bool [batch, seq_len] -> int64.
at::Tensor RobertaPositions(const at::Tensor& mask, int64_t padding_id = 1);

// logits = norm(gelu(dense h)) E^T + b with E the encoder's word embedding.
class MaskedLanguageModelHead : public Module {
 public:
  MaskedLanguageModelHead(const TransformerConfig& config,
                          const Initializer& init);

  // h: [..., dim], word_embedding: [vocab_size, dim] -> [..., vocab_size]. Give
  // it the masked positions alone: logits of all cost vocab_size numbers each.
  at::Tensor Forward(const at::Tensor& h,
                     const at::Tensor& word_embedding) const;

 private:
  Linear* dense_;
  LayerNorm* norm_;
  at::Tensor bias_;  // "bias": [vocab_size]
};

// tanh(dense h), of the first token: h [batch, seq_len, dim] -> [batch, dim].
class Pooler : public Module {
 public:
  Pooler(int64_t dim, const Initializer& init, double init_std = 0.02);

  at::Tensor Forward(const at::Tensor& h) const;

 private:
  Linear* dense_;
};

struct ClassificationHeadConfig {
  int64_t in_dim = 0;  // 2 dim for two vectors side by side
  int64_t hidden_dim = 0;
  int64_t num_classes = 0;
  enum class Activation { kTanh, kRelu } activation = Activation::kTanh;
  double dropout = 0.1;  // before each of the two products
  double init_std = 0.02;
};

// out(dropout(activation(dense(dropout x)))): [..., in_dim] ->
// [..., num_classes]. On vectors of tokens it classifies tokens.
class ClassificationHead : public Module {
 public:
  ClassificationHead(const ClassificationHeadConfig& config,
                     const Initializer& init, at::Generator generator = {});

  at::Tensor Forward(const at::Tensor& x) const;

 private:
  ClassificationHeadConfig config_;
  at::Generator generator_;
  Linear* dense_;
  Linear* out_;
};

// <h_i, h_j> of given pairs of tokens, GraphCodeBERT's logits of an edge
// between two nodes and of a node's code token (Guo et al. 2021, eqs. 5-8). h:
// [batch, seq_len, dim]; pairs: int64 [num_pairs, 3] of (row, i, j) ->
// [num_pairs].
at::Tensor TokenPairLogits(const at::Tensor& h, const at::Tensor& pairs);

}  // namespace repro::encoder

#endif  // REPRO_COMMON_ENCODER_TRANSFORMER_ENCODER_H_
