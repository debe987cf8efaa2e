#ifndef REPRO_KERNELS_SELECTED_ATTENTION_CHECK_H_
#define REPRO_KERNELS_SELECTED_ATTENTION_CHECK_H_

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <cstdint>
#include <optional>

namespace repro {

inline void CheckOneTypeAndDevice(const char* op, const at::Tensor& q,
                                  const at::Tensor& k, const at::Tensor& v,
                                  const at::Tensor& list) {
  TORCH_CHECK(q.is_floating_point() && k.scalar_type() == q.scalar_type() &&
                  v.scalar_type() == q.scalar_type(),
              op, ": q, k and v must have one floating dtype, not ",
              q.scalar_type(), ", ", k.scalar_type(), " and ", v.scalar_type());
  TORCH_CHECK(k.device() == q.device() && v.device() == q.device() &&
                  list.device() == q.device(),
              op, ": q, k, v and the list must be on one device, not on ",
              q.device(), ", ", k.device(), ", ", v.device(), " and ",
              list.device());
}

inline void CheckSelectedAttention(const at::Tensor& q, const at::Tensor& k,
                                   const at::Tensor& v, const at::Tensor& slots,
                                   const std::optional<at::Tensor>& cos,
                                   const std::optional<at::Tensor>& sin) {
  constexpr char kOp[] = "selected_attention";
  TORCH_CHECK(q.dim() == 3 && q.size(2) > 0, kOp,
              ": q must be [num_heads, queries, head_dim], not ", q.sizes());
  TORCH_CHECK(k.dim() == 3 && k.size(2) == q.size(2), kOp,
              ": k_pool must be [pool_size, num_kv_heads, ", q.size(2),
              "] for q ", q.sizes(), ", not ", k.sizes());
  TORCH_CHECK(v.dim() == 3 && v.size(2) > 0 &&
                  v.sizes().slice(0, 2) == k.sizes().slice(0, 2),
              kOp, ": v_pool must be k_pool's shape ", k.sizes(),
              " but for its last axis, not ", v.sizes());
  TORCH_CHECK(k.size(1) > 0 && q.size(0) % k.size(1) == 0, kOp, ": ", q.size(0),
              " query heads are no multiple of ", k.size(1), " key heads");
  TORCH_CHECK(slots.dim() == 1 && slots.scalar_type() == at::kInt, kOp,
              ": slots must be [listed] of int, not ", slots.sizes(), " of ",
              slots.scalar_type());
  TORCH_CHECK(slots.size(0) >= q.size(1), kOp, ": ", slots.size(0),
              " keys listed for ", q.size(1), " queries");
  CheckOneTypeAndDevice(kOp, q, k, v, slots);
  TORCH_CHECK(cos.has_value() == sin.has_value(), kOp,
              ": cos and sin must be given together");
  if (!cos.has_value()) return;
  TORCH_CHECK(q.size(2) % 2 == 0, kOp, ": head_dim ", q.size(2),
              " is odd, its entries cannot be rotated in pairs");
  for (const at::Tensor* t : {&*cos, &*sin}) {
    TORCH_CHECK(t->dim() == 2 && t->size(0) >= slots.size(0) &&
                    t->size(1) == q.size(2) / 2 &&
                    t->scalar_type() == at::kFloat && t->device() == q.device(),
                kOp, ": cos and sin must be [at least ", slots.size(0), ", ",
                q.size(2) / 2, "] of float on ", q.device(), ", not ",
                t->sizes(), " of ", t->scalar_type(), " on ", t->device());
  }
}

inline void CheckBlockSelectedAttention(const at::Tensor& q,
                                        const at::Tensor& k,
                                        const at::Tensor& v,
                                        const at::Tensor& blocks,
                                        int64_t query_block, int64_t key_block,
                                        int64_t window) {
  constexpr char kOp[] = "block_selected_attention";
  TORCH_CHECK(q.dim() == 3 && q.size(2) > 0, kOp,
              ": q must be [num_heads, queries, head_dim], not ", q.sizes());
  TORCH_CHECK(k.dim() == 3 && k.size(2) == q.size(2), kOp,
              ": k must be [num_kv_heads, keys, ", q.size(2), "] for q ",
              q.sizes(), ", not ", k.sizes());
  TORCH_CHECK(v.dim() == 3 && v.size(2) > 0 &&
                  v.sizes().slice(0, 2) == k.sizes().slice(0, 2),
              kOp, ": v must be k's shape ", k.sizes(),
              " but for its last axis, not ", v.sizes());
  TORCH_CHECK(k.size(0) > 0 && q.size(0) % k.size(0) == 0, kOp, ": ", q.size(0),
              " query heads are no multiple of ", k.size(0), " key heads");
  TORCH_CHECK(k.size(1) >= q.size(1) && k.size(1) <= INT32_MAX - 256, kOp, ": ",
              k.size(1), " keys for ", q.size(1), " queries");
  TORCH_CHECK(query_block > 0 && key_block > 0 && window >= 0 &&
                  query_block <= 1 << 20 && key_block <= 1 << 20,
              kOp, ": query_block ", query_block, ", key_block ", key_block,
              ", window ", window,
              ", expected at least 1, 1 and 0, blocks of at most 1048576");
  const int64_t query_blocks = (q.size(1) + query_block - 1) / query_block;
  TORCH_CHECK(
      blocks.dim() == 3 &&
          (blocks.size(0) == 1 || blocks.size(0) == q.size(0)) &&
          blocks.size(1) == query_blocks && blocks.scalar_type() == at::kInt,
      kOp, ": blocks must be [", q.size(0), " or 1, ", query_blocks,
      ", listed] of int, not ", blocks.sizes(), " of ", blocks.scalar_type());
  CheckOneTypeAndDevice(kOp, q, k, v, blocks);
}

}  // namespace repro

#endif  // REPRO_KERNELS_SELECTED_ATTENTION_CHECK_H_
