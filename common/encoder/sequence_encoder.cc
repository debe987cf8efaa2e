#include "common/encoder/sequence_encoder.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/conv1d.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/gru.h>
#include <ATen/ops/lstm.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>

#include <limits>
#include <tuple>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/encoder/dropout.h"
#include "common/tensor/check.h"

namespace repro::encoder {

Pool::Pool(Pooling pooling, int64_t dim, const Initializer& init)
    : pooling_(pooling) {
  if (pooling == Pooling::kWeightedMean) {
    weight_ = AddParameter("weight", init.XavierUniform({1, dim}).squeeze(0));
  }
}

at::Tensor Pool::Forward(const at::Tensor& h, const at::Tensor& mask) const {
  ShapeChecker check;
  check(h, {"batch", "seq_len", "dim"}, "h");
  check(mask, {"batch", "seq_len"}, "mask");
  CheckDtype(mask, at::kBool, "mask");
  const at::Tensor padding = ~mask.unsqueeze(-1);
  if (pooling_ == Pooling::kMax) {
    const at::Tensor most =
        h.masked_fill(padding, -std::numeric_limits<double>::infinity())
            .amax(1);
    return most.masked_fill(~mask.any(1, /*keepdim=*/true), 0);
  }
  // Where the padding is not a number, 0 times it would not be 0.
  const at::Tensor tokens = h.masked_fill(padding, 0);
  if (pooling_ == Pooling::kMean) {
    return tokens.sum(1) /
           mask.sum(1, /*keepdim=*/true).clamp_min(1).to(h.scalar_type());
  }
  const at::Tensor weights =
      at::sigmoid(at::matmul(tokens, weight_.to(h.scalar_type())))
          .masked_fill(~mask, 0);
  return at::matmul(weights.unsqueeze(1), tokens).squeeze(1) /
         (weights.sum(1, /*keepdim=*/true) + 1e-8);
}

SequenceEncoderConfig SequenceEncoderConfig::BagOfWords(int64_t vocab_size) {
  SequenceEncoderConfig config;
  config.vocab_size = vocab_size;
  return config;
}

SequenceEncoderConfig SequenceEncoderConfig::Convolution(int64_t vocab_size) {
  SequenceEncoderConfig config = BagOfWords(vocab_size);
  config.kernel_widths = {16, 16, 16};
  config.convolution_positions = true;
  return config;
}

SequenceEncoderConfig SequenceEncoderConfig::Recurrent(int64_t vocab_size) {
  SequenceEncoderConfig config = BagOfWords(vocab_size);
  config.recurrent_layers = 2;
  return config;
}

SequenceEncoderConfig SequenceEncoderConfig::SelfAttention(int64_t vocab_size) {
  SequenceEncoderConfig config = BagOfWords(vocab_size);
  config.attention_layers = 3;
  return config;
}

SequenceEncoderConfig SequenceEncoderConfig::ConvolutionSelfAttention(
    int64_t vocab_size) {
  SequenceEncoderConfig config = BagOfWords(vocab_size);
  config.kernel_widths = {8, 8};
  config.attention_layers = 2;
  return config;
}

absl::StatusOr<SequenceEncoderConfig> SequenceEncoderConfig::ByName(
    absl::string_view name, int64_t vocab_size) {
  if (name == "nbow") return BagOfWords(vocab_size);
  if (name == "1dcnn") return Convolution(vocab_size);
  if (name == "rnn") return Recurrent(vocab_size);
  if (name == "selfatt") return SelfAttention(vocab_size);
  if (name == "convselfatt") return ConvolutionSelfAttention(vocab_size);
  return absl::InvalidArgumentError(
      absl::StrCat("no sequence encoder \"", name,
                   "\"; there are nbow, 1dcnn, rnn, selfatt and convselfatt"));
}

class Convolutions : public Module {
 public:
  Convolutions(const SequenceEncoderConfig& config, const Initializer& init,
               at::Generator generator)
      : config_(config), generator_(std::move(generator)) {
    if (config.convolution_positions) {
      positions_ =
          AddParameter("position_embedding",
                       init.Normal({config.max_length, config.dim}, 0.02));
    }
    for (size_t i = 0; i < config.kernel_widths.size(); ++i) {
      TORCH_CHECK(config.kernel_widths[i] > 0, "kernel_widths[", i, "] is ",
                  config.kernel_widths[i]);
      weights_.push_back(
          AddParameter(absl::StrCat("weight", i),
                       init.XavierUniform(
                           {config.dim, config.dim, config.kernel_widths[i]})));
      biases_.push_back(
          AddParameter(absl::StrCat("bias", i), init.Zeros({config.dim})));
    }
  }

