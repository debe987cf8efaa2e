#include "common/lm/rope.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/pow.h>

#include <algorithm>
#include <cmath>

#include "common/lm/cpu_ops.h"
#include "common/tensor/check.h"
#include "kernels/rotary/rotary.h"

namespace repro::lm {
namespace {

// In float32 as Hugging Face computes them, so that angles agree to the bit.
at::Tensor InverseFrequencies(const ModelConfig& config) {
  at::Tensor out =
      1 / at::pow(config.rope_theta,
                  at::arange(0, config.head_dim, 2, at::kLong).to(at::kFloat) /
                      static_cast<double>(config.head_dim));
  const RopeScaling& scaling = config.rope_scaling;
  float* theta = out.data_ptr<float>();
  for (int64_t i = 0; i < out.numel(); ++i) {
    switch (scaling.type) {
      case RopeScaling::Type::kNone:
        break;
      case RopeScaling::Type::kLinear:
        theta[i] /= static_cast<float>(scaling.factor);
        break;
      case RopeScaling::Type::kLlama3: {
        // Turns within the original context: few are scaled, many kept, and
        // interpolated between (Llama 3.1's apply_scaling).
        const double turns =
            scaling.original_max_positions * theta[i] / (2 * M_PI);
        const double smooth =
            std::clamp((turns - scaling.low_freq_factor) /
                           (scaling.high_freq_factor - scaling.low_freq_factor),
                       0.0, 1.0);
        theta[i] = static_cast<float>((1 - smooth) * theta[i] / scaling.factor +
                                      smooth * theta[i]);
        break;
      }
    }
  }
  return out;
}

}  // namespace

Rope::Rope(const ModelConfig& config, c10::Device device, at::ScalarType dtype)
    : head_dim_(config.head_dim), dtype_(dtype) {
  at::NoGradGuard no_grad;
  inverse_frequencies_ = InverseFrequencies(config).to(device);
  // A file's claim costs no more memory than this before it is used.
  Grow(std::min<int64_t>(config.max_positions, 32768));
}

at::Tensor Rope::Apply(const at::Tensor& x, int64_t first) const {
  CheckShape(x, {"heads", "tokens", head_dim_}, "x");
  TORCH_CHECK(first >= 0, "rope: first position ", first);
  const int64_t tokens = x.size(1);
  Grow(first + tokens);
  const at::Tensor cos = cos_.narrow(0, first, tokens);
  const at::Tensor sin = sin_.narrow(0, first, tokens);
  return cpu::Takes(x) ? cpu::Rotate(x, cos, sin) : Rotary(x, cos, sin);
}

at::Tensor Rope::ApplyAt(const at::Tensor& x,
                         const at::Tensor& positions) const {
  CheckShape(x, {"heads", "tokens", head_dim_}, "x");
  CheckShape(positions, {x.size(1)}, "positions");
  // Not from the tables: the largest position is on the device, and waiting
  // for it would break a captured graph.
  const at::Tensor angle =
      at::outer(positions.to(at::kFloat), inverse_frequencies_);
  return Rotary(x, angle.cos(), angle.sin());
}

void Rope::Tables(int64_t count, at::Tensor* cos, at::Tensor* sin) const {
  Grow(count);
  *cos = cos_.narrow(0, 0, count);
  *sin = sin_.narrow(0, 0, count);
}

void Rope::Grow(int64_t count) const {
  const int64_t have = cos_.defined() ? cos_.size(0) : 0;
  if (count <= have) return;
  at::NoGradGuard no_grad;
  const at::Tensor angle =
      at::outer(at::arange(std::max(count, have + have / 2),
                           inverse_frequencies_.options()),
                inverse_frequencies_);
  cos_ = angle.cos();
  sin_ = angle.sin();
}

}  // namespace repro::lm
