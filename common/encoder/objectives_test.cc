#include "common/encoder/objectives.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <vector>

#include "common/encoder/batching.h"
#include "common/tensor/generator.h"
#include "common/tensor/testing.h"

namespace repro::encoder {
namespace {

using ::testing::ElementsAre;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::vector<double> Row(const at::Tensor& matrix, int64_t i) {
  const at::Tensor row = matrix[i].contiguous();
  return {row.data_ptr<double>(), row.data_ptr<double>() + row.numel()};
}

double Dot(const std::vector<double>& a, const std::vector<double>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

double Distance(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(sum);
}

double LogSumExp(const std::vector<double>& x) {
  double sum = 0;
  for (const double value : x) sum += std::exp(value);
  return std::log(sum);
}

TEST(PairLossTest, AgreesWithLoops) {
  constexpr int64_t kBatch = 7;
  const at::Tensor q = RandomNormal({kBatch, 5}, 1);
  const at::Tensor c = RandomNormal({kBatch, 5}, 2);
  const std::vector<double> weights = {1, 0.5, 2, 1, 3, 0.25, 1};
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  constexpr double kMargin = 0.4;

  double softmax = 0, cosine = 0, log_margin = 0, triplet = 0, nce = 0,
         nce_back = 0;
  for (int64_t i = 0; i < kBatch; ++i) {
    std::vector<double> scores, similar, back;
    double triplet_sum = 0, triplet_count = 0;
    const double own = Distance(Row(q, i), Row(c, i));
    const auto cosine_of = [&](int64_t a, int64_t b) {
      return Dot(Row(q, a), Row(c, b)) /
             std::sqrt(Dot(Row(q, a), Row(q, a)) * Dot(Row(c, b), Row(c, b)));
    };
    double most_cosine = 0, most_log = -kInfinity;
    for (int64_t j = 0; j < kBatch; ++j) {
      scores.push_back(Dot(Row(q, i), Row(c, j)));
      similar.push_back(cosine_of(i, j) / 0.07);
      back.push_back(cosine_of(j, i) / 0.07);
      if (i == j) continue;
      most_cosine = std::max(most_cosine, cosine_of(i, j));
      most_log = std::max(most_log, scores.back());
      const double over = own - Distance(Row(q, i), Row(c, j)) + kMargin;
      if (over > 0) {
        triplet_sum += over;
        ++triplet_count;
      }
    }
    softmax += weights[i] * (LogSumExp(scores) - scores[i]);
    cosine +=
        weights[i] * std::max(0.0, kMargin - cosine_of(i, i) + most_cosine);
    log_margin += weights[i] * std::max(0.0, kMargin - scores[i] + most_log);
    if (triplet_count > 0) triplet += weights[i] * triplet_sum / triplet_count;
    nce += (LogSumExp(similar) - similar[i]) / kBatch;
    nce_back += (LogSumExp(back) - back[i]) / kBatch;
  }
  const at::Tensor w = at::tensor(weights, at::kDouble);
  EXPECT_NEAR(SoftmaxPairLoss(q, c, w).item<double>(), softmax / total, 1e-12);
  EXPECT_NEAR(CosineMarginPairLoss(q, c, kMargin, w).item<double>(),
              cosine / total, 1e-9);
  EXPECT_NEAR(LogSoftmaxMarginPairLoss(q, c, kMargin, w).item<double>(),
              log_margin / total, 1e-12);
  EXPECT_NEAR(TripletPairLoss(q, c, kMargin, w).item<double>(), triplet / total,
              1e-9);
  EXPECT_NEAR(InfoNceLoss(q, c, 0.07).item<double>(), nce, 1e-8);
  EXPECT_NEAR(InfoNceLoss(q, c, 0.07, true).item<double>(),
              (nce + nce_back) / 2, 1e-8);
}

// A similarity of 0 everywhere: ln B, and the margin.
TEST(PairLossTest, ZeroSimilarities) {
  const at::Tensor zero = at::zeros({1000, 4}, at::kDouble);
  EXPECT_NEAR(SoftmaxPairLoss(zero, zero).item<double>(), std::log(1000.0),
              1e-12);
  EXPECT_EQ(CosineMarginPairLoss(zero, zero).item<double>(), 1);
  EXPECT_EQ(LogSoftmaxMarginPairLoss(zero, zero).item<double>(), 1);
  EXPECT_NEAR(TripletPairLoss(zero, zero).item<double>(), 1, 1e-9);
  EXPECT_NEAR(InfoNceLoss(zero, zero, 0.1).item<double>(), std::log(1000.0),
              1e-12);
}

// Negative similarities do not count for the cosine margin.
TEST(PairLossTest, CosineMarginClipsNegativesAtZero) {
  const at::Tensor q =
      at::tensor(std::vector<double>{1, 0, -1, 0}).view({2, 2});
  EXPECT_NEAR(CosineMarginPairLoss(q, q, 1.5).item<double>(), 0.5, 1e-9);
}

TEST(PairLossTest, Gradients) {
  const at::Tensor q = RandomNormal({4, 3}, 3);
  const at::Tensor c = RandomNormal({4, 3}, 4);
  for (const auto& loss : std::vector<
           std::function<at::Tensor(const at::Tensor&, const at::Tensor&)>>{
           [](const at::Tensor&a, const at::Tensor&b) {
             return SoftmaxPairLoss(a, b);
           },
           [](const at::Tensor&a, const at::Tensor&b) {
             return CosineMarginPairLoss(a, b);
           },
           [](const at::Tensor&a, const at::Tensor&b) {
             return LogSoftmaxMarginPairLoss(a, b);
           },
           [](const at::Tensor&a, const at::Tensor&b) {
             return TripletPairLoss(a, b);
           },
           [](const at::Tensor&a, const at::Tensor&b) {
             return InfoNceLoss(a, b, 0.2, true);
           },
           [](const at::Tensor&a, const at::Tensor&b) {
             return TripletMarginLoss(a, b, b.flip({0}), 2);
           }}) {
    EXPECT_TRUE(CheckGradients(
        [&](const std::vector<at::Tensor>& x) { return loss(x[0], x[1]); },
        {q, c}));
  }
}

TEST(PairLossTest, RejectsOddShapes) {
  const at::Tensor q = RandomNormal({4, 3}, 3);
  EXPECT_THROW(SoftmaxPairLoss(q, q.narrow(0, 0, 3)), c10::Error);
  EXPECT_THROW(SoftmaxPairLoss(q, q, at::ones({3})), c10::Error);
  EXPECT_THROW(SoftmaxPairLoss(q.narrow(0, 0, 0), q.narrow(0, 0, 0)),
               c10::Error);
  EXPECT_THROW(InfoNceLoss(q, q, 0), c10::Error);
}

TEST(TokenCrossEntropyTest, CountsLabelledTokensAlone) {
  const at::Tensor logits = RandomNormal({2, 3, 4}, 5);
  const at::Tensor labels =
      at::tensor(std::vector<int64_t>{1, kIgnoredLabel, 0, kIgnoredLabel,
                                      kIgnoredLabel, 3},
                 at::kLong)
          .view({2, 3});
  const auto loss = [&](int64_t i, int64_t j, int64_t label) {
    const std::vector<double> row = Row(logits[i], j);
    return LogSumExp(row) - row[label];
  };
  EXPECT_NEAR(TokenCrossEntropy(logits, labels).item<double>(),
              (loss(0, 0, 1) + loss(0, 2, 0) + loss(1, 2, 3)) / 3, 1e-12);
  const at::Tensor none = at::full({2, 3}, kIgnoredLabel, at::kLong);
  EXPECT_EQ(TokenCrossEntropy(logits, none).item<double>(), 0);
  EXPECT_THROW(TokenCrossEntropy(logits, none.narrow(1, 0, 2)), c10::Error);
}

TEST(BinaryCrossEntropyTest, AgreesWithTheDefinition) {
  const at::Tensor logits =
      at::tensor(std::vector<double>{2, -1, 0.5}, at::kDouble);
  const at::Tensor labels = at::tensor(std::vector<double>{1, 0, 0});
  const auto sigmoid = [](double x) { return 1 / (1 + std::exp(-x)); };
  EXPECT_NEAR(BinaryCrossEntropy(logits, labels).item<double>(),
              -(std::log(sigmoid(2)) + std::log(1 - sigmoid(-1)) +
                std::log(1 - sigmoid(0.5))) /
                  3,
              1e-12);
  EXPECT_EQ(BinaryCrossEntropy(logits.narrow(0, 0, 0), labels.narrow(0, 0, 0))
                .item<double>(),
            0);
}

TEST(MaskTokensTest, HasTheStatedRates) {
  constexpr int64_t kVocab = 1000;
  const at::Tensor tokens =
      at::randint(5, kVocab, {400, 500}, MakeGenerator(1), at::kLong);
  at::Tensor maskable = at::ones({400, 500}, at::kBool);
  maskable.narrow(1, 400, 100).fill_(false);
  TokenMaskingOptions options;
  options.mask_id = 4;
  options.vocab_size = kVocab;
  options.first_random_id = 5;
  const MaskedTokens masked =
      MaskTokens(tokens, maskable, options, MakeGenerator(2));

  const at::Tensor selected = masked.labels != kIgnoredLabel;
  EXPECT_FALSE((selected & ~maskable).any().item<bool>());
  EXPECT_TRUE(masked.labels.masked_select(selected).equal(
      tokens.masked_select(selected)));
  EXPECT_TRUE(masked.inputs.masked_select(~selected).equal(
      tokens.masked_select(~selected)));
  // Bounds of 5 standard deviations of binomial counts.
  const auto expect_rate = [](const at::Tensor& hits, double trials,
                              double rate) {
    EXPECT_NEAR(hits.sum().item<double>(), trials * rate,
                5 * std::sqrt(trials * rate * (1 - rate)));
  };
  expect_rate(selected, 160000, 0.15);
  const double count = selected.sum().item<double>();
  expect_rate(masked.inputs == 4, count, 0.8);
  const at::Tensor changed =
      selected & (masked.inputs != 4) & (masked.inputs != tokens);
  // A random token is the old one once in 995.
  expect_rate(changed, count, 0.1 * (1 - 1.0 / 995));
  EXPECT_GE(masked.inputs.masked_select(changed).min().item<int64_t>(), 5);
  EXPECT_LT(masked.inputs.masked_select(changed).max().item<int64_t>(), kVocab);

  const MaskedTokens again =
      MaskTokens(tokens, maskable, options, MakeGenerator(2));
  EXPECT_THAT(again.inputs, IsIdenticalTo(masked.inputs));
  options.mask = 0.95;
  EXPECT_THROW(MaskTokens(tokens, maskable, options, MakeGenerator(2)),
               c10::Error);
}

TEST(PadSequencesTest, PadsOnTheRight) {
  const PaddedBatch batch = PadSequences({{5, 6, 7}, {}, {8}}, 2, 9);
  EXPECT_THAT(batch.tokens,
              IsIdenticalTo(
                  at::tensor(std::vector<int64_t>{5, 6, 9, 9, 8, 9}, at::kLong)
                      .view({3, 2})));
  EXPECT_THAT(batch.mask,
              IsIdenticalTo(
                  at::tensor(std::vector<int64_t>{1, 1, 0, 0, 1, 0}, at::kLong)
                      .view({3, 2})
                      .to(at::kBool)));
  EXPECT_THAT(PadSequences({{1, 2}, {3}}, {1, 0}, 0, 0, 4).tokens.sizes().vec(),
              ElementsAre(2, 4));
  EXPECT_THAT(PadSequences({}, 0, 0).tokens.sizes().vec(), ElementsAre(0, 1));
  EXPECT_THROW(PadSequences({{1, 2, 3}}, 0, 0, 2), c10::Error);
  EXPECT_THROW(PadSequences({{1}}, std::vector<int64_t>{1}, 0, 0), c10::Error);
}

TEST(LengthBatchesTest, EachIndexOnceWithLittlePadding) {
  std::vector<int64_t> lengths;
  for (int64_t i = 0; i < 1000; ++i) lengths.push_back(1 + i * 37 % 200);
  LengthBatchingOptions options;
  options.batch_size = 16;
  const auto padded = [&](const std::vector<std::vector<int64_t>>& batches) {
    int64_t tokens = 0;
    std::set<int64_t> seen;
    for (const std::vector<int64_t>& batch : batches) {
      EXPECT_LE(batch.size(), 16);
      EXPECT_FALSE(batch.empty());
      int64_t longest = 0;
      for (const int64_t i : batch) {
        EXPECT_TRUE(seen.insert(i).second);
        longest = std::max(longest, lengths[i]);
      }
      tokens += longest * static_cast<int64_t>(batch.size());
    }
    EXPECT_EQ(seen.size(), lengths.size());
    return tokens;
  };
  const int64_t real =
      std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
  const auto sorted = LengthBatches(lengths, options, 1, 0);
  EXPECT_LT(padded(sorted), 1.05 * static_cast<double>(real));
  EXPECT_EQ(sorted, LengthBatches(lengths, options, 1, 0));
  EXPECT_NE(sorted, LengthBatches(lengths, options, 1, 1));
  EXPECT_NE(sorted, LengthBatches(lengths, options, 2, 0));
  options.bucket_batches = 0;
  EXPECT_GT(padded(LengthBatches(lengths, options, 1, 0)),
            1.5 * static_cast<double>(real));
}

TEST(LengthBatchesTest, BoundsTokens) {
  const std::vector<int64_t> lengths = {10, 300, 20, 30, 40, 50, 60, 70};
  LengthBatchingOptions options;
  options.batch_size = 0;
  options.max_tokens = 100;
  size_t total = 0;
  for (const std::vector<int64_t>& batch :
       LengthBatches(lengths, options, 1, 0)) {
    int64_t longest = 0;
    for (const int64_t i : batch) longest = std::max(longest, lengths[i]);
    EXPECT_TRUE(batch.size() == 1 ||
                longest * static_cast<int64_t>(batch.size()) <= 100);
    total += batch.size();
  }
  EXPECT_EQ(total, lengths.size());
  EXPECT_TRUE(LengthBatches({}, options, 1, 0).empty());
  options.max_tokens = 0;
  EXPECT_THROW(LengthBatches(lengths, options, 1, 0), c10::Error);
}

}  // namespace
}  // namespace repro::encoder
