#include <ATen/core/Tensor.h>
#include <ATen/ops/_flash_attention_backward.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/_scaled_dot_product_cudnn_attention.h>
#include <ATen/ops/_scaled_dot_product_cudnn_attention_backward.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <torch/csrc/autograd/autograd.h>

#include <string>

#include "kernels/chunk_attention/chunk_attention.h"
#include "kernels/testing/benchmark.h"

namespace repro {
namespace {

constexpr int64_t kTokens = int64_t{1} << 18;
constexpr int64_t kHeads = 16;
constexpr int64_t kDim = 128;
constexpr int64_t kChunk = 16;

struct Inputs {
  // [batch, seq_len, heads, head_dim] in memory, as projections write them.
  at::Tensor q, k, v, grad;

  Inputs(int64_t tokens, int64_t seq_len, int64_t heads, int64_t dim,
         c10::Device device, at::ScalarType type) {
    for (at::Tensor* t : {&q, &k, &v, &grad}) {
      *t = at::randn({tokens / seq_len, seq_len, heads, dim},
                     at::TensorOptions(device).dtype(type));
    }
  }

  Inputs Heads() const {
    Inputs heads = *this;
    for (at::Tensor* t : {&heads.q, &heads.k, &heads.v, &heads.grad}) {
      *t = t->transpose(1, 2);
    }
    return heads;
  }
};

Inputs Bf16(int64_t seq_len, c10::Device device) {
  return Inputs(kTokens, seq_len, kHeads, kDim, device, at::kBFloat16);
}

auto Flash(const Inputs& in) {
  return at::_flash_attention_forward(
      in.q, in.k, in.v, std::nullopt, std::nullopt, in.q.size(1), in.q.size(1),
      /*dropout_p=*/0, /*is_causal=*/true, /*return_debug_mask=*/false);
}

auto Cudnn(const Inputs& heads) {
  return at::_scaled_dot_product_cudnn_attention(
      heads.q, heads.k, heads.v, std::nullopt, /*compute_log_sumexp=*/true,
      /*dropout_p=*/0, /*is_causal=*/true);
}

// RAT's layer shapes: 2^18 tokens, 16 heads of 128, chunks of 16; the peers are
// causal attention over all tokens, which RAT replaces.
void AddCuda(int64_t seq_len, bool peers) {
  BenchmarkCase c;
  c.shape = "B" + std::to_string(kTokens / seq_len) + " N" +
            std::to_string(seq_len) + " H16 D128 chunk 16";
  const double rows = 1.0 * kTokens * kHeads;
  const double product = 2 * rows * (0.5 * seq_len / kChunk + 1) * kDim;

  c.op = "chunk_attention forward";
  c.bytes = 4 * 2 * rows * kDim;
  c.operations = 2 * product;
  c.implementation = "repro";
  c.setup = [seq_len](c10::Device device) {
    const Inputs in = Bf16(seq_len, device).Heads();
    return [=] { ChunkAttention(in.q, in.k, in.v, kChunk); };
  };
  AddBenchmarkCase(c);
  if (peers) {
    c.implementation = "LibTorch flash, all tokens";
    c.setup = [seq_len](c10::Device device) {
      const Inputs in = Bf16(seq_len, device);
      return [=] { Flash(in); };
    };
    AddBenchmarkCase(c);
    c.implementation = "LibTorch cuDNN, all tokens";
    c.setup = [seq_len](c10::Device device) {
      const Inputs in = Bf16(seq_len, device).Heads();
      return [=] { Cudnn(in); };
    };
    AddBenchmarkCase(c);
  }

  c.op = "chunk_attention backward";
  c.bytes = 8 * 2 * rows * kDim;
  c.operations = 5 * product;
  c.implementation = "repro";
  c.setup = [seq_len](c10::Device device) {
    Inputs in = Bf16(seq_len, device).Heads();
    for (at::Tensor* t : {&in.q, &in.k, &in.v}) t->requires_grad_();
    const at::Tensor out = ChunkAttention(in.q, in.k, in.v, kChunk);
    return [=] {
      torch::autograd::grad({out}, {in.q, in.k, in.v}, {in.grad},
                            /*retain_graph=*/true);
    };
  };
  AddBenchmarkCase(c);
  if (peers) {
    c.implementation = "LibTorch flash, all tokens";
    c.setup = [seq_len](c10::Device device) {
      const Inputs in = Bf16(seq_len, device);
      const auto [out, log_sum, seed, offset, unused] = Flash(in);
      return [=, out = out, log_sum = log_sum, seed = seed, offset = offset] {
        at::_flash_attention_backward(in.grad, in.q, in.k, in.v, out, log_sum,
                                      at::Tensor(), at::Tensor(), in.q.size(1),
                                      in.q.size(1), /*dropout_p=*/0,
                                      /*is_causal=*/true, seed, offset);
      };
    };
    AddBenchmarkCase(c);
    c.implementation = "LibTorch cuDNN, all tokens";
    c.setup = [seq_len](c10::Device device) {
      const Inputs in = Bf16(seq_len, device).Heads();
      const auto forward = Cudnn(in);
      return [=] {
        at::_scaled_dot_product_cudnn_attention_backward(
            in.grad, in.q, in.k, in.v, std::get<0>(forward),
            std::get<1>(forward), std::get<6>(forward), std::get<7>(forward),
            at::Tensor(), std::get<2>(forward), std::get<3>(forward),
            in.q.size(2), in.q.size(2), /*dropout_p=*/0, /*is_causal=*/true);
      };
    };
    AddBenchmarkCase(c);
  }
}

// The peer: LibTorch's attention over the cache alone, all of it filled.
void AddStep(int64_t batch, int64_t count) {
  BenchmarkCase c;
  c.op = "chunk_attention_step";
  c.shape = "B" + std::to_string(batch) + " H16 D128 entries " +
            std::to_string(count);
  c.bytes = 2.0 * batch * kHeads * kDim * (2 * count + 4);
  for (const bool ours : {true, false}) {
    c.implementation = ours ? "repro" : "LibTorch attention, cache alone";
    c.setup = [=](c10::Device device) {
      const auto options = at::TensorOptions(device).dtype(at::kBFloat16);
      const at::Tensor q = at::randn({batch, kHeads, kDim}, options),
                       k = at::randn(q.sizes(), options),
                       v = at::randn(q.sizes(), options),
                       k_cache =
                           at::randn({batch, kHeads, count, kDim}, options),
                       v_cache = at::randn(k_cache.sizes(), options),
                       num_chunks =
                           at::full({1}, count, options.dtype(at::kLong));
      return [=] {
        if (ours) {
          ChunkAttentionStep(q, k, v, k_cache, v_cache, num_chunks);
        } else {
          at::scaled_dot_product_attention(q.unsqueeze(2), k_cache, v_cache);
        }
      };
    };
    AddBenchmarkCase(c);
  }
}

void AddCpu(int64_t seq_len) {
  BenchmarkCase c;
  c.device = c10::kCPU;
  c.op = "chunk_attention forward";
  c.shape = "B1 N" + std::to_string(seq_len) + " H4 D64 chunk 16 float32";
  for (const bool ours : {true, false}) {
    c.implementation = ours ? "repro" : "LibTorch causal attention over all";
    c.setup = [=](c10::Device device) {
      const Inputs in =
          Inputs(seq_len, seq_len, 4, 64, device, at::kFloat).Heads();
      return [=] {
        if (ours) {
          ChunkAttention(in.q, in.k, in.v, kChunk);
        } else {
          at::scaled_dot_product_attention(in.q, in.k, in.v, std::nullopt, 0,
                                           /*is_causal=*/true);
        }
      };
    };
    AddBenchmarkCase(c);
  }
}

void Register() {
  for (const int64_t seq_len : {4096, 16384, 65536, 131072, 262144}) {
    AddCuda(seq_len, /*peers=*/seq_len != 65536 && seq_len != 262144);
  }
  for (const int64_t count : {256, 2048, 8192}) {
    for (const int64_t batch : {1, 16, 64, 256}) {
      // 64 GiB of cache would not fit beside the rest.
      if (batch * count <= 64 * 8192) AddStep(batch, count);
    }
  }
  for (const int64_t seq_len : {256, 1024, 4096}) AddCpu(seq_len);
}

REPRO_REGISTER_BENCHMARKS(Register);

}  // namespace
}  // namespace repro
