#include "papers/van/van.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/gelu.h>

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/tensor/check.h"

namespace repro::van {
namespace {

struct Architecture {
  const char* name;
  int64_t channels[4];
  int64_t depths[4];
};

constexpr Architecture kArchitectures[] = {
    {"b0", {32, 64, 160, 256}, {3, 3, 5, 2}},
    {"b1", {64, 128, 320, 512}, {2, 2, 4, 2}},
    {"b2", {64, 128, 320, 512}, {3, 3, 12, 3}},
    {"b3", {64, 128, 320, 512}, {3, 5, 27, 3}},
    {"b4", {64, 128, 320, 512}, {3, 6, 40, 3}},
    {"b5", {96, 192, 480, 768}, {3, 3, 24, 3}},
    {"b6", {96, 192, 384, 768}, {6, 6, 90, 6}},
};
constexpr int64_t kMlpRatios[] = {8, 8, 4, 4};
constexpr double kStageNormEps = 1e-6;
constexpr double kHeadStd = 0.02;

at::Tensor ConvWeight(int64_t out, int64_t in, int64_t size,
                      const Initializer& init) {
  return init.KaimingNormalFanOut({out, in, size, size});
}

// Blocks of a stage, as "block1.0", "block1.1", ...
class BlockList : public Module {
 public:
  Block* Append(int64_t i, const VanConfig& config, const StageConfig& stage,
                double drop_path, const Initializer& init) {
    return AddModule<Block>(absl::StrCat(i), config, stage, drop_path, init);
  }
};

}  // namespace

absl::StatusOr<VanConfig> VanConfig::Named(absl::string_view name) {
  for (const Architecture& architecture : kArchitectures) {
    if (name != architecture.name) continue;
    VanConfig config;
    for (int i = 0; i < 4; ++i) {
      StageConfig stage;
      stage.channels = architecture.channels[i];
      stage.depth = architecture.depths[i];
      stage.mlp_ratio = kMlpRatios[i];
      stage.patch_size = i == 0 ? 7 : 3;
      stage.stride = i == 0 ? 4 : 2;
      config.stages.push_back(stage);
    }
    return config;
  }
  return absl::NotFoundError(absl::StrCat("no VAN \"", name, "\"; there are ",
                                          absl::StrJoin(Names(), ", ")));
}

std::vector<std::string> VanConfig::Names() {
  std::vector<std::string> names;
  for (const Architecture& architecture : kArchitectures) {
    names.push_back(architecture.name);
  }
  return names;
}

Attention::Attention(int64_t channels, const LkaConfig& config,
                     const Initializer& init)
    : proj_1_(AddModule<SameConv2d>("proj_1", channels, 1, 1, 1, init)),
      spatial_gating_unit_(AddModule<LargeKernelAttention>(
          "spatial_gating_unit", channels, config, init)),
      proj_2_(AddModule<SameConv2d>("proj_2", channels, 1, 1, 1, init)) {}

at::Tensor Attention::Forward(const at::Tensor& x) const {
  const at::Tensor f = at::gelu(proj_1_->Forward(x));
  return proj_2_->Forward(spatial_gating_unit_->Forward(f)) + x;
}

// Gives the convolution the name "dwconv.dwconv" that the authors' code has.
class ConvFfn::DwConv : public Module {
 public:
  DwConv(int64_t channels, const Initializer& init)
      : dwconv_(
            AddModule<SameConv2d>("dwconv", channels, 3, 1, channels, init)) {}
  at::Tensor Forward(const at::Tensor& x) const { return dwconv_->Forward(x); }

