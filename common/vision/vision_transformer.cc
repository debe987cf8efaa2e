#include "common/vision/vision_transformer.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/roll.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/nn/attention.h"
#include "common/tensor/check.h"

namespace repro {
namespace {

constexpr double kStd = 0.02;
constexpr double kMasked = -100;  // as Swin's authors have it

struct Architecture {
  const char* name;
  VisionBackbone backbone;
  std::vector<int64_t> dims, depths, num_heads, mlp_ratios, windows;
};

const std::vector<Architecture>& Architectures() {
  constexpr VisionBackbone kDeit = VisionBackbone::kDeit,
                           kPvt = VisionBackbone::kPvt,
                           kSwin = VisionBackbone::kSwin,
                           kCswin = VisionBackbone::kCswin;
  const std::vector<int64_t> pvt_dims = {64, 128, 320, 512},
                             pvt_heads = {1, 2, 5, 8},
                             pvt_ratios = {8, 8, 4, 4},
                             reductions = {8, 4, 2, 1}, four = {4, 4, 4, 4},
                             sevens = {7, 7, 7, 7}, stripes = {1, 2, 7, 7};
  static const auto* const kAll = new std::vector<Architecture>{
      {"deit_t", kDeit, {192}, {12}, {3}, {4}, {0}},
      {"deit_s", kDeit, {384}, {12}, {6}, {4}, {0}},
      {"deit_b", kDeit, {768}, {12}, {12}, {4}, {0}},
      {"pvt_t",
       kPvt,
       pvt_dims,
       {2, 2, 2, 2},
       pvt_heads,
       pvt_ratios,
       reductions},
      {"pvt_s",
       kPvt,
       pvt_dims,
       {3, 4, 6, 3},
       pvt_heads,
       pvt_ratios,
       reductions},
      {"pvt_m",
       kPvt,
       pvt_dims,
       {3, 4, 18, 3},
       pvt_heads,
       pvt_ratios,
       reductions},
      {"pvt_l",
       kPvt,
       pvt_dims,
       {3, 8, 27, 3},
       pvt_heads,
       pvt_ratios,
       reductions},
      {"swin_t",
       kSwin,
       {96, 192, 384, 768},
       {2, 2, 6, 2},
       {3, 6, 12, 24},
       four,
       sevens},
      {"swin_s",
       kSwin,
       {96, 192, 384, 768},
       {2, 2, 18, 2},
       {3, 6, 12, 24},
       four,
       sevens},
      {"swin_b",
       kSwin,
       {128, 256, 512, 1024},
       {2, 2, 18, 2},
       {4, 8, 16, 32},
       four,
       sevens},
      {"cswin_t",
       kCswin,
       {64, 128, 256, 512},
       {1, 2, 21, 1},
       {2, 4, 8, 16},
       four,
       stripes},
      {"cswin_s",
       kCswin,
       {64, 128, 256, 512},
       {2, 4, 32, 2},
       {2, 4, 8, 16},
       four,
       stripes},
      {"cswin_b",
       kCswin,
       {96, 192, 384, 768},
       {2, 4, 32, 2},
       {4, 8, 16, 32},
       four,
       stripes},
  };
  return *kAll;
}

// Of the norms in blocks and at the end.
double NormEps(VisionBackbone backbone) {
  return backbone == VisionBackbone::kDeit || backbone == VisionBackbone::kPvt
             ? 1e-6
             : 1e-5;
}

// softmax(q k^T / sqrt(head_dim) + bias) v by heads. q: [batch, n, dim], k and
// v: [batch, m, dim] -> [batch, n, dim]. bias: [windows, heads, n, m], where
// batch is a multiple of windows, or undefined.
at::Tensor SoftmaxHeads(const at::Tensor& q, const at::Tensor& k,
                        const at::Tensor& v, int64_t num_heads, bool fused,
                        const at::Tensor& bias = {}) {
  const at::Tensor query = SplitHeads(q, num_heads);
  const at::Tensor key = SplitHeads(k, num_heads);
  const at::Tensor value = SplitHeads(v, num_heads);
  if (!bias.defined()) {
    return MergeHeads(fused
                          ? at::scaled_dot_product_attention(query, key, value)
                          : SoftmaxAttention(query, key, value));
  }
  const double scale = 1 / std::sqrt(static_cast<double>(query.size(-1)));
  at::Tensor scores = at::matmul(query * scale, key.transpose(-2, -1));
  scores = (scores.unflatten(0, {-1, bias.size(0)}) + bias).flatten(0, 1);
  return MergeHeads(at::matmul(at::softmax(scores, -1), value));
}

// DeiT's and PVT's. A reduction above 1 makes keys and values from a map that a
// convolution has shrunk so many times.
class GlobalAttention : public BlockAttention {
 public:
  GlobalAttention(const AttentionSite& site, const Initializer& init,
                  int64_t reduction, bool fused)
      : BlockAttention(site, init), fused_(fused) {
    if (reduction <= 1) return;
    TORCH_CHECK(site.prefix == 0 && site.side % reduction == 0,
                "PVT: a map of side ", site.side, " is not reduced by ",
                reduction);
    Conv2dOptions options;
    options.stride = reduction;
    const int64_t dim = site.dim, fan_in = dim * reduction * reduction;
    const at::Tensor weight =
        init.UniformFanIn({dim, dim, reduction, reduction}, fan_in);
    const at::Tensor bias = init.UniformFanIn({dim}, fan_in);
    reduce_ = AddModule<Conv2d>("sr", weight, bias, options);
    norm_ = AddModule<LayerNorm>("norm", dim, init);
  }

