#include "kernels/rms_norm/rms_norm.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

namespace repro {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

using ForwardOp = std::tuple<at::Tensor, at::Tensor>(
    const at::Tensor&, const std::optional<at::Tensor>&, double);
using BackwardOp = std::tuple<at::Tensor, at::Tensor>(
    const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&,
    const at::Tensor&);

void Check(const at::Tensor& x, const std::optional<at::Tensor>& weight) {
  TORCH_CHECK(x.dim() >= 1, "rms_norm: x has no axis");
  TORCH_CHECK(x.is_floating_point(), "rms_norm: x is ", x.dtype(),
              ", expected a floating dtype");
  if (!weight.has_value()) return;
  TORCH_CHECK(weight->dim() == 1 && weight->size(0) == x.size(-1),
              "rms_norm: weight is ", weight->sizes(), ", expected [",
              x.size(-1), "], the last axis of x ", x.sizes());
  TORCH_CHECK(weight->device() == x.device(), "rms_norm: weight is on ",
              weight->device(), " and x on ", x.device());
  TORCH_CHECK(weight->dtype() == x.dtype() || weight->dtype() == at::kFloat,
              "rms_norm: weight is ", weight->dtype(), ", expected ", x.dtype(),
              " or float");
}

std::tuple<at::Tensor, at::Tensor> CallForward(
    const at::Tensor& x, const std::optional<at::Tensor>& weight, double eps) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("repro::rms_norm_forward", "")
                             .typed<ForwardOp>();
  return op.call(x, weight, eps);
}

struct RmsNormFunction : torch::autograd::Function<RmsNormFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            const std::optional<at::Tensor>& weight,
                            double eps) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const auto [y, inverse_rms] = CallForward(x, weight, eps);
    context->save_for_backward(
        {x, weight.has_value() ? *weight : at::Tensor(), inverse_rms});
    return y;
  }

  static variable_list backward(AutogradContext* context,
                                const variable_list& gradients) {
    static const auto op =
        c10::Dispatcher::singleton()
            .findSchemaOrThrow("repro::rms_norm_backward", "")
            .typed<BackwardOp>();
    const variable_list saved = context->get_saved_variables();
    std::optional<at::Tensor> weight;
    if (saved[1].defined()) weight = saved[1];
    const auto [dx, dweight] =
        op.call(gradients[0], saved[0], weight, saved[2]);
    return {dx, weight.has_value() ? dweight : at::Tensor(), at::Tensor()};
  }
};

at::Tensor RmsNormAutograd(const at::Tensor& x,
                           const std::optional<at::Tensor>& weight,
                           double eps) {
  Check(x, weight);
  return RmsNormFunction::apply(x, weight, eps);
}

// Below autograd, as in inference mode.
at::Tensor RmsNormAny(const at::Tensor& x,
                      const std::optional<at::Tensor>& weight, double eps) {
  Check(x, weight);
  return std::get<0>(CallForward(x, weight, eps));
}

TORCH_LIBRARY_FRAGMENT(repro, m) {
  m.def("rms_norm(Tensor x, Tensor? weight=None, float eps=1e-6) -> Tensor");
  // -> (y, 1 / rms [rows] in float32 or float64)
  m.def(
      "rms_norm_forward(Tensor x, Tensor? weight, float eps) -> (Tensor, "
      "Tensor)");
  // -> (dx, dweight; an empty tensor without a weight)
  m.def(
      "rms_norm_backward(Tensor dy, Tensor x, Tensor? weight, Tensor "
      "inverse_rms) -> (Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(repro, Autograd, m) { m.impl("rms_norm", RmsNormAutograd); }

TORCH_LIBRARY_IMPL(repro, CompositeExplicitAutograd, m) {
  m.impl("rms_norm", RmsNormAny);
}

}  // namespace

at::Tensor RmsNorm(const at::Tensor& x, const std::optional<at::Tensor>& weight,
                   double eps) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("repro::rms_norm", "")
                             .typed<decltype(RmsNorm)>();
  return op.call(x, weight, eps);
}

}  // namespace repro
