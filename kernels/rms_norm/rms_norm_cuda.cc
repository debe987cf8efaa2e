#include "kernels/rms_norm/rms_norm_cuda.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/sum.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <limits>
#include <optional>
#include <tuple>

#include "kernels/runtime/float_type_of.h"

namespace repro {
namespace {

int64_t Rows(const at::Tensor& x) {
  const int64_t rows = x.size(-1) == 0 ? 0 : x.numel() / x.size(-1);
  TORCH_CHECK(rows <= std::numeric_limits<int32_t>::max(), "rms_norm: x has ",
              rows, " rows, at most 2^31 - 1 are supported");
  return rows;
}

std::tuple<at::Tensor, at::Tensor> Forward(
    const at::Tensor& x, const std::optional<at::Tensor>& weight, double eps) {
  const c10::cuda::CUDAGuard guard(x.device());
  const at::Tensor dense = x.contiguous();
  const at::Tensor scale =
      weight.has_value() ? weight->contiguous() : at::Tensor();
  const at::Tensor y = at::empty_like(dense);
  const int64_t rows = Rows(dense);
  const at::Tensor inverse_rms =
      at::empty({rows}, x.options().dtype(at::kFloat));
  if (rows == 0) return {y, inverse_rms};
  RmsNormForwardParams params;
  params.x = dense.const_data_ptr();
  params.weight = scale.defined() ? scale.const_data_ptr() : nullptr;
  params.y = y.mutable_data_ptr();
  params.inverse_rms = inverse_rms.mutable_data_ptr<float>();
  params.rows = rows;
  params.dim = x.size(-1);
  params.eps = static_cast<float>(eps);
  params.type = FloatTypeOf(x.scalar_type(), "rms_norm");
  params.weight_type = scale.defined()
                           ? FloatTypeOf(scale.scalar_type(), "rms_norm")
                           : params.type;
  params.stream = c10::cuda::getCurrentCUDAStream();
  C10_CUDA_CHECK(RmsNormForwardLaunch(params));
  return {y, inverse_rms};
}

std::tuple<at::Tensor, at::Tensor> Backward(
    const at::Tensor& dy, const at::Tensor& x,
    const std::optional<at::Tensor>& weight, const at::Tensor& inverse_rms) {
  const c10::cuda::CUDAGuard guard(x.device());
  const at::Tensor dense_dy = dy.contiguous();
  const at::Tensor dense_x = x.contiguous();
  const at::Tensor scale =
      weight.has_value() ? weight->contiguous() : at::Tensor();
  const at::Tensor dx = at::empty_like(dense_x);
  const int64_t rows = Rows(dense_x);
  at::Tensor partial;
  if (scale.defined()) {
    partial = at::empty({RmsNormBackwardBlocks(rows), x.size(-1)},
                        x.options().dtype(at::kFloat));
  }
  if (rows > 0) {
    RmsNormBackwardParams params;
    params.dy = dense_dy.const_data_ptr();
    params.x = dense_x.const_data_ptr();
    params.weight = scale.defined() ? scale.const_data_ptr() : nullptr;
    params.inverse_rms = inverse_rms.const_data_ptr<float>();
    params.dx = dx.mutable_data_ptr();
    params.partial_dweight =
        scale.defined() ? partial.mutable_data_ptr<float>() : nullptr;
    params.rows = rows;
    params.dim = x.size(-1);
    params.type = FloatTypeOf(x.scalar_type(), "rms_norm");
    params.weight_type = scale.defined()
                             ? FloatTypeOf(scale.scalar_type(), "rms_norm")
                             : params.type;
    params.stream = c10::cuda::getCurrentCUDAStream();
    C10_CUDA_CHECK(RmsNormBackwardLaunch(params));
  }
  if (!scale.defined()) return {dx, at::empty({0}, x.options())};
  return {dx, partial.sum(0).to(scale.scalar_type())};
}

TORCH_LIBRARY_IMPL(repro, CUDA, m) {
  m.impl("rms_norm_forward", Forward);
  m.impl("rms_norm_backward", Backward);
}

}  // namespace
}  // namespace repro
