// Linear attention by a feature map, its quadratic form, and what the map and
// its states cost.
#ifndef REPRO_PAPERS_BASED_FEATURE_MAP_H_
#define REPRO_PAPERS_BASED_FEATURE_MAP_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace repro::based {

// phi(q) . phi(k), with d the last axis of q and k:
//   kTaylor    1 + s + s^2 / 2, s = q . k / sqrt(d)
//   kIdentity  q . k
//   kRelu      relu(q) . relu(k)
//   kSquare    q^2 . k^2, elementwise squares
enum class FeatureMap { kTaylor, kIdentity, kRelu, kSquare };

// "taylor", "identity", "relu", "square". NotFound: another name.
absl::StatusOr<FeatureMap> ParseFeatureMap(absl::string_view name);

// phi(x) = [1, x / d^(1/4), vec(x x^T) / (sqrt(2) sqrt(d))].
// x: [..., d] -> [..., 1 + d + d^2]. What kernels/taylor_linear_attention
// never writes down: for tests and for readers.
at::Tensor TaylorFeatures(const at::Tensor& x);

// y_t = sum_{i<=t} f_ti v_i / (sum_{i<=t} f_ti + eps), f = phi(q) . phi(k), by
// all seq_len^2 pairs. kIdentity's f has any sign, its sum can vanish: it is
// divided by the number of keys t instead. q, k: [..., seq_len, d], v: [...,
// seq_len, value_dim]. Differentiable.
at::Tensor QuadraticLinearAttention(const at::Tensor& q, const at::Tensor& k,
                                    const at::Tensor& v, FeatureMap map,
                                    double eps = 1e-12);

// exp(s) - (1 + s + s^2 / 2).
double TaylorError(double s);

// Different features of the map: 1 + d + d (d + 1) / 2, the square's symmetric
// half counted once.
int64_t DistinctTaylorFeatures(int64_t feature_dim);

// The paper's measure of a recurrent state, in numbers of 4 bytes, for one
// sequence and one layer of width `dim`.
int64_t BaseConvStateSize(int64_t dim);                     // 3 dim
int64_t LinearStateSize(int64_t dim, int64_t feature_dim);  // dim E + E
int64_t SlidingStateSize(int64_t dim, int64_t window);      // 2 dim window

// Multiply-adds counted as 2 of Taylor linear attention by states of all
// 1 + d + d^2 features: tokens heads (2 F + 4 F value_dim).
double LinearAttentionFlops(int64_t tokens, int64_t heads, int64_t feature_dim,
                            int64_t value_dim);

}  // namespace repro::based

#endif  // REPRO_PAPERS_BASED_FEATURE_MAP_H_
