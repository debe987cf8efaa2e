#include "papers/rat/rat.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/nn/attention.h"
#include "common/tensor/check.h"
#include "kernels/chunk_attention/chunk_attention.h"
#include "kernels/gated_chunk_scan/gated_chunk_scan.h"
#include "kernels/sliding_window_attention/sliding_window_attention.h"

namespace repro::rat {
namespace {

// [batch, dim] -> [batch, heads, head_dim], a view.
at::Tensor StepHeads(const at::Tensor& x, int64_t heads) {
  return x.unflatten(-1, {heads, x.size(-1) / heads});
}

// x: [batch, heads, head_dim], by the table of one position.
at::Tensor RotateOne(const at::Tensor& x, const RotaryTable& table) {
  return ApplyRotary(x.unsqueeze(2), table).squeeze(2);
}

// b_g of a gate whose mean memory spans `length` tokens: log U(1, length - 1).
at::Tensor InitialGateBias(int64_t dim, int64_t length,
                           const Initializer& init) {
  if (length <= 2) return init.Zeros({dim});
  return init.Uniform({dim}, 1, static_cast<double>(length - 1)).log();
}

// g = sigmoid(g + b_g), in float32 or wider: 1 - g loses its digits in less.
at::Tensor Gate(const at::Tensor& g, const at::Tensor& bias) {
  const at::ScalarType wide =
      g.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  return at::sigmoid(g + bias.to(wide));
}

at::Tensor Zeros(std::vector<int64_t> shape, at::TensorOptions options) {
  return at::zeros(shape, options.requires_grad(false));
}

// What all mixers have: the norm before, the projections, the residual.
class ProjectedMixer : public MixerLayer {
 public:
  ProjectedMixer(const RatConfig& config, int64_t projected_dim,
                 const Initializer& init)
      : heads_(config.num_heads), head_dim_(config.head_dim()) {
    norm_ = AddModule<RmsNormLayer>("norm", config.dim, init, config.norm_eps);
    in_ = AddModule<Linear>(
        "in", init.Normal({projected_dim, config.dim}, config.init_std),
        at::Tensor());
    out_ = AddModule<Linear>(
        "out", init.Normal({config.dim, config.dim}, config.init_std),
        at::Tensor());
  }

 protected:
  at::Tensor Project(const at::Tensor& x) const {
    return in_->Forward(norm_->Forward(x));
  }
  at::Tensor Finish(const at::Tensor& x, const at::Tensor& mixed) const {
    return x + out_->Forward(mixed);
  }
  MixerCache MakePairs(int64_t batch, int64_t entries,
                       at::TensorOptions options) const {
    MixerCache cache;
    cache.k = Zeros({batch, heads_, entries, head_dim_}, options);
    cache.v = Zeros({batch, heads_, entries, head_dim_}, options);
    return cache;
  }
  void AddStates(int64_t batch, at::TensorOptions options,
                 MixerCache* cache) const {
    const std::vector<int64_t> shape = {batch, heads_, head_dim_};
    cache->k_state = Zeros(shape, options.dtype(at::kFloat));
    cache->v_state = Zeros(shape, options.dtype(at::kFloat));
  }

  const int64_t heads_;
  const int64_t head_dim_;

 private:
  RmsNormLayer* norm_;
  Linear* in_;
  Linear* out_;
};

// Full causal attention, and attention over the last `window` tokens.
class AttentionMixer : public ProjectedMixer {
 public:
  AttentionMixer(const RatConfig& config, bool local, const Initializer& init)
      : ProjectedMixer(config, 3 * config.dim, init),
        window_(local ? config.window : 0) {}

  at::Tensor Forward(const at::Tensor& x,
                     const RatPositions& positions) const override {
    return Attend(x, positions, nullptr);
  }

  MixerCache MakeCache(int64_t batch, int64_t capacity,
                       at::TensorOptions options) const override {
    return MakePairs(batch,
                     window_ > 0 ? std::min(window_ - 1, capacity) : capacity,
                     options);
  }

