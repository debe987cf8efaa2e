#include "papers/razor_attention/head_scores.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randperm.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "common/lm/attention.h"
#include "common/lm/attention_state.h"
#include "common/tensor/check.h"

namespace repro::razor {
namespace {

// Dense attention that scores each layer on the way.
class ProbeState : public lm::AttentionState {
 public:
  ProbeState(int64_t first, int64_t period) : first_(first), period_(period) {}

  at::Tensor Attend(const lm::AttentionInput& input) override {
    const at::Tensor q = input.rope->Apply(input.q, input.position);
    const at::Tensor k = input.rope->Apply(input.k, input.position);
    HeadScores scores = ScoreLayer(q, k, first_, period_);
    echo_.push_back(std::move(scores.echo));
    induction_.push_back(std::move(scores.induction));
    return lm::DenseAttention(q, k, input.v);
  }

  int64_t Bytes() const override { return 0; }

  HeadScores scores() const { return {at::cat(echo_), at::cat(induction_)}; }

 private:
  int64_t first_, period_;
  std::vector<at::Tensor> echo_, induction_;
};

int64_t Count(int64_t heads, double share) {
  TORCH_CHECK(share >= 0 && share <= 1, "head shares: ", share,
              ", expected 0 to 1");
  if (share == 0) return 0;
  return std::max<int64_t>(1,
                           static_cast<int64_t>(std::nearbyint(heads * share)));
}

}  // namespace

at::Tensor MakeProbe(const Probe& probe, at::Generator generator) {
  TORCH_CHECK(probe.period >= 2 && probe.repeats >= 2 &&
                  probe.first_token >= 0 &&
                  probe.last_token >= probe.first_token,
              "probe: period ", probe.period, ", repeats ", probe.repeats,
              ", tokens ", probe.first_token, " to ", probe.last_token,
              ": expected at least 2 and 2, and a range of tokens");
  const at::Tensor tokens =
      at::randint(probe.first_token, probe.last_token + 1, {probe.period},
                  std::move(generator), at::kLong)
          .repeat({probe.repeats});
  return probe.bos < 0 ? tokens
                       : at::cat({at::full({1}, probe.bos, at::kLong), tokens});
}

HeadScores ScoreLayer(const at::Tensor& q, const at::Tensor& k, int64_t first,
                      int64_t period) {
  ShapeChecker check;
  check(q, {"num_heads", "tokens", "head_dim"}, "q");
  check(k, {"num_kv_heads", "tokens", "head_dim"}, "k");
  const int64_t num_heads = q.size(0), num_kv_heads = k.size(0);
  const int64_t tokens = q.size(1), head_dim = q.size(2);
  TORCH_CHECK(num_heads % num_kv_heads == 0, "head scores: ", num_heads,
              " query heads over ", num_kv_heads, " heads of keys");
  TORCH_CHECK(period >= 2 && first >= 0 && first + period < tokens,
              "head scores: a probe of ", tokens, " tokens from place ", first,
              " on with period ", period, ", expected more than one period");
  const int64_t group = num_heads / num_kv_heads;
  const at::TensorOptions places = q.options().dtype(at::kLong);
  // How many periods back: [most]
  const int64_t most = (tokens - 1 - first) / period;
  const at::Tensor back = at::arange(1, most + 1, places) * period;
  at::Tensor echo = at::zeros({num_heads}, q.options().dtype(at::kDouble));
  at::Tensor induction = echo.clone();
  const at::ScalarType dtype =
      q.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  // Scores at a time: what a processor's cache holds, or what fills a GPU.
  const int64_t max_scores = int64_t{1} << (q.is_cuda() ? 24 : 20);
  const int64_t block = std::max<int64_t>(1, max_scores / (num_heads * tokens));
  const double scale = 1 / std::sqrt(static_cast<double>(head_dim));
  // Rows of the first period have nothing to look back at.
  for (int64_t begin = first + period; begin < tokens; begin += block) {
    const int64_t rows = std::min(block, tokens - begin);
    const int64_t keys = begin + rows;
    const at::Tensor row = at::arange(begin, keys, places).unsqueeze(1);
    const at::Tensor scores =
        at::matmul(q.narrow(1, begin, rows)
                       .to(dtype)
                       .mul(scale)
                       .reshape({num_kv_heads, group * rows, head_dim}),
                   k.narrow(1, 0, keys).to(dtype).transpose(1, 2))
            .view({num_heads, rows, keys});
    // All earlier keys are seen: only the block's own need a mask.
    scores.narrow(2, begin, rows).masked_fill_(row.squeeze(1) > row, -INFINITY);
    const at::Tensor p = scores.softmax(-1);
    const at::Tensor earlier = row - back;  // [rows, most]
    const at::Tensor there = earlier >= first;
    const auto sum = [&](const at::Tensor& at) {
      return p
          .gather(2, at.clamp_min(0).unsqueeze(0).expand({num_heads, -1, -1}))
          .masked_fill(there.logical_not(), 0)
          .to(at::kDouble)
          .sum({1, 2});
    };
    echo += sum(earlier);
    induction += sum(earlier + 1);
  }
  const double area = static_cast<double>(tokens) * static_cast<double>(tokens);
  return {(echo / area).to(at::kCPU).unsqueeze(0),
          (induction / area).to(at::kCPU).unsqueeze(0)};
}

HeadScores ScoreHeads(const lm::LanguageModel& model, const Probe& probe,
                      at::Generator generator) {
  const at::NoGradGuard no_grad;
  ProbeState state(probe.bos >= 0 ? 1 : 0, probe.period);
  model.Hidden({{MakeProbe(probe, std::move(generator)), &state}});
  return state.scores();
}

std::vector<int64_t> TopPlaces(const at::Tensor& scores, int64_t count) {
  const at::Tensor flat =
      scores.to(at::kCPU).to(at::kDouble).contiguous().flatten();
  TORCH_CHECK(count >= 0 && count <= flat.numel(), "head scores: the best ",
              count, " of ", flat.numel());
  const double* value = flat.const_data_ptr<double>();
  std::vector<int64_t> places(flat.numel());
  std::iota(places.begin(), places.end(), 0);
  std::stable_sort(places.begin(), places.end(),
                   [&](int64_t a, int64_t b) { return value[a] > value[b]; });
  places.resize(count);
  return places;
}

at::Tensor GroupMax(const at::Tensor& scores, int64_t num_kv_heads) {
  CheckShape(scores, {"layers", "num_heads"}, "scores");
  TORCH_CHECK(num_kv_heads > 0 && scores.size(1) % num_kv_heads == 0,
              "head scores: ", scores.size(1), " query heads in ", num_kv_heads,
              " groups");
  return scores.view({scores.size(0), num_kv_heads, -1}).amax(-1);
}

HeadSet ToHeadSet(const std::vector<int64_t>& places, int64_t layers,
                  int64_t heads) {
  HeadSet set(layers);
  for (const int64_t place : places)
    set.at(place / heads).push_back(place % heads);
  for (std::vector<int64_t>& of_layer : set) {
    std::sort(of_layer.begin(), of_layer.end());
    of_layer.erase(std::unique(of_layer.begin(), of_layer.end()),
                   of_layer.end());
  }
  return set;
}

HeadSet PromoteGroups(const std::vector<int64_t>& places, int64_t layers,
                      int64_t num_heads, int64_t num_kv_heads) {
  std::vector<int64_t> groups;
  for (const int64_t place : places) {
    groups.push_back(place / num_heads * num_kv_heads +
                     place % num_heads / (num_heads / num_kv_heads));
  }
  return ToHeadSet(groups, layers, num_kv_heads);
}

int64_t CountHeads(const HeadSet& heads) {
  int64_t count = 0;
  for (const auto& of_layer : heads) {
    count += static_cast<int64_t>(of_layer.size());
  }
  return count;
}

HeadSet SelectRetrievalHeads(const HeadScores& scores, int64_t num_kv_heads,
                             const HeadShares& shares, Promotion promotion) {
  CheckShape(scores.echo, {"layers", "num_heads"}, "echo");
  CheckShape(scores.induction, {scores.echo.size(0), scores.echo.size(1)},
             "induction");
  const bool by_group = promotion == Promotion::kKvHead;
  const at::Tensor echo =
      by_group ? GroupMax(scores.echo, num_kv_heads) : scores.echo;
  const at::Tensor induction =
      by_group ? GroupMax(scores.induction, num_kv_heads) : scores.induction;
  std::vector<int64_t> places =
      TopPlaces(echo, Count(echo.numel(), shares.echo));
  for (const int64_t place :
       TopPlaces(induction, Count(induction.numel(), shares.induction))) {
    places.push_back(place);
  }
  const int64_t layers = scores.echo.size(0);
  return by_group
             ? ToHeadSet(places, layers, num_kv_heads)
             : PromoteGroups(places, layers, scores.echo.size(1), num_kv_heads);
}

HeadSet RandomHeads(int64_t layers, int64_t num_kv_heads, int64_t count,
                    at::Generator generator) {
  const int64_t all = layers * num_kv_heads;
  TORCH_CHECK(count >= 0 && count <= all, "random heads: ", count, " of ", all);
  const at::Tensor order = at::randperm(all, std::move(generator), at::kLong);
  const int64_t* first = order.const_data_ptr<int64_t>();
  return ToHeadSet({first, first + count}, layers, num_kv_heads);
}

}  // namespace repro::razor
