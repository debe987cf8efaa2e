#include <ATen/TensorOperators.h>
#include <ATen/ops/addcmul.h>
#include <ATen/ops/cat.h>
#include <torch/library.h>

namespace repro {
namespace {

at::Tensor Forward(const at::Tensor& x, const at::Tensor& cos,
                   const at::Tensor& sin) {
  const at::ScalarType wide =
      x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor values = x.to(wide), c = cos.to(wide), s = sin.to(wide);
  return at::addcmul(values * at::cat({c, c}, -1),
                     values.roll(x.size(-1) / 2, -1), at::cat({-s, s}, -1))
      .to(x.scalar_type());
}

TORCH_LIBRARY_IMPL(repro, CPU, m) { m.impl("rotary_forward", Forward); }

}  // namespace
}  // namespace repro
