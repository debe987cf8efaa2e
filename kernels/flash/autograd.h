// Autograd of softmax attention that hides keys by a rule of one number (a
// window, a chunk size), from a forward and a backward operator.
#ifndef REPRO_KERNELS_FLASH_AUTOGRAD_H_
#define REPRO_KERNELS_FLASH_AUTOGRAD_H_

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/custom_function.h>

#include <optional>
#include <tuple>

namespace repro {

// Op::kForward names an operator (q, k, v, rule, scale) -> (out, log_sum) and
// Op::kBackward one of (grad_out, q, k, v, out, log_sum, rule, scale) ->
// (grad_q, grad_k, grad_v).
template <typename Op>
struct FlashAutograd : torch::autograd::Function<FlashAutograd<Op>> {
  using Context = torch::autograd::AutogradContext;
  using Tensors = torch::autograd::variable_list;

  // Implementations for the dispatch keys Autograd and, as in inference mode,
  // below it.
  static at::Tensor Autograd(const at::Tensor& q, const at::Tensor& k,
                             const at::Tensor& v, int64_t rule,
                             std::optional<double> scale) {
    return FlashAutograd::apply(q, k, v, rule, scale);
  }
  static at::Tensor BelowAutograd(const at::Tensor& q, const at::Tensor& k,
                                  const at::Tensor& v, int64_t rule,
                                  std::optional<double> scale) {
    return std::get<0>(CallForward(q, k, v, rule, scale));
  }

  static at::Tensor forward(Context* context, const at::Tensor& q,
                            const at::Tensor& k, const at::Tensor& v,
                            int64_t rule, std::optional<double> scale) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const auto [out, log_sum] = CallForward(q, k, v, rule, scale);
    context->save_for_backward({q, k, v, out, log_sum});
    context->saved_data["rule"] = rule;
    context->saved_data["scale"] = scale;
    return out;
  }

  static Tensors backward(Context* context, const Tensors& grads) {
    const Tensors saved = context->get_saved_variables();
    const auto [grad_q, grad_k, grad_v] =
        CallBackward(grads[0], saved[0], saved[1], saved[2], saved[3], saved[4],
                     context->saved_data["rule"].toInt(),
                     context->saved_data["scale"].toOptional<double>());
    return {grad_q, grad_k, grad_v, at::Tensor(), at::Tensor()};
  }

 private:
  static std::tuple<at::Tensor, at::Tensor> CallForward(
      const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
      int64_t rule, std::optional<double> scale) {
    static const auto op = c10::Dispatcher::singleton()
                               .findSchemaOrThrow(Op::kForward, "")
                               .template typed<decltype(CallForward)>();
    return op.call(q, k, v, rule, scale);
  }

  static std::tuple<at::Tensor, at::Tensor, at::Tensor> CallBackward(
      const at::Tensor& grad_out, const at::Tensor& q, const at::Tensor& k,
      const at::Tensor& v, const at::Tensor& out, const at::Tensor& log_sum,
      int64_t rule, std::optional<double> scale) {
    static const auto op = c10::Dispatcher::singleton()
                               .findSchemaOrThrow(Op::kBackward, "")
                               .template typed<decltype(CallBackward)>();
    return op.call(grad_out, q, k, v, out, log_sum, rule, scale);
  }
};

}  // namespace repro

#endif  // REPRO_KERNELS_FLASH_AUTOGRAD_H_
