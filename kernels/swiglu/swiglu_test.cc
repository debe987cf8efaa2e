#include "kernels/swiglu/swiglu.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/tensor.h>
#include <c10/util/Exception.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/testing/testing.h"

namespace repro {
namespace {

// g / (1 + exp(-g)) of the first half times the second.
at::Tensor ByDefinition(const at::Tensor& gate_up) {
  const int64_t dim = gate_up.size(-1) / 2;
  const at::Tensor gate = gate_up.narrow(-1, 0, dim);
  return gate / (1 + at::exp(-gate)) * gate_up.narrow(-1, dim, dim);
}

TEST(SwiGlu, WorkedExample) {
  // ln 3 / (1 + 1/3) * 2; 0 * 5; -ln 3 / 4 * -1.
  EXPECT_THAT(
      SwiGlu(at::tensor(
          {1.0986122886681098, 0.0, -1.0986122886681098, 2.0, 5.0, -1.0})),
      IsCloseTo(at::tensor({1.6479184330021646, 0.0, 0.27465307216702745}),
                1e-14, 0));
}

TEST(SwiGlu, IsItsDefinition) {
  const at::Tensor x = RandomNormal({3, 5, 46}, 1) * 3;
  const at::Tensor expected = ByDefinition(x);
  EXPECT_THAT(SwiGlu(x), IsCloseTo(expected, 1e-12, 1e-14));
  EXPECT_THAT(SwiGlu(x.to(at::kFloat)), RelativeErrorBelow(expected, 1e-6));
  EXPECT_THAT(SwiGlu(x.to(at::kBFloat16)), RelativeErrorBelow(expected, 1e-2));
}

TEST(SwiGlu, LargeGatesNeitherOverflowNorVanish) {
  EXPECT_THAT(SwiGlu(at::tensor({1000.0, -1000.0, 2.0, 2.0})),
              IsCloseTo(at::tensor({2000.0, 0.0}), 0, 0));
}

TEST(SwiGlu, StridedInputs) {
  const at::Tensor x = RandomNormal({16, 6}, 3).t();
  EXPECT_THAT(SwiGlu(x), IsIdenticalTo(SwiGlu(x.contiguous())));
}

TEST(SwiGlu, Empty) {
  EXPECT_EQ(SwiGlu(at::empty({0, 8})).sizes(), at::IntArrayRef({0, 4}));
  EXPECT_EQ(SwiGlu(at::empty({3, 0})).sizes(), at::IntArrayRef({3, 0}));
}

TEST(SwiGlu, Gradients) {
  EXPECT_TRUE(CheckGradients([](const auto& in) { return SwiGlu(in[0]); },
                             {RandomNormal({3, 14}, 4)}));
}

TEST(SwiGlu, Errors) {
  EXPECT_THROW(SwiGlu(RandomNormal({2, 7}, 1)), c10::Error);
  EXPECT_THROW(SwiGlu(RandomNormal({2, 8}, 1).to(at::kLong)), c10::Error);
  EXPECT_THROW(SwiGlu(at::scalar_tensor(1.0)), c10::Error);
}

}  // namespace
}  // namespace repro
