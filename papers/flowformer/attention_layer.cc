#include "papers/flowformer/attention_layer.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/clamp_min.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/sin.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/nn/attention.h"

namespace repro::flowformer {

std::vector<std::string> AttentionChoice::Names() {
  return {"flow",
          "flow_no_competition",
          "flow_no_allocation",
          "flow_heads",
          "softmax",
          "linear",
          "cosformer"};
}

absl::StatusOr<AttentionChoice> AttentionChoice::Named(
    absl::string_view name, const FlowOptions& flow) {
  AttentionChoice choice;
  choice.flow = flow;
  if (name == "flow") return choice;
  if (name == "flow_no_competition") {
    choice.flow.competition = Competition::kNone;
  } else if (name == "flow_no_allocation") {
    choice.flow.allocation = false;
  } else if (name == "flow_heads") {
    choice.flow = FlowOptions::LongRangeArena();
  } else if (name == "softmax") {
    choice.kind = AttentionKind::kSoftmax;
  } else if (name == "linear") {
    choice.kind = AttentionKind::kLinear;
  } else if (name == "cosformer") {
    choice.kind = AttentionKind::kCosformer;
  } else {
    return absl::NotFoundError(absl::StrCat("no attention \"", name,
                                            "\"; there are ",
                                            absl::StrJoin(Names(), ", ")));
  }
  return choice;
}

at::Tensor CosformerAttention(const at::Tensor& q, const at::Tensor& k,
                              const at::Tensor& v, double eps) {
  const int64_t longest = std::max(q.size(-2), k.size(-2));
  const auto features = [&](const at::Tensor& x) {
    const at::Tensor angle =
        at::arange(1, x.size(-2) + 1, x.options().requires_grad(false))
            .mul(std::acos(-1.0) / (2 * longest))
            .unsqueeze(-1);
    const at::Tensor positive = at::relu(x);
    return at::cat({positive * at::cos(angle), positive * at::sin(angle)}, -1);
  };
  const at::Tensor fq = features(q), fk = features(k);
  const at::Tensor numerator =
      at::matmul(fq, at::matmul(fk.transpose(-2, -1), v));
  const at::Tensor mass = at::matmul(fq, fk.sum(-2).unsqueeze(-1));
  return numerator / at::clamp_min(mass, eps);
}

at::Tensor Attend(const AttentionChoice& choice, bool causal,
                  const at::Tensor& q, const at::Tensor& k,
                  const at::Tensor& v) {
  switch (choice.kind) {
    case AttentionKind::kFlow:
      return causal ? CausalFlowAttention(q, k, v, choice.flow)
                    : FlowAttention(q, k, v, choice.flow);
    case AttentionKind::kSoftmax:
      return at::scaled_dot_product_attention(
          q, k, v, /*attn_mask=*/std::nullopt, /*dropout_p=*/0, causal);
    case AttentionKind::kLinear:
      return LinearAttention(q, k, v, causal);
    case AttentionKind::kCosformer:
      break;
  }
  TORCH_CHECK(!causal, "cosformer: the causal form is not implemented");
  return CosformerAttention(q, k, v);
}

Linear* InitializedModule::AddLinear(std::string name, int64_t in_features,
                                     int64_t out_features, WeightInit rule,
                                     const Initializer& init, bool bias) {
  const std::vector<int64_t> shape = {out_features, in_features};
  at::Tensor weight;
  switch (rule) {
    case WeightInit::kFanIn:
      weight = init.UniformFanIn(shape, in_features);
      break;
    case WeightInit::kNormal:
      weight = init.Normal(shape, 0.02);
      break;
    case WeightInit::kTruncatedNormal:
      weight = init.TruncatedNormal(shape, 0.02);
      break;
    case WeightInit::kXavierUniform:
      weight = init.XavierUniform(shape);
      break;
  }
  at::Tensor offset;
  if (bias) {
    offset = rule == WeightInit::kFanIn
                 ? init.UniformFanIn({out_features}, in_features)
                 : init.Zeros({out_features});
  }
  return AddModule<Linear>(std::move(name), std::move(weight),
                           std::move(offset));
}

AttentionLayer::AttentionLayer(int64_t dim, const AttentionChoice& choice,
                               const AttentionLayerOptions& options,
                               const Initializer& init)
    : choice_(choice),
      options_(options),
      query_(
          AddLinear("query", dim, dim, options.init, init, options.qkv_bias)),
      key_(AddLinear("key", dim, dim, options.init, init, options.qkv_bias)),
      value_(
          AddLinear("value", dim, dim, options.init, init, options.qkv_bias)),
      out_(AddLinear("out", dim, dim, options.init, init, options.out_bias)) {}

at::Tensor AttentionLayer::Forward(const at::Tensor& x) const {
  const auto heads = [&](const Linear* projection) {
    return SplitHeads(projection->Forward(x), options_.heads);
  };
  return out_->Forward(MergeHeads(Attend(
      choice_, options_.causal, heads(query_), heads(key_), heads(value_))));
}

}  // namespace repro::flowformer
