#include "kernels/taylor_linear_attention/taylor_linear_attention.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

namespace repro {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using OptionalTensor = std::optional<at::Tensor>;

using PublicOp = std::tuple<at::Tensor, at::Tensor, at::Tensor>(
    const at::Tensor&, const at::Tensor&, const at::Tensor&, bool, double,
    const OptionalTensor&, const OptionalTensor&);
using ForwardOp = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>(
    const at::Tensor&, const at::Tensor&, const at::Tensor&, bool, double,
    const OptionalTensor&, const OptionalTensor&);
using BackwardOp = std::tuple<at::Tensor, at::Tensor, at::Tensor>(
    const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
    const at::Tensor&, const at::Tensor&, bool, const OptionalTensor&,
    const OptionalTensor&);
using StepOp = at::Tensor(const at::Tensor&, const at::Tensor&,
                          const at::Tensor&, const at::Tensor&,
                          const at::Tensor&, bool, double);

// q, k, v of one dtype and device, alike but for v's last axis.
void CheckInputs(const char* op, const at::Tensor& q, const at::Tensor& k,
                 const at::Tensor& v, int64_t axes) {
  TORCH_CHECK(q.dim() == axes && k.dim() == axes && v.dim() == axes, op,
              ": q, k and v need ", axes, " axes, got q ", q.sizes(), ", k ",
              k.sizes(), ", v ", v.sizes());
  TORCH_CHECK(q.sizes() == k.sizes(), op, ": q is ", q.sizes(), " and k is ",
              k.sizes(), ", expected equal shapes");
  TORCH_CHECK(q.sizes().slice(0, axes - 1) == v.sizes().slice(0, axes - 1), op,
              ": v is ", v.sizes(), " and q is ", q.sizes(),
              ", which differ before the last axis");
  TORCH_CHECK(q.size(-1) > 0, op, ": q is ", q.sizes(),
              ", expected a key_dim of at least 1");
  TORCH_CHECK(q.is_floating_point(), op, ": q is ", q.dtype(),
              ", expected a floating dtype");
  TORCH_CHECK(k.dtype() == q.dtype() && v.dtype() == q.dtype(), op, ": q is ",
              q.dtype(), ", k ", k.dtype(), ", v ", v.dtype(),
              ", expected one dtype");
  TORCH_CHECK(k.device() == q.device() && v.device() == q.device(), op,
              ": q is on ", q.device(), ", k on ", k.device(), ", v on ",
              v.device(), ", expected one device");
}

void CheckState(const char* op, const char* name, const at::Tensor& state,
                at::IntArrayRef expected, const at::Tensor& q,
                const at::Tensor& v) {
  TORCH_CHECK(state.sizes() == expected, op, ": ", name, " is ", state.sizes(),
              ", expected ", expected, " for q ", q.sizes(), " and v ",
              v.sizes());
  const auto type = q.dtype() == at::kDouble ? at::kDouble : at::kFloat;
  TORCH_CHECK(state.dtype() == type, op, ": ", name, " is ", state.dtype(),
              ", expected ", type, " for q of ", q.dtype());
  TORCH_CHECK(state.device() == q.device(), op, ": ", name, " is on ",
              state.device(), " and q on ", q.device());
}

void CheckStates(const char* op, const at::Tensor& kv, const at::Tensor& k_sum,
                 const at::Tensor& q, const at::Tensor& v) {
  const int64_t d = q.size(-1), features = 1 + d + d * d;
  CheckState(op, "the state's kv", kv,
             {q.size(0), q.size(1), features, v.size(-1)}, q, v);
  CheckState(op, "the state's k", k_sum, {q.size(0), q.size(1), features}, q,
             v);
}

void Check(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
           const OptionalTensor& initial_kv, const OptionalTensor& initial_k) {
  constexpr char kOp[] = "taylor_linear_attention";
  CheckInputs(kOp, q, k, v, 4);
  TORCH_CHECK(initial_kv.has_value() == initial_k.has_value(), kOp,
              ": initial_kv and initial_k belong together, only one is given");
  if (initial_kv.has_value()) CheckStates(kOp, *initial_kv, *initial_k, q, v);
}

auto CallForward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                 bool normalize, double eps, const OptionalTensor& initial_kv,
                 const OptionalTensor& initial_k) {
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("repro::taylor_linear_attention_forward", "")
          .typed<ForwardOp>();
  return op.call(q, k, v, normalize, eps, initial_kv, initial_k);
}

