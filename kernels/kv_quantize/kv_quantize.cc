#include "kernels/kv_quantize/kv_quantize.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

#include <tuple>

namespace repro {
namespace {

using QuantizeOp = std::tuple<at::Tensor, at::Tensor, at::Tensor>(
    const at::Tensor& x, int64_t bits, int64_t group_size);
using DequantizeOp = at::Tensor(const at::Tensor& packed,
                                const at::Tensor& scale, const at::Tensor& zero,
                                int64_t head_dim, at::ScalarType dtype);

std::tuple<at::Tensor, at::Tensor, at::Tensor> Quantize(const at::Tensor& x,
                                                        int64_t bits,
                                                        int64_t group_size) {
  TORCH_CHECK(bits == 4 || bits == 8, "kv_quantize: ", bits,
              " bits, expected 4 or 8");
  TORCH_CHECK(x.is_floating_point(), "kv_quantize: x is ", x.dtype(),
              ", expected a floating dtype");
  TORCH_CHECK(x.dim() >= 1 && x.size(-1) > 0, "kv_quantize: x is ", x.sizes(),
              ", expected [..., head_dim]");
  TORCH_CHECK(group_size > 0 && x.size(-1) % group_size == 0 &&
                  group_size * bits % 8 == 0,
              "kv_quantize: groups of ", group_size, " at ", bits,
              " bits in x ", x.sizes(),
              ": they must divide the last axis and be whole bytes");
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("repro::kv_quantize_forward", "")
          .typed<QuantizeOp>();
  return op.call(x, bits, group_size);
}

at::Tensor Dequantize(const at::Tensor& packed, const at::Tensor& scale,
                      const at::Tensor& zero, int64_t head_dim,
                      at::ScalarType dtype) {
  TORCH_CHECK(packed.scalar_type() == at::kByte && packed.dim() >= 1,
              "kv_dequantize: packed is ", packed.dtype(), " ", packed.sizes(),
              ", expected uint8 [..., bytes]");
  TORCH_CHECK(head_dim > 0 && (packed.size(-1) == head_dim ||
                               packed.size(-1) * 2 == head_dim),
              "kv_dequantize: packed is ", packed.sizes(), " for head_dim ",
              head_dim, ", expected so many or half as many bytes a row");
  const auto rows = packed.sizes().slice(0, packed.dim() - 1);
  for (const at::Tensor* x : {&scale, &zero}) {
    TORCH_CHECK(
        x->scalar_type() == at::kHalf && x->dim() == packed.dim() &&
            x->sizes().slice(0, x->dim() - 1) == rows && x->size(-1) > 0 &&
            head_dim % x->size(-1) == 0 && packed.size(-1) % x->size(-1) == 0 &&
            x->sizes() == scale.sizes() && x->device() == packed.device(),
        "kv_dequantize: scale or zero is ", x->dtype(), " ", x->sizes(), " on ",
        x->device(), " for packed ", packed.sizes(), " on ", packed.device(),
        ", expected float16 [..., groups]");
  }
  TORCH_CHECK(at::isFloatingType(dtype), "kv_dequantize: to ", dtype,
              ", expected a floating dtype");
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("repro::kv_dequantize_forward", "")
          .typed<DequantizeOp>();
  return op.call(packed, scale, zero, head_dim, dtype);
}

TORCH_LIBRARY_FRAGMENT(repro, m) {
  // -> (packed, scale, zero)
  m.def(
      "kv_quantize(Tensor x, int bits, int group_size) -> (Tensor, Tensor, "
      "Tensor)");
  m.def(
      "kv_quantize_forward(Tensor x, int bits, int group_size) -> (Tensor, "
      "Tensor, Tensor)");
  m.def(
      "kv_dequantize(Tensor packed, Tensor scale, Tensor zero, int head_dim, "
      "ScalarType dtype) -> Tensor");
  m.def(
      "kv_dequantize_forward(Tensor packed, Tensor scale, Tensor zero, int "
      "head_dim, ScalarType dtype) -> Tensor");
}

TORCH_LIBRARY_IMPL(repro, CompositeExplicitAutograd, m) {
  m.impl("kv_quantize", Quantize);
  m.impl("kv_dequantize", Dequantize);
}

}  // namespace

QuantizedKv KvQuantize(const at::Tensor& x, int64_t bits, int64_t group_size) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("repro::kv_quantize", "")
                             .typed<QuantizeOp>();
  auto [packed, scale, zero] = op.call(x, bits, group_size);
  return {packed, scale, zero};
}

at::Tensor KvDequantize(const QuantizedKv& quantized, int64_t head_dim,
                        at::ScalarType dtype) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("repro::kv_dequantize", "")
                             .typed<DequantizeOp>();
  return op.call(quantized.packed, quantized.scale, quantized.zero, head_dim,
                 dtype);
}

}  // namespace repro
