#include "common/metrics/cider.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace repro::metrics {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;

TEST(CiderDTest, AgreesWithPycocoevalcap) {
  // pip install pycocoevalcap==1.2
  // from pycocoevalcap.cider.cider_scorer import CiderScorer
  // s = CiderScorer(); s += (hypothesis, references) each; s.compute_score()
  const auto score = CiderD(
      {{SplitWhitespace("It is a guide to action that ensures that the "
                        "military will forever heed Party commands"),
        SplitWhitespace("It is the guiding principle which guarantees the "
                        "military forces always being under the command of the "
                        "Party"),
        SplitWhitespace("It is the practical guide for the army always to heed "
                        "the directions of the party")},
       {SplitWhitespace(
           "he was interested in world history because he read the book")},
       {SplitWhitespace("the cat sat on the mat"),
        SplitWhitespace("a cat is on the mat")},
       {SplitWhitespace("a b c")}},
      {SplitWhitespace("It is a guide to action which ensures that the "
                       "military always obeys the commands of the party"),
       SplitWhitespace(
           "he read the book because he was interested in world history"),
       SplitWhitespace("the cat sat on mat"), SplitWhitespace("x y")});
  EXPECT_NEAR(score->mean, 3.6286443521061753, 1e-13);
  EXPECT_THAT(score->items, ElementsAre(DoubleNear(2.55805769, 5e-9),
                                        DoubleNear(7.66666667, 5e-9),
                                        DoubleNear(4.28985305, 5e-9), 0));
}

TEST(CiderDTest, OneItemHasNoInformativeNGram) {
  EXPECT_EQ(CiderD({{{"a", "b"}}}, {{"a", "b"}})->mean, 0);
  // All n-grams distinct over two items and of order 4: 10 each.
  EXPECT_NEAR(CiderD({{{"a", "b", "c", "d"}}, {{"e", "f", "g", "h"}}},
                     {{"a", "b", "c", "d"}, {"e", "f", "g", "h"}})
                  ->mean,
              10, 1e-13);
}

TEST(CiderDTest, RejectsBadInput) {
  EXPECT_FALSE(CiderD({}, {}).ok());
  EXPECT_FALSE(CiderD({{{"a"}}}, {}).ok());
  EXPECT_FALSE(CiderD({{}}, {{"a"}}).ok());
}

}  // namespace
}  // namespace repro::metrics
