#include "papers/softplus_attention/gpt.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>

#include <cmath>
#include <string>

#include "common/nn/attention.h"
#include "common/nn/rotary.h"
#include "common/tensor/check.h"

namespace repro::softplus_attention {
namespace {

constexpr double kInitStd = 0.02;

}  // namespace

GptConfig GptConfig::Gpt2Small() {
  GptConfig config;
  config.vocab_size = 50257;
  config.dim = 768;
  config.num_layers = 12;
  config.num_heads = 12;
  return config;
}

class GptBlock : public Module {
 public:
  GptBlock(const GptConfig& config, const Initializer& init)
      : heads_(config.num_heads) {
    const int64_t dim = config.dim;
    const double residual_std =
        kInitStd / std::sqrt(2 * static_cast<double>(config.num_layers));
    const auto linear = [&](const char* name, int64_t out, int64_t in,
                            double std) {
      return AddModule<Linear>(name, init.Normal({out, in}, std),
                               init.Zeros({out}));
    };
    attention_norm_ = AddModule<LayerNorm>("attention_norm", dim, init);
    qkv_ = linear("qkv", 3 * dim, dim, kInitStd);
    output_ = linear("output", dim, dim, residual_std);
    ffn_norm_ = AddModule<LayerNorm>("ffn_norm", dim, init);
    up_ = linear("up", 4 * dim, dim, kInitStd);
    down_ = linear("down", dim, 4 * dim, residual_std);
  }

  // x: [batch, seq_len, dim]; the rotary table has the dtype of computing.
  template <typename Attention>
  at::Tensor Forward(const at::Tensor& x, const RotaryTable& rotary,
                     const Attention& attention) const {
    const at::ScalarType type = rotary.cos.scalar_type();
    const std::vector<at::Tensor> parts =
        qkv_->Forward(attention_norm_->Forward(x).to(type)).chunk(3, -1);
    const at::Tensor y =
        x + output_->Forward(MergeHeads(
                attention(ApplyRotary(SplitHeads(parts[0], heads_), rotary),
                          ApplyRotary(SplitHeads(parts[1], heads_), rotary),
                          SplitHeads(parts[2], heads_))));
    return y + down_->Forward(at::gelu(
                   up_->Forward(ffn_norm_->Forward(y).to(type)), "tanh"));
  }

  void StartSymmetric() {
    const at::NoGradGuard no_grad;
    at::Tensor qkv = qkv_->Parameters()[0], output = output_->Parameters()[0];
    const int64_t dim = output.size(0);
    qkv.narrow(0, dim, dim).copy_(qkv.narrow(0, 0, dim));
    output.copy_(qkv.narrow(0, 2 * dim, dim).t());
  }

 private:
  int64_t heads_;
  LayerNorm* attention_norm_;
  Linear* qkv_;
  Linear* output_;
  LayerNorm* ffn_norm_;
  Linear* up_;
  Linear* down_;
};

Gpt::Gpt(const GptConfig& config, const Initializer& init) : config_(config) {
  TORCH_CHECK(config.vocab_size > 0 && config.dim > 0 &&
                  config.num_layers > 0 && config.num_heads > 0,
              "gpt: a size is not positive");
  TORCH_CHECK(config.dim % (2 * config.num_heads) == 0, "gpt: dim ", config.dim,
              " does not divide into ", config.num_heads,
              " heads of even size");
  embedding_ = AddParameter(
      "embedding", init.Normal({config.vocab_size, config.dim}, kInitStd));
  for (int64_t l = 0; l < config.num_layers; ++l) {
    blocks_.push_back(
        AddModule<GptBlock>("layer" + std::to_string(l), config, init));
  }
  norm_ = AddModule<LayerNorm>("norm", config.dim, init);
}

Gpt::~Gpt() = default;

at::Tensor Gpt::Run(const at::Tensor& tokens,
                    const Attention& attention) const {
  CheckShape(tokens, {"batch", "seq_len"}, "tokens");
  const at::ScalarType type =
      config_.compute_dtype.value_or(embedding_.scalar_type());
  const RotaryTable rotary =
      MakeRotaryTable(at::arange(tokens.size(1), tokens.options()),
                      config_.dim / config_.num_heads, type, config_.rope_base);
  at::Tensor x = at::embedding(embedding_, tokens);
  for (const GptBlock* block : blocks_) {
    x = block->Forward(x, rotary, attention);
  }
  return at::linear(norm_->Forward(x).to(type), embedding_.to(type));
}

at::Tensor Gpt::Forward(const at::Tensor& tokens) const {
  return Run(tokens,
             [this](const at::Tensor& q, const at::Tensor& k,
                    const at::Tensor& v) { return Attend(q, k, v, form_); });
}

void Gpt::VisitWeights(
    const at::Tensor& tokens,
    const std::function<void(const at::Tensor& weights)>& look) const {
  const at::NoGradGuard no_grad;
  Run(tokens,
      [&](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
        look(AttentionWeights(q, k, form_));
        return Attend(q, k, v, form_);
      });
}

void Gpt::StartSymmetric() {
  for (GptBlock* block : blocks_) block->StartSymmetric();
}

}  // namespace repro::softplus_attention
