// The SRMSNorm of the released benchmark: the rival that the fused kernel
// (kernels/rms_norm) is measured against, and the bytes that both passes hold.
#ifndef REPRO_PAPERS_LIGHTNING_ATTENTION_SIMPLE_RMS_NORM_H_
#define REPRO_PAPERS_LIGHTNING_ATTENTION_SIMPLE_RMS_NORM_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

namespace repro::lightning_attention {

// x / sqrt(mean(x^2) + eps) over the last axis, as operators of their own:
// to float32, square, mean, reciprocal root, product, back to x's dtype.
at::Tensor EagerSimpleRmsNorm(const at::Tensor& x, double eps = 1e-6);

// Bytes of tensors that the benchmark's forward holds at its peak for x of
// [rows, dim] with `element_size` bytes an element: x, y and one float32 a row.
double SimpleRmsNormForwardBytes(int64_t rows, int64_t dim,
                                 int64_t element_size);

// How often the benchmark runs backward on one graph.
inline constexpr int kBackwardRepetitions = 20;

// The mean over these runs of the peak of each: x, y, the saved norms, the
// gradient of y, the new gradient of x and, but for the first run, the one that
// it is added to.
double SimpleRmsNormBackwardBytes(int64_t rows, int64_t dim,
                                  int64_t element_size);

// The same two measured: the peak that `peak_bytes` reports while kernels/
// rms_norm runs on a [rows, dim] tensor of `options`, everything allocated in
// that run included.
using PeakFunction = std::function<int64_t(const std::function<void()>& run)>;
double MeasureForwardBytes(int64_t rows, int64_t dim, at::TensorOptions options,
                           const PeakFunction& peak_bytes);
double MeasureBackwardBytes(int64_t rows, int64_t dim,
                            at::TensorOptions options,
                            const PeakFunction& peak_bytes);

}  // namespace repro::lightning_attention

#endif  // REPRO_PAPERS_LIGHTNING_ATTENTION_SIMPLE_RMS_NORM_H_
