#include "papers/positional_attention/positional_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/baddbmm.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>

#include "common/nn/attention.h"
#include "common/tensor/check.h"

namespace repro::positional_attention {
namespace {

// y = x W^T + b for stacked models. x [models, ..., in], weight
// [models, out, in], bias [models, out] -> [models, ..., out].
at::Tensor StackedLinear(const at::Tensor& x, const at::Tensor& weight,
                         const at::Tensor& bias) {
  const at::Tensor rows = x.flatten(1, -2);
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = weight.size(1);
  return at::baddbmm(bias.unsqueeze(1), rows, weight.transpose(1, 2))
      .view(shape);
}

// x weight + bias with the rows of x cut into `chunks` products a model.
// x [models, batch, seq_len, in] contiguous, weight [models, in, out], bias
// [models, 1, out] -> [models * chunks, batch * seq_len / chunks, out].
at::Tensor ChunkedProduct(const at::Tensor& x, const at::Tensor& weight,
                          const at::Tensor& bias, int64_t chunks) {
  const auto repeat = [chunks](const at::Tensor& t) {
    return t.unsqueeze(1).expand({-1, chunks, -1, -1}).flatten(0, 1);
  };
  return at::baddbmm(repeat(bias),
                     x.reshape({x.size(0) * chunks, -1, x.size(-1)}),
                     repeat(weight));
}

// Scores left rows^T of each sample: left [samples, m, F], rows
// [samples, seq_len, F] -> [samples, m, seq_len]. bmm's own backward gives the
// gradient of rows^T, whose transposed layout slows all that comes after.
class Scores : public torch::autograd::Function<Scores> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context,
                            const at::Tensor& left, const at::Tensor& rows) {
    context->save_for_backward({left, rows});
    return at::bmm(left, rows.transpose(1, 2));
  }

  static torch::autograd::variable_list backward(
      torch::autograd::AutogradContext* context,
      torch::autograd::variable_list gradients) {
    const torch::autograd::variable_list saved = context->get_saved_variables();
    const at::Tensor& gradient = gradients[0];
    at::Tensor rows_gradient;
    if (context->needs_input_grad(1)) {
      rows_gradient = at::bmm(gradient.transpose(1, 2), saved[0]);
    }
    return {at::bmm(gradient, saved[1]), rows_gradient};
  }
};

// One head's own block of rows for each head: [..., heads * rows, columns] ->
// [..., heads, rows, columns].
at::Tensor SplitRows(const at::Tensor& x, int64_t heads) {
  return x.unflatten(-2, {heads, x.size(-2) / heads});
}

}  // namespace

at::Tensor AttentionMap(const at::Tensor& z, const at::Tensor& qk_weight,
                        const at::Tensor& qk_bias, int64_t heads) {
  TORCH_CHECK(z.dim() >= 3, "z: expected [models, ..., seq_len, width], got ",
              z.sizes());
  const int64_t width = z.size(-1);
  CheckShape(qk_weight, {z.size(0), 2 * heads * width, width}, "qk_weight");
  CheckShape(qk_bias, {z.size(0), 2 * heads * width}, "qk_bias");
  const at::Tensor qk = StackedLinear(z, qk_weight, qk_bias)
                            .unflatten(-1, {heads, 2 * width})
                            .transpose(-3, -2);
  return SoftmaxAttentionMap(qk.narrow(-1, 0, width),
                             qk.narrow(-1, width, width));
}