  at::Tensor Prefill(const at::Tensor& x, const RatPositions& positions,
                     MixerCache* cache) const override {
    return Attend(x, positions, cache);
  }

  at::Tensor Step(const at::Tensor& x, const StepPosition& at,
                  MixerCache* cache) const override {
    const std::vector<at::Tensor> parts = Project(x).chunk(3, -1);
    const at::Tensor q =
        RotateOne(StepHeads(parts[0], heads_), at.rotary.token);
    const at::Tensor k =
        RotateOne(StepHeads(parts[1], heads_), at.rotary.token);
    const at::Tensor v = StepHeads(parts[2], heads_);
    const bool local = window_ > 0;
    const at::Tensor mixed = ChunkAttentionStep(
        q, k, v, cache->k, cache->v, local ? at.window_length : at.position);
    const at::Tensor& entry = local ? at.window_entry : at.position;
    cache->k.index_copy_(2, entry, k.unsqueeze(2));
    cache->v.index_copy_(2, entry, v.unsqueeze(2));
    return Finish(x, mixed.flatten(1));
  }

 private:
  at::Tensor Attend(const at::Tensor& x, const RatPositions& positions,
                    MixerCache* cache) const {
    const std::vector<at::Tensor> parts = Project(x).chunk(3, -1);
    const at::Tensor q =
        ApplyRotary(SplitHeads(parts[0], heads_), positions.token);
    const at::Tensor k =
        ApplyRotary(SplitHeads(parts[1], heads_), positions.token);
    const at::Tensor v = SplitHeads(parts[2], heads_);
    if (cache != nullptr) {
      const int64_t entries = cache->k.size(2);
      const int64_t kept = std::min(k.size(2), entries);
      const int64_t begin = k.size(2) - kept;
      const at::Tensor entry =
          at::arange(begin, k.size(2),
                     at::TensorOptions(k.device()).dtype(at::kLong))
              .remainder(entries);
      cache->k.index_copy_(2, entry, k.narrow(2, begin, kept));
      cache->v.index_copy_(2, entry, v.narrow(2, begin, kept));
    }
    const at::Tensor mixed =
        window_ > 0 ? SlidingWindowAttention(q, k, v, window_)
                    : at::scaled_dot_product_attention(
                          q, k, v, /*attn_mask=*/{}, /*dropout_p=*/0.0,
                          /*is_causal=*/true);
    return Finish(x, MergeHeads(mixed));
  }

  const int64_t window_;  // 0: all
};

// y = z * average(v), with a gate per channel over the whole sequence.
class RnnMixer : public ProjectedMixer {
 public:
  RnnMixer(const RatConfig& config, const Initializer& init)
      : ProjectedMixer(config, 3 * config.dim, init),
        gate_bias_(AddParameter(
            "gate_bias", InitialGateBias(config.dim, config.seq_len, init))) {}

  at::Tensor Forward(const at::Tensor& x, const RatPositions&) const override {
    return Scan(x, nullptr);
  }

  MixerCache MakeCache(int64_t batch, int64_t,
                       at::TensorOptions options) const override {
    MixerCache cache;
    AddStates(batch, options, &cache);
    return cache;
  }

  at::Tensor Prefill(const at::Tensor& x, const RatPositions&,
                     MixerCache* cache) const override {
    return Scan(x, cache);
  }

  at::Tensor Step(const at::Tensor& x, const StepPosition& at,
                  MixerCache* cache) const override {
    const std::vector<at::Tensor> parts = Project(x).chunk(3, -1);
    const at::Tensor v = StepHeads(parts[1], heads_);
    GatedChunkScanStep(StepHeads(Gate(parts[2], gate_bias_), heads_), v, v,
                       at.is_start, cache->k_state, cache->v_state);
    return Finish(x, at::sigmoid(parts[0]) *
                         cache->v_state.flatten(1).to(x.scalar_type()));
  }

