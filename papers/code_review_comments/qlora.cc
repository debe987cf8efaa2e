#include "papers/code_review_comments/qlora.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bitwise_and.h>
#include <ATen/ops/bucketize.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "common/nn/attention.h"
#include "common/nn/rotary.h"
#include "common/tensor/check.h"
#include "kernels/rms_norm/rms_norm.h"

namespace repro::code_review_comments {
namespace {

constexpr double kInitStd = 0.02;

int64_t CeilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }

at::Tensor LevelsOf(FourBitType type) {
  if (type == FourBitType::kNf4) {
    return at::tensor(
        at::ArrayRef<float>(Nf4Levels().data(), Nf4Levels().size()));
  }
  return at::arange(-7, 8, at::kFloat) / 7;
}

// x [size] in rows of `block`, the last one filled up with zeros.
at::Tensor Blocks(const at::Tensor& x, int64_t block) {
  const int64_t size = x.size(0);
  return at::constant_pad_nd(x, {0, CeilDivide(size, block) * block - size})
      .view({-1, block});
}

struct Codes {
  at::Tensor codes;   // [size] uint8
  at::Tensor maxima;  // [ceil(size / block)]
};

// The number of the level nearest to each x / (maximum of its block).
Codes Encode(const at::Tensor& x, int64_t block, const at::Tensor& levels) {
  const at::Tensor rows = Blocks(x, block);
  const at::Tensor maxima = at::amax(at::abs(rows), {1}, /*keepdim=*/true);
  const at::Tensor scaled =
      rows / at::where(maxima > 0, maxima, at::ones_like(maxima));
  const int64_t last = levels.size(0) - 1;
  const at::Tensor middles =
      (levels.narrow(0, 0, last) + levels.narrow(0, 1, last)) / 2;
  return {at::bucketize(scaled, middles)
              .to(at::kByte)
              .flatten()
              .narrow(0, 0, x.size(0)),
          maxima.flatten()};
}

at::Tensor Decode(const at::Tensor& codes, int64_t block,
                  const at::Tensor& levels, const at::Tensor& maxima) {
  const at::Tensor scaled = levels.index_select(0, codes.to(at::kInt));
  return (Blocks(scaled, block) * maxima.unsqueeze(1))
      .flatten()
      .narrow(0, 0, codes.size(0));
}

// Two codes a byte.
at::Tensor Pack(const at::Tensor& codes) {
  const at::Tensor pairs = Blocks(codes, 2);
  return pairs.select(1, 0) * 16 + pairs.select(1, 1);
}

at::Tensor Unpack(const at::Tensor& bytes, int64_t size) {
  return at::stack({bytes.div(16, /*rounding_mode=*/"floor"),
                    at::bitwise_and(bytes, 15)},
                   1)
      .flatten()
      .narrow(0, 0, size);
}

}  // namespace

const std::array<float, 16>& Nf4Levels() {
  static constexpr std::array<float, 16> kLevels = {
      -1.0f,          -0.6961928010f, -0.5250730515f, -0.3949174881f,
      -0.2844413817f, -0.1847734302f, -0.0910500363f, 0.0f,
      0.0795802996f,  0.1609302014f,  0.2461123019f,  0.3379152417f,
      0.4407098293f,  0.5626170039f,  0.7229568362f,  1.0f};
  return kLevels;
}

std::vector<float> DynamicLevels() {
  std::vector<float> levels = {0.0f, 1.0f};
  for (int i = 0; i < 7; ++i) {
    const int parts = 1 << i;
    for (int j = 0; j < parts; ++j) {
      const auto level = static_cast<float>(std::pow(10.0, i - 6) *
                                            (0.1 + 0.9 * (j + 0.5) / parts));
      levels.push_back(level);
      levels.push_back(-level);
    }
  }
  std::sort(levels.begin(), levels.end());
  return levels;
}

int64_t QuantizedBytes(int64_t numel, const QuantizationOptions& options) {
  const int64_t blocks = CeilDivide(numel, options.block);
  return CeilDivide(numel, 2) +
         (options.double_quantize
              ? blocks + 4 * CeilDivide(blocks, kConstantBlock) + 4
              : 4 * blocks);
}

