#include "kernels/quantized_linear/quantized_linear.h"

#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>
#include <vector>

#include "kernels/quantized_linear/quantized_linear_layout.h"

namespace repro {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

using ForwardOp = at::Tensor(const at::Tensor&, const at::Tensor&, int64_t,
                             int64_t, int64_t,
                             const std::optional<at::Tensor>&);

const QuantLayout& LayoutOf(int64_t format) {
  const QuantLayout* layout = FindQuantLayout(format);
  TORCH_CHECK(layout != nullptr, "quantized_linear: format ", format,
              " is not a quantised type of GGML that is supported (2, 3, 6, 7, "
              "8, 10 to 14)");
  return *layout;
}

// Rows of packed weights; throws where sizes or the tensor cannot be.
const QuantLayout& CheckSizes(int64_t format, int64_t out_features,
                              int64_t in_features) {
  const QuantLayout& layout = LayoutOf(format);
  TORCH_CHECK(out_features >= 0 && in_features >= 0 &&
                  out_features < int64_t{1} << 31 &&
                  in_features < int64_t{1} << 31,
              "quantized_linear: [", out_features, ", ", in_features,
              "] is not a size of a weight");
  TORCH_CHECK(in_features % layout.file_block == 0,
              "quantized_linear: ", in_features, " inputs, but format ", format,
              " has blocks of ", layout.file_block);
  return layout;
}

std::vector<int64_t> PackedSizes(const QuantLayout& layout,
                                 int64_t out_features, int64_t in_features) {
  return {(out_features + kQuantTileRows - 1) / kQuantTileRows,
          in_features / layout.block, layout.BlockBytes()};
}

const QuantLayout& CheckPacked(const at::Tensor& packed, int64_t format,
                               int64_t out_features, int64_t in_features) {
  const QuantLayout& layout = CheckSizes(format, out_features, in_features);
  const std::vector<int64_t> sizes =
      PackedSizes(layout, out_features, in_features);
  TORCH_CHECK(packed.scalar_type() == at::kByte && packed.sizes() == sizes &&
                  packed.is_contiguous(),
              "quantized_linear: packed is ", packed.dtype(), " ",
              packed.sizes(), ", expected contiguous uint8 ",
              at::IntArrayRef(sizes), " of PackQuantized for format ", format,
              ", [", out_features, ", ", in_features, "]");
  TORCH_CHECK(packed.device().is_cpu(), "quantized_linear: packed is on ",
              packed.device(),
              ", expected the CPU: dequantise the weight for a GPU");
  return layout;
}

void Check(const at::Tensor& x, const at::Tensor& packed, int64_t format,
           int64_t out_features, int64_t in_features,
           const std::optional<at::Tensor>& bias) {
  CheckPacked(packed, format, out_features, in_features);
  TORCH_CHECK(x.dim() >= 1 && x.size(-1) == in_features,
              "quantized_linear: x is ", x.sizes(), ", expected [..., ",
              in_features, "]");
  TORCH_CHECK(x.is_floating_point(), "quantized_linear: x is ", x.dtype(),
              ", expected a floating dtype");
  TORCH_CHECK(x.device().is_cpu(), "quantized_linear: x is on ", x.device(),
              ", expected the CPU");
  if (!bias.has_value()) return;
  TORCH_CHECK(bias->dim() == 1 && bias->size(0) == out_features &&
                  bias->is_floating_point() && bias->device().is_cpu(),
              "quantized_linear: bias is ", bias->dtype(), " ", bias->sizes(),
              " on ", bias->device(), ", expected [", out_features,
              "] of a floating dtype on the CPU");
}

at::Tensor CallForward(const at::Tensor& x, const at::Tensor& packed,
                       int64_t format, int64_t out_features,
                       int64_t in_features,
                       const std::optional<at::Tensor>& bias) {
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("repro::quantized_linear_forward", "")
          .typed<ForwardOp>();
  return op.call(x, packed, format, out_features, in_features, bias);
}

struct QuantizedLinearFunction
    : torch::autograd::Function<QuantizedLinearFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& packed, int64_t format,
                            int64_t out_features, int64_t in_features,
                            const std::optional<at::Tensor>& bias) {
    at::AutoDispatchBelowADInplaceOrView guard;
    context->save_for_backward({packed});
    context->saved_data["format"] = format;
    context->saved_data["out"] = out_features;
    context->saved_data["in"] = in_features;
    context->saved_data["x_dtype"] = static_cast<int64_t>(x.scalar_type());
    if (bias.has_value()) {
      context->saved_data["bias_dtype"] =
          static_cast<int64_t>(bias->scalar_type());
    }
    return CallForward(x, packed, format, out_features, in_features, bias);
  }

  // dx = dy W, dbias = the sum of dy over rows.
  static variable_list backward(AutogradContext* context,
                                const variable_list& gradients) {
    const auto saved = [context](const char* name) {
      return context->saved_data[name].toInt();
    };
    const at::Tensor dy = gradients[0].to(at::kFloat);
    const at::Tensor weight =
        UnpackDequantized(context->get_saved_variables()[0], saved("format"),
                          saved("out"), saved("in"));
    const at::Tensor dx =
        at::matmul(dy, weight)
            .to(static_cast<at::ScalarType>(saved("x_dtype")));
    at::Tensor dbias;
    if (context->saved_data.count("bias_dtype") > 0) {
      dbias = dy.reshape({-1, dy.size(-1)})
                  .sum(0)
                  .to(static_cast<at::ScalarType>(saved("bias_dtype")));
    }
    return {dx, at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor(), dbias};
  }
};

