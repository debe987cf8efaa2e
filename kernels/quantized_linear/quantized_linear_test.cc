#include "kernels/quantized_linear/quantized_linear.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/all.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/any.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/isnan.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/max.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>
#include <c10/util/Half.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/quantized_linear/quantized_linear_kernels.h"
#include "kernels/testing/testing.h"

namespace repro {
namespace {

constexpr int64_t kFormats[] = {2, 3, 6, 7, 8, 10, 11, 12, 13, 14};

// Offsets of the float16 numbers in a block.
std::vector<int> Halves(int64_t format) {
  switch (format) {
    case kQuantQ4_1:
    case kQuantQ5_1:
    case kQuantQ4_K:
    case kQuantQ5_K:
      return {0, 2};
    case kQuantQ2_K:
      return {80, 82};
    case kQuantQ3_K:
      return {108};
    case kQuantQ6_K:
      return {208};
    default:
      return {0};
  }
}

void SetHalf(float value, uint8_t* at) {
  const c10::Half half(value);
  std::memcpy(at, &half.x, sizeof(half.x));
}

at::Generator Seeded(uint64_t seed) {
  return at::detail::createCPUGenerator(seed);
}

// A matrix as a file holds it: random codes and scales of moderate size.
at::Tensor RandomBlocks(int64_t format, int64_t out, int64_t in,
                        uint64_t seed) {
  const int64_t blocks = out * in / QuantBlockSize(format);
  const at::Tensor bytes = at::randint(
      0, 256, {blocks, QuantBlockBytes(format)}, Seeded(seed), at::kByte);
  const at::Tensor scales = RandomNormal({blocks, 2}, seed + 1, at::kFloat);
  uint8_t* data = bytes.mutable_data_ptr<uint8_t>();
  const float* scale = scales.const_data_ptr<float>();
  for (int64_t b = 0; b < blocks; ++b) {
    const std::vector<int> halves = Halves(format);
    for (size_t i = 0; i < halves.size(); ++i) {
      SetHalf(0.01f * scale[2 * b + i],
              data + b * QuantBlockBytes(format) + halves[i]);
    }
  }
  return bytes;
}

struct Weight {
  at::Tensor packed;
  at::Tensor dense;  // float64 [out, in]
};

Weight RandomWeight(int64_t format, int64_t out, int64_t in, uint64_t seed) {
  Weight weight;
  weight.packed =
      PackQuantized(RandomBlocks(format, out, in, seed), format, out, in);
  weight.dense =
      UnpackDequantized(weight.packed, format, out, in).to(at::kDouble);
  return weight;
}

// Values that rounding to 8 bits keeps: each 16 of them hold 127 / 8.
at::Tensor ExactInput(int64_t rows, int64_t in, uint64_t seed) {
  const at::Tensor x =
      at::randint(-127, 128, {rows, in}, Seeded(seed), at::kFloat);
  float* data = x.mutable_data_ptr<float>();
  for (int64_t i = 0; i < x.numel(); i += 16) data[i] = 127;
  return x / 8;
}

// Blocks with bytes (31 i^2 + 7 i + 13) mod 251 and scales 0.0123, -0.45;
// weights 0, 17, the last, and the sum of (i + 1) w_i. From PyPI's gguf 0.19:
//   H = {2: [0], 3: [0, 2], 6: [0], 7: [0, 2], 8: [0], 10: [80, 82],
//        11: [108], 12: [0, 2], 13: [0, 2], 14: [208]}
//   S = {2: 18, 3: 20, 6: 22, 7: 24, 8: 34, 10: 84, 11: 110, 12: 144, 13: 176,
//        14: 210}
//   for t in H:
//     b = np.array([(i * i * 31 + i * 7 + 13) % 251 for i in range(S[t])],
//                  np.uint8)
//     for at, v in zip(H[t], [0.0123, -0.45]):
//       b[at:at + 2] = np.array([v], np.float16).view(np.uint8)
//     w = gguf.quants.dequantize(b[None], gguf.GGMLQuantizationType(t))[0]
//     w = w.astype(np.float64)
//     print(t, w[0], w[17], w[-1], (w * np.arange(1, len(w) + 1)).sum())
TEST(QuantizedLinear, DequantisesAsGguf) {
  const double kExpected[][5] = {
      {2, -0.012298583984375, -0.061492919921875, -0.061492919921875,
       -15.27484130859375},
      {3, -0.413055419921875, -0.4007568359375, -0.42535400390625,
       -199.80526733398438},
      {6, 0.086090087890625, 0.0491943359375, -0.184478759765625,
       -26.405059814453125},
      {7, -0.093292236328125, -0.2039794921875, -0.449951171875,
       -154.64486694335938},
      {8, -1.291351318359375, 0.51654052734375, 1.45123291015625,
       54.298248291015625},
      {10, 0.159881591796875, 1.42364501953125, 1.7998046875, 80680.5687866211},
      {11, 0.0, 0.0, -0.356658935546875, -355.57666015625},
      {12, 25.843658447265625, 22.83050537109375, 10.880706787109375,
       409288.9707336426},
      {13, 33.16131591796875, 24.55230712890625, 9.8353271484375,
       469564.3923339844},
      {14, -19.394866943359375, -7.9202880859375, 6.22308349609375,
       95328.30453491211}};
  for (const auto& expected : kExpected) {
    const int64_t format = static_cast<int64_t>(expected[0]);
    const int64_t bytes = QuantBlockBytes(format), n = QuantBlockSize(format);
    const at::Tensor block = at::empty({bytes}, at::kByte);
    uint8_t* data = block.mutable_data_ptr<uint8_t>();
    for (int64_t i = 0; i < bytes; ++i)
      data[i] = (i * i * 31 + i * 7 + 13) % 251;
    const float kScales[] = {0.0123f, -0.45f};
    const std::vector<int> halves = Halves(format);
    for (size_t i = 0; i < halves.size(); ++i) {
      SetHalf(kScales[i], data + halves[i]);
    }
    const at::Tensor w =
        UnpackDequantized(PackQuantized(block, format, 1, n), format, 1, n)
            .to(at::kDouble);
    EXPECT_EQ(w.sizes(), at::IntArrayRef({1, n}));
    const double* value = w.const_data_ptr<double>();
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += (i + 1) * value[i];
    EXPECT_NEAR(value[0], expected[1], 1e-6) << format;
    EXPECT_NEAR(value[17], expected[2], 1e-6) << format;
    EXPECT_NEAR(value[n - 1], expected[3], 1e-6) << format;
    EXPECT_NEAR(sum, expected[4], 1e-6 * std::abs(expected[4])) << format;
  }
}

// What a 4-bit file row means, written out: 3 rows, 2 blocks of Q4_1.
TEST(QuantizedLinear, RowsAndBlocksInOrder) {
  const at::Tensor blocks = at::zeros({3, 2, 20}, at::kByte);
  uint8_t* data = blocks.mutable_data_ptr<uint8_t>();
  for (int b = 0; b < 6; ++b) {
    SetHalf(1, data + 20 * b);
    SetHalf(100 * b, data + 20 * b + 2);
    for (int i = 0; i < 16; ++i) data[20 * b + 4 + i] = i | (15 - i) << 4;
  }
  const at::Tensor w = UnpackDequantized(
      PackQuantized(blocks, kQuantQ4_1, 3, 64), kQuantQ4_1, 3, 64);
  const at::Tensor codes = at::cat({at::arange(16), 15 - at::arange(16)});
  for (int b = 0; b < 6; ++b) {
    EXPECT_THAT(w.select(0, b / 2).slice(0, b % 2 * 32, b % 2 * 32 + 32),
                IsIdenticalTo((codes + 100 * b).to(at::kFloat)));
  }
}

TEST(QuantizedLinear, ExactInputsGiveTheExactProduct) {
  uint64_t seed = 1;
  for (const int64_t format : kFormats) {
    for (const int64_t out : {1, 16, 37, 100}) {
      const Weight weight = RandomWeight(format, out, 512, ++seed);
      for (const int64_t rows : {1, 2, 7, 29}) {
        const at::Tensor x = ExactInput(rows, 512, ++seed);
        const at::Tensor y =
            QuantizedLinear(x, weight.packed, format, out, 512);
        EXPECT_EQ(y.scalar_type(), at::kFloat);
        EXPECT_THAT(y,
                    RelativeErrorBelow(
                        at::matmul(x.to(at::kDouble), weight.dense.t()), 1e-5))
            << "format " << format << ", " << out << " outputs, " << rows
            << " rows";
      }
    }
  }
}

// x is off by at most half a step, a block's largest value / 127, so y by at
// most half the sum of steps times |W|.
TEST(QuantizedLinear, RoundsInputsByHalfAStepAtMost) {
  uint64_t seed = 50;
  for (const auto& [out, in] :
       {std::pair<int64_t, int64_t>{576, 1536}, {960, 576}, {1000, 256}}) {
    for (const int64_t format : {kQuantQ4_1, kQuantQ8_0}) {
      const Weight weight = RandomWeight(format, out, in, ++seed);
      for (const int64_t rows : {1, 512}) {
        const at::Tensor x =
            RandomNormal({rows, in}, ++seed, at::kFloat).to(at::kDouble);
        const at::Tensor steps =
            at::amax(at::abs(x.view({rows, in / 32, 32})), 2, true) / 127;
        const at::Tensor half =
            (steps / 2).expand({rows, in / 32, 32}).reshape({rows, in});
        // 1e-6: float32 sums.
        const at::Tensor bound =
            at::matmul(half + 1e-6 * at::abs(x), at::abs(weight.dense).t());
        const at::Tensor error =
            QuantizedLinear(x.to(at::kFloat), weight.packed, format, out, in)
                .to(at::kDouble) -
            at::matmul(x, weight.dense.t());
        EXPECT_LE((at::abs(error) / bound).max().item<double>(), 1)
            << "format " << format << ", " << out << "x" << in << ", " << rows
            << " rows";
      }
    }
  }
}

TEST(QuantizedLinear, EveryKindOfCpuAgrees) {
  uint64_t seed = 100;
  constexpr int64_t kIn = 768, kOut = 53, kTiles = 4;
  const std::vector<const QuantizedKernels*> all = SupportedQuantizedKernels();
  ASSERT_EQ(all.back(), &kPortableQuantizedKernels);
  for (const int64_t format : kFormats) {
    const QuantLayout& layout = *FindQuantLayout(format);
    const int64_t blocks = kIn / layout.block;
    const Weight weight = RandomWeight(format, kOut, kIn, ++seed);
    for (const int64_t rows : {1, 3, 4, 13, 24}) {
      const at::Tensor x = RandomNormal({rows, kIn}, ++seed, at::kFloat);
      std::vector<at::Tensor> results;
      for (const QuantizedKernels* kernels : all) {
        std::vector<uint8_t> rounded(rows * QuantizedRowBytes(layout, blocks));
        RoundQuantizedGroups(
            *kernels, layout, x.const_data_ptr<float>(), rows, blocks, 0,
            (rows + kernels->group_rows - 1) / kernels->group_rows,
            rounded.data());
        const at::Tensor y = at::full(
            {rows, kOut}, std::numeric_limits<float>::quiet_NaN(), at::kFloat);
        for (const auto& [begin, end] : {std::pair<int, int>{0, 1}, {1, 4}}) {
          MultiplyQuantizedTiles(*kernels, layout, rounded.data(), rows,
                                 weight.packed.const_data_ptr<uint8_t>(),
                                 blocks, begin, end, kOut,
                                 y.mutable_data_ptr<float>());
        }
        results.push_back(y);
      }
      static_assert(kTiles * kQuantTileRows >= kOut);
      // The portable sum rounds after each product, the others after adding.
      for (size_t i = 0; i < results.size(); ++i) {
        EXPECT_THAT(results[i], RelativeErrorBelow(results.back(), 2e-6))
            << all[i]->name << ", format " << format << ", " << rows << " rows";
      }
    }
  }
}

TEST(QuantizedLinear, ARowDependsOnNothingElse) {
  for (const int64_t format : kFormats) {
    const Weight weight = RandomWeight(format, 200, 512, 7);
    const at::Tensor x = RandomNormal({31, 512}, 8, at::kFloat);
    const at::Tensor y = QuantizedLinear(x, weight.packed, format, 200, 512);
    for (const int64_t row : {0, 11, 12, 30}) {
      EXPECT_THAT(QuantizedLinear(x[row], weight.packed, format, 200, 512),
                  IsIdenticalTo(y[row]))
          << format;
    }
    const int threads = at::get_num_threads();
    at::set_num_threads(threads == 1 ? 2 : 1);
    EXPECT_THAT(QuantizedLinear(x, weight.packed, format, 200, 512),
                IsIdenticalTo(y));
    at::set_num_threads(threads);
  }
}

TEST(QuantizedLinear, ShapesStridesDtypesAndBias) {
  const Weight weight = RandomWeight(kQuantQ4_1, 50, 64, 9);
  const at::Tensor x = RandomNormal({64, 2, 3}, 10, at::kFloat);
  const at::Tensor strided = x.permute({1, 2, 0});
  const at::Tensor bias = RandomNormal({50}, 11, at::kFloat);
  const at::Tensor y =
      QuantizedLinear(strided, weight.packed, kQuantQ4_1, 50, 64);
  EXPECT_EQ(y.sizes(), at::IntArrayRef({2, 3, 50}));
  EXPECT_THAT(
      QuantizedLinear(strided.contiguous(), weight.packed, kQuantQ4_1, 50, 64),
      IsIdenticalTo(y));
  EXPECT_THAT(QuantizedLinear(strided, weight.packed, kQuantQ4_1, 50, 64, bias),
              IsIdenticalTo(y + bias));
  const at::Tensor half = QuantizedLinear(strided.to(at::kBFloat16),
                                          weight.packed, kQuantQ4_1, 50, 64);
  EXPECT_EQ(half.scalar_type(), at::kBFloat16);
  EXPECT_THAT(half, RelativeErrorBelow(y, 0.02));
}

TEST(QuantizedLinear, Empty) {
  const Weight weight = RandomWeight(kQuantQ4_0, 5, 32, 12);
  EXPECT_EQ(
      QuantizedLinear(at::empty({0, 32}), weight.packed, kQuantQ4_0, 5, 32)
          .sizes(),
      at::IntArrayRef({0, 5}));
  const at::Tensor none =
      PackQuantized(at::empty({0}, at::kByte), kQuantQ4_0, 0, 32);
  EXPECT_EQ(
      QuantizedLinear(at::zeros({2, 32}), none, kQuantQ4_0, 0, 32).sizes(),
      at::IntArrayRef({2, 0}));
  const at::Tensor sumless =
      PackQuantized(at::empty({0}, at::kByte), kQuantQ4_0, 20, 0);
  for (const int64_t rows : {1, 3}) {
    EXPECT_THAT(
        QuantizedLinear(at::zeros({rows, 0}), sumless, kQuantQ4_0, 20, 0),
        IsIdenticalTo(at::zeros({rows, 20})));
  }
}

TEST(QuantizedLinear, ZeroTinyAndNotFiniteInputs) {
  const float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<const QuantizedKernels*> all = SupportedQuantizedKernels();
  for (const int64_t format : {kQuantQ4_1, kQuantQ8_0, kQuantQ6_K}) {
    const Weight weight = RandomWeight(format, 20, 256, 13);
    const at::Tensor x = RandomNormal({6, 256}, 14, at::kFloat);
    x[0].zero_();
    x[1].fill_(1e-42f);
    x[2][40] = std::nanf("");
    x[3][255] = kInfinity;
    x[4][0] = -kInfinity;
    const at::Tensor y = QuantizedLinear(x, weight.packed, format, 20, 256);
    EXPECT_THAT(y[0], IsIdenticalTo(at::zeros({20})));
    EXPECT_THAT(y[1], IsCloseTo(at::zeros({20}), 0, 1e-30));
    for (const int row : {2, 3, 4}) {
      EXPECT_TRUE(at::isnan(y[row]).all().item<bool>()) << row;
    }
    EXPECT_FALSE(at::isnan(y[5]).any().item<bool>());
    // The same marks by every kind of CPU.
    const QuantLayout& layout = *FindQuantLayout(format);
    const int64_t blocks = 256 / layout.block;
    for (const QuantizedKernels* kernels : all) {
      for (const int row : {2, 3, 4}) {
        std::vector<uint8_t> rounded(QuantizedRowBytes(layout, blocks));
        RoundQuantizedGroups(*kernels, layout, x[row].const_data_ptr<float>(),
                             1, blocks, 0, 1, rounded.data());
        const at::Tensor one = at::zeros({20});
        MultiplyQuantizedTiles(*kernels, layout, rounded.data(), 1,
                               weight.packed.const_data_ptr<uint8_t>(), blocks,
                               0, 2, 20, one.mutable_data_ptr<float>());
        EXPECT_TRUE(at::isnan(one).all().item<bool>()) << kernels->name;
      }
    }
  }
}

TEST(QuantizedLinear, Rows) {
  for (const int64_t format : kFormats) {
    const Weight weight = RandomWeight(format, 50, 256, 15);
    const at::Tensor ids = at::tensor({49, 0, 17, 17}, at::kLong);
    const at::Tensor rows =
        QuantizedRows(weight.packed, format, 50, 256, ids.view({2, 2}));
    EXPECT_EQ(rows.sizes(), at::IntArrayRef({2, 2, 256}));
    EXPECT_THAT(
        rows.view({4, 256}),
        IsIdenticalTo(weight.dense.to(at::kFloat).index_select(0, ids)));
  }
}

TEST(QuantizedLinear, Gradients) {
  const Weight weight = RandomWeight(kQuantQ4_1, 20, 64, 16);
  const at::Tensor x = RandomNormal({3, 64}, 17, at::kFloat).requires_grad_();
  const at::Tensor bias = RandomNormal({20}, 18, at::kFloat).requires_grad_();
  const at::Tensor dy = RandomNormal({3, 20}, 19, at::kFloat);
  const at::Tensor y =
      QuantizedLinear(x, weight.packed, kQuantQ4_1, 20, 64, bias);
  (y * dy).sum().backward();
  EXPECT_THAT(
      x.grad(),
      RelativeErrorBelow(at::matmul(dy.to(at::kDouble), weight.dense), 1e-6));
  EXPECT_THAT(bias.grad(), RelativeErrorBelow(dy.to(at::kDouble).sum(0), 1e-6));
  const at::NoGradGuard guard;
  EXPECT_FALSE(
      QuantizedLinear(x, weight.packed, kQuantQ4_1, 20, 64).requires_grad());
}

TEST(QuantizedLinear, Errors) {
  const Weight weight = RandomWeight(kQuantQ4_1, 20, 64, 20);
  const at::Tensor x = at::zeros({3, 64});
  const at::Tensor& packed = weight.packed;
  // Formats.
  EXPECT_FALSE(IsQuantFormat(0));
  EXPECT_FALSE(IsQuantFormat(-1));
  EXPECT_FALSE(IsQuantFormat(int64_t{1} << 40));
  for (const int64_t format : kFormats) EXPECT_TRUE(IsQuantFormat(format));
  EXPECT_THROW(QuantBlockSize(1), c10::Error);
  EXPECT_THROW(QuantizedLinear(x, packed, 9, 20, 64), c10::Error);
  EXPECT_THROW(QuantizedLinear(x, packed, kQuantQ8_0, 20, 64), c10::Error);
  // Sizes.
  EXPECT_THROW(QuantizedLinear(at::zeros({3, 32}), packed, kQuantQ4_1, 20, 64),
               c10::Error);
  EXPECT_THROW(QuantizedLinear(x, packed, kQuantQ4_1, 33, 64), c10::Error);
  EXPECT_THROW(QuantizedLinear(x, packed, kQuantQ4_1, -20, 64), c10::Error);
  EXPECT_THROW(QuantizedLinear(x, packed, kQuantQ4_1, 20, 65), c10::Error);
  EXPECT_THROW(QuantizedLinear(x, packed.flatten(), kQuantQ4_1, 20, 64),
               c10::Error);
  EXPECT_THROW(
      QuantizedLinear(x, packed.transpose(1, 2).contiguous().transpose(1, 2),
                      kQuantQ4_1, 20, 64),
      c10::Error);
  EXPECT_THROW(QuantizedLinear(x, packed, kQuantQ4_1, 20, 64, at::zeros({21})),
               c10::Error);
  EXPECT_THROW(QuantizedLinear(x.to(at::kLong), packed, kQuantQ4_1, 20, 64),
               c10::Error);
  // Blocks: a byte short, another type, inputs that are no whole block.
  EXPECT_THROW(PackQuantized(at::zeros({799}, at::kByte), kQuantQ4_1, 20, 64),
               c10::Error);
  EXPECT_THROW(PackQuantized(at::zeros({800}, at::kChar), kQuantQ4_1, 20, 64),
               c10::Error);
  EXPECT_THROW(PackQuantized(at::zeros({800}, at::kByte), kQuantQ4_1, 20, 48),
               c10::Error);
  EXPECT_THROW(PackQuantized(at::zeros({144}, at::kByte), kQuantQ4_K, 1, 128),
               c10::Error);
  // Rows.
  EXPECT_THROW(
      QuantizedRows(packed, kQuantQ4_1, 20, 64, at::tensor({20}, at::kLong)),
      c10::Error);
  EXPECT_THROW(
      QuantizedRows(packed, kQuantQ4_1, 20, 64, at::tensor({-1}, at::kLong)),
      c10::Error);
  EXPECT_THROW(
      QuantizedRows(packed, kQuantQ4_1, 20, 64, at::tensor({1}, at::kInt)),
      c10::Error);
}

}  // namespace
}  // namespace repro
