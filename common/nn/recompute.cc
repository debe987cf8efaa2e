#include "common/nn/recompute.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <memory>
#include <utility>

namespace repro {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using TensorFunction = std::function<at::Tensor(const at::Tensor&)>;

// Carries the function through the context, whose saved data are IValues.
struct Holder : torch::CustomClassHolder {
  explicit Holder(TensorFunction f) : function(std::move(f)) {}
  TensorFunction function;
};

class RecomputeFunction : public torch::autograd::Function<RecomputeFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            const c10::intrusive_ptr<Holder>& holder) {
    context->save_for_backward({x});
    context->saved_data["function"] =
        c10::IValue::make_capsule(c10::intrusive_ptr<Holder>(holder));
    return holder->function(x);  // autograd is off inside of a Function
  }

  static variable_list backward(AutogradContext* context,
                                const variable_list& gradients) {
    const auto holder = c10::static_intrusive_pointer_cast<Holder>(
        context->saved_data["function"].toCapsule());
    const at::Tensor x =
        context->get_saved_variables()[0].detach().requires_grad_();
    {
      at::AutoGradMode enable(true);
      holder->function(x).backward(gradients[0]);
    }
    return {x.grad(), at::Tensor()};
  }
};

}  // namespace

at::Tensor Recompute(TensorFunction function, const at::Tensor& x) {
  if (!at::GradMode::is_enabled()) return function(x);
  // The node must exist for the sake of the leaves, x's gradient or not.
  return RecomputeFunction::apply(
      x.requires_grad() ? x : x.detach().requires_grad_(),
      c10::make_intrusive<Holder>(std::move(function)));
}

}  // namespace repro
