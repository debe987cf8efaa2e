#include "common/lm/attention.h"

#include <ATen/Context.h>
#include <ATen/TensorIndexing.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/_safe_softmax.h>
#include <ATen/ops/_scaled_dot_product_flash_attention.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/index.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/scaled_dot_product_attention.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "common/lm/cpu_ops.h"
#include "common/tensor/check.h"

namespace repro::lm {
namespace {

// Sizes that are checked: [num_heads, queries, head_dim] and
// [num_kv_heads, keys, head_dim].
struct Sizes {
  int64_t num_heads, num_kv_heads, queries, keys, head_dim, group;
};

Sizes Check(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  ShapeChecker check;
  check(q, {"num_heads", "queries", "head_dim"}, "q");
  check(k, {"num_kv_heads", "keys", "head_dim"}, "k");
  check(v, {"num_kv_heads", "keys", "head_dim"}, "v");
  TORCH_CHECK(k.size(0) > 0 && q.size(0) % k.size(0) == 0,
              "attention: ", q.size(0), " query heads over ", k.size(0),
              " heads of keys");
  return {q.size(0), k.size(0), q.size(1),
          k.size(1), q.size(2), q.size(0) / k.size(0)};
}

Sizes CheckCausal(const at::Tensor& q, const at::Tensor& k,
                  const at::Tensor& v) {
  const Sizes sizes = Check(q, k, v);
  TORCH_CHECK(sizes.keys >= sizes.queries, "attention: ", sizes.queries,
              " queries stand at the last of only ", sizes.keys, " keys");
  return sizes;
}

// mask: bool or of q's dtype, [num_heads or 1, queries, keys], or undefined.
at::Tensor Attention(const at::Tensor& q, const at::Tensor& k,
                     const at::Tensor& v, const at::Tensor& mask, bool causal,
                     std::optional<double> scale) {
  return at::scaled_dot_product_attention(
             q.unsqueeze(0), k.unsqueeze(0), v.unsqueeze(0),
             mask.defined() ? std::optional<at::Tensor>(mask.unsqueeze(0))
                            : std::nullopt,
             /*dropout_p=*/0.0, causal, scale,
             /*enable_gqa=*/q.size(0) != k.size(0))
      .squeeze(0);
}

// Every query sees every key: the queries of a group are the rows of one
// product with its keys, so that keys are read once.
at::Tensor Unmasked(const at::Tensor& q, const at::Tensor& k,
                    const at::Tensor& v, const Sizes& s,
                    std::optional<double> scale) {
  return Attention(q.reshape({s.num_kv_heads, s.group * s.queries, s.head_dim}),
                   k, v, at::Tensor(), /*causal=*/false, scale)
      .reshape(q.sizes());
}

at::Tensor Places(int64_t first, int64_t count, const at::Tensor& like) {
  return at::arange(first, first + count, like.options().dtype(at::kLong));
}

}  // namespace

at::Tensor DenseAttention(const at::Tensor& q, const at::Tensor& k,
                          const at::Tensor& v, std::optional<double> scale) {
  const Sizes s = CheckCausal(q, k, v);
  if (s.queries == 0) return at::empty_like(q);
  if (cpu::TakesHeadDim(s.head_dim) && cpu::Takes(q) && cpu::Takes(k) &&
      cpu::Takes(v)) {
    const double factor = scale.value_or(1 / std::sqrt(s.head_dim));
    return s.queries == 1 ? cpu::DecodeAttention(q, k, v, factor)
                          : cpu::CausalAttention(q, k, v, factor);
  }
  if (s.queries == 1) return Unmasked(q, k, v, s, scale);
  if (s.queries == s.keys) {
    return Attention(q, k, v, at::Tensor(), /*causal=*/true, scale);
  }
  if (q.is_cuda() && s.head_dim % 8 == 0 && s.head_dim <= 256 &&
      (q.scalar_type() == at::kBFloat16 || q.scalar_type() == at::kHalf)) {
    // FlashAttention-2 aligns its causal mask with the last key, but LibTorch's
    // choice of a backend refuses unequal lengths.
    return std::get<0>(at::_scaled_dot_product_flash_attention(
                           q.unsqueeze(0), k.unsqueeze(0), v.unsqueeze(0),
                           /*dropout_p=*/0.0, /*is_causal=*/true,
                           /*return_debug_mask=*/false, scale))
        .squeeze(0);
  }
  const at::Tensor mask = Places(0, s.keys, q) <=
                          Places(s.keys - s.queries, s.queries, q).unsqueeze(1);
  return Attention(q, k, v, mask.unsqueeze(0), /*causal=*/false, scale);
}

at::Tensor SinkWindowAttention(const at::Tensor& q, const at::Tensor& k,
                               const at::Tensor& v, int64_t sink,
                               int64_t recent, std::optional<double> scale) {
  const Sizes s = CheckCausal(q, k, v);
  TORCH_CHECK(sink >= 0 && recent > 0, "attention: sink ", sink, ", recent ",
              recent);
  if (s.keys <= sink + recent) return DenseAttention(q, k, v, scale);
  // In blocks of queries, whose keys are the sinks and one range: time linear
  // in length.
  constexpr int64_t kBlock = 256;
  std::vector<at::Tensor> out;
  for (int64_t begin = 0; begin < s.queries; begin += kBlock) {
    const int64_t count = std::min(kBlock, s.queries - begin);
    const int64_t place = s.keys - s.queries + begin;  // of the first query
    const int64_t last = place + count;                // exclusive
    const int64_t low = std::max<int64_t>(0, place - recent + 1);
    const int64_t sinks = std::min(sink, low);
    const auto pick = [&](const at::Tensor& x) {
      const at::Tensor range = x.narrow(1, low, last - low);
      return sinks == 0 ? range : at::cat({x.narrow(1, 0, sinks), range}, 1);
    };
    const at::Tensor queries = q.narrow(1, begin, count);
    if (count == 1) {
      out.push_back(Unmasked(
          queries, pick(k), pick(v),
          {s.num_heads, s.num_kv_heads, 1, s.keys, s.head_dim, s.group},
          scale));
      continue;
    }
    const at::Tensor key =
        at::cat({Places(0, sinks, q), Places(low, last - low, q)});
    const at::Tensor query = Places(place, count, q).unsqueeze(1);
    const at::Tensor mask =
        (key <= query)
            .logical_and((key < sink).logical_or(key > query - recent));
    out.push_back(Attention(queries, pick(k), pick(v), mask.unsqueeze(0),
                            /*causal=*/false, scale));
  }
  return out.empty() ? at::empty_like(q) : at::cat(out, 1);
}

at::Tensor BlockSparseAttention(const at::Tensor& q, const at::Tensor& k,
                                const at::Tensor& v, const at::Tensor& blocks,
                                int64_t query_block, int64_t key_block,
                                int64_t window, std::optional<double> scale) {
  const Sizes s = CheckCausal(q, k, v);
  TORCH_CHECK(query_block > 0 && key_block > 0 && window >= 0,
              "attention: query_block ", query_block, ", key_block ", key_block,
              ", window ", window);
  const int64_t query_blocks = (s.queries + query_block - 1) / query_block;
  TORCH_CHECK(blocks.dim() == 3 &&
                  (blocks.size(0) == 1 || blocks.size(0) == s.num_heads) &&
                  blocks.size(1) == query_blocks,
              "attention: blocks ", blocks.sizes(), ", expected [", s.num_heads,
              " or 1, ", query_blocks, ", listed]");
  const double factor = scale.value_or(1 / std::sqrt(s.head_dim));
  // [num_heads, 1]
  const at::Tensor kv_head =
      Places(0, s.num_heads, q).floor_divide(s.group).unsqueeze(1);
  std::vector<at::Tensor> out;
  for (int64_t block = 0; block < query_blocks; ++block) {
    const int64_t begin = block * query_block;
    const int64_t count = std::min(query_block, s.queries - begin);
    const int64_t place = s.keys - s.queries + begin;
    const int64_t low = std::max<int64_t>(0, place - window + 1);
    const int64_t range = window == 0 ? 0 : place + count - low;
    // Keys of listed blocks: [heads or 1, listed * key_block], < 0: none.
    const at::Tensor number = blocks.select(1, block).to(at::kLong);
    const at::Tensor listed =
        (number.unsqueeze(-1) * key_block + Places(0, key_block, q))
            .masked_fill((number < 0).unsqueeze(-1), -1)
            .flatten(1);
    const at::Tensor query = Places(place, count, q).unsqueeze(1);
    // A key that is in the window, too, counts there alone.
    const at::Tensor see_listed =
        (listed >= 0)
            .unsqueeze(1)
            .logical_and(listed.unsqueeze(1) <= query - window);
    const at::Tensor recent = Places(low, range, q);
    const at::Tensor see_recent =
        (recent <= query).logical_and(recent > query - window);
    const int64_t heads = listed.size(0);
    const at::Tensor index =
        at::cat({listed.clamp(0, s.keys - 1),
                 recent.unsqueeze(0).expand({heads, range})},
                1);
    const at::Tensor see = at::cat(
        {see_listed, see_recent.unsqueeze(0).expand({heads, count, range})},
        -1);
    const at::Tensor keys = at::index(k, {kv_head, index});  // [heads, n, dim]
    const at::Tensor values = at::index(v, {kv_head, index});
    const at::Tensor logits =
        (at::matmul(q.narrow(1, begin, count), keys.transpose(1, 2)) * factor)
            .masked_fill(see.logical_not(), -INFINITY);
    out.push_back(at::matmul(at::_safe_softmax(logits, -1), values));
  }
  return out.empty() ? at::empty_like(q) : at::cat(out, 1);
}

at::Tensor BiasedAttention(const at::Tensor& q, const at::Tensor& k,
                           const at::Tensor& v, const at::Tensor& bias,
                           std::optional<double> scale) {
  const Sizes s = Check(q, k, v);
  TORCH_CHECK(bias.dim() == 3 &&
                  (bias.size(0) == 1 || bias.size(0) == s.num_heads) &&
                  (bias.size(1) == 1 || bias.size(1) == s.queries) &&
                  bias.size(2) == s.keys,
              "attention: bias ", bias.sizes(), ", expected [", s.num_heads,
              " or 1, ", s.queries, " or 1, ", s.keys, "]");
  return Attention(
      q, k, v,
      bias.to(q.scalar_type()).expand({bias.size(0), s.queries, s.keys}),
      /*causal=*/false, scale);
}

}  // namespace repro::lm
