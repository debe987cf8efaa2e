#include "kernels/decode_linear/decode_linear.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

namespace repro {
namespace {

using OptionalTensor = std::optional<at::Tensor>;

using Op = void(const at::Tensor& out, const at::Tensor& x,
                const at::Tensor& weight, const OptionalTensor& norm,
                double eps, const OptionalTensor& bias, int64_t use);

// What the kernel takes; its x lies in shared memory.
constexpr int64_t kMaxColumns = 24576;

bool Aligned(const at::Tensor& x) {
  return x.is_contiguous() &&
         reinterpret_cast<uintptr_t>(x.const_data_ptr()) % 16 == 0;
}

bool IsOneVector(const at::Tensor& out, const at::Tensor& x,
                 const at::Tensor& weight, const OptionalTensor& norm,
                 const OptionalTensor& bias) {
  const auto type = x.scalar_type();
  return x.is_cuda() && x.size(0) == 1 && out.size(1) > 0 &&
         (type == at::kHalf || type == at::kBFloat16) && x.size(1) % 8 == 0 &&
         x.size(1) <= kMaxColumns && Aligned(out) && Aligned(x) &&
         Aligned(weight) && (!norm.has_value() || Aligned(*norm)) &&
         (!bias.has_value() || Aligned(*bias));
}

void Checked(const at::Tensor& out, const at::Tensor& x,
             const at::Tensor& weight, const OptionalTensor& norm, double eps,
             const OptionalTensor& bias, int64_t use) {
  TORCH_CHECK(use >= 0 && use <= 2, "decode_linear_: use ", use,
              ", expected 0 (write), 1 (add) or 2 (swiglu)");
  TORCH_CHECK(x.dim() == 2 && x.is_floating_point() && x.size(1) > 0,
              "decode_linear_: x is ", x.dtype(), " ", x.sizes(),
              ", expected a floating [tokens, columns]");
  TORCH_CHECK(out.dim() == 2 && out.size(0) == x.size(0) &&
                  (out.dtype() == x.dtype() || out.dtype() == at::kFloat),
              "decode_linear_: out is ", out.dtype(), " ", out.sizes(),
              " for x ", x.dtype(), " ", x.sizes());
  const int64_t rows = out.size(1) * (use == 2 ? 2 : 1);
  TORCH_CHECK(weight.dim() == 2 && weight.size(0) == rows &&
                  weight.size(1) == x.size(1),
              "decode_linear_: weight is ", weight.sizes(), ", expected [",
              rows, ", ", x.size(1), "]");
  TORCH_CHECK(
      !norm.has_value() || (norm->dim() == 1 && norm->size(0) == x.size(1)),
      "decode_linear_: norm is ", norm.has_value() ? norm->sizes() : x.sizes(),
      ", expected [", x.size(1), "]");
  TORCH_CHECK(!bias.has_value() || (bias->dim() == 1 && bias->size(0) == rows),
              "decode_linear_: bias is ",
              bias.has_value() ? bias->sizes() : x.sizes(), ", expected [",
              rows, "]");
  const auto check_like = [&](const at::Tensor& t, const char* name) {
    TORCH_CHECK(t.device() == x.device() && t.dtype() == x.dtype(),
                "decode_linear_: ", name, " is ", t.dtype(), " on ", t.device(),
                " and x ", x.dtype(), " on ", x.device());
  };
  check_like(weight, "weight");
  if (norm.has_value()) check_like(*norm, "norm");
  if (bias.has_value()) check_like(*bias, "bias");
  TORCH_CHECK(out.device() == x.device(), "decode_linear_: out is on ",
              out.device(), " and x on ", x.device());
  static const auto composed =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("repro::decode_linear_composed", "")
          .typed<Op>();
  static const auto vector =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("repro::decode_linear_vector", "")
          .typed<Op>();
  (IsOneVector(out, x, weight, norm, bias) ? vector : composed)
      .call(out, x, weight, norm, eps, bias, use);
}

TORCH_LIBRARY_FRAGMENT(repro, m) {
  // use: 0 writes, 1 adds, 2 is SwiGLU.
  m.def(
      "decode_linear_(Tensor(a!) out, Tensor x, Tensor weight, Tensor? "
      "norm=None, float eps=1e-6, Tensor? bias=None, int use=0) -> ()");
  // Of LibTorch's operators, on any device.
  m.def(
      "decode_linear_composed(Tensor(a!) out, Tensor x, Tensor weight, Tensor? "
      "norm, float eps, Tensor? bias, int use) -> ()");
  // Of one token: a kernel of its own on CUDA.
  m.def(
      "decode_linear_vector(Tensor(a!) out, Tensor x, Tensor weight, Tensor? "
      "norm, float eps, Tensor? bias, int use) -> ()");
}

TORCH_LIBRARY_IMPL(repro, CompositeExplicitAutograd, m) {
  m.impl("decode_linear_", Checked);
}

}  // namespace

void DecodeLinear(const at::Tensor& out, const at::Tensor& x,
                  const at::Tensor& weight, const OptionalTensor& norm,
                  double eps, const OptionalTensor& bias, DecodeLinearUse use) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("repro::decode_linear_", "")
                             .typed<Op>();
  op.call(out, x, weight, norm, eps, bias, static_cast<int64_t>(use));
}

}  // namespace repro
