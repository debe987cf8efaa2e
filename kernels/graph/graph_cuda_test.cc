#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/graph/graph.h"
#include "kernels/testing/testing.h"

namespace repro {
namespace {

const c10::Device kCuda(c10::kCUDA, 0);

TEST(CapturedGraphCuda, ReplayIsTheStep) {
  REPRO_SKIP_WITHOUT_CUDA();
  const at::NoGradGuard no_grad;
  const auto options = at::TensorOptions(kCuda).dtype(at::kFloat);
  const at::Tensor start = RandomNormal({4, 64}, 1, options);
  const at::Tensor weight = RandomNormal({64, 64}, 2, options) / 8;
  at::Tensor x = start.clone(), out;
  const auto step = [&] {
    out = at::matmul(x, weight);
    x.copy_(out.tanh());
  };
  for (int i = 0; i < 5; ++i) step();
  const at::Tensor expected = x.clone(), expected_out = out.clone();

  CapturedGraph graph(kCuda, step);
  x.copy_(start);
  for (int i = 0; i < 5; ++i) graph.Replay();
  EXPECT_THAT(x, IsCloseTo(expected, 1e-5, 1e-6));
  EXPECT_THAT(out, IsCloseTo(expected_out, 1e-5, 1e-6));
}

TEST(CapturedGraphCuda, RecordingDoesNoWork) {
  REPRO_SKIP_WITHOUT_CUDA();
  const at::Tensor count = at::zeros({1}, at::TensorOptions(kCuda));
  CapturedGraph graph(
      kCuda, [&] { count.add_(1); }, /*warmup=*/2);
  EXPECT_EQ(count.item<float>(), 2);
  graph.Replay();
  EXPECT_EQ(count.item<float>(), 3);
}

TEST(CapturedGraphCuda, GradientsOfTheReplay) {
  REPRO_SKIP_WITHOUT_CUDA();
  const auto options = at::TensorOptions(kCuda).dtype(at::kFloat);
  const at::Tensor x = RandomNormal({4, 64}, 1, options);
  at::Tensor weight = RandomNormal({64, 8}, 2, options);
  weight.requires_grad_();
  CapturedGraph graph(kCuda, [&] {
    const at::AutoGradMode with_gradients(true);
    weight.mutable_grad().reset();
    at::matmul(x, weight).square().sum().backward();
  });
  const at::NoGradGuard no_grad;
  for (int i = 0; i < 2; ++i) {
    weight.mul_(0.5);
    graph.Replay();
    // d sum((x w)^2) / dw = 2 x^T x w
    EXPECT_THAT(weight.grad(),
                IsCloseTo(2 * at::matmul(at::matmul(x.t(), x), weight.detach()),
                          1e-4, 1e-4));
  }
}

TEST(CapturedGraphCuda, AStepThatWaitsForTheDeviceIsAnError) {
  REPRO_SKIP_WITHOUT_CUDA();
  const at::Tensor x = at::zeros({1}, at::TensorOptions(kCuda));
  EXPECT_ANY_THROW(CapturedGraph(kCuda, [&] { x.item<float>(); }));
  // The device is usable after it.
  CapturedGraph graph(
      kCuda, [&] { x.add_(1); }, /*warmup=*/1);
  graph.Replay();
  EXPECT_EQ(x.item<float>(), 2);
}

}  // namespace
}  // namespace repro
