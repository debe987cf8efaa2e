// A small vision transformer and two ways of training it without labels, so
// that probes can be compared where nothing large can be trained.
//
// Images are float32 [batch, 3, side, side]; tokens [batch, 1 + patches, dim],
// [CLS] first, as the last block leaves them: without a final LayerNorm.
#ifndef REPRO_PAPERS_EFFICIENT_PROBING_SMALL_VIT_H_
#define REPRO_PAPERS_EFFICIENT_PROBING_SMALL_VIT_H_

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "common/nn/initializer.h"
#include "common/nn/layers.h"
#include "common/nn/module.h"

namespace repro::efficient_probing {

struct VitConfig {
  int64_t side = 24;
  int64_t patch = 4;
  int64_t dim = 64;
  int64_t depth = 4;
  int64_t heads = 4;
  int64_t mlp_dim = 128;

  int64_t num_patches() const { return (side / patch) * (side / patch); }
  int64_t patch_dim() const { return 3 * patch * patch; }
};

// [batch, 3, side, side] -> [batch, patches, 3 patch^2], row by row.
at::Tensor Patches(const at::Tensor& images, int64_t patch);

// x + Attention(LayerNorm(x)), then x + MLP(LayerNorm(x)) with GELU.
class VitBlock : public Module {
 public:
  VitBlock(int64_t dim, int64_t heads, int64_t mlp_dim,
           const Initializer& init);

  at::Tensor Forward(const at::Tensor& x) const;

  // Low-rank updates B A of rank `rank` to the maps of queries, keys and values
  // and of the output (LoRA, Hu et al. 2022): A as torch.nn.Linear, B zero, so
  // that the function is at first the same. Returns A and B of both.
  std::vector<at::Tensor> AddLora(int64_t rank, const Initializer& init);

 private:
  int64_t heads_;
  LayerNorm* norm1_;
  Linear* qkv_;
  Linear* out_;
  LayerNorm* norm2_;
  Linear* up_;
  Linear* down_;
  std::vector<at::Tensor> lora_;  // empty, or A, B of qkv, A, B of out
};

class Vit : public Module {
 public:
  Vit(const VitConfig& config, const Initializer& init);

  const VitConfig& config() const { return config_; }
  at::Tensor Forward(const at::Tensor& images) const;
  // Reads only the patches `kept`: int64 [batch, k]. -> [batch, 1 + k, dim]
  at::Tensor ForwardKept(const at::Tensor& patches,
                         const at::Tensor& kept) const;
  // Freezes all parameters and adapts the last `blocks` blocks; returns what is
  // left to train.
  std::vector<at::Tensor> FreezeAndAddLora(int64_t blocks, int64_t rank,
                                           const Initializer& init);

 private:
  at::Tensor Blocks(at::Tensor tokens) const;

  VitConfig config_;
  Linear* embed_;
  at::Tensor cls_;       // [1, 1, dim]
  at::Tensor position_;  // [1, patches, dim]
  std::vector<VitBlock*> blocks_;
};

// A masked autoencoder (He et al. 2022): the encoder reads a quarter of the
// patches, a decoder of one block predicts the pixels of the rest. They are not
// normalised by patch: that would make the noise of plain patches the target.
class MaskedAutoencoder : public Module {
 public:
  MaskedAutoencoder(const VitConfig& config, const Initializer& init);

  // The mean squared error over masked patches. `generator` of the CPU.
  at::Tensor Loss(const at::Tensor& images, at::Generator generator) const;
  Vit& encoder() { return *encoder_; }

 private:
  Vit* encoder_;
  Linear* narrow_;
  at::Tensor mask_;      // [1, 1, decoder dim]
  at::Tensor position_;  // [1, patches, decoder dim]
  VitBlock* block_;
  LayerNorm* norm_;
  Linear* pixels_;
};

// Contrastive learning of [CLS] (SimCLR, Chen et al. 2020): through a projector
// of two layers, cosine similarities over 0.2, cross-entropy of the other view
// among all images of the batch, both ways.
class ContrastiveModel : public Module {
 public:
  ContrastiveModel(const VitConfig& config, const Initializer& init);

  at::Tensor Loss(const at::Tensor& view, const at::Tensor& other) const;
  Vit& encoder() { return *encoder_; }

 private:
  at::Tensor Project(const at::Tensor& images) const;

  Vit* encoder_;
  Linear* up_;
  Linear* down_;
};

}  // namespace repro::efficient_probing

#endif  // REPRO_PAPERS_EFFICIENT_PROBING_SMALL_VIT_H_
