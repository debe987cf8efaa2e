// One query vector a head against the keys of a paged cache of page size 1, and
// the softmax over tokens of what comes out: how TokenSelect (arXiv 2411.02886)
// finds the tokens that matter, without moving a key.
//
//   auto [scores, log_sum_exp] = PagedDotProduct(q, k_pool, slots);
//   at::Tensor votes = SoftVote(scores, log_sum_exp);   // sums to num_heads
//
// From Python: torch.ops.repro.paged_dot_product, torch.ops.repro.soft_vote.
#ifndef REPRO_KERNELS_PAGED_DOT_PRODUCT_PAGED_DOT_PRODUCT_H_
#define REPRO_KERNELS_PAGED_DOT_PRODUCT_PAGED_DOT_PRODUCT_H_

#include <ATen/core/Tensor.h>

#include <tuple>

namespace repro {

// scores[h, t] = sum_i q[h, i] k_pool[slots[t], kv(h), i], unscaled, and its
// log-sum-exp over t (-inf for no tokens).
//
// q: [num_heads, head_dim]; k_pool: [pool_size, num_kv_heads, head_dim] of q's
// dtype (CUDA: bfloat16 or float16); slots: [tokens] int32 numbers of rows of
// the pool, in any order. On CUDA they are not checked against pool_size.
// kv(h) = h / (num_heads / num_kv_heads), as models group their heads, or with
// `interleaved` h mod num_kv_heads, as TokenSelect's kernel has it.
//
// Returns float32 (float64 for float64) [num_heads, tokens] and [num_heads].
// No gradient. Throws c10::Error with the offending shape.
std::tuple<at::Tensor, at::Tensor> PagedDotProduct(const at::Tensor& q,
                                                   const at::Tensor& k_pool,
                                                   const at::Tensor& slots,
                                                   bool interleaved = false);

// votes[t] = sum_h exp(scores[h, t] - log_sum_exp[h]): each head's softmax over
// the tokens, summed over heads. scores: [num_heads, tokens] and log_sum_exp:
// [num_heads] as PagedDotProduct returns them -> [tokens] of their dtype.
at::Tensor SoftVote(const at::Tensor& scores, const at::Tensor& log_sum_exp);

}  // namespace repro

#endif  // REPRO_KERNELS_PAGED_DOT_PRODUCT_PAGED_DOT_PRODUCT_H_
