#include "papers/hip_attention/hip_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>

#include <algorithm>
#include <vector>

#include "common/lm/attention.h"
#include "common/lm/cache.h"
#include "common/lm/dense_state.h"
#include "common/tensor/check.h"
#include "kernels/selected_attention/selected_attention.h"

namespace repro::hip {
namespace {

void CheckOptions(const HipOptions& options) {
  TORCH_CHECK(options.mask.key_block > 0 && options.mask.query_block > 0 &&
                  options.sink >= 0 &&
                  options.sink % options.mask.key_block == 0,
              "HiP attention: sink ", options.sink,
              " must be a multiple of key_block ", options.mask.key_block);
  TORCH_CHECK(options.dense_layers >= 0 && options.refresh >= 1,
              "HiP attention: dense_layers ", options.dense_layers,
              ", refresh ", options.refresh, ": want at least 0 and 1");
}

class HipState : public lm::AttentionState {
 public:
  HipState(const lm::ModelConfig& config, const lm::CacheOptions& cache,
           const HipOptions& options)
      : options_(options), layers_(config.num_layers) {
    CheckOptions(options);
    for (Layer& layer : layers_) layer.cache = MakeContiguousCache(cache);
  }

  at::Tensor Attend(const lm::AttentionInput& input) override {
    Layer& layer = layers_.at(input.layer);
    layer.cache->Append(input.rope->Apply(input.k, input.position), input.v);
    const at::Tensor q = input.rope->Apply(input.q, input.position);
    const at::Tensor k = layer.cache->Keys(), v = layer.cache->Values();
    if (input.layer < options_.dense_layers) {
      return lm::DenseAttention(q, k, v);
    }
    if (q.size(1) != 1) {
      layer.mask.reset();
      return HipAttention(q, k, v, options_);
    }
    if (!layer.mask.defined() || ++layer.age == options_.refresh) {
      layer.mask = EstimateMask(q, k, options_);
      layer.age = 0;
    }
    return SparseAttention(
        q, k, v, layer.mask, options_,
        options_.mask.window + (options_.cover_gap ? layer.age : 0));
  }

  int64_t Bytes() const override {
    int64_t bytes = 0;
    for (const Layer& layer : layers_) {
      bytes += layer.cache->Bytes();
      if (layer.mask.defined()) {
        bytes += static_cast<int64_t>(layer.mask.nbytes());
      }
    }
    return bytes;
  }

 private:
  struct Layer {
    std::unique_ptr<lm::LayerCache> cache;
    at::Tensor mask;  // of a decode step
    int64_t age = 0;  // steps since
  };

  const HipOptions options_;
  std::vector<Layer> layers_;
};

}  // namespace

at::Tensor EstimateMask(const at::Tensor& q, const at::Tensor& k,
                        const HipOptions& options) {
  CheckOptions(options);
  const HierarchicalTopkOptions& m = options.mask;
  if (options.sink == 0) return std::get<0>(HierarchicalTopkMask(q, k, m));
  ShapeChecker check;
  check(q, {"num_heads", "queries", "head_dim"}, "q");
  check(k, {"num_kv_heads", "keys", "head_dim"}, "k");
  const int64_t heads = q.size(0), queries = q.size(1), keys = k.size(1);
  TORCH_CHECK(keys >= queries, "HiP attention: ", queries,
              " queries stand at the last of only ", keys, " keys");
  const int64_t query_blocks = (queries + m.query_block - 1) / m.query_block;
  const int64_t sink_blocks =
      std::min(options.sink / m.key_block, keys / m.key_block);
  const int64_t sink = sink_blocks * m.key_block;
  // Blocks whose first query stands among the sinks: with w >= b_q - 1 their
  // windows and the sinks leave nothing to search.
  const int64_t first = std::max<int64_t>(0, sink - (keys - queries));
  const int64_t skipped =
      std::min(query_blocks, (first + m.query_block - 1) / m.query_block);
  const at::Tensor blocks =
      at::full({heads, query_blocks,
                sink_blocks + m.head_group * (m.top_k / m.key_block)},
               -1, q.options().dtype(at::kInt));
  blocks.narrow(2, 0, sink_blocks)
      .copy_(at::arange(sink_blocks, blocks.options()));
  const int64_t left = std::max<int64_t>(0, queries - skipped * m.query_block);
  const at::Tensor found = std::get<0>(HierarchicalTopkMask(
      q.narrow(1, queries - left, left), k.narrow(1, sink, keys - sink), m));
  blocks.narrow(1, skipped, query_blocks - skipped)
      .narrow(2, sink_blocks, found.size(2))
      .copy_((found + sink_blocks).masked_fill_(found < 0, -1));
  return blocks;
}

at::Tensor SparseAttention(const at::Tensor& q, const at::Tensor& k,
                           const at::Tensor& v, const at::Tensor& mask,
                           const HipOptions& options, int64_t window) {
  return BlockSelectedAttention(q, k, v, mask, options.mask.query_block,
                                options.mask.key_block,
                                window < 0 ? options.mask.window : window);
}

at::Tensor HipAttention(const at::Tensor& q, const at::Tensor& k,
                        const at::Tensor& v, const HipOptions& options) {
  return SparseAttention(q, k, v, EstimateMask(q, k, options), options);
}

std::unique_ptr<lm::AttentionState> MakeHipState(const lm::ModelConfig& config,
                                                 c10::Device device,
                                                 at::ScalarType dtype,
                                                 const HipOptions& options) {
  return std::make_unique<HipState>(
      config, lm::MakeCacheOptions(config, device, dtype), options);
}

}  // namespace repro::hip
