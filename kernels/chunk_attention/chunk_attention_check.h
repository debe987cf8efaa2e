// What the CPU and the CUDA implementation demand of a step's inputs.
#ifndef REPRO_KERNELS_CHUNK_ATTENTION_CHUNK_ATTENTION_CHECK_H_
#define REPRO_KERNELS_CHUNK_ATTENTION_CHUNK_ATTENTION_CHECK_H_

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

namespace repro {

inline void CheckChunkSize(int64_t chunk_size) {
  TORCH_CHECK(chunk_size > 0,
              "chunk_attention: chunk_size must be positive, not ", chunk_size);
}

inline void CheckChunkAttentionStep(const at::Tensor& q, const at::Tensor& k,
                                    const at::Tensor& v,
                                    const at::Tensor& k_cache,
                                    const at::Tensor& v_cache,
                                    const at::Tensor& num_chunks) {
  constexpr char kOp[] = "chunk_attention_step";
  TORCH_CHECK(q.dim() == 3 && q.size(2) > 0 && q.is_floating_point(), kOp,
              ": q must be [batch, heads, head_dim] of a floating dtype, not ",
              q.sizes(), " ", q.scalar_type());
  for (const at::Tensor* t : {&k, &v}) {
    TORCH_CHECK(t->sizes() == q.sizes(), kOp, ": k and v must have q's shape ",
                q.sizes(), ", not ", t->sizes());
  }
  TORCH_CHECK(k_cache.dim() == 4 &&
                  k_cache.sizes().slice(0, 2) == q.sizes().slice(0, 2) &&
                  k_cache.size(3) == q.size(2),
              kOp,
              ": k_cache must be [batch, heads, capacity, head_dim] for q ",
              q.sizes(), ", not ", k_cache.sizes());
  TORCH_CHECK(v_cache.sizes() == k_cache.sizes(), kOp,
              ": v_cache must have k_cache's shape ", k_cache.sizes(), ", not ",
              v_cache.sizes());
  for (const at::Tensor* t : {&k, &v, &k_cache, &v_cache}) {
    TORCH_CHECK(
        t->scalar_type() == q.scalar_type() && t->device() == q.device(), kOp,
        ": all must be like q, ", q.scalar_type(), " on ", q.device(), ", not ",
        t->scalar_type(), " on ", t->device());
  }
  TORCH_CHECK(num_chunks.numel() == 1 && num_chunks.dim() <= 1 &&
                  num_chunks.scalar_type() == at::kLong &&
                  num_chunks.device() == q.device(),
              kOp, ": num_chunks must be one int64 on ", q.device(), ", not ",
              num_chunks.sizes(), " ", num_chunks.scalar_type(), " on ",
              num_chunks.device());
}

}  // namespace repro

#endif  // REPRO_KERNELS_CHUNK_ATTENTION_CHUNK_ATTENTION_CHECK_H_
