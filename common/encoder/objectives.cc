#include "common/encoder/objectives.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Reduction.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/binary_cross_entropy_with_logits.h>
#include <ATen/ops/cdist.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/where.h>

#include <limits>

#include "common/tensor/check.h"

namespace repro::encoder {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

at::Tensor Wide(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? x : x.to(at::kFloat);
}

void CheckPairs(const at::Tensor& a, const at::Tensor& b) {
  ShapeChecker check;
  check(a, {"batch", "dim"}, "queries");
  check(b, {"batch", "dim"}, "codes");
  TORCH_CHECK(a.size(0) > 0, "queries: an empty batch has no loss");
}

// q_i c_j: [batch, batch].
at::Tensor Products(const at::Tensor& queries, const at::Tensor& codes) {
  return at::matmul(Wide(queries), Wide(codes).t());
}

at::Tensor Normalized(const at::Tensor& x) {
  const at::Tensor wide = Wide(x);
  return wide / (wide.norm(2, {-1}, /*keepdim=*/true) + 1e-10);
}

at::Tensor Diagonal(const at::Tensor& square) {
  return at::eye(square.size(0), square.options().dtype(at::kBool));
}

at::Tensor MostOfOthers(const at::Tensor& scores) {
  return scores.masked_fill(Diagonal(scores), -kInfinity).amax(-1);
}

at::Tensor WeightedMean(const at::Tensor& losses, const at::Tensor& weights) {
  if (!weights.defined()) return losses.mean();
  CheckShape(weights, {losses.size(0)}, "weights");
  const at::Tensor wide = weights.to(losses.scalar_type());
  return (losses * wide).sum() / wide.sum();
}

at::Tensor OwnIndexLosses(const at::Tensor& logits) {
  return at::cross_entropy_loss(
      logits, at::arange(logits.size(0), logits.options().dtype(at::kLong)),
      /*weight=*/{}, at::Reduction::None);
}

}  // namespace

MaskedTokens MaskTokens(const at::Tensor& tokens, const at::Tensor& maskable,
                        const TokenMaskingOptions& options,
                        at::Generator generator) {
  CheckDtype(tokens, at::kLong, "tokens");
  CheckDtype(maskable, at::kBool, "maskable");
  TORCH_CHECK(tokens.sizes() == maskable.sizes(), "maskable: expected ",
              tokens.sizes(), ", got ", maskable.sizes());
  TORCH_CHECK(options.select >= 0 && options.select <= 1 && options.mask >= 0 &&
                  options.random >= 0 && options.mask + options.random <= 1,
              "masking: select ", options.select, ", mask ", options.mask,
              " and random ", options.random, " are no probabilities");
  TORCH_CHECK(options.mask_id >= 0 && options.mask_id < options.vocab_size &&
                  options.first_random_id >= 0 &&
                  options.first_random_id < options.vocab_size,
              "masking: mask_id ", options.mask_id, " and first_random_id ",
              options.first_random_id, " must be in a vocabulary of ",
              options.vocab_size);
  const at::TensorOptions real =
      tokens.options().dtype(at::kFloat).requires_grad(false);
  const at::Tensor select = at::rand(tokens.sizes(), generator, real);
  const at::Tensor kind = at::rand(tokens.sizes(), generator, real);
  const at::Tensor random =
      at::randint(options.first_random_id, options.vocab_size, tokens.sizes(),
                  generator, tokens.options());
  const at::Tensor selected = (select < options.select) & maskable;
  MaskedTokens out;
  out.labels = tokens.masked_fill(~selected, kIgnoredLabel);
  out.inputs = at::where(
      selected & (kind >= options.mask) &
          (kind < options.mask + options.random),
      random,
      tokens.masked_fill(selected & (kind < options.mask), options.mask_id));
  return out;
}

