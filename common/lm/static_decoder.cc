#include "common/lm/static_decoder.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <optional>

#include "common/lm/attention.h"
#include "common/lm/attention_state.h"
#include "common/tensor/check.h"
#include "kernels/decode_linear/decode_linear.h"
#include "kernels/paged_attention_decode/paged_attention_decode.h"

namespace repro::lm {
namespace {

std::optional<at::Tensor> Optional(const at::Tensor& x) {
  return x.defined() ? std::make_optional(x) : std::nullopt;
}

// A prompt's attention, which leaves its keys and values in the cache.
class PromptState : public AttentionState {
 public:
  PromptState(const std::vector<at::Tensor>& caches, int64_t sequence)
      : caches_(caches), sequence_(sequence) {}

  at::Tensor Attend(const AttentionInput& in) override {
    const int64_t count = in.q.size(1);
    const auto keep = [&](const at::Tensor& cache, const at::Tensor& x) {
      const at::Tensor rows = cache[sequence_];
      rows.narrow(0, in.position, count).copy_(x.transpose(0, 1));
      return rows.narrow(0, 0, in.position + count).transpose(0, 1);
    };
    const at::Tensor k =
        keep(caches_[2 * in.layer], in.rope->Apply(in.k, in.position));
    const at::Tensor v = keep(caches_[2 * in.layer + 1], in.v);
    return DenseAttention(in.rope->Apply(in.q, in.position), k, v);
  }

  int64_t Bytes() const override { return 0; }  // the decoder's

 private:
  const std::vector<at::Tensor>& caches_;
  const int64_t sequence_;
};

}  // namespace

StaticDecoder::StaticDecoder(const LanguageModel& model, int64_t batch,
                             int64_t capacity)
    : model_(model),
      batch_(batch),
      capacity_(capacity),
      known_lengths_(batch, 0) {
  const at::NoGradGuard no_grad;
  const ModelConfig& c = model.config();
  TORCH_CHECK(batch > 0 && capacity > 0, "static decoder: batch ", batch,
              ", capacity ", capacity);
  TORCH_CHECK(model.weights().embedding.defined(),
              "static decoder: the model's embedding is quantised");
  const auto check_dense = [](const LinearWeight& weight) {
    TORCH_CHECK(weight.dense.defined(),
                "static decoder: the model's weights are quantised; load them "
                "with keep_quantized = false");
  };
  for (const LayerWeights& layer : model.weights().layers) {
    check_dense(layer.qkv);
    check_dense(layer.output);
    check_dense(layer.gate_up);
    check_dense(layer.down);
  }
  check_dense(model.weights().head);
  const at::TensorOptions options =
      at::TensorOptions(model.device()).dtype(model.dtype());
  for (int64_t i = 0; i < 2 * c.num_layers; ++i) {
    caches_.push_back(
        at::zeros({batch, capacity, c.num_kv_heads, c.head_dim}, options));
  }
  page_table_ = at::arange(batch, options.dtype(at::kInt)).unsqueeze(1);
  lengths_ = at::zeros({batch}, options.dtype(at::kInt));
  tokens_ = at::zeros({batch}, options.dtype(at::kLong));
  logits_ = at::empty({batch, c.vocab_size}, options.dtype(at::kFloat));
  qkv_ = at::empty({batch, (c.num_heads + 2 * c.num_kv_heads) * c.head_dim},
                   options);
  hidden_ = at::empty({batch, c.intermediate_size}, options);
  model.rope().Tables(capacity, &cos_, &sin_);
  // Its rehearsals write one token each at the front of the empty cache.
  graph_ = std::make_unique<CapturedGraph>(
      model.device(), [this] { RunStep(); }, /*warmup=*/1);
  lengths_.zero_();
}

void StaticDecoder::RunStep() {
  const at::NoGradGuard no_grad;
  const ModelConfig& c = model_.config();
  const ModelWeights& weights = model_.weights();
  const double eps = c.rms_norm_eps;
  lengths_.add_(1);
  const at::Tensor x = at::embedding(weights.embedding, tokens_);
  const at::Tensor heads = qkv_.view({batch_, -1, c.head_dim});
  const at::Tensor q = heads.narrow(1, 0, c.num_heads);
  const at::Tensor k = heads.narrow(1, c.num_heads, c.num_kv_heads);
  const at::Tensor v =
      heads.narrow(1, c.num_heads + c.num_kv_heads, c.num_kv_heads);
  for (int64_t l = 0; l < c.num_layers; ++l) {
    const LayerWeights& layer = weights.layers[l];
    const at::Tensor& keys = caches_[2 * l];
    const at::Tensor& values = caches_[2 * l + 1];
    DecodeLinear(qkv_, x, layer.qkv.dense, layer.attention_norm, eps,
                 Optional(layer.qkv.bias));
    PagedAppend(keys, values, page_table_, lengths_, q, k, v, cos_, sin_);
    PagedKeysValues cache;
    cache.k_pages = keys;
    cache.v_pages = values;
    cache.page_table = page_table_;
    cache.lengths = lengths_;
    const at::Tensor attended =
        std::get<0>(PagedAttentionDecode(q, cache, capacity_));
    DecodeLinear(x, attended.flatten(1), layer.output.dense, std::nullopt, eps,
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

void StaticDecoder::Prefill(int64_t sequence, const at::Tensor& tokens,
                            int64_t chunk) {
  const at::NoGradGuard no_grad;
  TORCH_CHECK(sequence >= 0 && sequence < batch_, "static decoder: sequence ",
              sequence, " of ", batch_);
  CheckShape(tokens, {"tokens"}, "tokens");
  const int64_t count = tokens.size(0);
  TORCH_CHECK(count > 0 && count <= capacity_ && chunk > 0,
              "static decoder: a prompt of ", count, " tokens in chunks of ",
              chunk, ", with room for ", capacity_);
  PromptState state(caches_, sequence);
  at::Tensor last;
  for (int64_t first = 0; first < count; first += chunk) {
    const at::Tensor part =
        tokens.narrow(0, first, std::min(chunk, count - first));
    last = model_.Hidden({{part, &state, first}}).select(0, -1);
  }
  logits_[sequence].copy_(model_.Logits(last));
  tokens_[sequence].copy_(logits_[sequence].argmax(-1));
  lengths_[sequence].fill_(count);
  known_lengths_[sequence] = count;
}

void StaticDecoder::Step() {
  for (int64_t& length : known_lengths_) {
    TORCH_CHECK(length < capacity_, "static decoder: a sequence has its ",
                capacity_, " tokens");
  }
  for (int64_t& length : known_lengths_) ++length;
  graph_->Replay();
}

void StaticDecoder::SetLength(int64_t length) {
  TORCH_CHECK(length >= 0 && length <= capacity_, "static decoder: length ",
              length, ", capacity ", capacity_);
  lengths_.fill_(length);
  std::fill(known_lengths_.begin(), known_lengths_.end(), length);
}

}  // namespace repro::lm