  at::Tensor Forward(const at::Tensor& x, const at::Tensor&) const override {
    CheckTokens(x);
    Qkv t;
    if (reduce_ == nullptr) {
      t = Project(x);
    } else {
      const at::Tensor map =
          x.transpose(1, 2).unflatten(2, {site().side, site().side});
      t = Project(
          x, norm_->Forward(reduce_->Forward(map).flatten(2).transpose(1, 2)));
    }
    return Output(SoftmaxHeads(t.q, t.k, t.v, site().num_heads, fused_));
  }

 private:
  bool fused_;
  Conv2d* reduce_ = nullptr;
  LayerNorm* norm_ = nullptr;
};

// Swin's, in windows, with a learned bias for each relative position.
class WindowAttention : public BlockAttention {
 public:
  WindowAttention(const AttentionSite& site, const Initializer& init,
                  int64_t window)
      : BlockAttention(site, init),
        window_(std::min(window, site.side)),
        shift_(site.block % 2 == 1 && window < site.side ? window / 2 : 0) {
    TORCH_CHECK(window > 0 && site.side % window_ == 0, "Swin: a map of side ",
                site.side, " does not divide into windows of ", window);
    const int64_t w = window_, n = w * w;
    const at::Tensor token = at::arange(n, at::kLong);
    const at::Tensor row = token.div(w, "floor"), column = token.remainder(w);
    const auto difference = [&](const at::Tensor& c) {
      return c.unsqueeze(1) - c.unsqueeze(0) + (w - 1);
    };
    table_ =
        AddParameter("relative_position_bias_table",
                     init.TruncatedNormal(
                         {(2 * w - 1) * (2 * w - 1), site.num_heads}, kStd));
    index_ = AddBuffer("relative_position_index",
                       (difference(row) * (2 * w - 1) + difference(column))
                           .to(table_.device()));
    if (shift_ == 0) return;
    // Rolling the map brings its ends together: tokens of different regions of
    // a window do not see each other.
    at::Tensor region = at::zeros({1, site.side, site.side, 1}, at::kFloat);
    const std::vector<int64_t> ends = {0, site.side - w, site.side - shift_,
                                       site.side};
    for (int64_t i = 0; i < 3; ++i) {
      for (int64_t j = 0; j < 3; ++j) {
        region.slice(1, ends[i], ends[i + 1])
            .slice(2, ends[j], ends[j + 1])
            .fill_(3 * i + j);
      }
    }
    region = PartitionMap(region.flatten(1, 2), site.side, w, w).squeeze(2);
    mask_ =
        AddBuffer("attn_mask", (region.unsqueeze(1) != region.unsqueeze(2))
                                   .to(at::kFloat)
                                   .mul(kMasked)
                                   .unsqueeze(1)
                                   .to(table_.options().requires_grad(false)));
  }

