// Launch of hierarchical_topk_mask_cuda.cu, free of Torch.
#ifndef REPRO_KERNELS_HIERARCHICAL_TOPK_MASK_HIERARCHICAL_TOPK_MASK_CUDA_H_
#define REPRO_KERNELS_HIERARCHICAL_TOPK_MASK_HIERARCHICAL_TOPK_MASK_CUDA_H_

#include <cuda_runtime_api.h>

#include <cstdint>

namespace repro {

// q: [num_heads, queries, head_dim] and k: [num_kv_heads, keys, head_dim] of
// half or bfloat16, rows dense and 16-byte aligned, head_dim 32, 64, 96 or 128.
struct HierarchicalTopkMaskParams {
  const void* q;
  const void* k;
  int32_t* blocks;  // [num_heads, query_blocks, top_k / key_block]
  int32_t* counts;  // [num_heads, query_blocks]
  int64_t q_head_stride, q_row_stride;  // in values
  int64_t k_head_stride, k_row_stride;
  int64_t queries;
  int64_t keys;
  int num_heads;
  int num_kv_heads;
  int head_dim;
  int branches;  // top_k / key_block
  int query_block;
  int query_stride;
  int key_block;
  int key_stride;
  int64_t window;
  int representative;
  bool aligned;
  bool bfloat16;
  cudaStream_t stream;
};
// Bytes of shared memory of a block of threads; at most 200 KB may be asked
// for.
int64_t HierarchicalTopkMaskSharedBytes(const HierarchicalTopkMaskParams& p);
cudaError_t HierarchicalTopkMaskLaunch(const HierarchicalTopkMaskParams& p);

}  // namespace repro

#endif  // REPRO_KERNELS_HIERARCHICAL_TOPK_MASK_HIERARCHICAL_TOPK_MASK_CUDA_H_
