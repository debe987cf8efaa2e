// Multi-head attention under a mask, for encoders and decoders of papers on
// code.
#ifndef REPRO_COMMON_ENCODER_MASKED_ATTENTION_H_
#define REPRO_COMMON_ENCODER_MASKED_ATTENTION_H_

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "common/nn/initializer.h"
#include "common/nn/layers.h"
#include "common/nn/module.h"

namespace repro::encoder {

// What a mask and a bias do to the scores of attention. Layers that share a
// mask share this: to make it takes passes over tensors of the scores' size.
struct ScoreMask {
  at::Tensor added;  // to the scores; undefined: nothing
  at::Tensor
      empty;  // bool: targets that may attend to nothing; undefined: none
};

// For scores of [batch, heads, target_len, source_len] with the type and device
// of `scores`. mask: bool, true where a target may attend: [batch, source_len]
// for padding, [batch, target_len, source_len], or undefined for all. bias:
// floating, [1 or batch, 1 or heads, 1 or target_len, source_len], or
// undefined.
ScoreMask MakeScoreMask(const at::Tensor& mask, const at::Tensor& bias,
                        int64_t batch, int64_t target_len, int64_t source_len,
                        const at::TensorOptions& scores);

struct MaskedAttentionOptions {
  double scale = 1;
  double dropout = 0;  // of the map's entries; of the given generator
  bool training = false;
  at::Generator generator;
  at::Tensor* map = nullptr;  // receives [batch, heads, target_len, source_len]
};

// softmax(scale q k^T + bias + M) v with M = 0 where the mask is true and minus
// infinity elsewhere. q: [batch, heads, target_len, head_dim], k and v:
// [batch, heads, source_len, head_dim]. A target that may attend to nothing
// gets 0, so that whatever stands in the padding changes no output.
at::Tensor MaskedAttention(const at::Tensor& q, const at::Tensor& k,
                           const at::Tensor& v, const ScoreMask& mask,
                           const MaskedAttentionOptions& options);

// Of the tokens that may be attended to: [batch, heads, length, head_dim].
struct KeyValues {
  at::Tensor keys, values;
};

struct MultiHeadAttentionConfig {
  int64_t dim = 0;
  int64_t num_heads = 0;
  int64_t head_dim = 0;   // 0: dim / num_heads
  bool use_bias = true;   // in the four projections
  bool use_scale = true;  // 1 / sqrt(head_dim); T5 has none
  double dropout = 0;
  // Normal; T5's for each projection (Mesh TensorFlow) if 0: the query's
  // (dim head_dim)^-1/2, the key's and value's dim^-1/2, the output's
  // (num_heads head_dim)^-1/2.
  double init_std = 0.02;
};

// Parameters "query", "key", "value", "output", each Linear.
class MultiHeadAttention : public Module {
 public:
  // Dropout draws from `generator`, which may be undefined if dropout is 0.
  MultiHeadAttention(const MultiHeadAttentionConfig& config,
                     const Initializer& init, at::Generator generator = {});

  // target: [batch, target_len, dim], source: [batch, source_len, dim] ->
  // [batch, target_len, dim].
  at::Tensor Forward(const at::Tensor& target, const at::Tensor& source,
                     const ScoreMask& mask, at::Tensor* map = nullptr) const;

  // The parts of Forward, for caches. x: [batch, len, dim].
  KeyValues Project(const at::Tensor& x) const;
  // Puts those of x behind those of `all`, which may be undefined.
  void Append(const at::Tensor& x, KeyValues* all) const;
  at::Tensor Attend(const at::Tensor& target, const KeyValues& source,
                    const ScoreMask& mask, at::Tensor* map = nullptr) const;

 private:
  MultiHeadAttentionConfig config_;
  at::Generator generator_;
  Linear* query_;
  Linear* key_;
  Linear* value_;
  Linear* output_;
};

}  // namespace repro::encoder

#endif  // REPRO_COMMON_ENCODER_MASKED_ATTENTION_H_
