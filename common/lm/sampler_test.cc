#include "common/lm/sampler.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro::lm {
namespace {

using ::testing::DoubleNear;
using ::testing::HasSubstr;
using ::testing::Pointwise;

// Logits whose softmax is proportional to the weights.
std::vector<float> Logs(const std::vector<double>& weights) {
  std::vector<float> out;
  for (const double w : weights) out.push_back(static_cast<float>(std::log(w)));
  return out;
}

MATCHER(Near, "") {
  return std::abs(std::get<0>(arg) - std::get<1>(arg)) < 1e-6;
}

// The probabilities must be proportional to `weights`.
void ExpectProbabilities(const SamplingOptions& options,
                         const std::vector<float>& logits,
                         std::vector<double> weights,
                         const std::vector<int32_t>& seen = {}) {
  Sampler sampler(options);
  sampler.See(seen);
  const auto actual = sampler.Probabilities(logits);
  ASSERT_TRUE(actual.ok()) << actual.status();
  double sum = 0;
  for (const double w : weights) sum += w;
  for (double& w : weights) w /= sum;
  EXPECT_THAT(*actual, Pointwise(Near(), weights));
}

SamplingOptions Warm() {
  SamplingOptions options;
  options.temperature = 1;
  return options;
}

const std::vector<float> kLogits = Logs({2, 8, 1, 4, 1});

TEST(SamplerTest, EachOptionByItself) {
  ExpectProbabilities(Warm(), kLogits, {2, 8, 1, 4, 1});
  SamplingOptions options = Warm();
  options.temperature = 0.5;
  ExpectProbabilities(options, kLogits, {4, 64, 1, 16, 1});
  options = Warm();
  options.top_k = 2;
  ExpectProbabilities(options, kLogits, {0, 8, 0, 4, 0});
  options.top_k = 4;  // tied with the fifth
  ExpectProbabilities(options, kLogits, {2, 8, 1, 4, 1});
  options.top_k = 9;
  ExpectProbabilities(options, kLogits, {2, 8, 1, 4, 1});
  options = Warm();
  options.top_p = 0.49;  // 8/16 reaches it
  ExpectProbabilities(options, kLogits, {0, 1, 0, 0, 0});
  options.top_p = 0.51;
  ExpectProbabilities(options, kLogits, {0, 8, 0, 4, 0});
  options.top_p = 0.86;
  ExpectProbabilities(options, kLogits, {2, 8, 0, 4, 0});
  options.top_p = 1e-9;  // never none
  ExpectProbabilities(options, kLogits, {0, 1, 0, 0, 0});
  options = Warm();
  options.min_p = 0.3;
  ExpectProbabilities(options, kLogits, {0, 8, 0, 4, 0});
  options.min_p = 1;
  ExpectProbabilities(options, kLogits, {0, 1, 0, 0, 0});
}

TEST(SamplerTest, RepetitionPenaltyOfSeenTokensOnly) {
  SamplingOptions options = Warm();
  options.repetition_penalty = 2;
  // Logit 2 becomes 1, -1 becomes -2, 0 stays; twice seen counts once.
  const std::vector<float> logits = {2, -1, 0, 2, -1};
  ExpectProbabilities(options, logits,
                      {std::exp(1), std::exp(-2), 1, std::exp(2), std::exp(-1)},
                      {0, 1, 2, 0, 700});
  // A draw makes seen: the greedy choice moves on from 3 to 0.
  options.temperature = 0;
  Sampler sampler(options);
  sampler.See({0});
  EXPECT_EQ(sampler.Sample(logits)->chosen.id, 3);
  // Seen now, 3 counts as much as 0 does.
  EXPECT_EQ(sampler.Sample(logits)->chosen.id, 0);
}

TEST(SamplerTest, FiltersInTheOrderOfTransformers) {
  // Temperature before top-p: 64/86 < 0.9 <= 80/86. The other way round four
  // tokens would stay.
  SamplingOptions options = Warm();
  options.temperature = 0.5;
  options.top_p = 0.9;
  ExpectProbabilities(options, kLogits, {0, 64, 0, 16, 0});
  // Top-k before top-p: 8/12 >= 0.6 > 8/16.
  options = Warm();
  options.top_k = 2;
  options.top_p = 0.6;
  ExpectProbabilities(options, kLogits, {0, 1, 0, 0, 0});
  // Temperature before min-p: 16/64 < 0.3 <= 4/8.
  options = Warm();
  options.temperature = 0.5;
  options.min_p = 0.3;
  ExpectProbabilities(options, kLogits, {0, 1, 0, 0, 0});
}

TEST(SamplerTest, GreedyTakesTheFirstOfTheBest) {
  Sampler sampler({});
  EXPECT_EQ(sampler.Sample({0, 3, 3, 1})->chosen.id, 1);
  // A temperature near 0 does the same without overflow.
  SamplingOptions cold = Warm();
  cold.temperature = 1e-6;
  EXPECT_EQ(Sampler(cold).Sample({0, 300, 299, 1})->chosen.id, 1);
}

TEST(SamplerTest, DrawsFollowTheProbabilities) {
  SamplingOptions options = Warm();
  options.seed = 7;
  Sampler sampler(options);
  constexpr int kDraws = 16000;
  std::vector<double> counts(5);
  for (int i = 0; i < kDraws; ++i) {
    counts[sampler.Sample(kLogits)->chosen.id] += 1;
  }
  const std::vector<double> weights = {2, 8, 1, 4, 1};
  double chi_squared = 0;
  for (int i = 0; i < 5; ++i) {
    const double expected = kDraws * weights[i] / 16;
    chi_squared += (counts[i] - expected) * (counts[i] - expected) / expected;
  }
  EXPECT_LT(chi_squared, 18.47);  // 4 degrees of freedom, p = 0.001
}

TEST(SamplerTest, SeedsDecide) {
  const auto draw = [](uint64_t seed) {
    SamplingOptions options = Warm();
    options.seed = seed;
    Sampler sampler(options);
    std::vector<int32_t> ids;
    for (int i = 0; i < 40; ++i) {
      ids.push_back(sampler.Sample(kLogits)->chosen.id);
    }
    return ids;
  };
  EXPECT_EQ(draw(1), draw(1));
  EXPECT_NE(draw(1), draw(2));
}

TEST(SamplerTest, LogprobsAreTheModelsOwn) {
  SamplingOptions options;
  options.repetition_penalty = 50;
  options.top_k = 1;
  options.top_logprobs = 3;
  Sampler sampler(options);
  // Shifted logits have the same softmax.
  std::vector<float> logits = kLogits;
  for (float& x : logits) x += 100;
  const auto token = sampler.Sample(logits);
  ASSERT_TRUE(token.ok());
  EXPECT_EQ(token->chosen.id, 1);
  EXPECT_THAT(token->chosen.logprob, DoubleNear(std::log(8. / 16), 1e-5));
  ASSERT_EQ(token->top.size(), 3);
  EXPECT_EQ(token->top[0].id, 1);
  EXPECT_EQ(token->top[1].id, 3);
  EXPECT_EQ(token->top[2].id, 0);
  EXPECT_THAT(token->top[1].logprob, DoubleNear(std::log(4. / 16), 1e-5));
  EXPECT_THAT(token->top[2].logprob, DoubleNear(std::log(2. / 16), 1e-5));
  options.top_logprobs = 100;  // more than there are
  EXPECT_EQ(Sampler(options).Sample(logits)->top.size(), 5);
}

TEST(SamplerTest, MinusInfinityIsNeverDrawn) {
  const float inf = std::numeric_limits<float>::infinity();
  ExpectProbabilities(Warm(), {-inf, 0, -inf, 0}, {0, 1, 0, 1});
  for (const std::vector<float>& bad :
       {std::vector<float>{}, {-inf, -inf}, {0, NAN}, {0, inf}}) {
    EXPECT_EQ(Sampler(Warm()).Sample(bad).status().code(),
              absl::StatusCode::kInternal);
  }
}

TEST(SamplerTest, ValidateNamesTheField) {
  EXPECT_TRUE(Validate(SamplingOptions()).ok());
  const auto message = [](auto field, auto value) {
    SamplingOptions options;
    options.*field = value;
    const absl::Status status = Validate(options);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_THAT(message(&SamplingOptions::temperature, -0.1),
              HasSubstr("temperature is -0.1"));
  EXPECT_THAT(message(&SamplingOptions::temperature, NAN),
              HasSubstr("temperature"));
  EXPECT_THAT(message(&SamplingOptions::top_p, 0.), HasSubstr("top_p is 0"));
  EXPECT_THAT(message(&SamplingOptions::top_p, 1.5), HasSubstr("top_p"));
  EXPECT_THAT(message(&SamplingOptions::min_p, 2.), HasSubstr("min_p is 2"));
  EXPECT_THAT(message(&SamplingOptions::top_k, -1), HasSubstr("top_k is -1"));
  EXPECT_THAT(message(&SamplingOptions::repetition_penalty, 0.),
              HasSubstr("repetition_penalty is 0"));
  EXPECT_THAT(message(&SamplingOptions::top_logprobs, 101),
              HasSubstr("top_logprobs is 101"));
}

}  // namespace
}  // namespace repro::lm
