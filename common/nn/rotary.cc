#include "common/nn/rotary.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/addcmul.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/pow.h>

#include "common/tensor/check.h"

namespace repro {

RotaryTable MakeRotaryTable(const at::Tensor& positions, int64_t head_dim,
                            at::ScalarType dtype, double base) {
  CheckShape(positions, {"seq_len"}, "positions");
  TORCH_CHECK(head_dim > 0 && head_dim % 2 == 0,
              "rotary positions need an even head_dim, got ", head_dim);
  const at::Tensor theta = at::pow(
      base, at::arange(head_dim / 2, positions.options().dtype(at::kFloat)) *
                (-2.0 / head_dim));
  const at::Tensor angle = at::outer(positions.to(at::kFloat), theta);
  const at::Tensor cos = angle.cos().to(dtype);
  const at::Tensor sin = angle.sin().to(dtype);
  return {at::cat({cos, cos}, -1), at::cat({-sin, sin}, -1)};
}

at::Tensor ApplyRotary(const at::Tensor& x, const RotaryTable& table) {
  TORCH_CHECK(x.dim() >= 2 && table.cos.size(0) == x.size(-2) &&
                  table.cos.size(1) == x.size(-1),
              "rotary table ", table.cos.sizes(), " does not fit x ",
              x.sizes());
  return at::addcmul(x * table.cos, x.roll(x.size(-1) / 2, -1), table.sin);
}

}  // namespace repro
