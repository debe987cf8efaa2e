#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <functional>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include "kernels/taylor_linear_attention/taylor_linear_attention.h"
#include "kernels/testing/benchmark.h"

namespace repro {
namespace {

constexpr int64_t kHeads = 16;
constexpr int64_t kKeyDim = 16;
constexpr int64_t kValueDim = 64;
constexpr double kEps = 1e-12;
// 1, the keys, and their products i <= j.
constexpr double kFeatures = 1 + kKeyDim + kKeyDim * (kKeyDim + 1) / 2.0;

using Attention = std::function<at::Tensor(const at::Tensor&, const at::Tensor&,
                                           const at::Tensor&)>;

Attention Taylor(bool normalize) {
  return [normalize](const at::Tensor& q, const at::Tensor& k,
                     const at::Tensor& v) {
    return std::get<0>(TaylorLinearAttention(q, k, v, normalize, kEps));
  };
}

// Softmax attention, whose keys are as wide as its values.
Attention Softmax(at::SDPBackend backend) {
  at::Context& context = at::globalContext();
  context.setSDPUseFlash(backend == at::SDPBackend::flash_attention);
  context.setSDPUseCuDNN(backend == at::SDPBackend::cudnn_attention);
  context.setSDPUseMemEfficient(false);
  context.setSDPUseMath(false);
  return [](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
    return at::scaled_dot_product_attention(q, k, v, std::nullopt,
                                            /*dropout_p=*/0,
                                            /*is_causal=*/true);
  };
}

void AddAttention(int64_t batch, int64_t n, const std::string& implementation,
                  int64_t key_dim, const std::function<Attention()>& make,
                  const std::string& note = "") {
  const auto random = [=](int64_t dim, c10::Device device) {
    return at::randn({batch, kHeads, n, dim},
                     at::TensorOptions(device).dtype(at::kBFloat16));
  };
  const double tokens = static_cast<double>(batch * kHeads * n);
  BenchmarkCase c;
  c.shape = "B" + std::to_string(batch) + " N" + std::to_string(n) +
            " H16 K16 V64 bf16" + note;
  c.implementation = implementation;
  c.op = "taylor_linear_attention forward";
  const bool ours = key_dim == kKeyDim;
  c.bytes = ours ? tokens * 2 * (2 * kKeyDim + 2 * kValueDim) : 0;
  c.operations = ours ? tokens * 4 * kFeatures * kValueDim : 0;
  c.setup = [=](c10::Device device) {
    const at::Tensor q = random(key_dim, device), k = random(key_dim, device),
                     v = random(kValueDim, device);
    return [=, attention = make()] {
      const at::NoGradGuard no_grad;
      attention(q, k, v);
    };
  };
  AddBenchmarkCase(c);
  c.op = "taylor_linear_attention backward";
  c.bytes = ours ? tokens * 2 * (4 * kKeyDim + 4 * kValueDim) : 0;
  c.operations *= 3;
  c.setup = [=](c10::Device device) {
    const at::Tensor q = random(key_dim, device).requires_grad_(),
                     k = random(key_dim, device).requires_grad_(),
                     v = random(kValueDim, device).requires_grad_(),
                     dy = random(kValueDim, device);
    const at::Tensor y = make()(q, k, v);
    return [=] {
      torch::autograd::grad({y}, {q, k, v}, {dy}, /*retain_graph=*/true);
    };
  };
  AddBenchmarkCase(c);
}

at::Tensor Features(const at::Tensor& x) {
  return at::cat({at::ones({x.size(0), x.size(1), 1}, x.options()),
                  x / std::sqrt(std::sqrt(static_cast<double>(kKeyDim))),
                  (x.unsqueeze(-1) * x.unsqueeze(-2)).flatten(-2) /
                      std::sqrt(2.0 * kKeyDim)},
                 -1);
}

at::Tensor EagerStep(const at::Tensor& q, const at::Tensor& k,
                     const at::Tensor& v, const TaylorState& state) {
  const at::Tensor phi_q = Features(q.to(at::kFloat)),
                   phi_k = Features(k.to(at::kFloat));
  state.kv.addcmul_(phi_k.unsqueeze(-1), v.to(at::kFloat).unsqueeze(-2));
  state.k.add_(phi_k);
  const at::Tensor y = at::matmul(phi_q.unsqueeze(-2), state.kv).squeeze(-2);
  return (y / ((phi_q * state.k).sum(-1, /*keepdim=*/true) + kEps))
      .to(v.scalar_type());
}

void AddStep(
    int64_t batch, const std::string& implementation,
    const std::function<at::Tensor(const at::Tensor&, const at::Tensor&,
                                   const at::Tensor&, const TaylorState&)>&
        step) {
  const double features = 1 + kKeyDim + kKeyDim * kKeyDim;
  BenchmarkCase c;
  c.op = "taylor_linear_attention step";
  c.shape = "B" + std::to_string(batch) + " H16 K16 V64 bf16";
  c.implementation = implementation;
  c.bytes = 8 * batch * kHeads * features * (kValueDim + 1);
  c.setup = [=](c10::Device device) {
    const auto random = [=](int64_t dim) {
      return at::randn({batch, kHeads, dim},
                       at::TensorOptions(device).dtype(at::kBFloat16));
    };
    const at::TensorOptions wide = at::TensorOptions(device).dtype(at::kFloat);
    const auto size = static_cast<int64_t>(features);
    const TaylorState state = {
        at::randn({batch, kHeads, size, kValueDim}, wide),
        at::randn({batch, kHeads, size}, wide).abs()};
    const at::Tensor q = random(kKeyDim), k = random(kKeyDim),
                     v = random(kValueDim);
    return [=] {
      const at::NoGradGuard no_grad;
      step(q, k, v, state);
    };
  };
  AddBenchmarkCase(c);
}

void Register() {
  const std::pair<int64_t, int64_t> shapes[] = {
      {64, 1024}, {16, 4096}, {4, 16384}, {1, 65536}};
  for (const auto& [batch, n] : shapes) {
    AddAttention(batch, n, "repro", kKeyDim, [] { return Taylor(true); });
    AddAttention(
        batch, n, "repro", kKeyDim, [] { return Taylor(false); },
        ", no denominator");
    AddAttention(batch, n, "LibTorch flash, K64", kValueDim,
                 [] { return Softmax(at::SDPBackend::flash_attention); });
    AddAttention(batch, n, "cuDNN, K64", kValueDim,
                 [] { return Softmax(at::SDPBackend::cudnn_attention); });
  }
  for (const int64_t batch : {1, 4, 16, 64, 256}) {
    AddStep(batch, "repro",
            [](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
               const TaylorState& state) {
              return TaylorLinearAttentionStep(q, k, v, state, true, kEps);
            });
    AddStep(batch, "LibTorch eager", EagerStep);
  }
}

REPRO_REGISTER_BENCHMARKS(Register);

}  // namespace
}  // namespace repro
