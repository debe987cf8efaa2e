#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/randperm.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/paged_dot_product/paged_dot_product.h"
#include "kernels/testing/testing.h"

namespace repro {
namespace {

// Head sizes of both kernels; groups of 1, 7, 8, 16 and more than one product
// holds; tokens around a warp's and a block's.
struct Shape {
  int64_t heads, kv_heads, head_dim, tokens;
};
constexpr Shape kShapes[] = {
    {28, 4, 128, 1000}, {28, 4, 128, 4097}, {32, 8, 128, 1024},
    {32, 32, 64, 65},   {9, 3, 64, 63},     {16, 1, 128, 33},
    {40, 2, 96, 1025},  {6, 2, 80, 1000},   {4, 4, 32, 1}};

class PagedDotProductCuda : public testing::TestWithParam<Shape> {};

TEST_P(PagedDotProductCuda, IsTheCpusInFloat64) {
  REPRO_SKIP_WITHOUT_CUDA();
  const auto [heads, kv_heads, head_dim, tokens] = GetParam();
  const int64_t pool_size = tokens + 100;
  const at::Tensor slots =
      at::randperm(pool_size).slice(0, 0, tokens).to(at::kInt);
  for (const auto type : {at::kBFloat16, at::kHalf}) {
    for (const bool interleaved : {false, true}) {
      const at::Tensor q = RandomNormal({heads, head_dim}, 1).to(type);
      // Every other row of a larger pool.
      const at::Tensor pool =
          RandomNormal({pool_size, 2 * kv_heads, head_dim}, 2)
              .to(type)
              .slice(1, 0, kv_heads);
      const auto [scores, lse] = PagedDotProduct(
          q.to(at::kDouble), pool.to(at::kDouble), slots, interleaved);
      const at::Tensor gpu_pool =
          RandomNormal({pool_size, 2 * kv_heads, head_dim}, 2)
              .to(type)
              .to(at::kCUDA)
              .slice(1, 0, kv_heads);
      PoisonCudaMemory();
      const auto [gpu_scores, gpu_lse] = PagedDotProduct(
          q.to(at::kCUDA), gpu_pool, slots.to(at::kCUDA), interleaved);
      // The products are exact and the sums float32.
      EXPECT_THAT(gpu_scores, RelativeErrorBelow(scores, 1e-5)) << type;
      EXPECT_THAT(gpu_lse, IsCloseTo(lse, 1e-5, 1e-5)) << type;
      EXPECT_THAT(SoftVote(gpu_scores, gpu_lse),
                  RelativeErrorBelow(SoftVote(scores, lse), 1e-3))
          << type;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, PagedDotProductCuda,
                         testing::ValuesIn(kShapes), [](const auto& info) {
                           const Shape& s = info.param;
                           return "H" + std::to_string(s.heads) + "K" +
                                  std::to_string(s.kv_heads) + "D" +
                                  std::to_string(s.head_dim) + "T" +
                                  std::to_string(s.tokens);
                         });

TEST(PagedDotProductCuda, NoTokens) {
  REPRO_SKIP_WITHOUT_CUDA();
  const auto half = at::TensorOptions(at::kCUDA).dtype(at::kHalf);
  const auto [scores, lse] = PagedDotProduct(
      at::empty({4, 64}, half), at::empty({9, 2, 64}, half),
      at::empty({0}, at::TensorOptions(at::kCUDA).dtype(at::kInt)));
  EXPECT_EQ(scores.numel(), 0);
  EXPECT_TRUE(lse.isinf().all().item<bool>());
}

}  // namespace
}  // namespace repro
