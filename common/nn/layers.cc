#include "common/nn/layers.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/baddbmm.h>
#include <ATen/ops/batch_norm.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/stack.h>

#include <utility>

#include "common/tensor/check.h"

namespace repro {
namespace {

// mask / (1 - p) of the given shape, times x.
at::Tensor Drop(const at::Tensor& x, at::IntArrayRef mask_shape, double p,
                bool training, at::Generator& generator) {
  TORCH_CHECK(p >= 0 && p < 1, "a drop probability is in [0, 1), got ", p);
  if (!training || p == 0) return x;
  return x * at::empty(mask_shape, x.options())
                 .bernoulli_(1 - p, generator)
                 .div_(1 - p);
}

}  // namespace

Linear::Linear(at::Tensor weight, at::Tensor bias) {
  ShapeChecker check;
  check(weight, {"out", "in"}, "weight");
  weight_ = AddParameter("weight", std::move(weight));
  if (bias.defined()) {
    check(bias, {"out"}, "bias");
    bias_ = AddParameter("bias", std::move(bias));
  }
}

// The weight is drawn before the bias, whatever the order of evaluation of
// arguments, which C++ leaves open.
Linear::Linear(int64_t in_features, int64_t out_features,
               const Initializer& init) {
  weight_ = AddParameter(
      "weight", init.UniformFanIn({out_features, in_features}, in_features));
  bias_ = AddParameter("bias", init.UniformFanIn({out_features}, in_features));
}

at::Tensor Linear::Forward(const at::Tensor& x) const {
  const at::ScalarType dtype = x.scalar_type();
  return at::linear(x, weight_.to(dtype),
                    bias_.defined() ? bias_.to(dtype) : bias_);
}

StackedLinear::StackedLinear(const std::vector<at::Tensor>& weights,
                             const std::vector<at::Tensor>& biases) {
  Register(weights, biases);
}

StackedLinear::StackedLinear(int64_t in_features, int64_t out_features,
                             const std::vector<Initializer>& inits) {
  std::vector<at::Tensor> weights, biases;
  for (const Initializer& init : inits) {
    weights.push_back(
        init.UniformFanIn({out_features, in_features}, in_features));
    biases.push_back(init.UniformFanIn({out_features}, in_features));
  }
  Register(weights, biases);
}

void StackedLinear::Register(const std::vector<at::Tensor>& weights,
                             const std::vector<at::Tensor>& biases) {
  TORCH_CHECK(!weights.empty() && weights.size() == biases.size(),
              "StackedLinear: ", weights.size(), " weights and ", biases.size(),
              " biases");
  ShapeChecker check;
  for (size_t m = 0; m < weights.size(); ++m) {
    check(weights[m], {"out", "in"}, "weight");
    check(biases[m], {"out"}, "bias");
  }
  weight_ =
      AddParameter("weight", at::stack(weights).transpose(1, 2).contiguous());
  bias_ = AddParameter("bias", at::stack(biases).unsqueeze(1));
}

at::Tensor StackedLinear::Forward(const at::Tensor& x) const {
  CheckShape(x, {weight_.size(0), "rows", weight_.size(1)}, "x");
  return at::baddbmm(bias_, x, weight_);
}

Conv2d::Conv2d(at::Tensor weight, at::Tensor bias, Conv2dOptions options)
    : options_(options) {
  ShapeChecker check;
  check(weight, {"out", "in / groups", "kernel_h", "kernel_w"}, "weight");
  weight_ = AddParameter("weight", std::move(weight));
  if (bias.defined()) {
    check(bias, {"out"}, "bias");
    bias_ = AddParameter("bias", std::move(bias));
  }
}

at::Tensor Conv2d::Forward(const at::Tensor& x) const {
  return at::conv2d(x, weight_, bias_, options_.stride, options_.padding,
                    options_.dilation, options_.groups);
}

LayerNorm::LayerNorm(int64_t dim, const Initializer& init, double eps)
    : eps_(eps),
      weight_(AddParameter("weight", init.Ones({dim}))),
      bias_(AddParameter("bias", init.Zeros({dim}))) {}

at::Tensor LayerNorm::Forward(const at::Tensor& x) const {
  return at::layer_norm(x, weight_.sizes(), weight_, bias_, eps_);
}

BatchNorm2d::BatchNorm2d(int64_t channels, const Initializer& init, double eps,
                         double momentum)
    : eps_(eps),
      momentum_(momentum),
      weight_(AddParameter("weight", init.Ones({channels}))),
      bias_(AddParameter("bias", init.Zeros({channels}))),
      running_mean_(AddBuffer("running_mean", init.Zeros({channels}))),
      running_var_(AddBuffer("running_var", init.Ones({channels}))) {}

at::Tensor BatchNorm2d::Forward(const at::Tensor& x) {
  CheckShape(x, {"batch", weight_.size(0), "height", "width"}, "x");
  return at::batch_norm(x, weight_, bias_, running_mean_, running_var_,
                        training(), momentum_, eps_, /*cudnn_enabled=*/true);
}

LayerScale::LayerScale(int64_t channels, double initial_value,
                       int64_t channel_dim, const Initializer& init)
    : channel_dim_(channel_dim),
      lambda_(
          AddParameter("lambda", init.Constant({channels}, initial_value))) {}

at::Tensor LayerScale::Forward(const at::Tensor& x) const {
  const int64_t axis = channel_dim_ < 0 ? channel_dim_ + x.dim() : channel_dim_;
  TORCH_CHECK(axis >= 0 && axis < x.dim() && x.size(axis) == lambda_.size(0),
              "x: expected ", lambda_.size(0), " channels on axis ",
              channel_dim_, ", got ", x.sizes());
  std::vector<int64_t> shape(x.dim() - axis, 1);
  shape[0] = lambda_.size(0);
  return x * lambda_.view(shape);
}

at::Tensor Dropout(const at::Tensor& x, double p, bool training,
                   at::Generator generator) {
  return Drop(x, x.sizes(), p, training, generator);
}

at::Tensor DropPath(const at::Tensor& x, double p, bool training,
                    at::Generator generator) {
  TORCH_CHECK(x.dim() > 0, "x: expected a first axis of samples, got a scalar");
  std::vector<int64_t> mask_shape(x.dim(), 1);
  mask_shape[0] = x.size(0);
  return Drop(x, mask_shape, p, training, generator);
}

}  // namespace repro
