#include "kernels/rotary/rotary_cuda.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty_like.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include "kernels/runtime/float_type_of.h"

namespace repro {
namespace {

// As [batch, heads, tokens, dim] with dense rows.
at::Tensor FourAxes(const at::Tensor& x) {
  at::Tensor out = x.stride(-1) == 1 ? x : x.contiguous();
  while (out.dim() < 4) out = out.unsqueeze(0);
  return out.flatten(0, -4);
}

at::Tensor Forward(const at::Tensor& x, const at::Tensor& cos,
                   const at::Tensor& sin) {
  const c10::cuda::CUDAGuard guard(x.device());
  const at::Tensor from = FourAxes(x);
  at::Tensor y = at::empty_like(from);
  if (x.numel() > 0) {
    const at::Tensor dense_cos = cos.contiguous();
    const at::Tensor dense_sin = sin.contiguous();
    RotaryParams params;
    params.x = from.const_data_ptr();
    params.y = y.mutable_data_ptr();
    params.cos = dense_cos.const_data_ptr<float>();
    params.sin = dense_sin.const_data_ptr<float>();
    params.batch = from.size(0);
    params.heads = from.size(1);
    params.tokens = from.size(2);
    params.half = from.size(3) / 2;
    for (int i = 0; i < 3; ++i) {
      params.x_strides[i] = from.stride(i);
      params.y_strides[i] = y.stride(i);
    }
    params.type = FloatTypeOf(x.scalar_type(), "rotary");
    params.stream = c10::cuda::getCurrentCUDAStream();
    C10_CUDA_CHECK(RotaryLaunch(params));
  }
  return y.view(x.sizes());
}

TORCH_LIBRARY_IMPL(repro, CUDA, m) { m.impl("rotary_forward", Forward); }

}  // namespace
}  // namespace repro
