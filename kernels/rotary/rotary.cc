#include "kernels/rotary/rotary.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <utility>

namespace repro {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

void Check(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  TORCH_CHECK(x.dim() >= 2, "rotary: x is ", x.sizes(),
              ", expected [..., tokens, dim]");
  TORCH_CHECK(x.is_floating_point(), "rotary: x is ", x.dtype(),
              ", expected a floating dtype");
  TORCH_CHECK(x.size(-1) % 2 == 0, "rotary: x is ", x.sizes(),
              ", expected an even last axis");
  for (const auto& [name, table] :
       {std::pair<const char*, at::Tensor>{"cos", cos}, {"sin", sin}}) {
    TORCH_CHECK(table.dim() == 2 && table.size(0) == x.size(-2) &&
                    2 * table.size(1) == x.size(-1),
                "rotary: ", name, " is ", table.sizes(), ", expected [",
                x.size(-2), ", ", x.size(-1) / 2, "] for x ", x.sizes());
    TORCH_CHECK(table.scalar_type() == at::kFloat ||
                    (table.is_cpu() && table.scalar_type() == at::kDouble),
                "rotary: ", name, " is ", table.dtype(), ", expected float");
    TORCH_CHECK(table.device() == x.device(), "rotary: ", name, " is on ",
                table.device(), " and x on ", x.device());
  }
}

at::Tensor CallForward(const at::Tensor& x, const at::Tensor& cos,
                       const at::Tensor& sin) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("repro::rotary_forward", "")
                             .typed<decltype(Rotary)>();
  return op.call(x, cos, sin);
}

struct RotaryFunction : torch::autograd::Function<RotaryFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& cos, const at::Tensor& sin) {
    at::AutoDispatchBelowADInplaceOrView guard;
    context->save_for_backward({cos, sin});
    return CallForward(x, cos, sin);
  }

  // The transpose of a rotation is the rotation back.
  static variable_list backward(AutogradContext* context,
                                const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    return {CallForward(gradients[0], saved[0], -saved[1]), at::Tensor(),
            at::Tensor()};
  }
};

at::Tensor RotaryAutograd(const at::Tensor& x, const at::Tensor& cos,
                          const at::Tensor& sin) {
  Check(x, cos, sin);
  return RotaryFunction::apply(x, cos, sin);
}

// Below autograd, as in inference mode.
at::Tensor RotaryAny(const at::Tensor& x, const at::Tensor& cos,
                     const at::Tensor& sin) {
  Check(x, cos, sin);
  return CallForward(x, cos, sin);
}

TORCH_LIBRARY_FRAGMENT(repro, m) {
  m.def("rotary(Tensor x, Tensor cos, Tensor sin) -> Tensor");
  m.def("rotary_forward(Tensor x, Tensor cos, Tensor sin) -> Tensor");
}

TORCH_LIBRARY_IMPL(repro, Autograd, m) { m.impl("rotary", RotaryAutograd); }

TORCH_LIBRARY_IMPL(repro, CompositeExplicitAutograd, m) {
  m.impl("rotary", RotaryAny);
}

}  // namespace

at::Tensor Rotary(const at::Tensor& x, const at::Tensor& cos,
                  const at::Tensor& sin) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("repro::rotary", "")
                             .typed<decltype(Rotary)>();
  return op.call(x, cos, sin);
}

}  // namespace repro
