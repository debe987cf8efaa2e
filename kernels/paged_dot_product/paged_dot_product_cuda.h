// Launches of paged_dot_product_cuda.cu, free of Torch.
#ifndef REPRO_KERNELS_PAGED_DOT_PRODUCT_PAGED_DOT_PRODUCT_CUDA_H_
#define REPRO_KERNELS_PAGED_DOT_PRODUCT_PAGED_DOT_PRODUCT_CUDA_H_

#include <cuda_runtime_api.h>

#include <cstdint>

namespace repro {

// Tokens of one block, and so entries of `partial` a head.
constexpr int64_t kPagedDotProductTokens = 1024;

// q: [num_heads, head_dim] dense; k_pool: rows of head_dim dense values, at
// slot * slot_stride + kv_head * head_stride; both of half or bfloat16.
struct PagedDotProductParams {
  const void* q;
  const void* k_pool;
  const int32_t* slots;  // [tokens]
  float* scores;         // [num_heads, tokens]
  // [num_heads, ceil(tokens / kPagedDotProductTokens)]: the log-sum-exp of each
  // block's scores.
  float* partial;
  int64_t tokens;
  int64_t slot_stride;  // in values
  int64_t head_stride;
  int num_heads;
  int num_kv_heads;
  int head_dim;
  bool interleaved;
  bool bfloat16;
  cudaStream_t stream;
};
cudaError_t PagedDotProductLaunch(const PagedDotProductParams& params);

// scores: [num_heads, tokens], log_sum_exp: [num_heads], votes: [tokens].
struct SoftVoteParams {
  const float* scores;
  const float* log_sum_exp;
  float* votes;
  int64_t tokens;
  int num_heads;
  cudaStream_t stream;
};
cudaError_t SoftVoteLaunch(const SoftVoteParams& params);

}  // namespace repro

#endif  // REPRO_KERNELS_PAGED_DOT_PRODUCT_PAGED_DOT_PRODUCT_CUDA_H_
