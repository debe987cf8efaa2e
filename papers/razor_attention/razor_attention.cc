#include "papers/razor_attention/razor_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "common/lm/attention.h"
#include "common/lm/cache.h"
#include "common/lm/dense_state.h"
#include "common/tensor/check.h"

namespace repro::razor {
namespace {

int64_t CompensationTokens(const RazorOptions& options) {
  return options.compensation == Compensation::kNone ? 0 : 1;
}

void Validate(const RazorOptions& options) {
  TORCH_CHECK(options.sink >= 0 && options.ratio >= 1 &&
                  options.least_window >= 0 && options.capacity >= 0,
              "razor: sink ", options.sink, ", ratio ", options.ratio,
              ", least_window ", options.least_window, ", capacity ",
              options.capacity, ": expected none below 0, ratio at least 1");
  TORCH_CHECK(options.capacity == 0 ||
                  options.capacity > options.sink + CompensationTokens(options),
              "razor: a capacity of ", options.capacity, " does not hold ",
              options.sink, " sinks, a compensation token and one more");
}

class RazorState : public lm::AttentionState {
 public:
  RazorState(const lm::ModelConfig& config, const lm::CacheOptions& cache,
             const HeadSet& retrieval, const RazorOptions& options)
      : cache_(cache), group_(config.group_size()), options_(options) {
    Validate(options);
    TORCH_CHECK(static_cast<int64_t>(retrieval.size()) == config.num_layers,
                "razor: retrieval heads of ", retrieval.size(),
                " layers, expected ", config.num_layers);
    for (const std::vector<int64_t>& heads : retrieval) {
      Layer layer;
      std::vector<bool> full(config.num_kv_heads);
      for (const int64_t head : heads) {
        TORCH_CHECK(head >= 0 && head < config.num_kv_heads,
                    "razor: retrieval head ", head, " of ",
                    config.num_kv_heads);
        full[head] = true;
      }
      for (int64_t head = 0; head < config.num_kv_heads; ++head) {
        (full[head] ? layer.full : layer.rest).kv_heads.push_back(head);
      }
      layer.prompt = lm::MakeContiguousCache(cache);
      layers_.push_back(std::move(layer));
    }
  }

  at::Tensor Attend(const lm::AttentionInput& input) override {
    Layer& layer = layers_.at(input.layer);
    const at::Tensor q = input.rope->Apply(input.q, input.position);
    const at::Tensor k = input.rope->Apply(input.k, input.position);
    if (layer.prompt != nullptr) {
      layer.prompt->Append(k, input.v);
      return lm::DenseAttention(q, layer.prompt->Keys(),
                                layer.prompt->Values());
    }
    at::Tensor out = at::empty_like(q, at::MemoryFormat::Contiguous);
    for (Part* part : {&layer.full, &layer.rest}) {
      if (part->kv_heads.empty()) continue;
      part->cache->Append(k.index_select(0, part->kv_index),
                          input.v.index_select(0, part->kv_index));
      const at::Tensor queries = q.index_select(0, part->query_index);
      const at::Tensor keys = part->cache->Keys();
      const at::Tensor values = part->cache->Values();
      out.index_copy_(0, part->query_index,
                      part == &layer.rest &&
                              options_.compensation == Compensation::kWeighted
                          ? WeightedAttention(queries, keys, values,
                                              options_.sink, layer.dropped)
                          : lm::DenseAttention(queries, keys, values));
    }
    return out;
  }

  void PromptDone() override {
    for (Layer& layer : layers_) {
      if (layer.prompt == nullptr || layer.rest.kv_heads.empty()) continue;
      const int64_t tokens = layer.prompt->length();
      if (WindowTokens(options_, tokens) == tokens) continue;
      for (Part* part : {&layer.full, &layer.rest}) {
        if (part->kv_heads.empty()) continue;
        lm::CacheOptions options = cache_;
        options.num_kv_heads = static_cast<int64_t>(part->kv_heads.size());
        part->kv_index =
            at::tensor(part->kv_heads, at::kLong).to(cache_.device);
        part->query_index =
            (part->kv_index.unsqueeze(1) * group_ +
             at::arange(group_, part->kv_index.options()).unsqueeze(0))
                .flatten();
        part->cache = lm::MakeContiguousCache(options);
        const at::Tensor k =
            layer.prompt->Keys().index_select(0, part->kv_index);
        const at::Tensor v =
            layer.prompt->Values().index_select(0, part->kv_index);
        if (part == &layer.full) {
          part->cache->Append(k, v);
          continue;
        }
        const CompressedKeysValues compressed = Compress(k, v, options_);
        part->cache->Append(compressed.k, compressed.v);
        layer.dropped = compressed.dropped;
      }
      layer.prompt.reset();
    }
  }

  int64_t Bytes() const override {
    int64_t bytes = 0;
    for (const Layer& layer : layers_) {
      for (const lm::LayerCache* cache :
           {layer.prompt.get(), layer.full.cache.get(),
            layer.rest.cache.get()}) {
        if (cache != nullptr) bytes += cache->Bytes();
      }
    }
    return bytes;
  }

