#include "papers/softplus_attention/softplus_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/softplus.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/tensor/check.h"
#include "kernels/sliding_window_attention/sliding_window_attention.h"

namespace repro::softplus_attention {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Beyond this at::softplus is the identity. Its default, 20, leaves an error
// of 2e-9 that float64 sees; e^50 is finite in float32.
constexpr double kSoftplusThreshold = 50;

at::Tensor Softplus(const at::Tensor& z) {
  return at::softplus(z, /*beta=*/1, kSoftplusThreshold);
}

// phi(z); `top`, of exp alone, is subtracted from z first.
at::Tensor Phi(Activation activation, const at::Tensor& z,
               const at::Tensor& top) {
  switch (activation) {
    case Activation::kSoftplus:
      return Softplus(z);
    case Activation::kExponential:
      return (z - top).exp_();
    case Activation::kSigmoid:
      return at::sigmoid(z);
    case Activation::kRelu:
      return at::relu(z);
  }
  TORCH_CHECK(false, "unknown activation");
}

// phi'(z), 0 at masked scores.
at::Tensor Slope(Activation activation, const at::Tensor& z,
                 const at::Tensor& phi) {
  switch (activation) {
    case Activation::kSoftplus:
      return at::sigmoid(z);
    case Activation::kExponential:
      return phi;
    case Activation::kSigmoid:
      return phi * (1 - phi);
    case Activation::kRelu:
      return z.gt(0).to(z.scalar_type());
  }
  TORCH_CHECK(false, "unknown activation");
}

// Numbers of a tile's rows, as [1, rows, 1].
struct Rows {
  // Rows from `first` (0: the source's first token) on.
  Rows(int64_t first, int64_t count, const at::TensorOptions& options)
      : visible(at::arange(first + 1, first + count + 1, options)
                    .view({1, count, 1})),
        offset(visible.gt(kRowsWithoutOffset).to(visible.scalar_type())) {}

  at::Tensor visible;  // i
  at::Tensor offset;   // O
};

// One tile of queries: which keys it sees, and their scores.
class QueryTile {
 public:
  // q: [heads, target_len, d], k: [heads, source_len, d], all heads of all
  // sequences. The tile has rows begin ... begin + count - 1 of q.
  QueryTile(const AttentionForm& form, const at::Tensor& q, const at::Tensor& k,
            int64_t begin, int64_t count, int64_t key_tile)
      : bias_(form.bias),
        first_(k.size(1) - q.size(1) + begin),
        num_keys_(first_ + count),
        key_tile_(key_tile),
        q_(q.narrow(1, begin, count)),
        k_(k),
        rows_(first_, count, q.options()) {}

  const at::Tensor& q() const { return q_; }
  const Rows& rows() const { return rows_; }
  int64_t num_key_tiles() const {
    return (num_keys_ + key_tile_ - 1) / key_tile_;
  }

  // The rows of k, v or their gradients, [heads, source_len, ...], that belong
  // to one tile of keys.
  at::Tensor Keys(const at::Tensor& of, int64_t tile) const {
    return of.narrow(1, Begin(tile), End(tile) - Begin(tile));
  }

  // z, [heads, rows, keys], -inf at later keys. Computed once if it is all
  // that the rows have.
  at::Tensor Scores(int64_t tile) {
    if (only_.defined()) return only_;
    at::Tensor z = at::bmm(q_, Keys(k_, tile).transpose(1, 2));
    if (bias_ != 0) z.add_(bias_);
    if (End(tile) - 1 > first_) {
      z.masked_fill_(at::arange(Begin(tile) + 1, End(tile) + 1, q_.options())
                         .gt(rows_.visible),
                     -kInfinity);
    }
    if (num_key_tiles() == 1) only_ = z;
    return z;
  }

 private:
  int64_t Begin(int64_t tile) const { return tile * key_tile_; }
  int64_t End(int64_t tile) const {
    return std::min((tile + 1) * key_tile_, num_keys_);
  }

