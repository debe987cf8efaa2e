#include "papers/lightning_attention_2/lightning_attention_2.h"

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "absl/status/status.h"
#include "common/count/flops.h"
#include "common/count/parameters.h"
#include "common/nn/initializer.h"
#include "common/tensor/testing.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/lightning_attention/lightning_attention.h"
#include "papers/lightning_attention_2/kernel_speed.h"
#include "papers/lightning_attention_2/training_speed.h"

namespace repro::lightning_attention_2 {
namespace {

using ::testing::Each;
using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::SizeIs;

const c10::Device kCpu(c10::kCPU);
constexpr Convention kConventions[] = {Convention::kAsPublished,
                                       Convention::kAsCoded};

// sum_{j<=t} e^{-s (t - j)} (q_t . k_j) v_j, all pairs.
at::Tensor Quadratic(const at::Tensor& q, const at::Tensor& k,
                     const at::Tensor& v, const at::Tensor& slopes) {
  const at::Tensor t = at::arange(q.size(2), q.options());
  const at::Tensor decay =
      at::exp(-slopes.view({-1, 1, 1}) * (t.unsqueeze(1) - t).clamp_min(0));
  return at::matmul(at::matmul(q, k.transpose(-1, -2)) * decay.tril(), v);
}

struct Sample {
  explicit Sample(int64_t n, int64_t d = 5, int64_t e = 3)
      : q(RandomNormal({2, 3, n, d}, 1)),
        k(RandomNormal({2, 3, n, d}, 2)),
        v(RandomNormal({2, 3, n, e}, 3)),
        dout(RandomNormal({2, 3, n, e}, 4)) {}
  at::Tensor q, k, v, dout;
  at::Tensor slopes = at::tensor({0.0, 0.05, 2.0}, at::kDouble);
};

TEST(Tiling, WorkedExample) {
  const at::Tensor one = at::ones({1, 1, 4, 1}, at::kDouble);
  const at::Tensor slopes = at::full({1}, std::log(2.0), at::kDouble);
  const at::Tensor o = at::tensor({1.0, 1.5, 1.75, 1.875}, at::kDouble);
  for (const int64_t block : {1, 2, 3, 4, 9}) {
    for (const Convention convention : kConventions) {
      EXPECT_THAT(
          std::get<0>(TiledForward(one, one, one, slopes, block, convention))
              .flatten(),
          IsCloseTo(o, 1e-15, 0));
    }
    const auto [dq, dk, dv] = TiledBackward(one, one, one, one, slopes, block);
    EXPECT_THAT(dq.flatten(), IsCloseTo(o, 1e-15, 0));
    EXPECT_THAT(dk.flatten(), IsCloseTo(o.flip(0), 1e-15, 0));
    EXPECT_THAT(dv.flatten(), IsCloseTo(o.flip(0), 1e-15, 0));
  }
}

TEST(Tiling, IsTheQuadraticForm) {
  for (const int64_t n : {1, 7, 16, 33}) {
    const Sample x(n);
    const at::Tensor expected = Quadratic(x.q, x.k, x.v, x.slopes);
    for (const int64_t block : {1, 4, 16, 64}) {
      for (const Convention convention : kConventions) {
        EXPECT_THAT(std::get<0>(TiledForward(x.q, x.k, x.v, x.slopes, block,
                                             convention)),
                    RelativeErrorBelow(expected, 1e-13))
            << n << " " << block;
      }
    }
  }
  const Sample none(0);
  EXPECT_EQ(std::get<0>(TiledForward(none.q, none.k, none.v, none.slopes, 4,
                                     Convention::kAsCoded))
                .sizes(),
            at::IntArrayRef({2, 3, 0, 3}));
}

// The operator that the models use does what the paper's algorithms say.
TEST(Tiling, IsTheOperator) {
  Sample x(100);
  for (at::Tensor* t : {&x.q, &x.k, &x.v}) t->requires_grad_();
  const auto [out, state] = LightningAttention(x.q, x.k, x.v, x.slopes);
  const auto gradients =
      torch::autograd::grad({out}, {x.q, x.k, x.v}, {x.dout});
  const at::NoGradGuard no_grad;
  const auto [published, kv] =
      TiledForward(x.q, x.k, x.v, x.slopes, 16, Convention::kAsPublished);
  EXPECT_THAT(published, RelativeErrorBelow(out, 1e-12));
  EXPECT_THAT(kv, RelativeErrorBelow(state, 1e-12));
  // The code's state is that of the next token.
  const auto [coded, next_kv] =
      TiledForward(x.q, x.k, x.v, x.slopes, 16, Convention::kAsCoded);
  EXPECT_THAT(next_kv, RelativeErrorBelow(
                           at::exp(-x.slopes).view({3, 1, 1}) * state, 1e-12));
  const auto [dq, dk, dv] = TiledBackward(x.dout, x.q, x.k, x.v, x.slopes, 16);
  EXPECT_THAT(dq, RelativeErrorBelow(gradients[0], 1e-12));
  EXPECT_THAT(dk, RelativeErrorBelow(gradients[1], 1e-12));
  EXPECT_THAT(dv, RelativeErrorBelow(gradients[2], 1e-12));
  // Homogeneity: <dq, q> = <dk, k> = <dv, v> = <dout, out>.
  const double product = (x.dout * out).sum().item<double>();
  EXPECT_NEAR((dq * x.q).sum().item<double>(), product, 1e-9);
  EXPECT_NEAR((dk * x.k).sum().item<double>(), product, 1e-9);
  EXPECT_NEAR((dv * x.v).sum().item<double>(), product, 1e-9);
}

TEST(Tiling, Limits) {
  const Sample x(20);
  // Without decay: prefix sums of k^T v.
  const at::Tensor none = at::zeros({3}, at::kDouble);
  const at::Tensor sums = (x.k.unsqueeze(-1) * x.v.unsqueeze(-2)).cumsum(2);
  EXPECT_THAT(std::get<0>(TiledForward(x.q, x.k, x.v, none, 8,
                                       Convention::kAsPublished)),
              RelativeErrorBelow(
                  at::matmul(x.q.unsqueeze(-2), sums).squeeze(-2), 1e-13));
  // Decay so strong that nothing is left of the past: (q_t . k_t) v_t, and no
  // overflow on the way.
  const at::Tensor strong = at::full({3}, 1e4, at::kDouble);
  EXPECT_THAT(
      std::get<0>(TiledForward(x.q, x.k, x.v, strong, 8, Convention::kAsCoded)),
      RelativeErrorBelow((x.q * x.k).sum(-1, /*keepdim=*/true) * x.v, 1e-13));
}

TEST(Tiling, WideKeysInPieces) {
  const Sample x(20, /*d=*/6);
  const auto out = [&](int64_t begin, int64_t size) {
    return std::get<0>(TiledForward(x.q.narrow(-1, begin, size),
                                    x.k.narrow(-1, begin, size), x.v, x.slopes,
                                    8, Convention::kAsCoded));
  };
  EXPECT_THAT(out(0, 2) + out(2, 4), RelativeErrorBelow(out(0, 6), 1e-13));
}

TEST(Tiling, Errors) {
  const Sample x(4);
  const auto forward = [&](const at::Tensor& k, int64_t block) {
    TiledForward(x.q, k, x.v, x.slopes, block, Convention::kAsCoded);
  };
  EXPECT_THROW(forward(x.k, 0), c10::Error);
  EXPECT_THROW(forward(x.k.narrow(2, 0, 3), 2), c10::Error);
  EXPECT_THROW(TiledBackward(x.q, x.q, x.k, x.v, x.slopes, 2), c10::Error);
}

TEST(Cost, OfTheOperatorOnTheCpu) {
  // Whole blocks of 64.
  const at::Tensor x = RandomNormal({1, 2, 256, 128}, 1, at::kFloat);
  const int64_t counted = CountFlops(FlopConvention::kConvMatmul, [&] {
                            LightningAttention(x, x, x, at::zeros({2}));
                          }).total;
  EXPECT_EQ(counted, 2 * 256 * MultiplyAdds(64, 128, 128));
}

TEST(Slopes, OfTheRepository) {
  EXPECT_THAT(RepositorySlopes(8),
              IsCloseTo(at::tensor({.5, .25, .125, .0625, .03125, .015625,
                                    .0078125, .00390625},
                                   at::kDouble),
                        1e-15, 0));
  EXPECT_THAT(RepositorySlopes(12).narrow(0, 8, 4),
              IsCloseTo(at::tensor({std::sqrt(.5), std::sqrt(.125),
                                    std::sqrt(.03125), std::sqrt(.0078125)},
                                   at::kDouble),
                        1e-14, 0));
  EXPECT_EQ(RepositorySlopes(1).item<double>(), std::exp2(-8));
  EXPECT_THROW(RepositorySlopes(0), c10::Error);
}

TEST(Memory, OfASmallShape) {
  BenchmarkShape shape;
  shape.seq_len = 512;
  const double t = 16;  // MiB of 4 * 32 * 512 * 128 bfloat16
  const double small = 512.0 / (1 << 20);
  EXPECT_DOUBLE_EQ(
      BenchmarkMebibytes(Attention::kLightning, Phase::kForward, shape),
      4 * t + small);
  EXPECT_DOUBLE_EQ(
      BenchmarkMebibytes(Attention::kFlash, Phase::kForward, shape),
      4 * t + 0.25 + 2 * small);
  EXPECT_DOUBLE_EQ(
      BenchmarkMebibytes(Attention::kLightning, Phase::kBackward, shape, 1),
      8 * t + small);
  EXPECT_DOUBLE_EQ(
      BenchmarkMebibytes(Attention::kFlash, Phase::kBackward, shape, 2),
      10 * t + 0.5 + 1.5 * t + 2 * small);
  EXPECT_THROW(BenchmarkMebibytes(Attention::kCudnn, Phase::kForward, shape),
               c10::Error);
}

TEST(KernelSpeed, RunsOnTheCpu) {
  BenchmarkShape shape{1, 2, 80, 16};
  TimingOptions options;
  options.warmup = 0;
  options.repetitions = 2;
  for (const char* name : {"lightning", "flash"}) {
    const Attention attention = *ParseAttention(name);
    for (const char* phase_name : {"forward", "backward"}) {
      const Phase phase = *ParsePhase(phase_name);
      const Timing timing =
          MeasureKernel(attention, phase, shape, kCpu, 0, options);
      EXPECT_THAT(timing.milliseconds, SizeIs(2));
      EXPECT_THAT(timing.milliseconds, Each(Gt(0)));
      // At least inputs and results, in float32.
      const double t = 4.0 * 2 * 80 * 16 / (1 << 20);
      EXPECT_GE(MeasureMebibytes(attention, phase, shape, kCpu),
                (phase == Phase::kForward ? 4 : 8 + 0.95 * 3) * t);
    }
  }
  // LibTorch has no such kernel for the CPU; what it may use is restored.
  const bool flash = at::globalContext().userEnabledFlashSDP();
  EXPECT_ANY_THROW(MeasureKernel(Attention::kCudnn, Phase::kForward, shape,
                                 kCpu, 0, options));
  EXPECT_EQ(at::globalContext().userEnabledFlashSDP(), flash);
  EXPECT_TRUE(at::globalContext().userEnabledMathSDP());
}

TEST(KernelSpeed, Names) {
  EXPECT_THAT(ParseAttention("softmax").status().message(),
              HasSubstr("expected lightning"));
  EXPECT_FALSE(ParsePhase("").ok());
}

TEST(TrainingSpeed, PairsHaveEqualParameters) {
  const struct {
    const char* name;
    double parameters;
  } sizes[] = {{"0.4B", 0.4e9}, {"1B", 1e9}, {"3B", 3e9}};
  for (const auto& [name, parameters] : sizes) {
    const auto pair = ModelPair::Named(name);
    ASSERT_TRUE(pair.ok());
    const double transnormer =
        CountParameters(Transnormer(pair->transnormer, Initializer::Meta()));
    const double llama =
        CountParameters(Llama(pair->llama, Initializer::Meta()));
    EXPECT_NEAR(transnormer / llama, 1, 0.01) << name;
    EXPECT_NEAR(transnormer / parameters, 1, 0.05) << name;
  }
  EXPECT_THAT(ModelPair::Named("7B").status().message(), HasSubstr("7B"));
}

TEST(TrainingSpeed, BatchSizes) {
  EXPECT_EQ(BatchSize(94208, 1024), 92);
  EXPECT_EQ(BatchSize(94208, 32768), 3);
  EXPECT_EQ(BatchSize(94208, 94208), 1);
  EXPECT_EQ(BatchSize(10, 1000), 1);
}

TEST(TrainingSpeed, RunsOnTheCpu) {
  const auto pair = ModelPair::Named("tiny");
  ASSERT_TRUE(pair.ok());
  EXPECT_THAT(TrainingSpeed(pair->transnormer, kCpu).TokensPerSecond(2, 70, 2),
              testing::AllOf(SizeIs(2), Each(Gt(0))));
  EXPECT_THAT(TrainingSpeed(pair->llama, kCpu).TokensPerSecond(2, 70, 2),
              testing::AllOf(SizeIs(2), Each(Gt(0))));
}

}  // namespace
}  // namespace repro::lightning_attention_2
