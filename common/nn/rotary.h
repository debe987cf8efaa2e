// Rotary positions (Su et al. 2021, arXiv 2104.09864), in the layout in which
// entry i of a head turns together with entry i + head_dim / 2.
#ifndef REPRO_COMMON_NN_ROTARY_H_
#define REPRO_COMMON_NN_ROTARY_H_

#include <ATen/core/Tensor.h>

namespace repro {

// The factors of a rotation, for some positions: both [seq_len, head_dim].
struct RotaryTable {
  at::Tensor cos;  // cos(p theta_i), theta_i = base^(-2 i / head_dim), twice
  at::Tensor sin;  // -sin(p theta_i) in the first half, sin in the second
};

// The table of positions [seq_len] (an integer tensor, whose device is the
// table's), of the given dtype; angles are computed in float32. head_dim is
// even.
RotaryTable MakeRotaryTable(const at::Tensor& positions, int64_t head_dim,
                            at::ScalarType dtype, double base = 10000);

// Turns each pair (x_i, x_{i + head_dim / 2}) by its position's angle.
// x: [..., seq_len, head_dim] -> the same. Differentiable.
at::Tensor ApplyRotary(const at::Tensor& x, const RotaryTable& table);

}  // namespace repro

#endif  // REPRO_COMMON_NN_ROTARY_H_
