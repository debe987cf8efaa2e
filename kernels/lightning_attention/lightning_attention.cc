#include "kernels/lightning_attention/lightning_attention.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

namespace repro {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using OptionalTensor = std::optional<at::Tensor>;

using ForwardOp = std::tuple<at::Tensor, at::Tensor>(
    const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
    const OptionalTensor&, const OptionalTensor&, bool);
using BackwardOp = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>(
    const OptionalTensor&, const OptionalTensor&, const at::Tensor&,
    const at::Tensor&, const at::Tensor&, const at::Tensor&,
    const OptionalTensor&, const OptionalTensor&);

// q, k, v of the same leading axes, dtype and device; decay one slope a head.
void CheckInputs(const char* op, const at::Tensor& q, const at::Tensor& k,
                 const at::Tensor& v, const at::Tensor& decay, int64_t axes) {
  TORCH_CHECK(q.dim() == axes && k.dim() == axes && v.dim() == axes, op,
              ": q, k and v need ", axes, " axes, got q ", q.sizes(), ", k ",
              k.sizes(), ", v ", v.sizes());
  TORCH_CHECK(q.sizes() == k.sizes(), op, ": q is ", q.sizes(), " and k is ",
              k.sizes(), ", expected equal shapes");
  TORCH_CHECK(q.sizes().slice(0, axes - 1) == v.sizes().slice(0, axes - 1), op,
              ": v is ", v.sizes(), " and q is ", q.sizes(),
              ", which differ before the last axis");
  TORCH_CHECK(q.is_floating_point(), op, ": q is ", q.dtype(),
              ", expected a floating dtype");
  TORCH_CHECK(k.dtype() == q.dtype() && v.dtype() == q.dtype(), op, ": q is ",
              q.dtype(), ", k ", k.dtype(), ", v ", v.dtype(),
              ", expected one dtype");
  TORCH_CHECK(k.device() == q.device() && v.device() == q.device() &&
                  decay.device() == q.device(),
              op, ": q is on ", q.device(), ", k on ", k.device(), ", v on ",
              v.device(), ", decay on ", decay.device(),
              ", expected one device");
  TORCH_CHECK(decay.dim() == 1 && decay.size(0) == q.size(1), op, ": decay is ",
              decay.sizes(), ", expected [", q.size(1), "], the heads of q ",
              q.sizes());
  TORCH_CHECK(decay.dtype() == at::kFloat ||
                  (decay.dtype() == at::kDouble && q.dtype() == at::kDouble),
              op, ": decay is ", decay.dtype(), ", expected float");
}

void CheckState(const char* op, const char* name, const at::Tensor& state,
                const at::Tensor& q, const at::Tensor& v, int64_t sequences) {
  TORCH_CHECK(state.sizes() == at::IntArrayRef({sequences, q.size(1),
                                                q.size(-1), v.size(-1)}),
              op, ": ", name, " is ", state.sizes(), ", expected [", sequences,
              ", ", q.size(1), ", ", q.size(-1), ", ", v.size(-1), "] for q ",
              q.sizes(), " and v ", v.sizes());
  TORCH_CHECK(state.dtype() == at::kFloat ||
                  (state.dtype() == at::kDouble && q.dtype() == at::kDouble),
              op, ": ", name, " is ", state.dtype(), ", expected float");
  TORCH_CHECK(state.device() == q.device(), op, ": ", name, " is on ",
              state.device(), " and q on ", q.device());
}

void Check(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
           const at::Tensor& decay, const OptionalTensor& initial_state,
           const OptionalTensor& cu_seqlens) {
  constexpr char kOp[] = "lightning_attention";
  CheckInputs(kOp, q, k, v, decay, 4);
  int64_t sequences = q.size(0);
  if (cu_seqlens.has_value()) {
    TORCH_CHECK(cu_seqlens->dim() == 1 && cu_seqlens->size(0) >= 1, kOp,
                ": cu_seqlens is ", cu_seqlens->sizes(),
                ", expected [sequences + 1]");
    TORCH_CHECK(
        cu_seqlens->dtype() == at::kInt || cu_seqlens->dtype() == at::kLong,
        kOp, ": cu_seqlens is ", cu_seqlens->dtype(), ", expected int or long");
    TORCH_CHECK(cu_seqlens->device() == q.device(), kOp, ": cu_seqlens is on ",
                cu_seqlens->device(), " and q on ", q.device());
    TORCH_CHECK(q.size(0) == 1, kOp, ": q is ", q.sizes(),
                ", with cu_seqlens the batch must be 1");
    sequences = cu_seqlens->size(0) - 1;
  }
  if (initial_state.has_value()) {
    CheckState(kOp, "initial_state", *initial_state, q, v, sequences);
  }
}

std::tuple<at::Tensor, at::Tensor> CallForward(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const at::Tensor& decay, const OptionalTensor& initial_state,
    const OptionalTensor& cu_seqlens, bool output_final_state) {
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("repro::lightning_attention_forward", "")
          .typed<ForwardOp>();
  return op.call(q, k, v, decay, initial_state, cu_seqlens, output_final_state);
}

OptionalTensor IfDefined(const at::Tensor& x) {
  return x.defined() ? OptionalTensor(x) : std::nullopt;
}

struct LightningAttentionFunction
    : torch::autograd::Function<LightningAttentionFunction> {
  static variable_list forward(AutogradContext* context, const at::Tensor& q,
                               const at::Tensor& k, const at::Tensor& v,
                               const at::Tensor& decay,
                               const OptionalTensor& initial_state,
                               const OptionalTensor& cu_seqlens,
                               bool output_final_state) {
    at::AutoDispatchBelowADInplaceOrView guard;
    // A result that has no gradient stays undefined rather than zeros.
    context->set_materialize_grads(false);
    context->save_for_backward({q, k, v, decay,
                                initial_state.value_or(at::Tensor()),
                                cu_seqlens.value_or(at::Tensor())});
    auto [out, state] = CallForward(q, k, v, decay, initial_state, cu_seqlens,
                                    output_final_state);
    return {out, state};
  }

  static variable_list backward(AutogradContext* context,
                                const variable_list& gradients) {
    TORCH_CHECK(!at::GradMode::is_enabled(),
                "lightning_attention: double backward (create_graph) is not "
                "supported");
    static const auto op =
        c10::Dispatcher::singleton()
            .findSchemaOrThrow("repro::lightning_attention_backward", "")
            .typed<BackwardOp>();
    const at::Tensor none;
    if (!gradients[0].defined() && !gradients[1].defined()) {
      return {none, none, none, none, none, none, none};
    }
    const variable_list saved = context->get_saved_variables();
    auto [dq, dk, dv, dinitial_state] = op.call(
        IfDefined(gradients[0]), IfDefined(gradients[1]), saved[0], saved[1],
        saved[2], saved[3], IfDefined(saved[4]), IfDefined(saved[5]));
    return {dq,   dk,  dv, none, saved[4].defined() ? dinitial_state : none,
            none, none};
  }
};

std::tuple<at::Tensor, at::Tensor> LightningAttentionAutograd(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const at::Tensor& decay, const OptionalTensor& initial_state,
    const OptionalTensor& cu_seqlens, bool output_final_state) {
  Check(q, k, v, decay, initial_state, cu_seqlens);
  const variable_list results = LightningAttentionFunction::apply(
      q, k, v, decay, initial_state, cu_seqlens, output_final_state);
  return {results[0], results[1]};
}

// Below autograd, as in inference mode.
std::tuple<at::Tensor, at::Tensor> LightningAttentionAny(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const at::Tensor& decay, const OptionalTensor& initial_state,
    const OptionalTensor& cu_seqlens, bool output_final_state) {
  Check(q, k, v, decay, initial_state, cu_seqlens);
  return CallForward(q, k, v, decay, initial_state, cu_seqlens,
                     output_final_state);
}

at::Tensor StepAny(const at::Tensor& q, const at::Tensor& k,
                   const at::Tensor& v, const at::Tensor& decay,
                   at::Tensor state) {
  constexpr char kOp[] = "lightning_attention_step";
  CheckInputs(kOp, q, k, v, decay, 3);
  CheckState(kOp, "state", state, q, v, q.size(0));
  TORCH_CHECK(state.is_contiguous(), kOp,
              ": state, which is updated in place, has strides ",
              state.strides(), ", expected a contiguous tensor");
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("repro::lightning_attention_step_unchecked", "")
          .typed<decltype(LightningAttentionStep)>();
  return op.call(q, k, v, decay, std::move(state));
}

at::Tensor StepAutograd(const at::Tensor& q, const at::Tensor& k,
                        const at::Tensor& v, const at::Tensor& decay,
                        at::Tensor state) {
  TORCH_CHECK(!at::GradMode::is_enabled() ||
                  !(q.requires_grad() || k.requires_grad() ||
                    v.requires_grad() || state.requires_grad()),
              "lightning_attention_step is not differentiable: call it under "
              "NoGradGuard, or lightning_attention for training");
  at::AutoDispatchBelowADInplaceOrView guard;
  return StepAny(q, k, v, decay, std::move(state));
}

TORCH_LIBRARY_FRAGMENT(repro, m) {
  // -> (out, final state)
  m.def(
      "lightning_attention(Tensor q, Tensor k, Tensor v, Tensor decay, "
      "Tensor? initial_state=None, Tensor? cu_seqlens=None, bool "
      "output_final_state=True) -> (Tensor, Tensor)");
  m.def(
      "lightning_attention_forward(Tensor q, Tensor k, Tensor v, Tensor decay, "
      "Tensor? initial_state, Tensor? cu_seqlens, bool output_final_state) -> "
      "(Tensor, Tensor)");
  // -> (dq, dk, dv, dinitial_state), at least one of dout and dstate given.
  m.def(
      "lightning_attention_backward(Tensor? dout, Tensor? dstate, Tensor q, "
      "Tensor k, Tensor v, Tensor decay, Tensor? initial_state, Tensor? "
      "cu_seqlens) -> (Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "lightning_attention_step(Tensor q, Tensor k, Tensor v, Tensor decay, "
      "Tensor(a!) state) -> Tensor");
  m.def(
      "lightning_attention_step_unchecked(Tensor q, Tensor k, Tensor v, Tensor "
      "decay, Tensor(a!) state) -> Tensor");
}

TORCH_LIBRARY_IMPL(repro, Autograd, m) {
  m.impl("lightning_attention", LightningAttentionAutograd);
  m.impl("lightning_attention_step", StepAutograd);
}

TORCH_LIBRARY_IMPL(repro, CompositeExplicitAutograd, m) {
  m.impl("lightning_attention", LightningAttentionAny);
  m.impl("lightning_attention_step", StepAny);
}

}  // namespace

std::tuple<at::Tensor, at::Tensor> LightningAttention(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const at::Tensor& decay, const std::optional<at::Tensor>& initial_state,
    const std::optional<at::Tensor>& cu_seqlens, bool output_final_state) {
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("repro::lightning_attention", "")
          .typed<decltype(LightningAttention)>();
  return op.call(q, k, v, decay, initial_state, cu_seqlens, output_final_state);
}

at::Tensor LightningAttentionStep(const at::Tensor& q, const at::Tensor& k,
                                  const at::Tensor& v, const at::Tensor& decay,
                                  at::Tensor state) {
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("repro::lightning_attention_step", "")
          .typed<decltype(LightningAttentionStep)>();
  return op.call(q, k, v, decay, std::move(state));
}

}  // namespace repro