 private:
  SameConv2d* dwconv_;
};

ConvFfn::ConvFfn(int64_t channels, int64_t hidden, double dropout,
                 const Initializer& init)
    : fc1_(AddModule<Conv2d>("fc1", ConvWeight(hidden, channels, 1, init),
                             init.Zeros({hidden}))),
      dwconv_(AddModule<DwConv>("dwconv", hidden, init)),
      fc2_(AddModule<Conv2d>("fc2", ConvWeight(channels, hidden, 1, init),
                             init.Zeros({channels}))),
      dropout_(dropout) {}

at::Tensor ConvFfn::Forward(const at::Tensor& x,
                            at::Generator generator) const {
  const at::Tensor hidden =
      Dropout(at::gelu(dwconv_->Forward(fc1_->Forward(x))), dropout_,
              training(), generator);
  return Dropout(fc2_->Forward(hidden), dropout_, training(), generator);
}

Block::Block(const VanConfig& config, const StageConfig& stage,
             double drop_path, const Initializer& init)
    : norm1_(AddModule<BatchNorm2d>("norm1", stage.channels, init)),
      attn_(AddModule<Attention>("attn", stage.channels, config.lka, init)),
      norm2_(AddModule<BatchNorm2d>("norm2", stage.channels, init)),
      mlp_(AddModule<ConvFfn>("mlp", stage.channels,
                              stage.mlp_ratio * stage.channels, config.dropout,
                              init)),
      drop_path_(drop_path) {
  if (config.layer_scale) {
    layer_scale_1_ =
        AddParameter("layer_scale_1",
                     init.Constant({stage.channels}, config.layer_scale_init));
    layer_scale_2_ =
        AddParameter("layer_scale_2",
                     init.Constant({stage.channels}, config.layer_scale_init));
  }
}

at::Tensor Block::Forward(const at::Tensor& x, at::Generator generator) {
  const auto add_branch = [&](const at::Tensor& x, at::Tensor branch,
                              const at::Tensor& lambda) {
    if (lambda.defined()) branch = branch * lambda.view({-1, 1, 1});
    return x + DropPath(branch, drop_path_, training(), generator);
  };
  const at::Tensor y =
      add_branch(x, attn_->Forward(norm1_->Forward(x)), layer_scale_1_);
  return add_branch(y, mlp_->Forward(norm2_->Forward(y), generator),
                    layer_scale_2_);
}

PatchEmbedding::PatchEmbedding(int64_t in_channels, const StageConfig& stage,
                               const Initializer& init) {
  Conv2dOptions options;
  options.stride = stage.stride;
  options.padding = stage.patch_size / 2;
  proj_ = AddModule<Conv2d>(
      "proj", ConvWeight(stage.channels, in_channels, stage.patch_size, init),
      init.Zeros({stage.channels}), options);
  norm_ = AddModule<BatchNorm2d>("norm", stage.channels, init);
}

at::Tensor PatchEmbedding::Forward(const at::Tensor& x) {
  return norm_->Forward(proj_->Forward(x));
}

Van::Van(const VanConfig& config, const Initializer& init) : config_(config) {
  TORCH_CHECK(!config.stages.empty(), "VAN: no stage");
  int64_t num_blocks = 0;
  for (const StageConfig& stage : config.stages) num_blocks += stage.depth;

  int64_t in_channels = config.in_channels;
  int64_t block = 0;
  for (size_t i = 0; i < config.stages.size(); ++i) {
    const StageConfig& stage = config.stages[i];
    const std::string number = absl::StrCat(i + 1);
    Stage modules;
    modules.patch_embed = AddModule<PatchEmbedding>("patch_embed" + number,
                                                    in_channels, stage, init);
    BlockList* blocks = AddModule<BlockList>("block" + number);
    for (int64_t j = 0; j < stage.depth; ++j, ++block) {
      const double drop_path =
          num_blocks > 1 ? config.drop_path * block / (num_blocks - 1) : 0;
      modules.blocks.push_back(
          blocks->Append(j, config, stage, drop_path, init));
    }
    modules.norm = AddModule<LayerNorm>("norm" + number, stage.channels, init,
                                        kStageNormEps);
    stages_.push_back(std::move(modules));
    in_channels = stage.channels;
  }
  head_ = AddModule<Linear>(
      "head", init.TruncatedNormal({config.num_classes, in_channels}, kHeadStd),
      init.Zeros({config.num_classes}));
}

std::vector<at::Tensor> Van::Features(const at::Tensor& images,
                                      at::Generator generator) {
  CheckShape(images, {"batch", config_.in_channels, "height", "width"},
             "images");
  TORCH_CHECK(generator.defined() || !training() ||
                  (config_.drop_path == 0 && config_.dropout == 0),
              "VAN: training with dropout or drop path needs a generator");
  std::vector<at::Tensor> features;
  at::Tensor x = images;
  for (const Stage& stage : stages_) {
    x = stage.patch_embed->Forward(x);
    for (Block* block : stage.blocks) x = block->Forward(x, generator);
    // LayerNorm over channels, position by position.
    x = stage.norm->Forward(x.permute({0, 2, 3, 1}))
            .permute({0, 3, 1, 2})
            .contiguous();
    features.push_back(x);
  }
  return features;
}

at::Tensor Van::Forward(const at::Tensor& images, at::Generator generator) {
  const at::Tensor last = Features(images, std::move(generator)).back();
  return head_->Forward(last.mean({2, 3}));
}

}  // namespace repro::van
