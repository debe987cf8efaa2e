#include <ATen/TensorOperators.h>
#include <ATen/ops/rms_norm.h>

#include <optional>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/testing/testing.h"

namespace repro {
namespace {

// rows, dim. The widths take each of the kernel's paths: a warp a row, one to
// eight vectors a thread, no whole number of vectors, wider than a block holds.
struct Shape {
  int64_t rows, dim;
};
constexpr Shape kShapes[] = {{1, 1},    {3, 63},    {5, 64},
                             {65, 512}, {7, 1000},  {1000, 2048},
                             {9, 4096}, {3, 16384}, {2, 40000}};

class RmsNormCuda : public testing::TestWithParam<Shape> {};

TEST_P(RmsNormCuda, IsTheCpusInFloat64) {
  REPRO_SKIP_WITHOUT_CUDA();
  const auto [rows, dim] = GetParam();
  for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    const double bound = type == at::kFloat  ? 1e-5
                         : type == at::kHalf ? 2e-3
                                             : 1e-2;
    for (const bool weighted : {false, true}) {
      // The values that the GPU gets, so that only its arithmetic is compared.
      const auto rounded = [&](at::IntArrayRef sizes, uint64_t seed) {
        return RandomNormal(sizes, seed).to(type).to(at::kDouble);
      };
      const at::Tensor x = rounded({rows, dim}, 1).requires_grad_();
      const at::Tensor weight = rounded({dim}, 2).requires_grad_();
      const at::Tensor dy = rounded({rows, dim}, 3);
      const std::optional<at::Tensor> w =
          weighted ? std::make_optional(weight) : std::nullopt;
      const at::Tensor y = at::rms_norm(x, {dim}, w, 1e-6);
      y.backward(dy);

      const auto options = at::TensorOptions(at::kCUDA).dtype(type);
      const at::Tensor gpu_x = x.detach().to(options).requires_grad_();
      const at::Tensor gpu_weight =
          weight.detach().to(options).requires_grad_();
      PoisonCudaMemory();
      const at::Tensor gpu_y = RmsNorm(
          gpu_x, weighted ? std::make_optional(gpu_weight) : std::nullopt,
          1e-6);
      PoisonCudaMemory();
      gpu_y.backward(dy.to(options));
      EXPECT_THAT(gpu_y, RelativeErrorBelow(y, bound)) << type << weighted;
      // A row of one is constant: its gradient is eps alone.
      if (dim > 1) {
        EXPECT_THAT(gpu_x.grad(), RelativeErrorBelow(x.grad(), bound))
            << type << weighted;
      }
      if (weighted) {
        EXPECT_THAT(gpu_weight.grad(), RelativeErrorBelow(weight.grad(), bound))
            << type;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, RmsNormCuda, testing::ValuesIn(kShapes),
                         [](const auto& info) {
                           return std::to_string(info.param.rows) + "x" +
                                  std::to_string(info.param.dim);
                         });

}  // namespace
}  // namespace repro
