// T5's encoder-decoder (Raffel et al. 2020, arXiv 1910.10683): pre-norm with
// RMS norms, relative position bias, no biases elsewhere, no scale in
// attention.
//
//   EncoderDecoder model(config, init, dropout_generator);
//   at::Tensor states = model.Encode(source.tokens, source.mask);
//   at::Tensor logits = model.Decode(ShiftRight(labels, config), states,
//                                    source.mask);
//   at::Tensor loss = TokenCrossEntropy(logits, labels);  // objectives.h
//   std::vector<Generated> said = model.Generate(source.tokens, source.mask);
#ifndef REPRO_COMMON_ENCODER_ENCODER_DECODER_H_
#define REPRO_COMMON_ENCODER_ENCODER_DECODER_H_

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "common/encoder/masked_attention.h"
#include "common/nn/initializer.h"
#include "common/nn/layers.h"
#include "common/nn/llama.h"
#include "common/nn/module.h"

namespace repro::encoder {

struct EncoderDecoderConfig {
  int64_t vocab_size = 0;
  int64_t dim = 0;
  int64_t num_heads = 0;
  int64_t head_dim = 0;  // num_heads head_dim need not be dim
  int64_t ffn_dim = 0;
  int64_t encoder_layers = 0;
  int64_t decoder_layers = 0;
  int64_t num_buckets = 32;    // of relative positions
  int64_t max_distance = 128;  // beyond it all share a bucket
  bool gated_gelu = false;     // T5 1.1's feed-forward; false: T5's ReLU
  bool tie_embeddings =
      true;  // the head is the embedding, input times dim^-1/2
  double dropout = 0.1;
  double norm_eps = 1e-6;
  int64_t pad_id = 0;  // also what a target begins with
  int64_t eos_id = 1;

  // 2 + 2 layers of 128: for tests and two cores.
  static EncoderDecoderConfig Tiny(int64_t vocab_size);
  // T5-small: 6 + 6 layers of 512, 8 heads of 64, 2048.
  static EncoderDecoderConfig Small(int64_t vocab_size);
  // T5-large, and CodeT5+ 770M: 24 + 24 layers of 1024, 16 heads of 64, 4096;
  // 737,639,424 parameters with 32,100 tokens.
  static EncoderDecoderConfig Large(int64_t vocab_size);
};

struct GenerateOptions {
  int64_t max_length = 64;  // new tokens, the end token included
  int64_t num_beams = 1;    // 1: greedy
  // A beam's score is its log-probability over (its length)^length_penalty, the
  // length with the end token. The search ends when no beam that goes on can
  // have a better score than a finished one.
  double length_penalty = 1;
};

struct Generated {
  std::vector<int64_t> tokens;  // without start and end token
  bool finished = false;        // the end token came within max_length
  double log_probability = 0;   // of tokens, and of the end token if finished
};

// Shared "embedding"; "encoder" and "decoder" are modules of their own, so
// that parts of two models can be paired by name.
class EncoderDecoder : public Module {
 public:
  // Dropout draws from `generator`; undefined: no dropout, whatever the
  // configuration says.
  EncoderDecoder(const EncoderDecoderConfig& config, const Initializer& init,
                 at::Generator generator = {});
  ~EncoderDecoder() override;

  const EncoderDecoderConfig& config() const { return config_; }

  // tokens: int64 [batch, source_len]; mask: bool [batch, source_len] or
  // undefined -> [batch, source_len, dim].
  at::Tensor Encode(const at::Tensor& tokens, const at::Tensor& mask) const;

  // Teacher forcing: targets [batch, target_len] are the decoder's inputs
  // (ShiftRight of what it is to say); -> logits
  // [batch, target_len, vocab_size], position i of what follows targets[:i+1].
  at::Tensor Decode(const at::Tensor& targets, const at::Tensor& states,
                    const at::Tensor& source_mask) const;

  // One result a row, by greedy search or beam search with caches. Without
  // gradients and dropout.
  std::vector<Generated> Generate(const at::Tensor& tokens,
                                  const at::Tensor& mask,
                                  const GenerateOptions& options = {});

 private:
  struct Cache;
  class Stack;

  at::Tensor Logits(const at::Tensor& h) const;
  at::Tensor Step(const at::Tensor& tokens, const at::Tensor& source_mask,
                  Cache* cache) const;

  EncoderDecoderConfig config_;
  at::Generator generator_;
  at::Tensor embedding_;  // "embedding": [vocab_size, dim]
  at::Tensor head_;       // "head": [vocab_size, dim], unless tied
  Stack* encoder_;
  Stack* decoder_;
};

// [pad_id, labels[:, :-1]], with pad_id also for the ignored label -100.
at::Tensor ShiftRight(const at::Tensor& labels,
                      const EncoderDecoderConfig& config);

// T5's bucket of (source position - target position): int64 of any shape. In
// both directions half of the buckets each, exact below a quarter (half when
// causal), then logarithmic up to max_distance.
at::Tensor RelativePositionBucket(const at::Tensor& distance,
                                  bool bidirectional, int64_t num_buckets,
                                  int64_t max_distance);

}  // namespace repro::encoder

#endif  // REPRO_COMMON_ENCODER_ENCODER_DECODER_H_
