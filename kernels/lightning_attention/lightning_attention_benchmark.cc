#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/exp2.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <torch/csrc/autograd/autograd.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/lightning_attention/lightning_attention.h"
#include "kernels/testing/benchmark.h"

namespace repro {
namespace {

struct Shape {
  int64_t batch, length, heads, dim;
  double Elements() const {
    return static_cast<double>(batch * length * heads * dim);
  }
};

std::string Name(const Shape& s) {
  return "B" + std::to_string(s.batch) + " N" + std::to_string(s.length) +
         " H" + std::to_string(s.heads) + " D" + std::to_string(s.dim);
}

// 2^{-8 (h + 1) / heads}, the slopes of ALiBi.
at::Tensor Slopes(int64_t heads, c10::Device device) {
  return at::exp2(
      (at::arange(heads, at::TensorOptions(device).dtype(at::kFloat)) + 1) *
      (-8.0 / static_cast<double>(heads)));
}

using Attention = std::function<at::Tensor(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v)>;
// Of a device and a number of heads.
using MakeAttention = std::function<Attention(c10::Device, int64_t)>;

Attention Lightning(c10::Device device, int64_t heads) {
  return [decay = Slopes(heads, device)](
             const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
    return std::get<0>(LightningAttention(q, k, v, decay, std::nullopt,
                                          std::nullopt,
                                          /*output_final_state=*/false));
  };
}

at::Tensor Softmax(const at::Tensor& q, const at::Tensor& k,
                   const at::Tensor& v) {
  return at::scaled_dot_product_attention(q, k, v, std::nullopt,
                                          /*dropout_p=*/0,
                                          /*is_causal=*/true);
}

MakeAttention SoftmaxBy(at::SDPBackend backend) {
  return [backend](c10::Device, int64_t) {
    at::Context& context = at::globalContext();
    context.setSDPUseFlash(backend == at::SDPBackend::flash_attention);
    context.setSDPUseCuDNN(backend == at::SDPBackend::cudnn_attention);
    context.setSDPUseMemEfficient(false);
    context.setSDPUseMath(false);
    return Softmax;
  };
}

void AddAttention(const Shape& s, const std::string& implementation,
                  const MakeAttention& make, c10::DeviceType device,
                  at::ScalarType type) {
  const auto random = [=](c10::Device d) {
    return at::randn({s.batch, s.heads, s.length, s.dim},
                     at::TensorOptions(d).dtype(type));
  };
  const bool ours = implementation == "repro";
  const double bytes =
      s.Elements() * static_cast<double>(c10::elementSize(type));
  // 64 (d + d) + 2 d d multiply-adds a token at chunks of 64, forward.
  const double operations = s.Elements() * 4 * static_cast<double>(64 + s.dim);
  BenchmarkCase c;
  c.shape = Name(s);
  c.implementation = implementation;
  c.device = device;
  c.op = "lightning_attention forward";
  c.bytes = ours ? 4 * bytes : 0;
  c.operations = ours ? operations : 0;
  c.setup = [=](c10::Device d) {
    const Attention attention = make(d, s.heads);
    const at::Tensor q = random(d), k = random(d), v = random(d);
    return [=] { attention(q, k, v); };
  };
  AddBenchmarkCase(c);
  c.op = "lightning_attention backward";
  c.bytes = ours ? 7 * bytes : 0;
  c.operations = ours ? 3 * operations : 0;
  c.setup = [=](c10::Device d) {
    const Attention attention = make(d, s.heads);
    const at::Tensor q = random(d).requires_grad_(),
                     k = random(d).requires_grad_(),
                     v = random(d).requires_grad_(), dout = random(d);
    const at::Tensor out = attention(q, k, v);
    return [=] {
      torch::autograd::grad({out}, {q, k, v}, {dout}, /*retain_graph=*/true);
    };
  };
  AddBenchmarkCase(c);
}

void AddStep(int64_t batch, int64_t heads, int64_t dim) {
  BenchmarkCase c;
  c.op = "lightning_attention step";
  c.shape = Name({batch, 1, heads, dim});
  c.implementation = "repro";
  c.bytes = 2.0 * 4.0 * static_cast<double>(batch * heads * dim * dim);
  c.setup = [=](c10::Device d) {
    const auto options = at::TensorOptions(d).dtype(at::kBFloat16);
    const auto row = [=] { return at::randn({batch, heads, dim}, options); };
    const at::Tensor q = row(), k = row(), v = row(), decay = Slopes(heads, d);
    const at::Tensor state =
        at::randn({batch, heads, dim, dim}, options.dtype(at::kFloat));
    return [=] { LightningAttentionStep(q, k, v, decay, state); };
  };
  AddBenchmarkCase(c);
}

void Register() {
  // 65,536 tokens in all, then the paper's table.
  std::vector<Shape> shapes = {{64, 1024, 16, 128},
                               {16, 4096, 16, 128},
                               {4, 16384, 16, 128},
                               {1, 65536, 16, 128}};
  for (int64_t n = 512; n <= 32768; n *= 2) shapes.push_back({4, n, 32, 128});
  for (const Shape& s : shapes) {
    AddAttention(s, "repro", Lightning, c10::kCUDA, at::kBFloat16);
    AddAttention(s, "LibTorch flash",
                 SoftmaxBy(at::SDPBackend::flash_attention), c10::kCUDA,
                 at::kBFloat16);
    AddAttention(s, "LibTorch cuDNN",
                 SoftmaxBy(at::SDPBackend::cudnn_attention), c10::kCUDA,
                 at::kBFloat16);
  }
  for (const int64_t batch : {1, 4, 16, 64, 256}) AddStep(batch, 16, 128);
  // Where the linear form overtakes softmax attention on the CPU.
  for (const int64_t n : {64, 128, 256, 512, 1024, 2048, 4096, 8192}) {
    const Shape s = {1, n, 4, 64};
    AddAttention(s, "repro", Lightning, c10::kCPU, at::kFloat);
    AddAttention(
        s, "LibTorch softmax", [](c10::Device, int64_t) { return Softmax; },
        c10::kCPU, at::kFloat);
  }
}

REPRO_REGISTER_BENCHMARKS(Register);

}  // namespace
}  // namespace repro
