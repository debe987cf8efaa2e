#include "papers/inline_attention/inline_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/conv1d.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/leaky_relu.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/roll.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/nn/attention.h"
#include "common/status/macros.h"
#include "common/tensor/check.h"

namespace repro::inline_attention {
namespace {

constexpr double kExpRate = 0.2;
// Relative differences of CountConfusedPairs.
constexpr double kQueriesDiffer = 0.2, kWeightsDiffer = 0.05;

struct Model {
  const char* name;
  const char* vision;
  int64_t image_side;
  // Empty: the vision configuration's.
  std::vector<int64_t> dims, depths, num_heads;
  int64_t window;  // of softmax blocks; 0: likewise
  std::vector<int64_t> inline_blocks;
};

const std::vector<Model>& Models() {
  const std::vector<int64_t> pvt_heads = {2, 4, 10, 16},
                             cswin_t = {2, 4, 18, 1}, cswin = {3, 6, 29, 2};
  static const auto* const kAll = new std::vector<Model>{
      {"deit_t", "deit_t", 224, {}, {}, {6}, 0, {12}},
      {"deit_s", "deit_s", 288, {320}, {}, {10}, 0, {12}},
      {"deit_b", "deit_b", 448, {384}, {}, {}, 0, {12}},
      {"pvt_t", "pvt_t", 224, {}, {}, pvt_heads, 0, {2, 2, 2, 2}},
      {"pvt_s", "pvt_s", 224, {}, {}, pvt_heads, 0, {3, 4, 6, 3}},
      {"pvt_m", "pvt_m", 224, {}, {}, pvt_heads, 0, {3, 4, 18, 3}},
      {"pvt_l", "pvt_l", 224, {}, {}, pvt_heads, 0, {3, 8, 27, 3}},
      {"swin_t", "swin_t", 224, {}, {}, {}, 0, {2, 2, 6, 0}},
      {"swin_s", "swin_s", 224, {}, {}, {}, 0, {2, 2, 0, 0}},
      {"swin_b", "swin_b", 224, {}, {}, {}, 0, {2, 2, 2, 0}},
      {"swin_b_384", "swin_b", 384, {}, {}, {}, 12, {2, 2, 2, 0}},
      {"cswin_t", "cswin_t", 224, {}, cswin_t, {}, 0, {2, 4, 0, 0}},
      {"cswin_s", "cswin_s", 224, {}, cswin, {}, 0, {3, 6, 0, 0}},
      {"cswin_b", "cswin_b", 224, {}, cswin, {}, 0, {3, 6, 0, 0}},
      {"cswin_b_384", "cswin_b", 384, {}, cswin, {}, 12, {3, 6, 0, 0}},
  };
  return *kAll;
}

void CheckFeatures(const at::Tensor& phi_q, const at::Tensor& phi_k) {
  TORCH_CHECK(phi_q.dim() >= 2 && phi_k.dim() >= 2 && phi_k.size(-2) > 0 &&
                  phi_q.size(-1) == phi_k.size(-1),
              "phi_q, phi_k: expected [..., n, head_dim] and [..., m, "
              "head_dim] with m > 0, got ",
              phi_q.sizes(), " and ", phi_k.sizes());
}

void CheckValues(const at::Tensor& phi_k, const at::Tensor& v) {
  TORCH_CHECK(v.dim() >= 2 && v.size(-2) == phi_k.size(-2),
              "v: expected [..., ", phi_k.size(-2), ", value_dim], got ",
              v.sizes());
}

// [..., n, head_dim] and [..., m, head_dim] -> [..., n, 1].
at::Tensor DotWith(const at::Tensor& phi_q, const at::Tensor& vector) {
  return at::matmul(phi_q, vector.transpose(-2, -1));
}

// Squared distances of the rows of x, [..., n, d] -> [..., n, n], and the
// larger of the two rows' squared lengths.
struct Pairs {
  at::Tensor distance, length;
};
Pairs PairsOf(const at::Tensor& x) {
  const at::Tensor gram = at::matmul(x, x.transpose(-2, -1));
  const at::Tensor squares = gram.diagonal(0, -2, -1);
  const at::Tensor row = squares.unsqueeze(-1), column = squares.unsqueeze(-2);
  return {row + column - 2 * gram, at::maximum(row, column)};
}

}  // namespace

at::Tensor ApplyFeatureMap(FeatureMap map, const at::Tensor& x) {
  switch (map) {
    case FeatureMap::kIdentity:
      return x;
    case FeatureMap::kRelu:
      return at::relu(x);
    case FeatureMap::kLeakyRelu:
      return at::leaky_relu(x, 0.01);
    case FeatureMap::kExp:
      return at::exp(kExpRate * x);
  }
  TORCH_CHECK(false, "unknown feature map ", static_cast<int>(map));
}

at::Tensor InLineWeights(const at::Tensor& phi_q, const at::Tensor& phi_k,
                         double scale) {
  CheckFeatures(phi_q, phi_k);
  const auto m = static_cast<double>(phi_k.size(-2));
  const at::Tensor centred = phi_k - phi_k.mean(-2, /*keepdim=*/true);
  return (scale / m) * at::matmul(phi_q, centred.transpose(-2, -1)) + 1 / m;
}

at::Tensor InLineAttend(const at::Tensor& phi_q, const at::Tensor& phi_k,
                        const at::Tensor& v, double scale) {
  CheckFeatures(phi_q, phi_k);
  CheckValues(phi_k, v);
  const double root = std::sqrt(scale / static_cast<double>(phi_k.size(-2)));
  const at::Tensor product =
      at::matmul((phi_k * root).transpose(-2, -1), v * root);
  const at::Tensor rest =
      1 - scale * DotWith(phi_q, phi_k.mean(-2, /*keepdim=*/true));
  return at::matmul(phi_q, product) + rest * v.mean(-2, /*keepdim=*/true);
}

at::Tensor DivisionWeights(const at::Tensor& phi_q, const at::Tensor& phi_k,
                           double eps) {
  CheckFeatures(phi_q, phi_k);
  const at::Tensor products = DotWith(phi_q, phi_k);
  return products / (products.sum(-1, /*keepdim=*/true) + eps);
}

at::Tensor DivisionAttend(const at::Tensor& phi_q, const at::Tensor& phi_k,
                          const at::Tensor& v, double eps) {
  CheckFeatures(phi_q, phi_k);
  CheckValues(phi_k, v);
  const at::Tensor sum = DotWith(phi_q, phi_k.sum(-2, /*keepdim=*/true));
  return at::matmul(phi_q, at::matmul(phi_k.transpose(-2, -1), v)) /
         (sum + eps);
}

int64_t CountDistinctRows(const at::Tensor& weights, double tolerance) {
  CheckShape(weights, {"n", "m"}, "weights");
  int64_t distinct = 0;
  for (int64_t i = 0; i < weights.size(0); ++i) {
    const at::Tensor before = weights.narrow(0, 0, i);
    const at::Tensor same =
        ((before - weights[i]).abs() <= tolerance).all(1).any();
    if (!same.item<bool>()) ++distinct;
  }
  return distinct;
}

ConfusedPairs CountConfusedPairs(const at::Tensor& q,
                                 const at::Tensor& weights) {
  TORCH_CHECK(q.dim() >= 2 && weights.dim() >= 2 && weights.size(-1) > 0 &&
                  q.sizes().slice(0, q.dim() - 1) ==
                      weights.sizes().slice(0, weights.dim() - 1),
              "q, weights: expected [..., n, head_dim] and [..., n, m], got ",
              q.sizes(), " and ", weights.sizes());
  // Distances from products of rows: float32 would cancel.
  const Pairs queries = PairsOf(q.to(at::kDouble));
  const Pairs rows = PairsOf(weights.to(at::kDouble) -
                             1 / static_cast<double>(weights.size(-1)));
  const at::Tensor differing =
      queries.distance > kQueriesDiffer * kQueriesDiffer * queries.length;
  const at::Tensor confused =
      differing &
      (rows.distance < kWeightsDiffer * kWeightsDiffer * rows.length);
  // Each pair stands twice; a query does not differ from itself.
  return {differing.sum().item<int64_t>() / 2,
          confused.sum().item<int64_t>() / 2};
}

// --------------------------------------------------------------- the residual

class LocalResidual::Pointwise : public Module {
 public:
  Pointwise(int64_t in, int64_t out, int64_t groups, const Initializer& init)
      : groups_(groups),
        weight_(AddParameter(
            "weight", init.UniformFanIn({out, in / groups, 1}, in / groups))),
        bias_(AddParameter("bias", init.UniformFanIn({out}, in / groups))) {}

