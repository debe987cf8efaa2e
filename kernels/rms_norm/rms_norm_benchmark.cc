#include <ATen/TensorOperators.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/rms_norm.h>
#include <ATen/ops/rsqrt.h>
#include <torch/csrc/autograd/autograd.h>

#include <string>

#include "kernels/rms_norm/rms_norm.h"
#include "kernels/testing/benchmark.h"

namespace repro {
namespace {

constexpr double kEps = 1e-6;
constexpr int64_t kBatch = 12;
constexpr int64_t kDim = 2048;

at::Tensor Eager(const at::Tensor& x) {
  return x * at::rsqrt((x * x).mean(-1, /*keepdim=*/true) + kEps);
}

at::Tensor LibTorch(const at::Tensor& x) {
  return at::rms_norm(x, {kDim}, std::nullopt, kEps);
}

at::Tensor Ours(const at::Tensor& x) { return RmsNorm(x, std::nullopt, kEps); }

// The shapes of TransNormerLLM's SRMSNorm table.
void Register() {
  const std::pair<const char*, at::Tensor (*)(const at::Tensor&)>
      implementations[] = {{"repro", Ours},
                           {"LibTorch rms_norm", LibTorch},
                           {"LibTorch eager", Eager}};
  for (const int64_t n : {512, 2048, 8192, 32768}) {
    for (const auto& [name, norm] : implementations) {
      const auto function = norm;
      BenchmarkCase c;
      c.shape = "12x" + std::to_string(n) + "x2048 bf16";
      c.implementation = name;
      const auto make = [n](c10::Device device) {
        return at::randn({kBatch, n, kDim},
                         at::TensorOptions(device).dtype(at::kBFloat16));
      };
      const double bytes = 2.0 * kBatch * n * kDim;
      c.op = "rms_norm forward";
      c.bytes = 2 * bytes;
      c.setup = [=](c10::Device device) {
        const at::Tensor x = make(device);
        return [=] { function(x); };
      };
      AddBenchmarkCase(c);
      c.op = "rms_norm backward";
      c.bytes = 3 * bytes;
      c.setup = [=](c10::Device device) {
        const at::Tensor x = make(device).requires_grad_();
        const at::Tensor y = function(x), dy = make(device);
        return [=] {
          torch::autograd::grad({y}, {x}, {dy}, /*retain_graph=*/true);
        };
      };
      AddBenchmarkCase(c);
    }
  }
}

REPRO_REGISTER_BENCHMARKS(Register);

}  // namespace
}  // namespace repro
