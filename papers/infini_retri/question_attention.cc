#include "papers/infini_retri/question_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>

#include "common/lm/attention.h"
#include "common/lm/attention_state.h"
#include "common/tensor/check.h"

namespace repro::infini_retri {
namespace {

// Dense attention of one whole prompt up to a layer, of which it takes the last
// rows' probabilities. Outputs from there on are zeros: nobody reads them.
class QuestionState : public lm::AttentionState {
 public:
  QuestionState(int64_t rows, int64_t layer) : rows_(rows), layer_(layer) {}

  at::Tensor Attend(const lm::AttentionInput& input) override {
    if (input.layer > layer_) return at::zeros_like(input.q);
    const at::Tensor k = input.rope->Apply(input.k, input.position);
    if (input.layer == layer_) {
      const int64_t first = input.q.size(1) - rows_;
      attention_ =
          SummedAttention(input.rope->Apply(input.q.narrow(1, first, rows_),
                                            input.position + first),
                          k);
      return at::zeros_like(input.q);
    }
    return lm::DenseAttention(input.rope->Apply(input.q, input.position), k,
                              input.v);
  }

  int64_t Bytes() const override { return 0; }

  const at::Tensor& attention() const { return attention_; }

 private:
  int64_t rows_, layer_;
  at::Tensor attention_;
};

}  // namespace

at::Tensor SummedAttention(const at::Tensor& q, const at::Tensor& k) {
  ShapeChecker check;
  check(q, {"num_heads", "rows", "head_dim"}, "q");
  check(k, {"num_kv_heads", "tokens", "head_dim"}, "k");
  const int64_t num_heads = q.size(0), rows = q.size(1), head_dim = q.size(2);
  const int64_t num_kv_heads = k.size(0), tokens = k.size(1);
  TORCH_CHECK(num_kv_heads > 0 && num_heads % num_kv_heads == 0,
              "question attention: ", num_heads, " query heads over ",
              num_kv_heads, " heads of keys");
  TORCH_CHECK(rows <= tokens, "question attention: the last ", rows, " of ",
              tokens, " tokens");
  const at::ScalarType dtype =
      q.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const int64_t group = num_heads / num_kv_heads;
  const at::Tensor scores =
      at::matmul(q.to(dtype)
                     .mul(1 / std::sqrt(static_cast<double>(head_dim)))
                     .reshape({num_kv_heads, group * rows, head_dim}),
                 k.to(dtype).transpose(1, 2))
          .view({num_heads, rows, tokens});
  const at::TensorOptions places = q.options().dtype(at::kLong);
  const at::Tensor row = at::arange(tokens - rows, tokens, places).unsqueeze(1);
  scores.masked_fill_(at::arange(tokens, places) > row, -INFINITY);
  return scores.softmax(-1).sum(0);
}

at::Tensor QuestionAttention(const lm::LanguageModel& model,
                             const std::vector<int32_t>& tokens, int64_t rows,
                             int64_t layer) {
  const at::NoGradGuard no_grad;
  const int64_t length = static_cast<int64_t>(tokens.size());
  const int64_t layers = model.config().num_layers;
  TORCH_CHECK(rows >= 1 && rows <= length, "question attention: the last ",
              rows, " of ", length, " tokens");
  TORCH_CHECK(layer >= -1 && layer < layers, "question attention: layer ",
              layer, " of ", layers);
  QuestionState state(rows, layer < 0 ? layers - 1 : layer);
  model.Hidden({{at::tensor(std::vector<int64_t>(tokens.begin(), tokens.end()),
                            at::kLong),
                 &state}});
  return state.attention();
}

}  // namespace repro::infini_retri
