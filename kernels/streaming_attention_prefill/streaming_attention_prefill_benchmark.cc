#include <ATen/core/Tensor.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/scaled_dot_product_attention.h>

#include <algorithm>
#include <string>

#include "kernels/streaming_attention_prefill/streaming_attention_prefill.h"
#include "kernels/testing/benchmark.h"

namespace repro {
namespace {

// Llama-3-8B's heads.
constexpr int64_t kHeads = 32, kKvHeads = 8, kDim = 128;

// [batch, tokens, heads, dim], as projections write them.
at::Tensor Random(int64_t batch, int64_t tokens, int64_t heads,
                  c10::Device device) {
  return at::randn({batch, tokens, heads, kDim},
                   at::TensorOptions(device).dtype(
                       device.is_cuda() ? at::kBFloat16 : at::kFloat));
}

auto Flash(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
           bool causal) {
  return at::_flash_attention_forward(q, k, v, std::nullopt, std::nullopt,
                                      q.size(1), k.size(1), /*dropout_p=*/0,
                                      causal, /*return_debug_mask=*/false);
}

void Add(c10::DeviceType device, int64_t tokens, int64_t sink, int64_t recent,
         int64_t block, bool dense) {
  const int64_t seen = (sink + recent) * block;
  BenchmarkCase c;
  c.device = device;
  c.op = "streaming_attention_prefill";
  c.shape = "H32 K8 D128 N" + std::to_string(tokens) + " sink " +
            std::to_string(sink) + " recent " + std::to_string(recent) +
            (block == 1 ? "" : " of " + std::to_string(block));
  c.bytes = 2.0 * kDim * tokens * 2 * (kHeads + kKvHeads);
  c.operations = 4.0 * tokens * kHeads * kDim * seen;
  c.implementation = "repro";
  c.setup = [=](c10::Device device) {
    const at::Tensor q = Random(1, tokens, kHeads, device).transpose(1, 2),
                     k = Random(1, tokens, kKvHeads, device).transpose(1, 2),
                     v = Random(1, tokens, kKvHeads, device).transpose(1, 2);
    StreamingAttentionOptions options;
    options.sink = sink;
    options.recent = recent;
    options.block = block;
    return [=] { StreamingAttentionPrefill(q, k, v, options); };
  };
  AddBenchmarkCase(c);
  if (device == c10::kCPU) {
    c.implementation = "LibTorch causal attention over all";
    c.setup = [=](c10::Device device) {
      const at::Tensor q = Random(1, tokens, kHeads, device).transpose(1, 2),
                       k = Random(1, tokens, kHeads, device).transpose(1, 2),
                       v = Random(1, tokens, kHeads, device).transpose(1, 2);
      return [=] {
        at::scaled_dot_product_attention(q, k, v, std::nullopt, 0,
                                         /*is_causal=*/true);
      };
    };
    AddBenchmarkCase(c);
    return;
  }
  // Every query over as many keys as it sees, all of them in a row.
  c.implementation = "LibTorch flash, as many keys";
  c.setup = [=](c10::Device device) {
    const int64_t batch = std::max<int64_t>(1, tokens / 4096);
    const at::Tensor q = Random(batch, tokens / batch, kHeads, device),
                     k = Random(batch, seen, kKvHeads, device),
                     v = Random(batch, seen, kKvHeads, device);
    return [=] { Flash(q, k, v, /*causal=*/false); };
  };
  AddBenchmarkCase(c);
  if (!dense) return;
  c.implementation = "LibTorch flash, all keys";
  c.setup = [=](c10::Device device) {
    const at::Tensor q = Random(1, tokens, kHeads, device),
                     k = Random(1, tokens, kKvHeads, device),
                     v = Random(1, tokens, kKvHeads, device);
    return [=] { Flash(q, k, v, /*causal=*/true); };
  };
  AddBenchmarkCase(c);
}

void Register() {
  // DuoAttention's deployment and training; StreamingLLM's and longer windows.
  for (const int64_t tokens : {8192, 32768}) {
    Add(c10::kCUDA, tokens, 64, 256, 1, true);
    Add(c10::kCUDA, tokens, 1, 2, 128, false);
  }
  Add(c10::kCUDA, 32768, 4, 1020, 1, false);
  Add(c10::kCUDA, 32768, 64, 4032, 1, false);
  for (const int64_t tokens : {1024, 4096}) {
    Add(c10::kCPU, tokens, 64, 256, 1, false);
  }
}

REPRO_REGISTER_BENCHMARKS(Register);

}  // namespace
}  // namespace repro