  at::Tensor Forward(const at::Tensor& x, const at::Tensor&) const override {
    CheckTokens(x);
    const int64_t side = site().side, n = window_ * window_;
    at::Tensor map = x;
    if (shift_ > 0) map = Roll(map, -shift_);
    const Qkv t = Project(PartitionMap(map, side, window_, window_));
    at::Tensor bias =
        table_.t()
            .gather(1, index_.view({1, n * n}).expand({site().num_heads, -1}))
            .view({1, site().num_heads, n, n});
    if (shift_ > 0) bias = bias + mask_;
    const at::Tensor out = RestoreMap(
        Output(SoftmaxHeads(t.q, t.k, t.v, site().num_heads, false, bias)),
        side, window_, window_);
    return shift_ > 0 ? Roll(out, shift_) : out;
  }

 private:
  at::Tensor Roll(const at::Tensor& x, int64_t by) const {
    return at::roll(x.unflatten(1, {site().side, site().side}), {by, by},
                    {1, 2})
        .flatten(1, 2);
  }

  int64_t window_;
  int64_t shift_;
  at::Tensor table_;  // [(2 window - 1)^2, heads]
  at::Tensor index_;  // [window^2, window^2]
  at::Tensor mask_;   // [windows, 1, window^2, window^2], if shifted
};

// CSWin's: half of the heads in upright stripes, half in level ones, or all in
// one window, with a convolution of the values inside each window (LePE).
class StripeAttention : public BlockAttention {
 public:
  StripeAttention(const AttentionSite& site, const Initializer& init,
                  int64_t width, bool whole_map, bool fused)
      : BlockAttention(site, init), fused_(fused) {
    const int64_t side = site.side;
    if (whole_map || width == side) {
      windows_ = {{side, side}};
    } else {
      TORCH_CHECK(width > 0 && side % width == 0 && site.num_heads % 2 == 0,
                  "CSWin: a map of side ", side, " and ", site.num_heads,
                  " heads do not divide into two kinds of stripes of ", width);
      windows_ = {{side, width}, {width, side}};
    }
    const int64_t branches = static_cast<int64_t>(windows_.size());
    for (int64_t i = 0; i < branches; ++i) {
      lepe_.push_back(AddModule<TokenConvolution>(absl::StrCat("get_v", i),
                                                  site.dim / branches, init));
    }
  }

  at::Tensor Forward(const at::Tensor& x, const at::Tensor&) const override {
    CheckTokens(x);
    const Qkv t = Project(x);
    const int64_t branches = static_cast<int64_t>(windows_.size());
    const int64_t dim = site().dim / branches;
    std::vector<at::Tensor> outputs;
    for (int64_t i = 0; i < branches; ++i) {
      const auto [height, width] = windows_[i];
      const auto part = [&, height = height,
                         width = width](const at::Tensor& tokens) {
        return PartitionMap(tokens.narrow(-1, i * dim, dim), site().side,
                            height, width);
      };
      const at::Tensor v = part(t.v);
      const at::Tensor out = SoftmaxHeads(part(t.q), part(t.k), v,
                                          site().num_heads / branches, fused_) +
                             lepe_[i]->Forward(v, height, width);
      outputs.push_back(RestoreMap(out, site().side, height, width));
    }
    return Output(branches == 1 ? outputs[0] : at::cat(outputs, -1));
  }

