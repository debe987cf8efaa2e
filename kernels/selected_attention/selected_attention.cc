// Schemas, what they say to autograd, and the C++ entry points.
#include "kernels/selected_attention/selected_attention.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>
#include <torch/library.h>

namespace repro {
namespace {

using SelectedOp = at::Tensor(const at::Tensor& q, const at::Tensor& k_pool,
                              const at::Tensor& v_pool, const at::Tensor& slots,
                              const std::optional<at::Tensor>& cos,
                              const std::optional<at::Tensor>& sin,
                              bool rotate_queries, std::optional<double> scale);

const c10::TypedOperatorHandle<SelectedOp>& SelectedHandle() {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("repro::selected_attention", "")
                             .typed<SelectedOp>();
  return op;
}

const c10::TypedOperatorHandle<decltype(BlockSelectedAttention)>&
BlockHandle() {
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("repro::block_selected_attention", "")
          .typed<decltype(BlockSelectedAttention)>();
  return op;
}

void CheckNoGradient(const char* op, const at::Tensor& q, const at::Tensor& k,
                     const at::Tensor& v) {
  TORCH_CHECK(
      !at::GradMode::is_enabled() ||
          !(q.requires_grad() || k.requires_grad() || v.requires_grad()),
      op, " is not differentiable: call it under NoGradGuard");
}

at::Tensor SelectedAutograd(const at::Tensor& q, const at::Tensor& k_pool,
                            const at::Tensor& v_pool, const at::Tensor& slots,
                            const std::optional<at::Tensor>& cos,
                            const std::optional<at::Tensor>& sin,
                            bool rotate_queries, std::optional<double> scale) {
  CheckNoGradient("selected_attention", q, k_pool, v_pool);
  at::AutoDispatchBelowADInplaceOrView guard;
  return SelectedHandle().call(q, k_pool, v_pool, slots, cos, sin,
                               rotate_queries, scale);
}

at::Tensor BlockAutograd(const at::Tensor& q, const at::Tensor& k,
                         const at::Tensor& v, const at::Tensor& blocks,
                         int64_t query_block, int64_t key_block, int64_t window,
                         std::optional<double> scale) {
  CheckNoGradient("block_selected_attention", q, k, v);
  at::AutoDispatchBelowADInplaceOrView guard;
  return BlockHandle().call(q, k, v, blocks, query_block, key_block, window,
                            scale);
}

TORCH_LIBRARY_FRAGMENT(repro, m) {
  m.def(
      "selected_attention(Tensor q, Tensor k_pool, Tensor v_pool, Tensor "
      "slots, Tensor? cos=None, Tensor? sin=None, bool rotate_queries=True, "
      "float? scale=None) -> Tensor");
  m.def(
      "block_selected_attention(Tensor q, Tensor k, Tensor v, Tensor blocks, "
      "int query_block, int key_block, int window, float? scale=None) -> "
      "Tensor");
}

TORCH_LIBRARY_IMPL(repro, Autograd, m) {
  m.impl("selected_attention", SelectedAutograd);
  m.impl("block_selected_attention", BlockAutograd);
}

}  // namespace

at::Tensor SelectedAttention(const at::Tensor& q, const at::Tensor& k_pool,
                             const at::Tensor& v_pool, const at::Tensor& slots,
                             const std::optional<RotaryTables>& tables,
                             std::optional<double> scale) {
  std::optional<at::Tensor> cos, sin;
  if (tables.has_value()) {
    cos = tables->cos;
    sin = tables->sin;
  }
  return SelectedHandle().call(q, k_pool, v_pool, slots, cos, sin,
                               tables.has_value() && tables->rotate_queries,
                               scale);
}

at::Tensor BlockSelectedAttention(const at::Tensor& q, const at::Tensor& k,
                                  const at::Tensor& v, const at::Tensor& blocks,
                                  int64_t query_block, int64_t key_block,
                                  int64_t window, std::optional<double> scale) {
  return BlockHandle().call(q, k, v, blocks, query_block, key_block, window,
                            scale);
}

}  // namespace repro
