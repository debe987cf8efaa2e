// HiP attention (Lee, Park, Lee, Suh, Kim et al. 2024, arXiv 2406.09827,
// version 1.1 of its code): each block of queries attends to the blocks of keys
// that a search down a tree finds, the first tokens, and a window.
#ifndef REPRO_PAPERS_HIP_ATTENTION_HIP_ATTENTION_H_
#define REPRO_PAPERS_HIP_ATTENTION_HIP_ATTENTION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "common/lm/attention_state.h"
#include "common/lm/config.h"
#include "kernels/hierarchical_topk_mask/hierarchical_topk_mask.h"

namespace repro::hip {

struct HipOptions {
  // k, b_q, b_sq, b_k, b_sk, w, the representative, the branches' alignment and
  // the groups of heads, with the published defaults.
  HierarchicalTopkOptions mask;
  // First tokens that every query sees; a multiple of mask.key_block. The
  // search goes over the keys between them and the window.
  int64_t sink = 16;
  int64_t dense_layers = 3;  // l_d: the first ones, with dense attention
  int64_t refresh = 8;       // r_m: decode steps that share a mask
  // A mask that is j steps old was searched up to the window of its own step:
  // as published, the j tokens behind it that have left the window since are
  // not seen. True: the window is so much longer.
  bool cover_gap = false;
};

// The blocks of keys that each block of queries sees besides its window.
// q: [num_heads, queries, head_dim], k: [num_kv_heads, keys, head_dim],
// rotated, of one floating dtype (CUDA: bfloat16 or float16), keys >= queries,
// the last query at the last key. Returns [num_heads, ceil(queries / b_q),
// listed] int32: blocks of the sinks, then ascending those that were found,
// then -1. Throws c10::Error with what does not fit.
at::Tensor EstimateMask(const at::Tensor& q, const at::Tensor& k,
                        const HipOptions& options);

// Causal attention over a mask of EstimateMask. v: k's shape. `window` tokens,
// the query's own included, are seen besides the mask, none counts twice; -1:
// mask.window. Returns q's shape. Not differentiable.
at::Tensor SparseAttention(const at::Tensor& q, const at::Tensor& k,
                           const at::Tensor& v, const at::Tensor& mask,
                           const HipOptions& options, int64_t window = -1);

// Both in turn. Dense attention where keys <= sink + k + w.
at::Tensor HipAttention(const at::Tensor& q, const at::Tensor& k,
                        const at::Tensor& v, const HipOptions& options);

// A language model's state: everything is kept, l_d layers are dense, a chunk
// of several tokens estimates its own mask, and single tokens, as in decoding,
// estimate one every r_m steps. Blocks of queries are counted from a chunk's
// first token: chunks of a multiple of b_q give what the whole prompt gives.
std::unique_ptr<lm::AttentionState> MakeHipState(const lm::ModelConfig& config,
                                                 c10::Device device,
                                                 at::ScalarType dtype,
                                                 const HipOptions& options);

}  // namespace repro::hip

#endif  // REPRO_PAPERS_HIP_ATTENTION_HIP_ATTENTION_H_
