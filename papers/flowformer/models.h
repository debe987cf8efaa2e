// The networks of the paper's experiments, with a choice of attention.
#ifndef REPRO_PAPERS_FLOWFORMER_MODELS_H_
#define REPRO_PAPERS_FLOWFORMER_MODELS_H_

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/nn/initializer.h"
#include "common/nn/layers.h"
#include "common/nn/module.h"
#include "papers/flowformer/attention_layer.h"

namespace repro::flowformer {

struct SeriesClassifierConfig {
  int64_t features = 0;  // dimensions of a series
  int64_t max_len = 0;   // the longest training series
  int64_t classes = 0;
  int64_t dim = 512;
  int64_t heads = 8;
  int64_t layers = 2;
  int64_t hidden = 2048;
  double dropout = 0.1;
  AttentionChoice attention;
};

// The classifier of the UEA table: x W sqrt(dim) + positions, post-norm encoder
// layers (x = LN(x + attention(x)); x = LN(x + ff(x)), GELU), LayerNorm, GELU,
// padded steps set to zero, and one linear map of all steps together. Padding
// is not masked inside the attention, as in the reference.
class SeriesClassifier : public InitializedModule {
 public:
  SeriesClassifier(const SeriesClassifierConfig& config,
                   const Initializer& init);

  // x: [batch, max_len, features], mask: [batch, max_len], 1 where a step is
  // and 0 where padding is -> logits [batch, classes]. `generator` draws the
  // dropout, on x's device.
  at::Tensor Forward(const at::Tensor& x, const at::Tensor& mask,
                     const at::Generator& generator) const;

 private:
  struct Layer {
    AttentionLayer* attention;
    LayerNorm* norm1;
    Linear* up;
    Linear* down;
    LayerNorm* norm2;
  };

  const SeriesClassifierConfig config_;
  Linear* input_;
  at::Tensor positions_;  // "positions": [max_len, dim]
  std::vector<Layer> layers_;
  LayerNorm* norm_;
  Linear* output_;
};

struct VisionConfig {
  int64_t image_size = 224;
  int64_t classes = 1000;
  std::vector<int64_t> dims = {96, 192, 384, 768};
  std::vector<int64_t> depths = {3, 3, 10, 3};
  int64_t heads = 12;
  int64_t mlp_ratio = 4;
  double layer_scale = 1e-5;
  AttentionChoice attention{AttentionKind::kFlow, FlowOptions::Vision()};
};

// The model of the ImageNet table: four stages on patches of 4, then of 2 (each
// halves the sides), pre-norm blocks x + attention(LN(x)), x + gamma
// mlp(LN(x)), learned positions at the first stage, mean over tokens, one
// linear head.
class VisionFlowformer : public InitializedModule {
 public:
  VisionFlowformer(const VisionConfig& config, const Initializer& init);

  // images: [batch, 3, image_size, image_size] -> logits [batch, classes].
  // Inference: stochastic depth is not applied.
  at::Tensor Forward(const at::Tensor& images) const;

 private:
  struct Block {
    LayerNorm* norm1;
    AttentionLayer* attention;
    LayerNorm* norm2;
    Linear* up;
    Linear* down;
    LayerScale* scale;
  };

  const VisionConfig config_;
  at::Tensor positions_;  // "positions": [(image_size / 4)^2, dims[0]]
  std::vector<Conv2d*> patches_;
  std::vector<std::vector<Block>> stages_;
  LayerNorm* norm_;
  Linear* head_;
};

struct GptConfig {
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t dim = 0;
  int64_t vocabulary = 0;
  int64_t block_size = 0;
  double dropout = 0.1;
  AttentionChoice attention;

  // "mini" (6 layers, 6 heads, 192 wide), "micro" (4, 4, 128), "nano" (3, 3,
  // 48). NotFound for others.
  static absl::StatusOr<GptConfig> Named(absl::string_view name,
                                         int64_t vocabulary,
                                         int64_t block_size);
};

// The reference's GPT module (minGPT with causal Flow-Attention): pre-norm
// blocks, tanh GELU, learned positions, head without bias and not tied.
class FlowGpt : public InitializedModule {
 public:
  FlowGpt(const GptConfig& config, const Initializer& init);

  // tokens: int64 [batch, length <= block_size] -> logits
  // [batch, length, vocabulary].
  at::Tensor Forward(const at::Tensor& tokens,
                     const at::Generator& generator) const;

 private:
  struct Block {
    LayerNorm* norm1;
    AttentionLayer* attention;
    LayerNorm* norm2;
    Linear* up;
    Linear* down;
  };

  const GptConfig config_;
  at::Tensor tokens_;     // "tokens": [vocabulary, dim]
  at::Tensor positions_;  // "positions": [block_size, dim]
  std::vector<Block> blocks_;
  LayerNorm* norm_;
  Linear* head_;
};

struct SequenceClassifierConfig {
  int64_t vocabulary = 0;  // 0 is padding
  int64_t max_len = 0;
  int64_t classes = 10;
  int64_t layers = 1;
  int64_t heads = 2;
  int64_t dim = 512;
  int64_t hidden = 1024;
  double dropout = 0.1;
  AttentionChoice attention;
};

// The encoder of the Long Range Arena as the ListOps task configures it:
// N(0, 1) embeddings, a class token in front, sinusoidal positions, pre-norm
// blocks, LayerNorm, and on the class token a hidden layer with ReLU. Padding
// is not masked in attention, as in the reference.
class SequenceClassifier : public InitializedModule {
 public:
  SequenceClassifier(const SequenceClassifierConfig& config,
                     const Initializer& init);

  // tokens: int64 [batch, length <= max_len] -> logits [batch, classes].
  at::Tensor Forward(const at::Tensor& tokens,
                     const at::Generator& generator) const;

 private:
  struct Block {
    LayerNorm* norm1;
    AttentionLayer* attention;
    LayerNorm* norm2;
    Linear* up;
    Linear* down;
  };

  const SequenceClassifierConfig config_;
  at::Tensor embedding_;    // "embedding": [vocabulary, dim]
  at::Tensor class_token_;  // "class_token": [1, 1, dim]
  at::Tensor positions_;    // buffer "positions": [max_len + 1, dim]
  std::vector<Block> blocks_;
  LayerNorm* norm_;
  Linear* hidden_;
  Linear* output_;
};

}  // namespace repro::flowformer

#endif  // REPRO_PAPERS_FLOWFORMER_MODELS_H_
