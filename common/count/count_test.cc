#include <ATen/core/Tensor.h>
#include <ATen/ops/adaptive_avg_pool2d.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/conv_transpose2d.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/roll.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/upsample_bilinear2d.h>

#include <stdexcept>

#include "common/count/flops.h"
#include "common/count/memory.h"
#include "common/count/parameters.h"
#include "common/nn/attention.h"
#include "common/nn/initializer.h"
#include "common/nn/layers.h"
#include "common/nn/module.h"
#include "common/tensor/generator.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

constexpr auto kPlain = FlopConvention::kConvLinear;
constexpr auto kBiasNorm = FlopConvention::kConvLinearBiasNorm;
constexpr auto kMatmul = FlopConvention::kConvMatmul;

class Net : public Module {
 public:
  explicit Net(const Initializer& init)
      : first(AddModule<Linear>("first", 3, 4, init)),
        norm(AddModule<BatchNorm2d>("norm", 4, init)) {
    AddParameter("scale", init.Ones({2}));
  }
  Linear* first;
  BatchNorm2d* norm;
};

TEST(ParametersTest, TotalAndByPrefix) {
  const Net net(Initializer::Meta());
  EXPECT_EQ(CountParameters(net), 2 + 3 * 4 + 4 + 4 + 4);
  EXPECT_THAT(
      ParametersByPrefix(net),
      ElementsAre(Pair("first", 16), Pair("norm", 8), Pair("scale", 2)));
  EXPECT_THAT(ParametersByPrefix(net, 2),
              ElementsAre(Pair("first.bias", 4), Pair("first.weight", 12),
                          Pair("norm.bias", 4), Pair("norm.weight", 4),
                          Pair("scale", 2)));
}

// On the meta device and on the CPU, training or not, the count is the same.
class FlopsTest : public testing::TestWithParam<bool> {
 protected:
  Initializer init() const {
    return GetParam() ? Initializer::Meta() : Initializer(MakeGenerator(1));
  }
  at::Tensor Input(at::IntArrayRef shape) const { return init().Ones(shape); }
};

TEST_P(FlopsTest, ConvolutionGroupedDilatedStridedWithBias) {
  Conv2dOptions options;
  options.stride = 2, options.padding = 4, options.dilation = 3;
  options.groups = 4;
  const Conv2d conv(init().Ones({12, 2, 5, 3}), init().Zeros({12}), options);
  const at::Tensor x = Input({2, 8, 20, 17});
  // out_h = (20 + 8 - 3 * 4 - 1) / 2 + 1 = 8, out_w = (17 + 8 - 3 * 2 - 1) / 2
  // + 1 = 10; each of 2 * 12 * 8 * 10 outputs reads 2 channels of 5 x 3.
  const int64_t outputs = 2 * 12 * 8 * 10;
  ASSERT_EQ(conv.Forward(x).sizes(), at::IntArrayRef({2, 12, 8, 10}));
  const auto forward = [&] { conv.Forward(x); };
  EXPECT_EQ(CountFlops(kPlain, forward).total, outputs * 30);
  EXPECT_EQ(CountFlops(kMatmul, forward).total, outputs * 30);
  const FlopCount with_bias = CountFlops(kBiasNorm, forward);
  EXPECT_EQ(with_bias.total, outputs * 31);
  EXPECT_THAT(with_bias.by_operator,
              ElementsAre(Pair("convolution", outputs * 31)));
}

TEST_P(FlopsTest, ConvolutionWithoutBias) {
  const Conv2d conv(init().Ones({5, 3, 1, 1}), at::Tensor());
  const at::Tensor x = Input({1, 3, 7, 7});
  EXPECT_EQ(CountFlops(kBiasNorm, [&] { conv.Forward(x); }).total,
            5 * 3 * 7 * 7);
}

TEST_P(FlopsTest, TransposedConvolution) {
  // Each of 3 * 4 * 5 inputs is multiplied by 2 channels of 2 x 2.
  const at::Tensor weight = init().Ones({3, 2, 2, 2});
  const at::Tensor x = Input({1, 3, 4, 5});
  const FlopCount count = CountFlops(kBiasNorm, [&] {
    at::conv_transpose2d(x, weight, init().Zeros({2}), /*stride=*/2);
  });
  EXPECT_EQ(count.total, 3 * 4 * 5 * 2 * 4 + 2 * 8 * 10);
}

