#include "papers/efficient_probing/probes.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/add.h>
#include <ATen/ops/batch_norm.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "common/tensor/check.h"

namespace repro::efficient_probing {
namespace {

constexpr double kQueryStd = 0.02;

void CheckTokens(const at::Tensor& x, int64_t dim) {
  CheckShape(x, {"batch", "num_tokens", dim}, "x");
  CheckFloating(x, "x");
  TORCH_CHECK(x.size(1) > 0, "x: no tokens in ", x.sizes());
}

at::Tensor As(const at::Tensor& parameter, const at::Tensor& x) {
  return parameter.scalar_type() == x.scalar_type()
             ? parameter
             : parameter.to(x.scalar_type());
}

at::Tensor SquareWeight(int64_t dim, const Initializer& init) {
  return init.UniformFanIn({dim, dim}, dim);
}

}  // namespace

FeatureNorm::FeatureNorm(int64_t dim, const Initializer& init)
    : running_mean_(AddBuffer("running_mean", init.Zeros({dim}))),
      running_var_(AddBuffer("running_var", init.Ones({dim}))) {}

at::Tensor FeatureNorm::Forward(const at::Tensor& x) {
  const int64_t dim = running_mean_.size(0);
  TORCH_CHECK(x.dim() >= 2 && x.size(-1) == dim, "x: expected [..., ", dim,
              "], got ", x.sizes());
  const at::Tensor rows = x.reshape({-1, dim});
  TORCH_CHECK(!training() || rows.size(0) > 1,
              "x: batch statistics of one row, ", x.sizes());
  return at::batch_norm(rows, {}, {}, running_mean_, running_var_, training(),
                        /*momentum=*/0.1, /*eps=*/1e-6,
                        /*cudnn_enabled=*/false)
      .view(x.sizes());
}

at::Tensor FirstToken::Forward(const at::Tensor& x) {
  CheckTokens(x, dim_);
  return x.select(1, 0);
}

MeanToken::MeanToken(int64_t dim, bool value_projection,
                     const Initializer& init)
    : dim_(dim) {
  if (value_projection) {
    value_ = AddModule<Linear>("v", SquareWeight(dim, init), at::Tensor());
  }
}

at::Tensor MeanToken::Forward(const at::Tensor& x) {
  CheckTokens(x, dim_);
  const at::Tensor mean = x.mean(1);
  return value_ == nullptr ? mean : value_->Forward(mean);
}

EfficientProbing::EfficientProbing(int64_t dim, int64_t num_queries,
                                   const Initializer& init,
                                   EfficientProbingOptions options)
    : dim_(dim),
      num_queries_(num_queries),
      output_dim_(options.output_dim == 0 ? dim : options.output_dim) {
  TORCH_CHECK(dim > 0 && num_queries > 0 && output_dim_ > 0 &&
                  output_dim_ % num_queries == 0,
              "EP: ", output_dim_, " outputs do not divide into ", num_queries,
              " queries' blocks");
  TORCH_CHECK(options.value_projection || output_dim_ == dim,
              "EP without W_V: ", output_dim_, " outputs of tokens of ", dim);
  queries_ =
      AddParameter("queries", init.Normal({num_queries, dim}, kQueryStd));
  if (options.value_projection) {
    value_ = AddParameter("v", init.UniformFanIn({output_dim_, dim}, dim));
  }
}

at::Tensor EfficientProbing::Attention(const at::Tensor& x) const {
  CheckTokens(x, dim_);
  const at::Tensor scaled =
      As(queries_, x) * (1 / std::sqrt(static_cast<double>(dim_)));
  // X U^T as one matrix product over all tokens of the batch.
  return at::linear(x, scaled).transpose(1, 2).softmax(-1);
}

at::Tensor EfficientProbing::Forward(const at::Tensor& x) {
  const at::Tensor weights = Attention(x);
  const int64_t batch = x.size(0), width = output_dim_ / num_queries_;
  if (!value_.defined()) {
    // Block j of the raw tokens is all that query j pools.
    const at::Tensor blocks =
        x.view({batch, -1, num_queries_, width}).transpose(1, 2);
    return at::matmul(weights.unsqueeze(2), blocks)
        .reshape({batch, output_dim_});
  }
  const at::Tensor pooled = at::bmm(weights, x);  // [batch, M, D]
  const at::Tensor blocks =
      As(value_, x).view({num_queries_, width, dim_}).transpose(1, 2);
  return at::bmm(pooled.transpose(0, 1), blocks)  // [M, batch, D_o / M]
      .transpose(0, 1)
      .reshape({batch, output_dim_});
}

at::Tensor EfficientProbing::ForwardAsCoded(const at::Tensor& x) {
  const at::Tensor weights = Attention(x);
  const int64_t batch = x.size(0);
  const at::Tensor values =
      (value_.defined() ? at::linear(x, As(value_, x)) : x)
          .reshape({batch, -1, num_queries_, output_dim_ / num_queries_})
          .transpose(1, 2);  // [batch, M, N, D_o / M]
  return at::matmul(weights.unsqueeze(2), values).reshape({batch, output_dim_});
}

AveragedQueries::AveragedQueries(int64_t dim, int64_t num_queries,
                                 const Initializer& init)
    : dim_(dim),
      queries_(
          AddParameter("queries", init.Normal({num_queries, dim}, kQueryStd))),
      key_(AddModule<Linear>("k", SquareWeight(dim, init), at::Tensor())) {}

at::Tensor AveragedQueries::Forward(const at::Tensor& x) {
  CheckTokens(x, dim_);
  const at::Tensor scaled =
      As(queries_, x) * (1 / std::sqrt(static_cast<double>(dim_)));
  const at::Tensor weights =
      at::linear(key_->Forward(x), scaled).transpose(1, 2).softmax(-1);
  // The mean over queries of A X is (mean of A) X.
  return at::bmm(weights.mean(1, /*keepdim=*/true), x).squeeze(1);
}

CrossAttention::CrossAttention(int64_t dim, int64_t num_heads,
                               const Initializer& init,
                               CrossAttentionOptions options)
    : dim_(dim), num_heads_(num_heads) {
  TORCH_CHECK(dim > 0 && num_heads > 0 && dim % num_heads == 0,
              "cross-attention: ", dim, " channels do not divide into ",
              num_heads, " heads");
  query_ = AddParameter("query", init.Normal({1, dim}, kQueryStd));
  if (options.normalize_tokens) norm_ = AddModule<FeatureNorm>("bn", dim, init);
  if (options.key_projection) {
    key_ = AddModule<Linear>("k", SquareWeight(dim, init), at::Tensor());
  }
  value_ = AddModule<Linear>("v", SquareWeight(dim, init), at::Tensor());
}

at::Tensor CrossAttention::Forward(const at::Tensor& x) {
  CheckTokens(x, dim_);
  const int64_t batch = x.size(0), width = dim_ / num_heads_;
  const at::Tensor tokens = norm_ == nullptr ? x : norm_->Forward(x);
  const auto heads = [&](const at::Tensor& y) {  // [batch, heads, N, width]
    return y.view({batch, -1, num_heads_, width}).transpose(1, 2);
  };
  const at::Tensor keys =
      heads(key_ == nullptr ? tokens : key_->Forward(tokens));
  const at::Tensor values = heads(value_->Forward(tokens));
  const at::Tensor query = As(query_, x).view({1, num_heads_, 1, width}) *
                           (1 / std::sqrt(static_cast<double>(width)));
  const at::Tensor weights =
      at::matmul(query, keys.transpose(-2, -1)).softmax(-1);
  return at::matmul(weights, values).reshape({batch, dim_});
}

Pooling* ProbeHead::AddPooling(const PoolingConfig& config,
                               const Initializer& init) {
  const std::string& name = config.name;
  const int64_t dim = config.dim;
  TORCH_CHECK(dim > 0 && config.queries > 0, name, ": ", dim, " channels, ",
              config.queries, " queries");
  TORCH_CHECK(config.output_dim == 0 || name == "ep", name,
              ": only ep has an output_dim");
  if (name == "first") return AddModule<FirstToken>("pooling", dim);
  if (name == "mean" || name == "mean_v") {
    return AddModule<MeanToken>("pooling", dim, name == "mean_v", init);
  }
  if (name == "ep" || name == "ep_no_v") {
    EfficientProbingOptions options;
    options.output_dim = config.output_dim;
    options.value_projection = name == "ep";
    return AddModule<EfficientProbing>("pooling", dim, config.queries, init,
                                       options);
  }
  if (name == "averaged") {
    return AddModule<AveragedQueries>("pooling", dim, config.queries, init);
  }
  CrossAttentionOptions options;
  options.normalize_tokens = name == "aim";
  options.key_projection = name != "mhca_no_k";
  TORCH_CHECK(name == "aim" || name == "mhca" || name == "mhca_no_k",
              "there is no pooling '", name, "'");
  return AddModule<CrossAttention>("pooling", dim, config.queries, init,
                                   options);
}

ProbeHead::ProbeHead(const PoolingConfig& config, int64_t num_classes,
                     const Initializer& init)
    : pooling_(AddPooling(config, init)),
      norm_(AddModule<FeatureNorm>("bn", pooling_->output_dim(), init)),
      classifier_(AddModule<Linear>("head", pooling_->output_dim(), num_classes,
                                    init)) {}

at::Tensor ProbeHead::Forward(const at::Tensor& x) {
  return classifier_->Forward(norm_->Forward(pooling_->Forward(x)));
}

namespace {

class Lars : public Optimizer {
 public:
  Lars(std::vector<at::Tensor> parameters, const LarsOptions& options)
      : Optimizer(std::move(parameters), {options.rate}),
        options_(options),
        momenta_(AddMoments()) {}

