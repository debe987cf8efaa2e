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

// transformers 4.57.1 on torch 2.11.0, printed with nine digits:
//   x = torch.tensor([[2.5, -1.25, 0.75, 3.0, -0.5, 1.875, 0.0, 2.75, -3.0,
//                      1.5]])
//   for w in processors: x = w(torch.tensor([[3, 7, 1, 3]]), x)
//   torch.softmax(x.double(), -1)
TEST(SamplerTest, ProbabilitiesOfTransformers) {
  const std::vector<float> logits = {2.5,   -1.25, 0.75, 3.0,  -0.5,
                                     1.875, 0.0,   2.75, -3.0, 1.5};
  const std::vector<int32_t> seen = {3, 7, 1, 3};
  // TemperatureLogitsWarper(0.7)
  SamplingOptions options = Warm();
  options.temperature = 0.7;
  ExpectProbabilities(
      options, logits,
      {0.190470097, 0.000897944, 0.015634738, 0.389078384, 0.002621590,
       0.077994486, 0.005355193, 0.272227506, 0.000073708, 0.045646355});
  // TopKLogitsWarper(4)
  options = Warm();
  options.top_k = 4;
  const std::vector<double> four = {
      0.223813380, 0, 0, 0.369005881, 0, 0.119798670, 0, 0.287382069, 0, 0};
  ExpectProbabilities(options, logits, four);
  // TopPLogitsWarper(0.8)
  options = Warm();
  options.top_p = 0.8;
  ExpectProbabilities(options, logits, four);
  // MinPLogitsWarper(0.2)
  options = Warm();
  options.min_p = 0.2;
  ExpectProbabilities(options, logits,
                      {0.206787273, 0, 0, 0.340934575, 0, 0.110685251, 0,
                       0.265520114, 0, 0.076072786});
  // RepetitionPenaltyLogitsProcessor(1.3)
  options = Warm();
  options.repetition_penalty = 1.3;
  ExpectProbabilities(
      options, logits,
      {0.267751777, 0.004327804, 0.046528282, 0.220909394, 0.013330576,
       0.143317199, 0.021978404, 0.182261948, 0.001094240, 0.098500374},
      seen);
  // The five one after the other: 1.3, 0.7, 6, 0.9, 0.1.
  options.temperature = 0.7;
  options.top_k = 6;
  options.top_p = 0.9;
  options.min_p = 0.1;
  ExpectProbabilities(options, logits,
                      {0.334875653, 0, 0, 0.254432119, 0, 0.137126273, 0,
                       0.193312660, 0, 0.080253295},
                      seen);
  // Four: repetition 0.8, temperature 1.7, top-k 8, top-p 0.95.
  options = Warm();
  options.repetition_penalty = 0.8;
  options.temperature = 1.7;
  options.top_k = 8;
  options.top_p = 0.95;
  ExpectProbabilities(options, logits,
                      {0.150227423, 0, 0.053663793, 0.313388741, 0, 0.104011685,
                       0.034520802, 0.260765313, 0, 0.083422243},
                      seen);
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
