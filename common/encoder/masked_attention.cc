#include "common/encoder/masked_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <limits>
#include <utility>

#include "common/encoder/dropout.h"
#include "common/nn/attention.h"
#include "common/tensor/check.h"

namespace repro::encoder {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Drawn in an order that the language fixes.
at::Tensor Projection(const Initializer& init, int64_t out, int64_t in,
                      double std, double default_std) {
  return init.Normal({out, in}, std > 0 ? std : default_std);
}

}  // namespace

ScoreMask MakeScoreMask(const at::Tensor& mask, const at::Tensor& bias,
                        int64_t batch, int64_t target_len, int64_t source_len,
                        const at::TensorOptions& scores) {
  ScoreMask made;
  if (bias.defined()) made.added = bias.to(scores.dtype());
  if (!mask.defined()) return made;
  CheckDtype(mask, at::kBool, "mask");
  at::Tensor allowed;  // [batch, 1, 1 or target_len, source_len]
  if (mask.dim() == 2) {
    CheckShape(mask, {batch, source_len}, "mask");
    allowed = mask.unsqueeze(1).unsqueeze(1);
  } else {
    CheckShape(mask, {batch, target_len, source_len}, "mask");
    allowed = mask.unsqueeze(1);
  }
  made.empty = ~allowed.any(-1, /*keepdim=*/true);
  // A row of minus infinities has no softmax; its result is overwritten.
  made.added = (bias.defined() ? made.added : at::zeros({1, 1, 1, 1}, scores))
                   .masked_fill(~(allowed | made.empty), -kInfinity);
  return made;
}

at::Tensor MaskedAttention(const at::Tensor& q, const at::Tensor& k,
                           const at::Tensor& v, const ScoreMask& mask,
                           const MaskedAttentionOptions& options) {
  ShapeChecker check;
  check(q, {"batch", "heads", "target_len", "head_dim"}, "q");
  check(k, {"batch", "heads", "source_len", "head_dim"}, "k");
  check(v, {"batch", "heads", "source_len", "value_dim"}, "v");

  const bool drops =
      options.training && options.dropout > 0 && options.generator.defined();
  at::Tensor out;
  if (drops || options.map != nullptr) {
    at::Tensor scores = at::matmul(q * options.scale, k.transpose(-2, -1));
    if (mask.added.defined()) scores = scores + mask.added;
    at::Tensor map = at::softmax(scores, -1);
    if (mask.empty.defined()) map = map.masked_fill(mask.empty, 0);
    if (options.map != nullptr) *options.map = map;
    return at::matmul(DropoutIfSeeded(map, options.dropout, options.training,
                                      options.generator),
                      v);
  }
  std::optional<at::Tensor> added;
  if (mask.added.defined()) {
    added = mask.added.expand(
        {mask.added.size(0), mask.added.size(1), q.size(2), k.size(2)});
  }
  out = at::scaled_dot_product_attention(q, k, v, added, /*dropout_p=*/0,
                                         /*is_causal=*/false, options.scale);
  return mask.empty.defined() ? out.masked_fill(mask.empty, 0) : out;
}

MultiHeadAttention::MultiHeadAttention(const MultiHeadAttentionConfig& config,
                                       const Initializer& init,
                                       at::Generator generator)
    : config_(config), generator_(std::move(generator)) {
  TORCH_CHECK(config.dim > 0 && config.num_heads > 0,
              "attention: dim and num_heads must be positive, got ", config.dim,
              " and ", config.num_heads);
  if (config_.head_dim == 0) {
    TORCH_CHECK(config.dim % config.num_heads == 0, "attention: dim ",
                config.dim, " is not a multiple of num_heads ",
                config.num_heads);
    config_.head_dim = config.dim / config.num_heads;
  }
  const int64_t inner = config_.num_heads * config_.head_dim;
  const auto add = [&](const char* name, int64_t out, int64_t in,
                       double default_std) {
    at::Tensor weight =
        Projection(init, out, in, config_.init_std, default_std);
    return AddModule<Linear>(
        name, std::move(weight),
        config_.use_bias ? init.Zeros({out}) : at::Tensor());
  };
  const double dim = static_cast<double>(config_.dim);
  query_ = add("query", inner, config_.dim,
               1 / std::sqrt(dim * static_cast<double>(config_.head_dim)));
  key_ = add("key", inner, config_.dim, 1 / std::sqrt(dim));
  value_ = add("value", inner, config_.dim, 1 / std::sqrt(dim));
  output_ = add("output", config_.dim, inner,
                1 / std::sqrt(static_cast<double>(inner)));
}

KeyValues MultiHeadAttention::Project(const at::Tensor& x) const {
  return {SplitHeads(key_->Forward(x), config_.num_heads),
          SplitHeads(value_->Forward(x), config_.num_heads)};
}

void MultiHeadAttention::Append(const at::Tensor& x, KeyValues* all) const {
  KeyValues more = Project(x);
  if (all->keys.defined()) {
    more = {at::cat({all->keys, more.keys}, 2),
            at::cat({all->values, more.values}, 2)};
  }
  *all = std::move(more);
}

at::Tensor MultiHeadAttention::Attend(const at::Tensor& target,
                                      const KeyValues& source,
                                      const ScoreMask& mask,
                                      at::Tensor* map) const {
  MaskedAttentionOptions options;
  if (config_.use_scale) {
    options.scale = 1 / std::sqrt(static_cast<double>(config_.head_dim));
  }
  options.dropout = config_.dropout;
  options.training = training();
  options.generator = generator_;
  options.map = map;
  const at::Tensor q = SplitHeads(query_->Forward(target), config_.num_heads);
  return output_->Forward(MergeHeads(
      MaskedAttention(q, source.keys, source.values, mask, options)));
}

at::Tensor MultiHeadAttention::Forward(const at::Tensor& target,
                                       const at::Tensor& source,
                                       const ScoreMask& mask,
                                       at::Tensor* map) const {
  ShapeChecker check;
  check(target, {"batch", "target_len", config_.dim}, "target");
  check(source, {"batch", "source_len", config_.dim}, "source");
  return Attend(target, Project(source), mask, map);
}

}  // namespace repro::encoder