 private:
  bool fused_;
  std::vector<std::pair<int64_t, int64_t>> windows_;  // height and width
  std::vector<TokenConvolution*> lepe_;
};

BlockAttention* AddSoftmaxAttention(const VisionConfig& config,
                                    const AttentionSite& site,
                                    const Initializer& init,
                                    VisionBlock* block) {
  const int64_t window = config.windows[site.stage];
  const bool fused = config.fused_softmax;
  switch (config.backbone) {
    case VisionBackbone::kDeit:
      return block->AddAttention<GlobalAttention>(site, init, 1, fused);
    case VisionBackbone::kPvt:
      return block->AddAttention<GlobalAttention>(site, init, window, fused);
    case VisionBackbone::kSwin:
      return block->AddAttention<WindowAttention>(site, init, window);
    case VisionBackbone::kCswin:
      return block->AddAttention<StripeAttention>(
          site, init, window,
          site.stage + 1 == static_cast<int64_t>(config.dims.size()), fused);
  }
  TORCH_CHECK(false, "unknown backbone ", static_cast<int>(config.backbone));
}

// Holds children under names of the caller's: "blocks.0", "blocks.1".
class Node : public Module {
 public:
  template <typename M, typename... Args>
  M* Add(std::string name, Args&&... args) {
    return AddModule<M>(std::move(name), std::forward<Args>(args)...);
  }
};

void CheckConfig(const VisionConfig& config) {
  const size_t stages = config.dims.size();
  TORCH_CHECK(stages > 0 && config.depths.size() == stages &&
                  config.num_heads.size() == stages &&
                  config.mlp_ratios.size() == stages &&
                  config.windows.size() == stages,
              "vision transformer: dims, depths, num_heads, mlp_ratios and "
              "windows have "
              "one entry a stage");
  TORCH_CHECK(config.backbone != VisionBackbone::kDeit || stages == 1,
              "DeiT has one stage, got ", stages);
  const int64_t patch =
      config.backbone == VisionBackbone::kDeit ? config.patch : 4;
  const int64_t least = patch << (stages - 1);
  TORCH_CHECK(
      patch > 0 && config.image_side > 0 && config.image_side % least == 0,
      "vision transformer: images of side ", config.image_side,
      " do not divide by ", least);
  for (size_t i = 0; i < stages; ++i) {
    TORCH_CHECK(config.dims[i] > 0 && config.depths[i] > 0 &&
                    config.num_heads[i] > 0 && config.mlp_ratios[i] > 0 &&
                    config.dims[i] % config.num_heads[i] == 0,
                "vision transformer: stage ", i, " has ", config.depths[i],
                " blocks of ", config.dims[i], " with ", config.num_heads[i],
                " heads and mlp ratio ", config.mlp_ratios[i]);
    TORCH_CHECK(i == 0 || config.backbone != VisionBackbone::kSwin ||
                    config.dims[i] == 2 * config.dims[i - 1],
                "Swin: dims double from stage to stage");
  }
}

}  // namespace

absl::StatusOr<VisionConfig> VisionConfig::Named(absl::string_view name) {
  for (const Architecture& a : Architectures()) {
    if (name != a.name) continue;
    VisionConfig config;
    config.backbone = a.backbone;
    config.dims = a.dims;
    config.depths = a.depths;
    config.num_heads = a.num_heads;
    config.mlp_ratios = a.mlp_ratios;
    config.windows = a.windows;
    return config;
  }
  return absl::NotFoundError(absl::StrCat("no vision transformer \"", name,
                                          "\"; there are ",
                                          absl::StrJoin(Names(), ", ")));
}

std::vector<std::string> VisionConfig::Names() {
  std::vector<std::string> names;
  for (const Architecture& a : Architectures()) names.emplace_back(a.name);
  return names;
}

int64_t VisionConfig::MapSide(int64_t stage) const {
  return image_side / (backbone == VisionBackbone::kDeit ? patch : 4) >> stage;
}

// ------------------------------------------------------------------ one block

BlockAttention::BlockAttention(const AttentionSite& site,
                               const Initializer& init)
    : site_(site) {
  const int64_t dim = site.dim;
  if (site.backbone == VisionBackbone::kPvt) {
    q_ = AddModule<Linear>("q", init.TruncatedNormal({dim, dim}, kStd),
                           init.Zeros({dim}));
    kv_ = AddModule<Linear>("kv", init.TruncatedNormal({2 * dim, dim}, kStd),
                            init.Zeros({2 * dim}));
  } else {
    qkv_ = AddModule<Linear>("qkv", init.TruncatedNormal({3 * dim, dim}, kStd),
                             init.Zeros({3 * dim}));
  }
  proj_ = AddModule<Linear>("proj", init.TruncatedNormal({dim, dim}, kStd),
                            init.Zeros({dim}));
}

BlockAttention::Qkv BlockAttention::Project(const at::Tensor& x) const {
  if (qkv_ == nullptr) return Project(x, x);
  const std::vector<at::Tensor> parts = qkv_->Forward(x).chunk(3, -1);
  return {parts[0], parts[1], parts[2]};
}

BlockAttention::Qkv BlockAttention::Project(const at::Tensor& x,
                                            const at::Tensor& source) const {
  TORCH_CHECK(q_ != nullptr,
              "only PVT projects queries apart from keys and values");
  const at::Tensor q = q_->Forward(x);
  const std::vector<at::Tensor> parts = kv_->Forward(source).chunk(2, -1);
  return {q, parts[0], parts[1]};
}

at::Tensor BlockAttention::Output(const at::Tensor& x) const {
  return proj_->Forward(x);
}

void BlockAttention::CheckTokens(const at::Tensor& x) const {
  CheckShape(x, {"batch", site_.num_tokens(), site_.dim}, "x");
}

class VisionBlock::Mlp : public Module {
 public:
  Mlp(int64_t dim, int64_t hidden, const Initializer& init)
      : fc1_(AddModule<Linear>("fc1", init.TruncatedNormal({hidden, dim}, kStd),
                               init.Zeros({hidden}))),
        fc2_(AddModule<Linear>("fc2", init.TruncatedNormal({dim, hidden}, kStd),
                               init.Zeros({dim}))) {}

