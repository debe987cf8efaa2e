// QLoRA (Dettmers et al. 2023, arXiv 2305.14314), by which the paper tunes its
// open models: frozen 4-bit weights and trained low-rank adapters,
//
//   y = x dequantize(W)^T + (alpha / r) (x A^T) B^T.
//
// Shapes: W [out, in], A [rank, in], B [out, rank], x [..., in].
#ifndef REPRO_PAPERS_CODE_REVIEW_COMMENTS_QLORA_H_
#define REPRO_PAPERS_CODE_REVIEW_COMMENTS_QLORA_H_

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "common/nn/initializer.h"
#include "common/nn/module.h"

namespace repro::code_review_comments {

enum class FourBitType {
  kNf4,   // quantiles of N(0, 1), scaled to [-1, 1], one of them 0
  kInt4,  // k / 7 for k = -7 ... 7
};

// The 16 levels of NF4, rising: bitsandbytes' constants.
const std::array<float, 16>& Nf4Levels();

// bitsandbytes' signed dynamic 8-bit type, 256 levels, rising: for each power
// 10^(i - 6), i = 0 ... 6, the middles of 2^i equal parts of [0.1, 1], both
// signs; 0 and 1.
std::vector<float> DynamicLevels();

struct QuantizationOptions {
  FourBitType type = FourBitType::kNf4;
  int64_t block = 64;  // weights that share an absolute maximum
  // Double quantisation: the maxima, less their mean, by DynamicLevels in
  // blocks of 256 of them.
  bool double_quantize = true;
};

// Of double quantisation.
inline constexpr int64_t kConstantBlock = 256;

// What a tensor of `numel` weights takes: half a byte a weight, and for each
// block 4 bytes, or with double quantisation 1 byte, 4 bytes a constant block
// and 4 for the mean.
int64_t QuantizedBytes(int64_t numel, const QuantizationOptions& options);

// A tensor in four bits, on the device of what it was made from.
class QuantizedTensor {
 public:
  // weight: any shape, floating, not empty, finite. The nearest level by
  // absolute maximum of each block of consecutive weights; a block of zeros
  // stays zero. Throws c10::Error.
  QuantizedTensor(const at::Tensor& weight, const QuantizationOptions& options);

  // Float32, in the shape of the weight.
  at::Tensor Dequantize() const;

  // Of all that is stored; equals QuantizedBytes.
  int64_t Bytes() const;

 private:
  at::Tensor Constants() const;  // [blocks] float32

  std::vector<int64_t> shape_;
  int64_t block_;
  at::Tensor levels_;  // [levels] float32
  at::Tensor codes_;   // [ceil(numel / 2)] uint8; the even weight's bits above
  // [blocks] float32, or with double quantisation the next four.
  at::Tensor constants_;
  at::Tensor constant_codes_;   // [blocks] uint8
  at::Tensor constant_maxima_;  // [ceil(blocks / 256)] float32
  at::Tensor constant_mean_;    // [] float32
  at::Tensor constant_levels_;  // [256] float32
};

struct LoraOptions {
  int64_t rank = 16;
  double alpha = 16;
  // How the frozen weights are held; unset: as they are.
  std::optional<QuantizationOptions> quantization;
};

// A linear layer without bias: trained as a whole, or frozen with an adapter.
class Projection : public Module {
 public:
  // Trained; the parameter is "weight".
  explicit Projection(const at::Tensor& weight);
  // Frozen; the parameters are "lora_a", drawn from N(0, 1 / in), and "lora_b",
  // zeros, so that the layer begins as its base.
  Projection(const at::Tensor& weight, const LoraOptions& options,
             const Initializer& init);

  at::Tensor Forward(const at::Tensor& x) const;

  // Without the adapter, [out, in].
  at::Tensor BaseWeight() const;
  // W + (alpha / r) B A: one matrix that does what the layer does.
  at::Tensor MergedWeight() const;

 private:
  at::Tensor weight_;  // unless quantised
  std::optional<QuantizedTensor> quantized_;
  at::Tensor a_, b_;  // of an adapter
  double scale_ = 0;
};

struct DecoderConfig {
  int64_t vocab_size = 0;
  int64_t dim = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t ffn_dim = 0;

  static DecoderConfig Llama2With7B();
  static DecoderConfig Llama3With8B();
};

class DecoderLayer;

// LLaMA's decoder with separate projections q, k, v, o, gate, up and down, all
// of which are adapted; the embeddings serve as the head, too.
class Decoder : public Module {
 public:
  // All trained; weights from N(0, 0.02^2), norms 1.
  Decoder(const DecoderConfig& config, const Initializer& init);
  // The weights of `base`, copied. With options: frozen, with adapters; without
  // (and then without draws): all trained.
  Decoder(const Decoder& base, const std::optional<LoraOptions>& options,
          const Initializer& init);
  ~Decoder() override;

  // tokens: [batch, seq_len] int64 -> logits [batch, seq_len, vocab_size].
  at::Tensor Forward(const at::Tensor& tokens) const;

  const DecoderConfig& config() const { return config_; }
  // The base weights of all projections, layer by layer.
  std::vector<at::Tensor> ProjectionWeights() const;

 private:
  DecoderConfig config_;
  at::Tensor embedding_;  // [vocab_size, dim]
  at::Tensor norm_;       // [dim]
  std::vector<DecoderLayer*> layers_;
};

}  // namespace repro::code_review_comments

#endif  // REPRO_PAPERS_CODE_REVIEW_COMMENTS_QLORA_H_