 private:
  at::Tensor Scan(const at::Tensor& x, MixerCache* cache) const {
    const std::vector<at::Tensor> parts = Project(x).chunk(3, -1);
    const at::Tensor v = parts[1].unflatten(-1, {heads_, head_dim_});
    // The operator averages keys too: here they are v again, and not used.
    const at::Tensor average = std::get<1>(GatedChunkScan(
        Gate(parts[2], gate_bias_).unflatten(-1, {heads_, head_dim_}), v, v,
        /*chunk_size=*/x.size(1)));
    if (cache != nullptr) cache->v_state.copy_(average.select(1, -1));
    return Finish(x, at::sigmoid(parts[0]) * average.flatten(2));
  }

  at::Tensor gate_bias_;
};

class RatMixer : public ProjectedMixer {
 public:
  RatMixer(const RatConfig& config, const Initializer& init)
      : ProjectedMixer(
            config, 3 * config.dim + 2 * config.num_groups * config.head_dim(),
            init),
        groups_(config.num_groups),
        chunk_size_(config.chunk_size),
        gate_bias_(AddParameter(
            "gate_bias",
            InitialGateBias(config.dim, config.chunk_size, init))) {}

  at::Tensor Forward(const at::Tensor& x,
                     const RatPositions& positions) const override {
    return Mix(x, positions, nullptr);
  }

  MixerCache MakeCache(int64_t batch, int64_t capacity,
                       at::TensorOptions options) const override {
    MixerCache cache =
        MakePairs(batch, (capacity + chunk_size_ - 1) / chunk_size_, options);
    AddStates(batch, options, &cache);
    return cache;
  }

  at::Tensor Prefill(const at::Tensor& x, const RatPositions& positions,
                     MixerCache* cache) const override {
    return Mix(x, positions, cache);
  }

  at::Tensor Step(const at::Tensor& x, const StepPosition& at,
                  MixerCache* cache) const override {
    const Parts p = Split(Project(x));
    GatedChunkScanStep(StepHeads(Gate(p.gate, gate_bias_), heads_),
                       StepHeads(p.k, groups_), StepHeads(p.v, heads_),
                       at.first, cache->k_state, cache->v_state);
    const at::ScalarType dtype = x.scalar_type();
    const at::Tensor k = RotateOne(cache->k_state.to(dtype), at.rotary.chunk);
    const at::Tensor v = cache->v_state.to(dtype);
    const at::Tensor q = RotateOne(StepHeads(p.q, groups_), at.rotary.chunk)
                             .repeat({1, heads_ / groups_, 1});
    const at::Tensor mixed =
        ChunkAttentionStep(q, k, v, cache->k, cache->v, at.chunk);
    // The running pair stands where the chunk's end will: what the chunk's last
    // token writes stays.
    cache->k.index_copy_(2, at.chunk, k.unsqueeze(2));
    cache->v.index_copy_(2, at.chunk, v.unsqueeze(2));
    return Finish(x, at::sigmoid(p.z) * mixed.flatten(1));
  }

 private:
  struct Parts {
    at::Tensor z, v, gate, q, k;
  };

  Parts Split(const at::Tensor& projected) const {
    const int64_t dim = heads_ * head_dim_, group_dim = groups_ * head_dim_;
    std::vector<at::Tensor> parts =
        projected.split_with_sizes({dim, dim, dim, group_dim, group_dim}, -1);
    return {parts[0], parts[1], parts[2], parts[3], parts[4]};
  }

  at::Tensor Mix(const at::Tensor& x, const RatPositions& positions,
                 MixerCache* cache) const {
    const Parts p = Split(Project(x));
    const auto [k_average, v_average] = GatedChunkScan(
        Gate(p.gate, gate_bias_).unflatten(-1, {heads_, head_dim_}),
        p.k.unflatten(-1, {groups_, head_dim_}),
        p.v.unflatten(-1, {heads_, head_dim_}), chunk_size_);
    // Head h takes group h % groups: g0, g1, g0, g1, ...
    const at::Tensor q = ApplyRotary(SplitHeads(p.q, groups_), positions.chunk)
                             .repeat({1, heads_ / groups_, 1, 1});
    const at::Tensor k =
        ApplyRotary(k_average.transpose(1, 2), positions.chunk);
    const at::Tensor v = v_average.transpose(1, 2);
    if (cache != nullptr) {
      const int64_t chunks = x.size(1) / chunk_size_;
      if (chunks > 0) {
        const auto ends = [&](const at::Tensor& t) {
          return t.slice(2, chunk_size_ - 1, chunks * chunk_size_, chunk_size_);
        };
        cache->k.narrow(2, 0, chunks).copy_(ends(k));
        cache->v.narrow(2, 0, chunks).copy_(ends(v));
      }
      cache->k_state.copy_(k_average.select(1, -1));
      cache->v_state.copy_(v_average.select(1, -1));
    }
    const at::Tensor mixed = ChunkAttention(q, k, v, chunk_size_);
    return Finish(x, at::sigmoid(p.z) * MergeHeads(mixed));
  }

