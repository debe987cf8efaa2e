#include "kernels/decode_linear/decode_linear.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/testing/testing.h"

namespace repro {
namespace {

TEST(DecodeLinear, WorkedExample) {
  // x = (3, 4) has the root mean square sqrt(12.5); the rows (1, 0), (0, 1)
  // and norm (2, 1) give y = (6, 4) / sqrt(12.5).
  const double r = 1 / std::sqrt(12.5);
  const at::Tensor x = at::tensor({3., 4.}, at::kDouble).unsqueeze(0);
  const at::Tensor weight =
      at::tensor({1., 0., 0., 1.}, at::kDouble).view({2, 2});
  const at::Tensor norm = at::tensor({2., 1.}, at::kDouble);
  const at::Tensor out = at::full({1, 2}, 10., at::kDouble);
  DecodeLinear(out, x, weight, norm, 0, std::nullopt, DecodeLinearUse::kAdd);
  EXPECT_THAT(out[0],
              IsCloseTo(at::tensor({10 + 6 * r, 10 + 4 * r}), 1e-14, 0));
  DecodeLinear(out, x, weight, norm, 0);
  EXPECT_THAT(out[0], IsCloseTo(at::tensor({6 * r, 4 * r}), 1e-14, 0));
  // silu(3) * 4, silu(z) = z / (1 + e^-z).
  const at::Tensor one = at::empty({1, 1}, at::kDouble);
  DecodeLinear(one, x, weight, std::nullopt, 0, std::nullopt,
               DecodeLinearUse::kSwiglu);
  EXPECT_NEAR(one.item<double>(), 3 / (1 + std::exp(-3.)) * 4, 1e-14);
}

TEST(DecodeLinear, TokensAreIndependent) {
  const at::Tensor x = RandomNormal({3, 16}, 1);
  const at::Tensor weight = RandomNormal({10, 16}, 2);
  const at::Tensor norm = RandomNormal({16}, 3), bias = RandomNormal({10}, 4);
  for (const auto use : {DecodeLinearUse::kWrite, DecodeLinearUse::kAdd,
                         DecodeLinearUse::kSwiglu}) {
    const int64_t outputs = use == DecodeLinearUse::kSwiglu ? 5 : 10;
    const at::Tensor all = at::zeros({3, outputs}, at::kDouble);
    DecodeLinear(all, x, weight, norm, 1e-5, bias, use);
    for (int64_t t = 0; t < 3; ++t) {
      const at::Tensor one = at::zeros({1, outputs}, at::kDouble);
      DecodeLinear(one, x.slice(0, t, t + 1), weight, norm, 1e-5, bias, use);
      EXPECT_THAT(one[0], IsCloseTo(all[t], 1e-12, 1e-12));
    }
  }
}

TEST(DecodeLinear, Errors) {
  const at::Tensor x = RandomNormal({1, 8}, 1),
                   weight = RandomNormal({4, 8}, 2);
  const at::Tensor out = at::zeros({1, 4}, at::kDouble);
  EXPECT_NO_THROW(DecodeLinear(out, x, weight));
  EXPECT_THROW(DecodeLinear(out, x[0], weight), c10::Error);
  EXPECT_THROW(DecodeLinear(out, x, weight.slice(0, 0, 3)), c10::Error);
  EXPECT_THROW(DecodeLinear(out, x, weight.to(at::kFloat)), c10::Error);
  EXPECT_THROW(DecodeLinear(out.to(at::kHalf), x, weight), c10::Error);
  EXPECT_THROW(DecodeLinear(out, x, weight, RandomNormal({4}, 3)), c10::Error);
  EXPECT_THROW(
      DecodeLinear(out, x, weight, std::nullopt, 0, RandomNormal({8}, 3)),
      c10::Error);
  EXPECT_THROW(DecodeLinear(out, x, weight, std::nullopt, 0, std::nullopt,
                            DecodeLinearUse::kSwiglu),
               c10::Error);
}

}  // namespace
}  // namespace repro
