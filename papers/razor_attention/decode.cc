#include "papers/razor_attention/decode.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <c10/core/CachingDeviceAllocator.h>

#include <cmath>
#include <memory>

#include "common/count/memory.h"
#include "common/tensor/check.h"
#include "common/tensor/generator.h"
#include "kernels/graph/graph.h"

namespace repro::razor {
namespace {

at::TensorOptions Activations(c10::Device device) {
  return at::TensorOptions(device).dtype(device.is_cuda() ? at::kBFloat16
                                                          : at::kFloat);
}

// One page a sequence.
DecodeHeads RandomHeadsCache(int64_t batch, int64_t tokens, int64_t heads,
                             int64_t head_dim, at::TensorOptions options,
                             const at::Generator& generator) {
  DecodeHeads out;
  out.cache.k_pages = at::empty({batch, tokens, heads, head_dim}, options)
                          .normal_(0, 1, generator);
  out.cache.v_pages = at::empty({batch, tokens, heads, head_dim}, options)
                          .normal_(0, 1, generator);
  out.cache.page_table =
      at::arange(batch, options.dtype(at::kInt)).unsqueeze(1);
  out.cache.lengths = at::full({batch}, tokens, options.dtype(at::kInt));
  out.max_length = tokens;
  return out;
}

int64_t Bytes(const DecodeHeads& heads) {
  if (!heads.cache.k_pages.defined()) return 0;
  return static_cast<int64_t>(heads.cache.k_pages.nbytes() +
                              heads.cache.v_pages.nbytes());
}

void ReleaseMemory(c10::Device device) {
  if (device.is_cuda()) c10::getDeviceAllocator(device.type())->emptyCache();
}

}  // namespace

at::Tensor AddCompensation(const at::Tensor& out, const at::Tensor& lse,
                           const at::Tensor& q,
                           const CompensationToken& token) {
  ShapeChecker check;
  check(out, {"batch", "num_heads", "head_dim"}, "out");
  check(q, {"batch", "num_heads", "head_dim"}, "q");
  check(lse, {"batch", "num_heads"}, "lse");
  check(token.k, {"batch", "num_kv_heads", "head_dim"}, "token.k");
  check(token.v, {"batch", "num_kv_heads", "head_dim"}, "token.v");
  check(token.log_count, {"batch"}, "token.log_count");
  const int64_t kv_heads = token.k.size(1), head_dim = q.size(2);
  const auto grouped = [&](const at::Tensor& x) {
    return x.unflatten(1, {kv_heads, x.size(1) / kv_heads});
  };
  // [batch, num_kv_heads, group, 1]
  const at::Tensor logit =
      (grouped(q) * token.k.unsqueeze(2)).sum(-1, true, lse.scalar_type());
  const at::Tensor weight =
      (logit * (1 / std::sqrt(static_cast<double>(head_dim))) +
       (token.log_count.unsqueeze(1) - lse)
           .unflatten(1, {kv_heads, lse.size(1) / kv_heads})
           .unsqueeze(-1))
          .sigmoid_()
          .to(out.scalar_type());
  return grouped(out)
      .lerp(token.v.unsqueeze(2).expand_as(grouped(out)),
            weight.expand_as(grouped(out)))
      .flatten(1, 2);
}

DecodeLayer::DecodeLayer(LayerKind kind, const DecodeShape& shape,
                         int64_t full_heads, const RazorOptions& options,
                         c10::Device device, at::Generator generator) {
  const at::NoGradGuard no_grad;
  const at::TensorOptions activations = Activations(device);
  TORCH_CHECK(shape.num_heads % shape.num_kv_heads == 0 && full_heads >= 0 &&
                  full_heads <= shape.num_kv_heads,
              "decode layer: ", full_heads, " full heads of ",
              shape.num_kv_heads, ", ", shape.num_heads, " query heads");
  const int64_t group = shape.num_heads / shape.num_kv_heads;
  q_ = at::randn({shape.batch, shape.num_heads, shape.head_dim}, generator,
                 activations);
  int64_t kept = KeptEntries(options, shape.tokens);
  if (kind == LayerKind::kDense || kept == shape.tokens) {
    full_heads = shape.num_kv_heads;
  }
  full_queries_ = full_heads * group;
  rest_queries_ = shape.num_heads - full_queries_;
  const auto make = [&](int64_t tokens, int64_t heads) {
    return RandomHeadsCache(shape.batch, tokens, heads, shape.head_dim,
                            activations, generator);
  };
  if (full_queries_ > 0) full_ = make(shape.tokens, full_heads);
  if (rest_queries_ == 0) return;
  const int64_t rest_heads = shape.num_kv_heads - full_heads;
  if (kind == LayerKind::kPublished) {
    // The compensation token has a place of its own.
    --kept;
    const auto mean = [&] {
      return at::randn({shape.batch, rest_heads, shape.head_dim}, generator,
                       activations);
    };
    compensation_.k = mean();
    compensation_.v = mean();
    compensation_.log_count = at::full(
        {shape.batch}, std::log(static_cast<double>(shape.tokens - kept)),
        activations.dtype(at::kFloat));
  }
  rest_ = make(kept, rest_heads);
}

at::Tensor DecodeLayer::Step() const {
  const at::NoGradGuard no_grad;
  const at::Tensor q_full = q_.narrow(1, 0, full_queries_);
  const at::Tensor q_rest = q_.narrow(1, full_queries_, rest_queries_);
  at::Tensor full, rest;
  if (full_queries_ > 0) {
    full = std::get<0>(
        PagedAttentionDecode(q_full, full_.cache, full_.max_length));
    if (rest_queries_ == 0) return full;
  }
  at::Tensor lse;
  std::tie(rest, lse) =
      PagedAttentionDecode(q_rest, rest_.cache, rest_.max_length);
  if (compensation_.k.defined()) {
    rest = AddCompensation(rest, lse, q_rest, compensation_);
  }
  return full_queries_ > 0 ? at::cat({full, rest}, 1) : rest;
}

int64_t DecodeLayer::Bytes() const {
  int64_t bytes = razor::Bytes(full_) + razor::Bytes(rest_);
  if (compensation_.k.defined()) {
    bytes += static_cast<int64_t>(compensation_.k.nbytes() +
                                  compensation_.v.nbytes());
  }
  return bytes;
}

Timing TimeDecode(LayerKind kind, const DecodeShape& shape, int64_t full_heads,
                  const RazorOptions& options, c10::Device device,
                  uint64_t seed, TimingOptions timing) {
  ReleaseMemory(device);
  const DecodeLayer layer(kind, shape, full_heads, options, device,
                          MakeGenerator(seed, 0, device));
  at::Tensor out;
  CapturedGraph step(device, [&] { out = layer.Step(); });
  timing.flush_cache = device.is_cuda();
  return MeasureTime(
      device, [&] { step.Replay(); }, timing);
}

CacheBytes MeasureCacheBytes(const lm::ModelConfig& config,
                             int64_t prompt_tokens, const HeadSet& retrieval,
                             const RazorOptions& options, c10::Device device,
                             at::Generator generator) {
  const at::NoGradGuard no_grad;
  ReleaseMemory(device);
  const at::TensorOptions activations = Activations(device);
  const lm::Rope rope(config, device, activations.dtype().toScalarType());
  CacheBytes bytes;
  // The CPU's allocator keeps no account: there the state's own.
  const auto now = [&](const lm::AttentionState& state) {
    return device.is_cuda() ? AllocatedBytes(device) : state.Bytes();
  };
  {
    // Makes the tables of the positions, which are no cache.
    rope.Apply(at::empty({1, prompt_tokens, config.head_dim}, activations), 0);
  }
  const int64_t before = device.is_cuda() ? AllocatedBytes(device) : 0;
  const std::unique_ptr<lm::AttentionState> state = MakeRazorState(
      config, device, activations.dtype().toScalarType(), retrieval, options);
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    const auto draw = [&](int64_t heads) {
      return at::empty({heads, prompt_tokens, config.head_dim}, activations)
          .normal_(0, 1, generator);
    };
    const at::Tensor q = draw(config.num_heads);
    const at::Tensor k = draw(config.num_kv_heads);
    const at::Tensor v = draw(config.num_kv_heads);
    state->Attend({layer, q, k, v, 0, &rope});
  }
  bytes.dense = now(*state) - before;
  state->PromptDone();
  bytes.compressed = now(*state) - before;
  return bytes;
}

}  // namespace repro::razor
