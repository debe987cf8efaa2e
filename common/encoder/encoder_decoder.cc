#include "common/encoder/encoder_decoder.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/log.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <tuple>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/encoder/dropout.h"
#include "common/encoder/objectives.h"
#include "common/tensor/check.h"

namespace repro::encoder {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double InverseRoot(int64_t size) {
  return 1 / std::sqrt(static_cast<double>(size));
}

class FeedForward : public Module {
 public:
  FeedForward(const EncoderDecoderConfig& config, const Initializer& init,
              at::Generator generator)
      : dropout_(config.dropout), generator_(std::move(generator)) {
    const auto up = [&](const char* name) {
      return AddModule<Linear>(
          name,
          init.Normal({config.ffn_dim, config.dim}, InverseRoot(config.dim)),
          at::Tensor());
    };
    if (config.gated_gelu) gate_ = up("gate");
    up_ = up("up");
    down_ = AddModule<Linear>(
        "down",
        init.Normal({config.dim, config.ffn_dim}, InverseRoot(config.ffn_dim)),
        at::Tensor());
  }

  at::Tensor Forward(const at::Tensor& x) const {
    const at::Tensor h =
        gate_ == nullptr
            ? at::relu(up_->Forward(x))
            : at::gelu(gate_->Forward(x), "tanh") * up_->Forward(x);
    return down_->Forward(DropoutIfSeeded(h, dropout_, training(), generator_));
  }

 private:
  double dropout_;
  at::Generator generator_;
  Linear* gate_ = nullptr;
  Linear* up_;
  Linear* down_;
};

class Block : public Module {
 public:
  Block(const EncoderDecoderConfig& config, bool decoder,
        const Initializer& init, const at::Generator& generator)
      : dropout_(config.dropout), generator_(generator) {
    MultiHeadAttentionConfig attention;
    attention.dim = config.dim;
    attention.num_heads = config.num_heads;
    attention.head_dim = config.head_dim;
    attention.use_bias = false;
    attention.use_scale = false;
    attention.dropout = config.dropout;
    attention.init_std = 0;
    attention_norm_ = AddModule<RmsNormLayer>("attention_norm", config.dim,
                                              init, config.norm_eps);
    attention_ =
        AddModule<MultiHeadAttention>("attention", attention, init, generator);
    if (decoder) {
      cross_norm_ = AddModule<RmsNormLayer>("cross_norm", config.dim, init,
                                            config.norm_eps);
      cross_ = AddModule<MultiHeadAttention>("cross_attention", attention, init,
                                             generator);
    }
    ffn_norm_ =
        AddModule<RmsNormLayer>("ffn_norm", config.dim, init, config.norm_eps);
    ffn_ = AddModule<FeedForward>("ffn", config, init, generator);
  }

  // Of `states`, for the decoder's second attention.
  KeyValues Cross(const at::Tensor& states) const {
    return cross_->Project(states);
  }

  // x: [batch, len, dim]. past, if given, holds earlier positions' and receives
  // those of x. cross: undefined in the encoder.
  at::Tensor Forward(const at::Tensor& x, const ScoreMask& mask,
                     KeyValues* past, const KeyValues& cross,
                     const ScoreMask& cross_mask) const {
    const at::Tensor normed = attention_norm_->Forward(x);
    KeyValues own;
    KeyValues* all = past == nullptr ? &own : past;
    attention_->Append(normed, all);
    at::Tensor h = x + Drop(attention_->Attend(normed, *all, mask));
    if (cross_ != nullptr) {
      h = h + Drop(cross_->Attend(cross_norm_->Forward(h), cross, cross_mask));
    }
    return h + Drop(ffn_->Forward(ffn_norm_->Forward(h)));
  }

 private:
  at::Tensor Drop(const at::Tensor& x) const {
    return DropoutIfSeeded(x, dropout_, training(), generator_);
  }

  double dropout_;
  at::Generator generator_;
  RmsNormLayer* attention_norm_;
  MultiHeadAttention* attention_;
  RmsNormLayer* cross_norm_ = nullptr;
  MultiHeadAttention* cross_ = nullptr;
  RmsNormLayer* ffn_norm_;
  FeedForward* ffn_;
};

// T5's proportions, with as many layers on both sides.
EncoderDecoderConfig Sized(int64_t vocab_size, int64_t dim, int64_t num_heads,
                           int64_t num_layers) {
  EncoderDecoderConfig config;
  config.vocab_size = vocab_size;
  config.dim = dim;
  config.num_heads = num_heads;
  config.head_dim = dim / num_heads;
  config.ffn_dim = 4 * dim;
  config.encoder_layers = num_layers;
  config.decoder_layers = num_layers;
  return config;
}

void CheckTokens(const at::Tensor& tokens, const char* name) {
  CheckShape(tokens, {"batch", "length"}, name);
  CheckDtype(tokens, at::kLong, name);
  TORCH_CHECK(tokens.size(1) > 0, name, ": a sequence has at least one token");
}

}  // namespace

