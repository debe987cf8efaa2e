// The chunked form. With w = [v, 1], so that one product serves numerator and
// denominator, and the state S = sum phi(k_i)^T w_i over the earlier chunks,
//
//   [o, z] = (F o M) W + phi(Q) S,  F = 1 + P + P^2 / 2,  P = Q K^T / sqrt(d),
//   y = o / (z + eps),              S <- S + phi(K)^T W,
//
// where M keeps i <= t. Backward, with g = [dy / (z + eps), -dy . y / (z +
// eps)], the gradient of [o, z], and B = sum phi(q_t)^T g_t over later chunks:
//
//   dP = (G W^T o M) o (1 + P),
//   dQ = dP K / sqrt(d) + J(Q)^T (G S^T),
//   dK = dP^T Q / sqrt(d) + J(K)^T (W B^T),
//   dW = (F o M)^T G + phi(K) B,
//
// J the Jacobian of phi.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <tuple>
#include <vector>

namespace repro {
namespace {

using OptionalTensor = std::optional<at::Tensor>;

constexpr int64_t kChunk = 64;

at::ScalarType AccumulationType(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

// [batch * heads, n, dim] of the accumulation dtype.
at::Tensor Rows(const at::Tensor& x) {
  return x.to(AccumulationType(x))
      .reshape({x.size(0) * x.size(1), x.size(2), x.size(3)});
}

// phi: [..., d] to [..., 1 + d + d^2].
at::Tensor Features(const at::Tensor& x) {
  const double d = static_cast<double>(x.size(-1));
  std::vector<int64_t> ones = x.sizes().vec();
  ones.back() = 1;
  const at::Tensor square =
      (x.unsqueeze(-1) * x.unsqueeze(-2)).flatten(-2) / std::sqrt(2 * d);
  return at::cat({at::ones(ones, x.options()), x / std::pow(d, 0.25), square},
                 -1);
}

// J(x)^T dphi. x: [..., d], dphi: [..., 1 + d + d^2].
at::Tensor FeaturesBackward(const at::Tensor& x, const at::Tensor& dphi) {
  const int64_t d = x.size(-1);
  const at::Tensor square = dphi.narrow(-1, 1 + d, d * d).unflatten(-1, {d, d});
  const at::Tensor dx =
      at::matmul(square + square.transpose(-1, -2), x.unsqueeze(-1))
          .squeeze(-1);
  return dphi.narrow(-1, 1, d) / std::pow(d, 0.25) + dx / std::sqrt(2.0 * d);
}

at::Tensor WithOnes(const at::Tensor& v) {
  return at::cat({v, at::ones({v.size(0), v.size(1), 1}, v.options())}, -1);
}

// S [batch * heads, features, value_dim + 1], a copy.
at::Tensor InitialState(const at::Tensor& q, const at::Tensor& v,
                        const OptionalTensor& kv, const OptionalTensor& k_sum) {
  const int64_t d = q.size(-1), features = 1 + d + d * d;
  const int64_t heads = q.size(0) * q.size(1);
  if (!kv.has_value()) {
    return at::zeros({heads, features, v.size(-1) + 1},
                     q.options().dtype(AccumulationType(q)));
  }
  return at::cat({kv->reshape({heads, features, v.size(-1)}),
                  k_sum->reshape({heads, features, 1})},
                 -1);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> Forward(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    bool normalize, double eps, const OptionalTensor& initial_kv,
    const OptionalTensor& initial_k) {
  const int64_t d = q.size(-1), value_dim = v.size(-1), length = q.size(2);
  const double scale = 1 / std::sqrt(static_cast<double>(d));
  const at::Tensor state = InitialState(q, v, initial_kv, initial_k);
  const at::Tensor sums =
      at::empty({state.size(0), length, value_dim + 1}, state.options());
  if (sums.numel() > 0) {
    const at::Tensor q_rows = Rows(q), k_rows = Rows(k),
                     w_rows = WithOnes(Rows(v));
    for (int64_t start = 0; start < length; start += kChunk) {
      const int64_t rows = std::min(kChunk, length - start);
      const at::Tensor queries = q_rows.narrow(1, start, rows);
      const at::Tensor keys = k_rows.narrow(1, start, rows);
      const at::Tensor values = w_rows.narrow(1, start, rows);
      const at::Tensor p = at::bmm(queries, keys.transpose(1, 2)) * scale;
      const at::Tensor f = (1 + p + p * p / 2).tril();
      sums.narrow(1, start, rows)
          .copy_(at::bmm(f, values) + at::bmm(Features(queries), state));
      state.baddbmm_(Features(keys).transpose(1, 2), values);
    }
  }
  at::Tensor y = sums.narrow(-1, 0, value_dim);
  at::Tensor denominator = at::empty({0}, sums.options());
  if (normalize) {
    denominator = sums.select(-1, value_dim) + eps;
    y = y / denominator.unsqueeze(-1);
    denominator = denominator.reshape(q.sizes().slice(0, 3));
  }
  const at::IntArrayRef heads = q.sizes().slice(0, 2);
  return {y.to(v.scalar_type()).contiguous().view(v.sizes()), denominator,
          state.narrow(-1, 0, value_dim)
              .contiguous()
              .view({heads[0], heads[1], state.size(1), value_dim}),
          state.select(-1, value_dim)
              .contiguous()
              .view({heads[0], heads[1], state.size(1)})};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> Backward(
    const at::Tensor& dy, const at::Tensor& q, const at::Tensor& k,
    const at::Tensor& v, const at::Tensor& y, const at::Tensor& denominator,
    bool normalize, const OptionalTensor& initial_kv,
    const OptionalTensor& initial_k) {
  const int64_t d = q.size(-1), value_dim = v.size(-1), length = q.size(2);
  const double scale = 1 / std::sqrt(static_cast<double>(d));
  if (q.numel() == 0 || v.numel() == 0) {
    return {at::zeros_like(q), at::zeros_like(k), at::zeros_like(v)};
  }
  const at::Tensor q_rows = Rows(q), k_rows = Rows(k),
                   w_rows = WithOnes(Rows(v));
  at::Tensor g_rows = Rows(dy);
  if (normalize) {
    const at::Tensor dz = -(g_rows * Rows(y)).sum(-1, /*keepdim=*/true);
    g_rows = at::cat({g_rows, dz}, -1) / denominator.reshape({-1, length, 1});
  } else {
    g_rows = at::cat(
        {g_rows, at::zeros({g_rows.size(0), length, 1}, g_rows.options())}, -1);
  }
  const at::Tensor dq = at::empty_like(q_rows), dk = at::empty_like(k_rows),
                   dv =
                       at::empty({dq.size(0), length, value_dim}, dq.options());

  at::Tensor state = InitialState(q, v, initial_kv, initial_k);
  for (int64_t start = 0; start < length; start += kChunk) {
    const int64_t rows = std::min(kChunk, length - start);
    const at::Tensor queries = q_rows.narrow(1, start, rows);
    const at::Tensor keys = k_rows.narrow(1, start, rows);
    const at::Tensor values = w_rows.narrow(1, start, rows);
    const at::Tensor g = g_rows.narrow(1, start, rows);
    const at::Tensor p = at::bmm(queries, keys.transpose(1, 2)) * scale;
    const at::Tensor dp = at::bmm(g, values.transpose(1, 2)).tril() * (1 + p);
    dq.narrow(1, start, rows)
        .copy_(at::bmm(dp, keys) * scale +
               FeaturesBackward(queries, at::bmm(g, state.transpose(1, 2))));
    dk.narrow(1, start, rows)
        .copy_(at::bmm(dp.transpose(1, 2), queries) * scale);
    const at::Tensor f = (1 + p + p * p / 2).tril();
    dv.narrow(1, start, rows)
        .copy_(at::bmm(f.transpose(1, 2), g).narrow(-1, 0, value_dim));
    state.baddbmm_(Features(keys).transpose(1, 2), values);
  }

  state.zero_();  // now B, from the end
  for (int64_t start = (length - 1) / kChunk * kChunk; start >= 0;
       start -= kChunk) {
    const int64_t rows = std::min(kChunk, length - start);
    const at::Tensor queries = q_rows.narrow(1, start, rows);
    const at::Tensor keys = k_rows.narrow(1, start, rows);
    const at::Tensor values = w_rows.narrow(1, start, rows);
    const at::Tensor g = g_rows.narrow(1, start, rows);
    dk.narrow(1, start, rows)
        .add_(FeaturesBackward(keys, at::bmm(values, state.transpose(1, 2))));
    dv.narrow(1, start, rows)
        .add_(at::bmm(Features(keys), state).narrow(-1, 0, value_dim));
    state.baddbmm_(Features(queries).transpose(1, 2), g);
  }
  return {dq.reshape(q.sizes()).to(q.scalar_type()),
          dk.reshape(k.sizes()).to(k.scalar_type()),
          dv.reshape(v.sizes()).to(v.scalar_type())};
}

at::Tensor Step(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                const at::Tensor& kv, const at::Tensor& k_sum, bool normalize,
                double eps) {
  const auto type = AccumulationType(q);
  const at::Tensor phi_q = Features(q.to(type)), phi_k = Features(k.to(type));
  kv.add_(phi_k.unsqueeze(-1) * v.to(type).unsqueeze(-2));
  k_sum.add_(phi_k);
  at::Tensor y = at::matmul(phi_q.unsqueeze(-2), kv).squeeze(-2);
  if (normalize) y = y / ((phi_q * k_sum).sum(-1, /*keepdim=*/true) + eps);
  return y.to(v.scalar_type());
}

TORCH_LIBRARY_IMPL(repro, CPU, m) {
  m.impl("taylor_linear_attention_forward", Forward);
  m.impl("taylor_linear_attention_backward", Backward);
  m.impl("taylor_linear_attention_step_unchecked", Step);
}

}  // namespace
}  // namespace repro
