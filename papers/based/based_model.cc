#include "papers/based/based_model.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/addcmul.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "common/count/parameters.h"
#include "common/nn/attention.h"
#include "common/nn/layers.h"
#include "common/nn/rotary.h"
#include "common/tensor/check.h"
#include "kernels/chunk_attention/chunk_attention.h"
#include "kernels/sliding_window_attention/sliding_window_attention.h"

namespace repro::based {
namespace {

constexpr double kStd = 0.02;

// Of what is added to the residual, so that its variance does not grow with
// the depth.
double OutputStd(const BasedConfig& config) {
  return kStd / std::sqrt(2.0 * config.num_layers);
}

bool Contains(const std::vector<int64_t>& layers, int64_t layer) {
  return std::find(layers.begin(), layers.end(), layer) != layers.end();
}

// The norms of half-precision weights stay in float32.
void WidenHalf(Module* module) {
  for (const at::Tensor& p : module->Parameters()) {
    if (p.scalar_type() == at::kBFloat16 || p.scalar_type() == at::kHalf) {
      module->To(at::TensorOptions(at::kFloat));
      return;
    }
  }
}

}  // namespace

BasedConfig BasedConfig::Size360M() {
  BasedConfig config;
  config.dim = 1024;
  config.num_layers = 27;
  config.linear_layers = {1, 6, 11, 16, 21};
  config.sliding_layers = {2, 7, 12, 17, 22};
  return config;
}

BasedConfig BasedConfig::Size1300M() {
  BasedConfig config;
  config.dim = 1792;
  config.num_layers = 36;
  config.linear_layers = {1, 6, 11, 16, 21, 27, 33};
  config.sliding_layers = {2, 7, 12, 17, 22, 28, 34};
  return config;
}

LlamaConfig Attention360M() {
  LlamaConfig config;
  config.vocab_size = 50272;
  config.dim = 1024;
  config.num_layers = 24;
  config.num_heads = 16;
  config.ffn_dim = 2816;
  config.tie_embeddings = true;
  return config;
}

LlamaConfig Attention1300M() {
  LlamaConfig config = Attention360M();
  config.dim = 1680;
  config.num_layers = 36;
  config.num_heads = 24;
  config.ffn_dim = 4608;
  return config;
}

// ------------------------------------------------------------------- linear

LinearMixer::LinearMixer(const BasedConfig& config, const Initializer& init)
    : heads_(config.linear_heads),
      feature_dim_(config.feature_dim),
      value_dim_(config.dim / config.linear_heads),
      eps_(config.linear_eps),
      qkv_(AddModule<Linear>(
          "qkv",
          init.Normal({2 * heads_ * feature_dim_ + config.dim, config.dim},
                      kStd),
          at::Tensor())),
      output_(AddModule<Linear>(
          "output", init.Normal({config.dim, config.dim}, OutputStd(config)),
          at::Tensor())) {}

LinearMixer::Heads LinearMixer::Project(const at::Tensor& x) const {
  const int64_t features = heads_ * feature_dim_;
  const std::vector<at::Tensor> parts = qkv_->Forward(x).split_with_sizes(
      {features, features, heads_ * value_dim_}, -1);
  return {SplitHeads(parts[0], heads_), SplitHeads(parts[1], heads_),
          SplitHeads(parts[2], heads_)};
}

at::Tensor LinearMixer::Forward(const at::Tensor& x, const RotaryTable&,
                                LayerState* state) const {
  const Heads heads = Project(x);
  const auto [y, sums] = TaylorLinearAttention(heads.q, heads.k, heads.v,
                                               /*normalize=*/true, eps_);
  if (state != nullptr) {
    state->sums.kv.copy_(sums.kv);
    state->sums.k.copy_(sums.k);
  }
  return output_->Forward(MergeHeads(y));
}

at::Tensor LinearMixer::Step(const at::Tensor& x, const RotaryTable&,
                             const at::Tensor&, LayerState* state) const {
  const Heads heads = Project(x);
  const at::Tensor y = TaylorLinearAttentionStep(
      heads.q.squeeze(2), heads.k.squeeze(2), heads.v.squeeze(2), state->sums,
      /*normalize=*/true, eps_);
  return output_->Forward(y.flatten(1).unsqueeze(1));
}

LayerState LinearMixer::MakeState(int64_t batch,
                                  const at::TensorOptions& options) const {
  const int64_t features = 1 + feature_dim_ + feature_dim_ * feature_dim_;
  const at::TensorOptions wide =
      options.dtype(options.dtype() == at::kDouble ? at::kDouble : at::kFloat);
  LayerState state;
  state.sums.kv = at::zeros({batch, heads_, features, value_dim_}, wide);
  state.sums.k = at::zeros({batch, heads_, features}, wide);
  return state;
}

// ------------------------------------------------------------------ sliding

SlidingMixer::SlidingMixer(const BasedConfig& config, const Initializer& init)
    : heads_(config.num_heads),
      head_dim_(config.dim / config.num_heads),
      window_(config.window),
      qkv_(AddModule<Linear>("qkv",
                             init.Normal({3 * config.dim, config.dim}, kStd),
                             at::Tensor())),
      output_(AddModule<Linear>(
          "output", init.Normal({config.dim, config.dim}, OutputStd(config)),
          at::Tensor())) {}

SlidingMixer::Heads SlidingMixer::Project(const at::Tensor& x,
                                          const RotaryTable& rotary) const {
  const std::vector<at::Tensor> parts = qkv_->Forward(x).chunk(3, -1);
  return {ApplyRotary(SplitHeads(parts[0], heads_), rotary),
          ApplyRotary(SplitHeads(parts[1], heads_), rotary),
          SplitHeads(parts[2], heads_)};
}

at::Tensor SlidingMixer::Forward(const at::Tensor& x, const RotaryTable& rotary,
                                 LayerState* state) const {
  const Heads heads = Project(x, rotary);
  if (state != nullptr) {
    const int64_t capacity = window_ - 1;
    const int64_t seq_len = x.size(1);
    const int64_t kept = std::min(capacity, seq_len);
    const at::Tensor places =
        at::arange(seq_len - kept, seq_len,
                   at::TensorOptions(x.device()).dtype(at::kLong))
            .remainder(std::max<int64_t>(capacity, 1));
    state->keys.index_copy_(2, places, heads.k.narrow(2, seq_len - kept, kept));
    state->values.index_copy_(2, places,
                              heads.v.narrow(2, seq_len - kept, kept));
  }
  return output_->Forward(
      MergeHeads(SlidingWindowAttention(heads.q, heads.k, heads.v, window_)));
}

at::Tensor SlidingMixer::Step(const at::Tensor& x, const RotaryTable& rotary,
                              const at::Tensor& position,
                              LayerState* state) const {
  const int64_t capacity = window_ - 1;
  const Heads heads = Project(x, rotary);
  // The step attends to the first so many keys of the cache and to its own.
  // Their order does not matter: positions are in the keys.
  const at::Tensor y = ChunkAttentionStep(
      heads.q.squeeze(2), heads.k.squeeze(2), heads.v.squeeze(2), state->keys,
      state->values, position.clamp_max(capacity));
  const at::Tensor place = position.remainder(std::max<int64_t>(capacity, 1));
  if (capacity > 0) {
    state->keys.index_copy_(2, place, heads.k);
    state->values.index_copy_(2, place, heads.v);
  }
  return output_->Forward(y.flatten(1).unsqueeze(1));
}

LayerState SlidingMixer::MakeState(int64_t batch,
                                   const at::TensorOptions& options) const {
  LayerState state;
  const std::vector<int64_t> shape = {batch, heads_, window_ - 1, head_dim_};
  state.keys = at::zeros(shape, options);
  state.values = at::zeros(shape, options);
  return state;
}

// ----------------------------------------------------------------- BaseConv

BaseConvMixer::BaseConvMixer(const BasedConfig& config, const Initializer& init)
    : inner_(2 * config.dim),
      input_(AddModule<Linear>("input",
                               init.Normal({2 * inner_, config.dim}, kStd),
                               init.Zeros({2 * inner_}))),
      output_(AddModule<Linear>(
          "output", init.Normal({config.dim, inner_}, OutputStd(config)),
          init.Zeros({config.dim}))),
      filter_(AddParameter("filter", init.UniformFanIn({3, inner_}, 3))) {}

at::Tensor BaseConvMixer::Forward(const at::Tensor& x, const RotaryTable&,
                                  LayerState* state) const {
  const std::vector<at::Tensor> u = input_->Forward(x).chunk(2, -1);
  const at::Tensor padded = at::constant_pad_nd(u[0], {0, 0, 2, 0});
  const int64_t seq_len = x.size(1);
  if (state != nullptr) {
    state->inputs.copy_(padded.narrow(1, seq_len, 2));
  }
  const at::Tensor filter = filter_.to(x.scalar_type());
  at::Tensor y = u[0] * filter[2];
  y = at::addcmul(y, padded.narrow(1, 1, seq_len), filter[1]);
  y = at::addcmul(y, padded.narrow(1, 0, seq_len), filter[0]);
  return output_->Forward(at::silu(y) * u[1]);
}

at::Tensor BaseConvMixer::Step(const at::Tensor& x, const RotaryTable&,
                               const at::Tensor&, LayerState* state) const {
  const std::vector<at::Tensor> u = input_->Forward(x).chunk(2, -1);
  const at::Tensor last = at::cat({state->inputs, u[0]}, 1);
  const at::Tensor y =
      (last * filter_.to(x.scalar_type())).sum(1, /*keepdim=*/true);
  state->inputs.copy_(last.narrow(1, 1, 2));
  return output_->Forward(at::silu(y) * u[1]);
}

LayerState BaseConvMixer::MakeState(int64_t batch,
                                    const at::TensorOptions& options) const {
  LayerState state;
  state.inputs = at::zeros({batch, 2, inner_}, options);
  return state;
}

// -------------------------------------------------------------------- model

BasedModel::BasedModel(const BasedConfig& config, const Initializer& init)
    : config_(config) {
  if (config_.linear_heads == 0) config_.linear_heads = config_.num_heads;
  if (config_.ffn_dim == 0)
    config_.ffn_dim = (2 * config_.dim + 255) / 256 * 256;
  TORCH_CHECK(config_.vocab_size > 0 && config_.dim > 0 &&
                  config_.num_layers > 0 && config_.num_heads > 0 &&
                  config_.feature_dim > 0 && config_.ffn_dim > 0 &&
                  config_.window > 0,
              "based: a size is not positive");
  TORCH_CHECK(config_.dim % config_.num_heads == 0 &&
                  config_.dim % config_.linear_heads == 0,
              "based: dim ", config_.dim, " is no multiple of ",
              config_.num_heads, " or ", config_.linear_heads, " heads");
  for (const int64_t layer : config_.linear_layers) {
    TORCH_CHECK(!Contains(config_.sliding_layers, layer), "based: layer ",
                layer, " is both linear and sliding");
  }
  embedding_ = AddParameter(
      "embedding", init.Normal({config_.vocab_size, config_.dim}, kStd));
  const auto norm = [&](const std::string& name) {
    RmsNormLayer* layer =
        AddModule<RmsNormLayer>(name, config_.dim, init, config_.norm_eps);
    WidenHalf(layer);
    return layer;
  };
  for (int64_t l = 0; l < config_.num_layers; ++l) {
    const std::string name = "layer" + std::to_string(l);
    Block block;
    block.mixer_norm = norm(name + "_mixer_norm");
    if (Contains(config_.linear_layers, l)) {
      block.mixer = AddModule<LinearMixer>(name + "_linear", config_, init);
    } else if (Contains(config_.sliding_layers, l)) {
      block.mixer = AddModule<SlidingMixer>(name + "_sliding", config_, init);
    } else {
      block.mixer = AddModule<BaseConvMixer>(name + "_conv", config_, init);
    }
    block.ffn_norm = norm(name + "_ffn_norm");
    block.ffn = AddModule<SwiGlu>(name + "_ffn", config_.dim, config_.ffn_dim,
                                  init, kStd);
    for (auto& [parameter, value] : block.ffn->NamedParameters()) {
      if (parameter != "down.weight") continue;
      at::NoGradGuard no_grad;
      value.mul_(OutputStd(config_) / kStd);
    }
    blocks_.push_back(block);
  }
  norm_ = norm("norm");
}

at::ScalarType BasedModel::compute_dtype() const {
  return config_.compute_dtype.value_or(embedding_.scalar_type());
}

at::Tensor BasedModel::Embed(const at::Tensor& tokens) const {
  const at::Tensor x = at::embedding(embedding_, tokens);
  return x.scalar_type() == at::kDouble ? x : x.to(at::kFloat);
}

RotaryTable BasedModel::Rotary(const at::Tensor& positions) const {
  return MakeRotaryTable(positions, config_.dim / config_.num_heads,
                         compute_dtype(), config_.rope_base);
}

at::Tensor BasedModel::Normalized(const RmsNormLayer& norm,
                                  const at::Tensor& x) const {
  return norm.Forward(x).to(compute_dtype());
}

at::Tensor BasedModel::FeedForward(const Block& block,
                                   const at::Tensor& x) const {
  return x + block.ffn->Forward(Normalized(*block.ffn_norm, x));
}

at::Tensor BasedModel::Features(const at::Tensor& tokens,
                                BasedState* state) const {
  CheckShape(tokens, {"batch", "seq_len"}, "tokens");
  at::Tensor x = Embed(tokens);
  const RotaryTable rotary =
      Rotary(at::arange(tokens.size(1), tokens.options()));
  for (size_t l = 0; l < blocks_.size(); ++l) {
    const Block& block = blocks_[l];
    x = x +
        block.mixer->Forward(Normalized(*block.mixer_norm, x), rotary,
                             state == nullptr ? nullptr : &state->layers[l]);
    x = FeedForward(block, x);
  }
  return x;
}

at::Tensor BasedModel::Logits(const at::Tensor& x) const {
  return at::linear(Normalized(*norm_, x), embedding_.to(compute_dtype()));
}

at::Tensor BasedModel::Forward(const at::Tensor& tokens) const {
  return Logits(Features(tokens, nullptr));
}

BasedState BasedModel::MakeState(int64_t batch) const {
  TORCH_CHECK(batch > 0, "based: a state of batch ", batch);
  const at::TensorOptions options =
      embedding_.options().dtype(compute_dtype()).requires_grad(false);
  BasedState state;
  for (const Block& block : blocks_) {
    state.layers.push_back(block.mixer->MakeState(batch, options));
  }
  state.position = at::zeros({1}, options.dtype(at::kLong));
  return state;
}

at::Tensor BasedModel::Prefill(const at::Tensor& tokens,
                               BasedState* state) const {
  at::NoGradGuard no_grad;
  TORCH_CHECK(tokens.dim() == 2 && tokens.size(1) > 0,
              "based: prefill of tokens ", tokens.sizes());
  const at::Tensor x = Features(tokens, state);
  state->position.fill_(tokens.size(1));
  return Logits(x.select(1, -1));
}

at::Tensor BasedModel::Step(const at::Tensor& tokens, BasedState* state) const {
  at::NoGradGuard no_grad;
  CheckShape(tokens, {"batch"}, "tokens");
  at::Tensor x = Embed(tokens.unsqueeze(1));
  const RotaryTable rotary = Rotary(state->position);
  for (size_t l = 0; l < blocks_.size(); ++l) {
    const Block& block = blocks_[l];
    x = x + block.mixer->Step(Normalized(*block.mixer_norm, x), rotary,
                              state->position, &state->layers[l]);
    x = FeedForward(block, x);
  }
  state->position.add_(1);
  return Logits(x.squeeze(1));
}

BasedConfig WithParameters(BasedConfig config, int64_t parameters) {
  config.ffn_dim = 1;
  const int64_t unit = 3 * config.dim * config.num_layers;
  const int64_t rest =
      CountParameters(BasedModel(config, Initializer::Meta())) - unit;
  config.ffn_dim = std::max<int64_t>(1, (parameters - rest + unit / 2) / unit);
  return config;
}

}  // namespace repro::based
