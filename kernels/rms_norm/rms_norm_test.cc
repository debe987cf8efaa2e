#include "kernels/rms_norm/rms_norm.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/rms_norm.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/testing/testing.h"

namespace repro {
namespace {

TEST(RmsNorm, WorkedExample) {
  // (3, 4) / sqrt(12.5).
  EXPECT_THAT(
      RmsNorm(at::tensor({3.0, 4.0}), std::nullopt, /*eps=*/0),
      IsCloseTo(at::tensor({0.848528137423857, 1.131370849898476}), 1e-14, 0));
}

TEST(RmsNorm, IsLibTorchs) {
  const at::Tensor x = RandomNormal({3, 5, 48}, 1);
  const at::Tensor weight = RandomNormal({48}, 2);
  const at::Tensor expected = at::rms_norm(x, {48}, weight, 1e-6);
  EXPECT_THAT(RmsNorm(x, weight, 1e-6), IsCloseTo(expected, 1e-12, 1e-12));
  EXPECT_THAT(RmsNorm(x.to(at::kFloat), weight.to(at::kFloat), 1e-6),
              RelativeErrorBelow(expected, 1e-6));
  EXPECT_THAT(RmsNorm(x.to(at::kBFloat16), weight.to(at::kFloat), 1e-6),
              RelativeErrorBelow(expected, 1e-2));
}

TEST(RmsNorm, StridedInputs) {
  const at::Tensor x = RandomNormal({16, 6}, 3).t();
  EXPECT_THAT(RmsNorm(x), IsIdenticalTo(RmsNorm(x.contiguous())));
}

TEST(RmsNorm, Empty) {
  EXPECT_EQ(RmsNorm(at::empty({0, 8})).sizes(), at::IntArrayRef({0, 8}));
}

TEST(RmsNorm, Gradients) {
  EXPECT_TRUE(
      CheckGradients([](const auto& in) { return RmsNorm(in[0], in[1], 1e-3); },
                     {RandomNormal({3, 7}, 4), RandomNormal({7}, 5)}));
  EXPECT_TRUE(CheckGradients(
      [](const auto& in) { return RmsNorm(in[0], std::nullopt, 1e-3); },
      {RandomNormal({2, 2, 5}, 6)}));
}

TEST(RmsNorm, GradientIsOrthogonalToInput) {
  // y does not change when x is scaled, up to eps.
  const at::Tensor x = RandomNormal({4, 33}, 7).requires_grad_();
  (RmsNorm(x, std::nullopt, 0) * RandomNormal({4, 33}, 8)).sum().backward();
  EXPECT_THAT((x.grad() * x.detach()).sum(-1),
              IsCloseTo(at::zeros({4}, at::kDouble), 0, 1e-12));
}

TEST(RmsNorm, Errors) {
  const at::Tensor x = RandomNormal({2, 8}, 9);
  EXPECT_THROW(RmsNorm(x, RandomNormal({7}, 1)), c10::Error);
  EXPECT_THROW(RmsNorm(x, RandomNormal({8}, 1).to(at::kHalf)), c10::Error);
  EXPECT_THROW(RmsNorm(x.to(at::kLong)), c10::Error);
  EXPECT_THROW(RmsNorm(at::scalar_tensor(1.0)), c10::Error);
}

}  // namespace
}  // namespace repro
