// Initial values of parameters, from an explicit generator.
#ifndef REPRO_COMMON_NN_INITIALIZER_H_
#define REPRO_COMMON_NN_INITIALIZER_H_

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <c10/core/TensorOptions.h>
#include <c10/util/ArrayRef.h>

namespace repro {

// Makes tensors with the given options. Draws are made in float32 on the
// generator's device and then moved or converted: with a generator of the CPU a
// seed gives one set of weights on every device, and one of the GPU is quick
// for billions of them. On the meta device nothing is drawn or allocated.
//
// Weights are [out, in] or [out, in / groups, kernel_h, kernel_w];
// fan_in = in * kernel_h * kernel_w / groups, and fan_out likewise without the
// division.
class Initializer {
 public:
  // Copies of the initialiser share the generator's state.
  explicit Initializer(at::Generator generator, at::TensorOptions options = {})
      : generator_(std::move(generator)), options_(options) {}

  // Nothing random is left in this one: for counting at no cost.
  static Initializer Meta();

  at::Tensor Constant(at::IntArrayRef shape, double value) const;
  at::Tensor Zeros(at::IntArrayRef shape) const { return Constant(shape, 0); }
  at::Tensor Ones(at::IntArrayRef shape) const { return Constant(shape, 1); }
  at::Tensor Uniform(at::IntArrayRef shape, double low, double high) const;
  at::Tensor Normal(at::IntArrayRef shape, double std) const;

  // N(0, std^2) cut to [-2, 2] (absolute, as timm and torch.nn.init default
  // to, not in units of std), by inversion of the distribution function.
  at::Tensor TruncatedNormal(at::IntArrayRef shape, double std) const;

  // U(-a, a), a = sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010).
  at::Tensor XavierUniform(at::IntArrayRef shape) const;

  // N(0, 2 / fan) with fan = fan_out / groups (He et al. 2015; the division
  // is that of PyTorch image models for grouped convolutions).
  at::Tensor KaimingNormalFanOut(at::IntArrayRef shape,
                                 int64_t groups = 1) const;

  // U(-1 / sqrt(fan_in), 1 / sqrt(fan_in)): what torch.nn.Linear and Conv2d
  // draw for weight and bias. A bias has the fan_in of its weight.
  at::Tensor UniformFanIn(at::IntArrayRef shape, int64_t fan_in) const;

 private:
  bool meta() const;
  // Uninitialised, float32, on the generator's device.
  at::Tensor Draw(at::IntArrayRef shape) const;

  at::Generator generator_;
  at::TensorOptions options_;
};

}  // namespace repro

#endif  // REPRO_COMMON_NN_INITIALIZER_H_