at::Tensor ApplyAttention(const at::Tensor& map, const at::Tensor& x,
                          const at::Tensor& v_weight, const at::Tensor& v_bias,
                          const at::Tensor& o_weight,
                          const at::Tensor& o_bias) {
  ShapeChecker check;
  check(x, {"models", "batch", "seq_len", "dim"}, "x");
  check(v_weight, {"models", "dim", "dim"}, "v_weight");
  check(o_weight, {"models", "dim", "dim"}, "o_weight");
  if (map.dim() == 5) {
    check(map, {"models", "batch", "heads", "seq_len", "seq_len"}, "map");
  } else {
    check(map, {"models", "heads", "seq_len", "seq_len"}, "map");
  }
  const at::Tensor v =
      SplitHeads(StackedLinear(x, v_weight, v_bias), map.size(-3));
  const at::Tensor mixed =
      at::matmul(map.dim() == 5 ? map : map.unsqueeze(1), v);
  return StackedLinear(MergeHeads(mixed), o_weight, o_bias);
}

at::Tensor RotaryEmbedding(const at::Tensor& x, int64_t axis) {
  const int64_t width = x.size(-1);
  TORCH_CHECK(width % 2 == 0, "RotaryEmbedding: odd width in ", x.sizes());
  const at::Tensor rates =
      at::pow(10000.0, -at::arange(0, width, 2, x.options()) / width);
  const at::Tensor angles =
      at::arange(x.size(axis), x.options()).unsqueeze(1) * rates;
  // [length of axis, 1 for each axis between, width / 2]
  std::vector<int64_t> shape(x.dim(), 1);
  shape[axis < 0 ? axis + x.dim() : axis] = x.size(axis);
  shape.back() = width / 2;
  const at::Tensor cos = angles.cos().view(shape);
  const at::Tensor sin = angles.sin().view(shape);
  const at::Tensor pairs = x.unflatten(-1, {width / 2, 2});
  const at::Tensor even = pairs.select(-1, 0);
  const at::Tensor odd = pairs.select(-1, 1);
  return at::stack({even * cos - odd * sin, even * sin + odd * cos}, -1)
      .flatten(-2, -1);
}

int64_t NetworkConfig::num_layers() const {
  if (layers > 0) return layers;
  int64_t log2_n = 0;
  while ((int64_t{2} << log2_n) <= n) ++log2_n;
  return log2_n + 1;
}

int64_t NetworkConfig::qk_width() const {
  return architecture == Architecture::kPositional ? seq_len() : dim;
}

int64_t NetworkConfig::input_width() const {
  return architecture == Architecture::kPositional ? 1 : 1 + seq_len();
}

std::vector<Network::Piece> Network::Pieces(const NetworkConfig& config) {
  const int64_t layers = config.num_layers();
  const int64_t dim = config.dim;
  const int64_t width = config.qk_width();
  const int64_t qk = 2 * config.heads * width;
  const int64_t hidden = config.mlp_hidden;
  return {
      {"encoder.weight", {dim, config.input_width()}},
      {"encoder.bias", {dim}},
      {"qk.weight", {layers, qk, width}},
      {"qk.bias", {layers, qk}},
      {"v.weight", {layers, dim, dim}},
      {"v.bias", {layers, dim}},
      {"o.weight", {layers, dim, dim}},
      {"o.bias", {layers, dim}},
      {"mlp1.weight", {layers, hidden, 2 * dim}},
      {"mlp1.bias", {layers, hidden}},
      {"mlp2.weight", {layers, dim, hidden}},
      {"mlp2.bias", {layers, dim}},
      {"decoder.weight", {1, dim}},
      {"decoder.bias", {1}},
  };
}