  at::Tensor Forward(const at::Tensor& x) const {
    return fc2_->Forward(at::gelu(fc1_->Forward(x)));
  }

 private:
  Linear* fc1_;
  Linear* fc2_;
};

VisionBlock::VisionBlock(const VisionConfig& config, const AttentionSite& site,
                         const Initializer& init,
                         const AttentionFactory& factory) {
  const double eps = NormEps(config.backbone);
  norm1_ = AddModule<LayerNorm>("norm1", site.dim, init, eps);
  attention_ = factory ? factory(site, init, this) : nullptr;
  if (attention_ == nullptr) {
    attention_ = AddSoftmaxAttention(config, site, init, this);
  }
  norm2_ = AddModule<LayerNorm>("norm2", site.dim, init, eps);
  mlp_ = AddModule<Mlp>("mlp", site.dim,
                        site.dim * config.mlp_ratios[site.stage], init);
}

at::Tensor VisionBlock::Forward(const at::Tensor& x) const {
  const at::Tensor y = x + attention_->Forward(norm1_->Forward(x), x);
  return y + mlp_->Forward(norm2_->Forward(y));
}

TokenConvolution::TokenConvolution(int64_t dim, const Initializer& init)
    : weight_(AddParameter("weight", init.UniformFanIn({dim, 1, 3, 3}, 9))),
      bias_(AddParameter("bias", init.UniformFanIn({dim}, 9))) {}

at::Tensor TokenConvolution::Forward(const at::Tensor& x, int64_t height,
                                     int64_t width) const {
  const int64_t dim = weight_.size(0);
  CheckShape(x, {"batch", height * width, dim}, "x");
  return at::conv2d(x.transpose(1, 2).reshape({-1, dim, height, width}),
                    weight_, bias_, /*stride=*/1, /*padding=*/1,
                    /*dilation=*/1, /*groups=*/dim)
      .flatten(2)
      .transpose(1, 2);
}

at::Tensor PartitionMap(const at::Tensor& x, int64_t side, int64_t height,
                        int64_t width) {
  CheckShape(x, {"batch", side * side, "dim"}, "x");
  TORCH_CHECK(
      height > 0 && width > 0 && side % height == 0 && side % width == 0,
      "a map of side ", side, " does not divide into windows of ", height,
      " x ", width);
  const int64_t dim = x.size(2);
  return x.reshape({x.size(0), side / height, height, side / width, width, dim})
      .permute({0, 1, 3, 2, 4, 5})
      .reshape({-1, height * width, dim});
}

at::Tensor RestoreMap(const at::Tensor& windows, int64_t side, int64_t height,
                      int64_t width) {
  CheckShape(windows, {"windows", height * width, "dim"}, "windows");
  const int64_t dim = windows.size(2);
  return windows.reshape({-1, side / height, side / width, height, width, dim})
      .permute({0, 1, 3, 2, 4, 5})
      .reshape({-1, side * side, dim});
}

// ------------------------------------------------------------------- the whole

// From images or the tokens of the stage before to a stage's tokens.
class VisionEmbedding : public Module {
 public:
  virtual at::Tensor Forward(const at::Tensor& x) const = 0;
};

namespace {

struct ConvolutionOptions {
  const char* conv = "proj";
  const char* norm = "norm";  // null: none
  int64_t kernel = 1;
  int64_t stride = 1;
  int64_t padding = 0;
};

// Takes images, or tokens of a map of `side`.
class ConvolutionEmbedding : public VisionEmbedding {
 public:
  ConvolutionEmbedding(int64_t in, int64_t out, int64_t side,
                       const ConvolutionOptions& options,
                       const Initializer& init)
      : side_(side) {
    Conv2dOptions conv;
    conv.stride = options.stride;
    conv.padding = options.padding;
    const int64_t k = options.kernel, fan_in = in * k * k;
    const at::Tensor weight = init.UniformFanIn({out, in, k, k}, fan_in);
    const at::Tensor bias = init.UniformFanIn({out}, fan_in);
    conv_ = AddModule<Conv2d>(options.conv, weight, bias, conv);
    if (options.norm != nullptr) {
      norm_ = AddModule<LayerNorm>(options.norm, out, init);
    }
  }

