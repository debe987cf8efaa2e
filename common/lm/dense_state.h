// The plain attention states: a cache a layer, keys rotated at their places,
// and dense attention, or that of sinks and a window.
#ifndef REPRO_COMMON_LM_DENSE_STATE_H_
#define REPRO_COMMON_LM_DENSE_STATE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "common/lm/attention_state.h"
#include "common/lm/cache.h"
#include "common/lm/config.h"

namespace repro::lm {

enum class CacheKind {
  kContiguous,
  kInt8,  // groups of 32 along head_dim, or of head_dim if that is smaller
  kInt4,
};

CacheOptions MakeCacheOptions(const ModelConfig& config, c10::Device device,
                              at::ScalarType dtype);

// Makes the cache of a layer.
using MakeCache = std::function<std::unique_ptr<LayerCache>(int64_t layer)>;

// Dense attention over caches that keep everything.
std::unique_ptr<AttentionState> MakeDenseState(int64_t num_layers,
                                               const MakeCache& make_cache);
std::unique_ptr<AttentionState> MakeDenseState(
    const ModelConfig& config, c10::Device device, at::ScalarType dtype,
    CacheKind kind = CacheKind::kContiguous);

// Each token sees the first `sink` and the last `recent` tokens, its own
// included, at their absolute positions; the rest is dropped.
std::unique_ptr<AttentionState> MakeWindowState(const ModelConfig& config,
                                                c10::Device device,
                                                at::ScalarType dtype,
                                                int64_t sink, int64_t recent);

// A pool for each layer, to be shared by the states of many sequences.
std::vector<std::shared_ptr<PagePool>> MakePagePools(const ModelConfig& config,
                                                     c10::Device device,
                                                     at::ScalarType dtype,
                                                     int64_t num_pages,
                                                     int64_t page_size);
// `batched`: the decode steps of several sequences are one call of
// kernels/paged_attention_decode, as pays on a GPU (the default there).
std::unique_ptr<AttentionState> MakePagedState(
    const std::vector<std::shared_ptr<PagePool>>& pools,
    std::optional<bool> batched = std::nullopt);

}  // namespace repro::lm

#endif  // REPRO_COMMON_LM_DENSE_STATE_H_