Network::Network(const NetworkConfig& config,
                 const std::vector<Initializer>& inits)
    : config_(config), pieces_(Pieces(config)) {
  TORCH_CHECK(config.n >= 1 && config.layers >= 0 && config.heads >= 1 &&
                  config.mlp_hidden >= 1 && config.dim % config.heads == 0,
              "Network: n ", config.n, ", layers ", config.layers, ", heads ",
              config.heads, ", mlp_hidden ", config.mlp_hidden, ", dim ",
              config.dim, " (heads must divide dim)");
  TORCH_CHECK(!inits.empty(), "Network: at least one model needed");
  std::vector<at::Tensor> models;
  for (const Initializer& init : inits) {
    std::vector<at::Tensor> flat;
    for (size_t p = 0; p < pieces_.size(); p += 2) {  // a weight and its bias
      const bool attention = pieces_[p].name == "qk.weight" ||
                             pieces_[p].name == "v.weight" ||
                             pieces_[p].name == "o.weight";
      const bool per_layer = pieces_[p].shape.size() == 3;
      const int64_t layers = per_layer ? config.num_layers() : 1;
      const int64_t in = pieces_[p].shape.back();
      const int64_t out = pieces_[p].shape[per_layer ? 1 : 0];
      std::vector<at::Tensor> biases;
      for (int64_t layer = 0; layer < layers; ++layer) {
        flat.push_back((attention ? init.XavierUniform({out, in})
                                  : init.UniformFanIn({out, in}, in))
                           .flatten());
        biases.push_back(attention ? init.Zeros({out})
                                   : init.UniformFanIn({out}, in));
      }
      flat.insert(flat.end(), biases.begin(), biases.end());
    }
    models.push_back(at::cat(flat));
  }
  weights_ = AddParameter("weights", at::stack(models));
}

Network::Weights Network::Split() const {
  std::vector<int64_t> sizes;
  for (const Piece& piece : pieces_) {
    int64_t size = 1;
    for (const int64_t axis : piece.shape) size *= axis;
    sizes.push_back(size);
  }
  const std::vector<at::Tensor> parts = weights_.split_with_sizes(sizes, 1);
  Weights weights;
  for (size_t p = 0; p < pieces_.size(); ++p) {
    weights[pieces_[p].name] = parts[p].unflatten(1, pieces_[p].shape);
  }
  return weights;
}

at::Tensor Network::Parameter(const std::string& name) const {
  const Weights weights = Split();
  const auto found = weights.find(name);
  TORCH_CHECK(found != weights.end(), "Network: no parameter \"", name, "\"");
  return found->second;
}

at::Tensor Network::InputFeatures(const at::Tensor& values) const {
  CheckShape(values, {models(), "batch", config_.seq_len()}, "values");
  const at::Tensor x = values.unsqueeze(-1);
  if (config_.architecture == Architecture::kPositional) return x;
  const int64_t seq_len = config_.seq_len();
  const at::Tensor positions = at::eye(seq_len, values.options());
  return at::cat(
      {x, positions.expand({models(), values.size(1), seq_len, seq_len})}, -1);
}

at::Tensor Network::Forward(const at::Tensor& values,
                            std::vector<at::Tensor>* maps) const {
  Weights weights = Split();
  const at::Tensor positions =
      at::eye(config_.seq_len(), values.options()).expand({models(), -1, -1});
  at::Tensor x = StackedLinear(InputFeatures(values), weights["encoder.weight"],
                               weights["encoder.bias"]);
  for (int64_t layer = 0; layer < config_.num_layers(); ++layer) {
    const auto of = [&](const char* name) {
      return weights[name].select(1, layer);
    };
    const at::Tensor map = AttentionMap(
        config_.architecture == Architecture::kPositional ? positions : x,
        of("qk.weight"), of("qk.bias"), config_.heads);
    if (maps != nullptr) maps->push_back(map);
    const at::Tensor o = ApplyAttention(map, x, of("v.weight"), of("v.bias"),
                                        of("o.weight"), of("o.bias"));
    const at::Tensor hidden =
        StackedLinear(at::cat({x, o}, -1), of("mlp1.weight"), of("mlp1.bias"))
            .relu();
    x = StackedLinear(hidden, of("mlp2.weight"), of("mlp2.bias"));
  }
  return StackedLinear(x, weights["decoder.weight"], weights["decoder.bias"])
      .squeeze(-1);
}

