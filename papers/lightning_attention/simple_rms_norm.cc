#include "papers/lightning_attention/simple_rms_norm.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rsqrt.h>

#include "kernels/rms_norm/rms_norm.h"

namespace repro::lightning_attention {

at::Tensor EagerSimpleRmsNorm(const at::Tensor& x, double eps) {
  const at::Tensor wide = x.to(at::kFloat);
  return (wide * at::rsqrt(wide.pow(2).mean(-1, /*keepdim=*/true) + eps))
      .to(x.scalar_type());
}

double SimpleRmsNormForwardBytes(int64_t rows, int64_t dim,
                                 int64_t element_size) {
  return 2.0 * rows * dim * element_size + 4.0 * rows;
}

double SimpleRmsNormBackwardBytes(int64_t rows, int64_t dim,
                                  int64_t element_size) {
  const double tensors =
      4 + (kBackwardRepetitions - 1.0) / kBackwardRepetitions;
  return tensors * rows * dim * element_size + 4.0 * rows;
}

double MeasureForwardBytes(int64_t rows, int64_t dim, at::TensorOptions options,
                           const PeakFunction& peak_bytes) {
  return static_cast<double>(peak_bytes([&] {
    const at::Tensor x = at::ones({rows, dim}, options).requires_grad_();
    RmsNorm(x);
  }));
}

double MeasureBackwardBytes(int64_t rows, int64_t dim,
                            at::TensorOptions options,
                            const PeakFunction& peak_bytes) {
  // Each repetition builds the state that the benchmark has reached by then,
  // so that its peak starts from nothing.
  double sum = 0;
  for (int i = 0; i < kBackwardRepetitions; ++i) {
    sum += static_cast<double>(peak_bytes([&] {
      const at::Tensor x = at::ones({rows, dim}, options).requires_grad_();
      const at::Tensor y = RmsNorm(x);
      const at::Tensor dy = at::ones({rows, dim}, options);
      if (i > 0) x.mutable_grad() = at::ones({rows, dim}, options);
      y.backward(dy);
    }));
  }
  return sum / kBackwardRepetitions;
}

}  // namespace repro::lightning_attention
