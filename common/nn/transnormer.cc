#include "common/nn/transnormer.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/elu.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/full.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <string>
#include <tuple>
#include <utility>

#include "common/nn/attention.h"
#include "common/nn/layers.h"
#include "common/nn/recompute.h"
#include "common/tensor/check.h"
#include "kernels/lightning_attention/lightning_attention.h"
#include "kernels/rms_norm/rms_norm.h"

namespace repro {
namespace {

at::Tensor Activate(const at::Tensor& x, TransnormerActivation activation) {
  switch (activation) {
    case TransnormerActivation::kSilu:
      return at::silu(x);
    case TransnormerActivation::kEluPlusOne:
      return at::elu(x) + 1;
    case TransnormerActivation::kNone:
      break;
  }
  return x;
}

// o_t = sum_{j<=t} exp(-s (t - j)) (q_t . k_j) v_j.
at::Tensor QuadraticAttention(const at::Tensor& q, const at::Tensor& k,
                              const at::Tensor& v, const at::Tensor& decay) {
  const at::Tensor t = at::arange(q.size(2), decay.options());
  const at::Tensor distance = t.unsqueeze(1) - t;
  // Above the diagonal exp(-s distance) may overflow, and inf * 0 is NaN.
  const at::Tensor mask =
      (-decay.view({-1, 1, 1}) * distance.clamp_min(0)).exp().tril();
  return at::matmul(
      at::matmul(q, k.transpose(-1, -2)) * mask.to(q.scalar_type()), v);
}

at::Tensor RecurrentAttention(const at::Tensor& q, const at::Tensor& k,
                              const at::Tensor& v, const at::Tensor& decay) {
  const at::Tensor keep = (-decay).exp().view({-1, 1, 1}).to(q.scalar_type());
  at::Tensor kv =
      at::zeros({q.size(0), q.size(1), k.size(3), v.size(3)}, q.options());
  std::vector<at::Tensor> outputs;
  for (int64_t t = 0; t < q.size(2); ++t) {
    kv =
        keep * kv + k.select(2, t).unsqueeze(-1) * v.select(2, t).unsqueeze(-2);
    outputs.push_back(at::matmul(q.narrow(2, t, 1), kv));
  }
  return at::cat(outputs, 2);
}

// `state`: [batch, heads, key_dim, head_dim], updated in place, or null.
at::Tensor KernelAttention(const at::Tensor& q, const at::Tensor& k,
                           const at::Tensor& v, const at::Tensor& decay,
                           at::Tensor* state) {
  std::optional<at::Tensor> initial;
  if (state != nullptr) initial = *state;
  const auto [output, last] =
      LightningAttention(q, k, v, decay, initial, /*cu_seqlens=*/std::nullopt,
                         /*output_final_state=*/state != nullptr);
  if (state != nullptr) state->copy_(last);
  return output;
}

// [seq_len, dim] float32: sin(p w_i) in the first half, cos(p w_i) in the
// second, w_i = 10000^(-2 i / dim).
at::Tensor Sinusoids(const at::Tensor& positions, int64_t dim) {
  const at::Tensor w = at::pow(
      10000, at::arange(dim / 2, positions.options().dtype(at::kFloat)) *
                 (-2.0 / dim));
  const at::Tensor angle = at::outer(positions.to(at::kFloat), w);
  return at::cat({angle.sin(), angle.cos()}, -1);
}

class Norm : public Module {
 public:
  Norm(TransnormerNorm kind, int64_t dim, double eps, const Initializer& init)
      : kind_(kind), dim_(dim), eps_(eps) {
    if (kind != TransnormerNorm::kSimpleRms) {
      weight_ = AddParameter("weight", init.Ones({dim}));
    }
    if (kind == TransnormerNorm::kLayer) {
      bias_ = AddParameter("bias", init.Zeros({dim}));
    }
  }

  at::Tensor Forward(const at::Tensor& x) const {
    switch (kind_) {
      case TransnormerNorm::kSimpleRms:
        return RmsNorm(x, std::nullopt, eps_);
      case TransnormerNorm::kRms:
        return RmsNorm(x, weight_, eps_);
      case TransnormerNorm::kLayer:
        break;
    }
    return at::layer_norm(x, {dim_}, weight_.to(x.scalar_type()),
                          bias_.to(x.scalar_type()), eps_);
  }

