#include "kernels/paged_attention_decode/paged_attention_decode.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/logaddexp.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>

#include <cmath>
#include <limits>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/testing/testing.h"

namespace repro {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

at::Tensor Ints(const std::vector<int32_t>& x) {
  return at::tensor(at::ArrayRef<int32_t>(x), at::kInt);
}

// A contiguous cache [batch, capacity, heads, head_dim] as pages.
PagedKeysValues Contiguous(const at::Tensor& k, const at::Tensor& v,
                           const std::vector<int32_t>& lengths) {
  PagedKeysValues cache;
  cache.k_pages = k;
  cache.v_pages = v;
  cache.page_table = at::arange(k.size(0), at::kInt).unsqueeze(1);
  cache.lengths = Ints(lengths);
  return cache;
}

// LibTorch's attention of one sequence: q [heads, dim], k, v [keys, kv_heads,
// dim].
at::Tensor LibTorch(const at::Tensor& q, const at::Tensor& k,
                    const at::Tensor& v) {
  return at::scaled_dot_product_attention(
             q.unsqueeze(0).unsqueeze(2), k.transpose(0, 1).unsqueeze(0),
             v.transpose(0, 1).unsqueeze(0), std::nullopt, 0, false,
             std::nullopt, /*enable_gqa=*/true)
      .squeeze(2)
      .squeeze(0);
}

TEST(PagedAttentionDecode, WorkedExample) {
  // q = 1, keys 0, 1, 3, 2, values 1, 2, 4, 0, from RazorAttention's example:
  // (e^0 1 + e^1 2 + e^3 4 + e^2 0) / (e^0 + e^1 + e^3 + e^2) = 2.782004.
  const auto options = at::kDouble;
  const at::Tensor k = at::tensor({0., 1., 3., 2.}, options).view({1, 4, 1, 1});
  const at::Tensor v = at::tensor({1., 2., 4., 0.}, options).view({1, 4, 1, 1});
  const auto [out, lse] = PagedAttentionDecode(
      at::full({1, 1, 1}, 1.0, options), Contiguous(k, v, {4}), 4);
  EXPECT_NEAR(out.item<double>(), 2.782004, 5e-7);
  EXPECT_NEAR(lse.item<double>(),
              std::log(1 + std::exp(1.) + std::exp(2.) + std::exp(3.)), 1e-14);
}

TEST(PagedAttentionDecode, IsLibTorchs) {
  const std::vector<int32_t> lengths = {1, 17, 6};
  const at::Tensor q = RandomNormal({3, 6, 8}, 1);
  const at::Tensor k = RandomNormal({3, 17, 2, 8}, 2);
  const at::Tensor v = RandomNormal({3, 17, 2, 8}, 3);
  const auto [out, lse] =
      PagedAttentionDecode(q, Contiguous(k, v, lengths), 17);
  for (int b = 0; b < 3; ++b) {
    EXPECT_THAT(out[b], IsCloseTo(LibTorch(q[b], k[b].slice(0, 0, lengths[b]),
                                           v[b].slice(0, 0, lengths[b])),
                                  1e-12, 1e-12));
  }
}

TEST(PagedAttentionDecode, PagesAreTheContiguousCache) {
  const std::vector<int32_t> lengths = {12, 5, 0};
  const at::Tensor q = RandomNormal({3, 4, 8}, 1);
  const at::Tensor k = RandomNormal({3, 12, 2, 8}, 2);
  const at::Tensor v = RandomNormal({3, 12, 2, 8}, 3);
  const auto [expected, expected_lse] =
      PagedAttentionDecode(q, Contiguous(k, v, lengths), 12);
  for (const int64_t page_size : {1, 2, 3, 4, 12}) {
    const int64_t pages = 12 / page_size;
    // Page j of sequence b is page 3 (pages - 1 - j) + b of the pool.
    const at::Tensor order = at::arange(pages - 1, -1, -1, at::kInt) * 3;
    PagedKeysValues cache;
    cache.page_table =
        order.unsqueeze(0) + at::arange(3, at::kInt).unsqueeze(1);
    const auto pool = [&](const at::Tensor& x) {
      return x.view({3, pages, page_size, 2, 8})
          .flip({1})
          .transpose(0, 1)
          .flatten(0, 1);
    };
    cache.k_pages = pool(k);
    cache.v_pages = pool(v);
    cache.lengths = Ints(lengths);
    const auto [out, lse] = PagedAttentionDecode(q, cache, 12);
    EXPECT_THAT(out, IsIdenticalTo(expected)) << page_size;
    EXPECT_THAT(lse, IsIdenticalTo(expected_lse)) << page_size;
  }
}

TEST(PagedAttentionDecode, EmptyIsZero) {
  const at::Tensor k = RandomNormal({1, 3, 1, 4}, 1);
  const auto [out, lse] = PagedAttentionDecode(RandomNormal({1, 2, 4}, 2),
                                               Contiguous(k, k, {0}), 3);
  EXPECT_THAT(out, IsIdenticalTo(at::zeros({1, 2, 4}, at::kDouble)));
  EXPECT_THAT(lse, IsIdenticalTo(at::full({1, 2}, -kInfinity, at::kDouble)));
}

TEST(PagedAttentionDecode, LengthsAreCutToMaxLength) {
  const at::Tensor q = RandomNormal({1, 2, 4}, 1);
  const at::Tensor k = RandomNormal({1, 9, 2, 4}, 2);
  EXPECT_THAT(std::get<0>(PagedAttentionDecode(q, Contiguous(k, k, {100}), 7)),
              IsIdenticalTo(std::get<0>(
                  PagedAttentionDecode(q, Contiguous(k, k, {7}), 9))));
}

TEST(PagedAttentionDecode, PartsMergeByTheirSums) {
  const at::Tensor q = RandomNormal({1, 4, 8}, 1);
  const at::Tensor k = RandomNormal({1, 20, 2, 8}, 2);
  const at::Tensor v = RandomNormal({1, 20, 2, 8}, 3);
  const auto part = [&](int64_t from, int64_t to) {
    return PagedAttentionDecode(
        q,
        Contiguous(k.slice(1, from, to), v.slice(1, from, to),
                   {static_cast<int32_t>(to - from)}),
        to - from);
  };
  const auto [whole, whole_lse] = part(0, 20);
  const auto [a, a_lse] = part(0, 13);
  const auto [b, b_lse] = part(13, 20);
  const at::Tensor lse = at::logaddexp(a_lse, b_lse);
  EXPECT_THAT(lse, IsCloseTo(whole_lse, 1e-12, 0));
  EXPECT_THAT(at::exp(a_lse - lse).unsqueeze(-1) * a +
                  at::exp(b_lse - lse).unsqueeze(-1) * b,
              IsCloseTo(whole, 1e-12, 1e-12));
}

TEST(PagedAttentionDecode, SomeHeadsOfALargerCache) {
  const at::Tensor q = RandomNormal({2, 8, 4}, 1);
  const at::Tensor k = RandomNormal({2, 6, 4, 4}, 2);
  const at::Tensor v = RandomNormal({2, 6, 4, 4}, 3);
  const at::Tensor all =
      std::get<0>(PagedAttentionDecode(q, Contiguous(k, v, {6, 5}), 6));
  const at::Tensor some = std::get<0>(PagedAttentionDecode(
      q.slice(1, 2, 6), Contiguous(k.slice(2, 1, 3), v.slice(2, 1, 3), {6, 5}),
      6));
  EXPECT_THAT(some, IsCloseTo(all.slice(1, 2, 6), 1e-13, 1e-13));
}

TEST(PagedAttentionDecode, QuantisedPages) {
  // Bytes and constants chosen so that keys and values are known: 0x12 is 1
  // then 2.
  const at::Tensor q = RandomNormal({1, 1, 2}, 1).to(at::kFloat);
  const at::Tensor four =
      at::tensor({0x12, 0xf0}, at::kByte).view({1, 2, 1, 1});
  const at::Tensor eight =
      at::tensor({1, 2, 15, 0}, at::kByte).view({1, 2, 1, 2});
  const at::Tensor scale =
      at::tensor({0.5, 2.0}).to(at::kHalf).view({1, 2, 1, 1});
  const at::Tensor zero =
      at::tensor({-1.0, 3.0}).to(at::kHalf).view({1, 2, 1, 1});
  const at::Tensor k = at::tensor({-0.5f, 0.f, 33.f, 3.f}).view({1, 2, 1, 2});
  const at::Tensor expected =
      std::get<0>(PagedAttentionDecode(q, Contiguous(k, k, {2}), 2));
  for (const at::Tensor& packed : {four, eight}) {
    PagedKeysValues cache = Contiguous(packed, packed, {2});
    cache.k_scale = cache.v_scale = scale;
    cache.k_zero = cache.v_zero = zero;
    EXPECT_THAT(std::get<0>(PagedAttentionDecode(q, cache, 2)),
                IsCloseTo(expected, 1e-6, 1e-6));
  }
}

TEST(PagedAppend, StepsAreTheWholeCache) {
  // Token by token with rotation against all at once without a cache.
  constexpr int64_t kTokens = 7, kDim = 6;
  const at::Tensor cos = RandomNormal({kTokens, kDim / 2}, 1).to(at::kFloat);
  const at::Tensor sin = RandomNormal({kTokens, kDim / 2}, 2).to(at::kFloat);
  const at::Tensor k = RandomNormal({kTokens, 2, kDim}, 3);
  const at::Tensor v = RandomNormal({kTokens, 2, kDim}, 4);
  const at::Tensor q = RandomNormal({kTokens, 4, kDim}, 5);
  const auto rotated = [&](const at::Tensor& x, int64_t t) {
    const at::Tensor a = x.slice(-1, 0, kDim / 2), b = x.slice(-1, kDim / 2);
    return at::cat({a * cos[t] - b * sin[t], b * cos[t] + a * sin[t]}, -1);
  };
  const at::Tensor k_pages = at::full({4, 2, 2, kDim}, NAN, at::kDouble);
  const at::Tensor v_pages = at::full({4, 2, 2, kDim}, NAN, at::kDouble);
  const at::Tensor table = Ints({2, 0, 3, 1}).unsqueeze(0);
  const at::Tensor keys = at::empty_like(k);
  for (int64_t t = 0; t < kTokens; ++t) {
    PagedKeysValues cache{k_pages, v_pages, table,
                          Ints({static_cast<int32_t>(t + 1)})};
    const at::Tensor query = q.slice(0, t, t + 1).clone();
    PagedAppend(k_pages, v_pages, table, cache.lengths, query,
                k.slice(0, t, t + 1), v.slice(0, t, t + 1), cos, sin);
    EXPECT_THAT(query[0], IsCloseTo(rotated(q[t], t), 1e-12, 1e-12));
    keys[t].copy_(rotated(k[t], t));
    EXPECT_THAT(std::get<0>(PagedAttentionDecode(query, cache, 8))[0],
                IsCloseTo(LibTorch(query[0], keys.slice(0, 0, t + 1),
                                   v.slice(0, 0, t + 1)),
                          1e-12, 1e-12));
  }
}

TEST(PagedAppend, WindowKeepsSinksAndTheLatest) {
  const at::Tensor pages = at::zeros({1, 5, 1, 2}, at::kDouble);
  const at::Tensor table = Ints({0}).unsqueeze(0);
  for (int32_t t = 0; t < 9; ++t) {
    const at::Tensor x = at::full({1, 1, 2}, t, at::kDouble);
    PagedAppend(pages, pages, table, Ints({t + 1}), x, x, x, std::nullopt,
                std::nullopt, /*sink=*/2, /*window=*/3);
  }
  // Of 0... 8: the sinks 0 and 1; 6, 7 and 8 at their places modulo 3.
  EXPECT_THAT(pages.select(-1, 0).flatten(),
              IsIdenticalTo(at::tensor({0., 1., 8., 6., 7.}).to(at::kDouble)));
}

TEST(PagedAppend, LengthZeroIsPassedOver) {
  const at::Tensor pages = at::zeros({1, 5, 1, 2}, at::kDouble);
  const at::Tensor x = RandomNormal({1, 1, 2}, 1), before = x.clone();
  const at::Tensor one = at::full({1, 1}, 0.5, at::kFloat);
  PagedAppend(pages, pages, Ints({0}).unsqueeze(0), Ints({0}), x, x, x, one,
              one);
  EXPECT_EQ(pages.abs().max().item<double>(), 0);
  EXPECT_THAT(x, IsIdenticalTo(before));
}

TEST(PagedAttentionDecode, Errors) {
  const at::Tensor q = RandomNormal({1, 4, 8}, 1);
  const at::Tensor k = RandomNormal({1, 6, 2, 8}, 2);
  const PagedKeysValues good = Contiguous(k, k, {6});
  EXPECT_NO_THROW(PagedAttentionDecode(q, good, 6));
  EXPECT_THROW(PagedAttentionDecode(q, good, 7), c10::Error);
  EXPECT_THROW(PagedAttentionDecode(q, good, -1), c10::Error);
  EXPECT_THROW(PagedAttentionDecode(q[0], good, 6), c10::Error);
  EXPECT_THROW(PagedAttentionDecode(q.slice(1, 0, 3), good, 6), c10::Error);
  EXPECT_THROW(PagedAttentionDecode(q.to(at::kFloat), good, 6), c10::Error);
  PagedKeysValues bad = good;
  bad.v_pages = RandomNormal({1, 6, 2, 4}, 3);
  EXPECT_THROW(PagedAttentionDecode(q, bad, 6), c10::Error);
  bad = good;
  bad.lengths = bad.lengths.to(at::kLong);
  EXPECT_THROW(PagedAttentionDecode(q, bad, 6), c10::Error);
  bad = good;
  bad.page_table = at::zeros({2, 1}, at::kInt);
  EXPECT_THROW(PagedAttentionDecode(q, bad, 6), c10::Error);
  bad = good;
  bad.k_scale = at::zeros({1, 6, 2, 1}, at::kHalf);
  EXPECT_THROW(PagedAttentionDecode(q, bad, 6), c10::Error);
  bad = Contiguous(k.to(at::kByte), k.to(at::kByte), {6});
  EXPECT_THROW(PagedAttentionDecode(q, bad, 6), c10::Error);

  const at::Tensor x = RandomNormal({1, 2, 8}, 4);
  const auto append = [&](const at::Tensor& length, const at::Tensor& new_k,
                          const std::optional<at::Tensor>& cos,
                          const std::optional<at::Tensor>& sin,
                          int64_t window) {
    PagedAppend(k, k, good.page_table, length, q, new_k, x, cos, sin, 0,
                window);
  };
  const at::Tensor table = at::zeros({6, 4}, at::kFloat);
  EXPECT_NO_THROW(append(Ints({6}), x, table, table, 6));
  EXPECT_THROW(append(Ints({7}), x, std::nullopt, std::nullopt, 0), c10::Error);
  EXPECT_THROW(append(Ints({6}), x, std::nullopt, std::nullopt, 7), c10::Error);
  EXPECT_THROW(append(Ints({6}), q, table, table, 0), c10::Error);
  EXPECT_THROW(append(Ints({6}), x, table, std::nullopt, 0), c10::Error);
  EXPECT_THROW(
      append(Ints({6}), x, table.slice(0, 0, 5), table.slice(0, 0, 5), 0),
      c10::Error);
}

}  // namespace
}  // namespace repro
