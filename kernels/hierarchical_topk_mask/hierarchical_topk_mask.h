// Which blocks of keys each block of queries should attend to, found by a
// search down a tree over the keys in O(k log(T / k)) products instead of T:
// the mask of HiP attention (arXiv 2406.09827, its version 1.1).
//
// From Python: torch.ops.repro.hierarchical_topk_mask.
#ifndef REPRO_KERNELS_HIERARCHICAL_TOPK_MASK_HIERARCHICAL_TOPK_MASK_H_
#define REPRO_KERNELS_HIERARCHICAL_TOPK_MASK_HIERARCHICAL_TOPK_MASK_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <tuple>

namespace repro {

struct HierarchicalTopkOptions {
  // The block of a branch that is scored in its place.
  enum Representative : int64_t {
    kCenter = 0,  // number size / 2 of the branch
    kFirst = 1,
    kLast = 2,
    kOracle = 3,  // all of them; CPU only
  };

  int64_t top_k = 512;  // keys kept for a block of queries
  int64_t query_block = 32;
  int64_t query_stride = 2;  // of a block every so manyth query is scored, the
                             // last of each stride
  int64_t key_block = 2;     // top_k is a multiple of it
  int64_t key_stride = 1;  // of a block of keys every so manyth, the first too
  // The last `window` tokens are not searched: attention adds them. At least
  // query_block - 1, so that no query's future is scored.
  int64_t window = 256;
  Representative representative = kCenter;
  // The first branches start at multiples of a power of two, as the authors'
  // GPU kernel has them; else exactly at floor(blocks j / branches).
  bool aligned = true;
  // So many heads compete for their common share of blocks; CPU only if not 1.
  int64_t head_group = 1;
};

// q: [num_heads, queries, head_dim], k: [num_kv_heads, keys, head_dim],
// rotated, of one floating dtype (CUDA: bfloat16 or float16), keys >= queries;
// the last query stands at the last key, and query head h reads key head h /
// (num_heads / num_kv_heads). Scale does not matter.
//
// With T = (place of the block's last query) + 1 - window: the n = ceil(T /
// key_block) blocks before it are cut into top_k / key_block branches; each
// branch is halved, each half scored by the largest product of a sampled query
// and a sampled key (of those before T) of its representative block, the best
// top_k / key_block halves stay, until all are single blocks. Equal scores: the
// lower block stays. With n <= top_k / key_block all blocks are kept.
//
// Returns blocks: [num_heads, ceil(queries / query_block), head_group top_k /
// key_block] int32, ascending numbers of blocks of key_block keys, then -1; and
// counts [num_heads, ceil(queries / query_block)] int32 of the numbers before
// it. No gradient. Throws c10::Error with the offending shape.
std::tuple<at::Tensor, at::Tensor> HierarchicalTopkMask(
    const at::Tensor& q, const at::Tensor& k,
    const HierarchicalTopkOptions& options = {});

// Keys scored for a block of queries whose last one has `searched` = T keys
// before its window, and the rounds that takes.
struct HierarchicalTopkCost {
  int64_t rounds = 0;
  int64_t scored_keys = 0;
};
HierarchicalTopkCost HierarchicalTopkCostOf(
    int64_t searched, const HierarchicalTopkOptions& options = {});

}  // namespace repro

#endif  // REPRO_KERNELS_HIERARCHICAL_TOPK_MASK_HIERARCHICAL_TOPK_MASK_H_
