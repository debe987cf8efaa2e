#include "common/train/optimizer.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_foreach_zero.h>
#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/_fused_sgd.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace repro {
namespace {

// Those of `list` whose parameter has a gradient.
std::vector<at::Tensor> Present(const std::vector<at::Tensor>& parameters,
                                const std::vector<at::Tensor>& list) {
  std::vector<at::Tensor> out;
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (parameters[i].grad().defined()) out.push_back(list[i]);
  }
  return out;
}

std::vector<at::Tensor> Gradients(const std::vector<at::Tensor>& parameters) {
  std::vector<at::Tensor> out;
  for (const at::Tensor& parameter : parameters) {
    if (parameter.grad().defined()) out.push_back(parameter.grad());
  }
  return out;
}

class Sgd : public Optimizer {
 public:
  Sgd(std::vector<at::Tensor> parameters, const SgdOptions& options)
      : Optimizer(std::move(parameters), {options.rate}), options_(options) {
    if (options_.momentum != 0) momenta_ = AddMoments();
  }

  void Step() override {
    at::NoGradGuard no_grad;
    const std::vector<at::Tensor> gradients = Gradients(parameters_);
    if (gradients.empty()) return;
    std::vector<at::Tensor> momenta;
    if (!momenta_.empty()) momenta = Present(parameters_, momenta_);
    // Momenta that start at zero make the first step like any other.
    at::_fused_sgd_(Present(parameters_, parameters_), gradients, momenta,
                    options_.weight_decay, options_.momentum, rates_[0],
                    /*dampening=*/0, /*nesterov=*/false, /*maximize=*/false,
                    /*is_first_step=*/false);
  }

 private:
  SgdOptions options_;
  std::vector<at::Tensor> momenta_;
};

// What the Adam family keeps: both moments and a count for each parameter.
class AdamFamily : public Optimizer {
 protected:
  AdamFamily(std::vector<at::Tensor> parameters, std::vector<double> rates,
             const AdamOptions& options, bool counts_on_cpu)
      : Optimizer(std::move(parameters), std::move(rates)),
        options_(options),
        first_(AddMoments()),
        second_(AddMoments()),
        counts_(AddStepCounts(counts_on_cpu)) {}

  const AdamOptions options_;
  std::vector<at::Tensor> first_;
  std::vector<at::Tensor> second_;
  std::vector<at::Tensor> counts_;
};

template <bool decoupled>
class Adam : public AdamFamily {
 public:
  Adam(std::vector<at::Tensor> parameters, const AdamOptions& options)
      : AdamFamily(std::move(parameters), {options.rate}, options,
                   /*counts_on_cpu=*/false) {}

  void Step() override {
    at::NoGradGuard no_grad;
    const std::vector<at::Tensor> gradients = Gradients(parameters_);
    if (gradients.empty()) return;
    const std::vector<at::Tensor> counts = Present(parameters_, counts_);
    // The fused kernels read a count that includes the present step.
    at::_foreach_add_(counts, 1);
    const auto update = [&](auto&& fused) {
      fused(Present(parameters_, parameters_), gradients,
            Present(parameters_, first_), Present(parameters_, second_),
            at::TensorList(), counts, rates_[0], options_.beta1, options_.beta2,
            options_.weight_decay, options_.eps,
            /*amsgrad=*/false, /*maximize=*/false);
    };
    if (decoupled) {
      update([](auto&&... a) { at::_fused_adamw_(a...); });
    } else {
      update([](auto&&... a) { at::_fused_adam_(a...); });
    }
  }
};

class RAdam : public AdamFamily {
 public:
  RAdam(std::vector<at::Tensor> parameters, const AdamOptions& options)
      : AdamFamily(std::move(parameters), {options.rate}, options,
                   /*counts_on_cpu=*/true) {}

  void Step() override {
    at::NoGradGuard no_grad;
    const double beta1 = options_.beta1, beta2 = options_.beta2;
    const double rho_inf = 2 / (1 - beta2) - 1;
    for (size_t i = 0; i < parameters_.size(); ++i) {
      at::Tensor p = parameters_[i];
      at::Tensor g = p.grad();
      if (!g.defined()) continue;
      if (options_.weight_decay != 0) g = g.add(p, options_.weight_decay);
      const double t = counts_[i].add_(1).item<double>();
      first_[i].lerp_(g, 1 - beta1);
      second_[i].mul_(beta2).addcmul_(g, g, 1 - beta2);
      const double correction1 = 1 - std::pow(beta1, t);
      const double correction2 = 1 - std::pow(beta2, t);
      const double rho = rho_inf - 2 * t * std::pow(beta2, t) / correction2;
      const double step = rates_[0] / correction1;
      if (rho <= 5) {
        p.add_(first_[i], -step);
        continue;
      }
      const double rectification =
          std::sqrt((rho - 4) * (rho - 2) * rho_inf /
                    ((rho_inf - 4) * (rho_inf - 2) * rho));
      p.addcdiv_(first_[i], second_[i].sqrt().add_(options_.eps),
                 -step * rectification * std::sqrt(correction2));
    }
  }
};

