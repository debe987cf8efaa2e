#include "common/encoder/transformer_encoder.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/tanh.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/encoder/dropout.h"
#include "common/tensor/check.h"

namespace repro::encoder {
TransformerConfig TransformerConfig::RobertaBase() {
  TransformerConfig config;
  config.vocab_size = 50265;
  config.dim = 768;
  config.num_layers = 12;
  config.num_heads = 12;
  config.ffn_dim = 3072;
  config.max_positions = 514;
  return config;
}

class TransformerLayer : public Module {
 public:
  TransformerLayer(const TransformerConfig& config, const Initializer& init,
                   at::Generator generator)
      : dropout_(config.dropout), generator_(generator) {
    MultiHeadAttentionConfig attention;
    attention.dim = config.dim;
    attention.num_heads = config.num_heads;
    attention.dropout = config.attention_dropout;
    attention.init_std = config.init_std;
    attention_ = AddModule<MultiHeadAttention>("attention", attention, init,
                                               std::move(generator));
    attention_norm_ = AddModule<LayerNorm>("attention_norm", config.dim, init,
                                           config.norm_eps);
    up_ = AddModule<Linear>(
        "up", init.Normal({config.ffn_dim, config.dim}, config.init_std),
        init.Zeros({config.ffn_dim}));
    down_ = AddModule<Linear>(
        "down", init.Normal({config.dim, config.ffn_dim}, config.init_std),
        init.Zeros({config.dim}));
    ffn_norm_ =
        AddModule<LayerNorm>("ffn_norm", config.dim, init, config.norm_eps);
  }

  at::Tensor Forward(const at::Tensor& x, const ScoreMask& mask,
                     at::Tensor* map) const {
    const at::Tensor h = attention_norm_->Forward(
        x + Drop(attention_->Forward(x, x, mask, map)));
    return ffn_norm_->Forward(h +
                              Drop(down_->Forward(at::gelu(up_->Forward(h)))));
  }

 private:
  at::Tensor Drop(const at::Tensor& x) const {
    return DropoutIfSeeded(x, dropout_, training(), generator_);
  }