  const double bias_;
  const int64_t first_;  // the place of the first row in the source, from 0
  const int64_t num_keys_, key_tile_;
  const at::Tensor q_, k_;
  const Rows rows_;
  at::Tensor only_;
};

// What the second pass needs of the first, each [heads, rows, 1].
struct RowSums {
  at::Tensor divisor;  // of phi
  at::Tensor top;      // the largest z; used by exp
  at::Tensor log_max;  // ln of the largest A i - O; inf in an empty row
};

// max(A i - O, 0).
at::Tensor Excess(const at::Tensor& phi, const Rows& rows,
                  const at::Tensor& divisor) {
  return phi.mul(rows.visible / divisor).sub_(rows.offset).relu_();
}

RowSums FirstPass(const AttentionForm& form, QueryTile* tile) {
  const int64_t heads = tile->q().size(0), count = tile->q().size(1);
  const at::TensorOptions options = tile->q().options();
  RowSums sums;
  if (form.normalization != Normalization::kRowSum) {
    sums.divisor = form.normalization == Normalization::kNone
                       ? at::full({heads, count, 1}, 1, options)
                       : tile->rows().visible.expand({heads, count, 1});
    return sums;
  }
  at::Tensor sum = at::zeros({heads, count, 1}, options);
  at::Tensor top = at::full({heads, count, 1}, -kInfinity, options);
  for (int64_t t = 0; t < tile->num_key_tiles(); ++t) {
    const at::Tensor z = tile->Scores(t);
    const at::Tensor new_top = at::maximum(top, z.amax(-1, /*keepdim=*/true));
    if (form.activation == Activation::kExponential) {
      sum.mul_((top - new_top).exp_());
    }
    top = new_top;
    sum.add_(Phi(form.activation, z, top).sum(-1, /*keepdim=*/true));
  }
  // ReLU may leave nothing of a row: then all of phi is 0, whatever divides it.
  sums.divisor = sum.masked_fill_(sum.eq(0), 1);
  sums.top = top;
  if (form.power > 0) {
    const at::Tensor most =
        Excess(Phi(form.activation, top, top), tile->rows(), sums.divisor);
    const double rounding = 16 * (options.dtype() == at::kDouble
                                      ? std::numeric_limits<double>::epsilon()
                                      : std::numeric_limits<float>::epsilon());
    sums.log_max = most.log().masked_fill_(
        most.le(rounding * tile->rows().offset), kInfinity);
  }
  return sums;
}

// (A i - O)^p over the row's largest one.
at::Tensor Powers(const AttentionForm& form, const at::Tensor& excess,
                  const at::Tensor& log_max) {
  return excess.log().sub_(log_max).mul_(form.power).exp_();
}

// q: [heads, target_len, d], with the factors of the scores in it, k: [heads,
// source_len, d], v: [heads, source_len, value_dim].
class TiledAttention : public torch::autograd::Function<TiledAttention> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& q,
                            const at::Tensor& k, const at::Tensor& v,
                            const AttentionForm& form,
                            const AttentionTiles& tiles) {
    const int64_t target = q.size(1);
    std::vector<at::Tensor> outs, divisors, tops, log_maxima, totals;
    for (int64_t begin = 0; begin < target; begin += tiles.queries) {
      QueryTile tile(form, q, k, begin, std::min(tiles.queries, target - begin),
                     tiles.keys);
      const RowSums sums = FirstPass(form, &tile);
      at::Tensor out, total;
      for (int64_t t = 0; t < tile.num_key_tiles(); ++t) {
        at::Tensor weights = Phi(form.activation, tile.Scores(t), sums.top);
        if (form.power > 0) {
          weights = Powers(form, Excess(weights, tile.rows(), sums.divisor),
                           sums.log_max);
          const at::Tensor sum = weights.sum(-1, /*keepdim=*/true);
          total = t == 0 ? sum : total.add_(sum);
        }
        const at::Tensor part = at::bmm(weights, tile.Keys(v, t));
        out = t == 0 ? part : out.add_(part);
      }
      if (form.power > 0) {
        total.masked_fill_(total.eq(0), 1);  // empty rows
        totals.push_back(total);
        log_maxima.push_back(sums.log_max);
      }
      outs.push_back(out.div_(form.power > 0 ? total : sums.divisor));
      divisors.push_back(sums.divisor);
      if (sums.top.defined()) tops.push_back(sums.top);
    }
    const auto join = [](const std::vector<at::Tensor>& parts) {
      return parts.empty() ? at::Tensor() : at::cat(parts, 1);
    };
    const at::Tensor out = join(outs);
    context->save_for_backward({q, k, v, out, join(divisors), join(tops),
                                join(log_maxima), join(totals)});
    context->saved_data["activation"] = static_cast<int64_t>(form.activation);
    context->saved_data["normalization"] =
        static_cast<int64_t>(form.normalization);
    context->saved_data["bias"] = form.bias;
    context->saved_data["power"] = form.power;
    context->saved_data["queries"] = tiles.queries;
    context->saved_data["keys"] = tiles.keys;
    return out;
  }

  // With g the gradient of the output, dW = g v^T and s = g . out (the sum of
  // W dW over a row): for the log l = p ln t of t = A i - O,
  //   dl = W (dW - s),  dt = p dl / t,  dA = i dt,
  //   dphi = (dA - sum A dA) / Z = (i dt - O sum dt) / Z,
  // as sum t dt = p sum dl = 0. Without re-weighting dphi = (dW - s) / Z, and
  // dW over the divisor where that does not depend on the scores.
  static variable_list backward(AutogradContext* context,
                                const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &q = saved[0], &k = saved[1], &v = saved[2],
                     &out = saved[3];
    AttentionForm form;
    form.activation =
        static_cast<Activation>(context->saved_data["activation"].toInt());
    form.normalization = static_cast<Normalization>(
        context->saved_data["normalization"].toInt());
    form.bias = context->saved_data["bias"].toDouble();
    form.power = context->saved_data["power"].toDouble();
    const int64_t queries = context->saved_data["queries"].toInt();
    const int64_t key_tile = context->saved_data["keys"].toInt();
    const int64_t target = q.size(1);
    const double least = std::numeric_limits<float>::min();
    at::Tensor dk = at::zeros_like(k), dv = at::zeros_like(v);
    std::vector<at::Tensor> dqs;
    for (int64_t begin = 0; begin < target; begin += queries) {
      const int64_t count = std::min(queries, target - begin);
      const auto rows_of = [&](const at::Tensor& x) {
        return x.defined() ? x.narrow(1, begin, count) : x;
      };
      QueryTile tile(form, q, k, begin, count, key_tile);
      const at::Tensor g = rows_of(gradients[0]);
      const at::Tensor s = (g * rows_of(out)).sum(-1, /*keepdim=*/true);
      const at::Tensor divisor = rows_of(saved[4]), top = rows_of(saved[5]);
      const at::Tensor log_max = rows_of(saved[6]), total = rows_of(saved[7]);
      // Of a tile of keys: z, phi, W, and dt (without a power dW).
      struct Part {
        at::Tensor z, phi, weights, change;
      };
      const auto compute = [&](int64_t t) {
        Part part;
        part.z = tile.Scores(t);
        part.phi = Phi(form.activation, part.z, top);
        part.change = at::bmm(g, tile.Keys(v, t).transpose(1, 2));
        if (form.power == 0) {
          part.weights = part.phi / divisor;
          return part;
        }
        at::Tensor excess = Excess(part.phi, tile.rows(), divisor);
        part.weights = Powers(form, excess, log_max).div_(total);
        // Where t is 0, so is W.
        part.change.sub_(s)
            .mul_(part.weights)
            .mul_(form.power)
            .div_(excess.clamp_min_(least));
        return part;
      };
      Part only;
      at::Tensor sum;
      if (form.power > 0) {
        for (int64_t t = 0; t < tile.num_key_tiles(); ++t) {
          const Part part = compute(t);
          const at::Tensor of_keys = part.change.sum(-1, /*keepdim=*/true);
          sum = t == 0 ? of_keys : sum.add_(of_keys);
          if (tile.num_key_tiles() == 1) only = part;
        }
      }
      at::Tensor dq;
      for (int64_t t = 0; t < tile.num_key_tiles(); ++t) {
        Part part = only.phi.defined() ? only : compute(t);
        tile.Keys(dv, t).baddbmm_(part.weights.transpose(1, 2), g);
        if (form.power > 0) {
          part.change.mul_(tile.rows().visible).sub_(tile.rows().offset * sum);
        } else if (form.normalization == Normalization::kRowSum) {
          part.change.sub_(s);
        }
        const at::Tensor dz = part.change.div_(divisor).mul_(
            Slope(form.activation, part.z, part.phi));
        tile.Keys(dk, t).baddbmm_(dz.transpose(1, 2), tile.q());
        const at::Tensor of_keys = at::bmm(dz, tile.Keys(k, t));
        dq = t == 0 ? of_keys : dq.add_(of_keys);
      }
      dqs.push_back(dq);
    }
    return {at::cat(dqs, 1), dk, dv, at::Tensor(), at::Tensor()};
  }
};

