// The references: gather, mask, softmax.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/_safe_softmax.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/matmul.h>
#include <torch/library.h>

#include <algorithm>
#include <limits>

#include "kernels/flash/check.h"
#include "kernels/selected_attention/check.h"

namespace repro {
namespace {

at::ScalarType Wide(const at::Tensor& t) {
  return t.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

// softmax(scale q k^T) v over the pairs that are seen; zeros where none is.
// q: [..., queries, head_dim], k: [..., keys, head_dim], v: [..., keys,
// value_dim], seen: [..., queries, keys].
at::Tensor Attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                  const at::Tensor& seen, double scale) {
  const at::Tensor scores =
      at::matmul(q, k.transpose(-1, -2))
          .mul_(scale)
          .masked_fill_(seen.logical_not(),
                        -std::numeric_limits<double>::infinity());
  return at::matmul(at::_safe_softmax(scores, -1), v);
}

// x: [heads, tokens, dim], cos, sin: [tokens, dim / 2].
at::Tensor Rotate(const at::Tensor& x, const at::Tensor& cos,
                  const at::Tensor& sin) {
  const int64_t half = x.size(-1) / 2;
  const at::Tensor low = x.narrow(-1, 0, half), high = x.narrow(-1, half, half);
  return at::cat({low * cos - high * sin, high * cos + low * sin}, -1);
}

at::Tensor Selected(const at::Tensor& q_in, const at::Tensor& k_pool,
                    const at::Tensor& v_pool, const at::Tensor& slots,
                    const std::optional<at::Tensor>& cos,
                    const std::optional<at::Tensor>& sin, bool rotate_queries,
                    std::optional<double> scale) {
  CheckSelectedAttention(q_in, k_pool, v_pool, slots, cos, sin);
  const int64_t heads = q_in.size(0), queries = q_in.size(1),
                kv_heads = k_pool.size(1), listed = slots.size(0);
  const auto gather = [&](const at::Tensor& pool) {
    return at::index_select(pool, 0, slots).to(Wide(q_in)).transpose(0, 1);
  };
  at::Tensor q = q_in.to(Wide(q_in)), k = gather(k_pool), v = gather(v_pool);
  if (cos.has_value()) {
    const auto table = [&](const at::Tensor& t, int64_t first, int64_t count) {
      return t.narrow(0, first, count).to(Wide(q_in));
    };
    k = Rotate(k, table(*cos, 0, listed), table(*sin, 0, listed));
    if (rotate_queries) {
      q = Rotate(q, table(*cos, listed - queries, queries),
                 table(*sin, listed - queries, queries));
    }
  }
  const at::Tensor seen =
      at::arange(listed).le(at::arange(listed - queries, listed).unsqueeze(1));
  return Attend(q.unflatten(0, {kv_heads, heads / kv_heads}), k.unsqueeze(1),
                v.unsqueeze(1), seen, AttentionScale(scale, q_in))
      .flatten(0, 1)
      .to(q_in.scalar_type());
}

at::Tensor BlockSelected(const at::Tensor& q_in, const at::Tensor& k,
                         const at::Tensor& v, const at::Tensor& blocks,
                         int64_t query_block, int64_t key_block, int64_t window,
                         std::optional<double> scale) {
  CheckBlockSelectedAttention(q_in, k, v, blocks, query_block, key_block,
                              window);
  const int64_t heads = q_in.size(0), queries = q_in.size(1), keys = k.size(1);
  window = std::min(window, keys);
  const at::Tensor out = at::empty({heads, queries, v.size(2)}, q_in.options());
  const at::Tensor kv_head =
      at::arange(heads).floor_divide(heads / k.size(0)).unsqueeze(1);
  for (int64_t first = 0; first < queries; first += query_block) {
    const int64_t count = std::min(query_block, queries - first);
    const int64_t place = keys - queries + first;  // of the first query
    const int64_t low = std::max<int64_t>(0, place - window + 1);
    const at::Tensor number = blocks.select(1, first / query_block)
                                  .to(at::kLong)
                                  .expand({heads, blocks.size(2)})
                                  .unsqueeze(-1);
    const at::Tensor listed =
        (number * key_block + at::arange(key_block))
            .masked_fill_(number.lt(0), std::numeric_limits<int64_t>::max())
            .flatten(1);
    const at::Tensor recent = at::arange(low, place + count);
    const at::Tensor i = at::arange(place, place + count).unsqueeze(1);
    // A key in the window counts there alone.
    const at::Tensor see_listed = listed.unsqueeze(1).le(i - window);
    const at::Tensor see_recent =
        recent.le(i).logical_and(recent.gt(i - window));
    const at::Tensor index = at::cat(
        {listed.clamp_max(keys - 1), recent.expand({heads, recent.size(0)})},
        1);
    const at::Tensor seen = at::cat(
        {see_listed, see_recent.expand({heads, count, recent.size(0)})}, 2);
    const auto gather = [&](const at::Tensor& x) {
      return at::index(x, {kv_head, index}).to(Wide(q_in));
    };
    out.narrow(1, first, count)
        .copy_(Attend(q_in.narrow(1, first, count).to(Wide(q_in)), gather(k),
                      gather(v), seen, AttentionScale(scale, q_in)));
  }
  return out;
}

TORCH_LIBRARY_IMPL(repro, CPU, m) {
  m.impl("selected_attention", Selected);
  m.impl("block_selected_attention", BlockSelected);
}

}  // namespace
}  // namespace repro
