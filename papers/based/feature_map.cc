#include "papers/based/feature_map.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/tril.h>

#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/tensor/check.h"

namespace repro::based {

absl::StatusOr<FeatureMap> ParseFeatureMap(absl::string_view name) {
  if (name == "taylor") return FeatureMap::kTaylor;
  if (name == "identity") return FeatureMap::kIdentity;
  if (name == "relu") return FeatureMap::kRelu;
  if (name == "square") return FeatureMap::kSquare;
  return absl::NotFoundError(absl::StrCat(
      "feature map '", name, "': write taylor, identity, relu or square"));
}

at::Tensor TaylorFeatures(const at::Tensor& x) {
  const double d = static_cast<double>(x.size(-1));
  const at::Tensor square = (x.unsqueeze(-1) * x.unsqueeze(-2)).flatten(-2);
  return at::cat({at::ones_like(x.narrow(-1, 0, 1)), x / std::pow(d, 0.25),
                  square / std::sqrt(2 * d)},
                 -1);
}

at::Tensor QuadraticLinearAttention(const at::Tensor& q, const at::Tensor& k,
                                    const at::Tensor& v, FeatureMap map,
                                    double eps) {
  TORCH_CHECK(
      q.sizes() == k.sizes() && q.dim() >= 2 && v.dim() == q.dim() &&
          q.sizes().slice(0, q.dim() - 1) == v.sizes().slice(0, v.dim() - 1),
      "linear attention: q ", q.sizes(), ", k ", k.sizes(), ", v ", v.sizes());
  const auto products = [](const at::Tensor& a, const at::Tensor& b) {
    return at::matmul(a, b.transpose(-1, -2));
  };
  at::Tensor f;
  switch (map) {
    case FeatureMap::kTaylor: {
      const at::Tensor s =
          products(q / std::sqrt(static_cast<double>(q.size(-1))), k);
      f = 1 + s + s * s / 2;
      break;
    }
    case FeatureMap::kIdentity:
      f = products(q, k);
      break;
    case FeatureMap::kRelu:
      f = products(at::relu(q), at::relu(k));
      break;
    case FeatureMap::kSquare:
      f = products(q * q, k * k);
      break;
  }
  f = at::tril(f);
  if (map == FeatureMap::kIdentity) {
    const at::Tensor keys =
        at::arange(1, v.size(-2) + 1, v.options().requires_grad(false));
    return at::matmul(f, v) / keys.unsqueeze(-1);
  }
  return at::matmul(f, v) / (f.sum(-1, /*keepdim=*/true) + eps);
}

double TaylorError(double s) { return std::exp(s) - (1 + s + s * s / 2); }

int64_t DistinctTaylorFeatures(int64_t feature_dim) {
  return 1 + feature_dim + feature_dim * (feature_dim + 1) / 2;
}

int64_t BaseConvStateSize(int64_t dim) { return 3 * dim; }

int64_t LinearStateSize(int64_t dim, int64_t feature_dim) {
  const int64_t features = DistinctTaylorFeatures(feature_dim);
  return dim * features + features;
}

int64_t SlidingStateSize(int64_t dim, int64_t window) {
  return 2 * dim * window;
}

double LinearAttentionFlops(int64_t tokens, int64_t heads, int64_t feature_dim,
                            int64_t value_dim) {
  const double features = 1.0 + feature_dim + feature_dim * feature_dim;
  return static_cast<double>(tokens) * heads *
         (2 * features + 4 * features * value_dim);
}

}  // namespace repro::based