 private:
  TransnormerNorm kind_;
  int64_t dim_;
  double eps_;
  at::Tensor weight_;
  at::Tensor bias_;
};

bool UsesLrpe(const TransnormerConfig& config, int64_t layer) {
  return config.lrpe == TransnormerLrpe::kAllLayers ||
         (config.lrpe == TransnormerLrpe::kFirstLayer && layer == 0);
}

}  // namespace

TransnormerConfig TransnormerConfig::Size385M() {
  TransnormerConfig config;
  config.vocab_size = 64000;
  config.dim = 1024;
  config.num_layers = 24;
  config.num_heads = 8;
  config.glu_dim = 2816;
  config.tie_embeddings = true;
  return config;
}

at::Tensor TransnormerSlopes(const TransnormerConfig& config, int64_t layer) {
  const double heads = static_cast<double>(config.num_heads);
  const double layers = static_cast<double>(config.num_layers);
  TORCH_CHECK(layer >= 0 && layer < config.num_layers, "transnormer: layer ",
              layer, " of ", config.num_layers);
  at::Tensor slopes = at::zeros({config.num_heads}, at::kFloat);
  float* slope = slopes.data_ptr<float>();
  for (int64_t h = 0; h < config.num_heads; ++h) {
    switch (config.decay) {
      case TransnormerDecay::kNone:
        break;
      case TransnormerDecay::kAsCoded: {
        const double factor = config.decay_temperature && config.num_layers > 1
                                  ? 1 - layer / (layers - 1) + 1e-5
                                  : 1 + 1e-5;
        slope[h] =
            static_cast<float>(std::exp2(-8.0 * (h + 1) / heads) * factor);
        break;
      }
      case TransnormerDecay::kAsPublished: {
        const double factor =
            config.decay_temperature ? 1 - (layer + 1) / layers : 1;
        slope[h] = static_cast<float>(8.0 * (h + 1) / heads * factor);
        break;
      }
    }
  }
  return slopes;
}

at::Tensor Lrpe(const at::Tensor& x, const at::Tensor& theta,
                const at::Tensor& positions) {
  ShapeChecker check;
  check(x, {"batch", "heads", "seq_len", "head_dim"}, "x");
  check(theta, {"heads", "head_dim"}, "theta");
  check(positions, {"seq_len"}, "positions");
  const at::Tensor angle = positions.to(at::kFloat).view({-1, 1}) *
                           theta.to(at::kFloat).unsqueeze(1);
  return at::cat({x * angle.cos().to(x.scalar_type()),
                  x * angle.sin().to(x.scalar_type())},
                 -1);
}

class TransnormerBlock : public Module {
 public:
  TransnormerBlock(const TransnormerConfig& config, int64_t layer,
                   const Initializer& init)
      : config_(config) {
    const int64_t dim = config.dim;
    const int64_t hidden = config.hidden_dim;
    const double std = config.init_std;
    attention_norm_ = AddModule<Norm>("attention_norm", config.norm, dim,
                                      config.norm_eps, init);
    projection_ = AddModule<Linear>(
        config.gate ? "qkvu" : "qkv",
        init.Normal({(config.gate ? 4 : 3) * hidden, dim}, std), at::Tensor());
    output_norm_ = AddModule<Norm>("output_norm", config.norm, hidden,
                                   config.norm_eps, init);
    output_ = AddModule<Linear>("output", init.Normal({dim, hidden}, std),
                                at::Tensor());
    glu_norm_ =
        AddModule<Norm>("glu_norm", config.norm, dim, config.norm_eps, init);
    glu_in_ = AddModule<Linear>(
        "glu_in", init.Normal({2 * config.glu_dim, dim}, std), at::Tensor());
    glu_out_ = AddModule<Linear>(
        "glu_out", init.Normal({dim, config.glu_dim}, std), at::Tensor());
    // Device and dtype as the initialiser's.
    const at::TensorOptions options = init.Zeros({0}).options();
    const at::Tensor slopes = TransnormerSlopes(config, layer);
    decay_ = AddBuffer("decay", slopes.to(options.device()));
    if (UsesLrpe(config, layer)) {
      // theta = 10000^(-2 i / hidden), i counting over all heads.
      const at::Tensor theta =
          at::pow(10000, at::arange(hidden, at::kFloat) * (-2.0 / hidden));
      theta_ =
          AddParameter("theta", theta.view({config.num_heads, -1}).to(options));
    }
  }

