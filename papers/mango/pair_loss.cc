#include "papers/mango/pair_loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Reduction.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/clamp_min.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/full.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>
#include <c10/util/Exception.h>

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace repro::mango {
namespace {

// The losses of each row's predicted tokens: their sum, and how many.
struct RowLosses {
  at::Tensor sum;    // [batch]
  at::Tensor count;  // [batch], float32

  at::Tensor Mean() const { return sum / count.clamp_min(1); }
};

RowLosses LossesOf(const at::Tensor& logits, const at::Tensor& labels,
                   const char* name) {
  TORCH_CHECK(logits.dim() == 3 && labels.dim() == 2 &&
                  logits.size(0) == labels.size(0) &&
                  logits.size(1) == labels.size(1),
              "pair loss: ", name, " logits ", logits.sizes(), " for labels ",
              labels.sizes());
  const int64_t last = labels.size(1) - 1;
  const at::Tensor targets = labels.narrow(1, 1, last);
  const at::Tensor losses =
      at::cross_entropy_loss(
          logits.narrow(1, 0, last).flatten(0, 1).to(at::kFloat),
          targets.flatten(), /*weight=*/{}, at::Reduction::None, kIgnored)
          .view_as(targets);
  return {losses.sum(1), targets.ne(kIgnored).sum(1).to(at::kFloat)};
}

}  // namespace

std::optional<int64_t> ResponseStart(const std::vector<int32_t>& tokens,
                                     int32_t separator) {
  const auto first = std::find(tokens.begin(), tokens.end(), separator);
  if (first == tokens.end()) return std::nullopt;
  const auto second = std::find(first + 1, tokens.end(), separator);
  if (second == tokens.end()) return std::nullopt;
  return second - tokens.begin();
}

PairBatch PairBatch::To(c10::Device device) const {
  return {positive.to(device), positive_labels.to(device),
          positive_lengths.to(device), negative.to(device),
          negative_labels.to(device)};
}

absl::StatusOr<PairBatch> MakePairBatch(const std::vector<TokenPair>& pairs,
                                        int32_t separator, int32_t pad) {
  if (pairs.empty()) return absl::InvalidArgumentError("a batch of no pairs");
  std::vector<int64_t> starts;
  size_t positive_len = 0, negative_len = 0;
  for (size_t i = 0; i < pairs.size(); ++i) {
    const TokenPair& pair = pairs[i];
    const auto start = ResponseStart(pair.prompt, separator);
    if (!start.has_value()) {
      return absl::InvalidArgumentError(
          absl::StrCat("pair ", i, ": its prompt has no two separators ",
                       separator, ": where does the response begin?"));
    }
    if (pair.positive.empty() || pair.negative.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("pair ", i, ": an empty program"));
    }
    starts.push_back(*start);
    positive_len =
        std::max(positive_len, pair.prompt.size() + pair.positive.size());
    negative_len = std::max(negative_len,
                            static_cast<size_t>(*start) + pair.negative.size());
  }
  const auto rows = static_cast<int64_t>(pairs.size());
  const auto full = [&](size_t length, int64_t value) {
    return at::full({rows, static_cast<int64_t>(length)}, value, at::kLong);
  };
  PairBatch batch;
  batch.positive = full(positive_len, pad);
  batch.positive_labels = full(positive_len, kIgnored);
  batch.positive_lengths = at::full({rows}, 0, at::kLong);
  batch.negative = full(negative_len, pad);
  batch.negative_labels = full(negative_len, kIgnored);
  auto positive = batch.positive.accessor<int64_t, 2>();
  auto positive_labels = batch.positive_labels.accessor<int64_t, 2>();
  auto lengths = batch.positive_lengths.accessor<int64_t, 1>();
  auto negative = batch.negative.accessor<int64_t, 2>();
  auto negative_labels = batch.negative_labels.accessor<int64_t, 2>();
  for (int64_t row = 0; row < rows; ++row) {
    const TokenPair& pair = pairs[row];
    int64_t at = 0;
    for (const int32_t token : pair.prompt) positive[row][at++] = token;
    for (const int32_t token : pair.positive) {
      positive_labels[row][at] = token;
      positive[row][at++] = token;
    }
    lengths[row] = at;
    at = 0;
    for (; at < starts[row]; ++at) negative[row][at] = pair.prompt[at];
    for (const int32_t token : pair.negative) {
      if (at > starts[row]) negative_labels[row][at] = token;
      negative[row][at++] = token;
    }
  }
  return batch;
}

at::Tensor TargetLoss(const at::Tensor& logits, const at::Tensor& labels) {
  return LossesOf(logits, labels, "target").Mean();
}

PairLoss ComputePairLoss(const at::Tensor& positive_logits,
                         const at::Tensor& negative_logits,
                         const PairBatch& batch, const PairOptions& options) {
  const RowLosses positive =
      LossesOf(positive_logits, batch.positive_labels, "positive");
  const RowLosses negative =
      LossesOf(negative_logits, batch.negative_labels, "negative");
  PairLoss loss;
  loss.positive = positive.Mean();
  loss.negative = negative.Mean();
  loss.cross_entropy =
      options.mean == CrossEntropyMean::kOverTargets
          ? loss.positive
          : positive.sum / (batch.positive_lengths - 1).to(at::kFloat);
  const at::Tensor hinge =
      at::clamp_min(loss.positive - loss.negative + options.margin, 0);
  loss.contrastive = at::where(negative.count.gt(options.short_negative), hinge,
                               at::zeros_like(hinge));
  loss.total = options.contrast ? loss.cross_entropy + loss.contrastive
                                : loss.cross_entropy;
  return loss;
}

PairLoss ForwardPairs(
    const std::function<at::Tensor(const at::Tensor& tokens)>& logits,
    const PairBatch& batch, PairForm form, const PairOptions& options) {
  if (form == PairForm::kTwoPasses) {
    return ComputePairLoss(logits(batch.positive), logits(batch.negative),
                           batch, options);
  }
  const int64_t rows = batch.positive.size(0);
  const int64_t positive_len = batch.positive.size(1);
  const int64_t negative_len = batch.negative.size(1);
  const int64_t length = std::max(positive_len, negative_len);
  // Any token does for padding: nothing that is predicted looks at it.
  const auto pad = [length](const at::Tensor& tokens) {
    return at::constant_pad_nd(tokens, {0, length - tokens.size(1)}, 0);
  };
  const at::Tensor both =
      logits(at::cat({pad(batch.positive), pad(batch.negative)}));
  return ComputePairLoss(both.narrow(0, 0, rows).narrow(1, 0, positive_len),
                         both.narrow(0, rows, rows).narrow(1, 0, negative_len),
                         batch, options);
}

}  // namespace repro::mango
