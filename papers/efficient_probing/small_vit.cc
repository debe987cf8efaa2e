#include "papers/efficient_probing/small_vit.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/relu.h>
#include <c10/util/Exception.h>

#include <string>

#include "common/nn/attention.h"
#include "common/tensor/check.h"

namespace repro::efficient_probing {
namespace {

constexpr double kStd = 0.02;
constexpr int64_t kDecoderDim = 48;
constexpr double kTemperature = 0.2;

// rows[b, index[b, i]]: rows [batch, n, dim], index [batch, k].
at::Tensor Gather(const at::Tensor& rows, const at::Tensor& index) {
  return rows.gather(1, index.unsqueeze(2).expand(
                            {index.size(0), index.size(1), rows.size(2)}));
}

}  // namespace

at::Tensor Patches(const at::Tensor& images, int64_t patch) {
  CheckShape(images, {"batch", 3, "height", "width"}, "images");
  const int64_t batch = images.size(0);
  const int64_t rows = images.size(2) / patch, columns = images.size(3) / patch;
  TORCH_CHECK(
      rows * patch == images.size(2) && columns * patch == images.size(3),
      "images: ", images.sizes(), " do not divide into patches of ", patch);
  return images.reshape({batch, 3, rows, patch, columns, patch})
      .permute({0, 2, 4, 1, 3, 5})
      .reshape({batch, rows * columns, 3 * patch * patch});
}

VitBlock::VitBlock(int64_t dim, int64_t heads, int64_t mlp_dim,
                   const Initializer& init)
    : heads_(heads),
      norm1_(AddModule<LayerNorm>("norm1", dim, init)),
      qkv_(AddModule<Linear>("qkv", init.XavierUniform({3 * dim, dim}),
                             init.Zeros({3 * dim}))),
      out_(AddModule<Linear>("out", init.XavierUniform({dim, dim}),
                             init.Zeros({dim}))),
      norm2_(AddModule<LayerNorm>("norm2", dim, init)),
      up_(AddModule<Linear>("up", init.XavierUniform({mlp_dim, dim}),
                            init.Zeros({mlp_dim}))),
      down_(AddModule<Linear>("down", init.XavierUniform({dim, mlp_dim}),
                              init.Zeros({dim}))) {}

std::vector<at::Tensor> VitBlock::AddLora(int64_t rank,
                                          const Initializer& init) {
  TORCH_CHECK(lora_.empty(), "LoRA is added once");
  for (const char* name : {"qkv", "out"}) {
    const Linear& layer = name == std::string("qkv") ? *qkv_ : *out_;
    const at::Tensor weight = layer.Parameters()[0];
    lora_.push_back(AddParameter(
        std::string("lora_a_") + name,
        init.UniformFanIn({rank, weight.size(1)}, weight.size(1))));
    lora_.push_back(AddParameter(std::string("lora_b_") + name,
                                 init.Zeros({weight.size(0), rank})));
  }
  return lora_;
}

at::Tensor VitBlock::Forward(const at::Tensor& x) const {
  const auto adapted = [&](const Linear& layer, const at::Tensor& in,
                           size_t first) {
    at::Tensor out = layer.Forward(in);
    if (!lora_.empty()) {
      out = out + at::linear(at::linear(in, lora_[first]), lora_[first + 1]);
    }
    return out;
  };
  const std::vector<at::Tensor> qkv =
      adapted(*qkv_, norm1_->Forward(x), 0).chunk(3, -1);
  const at::Tensor attended = MergeHeads(
      SoftmaxAttention(SplitHeads(qkv[0], heads_), SplitHeads(qkv[1], heads_),
                       SplitHeads(qkv[2], heads_)));
  const at::Tensor y = x + adapted(*out_, attended, 2);
  return y + down_->Forward(at::gelu(up_->Forward(norm2_->Forward(y))));
}

Vit::Vit(const VitConfig& config, const Initializer& init)
    : config_(config),
      embed_(AddModule<Linear>(
          "embed", init.XavierUniform({config.dim, config.patch_dim()}),
          init.Zeros({config.dim}))),
      cls_(AddParameter("cls", init.Normal({1, 1, config.dim}, kStd))),
      position_(AddParameter(
          "position",
          init.Normal({1, config.num_patches(), config.dim}, kStd))) {
  for (int64_t i = 0; i < config.depth; ++i) {
    blocks_.push_back(AddModule<VitBlock>("block" + std::to_string(i),
                                          config.dim, config.heads,
                                          config.mlp_dim, init));
  }
}

at::Tensor Vit::Blocks(at::Tensor tokens) const {
  tokens = at::cat({cls_.expand({tokens.size(0), 1, config_.dim}), tokens}, 1);
  for (const VitBlock* block : blocks_) tokens = block->Forward(tokens);
  return tokens;
}

at::Tensor Vit::Forward(const at::Tensor& images) const {
  CheckShape(images, {"batch", 3, config_.side, config_.side}, "images");
  return Blocks(embed_->Forward(Patches(images, config_.patch)) + position_);
}

at::Tensor Vit::ForwardKept(const at::Tensor& patches,
                            const at::Tensor& kept) const {
  const at::Tensor position =
      position_.expand({patches.size(0), config_.num_patches(), config_.dim});
  return Blocks(embed_->Forward(Gather(patches, kept)) +
                Gather(position, kept));
}

std::vector<at::Tensor> Vit::FreezeAndAddLora(int64_t blocks, int64_t rank,
                                              const Initializer& init) {
  TORCH_CHECK(blocks >= 0 && blocks <= config_.depth && rank > 0,
              "LoRA: ", blocks, " of ", config_.depth, " blocks, rank ", rank);
  for (at::Tensor& parameter : Parameters()) parameter.requires_grad_(false);
  std::vector<at::Tensor> added;
  for (size_t i = blocks_.size() - blocks; i < blocks_.size(); ++i) {
    for (at::Tensor& tensor : blocks_[i]->AddLora(rank, init)) {
      added.push_back(tensor);
    }
  }
  return added;
}

MaskedAutoencoder::MaskedAutoencoder(const VitConfig& config,
                                     const Initializer& init)
    : encoder_(AddModule<Vit>("encoder", config, init)),
      narrow_(AddModule<Linear>("narrow", config.dim, kDecoderDim, init)),
      mask_(AddParameter("mask", init.Normal({1, 1, kDecoderDim}, kStd))),
      position_(AddParameter(
          "position",
          init.Normal({1, config.num_patches(), kDecoderDim}, kStd))),
      block_(
          AddModule<VitBlock>("block", kDecoderDim, 4, 2 * kDecoderDim, init)),
      norm_(AddModule<LayerNorm>("norm", kDecoderDim, init)),
      pixels_(
          AddModule<Linear>("pixels", kDecoderDim, config.patch_dim(), init)) {}

at::Tensor MaskedAutoencoder::Loss(const at::Tensor& images,
                                   at::Generator generator) const {
  const VitConfig& config = encoder_->config();
  CheckShape(images, {"batch", 3, config.side, config.side}, "images");
  const int64_t batch = images.size(0), n = config.num_patches();
  const at::Tensor patches = Patches(images, config.patch);
  const at::Tensor order =
      at::rand({batch, n}, generator, at::TensorOptions().dtype(at::kFloat))
          .argsort(/*dim=*/1, /*descending=*/false)
          .to(images.device());
  const at::Tensor kept = order.narrow(1, 0, n / 4);
  const at::Tensor hidden = order.narrow(1, n / 4, n - n / 4);

  const at::Tensor tokens =
      narrow_->Forward(encoder_->ForwardKept(patches, kept));
  const at::Tensor position = position_.expand({batch, n, kDecoderDim});
  const at::Tensor input =
      at::cat({tokens.narrow(1, 0, 1),
               tokens.narrow(1, 1, n / 4) + Gather(position, kept),
               mask_ + Gather(position, hidden)},
              1);
  const at::Tensor predicted = pixels_->Forward(
      norm_->Forward(block_->Forward(input)).narrow(1, 1 + n / 4, n - n / 4));

  return (predicted - Gather(patches, hidden)).square().mean();
}

ContrastiveModel::ContrastiveModel(const VitConfig& config,
                                   const Initializer& init)
    : encoder_(AddModule<Vit>("encoder", config, init)),
      up_(AddModule<Linear>("up", config.dim, 2 * config.dim, init)),
      down_(AddModule<Linear>("down", 2 * config.dim, config.dim, init)) {}

at::Tensor ContrastiveModel::Project(const at::Tensor& images) const {
  const at::Tensor cls = encoder_->Forward(images).select(1, 0);
  const at::Tensor z = down_->Forward(at::relu(up_->Forward(cls)));
  return z / z.norm(2, {1}, /*keepdim=*/true).clamp_min(1e-6);
}

at::Tensor ContrastiveModel::Loss(const at::Tensor& view,
                                  const at::Tensor& other) const {
  const at::Tensor logits =
      at::mm(Project(view), Project(other).t()) / kTemperature;
  const at::Tensor same =
      at::arange(view.size(0), at::TensorOptions().dtype(at::kLong))
          .to(view.device());
  return 0.5 * (at::cross_entropy_loss(logits, same) +
                at::cross_entropy_loss(logits.t(), same));
}

}  // namespace repro::efficient_probing