  int64_t key_dim() const {
    return config_.hidden_dim / config_.num_heads * (theta_.defined() ? 2 : 1);
  }

  // x: [batch, seq_len, dim]; `state` is read and updated, or null.
  at::Tensor Forward(const at::Tensor& x, const at::Tensor& positions,
                     at::Tensor* state) const {
    const Projections p = Project(x, positions);
    at::Tensor attended;
    if (state != nullptr) {
      attended = KernelAttention(p.q, p.k, p.v, decay_, state);
    } else {
      switch (config_.attention) {
        case TransnormerAttention::kKernel:
          attended = KernelAttention(p.q, p.k, p.v, decay_, nullptr);
          break;
        case TransnormerAttention::kQuadratic:
          attended = QuadraticAttention(p.q, p.k, p.v, decay_);
          break;
        case TransnormerAttention::kRecurrent:
          attended = RecurrentAttention(p.q, p.k, p.v, decay_);
          break;
      }
    }
    return Finish(x, attended, p.u);
  }

  // x: [batch, 1, dim].
  at::Tensor Step(const at::Tensor& x, const at::Tensor& position,
                  const at::Tensor& state) const {
    const Projections p = Project(x, position);
    return Finish(x,
                  LightningAttentionStep(p.q.squeeze(2), p.k.squeeze(2),
                                         p.v.squeeze(2), decay_, state)
                      .unsqueeze(2),
                  p.u);
  }

 private:
  struct Projections {
    at::Tensor q, k, v;  // [batch, heads, seq_len, key_dim or head_dim]
    at::Tensor u;        // [batch, seq_len, hidden_dim], or undefined
  };

  Projections Project(const at::Tensor& x, const at::Tensor& positions) const {
    const int64_t hidden = config_.hidden_dim;
    const at::Tensor projected =
        projection_->Forward(attention_norm_->Forward(x));
    // One call activates q and k, which lie side by side.
    const at::Tensor qk =
        Activate(projected.narrow(-1, 0, 2 * hidden), config_.activation);
    Projections p;
    p.q = SplitHeads(qk.narrow(-1, 0, hidden), config_.num_heads);
    p.k = SplitHeads(qk.narrow(-1, hidden, hidden), config_.num_heads);
    p.v =
        SplitHeads(projected.narrow(-1, 2 * hidden, hidden), config_.num_heads);
    if (config_.gate) p.u = projected.narrow(-1, 3 * hidden, hidden);
    if (theta_.defined()) {
      p.q = Lrpe(p.q, theta_, positions);
      p.k = Lrpe(p.k, theta_, positions);
    }
    return p;
  }

  at::Tensor Finish(const at::Tensor& x, const at::Tensor& attended,
                    const at::Tensor& u) const {
    // Over all heads together.
    at::Tensor y = output_norm_->Forward(MergeHeads(attended));
    if (u.defined()) y = y * u;
    y = x + output_->Forward(y);
    const std::vector<at::Tensor> parts =
        glu_in_->Forward(glu_norm_->Forward(y)).chunk(2, -1);
    return y + glu_out_->Forward(Activate(parts[0], config_.glu_activation) *
                                 parts[1]);
  }

