#include "kernels/graph/graph.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>

#include <stdexcept>

#include "gtest/gtest.h"

namespace repro {
namespace {

TEST(CapturedGraph, OnTheCpuReplayIsTheStep) {
  const at::Tensor x = at::zeros({3});
  CapturedGraph graph(c10::Device(c10::kCPU), [&] {
    EXPECT_FALSE(at::GradMode::is_enabled());
    x.add_(1);
  });
  EXPECT_EQ(x.sum().item<float>(), 0);
  for (int i = 0; i < 4; ++i) graph.Replay();
  EXPECT_EQ(x.sum().item<float>(), 12);
}

TEST(CapturedGraph, ExceptionsPassThrough) {
  CapturedGraph graph(c10::Device(c10::kCPU),
                      [] { throw std::runtime_error("step"); });
  EXPECT_THROW(graph.Replay(), std::runtime_error);
}

TEST(CapturedGraph, Errors) {
  EXPECT_THROW(CapturedGraph(
                   c10::Device(c10::kCPU), [] {}, /*warmup=*/0),
               c10::Error);
  // Without the CUDA library, whatever the machine has.
  try {
    CapturedGraph(c10::Device(c10::kCUDA, 0), [] {});
    FAIL();
  } catch (const c10::Error& error) {
    EXPECT_NE(std::string(error.what()).find("librepro_kernels_cuda.so"),
              std::string::npos);
  }
}

}  // namespace
}  // namespace repro
