#include "common/nn/llama.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/zeros.h>

#include <string>
#include <utility>

#include "common/nn/attention.h"
#include "common/nn/recompute.h"
#include "common/tensor/check.h"
#include "kernels/chunk_attention/chunk_attention.h"
#include "kernels/rms_norm/rms_norm.h"

namespace repro {

RmsNormLayer::RmsNormLayer(int64_t dim, const Initializer& init, double eps)
    : eps_(eps), weight_(AddParameter("weight", init.Ones({dim}))) {}

at::Tensor RmsNormLayer::Forward(const at::Tensor& x) const {
  return RmsNorm(x, weight_, eps_);
}

SwiGlu::SwiGlu(int64_t dim, int64_t hidden_dim, const Initializer& init,
               double std) {
  gate_up_ = AddModule<Linear>(
      "gate_up", init.Normal({2 * hidden_dim, dim}, std), at::Tensor());
  down_ = AddModule<Linear>("down", init.Normal({dim, hidden_dim}, std),
                            at::Tensor());
}

at::Tensor SwiGlu::Forward(const at::Tensor& x) const {
  const std::vector<at::Tensor> parts = gate_up_->Forward(x).chunk(2, -1);
  return down_->Forward(at::silu(parts[0]) * parts[1]);
}

LlamaConfig LlamaConfig::Llama7B() {
  LlamaConfig config;
  config.vocab_size = 32000;
  config.dim = 4096;
  config.num_layers = 32;
  config.num_heads = 32;
  config.ffn_dim = 11008;
  return config;
}

class LlamaBlock : public Module {
 public:
  LlamaBlock(const LlamaConfig& config, const Initializer& init)
      : heads_(config.num_heads),
        kv_heads_(config.num_kv_heads),
        head_dim_(config.dim / config.num_heads) {
    const double std = config.init_std;
    attention_norm_ = AddModule<RmsNormLayer>("attention_norm", config.dim,
                                              init, config.norm_eps);
    qkv_ = AddModule<Linear>(
        "qkv",
        init.Normal({(heads_ + 2 * kv_heads_) * head_dim_, config.dim}, std),
        at::Tensor());
    output_ = AddModule<Linear>(
        "output", init.Normal({config.dim, config.dim}, std), at::Tensor());
    ffn_norm_ =
        AddModule<RmsNormLayer>("ffn_norm", config.dim, init, config.norm_eps);
    ffn_ = AddModule<SwiGlu>("ffn", config.dim, config.ffn_dim, init, std);
  }

  // x: [batch, seq_len, dim]. Writes keys and values to the head of the cache
  // if there is one.
  at::Tensor Forward(const at::Tensor& x, const RotaryTable& rotary,
                     at::Tensor* k_cache, at::Tensor* v_cache) const {
    const auto [q, k, v] = Project(x, rotary);
    if (k_cache != nullptr) {
      k_cache->narrow(2, 0, k.size(2)).copy_(k);
      v_cache->narrow(2, 0, v.size(2)).copy_(v);
    }
    return Finish(x, at::scaled_dot_product_attention(
                         q, k, v, /*attn_mask=*/{}, /*dropout_p=*/0.0,
                         /*is_causal=*/true, /*scale=*/std::nullopt,
                         /*enable_gqa=*/kv_heads_ != heads_));
  }

  // x: [batch, 1, dim], the token after cache.length others.
  at::Tensor Step(const at::Tensor& x, const RotaryTable& rotary, int layer,
                  const LlamaCache& cache) const {
    const auto [q, k, v] = Project(x, rotary);
    at::Tensor k_cache = cache.k[layer];
    at::Tensor v_cache = cache.v[layer];
    if (cache.device_length) {
      k_cache.index_copy_(2, cache.position, k);
      v_cache.index_copy_(2, cache.position, v);
      return Finish(x,
                    ChunkAttentionStep(q.squeeze(2), k.squeeze(2), v.squeeze(2),
                                       k_cache, v_cache, cache.position)
                        .unsqueeze(2));
    }
    k_cache.select(2, cache.length).copy_(k.squeeze(2));
    v_cache.select(2, cache.length).copy_(v.squeeze(2));
    // The queries of one group are the rows of one product with its keys.
    const int64_t batch = x.size(0);
    return Finish(
        x, at::scaled_dot_product_attention(
               q.reshape({batch, kv_heads_, heads_ / kv_heads_, head_dim_}),
               k_cache.narrow(2, 0, cache.length + 1),
               v_cache.narrow(2, 0, cache.length + 1))
               .reshape({batch, heads_, 1, head_dim_}));
  }

 private:
  struct Projections {
    at::Tensor q, k, v;  // [batch, heads or kv_heads, seq_len, head_dim]
  };

  Projections Project(const at::Tensor& x, const RotaryTable& rotary) const {
    const std::vector<at::Tensor> parts =
        qkv_->Forward(attention_norm_->Forward(x))
            .split_with_sizes({heads_ * head_dim_, kv_heads_ * head_dim_,
                               kv_heads_ * head_dim_},
                              -1);
    return {ApplyRotary(SplitHeads(parts[0], heads_), rotary),
            ApplyRotary(SplitHeads(parts[1], kv_heads_), rotary),
            SplitHeads(parts[2], kv_heads_)};
  }

  at::Tensor Finish(const at::Tensor& x, const at::Tensor& attended) const {
    const at::Tensor y = x + output_->Forward(MergeHeads(attended));
    return y + ffn_->Forward(ffn_norm_->Forward(y));
  }