at::Tensor QuantizedLinearAny(const at::Tensor& x, const at::Tensor& packed,
                              int64_t format, int64_t out_features,
                              int64_t in_features,
                              const std::optional<at::Tensor>& bias) {
  Check(x, packed, format, out_features, in_features, bias);
  return CallForward(x, packed, format, out_features, in_features, bias);
}

at::Tensor QuantizedLinearAutograd(const at::Tensor& x,
                                   const at::Tensor& packed, int64_t format,
                                   int64_t out_features, int64_t in_features,
                                   const std::optional<at::Tensor>& bias) {
  Check(x, packed, format, out_features, in_features, bias);
  if (!at::GradMode::is_enabled() ||
      !(x.requires_grad() || (bias.has_value() && bias->requires_grad()))) {
    at::AutoDispatchBelowADInplaceOrView guard;
    return CallForward(x, packed, format, out_features, in_features, bias);
  }
  return QuantizedLinearFunction::apply(x, packed, format, out_features,
                                        in_features, bias);
}

TORCH_LIBRARY_FRAGMENT(repro, m) {
  m.def(
      "quantized_linear(Tensor x, Tensor packed, int format, int out_features, "
      "int in_features, Tensor? bias=None) -> Tensor");
  m.def(
      "quantized_linear_forward(Tensor x, Tensor packed, int format, int "
      "out_features, int in_features, Tensor? bias) -> Tensor");
  m.def(
      "pack_quantized(Tensor blocks, int format, int out_features, int "
      "in_features) -> Tensor",
      PackQuantized);
  m.def(
      "quantized_rows(Tensor packed, int format, int out_features, int "
      "in_features, Tensor rows) -> Tensor",
      QuantizedRows);
  m.def(
      "unpack_dequantized(Tensor packed, int format, int out_features, int "
      "in_features) -> Tensor",
      UnpackDequantized);
}

TORCH_LIBRARY_IMPL(repro, Autograd, m) {
  m.impl("quantized_linear", QuantizedLinearAutograd);
}

TORCH_LIBRARY_IMPL(repro, CompositeExplicitAutograd, m) {
  m.impl("quantized_linear", QuantizedLinearAny);
}

}  // namespace

bool IsQuantFormat(int64_t format) {
  return FindQuantLayout(format) != nullptr;
}

