// The reference: a block of queries at a time against the chunk ends that any
// of them sees, with the query's own key as one more column, so that memory
// grows with seq_len times (number of chunks) / block.
//
//   S = scale [q k_ends^T, q . k], P = softmax(S), out = P_ends v_ends + P_own
//   v; dS = P (dout [v_ends^T, v] - rowsum(dout out)), dq = scale dS [k_ends,
//   k]; a chunk end collects from later chunks and from its own token.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros_like.h>
#include <torch/library.h>

#include <algorithm>
#include <limits>
#include <tuple>

#include "kernels/chunk_attention/chunk_attention_check.h"
#include "kernels/flash/check.h"

namespace repro {
namespace {

constexpr char kOp[] = "chunk_attention";
constexpr int64_t kBlock = 256;

// `num_ends`: the chunk ends before the last query's chunk.
struct Block {
  int64_t query, num_queries, num_ends;
};

template <typename Work>
void ForEachBlock(int64_t seq_len, int64_t chunk_size, const Work& work) {
  for (int64_t query = 0; query < seq_len; query += kBlock) {
    const int64_t end = std::min(query + kBlock, seq_len);
    work(Block{query, end - query, (end - 1) / chunk_size});
  }
}

// The last tokens of the first `count` chunks, a view.
at::Tensor ChunkEnds(const at::Tensor& t, int64_t chunk_size, int64_t count) {
  return count == 0
             ? t.narrow(2, 0, 0)
             : t.slice(2, chunk_size - 1, count * chunk_size, chunk_size);
}

at::Tensor OwnDot(const at::Tensor& a, const at::Tensor& b) {
  return (a * b).sum(-1, /*keepdim=*/true);
}

// [..., num_queries, num_ends + 1], the own score last.
at::Tensor Scores(const at::Tensor& q, const at::Tensor& ends,
                  const at::Tensor& own, const Block& block, int64_t chunk_size,
                  double scale) {
  at::Tensor scores = at::matmul(q, ends.transpose(-1, -2));
  const at::Tensor chunk =
      at::arange(block.query, block.query + block.num_queries)
          .div(chunk_size, "floor");
  scores.masked_fill_(at::arange(block.num_ends).ge(chunk.unsqueeze(1)),
                      -std::numeric_limits<double>::infinity());
  return at::cat({scores, OwnDot(q, own)}, -1).mul_(scale);
}

std::tuple<at::Tensor, at::Tensor> Forward(const at::Tensor& q_in,
                                           const at::Tensor& k_in,
                                           const at::Tensor& v_in,
                                           int64_t chunk_size,
                                           std::optional<double> scale_in) {
  CheckAttention(kOp, q_in, k_in, v_in);
  CheckChunkSize(chunk_size);
  const double scale = AttentionScale(scale_in, q_in);
  const auto wide =
      q_in.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor q = q_in.to(wide), k = k_in.to(wide), v = v_in.to(wide);
  at::Tensor out = at::empty(v.sizes(), v_in.options());
  at::Tensor log_sum = at::empty(q.sizes().slice(0, 3), q.options());
  ForEachBlock(q.size(2), chunk_size, [&](const Block& b) {
    const auto queries = [&b](const at::Tensor& t) {
      return t.narrow(2, b.query, b.num_queries);
    };
    const at::Tensor scores =
        Scores(queries(q), ChunkEnds(k, chunk_size, b.num_ends), queries(k), b,
               chunk_size, scale);
    const at::Tensor block_log_sum = at::logsumexp(scores, -1);
    queries(log_sum).copy_(block_log_sum);
    const at::Tensor p = (scores - block_log_sum.unsqueeze(-1)).exp_();
    queries(out).copy_(at::matmul(p.narrow(-1, 0, b.num_ends),
                                  ChunkEnds(v, chunk_size, b.num_ends))
                           .add_(p.narrow(-1, b.num_ends, 1) * queries(v)));
  });
  return {out, log_sum};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> Backward(
    const at::Tensor& grad_out_in, const at::Tensor& q_in,
    const at::Tensor& k_in, const at::Tensor& v_in, const at::Tensor& out_in,
    const at::Tensor& log_sum, int64_t chunk_size,
    std::optional<double> scale_in) {
  CheckAttentionBackward(kOp, grad_out_in, q_in, k_in, v_in, out_in, log_sum);
  CheckChunkSize(chunk_size);
  const double scale = AttentionScale(scale_in, q_in);
  const auto wide =
      q_in.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor q = q_in.to(wide), k = k_in.to(wide), v = v_in.to(wide);
  const at::Tensor grad_out = grad_out_in.to(wide);
  const at::Tensor delta = OwnDot(grad_out, out_in.to(wide));
  at::Tensor grad_q = at::empty(q.sizes(), q_in.options());
  at::Tensor grad_k = at::zeros_like(k), grad_v = at::zeros_like(v);
  ForEachBlock(q.size(2), chunk_size, [&](const Block& b) {
    const auto queries = [&b](const at::Tensor& t) {
      return t.narrow(2, b.query, b.num_queries);
    };
    const auto ends = [&b, chunk_size](const at::Tensor& t) {
      return ChunkEnds(t, chunk_size, b.num_ends);
    };
    const at::Tensor block_q = queries(q), block_grad = queries(grad_out);
    const at::Tensor p =
        (Scores(block_q, ends(k), queries(k), b, chunk_size, scale) -
         queries(log_sum).unsqueeze(-1))
            .exp_();
    const at::Tensor grad_scores =
        at::cat({at::matmul(block_grad, ends(v).transpose(-1, -2)),
                 OwnDot(block_grad, queries(v))},
                -1)
            .sub_(queries(delta))
            .mul_(p)
            .mul_(scale);
    const at::Tensor p_ends = p.narrow(-1, 0, b.num_ends),
                     p_own = p.narrow(-1, b.num_ends, 1),
                     grad_ends = grad_scores.narrow(-1, 0, b.num_ends),
                     grad_own = grad_scores.narrow(-1, b.num_ends, 1);
    queries(grad_q).copy_(
        at::matmul(grad_ends, ends(k)).add_(grad_own * queries(k)));
    queries(grad_k).add_(grad_own * block_q);
    queries(grad_v).add_(p_own * block_grad);
    ends(grad_k).add_(at::matmul(grad_ends.transpose(-1, -2), block_q));
    ends(grad_v).add_(at::matmul(p_ends.transpose(-1, -2), block_grad));
  });
  return {grad_q, grad_k.to(k_in.scalar_type()), grad_v.to(v_in.scalar_type())};
}

at::Tensor Step(const at::Tensor& q_in, const at::Tensor& k_in,
                const at::Tensor& v_in, const at::Tensor& k_cache,
                const at::Tensor& v_cache, const at::Tensor& num_chunks,
                std::optional<double> scale) {
  CheckChunkAttentionStep(q_in, k_in, v_in, k_cache, v_cache, num_chunks);
  const int64_t count = *num_chunks.const_data_ptr<int64_t>();
  TORCH_CHECK(count >= 0 && count <= k_cache.size(2),
              "chunk_attention_step: num_chunks is ", count,
              ", the cache's capacity ", k_cache.size(2));
  const auto wide =
      q_in.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const auto with_own = [&](const at::Tensor& cache, const at::Tensor& own) {
    return at::cat({cache.narrow(2, 0, count), own.unsqueeze(2)}, 2).to(wide);
  };
  const at::Tensor p =
      at::softmax(at::matmul(q_in.to(wide).unsqueeze(2),
                             with_own(k_cache, k_in).transpose(-1, -2))
                      .mul_(AttentionScale(scale, q_in)),
                  -1);
  return at::matmul(p, with_own(v_cache, v_in))
      .squeeze(2)
      .to(q_in.scalar_type());
}

TORCH_LIBRARY_IMPL(repro, CPU, m) {
  m.impl("chunk_attention_forward", Forward);
  m.impl("chunk_attention_backward", Backward);
  m.impl("chunk_attention_step", Step);
}

}  // namespace
}  // namespace repro
