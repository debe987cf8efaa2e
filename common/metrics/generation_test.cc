#include "common/metrics/generation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

namespace repro::metrics {
namespace {

using ::testing::HasSubstr;

TEST(PassAtKTest, AgreesWithTheEvaluatorOfHumanEval) {
  // human_eval/evaluation.py, estimator(n, c, k):
  // 1.0 if n - c < k else 1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1))
  struct Case {
    SampledProblem problem;
    int64_t k;
    double value;
  };
  for (const Case& c : {
           Case{{10, 3}, 1, 0.30000000000000004},
           Case{{10, 3}, 5, 0.9166666666666666},
           Case{{200, 13}, 1, 0.06500000000000017},
           Case{{200, 13}, 10, 0.4975511147306061},
           Case{{200, 13}, 100, 0.9999194971988055},
           Case{{5, 0}, 1, 0.0},
           Case{{5, 5}, 5, 1.0},
           Case{{5, 1}, 5, 1.0},
           Case{{1000000, 10}, 100, 0.0009995546159591306},
       }) {
    EXPECT_NEAR(*PassAtK(c.problem, c.k), c.value, 1e-14)
        << c.problem.samples << " " << c.problem.correct << " " << c.k;
  }
}

// The average over all subsets of k of n samples, c of which pass, of whether
// one of them passes.
TEST(PassAtKTest, IsTheShareOfSubsetsThatPass) {
  for (int n = 1; n <= 8; ++n) {
    for (int c = 0; c <= n; ++c) {
      std::vector<double> passing(n + 1), all(n + 1);
      for (int subset = 0; subset < 1 << n; ++subset) {
        const int k = __builtin_popcount(subset);
        ++all[k];
        passing[k] += (subset & ((1 << c) - 1)) != 0;
      }
      for (int k = 1; k <= n; ++k) {
        EXPECT_NEAR(*PassAtK({n, c}, k), passing[k] / all[k], 1e-14)
            << n << " " << c << " " << k;
      }
    }
  }
}

TEST(PassAtKTest, MeanIsOverProblems) {
  EXPECT_NEAR(*MeanPassAtK({{10, 3}, {5, 0}, {2, 2}}, 1), (0.3 + 0 + 1) / 3,
              1e-14);
}

TEST(PassAtKTest, RejectsBadInput) {
  EXPECT_THAT(std::string(PassAtK({10, 11}, 1).status().message()),
              HasSubstr("11 correct of 10 samples"));
  EXPECT_FALSE(PassAtK({10, -1}, 1).ok());
  EXPECT_FALSE(PassAtK({10, 1}, 0).ok());
  EXPECT_THAT(std::string(PassAtK({10, 1}, 11).status().message()),
              HasSubstr("k is 11"));
  EXPECT_FALSE(PassAtK({0, 0}, 1).ok());
  EXPECT_FALSE(MeanPassAtK({}, 1).ok());
  EXPECT_FALSE(MeanPassAtK({{10, 1}, {1, 1}}, 2).ok());
}

TEST(ExactMatchTest, ComparesBytes) {
  EXPECT_EQ(*ExactMatch({"a", "b ", "C", "d"}, {"a", "b", "c", "d"}), 0.5);
  EXPECT_FALSE(ExactMatch({}, {}).ok());
  EXPECT_FALSE(ExactMatch({"a"}, {}).ok());
}

TEST(CollapseWhitespaceTest, IsPythonsSplitAndJoin) {
  // " ".join(" a \t\n b\x0b\x0c\rc ".split())
  EXPECT_EQ(CollapseWhitespace(" a \t\n b\v\f\rc "), "a b c");
  EXPECT_EQ(CollapseWhitespace(" \n"), "");
  EXPECT_EQ(CollapseWhitespace(""), "");
}

TEST(PerplexityTest, AgreesWithNumpyAndScikitLearn) {
  // np.exp(np.mean([2.3, 0.1, 4.7, 1.05, 0.0, 3.3]))
  EXPECT_NEAR(*Perplexity({2.3, 0.1, 4.7, 1.05, 0.0, 3.3}), 6.741843024615186,
              1e-13);
  // np.exp(M.log_loss([0,1,1,0], [[.9,.1],[.2,.8],[.4,.6],[.3,.7]])), from
  // -np.log([.9,.8,.6,.3])
  EXPECT_NEAR(*Perplexity({0.10536051565782628, 0.2231435513142097,
                           0.5108256237659907, 1.2039728043259361}),
              1.6666666666666667, 1e-14);
}

TEST(PerplexityTest, RejectsBadInput) {
  EXPECT_FALSE(Perplexity({}).ok());
  EXPECT_THAT(std::string(Perplexity({1, -2}).status().message()),
              HasSubstr("value 1 is -2"));
  EXPECT_EQ(*Perplexity({0}), 1);
  EXPECT_TRUE(Perplexity({-1e-8}).ok());
  EXPECT_FALSE(Perplexity({std::numeric_limits<double>::quiet_NaN()}).ok());
  EXPECT_FALSE(Perplexity({std::numeric_limits<double>::infinity()}).ok());
  EXPECT_EQ(Perplexity({1000}).status().code(), absl::StatusCode::kOutOfRange);
}

}  // namespace
}  // namespace repro::metrics
