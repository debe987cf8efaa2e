#include <ATen/core/Tensor.h>

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/kv_quantize/kv_quantize.h"
#include "kernels/testing/testing.h"

namespace repro {
namespace {

// Groups of each path: lanes 1 to 32 a group, and neither a power of two nor
// as small.
struct Shape {
  int64_t rows, head_dim, group_size;
};
constexpr Shape kShapes[] = {{1, 128, 128}, {1000, 128, 128}, {63, 128, 64},
                             {65, 64, 8},   {33, 96, 96},     {7, 256, 256},
                             {5, 80, 2},    {3, 4096, 1024}};

class KvQuantizeCuda : public testing::TestWithParam<Shape> {};

TEST_P(KvQuantizeCuda, IsTheCpus) {
  REPRO_SKIP_WITHOUT_CUDA();
  const auto [rows, head_dim, group_size] = GetParam();
  for (const auto type : {at::kFloat, at::kHalf, at::kBFloat16}) {
    const at::Tensor x = RandomNormal({rows, head_dim}, 1).to(type);
    for (const int64_t bits : {4, 8}) {
      const QuantizedKv expected = KvQuantize(x, bits, group_size);
      PoisonCudaMemory();
      const QuantizedKv q = KvQuantize(x.to(at::kCUDA), bits, group_size);
      // The same operations in the same order: the same bits.
      EXPECT_THAT(q.packed, IsIdenticalTo(expected.packed)) << type << bits;
      EXPECT_THAT(q.scale, IsIdenticalTo(expected.scale)) << type << bits;
      EXPECT_THAT(q.zero, IsIdenticalTo(expected.zero)) << type << bits;
      const at::Tensor back = KvDequantize(expected, head_dim, at::kDouble);
      PoisonCudaMemory();
      EXPECT_THAT(KvDequantize(q, head_dim, type),
                  RelativeErrorBelow(back, type == at::kFloat  ? 1e-6
                                           : type == at::kHalf ? 1e-3
                                                               : 5e-3))
          << type << bits;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, KvQuantizeCuda, testing::ValuesIn(kShapes),
                         [](const auto& info) {
                           return std::to_string(info.param.rows) + "x" +
                                  std::to_string(info.param.head_dim) + "by" +
                                  std::to_string(info.param.group_size);
                         });

}  // namespace
}  // namespace repro