at::ScalarType ComputeType(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

void CheckInputs(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                 const AttentionForm& form) {
  ShapeChecker check;
  check(q, {"batch", "heads", "target_len", "head_dim"}, "q");
  check(k, {"batch", "heads", "source_len", "head_dim"}, "k");
  check(v, {"batch", "heads", "source_len", "value_dim"}, "v");
  CheckFloating(q, "q");
  CheckDtype(k, q.scalar_type(), "k");
  CheckDtype(v, q.scalar_type(), "v");
  TORCH_CHECK(q.size(2) <= k.size(2), "q has ", q.size(2),
              " tokens, more than the ", k.size(2), " of k");
  TORCH_CHECK(form.power == 0 || form.power >= 1, "re-weighting by the power ",
              form.power, ", expected 0 for none or at least 1");
  TORCH_CHECK(form.power == 0 || form.normalization == Normalization::kRowSum,
              "re-weighting needs weights that sum to 1");
  TORCH_CHECK(form.window == 0,
              "a window is for softmax attention by Attend alone");
}

// x / |x|; of a zero vector, which has no direction, 0 without a gradient.
at::Tensor Unit(const at::Tensor& x) {
  const at::Tensor norm =
      at::linalg_vector_norm(x, 2, at::IntArrayRef{-1}, /*keepdim=*/true);
  return x / norm.masked_fill(norm.eq(0), kInfinity);
}

// Queries and keys whose products are the scores, in the type of computing.
struct Scored {
  at::Tensor q, k;
};

Scored PrepareScores(const at::Tensor& q, const at::Tensor& k,
                     const AttentionForm& form) {
  const at::ScalarType type = ComputeType(q);
  const auto head_dim = static_cast<double>(q.size(-1));
  if (!form.cosine) {
    return {q.to(type) * (1 / std::sqrt(head_dim)), k.to(type)};
  }
  const int64_t target = q.size(2), source = k.size(2);
  const at::TensorOptions options =
      at::TensorOptions(q.device()).dtype(at::kDouble);
  const at::Tensor length =
      form.scale_length > 0
          ? at::full({target}, static_cast<double>(form.scale_length), options)
          : at::arange(source - target + 1, source + 1, options);
  const at::Tensor scale =
      (length.log() * std::log(head_dim)).to(type).unsqueeze(-1);
  return {Unit(q.to(type)) * scale, Unit(k.to(type))};
}

}  // namespace