TEST_P(FlopsTest, LinearOfAnyRank) {
  const Linear linear(6, 10, init());
  for (const at::Tensor& x :
       {Input({6}), Input({3, 6}), Input({2, 5, 6}), Input({0, 6})}) {
    const int64_t rows = x.numel() / 6;
    const auto forward = [&] { linear.Forward(x); };
    EXPECT_EQ(CountFlops(kPlain, forward).total, rows * 60);
    EXPECT_EQ(CountFlops(kBiasNorm, forward).total, rows * 70);
    EXPECT_EQ(CountFlops(kMatmul, forward).total, rows * 60);
  }
  const Linear no_bias(init().Ones({10, 6}), at::Tensor());
  const at::Tensor x = Input({2, 5, 6});
  EXPECT_EQ(CountFlops(kBiasNorm, [&] { no_bias.Forward(x); }).total, 600);
  EXPECT_EQ(
      CountFlops(kBiasNorm,
                 [&] {
                   at::addmm(init().Zeros({4}), Input({2, 3}), Input({3, 4}));
                 })
          .total,
      2 * 3 * 4 + 2 * 4);
}

TEST_P(FlopsTest, Norms) {
  LayerNorm layer(6, init());
  BatchNorm2d batch(3, init());
  const at::Tensor x = Input({2, 3, 4, 6});
  const auto forward = [&] {
    layer.Forward(x);
    batch.Forward(x);
  };
  EXPECT_EQ(CountFlops(kPlain, forward).total, 0);
  for (const bool training : {true, false}) {
    batch.Train(training);
    EXPECT_THAT(CountFlops(kBiasNorm, forward).by_operator,
                ElementsAre(Pair("batch_norm", 288), Pair("layer_norm", 288)));
  }
}

// The constants are those of fvcore 0.1.5, nn/jit_handles.py.
TEST_P(FlopsTest, Fvcore) {
  constexpr auto kFvcore = FlopConvention::kFvcore;
  LayerNorm layer(6, init());
  BatchNorm2d batch(3, init());
  const Linear linear(6, 10, init());
  const at::Tensor x = Input({2, 3, 4, 6});
  const auto forward = [&] {
    layer.Forward(x);
    batch.Forward(x);
    linear.Forward(x);
    at::adaptive_avg_pool2d(x, {3, 2});
    at::upsample_bilinear2d(x, {7, 9}, /*align_corners=*/false);
    // The overload with factors: [8, 9].
    at::upsample_bilinear2d(x, std::nullopt, false,
                            at::ArrayRef<double>({2.0, 1.5}));
  };
  const int64_t resized = 4 * 6 * (7 * 9 + 8 * 9);
  for (const bool training : {true, false}) {
    batch.Train(training);
    EXPECT_THAT(
        CountFlops(kFvcore, forward).by_operator,
        ElementsAre(Pair("batch_norm", 144 * (training ? 5 : 2)),
                    Pair("layer_norm", 144 * 5), Pair("linear", 24 * 60),
                    Pair("pooling", 144), Pair("resize", resized)));
  }
  EXPECT_EQ(CountFlops(kMatmul, forward).total, 24 * 60);
}

TEST_P(FlopsTest, PoolingAndRollKeepTheirShapes) {
  const at::Tensor x = Input({2, 3, 4, 6});
  EXPECT_EQ(at::adaptive_avg_pool2d(x, {3, 2}).sizes(),
            at::IntArrayRef({2, 3, 3, 2}));
  EXPECT_EQ(at::roll(x, {1, -1}, {2, 3}).sizes(), x.sizes());
}