  // x: [batch, seq_len, dim].
  at::Tensor Forward(const at::Tensor& x, const at::Tensor& mask) const {
    at::Tensor h = x;
    if (positions_.defined()) h = h + positions_.narrow(0, 0, x.size(1));
    h = h.transpose(1, 2);
    const at::Tensor padding = ~mask.unsqueeze(1);
    for (size_t i = 0; i < weights_.size(); ++i) {
      if (config_.mask_convolutions) h = h.masked_fill(padding, 0);
      const int64_t width = weights_[i].size(2);
      at::Tensor next =
          at::conv1d(at::constant_pad_nd(h, {(width - 1) / 2, width / 2}),
                     weights_[i], biases_[i]);
      if (i > 0) next = next + h;
      h = DropoutIfSeeded(at::tanh(next), config_.dropout, training(),
                          generator_);
    }
    return h.transpose(1, 2);
  }

 private:
  SequenceEncoderConfig config_;
  at::Generator generator_;
  at::Tensor positions_;
  std::vector<at::Tensor> weights_;
  std::vector<at::Tensor> biases_;
};

namespace {

// cuDNN copies the weights into one piece at every call, and LibTorch warns
// each time. They are small; the warning would drown a training's progress.
class CompactionIsKnown : public c10::WarningHandler {
 public:
  CompactionIsKnown()
      : others_(c10::WarningUtils::get_warning_handler()), guard_(this) {}

  void process(const c10::Warning& warning) override {
    if (!absl::StrContains(warning.msg(), "single contiguous chunk")) {
      others_->process(warning);
    }
  }

 private:
  c10::WarningHandler* others_;
  c10::WarningUtils::WarningHandlerGuard guard_;
};

}  // namespace

// Layers of one direction, from the first token to the last.
class RecurrentStack : public Module {
 public:
  RecurrentStack(const SequenceEncoderConfig& config, const Initializer& init,
                 at::Generator generator)
      : cell_(config.cell),
        units_(config.dim / 2),
        dropout_(config.recurrent_dropout),
        generator_(std::move(generator)) {
    const int64_t gates = cell_ == RecurrentCell::kLstm ? 4 : 3;
    for (int64_t i = 0; i < config.recurrent_layers; ++i) {
      const int64_t in = i == 0 ? config.dim : units_;
      // TensorFlow's cells have one matrix for input and state; the forget gate
      // of an LSTM and both gates of a GRU start open.
      const at::Tensor weight =
          init.XavierUniform({gates * units_, in + units_});
      at::Tensor bias = init.Zeros({gates * units_});
      if (cell_ == RecurrentCell::kLstm) {
        bias.narrow(0, units_, units_).fill_(1);
      } else {
        bias.narrow(0, 0, 2 * units_).fill_(1);
      }
      layers_.push_back(
          {AddParameter(absl::StrCat("input_weight", i),
                        weight.narrow(1, 0, in).contiguous()),
           AddParameter(absl::StrCat("state_weight", i),
                        weight.narrow(1, in, units_).contiguous()),
           AddParameter(absl::StrCat("input_bias", i), bias),
           AddParameter(absl::StrCat("state_bias", i),
                        init.Zeros({gates * units_}))});
    }
  }

  // x: [batch, seq_len, dim] -> [batch, seq_len, units].
  at::Tensor Forward(const at::Tensor& x) const {
    const CompactionIsKnown quiet;
    at::Tensor h = x;
    const at::Tensor zero = at::zeros({1, x.size(0), units_}, x.options());
    for (const std::vector<at::Tensor>& parameters : layers_) {
      if (cell_ == RecurrentCell::kLstm) {
        h = std::get<0>(at::lstm(h, {zero, zero}, parameters,
                                 /*has_biases=*/true, /*num_layers=*/1,
                                 /*dropout=*/0, training(),
                                 /*bidirectional=*/false,
                                 /*batch_first=*/true));
      } else {
        h = std::get<0>(at::gru(h, zero, parameters, /*has_biases=*/true,
                                /*num_layers=*/1, /*dropout=*/0, training(),
                                /*bidirectional=*/false,
                                /*batch_first=*/true));
      }
      h = DropoutIfSeeded(h, dropout_, training(), generator_);
    }
    return h;
  }

