#include "common/lm/dense_state.h"

#include <algorithm>
#include <utility>

#include "common/lm/attention.h"

namespace repro::lm {
namespace {

// sink, recent: of a window; recent 0: dense.
class CachedState : public AttentionState {
 public:
  CachedState(int64_t num_layers, const MakeCache& make_cache, int64_t sink,
              int64_t recent)
      : sink_(sink), recent_(recent) {
    for (int64_t layer = 0; layer < num_layers; ++layer) {
      caches_.push_back(make_cache(layer));
    }
  }

  at::Tensor Attend(const AttentionInput& input) override {
    LayerCache& cache = *caches_.at(input.layer);
    cache.Append(input.rope->Apply(input.k, input.position), input.v);
    const at::Tensor q = input.rope->Apply(input.q, input.position);
    if (recent_ == 0) return DenseAttention(q, cache.Keys(), cache.Values());
    return SinkWindowAttention(q, cache.Keys(), cache.Values(), sink_, recent_);
  }

  int64_t Bytes() const override {
    int64_t bytes = 0;
    for (const auto& cache : caches_) bytes += cache->Bytes();
    return bytes;
  }

 private:
  int64_t sink_, recent_;
  std::vector<std::unique_ptr<LayerCache>> caches_;
};

}  // namespace

CacheOptions MakeCacheOptions(const ModelConfig& config, c10::Device device,
                              at::ScalarType dtype) {
  return {config.num_kv_heads, config.head_dim, device, dtype};
}

std::unique_ptr<AttentionState> MakeDenseState(int64_t num_layers,
                                               const MakeCache& make_cache) {
  return std::make_unique<CachedState>(num_layers, make_cache, 0, 0);
}

std::unique_ptr<AttentionState> MakeDenseState(const ModelConfig& config,
                                               c10::Device device,
                                               at::ScalarType dtype,
                                               CacheKind kind) {
  const CacheOptions options = MakeCacheOptions(config, device, dtype);
  return MakeDenseState(config.num_layers, [&](int64_t) {
    if (kind == CacheKind::kContiguous) return MakeContiguousCache(options);
    const int64_t group = options.head_dim % 32 == 0 ? 32 : options.head_dim;
    return MakeQuantizedCache(options, kind == CacheKind::kInt8 ? 8 : 4, group);
  });
}

std::unique_ptr<AttentionState> MakeWindowState(const ModelConfig& config,
                                                c10::Device device,
                                                at::ScalarType dtype,
                                                int64_t sink, int64_t recent) {
  const CacheOptions options = MakeCacheOptions(config, device, dtype);
  return std::make_unique<CachedState>(
      config.num_layers,
      [&](int64_t) { return MakeSinkWindowCache(options, sink, recent); }, sink,
      recent);
}

std::vector<std::shared_ptr<PagePool>> MakePagePools(const ModelConfig& config,
                                                     c10::Device device,
                                                     at::ScalarType dtype,
                                                     int64_t num_pages,
                                                     int64_t page_size) {
  std::vector<std::shared_ptr<PagePool>> pools;
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    pools.push_back(std::make_shared<PagePool>(
        MakeCacheOptions(config, device, dtype), num_pages, page_size));
  }
  return pools;
}

std::unique_ptr<AttentionState> MakePagedState(
    const std::vector<std::shared_ptr<PagePool>>& pools) {
  return MakeDenseState(static_cast<int64_t>(pools.size()), [&](int64_t layer) {
    return std::make_unique<PagedCache>(pools[layer]);
  });
}

}  // namespace repro::lm
