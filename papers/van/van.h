// Visual Attention Network (VAN), section 3.2 and Table 1 (architectures B0 to
// B6): four stages of overlapping patch embedding, blocks of large kernel
// attention and convolutional feed-forward, and LayerNorm.
//
//   at::Generator generator = MakeGenerator(seed);
//   Van model(*VanConfig::Named("b0"), Initializer(generator));
//   model.Train(false);
//   at::Tensor logits = model.Forward(images);  // [batch, 1000]
//
// Parameters carry the names of the authors' code, for instance
// "block1.0.attn.spatial_gating_unit.conv0.weight".
#ifndef REPRO_PAPERS_VAN_VAN_H_
#define REPRO_PAPERS_VAN_VAN_H_

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/nn/initializer.h"
#include "common/nn/layers.h"
#include "common/nn/module.h"
#include "papers/van/large_kernel_attention.h"

namespace repro::van {

struct StageConfig {
  int64_t channels = 0;   // C
  int64_t depth = 0;      // L, number of blocks
  int64_t mlp_ratio = 4;  // r, expansion of the feed-forward
  int64_t patch_size = 3;
  int64_t stride = 2;
};

struct VanConfig {
  std::vector<StageConfig> stages;
  int64_t in_channels = 3;
  int64_t num_classes = 1000;
  LkaConfig lka;
  bool layer_scale = true;
  double layer_scale_init = 0.01;
  // Of the last block; it grows linearly from 0 at the first.
  double drop_path = 0;
  double dropout = 0;  // in the feed-forward

  // "b0" to "b6", with drop_path and dropout 0. NotFound lists the names.
  static absl::StatusOr<VanConfig> Named(absl::string_view name);
  static std::vector<std::string> Names();
};

// y = Conv1x1(x); y = GELU(y); y = LKA(y); y = Conv1x1(y); y + x.
// x: [batch, channels, height, width] -> the same shape.
class Attention : public Module {
 public:
  Attention(int64_t channels, const LkaConfig& config, const Initializer& init);
  at::Tensor Forward(const at::Tensor& x) const;

 private:
  SameConv2d* proj_1_;
  LargeKernelAttention* spatial_gating_unit_;
  SameConv2d* proj_2_;
};

// Conv1x1 to `hidden` channels; depth-wise 3 x 3; GELU; dropout; Conv1x1 back;
// dropout. x: [batch, channels, height, width] -> the same shape. `generator`
// is of x's device and needed only when training with dropout.
class ConvFfn : public Module {
 public:
  ConvFfn(int64_t channels, int64_t hidden, double dropout,
          const Initializer& init);
  at::Tensor Forward(const at::Tensor& x, at::Generator generator) const;

 private:
  class DwConv;
  Conv2d* fc1_;
  DwConv* dwconv_;
  Conv2d* fc2_;
  double dropout_;
};

// x = x + DropPath(lambda1 Attention(BN(x))),
// x = x + DropPath(lambda2 ConvFfn(BN(x))). The skip inside Attention lies
// within the branch, so lambda1 and DropPath act on it too. Shapes and
// generator as above.
class Block : public Module {
 public:
  Block(const VanConfig& config, const StageConfig& stage, double drop_path,
        const Initializer& init);
  at::Tensor Forward(const at::Tensor& x, at::Generator generator);

 private:
  BatchNorm2d* norm1_;
  Attention* attn_;
  BatchNorm2d* norm2_;
  ConvFfn* mlp_;
  double drop_path_;
  at::Tensor layer_scale_1_;  // [channels, 1, 1]; undefined without LayerScale
  at::Tensor layer_scale_2_;
};

// Conv of patch_size with the stage's stride and padding patch_size / 2, then
// BatchNorm. x: [batch, in, height, width] ->
// [batch, channels, ceil(height / stride), ceil(width / stride)], for an odd
// patch_size.
class PatchEmbedding : public Module {
 public:
  PatchEmbedding(int64_t in_channels, const StageConfig& stage,
                 const Initializer& init);
  at::Tensor Forward(const at::Tensor& x);

 private:
  Conv2d* proj_;
  BatchNorm2d* norm_;
};

class Van : public Module {
 public:
  // Convolutions N(0, 2 groups / (size^2 out)), the head a truncated normal of
  // std 0.02, norms 1, biases 0.
  Van(const VanConfig& config, const Initializer& init);

  // images: [batch, in_channels, height, width] -> logits
  // [batch, num_classes]: the mean over positions of the last stage, then a
  // linear layer. `generator` is of the images' device; needed only when
  // training with dropout or drop path.
  at::Tensor Forward(const at::Tensor& images, at::Generator generator = {});

  // The output of every stage, [batch, C_i, height_i, width_i]: what detection
  // and segmentation heads take. For B0 to B6, height_i = height / 2^(i + 1).
  std::vector<at::Tensor> Features(const at::Tensor& images,
                                   at::Generator generator = {});

 private:
  struct Stage {
    PatchEmbedding* patch_embed;
    std::vector<Block*> blocks;
    LayerNorm* norm;
  };

  VanConfig config_;
  std::vector<Stage> stages_;
  Linear* head_;
};

}  // namespace repro::van

#endif  // REPRO_PAPERS_VAN_VAN_H_
