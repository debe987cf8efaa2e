// Positional attention and the standard attention that it is compared with
// (Back de Luca et al. 2025, arXiv 2410.01686): one network with two ways to
// make its attention maps.
//
// Everything is stacked: `models` independent networks (seeds, tasks) are the
// leading axis of every tensor and run as batched products. README.md numbers
// the equations.
#ifndef REPRO_PAPERS_POSITIONAL_ATTENTION_POSITIONAL_ATTENTION_H_
#define REPRO_PAPERS_POSITIONAL_ATTENTION_POSITIONAL_ATTENTION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "common/nn/initializer.h"
#include "common/nn/module.h"

namespace repro::positional_attention {

// Equations 1 and 2: [q; k] = W_qk z + b_qk for each row z, each head with its
// own q and k of z's full width; softmax(q k^T / sqrt(width)), unmasked.
//   z         [models, ..., seq_len, width]
//   qk_weight [models, 2 heads width, width], rows (head, q or k, width)
//   qk_bias   [models, 2 heads width]
// -> [models, ..., heads, seq_len, seq_len]; row i holds the weights with which
// position i sees all positions, and sums to 1.
// With z the position encodings P it is positional attention; with z the
// hidden states it is standard attention.
at::Tensor AttentionMap(const at::Tensor& z, const at::Tensor& qk_weight,
                        const at::Tensor& qk_bias, int64_t heads);

// Equation 3: o = W_o concat_head(A_head v_head) + b_o, v = W_v x + b_v split
// into heads.
//   map            [models, (batch,) heads, seq_len, seq_len]; without the
//                  batch axis one map serves the whole batch
//   x              [models, batch, seq_len, dim]
//   W_v, W_o       [models, dim, dim];  b_v, b_o [models, dim]
// -> [models, batch, seq_len, dim].
at::Tensor ApplyAttention(const at::Tensor& map, const at::Tensor& x,
                          const at::Tensor& v_weight, const at::Tensor& v_bias,
                          const at::Tensor& o_weight, const at::Tensor& o_bias);

// Rotary embedding (Su et al. 2021) with positions counted along `axis` of x
// [..., width], width even: the pair (x_2k, x_2k+1) at position t is turned by
// t 10000^(-2k / width). The released RoPE runs count along the axis of heads.
at::Tensor RotaryEmbedding(const at::Tensor& x, int64_t axis);

enum class Architecture { kPositional, kStandard };

struct NetworkConfig {
  Architecture architecture = Architecture::kPositional;
  int64_t n = 8;       // numbers; a zero scratchpad node is appended
  int64_t layers = 0;  // 0: floor(log2 n) + 1, as published
  int64_t dim = 64;
  int64_t heads = 2;
  int64_t mlp_hidden = 64;

  int64_t seq_len() const { return n + 1; }
  int64_t num_layers() const;
  // Of what q and k are made: P's width seq_len, or dim.
  int64_t qk_width() const;
  // The value alone, or the value and its row of P.
  int64_t input_width() const;
};

// Encoder, layers x <- MLP([x; o]), decoder (equations 4 and 5). No residual,
// no normalisation, no dropout.
//
// All parameters are views of one tensor "weights" [models, P], so that an
// optimiser's update is a few launches whatever the number of parameters.
class Network : public Module {
 public:
  // One initialiser a model, in its order: q and k, v and o by Xavier's rule
  // with zero bias (q and k of all heads as one matrix), all else as
  // torch.nn.Linear.
  Network(const NetworkConfig& config, const std::vector<Initializer>& inits);

  const NetworkConfig& config() const { return config_; }
  int64_t models() const { return weights_.size(0); }
  int64_t parameters_per_model() const { return weights_.size(1); }

  // A parameter as a view [models, ...] of "weights": "encoder.weight",
  // "encoder.bias", "decoder.weight", "decoder.bias", and with an axis of
  // layers after the models "qk", "v", "o", "mlp1", "mlp2" (".weight",
  // ".bias"). Weights are [out, in].
  at::Tensor Parameter(const std::string& name) const;

  // values [models, batch, seq_len], the last of each row the scratchpad's 0
  // -> [models, batch, seq_len]. Computed equation by equation. `maps`, if
  // given, gets each layer's attention map.
  at::Tensor Forward(const at::Tensor& values,
                     std::vector<at::Tensor>* maps = nullptr) const;

  // The same function of the same parameters, faster. Between two ReLUs a
  // layer is linear but for its attention map, so products of weights are
  // formed before they meet the data: with x = D r + d (r the last ReLU's
  // output, D and d the linear map after it, or the encoder)
  //   h_i = (W_1x D) r_i + sum_head (W_1o W_o,head W_v,head D) sum_j A_ij r_j
  //         + c,
  // where c gathers all biases since a map's rows sum to 1; and standard
  // scores are r_i (W_q D)^T (W_k D) r_j plus a term linear in r_j, up to
  // terms that softmax drops. Per token and layer that is 12 thousand
  // multiply-adds for 21 thousand (positional) and 23 for 39 (standard).
  // `chunks` divides batch * seq_len: products over tokens are cut into so many
  // parts, whose weight gradients are summed: parallelism for a GPU.
  at::Tensor ForwardFolded(const at::Tensor& values, int64_t chunks = 1) const;

 private:
  struct Piece {
    std::string name;
    std::vector<int64_t> shape;  // of one model
  };
  struct Folded;
  using Weights = std::map<std::string, at::Tensor>;

  static std::vector<Piece> Pieces(const NetworkConfig& config);
  Weights Split() const;
  // values with P's rows appended for the standard network:
  // [models, batch, seq_len, input_width].
  at::Tensor InputFeatures(const at::Tensor& values) const;
  std::vector<Folded> Fold(const Weights& weights, const at::Tensor& map,
                           const at::Tensor& offset) const;

  NetworkConfig config_;
  std::vector<Piece> pieces_;
  at::Tensor weights_;
};

}  // namespace repro::positional_attention

#endif  // REPRO_PAPERS_POSITIONAL_ATTENTION_POSITIONAL_ATTENTION_H_
