#include <ATen/TensorOperators.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/silu.h>
#include <torch/csrc/autograd/autograd.h>

#include <string>
#include <utility>

#include "kernels/swiglu/swiglu.h"
#include "kernels/testing/benchmark.h"

namespace repro {
namespace {

at::Tensor Eager(const at::Tensor& gate_up) {
  const int64_t dim = gate_up.size(-1) / 2;
  return at::silu(gate_up.narrow(-1, 0, dim)) * gate_up.narrow(-1, dim, dim);
}

// The widths of Llama-2-7B and Llama-3-8B.
void Register() {
  const std::pair<const char*, at::Tensor (*)(const at::Tensor&)>
      implementations[] = {{"repro", SwiGlu},
                           {"LibTorch silu, product", Eager}};
  for (const int64_t rows : {1, 32768}) {
    for (const int64_t dim : {11008, 14336}) {
      for (const auto& [name, gate] : implementations) {
        const auto function = gate;
        BenchmarkCase c;
        c.shape = std::to_string(rows) + "x" + std::to_string(dim) + " bf16";
        c.implementation = name;
        const auto make = [rows](int64_t width, c10::Device device) {
          return at::randn({rows, width},
                           at::TensorOptions(device).dtype(at::kBFloat16));
        };
        const double bytes = 2.0 * rows * dim;
        c.op = "swiglu forward";
        c.bytes = 3 * bytes;
        c.setup = [=](c10::Device device) {
          const at::Tensor x = make(2 * dim, device);
          return [=] { function(x); };
        };
        AddBenchmarkCase(c);
        c.op = "swiglu backward";
        c.bytes = 5 * bytes;
        c.setup = [=](c10::Device device) {
          const at::Tensor x = make(2 * dim, device).requires_grad_();
          const at::Tensor y = function(x), dy = make(dim, device);
          return [=] {
            torch::autograd::grad({y}, {x}, {dy}, /*retain_graph=*/true);
          };
        };
        AddBenchmarkCase(c);
      }
    }
  }
}

REPRO_REGISTER_BENCHMARKS(Register);

}  // namespace
}  // namespace repro
