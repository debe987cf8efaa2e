// For tests of modules in float64.
#ifndef REPRO_COMMON_ENCODER_PARAMETER_GRADIENTS_H_
#define REPRO_COMMON_ENCODER_PARAMETER_GRADIENTS_H_

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <functional>

#include "common/nn/module.h"

namespace repro::encoder {

// Three elements of every parameter's gradient against central differences,
// to 1e-8 + relative_tolerance |difference|: of large gradients the differences
// have fewer digits.
inline void ExpectParameterGradients(const Module& module,
                                     const std::function<at::Tensor()>& loss,
                                     double relative_tolerance = 0) {
  loss().backward();
  for (auto& [name, parameter] : module.NamedParameters()) {
    at::NoGradGuard no_grad;
    ASSERT_TRUE(parameter.grad().defined()) << name;
    const at::Tensor flat = parameter.view({-1});
    const at::Tensor gradient = parameter.grad().reshape({-1});
    for (const int64_t i : {int64_t{0}, flat.numel() / 2, flat.numel() - 1}) {
      constexpr double kStep = 1e-5;
      const double value = flat[i].item<double>();
      flat[i].fill_(value + kStep);
      const double above = loss().item<double>();
      flat[i].fill_(value - kStep);
      const double below = loss().item<double>();
      flat[i].fill_(value);
      const double difference = (above - below) / (2 * kStep);
      EXPECT_NEAR(gradient[i].item<double>(), difference,
                  1e-8 + relative_tolerance * std::abs(difference))
          << name << " " << i;
    }
  }
}

}  // namespace repro::encoder

#endif  // REPRO_COMMON_ENCODER_PARAMETER_GRADIENTS_H_
