// Keys and values in 4 or 8 bits, in groups along head_dim with a scale and a
// minimum each (DuoAttention's scheme: Xiao et al. 2025):
//
//   scale = (max - min) / (2^bits - 1) + 1e-8,  zero = min,
//   q = round((x - zero) / scale),  x ~ q scale + zero.
//
// scale and zero are rounded to float16 first and q is then found with the
// rounded ones, clamped to [0, 2^bits - 1] (0 where a scale rounds to 0), so
// that |x - (q scale + zero)| is at most scale / 2 plus that rounding.
//
// From Python: torch.ops.repro.kv_quantize, kv_dequantize.
#ifndef REPRO_KERNELS_KV_QUANTIZE_KV_QUANTIZE_H_
#define REPRO_KERNELS_KV_QUANTIZE_KV_QUANTIZE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace repro {

struct QuantizedKv {
  // uint8: [..., head_dim] (8 bits) or [..., head_dim / 2] (4 bits: element 2 i
  // in the high half of byte i, 2 i + 1 in the low half).
  at::Tensor packed;
  at::Tensor scale, zero;  // [..., head_dim / group_size] float16
};

// x: [..., head_dim] of a floating dtype; bits: 4 or 8; group_size divides
// head_dim and is even for 4 bits. Not differentiable. Throws c10::Error with
// the offending shape.
QuantizedKv KvQuantize(const at::Tensor& x, int64_t bits, int64_t group_size);

// The inverse, of a floating dtype (float16 as published): computed in float32
// and rounded once. bits and groups follow from head_dim and the shapes.
at::Tensor KvDequantize(const QuantizedKv& quantized, int64_t head_dim,
                        at::ScalarType dtype = at::kHalf);

}  // namespace repro

#endif  // REPRO_KERNELS_KV_QUANTIZE_KV_QUANTIZE_H_
