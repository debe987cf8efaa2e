// What the attention operators demand of their inputs, on every device.
#ifndef REPRO_KERNELS_FLASH_CHECK_H_
#define REPRO_KERNELS_FLASH_CHECK_H_

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <cmath>
#include <optional>

namespace repro {

// q, k: [batch, heads, seq_len, head_dim], v: [batch, heads, seq_len,
// value_dim].
inline void CheckAttention(const char* op, const at::Tensor& q,
                           const at::Tensor& k, const at::Tensor& v) {
  TORCH_CHECK(q.dim() == 4 && q.size(3) > 0, op,
              ": q must be [batch, heads, seq_len, head_dim], not ", q.sizes());
  TORCH_CHECK(k.sizes() == q.sizes(), op, ": k must have q's shape ", q.sizes(),
              ", not ", k.sizes());
  TORCH_CHECK(v.dim() == 4 && v.size(3) > 0 &&
                  v.sizes().slice(0, 3) == q.sizes().slice(0, 3),
              op, ": v must be q's shape ", q.sizes(),
              " but for its last axis, not ", v.sizes());
  TORCH_CHECK(q.is_floating_point() && k.scalar_type() == q.scalar_type() &&
                  v.scalar_type() == q.scalar_type(),
              op, ": q, k and v must have one floating dtype, not ",
              q.scalar_type(), ", ", k.scalar_type(), " and ", v.scalar_type());
  TORCH_CHECK(k.device() == q.device() && v.device() == q.device(), op,
              ": q, k and v must be on one device, not on ", q.device(), ", ",
              k.device(), " and ", v.device());
}

// What forward returned, and the gradient of its first: grad_out, out: v's
// shape and dtype; log_sum: [batch, heads, seq_len].
inline void CheckAttentionBackward(const char* op, const at::Tensor& grad_out,
                                   const at::Tensor& q, const at::Tensor& k,
                                   const at::Tensor& v, const at::Tensor& out,
                                   const at::Tensor& log_sum) {
  CheckAttention(op, q, k, v);
  for (const at::Tensor* t : {&grad_out, &out}) {
    TORCH_CHECK(t->sizes() == v.sizes() &&
                    t->scalar_type() == v.scalar_type() &&
                    t->device() == v.device(),
                op, ": out and its gradient must be like v, ", v.sizes(), " ",
                v.scalar_type(), " on ", v.device(), ", not ", t->sizes(), " ",
                t->scalar_type(), " on ", t->device());
  }
  const auto wide = v.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  TORCH_CHECK(log_sum.sizes() == q.sizes().slice(0, 3) &&
                  log_sum.scalar_type() == wide &&
                  log_sum.device() == v.device(),
              op, ": log_sum must be ", q.sizes().slice(0, 3), " ", wide,
              " on ", v.device(), ", not ", log_sum.sizes(), " ",
              log_sum.scalar_type(), " on ", log_sum.device());
}

inline double AttentionScale(std::optional<double> scale, const at::Tensor& q) {
  return scale.has_value() ? *scale
                           : 1 / std::sqrt(static_cast<double>(q.size(-1)));
}

}  // namespace repro

#endif  // REPRO_KERNELS_FLASH_CHECK_H_
