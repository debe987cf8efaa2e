#include "kernels/swiglu/swiglu.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

namespace repro {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

using ForwardOp = at::Tensor(const at::Tensor&);
using BackwardOp = at::Tensor(const at::Tensor&, const at::Tensor&);

void Check(const at::Tensor& gate_up) {
  TORCH_CHECK(gate_up.dim() >= 1, "swiglu: gate_up has no axis");
  TORCH_CHECK(gate_up.is_floating_point(), "swiglu: gate_up is ",
              gate_up.dtype(), ", expected a floating dtype");
  TORCH_CHECK(gate_up.size(-1) % 2 == 0, "swiglu: gate_up is ", gate_up.sizes(),
              ", expected an even last axis");
}

at::Tensor CallForward(const at::Tensor& gate_up) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("repro::swiglu_forward", "")
                             .typed<ForwardOp>();
  return op.call(gate_up);
}

struct SwiGluFunction : torch::autograd::Function<SwiGluFunction> {
  static at::Tensor forward(AutogradContext* context,
                            const at::Tensor& gate_up) {
    at::AutoDispatchBelowADInplaceOrView guard;
    context->save_for_backward({gate_up});
    return CallForward(gate_up);
  }

  static variable_list backward(AutogradContext* context,
                                const variable_list& gradients) {
    static const auto op = c10::Dispatcher::singleton()
                               .findSchemaOrThrow("repro::swiglu_backward", "")
                               .typed<BackwardOp>();
    return {op.call(gradients[0], context->get_saved_variables()[0])};
  }
};

at::Tensor SwiGluAutograd(const at::Tensor& gate_up) {
  Check(gate_up);
  return SwiGluFunction::apply(gate_up);
}

// Below autograd, as in inference mode.
at::Tensor SwiGluAny(const at::Tensor& gate_up) {
  Check(gate_up);
  return CallForward(gate_up);
}

TORCH_LIBRARY_FRAGMENT(repro, m) {
  m.def("swiglu(Tensor gate_up) -> Tensor");
  m.def("swiglu_forward(Tensor gate_up) -> Tensor");
  m.def("swiglu_backward(Tensor dy, Tensor gate_up) -> Tensor");
}

TORCH_LIBRARY_IMPL(repro, Autograd, m) { m.impl("swiglu", SwiGluAutograd); }

TORCH_LIBRARY_IMPL(repro, CompositeExplicitAutograd, m) {
  m.impl("swiglu", SwiGluAny);
}

}  // namespace

at::Tensor SwiGlu(const at::Tensor& gate_up) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("repro::swiglu", "")
                             .typed<decltype(SwiGlu)>();
  return op.call(gate_up);
}

}  // namespace repro
