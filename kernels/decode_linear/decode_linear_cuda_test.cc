#include <ATen/core/Tensor.h>

#include <cmath>
#include <optional>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/decode_linear/decode_linear.h"
#include "kernels/testing/testing.h"

namespace repro {
namespace {

// Columns of less than a step, of whole steps and between, beyond the default
// shared memory, and not of whole vectors; more outputs than blocks, fewer, and
// more than a block's results.
struct Shape {
  int64_t tokens, outputs, columns;
};
constexpr Shape kShapes[] = {{1, 1, 8},      {1, 5, 72},     {1, 1000, 2048},
                             {1, 133, 4104}, {1, 64, 14336}, {1, 40, 24576},
                             {1, 70000, 64}, {1, 9, 36},     {3, 100, 512}};

class DecodeLinearCuda : public testing::TestWithParam<Shape> {};

TEST_P(DecodeLinearCuda, IsTheCpusInFloat64) {
  REPRO_SKIP_WITHOUT_CUDA();
  const auto [tokens, outputs, columns] = GetParam();
  for (const auto type : {at::kBFloat16, at::kHalf, at::kFloat}) {
    const double bound = type == at::kFloat  ? 1e-5
                         : type == at::kHalf ? 2e-3
                                             : 1e-2;
    for (const auto use : {DecodeLinearUse::kWrite, DecodeLinearUse::kAdd,
                           DecodeLinearUse::kSwiglu}) {
      const int64_t rows =
          use == DecodeLinearUse::kSwiglu ? 2 * outputs : outputs;
      const auto rounded = [&](at::IntArrayRef sizes, uint64_t seed,
                               double scale) {
        return RandomNormal(sizes, seed).mul_(scale).to(type).to(at::kDouble);
      };
      const at::Tensor x = rounded({tokens, columns}, 1, 1);
      const at::Tensor weight =
          rounded({rows, columns}, 2, 1 / std::sqrt(columns));
      const at::Tensor norm = rounded({columns}, 3, 1);
      const at::Tensor bias = rounded({rows}, 4, 1);
      const at::Tensor before = rounded({tokens, outputs}, 5, 1);
      for (const bool whole : {false, true}) {
        const std::optional<at::Tensor> none;
        const at::Tensor expected = before.clone();
        DecodeLinear(expected, x, weight, whole ? norm : none, 1e-5,
                     whole ? bias : none, use);
        const auto gpu = [&](const at::Tensor& t) {
          return t.to(at::TensorOptions(at::kCUDA).dtype(type));
        };
        for (const auto out_type : {type, at::kFloat}) {
          const at::Tensor out =
              before.to(at::TensorOptions(at::kCUDA).dtype(out_type));
          DecodeLinear(out, gpu(x), gpu(weight),
                       whole ? std::make_optional(gpu(norm)) : none, 1e-5,
                       whole ? std::make_optional(gpu(bias)) : none, use);
          EXPECT_THAT(out, RelativeErrorBelow(expected, bound))
              << type << static_cast<int64_t>(use) << whole << out_type;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, DecodeLinearCuda, testing::ValuesIn(kShapes),
                         [](const auto& info) {
                           return std::to_string(info.param.tokens) + "x" +
                                  std::to_string(info.param.outputs) + "x" +
                                  std::to_string(info.param.columns);
                         });

}  // namespace
}  // namespace repro