  // [batch, in, 1] -> [batch, out, 1].
  at::Tensor Forward(const at::Tensor& x) const {
    return at::conv1d(x, weight_, bias_, /*stride=*/1,
                      /*padding=*/at::IntArrayRef{0},
                      /*dilation=*/1, groups_);
  }

 private:
  int64_t groups_;
  at::Tensor weight_;
  at::Tensor bias_;
};

LocalResidual::LocalResidual(int64_t dim, int64_t num_heads,
                             const Initializer& init)
    : dim_(dim) {
  TORCH_CHECK(num_heads > 0 && dim > 0 && dim % num_heads == 0,
              "local residual: ", dim, " channels do not divide into ",
              num_heads, " heads");
  first_ = AddModule<Pointwise>("0", dim, dim, num_heads, init);
  second_ = AddModule<Pointwise>("2", dim, 9 * dim, num_heads, init);
}

at::Tensor LocalResidual::Kernels(const at::Tensor& mean) const {
  CheckShape(mean, {"batch", dim_}, "mean");
  return second_->Forward(at::gelu(first_->Forward(mean.unsqueeze(-1))))
      .reshape({mean.size(0), dim_, 3, 3});
}

at::Tensor LocalResidual::Forward(const at::Tensor& v, const at::Tensor& mean,
                                  int64_t height, int64_t width) const {
  CheckShape(v, {mean.size(0), height * width, dim_}, "v");
  const int64_t batch = v.size(0), planes = batch * dim_;
  // One image whose channels are those of all: a kernel each.
  return at::conv2d(v.transpose(1, 2).reshape({1, planes, height, width}),
                    Kernels(mean).reshape({planes, 1, 3, 3}), {}, /*stride=*/1,
                    /*padding=*/1, /*dilation=*/1, /*groups=*/planes)
      .reshape({batch, dim_, height * width})
      .transpose(1, 2);
}

// ------------------------------------------------------------------- one block

InLineAttention::InLineAttention(const AttentionSite& site,
                                 const InLineOptions& options,
                                 const Initializer& init)
    : BlockAttention(site, init),
      options_(options),
      window_(options.window == 0 ? site.side
                                  : std::min(options.window, site.side)),
      shift_(site.block % 2 == 1 && window_ < site.side ? window_ / 2 : 0) {
  TORCH_CHECK(window_ > 0 && site.side % window_ == 0, "InLine: a map of side ",
              site.side, " does not divide into windows of ", options.window);
  TORCH_CHECK(window_ == site.side || site.prefix == 0,
              "InLine: windows are not for backbones with [CLS]");
  TORCH_CHECK(options.normalisation != Normalisation::kSoftmax ||
                  options.feature_map == FeatureMap::kIdentity,
              "InLine: softmax attention has no feature map");
  if (options.residual) {
    residual_ =
        AddModule<LocalResidual>("residual", site.dim, site.num_heads, init);
  }
  if (site.backbone == VisionBackbone::kCswin) {
    convolution_ = AddModule<TokenConvolution>("get_v", site.dim, init);
  }
}

at::Tensor InLineAttention::Attend(const at::Tensor& q, const at::Tensor& k,
                                   const at::Tensor& v) const {
  const double scale = 1 / std::sqrt(static_cast<double>(q.size(-1)));
  const bool observed = static_cast<bool>(options_.observe);
  switch (options_.normalisation) {
    case Normalisation::kSubtraction:
      if (observed) options_.observe(q, InLineWeights(q, k, scale));
      return InLineAttend(q, k, v, scale);
    case Normalisation::kDivision:
      if (observed) options_.observe(q, DivisionWeights(q, k));
      return DivisionAttend(q, k, v);
    case Normalisation::kSoftmax:
      if (observed) options_.observe(q, SoftmaxAttentionMap(q, k));
      return SoftmaxAttention(q, k, v);
  }
  TORCH_CHECK(false, "unknown normalisation ",
              static_cast<int>(options_.normalisation));
}

at::Tensor InLineAttention::Mix(const at::Tensor& x, const at::Tensor& source,
                                int64_t side) const {
  const int64_t heads = site().num_heads, prefix = site().prefix;
  const Qkv t = Project(x);
  const auto features = [&](const at::Tensor& y) {
    return SplitHeads(ApplyFeatureMap(options_.feature_map, y), heads);
  };
  const at::Tensor out =
      MergeHeads(Attend(features(t.q), features(t.k), SplitHeads(t.v, heads)));
  if (residual_ == nullptr && convolution_ == nullptr) return out;
  const at::Tensor values = t.v.narrow(1, prefix, side * side);
  at::Tensor map = out.narrow(1, prefix, side * side);
  if (residual_ != nullptr) {
    map = map + residual_->Forward(values, source.mean(1), side, side);
  }
  if (convolution_ != nullptr) {
    map = map + convolution_->Forward(values, side, side);
  }
  return prefix == 0 ? map : at::cat({out.narrow(1, 0, prefix), map}, 1);
}

at::Tensor InLineAttention::Roll(const at::Tensor& x, int64_t by) const {
  if (by == 0) return x;
  return at::roll(x.unflatten(1, {site().side, site().side}), {by, by}, {1, 2})
      .flatten(1, 2);
}

at::Tensor InLineAttention::Forward(const at::Tensor& x,
                                    const at::Tensor& input) const {
  CheckTokens(x);
  const int64_t side = site().side;
  const at::Tensor& source =
      site().backbone == VisionBackbone::kCswin ? input : x;
  if (window_ == side) return Output(Mix(x, source, side));
  const auto windows = [&](const at::Tensor& tokens) {
    return PartitionMap(Roll(tokens, -shift_), side, window_, window_);
  };
  const at::Tensor out = RestoreMap(Mix(windows(x), windows(source), window_),
                                    side, window_, window_);
  return Output(Roll(out, shift_));
}

// ------------------------------------------------------------------ the models

absl::StatusOr<InLineModelConfig> InLineModelConfig::Named(
    absl::string_view name) {
  for (const Model& model : Models()) {
    if (name != model.name) continue;
    InLineModelConfig config;
    REPRO_ASSIGN_OR_RETURN(config.vision, VisionConfig::Named(model.vision));
    config.vision.image_side = model.image_side;
    if (!model.dims.empty()) config.vision.dims = model.dims;
    if (!model.depths.empty()) config.vision.depths = model.depths;
    if (!model.num_heads.empty()) config.vision.num_heads = model.num_heads;
    if (model.window != 0) {
      for (int64_t& window : config.vision.windows) {
        // CSWin's narrow stripes stay.
        if (window >= 7) window = model.window;
      }
    }
    config.inline_blocks = model.inline_blocks;
    return config;
  }
  return absl::NotFoundError(absl::StrCat("no InLine model \"", name,
                                          "\"; there are ",
                                          absl::StrJoin(Names(), ", ")));
}

std::vector<std::string> InLineModelConfig::Names() {
  std::vector<std::string> names;
  for (const Model& model : Models()) names.emplace_back(model.name);
  return names;
}

std::unique_ptr<VisionTransformer> MakeInLineModel(
    const InLineModelConfig& config, const Initializer& init) {
  TORCH_CHECK(config.inline_blocks.size() == config.vision.dims.size(),
              "InLine model: inline_blocks has one entry a stage");
  return std::make_unique<VisionTransformer>(
      config.vision, init,
      [&](const AttentionSite& site, const Initializer& init,
          VisionBlock* block) -> BlockAttention* {
        if (site.block >= config.inline_blocks[site.stage]) return nullptr;
        return block->AddAttention<InLineAttention>(site, config.options, init);
      });
}

}  // namespace repro::inline_attention