EncoderDecoderConfig EncoderDecoderConfig::Tiny(int64_t vocab_size) {
  return Sized(vocab_size, /*dim=*/128, /*num_heads=*/4, /*num_layers=*/2);
}

EncoderDecoderConfig EncoderDecoderConfig::Small(int64_t vocab_size) {
  return Sized(vocab_size, /*dim=*/512, /*num_heads=*/8, /*num_layers=*/6);
}

EncoderDecoderConfig EncoderDecoderConfig::Large(int64_t vocab_size) {
  return Sized(vocab_size, /*dim=*/1024, /*num_heads=*/16, /*num_layers=*/24);
}

// What decoding keeps of earlier positions and of the source, one a layer:
// [rows, heads, length, head_dim].
struct EncoderDecoder::Cache {
  std::vector<KeyValues> own, cross;
  int64_t length = 0;

  // Row i becomes what row rows[i] was. The source's stay: rows move within
  // their source.
  void Reorder(const at::Tensor& rows) {
    for (KeyValues& of_layer : own) {
      of_layer = {of_layer.keys.index_select(0, rows),
                  of_layer.values.index_select(0, rows)};
    }
  }
};

class EncoderDecoder::Stack : public Module {
 public:
  Stack(const EncoderDecoderConfig& config, bool decoder,
        const Initializer& init, const at::Generator& generator)
      : config_(config), decoder_(decoder), generator_(generator) {
    relative_ = AddParameter("relative_attention_bias",
                             init.Normal({config.num_buckets, config.num_heads},
                                         InverseRoot(config.dim)));
    const int64_t layers =
        decoder ? config.decoder_layers : config.encoder_layers;
    for (int64_t i = 0; i < layers; ++i) {
      blocks_.push_back(AddModule<Block>(absl::StrCat("block", i), config,
                                         decoder, init, generator));
    }
    norm_ = AddModule<RmsNormLayer>("norm", config.dim, init, config.norm_eps);
  }

  int64_t num_layers() const { return static_cast<int64_t>(blocks_.size()); }
  const Block& block(int64_t i) const { return *blocks_[i]; }

  // x: [batch, len, dim], the positions from `cache` (null: from 0) on.
  // states: [batch, source_len, dim], of the decoder without a cache.
  at::Tensor Forward(const at::Tensor& x, const at::Tensor& mask, Cache* cache,
                     const at::Tensor& states,
                     const at::Tensor& states_mask) const {
    const int64_t past = cache == nullptr ? 0 : cache->length;
    const int64_t length = x.size(1);
    const ScoreMask score_mask =
        MakeScoreMask(mask, PositionBias(past, length, x.options()), x.size(0),
                      length, past + length, x.options());
    ScoreMask cross_mask;
    if (decoder_ && states_mask.defined()) {
      cross_mask = MakeScoreMask(states_mask, /*bias=*/{}, x.size(0), length,
                                 states_mask.size(1), x.options());
    }
    at::Tensor h = Drop(x);
    for (int64_t i = 0; i < num_layers(); ++i) {
      KeyValues cross;
      if (decoder_) {
        cross = cache == nullptr ? blocks_[i]->Cross(states) : cache->cross[i];
      }
      h = blocks_[i]->Forward(h, score_mask,
                              cache == nullptr ? nullptr : &cache->own[i],
                              cross, cross_mask);
    }
    return Drop(norm_->Forward(h));
  }

 private:
  at::Tensor Drop(const at::Tensor& x) const {
    return DropoutIfSeeded(x, config_.dropout, training(), generator_);
  }

  // Of targets past ... past + length - 1 against sources 0 ... past + length
  // - 1: [1, heads, length, past + length].
  at::Tensor PositionBias(int64_t past, int64_t length,
                          at::TensorOptions options) const {
    const at::Tensor position =
        at::arange(past + length, options.dtype(at::kLong));
    const at::Tensor distance =
        position.unsqueeze(0) - position.narrow(0, past, length).unsqueeze(1);
    return at::embedding(
               relative_,
               RelativePositionBucket(distance, !decoder_, config_.num_buckets,
                                      config_.max_distance))
        .permute({2, 0, 1})
        .unsqueeze(0);
  }

  EncoderDecoderConfig config_;
  bool decoder_;
  at::Generator generator_;
  at::Tensor relative_;  // [num_buckets, num_heads]
  std::vector<Block*> blocks_;
  RmsNormLayer* norm_;
};