  void Step() override {
    at::NoGradGuard no_grad;
    for (size_t i = 0; i < parameters_.size(); ++i) {
      at::Tensor& w = parameters_[i];
      if (!w.grad().defined()) continue;
      at::Tensor g = w.grad();
      if (w.dim() > 1) {
        if (options_.weight_decay != 0) {
          g = at::add(g, w, options_.weight_decay);
        }
        // On the device: a read here would wait for it.
        const at::Tensor w_norm = w.norm(), g_norm = g.norm();
        const at::Tensor ratio = options_.trust * w_norm / g_norm;
        g = g * at::where((w_norm > 0).logical_and(g_norm > 0), ratio,
                          at::ones_like(ratio));
      }
      momenta_[i].mul_(options_.momentum).add_(g);
      w.add_(momenta_[i], -rates_[0]);
    }
  }

 private:
  const LarsOptions options_;
  std::vector<at::Tensor> momenta_;
};

}  // namespace

std::unique_ptr<Optimizer> MakeLars(std::vector<at::Tensor> parameters,
                                    const LarsOptions& options) {
  return std::make_unique<Lars>(std::move(parameters), options);
}

at::Tensor NearestNeighbours(const at::Tensor& train, const at::Tensor& labels,
                             const at::Tensor& test, int64_t k,
                             double temperature, int64_t num_classes) {
  ShapeChecker check;
  check(train, {"n", "dim"}, "train");
  check(labels, {"n"}, "labels");
  check(test, {"m", "dim"}, "test");
  CheckDtype(labels, at::kLong, "labels");
  TORCH_CHECK(train.size(0) > 0 && k >= 1 && temperature > 0,
              "k-NN: ", train.size(0), " training features, k ", k,
              ", temperature ", temperature);
  at::NoGradGuard no_grad;
  const auto normalized = [](const at::Tensor& x) {
    return x / x.norm(2, {1}, /*keepdim=*/true).clamp_min(1e-12);
  };
  const auto [similarity, nearest] =
      at::mm(normalized(test), normalized(train).t())
          .topk(std::min(k, train.size(0)), 1);
  // exp(s / T) over the largest of the row: the same winner, no overflow.
  const at::Tensor votes =
      ((similarity - similarity.amax(1, /*keepdim=*/true)) / temperature).exp();
  return at::zeros({test.size(0), num_classes}, votes.options())
      .scatter_add(
          1, labels.index_select(0, nearest.reshape(-1)).view(nearest.sizes()),
          votes)
      .argmax(1);
}

}  // namespace repro::efficient_probing
