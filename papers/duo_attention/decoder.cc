#include "papers/duo_attention/decoder.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "common/lm/attention.h"
#include "kernels/decode_linear/decode_linear.h"
#include "kernels/kv_quantize/kv_quantize.h"
#include "kernels/paged_attention_decode/paged_attention_decode.h"

namespace repro::duo {
namespace {

std::optional<at::Tensor> Optional(const at::Tensor& x) {
  return x.defined() ? std::make_optional(x) : std::nullopt;
}

// Turns x: [1, heads, head_dim] by cos, sin: [1, head_dim / 2].
at::Tensor Rotate(const at::Tensor& x, const at::Tensor& cos,
                  const at::Tensor& sin) {
  const int64_t half = x.size(2) / 2;
  const at::Tensor a = x.narrow(2, 0, half).to(at::kFloat);
  const at::Tensor b = x.narrow(2, half, half).to(at::kFloat);
  return at::cat({a * cos - b * sin, b * cos + a * sin}, 2).to(x.scalar_type());
}

int64_t Bytes(const std::vector<const at::Tensor*>& tensors) {
  int64_t bytes = 0;
  for (const at::Tensor* tensor : tensors) {
    if (tensor->defined()) bytes += static_cast<int64_t>(tensor->nbytes());
  }
  return bytes;
}

void CheckHeads(const std::vector<int64_t>& full_heads,
                const lm::ModelConfig& c) {
  TORCH_CHECK(static_cast<int64_t>(full_heads.size()) == c.num_layers,
              "duo: full heads of ", full_heads.size(), " layers, expected ",
              c.num_layers);
  for (const int64_t full : full_heads) {
    TORCH_CHECK(full >= 0 && full <= c.num_kv_heads, "duo: ", full,
                " full heads of ", c.num_kv_heads);
  }
}

}  // namespace

DuoDecoder::DuoDecoder(const lm::LanguageModel& model,
                       const DecoderOptions& options)
    : model_(model), options_(options) {
  const at::NoGradGuard no_grad;
  const lm::ModelConfig& c = model.config();
  CheckHeads(options.full_heads, c);
  TORCH_CHECK(options.capacity > 0 && options.sink >= 0 && options.recent > 0 &&
                  (options.bits == 16 || options.bits == 4),
              "duo decoder: capacity ", options.capacity, ", sink ",
              options.sink, ", recent ", options.recent, ", bits ",
              options.bits);
  TORCH_CHECK(model.weights().embedding.defined() &&
                  model.weights().head.dense.defined(),
              "duo decoder: the model's weights are quantised");
  const at::TensorOptions dense =
      at::TensorOptions(model.device()).dtype(model.dtype());
  const int64_t distinct =
      options.cache_layers > 0 ? options.cache_layers : c.num_layers;
  const int64_t group = std::min<int64_t>(128, c.head_dim);
  for (int64_t l = 0; l < c.num_layers; ++l) {
    const int64_t full = options.full_heads[l];
    if (l >= distinct &&
        options.full_heads[l - distinct] == options.full_heads[l]) {
      layers_.push_back(layers_[l - distinct]);
      continue;
    }
    Layer layer;
    if (full > 0 && options.bits == 16) {
      layer.k = at::zeros({1, options.capacity, full, c.head_dim}, dense);
      layer.v = at::zeros_like(layer.k);
    } else if (full > 0) {
      layer.k = at::zeros({1, options.capacity, full, c.head_dim / 2},
                          dense.dtype(at::kByte));
      layer.v = at::zeros_like(layer.k);
      layer.k_scale = at::zeros({1, options.capacity, full, c.head_dim / group},
                                dense.dtype(at::kHalf));
      layer.k_zero = at::zeros_like(layer.k_scale);
      layer.v_scale = at::zeros_like(layer.k_scale);
      layer.v_zero = at::zeros_like(layer.k_scale);
    }
    if (full < c.num_kv_heads) {
      layer.streaming_k = at::zeros(
          {1, options.sink + options.recent, c.num_kv_heads - full, c.head_dim},
          dense);
      layer.streaming_v = at::zeros_like(layer.streaming_k);
    }
    layers_.push_back(std::move(layer));
  }
  page_table_ = at::zeros({1, 1}, dense.dtype(at::kInt));
  length_ = at::zeros({1}, dense.dtype(at::kInt));
  tokens_ = at::zeros({1}, dense.dtype(at::kLong));
  logits_ = at::empty({1, c.vocab_size}, dense.dtype(at::kFloat));
  qkv_ = at::empty({1, (c.num_heads + 2 * c.num_kv_heads) * c.head_dim}, dense);
  hidden_ = at::empty({1, c.intermediate_size}, dense);
  attended_ = at::empty({1, c.num_heads, c.head_dim}, dense);
  model.rope().Tables(options.capacity, &cos_, &sin_);
  // Its rehearsals write at the front of the empty cache.
  graph_ = std::make_unique<CapturedGraph>(
      model.device(), [this] { RunStep(); }, /*warmup=*/1);
  length_.zero_();
}

void DuoDecoder::RunStep() {
  const at::NoGradGuard no_grad;
  const lm::ModelConfig& c = model_.config();
  const lm::ModelWeights& weights = model_.weights();
  const double eps = c.rms_norm_eps;
  const int64_t group = c.group_size();
  length_.add_(1);
  const at::Tensor place = length_.to(at::kLong) - 1;
  const at::Tensor x = at::embedding(weights.embedding, tokens_);
  const at::Tensor heads = qkv_.view({1, -1, c.head_dim});
  for (int64_t l = 0; l < c.num_layers; ++l) {
    const lm::LayerWeights& layer = weights.layers[l];
    const Layer& cache = layers_[l];
    const int64_t full = options_.full_heads[l];
    const int64_t streaming = c.num_kv_heads - full;
    DecodeLinear(qkv_, x, layer.qkv.dense, layer.attention_norm, eps,
                 Optional(layer.qkv.bias));
    // Of query heads, keys or values: those of full heads come first.
    const auto part = [&](int64_t first, int64_t per_head, int64_t from,
                          int64_t count) {
      return heads.narrow(1, first + from * per_head, count * per_head);
    };
    if (full > 0) {
      at::Tensor q = part(0, group, 0, full);
      const at::Tensor k = part(c.num_heads, 1, 0, full);
      const at::Tensor v = part(c.num_heads + c.num_kv_heads, 1, 0, full);
      PagedKeysValues keys;
      keys.k_pages = cache.k;
      keys.v_pages = cache.v;
      keys.page_table = page_table_;
      keys.lengths = length_;
      if (options_.bits == 16) {
        PagedAppend(cache.k, cache.v, page_table_, length_, q, k, v, cos_,
                    sin_);
      } else {
        const at::Tensor cos = cos_.index_select(0, place);
        const at::Tensor sin = sin_.index_select(0, place);
        q = Rotate(q, cos, sin);
        const int64_t size = std::min<int64_t>(128, c.head_dim);
        const QuantizedKv new_k = KvQuantize(Rotate(k, cos, sin), 4, size);
        const QuantizedKv new_v = KvQuantize(v.contiguous(), 4, size);
        const auto put = [&](const at::Tensor& into, const at::Tensor& row) {
          into.index_copy_(1, place, row.unsqueeze(0));
        };
        put(cache.k, new_k.packed);
        put(cache.k_scale, new_k.scale);
        put(cache.k_zero, new_k.zero);
        put(cache.v, new_v.packed);
        put(cache.v_scale, new_v.scale);
        put(cache.v_zero, new_v.zero);
        keys.k_scale = cache.k_scale;
        keys.k_zero = cache.k_zero;
        keys.v_scale = cache.v_scale;
        keys.v_zero = cache.v_zero;
      }
      attended_.narrow(1, 0, full * group)
          .copy_(std::get<0>(PagedAttentionDecode(q, keys, options_.capacity)));
    }
    if (streaming > 0) {
      const at::Tensor q = part(0, group, full, streaming);
      const at::Tensor k = part(c.num_heads, 1, full, streaming);
      const at::Tensor v =
          part(c.num_heads + c.num_kv_heads, 1, full, streaming);
      PagedAppend(cache.streaming_k, cache.streaming_v, page_table_, length_, q,
                  k, v, cos_, sin_, options_.sink, options_.recent);
      PagedKeysValues keys;
      keys.k_pages = cache.streaming_k;
      keys.v_pages = cache.streaming_v;
      keys.page_table = page_table_;
      keys.lengths = length_;
      attended_.narrow(1, full * group, streaming * group)
          .copy_(std::get<0>(
              PagedAttentionDecode(q, keys, options_.sink + options_.recent)));
    }
    DecodeLinear(x, attended_.flatten(1), layer.output.dense, std::nullopt, eps,
                 Optional(layer.output.bias), DecodeLinearUse::kAdd);
    DecodeLinear(hidden_, x, layer.gate_up.dense, layer.ffn_norm, eps,
                 Optional(layer.gate_up.bias), DecodeLinearUse::kSwiglu);
    DecodeLinear(x, hidden_, layer.down.dense, std::nullopt, eps,
                 Optional(layer.down.bias), DecodeLinearUse::kAdd);
  }
  DecodeLinear(logits_, x, weights.head.dense, weights.final_norm, eps,
               Optional(weights.head.bias));
  tokens_.copy_(logits_.argmax(-1));
}

void DuoDecoder::Step() {
  TORCH_CHECK(known_length_ < options_.capacity,
              "duo decoder: the sequence has its ", options_.capacity,
              " tokens");
  ++known_length_;
  graph_->Replay();
}

void DuoDecoder::SetLength(int64_t length) {
  TORCH_CHECK(length >= 0 && length <= options_.capacity,
              "duo decoder: length ", length, ", capacity ", options_.capacity);
  length_.fill_(length);
  known_length_ = length;
}

void DuoDecoder::FillCaches(at::Generator generator) {
  const at::NoGradGuard no_grad;
  for (const Layer& layer : layers_) {
    for (const at::Tensor* x : {&layer.k, &layer.v}) {
      if (!x->defined()) continue;
      if (options_.bits == 16) {
        x->normal_(0, 1, generator);
      } else {
        x->random_(0, 256, generator);
      }
    }
    for (const at::Tensor* x : {&layer.k_scale, &layer.v_scale}) {
      if (x->defined()) x->fill_(0.2);
    }
    for (const at::Tensor* x : {&layer.k_zero, &layer.v_zero}) {
      if (x->defined()) x->fill_(-1.5);
    }
    for (const at::Tensor* x : {&layer.streaming_k, &layer.streaming_v}) {
      if (x->defined()) x->normal_(0, 1, generator);
    }
  }
}

int64_t DuoDecoder::CacheBytes() const {
  int64_t bytes = 0;
  for (const Layer& l : layers_) {
    bytes += Bytes({&l.k, &l.v, &l.k_scale, &l.k_zero, &l.v_scale, &l.v_zero,
                    &l.streaming_k, &l.streaming_v});
  }
  return bytes;
}

StaticDuoState::StaticDuoState(const lm::ModelConfig& config,
                               c10::Device device, at::ScalarType dtype,
                               const StaticCacheOptions& options)
    : options_(options) {
  CheckHeads(options.full_heads, config);
  const at::TensorOptions as = at::TensorOptions(device).dtype(dtype);
  for (const int64_t full : options.full_heads) {
    Layer& layer = layers_.emplace_back();
    // Not filled: what was not written is never read.
    layer.k = at::empty({options.capacity, full, config.head_dim}, as);
    layer.v = at::empty({options.capacity, full, config.head_dim}, as);
    const int64_t streaming = config.num_kv_heads - full;
    const int64_t kept = options.sink + options.recent + options.chunk;
    layer.streaming_k = at::empty({kept, streaming, config.head_dim}, as);
    layer.streaming_v = at::empty({kept, streaming, config.head_dim}, as);
  }
}

at::Tensor StaticDuoState::Attend(const lm::AttentionInput& input) {
  Layer& layer = layers_.at(input.layer);
  const int64_t full = layer.k.size(1);
  const int64_t streaming = layer.streaming_k.size(1);
  const int64_t group = input.q.size(0) / input.k.size(0);
  const int64_t count = input.q.size(1);
  TORCH_CHECK(layer.length + count <= options_.capacity &&
                  layer.streaming_length + count <= layer.streaming_k.size(0),
              "static duo cache: ", count, " tokens after ", layer.length,
              ", with room for ", options_.capacity, " in chunks of ",
              options_.chunk);
  const at::Tensor q = input.rope->Apply(input.q, input.position);
  const at::Tensor k = input.rope->Apply(input.k, input.position);
  const auto put = [&](const at::Tensor& cache, const at::Tensor& rows,
                       int64_t at) {
    cache.narrow(0, at, count).copy_(rows.transpose(0, 1));
    return cache.narrow(0, 0, at + count).transpose(0, 1);
  };
  std::vector<at::Tensor> out;
  if (full > 0) {
    const at::Tensor keys = put(layer.k, k.narrow(0, 0, full), layer.length);
    const at::Tensor values =
        put(layer.v, input.v.narrow(0, 0, full), layer.length);
    out.push_back(
        lm::DenseAttention(q.narrow(0, 0, full * group), keys, values));
  }
  layer.length += count;
  if (streaming > 0) {
    const at::Tensor keys = put(layer.streaming_k, k.narrow(0, full, streaming),
                                layer.streaming_length);
    const at::Tensor values =
        put(layer.streaming_v, input.v.narrow(0, full, streaming),
            layer.streaming_length);
    out.push_back(lm::DenseAttention(
        q.narrow(0, full * group, streaming * group), keys, values));
    layer.streaming_length += count;
    const int64_t most = options_.sink + options_.recent;
    if (layer.streaming_length > most) {
      for (const at::Tensor* cache : {&layer.streaming_k, &layer.streaming_v}) {
        cache->narrow(0, options_.sink, options_.recent)
            .copy_(cache
                       ->narrow(0, layer.streaming_length - options_.recent,
                                options_.recent)
                       .clone());
      }
      layer.streaming_length = most;
    }
  }
  return out.size() == 1 ? out[0] : at::cat(out, 0);
}

int64_t StaticDuoState::Bytes() const {
  int64_t bytes = 0;
  for (const Layer& l : layers_) {
    bytes += duo::Bytes({&l.k, &l.v, &l.streaming_k, &l.streaming_v});
  }
  return bytes;
}

void StaticDuoState::SetLength(int64_t length) {
  for (Layer& layer : layers_) {
    layer.length = length;
    layer.streaming_length = std::min(length, options_.sink + options_.recent);
  }
}

std::vector<int64_t> EvenHeads(int64_t layers, int64_t heads, double share) {
  const auto total = static_cast<int64_t>(
      std::llround(share * static_cast<double>(layers * heads)));
  std::vector<int64_t> out;
  for (int64_t l = 0; l < layers; ++l) {
    out.push_back((l + 1) * total / layers - l * total / layers);
  }
  return out;
}

}  // namespace repro::duo
