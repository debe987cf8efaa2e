#include "papers/hip_attention/latency.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <c10/core/CachingDeviceAllocator.h>

#include <functional>

#include "common/lm/attention.h"
#include "common/tensor/generator.h"
#include "kernels/graph/graph.h"
#include "kernels/paged_attention_decode/paged_attention_decode.h"

namespace repro::hip {
namespace {

at::TensorOptions Activations(c10::Device device) {
  return at::TensorOptions(device).dtype(device.is_cuda() ? at::kBFloat16
                                                          : at::kFloat);
}

// A long sequence's tensors leave no room for the next one's in pieces.
void ReleaseMemory(c10::Device device) {
  if (device.is_cuda()) c10::getDeviceAllocator(device.type())->emptyCache();
}

double MedianOf(c10::Device device, const TimingOptions& timing,
                const std::function<void()>& run) {
  return MeasureTime(device, run, timing).Median();
}

double MedianOfStep(c10::Device device, TimingOptions timing,
                    const std::function<void()>& step) {
  timing.flush_cache = device.is_cuda();
  CapturedGraph graph(device, step);
  return MedianOf(device, timing, [&] { graph.Replay(); });
}

struct Inputs {
  at::Tensor q, k, v;
};

Inputs RandomInputs(const LayerShape& shape, int64_t queries,
                    c10::Device device, uint64_t seed) {
  ReleaseMemory(device);
  const at::Generator generator = MakeGenerator(seed, 0, device);
  const auto draw = [&](int64_t heads, int64_t tokens) {
    return at::randn({heads, tokens, shape.head_dim}, generator,
                     Activations(device));
  };
  return {draw(shape.num_heads, queries),
          draw(shape.num_kv_heads, shape.tokens),
          draw(shape.num_kv_heads, shape.tokens)};
}

}  // namespace

AttentionTimes TimePrefill(const LayerShape& shape, const HipOptions& options,
                           c10::Device device, uint64_t seed,
                           TimingOptions timing) {
  const at::NoGradGuard no_grad;
  const Inputs in = RandomInputs(shape, shape.tokens, device, seed);
  AttentionTimes times;
  times.dense =
      MedianOf(device, timing, [&] { lm::DenseAttention(in.q, in.k, in.v); });
  at::Tensor mask;
  times.refresh = MedianOf(device, timing,
                           [&] { mask = EstimateMask(in.q, in.k, options); });
  times.sparse = MedianOf(device, timing, [&] {
    SparseAttention(in.q, in.k, in.v, mask, options);
  });
  return times;
}

AttentionTimes TimeDecode(const LayerShape& shape, const HipOptions& options,
                          c10::Device device, uint64_t seed,
                          TimingOptions timing) {
  const at::NoGradGuard no_grad;
  const Inputs in = RandomInputs(shape, 1, device, seed);
  // The same keys and values as one page of one sequence.
  PagedKeysValues pages;
  pages.k_pages = in.k.transpose(0, 1).unsqueeze(0);
  pages.v_pages = in.v.transpose(0, 1).unsqueeze(0);
  const at::TensorOptions ints = in.q.options().dtype(at::kInt);
  pages.page_table = at::arange(1, ints).unsqueeze(1);
  pages.lengths = at::full({1}, shape.tokens, ints);
  const at::Tensor paged_q = in.q.transpose(0, 1);  // [1, num_heads, head_dim]
  AttentionTimes times;
  at::Tensor out;
  times.dense = MedianOfStep(device, timing, [&] {
    out = std::get<0>(PagedAttentionDecode(paged_q, pages, shape.tokens));
  });
  at::Tensor captured;
  times.refresh = MedianOfStep(
      device, timing, [&] { captured = EstimateMask(in.q, in.k, options); });
  const at::Tensor mask = EstimateMask(in.q, in.k, options);
  times.sparse = MedianOfStep(device, timing, [&] {
    out = SparseAttention(in.q, in.k, in.v, mask, options);
  });
  return times;
}

LinearTimes TimeLinear(const lm::ModelConfig& config, c10::Device device,
                       uint64_t seed, TimingOptions timing) {
  const at::NoGradGuard no_grad;
  ReleaseMemory(device);
  const at::Generator generator = MakeGenerator(seed, 0, device);
  const auto draw = [&](int64_t rows, int64_t columns) {
    return at::randn({rows, columns}, generator, Activations(device));
  };
  const int64_t hidden = config.hidden_size;
  const int64_t width = config.num_heads * config.head_dim;
  const at::Tensor x = draw(1, hidden), heads = draw(1, width),
                   inner = draw(1, config.intermediate_size);
  const at::Tensor qkv =
      draw(width + 2 * config.num_kv_heads * config.head_dim, hidden);
  const at::Tensor output = draw(hidden, width);
  const at::Tensor gate_up = draw(2 * config.intermediate_size, hidden);
  const at::Tensor down = draw(hidden, config.intermediate_size);
  at::Tensor out;
  LinearTimes times;
  times.layer = MedianOfStep(device, timing, [&] {
    out = at::linear(x, qkv);
    out = at::linear(heads, output);
    out = at::linear(x, gate_up);
    out = at::linear(inner, down);
  });
  const at::Tensor head = draw(config.vocab_size, hidden);
  times.head = MedianOfStep(device, timing, [&] { out = at::linear(x, head); });
  return times;
}

double EndToEndSpeedup(const lm::ModelConfig& config,
                       const AttentionTimes& attention,
                       const LinearTimes& linear, int64_t dense_layers,
                       int64_t refresh) {
  const double layers = static_cast<double>(config.num_layers);
  const double dense = static_cast<double>(dense_layers);
  const double rest = layers * linear.layer + linear.head;
  return (rest + layers * attention.dense) /
         (rest + dense * attention.dense +
          (layers - dense) * attention.Hip(refresh));
}

double EndToEndBound(const lm::ModelConfig& config, int64_t tokens,
                     double bytes_per_value) {
  // Of an embedding that is not the head, one row is read.
  const double weights =
      bytes_per_value *
      static_cast<double>(
          lm::NumParameters(config) -
          (config.tie_embeddings ? 0 : config.vocab_size * config.hidden_size));
  const double cache = 2.0 * 2.0 * static_cast<double>(config.num_layers) *
                       static_cast<double>(config.num_kv_heads) *
                       static_cast<double>(config.head_dim) *
                       static_cast<double>(tokens);
  return (weights + cache) / weights;
}

}  // namespace repro::hip
