#include "common/metrics/classification.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <string>
#include <vector>

namespace repro::metrics {
namespace {

using ::testing::HasSubstr;
using Ints = std::vector<int64_t>;
using Strings = std::vector<std::string>;

constexpr double kTolerance = 1e-14;

// from sklearn import metrics as M
// yt = [1,0,1,1,0,0,1,0,1,1]; yp = [1,0,0,1,0,1,1,0,1,0]
const Ints kReferences = {1, 0, 1, 1, 0, 0, 1, 0, 1, 1};
const Ints kPredictions = {1, 0, 0, 1, 0, 1, 1, 0, 1, 0};

// ct = ['cat','dog','dog','bird','cat','bird','dog','cat','dog']
// cp = ['cat','dog','cat','bird','dog','cat','dog','cat','fish']
const Strings kAnimals = {"cat",  "dog", "dog", "bird", "cat",
                          "bird", "dog", "cat", "dog"};
const Strings kGuesses = {"cat", "dog", "cat", "bird", "dog",
                          "cat", "dog", "cat", "fish"};

void ExpectRates(const absl::StatusOr<PrecisionRecallF1>& rates,
                 double precision, double recall, double f1) {
  ASSERT_TRUE(rates.ok()) << rates.status();
  EXPECT_NEAR(rates->precision, precision, kTolerance);
  EXPECT_NEAR(rates->recall, recall, kTolerance);
  EXPECT_NEAR(rates->f1, f1, kTolerance);
}

TEST(AccuracyTest, AgreesWithScikitLearn) {
  // M.accuracy_score(yt, yp), M.accuracy_score(ct, cp)
  EXPECT_NEAR(*Accuracy(kReferences, kPredictions), 0.7, kTolerance);
  EXPECT_NEAR(*Accuracy(kAnimals, kGuesses), 0.5555555555555556, kTolerance);
}

TEST(RatesTest, BinaryAgreesWithScikitLearn) {
  // M.precision_recall_fscore_support(yt, yp, average='binary')
  const auto rates = Binary<int64_t>(kReferences, kPredictions, 1);
  ExpectRates(rates, 0.8, 0.6666666666666666, 0.7272727272727273);
  EXPECT_EQ(rates->support, 6);
}

TEST(RatesTest, AveragesAgreeWithScikitLearn) {
  // M.precision_recall_fscore_support(ct, cp, average='micro')
  ExpectRates(Micro(kAnimals, kGuesses), 0.5555555555555556, 0.5555555555555556,
              0.5555555555555556);
  // M.precision_recall_fscore_support(ct, cp, average='macro')
  const auto macro = Macro(kAnimals, kGuesses);
  ExpectRates(macro, 0.5416666666666666, 0.41666666666666663,
              0.4523809523809524);
  EXPECT_EQ(macro->support, 9);
}

TEST(RatesTest, PerClassAgreesWithScikitLearn) {
  // M.precision_recall_fscore_support(ct, cp, average=None): bird, cat, dog,
  // fish; fish is predicted and never right, so its rates are 0.
  const auto rates = PerClass(kAnimals, kGuesses);
  ASSERT_TRUE(rates.ok());
  ASSERT_EQ(rates->size(), 4);
  ExpectRates(rates->at("bird"), 1, 0.5, 2 / 3.0);
  ExpectRates(rates->at("cat"), 0.5, 2 / 3.0, 4 / 7.0);
  ExpectRates(rates->at("dog"), 2 / 3.0, 0.5, 4 / 7.0);
  ExpectRates(rates->at("fish"), 0, 0, 0);
  EXPECT_EQ(rates->at("dog").support, 4);
  EXPECT_EQ(rates->at("fish").support, 0);
}

TEST(RatesTest, DegenerateCasesFollowScikitLearn) {
  // M.precision_recall_fscore_support(t, p, average='binary') is (0, 0, 0) for
  // t, p = [0,0,0], [0,0,0]; [1,1,0], [0,0,0]; [0,0,0], [1,0,1]
  ExpectRates(Binary<int64_t>({0, 0, 0}, {0, 0, 0}, 1), 0, 0, 0);
  ExpectRates(Binary<int64_t>({1, 1, 0}, {0, 0, 0}, 1), 0, 0, 0);
  ExpectRates(Binary<int64_t>({0, 0, 0}, {1, 0, 1}, 1), 0, 0, 0);
  // M.f1_score(['a','b'], ['a','b']): "pos_label=1 is not a valid label"
  EXPECT_THAT(
      std::string(
          Binary<std::string>({"a", "b"}, {"a", "b"}, "1").status().message()),
      HasSubstr(
          "the positive label is 1 but the labels that occur are a and b"));
  // M.f1_score(['a','b','c'], ['a','b','c']): "Target is multiclass"
  EXPECT_THAT(
      std::string(
          Binary(kAnimals, kGuesses, std::string("cat")).status().message()),
      HasSubstr("4 labels occur"));
}

TEST(MatthewsTest, AgreesWithScikitLearn) {
  // M.matthews_corrcoef(yt, yp), M.matthews_corrcoef(ct, cp)
  EXPECT_NEAR(*MatthewsCorrelation(kReferences, kPredictions),
              0.408248290463863, kTolerance);
  EXPECT_NEAR(*MatthewsCorrelation(kAnimals, kGuesses), 0.35855439414578866,
              kTolerance);
  EXPECT_NEAR(*MatthewsCorrelation(kAnimals, kAnimals), 1, kTolerance);
  EXPECT_NEAR(*MatthewsCorrelation<int64_t>({0, 1, 0, 1}, {1, 0, 1, 0}), -1,
              kTolerance);
  // M.matthews_corrcoef([1,1,1], [1,0,1]), M.matthews_corrcoef([1]*3, [1]*3)
  EXPECT_EQ(*MatthewsCorrelation<int64_t>({1, 1, 1}, {1, 0, 1}), 0);
  EXPECT_EQ(*MatthewsCorrelation<int64_t>({1, 1, 1}, {1, 1, 1}), 0);
}

TEST(RocAucTest, AgreesWithScikitLearn) {
  // M.roc_auc_score(yt, [0.9,0.4,0.35,0.8,0.4,0.1,0.7,0.35,0.4,0.6])
  EXPECT_NEAR(*RocAuc({1, 0, 1, 1, 0, 0, 1, 0, 1, 1},
                      {0.9, 0.4, 0.35, 0.8, 0.4, 0.1, 0.7, 0.35, 0.4, 0.6}),
              0.8541666666666667, kTolerance);
  // M.roc_auc_score([0,1,0,1], [.5]*4) and two separated orders
  EXPECT_EQ(*RocAuc({0, 1, 0, 1}, {.5, .5, .5, .5}), 0.5);
  EXPECT_EQ(*RocAuc({0, 1, 0, 1}, {.1, .9, .2, .8}), 1);
  EXPECT_EQ(*RocAuc({1, 0, 1, 0}, {.1, .9, .2, .8}), 0);
}

// The definition: each pair of a positive and a negative item compared.
TEST(RocAucTest, AgreesWithAllPairs) {
  std::mt19937_64 generator(5);
  for (const int size : {2, 3, 17, 200}) {
    std::vector<bool> positive = {true, false};
    std::vector<double> scores = {3, 3};
    for (int i = 2; i < size; ++i) {
      positive.push_back(generator() % 3 == 0);
      scores.push_back(generator() % 20);  // many ties
    }
    double wins = 0;
    double pairs = 0;
    for (int i = 0; i < size; ++i) {
      for (int j = 0; j < size; ++j) {
        if (!positive[i] || positive[j]) continue;
        ++pairs;
        wins += scores[i] > scores[j] ? 1 : scores[i] == scores[j] ? 0.5 : 0;
      }
    }
    EXPECT_NEAR(*RocAuc(positive, scores), wins / pairs, kTolerance) << size;
  }
}

TEST(RocAucTest, RejectsBadInput) {
  EXPECT_THAT(std::string(RocAuc({true, true}, {1, 2}).status().message()),
              HasSubstr("all 2 items are positive"));
  EXPECT_THAT(std::string(RocAuc({false}, {1}).status().message()),
              HasSubstr("negative"));
  EXPECT_FALSE(RocAuc({}, {}).ok());
  EXPECT_FALSE(RocAuc({true, false}, {1}).ok());
  EXPECT_FALSE(
      RocAuc({true, false}, {1, std::numeric_limits<double>::quiet_NaN()})
          .ok());
}

TEST(ClassificationTest, RejectsEmptyAndUnequalInput) {
  EXPECT_FALSE(Accuracy(Ints{}, Ints{}).ok());
  EXPECT_THAT(std::string(Accuracy(Ints{1, 2}, Ints{1}).status().message()),
              HasSubstr("2 references and 1 predictions"));
  EXPECT_FALSE(Binary<int64_t>({}, {}, 1).ok());
  EXPECT_FALSE(Micro(Ints{1}, Ints{}).ok());
  EXPECT_FALSE(Macro(Ints{}, Ints{}).ok());
  EXPECT_FALSE(PerClass(Ints{1}, Ints{1, 2}).ok());
  EXPECT_FALSE(MatthewsCorrelation(Ints{}, Ints{}).ok());
}

}  // namespace
}  // namespace repro::metrics
