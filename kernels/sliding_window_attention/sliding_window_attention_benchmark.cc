#include <ATen/core/Tensor.h>
#include <ATen/ops/_flash_attention_backward.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <torch/csrc/autograd/autograd.h>

#include <string>

#include "kernels/sliding_window_attention/sliding_window_attention.h"
#include "kernels/testing/benchmark.h"

namespace repro {
namespace {

struct Shape {
  int64_t batch, seq_len, heads, head_dim, window;
};

struct Inputs {
  // [batch, seq_len, heads, head_dim] in memory, as projections write them.
  at::Tensor q, k, v, grad;

  Inputs(const Shape& s, c10::Device device, at::ScalarType type) {
    for (at::Tensor* t : {&q, &k, &v, &grad}) {
      *t = at::randn({s.batch, s.seq_len, s.heads, s.head_dim},
                     at::TensorOptions(device).dtype(type));
    }
  }
};

// FlashAttention-2 with the same window, as LibTorch has it.
auto Flash(const Inputs& in, const Shape& s) {
  return at::_flash_attention_forward(
      in.q, in.k, in.v, std::nullopt, std::nullopt, s.seq_len, s.seq_len,
      /*dropout_p=*/0, /*is_causal=*/true, /*return_debug_mask=*/false,
      /*scale=*/std::nullopt, /*window_size_left=*/s.window - 1,
      /*window_size_right=*/0);
}

void AddCuda(const Shape& s) {
  BenchmarkCase c;
  c.shape = "B" + std::to_string(s.batch) + " N" + std::to_string(s.seq_len) +
            " H" + std::to_string(s.heads) + " D" + std::to_string(s.head_dim) +
            " window " + std::to_string(s.window);
  const double tokens = 1.0 * s.batch * s.seq_len * s.heads;
  // Products over the pairs that are seen: 2 forward, 5 backward.
  const double product = 2 * tokens * s.window * s.head_dim;

  c.op = "sliding_window_attention forward";
  c.bytes = 4 * 2 * tokens * s.head_dim;
  c.operations = 2 * product;
  c.implementation = "repro";
  c.setup = [s](c10::Device device) {
    const Inputs in(s, device, at::kBFloat16);
    return [=] {
      SlidingWindowAttention(in.q.transpose(1, 2), in.k.transpose(1, 2),
                             in.v.transpose(1, 2), s.window);
    };
  };
  AddBenchmarkCase(c);
  c.implementation = "LibTorch flash, same window";
  c.setup = [s](c10::Device device) {
    const Inputs in(s, device, at::kBFloat16);
    return [=] { Flash(in, s); };
  };
  AddBenchmarkCase(c);

  c.op = "sliding_window_attention backward";
  // q, k, v, out and its gradient in, three gradients out.
  c.bytes = 8 * 2 * tokens * s.head_dim;
  c.operations = 5 * product;
  c.implementation = "repro";
  c.setup = [s](c10::Device device) {
    Inputs in(s, device, at::kBFloat16);
    for (at::Tensor* t : {&in.q, &in.k, &in.v}) t->requires_grad_();
    const at::Tensor out =
        SlidingWindowAttention(in.q.transpose(1, 2), in.k.transpose(1, 2),
                               in.v.transpose(1, 2), s.window);
    return [=] {
      torch::autograd::grad({out}, {in.q, in.k, in.v},
                            {in.grad.transpose(1, 2)}, /*retain_graph=*/true);
    };
  };
  AddBenchmarkCase(c);
  c.implementation = "LibTorch flash, same window";
  c.setup = [s](c10::Device device) {
    const Inputs in(s, device, at::kBFloat16);
    const auto [out, log_sum, seed, offset, unused] = Flash(in, s);
    return [=, out = out, log_sum = log_sum, seed = seed, offset = offset] {
      at::_flash_attention_backward(
          in.grad, in.q, in.k, in.v, out, log_sum, at::Tensor(), at::Tensor(),
          s.seq_len, s.seq_len, /*dropout_p=*/0, /*is_causal=*/true, seed,
          offset, /*scale=*/std::nullopt, /*window_size_left=*/s.window - 1,
          /*window_size_right=*/0);
    };
  };
  AddBenchmarkCase(c);
}

// The peer: LibTorch's causal attention over all past tokens.
void AddCpu(const Shape& s) {
  BenchmarkCase c;
  c.device = c10::kCPU;
  c.op = "sliding_window_attention forward";
  c.shape = "B" + std::to_string(s.batch) + " N" + std::to_string(s.seq_len) +
            " H" + std::to_string(s.heads) + " D" + std::to_string(s.head_dim) +
            " window " + std::to_string(s.window) + " float32";
  const auto attend = [&c, s](const char* name, auto attention) {
    c.implementation = name;
    c.setup = [s, attention](c10::Device device) {
      const Inputs in(s, device, at::kFloat);
      return [=] {
        attention(in.q.transpose(1, 2), in.k.transpose(1, 2),
                  in.v.transpose(1, 2));
      };
    };
    AddBenchmarkCase(c);
  };
  attend("repro",
         [s](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
           SlidingWindowAttention(q, k, v, s.window);
         });
  attend("LibTorch causal attention over all",
         [](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
           at::scaled_dot_product_attention(q, k, v, std::nullopt, 0,
                                            /*is_causal=*/true);
         });
}

void Register() {
  // Based's and RAT's windows are 65, 129 and 1025.
  for (const int64_t batch : {64, 16, 4, 1}) {
    AddCuda({batch, 65536 / batch, 16, 64, 128});
  }
  for (const int64_t window : {65, 1025}) AddCuda({4, 16384, 16, 64, window});
  AddCuda({4, 16384, 16, 128, 1025});
  for (const int64_t seq_len : {256, 1024, 4096}) {
    AddCpu({1, seq_len, 4, 64, 128});
  }
}

REPRO_REGISTER_BENCHMARKS(Register);

}  // namespace
}  // namespace repro
