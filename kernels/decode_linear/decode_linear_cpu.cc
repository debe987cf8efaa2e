#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/silu.h>
#include <torch/library.h>

#include <optional>

namespace repro {
namespace {

void Composed(const at::Tensor& out, const at::Tensor& x,
              const at::Tensor& weight, const std::optional<at::Tensor>& norm,
              double eps, const std::optional<at::Tensor>& bias, int64_t use) {
  at::Tensor h = x;
  if (norm.has_value()) {
    const at::Tensor wide =
        x.scalar_type() == at::kDouble ? x : x.to(at::kFloat);
    h = (wide * at::rsqrt((wide * wide).mean(-1, /*keepdim=*/true) + eps) *
         *norm)
            .to(x.scalar_type());
  }
  const at::Tensor y = at::linear(h, weight, bias);
  if (use == 1) {
    out.add_(y);
  } else if (use == 2) {
    out.copy_(at::silu(y.narrow(1, 0, out.size(1))) *
              y.narrow(1, out.size(1), out.size(1)));
  } else {
    out.copy_(y);
  }
}

TORCH_LIBRARY_IMPL(repro, CompositeExplicitAutograd, m) {
  m.impl("decode_linear_composed", Composed);
}

TORCH_LIBRARY_IMPL(repro, CPU, m) { m.impl("decode_linear_vector", Composed); }

}  // namespace
}  // namespace repro
