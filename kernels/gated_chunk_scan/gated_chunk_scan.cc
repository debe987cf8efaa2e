// Schemas, autograd and the C++ entry points.
#include "kernels/gated_chunk_scan/gated_chunk_scan.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/util/Exception.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

namespace repro {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

std::tuple<at::Tensor, at::Tensor, at::Tensor> Backward(
    const at::Tensor& gate, const at::Tensor& k, const at::Tensor& v,
    const at::Tensor& k_average, const at::Tensor& v_average,
    const at::Tensor& grad_k_average, const at::Tensor& grad_v_average,
    int64_t chunk_size) {
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("repro::gated_chunk_scan_backward", "")
          .typed<decltype(Backward)>();
  return op.call(gate, k, v, k_average, v_average, grad_k_average,
                 grad_v_average, chunk_size);
}

class ScanFunction : public torch::autograd::Function<ScanFunction> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& gate,
                               const at::Tensor& k, const at::Tensor& v,
                               int64_t chunk_size) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const auto [k_average, v_average] = GatedChunkScan(gate, k, v, chunk_size);
    context->save_for_backward({gate, k, v, k_average, v_average});
    context->saved_data["chunk_size"] = chunk_size;
    return {k_average, v_average};
  }

  static variable_list backward(AutogradContext* context,
                                const variable_list& grads) {
    const variable_list saved = context->get_saved_variables();
    const auto [gate, k, v] =
        Backward(saved[0], saved[1], saved[2], saved[3], saved[4], grads[0],
                 grads[1], context->saved_data["chunk_size"].toInt());
    return {gate, k, v, at::Tensor()};
  }
};

// Only so that a second differentiation fails instead of giving zeros.
class BackwardFunction : public torch::autograd::Function<BackwardFunction> {
 public:
  static variable_list forward(AutogradContext*, const at::Tensor& gate,
                               const at::Tensor& k, const at::Tensor& v,
                               const at::Tensor& k_average,
                               const at::Tensor& v_average,
                               const at::Tensor& grad_k_average,
                               const at::Tensor& grad_v_average,
                               int64_t chunk_size) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const auto [grad_gate, grad_k, grad_v] =
        Backward(gate, k, v, k_average, v_average, grad_k_average,
                 grad_v_average, chunk_size);
    return {grad_gate, grad_k, grad_v};
  }

  static variable_list backward(AutogradContext*, const variable_list&) {
    TORCH_CHECK(false, "gated_chunk_scan cannot be differentiated twice");
  }
};

std::tuple<at::Tensor, at::Tensor> ScanAutograd(const at::Tensor& gate,
                                                const at::Tensor& k,
                                                const at::Tensor& v,
                                                int64_t chunk_size) {
  const variable_list out = ScanFunction::apply(gate, k, v, chunk_size);
  return {out[0], out[1]};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> BackwardAutograd(
    const at::Tensor& gate, const at::Tensor& k, const at::Tensor& v,
    const at::Tensor& k_average, const at::Tensor& v_average,
    const at::Tensor& grad_k_average, const at::Tensor& grad_v_average,
    int64_t chunk_size) {
  const variable_list out =
      BackwardFunction::apply(gate, k, v, k_average, v_average, grad_k_average,
                              grad_v_average, chunk_size);
  return {out[0], out[1], out[2]};
}

TORCH_LIBRARY_FRAGMENT(repro, m) {
  m.def(
      "gated_chunk_scan(Tensor gate, Tensor k, Tensor v, int chunk_size) -> "
      "(Tensor, Tensor)");
  m.def(
      "gated_chunk_scan_backward(Tensor gate, Tensor k, Tensor v, "
      "Tensor k_average, Tensor v_average, Tensor grad_k_average, "
      "Tensor grad_v_average, int chunk_size) -> (Tensor, Tensor, Tensor)");
  m.def(
      "gated_chunk_scan_step(Tensor gate, Tensor k, Tensor v, Tensor first, "
      "Tensor(a!) k_state, Tensor(b!) v_state) -> ()");
}

TORCH_LIBRARY_IMPL(repro, Autograd, m) {
  m.impl("gated_chunk_scan", ScanAutograd);
  m.impl("gated_chunk_scan_backward", BackwardAutograd);
}

}  // namespace

std::tuple<at::Tensor, at::Tensor> GatedChunkScan(const at::Tensor& gate,
                                                  const at::Tensor& k,
                                                  const at::Tensor& v,
                                                  int64_t chunk_size) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("repro::gated_chunk_scan", "")
                             .typed<decltype(GatedChunkScan)>();
  return op.call(gate, k, v, chunk_size);
}

void GatedChunkScanStep(const at::Tensor& gate, const at::Tensor& k,
                        const at::Tensor& v, const at::Tensor& first,
                        const at::Tensor& k_state, const at::Tensor& v_state) {
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("repro::gated_chunk_scan_step", "")
          .typed<decltype(GatedChunkScanStep)>();
  op.call(gate, k, v, first, k_state, v_state);
}

}  // namespace repro
