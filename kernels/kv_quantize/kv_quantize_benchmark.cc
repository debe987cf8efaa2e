#include <ATen/TensorOperators.h>
#include <ATen/ops/randn.h>

#include <string>

#include "kernels/kv_quantize/kv_quantize.h"
#include "kernels/testing/benchmark.h"

namespace repro {
namespace {

// The operation as it stands in DuoAttention's code, on LibTorch's operators.
QuantizedKv Eager(const at::Tensor& x) {
  const at::Tensor least = x.amin({-1}, /*keepdim=*/true);
  const at::Tensor scale = (x.amax({-1}, /*keepdim=*/true) - least) / 15 + 1e-8;
  const at::Tensor q = ((x - least) / scale).round().clamp(0, 15).to(at::kByte);
  const at::Tensor pairs = q.unflatten(-1, {-1, 2});
  return {
      pairs.select(-1, 0).bitwise_left_shift(4).bitwise_or(pairs.select(-1, 1)),
      scale, least};
}

void Register() {
  constexpr int64_t kHeads = 8, kDim = 128;
  for (const int64_t n : {4096, 131072}) {
    BenchmarkCase c;
    c.shape = std::to_string(n) + "x8x128 float16, groups of 128";
    const double elements = 1.0 * n * kHeads * kDim;
    const auto make = [n](c10::Device device) {
      return at::randn({n, kHeads, kDim},
                       at::TensorOptions(device).dtype(at::kHalf));
    };
    for (const int64_t bits : {4, 8}) {
      c.bytes = elements * (2 + bits / 8.0) + 4.0 * n * kHeads;
      c.op = "kv_quantize " + std::to_string(bits) + " bits";
      c.implementation = "repro";
      c.setup = [=](c10::Device device) {
        const at::Tensor x = make(device);
        return [=] { KvQuantize(x, bits, kDim); };
      };
      AddBenchmarkCase(c);
      if (bits == 4) {
        c.implementation = "LibTorch eager";
        c.setup = [=](c10::Device device) {
          const at::Tensor x = make(device);
          return [=] { Eager(x); };
        };
        AddBenchmarkCase(c);
      }
      c.op = "kv_dequantize " + std::to_string(bits) + " bits";
      c.implementation = "repro";
      c.setup = [=](c10::Device device) {
        const QuantizedKv q = KvQuantize(make(device), bits, kDim);
        return [=] { KvDequantize(q, kDim); };
      };
      AddBenchmarkCase(c);
    }
  }
}

REPRO_REGISTER_BENCHMARKS(Register);

}  // namespace
}  // namespace repro
