#include "kernels/paged_attention_decode/paged_attention_decode.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

#include <cmath>
#include <limits>

#include "kernels/paged_attention_decode/layout.h"

namespace repro {
namespace {

constexpr char kDecode[] = "paged_attention_decode";
constexpr char kAppend[] = "paged_append_";

using OptionalTensor = std::optional<at::Tensor>;

using DecodeOp = std::tuple<at::Tensor, at::Tensor>(
    const at::Tensor& q, const at::Tensor& k_pages, const at::Tensor& v_pages,
    const at::Tensor& page_table, const at::Tensor& lengths, int64_t max_length,
    std::optional<double> scale, const OptionalTensor& k_scale,
    const OptionalTensor& k_zero, const OptionalTensor& v_scale,
    const OptionalTensor& v_zero);

using AppendOp = void(const at::Tensor& k_pages, const at::Tensor& v_pages,
                      const at::Tensor& page_table, const at::Tensor& lengths,
                      const at::Tensor& q, const at::Tensor& k,
                      const at::Tensor& v, const OptionalTensor& cos,
                      const OptionalTensor& sin, int64_t sink, int64_t window);

void CheckPages(const char* op, const at::Tensor& q, const at::Tensor& k_pages,
                const at::Tensor& v_pages, const at::Tensor& page_table,
                const at::Tensor& lengths) {
  TORCH_CHECK(q.dim() == 3, op, ": q is ", q.sizes(),
              ", expected [batch, num_heads, head_dim]");
  TORCH_CHECK(q.is_floating_point(), op, ": q is ", q.dtype(),
              ", expected a floating dtype");
  for (const at::Tensor* pages : {&k_pages, &v_pages}) {
    TORCH_CHECK(pages->dim() == 4, op, ": pages are ", pages->sizes(),
                ", expected [num_pages, page_size, num_kv_heads, head_dim]");
  }
  TORCH_CHECK(
      k_pages.sizes() == v_pages.sizes() && k_pages.dtype() == v_pages.dtype(),
      op, ": k_pages is ", k_pages.sizes(), " ", k_pages.dtype(),
      " and v_pages ", v_pages.sizes(), " ", v_pages.dtype());
  TORCH_CHECK(k_pages.size(1) > 0 && k_pages.size(2) > 0 && q.size(2) > 0, op,
              ": an empty page, head or head_dim: pages ", k_pages.sizes(),
              ", q ", q.sizes());
  TORCH_CHECK(q.size(1) % k_pages.size(2) == 0, op, ": ", q.size(1),
              " query heads over ", k_pages.size(2),
              " key-value heads: not a multiple");
  TORCH_CHECK(page_table.dim() == 2 && page_table.size(0) == q.size(0) &&
                  page_table.scalar_type() == at::kInt,
              op, ": page_table is ", page_table.sizes(), " ",
              page_table.dtype(), ", expected int32 [", q.size(0),
              ", max_pages]");
  TORCH_CHECK(lengths.dim() == 1 && lengths.size(0) == q.size(0) &&
                  lengths.scalar_type() == at::kInt,
              op, ": lengths is ", lengths.sizes(), " ", lengths.dtype(),
              ", expected int32 [", q.size(0), "]");
  for (const at::Tensor* x : {&k_pages, &v_pages, &page_table, &lengths}) {
    TORCH_CHECK(x->device() == q.device(), op, ": q is on ", q.device(),
                " and another input on ", x->device());
  }
  for (int64_t size : {q.size(0), q.size(1), q.size(2), k_pages.size(0),
                       k_pages.size(1), page_table.size(1)}) {
    TORCH_CHECK(size <= std::numeric_limits<int32_t>::max(), op, ": a size of ",
                size, ", at most 2^31 - 1 is supported");
  }
}

void CheckScales(const at::Tensor& q, const at::Tensor& pages,
                 const OptionalTensor& scale, const OptionalTensor& zero,
                 const char* what) {
  const bool quantised = pages.scalar_type() == at::kByte;
  TORCH_CHECK(scale.has_value() == quantised && zero.has_value() == quantised,
              kDecode, ": scale and zero of ", what, " are given with ",
              "uint8 pages and no others; the pages are ", pages.dtype());
  if (!quantised) {
    TORCH_CHECK(pages.dtype() == q.dtype() && pages.size(3) == q.size(2),
                kDecode, ": pages are ", pages.dtype(), " ", pages.sizes(),
                " and q ", q.dtype(), " ", q.sizes());
    return;
  }
  TORCH_CHECK(pages.size(3) == q.size(2) || (pages.size(3) * 2 == q.size(2)),
              kDecode, ": quantised pages ", pages.sizes(), " for head_dim ",
              q.size(2), ", expected so many or half as many bytes a row");
  for (const OptionalTensor* x : {&scale, &zero}) {
    TORCH_CHECK((*x)->dim() == 4 && (*x)->scalar_type() == at::kHalf &&
                    (*x)->sizes().slice(0, 3) == pages.sizes().slice(0, 3) &&
                    (*x)->size(3) > 0 && q.size(2) % (*x)->size(3) == 0 &&
                    (*x)->device() == q.device(),
                kDecode, ": scale or zero of ", what, " is ", (*x)->sizes(),
                " ", (*x)->dtype(), " on ", (*x)->device(),
                ", expected float16 [", pages.sizes().slice(0, 3),
                ", groups] on ", q.device());
  }
  TORCH_CHECK(scale->size(3) == zero->size(3), kDecode, ": scale and zero of ",
              what, " have ", scale->size(3), " and ", zero->size(3),
              " groups");
}

std::tuple<at::Tensor, at::Tensor> Decode(
    const at::Tensor& q, const at::Tensor& k_pages, const at::Tensor& v_pages,
    const at::Tensor& page_table, const at::Tensor& lengths, int64_t max_length,
    std::optional<double> scale, const OptionalTensor& k_scale,
    const OptionalTensor& k_zero, const OptionalTensor& v_scale,
    const OptionalTensor& v_zero) {
  CheckPages(kDecode, q, k_pages, v_pages, page_table, lengths);
  CheckScales(q, k_pages, k_scale, k_zero, "k");
  CheckScales(q, v_pages, v_scale, v_zero, "v");
  if (k_scale.has_value()) {
    TORCH_CHECK(k_scale->size(3) == v_scale->size(3), kDecode, ": k has ",
                k_scale->size(3), " groups and v ", v_scale->size(3));
  }
  TORCH_CHECK(
      max_length >= 0 && max_length <= page_table.size(1) * k_pages.size(1) &&
          max_length <= std::numeric_limits<int32_t>::max() - 4096,
      kDecode, ": max_length ", max_length, ", but ", page_table.size(1),
      " pages of ", k_pages.size(1), " keys a sequence");
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("repro::paged_attention_decode_forward", "")
          .typed<DecodeOp>();
  return op.call(q, k_pages, v_pages, page_table, lengths, max_length,
                 scale.value_or(1 / std::sqrt(static_cast<double>(q.size(2)))),
                 k_scale, k_zero, v_scale, v_zero);
}

void Append(const at::Tensor& k_pages, const at::Tensor& v_pages,
            const at::Tensor& page_table, const at::Tensor& lengths,
            const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
            const OptionalTensor& cos, const OptionalTensor& sin, int64_t sink,
            int64_t window) {
  CheckPages(kAppend, q, k_pages, v_pages, page_table, lengths);
  for (const at::Tensor* x : {&k, &v}) {
    TORCH_CHECK(x->dim() == 3 && x->size(0) == q.size(0) &&
                    x->size(1) == k_pages.size(2) && x->size(2) == q.size(2) &&
                    x->dtype() == q.dtype() && x->device() == q.device(),
                kAppend, ": k or v is ", x->sizes(), " ", x->dtype(), " on ",
                x->device(), ", expected [", q.size(0), ", ", k_pages.size(2),
                ", ", q.size(2), "] ", q.dtype(), " on ", q.device());
  }
  TORCH_CHECK(k_pages.dtype() == q.dtype() && k_pages.size(3) == q.size(2),
              kAppend, ": pages are ", k_pages.sizes(), " ", k_pages.dtype(),
              " and q ", q.sizes(), " ", q.dtype());
  TORCH_CHECK(cos.has_value() == sin.has_value(), kAppend,
              ": one of cos and sin is missing");
  if (cos.has_value()) {
    TORCH_CHECK(q.size(2) % 2 == 0, kAppend, ": head_dim ", q.size(2),
                " cannot be rotated in pairs");
    for (const OptionalTensor* x : {&cos, &sin}) {
      TORCH_CHECK(
          (*x)->dim() == 2 && (*x)->size(0) > 0 &&
              (*x)->sizes() == cos->sizes() && (*x)->size(1) == q.size(2) / 2 &&
              (*x)->scalar_type() == at::kFloat && (*x)->device() == q.device(),
          kAppend, ": cos or sin is ", (*x)->sizes(), " ", (*x)->dtype(),
          " on ", (*x)->device(), ", expected float32 [positions, ",
          q.size(2) / 2, "] on ", q.device());
    }
  }
  TORCH_CHECK(sink >= 0 && window >= 0 &&
                  (window == 0 ||
                   sink + window <= page_table.size(1) * k_pages.size(1)),
              kAppend, ": sink ", sink, ", window ", window, ", but ",
              page_table.size(1), " pages of ", k_pages.size(1),
              " keys a sequence");
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("repro::paged_append_write", "")
                             .typed<AppendOp>();
  op.call(k_pages, v_pages, page_table, lengths, q, k, v, cos, sin, sink,
          window);
}

TORCH_LIBRARY_FRAGMENT(repro, m) {
  m.def(
      "paged_attention_decode(Tensor q, Tensor k_pages, Tensor v_pages, Tensor "
      "page_table, Tensor lengths, int max_length, float? scale=None, Tensor? "
      "k_scale=None, Tensor? k_zero=None, Tensor? v_scale=None, Tensor? "
      "v_zero=None) -> (Tensor, Tensor)");
  m.def(
      "paged_attention_decode_forward(Tensor q, Tensor k_pages, Tensor "
      "v_pages, Tensor page_table, Tensor lengths, int max_length, float? "
      "scale, Tensor? k_scale, Tensor? k_zero, Tensor? v_scale, Tensor? "
      "v_zero) -> (Tensor, Tensor)");
  m.def(
      "paged_append_(Tensor(a!) k_pages, Tensor(b!) v_pages, Tensor "
      "page_table, Tensor lengths, Tensor(c!) q, Tensor k, Tensor v, Tensor? "
      "cos=None, Tensor? sin=None, int sink=0, int window=0) -> ()");
  m.def(
      "paged_append_write(Tensor(a!) k_pages, Tensor(b!) v_pages, Tensor "
      "page_table, Tensor lengths, Tensor(c!) q, Tensor k, Tensor v, Tensor? "
      "cos, Tensor? sin, int sink, int window) -> ()");
}

TORCH_LIBRARY_IMPL(repro, CompositeExplicitAutograd, m) {
  m.impl("paged_attention_decode", Decode);
  m.impl("paged_append_", Append);
}

}  // namespace

std::tuple<at::Tensor, at::Tensor> PagedAttentionDecode(
    const at::Tensor& q, const PagedKeysValues& cache, int64_t max_length,
    std::optional<double> scale) {
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("repro::paged_attention_decode", "")
          .typed<DecodeOp>();
  return op.call(q, cache.k_pages, cache.v_pages, cache.page_table,
                 cache.lengths, max_length, scale, cache.k_scale, cache.k_zero,
                 cache.v_scale, cache.v_zero);
}

void PagedAppend(const at::Tensor& k_pages, const at::Tensor& v_pages,
                 const at::Tensor& page_table, const at::Tensor& lengths,
                 const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                 const OptionalTensor& cos, const OptionalTensor& sin,
                 int64_t sink, int64_t window) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("repro::paged_append_", "")
                             .typed<AppendOp>();
  op.call(k_pages, v_pages, page_table, lengths, q, k, v, cos, sin, sink,
          window);
}

}  // namespace repro
