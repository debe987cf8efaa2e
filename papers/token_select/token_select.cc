#include "papers/token_select/token_select.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/index_select.h>

#include <algorithm>
#include <vector>

#include "common/tensor/check.h"
#include "kernels/paged_dot_product/paged_dot_product.h"
#include "kernels/selected_attention/selected_attention.h"

namespace repro::token_select {
namespace {

void Validate(const TokenSelectOptions& options) {
  TORCH_CHECK(options.initial >= 0 && options.selected >= 1 &&
                  options.chunk >= 1 && options.local >= options.chunk &&
                  options.pool >= 0 && options.block >= 1,
              "token_select: initial ", options.initial, ", selected ",
              options.selected, ", local ", options.local, ", chunk ",
              options.chunk, ", pool ", options.pool, ", block ", options.block,
              ": expected initial, pool >= 0, the others at least 1, local at "
              "least chunk");
}

class TokenSelectState : public lm::AttentionState {
 public:
  TokenSelectState(const lm::ModelConfig& config, c10::Device device,
                   at::ScalarType dtype, const TokenSelectOptions& options)
      : options_(options),
        row_({config.num_kv_heads, config.head_dim}),
        values_(at::TensorOptions(device).dtype(dtype)),
        layers_(config.num_layers) {
    Validate(options);
  }

  at::Tensor Attend(const lm::AttentionInput& input) override {
    const at::NoGradGuard no_grad;
    Layer& layer = layers_.at(input.layer);
    const int64_t queries = input.q.size(1);
    std::vector<at::Tensor> out;
    for (int64_t begin = 0; begin < queries; begin += options_.chunk) {
      const int64_t count = std::min(options_.chunk, queries - begin);
      const auto part = [&](const at::Tensor& x) {
        return x.narrow(1, begin, count);
      };
      Append(layer, part(input.k), part(input.v));
      out.push_back(AttendChunk(layer, part(input.q), *input.rope));
    }
    if (out.empty()) return at::empty_like(input.q);
    return out.size() == 1 ? out[0] : at::cat(out, 1);
  }

  void PromptDone() override { prompt_done_ = true; }

  int64_t Bytes() const override {
    int64_t bytes = 0;
    for (const Layer& layer : layers_) {
      for (const at::Tensor* t :
           {&layer.k, &layer.v, &layer.last_query, &layer.last_selection}) {
        if (t->defined()) bytes += static_cast<int64_t>(t->nbytes());
      }
    }
    return bytes +
           (slots_.defined() ? static_cast<int64_t>(slots_.nbytes()) : 0);
  }

 private:
  struct Layer {
    at::Tensor k, v;  // [room, num_kv_heads, head_dim]
    int64_t length = 0;
    // The Selection Cache.
    at::Tensor last_query, last_selection;
  };

  void Append(Layer& layer, const at::Tensor& k, const at::Tensor& v) {
    const int64_t length = layer.length + k.size(1);
    const int64_t room = layer.k.defined() ? layer.k.size(0) : 0;
    if (length > room) {
      const int64_t more = std::max<int64_t>({length, room + room / 2, 64});
      for (at::Tensor* pool : {&layer.k, &layer.v}) {
        at::Tensor larger = at::empty({more, row_[0], row_[1]}, values_);
        if (layer.length > 0) {
          larger.narrow(0, 0, layer.length)
              .copy_(pool->narrow(0, 0, layer.length));
        }
        *pool = larger;
      }
      if (!slots_.defined() || slots_.size(0) < more) {
        slots_ = at::arange(more, values_.dtype(at::kInt));
      }
    }
    layer.k.narrow(0, layer.length, k.size(1)).copy_(k.transpose(0, 1));
    layer.v.narrow(0, layer.length, v.size(1)).copy_(v.transpose(0, 1));
    layer.length = length;
  }

  // q: the last queries of layer.length tokens, not rotated.
  at::Tensor AttendChunk(Layer& layer, const at::Tensor& q,
                         const lm::Rope& rope) const {
    at::Tensor list = slots_.narrow(0, 0, layer.length);
    if (layer.length > options_.budget()) {
      const at::Tensor middle = Middle(list, options_);
      list = ReadList(list, Selection(layer, q, rope, middle), options_);
    }
    RotaryTables tables;
    rope.Tables(list.size(0), &tables.cos, &tables.sin);
    return SelectedAttention(q, layer.k, layer.v, list, tables);
  }

  at::Tensor Selection(Layer& layer, const at::Tensor& q, const lm::Rope& rope,
                       const at::Tensor& middle) const {
    const at::Tensor query = SelectionQuery(q, rope, options_.local);
    if (!prompt_done_ || q.size(1) != 1 || options_.theta > 1) {
      return Select(query, layer.k, middle, options_);
    }
    if (!layer.last_query.defined() ||
        Cosine(query, layer.last_query) < options_.theta) {
      layer.last_query = query;
      layer.last_selection = Select(query, layer.k, middle, options_);
    }
    return layer.last_selection;
  }

  const TokenSelectOptions options_;
  const std::vector<int64_t> row_;
  const at::TensorOptions values_;
  std::vector<Layer> layers_;
  at::Tensor slots_;  // of the tokens: one sequence has its pool for itself
  bool prompt_done_ = false;
};

}  // namespace

std::unique_ptr<lm::AttentionState> MakeTokenSelectState(
    const lm::ModelConfig& config, c10::Device device, at::ScalarType dtype,
    const TokenSelectOptions& options) {
  return std::make_unique<TokenSelectState>(config, device, dtype, options);
}

at::Tensor Select(const at::Tensor& query, const at::Tensor& k_pool,
                  const at::Tensor& slots, const TokenSelectOptions& options) {
  at::Tensor loud = query;
  if (options.first_head_factor != 1) {
    loud = query.clone();
    loud.select(0, 0).mul_(options.first_head_factor);
  }
  const auto [scores, log_sum_exp] = PagedDotProduct(
      loud, k_pool, slots,
      /*interleaved=*/options.mapping == HeadMapping::kPublished);
  if (options.block > 1) {
    return TopBlocks(scores, options.selected, options.block);
  }
  return TopTokens(
      MaxPool(Criticality(scores, log_sum_exp, options.rule, options.selected),
              options.pool),
      options.selected);
}

at::Tensor ReadList(const at::Tensor& slots, const at::Tensor& selection,
                    const TokenSelectOptions& options) {
  return at::cat(
      {slots.narrow(0, 0, options.initial),
       at::index_select(Middle(slots, options), 0, selection),
       slots.narrow(0, slots.size(0) - options.local, options.local)});
}

at::Tensor Middle(const at::Tensor& slots, const TokenSelectOptions& options) {
  return slots.slice(0, options.initial, slots.size(0) - options.local);
}

}  // namespace repro::token_select