  at::Tensor Forward(const at::Tensor& x) const override {
    const at::Tensor map =
        x.dim() == 4
            ? x
            : x.transpose(1, 2).reshape({x.size(0), x.size(2), side_, side_});
    const at::Tensor tokens = conv_->Forward(map).flatten(2).transpose(1, 2);
    return norm_ == nullptr ? tokens : norm_->Forward(tokens);
  }

 private:
  int64_t side_;
  Conv2d* conv_;
  LayerNorm* norm_ = nullptr;
};

// Swin's: four neighbours side by side, LayerNorm, a linear layer.
class MergingEmbedding : public VisionEmbedding {
 public:
  MergingEmbedding(int64_t dim, int64_t side, const Initializer& init)
      : side_(side),
        reduction_(AddModule<Linear>(
            "reduction", init.TruncatedNormal({2 * dim, 4 * dim}, kStd),
            at::Tensor())),
        norm_(AddModule<LayerNorm>("norm", 4 * dim, init)) {}

  at::Tensor Forward(const at::Tensor& x) const override {
    const int64_t half = side_ / 2, dim = x.size(2);
    // Column by column within the four, as the authors have it.
    const at::Tensor four = x.reshape({x.size(0), half, 2, half, 2, dim})
                                .permute({0, 1, 3, 4, 2, 5})
                                .reshape({x.size(0), half * half, 4 * dim});
    return reduction_->Forward(norm_->Forward(four));
  }

