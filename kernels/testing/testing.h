// Matchers and a gradient check for tests of tensor code.
//
//   EXPECT_THAT(out, IsCloseTo(reference_float64, /*rtol=*/1e-5,
//                              /*atol=*/1e-6));
//   EXPECT_TRUE(CheckGradients([](const auto& x) { return x[0] * x[1]; },
//                              {a_float64, b_float64}));
#ifndef REPRO_KERNELS_TESTING_TESTING_H_
#define REPRO_KERNELS_TESTING_TESTING_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro {

// |out - expected| <= atol + rtol |expected| for every element, computed in
// float64 on the CPU. Shapes must be equal; dtypes and devices may differ.
// NaN matches nothing, an infinity only itself. The failure names the largest
// absolute and relative errors and where they are.
testing::Matcher<const at::Tensor&> IsCloseTo(at::Tensor expected, double rtol,
                                              double atol);

// ||out - expected||_2 / ||expected||_2 < bound, computed in float64.
testing::Matcher<const at::Tensor&> RelativeErrorBelow(at::Tensor expected,
                                                       double bound);

// Equal shape, dtype and bits (NaN equals the same NaN).
testing::Matcher<const at::Tensor&> IsIdenticalTo(at::Tensor expected);

// Compares autograd with central differences, (f(x + h) - f(x - h)) / 2h, for
// the scalar <w, f(inputs)> with fixed random w, in each element of each
// input. Inputs are float64 tensors on the CPU, few and small: the function
// runs twice an element. Passes when every element differs by at most
// atol + rtol |difference quotient|.
testing::AssertionResult CheckGradients(
    const std::function<at::Tensor(const std::vector<at::Tensor>&)>& function,
    const std::vector<at::Tensor>& inputs, double step = 1e-6,
    double rtol = 1e-5, double atol = 1e-7);

// Standard normal values, the same for the same seed whatever dtype and device:
// drawn in float64 on the CPU and rounded.
at::Tensor RandomNormal(at::IntArrayRef sizes, uint64_t seed,
                        at::TensorOptions options = at::kDouble);

// Whether there is a GPU and this project's CUDA kernels are loaded, and if
// not, why.
bool HasCuda();
const char* HasCudaReason();

// Fills memory that LibTorch's CUDA allocator then holds in its cache with NaN,
// so that an output that a kernel forgets to write shows.
void PoisonCudaMemory(int64_t bytes = int64_t{1} << 28);

}  // namespace repro

#define REPRO_SKIP_WITHOUT_CUDA() \
  if (!::repro::HasCuda()) GTEST_SKIP() << ::repro::HasCudaReason()

#endif  // REPRO_KERNELS_TESTING_TESTING_H_
