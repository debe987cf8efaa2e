#include "papers/flowformer/models.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/stack.h>

#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/tensor/check.h"

namespace repro::flowformer {

SeriesClassifier::SeriesClassifier(const SeriesClassifierConfig& config,
                                   const Initializer& init)
    : config_(config) {
  const int64_t dim = config.dim;
  input_ = AddLinear("input", config.features, dim, WeightInit::kFanIn, init);
  positions_ = AddParameter("positions",
                            init.Uniform({config.max_len, dim}, -0.02, 0.02));
  AttentionLayerOptions attention;
  attention.heads = config.heads;
  for (int64_t i = 0; i < config.layers; ++i) {
    const std::string name = absl::StrCat("layer", i, "_");
    Layer layer;
    layer.attention = AddModule<AttentionLayer>(
        name + "attention", dim, config.attention, attention, init);
    layer.norm1 = AddModule<LayerNorm>(name + "norm1", dim, init);
    layer.up =
        AddLinear(name + "up", dim, config.hidden, WeightInit::kFanIn, init);
    layer.down =
        AddLinear(name + "down", config.hidden, dim, WeightInit::kFanIn, init);
    layer.norm2 = AddModule<LayerNorm>(name + "norm2", dim, init);
    layers_.push_back(layer);
  }
  norm_ = AddModule<LayerNorm>("norm", dim, init);
  output_ = AddLinear("output", dim * config.max_len, config.classes,
                      WeightInit::kFanIn, init);
}

at::Tensor SeriesClassifier::Forward(const at::Tensor& x,
                                     const at::Tensor& mask,
                                     const at::Generator& generator) const {
  ShapeChecker check;
  check(x, {"batch", config_.max_len, config_.features}, "x");
  check(mask, {"batch", config_.max_len}, "mask");
  const auto drop = [&](const at::Tensor& y) {
    return Dropout(y, config_.dropout, training(), generator);
  };
  at::Tensor y =
      drop(input_->Forward(x) * std::sqrt(static_cast<double>(config_.dim)) +
           positions_);
  for (const Layer& layer : layers_) {
    y = layer.norm1->Forward(y + drop(layer.attention->Forward(y)));
    const at::Tensor hidden = drop(at::gelu(layer.up->Forward(y)));
    y = layer.norm2->Forward(y + drop(layer.down->Forward(hidden)));
  }
  y = drop(at::gelu(norm_->Forward(y))) * mask.unsqueeze(-1);
  return output_->Forward(y.flatten(1));
}

VisionFlowformer::VisionFlowformer(const VisionConfig& config,
                                   const Initializer& init)
    : config_(config) {
  TORCH_CHECK(config.dims.size() == 4 && config.depths.size() == 4 &&
                  config.image_size % 32 == 0,
              "vision model: expected 4 dims, 4 depths and an image_size that ",
              "32 divides");
  const auto rule = WeightInit::kTruncatedNormal;
  AttentionLayerOptions attention;
  attention.heads = config.heads;
  attention.init = rule;
  const int64_t side = config.image_size / 4;
  positions_ = AddParameter(
      "positions", init.TruncatedNormal({side * side, config.dims[0]}, 0.02));
  for (size_t s = 0; s < 4; ++s) {
    const int64_t dim = config.dims[s];
    const int64_t in = s == 0 ? 3 : config.dims[s - 1];
    const int64_t patch = s == 0 ? 4 : 2;
    Conv2dOptions stride;
    stride.stride = patch;
    const std::vector<int64_t> shape = {dim, in, patch, patch};
    const int64_t fan_in = in * patch * patch;
    const at::Tensor weight = init.UniformFanIn(shape, fan_in);
    patches_.push_back(AddModule<Conv2d>(absl::StrCat("patch", s), weight,
                                         init.UniformFanIn({dim}, fan_in),
                                         stride));
    std::vector<Block> blocks;
    for (int64_t i = 0; i < config.depths[s]; ++i) {
      const std::string name = absl::StrCat("stage", s, "_block", i, "_");
      Block block;
      block.norm1 = AddModule<LayerNorm>(name + "norm1", dim, init, 1e-6);
      block.attention = AddModule<AttentionLayer>(
          name + "attention", dim, config.attention, attention, init);
      block.norm2 = AddModule<LayerNorm>(name + "norm2", dim, init, 1e-6);
      block.up =
          AddLinear(name + "up", dim, dim * config.mlp_ratio, rule, init);
      block.down =
          AddLinear(name + "down", dim * config.mlp_ratio, dim, rule, init);
      block.scale = AddModule<LayerScale>(name + "scale", dim,
                                          config.layer_scale, -1, init);
      blocks.push_back(block);
    }
    stages_.push_back(blocks);
  }
  norm_ = AddModule<LayerNorm>("norm", config.dims[3], init, 1e-6);
  head_ = AddLinear("head", config.dims[3], config.classes, rule, init);
}

at::Tensor VisionFlowformer::Forward(const at::Tensor& images) const {
  CheckShape(images, {"batch", 3, config_.image_size, config_.image_size},
             "images");
  at::Tensor map = images;
  at::Tensor x;
  for (size_t s = 0; s < stages_.size(); ++s) {
    map = patches_[s]->Forward(map);
    const int64_t side = map.size(-1);
    x = map.flatten(2).transpose(1, 2);  // [batch, side^2, dim]
    if (s == 0) x = x + positions_;
    for (const Block& block : stages_[s]) {
      x = x + block.attention->Forward(block.norm1->Forward(x));
      const at::Tensor hidden =
          at::gelu(block.up->Forward(block.norm2->Forward(x)));
      x = x + block.scale->Forward(block.down->Forward(hidden));
    }
    map = x.transpose(1, 2).unflatten(2, {side, side});
  }
  return head_->Forward(norm_->Forward(x).mean(1));
}

absl::StatusOr<GptConfig> GptConfig::Named(absl::string_view name,
                                           int64_t vocabulary,
                                           int64_t block_size) {
  GptConfig config;
  config.vocabulary = vocabulary;
  config.block_size = block_size;
  const auto size = [&](int64_t layers, int64_t heads, int64_t dim) {
    config.layers = layers;
    config.heads = heads;
    config.dim = dim;
    return config;
  };
  if (name == "mini") return size(6, 6, 192);
  if (name == "micro") return size(4, 4, 128);
  if (name == "nano") return size(3, 3, 48);
  return absl::NotFoundError(
      absl::StrCat("no GPT size \"", name, "\"; there are mini, micro, nano"));
}

FlowGpt::FlowGpt(const GptConfig& config, const Initializer& init)
    : config_(config) {
  const int64_t dim = config.dim;
  const auto rule = WeightInit::kNormal;
  AttentionLayerOptions attention;
  attention.heads = config.heads;
  attention.causal = true;
  attention.init = rule;
  tokens_ = AddParameter("tokens", init.Normal({config.vocabulary, dim}, 0.02));
  positions_ =
      AddParameter("positions", init.Normal({config.block_size, dim}, 0.02));
  for (int64_t i = 0; i < config.layers; ++i) {
    const std::string name = absl::StrCat("block", i, "_");
    Block block;
    block.norm1 = AddModule<LayerNorm>(name + "norm1", dim, init);
    block.attention = AddModule<AttentionLayer>(
        name + "attention", dim, config.attention, attention, init);
    block.norm2 = AddModule<LayerNorm>(name + "norm2", dim, init);
    block.up = AddLinear(name + "up", dim, 4 * dim, rule, init);
    block.down = AddModule<Linear>(
        name + "down",
        init.Normal({dim, 4 * dim},
                    0.02 / std::sqrt(2.0 * static_cast<double>(config.layers))),
        init.Zeros({dim}));
    blocks_.push_back(block);
  }
  norm_ = AddModule<LayerNorm>("norm", dim, init);
  head_ = AddLinear("head", dim, config.vocabulary, rule, init,
                    /*bias=*/false);
}

at::Tensor FlowGpt::Forward(const at::Tensor& tokens,
                            const at::Generator& generator) const {
  TORCH_CHECK(tokens.dim() == 2 && tokens.size(1) <= config_.block_size,
              "tokens: expected [batch, length <= ", config_.block_size,
              "], got ", tokens.sizes());
  const auto drop = [&](const at::Tensor& y) {
    return Dropout(y, config_.dropout, training(), generator);
  };
  at::Tensor x = drop(at::embedding(tokens_, tokens) +
                      positions_.narrow(0, 0, tokens.size(1)));
  for (const Block& block : blocks_) {
    x = x + drop(block.attention->Forward(block.norm1->Forward(x)));
    const at::Tensor hidden =
        at::gelu(block.up->Forward(block.norm2->Forward(x)), "tanh");
    x = x + drop(block.down->Forward(hidden));
  }
  return head_->Forward(norm_->Forward(x));
}

SequenceClassifier::SequenceClassifier(const SequenceClassifierConfig& config,
                                       const Initializer& init)
    : config_(config) {
  const int64_t dim = config.dim;
  const auto rule = WeightInit::kXavierUniform;
  AttentionLayerOptions attention;
  attention.heads = config.heads;
  attention.qkv_bias = attention.out_bias = false;
  attention.init = rule;
  embedding_ =
      AddParameter("embedding", init.Normal({config.vocabulary, dim}, 1));
  class_token_ = AddParameter("class_token", init.Zeros({1, 1, dim}));
  const at::Tensor position =
      at::arange(config.max_len + 1, at::kFloat).unsqueeze(1);
  const at::Tensor frequency =
      at::exp(at::arange(0, dim, 2, at::kFloat) *
              (-std::log(10000.0) / static_cast<double>(dim)));
  positions_ = AddBuffer("positions", at::stack({at::sin(position * frequency),
                                                 at::cos(position * frequency)},
                                                -1)
                                          .flatten(1));
  for (int64_t i = 0; i < config.layers; ++i) {
    const std::string name = absl::StrCat("block", i, "_");
    Block block;
    block.norm1 = AddModule<LayerNorm>(name + "norm1", dim, init, 1e-6);
    block.attention = AddModule<AttentionLayer>(
        name + "attention", dim, config.attention, attention, init);
    block.norm2 = AddModule<LayerNorm>(name + "norm2", dim, init, 1e-6);
    block.up = AddLinear(name + "up", dim, config.hidden, rule, init);
    block.down = AddLinear(name + "down", config.hidden, dim, rule, init);
    blocks_.push_back(block);
  }
  norm_ = AddModule<LayerNorm>("norm", dim, init, 1e-6);
  hidden_ = AddLinear("hidden", dim, config.hidden, WeightInit::kFanIn, init);
  output_ = AddLinear("output", config.hidden, config.classes,
                      WeightInit::kFanIn, init);
}

at::Tensor SequenceClassifier::Forward(const at::Tensor& tokens,
                                       const at::Generator& generator) const {
  TORCH_CHECK(tokens.dim() == 2 && tokens.size(1) <= config_.max_len,
              "tokens: expected [batch, length <= ", config_.max_len, "], got ",
              tokens.sizes());
  const auto drop = [&](const at::Tensor& y) {
    return Dropout(y, config_.dropout, training(), generator);
  };
  at::Tensor x = at::cat({class_token_.expand({tokens.size(0), 1, config_.dim}),
                          at::embedding(embedding_, tokens)},
                         1);
  x = drop(x + positions_.narrow(0, 0, x.size(1)));
  for (const Block& block : blocks_) {
    x = x + drop(block.attention->Forward(block.norm1->Forward(x)));
    const at::Tensor hidden =
        drop(at::gelu(block.up->Forward(block.norm2->Forward(x)), "tanh"));
    x = x + drop(block.down->Forward(hidden));
  }
  // Only the class token is read.
  const at::Tensor first = norm_->Forward(x.select(1, 0));
  return output_->Forward(at::relu(hidden_->Forward(first)));
}

}  // namespace repro::flowformer
