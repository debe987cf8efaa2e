#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/selected_attention/selected_attention.h"
#include "kernels/testing/testing.h"

namespace repro {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

double Bound(at::ScalarType type) { return type == at::kHalf ? 2e-3 : 1e-2; }

// Small integers in random order, ascending where sorted.
at::Tensor Choice(int64_t from, int64_t count, uint64_t seed, bool sorted) {
  const at::Tensor chosen =
      std::get<1>(RandomNormal({from}, seed).sort()).slice(0, 0, count);
  return (sorted ? std::get<0>(chosen.sort()) : chosen).to(at::kInt);
}

struct SelectedCase {
  int64_t heads, kv_heads, queries, listed, head_dim, value_dim;
  bool rotate, rotate_queries;
};
constexpr SelectedCase kSelected[] = {{28, 4, 512, 2688, 128, 128, true, true},
                                      {28, 4, 1, 2688, 128, 128, true, true},
                                      {4, 4, 1, 63, 64, 64, true, true},
                                      {16, 1, 1, 1000, 64, 64, true, false},
                                      {6, 2, 1, 4097, 128, 128, false, false},
                                      {2, 2, 1, 1, 128, 128, true, true},
                                      {2, 1, 65, 65, 64, 64, true, false},
                                      {4, 2, 100, 333, 64, 128, false, false},
                                      {2, 1, 7, 77, 20, 13, true, true},
                                      {2, 1, 1, 500, 96, 96, true, true},
                                      {3, 3, 33, 200, 48, 48, false, false}};

class SelectedAttentionCuda : public testing::TestWithParam<SelectedCase> {};

// The CPU's in float64 for the values that the GPU gets.
TEST_P(SelectedAttentionCuda, IsTheCpusInFloat64) {
  REPRO_SKIP_WITHOUT_CUDA();
  const SelectedCase& c = GetParam();
  const int64_t pool = 2 * c.listed + 5;
  for (const auto type : {at::kBFloat16, at::kHalf}) {
    const auto rounded = [&](at::IntArrayRef sizes, uint64_t seed) {
      return RandomNormal(sizes, seed).to(type).to(at::kDouble);
    };
    const at::Tensor q = rounded({c.heads, c.queries, c.head_dim}, 1);
    const at::Tensor k = rounded({pool, c.kv_heads, c.head_dim}, 2);
    const at::Tensor v = rounded({pool, c.kv_heads, c.value_dim}, 3);
    const at::Tensor slots = Choice(pool, c.listed, 4, false);
    const at::Tensor angle =
        at::outer(at::arange(c.listed + 3).to(at::kDouble),
                  (at::arange(c.head_dim / 2).to(at::kDouble) / -8).exp());
    const auto tables = [&](c10::Device device) {
      std::optional<RotaryTables> tables;
      if (c.rotate) {
        const auto options = at::TensorOptions(device).dtype(at::kFloat);
        tables = RotaryTables{angle.cos().to(options), angle.sin().to(options),
                              c.rotate_queries};
      }
      return tables;
    };
    const at::Tensor expected =
        SelectedAttention(q, k, v, slots, tables(at::kCPU));
    const auto options = at::TensorOptions(at::kCUDA).dtype(type);
    const at::Tensor gpu_q = q.to(options), gpu_k = k.to(options),
                     gpu_v = v.to(options), gpu_slots = slots.cuda();
    const auto gpu_tables = tables(at::kCUDA);
    PoisonCudaMemory();
    EXPECT_THAT(SelectedAttention(gpu_q, gpu_k, gpu_v, gpu_slots, gpu_tables),
                RelativeErrorBelow(expected, Bound(type)))
        << type;
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, SelectedAttentionCuda,
                         testing::ValuesIn(kSelected), [](const auto& info) {
                           const SelectedCase& c = info.param;
                           return "H" + std::to_string(c.heads) + "Q" +
                                  std::to_string(c.queries) + "N" +
                                  std::to_string(c.listed) + "D" +
                                  std::to_string(c.head_dim);
                         });

TEST(SelectedAttentionCuda, StridedPools) {
  REPRO_SKIP_WITHOUT_CUDA();
  // Keys and values lie in one buffer; of a view the rows are not aligned.
  const auto half = at::TensorOptions(at::kCUDA).dtype(at::kHalf);
  const at::Tensor both = RandomNormal({300, 2, 256}, 1, half);
  const at::Tensor odd = RandomNormal({300, 2, 259}, 2, half).slice(2, 1, 129);
  const at::Tensor slots = Choice(300, 150, 3, true).cuda();
  for (const int64_t queries : {1, 40}) {
    const at::Tensor q = RandomNormal({4, queries, 128}, 4, half);
    for (const auto& [k, v] :
         {std::make_pair(both.slice(2, 0, 128), both.slice(2, 128)),
          std::make_pair(odd, both.slice(2, 0, 128))}) {
      EXPECT_THAT(SelectedAttention(q, k, v, slots),
                  RelativeErrorBelow(SelectedAttention(q, k.contiguous(),
                                                       v.contiguous(), slots),
                                     1e-3));
    }
  }
}

struct BlockCase {
  int64_t heads, kv_heads, queries, keys, head_dim, value_dim, listed,
      query_block, key_block, window;
};
constexpr BlockCase kBlocks[] = {{8, 2, 1000, 4097, 128, 128, 256, 32, 2, 256},
                                 {4, 1, 300, 3000, 64, 64, 128, 64, 2, 100},
                                 {4, 2, 1, 5000, 128, 128, 256, 1, 2, 256},
                                 {4, 4, 1, 777, 64, 64, 30, 1, 3, 0},
                                 {2, 2, 1, 90, 128, 128, 64, 1, 2, 90},
                                 {2, 1, 333, 333, 128, 128, 40, 100, 4, 17},
                                 {2, 2, 200, 500, 48, 80, 33, 16, 1, 64},
                                 {2, 1, 65, 65, 20, 13, 7, 32, 8, 5},
                                 {1, 1, 130, 2000, 64, 64, 900, 64, 2, 0},
                                 {2, 2, 64, 64, 128, 128, 0, 64, 2, 64},
                                 {2, 1, 1, 300, 96, 96, 20, 1, 2, 33}};

class BlockSelectedAttentionCuda : public testing::TestWithParam<BlockCase> {};

TEST_P(BlockSelectedAttentionCuda, IsTheCpusInFloat64) {
  REPRO_SKIP_WITHOUT_CUDA();
  const BlockCase& c = GetParam();
  const int64_t query_blocks = (c.queries + c.query_block - 1) / c.query_block;
  const int64_t all = (c.keys + c.key_block - 1) / c.key_block;
  for (const bool shared : {false, true}) {
    at::Tensor blocks =
        at::full({shared ? 1 : c.heads, query_blocks, c.listed}, -1, at::kInt);
    for (int64_t h = 0; h < blocks.size(0); ++h) {
      for (int64_t b = 0; b < query_blocks; ++b) {
        // Every third list is shorter, some have blocks of the future.
        const int64_t count =
            std::min((h + b) % 3 == 0 ? c.listed / 2 : c.listed, all);
        blocks[h][b]
            .narrow(0, 0, count)
            .copy_(Choice(all, count, 10 * h + b, true));
      }
    }
    for (const auto type : {at::kBFloat16, at::kHalf}) {
      const auto rounded = [&](at::IntArrayRef sizes, uint64_t seed) {
        return RandomNormal(sizes, seed).to(type).to(at::kDouble);
      };
      const at::Tensor q = rounded({c.heads, c.queries, c.head_dim}, 1);
      const at::Tensor k = rounded({c.kv_heads, c.keys, c.head_dim}, 2);
      const at::Tensor v = rounded({c.kv_heads, c.keys, c.value_dim}, 3);
      const at::Tensor expected = BlockSelectedAttention(
          q, k, v, blocks, c.query_block, c.key_block, c.window);
      const auto options = at::TensorOptions(at::kCUDA).dtype(type);
      const at::Tensor gpu_q = q.to(options), gpu_k = k.to(options),
                       gpu_v = v.to(options), gpu_blocks = blocks.cuda();
      PoisonCudaMemory();
      EXPECT_THAT(BlockSelectedAttention(gpu_q, gpu_k, gpu_v, gpu_blocks,
                                         c.query_block, c.key_block, c.window),
                  RelativeErrorBelow(expected, Bound(type)))
          << type << (shared ? " shared" : "");
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, BlockSelectedAttentionCuda,
                         testing::ValuesIn(kBlocks), [](const auto& info) {
                           const BlockCase& c = info.param;
                           return "H" + std::to_string(c.heads) + "Q" +
                                  std::to_string(c.queries) + "T" +
                                  std::to_string(c.keys) + "D" +
                                  std::to_string(c.head_dim) + "L" +
                                  std::to_string(c.listed);
                         });

TEST(BlockSelectedAttentionCuda, BadAndEmptyInputs) {
  REPRO_SKIP_WITHOUT_CUDA();
  const auto half = at::TensorOptions(at::kCUDA).dtype(at::kHalf);
  const at::Tensor q = at::ones({1, 2, 64}, half);
  const at::Tensor k = at::ones({1, 200000, 64}, half);
  const auto ints = at::TensorOptions(at::kCUDA).dtype(at::kInt);
  EXPECT_THAT(
      [&] {
        BlockSelectedAttention(q, k, k, at::zeros({1, 1, 100000}, ints), 2, 2,
                               0);
      },
      ThrowsMessage<c10::Error>(HasSubstr("bytes of shared memory")));
  EXPECT_THAT(
      [&] {
        SelectedAttention(q.to(at::kFloat), k.to(at::kFloat).transpose(0, 1),
                          k.to(at::kFloat).transpose(0, 1),
                          at::zeros({4}, ints));
      },
      ThrowsMessage<c10::Error>(HasSubstr("bfloat16 or float16, not Float")));
  EXPECT_EQ(BlockSelectedAttention(q.slice(1, 0, 0), k, k,
                                   at::zeros({1, 0, 4}, ints), 2, 2, 0)
                .numel(),
            0);
  EXPECT_EQ(SelectedAttention(q.slice(1, 0, 0), k.transpose(0, 1),
                              k.transpose(0, 1), at::zeros({0}, ints))
                .numel(),
            0);
}

}  // namespace
}  // namespace repro