TEST_P(FlopsTest, MatrixProducts) {
  const at::Tensor q = Input({2, 3, 5, 4}), k = Input({2, 3, 7, 4}),
                   v = Input({2, 3, 7, 6});
  const auto attention = [&] { SoftmaxAttention(q, k, v); };
  const int64_t expected = 2 * 3 * (5 * 7 * 4 + 5 * 7 * 6);
  EXPECT_EQ(CountFlops(kMatmul, attention).total, expected);
  EXPECT_EQ(CountFlops(kPlain, attention).total, 0);
  if (!q.is_meta()) {
    const auto fused = [&] { at::scaled_dot_product_attention(q, k, v); };
    EXPECT_EQ(CountFlops(kMatmul, fused).total, expected);
    const auto dot = [&] { Input({3}).matmul(Input({3})); };
    EXPECT_EQ(CountFlops(kMatmul, dot).total, 3);
  }
  // A map without the batch axis serves two batches.
  EXPECT_EQ(CountFlops(kMatmul,
                       [&] {
                         Input({3, 5, 7}).matmul(v);
                       })
                .total,
            2 * 3 * 5 * 7 * 6);
  EXPECT_EQ(CountFlops(kMatmul,
                       [&] {
                         at::mm(Input({2, 3}), Input({3, 4}));
                       })
                .total,
            24);
  const StackedLinear stacked(4, 6, {init(), init()});
  EXPECT_EQ(CountFlops(kMatmul,
                       [&] {
                         stacked.Forward(Input({2, 5, 4}));
                       })
                .total,
            2 * 5 * 4 * 6);
}

INSTANTIATE_TEST_SUITE_P(Meta, FlopsTest, testing::Bool());

TEST(CountFlopsTest, EndsWithTheFunctionEvenByException) {
  const auto multiply = [] { at::mm(at::ones({2, 3}), at::ones({3, 4})); };
  EXPECT_THROW(CountFlops(kMatmul,
                          [&] {
                            multiply();
                            throw std::runtime_error("stop");
                          }),
               std::runtime_error);
  multiply();
  EXPECT_EQ(CountFlops(kMatmul, multiply).total, 24);
  EXPECT_THROW(CountFlops(kMatmul, [&] { CountFlops(kMatmul, multiply); }),
               c10::Error);
  EXPECT_EQ(CountFlops(kMatmul, [] {}).total, 0);
}

TEST(FlopsTest, CountsProductsThatAddInPlace) {
  at::Tensor sum = at::ones({2, 3, 5});
  const at::Tensor a = at::ones({2, 3, 4}), b = at::ones({2, 4, 5});
  EXPECT_EQ(CountFlops(FlopConvention::kConvMatmul, [&] { sum.baddbmm_(a, b); })
                .total,
            2 * 3 * 4 * 5);
  EXPECT_EQ(CountFlops(FlopConvention::kConvMatmul,
                       [&] { sum[0].addmm_(a[0], b[0]); })
                .total,
            3 * 4 * 5);
}

TEST(PeakBytesTest, OfWhatIsHeldAtOnce) {
  const c10::Device cpu(c10::kCPU);
  EXPECT_EQ(PeakBytes(cpu, [] {}), 0);
  // 4000 and 8000 bytes together, then 4000 + 2000.
  EXPECT_EQ(PeakBytes(cpu,
                      [] {
                        const at::Tensor a = at::empty({1000});
                        { const at::Tensor b = at::empty({2000}); }
                        const at::Tensor c = at::empty({500});
                      }),
            12000);
  // One after another: the larger.
  EXPECT_EQ(PeakBytes(cpu,
                      [] {
                        at::empty({1000});
                        at::empty({3000});
                      }),
            12000);
  // Releasing what was held before makes room that later tensors refill.
  at::Tensor before = at::ones({1000});
  EXPECT_EQ(PeakBytes(cpu, [&] { const at::Tensor a = at::empty({500}); }),
            2000);
}

TEST(AllocatedBytesTest, IsAnErrorOnTheCpu) {
  EXPECT_THROW(AllocatedBytes(c10::Device(c10::kCPU)), c10::Error);
}

TEST(PeakBytesTest, CountsTheBackwardPass) {
  const at::Tensor x = at::ones({1000}).requires_grad_();
  const int64_t forward =
      PeakBytes(c10::Device(c10::kCPU), [&] { at::relu(x.mul(x)).sum(); });
  const int64_t both = PeakBytes(c10::Device(c10::kCPU),
                                 [&] { at::relu(x.mul(x)).sum().backward(); });
  EXPECT_GE(forward, 2 * 4000);
  EXPECT_GT(both, forward);
}

}  // namespace
}  // namespace repro
