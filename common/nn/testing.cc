#include "common/nn/testing.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include "common/tensor/generator.h"
#include "common/tensor/testing.h"
#include "gtest/gtest.h"

namespace repro {

Initializer DoubleInitializer(uint64_t seed) {
  return Initializer(MakeGenerator(seed, 1),
                     at::TensorOptions().dtype(at::kDouble));
}

bool HasParameter(const Module& module, const std::string& name) {
  for (const auto& entry : module.NamedParameters()) {
    if (entry.first == name) return true;
  }
  return false;
}

at::Tensor ParameterOf(const Module& module, const std::string& name) {
  for (const auto& [key, parameter] : module.NamedParameters()) {
    if (key == name) return parameter;
  }
  ADD_FAILURE() << "no parameter " << name;
  return {};
}

void Randomise(const Module& module, uint64_t seed, double std) {
  const at::NoGradGuard no_grad;
  for (const auto& [name, parameter] : module.NamedParameters()) {
    at::Tensor(parameter).copy_(std * RandomNormal(parameter.sizes(), seed++));
  }
}

}  // namespace repro
