#include "kernels/kv_quantize/kv_quantize_cuda.h"

#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <limits>
#include <tuple>
#include <vector>

#include "kernels/runtime/float_type_of.h"

namespace repro {
namespace {

// The grid's first axis counts blocks of 256 threads, a warp a group at most.
void CheckGroups(const char* op, int64_t elements) {
  TORCH_CHECK(elements / 256 < std::numeric_limits<int32_t>::max() / 32, op,
              ": ", elements, " elements are too many for one call on CUDA");
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> Quantize(const at::Tensor& x_in,
                                                        int64_t bits,
                                                        int64_t group_size) {
  const c10::cuda::CUDAGuard guard(x_in.device());
  CheckGroups("kv_quantize", x_in.numel());
  const at::Tensor x = x_in.contiguous();
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = x.size(-1) * bits / 8;
  const at::Tensor packed = at::empty(sizes, x.options().dtype(at::kByte));
  sizes.back() = x.size(-1) / group_size;
  const at::Tensor scale = at::empty(sizes, x.options().dtype(at::kHalf));
  const at::Tensor zero = at::empty(sizes, x.options().dtype(at::kHalf));
  if (x.numel() == 0) return {packed, scale, zero};
  KvQuantizeParams p = {};
  p.x = x.const_data_ptr();
  p.packed = packed.mutable_data_ptr<uint8_t>();
  p.scale = scale.mutable_data_ptr();
  p.zero = zero.mutable_data_ptr();
  p.groups = scale.numel();
  p.group_size = static_cast<int>(group_size);
  p.bits = static_cast<int>(bits);
  p.type = FloatTypeOf(x.scalar_type(), "kv_quantize");
  p.stream = c10::cuda::getCurrentCUDAStream();
  C10_CUDA_CHECK(KvQuantizeLaunch(p));
  return {packed, scale, zero};
}

at::Tensor Dequantize(const at::Tensor& packed_in, const at::Tensor& scale_in,
                      const at::Tensor& zero_in, int64_t head_dim,
                      at::ScalarType dtype) {
  const c10::cuda::CUDAGuard guard(packed_in.device());
  const at::Tensor packed = packed_in.contiguous(),
                   scale = scale_in.contiguous(), zero = zero_in.contiguous();
  std::vector<int64_t> sizes = packed.sizes().vec();
  sizes.back() = head_dim;
  const at::Tensor x = at::empty(sizes, packed.options().dtype(dtype));
  CheckGroups("kv_dequantize", x.numel());
  if (x.numel() == 0) return x;
  KvQuantizeParams p = {};
  p.x = x.mutable_data_ptr();
  p.packed = const_cast<uint8_t*>(packed.const_data_ptr<uint8_t>());
  p.scale = const_cast<void*>(scale.const_data_ptr());
  p.zero = const_cast<void*>(zero.const_data_ptr());
  p.groups = scale.numel();
  p.group_size = static_cast<int>(head_dim / scale.size(-1));
  p.bits = static_cast<int>(packed.size(-1) * 8 / head_dim);
  p.type = FloatTypeOf(dtype, "kv_dequantize");
  p.stream = c10::cuda::getCurrentCUDAStream();
  C10_CUDA_CHECK(KvDequantizeLaunch(p));
  return x;
}

TORCH_LIBRARY_IMPL(repro, CUDA, m) {
  m.impl("kv_quantize_forward", Quantize);
  m.impl("kv_dequantize_forward", Dequantize);
}

}  // namespace
}  // namespace repro