QuantizedTensor::QuantizedTensor(const at::Tensor& weight,
                                 const QuantizationOptions& options)
    : shape_(weight.sizes().vec()), block_(options.block) {
  TORCH_CHECK(block_ >= 1, "quantisation: blocks of ", block_);
  TORCH_CHECK(weight.numel() > 0 && weight.is_floating_point(),
              "quantisation: a weight of shape ", weight.sizes(), " and type ",
              weight.dtype());
  const at::Tensor flat = weight.detach().to(at::kFloat).flatten();
  TORCH_CHECK(at::isfinite(flat).all().item<bool>(),
              "quantisation: a weight of shape ", weight.sizes(),
              " is not finite");
  levels_ = LevelsOf(options.type).to(weight.device());
  Codes codes = Encode(flat, block_, levels_);
  codes_ = Pack(codes.codes);
  if (!options.double_quantize) {
    constants_ = codes.maxima;
    return;
  }
  constant_levels_ = at::tensor(DynamicLevels()).to(weight.device());
  constant_mean_ = codes.maxima.mean();
  Codes constants =
      Encode(codes.maxima - constant_mean_, kConstantBlock, constant_levels_);
  constant_codes_ = constants.codes;
  constant_maxima_ = constants.maxima;
}

at::Tensor QuantizedTensor::Constants() const {
  if (constants_.defined()) return constants_;
  return Decode(constant_codes_, kConstantBlock, constant_levels_,
                constant_maxima_) +
         constant_mean_;
}

at::Tensor QuantizedTensor::Dequantize() const {
  int64_t numel = 1;
  for (const int64_t size : shape_) numel *= size;
  return Decode(Unpack(codes_, numel), block_, levels_, Constants())
      .view(shape_);
}

int64_t QuantizedTensor::Bytes() const {
  int64_t bytes = 0;
  for (const at::Tensor& tensor : {codes_, constants_, constant_codes_,
                                   constant_maxima_, constant_mean_}) {
    if (tensor.defined()) bytes += static_cast<int64_t>(tensor.nbytes());
  }
  return bytes;
}

Projection::Projection(const at::Tensor& weight) {
  CheckShape(weight, {"out", "in"}, "weight");
  weight_ = AddParameter("weight", weight.detach().clone());
}

Projection::Projection(const at::Tensor& weight, const LoraOptions& options,
                       const Initializer& init) {
  CheckShape(weight, {"out", "in"}, "weight");
  TORCH_CHECK(options.rank >= 1, "an adapter of rank ", options.rank);
  if (options.quantization.has_value()) {
    quantized_.emplace(weight, *options.quantization);
  } else {
    weight_ = AddBuffer("weight", weight.detach().clone());
  }
  const int64_t in = weight.size(1);
  a_ = AddParameter(
      "lora_a",
      init.Normal({options.rank, in}, 1 / std::sqrt(static_cast<double>(in))));
  b_ = AddParameter("lora_b", init.Zeros({weight.size(0), options.rank}));
  scale_ = options.alpha / static_cast<double>(options.rank);
}

at::Tensor Projection::BaseWeight() const {
  return quantized_.has_value() ? quantized_->Dequantize() : weight_;
}

at::Tensor Projection::MergedWeight() const {
  return a_.defined() ? BaseWeight() + scale_ * at::matmul(b_, a_)
                      : BaseWeight();
}

at::Tensor Projection::Forward(const at::Tensor& x) const {
  const at::Tensor y = at::linear(x, BaseWeight());
  return a_.defined() ? y + scale_ * at::linear(at::linear(x, a_), b_) : y;
}

DecoderConfig DecoderConfig::Llama2With7B() {
  return {/*vocab_size=*/32000, /*dim=*/4096,
          /*num_layers=*/32,
          /*num_heads=*/32,     /*num_kv_heads=*/32,
          /*ffn_dim=*/11008};
}

DecoderConfig DecoderConfig::Llama3With8B() {
  return {/*vocab_size=*/128256, /*dim=*/4096,
          /*num_layers=*/32,
          /*num_heads=*/32,      /*num_kv_heads=*/8,
          /*ffn_dim=*/14336};
}

class DecoderLayer : public Module {
 public:
  DecoderLayer(const DecoderConfig& config, const Initializer& init)
      : heads_(config.num_heads), kv_heads_(config.num_kv_heads) {
    attention_norm_ = AddParameter("attention_norm", init.Ones({config.dim}));
    ffn_norm_ = AddParameter("ffn_norm", init.Ones({config.dim}));
    const auto shapes = Shapes(config);
    for (size_t i = 0; i < shapes.size(); ++i) {
      projections_[i] = AddModule<Projection>(
          kNames[i],
          init.Normal({shapes[i].first, shapes[i].second}, kInitStd));
    }
  }

  DecoderLayer(const DecoderLayer& base,
               const std::optional<LoraOptions>& options,
               const Initializer& init)
      : heads_(base.heads_), kv_heads_(base.kv_heads_) {
    const auto copy = [&](const char* name, const at::Tensor& value) {
      const at::Tensor clone = value.detach().clone();
      return options.has_value() ? AddBuffer(name, clone)
                                 : AddParameter(name, clone);
    };
    attention_norm_ = copy("attention_norm", base.attention_norm_);
    ffn_norm_ = copy("ffn_norm", base.ffn_norm_);
    for (size_t i = 0; i < kNames.size(); ++i) {
      const at::Tensor weight = base.projections_[i]->BaseWeight();
      projections_[i] =
          options.has_value()
              ? AddModule<Projection>(kNames[i], weight, *options, init)
              : AddModule<Projection>(kNames[i], weight);
    }
  }

