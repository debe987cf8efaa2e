// Schemas, autograd and the C++ entry point.
#include "kernels/sliding_window_attention/sliding_window_attention.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>
#include <torch/library.h>

#include "kernels/flash/autograd.h"

namespace repro {
namespace {

struct SlidingWindowAttentionOp {
  static constexpr char kForward[] = "repro::sliding_window_attention_forward";
  static constexpr char kBackward[] =
      "repro::sliding_window_attention_backward";
};
using AttentionFunction = FlashAutograd<SlidingWindowAttentionOp>;

TORCH_LIBRARY_FRAGMENT(repro, m) {
  m.def(
      "sliding_window_attention(Tensor q, Tensor k, Tensor v, int window, "
      "float? scale=None) -> Tensor");
  // -> (out, the log of each row's sum of exponentials [batch, heads, seq_len])
  m.def(
      "sliding_window_attention_forward(Tensor q, Tensor k, Tensor v, "
      "int window, float? scale=None) -> (Tensor, Tensor)");
  m.def(
      "sliding_window_attention_backward(Tensor grad_out, Tensor q, Tensor k, "
      "Tensor v, Tensor out, Tensor log_sum, int window, float? scale=None) -> "
      "(Tensor, Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(repro, Autograd, m) {
  m.impl("sliding_window_attention", AttentionFunction::Autograd);
  // An error where something is differentiated through them.
  m.impl("sliding_window_attention_forward",
         torch::autograd::autogradNotImplementedFallback());
  m.impl("sliding_window_attention_backward",
         torch::autograd::autogradNotImplementedFallback());
}

TORCH_LIBRARY_IMPL(repro, CompositeExplicitAutograd, m) {
  m.impl("sliding_window_attention", AttentionFunction::BelowAutograd);
}

}  // namespace

at::Tensor SlidingWindowAttention(const at::Tensor& q, const at::Tensor& k,
                                  const at::Tensor& v, int64_t window,
                                  std::optional<double> scale) {
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("repro::sliding_window_attention", "")
          .typed<decltype(SlidingWindowAttention)>();
  return op.call(q, k, v, window, scale);
}

}  // namespace repro
