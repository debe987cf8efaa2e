#include "papers/circuit_reuse/hooked_transformer.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/einsum.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <c10/util/Exception.h>

#include <cmath>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/checkpoint/safetensors.h"
#include "common/nn/attention.h"
#include "common/status/macros.h"
#include "common/tensor/check.h"
#include "common/tensor/generator.h"

namespace repro::circuit_reuse {
namespace {

constexpr double kNormEps = 1e-5;

at::Tensor Call(const Hook& hook, HookPoint point, int64_t layer,
                at::Tensor value) {
  if (!hook) return value;
  at::Tensor out = hook(point, layer, value);
  TORCH_CHECK(out.defined() && out.sizes() == value.sizes(), "hook: layer ",
              layer, ": expected ", value.sizes(), ", got ",
              out.defined() ? out.sizes() : at::IntArrayRef());
  return out;
}

}  // namespace

TransformerConfig TransformerConfig::Gpt2Medium() {
  TransformerConfig config;
  config.layers = 24;
  config.heads = 16;
  config.dim = 1024;
  config.mlp_dim = 4096;
  config.vocabulary = 50257;
  config.positions = 1024;
  config.tied = true;
  return config;
}

Hook ComposeHooks(std::vector<Hook> hooks) {
  return [hooks = std::move(hooks)](HookPoint point, int64_t layer,
                                    const at::Tensor& value) {
    at::Tensor out = value;
    for (const Hook& hook : hooks) out = Call(hook, point, layer, out);
    return out;
  };
}

HookedTransformer::HookedTransformer(const TransformerConfig& config,
                                     const Initializer& init)
    : config_(config) {
  TORCH_CHECK(config.layers >= 1 && config.heads >= 1 && config.dim >= 1 &&
                  config.mlp_dim >= 1 && config.vocabulary >= 1 &&
                  config.positions >= 1 && config.dim % config.heads == 0,
              "transformer: ", config.layers, " layers of ", config.heads,
              " heads, dim ", config.dim, ", MLP ", config.mlp_dim,
              ", vocabulary ", config.vocabulary, ", positions ",
              config.positions);
  const int64_t dim = config.dim;
  const double std = config.init_std;
  // What a layer adds is drawn smaller, as in GPT-2.
  const double added_std =
      std / std::sqrt(2 * static_cast<double>(config.layers));
  embedding_ =
      AddParameter("embedding", init.Normal({config.vocabulary, dim}, std));
  positions_ =
      AddParameter("positions", init.Normal({config.positions, dim}, std));
  for (int64_t i = 0; i < config.layers; ++i) {
    const std::string name = absl::StrCat("layer", i, "_");
    Layer layer;
    layer.attention_norm =
        AddModule<LayerNorm>(name + "attention_norm", dim, init, kNormEps);
    layer.qkv = AddParameter(name + "qkv", init.Normal({3 * dim, dim}, std));
    layer.qkv_bias = AddParameter(name + "qkv_bias", init.Zeros({3 * dim}));
    layer.output =
        AddParameter(name + "output", init.Normal({dim, dim}, added_std));
    layer.output_bias = AddParameter(name + "output_bias", init.Zeros({dim}));
    layer.mlp_norm =
        AddModule<LayerNorm>(name + "mlp_norm", dim, init, kNormEps);
    layer.up =
        AddModule<Linear>(name + "up", init.Normal({config.mlp_dim, dim}, std),
                          init.Zeros({config.mlp_dim}));
    layer.down = AddModule<Linear>(
        name + "down", init.Normal({dim, config.mlp_dim}, added_std),
        init.Zeros({dim}));
    layers_.push_back(layer);
  }
  norm_ = AddModule<LayerNorm>("norm", dim, init, kNormEps);
  norm_weight_ = norm_->Parameters()[0];
  if (!config.tied) {
    unembedding_ =
        AddParameter("unembedding", init.Normal({config.vocabulary, dim}, std));
  }
}

at::Tensor HookedTransformer::Embed(const at::Tensor& tokens) const {
  CheckShape(tokens, {"batch", "length"}, "tokens");
  TORCH_CHECK(tokens.size(1) <= config_.positions, "tokens: ", tokens.size(1),
              " for ", config_.positions, " positions");
  return at::embedding(embedding_, tokens) +
         positions_.narrow(0, 0, tokens.size(1));
}

at::Tensor HookedTransformer::QueryKeyValue(int64_t layer,
                                            const at::Tensor& x) const {
  const Layer& of = layers_.at(layer);
  return at::linear(of.attention_norm->Forward(x), of.qkv, of.qkv_bias)
      .unflatten(-1, {3, config_.heads, config_.head_dim()});
}

at::Tensor HookedTransformer::Project(int64_t layer,
                                      const at::Tensor& z) const {
  const Layer& of = layers_.at(layer);
  return at::linear(z.flatten(-2), of.output, of.output_bias);
}

at::Tensor HookedTransformer::ProjectEach(int64_t layer,
                                          const at::Tensor& z) const {
  const at::Tensor output = layers_.at(layer).output.unflatten(
      1, {config_.heads, config_.head_dim()});
  return at::einsum("...hk,dhk->...hd", {z, output});
}

at::Tensor HookedTransformer::Mlp(int64_t layer, const at::Tensor& x) const {
  const Layer& of = layers_.at(layer);
  return of.down->Forward(
      at::gelu(of.up->Forward(of.mlp_norm->Forward(x)), "tanh"));
}

at::Tensor HookedTransformer::Run(at::Tensor x, int64_t first,
                                  const Hook& hook) const {
  CheckShape(x, {"batch", "length", config_.dim}, "x");
  TORCH_CHECK(first >= 0 && first <= config_.layers, "layer ", first, " of ",
              config_.layers);
  for (int64_t l = first; l < config_.layers; ++l) {
    x = Call(hook, HookPoint::kResidual, l, std::move(x));
    // [batch, heads, length, head_dim] each
    const std::vector<at::Tensor> qkv =
        QueryKeyValue(l, x).permute({2, 0, 3, 1, 4}).unbind(0);
    const at::Tensor q = Call(hook, HookPoint::kQuery, l, qkv[0]);
    const at::Tensor k = Call(hook, HookPoint::kKey, l, qkv[1]);
    const at::Tensor v = Call(hook, HookPoint::kValue, l, qkv[2]);
    const at::Tensor attention =
        Call(hook, HookPoint::kAttention, l, SoftmaxAttentionMap(q, k, true));
    const at::Tensor z = Call(hook, HookPoint::kZ, l, at::matmul(attention, v));
    x = x + Project(l, z.transpose(1, 2));
    x = x + Call(hook, HookPoint::kMlp, l, Mlp(l, x));
  }
  return Call(hook, HookPoint::kResidual, config_.layers, std::move(x));
}

at::Tensor HookedTransformer::Unembed(const at::Tensor& x) const {
  return at::linear(norm_->Forward(x), unembedding());
}

at::Tensor HookedTransformer::Forward(const at::Tensor& tokens,
                                      const Hook& hook) const {
  return Unembed(Run(Embed(tokens), 0, hook));
}

at::Tensor HookedTransformer::NormPart(const at::Tensor& part,
                                       const at::Tensor& whole) const {
  const at::Tensor sigma =
      (whole.var(-1, /*unbiased=*/false, /*keepdim=*/true) + kNormEps).sqrt();
  return norm_weight_ * (part - part.mean(-1, true)) / sigma;
}

absl::StatusOr<std::unique_ptr<HookedTransformer>> LoadGpt2(
    const std::string& path, int64_t heads) {
  REPRO_ASSIGN_OR_RETURN(const Safetensors file, Safetensors::Open(path));
  const std::string prefix = file.Has("wte.weight") ? "" : "transformer.";
  REPRO_ASSIGN_OR_RETURN(const at::Tensor tokens,
                         file.Tensor(prefix + "wte.weight"));
  REPRO_ASSIGN_OR_RETURN(const at::Tensor positions,
                         file.Tensor(prefix + "wpe.weight"));
  REPRO_ASSIGN_OR_RETURN(const at::Tensor up,
                         file.Tensor(prefix + "h.0.mlp.c_fc.weight"));
  if (tokens.dim() != 2 || positions.dim() != 2 || up.dim() != 2) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": wte, wpe and h.0.mlp.c_fc: expected matrices"));
  }
  TransformerConfig config;
  config.heads = heads;
  config.vocabulary = tokens.size(0);
  config.dim = tokens.size(1);
  config.positions = positions.size(0);
  config.mlp_dim = up.size(1);
  config.tied = true;
  while (file.Has(absl::StrCat(prefix, "h.", config.layers, ".ln_1.weight"))) {
    ++config.layers;
  }
  if (heads < 1 || config.layers < 1 || config.dim < 1 ||
      config.dim % heads != 0 || config.mlp_dim < 1 || config.vocabulary < 1 ||
      config.positions < 1) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", config.layers,
                                                   " layers of ", heads,
                                                   " heads, dim ", config.dim));
  }
  auto model = std::make_unique<HookedTransformer>(
      config, Initializer(MakeGenerator(0)));
  const at::NoGradGuard no_grad;
  // Of the model's names, what stands in the file and whether it is [in, out].
  const std::vector<std::pair<std::string, std::string>> names = {
      {"attention_norm.weight", "ln_1.weight"},
      {"attention_norm.bias", "ln_1.bias"},
      {"qkv", "attn.c_attn.weight"},
      {"qkv_bias", "attn.c_attn.bias"},
      {"output", "attn.c_proj.weight"},
      {"output_bias", "attn.c_proj.bias"},
      {"mlp_norm.weight", "ln_2.weight"},
      {"mlp_norm.bias", "ln_2.bias"},
      {"up.weight", "mlp.c_fc.weight"},
      {"up.bias", "mlp.c_fc.bias"},
      {"down.weight", "mlp.c_proj.weight"},
      {"down.bias", "mlp.c_proj.bias"},
  };
  std::map<std::string, std::string> in_file = {{"embedding", "wte.weight"},
                                                {"positions", "wpe.weight"},
                                                {"norm.weight", "ln_f.weight"},
                                                {"norm.bias", "ln_f.bias"}};
  for (int64_t l = 0; l < config.layers; ++l) {
    for (const auto& [own, theirs] : names) {
      in_file[absl::StrCat("layer", l, "_", own)] =
          absl::StrCat("h.", l, ".", theirs);
    }
  }
  for (auto& [name, parameter] : model->NamedParameters()) {
    const std::string& theirs = in_file.at(name);
    REPRO_ASSIGN_OR_RETURN(at::Tensor value, file.Tensor(prefix + theirs));
    // Their matrices, but for the embeddings, are [in, out].
    if (value.dim() == 2 && theirs[0] == 'h') value = value.t();
    if (value.sizes() != parameter.sizes() || !value.is_floating_point()) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ": ", prefix, theirs, ": expected a floating tensor that has [",
          absl::StrJoin(parameter.sizes(), ", "), "] as [out, in], found [",
          absl::StrJoin(value.sizes(), ", "), "]"));
    }
    at::Tensor(parameter).copy_(value);
  }
  return model;
}

}  // namespace repro::circuit_reuse
