// The reference: a block of queries at a time against the keys that any of them
// sees, so that memory grows with seq_len times (window + block).
//
//   S = scale q k^T, P = softmax(S), out = P v;
//   dv = P^T dout, dS = P (dout v^T - rowsum(dout out)), dq = scale dS k,
//   dk = scale dS^T q.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros_like.h>
#include <torch/library.h>

#include <algorithm>
#include <limits>
#include <tuple>

#include "kernels/flash/check.h"

namespace repro {
namespace {

constexpr char kOp[] = "sliding_window_attention";

struct Block {
  int64_t query, num_queries, key, num_keys;
};

// Calls work(block) for blocks that cover all queries, with the keys they see.
template <typename Work>
void ForEachBlock(int64_t seq_len, int64_t window, const Work& work) {
  const int64_t size = std::clamp<int64_t>(window, 64, 256);
  for (int64_t query = 0; query < seq_len; query += size) {
    const int64_t end = std::min(query + size, seq_len);
    const int64_t key = query - std::min(query, window - 1);
    work(Block{query, end - query, key, end - key});
  }
}

// scale q k^T, -infinity where the query does not see the key.
at::Tensor Scores(const at::Tensor& q, const at::Tensor& k, const Block& block,
                  int64_t window, double scale) {
  at::Tensor scores = at::matmul(q, k.transpose(-1, -2)).mul_(scale);
  const at::Tensor distance =
      (at::arange(block.query, block.query + block.num_queries).unsqueeze(1) -
       at::arange(block.key, block.key + block.num_keys));
  return scores.masked_fill_(distance.lt(0).logical_or_(distance.ge(window)),
                             -std::numeric_limits<double>::infinity());
}

std::tuple<at::Tensor, at::Tensor> Forward(const at::Tensor& q_in,
                                           const at::Tensor& k_in,
                                           const at::Tensor& v_in,
                                           int64_t window,
                                           std::optional<double> scale_in) {
  CheckAttention(kOp, q_in, k_in, v_in);
  TORCH_CHECK(window > 0, kOp, ": window must be positive, not ", window);
  const double scale = AttentionScale(scale_in, q_in);
  const auto wide =
      q_in.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor q = q_in.to(wide), k = k_in.to(wide), v = v_in.to(wide);
  at::Tensor out = at::empty(v.sizes(), v_in.options());
  at::Tensor log_sum = at::empty(q.sizes().slice(0, 3), q.options());
  ForEachBlock(q.size(2), window, [&](const Block& b) {
    const at::Tensor scores =
        Scores(q.narrow(2, b.query, b.num_queries),
               k.narrow(2, b.key, b.num_keys), b, window, scale);
    const at::Tensor block_log_sum = at::logsumexp(scores, -1);
    log_sum.narrow(2, b.query, b.num_queries).copy_(block_log_sum);
    out.narrow(2, b.query, b.num_queries)
        .copy_(at::matmul((scores - block_log_sum.unsqueeze(-1)).exp_(),
                          v.narrow(2, b.key, b.num_keys)));
  });
  return {out, log_sum};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> Backward(
    const at::Tensor& grad_out_in, const at::Tensor& q_in,
    const at::Tensor& k_in, const at::Tensor& v_in, const at::Tensor& out_in,
    const at::Tensor& log_sum, int64_t window, std::optional<double> scale_in) {
  CheckAttentionBackward(kOp, grad_out_in, q_in, k_in, v_in, out_in, log_sum);
  TORCH_CHECK(window > 0, kOp, ": window must be positive, not ", window);
  const double scale = AttentionScale(scale_in, q_in);
  const auto wide =
      q_in.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor q = q_in.to(wide), k = k_in.to(wide), v = v_in.to(wide);
  const at::Tensor grad_out = grad_out_in.to(wide);
  const at::Tensor delta = (grad_out * out_in.to(wide)).sum(-1, true);
  at::Tensor grad_q = at::empty(q.sizes(), q_in.options());
  at::Tensor grad_k = at::zeros_like(k), grad_v = at::zeros_like(v);
  ForEachBlock(q.size(2), window, [&](const Block& b) {
    const auto queries = [&b](const at::Tensor& t) {
      return t.narrow(2, b.query, b.num_queries);
    };
    const auto keys = [&b](const at::Tensor& t) {
      return t.narrow(2, b.key, b.num_keys);
    };
    const at::Tensor p = (Scores(queries(q), keys(k), b, window, scale) -
                          queries(log_sum).unsqueeze(-1))
                             .exp_();
    keys(grad_v).add_(at::matmul(p.transpose(-1, -2), queries(grad_out)));
    const at::Tensor grad_scores =
        at::matmul(queries(grad_out), keys(v).transpose(-1, -2))
            .sub_(queries(delta))
            .mul_(p)
            .mul_(scale);
    queries(grad_q).copy_(at::matmul(grad_scores, keys(k)));
    keys(grad_k).add_(at::matmul(grad_scores.transpose(-1, -2), queries(q)));
  });
  return {grad_q, grad_k.to(k_in.scalar_type()), grad_v.to(v_in.scalar_type())};
}

TORCH_LIBRARY_IMPL(repro, CPU, m) {
  m.impl("sliding_window_attention_forward", Forward);
  m.impl("sliding_window_attention_backward", Backward);
}

}  // namespace
}  // namespace repro
