#include "papers/lightning_attention/stability.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <vector>

namespace repro::lightning_attention {

at::Tensor NaiveRecurrence(const at::Tensor& q, const at::Tensor& k,
                           const at::Tensor& v, double slope) {
  const at::TensorOptions options = q.options();
  at::Tensor kv = at::zeros({}, options);
  std::vector<at::Tensor> o;
  for (int64_t t = 0; t < q.size(0); ++t) {
    // Rounded to the dtype, where it becomes infinite.
    const at::Tensor growth =
        at::scalar_tensor(std::exp(slope * (t + 1)), at::kDouble).to(options);
    kv = kv + growth * k[t] * v[t];
    o.push_back(
        at::scalar_tensor(std::exp(-slope * (t + 1)), at::kDouble).to(options) *
        q[t] * kv);
  }
  return at::stack(o);
}

at::Tensor RobustRecurrence(const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v, double slope) {
  const at::Tensor decay =
      at::scalar_tensor(std::exp(-slope), at::kDouble).to(q.options());
  at::Tensor kv = at::zeros({}, q.options());
  std::vector<at::Tensor> o;
  for (int64_t t = 0; t < q.size(0); ++t) {
    kv = decay * kv + k[t] * v[t];
    o.push_back(q[t] * kv);
  }
  return at::stack(o);
}

int64_t FirstNotFinite(const at::Tensor& o) {
  const at::Tensor bad = at::isfinite(o).logical_not();
  if (!bad.any().item<bool>()) return 0;
  return bad.to(at::kLong).argmax().item<int64_t>() + 1;
}

int64_t CountNotFinite(const at::Tensor& o) {
  return at::isfinite(o).logical_not().sum().item<int64_t>();
}

}  // namespace repro::lightning_attention
