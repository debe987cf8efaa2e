#include "kernels/kv_quantize/kv_quantize.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/testing/testing.h"

namespace repro {
namespace {

TEST(KvQuantize, WorkedExample) {
  // 0, 1, ..., 15 with scale 1 and minimum 0: bytes 0x01, 0x23, ..., the even
  // element in the high half.
  const QuantizedKv q = KvQuantize(at::arange(16, at::kFloat), 4, 16);
  EXPECT_THAT(q.packed, IsIdenticalTo(at::tensor(
                            {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef},
                            at::kByte)));
  EXPECT_THAT(q.scale, IsIdenticalTo(at::full({1}, 1.0, at::kHalf)));
  EXPECT_THAT(q.zero, IsIdenticalTo(at::full({1}, 0.0, at::kHalf)));
  // -1 and 1.55 are 0 and 255 steps of 0.01.
  const QuantizedKv bytes = KvQuantize(at::tensor({-1.0, 1.55, 0.0}), 8, 3);
  EXPECT_EQ(bytes.packed[0].item<int>(), 0);
  EXPECT_EQ(bytes.packed[1].item<int>(), 255);
  EXPECT_EQ(bytes.packed[2].item<int>(), 100);
}

// The published rule in float64, element by element.
TEST(KvQuantize, IsTheRule) {
  const at::Tensor x = RandomNormal({3, 5, 32}, 1).to(at::kHalf);
  for (const int64_t group_size : {2, 8, 16, 32}) {
    const QuantizedKv q = KvQuantize(x, 4, group_size);
    ASSERT_EQ(q.packed.sizes(), at::IntArrayRef({3, 5, 16}));
    ASSERT_EQ(q.scale.sizes(), at::IntArrayRef({3, 5, 32 / group_size}));
    const at::Tensor groups =
        x.to(at::kDouble).view({3, 5, 32 / group_size, group_size});
    const at::Tensor least = groups.amin({-1}), most = groups.amax({-1});
    EXPECT_THAT(q.zero, IsCloseTo(least, 0, 0));  // x is float16 itself
    EXPECT_THAT(q.scale, IsCloseTo((most - least) / 15 + 1e-8, 6e-4, 6e-8));
    const at::Tensor scale = q.scale.to(at::kDouble).unsqueeze(-1);
    const at::Tensor places = (groups - least.unsqueeze(-1)) / scale;
    const at::Tensor high = q.packed.bitwise_right_shift(4).to(at::kDouble);
    EXPECT_LE((places.flatten(-2).slice(-1, 0, 32, 2).clamp(0, 15) - high)
                  .abs()
                  .max()
                  .item<double>(),
              0.5 + 1e-5);
  }
}

TEST(KvQuantize, RoundTrip) {
  const at::Tensor x = RandomNormal({7, 2, 128}, 2).to(at::kHalf);
  for (const int64_t bits : {4, 8}) {
    for (const int64_t group_size : {16, 128}) {
      const QuantizedKv q = KvQuantize(x, bits, group_size);
      const at::Tensor back = KvDequantize(q, 128, at::kFloat);
      const at::Tensor error = (back - x.to(at::kFloat))
                                   .view({7, 2, 128 / group_size, group_size})
                                   .abs()
                                   .amax({-1});
      // Half a step; the last one is short by what float16 takes of 2^bits - 1
      // steps.
      const at::Tensor scale = q.scale.to(at::kFloat);
      EXPECT_TRUE((error <= 0.5 * scale + (1 << bits) * scale * 0x1p-11 + 1e-6)
                      .all()
                      .item<bool>())
          << bits << " bits, groups of " << group_size;
    }
  }
}

TEST(KvQuantize, ConstantsAreExact) {
  const at::Tensor x = at::full({2, 64}, 1.25, at::kBFloat16);
  for (const int64_t bits : {4, 8}) {
    const QuantizedKv q = KvQuantize(x, bits, 32);
    EXPECT_THAT(KvDequantize(q, 64, at::kBFloat16), IsIdenticalTo(x));
    EXPECT_EQ(q.packed.max().item<int>(), 0);
  }
}

TEST(KvQuantize, StridedAndEmpty) {
  const at::Tensor x = RandomNormal({16, 6}, 3).to(at::kFloat).t();
  EXPECT_THAT(KvQuantize(x, 4, 8).packed,
              IsIdenticalTo(KvQuantize(x.contiguous(), 4, 8).packed));
  const QuantizedKv q = KvQuantize(at::empty({0, 8}), 4, 8);
  EXPECT_EQ(q.packed.sizes(), at::IntArrayRef({0, 4}));
  EXPECT_EQ(KvDequantize(q, 8).sizes(), at::IntArrayRef({0, 8}));
}

TEST(KvQuantize, Errors) {
  const at::Tensor x = RandomNormal({2, 8}, 4).to(at::kFloat);
  EXPECT_THROW(KvQuantize(x, 3, 8), c10::Error);
  EXPECT_THROW(KvQuantize(x, 4, 3), c10::Error);
  EXPECT_THROW(KvQuantize(x, 4, 1), c10::Error);
  EXPECT_THROW(KvQuantize(x.to(at::kLong), 4, 8), c10::Error);
  QuantizedKv q = KvQuantize(x, 4, 8);
  EXPECT_THROW(KvDequantize(q, 32), c10::Error);
  EXPECT_THROW(KvDequantize(q, 8, at::kLong), c10::Error);
  q.scale = q.scale.to(at::kFloat);
  EXPECT_THROW(KvDequantize(q, 8), c10::Error);
}

}  // namespace
}  // namespace repro
