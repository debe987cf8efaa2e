#include "common/lm/dense_state.h"

#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "common/lm/attention.h"
#include "kernels/paged_attention_decode/paged_attention_decode.h"

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

// Dense attention over pages of shared pools.
class PagedState : public AttentionState {
 public:
  PagedState(const std::vector<std::shared_ptr<PagePool>>& pools, bool batched)
      : batched_(batched) {
    for (const auto& pool : pools) caches_.emplace_back(pool);
  }

  at::Tensor Attend(const AttentionInput& input) override {
    PagedCache& cache = caches_.at(input.layer);
    cache.Append(input.rope->Apply(input.k, input.position), input.v);
    return DenseAttention(input.rope->Apply(input.q, input.position),
                          cache.Keys(), cache.Values());
  }

  // The sequences with one new token each are one append and one attention,
  // which reads the pages in place.
  std::vector<at::Tensor> AttendMany(
      const std::vector<AttentionState*>& states,
      const std::vector<AttentionInput>& inputs) override {
    std::vector<at::Tensor> attended(states.size());
    std::vector<size_t> steps;
    for (size_t i = 0; i < states.size(); ++i) {
      if (batched_ && inputs[i].q.size(1) == 1) {
        steps.push_back(i);
      } else {
        attended[i] = states[i]->Attend(inputs[i]);
      }
    }
    if (!steps.empty()) Step(states, inputs, steps, &attended);
    return attended;
  }

  int64_t Bytes() const override {
    int64_t bytes = 0;
    for (const auto& cache : caches_) bytes += cache.Bytes();
    return bytes;
  }

 private:
  // Sets attended[i] of each i in `steps`.
  static void Step(const std::vector<AttentionState*>& states,
                   const std::vector<AttentionInput>& inputs,
                   const std::vector<size_t>& steps,
                   std::vector<at::Tensor>* attended) {
    const auto batch = static_cast<int64_t>(steps.size());
    const int64_t layer = inputs[steps[0]].layer;
    std::vector<const PagedCache*> caches;
    std::vector<at::Tensor> q, k, v;
    std::vector<int32_t> lengths;
    int64_t max_pages = 0;
    for (const size_t i : steps) {
      PagedCache& cache = static_cast<PagedState*>(states[i])->caches_[layer];
      cache.Extend(1);
      caches.push_back(&cache);
      lengths.push_back(static_cast<int32_t>(cache.length()));
      max_pages = std::max<int64_t>(max_pages, cache.pages().size());
      q.push_back(inputs[i].q.select(1, 0));
      k.push_back(inputs[i].k.select(1, 0));
      v.push_back(inputs[i].v.select(1, 0));
    }
    std::vector<int32_t> table(batch * max_pages);
    for (int64_t i = 0; i < batch; ++i) {
      std::copy(caches[i]->pages().begin(), caches[i]->pages().end(),
                table.begin() + i * max_pages);
    }
    const PagePool& pool = caches[0]->pool();
    const auto on_device = [&pool](const std::vector<int32_t>& values) {
      return at::tensor(values, at::kInt).to(pool.options().device);
    };
    PagedKeysValues pages;
    pages.k_pages = pool.k_pages();
    pages.v_pages = pool.v_pages();
    pages.page_table = on_device(table).view({batch, max_pages});
    pages.lengths = on_device(lengths);
    const int64_t longest = *std::max_element(lengths.begin(), lengths.end());
    at::Tensor cos, sin;
    inputs[steps[0]].rope->Tables(longest, &cos, &sin);
    const at::Tensor queries = at::stack(q);
    PagedAppend(pages.k_pages, pages.v_pages, pages.page_table, pages.lengths,
                queries, at::stack(k), at::stack(v), cos, sin);
    const at::Tensor out =
        std::get<0>(PagedAttentionDecode(queries, pages, longest));
    for (int64_t i = 0; i < batch; ++i) {
      attended->at(steps[i]) = out[i].unsqueeze(1);
    }
  }

  const bool batched_;
  std::vector<PagedCache> caches_;
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
    const std::vector<std::shared_ptr<PagePool>>& pools,
    std::optional<bool> batched) {
  return std::make_unique<PagedState>(
      pools,
      batched.value_or(!pools.empty() && pools[0]->options().device.is_cuda()));
}

}  // namespace repro::lm
