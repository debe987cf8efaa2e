// Robust inference: the recurrence in its naive and in its stable form.
#ifndef REPRO_PAPERS_LIGHTNING_ATTENTION_STABILITY_H_
#define REPRO_PAPERS_LIGHTNING_ATTENTION_STABILITY_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace repro::lightning_attention {

// q, k, v: [tokens] of one dtype, one channel each -> o: [tokens], computed in
// that dtype with decay lambda = exp(-slope).
//
// Naive: [kv]_t = [kv]_{t-1} + lambda^{-t} k_t v_t, o_t = lambda^t q_t [kv]_t.
at::Tensor NaiveRecurrence(const at::Tensor& q, const at::Tensor& k,
                           const at::Tensor& v, double slope);
// Robust: kv_t = lambda kv_{t-1} + k_t v_t, o_t = q_t kv_t, which is lambda^t
// [kv]_t.
at::Tensor RobustRecurrence(const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v, double slope);

// The first token, from 1, whose output is not finite; 0 if all are.
int64_t FirstNotFinite(const at::Tensor& o);
int64_t CountNotFinite(const at::Tensor& o);

}  // namespace repro::lightning_attention

#endif  // REPRO_PAPERS_LIGHTNING_ATTENTION_STABILITY_H_
