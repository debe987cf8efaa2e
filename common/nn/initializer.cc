#include "common/nn/initializer.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/erfinv.h>
#include <ATen/ops/full.h>
#include <c10/util/Exception.h>

#include <cmath>
#include <utility>

namespace repro {
namespace {

// Of one output: in / groups * kernel_h * kernel_w.
int64_t FanIn(at::IntArrayRef shape) {
  TORCH_CHECK(shape.size() >= 2, "a weight has at least two axes, got ", shape);
  int64_t fan = 1;
  for (const int64_t size : shape.slice(1)) fan *= size;
  return fan;
}

int64_t FanOut(at::IntArrayRef shape) {
  TORCH_CHECK(shape.size() >= 2, "a weight has at least two axes, got ", shape);
  int64_t fan = shape[0];
  for (const int64_t size : shape.slice(2)) fan *= size;
  return fan;
}

}  // namespace

Initializer Initializer::Meta() {
  return Initializer(at::Generator(), at::TensorOptions().device(at::kMeta));
}

at::Tensor Initializer::Draw(at::IntArrayRef shape) const {
  return at::empty(shape,
                   at::TensorOptions(at::kFloat).device(generator_.device()));
}

bool Initializer::meta() const { return options_.device().is_meta(); }

at::Tensor Initializer::Constant(at::IntArrayRef shape, double value) const {
  return meta() ? at::empty(shape, options_) : at::full(shape, value, options_);
}

at::Tensor Initializer::Uniform(at::IntArrayRef shape, double low,
                                double high) const {
  if (meta()) return at::empty(shape, options_);
  return Draw(shape).uniform_(low, high, generator_).to(options_);
}

at::Tensor Initializer::Normal(at::IntArrayRef shape, double std) const {
  if (meta()) return at::empty(shape, options_);
  return Draw(shape).normal_(0, std, generator_).to(options_);
}

at::Tensor Initializer::TruncatedNormal(at::IntArrayRef shape,
                                        double std) const {
  if (meta()) return at::empty(shape, options_);
  // With Phi the normal distribution function and u uniform in Phi(+-2 / std),
  // std Phi^-1(u) = std sqrt(2) erfinv(2 u - 1); drawn here as 2 u - 1.
  const double limit = std::erf(2 / (std * std::sqrt(2.0)));
  return at::erfinv(Draw(shape).uniform_(-limit, limit, generator_))
      .mul_(std * std::sqrt(2.0))
      .clamp_(-2, 2)
      .to(options_);
}

at::Tensor Initializer::XavierUniform(at::IntArrayRef shape) const {
  const double bound = std::sqrt(6.0 / (FanIn(shape) + FanOut(shape)));
  return Uniform(shape, -bound, bound);
}

at::Tensor Initializer::KaimingNormalFanOut(at::IntArrayRef shape,
                                            int64_t groups) const {
  return Normal(shape, std::sqrt(2.0 * groups / FanOut(shape)));
}

at::Tensor Initializer::UniformFanIn(at::IntArrayRef shape,
                                     int64_t fan_in) const {
  const double bound = 1 / std::sqrt(static_cast<double>(fan_in));
  return Uniform(shape, -bound, bound);
}

}  // namespace repro
