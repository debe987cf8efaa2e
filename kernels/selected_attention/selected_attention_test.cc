#include "kernels/selected_attention/selected_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/util/Exception.h>

#include <cmath>
#include <limits>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/testing/testing.h"

namespace repro {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

RotaryTables Tables(int64_t positions, int64_t head_dim) {
  const at::Tensor frequency =
      at::full({1}, 1e4).pow(at::arange(0, head_dim, 2).to(at::kDouble) /
                             -static_cast<double>(head_dim));
  const at::Tensor angle =
      at::arange(positions).to(at::kDouble).unsqueeze(1) * frequency;
  return {angle.cos().to(at::kFloat), angle.sin().to(at::kFloat)};
}

// One pair of vectors at a time, in double: the softmax of `visible` keys.
at::Tensor ByHand(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                  const std::vector<int64_t>& visible) {
  std::vector<double> weights;
  double total = 0;
  for (const int64_t j : visible) {
    weights.push_back(
        std::exp((q * k[j]).sum().item<double>() / std::sqrt(q.size(0))));
    total += weights.back();
  }
  at::Tensor out = at::zeros({v.size(1)}, at::kDouble);
  for (size_t i = 0; i < visible.size(); ++i) {
    out += v[visible[i]] * (weights[i] / total);
  }
  return out;
}

TEST(SelectedAttention, IsTheSoftmaxOverTheListedKeys) {
  const int64_t heads = 4, kv_heads = 2, queries = 3;
  const at::Tensor q = RandomNormal({heads, queries, 8}, 1);
  const at::Tensor k = RandomNormal({20, kv_heads, 8}, 2);
  const at::Tensor v = RandomNormal({20, kv_heads, 5}, 3);
  const at::Tensor slots = at::tensor({17, 3, 4, 0, 9, 12}, at::kInt);
  const at::Tensor out = SelectedAttention(q, k, v, slots);
  ASSERT_EQ(out.sizes(), (std::vector<int64_t>{heads, queries, 5}));
  const std::vector<int64_t> list = {17, 3, 4, 0, 9, 12};
  for (int64_t h = 0; h < heads; ++h) {
    for (int64_t t = 0; t < queries; ++t) {
      EXPECT_THAT(
          out[h][t],
          IsCloseTo(ByHand(q[h][t], k.select(1, h / 2), v.select(1, h / 2),
                           {list.begin(), list.begin() + 4 + t}),
                    1e-10, 1e-12));
    }
  }
}

// Rotation by complex numbers.
at::Tensor Turn(const at::Tensor& x, int64_t position) {
  const int64_t half = x.size(0) / 2;
  at::Tensor out = x.clone();
  for (int64_t i = 0; i < half; ++i) {
    const double angle = position * std::pow(1e4, -double(i) / half);
    const double a = x[i].item<double>(), b = x[i + half].item<double>();
    out[i] = a * std::cos(angle) - b * std::sin(angle);
    out[i + half] = b * std::cos(angle) + a * std::sin(angle);
  }
  return out;
}

TEST(SelectedAttention, RotatesKeysToTheirPlacesInTheList) {
  const at::Tensor q = RandomNormal({2, 2, 8}, 1);
  const at::Tensor k = RandomNormal({9, 1, 8}, 2);
  const at::Tensor v = RandomNormal({9, 1, 4}, 3);
  const at::Tensor slots = at::tensor({8, 1, 5, 2, 6}, at::kInt);
  RotaryTables tables = Tables(7, 8);
  const at::Tensor listed = k.select(1, 0).index_select(0, slots);
  at::Tensor turned_k = listed.clone();
  for (int64_t j = 0; j < 5; ++j) turned_k[j] = Turn(listed[j], j);
  at::Tensor turned_q = q.clone();
  for (int64_t h = 0; h < 2; ++h) {
    for (int64_t t = 0; t < 2; ++t) turned_q[h][t] = Turn(q[h][t], 3 + t);
  }
  const at::Tensor expected =
      SelectedAttention(turned_q, turned_k.unsqueeze(1),
                        v.index_select(0, slots), at::arange(5, at::kInt));
  // The tables are float32.
  EXPECT_THAT(SelectedAttention(q, k, v, slots, tables),
              IsCloseTo(expected, 1e-6, 1e-6));
  tables.rotate_queries = false;
  EXPECT_THAT(SelectedAttention(turned_q, k, v, slots, tables),
              IsCloseTo(expected, 1e-6, 1e-6));
}

TEST(SelectedAttention, AllTokensInOrderIsDenseAttention) {
  // Attention depends on differences of places alone: queries and keys rotated
  // to places 1000 further on give the same.
  const int64_t n = 70;
  const at::Tensor q = RandomNormal({2, n, 16}, 1);
  const at::Tensor k = RandomNormal({n, 2, 16}, 2);
  const at::Tensor v = RandomNormal({n, 2, 16}, 3);
  const RotaryTables tables = Tables(1000 + n, 16);
  const RotaryTables later = {tables.cos.narrow(0, 1000, n),
                              tables.sin.narrow(0, 1000, n)};
  const at::Tensor slots = at::arange(n, at::kInt);
  EXPECT_THAT(SelectedAttention(q, k, v, slots, later),
              IsCloseTo(SelectedAttention(q, k, v, slots, tables), 1e-4, 1e-4));
  const at::Tensor scores =
      (at::matmul(q, k.permute({1, 2, 0})) / 4)
          .masked_fill(at::ones({n, n}, at::kBool).triu(1),
                       -std::numeric_limits<double>::infinity());
  EXPECT_THAT(SelectedAttention(q, k, v, slots),
              IsCloseTo(at::matmul(at::softmax(scores, -1), v.transpose(0, 1)),
                        1e-10, 1e-12));
}

TEST(SelectedAttention, Types) {
  const at::Tensor q = RandomNormal({4, 30, 16}, 1);
  const at::Tensor k = RandomNormal({100, 2, 16}, 2);
  const at::Tensor v = RandomNormal({100, 2, 16}, 3);
  const at::Tensor slots = at::arange(0, 100, 2, at::kInt);
  const RotaryTables tables = Tables(50, 16);
  const at::Tensor expected = SelectedAttention(q, k, v, slots, tables);
  for (const auto& [type, bound] :
       {std::make_pair(at::kFloat, 1e-5), std::make_pair(at::kBFloat16, 1e-2),
        std::make_pair(at::kHalf, 2e-3)}) {
    const at::Tensor out =
        SelectedAttention(q.to(type), k.to(type), v.to(type), slots, tables);
    EXPECT_EQ(out.scalar_type(), type);
    EXPECT_THAT(out, RelativeErrorBelow(expected, bound)) << type;
  }
}

TEST(SelectedAttention, EmptyAndBadInputs) {
  const at::Tensor q = at::ones({4, 2, 8}), pool = at::ones({9, 2, 8});
  const at::Tensor slots = at::tensor({1, 2, 3}, at::kInt);
  EXPECT_EQ(
      SelectedAttention(q.slice(1, 0, 0), pool, pool, slots.slice(0, 0, 0))
          .sizes(),
      (std::vector<int64_t>{4, 0, 8}));
  const auto error = [](const at::Tensor& q, const at::Tensor& k,
                        const at::Tensor& v, const at::Tensor& slots,
                        const std::optional<RotaryTables>& tables,
                        const char* message) {
    EXPECT_THAT([&] { SelectedAttention(q, k, v, slots, tables); },
                ThrowsMessage<c10::Error>(HasSubstr(message)));
  };
  error(q[0], pool, pool, slots, std::nullopt, "not [2, 8]");
  error(q, pool.slice(2, 0, 4), pool, slots, std::nullopt, "not [9, 2, 4]");
  error(q, pool, pool.slice(0, 0, 3), slots, std::nullopt, "not [3, 2, 8]");
  error(q.slice(0, 0, 3), pool, pool, slots, std::nullopt,
        "3 query heads are no multiple of 2");
  error(q, pool, pool, slots.to(at::kLong), std::nullopt, "not [3] of Long");
  error(q, pool, pool, slots.slice(0, 0, 1), std::nullopt,
        "1 keys listed for 2 queries");
  error(q, pool, pool.to(at::kHalf), slots, std::nullopt, "one floating dtype");
  error(q, pool, pool, at::tensor({1, 2, 9}, at::kInt), std::nullopt,
        "out of range");
  error(q, pool, pool, slots, Tables(2, 8), "not [2, 4]");
  error(q, pool, pool, slots, Tables(3, 6), "not [3, 3]");
  error(q.clone().requires_grad_(), pool, pool, slots, std::nullopt,
        "not differentiable");
}

struct BlockCase {
  int64_t heads, kv_heads, queries, keys, query_block, key_block, window;
  bool shared;
};

// Which keys a query sees, by the rule as it is written.
std::vector<int64_t> Visible(const at::Tensor& list, int64_t place,
                             int64_t key_block, int64_t window) {
  std::vector<int64_t> visible;
  for (int64_t j = 0; j <= place; ++j) {
    bool listed = false;
    for (int64_t i = 0; i < list.size(0); ++i) {
      listed = listed || list[i].item<int64_t>() == j / key_block;
    }
    if (j > place - window || listed) visible.push_back(j);
  }
  return visible;
}

at::Tensor RandomBlocks(const BlockCase& c, int64_t listed) {
  const int64_t all = (c.keys + c.key_block - 1) / c.key_block;
  const int64_t query_blocks = (c.queries + c.query_block - 1) / c.query_block;
  const int64_t heads = c.shared ? 1 : c.heads;
  at::Tensor blocks = at::full({heads, query_blocks, listed}, -1, at::kInt);
  for (int64_t h = 0; h < heads; ++h) {
    for (int64_t b = 0; b < query_blocks; ++b) {
      const at::Tensor order =
          std::get<1>(RandomNormal({all}, 100 * h + b).sort());
      const int64_t count = std::min(listed - (h + b) % 3, all);
      blocks[h][b]
          .narrow(0, 0, count)
          .copy_(std::get<0>(order.slice(0, 0, count).sort()));
    }
  }
  return blocks;
}

TEST(BlockSelectedAttention, IsTheSoftmaxOverWindowAndListedBlocks) {
  for (const BlockCase& c : {BlockCase{4, 2, 37, 50, 8, 2, 5, false},
                             BlockCase{2, 2, 20, 20, 7, 3, 0, false},
                             BlockCase{2, 1, 9, 33, 4, 1, 100, true},
                             BlockCase{3, 1, 1, 40, 1, 4, 6, false}}) {
    const at::Tensor q = RandomNormal({c.heads, c.queries, 8}, 1);
    const at::Tensor k = RandomNormal({c.kv_heads, c.keys, 8}, 2);
    const at::Tensor v = RandomNormal({c.kv_heads, c.keys, 6}, 3);
    const at::Tensor blocks = RandomBlocks(c, 5);
    const at::Tensor out = BlockSelectedAttention(
        q, k, v, blocks, c.query_block, c.key_block, c.window);
    for (int64_t h = 0; h < c.heads; ++h) {
      const int64_t kv = h / (c.heads / c.kv_heads);
      for (int64_t t = 0; t < c.queries; ++t) {
        const std::vector<int64_t> visible =
            Visible(blocks[c.shared ? 0 : h][t / c.query_block],
                    c.keys - c.queries + t, c.key_block, c.window);
        EXPECT_THAT(out[h][t], IsCloseTo(ByHand(q[h][t], k[kv], v[kv], visible),
                                         1e-10, 1e-12))
            << c.key_block << " " << h << " " << t;
      }
    }
  }
}

TEST(BlockSelectedAttention, AListOfEverythingIsDense) {
  const at::Tensor q = RandomNormal({2, 50, 8}, 1);
  const at::Tensor k = RandomNormal({2, 64, 8}, 2);
  const at::Tensor all =
      at::arange(32, at::kInt).expand({2, 7, 32}).contiguous();
  const at::Tensor dense =
      BlockSelectedAttention(q, k, k, all.slice(2, 0, 0), 8, 2, 64);
  for (const int64_t window : {0, 1, 10, 64}) {
    EXPECT_THAT(BlockSelectedAttention(q, k, k, all, 8, 2, window),
                IsCloseTo(dense, 1e-10, 1e-12))
        << window;
  }
}

TEST(BlockSelectedAttention, NothingSeenGivesZeros) {
  const at::Tensor q = RandomNormal({1, 4, 8}, 1);
  const at::Tensor none = at::full({1, 2, 3}, -1, at::kInt);
  EXPECT_THAT(BlockSelectedAttention(q, q, q, none, 2, 2, 0),
              IsIdenticalTo(at::zeros_like(q)));
}

TEST(BlockSelectedAttention, EmptyAndBadInputs) {
  const at::Tensor q = at::ones({4, 5, 8}), k = at::ones({2, 9, 8});
  const at::Tensor blocks = at::zeros({4, 3, 2}, at::kInt);
  EXPECT_EQ(BlockSelectedAttention(q.slice(1, 0, 0), k, k,
                                   blocks.slice(1, 0, 0), 2, 2, 1)
                .sizes(),
            (std::vector<int64_t>{4, 0, 8}));
  const auto error = [](const at::Tensor& q, const at::Tensor& k,
                        const at::Tensor& v, const at::Tensor& blocks,
                        int64_t query_block, int64_t window,
                        const char* message) {
    EXPECT_THAT(
        [&] {
          BlockSelectedAttention(q, k, v, blocks, query_block, 2, window);
        },
        ThrowsMessage<c10::Error>(HasSubstr(message)));
  };
  error(q[0], k, k, blocks, 2, 1, "not [5, 8]");
  error(q, k.slice(2, 0, 4), k, blocks, 2, 1, "not [2, 9, 4]");
  error(q, k, k.slice(1, 0, 4), blocks, 2, 1, "not [2, 4, 8]");
  error(q.slice(0, 0, 3), k, k, blocks, 2, 1, "3 query heads");
  error(q, k.slice(1, 0, 4), k.slice(1, 0, 4), blocks, 2, 1,
        "4 keys for 5 queries");
  error(q, k, k, blocks, 4, 1, "[4 or 1, 2, listed]");
  error(q, k, k, blocks.to(at::kLong), 2, 1, "of Long");
  error(q, k, k, blocks, 0, 1, "query_block 0");
  error(q, k, k, blocks, 2, -1, "window -1");
  error(q, k, k.clone().requires_grad_(), blocks, 2, 1, "not differentiable");
}

}  // namespace
}  // namespace repro