  // x: [batch, seq_len, dim].
  at::Tensor Forward(const at::Tensor& x, const RotaryTable& rotary) const {
    const auto& [q, k, v, o, gate, up, down] = projections_;
    const at::Tensor h = RmsNorm(x, attention_norm_);
    const at::Tensor attended = at::scaled_dot_product_attention(
        ApplyRotary(SplitHeads(q->Forward(h), heads_), rotary),
        ApplyRotary(SplitHeads(k->Forward(h), kv_heads_), rotary),
        SplitHeads(v->Forward(h), kv_heads_), /*attn_mask=*/{},
        /*dropout_p=*/0.0, /*is_causal=*/true, /*scale=*/std::nullopt,
        /*enable_gqa=*/kv_heads_ != heads_);
    const at::Tensor y = x + o->Forward(MergeHeads(attended));
    const at::Tensor g = RmsNorm(y, ffn_norm_);
    return y + down->Forward(at::silu(gate->Forward(g)) * up->Forward(g));
  }

  const std::array<Projection*, 7>& projections() const { return projections_; }

 private:
  static constexpr std::array<const char*, 7> kNames = {
      "q", "k", "v", "o", "gate", "up", "down"};

  // Out and in, in the order of kNames.
  static std::array<std::pair<int64_t, int64_t>, 7> Shapes(
      const DecoderConfig& config) {
    const int64_t dim = config.dim;
    const int64_t kv_dim = dim / config.num_heads * config.num_kv_heads;
    return {{{dim, dim},
             {kv_dim, dim},
             {kv_dim, dim},
             {dim, dim},
             {config.ffn_dim, dim},
             {config.ffn_dim, dim},
             {dim, config.ffn_dim}}};
  }

  int64_t heads_;
  int64_t kv_heads_;
  at::Tensor attention_norm_;
  at::Tensor ffn_norm_;
  std::array<Projection*, 7> projections_;
};

Decoder::Decoder(const DecoderConfig& config, const Initializer& init)
    : config_(config) {
  TORCH_CHECK(config.vocab_size > 0 && config.dim > 0 &&
                  config.num_layers > 0 && config.num_heads > 0 &&
                  config.num_kv_heads > 0 && config.ffn_dim > 0,
              "decoder: a size is not positive");
  TORCH_CHECK(config.dim % config.num_heads == 0 &&
                  config.num_heads % config.num_kv_heads == 0,
              "decoder: dim ", config.dim, ", num_heads ", config.num_heads,
              ", num_kv_heads ", config.num_kv_heads, " do not divide");
  embedding_ = AddParameter(
      "embedding", init.Normal({config.vocab_size, config.dim}, kInitStd));
  norm_ = AddParameter("norm", init.Ones({config.dim}));
  for (int64_t l = 0; l < config.num_layers; ++l) {
    layers_.push_back(
        AddModule<DecoderLayer>("layer" + std::to_string(l), config, init));
  }
}

Decoder::Decoder(const Decoder& base, const std::optional<LoraOptions>& options,
                 const Initializer& init)
    : config_(base.config_) {
  const auto copy = [&](const char* name, const at::Tensor& value) {
    const at::Tensor clone = value.detach().clone();
    return options.has_value() ? AddBuffer(name, clone)
                               : AddParameter(name, clone);
  };
  embedding_ = copy("embedding", base.embedding_);
  norm_ = copy("norm", base.norm_);
  for (const DecoderLayer* layer : base.layers_) {
    layers_.push_back(AddModule<DecoderLayer>(
        "layer" + std::to_string(layers_.size()), *layer, options, init));
  }
}

Decoder::~Decoder() = default;

at::Tensor Decoder::Forward(const at::Tensor& tokens) const {
  CheckShape(tokens, {"batch", "seq_len"}, "tokens");
  at::Tensor x = at::embedding(embedding_, tokens);
  const RotaryTable rotary =
      MakeRotaryTable(at::arange(tokens.size(1), tokens.options()),
                      config_.dim / config_.num_heads, x.scalar_type());
  for (const DecoderLayer* layer : layers_) x = layer->Forward(x, rotary);
  return at::linear(RmsNorm(x, norm_), embedding_);
}

std::vector<at::Tensor> Decoder::ProjectionWeights() const {
  std::vector<at::Tensor> weights;
  for (const DecoderLayer* layer : layers_) {
    for (const Projection* projection : layer->projections()) {
      weights.push_back(projection->BaseWeight());
    }
  }
  return weights;
}

}  // namespace repro::code_review_comments
