#include "papers/duo_attention/duo_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "common/lm/attention.h"
#include "common/lm/cache.h"
#include "common/lm/dense_state.h"

namespace repro::duo {
namespace {

using lm::AttentionInput;
using lm::LayerCache;

// Some of a layer's heads.
struct Part {
  std::vector<int64_t> heads;  // of keys
  at::Tensor index;            // on the device; undefined: a range
  int64_t first = 0;
  at::Tensor query_index;
  std::unique_ptr<LayerCache> cache;

  // x: [num_kv_heads * group, tokens, head_dim] -> the part's.
  at::Tensor Pick(const at::Tensor& x, int64_t group) const {
    if (!index.defined()) {
      return x.narrow(0, first * group,
                      static_cast<int64_t>(heads.size()) * group);
    }
    return x.index_select(0, group == 1 ? index : query_index);
  }
};

std::vector<int64_t> Others(const std::vector<int64_t>& heads, int64_t count) {
  std::vector<int64_t> out;
  size_t next = 0;
  for (int64_t h = 0; h < count; ++h) {
    if (next < heads.size() && heads[next] == h) {
      ++next;
    } else {
      out.push_back(h);
    }
  }
  TORCH_CHECK(next == heads.size(), "full heads ", at::IntArrayRef(heads),
              ": expected ascending numbers below ", count);
  return out;
}

// Query heads of these key-value heads.
std::vector<int64_t> QueryHeads(const std::vector<int64_t>& heads,
                                int64_t group) {
  std::vector<int64_t> out;
  for (const int64_t h : heads) {
    for (int64_t i = 0; i < group; ++i) out.push_back(h * group + i);
  }
  return out;
}

class DuoState : public lm::AttentionState {
 public:
  DuoState(const lm::LanguageModel& model, const HeadSet& full_heads,
           const DuoOptions& options)
      : options_(options), group_(model.config().group_size()) {
    const lm::ModelConfig& c = model.config();
    TORCH_CHECK(static_cast<int64_t>(full_heads.size()) == c.num_layers,
                "duo: heads of ", full_heads.size(), " layers, expected ",
                c.num_layers);
    TORCH_CHECK(options.bits == 16 || options.bits == 4, "duo: ", options.bits,
                " bits, expected 16 or 4");
    const lm::CacheOptions all =
        lm::MakeCacheOptions(c, model.device(), model.dtype());
    for (const std::vector<int64_t>& full : full_heads) {
      const auto make = [&](std::vector<int64_t> heads, bool keeps_all) {
        Part part;
        part.heads = std::move(heads);
        const auto count = static_cast<int64_t>(part.heads.size());
        if (count == 0) return part;
        part.first = part.heads[0];
        if (part.heads.back() - part.first + 1 != count) {
          part.index = at::tensor(part.heads, at::kLong).to(model.device());
          part.query_index =
              at::tensor(QueryHeads(part.heads, group_), at::kLong)
                  .to(model.device());
        }
        lm::CacheOptions some = all;
        some.num_kv_heads = count;
        if (!keeps_all) {
          // The cache keeps one less before new tokens come.
          part.cache = lm::MakeSinkWindowCache(
              some, options.sink,
              options.recent + (options.rule == StreamingRule::kChunk ? 1 : 0));
        } else if (options.bits == 4) {
          part.cache = lm::MakeQuantizedCache(
              some, 4, std::min<int64_t>(128, some.head_dim));
        } else {
          part.cache = lm::MakeContiguousCache(some);
        }
        return part;
      };
      layers_.push_back(
          {make(full, true), make(Others(full, c.num_kv_heads), false), {}});
      Layer& layer = layers_.back();
      // Where the parts' query heads, one part after the other, belong.
      std::vector<int64_t> order = QueryHeads(layer.full.heads, group_);
      for (const int64_t h : QueryHeads(layer.streaming.heads, group_)) {
        order.push_back(h);
      }
      std::vector<int64_t> inverse(order.size());
      for (size_t i = 0; i < order.size(); ++i) {
        inverse[order[i]] = static_cast<int64_t>(i);
      }
      if (!std::is_sorted(order.begin(), order.end())) {
        layer.inverse = at::tensor(inverse, at::kLong).to(model.device());
      }
    }
  }

