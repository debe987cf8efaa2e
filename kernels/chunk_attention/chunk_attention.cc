// Schemas, autograd and the C++ entry points.
#include "kernels/chunk_attention/chunk_attention.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <tuple>

namespace repro {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

std::tuple<at::Tensor, at::Tensor> Forward(const at::Tensor& q,
                                           const at::Tensor& k,
                                           const at::Tensor& v,
                                           int64_t chunk_size,
                                           std::optional<double> scale) {
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("repro::chunk_attention_forward", "")
          .typed<decltype(Forward)>();
  return op.call(q, k, v, chunk_size, scale);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> Backward(
    const at::Tensor& grad_out, const at::Tensor& q, const at::Tensor& k,
    const at::Tensor& v, const at::Tensor& out, const at::Tensor& log_sum,
    int64_t chunk_size, std::optional<double> scale) {
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("repro::chunk_attention_backward", "")
          .typed<decltype(Backward)>();
  return op.call(grad_out, q, k, v, out, log_sum, chunk_size, scale);
}

struct AttentionFunction : torch::autograd::Function<AttentionFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& q,
                            const at::Tensor& k, const at::Tensor& v,
                            int64_t chunk_size, std::optional<double> scale) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const auto [out, log_sum] = Forward(q, k, v, chunk_size, scale);
    context->save_for_backward({q, k, v, out, log_sum});
    context->saved_data["chunk_size"] = chunk_size;
    context->saved_data["scale"] = scale;
    return out;
  }

  static variable_list backward(AutogradContext* context,
                                const variable_list& grads) {
    const variable_list saved = context->get_saved_variables();
    const auto [grad_q, grad_k, grad_v] =
        Backward(grads[0], saved[0], saved[1], saved[2], saved[3], saved[4],
                 context->saved_data["chunk_size"].toInt(),
                 context->saved_data["scale"].toOptional<double>());
    return {grad_q, grad_k, grad_v, at::Tensor(), at::Tensor()};
  }
};

at::Tensor Autograd(const at::Tensor& q, const at::Tensor& k,
                    const at::Tensor& v, int64_t chunk_size,
                    std::optional<double> scale) {
  return AttentionFunction::apply(q, k, v, chunk_size, scale);
}

at::Tensor BelowAutograd(const at::Tensor& q, const at::Tensor& k,
                         const at::Tensor& v, int64_t chunk_size,
                         std::optional<double> scale) {
  return std::get<0>(Forward(q, k, v, chunk_size, scale));
}

TORCH_LIBRARY_FRAGMENT(repro, m) {
  m.def(
      "chunk_attention(Tensor q, Tensor k, Tensor v, int chunk_size, "
      "float? scale=None) -> Tensor");
  // -> (out, the log of each row's sum of exponentials [batch, heads, seq_len])
  m.def(
      "chunk_attention_forward(Tensor q, Tensor k, Tensor v, "
      "int chunk_size, float? scale=None) -> (Tensor, Tensor)");
  m.def(
      "chunk_attention_backward(Tensor grad_out, Tensor q, Tensor k, "
      "Tensor v, Tensor out, Tensor log_sum, int chunk_size, float? "
      "scale=None) -> "
      "(Tensor, Tensor, Tensor)");
  m.def(
      "chunk_attention_step(Tensor q, Tensor k, Tensor v, Tensor k_cache, "
      "Tensor v_cache, Tensor num_chunks, float? scale=None) -> Tensor");
}

TORCH_LIBRARY_IMPL(repro, Autograd, m) {
  m.impl("chunk_attention", Autograd);
  // An error where something is differentiated through them.
  m.impl("chunk_attention_forward",
         torch::autograd::autogradNotImplementedFallback());
  m.impl("chunk_attention_backward",
         torch::autograd::autogradNotImplementedFallback());
  m.impl("chunk_attention_step",
         torch::autograd::autogradNotImplementedFallback());
}

TORCH_LIBRARY_IMPL(repro, CompositeExplicitAutograd, m) {
  m.impl("chunk_attention", BelowAutograd);
}

}  // namespace

at::Tensor ChunkAttention(const at::Tensor& q, const at::Tensor& k,
                          const at::Tensor& v, int64_t chunk_size,
                          std::optional<double> scale) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("repro::chunk_attention", "")
                             .typed<decltype(ChunkAttention)>();
  return op.call(q, k, v, chunk_size, scale);
}

at::Tensor ChunkAttentionStep(const at::Tensor& q, const at::Tensor& k,
                              const at::Tensor& v, const at::Tensor& k_cache,
                              const at::Tensor& v_cache,
                              const at::Tensor& num_chunks,
                              std::optional<double> scale) {
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("repro::chunk_attention_step", "")
          .typed<decltype(ChunkAttentionStep)>();
  return op.call(q, k, v, k_cache, v_cache, num_chunks, scale);
}

}  // namespace repro
