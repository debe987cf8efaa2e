// Schema, what it says to autograd, and the C++ entry point.
#include "kernels/streaming_attention_prefill/streaming_attention_prefill.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>
#include <torch/library.h>

namespace repro {
namespace {

using Op = at::Tensor(const at::Tensor& q, const at::Tensor& k,
                      const at::Tensor& v, int64_t sink, int64_t recent,
                      int64_t block, int64_t dropped,
                      std::optional<double> scale);

const c10::TypedOperatorHandle<Op>& Handle() {
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("repro::streaming_attention_prefill", "")
          .typed<Op>();
  return op;
}

at::Tensor Autograd(const at::Tensor& q, const at::Tensor& k,
                    const at::Tensor& v, int64_t sink, int64_t recent,
                    int64_t block, int64_t dropped,
                    std::optional<double> scale) {
  TORCH_CHECK(
      !at::GradMode::is_enabled() ||
          !(q.requires_grad() || k.requires_grad() || v.requires_grad()),
      "streaming_attention_prefill is not differentiable: call it under "
      "NoGradGuard");
  at::AutoDispatchBelowADInplaceOrView guard;
  return Handle().call(q, k, v, sink, recent, block, dropped, scale);
}

TORCH_LIBRARY_FRAGMENT(repro, m) {
  m.def(
      "streaming_attention_prefill(Tensor q, Tensor k, Tensor v, int sink, int "
      "recent, int block=1, int dropped=0, float? scale=None) -> Tensor");
}

TORCH_LIBRARY_IMPL(repro, Autograd, m) {
  m.impl("streaming_attention_prefill", Autograd);
}

}  // namespace

at::Tensor StreamingAttentionPrefill(const at::Tensor& q, const at::Tensor& k,
                                     const at::Tensor& v,
                                     const StreamingAttentionOptions& options) {
  return Handle().call(q, k, v, options.sink, options.recent, options.block,
                       options.dropped, options.scale);
}

}  // namespace repro