 private:
  int64_t side_;
  Linear* reduction_;
  LayerNorm* norm_;
};

}  // namespace

VisionTransformer::VisionTransformer(const VisionConfig& config,
                                     const Initializer& init,
                                     const AttentionFactory& factory)
    : config_(config) {
  CheckConfig(config);
  const int64_t num_stages = static_cast<int64_t>(config.dims.size());
  Node* layers = nullptr;  // Swin's
  Node* layer = nullptr;
  for (int64_t i = 0; i < num_stages; ++i) {
    const std::string number = absl::StrCat(i + 1);
    const int64_t in = i == 0 ? config.in_channels : config.dims[i - 1];
    const int64_t dim = config.dims[i];
    // Of the map before the stage's embedding.
    const int64_t side = i == 0 ? config.image_side : config.MapSide(i - 1);
    AttentionSite site;
    site.backbone = config.backbone;
    site.stage = i;
    site.dim = dim;
    site.num_heads = config.num_heads[i];
    site.side = config.MapSide(i);
    site.prefix = config.backbone == VisionBackbone::kDeit ? 1 : 0;
    ConvolutionOptions conv;
    conv.kernel = conv.stride = i == 0 ? 4 : 2;
    Stage stage;
    Node* blocks = nullptr;
    switch (config.backbone) {
      case VisionBackbone::kDeit:
        conv.kernel = conv.stride = config.patch;
        conv.norm = nullptr;
        cls_ =
            AddParameter("cls_token", init.TruncatedNormal({1, 1, dim}, kStd));
        stage.position = AddParameter(
            "pos_embed",
            init.TruncatedNormal({1, site.num_tokens(), dim}, kStd));
        stage.embedding = AddModule<ConvolutionEmbedding>(
            "patch_embed", in, dim, side, conv, init);
        blocks = AddModule<Node>("blocks");
        break;
      case VisionBackbone::kPvt:
        stage.position = AddParameter(
            "pos_embed" + number,
            init.TruncatedNormal({1, site.num_tokens(), dim}, kStd));
        stage.embedding = AddModule<ConvolutionEmbedding>(
            "patch_embed" + number, in, dim, side, conv, init);
        blocks = AddModule<Node>("block" + number);
        break;
      case VisionBackbone::kSwin:
        if (i == 0) {
          stage.embedding = AddModule<ConvolutionEmbedding>(
              "patch_embed", in, dim, side, conv, init);
          layers = AddModule<Node>("layers");
        } else {
          stage.embedding =
              layer->Add<MergingEmbedding>("downsample", in, side, init);
        }
        layer = layers->Add<Node>(absl::StrCat(i));
        blocks = layer->Add<Node>("blocks");
        break;
      case VisionBackbone::kCswin:
        conv.conv = i == 0 ? "0" : "conv";
        conv.norm = i == 0 ? "2" : "norm";
        conv.kernel = i == 0 ? 7 : 3;
        conv.padding = i == 0 ? 2 : 1;
        stage.embedding = AddModule<ConvolutionEmbedding>(
            i == 0 ? std::string("stage1_conv_embed")
                   : absl::StrCat("merge", i),
            in, dim, side, conv, init);
        blocks = AddModule<Node>("stage" + number);
        break;
    }
    for (int64_t j = 0; j < config.depths[i]; ++j) {
      site.block = j;
      stage.blocks.push_back(blocks->Add<VisionBlock>(absl::StrCat(j), config,
                                                      site, init, factory));
    }
    stages_.push_back(std::move(stage));
  }
  const int64_t dim = config.dims.back();
  if (config.backbone != VisionBackbone::kPvt) {
    norm_ = AddModule<LayerNorm>("norm", dim, init, NormEps(config.backbone));
  }
  head_ = AddModule<Linear>(
      "head", init.TruncatedNormal({config.num_classes, dim}, kStd),
      init.Zeros({config.num_classes}));
}

VisionTransformer::~VisionTransformer() = default;

at::Tensor VisionTransformer::Features(const at::Tensor& images) const {
  CheckShape(
      images,
      {"batch", config_.in_channels, config_.image_side, config_.image_side},
      "images");
  at::Tensor x = images;
  for (const Stage& stage : stages_) {
    x = stage.embedding->Forward(x);
    if (cls_.defined()) {
      x = at::cat({cls_.expand({x.size(0), -1, -1}), x}, 1);
    }
    if (stage.position.defined()) x = x + stage.position;
    for (const VisionBlock* block : stage.blocks) x = block->Forward(x);
  }
  if (norm_ != nullptr) x = norm_->Forward(x);
  return cls_.defined() ? x.select(1, 0) : x.mean(1);
}

at::Tensor VisionTransformer::Forward(const at::Tensor& images) const {
  return head_->Forward(Features(images));
}

}  // namespace repro
