// From Torch's tensors to the kernels' parameters.
#ifndef REPRO_KERNELS_FLASH_TENSORS_H_
#define REPRO_KERNELS_FLASH_TENSORS_H_

#include <ATen/core/Tensor.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/cuda/CUDAStream.h>
#include <c10/util/Exception.h>

#include <cstdint>

#include "kernels/flash/check.h"
#include "kernels/flash/flash.h"

namespace repro {

// The tensor, or a copy with zeros after its last axis, such that rows are
// dense, 16-byte aligned and a multiple of 8 values long.
inline at::Tensor FlashRows(const at::Tensor& t) {
  const int64_t rest = t.size(-1) % 8;
  if (rest != 0) return at::constant_pad_nd(t, {0, 8 - rest});
  bool aligned = t.stride(-1) == 1 &&
                 reinterpret_cast<uintptr_t>(t.const_data_ptr()) % 16 == 0;
  for (int64_t i = 0; i < t.dim() - 1; ++i) {
    aligned = aligned && (t.size(i) == 1 || t.stride(i) % 8 == 0);
  }
  return aligned ? t : t.clone(at::MemoryFormat::Contiguous);
}

// Of [batch, heads, rows, dim].
inline FlashMatrix FlashMatrixOf(const at::Tensor& t) {
  const auto stride = [&t](int64_t axis) {
    return t.size(axis) == 1 ? 0 : t.stride(axis);
  };
  // The kernels write only to matrices that the glue has allocated.
  return {const_cast<void*>(t.const_data_ptr()), stride(0), stride(1),
          stride(2)};
}

// `t` without the padding, as a tensor of `like`'s shape.
inline at::Tensor FlashUnpad(const at::Tensor& t, const at::Tensor& like) {
  return t.size(-1) == like.size(-1)
             ? t
             : t.narrow(-1, 0, like.size(-1)).contiguous();
}

inline FlashType FlashTypeOf(const char* op, const at::Tensor& t) {
  TORCH_CHECK(t.scalar_type() == at::kHalf || t.scalar_type() == at::kBFloat16,
              op, ": on CUDA the dtype must be bfloat16 or float16, not ",
              t.scalar_type());
  return t.scalar_type() == at::kHalf ? FlashType::kHalf : FlashType::kBFloat16;
}

// Parameters but for the matrices; num_keys is seq_len.
inline FlashParams FlashShape(const char* op, const at::Tensor& q,
                              const at::Tensor& v,
                              std::optional<double> scale) {
  FlashParams p;
  p.type = FlashTypeOf(op, q);
  const int64_t padded = (q.size(3) + 7) / 8 * 8,
                padded_value = (v.size(3) + 7) / 8 * 8;
  TORCH_CHECK(padded <= 128 && padded_value <= 128, op,
              ": on CUDA heads have at most 128 values, not ", q.size(3),
              " in q and k and ", v.size(3), " in v");
  p.scale = static_cast<float>(AttentionScale(scale, q));
  TORCH_CHECK(p.scale > 0, op, ": on CUDA scale must be positive, not ",
              p.scale);
  // The grid's limit, with at least 64 rows a block.
  TORCH_CHECK(q.size(2) <= INT32_MAX - 256 &&
                  (q.size(2) / 64 + 1) * q.size(0) * q.size(1) <= INT32_MAX,
              op, ": q ", q.sizes(), " is too large");
  p.batch = static_cast<int>(q.size(0));
  p.heads = static_cast<int>(q.size(1));
  p.seq_len = p.num_keys = static_cast<int>(q.size(2));
  p.head_dim = static_cast<int>(padded);
  p.value_dim = static_cast<int>(padded_value);
  p.stream = c10::cuda::getCurrentCUDAStream();
  return p;
}

}  // namespace repro

#endif  // REPRO_KERNELS_FLASH_TENSORS_H_