  double dropout_;
  at::Generator generator_;
  MultiHeadAttention* attention_;
  LayerNorm* attention_norm_;
  Linear* up_;
  Linear* down_;
  LayerNorm* ffn_norm_;
};

TransformerLayers::TransformerLayers(const TransformerConfig& config,
                                     const Initializer& init,
                                     at::Generator generator)
    : config_(config), generator_(generator) {
  position_embedding_ = AddParameter(
      "position_embedding",
      init.Normal({config.max_positions, config.dim}, config.init_std));
  if (config.num_types > 0) {
    type_embedding_ = AddParameter(
        "type_embedding",
        init.Normal({config.num_types, config.dim}, config.init_std));
  }
  norm_ = AddModule<LayerNorm>("norm", config.dim, init, config.norm_eps);
  for (int64_t i = 0; i < config.num_layers; ++i) {
    layers_.push_back(AddModule<TransformerLayer>(absl::StrCat("layer", i),
                                                  config, init, generator));
  }
}

at::Tensor TransformerLayers::Forward(const at::Tensor& embeddings,
                                      const at::Tensor& mask,
                                      const at::Tensor& position_ids,
                                      std::vector<at::Tensor>* maps) const {
  ShapeChecker check;
  check(embeddings, {"batch", "seq_len", config_.dim}, "embeddings");
  CheckDtype(position_ids, at::kLong, "position_ids");
  TORCH_CHECK(position_ids.dim() == 2 &&
                  (position_ids.size(0) == 1 ||
                   position_ids.size(0) == embeddings.size(0)) &&
                  position_ids.size(1) == embeddings.size(1),
              "position_ids: expected [1 or ", embeddings.size(0), ", ",
              embeddings.size(1), "], got ", position_ids.sizes());
  at::Tensor x = embeddings + at::embedding(position_embedding_, position_ids);
  if (type_embedding_.defined()) x = x + type_embedding_.select(0, 0);
  x = DropoutIfSeeded(norm_->Forward(x), config_.dropout, training(),
                      generator_);
  const ScoreMask score_mask = MakeScoreMask(mask, /*bias=*/{}, x.size(0),
                                             x.size(1), x.size(1), x.options());
  for (const TransformerLayer* layer : layers_) {
    at::Tensor map;
    x = layer->Forward(x, score_mask, maps == nullptr ? nullptr : &map);
    if (maps != nullptr) maps->push_back(map);
  }
  return x;
}

TransformerEncoder::TransformerEncoder(const TransformerConfig& config,
                                       const Initializer& init,
                                       at::Generator generator)
    : config_(config) {
  word_embedding_ = AddParameter(
      "word_embedding",
      init.Normal({config.vocab_size, config.dim}, config.init_std));
  layers_ = AddModule<TransformerLayers>("layers", config, init,
                                         std::move(generator));
}

at::Tensor TransformerEncoder::WordEmbeddings(const at::Tensor& tokens) const {
  CheckShape(tokens, {"batch", "seq_len"}, "tokens");
  return at::embedding(word_embedding_, tokens);
}

at::Tensor TransformerEncoder::ForwardEmbeddings(
    const at::Tensor& embeddings, const at::Tensor& mask,
    const at::Tensor& position_ids, std::vector<at::Tensor>* maps) const {
  return layers_->Forward(embeddings, mask, position_ids, maps);
}

at::Tensor TransformerEncoder::Forward(const at::Tensor& tokens,
                                       const at::Tensor& mask,
                                       std::vector<at::Tensor>* maps) const {
  CheckShape(mask, {tokens.size(0), tokens.size(1)}, "mask");
  TORCH_CHECK(tokens.size(1) + config_.padding_id < config_.max_positions,
              "tokens: ", tokens.size(1), " of them need positions up to ",
              tokens.size(1) + config_.padding_id, ", and the table has ",
              config_.max_positions, " rows");
  return ForwardEmbeddings(WordEmbeddings(tokens), mask,
                           RobertaPositions(mask, config_.padding_id), maps);
}

at::Tensor RobertaPositions(const at::Tensor& mask, int64_t padding_id) {
  CheckShape(mask, {"batch", "seq_len"}, "mask");
  const at::Tensor token = mask.to(at::kLong);
  return token.cumsum(1) * token + padding_id;
}

MaskedLanguageModelHead::MaskedLanguageModelHead(
    const TransformerConfig& config, const Initializer& init) {
  dense_ = AddModule<Linear>(
      "dense", init.Normal({config.dim, config.dim}, config.init_std),
      init.Zeros({config.dim}));
  norm_ = AddModule<LayerNorm>("norm", config.dim, init, config.norm_eps);
  bias_ = AddParameter("bias", init.Zeros({config.vocab_size}));
}

at::Tensor MaskedLanguageModelHead::Forward(
    const at::Tensor& h, const at::Tensor& word_embedding) const {
  return at::linear(norm_->Forward(at::gelu(dense_->Forward(h))),
                    word_embedding, bias_);
}

Pooler::Pooler(int64_t dim, const Initializer& init, double init_std)
    : dense_(AddModule<Linear>("dense", init.Normal({dim, dim}, init_std),
                               init.Zeros({dim}))) {}

at::Tensor Pooler::Forward(const at::Tensor& h) const {
  CheckShape(h, {"batch", "seq_len", "dim"}, "h");
  return at::tanh(dense_->Forward(h.select(1, 0)));
}

ClassificationHead::ClassificationHead(const ClassificationHeadConfig& config,
                                       const Initializer& init,
                                       at::Generator generator)
    : config_(config), generator_(std::move(generator)) {
  dense_ = AddModule<Linear>(
      "dense", init.Normal({config.hidden_dim, config.in_dim}, config.init_std),
      init.Zeros({config.hidden_dim}));
  out_ = AddModule<Linear>(
      "out",
      init.Normal({config.num_classes, config.hidden_dim}, config.init_std),
      init.Zeros({config.num_classes}));
}

at::Tensor ClassificationHead::Forward(const at::Tensor& x) const {
  const auto drop = [&](const at::Tensor& h) {
    return DropoutIfSeeded(h, config_.dropout, training(), generator_);
  };
  const at::Tensor h = dense_->Forward(drop(x));
  const bool tanh =
      config_.activation == ClassificationHeadConfig::Activation::kTanh;
  return out_->Forward(drop(tanh ? at::tanh(h) : at::relu(h)));
}

at::Tensor TokenPairLogits(const at::Tensor& h, const at::Tensor& pairs) {
  CheckShape(h, {"batch", "seq_len", "dim"}, "h");
  CheckShape(pairs, {"num_pairs", 3}, "pairs");
  CheckDtype(pairs, at::kLong, "pairs");
  const at::Tensor row = pairs.select(1, 0);
  return (h.index({row, pairs.select(1, 1)}) *
          h.index({row, pairs.select(1, 2)}))
      .sum(-1);
}

}  // namespace repro::encoder