// The fused kernel has one rate, so it makes the update at rate 1 from a
// parameter of zeros, and each model's rate then scales its part.
class StackedAdam : public AdamFamily {
 public:
  StackedAdam(std::vector<at::Tensor> parameters, std::vector<double> rates,
              const AdamOptions& options)
      : AdamFamily(std::move(parameters), std::move(rates), options,
                   /*counts_on_cpu=*/false) {
    for (const at::Tensor& p : parameters_) {
      TORCH_CHECK(p.dim() >= 1 && p.size(0) == rates_.size(),
                  "StackedAdam: expected [models=", rates_.size(),
                  ", ...], got ", p.sizes());
      updates_.push_back(at::zeros_like(p, p.options().requires_grad(false)));
    }
    SetRates(std::vector<double>(rates_));
  }

  void SetRates(const std::vector<double>& rates) override {
    Optimizer::SetRates(rates);
    rate_views_.clear();
    for (const at::Tensor& p : parameters_) {
      std::vector<int64_t> shape(p.dim(), 1);
      shape[0] = p.size(0);
      rate_views_.push_back(
          at::tensor(rates_, p.options().requires_grad(false)).view(shape));
    }
  }

  void Step() override {
    at::NoGradGuard no_grad;
    std::vector<at::Tensor> gradients = Gradients(parameters_);
    if (gradients.empty()) return;
    const std::vector<at::Tensor> parameters =
        Present(parameters_, parameters_);
    const std::vector<at::Tensor> updates = Present(parameters_, updates_);
    const std::vector<at::Tensor> rates = Present(parameters_, rate_views_);
    if (options_.weight_decay != 0) {
      gradients =
          at::_foreach_add(gradients, parameters, options_.weight_decay);
    }
    const std::vector<at::Tensor> counts = Present(parameters_, counts_);
    at::_foreach_add_(counts, 1);
    at::_foreach_zero_(updates);
    at::_fused_adam_(updates, gradients, Present(parameters_, first_),
                     Present(parameters_, second_), at::TensorList(), counts,
                     /*lr=*/1., options_.beta1, options_.beta2,
                     /*weight_decay=*/0, options_.eps, /*amsgrad=*/false,
                     /*maximize=*/false);
    for (size_t i = 0; i < parameters.size(); ++i) {
      parameters[i].addcmul_(updates[i], rates[i]);
    }
  }

 private:
  std::vector<at::Tensor> updates_;
  std::vector<at::Tensor> rate_views_;  // each [models, 1, ...]
};

}  // namespace

Optimizer::Optimizer(std::vector<at::Tensor> parameters,
                     std::vector<double> rates)
    : parameters_(std::move(parameters)), rates_(std::move(rates)) {
  for (const at::Tensor& p : parameters_) {
    TORCH_CHECK(p.defined() && p.is_leaf() && p.requires_grad(),
                "Optimizer: a parameter is a leaf that records gradients");
  }
}

void Optimizer::ZeroGradients() {
  for (at::Tensor& p : parameters_) p.mutable_grad().reset();
}

void Optimizer::SetRate(double rate) {
  SetRates(std::vector<double>(rates_.size(), rate));
}

void Optimizer::SetRates(const std::vector<double>& rates) {
  TORCH_CHECK(rates.size() == rates_.size(), "Optimizer: ", rates.size(),
              " rates, expected ", rates_.size());
  rates_ = rates;
}

std::vector<at::Tensor> Optimizer::AddMoments() {
  at::NoGradGuard no_grad;
  std::vector<at::Tensor> moments;
  for (const at::Tensor& p : parameters_) moments.push_back(at::zeros_like(p));
  state_.insert(state_.end(), moments.begin(), moments.end());
  return moments;
}

std::vector<at::Tensor> Optimizer::AddStepCounts(bool on_cpu) {
  std::vector<at::Tensor> counts;
  for (const at::Tensor& p : parameters_) {
    const at::Device device = on_cpu ? at::Device(at::kCPU) : p.device();
    counts.push_back(
        at::zeros({}, at::TensorOptions().dtype(at::kFloat).device(device)));
  }
  state_.insert(state_.end(), counts.begin(), counts.end());
  return counts;
}

std::unique_ptr<Optimizer> MakeSgd(std::vector<at::Tensor> parameters,
                                   const SgdOptions& options) {
  return std::make_unique<Sgd>(std::move(parameters), options);
}

std::unique_ptr<Optimizer> MakeAdam(std::vector<at::Tensor> parameters,
                                    const AdamOptions& options) {
  return std::make_unique<Adam<false>>(std::move(parameters), options);
}

std::unique_ptr<Optimizer> MakeAdamW(std::vector<at::Tensor> parameters,
                                     const AdamOptions& options) {
  return std::make_unique<Adam<true>>(std::move(parameters), options);
}

std::unique_ptr<Optimizer> MakeRAdam(std::vector<at::Tensor> parameters,
                                     const AdamOptions& options) {
  return std::make_unique<RAdam>(std::move(parameters), options);
}

std::unique_ptr<Optimizer> MakeStackedAdam(std::vector<at::Tensor> parameters,
                                           std::vector<double> rates,
                                           const AdamOptions& options) {
  return std::make_unique<StackedAdam>(std::move(parameters), std::move(rates),
                                       options);
}

double ClipGradientNorm(const std::vector<at::Tensor>& parameters,
                        double max_norm) {
  at::NoGradGuard no_grad;
  std::vector<at::Tensor> gradients = Gradients(parameters);
  if (gradients.empty()) return 0;
  const double norm =
      at::stack(at::_foreach_norm(gradients)).norm().item<double>();
  const double scale = max_norm / (norm + 1e-6);
  // A norm that is not finite scales too, as in PyTorch: the loss shows it.
  if (!(scale >= 1)) at::_foreach_mul_(gradients, scale);
  return norm;
}

}  // namespace repro