at::Tensor TokenCrossEntropy(const at::Tensor& logits,
                             const at::Tensor& labels) {
  TORCH_CHECK(logits.dim() >= 1 &&
                  logits.sizes().slice(0, logits.dim() - 1) == labels.sizes(),
              "labels: expected the shape of logits ", logits.sizes(),
              " without its last axis, got ", labels.sizes());
  const at::Tensor flat = labels.reshape({-1});
  const at::Tensor sum =
      at::cross_entropy_loss(Wide(logits).reshape({-1, logits.size(-1)}), flat,
                             /*weight=*/{}, at::Reduction::Sum, kIgnoredLabel);
  return sum / (flat != kIgnoredLabel).sum().clamp_min(1);
}

at::Tensor BinaryCrossEntropy(const at::Tensor& logits,
                              const at::Tensor& labels) {
  TORCH_CHECK(logits.sizes() == labels.sizes(), "labels: expected ",
              logits.sizes(), ", got ", labels.sizes());
  const at::Tensor wide = Wide(logits);
  if (logits.numel() == 0) return wide.sum();
  return at::binary_cross_entropy_with_logits(wide,
                                              labels.to(wide.scalar_type()));
}

at::Tensor SoftmaxPairLoss(const at::Tensor& queries, const at::Tensor& codes,
                           const at::Tensor& weights) {
  CheckPairs(queries, codes);
  return WeightedMean(OwnIndexLosses(Products(queries, codes)), weights);
}

at::Tensor CosineMarginPairLoss(const at::Tensor& queries,
                                const at::Tensor& codes, double margin,
                                const at::Tensor& weights) {
  CheckPairs(queries, codes);
  const at::Tensor cosines =
      at::matmul(Normalized(queries), Normalized(codes).t());
  return WeightedMean(
      at::relu(margin - cosines.diagonal() + at::relu(MostOfOthers(cosines))),
      weights);
}

at::Tensor LogSoftmaxMarginPairLoss(const at::Tensor& queries,
                                    const at::Tensor& codes, double margin,
                                    const at::Tensor& weights) {
  CheckPairs(queries, codes);
  const at::Tensor scores = at::log_softmax(Products(queries, codes), -1);
  return WeightedMean(
      at::relu(margin - scores.diagonal() + MostOfOthers(scores)), weights);
}

at::Tensor TripletPairLoss(const at::Tensor& queries, const at::Tensor& codes,
                           double margin, const at::Tensor& weights) {
  CheckPairs(queries, codes);
  // Mode 2: differences, not |a|^2 + |b|^2 - 2 a b, which cancels.
  const at::Tensor distances =
      at::cdist(Wide(queries), Wide(codes), 2, /*compute_mode=*/2);
  const at::Tensor losses =
      at::relu(distances.diagonal().unsqueeze(-1) - distances + margin)
          .masked_fill(Diagonal(distances), 0);
  return WeightedMean(
      losses.sum(-1) / ((losses > 0).sum(-1).to(losses.scalar_type()) + 1e-10),
      weights);
}

at::Tensor InfoNceLoss(const at::Tensor& queries, const at::Tensor& keys,
                       double temperature, bool symmetric) {
  CheckPairs(queries, keys);
  TORCH_CHECK(temperature > 0, "InfoNCE: a temperature is positive, got ",
              temperature);
  const at::Tensor logits =
      at::matmul(Normalized(queries), Normalized(keys).t()) / temperature;
  const at::Tensor loss = OwnIndexLosses(logits).mean();
  return symmetric ? (loss + OwnIndexLosses(logits.t()).mean()) / 2 : loss;
}

at::Tensor TripletMarginLoss(const at::Tensor& anchors,
                             const at::Tensor& positives,
                             const at::Tensor& negatives, double margin) {
  CheckPairs(anchors, positives);
  CheckPairs(anchors, negatives);
  const auto distance = [](const at::Tensor& a, const at::Tensor& b) {
    return (Wide(a) - Wide(b)).norm(2, {-1});
  };
  return at::relu(distance(anchors, positives) - distance(anchors, negatives) +
                  margin)
      .mean();
}

}  // namespace repro::encoder
