#include "papers/cdhf/cdhf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/assets/test_asset.h"
#include "common/data/io.h"
#include "papers/cdhf/gradient_boosting.h"
#include "papers/cdhf/prefix_reward.h"
#include "papers/cdhf/user_study.h"

namespace repro::cdhf {
namespace {

using testing::HasSubstr;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

std::string TempFile(const std::string& name, const std::string& content) {
  const std::string path = absl::StrCat(testing::TempDir(), "/", name);
  EXPECT_TRUE(WriteFileAtomically(path, content).ok());
  return path;
}

// The generator with which the expected values were made in Python, too.
class Draws {
 public:
  explicit Draws(uint32_t seed) : state_(seed) {}
  int64_t Below(int64_t bound) {
    state_ = state_ * 1664525u + 1013904223u;
    return (state_ >> 16) % bound;
  }

 private:
  uint32_t state_;
};

// ---- The utility of showing ------------------------------------------------

TEST(ShowThreshold, IsWhereBothCostTheSame) {
  Costs costs = {/*latency=*/0.5, /*verify=*/2, /*edit=*/2, /*write=*/10};
  EXPECT_DOUBLE_EQ(*ShowThreshold(costs), 0.3125);
  const double p = *ShowThreshold(costs);
  EXPECT_DOUBLE_EQ(
      costs.latency + costs.verify + p * costs.edit + (1 - p) * costs.write,
      costs.write);
  costs.latency = 0;
  EXPECT_DOUBLE_EQ(*ShowThreshold(costs), 0.25);
  costs.verify = 9;
  EXPECT_GT(*ShowThreshold(costs), 1);
}

TEST(ShowThreshold, RefusesCostsThatDecideNothing) {
  EXPECT_TRUE(absl::IsInvalidArgument(ShowThreshold({0, 1, 5, 5}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ShowThreshold({0, 1, 6, 5}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ShowThreshold({-1, 1, 1, 5}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ShowThreshold({0, kNan, 1, 5}).status()));
  EXPECT_TRUE(
      absl::IsInvalidArgument(ShowThreshold({0, 1, 1, INFINITY}).status()));
}

// ---- The rule --------------------------------------------------------------

TEST(Entropy, IsInBits) {
  EXPECT_DOUBLE_EQ(*Entropy(0.5), 1);
  EXPECT_NEAR(*Entropy(0.25), 2 - 0.75 * std::log2(3), 1e-15);
  EXPECT_DOUBLE_EQ(*Entropy(0.25), *Entropy(0.75));
  for (const double p : {0.0, 1.0, -0.1, 1.1, kNan}) {
    EXPECT_TRUE(absl::IsInvalidArgument(Entropy(p).status())) << p;
  }
}

TEST(Decide, AsksTheSecondWhereTheFirstIsUnsure) {
  const Thresholds thresholds = {/*entropy=*/0.9, /*first=*/0.3,
                                 /*second=*/0.2};
  const auto decide = [&](double p1, double p2) {
    return *Decide(thresholds, p1, p2, Rule::kAsPublished);
  };
  EXPECT_FALSE(decide(0.1, 0.9).second_asked);
  EXPECT_TRUE(decide(0.1, 0.9).hide);
  EXPECT_FALSE(decide(0.9, 0.1).hide);  // sure that it is accepted
  EXPECT_TRUE(decide(0.5, 0.1).second_asked);
  EXPECT_TRUE(decide(0.5, 0.1).hide);
  EXPECT_FALSE(decide(0.5, 0.2).hide);  // not below
  EXPECT_TRUE(absl::IsInvalidArgument(
      Decide(thresholds, 0, 0.5, Rule::kAsPublished).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      Decide(thresholds, 0.5, kNan, Rule::kAsPublished).status()));
}

TEST(Decide, RulesDifferAtTheThreshold) {
  const Thresholds thresholds = {/*entropy=*/1, /*first=*/1, /*second=*/0};
  EXPECT_TRUE(Decide(thresholds, 0.5, 0.5, Rule::kAsCoded)->second_asked);
  EXPECT_FALSE(Decide(thresholds, 0.5, 0.5, Rule::kAsPublished)->second_asked);
}

// ---- Fitting ---------------------------------------------------------------

TEST(ThresholdForAccuracy, TakesTheLastThatMeetsTheTarget) {
  // Shares of rejections: 1, 1/2, 2/3, 3/4, 3/5.
  const std::vector<double> p = {0.3, 0.1, 0.2, 0.5, 0.4};
  const std::vector<bool> rejected = {true, true, false, false, true};
  EXPECT_EQ(*ThresholdForAccuracy(p, rejected, 0.8), 0.1);
  EXPECT_EQ(*ThresholdForAccuracy(p, rejected, 0.75), 0.4);
  EXPECT_EQ(*ThresholdForAccuracy(p, rejected, 0.6), 0.5);
  EXPECT_EQ(*ThresholdForAccuracy(p, rejected, 1.01), 0);
  EXPECT_TRUE(
      absl::IsInvalidArgument(ThresholdForAccuracy(p, {true}, 0.5).status()));
  EXPECT_TRUE(
      absl::IsInvalidArgument(ThresholdForAccuracy({}, {}, 0.5).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      ThresholdForAccuracy({kNan}, {true}, 0.5).status()));
}

TEST(ThresholdForAccuracy, IsTheLargestByExhaustiveSearch) {
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> uniform;
  for (int trial = 0; trial < 200; ++trial) {
    std::vector<double> p(1 + random() % 30);
    std::vector<bool> rejected(p.size());
    for (size_t i = 0; i < p.size(); ++i) {
      p[i] = uniform(random);
      rejected[i] = uniform(random) > p[i];
    }
    const double target = uniform(random);
    double expected = 0;
    for (const double candidate : p) {
      double below = 0, right = 0;
      for (size_t i = 0; i < p.size(); ++i) {
        below += p[i] <= candidate;
        right += p[i] <= candidate && rejected[i];
      }
      if (right / below >= target) expected = std::max(expected, candidate);
    }
    EXPECT_EQ(*ThresholdForAccuracy(p, rejected, target), expected);
  }
}

struct Sample {
  std::vector<double> first, second;
  std::vector<bool> rejected;
};

Sample DrawSample() {
  Draws draws(777);
  Sample sample;
  for (int i = 0; i < 40; ++i) {
    const double a = static_cast<double>(draws.Below(998) + 1) / 1000;
    const double b = static_cast<double>(draws.Below(998) + 1) / 1000;
    const double c = static_cast<double>(draws.Below(1000)) / 1000;
    sample.first.push_back(a);
    sample.second.push_back(b);
    sample.rejected.push_back(0.3 * a + 0.5 * b + 0.2 * c < 0.6);
  }
  return sample;
}

FitOptions AllCandidates(Rule rule) {
  FitOptions options;
  options.candidates = 0;
  options.rule = rule;
  return options;
}

// Expected: the authors' cdhf.py on the same events, with numpy.random.choice
// replaced by a function that returns each candidate once.
TEST(Fit, IsTheAuthorsProgram) {
  const Sample sample = DrawSample();
  EXPECT_EQ(std::count(sample.rejected.begin(), sample.rejected.end(), true),
            29);
  const struct {
    double accuracy, lambda, step;
    std::optional<double> share;
    Thresholds thresholds;
    double hidden, conditional, first_alone;
  } cases[] = {
      {.7, 0, .1, {}, {.020814, .986, .994}, .975, .743590, 0},
      {.75, .5, .1, {}, {.999711, .951, .994}, .95, .763158, .975},
      {.7, .9, .25, {}, {.999711, .986, .994}, .975, .743590, .975},
      {.75, 0, .1, .5, {.786429, .986, .961}, .95, .763158, .5},
      {.8, .3, .2, {}, {.999711, .933, .961}, .9, .805556, .975},
  };
  for (const auto& one : cases) {
    FitOptions options = AllCandidates(Rule::kAsCoded);
    options.accuracy = one.accuracy;
    options.lambda = one.lambda;
    options.entropy_step = one.step;
    options.first_share = one.share;
    std::mt19937_64 unused;
    const auto fitted =
        Fit(sample.first, sample.second, sample.rejected, options, unused);
    ASSERT_TRUE(fitted.ok()) << fitted.status();
    EXPECT_NEAR(fitted->entropy, one.thresholds.entropy, 1e-6);
    EXPECT_DOUBLE_EQ(fitted->first, one.thresholds.first);
    EXPECT_DOUBLE_EQ(fitted->second, one.thresholds.second);
    const auto metrics = Evaluate(*fitted, sample.first, sample.second,
                                  sample.rejected, Rule::kAsCoded);
    ASSERT_TRUE(metrics.ok()) << metrics.status();
    EXPECT_NEAR(metrics->hidden, one.hidden, 1e-9);
    EXPECT_NEAR(metrics->conditional_accuracy, one.conditional, 1e-6);
    EXPECT_NEAR(metrics->first_alone, one.first_alone, 1e-9);
  }
}

TEST(Fit, HasTheLeastLossOfAllThresholds) {
  std::mt19937_64 random(2);
  std::uniform_real_distribution<double> uniform(0.01, 0.99);
  for (int trial = 0; trial < 20; ++trial) {
    Sample sample;
    for (int i = 0; i < 14; ++i) {
      sample.first.push_back(uniform(random));
      sample.second.push_back(uniform(random));
      sample.rejected.push_back(uniform(random) > sample.second.back());
    }
    FitOptions options = AllCandidates(Rule::kAsPublished);
    options.accuracy = 0.8;
    options.looseness = 0.2;
    options.entropy_step = 0.25;
    options.lambda = 0.1 * (trial % 11);
    const auto loss = [&](const Thresholds& thresholds) {
      const DisplayMetrics metrics =
          *Evaluate(thresholds, sample.first, sample.second, sample.rejected,
                    Rule::kAsPublished);
      const bool allowed =
          metrics.hidden == 0 || metrics.conditional_accuracy >= 0.8;
      return allowed ? options.lambda * (1 - metrics.first_alone) +
                           (1 - options.lambda) * (1 - metrics.hidden)
                     : 1e9;
    };
    // A looseness of 0.2 leaves candidates from the last at 1.0 to the last at
    // 0.6: every one of them, and 0.
    const auto between = [&](const std::vector<double>& p) {
      const double low = *ThresholdForAccuracy(p, sample.rejected, 0.8 + 0.2);
      const double high = *ThresholdForAccuracy(p, sample.rejected, 0.8 - 0.2);
      std::vector<double> candidates = {0};
      for (const double value : p) {
        if (value >= low && value <= high) candidates.push_back(value);
      }
      return candidates;
    };
    double least = 1e9;
    std::vector<double> entropies;
    for (const double p : sample.first) entropies.push_back(*Entropy(p));
    std::sort(entropies.begin(), entropies.end());
    for (int quantile = 0; quantile <= 4; ++quantile) {
      // 13 * quantile / 4 between two of 14 values.
      const double at = 13 * quantile / 4.0;
      const auto low = static_cast<size_t>(at);
      const size_t high = std::min<size_t>(low + 1, 13);
      const double r = entropies[low] + (at - static_cast<double>(low)) *
                                            (entropies[high] - entropies[low]);
      for (const double first : between(sample.first)) {
        for (const double second : between(sample.second)) {
          least = std::min(least, loss({r, first, second}));
        }
      }
    }
    std::mt19937_64 unused;
    const auto fitted =
        Fit(sample.first, sample.second, sample.rejected, options, unused);
    ASSERT_TRUE(fitted.ok()) << fitted.status();
    EXPECT_NEAR(loss(*fitted), least, 1e-12);
  }
}

TEST(Fit, LambdaOneNeverAsksTheSecond) {
  const Sample sample = DrawSample();
  FitOptions options = AllCandidates(Rule::kAsPublished);
  options.lambda = 1;
  options.accuracy = 0.8;
  std::mt19937_64 unused;
  const Thresholds thresholds =
      *Fit(sample.first, sample.second, sample.rejected, options, unused);
  EXPECT_EQ(Evaluate(thresholds, sample.first, sample.second, sample.rejected,
                     Rule::kAsPublished)
                ->first_alone,
            1);
}

TEST(Fit, HidesLessForAHigherTarget) {
  const Sample sample = DrawSample();
  FitOptions options = AllCandidates(Rule::kAsPublished);
  options.lambda = 0;
  options.looseness = 1;
  double before = 1;
  for (int percent = 50; percent <= 100; percent += 2) {
    options.accuracy = percent / 100.0;
    std::mt19937_64 unused;
    const Thresholds thresholds =
        *Fit(sample.first, sample.second, sample.rejected, options, unused);
    const DisplayMetrics metrics =
        *Evaluate(thresholds, sample.first, sample.second, sample.rejected,
                  Rule::kAsPublished);
    EXPECT_LE(metrics.hidden, before);
    if (metrics.hidden > 0) {
      EXPECT_GE(metrics.conditional_accuracy, options.accuracy);
    }
    before = metrics.hidden;
  }
  EXPECT_LT(before, 1);
}

TEST(Fit, PerfectProbabilitiesHideAllRejections) {
  std::vector<double> p;
  std::vector<bool> rejected;
  for (int i = 0; i < 100; ++i) {
    rejected.push_back(i % 3 != 0);
    // Distinct, for candidates are probabilities and hiding is below them.
    p.push_back(rejected.back() ? 0.001 + 1e-6 * i : 0.999 - 1e-6 * i);
  }
  FitOptions options = AllCandidates(Rule::kAsPublished);
  options.accuracy = 1;
  options.lambda = 0;
  options.looseness = 0.05;
  std::mt19937_64 unused;
  const Thresholds thresholds = *Fit(p, p, rejected, options, unused);
  const DisplayMetrics metrics =
      *Evaluate(thresholds, p, p, rejected, Rule::kAsPublished);
  EXPECT_DOUBLE_EQ(metrics.hidden, 0.66);
  EXPECT_EQ(metrics.conditional_accuracy, 1);
  EXPECT_EQ(metrics.accuracy, 1);
}

// The authors' program hides three of these four, at an accuracy of 2/3.
TEST(Fit, AsCodedTakesTheFirstCandidateWhereNoneIsAllowed) {
  const std::vector<double> p = {0.4, 0.1, 0.2, 0.3};
  const std::vector<bool> rejected = {true, false, true, true};
  FitOptions options = AllCandidates(Rule::kAsCoded);
  options.accuracy = 0.8;
  options.lambda = 0;
  options.first_share = 1;
  std::mt19937_64 unused;
  const Thresholds coded = *Fit(p, p, rejected, options, unused);
  EXPECT_EQ(coded.first, 0.4);
  EXPECT_EQ(coded.second, 0.4);
  const DisplayMetrics metrics =
      *Evaluate(coded, p, p, rejected, Rule::kAsCoded);
  EXPECT_EQ(metrics.hidden, 0.75);
  EXPECT_DOUBLE_EQ(metrics.conditional_accuracy, 2.0 / 3);
  EXPECT_EQ(metrics.first_alone, 0.75);
  EXPECT_EQ(metrics.accuracy, 0.5);
  EXPECT_EQ(metrics.shown_rejected, 0.25);
  EXPECT_EQ(metrics.hidden_accepted, 0.25);

  options.rule = Rule::kAsPublished;
  const Thresholds published = *Fit(p, p, rejected, options, unused);
  const DisplayMetrics nothing =
      *Evaluate(published, p, p, rejected, Rule::kAsPublished);
  EXPECT_EQ(nothing.hidden, 0);
  EXPECT_TRUE(std::isnan(nothing.conditional_accuracy));
}

TEST(Fit, AStageWithoutCandidates) {
  // At no probability of the first is half of what is below rejected.
  const std::vector<double> first = {0.1, 0.2, 0.3, 0.4};
  const std::vector<double> second = {0.9, 0.8, 0.2, 0.3};
  const std::vector<bool> rejected = {false, false, true, true};
  FitOptions options = AllCandidates(Rule::kAsCoded);
  options.accuracy = 0.9;
  options.lambda = 0;
  std::mt19937_64 unused;
  const auto coded = Fit(first, second, rejected, options, unused);
  EXPECT_TRUE(absl::IsFailedPrecondition(coded.status()));
  EXPECT_THAT(std::string(coded.status().message()), HasSubstr("first model"));
  options.rule = Rule::kAsPublished;
  const Thresholds published = *Fit(first, second, rejected, options, unused);
  EXPECT_EQ(published.first, 0);
  EXPECT_EQ(published.second, 0.3);
}

TEST(Fit, DrawsCandidatesFromTheGenerator) {
  const Sample sample = DrawSample();
  FitOptions options;
  options.accuracy = 0.75;
  options.candidates = 3;
  std::mt19937_64 a(5), b(5);
  const auto fit = [&](std::mt19937_64& generator) {
    return *Fit(sample.first, sample.second, sample.rejected, options,
                generator);
  };
  const Thresholds one = fit(a), same = fit(b);
  EXPECT_EQ(one.first, same.first);
  EXPECT_EQ(one.second, same.second);
  EXPECT_EQ(std::count(sample.first.begin(), sample.first.end(), one.first) +
                (one.first == 0),
            1);
  options.candidates = 0;
  const auto loss = [&](const Thresholds& thresholds) {
    const DisplayMetrics metrics =
        *Evaluate(thresholds, sample.first, sample.second, sample.rejected,
                  Rule::kAsPublished);
    return 0.5 * (1 - metrics.first_alone) + 0.5 * (1 - metrics.hidden);
  };
  EXPECT_LE(loss(fit(a)), loss(one));
}

TEST(Fit, RefusesBadInput) {
  std::mt19937_64 random;
  const FitOptions options;
  const auto error =
      [&](const std::vector<double>& first, const std::vector<double>& second,
          const std::vector<bool>& rejected, const FitOptions& with) {
        return absl::IsInvalidArgument(
            Fit(first, second, rejected, with, random).status());
      };
  EXPECT_TRUE(error({}, {}, {}, options));
  EXPECT_TRUE(error({.5}, {.5, .5}, {true, true}, options));
  EXPECT_TRUE(error({.5}, {.5}, {true, true}, options));
  EXPECT_TRUE(error({1}, {.5}, {true}, options));
  EXPECT_TRUE(error({.5}, {0}, {true}, options));
  EXPECT_TRUE(error({.5}, {kNan}, {true}, options));
  FitOptions bad = options;
  bad.accuracy = 1.5;
  EXPECT_TRUE(error({.5}, {.5}, {true}, bad));
  bad = options;
  bad.lambda = kNan;
  EXPECT_TRUE(error({.5}, {.5}, {true}, bad));
  bad = options;
  bad.entropy_step = 0;
  EXPECT_TRUE(error({.5}, {.5}, {true}, bad));
  bad = options;
  bad.first_share = -0.1;
  EXPECT_TRUE(error({.5}, {.5}, {true}, bad));
  bad = options;
  bad.candidates = -1;
  EXPECT_TRUE(error({.5}, {.5}, {true}, bad));
  EXPECT_TRUE(absl::IsInvalidArgument(
      Evaluate({}, {}, {}, {}, Rule::kAsPublished).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      Evaluate({}, {.5}, {.5}, {true, false}, Rule::kAsPublished).status()));
}

// ---- Gradient boosting -----------------------------------------------------

struct Training {
  Matrix features;
  std::vector<bool> positive;
};

Training DrawTraining() {
  Draws draws(12345);
  Training training;
  training.features = {120, 4, {}};
  for (int i = 0; i < 120; ++i) {
    const auto a = static_cast<float>(draws.Below(2));
    const auto b = static_cast<float>(draws.Below(7));
    const auto c =
        static_cast<float>(static_cast<double>(draws.Below(50)) * 0.1);
    const auto d = static_cast<float>(draws.Below(1000) - 500);
    training.features.values.insert(training.features.values.end(),
                                    {a, b, c, d});
    training.positive.push_back((3 * a + b > 5) != (draws.Below(10) < 2));
  }
  return training;
}

// Expected: xgboost 3.2.0, XGBClassifier(tree_method="exact", base_score=0.5,
// ...).fit(X, y).predict_proba(X)[:, 1]: the first eight and the sum.
TEST(BoostedTrees, AreThoseOfXgboost) {
  const Training training = DrawTraining();
  EXPECT_EQ(
      std::count(training.positive.begin(), training.positive.end(), true), 54);
  const struct {
    BoostingOptions options;
    std::vector<double> first;
    double sum;
  } cases[] = {
      {{10, 6, 0.3f, 1, 1},
       {0.9144868, 0.1223445, 0.5935724, 0.5468423, 0.818872, 0.4821985,
        0.4302082, 0.7430587},
       54.714226},
      {{30, 3, 0.1f, 2, 3},
       {0.8451754, 0.1987387, 0.6988717, 0.7172757, 0.692845, 0.6177294,
        0.2325404, 0.6771192},
       54.731645},
      {{100, 6, 0.3f, 1, 1},
       {0.9583903, 0.06698392, 0.9487172, 0.1938175, 0.9485732, 0.1785012,
        0.8421413, 0.9268415},
       54.047637},
  };
  for (const auto& one : cases) {
    const auto trees =
        BoostedTrees::Train(training.features, training.positive, one.options);
    ASSERT_TRUE(trees.ok()) << trees.status();
    double sum = 0;
    for (int64_t row = 0; row < 120; ++row) {
      const double p = *trees->Probability(training.features.Row(row));
      if (row < 8) {
        EXPECT_NEAR(p, one.first[row], 2e-6) << row;
      }
      sum += p;
    }
    EXPECT_NEAR(sum, one.sum, 1e-4);
  }
}

TEST(BoostedTrees, LimitsInClosedForm) {
  const Training training = DrawTraining();
  BoostingOptions options;
  options.trees = 0;
  const auto probability = [&] {
    return *BoostedTrees::Train(training.features, training.positive, options)
                ->Probability(training.features.Row(7));
  };
  EXPECT_EQ(probability(), 0.5);
  // One leaf: G = 120 / 2 - 54, H = 120 / 4.
  options.trees = 1;
  options.max_depth = 0;
  EXPECT_NEAR(probability(), 1 / (1 + std::exp(0.3 * 6 / 31)), 1e-7);
  // Many steps of Newton's method end at the share of positives; l2 has no
  // part in where that is.
  options.trees = 1000;
  EXPECT_NEAR(probability(), 54 / 120.0, 1e-4);
  // No side may be light: nothing is split.
  options.trees = 1;
  options.max_depth = 6;
  options.min_child_weight = 16;
  EXPECT_NEAR(probability(), 1 / (1 + std::exp(0.3 * 6 / 31)), 1e-7);
}

TEST(BoostedTrees, FindASplit) {
  // Column 1 separates, column 0 is constant, column 2 copies column 1.
  const Matrix features = {8, 3, {5, 1, 1, 5, 2, 2, 5, 3, 3, 5, 4, 4,  //
                                  5, 9, 9, 5, 8, 8, 5, 7, 7, 5, 6, 6}};
  const std::vector<bool> positive = {false, false, false, false,
                                      true,  true,  true,  true};
  BoostingOptions options;
  options.trees = 1;
  const auto trees = BoostedTrees::Train(features, positive, options);
  ASSERT_TRUE(trees.ok()) << trees.status();
  // Each side: G = 2, H = 1.
  const std::vector<float> low = {0, 4.9f, 100}, high = {0, 5.1f, 0};
  EXPECT_NEAR(*trees->Probability(low), 1 / (1 + std::exp(0.3)), 1e-6);
  EXPECT_NEAR(*trees->Probability(high), 1 / (1 + std::exp(-0.3)), 1e-6);
}

TEST(BoostedTrees, RefuseBadInput) {
  const auto status = [](const Matrix& features,
                         const std::vector<bool>& positive,
                         const BoostingOptions& options) {
    return BoostedTrees::Train(features, positive, options).status();
  };
  const BoostingOptions options;
  EXPECT_TRUE(absl::IsInvalidArgument(status({}, {}, options)));
  EXPECT_TRUE(absl::IsInvalidArgument(status({1, 2, {1}}, {true}, options)));
  EXPECT_TRUE(absl::IsInvalidArgument(status({1, 1, {1}}, {}, options)));
  const absl::Status nan = status({2, 2, {1, 2, 3, NAN}}, {true, false}, {});
  EXPECT_TRUE(absl::IsInvalidArgument(nan));
  EXPECT_THAT(std::string(nan.message()), HasSubstr("row 1, column 1"));
  BoostingOptions bad;
  bad.learning_rate = 0;
  EXPECT_TRUE(absl::IsInvalidArgument(status({1, 1, {1}}, {true}, bad)));
  bad = {};
  bad.trees = -1;
  EXPECT_TRUE(absl::IsInvalidArgument(status({1, 1, {1}}, {true}, bad)));
  bad = {};
  bad.min_child_weight = 0;
  EXPECT_TRUE(absl::IsInvalidArgument(status({1, 1, {1}}, {true}, bad)));
  const auto trees = BoostedTrees::Train({1, 1, {1}}, {true}, options);
  ASSERT_TRUE(trees.ok()) << trees.status();
  const std::vector<float> wide = {1, 2};
  EXPECT_TRUE(absl::IsInvalidArgument(trees->Probability(wide).status()));
}

// ---- The user study --------------------------------------------------------

constexpr char kEvent[] =
    R"({"session":3,"user":4,"i":0,"state":"Shown","cups":"A",)"
    R"("m":{"compCharLen":1,"confidence":0.5,"documentLength":3,"numLines":4,)"
    R"("numTokens":5,"promptCharLen":6,"promptEndPos":7,"quantile":8,)"
    R"("meanAlternativeLogProb":-9,"meanLogProb":-10},)"
    R"("suggestion":"\"for  x\"","prompt":"a b\nc"})";

std::string EventLine(int index, const std::string& state,
                      bool measured = true) {
  std::string line = absl::StrReplaceAll(
      kEvent, {{"\"i\":0", absl::StrCat("\"i\":", index)},
               {"\"Shown\"", absl::StrCat("\"", state, "\"")}});
  if (!measured) {
    line = absl::StrReplaceAll(
        line,
        {{"\"confidence\":0.5,", ""},
         {"\"quantile\":8,", ""},
         {"\"meanAlternativeLogProb\":-9,\"meanLogProb\":-10", "\"more\":1"}});
    line = absl::StrReplaceAll(line,
                               {{"\"compCharLen\":1", "\"compCharLen\":77"}});
  }
  return line + "\n";
}

TEST(ReadEvents, ReadsAndNamesWhatIsWrong) {
  const auto events = ReadEvents(TempFile(
      "cdhf_events.jsonl", EventLine(0, "Shown") + EventLine(1, "Rejected") +
                               EventLine(2, "Replay", false)));
  ASSERT_TRUE(events.ok()) << events.status();
  ASSERT_EQ(events->size(), 3);
  EXPECT_EQ((*events)[1].state, "Rejected");
  EXPECT_EQ((*events)[0].user, 4);
  EXPECT_EQ((*events)[0].measurements->at(8), -9);
  EXPECT_FALSE((*events)[2].measurements.has_value());
  EXPECT_EQ((*events)[0].suggestion, "\"for  x\"");

  const auto error = [](const std::string& content) {
    const auto bad = ReadEvents(TempFile("cdhf_bad.jsonl", content));
    EXPECT_TRUE(absl::IsInvalidArgument(bad.status())) << content;
    return std::string(bad.status().message());
  };
  EXPECT_THAT(error(""), HasSubstr("cdhf_bad.jsonl: no events"));
  EXPECT_THAT(error("{\"session\":3"), HasSubstr(":1: "));
  EXPECT_THAT(error("3\n"), HasSubstr(":1: "));
  EXPECT_THAT(error("{}\n"), HasSubstr("session"));
  EXPECT_THAT(error(EventLine(0, "Shown") + EventLine(2, "Shown")),
              HasSubstr(":2: i is 2, expected 1"));
  EXPECT_THAT(error(EventLine(1, "Shown")), HasSubstr("expected 0"));
  EXPECT_THAT(error(EventLine(0, "Hidden")), HasSubstr("unknown state"));
  const std::string line = EventLine(0, "Shown");
  EXPECT_THAT(error(absl::StrReplaceAll(line, {{"\"quantile\":8,", ""}})),
              HasSubstr("lacks 1"));
  EXPECT_THAT(error(absl::StrReplaceAll(line, {{"\"numLines\":4,", ""}})),
              HasSubstr("lacks 1"));
  EXPECT_THAT(error(absl::StrReplaceAll(line, {{"\"m\":{", "\"n\":{"}})),
              HasSubstr("'m'"));
  EXPECT_THAT(error(absl::StrReplaceAll(line, {{":0.5", ":\"x\""}})),
              HasSubstr(":1: "));
  EXPECT_THAT(
      error(line +
            absl::StrReplaceAll(line, {{"\"session\":3", "\"session\":4"}}) +
            line),
      HasSubstr("session 3 comes back"));
  EXPECT_TRUE(absl::IsNotFound(ReadEvents("/none/such").status()));
}

TEST(TextFlags, AreWordsAndSubstrings) {
  EXPECT_THAT(TextFlags(""), testing::Each(0));
  const auto flags = TextFlags(" def f():\n  return  format(x) == 'a'");
  std::vector<double> expected(kFlags, 0);
  expected[0] = 6;   // words
  expected[1] = 1;   // one quotation mark is enough
  expected[4] = 1;   // =
  expected[5] = 1;   // for in format
  expected[9] = 1;   // def
  expected[13] = 1;  // return
  EXPECT_THAT(flags, testing::ElementsAreArray(expected));
}

TEST(MakeExamples, TakesWhatWasOnDisplay) {
  std::string lines = EventLine(0, "Accepted");  // nothing before it
  lines += EventLine(1, "Shown") + EventLine(2, "Browsing") +
           EventLine(3, "Rejected") + EventLine(4, "Replay", false) +
           EventLine(5, "Accepted");
  lines = absl::StrReplaceAll(lines, {{"\"i\":1,", "\"i\":1,\"x\":1,"}});
  auto events = *ReadEvents(TempFile("cdhf_made.jsonl", lines));
  events[1].suggestion = "\xC3\xA9 b";  // two bytes, one character
  events[1].cups = "B";
  events[3].cups = "B";
  events[5].prompt = "1 #\n2\n3\n4";
  const auto examples = MakeExamples(events);
  ASSERT_TRUE(examples.ok()) << examples.status();
  ASSERT_EQ(examples->size(), 3);
  const Example& first = (*examples)[0];
  EXPECT_FALSE(first.rejected);
  EXPECT_EQ(first.session, 3);
  EXPECT_EQ(first.user, 4);
  EXPECT_THAT(first.numbers, testing::ElementsAre(8, 5, 3, 2, 0, 1, 0.5, 3, 4,
                                                  5, 6, 7, 8, -9, -10));
  const Example& second = (*examples)[1];
  EXPECT_TRUE(second.rejected);
  EXPECT_EQ(second.cups, 1);
  EXPECT_EQ(second.numbers[0], 3);
  EXPECT_EQ(second.numbers[2], 2);
  EXPECT_THAT(second.session_numbers, testing::ElementsAre(3, 0.5, 6));
  EXPECT_EQ(second.suggestion_flags[5], 1);  // of the event itself
  const Example& third = (*examples)[2];
  EXPECT_EQ(third.cups, 0);
  EXPECT_EQ(third.numbers[5], 1);  // of the suggestion before: not 77
  EXPECT_EQ(third.prompt_flags[0], 3);
  EXPECT_EQ(third.prompt_flags[2], 0);  // # is in the fourth line from below

  EXPECT_TRUE(absl::IsInvalidArgument(MakeExamples({}).status()));
  events.resize(3);
  events[0].state = "Shown";
  EXPECT_TRUE(absl::IsInvalidArgument(MakeExamples(events).status()));
}

// Rejections and acceptances in turn, of `users` programmers.
std::vector<Example> DrawExamples(int users, int each) {
  std::mt19937_64 random(3);
  std::vector<Example> examples;
  for (int user = 0; user < users; ++user) {
    for (int k = 0; k < each; ++k) {
      Example one;
      one.session = user;
      one.user = user;
      one.rejected = k % 2 == 0;
      one.cups = one.rejected ? 2 : 1;
      for (int i = 0; i < kNumbers; ++i) {
        one.numbers[i] = static_cast<double>(100 * k + i);
      }
      one.numbers[9] =
          static_cast<double>(random() % 10) + (one.rejected ? 5 : 0);
      one.prompt_label = 3;
      examples.push_back(one);
    }
  }
  return examples;
}

TEST(MakeMatrix, HasTheColumnsInOrder) {
  EXPECT_EQ(NumColumns(View::kContext), 69);
  EXPECT_EQ(NumColumns(View::kSuggestion), 154);
  EXPECT_EQ(NumColumns(View::kSuggestionAndState), 167);
  const std::vector<Example> examples = DrawExamples(2, 7);
  for (const View view :
       {View::kContext, View::kSuggestion, View::kSuggestionAndState}) {
    const auto matrix = MakeMatrix(examples, view);
    ASSERT_TRUE(matrix.ok()) << matrix.status();
    EXPECT_EQ(matrix->rows, 14);
    EXPECT_EQ(matrix->columns, NumColumns(view));
    EXPECT_EQ(matrix->values.size(), 14 * matrix->columns);
  }
  const Matrix matrix = *MakeMatrix(examples, View::kSuggestionAndState);
  const auto row = matrix.Row(6);  // the seventh of the first programmer
  EXPECT_EQ(row[0], 600);
  EXPECT_EQ(row[14], 614);
  EXPECT_EQ(row[18], 1);            // suggestion label 0
  EXPECT_EQ(row[32 + 3], 1);        // prompt label 3
  EXPECT_EQ(row[88], 1);            // programmer 0
  EXPECT_EQ(row[109 + 2], 1);       // state 2
  EXPECT_EQ(row[122], 0);           // example 1
  EXPECT_EQ(row[126], 0);           // example 5
  EXPECT_EQ(row[125], 1);           // example 4
  EXPECT_EQ(row[127], 100);         // numbers of example 1
  EXPECT_EQ(row[127 + 39], 507);    // and of example 5
  const auto next = matrix.Row(8);  // the second of the second programmer
  for (int i = 122; i < 127; ++i) EXPECT_EQ(next[i], 1) << i;
  EXPECT_EQ(next[127 + 31], 0);
  EXPECT_EQ(next[127 + 33], 1);

  const Matrix context = *MakeMatrix(examples, View::kContext);
  EXPECT_THAT(context.Row(6).subspan(0, 5),
              testing::ElementsAre(601, 603, 607, 610, 611));

  EXPECT_TRUE(absl::IsInvalidArgument(MakeMatrix({}, View::kContext).status()));
  std::vector<Example> bad = examples;
  bad[3].user = kProgrammers;
  EXPECT_TRUE(
      absl::IsInvalidArgument(MakeMatrix(bad, View::kContext).status()));
  bad = examples;
  bad[3].cups = -1;
  EXPECT_TRUE(
      absl::IsInvalidArgument(MakeMatrix(bad, View::kContext).status()));
}

TEST(LeaveOneProgrammerOut, DoesNotSeeTheProgrammer) {
  std::vector<Example> examples = DrawExamples(4, 20);
  BoostingOptions options;
  options.trees = 5;
  const auto always = [](int, int) { return true; };
  const auto p = LeaveOneProgrammerOut(examples, View::kSuggestion, options,
                                       /*threads=*/1, always);
  ASSERT_TRUE(p.ok()) << p.status();
  EXPECT_EQ(*LeaveOneProgrammerOut(examples, View::kSuggestion, options,
                                   /*threads=*/3, always),
            *p);
  // By hand for programmer 2, whose last labels do not matter to the others.
  for (Example& one : examples) {
    if (one.user == 2) one.numbers[9] = 1000;
  }
  const auto changed = LeaveOneProgrammerOut(examples, View::kSuggestion,
                                             options, /*threads=*/2, always);
  int same_elsewhere = 0;
  std::vector<Example> others;
  for (const Example& one : examples) {
    if (one.user != 2) others.push_back(one);
  }
  const Matrix all = *MakeMatrix(examples, View::kSuggestion);
  std::vector<bool> rejected;
  for (const Example& one : others) rejected.push_back(one.rejected);
  const auto trees = BoostedTrees::Train(*MakeMatrix(others, View::kSuggestion),
                                         rejected, options);
  for (size_t i = 0; i < examples.size(); ++i) {
    if (examples[i].user == 2) {
      EXPECT_EQ((*changed)[i],
                *trees->Probability(all.Row(static_cast<int64_t>(i))));
    } else {
      same_elsewhere += (*changed)[i] == (*p)[i];
    }
  }
  EXPECT_LT(same_elsewhere, 60);  // who is in the training data matters

  EXPECT_TRUE(absl::IsCancelled(
      LeaveOneProgrammerOut(examples, View::kContext, options, 2, [](int, int) {
        return false;
      }).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(
      LeaveOneProgrammerOut(DrawExamples(1, 4), View::kContext, options, 2,
                            always)
          .status()));
  options.trees = -1;
  EXPECT_TRUE(absl::IsInvalidArgument(
      LeaveOneProgrammerOut(examples, View::kContext, options, 2, always)
          .status()));
}

TEST(LeaveOneProgrammerOutByState, IsTheShareOfTheOthers) {
  std::vector<Example> examples(5);
  const struct {
    int64_t user, cups;
    bool rejected;
  } rows[] = {
      {0, 1, true}, {0, 2, true}, {1, 1, false}, {2, 1, true}, {2, 2, false}};
  for (size_t i = 0; i < examples.size(); ++i) {
    examples[i].user = rows[i].user;
    examples[i].session = rows[i].user;
    examples[i].cups = rows[i].cups;
    examples[i].rejected = rows[i].rejected;
  }
  EXPECT_THAT(*LeaveOneProgrammerOutByState(examples),
              testing::ElementsAre(0.5, 0, 1, 0.5, 1));
  examples[4].cups = 3;
  EXPECT_EQ(LeaveOneProgrammerOutByState(examples)->at(4), 1);  // unseen
  EXPECT_TRUE(
      absl::IsInvalidArgument(LeaveOneProgrammerOutByState({}).status()));
}

TEST(ScoreProgrammers, ScoresEachAlone) {
  const auto scores =
      ScoreProgrammers({7, 7, 5, 5, 7}, {true, false, true, false, true},
                       {0.9, 0.6, 0.4, 0.6, 0.5});
  ASSERT_TRUE(scores.ok()) << scores.status();
  EXPECT_THAT(scores->accuracy, testing::ElementsAre(0, 1.0 / 3));
  EXPECT_THAT(scores->auc, testing::ElementsAre(0, 0.5));
  const absl::Status one_class =
      ScoreProgrammers({7, 7}, {true, true}, {0.1, 0.2}).status();
  EXPECT_TRUE(absl::IsInvalidArgument(one_class));
  EXPECT_THAT(std::string(one_class.message()), HasSubstr("programmer 7"));
  EXPECT_TRUE(absl::IsInvalidArgument(ScoreProgrammers({}, {}, {}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      ScoreProgrammers({1, 1}, {true, false}, {0.5}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      ScoreProgrammers({1, 1}, {true, false}, {0.5, kNan}).status()));
}

TEST(ReadProbabilities, ReadsAndNamesWhatIsWrong) {
  const std::string head =
      "session,k,rejected,m1_p_reject,m2_p_reject,m2cups_p_reject\n";
  const auto good = ReadProbabilities(
      TempFile("cdhf_p.csv", head + "0,0,1,0.1,0.2,0.3\n4,0,0,0.4,0.5,0.6\n"));
  ASSERT_TRUE(good.ok()) << good.status();
  EXPECT_THAT(good->users, testing::ElementsAre(0, 4));
  EXPECT_THAT(good->rejected, testing::ElementsAre(true, false));
  EXPECT_THAT(good->context, testing::ElementsAre(0.1, 0.4));
  EXPECT_THAT(good->suggestion, testing::ElementsAre(0.2, 0.5));
  EXPECT_THAT(good->suggestion_and_state, testing::ElementsAre(0.3, 0.6));
  EXPECT_THAT(Complement(good->context), testing::ElementsAre(0.9, 0.6));

  const auto error = [&](const std::string& content) {
    const auto bad = ReadProbabilities(TempFile("cdhf_bad.csv", content));
    EXPECT_FALSE(bad.ok()) << content;
    return std::string(bad.status().message());
  };
  EXPECT_THAT(error(head), HasSubstr("cdhf_bad.csv: no probabilities"));
  EXPECT_THAT(error(head + "0,0,2,0.1,0.2,0.3\n"), HasSubstr(":2: rejected"));
  EXPECT_THAT(error(head + "0,0,1,0.1,0.2,1\n"), HasSubstr("m2cups_p_reject"));
  EXPECT_THAT(error(head + "0,0,1,,0.2,0.3\n"), HasSubstr("m1_p_reject"));
  EXPECT_THAT(error(head + "0,0,1,0.1\n"), HasSubstr(":2: "));
  EXPECT_THAT(error("session,k\n0,0\n"), HasSubstr("rejected"));
}

// ---- Prefixes --------------------------------------------------------------

// Expected: the cell of max_reward_accept.ipynb that averages scores.
TEST(NormalisedCurve, IsTheNotebooks) {
  const auto curve =
      NormalisedCurve({.1, .2, .3, .5, .4, .35, .3, .2, .25, .2, .1, .1});
  ASSERT_TRUE(curve.ok()) << curve.status();
  const std::vector<double> expected = {0.2, 0.3,  0.4, 0.5, 0.8, 1.0, 0.9,
                                        0.8, 0.75, .65, 0.6, 0.5, 0.4, 0.45,
                                        .45, 0.4,  0.3, 0.2, 0.2};
  EXPECT_THAT(*curve, testing::Pointwise(testing::DoubleNear(1e-9), expected));
  EXPECT_THAT(*NormalisedCurve({3}),
              testing::AllOf(testing::SizeIs(19), testing::Each(1.0)));
  EXPECT_TRUE(absl::IsInvalidArgument(NormalisedCurve({}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(NormalisedCurve({0, 0}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(NormalisedCurve({1, -1}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(NormalisedCurve({1, kNan}).status()));
}

TEST(PeakPosition, IsOfTheFirstPeak) {
  EXPECT_DOUBLE_EQ(*PeakPosition({1, 3, 2, 3, 0}), 0.25);
  EXPECT_EQ(*PeakPosition({2, 2}), 0);
  EXPECT_EQ(*PeakPosition({1, 2}), 1);
  EXPECT_TRUE(absl::IsInvalidArgument(PeakPosition({1}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(PeakPosition({1, kNan}).status()));
}

// Expected: scipy.stats.kstest(values, "uniform").statistic.
TEST(UniformKolmogorov, IsScipys) {
  EXPECT_NEAR(*UniformKolmogorov({.1, .35, .5, .5, .9}), 0.3, 1e-12);
  EXPECT_NEAR(*UniformKolmogorov({1, 1, 1, .2}), 0.75, 1e-12);
  EXPECT_TRUE(absl::IsInvalidArgument(UniformKolmogorov({}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(UniformKolmogorov({1.1}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(UniformKolmogorov({kNan}).status()));
}

TEST(Prefixes, CutBehindWordsSpacesAndSigns) {
  EXPECT_THAT(Prefixes("a_1  ==\n\xC3\xA9"),
              testing::ElementsAre("a_1", "a_1  ", "a_1  =", "a_1  ==",
                                   "a_1  ==\n", "a_1  ==\n\xC3\xA9"));
  EXPECT_TRUE(Prefixes("").empty());
  EXPECT_THAT(Prefixes("\xFF"), testing::ElementsAre("\xFF"));
}

TEST(TextColumns, AreOfTextsAsReleased) {
  const std::vector<float> columns = TextColumns("x = 'a'\n", "if \"b\"");
  ASSERT_EQ(columns.size(), kTextColumns);
  EXPECT_EQ(columns[0], 11);  // "x = 'a'\n" with its marks and escape
  EXPECT_EQ(columns[1], 10);  // "if \"b\""
  EXPECT_EQ(columns[2], 3);
  EXPECT_EQ(columns[3], 2);
  EXPECT_EQ(columns[4 + 1], 1);           // '
  EXPECT_EQ(columns[4 + 4], 1);           // =
  EXPECT_EQ(columns[4 + kFlags + 7], 1);  // if
  EXPECT_EQ(columns[4 + kFlags + 1], 0);  // no '
  EXPECT_EQ(TextColumns("\xFF", "").size(), kTextColumns);
}

TEST(ReadProblems, ReadsAndNamesWhatIsWrong) {
  const auto good = ReadProblems(TempFile(
      "cdhf_he.jsonl", "{\"prompt\":\"p\",\"canonical_solution\":\"s\"}\n"));
  ASSERT_TRUE(good.ok()) << good.status();
  EXPECT_EQ(good->at(0).solution, "s");
  const auto error = [](const std::string& content) {
    const auto bad = ReadProblems(TempFile("cdhf_he_bad.jsonl", content));
    EXPECT_TRUE(absl::IsInvalidArgument(bad.status())) << content;
    return std::string(bad.status().message());
  };
  EXPECT_THAT(error(""), HasSubstr("no problems"));
  EXPECT_THAT(error("{\"prompt\":\"p\"}\n"), HasSubstr("canonical_solution"));
  EXPECT_THAT(error("{\"prompt\":1,\"canonical_solution\":\"s\"}\n"),
              HasSubstr(":1: "));
  EXPECT_THAT(error("{\"prompt\":\"p\",\"canonical_solution\":\"\"}\n"),
              HasSubstr("is empty"));
}

// ---- The released files ----------------------------------------------------

TEST(Released, FeaturesComeFromTheEvents) {
  const std::string events_path =
      FindTestAsset("cdhf/user_study_events.jsonl.gz");
  const std::string features_path = FindTestAsset("cdhf/features.csv.gz");
  if (events_path.empty() || features_path.empty()) {
    GTEST_SKIP() << "needs cdhf/user_study_events.jsonl.gz and "
                    "cdhf/features.csv.gz";
  }
  const auto events = ReadEvents(events_path);
  ASSERT_TRUE(events.ok()) << events.status();
  const auto released = ReadExamples(features_path);
  ASSERT_TRUE(released.ok()) << released.status();
  const auto made = MakeExamples(*events);
  ASSERT_TRUE(made.ok()) << made.status();
  ASSERT_EQ(made->size(), 1096);
  ASSERT_EQ(released->size(), 1096);
  for (size_t i = 0; i < made->size(); ++i) {
    const Example& a = (*made)[i];
    const Example& b = (*released)[i];
    ASSERT_EQ(a.session, b.session) << i;
    ASSERT_EQ(a.rejected, b.rejected) << i;
    ASSERT_EQ(a.cups, b.cups) << i;
    ASSERT_THAT(a.numbers,
                testing::Pointwise(testing::DoubleNear(1e-9), b.numbers))
        << i;
    ASSERT_THAT(a.suggestion_flags,
                testing::ElementsAreArray(b.suggestion_flags))
        << i;
    ASSERT_THAT(a.prompt_flags, testing::ElementsAreArray(b.prompt_flags)) << i;
  }
}

// Expected: XGBClassifier(tree_method="exact", base_score=0.5) of xgboost
// 3.2.0, fitted to all programmers but the first: his first six suggestions.
TEST(Released, TreesAreThoseOfXgboost) {
  const std::string path = FindTestAsset("cdhf/features.csv.gz");
  if (path.empty()) GTEST_SKIP() << "needs cdhf/features.csv.gz";
  const auto examples = ReadExamples(path);
  ASSERT_TRUE(examples.ok()) << examples.status();
  const struct {
    View view;
    std::vector<double> expected;
  } cases[] = {{View::kSuggestion,
                {0.094487, 0.981459, 0.97992, 0.985216, 0.996263, 0.048386}},
               {View::kSuggestionAndState,
                {0.00401, 0.953417, 0.987707, 0.965743, 0.99869, 0.022034}}};
  for (const auto& one : cases) {
    const Matrix all = *MakeMatrix(*examples, one.view);
    Matrix others = {0, all.columns, {}};
    std::vector<bool> rejected;
    for (int64_t row = 0; row < all.rows; ++row) {
      if ((*examples)[row].user == 0) continue;
      others.values.insert(others.values.end(), all.Row(row).begin(),
                           all.Row(row).end());
      rejected.push_back((*examples)[row].rejected);
    }
    others.rows = static_cast<int64_t>(rejected.size());
    const auto trees = BoostedTrees::Train(others, rejected, {});
    ASSERT_TRUE(trees.ok()) << trees.status();
    for (int64_t row = 0; row < 6; ++row) {
      EXPECT_NEAR(*trees->Probability(all.Row(row)), one.expected[row], 1e-4)
          << row;
    }
  }
}

TEST(ReadExamples, NamesWhatIsWrong) {
  const auto error = [](const std::string& content) {
    const auto bad = ReadExamples(TempFile("cdhf_features.csv", content));
    EXPECT_FALSE(bad.ok()) << content;
    return std::string(bad.status().message());
  };
  EXPECT_THAT(error(""), HasSubstr("cdhf_features.csv"));
  EXPECT_THAT(error("session,user\n"), HasSubstr("no examples"));
  EXPECT_THAT(error("session,user\n0,0\n"), HasSubstr("cups_index"));
  EXPECT_TRUE(absl::IsNotFound(ReadExamples("/none/such").status()));

  const std::string path = FindTestAsset("cdhf/features.csv.gz");
  if (path.empty()) return;
  const std::string content = *ReadFile(path);
  const auto changed = [&](const std::string& from, const std::string& to) {
    std::string copy = content;
    const size_t at = copy.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return copy.replace(at, from.size(), to);
  };
  EXPECT_THAT(error(changed("\n0,1,0,Rejected", "\n0,1,0,Browsing")),
              HasSubstr(":3: unknown label"));
  EXPECT_THAT(error(changed("\n0,1,0,", "\n0,1,21,")), HasSubstr("user 21"));
  EXPECT_THAT(error(changed("\n0,1,0,", "\n5,1,0,")),
              HasSubstr(":4: session 0 comes back"));
  EXPECT_THAT(error(content.substr(0, 4000)), HasSubstr("cdhf_features.csv:"));
}

}  // namespace
}  // namespace repro::cdhf
