#include "kernels/chunk_attention/chunk_attention_cuda.h"

#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <torch/library.h>

#include <algorithm>
#include <tuple>

#include "kernels/chunk_attention/chunk_attention_check.h"
#include "kernels/flash/tensors.h"

namespace repro {
namespace {

constexpr char kOp[] = "chunk_attention";

// The last tokens of whole chunks, a view.
FlashMatrix ChunkEnds(const FlashMatrix& tokens, int chunk_size) {
  FlashMatrix ends = tokens;
  ends.data = static_cast<char*>(tokens.data) +
              (chunk_size - 1) * tokens.row_stride * 2;
  ends.row_stride = tokens.row_stride * chunk_size;
  return ends;
}

// The inputs of both directions; returns the chunk size, at most seq_len.
int SetInputs(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
              const at::Tensor& out, const at::Tensor& log_sum,
              int64_t chunk_size, FlashParams* p) {
  const int chunk = static_cast<int>(std::min<int64_t>(chunk_size, p->seq_len));
  p->q = FlashMatrixOf(q);
  p->own_k = FlashMatrixOf(k);
  p->own_v = FlashMatrixOf(v);
  p->k = ChunkEnds(p->own_k, chunk);
  p->v = ChunkEnds(p->own_v, chunk);
  p->num_keys = p->seq_len / chunk;
  p->out = FlashMatrixOf(out);
  p->log_sum = const_cast<float*>(log_sum.const_data_ptr<float>());
  return chunk;
}

std::tuple<at::Tensor, at::Tensor> Forward(const at::Tensor& q_in,
                                           const at::Tensor& k_in,
                                           const at::Tensor& v_in,
                                           int64_t chunk_size,
                                           std::optional<double> scale) {
  CheckAttention(kOp, q_in, k_in, v_in);
  CheckChunkSize(chunk_size);
  const c10::cuda::CUDAGuard guard(q_in.device());
  FlashParams p = FlashShape(kOp, q_in, v_in, scale);
  const at::Tensor q = FlashRows(q_in), k = FlashRows(k_in),
                   v = FlashRows(v_in);
  const at::Tensor out = at::empty_like(v);
  const at::Tensor log_sum =
      at::empty(q.sizes().slice(0, 3), q.options().dtype(at::kFloat));
  if (out.numel() > 0) {
    const int chunk = SetInputs(q, k, v, out, log_sum, chunk_size, &p);
    C10_CUDA_CHECK(ChunkAttentionForwardLaunch(p, chunk));
  }
  return {FlashUnpad(out, v_in), log_sum};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> Backward(
    const at::Tensor& grad_out_in, const at::Tensor& q_in,
    const at::Tensor& k_in, const at::Tensor& v_in, const at::Tensor& out_in,
    const at::Tensor& log_sum_in, int64_t chunk_size,
    std::optional<double> scale) {
  CheckAttentionBackward(kOp, grad_out_in, q_in, k_in, v_in, out_in,
                         log_sum_in);
  CheckChunkSize(chunk_size);
  const c10::cuda::CUDAGuard guard(q_in.device());
  FlashParams p = FlashShape(kOp, q_in, v_in, scale);
  const at::Tensor q = FlashRows(q_in), k = FlashRows(k_in),
                   v = FlashRows(v_in), out = FlashRows(out_in),
                   grad_out = FlashRows(grad_out_in),
                   log_sum = log_sum_in.contiguous();
  const at::Tensor grad_q = at::empty_like(q), grad_k = at::empty_like(k),
                   grad_v = at::empty_like(v);
  if (out.numel() > 0) {
    const at::Tensor delta = at::empty_like(log_sum);
    const int chunk = SetInputs(q, k, v, out, log_sum, chunk_size, &p);
    p.grad_out = FlashMatrixOf(grad_out);
    p.grad_q = FlashMatrixOf(grad_q);
    p.grad_own_k = FlashMatrixOf(grad_k);
    p.grad_own_v = FlashMatrixOf(grad_v);
    p.grad_k = ChunkEnds(p.grad_own_k, chunk);
    p.grad_v = ChunkEnds(p.grad_own_v, chunk);
    p.delta = delta.mutable_data_ptr<float>();
    C10_CUDA_CHECK(ChunkAttentionBackwardLaunch(p, chunk));
  }
  return {FlashUnpad(grad_q, q_in), FlashUnpad(grad_k, k_in),
          FlashUnpad(grad_v, v_in)};
}

at::Tensor Step(const at::Tensor& q_in, const at::Tensor& k_in,
                const at::Tensor& v_in, const at::Tensor& k_cache_in,
                const at::Tensor& v_cache_in, const at::Tensor& num_chunks,
                std::optional<double> scale) {
  constexpr char kStep[] = "chunk_attention_step";
  CheckChunkAttentionStep(q_in, k_in, v_in, k_cache_in, v_cache_in, num_chunks);
  TORCH_CHECK(q_in.size(2) <= 128, kStep,
              ": on CUDA heads have at most 128 values, not ", q_in.size(2));
  const c10::cuda::CUDAGuard guard(q_in.device());
  const auto one_row = [](const at::Tensor& t) {
    return FlashRows(t.unsqueeze(2));
  };
  const at::Tensor q = one_row(q_in), k = one_row(k_in), v = one_row(v_in),
                   k_cache = FlashRows(k_cache_in),
                   v_cache = FlashRows(v_cache_in);
  const at::Tensor out = at::empty(q.sizes(), q.options());
  ChunkAttentionStepParams p;
  p.q = FlashMatrixOf(q);
  p.k = FlashMatrixOf(k);
  p.v = FlashMatrixOf(v);
  p.out = FlashMatrixOf(out);
  p.k_cache = FlashMatrixOf(k_cache);
  p.v_cache = FlashMatrixOf(v_cache);
  p.num_chunks = num_chunks.const_data_ptr<int64_t>();
  p.batch = q.size(0);
  p.heads = q.size(1);
  p.capacity = k_cache.size(2);
  p.dim = static_cast<int>(q.size(3));
  p.scale = static_cast<float>(AttentionScale(scale, q_in));
  p.type = FlashTypeOf(kStep, q);
  p.stream = c10::cuda::getCurrentCUDAStream();
  TORCH_CHECK(p.batch * p.heads <= (1 << 21), kStep, ": q ", q_in.sizes(),
              " is too large");
  p.splits = ChunkAttentionStepSplits(p.batch * p.heads, p.capacity);
  at::Tensor partial;
  if (p.splits > 1) {
    partial = at::empty({p.batch * p.heads, p.splits, p.dim + 2},
                        q.options().dtype(at::kFloat));
    p.partial = partial.mutable_data_ptr<float>();
  }
  if (out.numel() > 0) C10_CUDA_CHECK(ChunkAttentionStepLaunch(p));
  return FlashUnpad(out.squeeze(2), q_in);
}

TORCH_LIBRARY_IMPL(repro, CUDA, m) {
  m.impl("chunk_attention_forward", Forward);
  m.impl("chunk_attention_backward", Backward);
  m.impl("chunk_attention_step", Step);
}

}  // namespace
}  // namespace repro
