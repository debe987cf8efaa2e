// For tests of modules.
#ifndef REPRO_COMMON_NN_TESTING_H_
#define REPRO_COMMON_NN_TESTING_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "common/nn/initializer.h"
#include "common/nn/module.h"

namespace repro {

// Of float64 on the CPU.
Initializer DoubleInitializer(uint64_t seed);

bool HasParameter(const Module& module, const std::string& name);

// The parameter itself; a failure of the test where there is none.
at::Tensor ParameterOf(const Module& module, const std::string& name);

// Normal parameters, larger than what weights start with, so that softmax is
// far from uniform and no bias is zero.
void Randomise(const Module& module, uint64_t seed, double std = 0.5);

}  // namespace repro

#endif  // REPRO_COMMON_NN_TESTING_H_
