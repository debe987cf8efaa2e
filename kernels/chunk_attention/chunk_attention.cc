// Schemas, autograd and the C++ entry points.
#include "kernels/chunk_attention/chunk_attention.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>
#include <torch/library.h>

#include "kernels/flash/autograd.h"

namespace repro {
namespace {

struct ChunkAttentionOp {
  static constexpr char kForward[] = "repro::chunk_attention_forward";
  static constexpr char kBackward[] = "repro::chunk_attention_backward";
};
using AttentionFunction = FlashAutograd<ChunkAttentionOp>;

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
  m.impl("chunk_attention", AttentionFunction::Autograd);
  // An error where something is differentiated through them.
  m.impl("chunk_attention_forward",
         torch::autograd::autogradNotImplementedFallback());
  m.impl("chunk_attention_backward",
         torch::autograd::autogradNotImplementedFallback());
  m.impl("chunk_attention_step",
         torch::autograd::autogradNotImplementedFallback());
}

TORCH_LIBRARY_IMPL(repro, CompositeExplicitAutograd, m) {
  m.impl("chunk_attention", AttentionFunction::BelowAutograd);
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