  TransnormerConfig config_;
  Norm* attention_norm_;
  Linear* projection_;
  Norm* output_norm_;
  Linear* output_;
  Norm* glu_norm_;
  Linear* glu_in_;
  Linear* glu_out_;
  at::Tensor decay_;  // [heads]
  at::Tensor theta_;  // [heads, head_dim], or undefined
};

Transnormer::Transnormer(const TransnormerConfig& config,
                         const Initializer& init)
    : config_(config) {
  if (config_.hidden_dim == 0) config_.hidden_dim = config_.dim;
  TORCH_CHECK(config_.vocab_size > 0 && config_.dim > 0 &&
                  config_.num_layers > 0 && config_.num_heads > 0 &&
                  config_.glu_dim > 0,
              "transnormer: a size is not positive");
  TORCH_CHECK(config_.hidden_dim % config_.num_heads == 0,
              "transnormer: hidden_dim ", config_.hidden_dim,
              " does not divide into ", config_.num_heads, " heads");
  const double std = config_.init_std;
  embedding_ = AddParameter(
      "embedding", init.Normal({config_.vocab_size, config_.dim}, std));
  head_ =
      config_.tie_embeddings
          ? embedding_
          : AddParameter("head",
                         init.Normal({config_.vocab_size, config_.dim}, std));
  for (int64_t l = 0; l < config_.num_layers; ++l) {
    blocks_.push_back(AddModule<TransnormerBlock>("layer" + std::to_string(l),
                                                  config_, l, init));
  }
  norm_ = AddModule<Norm>("norm", config_.norm, config_.dim, config_.norm_eps,
                          init);
}

Transnormer::~Transnormer() = default;

at::Tensor Transnormer::Embed(const at::Tensor& tokens,
                              const at::Tensor& positions) const {
  at::Tensor x = at::embedding(embedding_, tokens);
  if (config_.scale_embedding) x = x * std::sqrt(config_.dim);
  if (config_.absolute_positions) {
    x = x + Sinusoids(positions, config_.dim);
  }
  return x.to(config_.compute_dtype.value_or(embedding_.scalar_type()));
}

at::Tensor Transnormer::Features(const at::Tensor& tokens) const {
  CheckShape(tokens, {"batch", "seq_len"}, "tokens");
  const at::Tensor positions = at::arange(tokens.size(1), tokens.options());
  at::Tensor x = Embed(tokens, positions);
  for (const TransnormerBlock* block : blocks_) {
    const auto forward = [block, positions](const at::Tensor& y) {
      return block->Forward(y, positions, nullptr);
    };
    x = config_.recompute ? Recompute(forward, x) : forward(x);
  }
  return static_cast<const Norm*>(norm_)->Forward(x);
}

at::Tensor Transnormer::Logits(const at::Tensor& features) const {
  return at::linear(features, head_.to(features.scalar_type()));
}

at::Tensor Transnormer::Forward(const at::Tensor& tokens) const {
  return Logits(Features(tokens));
}

TransnormerState Transnormer::MakeState(int64_t batch) const {
  TORCH_CHECK(batch > 0, "transnormer: a state of batch ", batch);
  TransnormerState state;
  const at::TensorOptions options =
      at::TensorOptions(at::kFloat).device(embedding_.device());
  for (const TransnormerBlock* block : blocks_) {
    state.kv.push_back(at::zeros({batch, config_.num_heads, block->key_dim(),
                                  config_.hidden_dim / config_.num_heads},
                                 options));
  }
  state.position = at::zeros({1}, options.dtype(at::kLong));
  return state;
}

at::Tensor Transnormer::Prefill(const at::Tensor& tokens,
                                TransnormerState* state) const {
  at::NoGradGuard no_grad;
  CheckShape(tokens, {state->kv[0].size(0), "seq_len"}, "tokens");
  TORCH_CHECK(tokens.size(1) > 0, "transnormer: prefill of no tokens");
  const at::Tensor positions =
      at::arange(tokens.size(1), tokens.options()) + state->position;
  at::Tensor x = Embed(tokens, positions);
  for (size_t l = 0; l < blocks_.size(); ++l) {
    x = blocks_[l]->Forward(x, positions, &state->kv[l]);
  }
  state->position.add_(tokens.size(1));
  return Logits(static_cast<const Norm*>(norm_)->Forward(x.select(1, -1)));
}

at::Tensor Transnormer::Step(const at::Tensor& tokens,
                             TransnormerState* state) const {
  at::NoGradGuard no_grad;
  CheckShape(tokens, {state->kv[0].size(0)}, "tokens");
  at::Tensor x = Embed(tokens.unsqueeze(1), state->position);
  for (size_t l = 0; l < blocks_.size(); ++l) {
    x = blocks_[l]->Step(x, state->position, state->kv[l]);
  }
  state->position.add_(1);
  return Logits(static_cast<const Norm*>(norm_)->Forward(x.select(1, -1)));
}

}  // namespace repro
