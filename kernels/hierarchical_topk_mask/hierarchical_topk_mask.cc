#include "kernels/hierarchical_topk_mask/hierarchical_topk_mask.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>
#include <torch/library.h>

#include <algorithm>
#include <limits>
#include <vector>

namespace repro {
namespace {

using MaskOp = std::tuple<at::Tensor, at::Tensor>(
    const at::Tensor& q, const at::Tensor& k, int64_t top_k,
    int64_t query_block, int64_t query_stride, int64_t key_block,
    int64_t key_stride, int64_t window, int64_t representative, bool aligned,
    int64_t head_group);

void Check(const at::Tensor& q, const at::Tensor& k,
           const HierarchicalTopkOptions& o) {
  TORCH_CHECK(q.dim() == 3, "hierarchical_topk_mask: q is ", q.sizes(),
              ", expected [num_heads, queries, head_dim]");
  TORCH_CHECK(k.dim() == 3 && k.size(2) == q.size(2),
              "hierarchical_topk_mask: k is ", k.sizes(),
              ", expected [num_kv_heads, keys, ", q.size(2), "] for q of ",
              q.sizes());
  TORCH_CHECK(k.size(0) > 0 && q.size(0) % k.size(0) == 0,
              "hierarchical_topk_mask: ", q.size(0),
              " query heads are no multiple of ", k.size(0), " key heads");
  TORCH_CHECK(k.size(1) >= q.size(1), "hierarchical_topk_mask: ", k.size(1),
              " keys for ", q.size(1), " queries");
  TORCH_CHECK(k.size(1) <= std::numeric_limits<int32_t>::max(),
              "hierarchical_topk_mask: ", k.size(1),
              " keys, at most 2^31 - 1 are supported");
  TORCH_CHECK(q.is_floating_point() && q.dtype() == k.dtype(),
              "hierarchical_topk_mask: q is ", q.dtype(), " and k ", k.dtype(),
              ", expected one floating dtype");
  TORCH_CHECK(q.device() == k.device(), "hierarchical_topk_mask: q is on ",
              q.device(), " and k on ", k.device());
  TORCH_CHECK(o.query_block > 0 && o.query_stride > 0 && o.key_block > 0 &&
                  o.key_stride > 0,
              "hierarchical_topk_mask: blocks and strides must be positive");
  TORCH_CHECK(o.top_k > 0 && o.top_k % o.key_block == 0,
              "hierarchical_topk_mask: top_k ", o.top_k,
              " is no multiple of key_block ", o.key_block);
  TORCH_CHECK(o.window >= o.query_block - 1, "hierarchical_topk_mask: window ",
              o.window, " is less than query_block - 1 = ", o.query_block - 1,
              ": queries would be scored with keys after them");
  TORCH_CHECK(o.representative >= 0 && o.representative <= 3,
              "hierarchical_topk_mask: representative ", o.representative,
              ", expected 0 (center), 1 (first), 2 (last) or 3 (oracle)");
  TORCH_CHECK(o.head_group > 0 && q.size(0) % o.head_group == 0,
              "hierarchical_topk_mask: ", q.size(0),
              " heads are no multiple of head_group ", o.head_group);
}

std::tuple<at::Tensor, at::Tensor> MaskAny(
    const at::Tensor& q, const at::Tensor& k, int64_t top_k,
    int64_t query_block, int64_t query_stride, int64_t key_block,
    int64_t key_stride, int64_t window, int64_t representative, bool aligned,
    int64_t head_group) {
  HierarchicalTopkOptions o;
  o.top_k = top_k;
  o.query_block = query_block;
  o.query_stride = query_stride;
  o.key_block = key_block;
  o.key_stride = key_stride;
  o.window = window;
  o.representative =
      static_cast<HierarchicalTopkOptions::Representative>(representative);
  o.head_group = head_group;
  Check(q, k, o);
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("repro::hierarchical_topk_mask_unchecked", "")
          .typed<MaskOp>();
  return op.call(q, k, top_k, query_block, query_stride, key_block, key_stride,
                 window, representative, aligned, head_group);
}

std::tuple<at::Tensor, at::Tensor> MaskAutograd(
    const at::Tensor& q, const at::Tensor& k, int64_t top_k,
    int64_t query_block, int64_t query_stride, int64_t key_block,
    int64_t key_stride, int64_t window, int64_t representative, bool aligned,
    int64_t head_group) {
  // Numbers of blocks have no gradient, whatever q and k have.
  at::AutoDispatchBelowADInplaceOrView guard;
  return MaskAny(q.detach(), k.detach(), top_k, query_block, query_stride,
                 key_block, key_stride, window, representative, aligned,
                 head_group);
}

TORCH_LIBRARY_FRAGMENT(repro, m) {
  // -> (blocks, counts)
  m.def(
      "hierarchical_topk_mask(Tensor q, Tensor k, int top_k=512, int "
      "query_block=32, int query_stride=2, int key_block=2, int key_stride=1, "
      "int window=256, int representative=0, bool aligned=True, int "
      "head_group=1) -> (Tensor, Tensor)");
  m.def(
      "hierarchical_topk_mask_unchecked(Tensor q, Tensor k, int top_k, int "
      "query_block, int query_stride, int key_block, int key_stride, int "
      "window, int representative, bool aligned, int head_group) -> (Tensor, "
      "Tensor)");
}

TORCH_LIBRARY_IMPL(repro, Autograd, m) {
  m.impl("hierarchical_topk_mask", MaskAutograd);
}

TORCH_LIBRARY_IMPL(repro, CompositeExplicitAutograd, m) {
  m.impl("hierarchical_topk_mask", MaskAny);
}

}  // namespace

std::tuple<at::Tensor, at::Tensor> HierarchicalTopkMask(
    const at::Tensor& q, const at::Tensor& k,
    const HierarchicalTopkOptions& options) {
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("repro::hierarchical_topk_mask", "")
          .typed<MaskOp>();
  return op.call(q, k, options.top_k, options.query_block, options.query_stride,
                 options.key_block, options.key_stride, options.window,
                 options.representative, options.aligned, options.head_group);
}

HierarchicalTopkCost HierarchicalTopkCostOf(
    int64_t searched, const HierarchicalTopkOptions& options) {
  HierarchicalTopkCost cost;
  const int64_t branches = options.top_k / options.key_block;
  const int64_t blocks =
      (std::max<int64_t>(searched, 0) + options.key_block - 1) /
      options.key_block;
  const int64_t sampled =
      (options.key_block + options.key_stride - 1) / options.key_stride;
  if (blocks <= branches) return cost;
  for (int64_t size = (blocks + branches - 1) / branches; size > 1;
       size = (size + 1) / 2) {
    ++cost.rounds;
    cost.scored_keys += 2 * branches * sampled;
  }
  return cost;
}

}  // namespace repro
