// For tests: parameters that testdata/make_expected.py can make too.
#ifndef REPRO_COMMON_ENCODER_FILL_PARAMETERS_H_
#define REPRO_COMMON_ENCODER_FILL_PARAMETERS_H_

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/sin.h>

#include <cstdint>

#include "common/nn/module.h"

namespace repro::encoder {

// Element j of parameter k becomes 0.3 sin(1.3 k + 0.7 j).
inline void FillParameters(const Module& module) {
  at::NoGradGuard no_grad;
  int64_t k = 0;
  for (auto& [name, parameter] : module.NamedParameters()) {
    const at::Tensor j = at::arange(parameter.numel(), at::kDouble);
    parameter.copy_((0.3 * at::sin(1.3 * static_cast<double>(k++) + 0.7 * j))
                        .view(parameter.sizes()));
  }
}

}  // namespace repro::encoder

#endif  // REPRO_COMMON_ENCODER_FILL_PARAMETERS_H_