  int64_t heads_;
  int64_t kv_heads_;
  int64_t head_dim_;
  RmsNormLayer* attention_norm_;
  Linear* qkv_;
  Linear* output_;
  RmsNormLayer* ffn_norm_;
  SwiGlu* ffn_;
};

Llama::Llama(const LlamaConfig& config, const Initializer& init)
    : config_(config) {
  if (config_.num_kv_heads == 0) config_.num_kv_heads = config_.num_heads;
  TORCH_CHECK(config_.vocab_size > 0 && config_.dim > 0 &&
                  config_.num_layers > 0 && config_.ffn_dim > 0 &&
                  config_.num_heads > 0 && config_.num_kv_heads > 0,
              "llama: a size is not positive");
  TORCH_CHECK(config_.dim % config_.num_heads == 0 &&
                  config_.num_heads % config_.num_kv_heads == 0,
              "llama: dim ", config_.dim, ", num_heads ", config_.num_heads,
              ", num_kv_heads ", config_.num_kv_heads, " do not divide");
  const double std = config_.init_std;
  embedding_ = AddParameter(
      "embedding", init.Normal({config_.vocab_size, config_.dim}, std));
  head_ =
      config_.tie_embeddings
          ? embedding_
          : AddParameter("head",
                         init.Normal({config_.vocab_size, config_.dim}, std));
  for (int64_t l = 0; l < config_.num_layers; ++l) {
    blocks_.push_back(
        AddModule<LlamaBlock>("layer" + std::to_string(l), config_, init));
  }
  norm_ = AddModule<RmsNormLayer>("norm", config_.dim, init, config_.norm_eps);
}

Llama::~Llama() = default;

at::Tensor Llama::Embed(const at::Tensor& tokens) const {
  return at::embedding(embedding_, tokens)
      .to(config_.compute_dtype.value_or(embedding_.scalar_type()));
}

at::Tensor Llama::Features(const at::Tensor& tokens) const {
  CheckShape(tokens, {"batch", "seq_len"}, "tokens");
  at::Tensor x = Embed(tokens);
  const RotaryTable rotary = MakeRotaryTable(
      at::arange(tokens.size(1), tokens.options()),
      config_.dim / config_.num_heads, x.scalar_type(), config_.rope_base);
  for (const LlamaBlock* block : blocks_) {
    const auto forward = [block, rotary](const at::Tensor& y) {
      return block->Forward(y, rotary, nullptr, nullptr);
    };
    x = config_.recompute ? Recompute(forward, x) : forward(x);
  }
  return norm_->Forward(x);
}

at::Tensor Llama::Logits(const at::Tensor& features) const {
  return at::linear(features, head_.to(features.scalar_type()));
}

at::Tensor Llama::Forward(const at::Tensor& tokens) const {
  return Logits(Features(tokens));
}

LlamaCache Llama::MakeCache(int64_t batch, int64_t capacity,
                            bool device_length) const {
  TORCH_CHECK(batch > 0 && capacity > 0, "llama: a cache of batch ", batch,
              ", capacity ", capacity);
  TORCH_CHECK(!device_length || config_.num_kv_heads == config_.num_heads,
              "llama: device_length needs num_kv_heads = num_heads, got ",
              config_.num_kv_heads, " and ", config_.num_heads);
  LlamaCache cache;
  cache.device_length = device_length;
  const at::TensorOptions options = embedding_.options().dtype(
      config_.compute_dtype.value_or(embedding_.scalar_type()));
  const std::vector<int64_t> shape = {batch, config_.num_kv_heads, capacity,
                                      config_.dim / config_.num_heads};
  for (int64_t l = 0; l < config_.num_layers; ++l) {
    cache.k.push_back(at::zeros(shape, options.requires_grad(false)));
    cache.v.push_back(at::zeros(shape, options.requires_grad(false)));
  }
  cache.position =
      at::zeros({1}, options.dtype(at::kLong).requires_grad(false));
  return cache;
}

at::Tensor Llama::Prefill(const at::Tensor& tokens, LlamaCache* cache) const {
  at::NoGradGuard no_grad;
  CheckShape(tokens, {cache->k[0].size(0), "seq_len"}, "tokens");
  TORCH_CHECK(cache->length == 0, "llama: prefill of a cache that holds ",
              cache->length, " tokens");
  TORCH_CHECK(tokens.size(1) > 0 && tokens.size(1) <= cache->k[0].size(2),
              "llama: prefill of ", tokens.size(1), " tokens into a cache of ",
              cache->k[0].size(2));
  at::Tensor x = Embed(tokens);
  const RotaryTable rotary = MakeRotaryTable(
      at::arange(tokens.size(1), tokens.options()),
      config_.dim / config_.num_heads, x.scalar_type(), config_.rope_base);
  for (size_t l = 0; l < blocks_.size(); ++l) {
    x = blocks_[l]->Forward(x, rotary, &cache->k[l], &cache->v[l]);
  }
  cache->length = tokens.size(1);
  cache->position.fill_(cache->length);
  return Logits(norm_->Forward(x.select(1, -1)));
}

at::Tensor Llama::Step(const at::Tensor& tokens, LlamaCache* cache) const {
  at::NoGradGuard no_grad;
  CheckShape(tokens, {cache->k[0].size(0)}, "tokens");
  TORCH_CHECK(cache->length < cache->k[0].size(2), "llama: the cache of ",
              cache->k[0].size(2), " tokens is full");
  at::Tensor x = Embed(tokens.unsqueeze(1));
  const RotaryTable rotary =
      MakeRotaryTable(cache->position, config_.dim / config_.num_heads,
                      x.scalar_type(), config_.rope_base);
  for (size_t l = 0; l < blocks_.size(); ++l) {
    x = blocks_[l]->Step(x, rotary, static_cast<int>(l), *cache);
  }
  ++cache->length;
  cache->position.add_(1);
  return Logits(norm_->Forward(x.select(1, -1)));
}

}  // namespace repro