  at::Tensor Attend(const AttentionInput& input) override {
    Layer& layer = layers_.at(input.layer);
    const at::Tensor q = input.rope->Apply(input.q, input.position);
    const at::Tensor k = input.rope->Apply(input.k, input.position);
    std::vector<at::Tensor> out;
    if (LayerCache* cache = layer.full.cache.get()) {
      cache->Append(layer.full.Pick(k, 1), layer.full.Pick(input.v, 1));
      out.push_back(lm::DenseAttention(layer.full.Pick(q, group_),
                                       cache->Keys(), cache->Values()));
    }
    if (LayerCache* cache = layer.streaming.cache.get()) {
      cache->Append(layer.streaming.Pick(k, 1),
                    layer.streaming.Pick(input.v, 1));
      const at::Tensor queries = layer.streaming.Pick(q, group_);
      out.push_back(
          options_.rule == StreamingRule::kChunk
              ? lm::DenseAttention(queries, cache->Keys(), cache->Values())
              : lm::SinkWindowAttention(queries, cache->Keys(), cache->Values(),
                                        options_.sink, options_.recent));
    }
    const at::Tensor joined = out.size() == 1 ? out[0] : at::cat(out, 0);
    return layer.inverse.defined() ? joined.index_select(0, layer.inverse)
                                   : joined;
  }

  int64_t Bytes() const override {
    int64_t bytes = 0;
    for (const Layer& layer : layers_) {
      if (layer.full.cache) bytes += layer.full.cache->Bytes();
      if (layer.streaming.cache) bytes += layer.streaming.cache->Bytes();
    }
    return bytes;
  }

 private:
  struct Layer {
    Part full, streaming;
    at::Tensor inverse;
  };

  DuoOptions options_;
  int64_t group_;
  std::vector<Layer> layers_;
};

}  // namespace

std::unique_ptr<lm::AttentionState> MakeDuoState(const lm::LanguageModel& model,
                                                 const HeadSet& full_heads,
                                                 const DuoOptions& options) {
  return std::make_unique<DuoState>(model, full_heads, options);
}

HeadSet ReorderHeads(lm::LanguageModel* model, const HeadSet& full_heads) {
  const lm::ModelConfig& c = model->config();
  TORCH_CHECK(static_cast<int64_t>(full_heads.size()) == c.num_layers,
              "reorder: heads of ", full_heads.size(), " layers, expected ",
              c.num_layers);
  HeadSet out;
  for (int64_t l = 0; l < c.num_layers; ++l) {
    lm::LayerWeights& layer = model->mutable_weights().layers[l];
    TORCH_CHECK(layer.qkv.dense.defined() && layer.output.dense.defined(),
                "reorder: the model's weights are quantised");
    std::vector<int64_t> order = full_heads[l];
    for (const int64_t h : Others(full_heads[l], c.num_kv_heads)) {
      order.push_back(h);
    }
    const std::vector<int64_t> queries = QueryHeads(order, c.group_size());
    std::vector<int64_t> rows;
    const auto add = [&](int64_t head) {
      for (int64_t i = 0; i < c.head_dim; ++i) {
        rows.push_back(head * c.head_dim + i);
      }
    };
    for (const int64_t h : queries) add(h);
    const at::Tensor columns = at::tensor(rows, at::kLong).to(model->device());
    for (const int64_t h : order) add(c.num_heads + h);
    for (const int64_t h : order) add(c.num_heads + c.num_kv_heads + h);
    const at::Tensor index = at::tensor(rows, at::kLong).to(model->device());
    layer.qkv.dense = layer.qkv.dense.index_select(0, index);
    if (layer.qkv.bias.defined()) {
      layer.qkv.bias = layer.qkv.bias.index_select(0, index);
    }
    layer.output.dense = layer.output.dense.index_select(1, columns);
    std::vector<int64_t>& first = out.emplace_back();
    for (size_t i = 0; i < full_heads[l].size(); ++i) {
      first.push_back(static_cast<int64_t>(i));
    }
  }
  return out;
}

}  // namespace repro::duo