  const int64_t groups_;
  const int64_t chunk_size_;
  at::Tensor gate_bias_;
};

void CheckConfig(const RatConfig& c) {
  TORCH_CHECK(c.vocab_size > 0 && c.dim > 0 && c.num_layers > 0 &&
                  c.num_heads > 0 && c.chunk_size > 0 && c.num_groups > 0 &&
                  c.window > 1 && c.seq_len > 0 && !c.mixers.empty(),
              "rat: a size is not positive, or the window below 2");
  TORCH_CHECK(c.dim % (2 * c.num_heads) == 0 && c.num_heads % c.num_groups == 0,
              "rat: dim ", c.dim, ", num_heads ", c.num_heads, ", num_groups ",
              c.num_groups, " do not divide");
}

// Calls make(type, arguments) for the class of `mixer`.
template <typename Make>
MixerLayer* MakeMixer(Mixer mixer, const RatConfig& config,
                      const Initializer& init, Make&& make) {
  CheckConfig(config);
  switch (mixer) {
    case Mixer::kAttention:
    case Mixer::kLocalAttention:
      return make(static_cast<AttentionMixer*>(nullptr), config,
                  mixer == Mixer::kLocalAttention, init);
    case Mixer::kRnn:
      return make(static_cast<RnnMixer*>(nullptr), config, init);
    case Mixer::kRat:
      break;
  }
  return make(static_cast<RatMixer*>(nullptr), config, init);
}

RotaryTable Select(const RotaryTable& table, const at::Tensor& position) {
  return {table.cos.index_select(0, position),
          table.sin.index_select(0, position)};
}

}  // namespace

absl::StatusOr<RatConfig> RatConfig::Named(absl::string_view model,
                                           absl::string_view size) {
  RatConfig config;
  if (model == "attention") {
    config.mixers = {Mixer::kAttention};
  } else if (model == "rnn") {
    config.mixers = {Mixer::kRnn};
  } else if (model == "rat") {
    config.mixers = {Mixer::kRat};
  } else if (model == "attention_swa") {
    config.mixers = {Mixer::kAttention, Mixer::kLocalAttention};
  } else if (model == "rat_swa") {
    config.mixers = {Mixer::kRat, Mixer::kLocalAttention};
  } else {
    return absl::InvalidArgumentError(absl::StrCat(
        "model \"", model,
        "\": expected attention, rnn, rat, attention_swa or rat_swa"));
  }
  if (size == "13B") {
    config.dim = 5120;
    config.num_heads = 40;
    config.num_layers = 40;
  } else if (size == "tiny") {
    config.vocab_size = 64;
    config.dim = 32;
    config.num_heads = 4;
    config.num_layers = 2;
    config.chunk_size = 4;
    config.window = 6;
    config.seq_len = 32;
  } else if (size != "1.3B") {
    return absl::InvalidArgumentError(
        absl::StrCat("size \"", size, "\": expected 1.3B, 13B or tiny"));
  }
  return config;
}

double CacheEntries(Mixer mixer, const RatConfig& config, int64_t tokens) {
  switch (mixer) {
    case Mixer::kAttention:
      return tokens;
    case Mixer::kLocalAttention:
      return std::min(config.window, tokens);
    case Mixer::kRnn:
      return 0.5;
    case Mixer::kRat:
      break;
  }
  return tokens / config.chunk_size + 1;
}

double CacheMebibytes(const RatConfig& config, int64_t tokens, int64_t bytes) {
  double entries = 0;
  for (int64_t l = 0; l < config.num_layers; ++l) {
    entries += CacheEntries(config.mixer(l), config, tokens);
  }
  return entries * 2 * config.dim * bytes / (1 << 20);
}

int64_t ScorePairs(Mixer mixer, const RatConfig& config, int64_t tokens) {
  const auto triangle = [](int64_t n) { return n * (n + 1) / 2; };
  switch (mixer) {
    case Mixer::kAttention:
      return triangle(tokens);
    case Mixer::kLocalAttention:
      return triangle(std::min(tokens, config.window)) +
             std::max<int64_t>(tokens - config.window, 0) * config.window;
    case Mixer::kRnn:
      return 0;
    case Mixer::kRat:
      break;
  }
  // Each of the L tokens of chunk c scores c + 1 entries.
  const int64_t chunks = tokens / config.chunk_size;
  return config.chunk_size * triangle(chunks) +
         (tokens % config.chunk_size) * (chunks + 1);
}

RatPositions MakeRatPositions(const RatConfig& config, int64_t seq_len,
                              at::TensorOptions options) {
  const at::Tensor token =
      at::arange(seq_len, options.dtype(at::kLong).requires_grad(false));
  const at::ScalarType dtype = c10::typeMetaToScalarType(options.dtype());
  return {MakeRotaryTable(token, config.head_dim(), dtype, config.rope_base),
          MakeRotaryTable(token.floor_divide(config.chunk_size),
                          config.head_dim(), dtype, config.rope_base)};
}

std::unique_ptr<MixerLayer> MakeMixerLayer(Mixer mixer, const RatConfig& config,
                                           const Initializer& init) {
  return std::unique_ptr<MixerLayer>(
      MakeMixer(mixer, config, init, [](auto* type, const auto&... arguments) {
        using Layer = std::remove_pointer_t<decltype(type)>;
        return static_cast<MixerLayer*>(new Layer(arguments...));
      }));
}

int64_t RatCache::NumBytes() const {
  int64_t bytes = 0;
  for (const MixerCache& layer : layers) {
    for (const at::Tensor* t :
         {&layer.k, &layer.v, &layer.k_state, &layer.v_state}) {
      if (t->defined()) bytes += t->numel() * t->element_size();
    }
  }
  return bytes;
}

RatCache MakeEmptyRatCache(const RatConfig& config, int64_t capacity,
                           at::TensorOptions options) {
  RatCache cache;
  cache.capacity = capacity;
  cache.position = Zeros({1}, options.dtype(at::kLong));
  cache.rotary = MakeRatPositions(config, capacity, options);
  return cache;
}

StepPosition MakeStepPosition(const RatConfig& config, const RatCache& cache) {
  const at::Tensor& position = cache.position;
  const int64_t ring = std::min(config.window - 1, cache.capacity);
  StepPosition at;
  at.position = position;
  at.chunk = position.floor_divide(config.chunk_size);
  at.first = position.remainder(config.chunk_size).eq(0);
  at.is_start = position.eq(0);
  at.window_entry = position.remainder(ring);
  at.window_length = position.clamp_max(ring);
  at.rotary = {Select(cache.rotary.token, position),
               Select(cache.rotary.chunk, position)};
  return at;
}

// x + down(gelu(up(RmsNorm(x)))).
class RatModel::Ffn : public Module {
 public:
  Ffn(const RatConfig& config, const Initializer& init) {
    const int64_t dim = config.dim;
    norm_ = AddModule<RmsNormLayer>("norm", dim, init, config.norm_eps);
    up_ = AddModule<Linear>("up", init.Normal({4 * dim, dim}, config.init_std),
                            at::Tensor());
    down_ = AddModule<Linear>(
        "down", init.Normal({dim, 4 * dim}, config.init_std), at::Tensor());
  }