OptionalTensor IfDefined(const at::Tensor& x) {
  return x.defined() ? OptionalTensor(x) : std::nullopt;
}

struct TaylorLinearAttentionFunction
    : torch::autograd::Function<TaylorLinearAttentionFunction> {
  static variable_list forward(AutogradContext* context, const at::Tensor& q,
                               const at::Tensor& k, const at::Tensor& v,
                               bool normalize, double eps,
                               const OptionalTensor& initial_kv,
                               const OptionalTensor& initial_k) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const auto [y, denominator, kv, k_sum] =
        CallForward(q, k, v, normalize, eps, initial_kv, initial_k);
    context->saved_data["normalize"] = normalize;
    context->save_for_backward({q, k, v, y, denominator,
                                initial_kv.value_or(at::Tensor()),
                                initial_k.value_or(at::Tensor())});
    context->mark_non_differentiable({kv, k_sum});
    return {y, kv, k_sum};
  }

  static variable_list backward(AutogradContext* context,
                                const variable_list& gradients) {
    TORCH_CHECK(!at::GradMode::is_enabled(),
                "taylor_linear_attention: double backward (create_graph) is "
                "not supported");
    static const auto op =
        c10::Dispatcher::singleton()
            .findSchemaOrThrow("repro::taylor_linear_attention_backward", "")
            .typed<BackwardOp>();
    const variable_list saved = context->get_saved_variables();
    const auto [dq, dk, dv] =
        op.call(gradients[0], saved[0], saved[1], saved[2], saved[3], saved[4],
                context->saved_data["normalize"].toBool(), IfDefined(saved[5]),
                IfDefined(saved[6]));
    const at::Tensor none;
    return {dq, dk, dv, none, none, none, none};
  }
};

std::tuple<at::Tensor, at::Tensor, at::Tensor> AttentionAutograd(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    bool normalize, double eps, const OptionalTensor& initial_kv,
    const OptionalTensor& initial_k) {
  Check(q, k, v, initial_kv, initial_k);
  const variable_list results = TaylorLinearAttentionFunction::apply(
      q, k, v, normalize, eps, initial_kv, initial_k);
  return {results[0], results[1], results[2]};
}

// Below autograd, as in inference mode.
std::tuple<at::Tensor, at::Tensor, at::Tensor> AttentionAny(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    bool normalize, double eps, const OptionalTensor& initial_kv,
    const OptionalTensor& initial_k) {
  Check(q, k, v, initial_kv, initial_k);
  const auto [y, denominator, kv, k_sum] =
      CallForward(q, k, v, normalize, eps, initial_kv, initial_k);
  return {y, kv, k_sum};
}

at::Tensor StepAny(const at::Tensor& q, const at::Tensor& k,
                   const at::Tensor& v, const at::Tensor& kv,
                   const at::Tensor& k_sum, bool normalize, double eps) {
  constexpr char kOp[] = "taylor_linear_attention_step";
  CheckInputs(kOp, q, k, v, 3);
  CheckStates(kOp, kv, k_sum, q, v);
  TORCH_CHECK(kv.is_contiguous() && k_sum.is_contiguous(), kOp,
              ": the state, which is updated in place, has strides ",
              kv.strides(), " and ", k_sum.strides(),
              ", expected contiguous tensors");
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("repro::taylor_linear_attention_step_unchecked",
                             "")
          .typed<StepOp>();
  return op.call(q, k, v, kv, k_sum, normalize, eps);
}

