// Vision transformers whose attention is chosen block by block: DeiT (Touvron
// et al. 2021, arXiv 2012.12877), PVT (Wang et al. 2021, arXiv 2102.12122),
// Swin (Liu et al. 2021, arXiv 2103.14030) and CSWin (Dong et al. 2022, arXiv
// 2107.00652). Unless a factory gives a block another attention it has the
// softmax attention of its backbone.
//
//   VisionTransformer swin(*VisionConfig::Named("swin_t"),
//                          Initializer(MakeGenerator(seed)));
//   at::Tensor logits = swin.Forward(images);  // [batch, 1000]
//
//   class Mine : public BlockAttention {
//    public:
//     Mine(const AttentionSite& site, const Initializer& init)
//         : BlockAttention(site, init) {}
//     at::Tensor Forward(const at::Tensor& x,
//                        const at::Tensor&) const override {
//       const Qkv t = Project(x);  // each [batch, tokens, dim]
//       return Output(...);
//     }
//   };
//   VisionTransformer mine(config, init, [](const AttentionSite& site,
//                                           const Initializer& init,
//                                           VisionBlock* block) {
//     return site.stage < 2 ? block->AddAttention<Mine>(site, init) : nullptr;
//   });
//
// Tokens are [batch, prefix + side * side, dim]: DeiT's [CLS] first (prefix 1,
// 0 elsewhere), then the map row by row. Images and maps are square. Dropout
// and drop path are not part of these: nothing here trains them at full length.
//
// Parameters have the names of the authors' code ("layers.0.blocks.1.attn.qkv.
// weight"), but for CSWin's projections, which lie in "attn" here.
#ifndef REPRO_COMMON_VISION_VISION_TRANSFORMER_H_
#define REPRO_COMMON_VISION_VISION_TRANSFORMER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/nn/initializer.h"
#include "common/nn/layers.h"
#include "common/nn/module.h"

namespace repro {

enum class VisionBackbone { kDeit, kPvt, kSwin, kCswin };

// One entry a stage in each vector; DeiT has one stage.
struct VisionConfig {
  VisionBackbone backbone = VisionBackbone::kDeit;
  int64_t image_side = 224;
  int64_t in_channels = 3;
  int64_t num_classes = 1000;
  int64_t patch = 16;  // of DeiT; the others start with 4
  std::vector<int64_t> dims;
  std::vector<int64_t> depths;
  std::vector<int64_t> num_heads;
  std::vector<int64_t> mlp_ratios;
  // Of softmax blocks. PVT: keys and values come from a map whose sides are so
  // many times smaller. Swin: the window's side; every second block's windows
  // are shifted by half of it. CSWin: the width of the stripes; half of the
  // heads have upright ones, half level ones, but in the last stage and where
  // the width is the map's, where the window is the map. DeiT: not used.
  std::vector<int64_t> windows;
  // Attention without a bias (DeiT, PVT, CSWin) through LibTorch's fused
  // kernels, in place of scores that are written out.
  bool fused_softmax = false;

  // "deit_t", "deit_s", "deit_b"; "pvt_t", "pvt_s", "pvt_m", "pvt_l"; "swin_t",
  // "swin_s", "swin_b"; "cswin_t", "cswin_s", "cswin_b": for images of 224 x
  // 224, as their papers have them. NotFound lists the names.
  static absl::StatusOr<VisionConfig> Named(absl::string_view name);
  static std::vector<std::string> Names();

  // The map's side in a stage: image_side / patch, halved from stage to stage.
  int64_t MapSide(int64_t stage) const;
};

// Where a block's attention stands.
struct AttentionSite {
  VisionBackbone backbone = VisionBackbone::kDeit;
  int64_t stage = 0;  // from 0
  int64_t block = 0;  // in its stage, from 0
  int64_t dim = 0;
  int64_t num_heads = 0;
  int64_t side = 0;    // of the map
  int64_t prefix = 0;  // tokens before the map

