#include <ATen/TensorOperators.h>
#include <ATen/ops/addcmul.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/randn.h>

#include <string>
#include <utility>

#include "kernels/rotary/rotary.h"
#include "kernels/testing/benchmark.h"

namespace repro {
namespace {

at::Tensor Eager(const at::Tensor& x, const at::Tensor& cos,
                 const at::Tensor& sin) {
  const at::Tensor c = cos.to(x.scalar_type()), s = sin.to(x.scalar_type());
  return at::addcmul(x * at::cat({c, c}, -1), x.roll(x.size(-1) / 2, -1),
                     at::cat({-s, s}, -1));
}

// Queries of Llama-3-8B as the product of a prompt leaves them, beside keys and
// values.
void Register() {
  const std::pair<const char*, decltype(Eager)*> implementations[] = {
      {"repro", Rotary}, {"LibTorch roll, product, addcmul", Eager}};
  for (const int64_t tokens : {1024, 32768}) {
    for (const auto& [name, function] : implementations) {
      const auto rotate = function;
      BenchmarkCase c;
      c.op = "rotary";
      c.shape = "H32 D128 N" + std::to_string(tokens) + " bf16";
      c.implementation = name;
      c.bytes = 2.0 * 2 * 32 * 128 * tokens + 2 * 4.0 * 64 * tokens;
      c.setup = [=](c10::Device device) {
        const auto options = at::TensorOptions(device);
        const at::Tensor angle = at::randn({tokens, 64}, options);
        const at::Tensor cos = angle.cos(), sin = angle.sin();
        const at::Tensor qkv =
            at::randn({tokens, 48, 128}, options.dtype(at::kBFloat16));
        const at::Tensor q = qkv.narrow(1, 0, 32).transpose(0, 1);
        return [=] { rotate(q, cos, sin); };
      };
      AddBenchmarkCase(c);
    }
  }
}

REPRO_REGISTER_BENCHMARKS(Register);

}  // namespace
}  // namespace repro
