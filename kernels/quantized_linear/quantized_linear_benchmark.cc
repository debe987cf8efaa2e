#include <ATen/core/Tensor.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>

#include <string>

#include "kernels/quantized_linear/quantized_linear.h"
#include "kernels/testing/benchmark.h"

namespace repro {
namespace {

struct Shape {
  const char* name;
  int64_t format;
  int64_t out;
  int64_t in;
};

// SmolLM2-135M-Instruct's products, q, k, v and gate, up as one each.
constexpr Shape kShapes[] = {
    {"Q4_1 qkv", kQuantQ4_1, 960, 576},
    {"Q4_1 output", kQuantQ4_1, 576, 576},
    {"Q4_1 gate up", kQuantQ4_1, 3072, 576},
    {"Q4_1 down", kQuantQ4_1, 576, 1536},
    {"Q8_0 head", kQuantQ8_0, 49152, 576},
    {"Q4_K", kQuantQ4_K, 4096, 4096},
    {"Q6_K", kQuantQ6_K, 4096, 4096},
};

void Register() {
  for (const Shape& shape : kShapes) {
    for (const int64_t rows : {1, 512}) {
      BenchmarkCase c;
      c.op = "quantized_linear";
      c.shape = std::string(shape.name) + " " + std::to_string(shape.out) +
                "x" + std::to_string(shape.in) + ", " + std::to_string(rows) +
                (rows == 1 ? " row" : " rows");
      c.device = c10::kCPU;
      c.operations = 2.0 * rows * shape.out * shape.in;
      const int64_t weights = shape.out * shape.in;
      const double values = 4.0 * rows * (shape.out + shape.in);
      const int64_t file_bytes = weights / QuantBlockSize(shape.format) *
                                 QuantBlockBytes(shape.format);
      c.implementation = "repro";
      c.bytes = values + static_cast<double>(file_bytes);
      c.setup = [=](c10::Device) {
        const at::Tensor x = at::randn({rows, shape.in});
        // Codes do not change the time; scales that are NaN do not, either.
        const at::Tensor packed =
            PackQuantized(at::randint(0, 255, {file_bytes}, at::kByte),
                          shape.format, shape.out, shape.in);
        return [=] {
          QuantizedLinear(x, packed, shape.format, shape.out, shape.in);
        };
      };
      AddBenchmarkCase(c);
      c.implementation = "LibTorch float32";
      c.bytes = values + 4.0 * static_cast<double>(weights);
      c.setup = [=](c10::Device) {
        const at::Tensor x = at::randn({rows, shape.in});
        const at::Tensor weight = at::randn({shape.out, shape.in});
        return [=] { at::linear(x, weight); };
      };
      AddBenchmarkCase(c);
    }
  }
}

REPRO_REGISTER_BENCHMARKS(Register);

}  // namespace
}  // namespace repro