at::Tensor StepAutograd(const at::Tensor& q, const at::Tensor& k,
                        const at::Tensor& v, const at::Tensor& kv,
                        const at::Tensor& k_sum, bool normalize, double eps) {
  TORCH_CHECK(
      !at::GradMode::is_enabled() ||
          !(q.requires_grad() || k.requires_grad() || v.requires_grad() ||
            kv.requires_grad() || k_sum.requires_grad()),
      "taylor_linear_attention_step is not differentiable: call it "
      "under NoGradGuard, or taylor_linear_attention for training");
  at::AutoDispatchBelowADInplaceOrView guard;
  return StepAny(q, k, v, kv, k_sum, normalize, eps);
}

TORCH_LIBRARY_FRAGMENT(repro, m) {
  // -> (y, sum phi(k)^T v, sum phi(k))
  m.def(
      "taylor_linear_attention(Tensor q, Tensor k, Tensor v, bool "
      "normalize=True, float eps=1e-12, Tensor? initial_kv=None, Tensor? "
      "initial_k=None) -> (Tensor, Tensor, Tensor)");
  // -> (y, sum f + eps [batch, heads, seq_len] in float32 or float64, the two
  // sums of the state); the denominator is empty without normalize.
  m.def(
      "taylor_linear_attention_forward(Tensor q, Tensor k, Tensor v, bool "
      "normalize, float eps, Tensor? initial_kv, Tensor? initial_k) -> "
      "(Tensor, Tensor, Tensor, Tensor)");
  // -> (dq, dk, dv)
  m.def(
      "taylor_linear_attention_backward(Tensor dy, Tensor q, Tensor k, Tensor "
      "v, Tensor y, Tensor denominator, bool normalize, Tensor? initial_kv, "
      "Tensor? initial_k) -> (Tensor, Tensor, Tensor)");
  m.def(
      "taylor_linear_attention_step(Tensor q, Tensor k, Tensor v, Tensor(a!) "
      "kv, Tensor(b!) k_sum, bool normalize=True, float eps=1e-12) -> Tensor");
  m.def(
      "taylor_linear_attention_step_unchecked(Tensor q, Tensor k, Tensor v, "
      "Tensor(a!) kv, Tensor(b!) k_sum, bool normalize, float eps) -> Tensor");
}

TORCH_LIBRARY_IMPL(repro, Autograd, m) {
  m.impl("taylor_linear_attention", AttentionAutograd);
  m.impl("taylor_linear_attention_step", StepAutograd);
}

TORCH_LIBRARY_IMPL(repro, CompositeExplicitAutograd, m) {
  m.impl("taylor_linear_attention", AttentionAny);
  m.impl("taylor_linear_attention_step", StepAny);
}

}  // namespace

std::tuple<at::Tensor, TaylorState> TaylorLinearAttention(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    bool normalize, double eps,
    const std::optional<TaylorState>& initial_state) {
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("repro::taylor_linear_attention", "")
          .typed<PublicOp>();
  OptionalTensor initial_kv, initial_k;
  if (initial_state.has_value()) {
    initial_kv = initial_state->kv;
    initial_k = initial_state->k;
  }
  const auto [y, kv, k_sum] =
      op.call(q, k, v, normalize, eps, initial_kv, initial_k);
  return {y, TaylorState{kv, k_sum}};
}

at::Tensor TaylorLinearAttentionStep(const at::Tensor& q, const at::Tensor& k,
                                     const at::Tensor& v,
                                     const TaylorState& state, bool normalize,
                                     double eps) {
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("repro::taylor_linear_attention_step", "")
          .typed<StepOp>();
  return op.call(q, k, v, state.kv, state.k, normalize, eps);
}

}  // namespace repro