// What ForwardFolded needs of one layer, with F the width of r. Views are made
// by split and unbind, whose gradients are one launch for all parts.
struct Network::Folded {
  // Transposed W_1x D and, for each head, W_1o W_o W_v D:
  // [models, (1 + heads) F, mlp_hidden].
  at::Tensor mix;
  at::Tensor mix_bias;  // c: [models, 1, mlp_hidden]
  // Positional: I and the heads' maps, rows (position, 1 + heads):
  // [models, seq_len (1 + heads), seq_len].
  at::Tensor maps;
  // Standard: r_i score + score_bias, cut into heads, times r_j is the score.
  at::Tensor score;       // [models, F, heads F]
  at::Tensor score_bias;  // [models, 1, heads F]
};

// weights: those with an axis of layers, of some consecutive layers; map: D
// [models, layers, dim, F], offset: d [models, layers, dim, 1].
std::vector<Network::Folded> Network::Fold(const Weights& weights,
                                           const at::Tensor& map,
                                           const at::Tensor& offset) const {
  const int64_t heads = config_.heads;
  const int64_t dim = config_.dim;
  const auto bias = [&](const char* name) {
    return weights.at(name).unsqueeze(-1);
  };

  const at::Tensor& w_v = weights.at("v.weight");
  const at::Tensor& w_o = weights.at("o.weight");
  const std::vector<at::Tensor> w_1 =
      weights.at("mlp1.weight").split(dim, -1);  // for x, for o
  const at::Tensor v = SplitRows(at::matmul(w_v, map), heads);
  const at::Tensor o =
      at::matmul(w_o.unflatten(-1, {heads, dim / heads}).transpose(-3, -2), v);
  const at::Tensor mix = at::cat({at::matmul(w_1[0], map).unsqueeze(-3),
                                  at::matmul(w_1[1].unsqueeze(-3), o)},
                                 -3)
                             .transpose(-2, -1)
                             .flatten(-3, -2);
  const at::Tensor o_bias =
      at::matmul(w_o, at::matmul(w_v, offset) + bias("v.bias")) +
      bias("o.bias");
  const at::Tensor mix_bias = (at::matmul(w_1[0], offset) +
                               at::matmul(w_1[1], o_bias) + bias("mlp1.bias"))
                                  .transpose(-2, -1);

  const int64_t layers = map.size(1);
  std::vector<Folded> folded(layers);
  const auto fill = [&](at::Tensor Folded::*field, const at::Tensor& all) {
    const std::vector<at::Tensor> parts = all.unbind(1);
    for (int64_t layer = 0; layer < layers; ++layer) {
      folded[layer].*field = parts[layer];
    }
  };
  fill(&Folded::mix, mix);
  fill(&Folded::mix_bias, mix_bias);
  if (config_.architecture == Architecture::kPositional) {
    // With P the identity, P W^T + b is W^T + b.
    const int64_t seq_len = config_.seq_len();
    const std::vector<at::Tensor> qk =
        SplitRows(weights.at("qk.weight") + bias("qk.bias"), 2 * heads)
            .transpose(-2, -1)
            .unflatten(-3, {heads, 2})
            .unbind(-3);
    const at::Tensor attention = SoftmaxAttentionMap(qk[0], qk[1]);
    const at::Tensor identity =
        at::eye(seq_len, attention.options())
            .expand({models(), layers, 1, seq_len, seq_len});
    fill(&Folded::maps,
         at::cat({identity, attention}, 2).transpose(2, 3).flatten(2, 3));
  } else {
    const at::Tensor& w_qk = weights.at("qk.weight");
    const std::vector<at::Tensor> qk =
        SplitRows(at::matmul(w_qk, map), 2 * heads)
            .unflatten(-3, {heads, 2})
            .unbind(-3);
    const at::Tensor q_bias =
        SplitRows(at::matmul(w_qk, offset) + bias("qk.bias"), 2 * heads)
            .unflatten(-3, {heads, 2})
            .select(-3, 0);
    // (W_k D)^T [W_q D, b] for each head, by the scale of equation 2.
    const std::vector<at::Tensor> score =
        (at::matmul(qk[1].transpose(-2, -1), at::cat({qk[0], q_bias}, -1)) /
         std::sqrt(static_cast<double>(config_.qk_width())))
            .split_with_sizes({map.size(-1), 1}, -1);
    fill(&Folded::score, score[0].flatten(-3, -2).transpose(-2, -1));
    fill(&Folded::score_bias, score[1].flatten(-3, -2).transpose(-2, -1));
  }
  return folded;
}