 private:
  RecurrentCell cell_;
  int64_t units_;
  double dropout_;
  at::Generator generator_;
  std::vector<std::vector<at::Tensor>> layers_;
};

namespace {

// Where each position's mirror image within its sequence is: [batch, seq_len];
// padding stays.
at::Tensor ReversedWithinLength(const at::Tensor& mask) {
  const at::Tensor length = mask.sum(1, /*keepdim=*/true);
  const at::Tensor position =
      at::arange(mask.size(1), length.options()).unsqueeze(0);
  TORCH_CHECK(mask.equal(position < length),
              "mask: a recurrent encoder needs every sequence's tokens before "
              "its padding");
  return at::where(mask, length - 1 - position, position);
}

at::Tensor GatherTokens(const at::Tensor& x, const at::Tensor& index) {
  return x.gather(1, index.unsqueeze(-1).expand(x.sizes()));
}

}  // namespace

SequenceEncoder::SequenceEncoder(const SequenceEncoderConfig& config,
                                 const Initializer& init,
                                 at::Generator generator)
    : config_(config), generator_(generator) {
  TORCH_CHECK(config.vocab_size > 0 && config.dim > 0 && config.max_length > 0,
              "sequence encoder: vocab_size, dim and max_length must be "
              "positive, got ",
              config.vocab_size, ", ", config.dim, " and ", config.max_length);
  // BERT's own table in an encoder of attention alone.
  const std::vector<int64_t> table = {config.vocab_size, config.dim};
  embedding_ = AddParameter("embedding", config.attention_only()
                                             ? init.Normal(table, 0.02)
                                             : init.XavierUniform(table));
  if (!config.kernel_widths.empty()) {
    convolutions_ =
        AddModule<Convolutions>("convolutions", config, init, generator);
  }
  if (config.recurrent_layers > 0) {
    TORCH_CHECK(config.dim % 2 == 0, "sequence encoder: two directions share ",
                "dim, which is odd: ", config.dim);
    forward_ = AddModule<RecurrentStack>("forward", config, init, generator);
    backward_ = AddModule<RecurrentStack>("backward", config, init, generator);
  }
  if (config.attention_layers > 0) {
    TransformerConfig attention;
    attention.dim = config.dim;
    attention.num_layers = config.attention_layers;
    attention.num_heads = config.num_heads;
    attention.ffn_dim = config.ffn_dim;
    attention.max_positions = config.max_length;
    attention.num_types = 0;
    attention.norm_eps = 1e-12;
    attention.dropout = config.dropout;
    attention.attention_dropout = config.dropout;
    attention_ =
        AddModule<TransformerLayers>("attention", attention, init, generator);
  }
  pool_ = AddModule<Pool>("pool", config.pooling, config.dim, init);
}

at::Tensor SequenceEncoder::TokenVectors(const at::Tensor& tokens,
                                         const at::Tensor& mask) const {
  ShapeChecker check;
  check(tokens, {"batch", "seq_len"}, "tokens");
  check(mask, {"batch", "seq_len"}, "mask");
  CheckDtype(mask, at::kBool, "mask");
  TORCH_CHECK(tokens.size(1) <= config_.max_length, "tokens: ", tokens.size(1),
              " a sequence, and max_length is ", config_.max_length);
  at::Tensor x = at::embedding(
      config_.attention_only() ? embedding_
                               : DropoutIfSeeded(embedding_, config_.dropout,
                                                 training(), generator_),
      tokens);
  if (convolutions_ != nullptr) x = convolutions_->Forward(x, mask);
  if (forward_ != nullptr) {
    const at::Tensor reversed = ReversedWithinLength(mask);
    x = at::cat(
        {forward_->Forward(x),
         GatherTokens(backward_->Forward(GatherTokens(x, reversed)), reversed)},
        -1);
  }
  if (attention_ != nullptr) {
    const at::Tensor positions =
        at::arange(tokens.size(1), tokens.options()).unsqueeze(0);
    x = attention_->Forward(x, mask, positions);
  }
  return x;
}

at::Tensor SequenceEncoder::Forward(const at::Tensor& tokens,
                                    const at::Tensor& mask) const {
  return pool_->Forward(TokenVectors(tokens, mask), mask);
}

}  // namespace repro::encoder
