#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>
#include <torch/library.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <tuple>

#include "kernels/paged_attention_decode/layout.h"

namespace repro {
namespace {

using OptionalTensor = std::optional<at::Tensor>;

// Keys of one sequence, [length, num_kv_heads, columns]. `places`: the numbers
// of their slots, counted through all pages.
at::Tensor Gather(const at::Tensor& pages, const at::Tensor& places) {
  return pages.flatten(0, 1).index_select(0, places);
}

// The same, widened: [num_kv_heads, length, head_dim] of `type`.
at::Tensor Widened(const at::Tensor& pages, const at::Tensor& places,
                   const OptionalTensor& scale, const OptionalTensor& zero,
                   int64_t head_dim, at::ScalarType type) {
  at::Tensor rows = Gather(pages, places);
  if (scale.has_value()) {
    if (PagedBits(pages, head_dim) == 4) {
      rows = at::stack({rows.bitwise_right_shift(4), rows.bitwise_and(15)}, -1)
                 .flatten(-2);
    }
    const auto each = [&](const at::Tensor& x) {
      return Gather(x, places).to(type).repeat_interleave(head_dim / x.size(3),
                                                          -1);
    };
    rows = rows.to(type) * each(*scale) + each(*zero);
  }
  return rows.to(type).transpose(0, 1);
}

std::tuple<at::Tensor, at::Tensor> Decode(
    const at::Tensor& q, const at::Tensor& k_pages, const at::Tensor& v_pages,
    const at::Tensor& page_table, const at::Tensor& lengths, int64_t max_length,
    std::optional<double> scale, const OptionalTensor& k_scale,
    const OptionalTensor& k_zero, const OptionalTensor& v_scale,
    const OptionalTensor& v_zero) {
  const auto type = q.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const int64_t batch = q.size(0), head_dim = q.size(2);
  const int64_t page_size = k_pages.size(1), num_kv_heads = k_pages.size(2);
  const at::Tensor out = at::zeros_like(q, at::MemoryFormat::Contiguous);
  const at::Tensor lse =
      at::full({batch, q.size(1)}, -std::numeric_limits<double>::infinity(),
               q.options().dtype(type));
  for (int64_t b = 0; b < batch; ++b) {
    const int64_t length =
        std::min<int64_t>(lengths[b].item<int32_t>(), max_length);
    if (length <= 0) continue;
    const at::Tensor keys = at::arange(length, at::kLong);
    const at::Tensor pages = page_table[b].to(at::kLong).index_select(
        0, keys.div(page_size, "floor"));
    const at::Tensor places = pages * page_size + keys.remainder(page_size);
    const at::Tensor k =
        Widened(k_pages, places, k_scale, k_zero, head_dim, type);
    const at::Tensor v =
        Widened(v_pages, places, v_scale, v_zero, head_dim, type);
    // [num_kv_heads, group, length].
    const at::Tensor logits =
        at::matmul(q[b].to(type).reshape({num_kv_heads, -1, head_dim}),
                   k.transpose(1, 2)) *
        *scale;
    const at::Tensor total = at::logsumexp(logits, {-1}, /*keepdim=*/true);
    out[b].copy_(at::matmul(at::exp(logits - total), v).flatten(0, 1));
    lse[b].copy_(total.flatten());
  }
  return {out, lse};
}

// x: [heads, head_dim].
at::Tensor Rotated(const at::Tensor& x, const at::Tensor& cos,
                   const at::Tensor& sin) {
  const auto type = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const std::vector<at::Tensor> halves = x.to(type).chunk(2, -1);
  return at::cat(
      {halves[0] * cos - halves[1] * sin, halves[1] * cos + halves[0] * sin},
      -1);
}

void Append(const at::Tensor& k_pages, const at::Tensor& v_pages,
            const at::Tensor& page_table, const at::Tensor& lengths,
            const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
            const OptionalTensor& cos, const OptionalTensor& sin, int64_t sink,
            int64_t window) {
  const int64_t page_size = k_pages.size(1);
  for (int64_t b = 0; b < q.size(0); ++b) {
    const int64_t position = lengths[b].item<int32_t>() - 1;
    if (position < 0) continue;
    const int64_t key = window > 0 && position >= sink
                            ? sink + (position - sink) % window
                            : position;
    TORCH_CHECK(key < page_table.size(1) * page_size,
                "paged_append_: sequence ", b, " has ", position + 1,
                " tokens, but ", page_table.size(1), " pages of ", page_size);
    TORCH_CHECK(!cos.has_value() || position < cos->size(0),
                "paged_append_: position ", position, " of sequence ", b,
                ", but cos and sin of ", cos->size(0), " positions");
    const int64_t page = page_table[b][key / page_size].item<int32_t>();
    const bool rotate = cos.has_value();
    const auto turned = [&](const at::Tensor& x) {
      return rotate ? Rotated(x, (*cos)[position], (*sin)[position]) : x;
    };
    q[b].copy_(turned(q[b]));
    k_pages[page][key % page_size].copy_(turned(k[b]));
    v_pages[page][key % page_size].copy_(v[b]);
  }
}

TORCH_LIBRARY_IMPL(repro, CPU, m) {
  m.impl("paged_attention_decode_forward", Decode);
  m.impl("paged_append_write", Append);
}

}  // namespace
}  // namespace repro
