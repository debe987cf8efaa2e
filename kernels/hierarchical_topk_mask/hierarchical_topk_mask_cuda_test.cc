#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/hierarchical_topk_mask/hierarchical_topk_mask.h"
#include "kernels/testing/testing.h"

namespace repro {
namespace {

struct Shape {
  int64_t heads, kv_heads, head_dim, queries, keys, top_k, query_block,
      query_stride, key_block, key_stride, window;
};
constexpr Shape kShapes[] = {{4, 2, 128, 500, 3000, 512, 32, 2, 2, 1, 256},
                             {4, 4, 64, 1, 5001, 512, 32, 2, 2, 1, 256},
                             {2, 1, 128, 130, 4097, 256, 64, 1, 4, 2, 64},
                             {3, 3, 96, 65, 1000, 64, 16, 3, 1, 1, 100},
                             {2, 2, 80, 33, 2000, 128, 32, 2, 8, 3, 31},
                             {8, 2, 32, 1000, 1000, 2048, 64, 2, 2, 1, 1024},
                             {1, 1, 64, 64, 9000, 4096, 64, 2, 2, 1, 64}};

class HierarchicalTopkMaskCuda : public testing::TestWithParam<Shape> {};

// Integers of few bits, whose products are exact in any order, so that the CPU
// and the GPU meet the same scores, ties included.
TEST_P(HierarchicalTopkMaskCuda, IsTheCpus) {
  REPRO_SKIP_WITHOUT_CUDA();
  const Shape& s = GetParam();
  const auto integers = [](at::IntArrayRef sizes, uint64_t seed) {
    return (RandomNormal(sizes, seed) * 4).round().clamp(-16, 16);
  };
  const at::Tensor q = integers({s.heads, s.queries, s.head_dim}, 1);
  const at::Tensor k = integers({s.kv_heads, s.keys, s.head_dim}, 2);
  for (const auto type : {at::kBFloat16, at::kHalf}) {
    for (const auto representative :
         {HierarchicalTopkOptions::kCenter, HierarchicalTopkOptions::kFirst,
          HierarchicalTopkOptions::kLast}) {
      for (const bool aligned : {false, true}) {
        HierarchicalTopkOptions options;
        options.top_k = s.top_k;
        options.query_block = s.query_block;
        options.query_stride = s.query_stride;
        options.key_block = s.key_block;
        options.key_stride = s.key_stride;
        options.window = s.window;
        options.representative = representative;
        options.aligned = aligned;
        const auto [blocks, counts] =
            HierarchicalTopkMask(q.to(at::kFloat), k.to(at::kFloat), options);
        PoisonCudaMemory();
        const auto cuda = at::TensorOptions(at::kCUDA).dtype(type);
        const auto [gpu_blocks, gpu_counts] =
            HierarchicalTopkMask(q.to(cuda), k.to(cuda), options);
        EXPECT_TRUE(gpu_counts.cpu().equal(counts));
        EXPECT_TRUE(gpu_blocks.cpu().equal(blocks))
            << type << representative << aligned << ": "
            << gpu_blocks.cpu().ne(blocks).sum().item<int64_t>() << " of "
            << blocks.numel() << " differ";
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, HierarchicalTopkMaskCuda,
                         testing::ValuesIn(kShapes), [](const auto& info) {
                           const Shape& s = info.param;
                           return "H" + std::to_string(s.heads) + "D" +
                                  std::to_string(s.head_dim) + "Q" +
                                  std::to_string(s.queries) + "T" +
                                  std::to_string(s.keys) + "K" +
                                  std::to_string(s.top_k);
                         });

TEST(HierarchicalTopkMaskCuda, NoQueries) {
  REPRO_SKIP_WITHOUT_CUDA();
  const auto half = at::TensorOptions(at::kCUDA).dtype(at::kHalf);
  EXPECT_EQ(std::get<0>(HierarchicalTopkMask(at::empty({2, 0, 64}, half),
                                             at::empty({2, 9, 64}, half)))
                .numel(),
            0);
}

}  // namespace
}  // namespace repro
