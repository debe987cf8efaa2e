#include <ATen/TensorOperators.h>
#include <ATen/ops/silu.h>

#include <cstdint>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/swiglu/swiglu.h"
#include "kernels/testing/testing.h"

namespace repro {
namespace {

// rows, dim: whole vectors, none, more rows than the grid has, several blocks a
// row.
struct Shape {
  int64_t rows, dim;
};
constexpr Shape kShapes[] = {{1, 1},      {3, 63},    {5, 64},     {65, 1000},
                             {70000, 24}, {9, 11008}, {33, 14336}, {2, 40001}};

class SwiGluCuda : public testing::TestWithParam<Shape> {};

TEST_P(SwiGluCuda, IsTheCpusInFloat64) {
  REPRO_SKIP_WITHOUT_CUDA();
  const auto [rows, dim] = GetParam();
  for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    const double bound = type == at::kFloat  ? 1e-5
                         : type == at::kHalf ? 2e-3
                                             : 1e-2;
    // The values that the GPU gets, so that only its arithmetic is compared.
    const at::Tensor x = (RandomNormal({rows, 2 * dim}, 1) * 3)
                             .to(type)
                             .to(at::kDouble)
                             .requires_grad_();
    const at::Tensor dy = RandomNormal({rows, dim}, 2).to(type).to(at::kDouble);
    const at::Tensor y = at::silu(x.narrow(1, 0, dim)) * x.narrow(1, dim, dim);
    y.backward(dy);

    const auto options = at::TensorOptions(at::kCUDA).dtype(type);
    const at::Tensor gpu_x = x.detach().to(options).requires_grad_();
    PoisonCudaMemory();
    const at::Tensor gpu_y = SwiGlu(gpu_x);
    PoisonCudaMemory();
    gpu_y.backward(dy.to(options));
    EXPECT_THAT(gpu_y, RelativeErrorBelow(y, bound)) << type;
    EXPECT_THAT(gpu_x.grad(), RelativeErrorBelow(x.grad(), bound)) << type;
  }
}

// Arrays that begin between 16-byte addresses.
TEST(SwiGluCuda, TakesAnyAddress) {
  REPRO_SKIP_WITHOUT_CUDA();
  const at::Tensor x = RandomNormal({4 * 64 + 1}, 1);
  const at::Tensor shifted =
      x.to(at::TensorOptions(at::kCUDA).dtype(at::kFloat))
          .narrow(0, 1, 4 * 64)
          .view({4, 64});
  EXPECT_THAT(
      SwiGlu(shifted),
      RelativeErrorBelow(SwiGlu(x.narrow(0, 1, 4 * 64).view({4, 64})), 1e-5));
}

INSTANTIATE_TEST_SUITE_P(Shapes, SwiGluCuda, testing::ValuesIn(kShapes),
                         [](const auto& info) {
                           return std::to_string(info.param.rows) + "x" +
                                  std::to_string(info.param.dim);
                         });

}  // namespace
}  // namespace repro
