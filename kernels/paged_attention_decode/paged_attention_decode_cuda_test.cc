#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/paged_attention_decode/paged_attention_decode.h"
#include "kernels/testing/testing.h"

namespace repro {
namespace {

struct Shape {
  int64_t num_heads, num_kv_heads, head_dim, page_size;
  std::vector<int32_t> lengths;
};

// Groups of one to sixteen, each width of the kernel and some between, pages of
// one to a whole cache, lengths around a tile's, a block's and several blocks'.
const std::vector<Shape>& Shapes() {
  static const auto& shapes = *new std::vector<Shape>{
      {1, 1, 64, 1, {1}},
      {4, 4, 128, 1, {15, 16, 17, 0}},
      {8, 2, 128, 16, {63, 64, 65, 1}},
      {32, 8, 128, 4097, {4097}},
      {8, 1, 64, 7, {1000, 3, 511, 513}},
      {16, 1, 128, 32, {5000}},
      {6, 2, 80, 16, {100, 777}},
      {4, 2, 48, 64, {640, 33}},
      {3, 1, 16, 5, {900}},
      {4, 2, 256, 16, {70, 5}},
      {2, 2, 36, 3, {50}},
      {32, 32, 128, 2000, {2000, 1999}},
      {32, 8, 64, 64, {20000}},
  };
  return shapes;
}

at::Tensor Ints(const std::vector<int32_t>& x) {
  return at::tensor(at::ArrayRef<int32_t>(x), at::kInt);
}

int64_t Longest(const Shape& s) {
  return *std::max_element(s.lengths.begin(), s.lengths.end());
}

// On the CPU in float64, of values that `type` holds; pages in random order,
// those that no sequence uses full of NaN.
struct Inputs {
  at::Tensor q;
  PagedKeysValues cache;
};
Inputs MakeInputs(const Shape& s, at::ScalarType type) {
  const int64_t batch = s.lengths.size();
  const int64_t max_pages = (Longest(s) + s.page_size - 1) / s.page_size;
  const int64_t num_pages = batch * max_pages + 1;
  const auto rounded = [&](at::IntArrayRef sizes, uint64_t seed) {
    return RandomNormal(sizes, seed).to(type).to(at::kDouble);
  };
  Inputs in;
  // Large enough for logits that move the running maximum.
  in.q = rounded({batch, s.num_heads, s.head_dim}, 1)
             .mul_(3)
             .to(type)
             .to(at::kDouble);
  in.cache.k_pages =
      rounded({num_pages, s.page_size, s.num_kv_heads, s.head_dim}, 2);
  in.cache.v_pages =
      rounded({num_pages, s.page_size, s.num_kv_heads, s.head_dim}, 3);
  in.cache.page_table = RandomNormal({num_pages}, 4)
                            .argsort()
                            .slice(0, 0, batch * max_pages)
                            .view({batch, max_pages})
                            .to(at::kInt);
  in.cache.lengths = Ints(s.lengths);
  return in;
}

PagedKeysValues ToCuda(const PagedKeysValues& cache, at::ScalarType type) {
  const auto options = at::TensorOptions(at::kCUDA);
  PagedKeysValues out;
  const bool quantised = cache.k_scale.has_value();
  out.k_pages = cache.k_pages.to(quantised ? options : options.dtype(type));
  out.v_pages = cache.v_pages.to(quantised ? options : options.dtype(type));
  out.page_table = cache.page_table.to(at::kCUDA);
  out.lengths = cache.lengths.to(at::kCUDA);
  if (quantised) {
    out.k_scale = cache.k_scale->to(at::kCUDA);
    out.k_zero = cache.k_zero->to(at::kCUDA);
    out.v_scale = cache.v_scale->to(at::kCUDA);
    out.v_zero = cache.v_zero->to(at::kCUDA);
  }
  return out;
}

double Bound(at::ScalarType type) {
  return type == at::kFloat ? 1e-5 : type == at::kHalf ? 2e-3 : 1e-2;
}

class PagedAttentionDecodeCuda : public testing::TestWithParam<Shape> {};

TEST_P(PagedAttentionDecodeCuda, IsTheCpusInFloat64) {
  REPRO_SKIP_WITHOUT_CUDA();
  const Shape& s = GetParam();
  for (const auto type : {at::kBFloat16, at::kHalf, at::kFloat}) {
    const Inputs in = MakeInputs(s, type);
    const auto [out, lse] = PagedAttentionDecode(in.q, in.cache, Longest(s));
    const PagedKeysValues cache = ToCuda(in.cache, type);
    const at::Tensor q = in.q.to(at::TensorOptions(at::kCUDA).dtype(type));
    PoisonCudaMemory();
    const auto [gpu_out, gpu_lse] = PagedAttentionDecode(q, cache, Longest(s));
    EXPECT_THAT(gpu_out, RelativeErrorBelow(out, Bound(type))) << type;
    // Rounding of q, k to `type` is shared; the sums are in float32.
    EXPECT_THAT(gpu_lse, IsCloseTo(lse, 1e-4, 1e-3)) << type;
  }
}

TEST_P(PagedAttentionDecodeCuda, QuantisedIsTheCpusInFloat64) {
  REPRO_SKIP_WITHOUT_CUDA();
  const Shape& s = GetParam();
  for (const int64_t bits : {4, 8}) {
    if (s.head_dim * bits % 8 != 0) continue;
    for (const int64_t groups : {1, 2}) {
      Inputs in = MakeInputs(s, at::kBFloat16);
      std::vector<int64_t> sizes = in.cache.k_pages.sizes().vec();
      sizes[3] = s.head_dim * bits / 8;
      const auto bytes = [&](uint64_t seed) {
        return RandomNormal(sizes, seed).mul_(1e3).remainder(256).to(at::kByte);
      };
      in.cache.k_pages = bytes(5);
      in.cache.v_pages = bytes(6);
      sizes[3] = groups;
      // Minima around zero as of keys, -4 to 4.
      const double levels = (1 << bits) - 1;
      const auto scale = [&](uint64_t seed) {
        return ((RandomNormal(sizes, seed).abs() + 1) / levels).to(at::kHalf);
      };
      in.cache.k_scale = scale(7);
      in.cache.v_scale = scale(8);
      in.cache.k_zero = RandomNormal(sizes, 9).to(at::kHalf);
      in.cache.v_zero = RandomNormal(sizes, 10).to(at::kHalf);
      const auto [out, lse] = PagedAttentionDecode(in.q, in.cache, Longest(s));
      const PagedKeysValues cache = ToCuda(in.cache, at::kBFloat16);
      for (const auto type : {at::kBFloat16, at::kHalf, at::kFloat}) {
        // Keys and values turn into float16 first, except for float.
        const double bound = type == at::kHalf ? 4e-3 : Bound(type);
        const at::Tensor q = in.q.to(at::TensorOptions(at::kCUDA).dtype(type));
        PoisonCudaMemory();
        const auto [gpu_out, gpu_lse] =
            PagedAttentionDecode(q, cache, Longest(s));
        EXPECT_THAT(gpu_out, RelativeErrorBelow(out, bound))
            << bits << type << groups;
        EXPECT_THAT(gpu_lse, IsCloseTo(lse, 1e-3, 3e-2))
            << bits << type << groups;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, PagedAttentionDecodeCuda,
                         testing::ValuesIn(Shapes()), [](const auto& info) {
                           const Shape& s = info.param;
                           return "H" + std::to_string(s.num_heads) + "of" +
                                  std::to_string(s.num_kv_heads) + "D" +
                                  std::to_string(s.head_dim) + "P" +
                                  std::to_string(s.page_size) + "N" +
                                  std::to_string(Longest(s));
                         });

TEST(PagedAttentionDecodeCuda, ViewsOfSomeHeads) {
  REPRO_SKIP_WITHOUT_CUDA();
  const Shape s = {16, 4, 128, 16, {3000, 100}};
  const Inputs in = MakeInputs(s, at::kBFloat16);
  const at::Tensor out =
      std::get<0>(PagedAttentionDecode(in.q, in.cache, 3000));
  PagedKeysValues cache = ToCuda(in.cache, at::kBFloat16);
  cache.k_pages = cache.k_pages.slice(2, 1, 3);
  cache.v_pages = cache.v_pages.slice(2, 1, 3);
  const at::Tensor q =
      in.q.to(at::TensorOptions(at::kCUDA).dtype(at::kBFloat16));
  PoisonCudaMemory();
  EXPECT_THAT(std::get<0>(PagedAttentionDecode(q.slice(1, 4, 12), cache, 3000)),
              RelativeErrorBelow(out.slice(1, 4, 12), 1e-2));
}

TEST(PagedAttentionDecodeCuda, LengthsAreCutToMaxLength) {
  REPRO_SKIP_WITHOUT_CUDA();
  Shape s = {8, 2, 64, 16, {1600, 40}};
  const Inputs in = MakeInputs(s, at::kHalf);
  const at::Tensor out = std::get<0>(PagedAttentionDecode(in.q, in.cache, 320));
  EXPECT_THAT(std::get<0>(PagedAttentionDecode(
                  in.q.to(at::TensorOptions(at::kCUDA).dtype(at::kHalf)),
                  ToCuda(in.cache, at::kHalf), 320)),
              RelativeErrorBelow(out, 2e-3));
}

// A step that grows the sequences, as a model's decoding does.
TEST(PagedAppendCuda, StepsAreTheCpus) {
  REPRO_SKIP_WITHOUT_CUDA();
  const at::NoGradGuard no_grad;
  constexpr int64_t kBatch = 2, kHeads = 4, kKvHeads = 2, kDim = 64, kPage = 4,
                    kPages = 200, kSteps = 6;
  for (const int64_t window : {0, 20}) {
    const int64_t sink = window > 0 ? 3 : 0;
    const int64_t keys = window > 0 ? sink + window : kPages * kPage;
    for (const auto type : {at::kFloat, at::kBFloat16}) {
      const auto options = at::TensorOptions(at::kCUDA).dtype(type);
      const auto rounded = [&](at::IntArrayRef sizes, uint64_t seed) {
        return RandomNormal(sizes, seed).to(type).to(at::kDouble);
      };
      const at::Tensor k_pages =
          rounded({kBatch * kPages, kPage, kKvHeads, kDim}, 1);
      const at::Tensor v_pages =
          rounded({kBatch * kPages, kPage, kKvHeads, kDim}, 2);
      const at::Tensor table = RandomNormal({kBatch * kPages}, 3)
                                   .argsort()
                                   .view({kBatch, kPages})
                                   .to(at::kInt);
      const at::Tensor lengths = Ints({700, 17});
      const at::Tensor angles = RandomNormal({800, kDim / 2}, 4);
      const at::Tensor cos = at::cos(angles).to(at::kFloat);
      const at::Tensor sin = at::sin(angles).to(at::kFloat);
      // Queries, keys and values lie together, as one product makes them.
      const at::Tensor qkv = rounded({kBatch, kHeads + 2 * kKvHeads, kDim}, 5);

      const auto gpu = [&](const at::Tensor& x) { return x.to(at::kCUDA); };
      const at::Tensor gpu_k = k_pages.to(options), gpu_v = v_pages.to(options),
                       gpu_table = gpu(table), gpu_lengths = gpu(lengths),
                       gpu_cos = gpu(cos), gpu_sin = gpu(sin),
                       gpu_qkv = qkv.to(options);
      const auto step = [&](const at::Tensor& k, const at::Tensor& v,
                            const at::Tensor& pages, const at::Tensor& length,
                            const at::Tensor& all, const at::Tensor& c,
                            const at::Tensor& s) {
        length.add_(1);
        const at::Tensor q = all.slice(1, 0, kHeads);
        PagedAppend(k, v, pages, length, q,
                    all.slice(1, kHeads, kHeads + kKvHeads),
                    all.slice(1, kHeads + kKvHeads), c, s, sink, window);
        return std::get<0>(
            PagedAttentionDecode(q, {k, v, pages, length}, keys));
      };
      for (int i = 0; i < kSteps; ++i) {
        const at::Tensor gpu_out = step(gpu_k, gpu_v, gpu_table, gpu_lengths,
                                        gpu_qkv.clone(), gpu_cos, gpu_sin);
        const at::Tensor out =
            step(k_pages, v_pages, table, lengths, qkv.clone(), cos, sin);
        EXPECT_THAT(gpu_out, RelativeErrorBelow(out, Bound(type)))
            << type << " step " << i << " window " << window;
      }
      EXPECT_THAT(gpu_k, RelativeErrorBelow(k_pages, Bound(type)));
      EXPECT_THAT(gpu_v, IsCloseTo(v_pages, 0, 0));
    }
  }
}

}  // namespace
}  // namespace repro
