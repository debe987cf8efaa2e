// Optimisers over plain tensors, each as its PyTorch namesake computes it.
#ifndef REPRO_COMMON_TRAIN_OPTIMIZER_H_
#define REPRO_COMMON_TRAIN_OPTIMIZER_H_

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

namespace repro {

class Optimizer {
 public:
  virtual ~Optimizer() = default;

  // Updates every parameter that has a gradient.
  virtual void Step() = 0;

  // Sets gradients to none.
  void ZeroGradients();

  const std::vector<at::Tensor>& parameters() const { return parameters_; }

  // One rate for all parameters; or, for StackedAdam, one for each model.
  const std::vector<double>& rates() const { return rates_; }
  void SetRate(double rate);
  virtual void SetRates(const std::vector<double>& rates);

  // The state that Step changes (moments, step counts), in a fixed order. A
  // checkpoint saves it and copies into it.
  const std::vector<at::Tensor>& state() const { return state_; }

 protected:
  Optimizer(std::vector<at::Tensor> parameters, std::vector<double> rates);

  // Makes zeros like each parameter, appends them to the state, returns them.
  std::vector<at::Tensor> AddMoments();
  // Likewise one float32 count for each parameter; on its device, where a fused
  // kernel reads it, or on the CPU, where reading it waits for nothing.
  std::vector<at::Tensor> AddStepCounts(bool on_cpu);

  std::vector<at::Tensor> parameters_;
  std::vector<double> rates_;

 private:
  std::vector<at::Tensor> state_;
};

struct SgdOptions {
  double rate = 1e-2;
  double momentum = 0;
  double weight_decay = 0;
};

struct AdamOptions {
  double rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;
};

// v = momentum v + (g + weight_decay p); p -= rate v.
std::unique_ptr<Optimizer> MakeSgd(std::vector<at::Tensor> parameters,
                                   const SgdOptions& options);

// Kingma and Ba 2015; weight decay is added to the gradient.
std::unique_ptr<Optimizer> MakeAdam(std::vector<at::Tensor> parameters,
                                    const AdamOptions& options);

// Loshchilov and Hutter 2019: p is multiplied by 1 - rate * weight_decay.
std::unique_ptr<Optimizer> MakeAdamW(std::vector<at::Tensor> parameters,
                                     const AdamOptions& options);

// Liu et al. 2020, algorithm 2, with PyTorch's placing of eps: with
// rho_inf = 2 / (1 - beta2) - 1 and
// rho_t = rho_inf - 2 t beta2^t / (1 - beta2^t), an unadapted step of the
// corrected momentum while rho_t <= 5, else the rectified one.
std::unique_ptr<Optimizer> MakeRAdam(std::vector<at::Tensor> parameters,
                                     const AdamOptions& options);

// Adam on several models stacked along every parameter's first axis
// ([models, ...]), each with its own rate. Adam acts on each element alone, so
// this is each model's own Adam exactly.
std::unique_ptr<Optimizer> MakeStackedAdam(std::vector<at::Tensor> parameters,
                                           std::vector<double> rates,
                                           const AdamOptions& options);

// Scales all gradients by min(1, max_norm / (norm + 1e-6)), norm the Euclidean
// norm of all of them together; returns norm (torch's clip_grad_norm_).
double ClipGradientNorm(const std::vector<at::Tensor>& parameters,
                        double max_norm);

}  // namespace repro

#endif  // REPRO_COMMON_TRAIN_OPTIMIZER_H_
