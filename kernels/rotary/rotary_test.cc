#include "kernels/rotary/rotary.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/complex.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/imag.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/polar.h>
#include <ATen/ops/real.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>

#include <cstdint>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/testing/testing.h"

namespace repro {
namespace {

// Pairs as complex numbers, times e^{i angle}.
at::Tensor ByComplexNumbers(const at::Tensor& x, const at::Tensor& angle) {
  const int64_t half = x.size(-1) / 2;
  const at::Tensor turned =
      at::complex(x.narrow(-1, 0, half), x.narrow(-1, half, half)) *
      at::polar(at::ones_like(angle), angle);
  return at::cat({at::real(turned), at::imag(turned)}, -1);
}

TEST(RotaryTest, WorkedExample) {
  // A quarter turn of (1, 2), a half turn of (3, 4).
  EXPECT_THAT(
      Rotary(at::tensor({1.0, 3.0, 2.0, 4.0}).view({1, 4}),
             at::tensor({0.0, -1.0}).view({1, 2}),
             at::tensor({1.0, 0.0}).view({1, 2})),
      IsCloseTo(at::tensor({-2.0, -3.0, 1.0, -4.0}).view({1, 4}), 0, 0));
}

TEST(RotaryTest, TurnsPairsAsComplexNumbers) {
  const at::Tensor angle = RandomNormal({7, 5}, 1) * 3;
  for (const std::vector<int64_t>& lead :
       {std::vector<int64_t>{}, {3}, {2, 3}, {2, 1, 3}}) {
    std::vector<int64_t> sizes = lead;
    sizes.insert(sizes.end(), {7, 10});
    const at::Tensor x = RandomNormal(sizes, 2);
    const at::Tensor expected = ByComplexNumbers(x, angle);
    EXPECT_THAT(Rotary(x, angle.cos(), angle.sin()),
                IsCloseTo(expected, 1e-12, 1e-12));
    const at::Tensor cos = angle.cos().to(at::kFloat);
    const at::Tensor sin = angle.sin().to(at::kFloat);
    EXPECT_THAT(Rotary(x.to(at::kFloat), cos, sin),
                RelativeErrorBelow(expected, 1e-6));
    EXPECT_THAT(Rotary(x.to(at::kBFloat16), cos, sin),
                RelativeErrorBelow(expected, 1e-2));
  }
}

TEST(RotaryTest, Strided) {
  const at::Tensor angle = RandomNormal({7, 2}, 1);
  const at::Tensor x = RandomNormal({7, 3, 4}, 2).transpose(0, 1);
  EXPECT_THAT(Rotary(x, angle.cos(), angle.sin()),
              IsIdenticalTo(Rotary(x.contiguous(), angle.cos(), angle.sin())));
}

TEST(RotaryTest, Empty) {
  EXPECT_EQ(Rotary(at::empty({2, 0, 8}), at::empty({0, 4}), at::empty({0, 4}))
                .sizes(),
            at::IntArrayRef({2, 0, 8}));
}

TEST(RotaryTest, Gradients) {
  const at::Tensor angle = RandomNormal({5, 3}, 1);
  EXPECT_TRUE(CheckGradients(
      [&](const auto& in) { return Rotary(in[0], angle.cos(), angle.sin()); },
      {RandomNormal({2, 5, 6}, 2)}));
}

TEST(RotaryTest, Errors) {
  const at::Tensor x = RandomNormal({2, 5, 6}, 1), table = at::zeros({5, 3});
  EXPECT_THROW(Rotary(x[0][0], table, table), c10::Error);
  EXPECT_THROW(Rotary(x.narrow(2, 0, 5), table, table), c10::Error);
  EXPECT_THROW(Rotary(x, at::zeros({5, 6}), table), c10::Error);
  EXPECT_THROW(Rotary(x, table, at::zeros({4, 3})), c10::Error);
  EXPECT_THROW(Rotary(x, table, at::zeros({1, 5, 3})), c10::Error);
  EXPECT_THROW(Rotary(x, table.to(at::kHalf), table), c10::Error);
  EXPECT_THROW(Rotary(x.to(at::kLong), table, table), c10::Error);
}

}  // namespace
}  // namespace repro