  int64_t num_tokens() const { return prefix + side * side; }
};

// Queries, keys, values and the output projection; what lies between is the
// derived class's. Weights are truncated normals of standard deviation 0.02,
// biases 0.
class BlockAttention : public Module {
 public:
  // x: the block's input after its LayerNorm, `input` before it, both [batch,
  // site.num_tokens(), dim] -> the same, which the block adds to its input.
  virtual at::Tensor Forward(const at::Tensor& x,
                             const at::Tensor& input) const = 0;

  const AttentionSite& site() const { return site_; }

 protected:
  // "qkv" (PVT: "q" and "kv") and "proj", all with bias.
  BlockAttention(const AttentionSite& site, const Initializer& init);

  struct Qkv {
    at::Tensor q, k, v;  // each [..., tokens, dim], heads not split
  };
  // x: [..., tokens, dim].
  Qkv Project(const at::Tensor& x) const;
  // Keys and values from other tokens; PVT's projections only.
  Qkv Project(const at::Tensor& x, const at::Tensor& source) const;
  at::Tensor Output(const at::Tensor& x) const;

  void CheckTokens(const at::Tensor& x) const;

 private:
  const AttentionSite site_;
  Linear* qkv_ = nullptr;
  Linear* q_ = nullptr;
  Linear* kv_ = nullptr;
  Linear* proj_;
};

class VisionBlock;

// The attention of one block, made with block->AddAttention; null for the
// backbone's own.
using AttentionFactory = std::function<BlockAttention*(
    const AttentionSite& site, const Initializer& init, VisionBlock* block)>;

// x + Attention(LayerNorm(x)), then x + MLP(LayerNorm(x)), exact GELU.
class VisionBlock : public Module {
 public:
  VisionBlock(const VisionConfig& config, const AttentionSite& site,
              const Initializer& init, const AttentionFactory& factory);

  // For a factory: constructs the block's attention, which the block owns.
  template <typename A, typename... Args>
  A* AddAttention(Args&&... args) {
    return AddModule<A>("attn", std::forward<Args>(args)...);
  }

  // x: [batch, site.num_tokens(), dim] -> the same.
  at::Tensor Forward(const at::Tensor& x) const;

 private:
  class Mlp;
  LayerNorm* norm1_;
  BlockAttention* attention_;
  LayerNorm* norm2_;
  Mlp* mlp_;
};

// A depth-wise 3 x 3 convolution with bias over tokens as a map, zeros around
// it. "weight" [dim, 1, 3, 3] and "bias" [dim] start as torch.nn.Conv2d's.
class TokenConvolution : public Module {
 public:
  TokenConvolution(int64_t dim, const Initializer& init);

  // x: [batch, height * width, dim] -> the same.
  at::Tensor Forward(const at::Tensor& x, int64_t height, int64_t width) const;

 private:
  at::Tensor weight_;
  at::Tensor bias_;
};

class VisionEmbedding;

class VisionTransformer : public Module {
 public:
  // Throws c10::Error for a configuration that does not fit together.
  VisionTransformer(const VisionConfig& config, const Initializer& init,
                    const AttentionFactory& factory = nullptr);
  ~VisionTransformer() override;

  const VisionConfig& config() const { return config_; }

  // images: [batch, in_channels, image_side, image_side] -> logits [batch,
  // num_classes].
  at::Tensor Forward(const at::Tensor& images) const;
  // [batch, last dim]: [CLS] (DeiT) or the mean token (others), after the last
  // norm (PVT has none).
  at::Tensor Features(const at::Tensor& images) const;

 private:
  struct Stage {
    VisionEmbedding* embedding;
    at::Tensor position;  // [1, tokens, dim], or undefined
    std::vector<VisionBlock*> blocks;
  };

  VisionConfig config_;
  at::Tensor cls_;  // [1, 1, dim], or undefined
  std::vector<Stage> stages_;
  LayerNorm* norm_ = nullptr;
  Linear* head_;
};

// [batch, side^2, dim] -> [batch * windows, height * width, dim], windows and
// their tokens row by row; and back. The window's sides divide the map's.
at::Tensor PartitionMap(const at::Tensor& x, int64_t side, int64_t height,
                        int64_t width);
at::Tensor RestoreMap(const at::Tensor& windows, int64_t side, int64_t height,
                      int64_t width);

}  // namespace repro

#endif  // REPRO_COMMON_VISION_VISION_TRANSFORMER_H_
