// How much of the exact top k the search of HiP attention finds among keys
// whose neighbours are alike, and among keys that are independent.
#ifndef REPRO_PAPERS_HIP_ATTENTION_RANDOM_FIELD_H_
#define REPRO_PAPERS_HIP_ATTENTION_RANDOM_FIELD_H_

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "kernels/hierarchical_topk_mask/hierarchical_topk_mask.h"

namespace repro::hip {

// Keys on the unit sphere: a random walk, x_0 uniform, x_{t+1} = (x_t + step
// e_t) / |...| with e_t normal of length 1 on average; correlation falls to 1/e
// over about 2 / step^2 keys. step = infinity: independent keys. Returns
// [heads, tokens, head_dim] float32.
at::Tensor RandomWalkKeys(int64_t heads, int64_t tokens, int64_t head_dim,
                          double step, at::Generator generator);

// The share of the exact top k that is among the keys that the search keeps for
// single queries without a window, averaged over queries. q: [num_heads, 1,
// head_dim], k: [num_kv_heads, keys, head_dim]; top_k, key_block, key_stride,
// representative, aligned of `options` matter.
double TopkRecall(const at::Tensor& q, const at::Tensor& k,
                  HierarchicalTopkOptions options);

}  // namespace repro::hip

#endif  // REPRO_PAPERS_HIP_ATTENTION_RANDOM_FIELD_H_