bool AttentionForm::IsSoftmax() const {
  return activation == Activation::kExponential && !cosine && bias == 0 &&
         normalization == Normalization::kRowSum && power == 0;
}

absl::StatusOr<AttentionForm> AttentionForm::Named(absl::string_view name,
                                                   int64_t training_length) {
  if (training_length < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("attention ", name, ": a training length of ",
                     training_length, ", expected at least 1"));
  }
  AttentionForm softmax;
  softmax.activation = Activation::kExponential;
  softmax.cosine = false;
  AttentionForm form;
  if (name == "lssa") return form;
  if (name == "softmax") return softmax;
  if (name == "softmax_window") {
    softmax.window = training_length;
    return softmax;
  }
  if (name == "softmax_reweighted") {
    softmax.power = kPowerForLength;
    return softmax;
  }
  if (name == "sigmoid") {
    form.activation = Activation::kSigmoid;
    form.normalization = Normalization::kNone;
    form.cosine = false;
    form.bias = -std::log(static_cast<double>(training_length));
    return form;
  }
  if (name == "relu") {
    form.activation = Activation::kRelu;
    form.normalization = Normalization::kVisibleKeys;
    form.cosine = false;
    return form;
  }
  form.power = kPowerForLength;
  if (name == "sigmoid_reweighted") {
    form.activation = Activation::kSigmoid;
    return form;
  }
  if (name == "relu_reweighted") {
    form.activation = Activation::kRelu;
    return form;
  }
  if (name == "lssar15_fixed_scale") {
    form.scale_length = training_length;
    return form;
  }
  absl::string_view rest = name;
  if (absl::ConsumePrefix(&rest, "lssar") &&
      absl::SimpleAtod(rest, &form.power) && form.power >= 1 &&
      std::isfinite(form.power)) {
    return form;
  }
  return absl::NotFoundError(absl::StrCat(
      "no attention \"", name,
      "\": write softmax, softmax_window, softmax_reweighted, sigmoid, "
      "sigmoid_reweighted, relu, relu_reweighted, lssa, lssar and a power >= "
      "1, "
      "or lssar15_fixed_scale"));
}

