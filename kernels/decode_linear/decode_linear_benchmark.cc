#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/rms_norm.h>
#include <ATen/ops/silu.h>

#include <optional>
#include <string>

#include "kernels/decode_linear/decode_linear.h"
#include "kernels/testing/benchmark.h"

namespace repro {
namespace {

struct Case {
  const char* name;
  int64_t outputs, columns;
  bool normed;
  DecodeLinearUse use;
};

void Register() {
  using Use = DecodeLinearUse;
  for (const Case& layer :
       {Case{"Llama-3-8B qkv", 6144, 4096, true, Use::kWrite},
        Case{"Llama-3-8B output", 4096, 4096, false, Use::kAdd},
        Case{"Llama-3-8B gate, up", 14336, 4096, true, Use::kSwiglu},
        Case{"Llama-3-8B down", 4096, 14336, false, Use::kAdd},
        Case{"Llama-3-8B head", 128256, 4096, true, Use::kWrite},
        Case{"Llama-2-7B gate, up", 11008, 4096, true, Use::kSwiglu},
        Case{"Llama-2-7B down", 4096, 11008, false, Use::kAdd}}) {
    const int64_t rows = layer.outputs * (layer.use == Use::kSwiglu ? 2 : 1);
    BenchmarkCase c;
    c.op = "decode_linear";
    c.shape = layer.name;
    c.bytes = 2.0 * rows * layer.columns;
    struct Inputs {
      at::Tensor x, weight, norm, out;
    };
    const auto make = [=](c10::Device device) {
      const auto options = at::TensorOptions(device).dtype(at::kBFloat16);
      return Inputs{at::randn({1, layer.columns}, options),
                    at::randn({rows, layer.columns}, options) * 0.02,
                    at::randn({layer.columns}, options),
                    at::randn({1, layer.outputs}, options)};
    };
    c.implementation = "repro";
    c.setup = [=](c10::Device device) {
      const Inputs in = make(device);
      return [=] {
        DecodeLinear(in.out, in.x, in.weight,
                     layer.normed ? std::make_optional(in.norm) : std::nullopt,
                     1e-5, std::nullopt, layer.use);
      };
    };
    AddBenchmarkCase(c);
    c.implementation = "LibTorch (cuBLAS)";
    c.setup = [=](c10::Device device) {
      const Inputs in = make(device);
      return [=] {
        const at::Tensor h =
            layer.normed ? at::rms_norm(in.x, {layer.columns}, in.norm, 1e-5)
                         : in.x;
        if (layer.use == Use::kAdd) {
          in.out.addmm_(h, in.weight.t());
          return;
        }
        const at::Tensor y = at::linear(h, in.weight);
        if (layer.use == Use::kSwiglu) {
          at::silu(y.narrow(1, 0, layer.outputs)) *
              y.narrow(1, layer.outputs, layer.outputs);
        }
      };
    };
    AddBenchmarkCase(c);
  }
}

REPRO_REGISTER_BENCHMARKS(Register);

}  // namespace
}  // namespace repro