at::Tensor Network::ForwardFolded(const at::Tensor& values,
                                  int64_t chunks) const {
  const int64_t layers = config_.num_layers();
  const int64_t heads = config_.heads;
  const int64_t seq_len = config_.seq_len();
  TORCH_CHECK(chunks >= 1 && values.dim() == 3 &&
                  values.size(1) * seq_len % chunks == 0,
              "ForwardFolded: ", chunks, " chunks of values ", values.sizes());
  const int64_t batch = values.size(1);
  const int64_t samples = models() * batch;
  const bool positional = config_.architecture == Architecture::kPositional;

  // The first layer's D is the encoder; the others' is the MLP before them; the
  // last MLP's goes into the decoder.
  Weights weights = Split();
  Weights first, rest;
  for (const char* name : {"qk.weight", "qk.bias", "v.weight", "v.bias",
                           "o.weight", "o.bias", "mlp1.weight", "mlp1.bias"}) {
    const std::vector<at::Tensor> parts =
        weights.at(name).split_with_sizes({1, layers - 1}, 1);
    first[name] = parts[0];
    rest[name] = parts[1];
  }
  const std::vector<at::Tensor> w_2 =
      weights["mlp2.weight"].split_with_sizes({layers - 1, 1}, 1);
  const std::vector<at::Tensor> b_2 =
      weights["mlp2.bias"].unsqueeze(-1).split_with_sizes({layers - 1, 1}, 1);
  std::vector<Folded> folded =
      Fold(first, weights["encoder.weight"].unsqueeze(1),
           weights["encoder.bias"].view({models(), 1, config_.dim, 1}));
  if (layers > 1) {
    for (Folded& layer : Fold(rest, w_2[0], b_2[0])) {
      folded.push_back(std::move(layer));
    }
  }

  const at::Tensor identity = at::eye(seq_len, values.options())
                                  .unsqueeze(1)
                                  .expand({samples, seq_len, 1, seq_len});
  at::Tensor r = InputFeatures(values);  // [models, batch, seq_len, F]
  for (const Folded& layer : folded) {
    const int64_t f = r.size(-1);
    const at::Tensor rows = r.reshape({samples, seq_len, f});
    at::Tensor map;  // [samples, seq_len (1 + heads), seq_len]
    if (positional) {
      map = layer.maps.unsqueeze(1).expand({-1, batch, -1, -1}).flatten(0, 1);
    } else {
      const at::Tensor left =
          ChunkedProduct(r, layer.score, layer.score_bias, chunks)
              .view({samples, seq_len * heads, f});
      const at::Tensor attention =
          at::softmax(Scores::apply(left, rows), -1)
              .view({samples, seq_len, heads, seq_len});
      map = at::cat({identity, attention}, 2).flatten(1, 2);
    }
    const at::Tensor mixed =
        at::bmm(map, rows).view({models(), batch, seq_len, (1 + heads) * f});
    r = ChunkedProduct(mixed, layer.mix, layer.mix_bias, chunks)
            .relu_()
            .view({models(), batch, seq_len, config_.mlp_hidden});
  }

  const at::Tensor& decoder = weights["decoder.weight"];
  const at::Tensor out = at::bmm(decoder, w_2[1].squeeze(1));
  const at::Tensor out_bias = at::bmm(decoder, b_2[1].squeeze(1)) +
                              weights["decoder.bias"].unsqueeze(-1);
  return ChunkedProduct(r, out.transpose(1, 2), out_bias, chunks)
      .view({models(), batch, seq_len});
}

}  // namespace repro::positional_attention
