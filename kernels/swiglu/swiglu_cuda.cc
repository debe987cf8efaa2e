#include "kernels/swiglu/swiglu_cuda.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <vector>

#include "kernels/runtime/float_type_of.h"

namespace repro {
namespace {

// Both dense; dy: undefined in the forward pass.
void Run(const at::Tensor& gate_up, const at::Tensor& dy,
         const at::Tensor& out) {
  if (gate_up.numel() == 0) return;
  SwiGluParams params;
  params.gate_up = gate_up.const_data_ptr();
  params.dy = dy.defined() ? dy.const_data_ptr() : nullptr;
  params.out = out.mutable_data_ptr();
  params.rows = gate_up.numel() / gate_up.size(-1);
  params.dim = gate_up.size(-1) / 2;
  params.type = FloatTypeOf(gate_up.scalar_type(), "swiglu");
  params.stream = c10::cuda::getCurrentCUDAStream();
  C10_CUDA_CHECK(SwiGluLaunch(params));
}

at::Tensor Forward(const at::Tensor& gate_up) {
  const c10::cuda::CUDAGuard guard(gate_up.device());
  const at::Tensor dense = gate_up.contiguous();
  std::vector<int64_t> sizes = dense.sizes().vec();
  sizes.back() /= 2;
  const at::Tensor y = at::empty(sizes, dense.options());
  Run(dense, /*dy=*/{}, y);
  return y;
}

at::Tensor Backward(const at::Tensor& dy, const at::Tensor& gate_up) {
  const c10::cuda::CUDAGuard guard(gate_up.device());
  const at::Tensor dense = gate_up.contiguous();
  const at::Tensor dgate_up = at::empty_like(dense);
  Run(dense, dy.contiguous(), dgate_up);
  return dgate_up;
}

TORCH_LIBRARY_IMPL(repro, CUDA, m) {
  m.impl("swiglu_forward", Forward);
  m.impl("swiglu_backward", Backward);
}

}  // namespace
}  // namespace repro
