#include "papers/graph_code_bert/model.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/full.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/encoder/objectives.h"
#include "common/tensor/check.h"

namespace repro::graph_code_bert {

GraphBatch MakeGraphBatch(const std::vector<const GraphInput*>& inputs,
                          const std::vector<MaskOptions>& options,
                          int32_t pad_id, c10::Device device) {
  TORCH_CHECK(!inputs.empty(), "graph batch: no inputs");
  TORCH_CHECK(options.empty() || options.size() == inputs.size(),
              "graph batch: ", options.size(), " options for ", inputs.size(),
              " inputs");
  const auto batch = static_cast<int64_t>(inputs.size());
  int64_t length = 0;
  for (const GraphInput* input : inputs) {
    length = std::max(length, input->length());
  }
  GraphBatch result;
  result.tokens = at::full({batch, length}, pad_id, at::kLong);
  result.positions = at::full({batch, length}, pad_id, at::kLong);
  result.mask = at::zeros({batch, length, length}, at::kBool);
  result.node_pieces = at::zeros({batch, length, length}, at::kBool);
  result.maskable = at::zeros({batch, length}, at::kBool);
  auto* const tokens = result.tokens.data_ptr<int64_t>();
  auto* const positions = result.positions.data_ptr<int64_t>();
  bool* const mask = result.mask.data_ptr<bool>();
  bool* const node_pieces = result.node_pieces.data_ptr<bool>();
  bool* const maskable = result.maskable.data_ptr<bool>();
  for (int64_t row = 0; row < batch; ++row) {
    const GraphInput& input = *inputs[row];
    const int64_t own = input.length();
    std::copy(input.ids.begin(), input.ids.end(), tokens + row * length);
    std::copy(input.positions.begin(), input.positions.end(),
              positions + row * length);
    const std::vector<uint8_t> pairs =
        AttentionMask(input, options.empty() ? MaskOptions() : options[row]);
    for (int64_t i = 0; i < own; ++i) {
      std::copy_n(pairs.begin() + i * own, own,
                  mask + (row * length + i) * length);
    }
    for (int64_t node = 0; node < input.num_nodes(); ++node) {
      bool* const pieces =
          node_pieces + (row * length + input.num_text + node) * length;
      std::fill(pieces + input.nodes[node].begin,
                pieces + input.nodes[node].end, true);
    }
    std::fill_n(maskable + row * length, input.num_text, true);
    for (const int64_t i : input.special) maskable[row * length + i] = false;
  }
  for (at::Tensor* tensor : {&result.tokens, &result.positions, &result.mask,
                             &result.node_pieces, &result.maskable}) {
    *tensor = tensor->to(device);
  }
  return result;
}

at::Tensor MeanNodeEmbeddings(const at::Tensor& words,
                              const GraphBatch& batch) {
  const at::Tensor pieces = batch.node_pieces.to(words.scalar_type());
  const at::Tensor mean =
      at::bmm(pieces / (pieces.sum(-1, /*keepdim=*/true) + 1e-10), words);
  return at::where(batch.positions.eq(0).unsqueeze(-1), mean, words);
}

GraphCodeBert::GraphCodeBert(const encoder::TransformerConfig& config,
                             const Initializer& init, at::Generator generator)
    : config_(config) {
  encoder_ = AddModule<encoder::TransformerEncoder>("encoder", config, init,
                                                    std::move(generator));
  pooler_ = AddModule<encoder::Pooler>("pooler", config.dim, init);
  language_model_ = AddModule<encoder::MaskedLanguageModelHead>(
      "language_model", config, init);
}

at::Tensor GraphCodeBert::Forward(const GraphBatch& batch,
                                  const at::Tensor& tokens) const {
  const at::Tensor words =
      encoder_->WordEmbeddings(tokens.defined() ? tokens : batch.tokens);
  return encoder_->ForwardEmbeddings(MeanNodeEmbeddings(words, batch),
                                     batch.mask, batch.positions);
}

at::Tensor GraphCodeBert::SearchVectors(const at::Tensor& h) const {
  return pooler_->Forward(h);
}

GraphCodeBert::Losses GraphCodeBert::PretrainingLosses(
    const GraphBatch& batch, const std::vector<PairSample>& samples,
    int32_t mask_id, int32_t first_random_id, at::Generator generator,
    double pair_scale) const {
  encoder::TokenMaskingOptions masking;
  masking.mask_id = mask_id;
  masking.vocab_size = config_.vocab_size;
  masking.first_random_id = first_random_id;
  const encoder::MaskedTokens masked = encoder::MaskTokens(
      batch.tokens, batch.maskable, masking, std::move(generator));
  const at::Tensor h = Forward(batch, masked.inputs);

  Losses losses;
  const at::Tensor selected = masked.labels.ne(encoder::kIgnoredLabel);
  losses.masked_language_model = encoder::TokenCrossEntropy(
      language_model_->Forward(h.index({selected}), encoder_->word_embedding()),
      masked.labels.index({selected}));

  std::vector<int64_t> pairs;
  std::vector<double> linked;
  for (size_t row = 0; row < samples.size(); ++row) {
    for (const PairSample::Pair& pair : samples[row].pairs) {
      pairs.insert(pairs.end(),
                   {static_cast<int64_t>(row), pair.first, pair.second});
      linked.push_back(pair.linked ? 1 : 0);
    }
  }
  if (pairs.empty()) {
    losses.structure = at::zeros({}, h.options());
  } else {
    losses.structure = encoder::BinaryCrossEntropy(
        pair_scale *
            encoder::TokenPairLogits(
                h, at::tensor(pairs, at::kLong).view({-1, 3}).to(h.device())),
        at::tensor(linked, at::kFloat).to(h.options()));
  }
  return losses;
}

CloneHead::CloneHead(int64_t dim, double dropout, const Initializer& init,
                     at::Generator generator) {
  encoder::ClassificationHeadConfig config;
  config.in_dim = 2 * dim;
  config.hidden_dim = dim;
  config.num_classes = 2;
  config.dropout = dropout;
  head_ = AddModule<encoder::ClassificationHead>("head", config, init,
                                                 std::move(generator));
}

at::Tensor CloneHead::Forward(const at::Tensor& first,
                              const at::Tensor& second) const {
  ShapeChecker check;
  check(first, {"batch", "first_len", "dim"}, "first");
  check(second, {"batch", "second_len", "dim"}, "second");
  return head_->Forward(at::cat({first.select(1, 0), second.select(1, 0)}, -1));
}

// What a layer keeps of what was said and of the source.
struct DecoderCache {
  encoder::KeyValues said, source;
};

// x = norm(x + SelfAttention(x)); x = norm(x + Attention(x, states));
// x = norm(x + FFN(x)).
class DecoderLayer : public Module {
 public:
  DecoderLayer(int64_t dim, const DecoderConfig& config,
               const Initializer& init, at::Generator generator)
      : dropout_(config.dropout), generator_(std::move(generator)) {
    encoder::MultiHeadAttentionConfig attention;
    attention.dim = dim;
    attention.num_heads = config.num_heads;
    attention.dropout = config.dropout;
    self_ = AddModule<encoder::MultiHeadAttention>("self", attention, init,
                                                   generator_);
    self_norm_ = AddModule<LayerNorm>("self_norm", dim, init);
    cross_ = AddModule<encoder::MultiHeadAttention>("cross", attention, init,
                                                    generator_);
    cross_norm_ = AddModule<LayerNorm>("cross_norm", dim, init);
    up_ = AddModule<Linear>("up", dim, config.ffn_dim, init);
    down_ = AddModule<Linear>("down", config.ffn_dim, dim, init);
    ffn_norm_ = AddModule<LayerNorm>("ffn_norm", dim, init);
  }

