// CodeSearchNet's five encoders of token sequences (Husain et al. 2019, arXiv
// 1909.09436, section 4.1): one pipeline
//
//   embedding -> convolutions -> recurrent layers -> self-attention -> pooling
//
// of which a configuration leaves parts out.
//
//   SequenceEncoder code(SequenceEncoderConfig::SelfAttention(10000), init,
//                        dropout_generator);
//   at::Tensor vectors = code.Forward(batch.tokens, batch.mask);  // [batch,
//   dim]
//
// What stands in the padding, and how much of it there is, never changes an
// output, unless `mask_convolutions` is off.
#ifndef REPRO_COMMON_ENCODER_SEQUENCE_ENCODER_H_
#define REPRO_COMMON_ENCODER_SEQUENCE_ENCODER_H_

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/encoder/transformer_encoder.h"
#include "common/nn/initializer.h"
#include "common/nn/layers.h"
#include "common/nn/module.h"

namespace repro::encoder {

enum class Pooling {
  kMean,
  kMax,
  // sum_i w_i h_i / (sum_i w_i + 1e-8), w_i = sigmoid(u h_i), u learned.
  kWeightedMean,
};

// One vector of each sequence. A sequence without a token gives 0.
class Pool : public Module {
 public:
  Pool(Pooling pooling, int64_t dim, const Initializer& init);

  // h: [batch, seq_len, dim], mask: bool [batch, seq_len] -> [batch, dim].
  at::Tensor Forward(const at::Tensor& h, const at::Tensor& mask) const;

 private:
  Pooling pooling_;
  at::Tensor weight_;  // "weight": [dim], u; only of kWeightedMean
};

enum class RecurrentCell { kGru, kLstm };

struct SequenceEncoderConfig {
  int64_t vocab_size = 0;
  int64_t dim = 128;  // of the embedding, of every layer and of the output
  int64_t max_length = 200;
  Pooling pooling = Pooling::kWeightedMean;
  // Of the embedding table's entries (as the authors' code has it; not in an
  // encoder of self-attention alone), after each convolution and inside
  // self-attention.
  double dropout = 0.1;

  // Each: x = dropout(tanh(conv(x) + x)), without "+ x" in the first; zero
  // padding to the same length, the larger half on the right.
  std::vector<int64_t> kernel_widths;  // one a convolution; empty: none
  // Learned positions before the convolutions.
  bool convolution_positions = false;
  // Sets padding to 0 before each convolution. The authors' code does not: its
  // padding is the embedding of token 0 in sequences of exactly max_length.
  bool mask_convolutions = true;

  // A forward stack and a backward one of dim / 2 units each, which meet only
  // at the output (TensorFlow's bidirectional_dynamic_rnn).
  int64_t recurrent_layers = 0;
  // PyTorch's cells: its GRU has the reset gate after the state's product,
  // TensorFlow's before.
  RecurrentCell cell = RecurrentCell::kLstm;
  double recurrent_dropout = 0.2;  // of each layer's output

  int64_t attention_layers = 0;  // BERT's: learned positions, post-norm, GELU
  int64_t num_heads = 8;
  int64_t ffn_dim = 512;

  // The table is then BERT's: N(0, 0.02^2), without dropout of its own.
  bool attention_only() const {
    return kernel_widths.empty() && recurrent_layers == 0 &&
           attention_layers > 0;
  }

  // The authors' hyperparameters.
  static SequenceEncoderConfig BagOfWords(int64_t vocab_size);
  static SequenceEncoderConfig Convolution(int64_t vocab_size);
  static SequenceEncoderConfig Recurrent(int64_t vocab_size);
  static SequenceEncoderConfig SelfAttention(int64_t vocab_size);
  static SequenceEncoderConfig ConvolutionSelfAttention(int64_t vocab_size);

  // By the authors' name: "nbow", "1dcnn", "rnn", "selfatt", "convselfatt".
  // InvalidArgument lists them.
  static absl::StatusOr<SequenceEncoderConfig> ByName(absl::string_view name,
                                                      int64_t vocab_size);
};

class Convolutions;
class RecurrentStack;

class SequenceEncoder : public Module {
 public:
  // Dropout draws from `generator`; undefined: no dropout, whatever the
  // configuration says.
  SequenceEncoder(const SequenceEncoderConfig& config, const Initializer& init,
                  at::Generator generator = {});

  const SequenceEncoderConfig& config() const { return config_; }

  // tokens: int64 [batch, seq_len], seq_len <= max_length; mask: bool
  // [batch, seq_len], true for tokens, all of which stand before the padding
  // -> [batch, dim].
  at::Tensor Forward(const at::Tensor& tokens, const at::Tensor& mask) const;
  // Before pooling: [batch, seq_len, dim].
  at::Tensor TokenVectors(const at::Tensor& tokens,
                          const at::Tensor& mask) const;

 private:
  SequenceEncoderConfig config_;
  at::Generator generator_;
  at::Tensor embedding_;  // "embedding": [vocab_size, dim]
  Convolutions* convolutions_ = nullptr;
  RecurrentStack* forward_ = nullptr;
  RecurrentStack* backward_ = nullptr;
  TransformerLayers* attention_ = nullptr;
  Pool* pool_;
};

}  // namespace repro::encoder

#endif  // REPRO_COMMON_ENCODER_SEQUENCE_ENCODER_H_
