#include <ATen/TensorOperators.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/matmul.h>
#include <torch/library.h>

#include <limits>
#include <tuple>

namespace repro {
namespace {

std::tuple<at::Tensor, at::Tensor> PagedDotProductCpu(const at::Tensor& q,
                                                      const at::Tensor& k_pool,
                                                      const at::Tensor& slots,
                                                      bool interleaved) {
  const auto type = q.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const int64_t heads = q.size(0), kv_heads = k_pool.size(1);
  const int64_t tokens = slots.size(0);
  // [kv_heads, tokens, head_dim]
  const at::Tensor k = k_pool.index_select(0, slots).to(type).transpose(0, 1);
  // [kv_heads, group, head_dim] -> scores [kv_heads, group, tokens]
  const int64_t group = heads / kv_heads;
  at::Tensor grouped = q.to(type);
  grouped = interleaved
                ? grouped.view({group, kv_heads, q.size(1)}).transpose(0, 1)
                : grouped.view({kv_heads, group, q.size(1)});
  at::Tensor scores = at::matmul(grouped, k.transpose(1, 2));
  if (interleaved) scores = scores.transpose(0, 1);
  scores = scores.reshape({heads, tokens});
  const at::Tensor log_sum_exp =
      tokens > 0 ? at::logsumexp(scores, 1)
                 : at::full({heads}, -std::numeric_limits<double>::infinity(),
                            scores.options());
  return {scores, log_sum_exp};
}

at::Tensor SoftVoteCpu(const at::Tensor& scores,
                       const at::Tensor& log_sum_exp) {
  return at::exp(scores - log_sum_exp.unsqueeze(1)).sum(0);
}

TORCH_LIBRARY_IMPL(repro, CPU, m) {
  m.impl("paged_dot_product_unchecked", PagedDotProductCpu);
  m.impl("soft_vote_unchecked", SoftVoteCpu);
}

}  // namespace
}  // namespace repro