int64_t QuantBlockSize(int64_t format) { return LayoutOf(format).file_block; }

int64_t QuantBlockBytes(int64_t format) { return LayoutOf(format).file_bytes; }

at::Tensor PackQuantized(const at::Tensor& blocks, int64_t format,
                         int64_t out_features, int64_t in_features) {
  const QuantLayout& layout = CheckSizes(format, out_features, in_features);
  const int64_t row_bytes = in_features / layout.file_block * layout.file_bytes;
  TORCH_CHECK(
      blocks.scalar_type() == at::kByte && blocks.device().is_cpu() &&
          blocks.is_contiguous() && blocks.numel() == out_features * row_bytes,
      "quantized_linear: blocks is ", blocks.dtype(), " ", blocks.sizes(),
      " on ", blocks.device(), ", expected contiguous uint8 on the CPU, ",
      out_features * row_bytes, " bytes for [", out_features, ", ", in_features,
      "] in format ", format);
  const std::vector<int64_t> sizes =
      PackedSizes(layout, out_features, in_features);
  const at::Tensor packed = at::empty(sizes, at::kByte);
  if (packed.numel() == 0) return packed;
  const uint8_t* from = blocks.const_data_ptr<uint8_t>();
  uint8_t* to = packed.mutable_data_ptr<uint8_t>();
  const int64_t tile_bytes = sizes[1] * sizes[2];
  at::parallel_for(0, sizes[0], 1, [&](int64_t begin, int64_t end) {
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t row = tile * kQuantTileRows;
      PackQuantTile(layout, from + row * row_bytes,
                    static_cast<int>(
                        std::min<int64_t>(kQuantTileRows, out_features - row)),
                    row_bytes, in_features, to + tile * tile_bytes);
    }
  });
  return packed;
}

at::Tensor QuantizedLinear(const at::Tensor& x, const at::Tensor& packed,
                           int64_t format, int64_t out_features,
                           int64_t in_features,
                           const std::optional<at::Tensor>& bias) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("repro::quantized_linear", "")
                             .typed<ForwardOp>();
  return op.call(x, packed, format, out_features, in_features, bias);
}

at::Tensor QuantizedRows(const at::Tensor& packed, int64_t format,
                         int64_t out_features, int64_t in_features,
                         const at::Tensor& rows) {
  const QuantLayout& layout =
      CheckPacked(packed, format, out_features, in_features);
  TORCH_CHECK(rows.scalar_type() == at::kLong && rows.device().is_cpu(),
              "quantized_linear: rows is ", rows.dtype(), " on ", rows.device(),
              ", expected int64 on the CPU");
  const at::Tensor dense = rows.contiguous();
  const int64_t* ids = dense.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < dense.numel(); ++i) {
    TORCH_CHECK(ids[i] >= 0 && ids[i] < out_features, "quantized_linear: row ",
                ids[i], " of ", out_features);
  }
  std::vector<int64_t> sizes = rows.sizes().vec();
  sizes.push_back(in_features);
  const at::Tensor out = at::empty(sizes, at::kFloat);
  if (out.numel() == 0) return out;
  const uint8_t* from = packed.const_data_ptr<uint8_t>();
  float* to = out.mutable_data_ptr<float>();
  const int64_t blocks = in_features / layout.block;
  const int64_t grain = std::max<int64_t>(1, (1 << 15) / in_features);
  at::parallel_for(0, dense.numel(), grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      UnpackQuantRow(
          layout, from + ids[i] / kQuantTileRows * blocks * layout.BlockBytes(),
          static_cast<int>(ids[i] % kQuantTileRows), blocks,
          to + i * in_features);
    }
  });
  return out;
}

at::Tensor UnpackDequantized(const at::Tensor& packed, int64_t format,
                             int64_t out_features, int64_t in_features) {
  CheckSizes(format, out_features, in_features);
  return QuantizedRows(packed, format, out_features, in_features,
                       at::arange(out_features, at::kLong));
}

}  // namespace repro