  DecoderCache Start(const at::Tensor& states) const {
    return {{}, cross_->Project(states)};
  }

  // x: [batch, length, dim], what follows that of the cache, which grows by it.
  at::Tensor Forward(at::Tensor x, const encoder::ScoreMask& causal,
                     const encoder::ScoreMask& source_mask,
                     DecoderCache* cache) const {
    self_->Append(x, &cache->said);
    x = self_norm_->Forward(x + Drop(self_->Attend(x, cache->said, causal)));
    x = cross_norm_->Forward(
        x + Drop(cross_->Attend(x, cache->source, source_mask)));
    return ffn_norm_->Forward(x +
                              Drop(down_->Forward(at::gelu(up_->Forward(x)))));
  }

 private:
  at::Tensor Drop(const at::Tensor& x) const {
    return generator_.defined() ? Dropout(x, dropout_, training(), generator_)
                                : x;
  }

  double dropout_;
  at::Generator generator_;
  encoder::MultiHeadAttention* self_;
  LayerNorm* self_norm_;
  encoder::MultiHeadAttention* cross_;
  LayerNorm* cross_norm_;
  Linear* up_;
  Linear* down_;
  LayerNorm* ffn_norm_;
};

GenerationHead::GenerationHead(int64_t dim, const DecoderConfig& config,
                               const Initializer& init, at::Generator generator)
    : config_(config) {
  TORCH_CHECK(config.num_layers > 0, "decoder: ", config.num_layers,
              " layers, expected at least 1");
  position_embedding_ = AddParameter(
      "position_embedding", init.Normal({config.max_positions, dim}, 0.02));
  for (int64_t i = 0; i < config.num_layers; ++i) {
    layers_.push_back(AddModule<DecoderLayer>(absl::StrCat("layer", i), dim,
                                              config, init, generator));
  }
  dense_ = AddModule<Linear>("dense", dim, dim, init);
}

GenerationHead::~GenerationHead() = default;

at::Tensor GenerationHead::Extend(const at::Tensor& targets,
                                  const encoder::ScoreMask& source_mask,
                                  const at::Tensor& word_embedding,
                                  std::vector<DecoderCache>* caches) const {
  const at::Tensor& said = caches->front().said.keys;
  const int64_t past = said.defined() ? said.size(2) : 0;
  const int64_t length = targets.size(1);
  TORCH_CHECK(past + length <= config_.max_positions,
              "targets: ", past + length, " tokens, and the decoder has ",
              config_.max_positions, " positions");
  at::Tensor x = at::embedding(word_embedding, targets) +
                 position_embedding_.slice(0, past, past + length);
  encoder::ScoreMask causal;
  if (length > 1) {  // one token may attend to all before it
    causal = encoder::MakeScoreMask(
        at::ones({1, length, past + length}, x.options().dtype(at::kBool))
            .tril(past),
        /*bias=*/{}, 1, length, past + length, x.options());
  }
  for (size_t i = 0; i < layers_.size(); ++i) {
    x = layers_[i]->Forward(x, causal, source_mask, &(*caches)[i]);
  }
  return at::linear(at::tanh(dense_->Forward(x)), word_embedding);
}

std::vector<DecoderCache> GenerationHead::Start(
    const at::Tensor& states) const {
  std::vector<DecoderCache> caches;
  for (const DecoderLayer* layer : layers_) {
    caches.push_back(layer->Start(states));
  }
  return caches;
}

at::Tensor GenerationHead::Forward(const at::Tensor& targets,
                                   const at::Tensor& states,
                                   const at::Tensor& source_mask,
                                   const at::Tensor& word_embedding) const {
  CheckShape(targets, {states.size(0), "target_len"}, "targets");
  CheckDtype(targets, at::kLong, "targets");
  std::vector<DecoderCache> caches = Start(states);
  return Extend(
      targets,
      encoder::MakeScoreMask(source_mask, /*bias=*/{}, states.size(0),
                             targets.size(1), states.size(1), states.options()),
      word_embedding, &caches);
}

std::vector<std::vector<int64_t>> GenerationHead::Generate(
    const at::Tensor& states, const at::Tensor& source_mask,
    const at::Tensor& word_embedding, int64_t begin_id, int64_t end_id,
    int64_t max_length) const {
  const at::NoGradGuard no_grad;
  const int64_t batch = states.size(0);
  std::vector<DecoderCache> caches = Start(states);
  const encoder::ScoreMask of_source =
      encoder::MakeScoreMask(source_mask, /*bias=*/{}, batch, /*target_len=*/1,
                             states.size(1), states.options());
  at::Tensor last =
      at::full({batch, 1}, begin_id, states.options().dtype(at::kLong));
  std::vector<std::vector<int64_t>> results(batch);
  std::vector<bool> finished(batch, false);
  max_length = std::min(max_length, config_.max_positions);
  for (int64_t step = 0; step < max_length; ++step) {
    last = Extend(last, of_source, word_embedding, &caches).argmax(-1);
    const at::Tensor on_cpu = last.cpu();
    bool all = true;
    for (int64_t row = 0; row < batch; ++row) {
      const int64_t id = on_cpu.data_ptr<int64_t>()[row];
      finished[row] = finished[row] || id == end_id;
      if (!finished[row]) results[row].push_back(id);
      all = all && finished[row];
    }
    if (all) break;
  }
  return results;
}

}  // namespace repro::graph_code_bert