  at::Tensor Forward(const at::Tensor& x) const {
    return x + down_->Forward(at::gelu(up_->Forward(norm_->Forward(x))));
  }

 private:
  RmsNormLayer* norm_;
  Linear* up_;
  Linear* down_;
};

RatModel::RatModel(const RatConfig& config, const Initializer& init)
    : config_(config) {
  CheckConfig(config_);
  const std::vector<int64_t> shape = {config_.vocab_size, config_.dim};
  embedding_ = AddParameter("embedding", init.Normal(shape, config_.init_std));
  head_ = AddParameter("head", init.Normal(shape, config_.init_std));
  for (int64_t l = 0; l < config_.num_layers; ++l) {
    mixers_.push_back(MakeMixer(
        config_.mixer(l), config_, init,
        [&](auto* type, const auto&... arguments) -> MixerLayer* {
          using Layer = std::remove_pointer_t<decltype(type)>;
          return AddModule<Layer>(absl::StrCat("mixer", l), arguments...);
        }));
    ffns_.push_back(AddModule<Ffn>(absl::StrCat("ffn", l), config_, init));
  }
  norm_ = AddModule<RmsNormLayer>("norm", config_.dim, init, config_.norm_eps);
}

RatModel::~RatModel() = default;

at::Tensor RatModel::Embed(const at::Tensor& tokens) const {
  return at::embedding(embedding_, tokens)
      .to(config_.compute_dtype.value_or(embedding_.scalar_type()));
}

at::Tensor RatModel::Logits(const at::Tensor& x) const {
  return at::linear(norm_->Forward(x), head_.to(x.scalar_type()));
}

at::Tensor RatModel::Forward(const at::Tensor& tokens) const {
  CheckShape(tokens, {"batch", "seq_len"}, "tokens");
  at::Tensor x = Embed(tokens);
  const RatPositions positions =
      MakeRatPositions(config_, tokens.size(1), x.options());
  for (size_t l = 0; l < mixers_.size(); ++l) {
    x = ffns_[l]->Forward(mixers_[l]->Forward(x, positions));
  }
  return Logits(x);
}

RatCache RatModel::MakeCache(int64_t batch, int64_t capacity) const {
  TORCH_CHECK(batch > 0 && capacity > 0, "rat: a cache of batch ", batch,
              ", capacity ", capacity);
  const at::TensorOptions options = embedding_.options().dtype(
      config_.compute_dtype.value_or(embedding_.scalar_type()));
  RatCache cache = MakeEmptyRatCache(config_, capacity, options);
  for (const MixerLayer* mixer : mixers_) {
    cache.layers.push_back(mixer->MakeCache(batch, capacity, options));
  }
  return cache;
}

at::Tensor RatModel::Prefill(const at::Tensor& tokens, RatCache* cache) const {
  const at::NoGradGuard no_grad;
  CheckShape(tokens, {"batch", "seq_len"}, "tokens");
  TORCH_CHECK(tokens.size(1) > 0 && tokens.size(1) <= cache->capacity,
              "rat: prefill of ", tokens.size(1), " tokens into a cache of ",
              cache->capacity);
  at::Tensor x = Embed(tokens);
  const RatPositions positions =
      MakeRatPositions(config_, tokens.size(1), x.options());
  for (size_t l = 0; l < mixers_.size(); ++l) {
    x = ffns_[l]->Forward(mixers_[l]->Prefill(x, positions, &cache->layers[l]));
  }
  cache->position.fill_(tokens.size(1));
  return Logits(x.select(1, -1));
}

at::Tensor RatModel::Step(const at::Tensor& tokens, RatCache* cache) const {
  const at::NoGradGuard no_grad;
  CheckShape(tokens, {"batch"}, "tokens");
  const StepPosition position = MakeStepPosition(config_, *cache);
  at::Tensor x = Embed(tokens);
  for (size_t l = 0; l < mixers_.size(); ++l) {
    x = ffns_[l]->Forward(mixers_[l]->Step(x, position, &cache->layers[l]));
  }
  cache->position.add_(1);
  return Logits(x);
}

}  // namespace repro::rat
