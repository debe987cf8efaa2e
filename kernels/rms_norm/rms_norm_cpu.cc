#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/sum.h>
#include <torch/library.h>

#include <optional>
#include <tuple>

namespace repro {
namespace {

at::Tensor Accumulated(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? x : x.to(at::kFloat);
}

std::tuple<at::Tensor, at::Tensor> Forward(
    const at::Tensor& x, const std::optional<at::Tensor>& weight, double eps) {
  const at::Tensor wide = Accumulated(x);
  const at::Tensor inverse_rms =
      (wide * wide).mean(-1, /*keepdim=*/true).add_(eps).rsqrt_();
  at::Tensor y = wide * inverse_rms;
  if (weight.has_value()) y.mul_(*weight);
  return {y.to(x.scalar_type()), inverse_rms.flatten()};
}

// With n = x / rms and g = w dy: dx = (g - n mean(g n)) / rms, dw = sum dy n.
std::tuple<at::Tensor, at::Tensor> Backward(
    const at::Tensor& dy, const at::Tensor& x,
    const std::optional<at::Tensor>& weight, const at::Tensor& inverse_rms) {
  std::vector<int64_t> rows = x.sizes().vec();
  rows.back() = 1;
  const at::Tensor r = inverse_rms.view(rows);
  const at::Tensor wide = Accumulated(dy);
  const at::Tensor normalised = Accumulated(x) * r;
  const at::Tensor g = weight.has_value() ? wide * *weight : wide;
  const at::Tensor dx =
      (g - normalised * (g * normalised).mean(-1, /*keepdim=*/true)) * r;
  at::Tensor dweight = at::empty({0}, x.options());
  if (weight.has_value()) {
    dweight = (wide * normalised)
                  .view({-1, x.size(-1)})
                  .sum(0)
                  .to(weight->scalar_type());
  }
  return {dx.to(x.scalar_type()), dweight};
}

TORCH_LIBRARY_IMPL(repro, CPU, m) {
  m.impl("rms_norm_forward", Forward);
  m.impl("rms_norm_backward", Backward);
}

}  // namespace
}  // namespace repro
