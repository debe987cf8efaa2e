#include "common/nn/attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/elu.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/softmax.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "common/tensor/check.h"

namespace repro {
namespace {

// Leading axes broadcast, so only the last two are compared.
void CheckAttentionInputs(const at::Tensor& q, const at::Tensor& k,
                          bool causal) {
  CheckFloating(q, "q");
  CheckFloating(k, "k");
  TORCH_CHECK(q.dim() >= 2 && k.dim() >= 2,
              "q and k: expected [..., length, head_dim], got ", q.sizes(),
              " and ", k.sizes());
  TORCH_CHECK(q.size(-1) == k.size(-1), "k: expected [..., source_len, ",
              "head_dim=", q.size(-1), "], got ", k.sizes());
  TORCH_CHECK(!causal || q.size(-2) == k.size(-2),
              "k: causal attention expected [..., source_len=", q.size(-2),
              ", head_dim], got ", k.sizes());
}

void CheckValues(const at::Tensor& k, const at::Tensor& v) {
  TORCH_CHECK(v.dim() >= 2 && v.size(-2) == k.size(-2),
              "v: expected [..., source_len=", k.size(-2), ", value_dim], got ",
              v.sizes());
}

at::Tensor FeatureMap(const at::Tensor& x) { return at::elu(x) + 1; }

}  // namespace

at::Tensor SoftmaxAttentionMap(const at::Tensor& q, const at::Tensor& k,
                               bool causal, std::optional<double> scale) {
  CheckAttentionInputs(q, k, causal);
  const double factor =
      scale.value_or(1 / std::sqrt(static_cast<double>(q.size(-1))));
  at::Tensor scores = at::matmul(q * factor, k.transpose(-2, -1));
  if (causal) {
    const int64_t n = q.size(-2);
    const at::Tensor future =
        at::ones({n, n}, scores.options().dtype(at::kBool)).triu(1);
    scores =
        scores.masked_fill(future, -std::numeric_limits<double>::infinity());
  }
  return at::softmax(scores, -1);
}

at::Tensor SoftmaxAttention(const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v, bool causal,
                            std::optional<double> scale) {
  CheckValues(k, v);
  return at::matmul(SoftmaxAttentionMap(q, k, causal, scale), v);
}

at::Tensor LinearAttention(const at::Tensor& q, const at::Tensor& k,
                           const at::Tensor& v, bool causal, double eps) {
  CheckAttentionInputs(q, k, causal);
  CheckValues(k, v);
  const at::Tensor phi_q = FeatureMap(q), phi_k = FeatureMap(k);
  if (!causal) {
    const at::Tensor state = at::matmul(phi_k.transpose(-2, -1), v);
    const at::Tensor mass = phi_k.sum(-2).unsqueeze(-1);
    return at::matmul(phi_q, state) / (at::matmul(phi_q, mass) + eps);
  }

  constexpr int64_t kChunk = 64;
  std::vector<at::Tensor> outputs;
  at::Tensor state, mass;  // over all earlier chunks
  const int64_t length = q.size(-2);
  for (int64_t begin = 0; begin < length; begin += kChunk) {
    const int64_t size = std::min(kChunk, length - begin);
    const at::Tensor qc = phi_q.narrow(-2, begin, size);
    const at::Tensor kc = phi_k.narrow(-2, begin, size);
    const at::Tensor vc = v.narrow(-2, begin, size);
    const at::Tensor weights = at::matmul(qc, kc.transpose(-2, -1)).tril();
    at::Tensor numerator = at::matmul(weights, vc);
    at::Tensor denominator = weights.sum(-1, /*keepdim=*/true);
    const at::Tensor chunk_state = at::matmul(kc.transpose(-2, -1), vc);
    const at::Tensor chunk_mass = kc.sum(-2).unsqueeze(-1);
    if (begin == 0) {
      state = chunk_state;
      mass = chunk_mass;
    } else {
      numerator = numerator + at::matmul(qc, state);
      denominator = denominator + at::matmul(qc, mass);
      state = state + chunk_state;
      mass = mass + chunk_mass;
    }
    outputs.push_back(numerator / (denominator + eps));
  }
  if (outputs.empty())
    return at::matmul(phi_q, phi_k.transpose(-2, -1)).matmul(v);
  return at::cat(outputs, -2);
}

at::Tensor SplitHeads(const at::Tensor& x, int64_t heads) {
  TORCH_CHECK(x.dim() >= 2 && heads > 0 && x.size(-1) % heads == 0,
              "x: expected [..., seq_len, heads * head_dim] with heads=", heads,
              ", got ", x.sizes());
  return x.unflatten(-1, {heads, x.size(-1) / heads}).transpose(-3, -2);
}

at::Tensor MergeHeads(const at::Tensor& x) {
  TORCH_CHECK(x.dim() >= 3, "x: expected [..., heads, seq_len, head_dim], got ",
              x.sizes());
  return x.transpose(-3, -2).flatten(-2);
}

}  // namespace repro
