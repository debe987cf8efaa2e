#include <ATen/TensorOperators.h>
#include <ATen/ops/_scaled_dot_product_cudnn_attention.h>
#include <ATen/ops/_scaled_dot_product_flash_attention.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/randperm.h>

#include <functional>
#include <optional>
#include <string>

#include "kernels/paged_attention_decode/paged_attention_decode.h"
#include "kernels/testing/benchmark.h"

namespace repro {
namespace {

struct Shape {
  int64_t batch, keys, num_heads, num_kv_heads, head_dim;
  int64_t page_size = 0;  // 0: a contiguous cache
  int64_t bits = 16;

  std::string Name() const {
    return "B" + std::to_string(batch) + " N" + std::to_string(keys) + " H" +
           std::to_string(num_heads) + "/" + std::to_string(num_kv_heads) +
           " D" + std::to_string(head_dim) +
           (page_size > 0 ? " pages of " + std::to_string(page_size) : "") +
           (bits != 16 ? " " + std::to_string(bits) + " bits" : " bf16");
  }
  double Bytes() const {
    // A row of keys and one of values, with scale and minimum where quantised.
    const double row = head_dim * bits / 8.0 + (bits == 16 ? 0 : 4);
    return 2 * row * batch * keys * num_kv_heads +
           4.0 * batch * num_heads * head_dim;
  }
};

struct Inputs {
  at::Tensor q;
  PagedKeysValues cache;

  Inputs(const Shape& s, c10::Device device) {
    const at::TensorOptions options(device);
    const auto type = options.dtype(at::kBFloat16);
    const int64_t page = s.page_size > 0 ? s.page_size : s.keys;
    const int64_t pages = (s.keys + page - 1) / page;
    q = at::randn({s.batch, s.num_heads, s.head_dim}, type);
    for (at::Tensor* t : {&cache.k_pages, &cache.v_pages}) {
      *t = s.bits == 16
               ? at::randn({s.batch * pages, page, s.num_kv_heads, s.head_dim},
                           type)
               : at::randint(0, 256,
                             {s.batch * pages, page, s.num_kv_heads,
                              s.head_dim * s.bits / 8},
                             options.dtype(at::kByte));
    }
    if (s.bits != 16) {
      const auto half = options.dtype(at::kHalf);
      for (auto* t :
           {&cache.k_scale, &cache.k_zero, &cache.v_scale, &cache.v_zero}) {
        *t = at::randn({s.batch * pages, page, s.num_kv_heads, 1}, half) * 0.1;
      }
    }
    cache.page_table = at::randperm(s.batch * pages, options.dtype(at::kLong))
                           .view({s.batch, pages})
                           .to(at::kInt);
    cache.lengths = at::full({s.batch}, s.keys, options.dtype(at::kInt));
  }
};

void AddShape(const Shape& s) {
  BenchmarkCase c;
  c.op = "paged_attention_decode";
  c.shape = s.Name();
  c.bytes = s.Bytes();
  c.implementation = "repro";
  c.setup = [s](c10::Device device) {
    const Inputs in(s, device);
    return [=] { PagedAttentionDecode(in.q, in.cache, s.keys); };
  };
  AddBenchmarkCase(c);
  if (s.page_size > 0 || s.bits != 16) return;

  // The peers take one query position of all heads, or, what serves them best,
  // the heads of a group as so many positions.
  const auto add = [&](const char* name, auto attention) {
    c.implementation = name;
    c.setup = [s, attention](c10::Device device) {
      const Inputs in(s, device);
      const at::Tensor k = in.cache.k_pages.transpose(1, 2);
      const at::Tensor v = in.cache.v_pages.transpose(1, 2);
      const at::Tensor q = in.q.view(
          {s.batch, s.num_kv_heads, s.num_heads / s.num_kv_heads, s.head_dim});
      return [=] { attention(q, k, v); };
    };
    AddBenchmarkCase(c);
  };
  add("LibTorch flash, group as queries",
      [](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
        at::_scaled_dot_product_flash_attention(q, k, v);
      });
  add("LibTorch cuDNN, group as queries",
      [](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
        at::_scaled_dot_product_cudnn_attention(q, k, v, std::nullopt,
                                                /*compute_log_sumexp=*/false);
      });
  add("LibTorch flash, heads expanded",
      [](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
        // Once in advance would be a cache four times as large.
        const auto expanded = [&](const at::Tensor& x) {
          return x.repeat_interleave(q.size(2), 1);
        };
        at::_scaled_dot_product_flash_attention(q.flatten(1, 2).unsqueeze(2),
                                                expanded(k), expanded(v));
      });
}

// DuoAttention's step: a part of the key-value heads keeps all keys, the
// others 64 and the last 256.
void AddHeadGroups(const Shape& s, int64_t full_heads) {
  constexpr int64_t kKept = 64 + 256;
  const int64_t streaming_heads = s.num_kv_heads - full_heads;
  const int64_t group = s.num_heads / s.num_kv_heads;
  BenchmarkCase c;
  c.op = "decode, full and streaming heads";
  c.shape = s.Name();
  c.implementation = std::to_string(full_heads) + " of " +
                     std::to_string(s.num_kv_heads) + " heads full";
  const auto part = [s, group](int64_t heads, int64_t keys) {
    Shape p = s;
    p.keys = keys;
    p.num_kv_heads = heads;
    p.num_heads = heads * group;
    return p;
  };
  const Shape full = part(full_heads, s.keys);
  const Shape streaming = part(streaming_heads, kKept);
  c.bytes = full.Bytes() + streaming.Bytes();
  c.setup = [=](c10::Device device) {
    const Inputs a(full, device);
    if (streaming_heads == 0) {
      return std::function<void()>(
          [=] { PagedAttentionDecode(a.q, a.cache, full.keys); });
    }
    const Inputs b(streaming, device);
    return std::function<void()>([=] {
      PagedAttentionDecode(a.q, a.cache, full.keys);
      PagedAttentionDecode(b.q, b.cache, kKept);
    });
  };
  AddBenchmarkCase(c);
}

void Register() {
  // Llama-3-8B, then Llama-2-7B.
  for (const int64_t keys : {4096, 32768, 131072}) {
    AddShape({1, keys, 32, 8, 128});
  }
  for (const int64_t keys : {4096, 131072}) AddShape({1, keys, 32, 32, 128});
  AddShape({16, 8192, 32, 8, 128});
  AddShape({1, 131072, 16, 4, 64});
  for (const int64_t page_size : {1, 16, 64}) {
    AddShape({1, 131072, 32, 8, 128, page_size});
  }
  for (const int64_t bits : {8, 4}) AddShape({1, 131072, 32, 8, 128, 16, bits});
  for (const int64_t kv_heads : {8, 32}) {
    for (const int64_t keys : {131072, 262144}) {
      for (const int64_t quarter : {4, 2, 1}) {
        AddHeadGroups({1, keys, 32, kv_heads, 128}, kv_heads * quarter / 4);
      }
    }
  }
}

REPRO_REGISTER_BENCHMARKS(Register);

}  // namespace
}  // namespace repro