double LengthScale(int64_t head_dim, int64_t visible_keys) {
  return std::log(static_cast<double>(head_dim)) *
         std::log(static_cast<double>(visible_keys));
}

at::Tensor SoftplusAttention(const at::Tensor& q, const at::Tensor& k,
                             const at::Tensor& v, const AttentionForm& form,
                             const AttentionTiles& tiles) {
  CheckInputs(q, k, v, form);
  TORCH_CHECK(tiles.queries >= 1 && tiles.keys >= 1, "tiles of ", tiles.queries,
              " queries by ", tiles.keys, " keys, expected at least 1");
  const std::vector<int64_t> shape = {q.size(0), q.size(1), q.size(2),
                                      v.size(3)};
  if (q.size(0) * q.size(1) * q.size(2) == 0) {
    return at::zeros(shape, v.options());
  }
  const Scored scored = PrepareScores(q, k, form);
  return TiledAttention::apply(scored.q.flatten(0, 1), scored.k.flatten(0, 1),
                               v.to(ComputeType(v)).flatten(0, 1), form, tiles)
      .view(shape)
      .to(v.scalar_type());
}

at::Tensor MaterializedAttention(const at::Tensor& q, const at::Tensor& k,
                                 const at::Tensor& v,
                                 const AttentionForm& form) {
  CheckInputs(q, k, v, form);
  const int64_t target = q.size(2), source = k.size(2);
  const Scored scored = PrepareScores(q, k, form);
  const Rows rows(source - target, target, scored.q.options());
  const at::Tensor later =
      at::arange(1, source + 1, scored.q.options()).gt(rows.visible);
  const at::Tensor z =
      (at::matmul(scored.q, scored.k.transpose(-2, -1)) + form.bias)
          .masked_fill(later, -kInfinity);
  at::Tensor weights =
      Phi(form.activation, z, z.detach().amax(-1, /*keepdim=*/true));
  const auto normalize = [](const at::Tensor& x) {
    const at::Tensor sum = x.sum(-1, /*keepdim=*/true);
    return x / sum.masked_fill(sum.eq(0), 1);
  };
  if (form.normalization == Normalization::kRowSum) {
    weights = normalize(weights);
  } else if (form.normalization == Normalization::kVisibleKeys) {
    weights = weights / rows.visible;
  }
  if (form.power > 0) {
    weights = normalize(
        at::relu(weights * rows.visible - rows.offset).pow(form.power));
  }
  return at::matmul(weights, v.to(weights.scalar_type())).to(v.scalar_type());
}

at::Tensor Attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                  const AttentionForm& form) {
  if (!form.IsSoftmax()) return SoftplusAttention(q, k, v, form);
  if (form.window > 0) return SlidingWindowAttention(q, k, v, form.window);
  return at::scaled_dot_product_attention(q, k, v, /*attn_mask=*/{},
                                          /*dropout_p=*/0.0,
                                          /*is_causal=*/true);
}

at::Tensor AttentionWeights(const at::Tensor& q, const at::Tensor& k,
                            const AttentionForm& form) {
  const at::ScalarType type = ComputeType(q);
  const int64_t source = k.size(2);
  return SoftplusAttention(q.to(type), k.to(type),
                           at::eye(source, k.options().dtype(type))
                               .expand({k.size(0), k.size(1), source, source}),
                           form);
}

double LargestBase(double power, at::ScalarType dtype) {
  TORCH_CHECK(power >= 1, "power ", power, ", expected at least 1");
  const auto is_finite = [&](double x) {
    return at::full({}, std::pow(x, power), at::kDouble)
        .to(dtype)
        .isfinite()
        .item<bool>();
  };
  double low = 1, high = 2;
  while (is_finite(high)) high *= 2;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (is_finite(middle) ? low : high) = middle;
  }
  return low;
}

}  // namespace repro::softplus_attention