EncoderDecoder::EncoderDecoder(const EncoderDecoderConfig& config,
                               const Initializer& init, at::Generator generator)
    : config_(config) {
  TORCH_CHECK(config.vocab_size > 0 && config.dim > 0 && config.head_dim > 0,
              "encoder-decoder: vocab_size, dim and head_dim must be positive, "
              "got ",
              config.vocab_size, ", ", config.dim, " and ", config.head_dim);
  TORCH_CHECK(config.num_buckets >= 4 && config.num_buckets % 2 == 0 &&
                  config.max_distance > config.num_buckets / 2,
              "encoder-decoder: num_buckets ", config.num_buckets,
              " must be even and at least 4, and max_distance ",
              config.max_distance, " greater than half of it");
  embedding_ = AddParameter("embedding",
                            init.Normal({config.vocab_size, config.dim}, 1));
  if (!config.tie_embeddings) {
    head_ =
        AddParameter("head", init.Normal({config.vocab_size, config.dim}, 1));
  }
  encoder_ = AddModule<Stack>("encoder", config, false, init, generator);
  decoder_ = AddModule<Stack>("decoder", config, true, init, generator);
}

EncoderDecoder::~EncoderDecoder() = default;

at::Tensor EncoderDecoder::Encode(const at::Tensor& tokens,
                                  const at::Tensor& mask) const {
  CheckTokens(tokens, "tokens");
  return encoder_->Forward(at::embedding(embedding_, tokens), mask, nullptr, {},
                           {});
}

at::Tensor EncoderDecoder::Logits(const at::Tensor& h) const {
  return config_.tie_embeddings
             ? at::linear(h * InverseRoot(config_.dim), embedding_)
             : at::linear(h, head_);
}

at::Tensor EncoderDecoder::Decode(const at::Tensor& targets,
                                  const at::Tensor& states,
                                  const at::Tensor& source_mask) const {
  CheckTokens(targets, "targets");
  CheckShape(states, {targets.size(0), "source_len", config_.dim}, "states");
  const int64_t length = targets.size(1);
  const at::Tensor causal =
      at::ones({length, length}, targets.options().dtype(at::kBool))
          .tril()
          .unsqueeze(0)
          .expand({targets.size(0), length, length});
  return Logits(decoder_->Forward(at::embedding(embedding_, targets), causal,
                                  nullptr, states, source_mask));
}

// tokens: [rows], the newest of each -> logits [rows, vocab_size].
at::Tensor EncoderDecoder::Step(const at::Tensor& tokens,
                                const at::Tensor& source_mask,
                                Cache* cache) const {
  const at::Tensor h =
      decoder_->Forward(at::embedding(embedding_, tokens.unsqueeze(1)),
                        /*mask=*/{}, cache, /*states=*/{}, source_mask);
  ++cache->length;
  return Logits(h.squeeze(1));
}

