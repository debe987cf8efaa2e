// The attention that papers compare with, as functions.
//
// Shapes: q [..., target_len, head_dim], k [..., source_len, head_dim],
// v [..., source_len, value_dim] -> [..., target_len, value_dim], usually with
// leading axes [batch, heads]. Leading axes broadcast, so that one attention
// map may serve a whole batch of v.
#ifndef REPRO_COMMON_NN_ATTENTION_H_
#define REPRO_COMMON_NN_ATTENTION_H_

#include <ATen/core/Tensor.h>

#include <optional>

namespace repro {

// softmax(scale q k^T) v; scale is 1 / sqrt(head_dim) unless given. Causal:
// target i sees sources j <= i (target_len = source_len). Materialises the
// map, so it is the reference and the baseline for short sequences.
at::Tensor SoftmaxAttention(const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v, bool causal = false,
                            std::optional<double> scale = std::nullopt);

// The map alone: [..., target_len, source_len], rows sum to 1.
at::Tensor SoftmaxAttentionMap(const at::Tensor& q, const at::Tensor& k,
                               bool causal = false,
                               std::optional<double> scale = std::nullopt);

// Linear attention (Katharopoulos et al. 2020, eqs. 5-7):
// phi(q_i)^T sum_j phi(k_j) v_j^T / (phi(q_i)^T sum_j phi(k_j) + eps),
// phi(x) = elu(x) + 1. Causal sums run over j <= i, in chunks of 64 with a
// carried [head_dim, value_dim] state. Time and memory linear in length.
at::Tensor LinearAttention(const at::Tensor& q, const at::Tensor& k,
                           const at::Tensor& v, bool causal = false,
                           double eps = 1e-6);

// [batch, seq_len, heads * head_dim] -> [batch, heads, seq_len, head_dim], and
// back. Any leading axes in place of batch.
at::Tensor SplitHeads(const at::Tensor& x, int64_t heads);
at::Tensor MergeHeads(const at::Tensor& x);

}  // namespace repro

#endif  // REPRO_COMMON_NN_ATTENTION_H_