 private:
  // Heads that are kept alike.
  struct Part {
    std::vector<int64_t> kv_heads;
    at::Tensor kv_index, query_index;  // on the device
    std::unique_ptr<lm::LayerCache> cache;
  };
  struct Layer {
    std::unique_ptr<lm::LayerCache> prompt;  // of all heads; until compression
    Part full, rest;
    int64_t dropped = 0;
  };

  lm::CacheOptions cache_;
  int64_t group_;
  RazorOptions options_;
  std::vector<Layer> layers_;
};

}  // namespace

RazorOptions RazorOptions::Deployed() {
  RazorOptions options;
  options.capacity = 256;
  options.compensation = Compensation::kPlain;
  return options;
}

int64_t WindowTokens(const RazorOptions& options, int64_t prompt_tokens) {
  Validate(options);
  TORCH_CHECK(prompt_tokens >= 0, "razor: a prompt of ", prompt_tokens);
  const int64_t window =
      options.capacity > 0
          ? options.capacity - options.sink - CompensationTokens(options)
          : std::max(options.least_window,
                     static_cast<int64_t>(static_cast<double>(prompt_tokens) /
                                          options.ratio));
  // A compensation token for one dropped token would save nothing.
  return prompt_tokens - options.sink - window > CompensationTokens(options)
             ? window
             : prompt_tokens;
}

int64_t KeptEntries(const RazorOptions& options, int64_t prompt_tokens) {
  const int64_t window = WindowTokens(options, prompt_tokens);
  return window == prompt_tokens
             ? prompt_tokens
             : options.sink + CompensationTokens(options) + window;
}

double KeptFraction(const RazorOptions& options, double share,
                    int64_t prompt_tokens) {
  return share + (1 - share) *
                     static_cast<double>(KeptEntries(options, prompt_tokens)) /
                     static_cast<double>(prompt_tokens);
}

double LimitKeptFraction(double share, double ratio) {
  return share + (1 - share) / ratio;
}

CompressedKeysValues Compress(const at::Tensor& k, const at::Tensor& v,
                              const RazorOptions& options) {
  ShapeChecker check;
  check(k, {"heads", "tokens", "head_dim"}, "k");
  check(v, {"heads", "tokens", "head_dim"}, "v");
  const int64_t tokens = k.size(1);
  const int64_t window = WindowTokens(options, tokens);
  if (window == tokens) return {k, v, 0};
  CompressedKeysValues out;
  out.dropped = tokens - options.sink - window;
  const auto compress = [&](const at::Tensor& x) {
    std::vector<at::Tensor> parts = {x.narrow(1, 0, options.sink)};
    if (options.compensation != Compensation::kNone) {
      // Sums of many bfloat16 are taken in float32.
      parts.push_back(
          x.narrow(1, options.sink, out.dropped)
              .mean(1, /*keepdim=*/true,
                    x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat)
              .to(x.scalar_type()));
    }
    parts.push_back(x.narrow(1, tokens - window, window));
    return at::cat(parts, 1);
  };
  out.k = compress(k);
  out.v = compress(v);
  return out;
}

at::Tensor WeightedAttention(const at::Tensor& q, const at::Tensor& k,
                             const at::Tensor& v, int64_t place,
                             int64_t count) {
  const int64_t queries = q.size(1), keys = k.size(1);
  TORCH_CHECK(place >= 0 && place <= keys - queries && count > 0,
              "razor: a token that counts ", count, " times at place ", place,
              " of ", keys, " keys for ", queries, " queries");
  at::Tensor bias = at::zeros({1, queries, keys}, q.options());
  if (queries > 1) {
    const at::TensorOptions places = q.options().dtype(at::kLong);
    bias.masked_fill_(at::arange(keys, places) >
                          at::arange(keys - queries, keys, places).unsqueeze(1),
                      -INFINITY);
  }
  bias.select(2, place).fill_(std::log(static_cast<double>(count)));
  return lm::BiasedAttention(q, k, v, bias);
}

std::unique_ptr<lm::AttentionState> MakeRazorState(
    const lm::ModelConfig& config, c10::Device device, at::ScalarType dtype,
    const HeadSet& retrieval, const RazorOptions& options) {
  return std::make_unique<RazorState>(
      config, lm::MakeCacheOptions(config, device, dtype), retrieval, options);
}

double AlibiSlope(int64_t head, int64_t num_heads) {
  TORCH_CHECK(head >= 1 && head <= num_heads, "ALiBi: head ", head, " of ",
              num_heads, ", counted from 1");
  return std::exp2(-8.0 * static_cast<double>(head) /
                   static_cast<double>(num_heads));
}

double AlibiScope(double weight_norm, double gamma_squared, double bias_squared,
                  double slope, double epsilon) {
  TORCH_CHECK(slope > 0 && epsilon > 0 && weight_norm >= 0, "ALiBi: slope ",
              slope, ", epsilon ", epsilon, ", weight norm ", weight_norm);
  return (2 * weight_norm * (gamma_squared + bias_squared) -
          std::log(epsilon)) /
         slope;
}

double StrictAlibiScope(double weight_norm, int64_t hidden_size,
                        double max_gamma_squared, double bias_squared,
                        double slope, double epsilon) {
  return AlibiScope(2 * weight_norm,
                    static_cast<double>(hidden_size) * max_gamma_squared,
                    bias_squared, slope, epsilon);
}

}  // namespace repro::razor