std::vector<Generated> EncoderDecoder::Generate(
    const at::Tensor& tokens, const at::Tensor& mask,
    const GenerateOptions& options) {
  CheckTokens(tokens, "tokens");
  TORCH_CHECK(options.max_length > 0 && options.num_beams > 0,
              "generate: max_length and num_beams must be positive, got ",
              options.max_length, " and ", options.num_beams);
  at::NoGradGuard no_grad;
  const bool was_training = training();
  Train(false);
  const absl::Cleanup restore = [&] { Train(was_training); };

  const int64_t batch = tokens.size(0);
  const int64_t beams = options.num_beams;
  const int64_t rows = batch * beams;
  const at::Tensor states = Encode(tokens, mask);
  Cache cache;
  cache.own.resize(decoder_->num_layers());
  for (int64_t i = 0; i < decoder_->num_layers(); ++i) {
    const KeyValues cross = decoder_->block(i).Cross(states);
    cache.cross.push_back({cross.keys.repeat_interleave(beams, 0),
                           cross.values.repeat_interleave(beams, 0)});
  }
  const at::Tensor source_mask =
      mask.defined() ? mask.repeat_interleave(beams, 0) : mask;

  const auto score = [&](double log_probability, int64_t length) {
    return log_probability /
           std::pow(static_cast<double>(length), options.length_penalty);
  };
  // The best that a beam with this log-probability can still become: it only
  // falls, and a longer text's is divided by more.
  const auto best_possible = [&](double log_probability, int64_t length) {
    return std::max(score(log_probability, length),
                    score(log_probability, options.max_length));
  };

  std::vector<std::optional<Generated>> best(batch);
  std::vector<double> best_score(batch, -kInfinity);
  const auto offer = [&](int64_t b, Generated candidate, int64_t length) {
    const double value = score(candidate.log_probability, length);
    if (!best[b].has_value() || value > best_score[b]) {
      best[b] = std::move(candidate);
      best_score[b] = value;
    }
  };

  std::vector<std::vector<int64_t>> texts(rows);
  std::vector<bool> done(batch, false);
  // One live beam a source at the start: the others would be its copies.
  at::Tensor totals = at::full({batch, beams}, -kInfinity, at::kDouble);
  totals.select(1, 0).zero_();
  at::Tensor last = at::full({rows}, config_.pad_id, tokens.options());

  for (int64_t length = 1; length <= options.max_length; ++length) {
    const at::Tensor log_probabilities =
        at::log_softmax(Step(last, source_mask, &cache).to(at::kDouble), -1);
    const int64_t vocab = log_probabilities.size(-1);
    // Each beam can end at most once, so this many candidates leave `beams`
    // that go on.
    const int64_t candidates = std::min(2 * beams, beams * vocab);
    const auto [top, where] = (log_probabilities.view({batch, beams, vocab}) +
                               totals.to(tokens.device()).unsqueeze(-1))
                                  .flatten(1)
                                  .topk(candidates, 1);
    const at::Tensor values = top.to(at::kCPU);
    const at::Tensor indices = where.to(at::kCPU);
    const auto value = values.accessor<double, 2>();
    const auto index = indices.accessor<int64_t, 2>();

    std::vector<std::vector<int64_t>> next_texts(rows);
    std::vector<int64_t> parents(rows, 0), next(rows, config_.pad_id);
    at::Tensor next_totals = at::full({batch, beams}, -kInfinity, at::kDouble);
    auto next_total = next_totals.accessor<double, 2>();
    for (int64_t b = 0; b < batch; ++b) {
      int64_t live = 0;
      for (int64_t c = 0; !done[b] && c < candidates && live < beams; ++c) {
        if (value[b][c] == -kInfinity) break;
        const int64_t parent = b * beams + index[b][c] / vocab;
        const int64_t token = index[b][c] % vocab;
        if (token == config_.eos_id) {
          if (c < beams) offer(b, {texts[parent], true, value[b][c]}, length);
          // Greedy search ends with its first end token.
          if (beams == 1) done[b] = true;
          continue;
        }
        const int64_t row = b * beams + live;
        next_texts[row] = texts[parent];
        next_texts[row].push_back(token);
        parents[row] = parent;
        next[row] = token;
        next_total[b][live] = value[b][c];
        ++live;
      }
      for (int64_t i = live; i < beams; ++i) parents[b * beams + i] = b * beams;
      // Candidates come in order, so the first live beam is the best.
      if (live == 0 ||
          best_possible(next_total[b][0], length) <= best_score[b]) {
        done[b] = true;
      }
    }
    texts = std::move(next_texts);
    totals = next_totals;
    if (std::all_of(done.begin(), done.end(), [](bool d) { return d; })) break;
    cache.Reorder(at::tensor(parents, at::kLong).to(tokens.device()));
    last = at::tensor(next, at::kLong).to(tokens.device());
  }

  std::vector<Generated> out;
  const auto total = totals.accessor<double, 2>();
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t i = 0; !done[b] && i < beams; ++i) {
      if (total[b][i] == -kInfinity) break;
      offer(b, {texts[b * beams + i], false, total[b][i]}, options.max_length);
    }
    out.push_back(best[b].value_or(Generated()));
  }
  return out;
}

at::Tensor ShiftRight(const at::Tensor& labels,
                      const EncoderDecoderConfig& config) {
  CheckTokens(labels, "labels");
  const at::Tensor shifted =
      at::cat({at::full({labels.size(0), 1}, config.pad_id, labels.options()),
               labels.narrow(1, 0, labels.size(1) - 1)},
              1);
  return shifted.masked_fill(shifted == kIgnoredLabel, config.pad_id);
}

at::Tensor RelativePositionBucket(const at::Tensor& distance,
                                  bool bidirectional, int64_t num_buckets,
                                  int64_t max_distance) {
  CheckDtype(distance, at::kLong, "distance");
  at::Tensor first = at::zeros_like(distance);
  at::Tensor far;  // how far, in the one direction or either
  if (bidirectional) {
    num_buckets /= 2;
    first = (distance > 0).to(at::kLong) * num_buckets;
    far = distance.abs();
  } else {
    far = (-distance).clamp_min(0);
  }
  const int64_t exact = num_buckets / 2;
  const at::Tensor logarithmic =
      (exact + at::log(far.clamp_min(1).to(at::kFloat) / exact) /
                   std::log(static_cast<double>(max_distance) / exact) *
                   (num_buckets - exact))
          .to(at::kLong)
          .clamp_max(num_buckets - 1);
  return first + at::where(far < exact, far, logarithmic);
}

}  // namespace repro::encoder
