#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <torch/library.h>

namespace repro {
namespace {

// Dense, so that values do not depend on the strides.
at::Tensor Accumulated(const at::Tensor& x) {
  return (x.scalar_type() == at::kDouble ? x : x.to(at::kFloat)).contiguous();
}

at::Tensor Forward(const at::Tensor& gate_up) {
  const auto halves = Accumulated(gate_up).chunk(2, -1);
  return (at::silu(halves[0]) * halves[1]).to(gate_up.scalar_type());
}

// With s = sigmoid(gate): dgate = dy up s (1 + gate (1 - s)), dup = dy gate s.
at::Tensor Backward(const at::Tensor& dy, const at::Tensor& gate_up) {
  const auto halves = Accumulated(gate_up).chunk(2, -1);
  const at::Tensor& gate = halves[0];
  const at::Tensor wide = Accumulated(dy);
  const at::Tensor s = at::sigmoid(gate);
  return at::cat({wide * halves[1] * s * (1 + gate * (1 - s)), wide * gate * s},
                 -1)
      .to(gate_up.scalar_type());
}

TORCH_LIBRARY_IMPL(repro, CPU, m) {
  m.impl("swiglu_forward", Forward);
  m.impl("swiglu_backward", Backward);
}

}  // namespace
}  // namespace repro
