#include "kernels/sliding_window_attention/sliding_window_attention_cuda.h"

#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <torch/library.h>

#include <algorithm>
#include <tuple>

#include "kernels/flash/tensors.h"

namespace repro {
namespace {

constexpr char kOp[] = "sliding_window_attention";

int ClampWindow(int64_t window, int seq_len) {
  TORCH_CHECK(window > 0, kOp, ": window must be positive, not ", window);
  return static_cast<int>(std::min<int64_t>(window, seq_len));
}

std::tuple<at::Tensor, at::Tensor> Forward(const at::Tensor& q_in,
                                           const at::Tensor& k_in,
                                           const at::Tensor& v_in,
                                           int64_t window,
                                           std::optional<double> scale) {
  CheckAttention(kOp, q_in, k_in, v_in);
  const c10::cuda::CUDAGuard guard(q_in.device());
  FlashParams p = FlashShape(kOp, q_in, v_in, scale);
  window = ClampWindow(window, p.seq_len);
  const at::Tensor q = FlashRows(q_in), k = FlashRows(k_in),
                   v = FlashRows(v_in);
  const at::Tensor out = at::empty_like(v);
  const at::Tensor log_sum =
      at::empty(q.sizes().slice(0, 3), q.options().dtype(at::kFloat));
  if (out.numel() > 0) {
    p.q = FlashMatrixOf(q);
    p.k = FlashMatrixOf(k);
    p.v = FlashMatrixOf(v);
    p.out = FlashMatrixOf(out);
    p.log_sum = log_sum.mutable_data_ptr<float>();
    C10_CUDA_CHECK(SlidingWindowForwardLaunch(p, static_cast<int>(window)));
  }
  return {FlashUnpad(out, v_in), log_sum};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> Backward(
    const at::Tensor& grad_out_in, const at::Tensor& q_in,
    const at::Tensor& k_in, const at::Tensor& v_in, const at::Tensor& out_in,
    const at::Tensor& log_sum_in, int64_t window, std::optional<double> scale) {
  CheckAttentionBackward(kOp, grad_out_in, q_in, k_in, v_in, out_in,
                         log_sum_in);
  const c10::cuda::CUDAGuard guard(q_in.device());
  FlashParams p = FlashShape(kOp, q_in, v_in, scale);
  window = ClampWindow(window, p.seq_len);
  const at::Tensor q = FlashRows(q_in), k = FlashRows(k_in),
                   v = FlashRows(v_in), out = FlashRows(out_in),
                   grad_out = FlashRows(grad_out_in),
                   log_sum = log_sum_in.contiguous();
  const at::Tensor grad_q = at::empty_like(q), grad_k = at::empty_like(k),
                   grad_v = at::empty_like(v);
  if (out.numel() > 0) {
    const at::Tensor delta = at::empty_like(log_sum);
    p.q = FlashMatrixOf(q);
    p.k = FlashMatrixOf(k);
    p.v = FlashMatrixOf(v);
    p.out = FlashMatrixOf(out);
    p.log_sum = const_cast<float*>(log_sum.const_data_ptr<float>());
    p.grad_out = FlashMatrixOf(grad_out);
    p.grad_q = FlashMatrixOf(grad_q);
    p.grad_k = FlashMatrixOf(grad_k);
    p.grad_v = FlashMatrixOf(grad_v);
    p.delta = delta.mutable_data_ptr<float>();
    C10_CUDA_CHECK(SlidingWindowBackwardLaunch(p, static_cast<int>(window)));
  }
  return {FlashUnpad(grad_q, q_in), FlashUnpad(grad_k, k_in),
          FlashUnpad(grad_v, v_in)};
}

TORCH_LIBRARY_IMPL(repro, CUDA, m) {
  m.impl("sliding_window_attention_forward", Forward);
  m.impl("sliding_window_attention_backward", Backward);
}

}  // namespace
}  // namespace repro
