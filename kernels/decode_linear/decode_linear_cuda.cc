#include "kernels/decode_linear/decode_linear_cuda.h"

#include <ATen/core/Tensor.h>
#include <ATen/cuda/CUDAContextLight.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <optional>

#include "kernels/runtime/float_type_of.h"

namespace repro {
namespace {

// The inputs are checked by decode_linear_.
void Vector(const at::Tensor& out, const at::Tensor& x,
            const at::Tensor& weight, const std::optional<at::Tensor>& norm,
            double eps, const std::optional<at::Tensor>& bias, int64_t use) {
  const c10::cuda::CUDAGuard guard(x.device());
  TORCH_CHECK(DecodeLinearFits(x.size(1)), "decode_linear_vector: x is ",
              x.sizes());
  DecodeLinearParams p = {};
  p.x = x.const_data_ptr();
  p.weight = weight.const_data_ptr();
  p.norm = norm.has_value() ? norm->const_data_ptr() : nullptr;
  p.bias = bias.has_value() ? bias->const_data_ptr() : nullptr;
  p.out = out.mutable_data_ptr();
  p.outputs = out.size(1);
  p.columns = static_cast<int>(x.size(1));
  p.eps = static_cast<float>(eps);
  p.type = FloatTypeOf(x.scalar_type(), "decode_linear");
  p.out_type = FloatTypeOf(out.scalar_type(), "decode_linear");
  p.mode = static_cast<DecodeLinearMode>(use);
  p.multiprocessors =
      at::cuda::getCurrentDeviceProperties()->multiProcessorCount;
  p.stream = c10::cuda::getCurrentCUDAStream();
  C10_CUDA_CHECK(DecodeLinearLaunch(p));
}

TORCH_LIBRARY_IMPL(repro, CUDA, m) { m.impl("decode_linear_vector", Vector); }

}  // namespace
}  // namespace repro
