// Attention of one new token a sequence over cached keys and values in pages,
// split over the keys so that one sequence fills a GPU (flash decoding: Dao et
// al. 2023; pages: Kwon et al. 2023), and the step that puts the new token
// there.
//
// From Python: torch.ops.repro.paged_attention_decode, paged_append_.
#ifndef REPRO_KERNELS_PAGED_ATTENTION_DECODE_PAGED_ATTENTION_DECODE_H_
#define REPRO_KERNELS_PAGED_ATTENTION_DECODE_PAGED_ATTENTION_DECODE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <tuple>

namespace repro {

// Keys and values of many sequences. Key j of sequence b lies in page
// page_table[b][j / page_size] at slot j % page_size. A contiguous cache
// [batch, capacity, ...] is one page of `capacity` a sequence, with the page
// table 0, 1, ... , batch - 1. Views are read in place (of some of the heads,
// for example); only the last axis must be dense.
struct PagedKeysValues {
  // [num_pages, page_size, num_kv_heads, head_dim] of q's dtype, or quantised
  // by kernels/kv_quantize: uint8, head_dim bytes (8 bits) or head_dim / 2 (4
  // bits) a row.
  at::Tensor k_pages, v_pages;
  at::Tensor page_table;  // [batch, max_pages] int32, on q's device
  // [batch] int32, on q's device: keys of each sequence.
  at::Tensor lengths;
  // For uint8 pages: [num_pages, page_size, num_kv_heads, groups] float16.
  std::optional<at::Tensor> k_scale, k_zero, v_scale, v_zero;
};

// q: [batch, num_heads, head_dim], num_heads a multiple of num_kv_heads; query
// head h reads key-value head h / (num_heads / num_kv_heads). A length above
// max_length counts as max_length, so that sinks and a window kept in
// `max_length` slots go by the sequence's own length. On CUDA the launch
// depends on max_length and the shapes alone and the work on the lengths, so
// that a captured step serves a growing sequence. scale: 1 / sqrt(head_dim)
// unless given.
//
// Returns softmax attention [batch, num_heads, head_dim] of q's dtype (zeros
// for length 0) and the logarithm of the softmax's denominator [batch,
// num_heads] in float32 (float64 for a float64 q; -infinity for length 0),
// with which parts over different keys are merged: out = sum_i e^(lse_i - lse)
// out_i with lse = log sum_i e^lse_i. Not differentiable. Throws c10::Error
// with the offending shape.
std::tuple<at::Tensor, at::Tensor> PagedAttentionDecode(
    const at::Tensor& q, const PagedKeysValues& cache, int64_t max_length,
    std::optional<double> scale = std::nullopt);

// Puts the newest token of each sequence, number lengths[b] - 1, into its
// page: lengths already count it, and a sequence of length 0 is passed over.
// k, v: [batch, num_kv_heads, head_dim] of the pages' dtype (not quantised).
// With cos and sin, [positions, head_dim / 2] float32, k as written and q
// [batch, num_heads, head_dim] in place are rotated to the token's position,
// entry i together with entry i + head_dim / 2.
//
// A token without a page or a row of cos is an error on the CPU. On CUDA, where
// lengths are not read before the launch, it is not written, or rotated by the
// last row.
//
// With window > 0 only the first `sink` tokens and the last `window` are kept,
// in slots 0... sink + window - 1: token j >= sink at sink + (j - sink) %
// window.
void PagedAppend(const at::Tensor& k_pages, const at::Tensor& v_pages,
                 const at::Tensor& page_table, const at::Tensor& lengths,
                 const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                 const std::optional<at::Tensor>& cos = std::nullopt,
                 const std::optional<at::Tensor>& sin = std::nullopt,
                 int64_t sink = 0, int64_t window = 0);

}  // namespace repro

#endif  // REPRO_KERNELS_PAGED_ATTENTION_DECODE_PAGED_ATTENTION_DECODE_H_
