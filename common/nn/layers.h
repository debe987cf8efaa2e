// Layers that hold parameters. Each is given its initial values, so that a
// paper's initialisation is written where the layer is made:
//
//   AddModule<Linear>("head", init.TruncatedNormal({1000, 512}, 0.02),
//                     init.Zeros({1000}));
//
// Parameter names and layouts are PyTorch's ("weight", "bias").
#ifndef REPRO_COMMON_NN_LAYERS_H_
#define REPRO_COMMON_NN_LAYERS_H_

#include <ATen/core/Tensor.h>

#include <vector>

#include "common/nn/initializer.h"
#include "common/nn/module.h"

namespace repro {

// y = x W^T + b. x: [..., in], weight: [out, in], bias: [out] or undefined.
// Parameters of another dtype are converted to x's: float32 ones and bfloat16
// activations train in mixed precision.
class Linear : public Module {
 public:
  Linear(at::Tensor weight, at::Tensor bias);
  // torch.nn.Linear's initialisation: UniformFanIn for weight and bias.
  Linear(int64_t in_features, int64_t out_features, const Initializer& init);

  at::Tensor Forward(const at::Tensor& x) const;

 private:
  at::Tensor weight_;
  at::Tensor bias_;
};

// Several models' layers of one shape as one batched product:
// y_m = x_m W_m^T + b_m. x: [models, rows, in] -> [models, rows, out].
class StackedLinear : public Module {
 public:
  // weights: each [out, in], biases: each [out], one of each a model. Held as
  // "weight" [models, in, out] and "bias" [models, 1, out].
  StackedLinear(const std::vector<at::Tensor>& weights,
                const std::vector<at::Tensor>& biases);
  // torch.nn.Linear's initialisation, with each model's own generator: model
  // m's values are those of Linear(in_features, out_features, inits[m]).
  StackedLinear(int64_t in_features, int64_t out_features,
                const std::vector<Initializer>& inits);

  at::Tensor Forward(const at::Tensor& x) const;

 private:
  void Register(const std::vector<at::Tensor>& weights,
                const std::vector<at::Tensor>& biases);

  at::Tensor weight_;
  at::Tensor bias_;
};

struct Conv2dOptions {
  int64_t stride = 1;
  int64_t padding = 0;
  int64_t dilation = 1;
  int64_t groups = 1;
};

// x: [batch, in, height, width] -> [batch, out, out_height, out_width],
// weight: [out, in / groups, kernel_h, kernel_w], bias: [out] or undefined.
class Conv2d : public Module {
 public:
  Conv2d(at::Tensor weight, at::Tensor bias, Conv2dOptions options = {});

  at::Tensor Forward(const at::Tensor& x) const;

 private:
  at::Tensor weight_;
  at::Tensor bias_;
  Conv2dOptions options_;
};

// Over the last axis. x: [..., dim]. Weight starts at 1, bias at 0.
class LayerNorm : public Module {
 public:
  LayerNorm(int64_t dim, const Initializer& init, double eps = 1e-5);

  at::Tensor Forward(const at::Tensor& x) const;

 private:
  double eps_;
  at::Tensor weight_;
  at::Tensor bias_;
};

// x: [batch, channels, height, width]. Batch statistics in training (which
// update "running_mean" and "running_var"), running ones otherwise.
class BatchNorm2d : public Module {
 public:
  BatchNorm2d(int64_t channels, const Initializer& init, double eps = 1e-5,
              double momentum = 0.1);

  at::Tensor Forward(const at::Tensor& x);

 private:
  double eps_;
  double momentum_;
  at::Tensor weight_;
  at::Tensor bias_;
  at::Tensor running_mean_;
  at::Tensor running_var_;
};

// y = lambda * x with a learned lambda for each channel (Touvron et al. 2021).
// `channel_dim` is x's axis of channels: 1 for NCHW, -1 for channels last.
class LayerScale : public Module {
 public:
  LayerScale(int64_t channels, double initial_value, int64_t channel_dim,
             const Initializer& init);

  at::Tensor Forward(const at::Tensor& x) const;

 private:
  int64_t channel_dim_;
  at::Tensor lambda_;  // "lambda": [channels]
};

// Keeps an element with probability 1 - p and divides it by 1 - p; the identity
// when not training or p = 0. The generator is of x's device.
at::Tensor Dropout(const at::Tensor& x, double p, bool training,
                   at::Generator generator);

// The same for whole samples along x's first axis (stochastic depth, Huang et
// al. 2016).
at::Tensor DropPath(const at::Tensor& x, double p, bool training,
                    at::Generator generator);

}  // namespace repro

#endif  // REPRO_COMMON_NN_LAYERS_H_
