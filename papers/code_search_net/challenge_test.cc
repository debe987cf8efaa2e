#include "papers/code_search_net/challenge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/data/io.h"
#include "papers/code_search_net/words.h"

namespace repro::code_search_net {
namespace {

using metrics::Unjudged;
using testing::ElementsAre;
using testing::HasSubstr;

std::string WriteTemporary(const std::string& name,
                           const std::string& content) {
  const std::string path = absl::StrCat(testing::TempDir(), "/", name);
  EXPECT_TRUE(WriteFileAtomically(path, content).ok());
  return path;
}

Judgements Example() {
  return Group(
      {{"go", "q", "u1", 3}, {"go", "q", "u2", 1}, {"go", "q", "u3", 0}});
}

Predictions Ranking(const std::vector<std::string>& urls) {
  return {{"go", {{"q", urls}}}};
}

TEST(WordsTest, PartsIdentifiersAndPaths) {
  EXPECT_THAT(Words("readHTTPFile2 src/to_json.go", false),
              ElementsAre("read", "httpfile", "src", "to", "json", "go"));
  EXPECT_THAT(Words("utf8Decode \xc3\xa9t\xc3\xa9", true),
              ElementsAre("utf8", "decode", "t"));
  EXPECT_TRUE(Words("", true).empty());
  EXPECT_TRUE(Words("{ } 12", false).empty());
}

TEST(PathOfUrlTest, DropsRepositoryCommitAndLines) {
  EXPECT_EQ(PathOfUrl("https://github.com/o/r/blob/abc/src/a.go#L1-L2"),
            "src/a.go");
  EXPECT_EQ(PathOfUrl("elsewhere#L1"), "elsewhere");
  EXPECT_EQ(PathOfUrl(""), "");
}

// (1 / log2(2) + 7 / log2(3)) and (1 / log2(3) + 7 / log2(4)) over
// 7 / log2(2) + 1 / log2(3).
TEST(EvaluateTest, WorkedExample) {
  const double ideal = 7 + 1 / std::log2(3);
  const auto within =
      Evaluate(Example(), Ranking({"x", "u2", "u1"}), Unjudged::kSkip);
  ASSERT_TRUE(within.ok()) << within.status();
  EXPECT_NEAR(within->mean, (1 + 7 / std::log2(3)) / ideal, 1e-12);
  const auto all =
      Evaluate(Example(), Ranking({"x", "u2", "u1"}), Unjudged::kGainZero);
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_NEAR(all->mean, (1 / std::log2(3) + 7 / std::log2(4)) / ideal, 1e-12);
}

TEST(EvaluateTest, IdealOrderIsOneAndAllIsAtMostWithin) {
  EXPECT_DOUBLE_EQ(
      Evaluate(Example(), Ranking({"u1", "u2"}), Unjudged::kGainZero)->mean, 1);
  EXPECT_DOUBLE_EQ(
      Evaluate(Example(), Ranking({"x", "u1", "y", "u2"}), Unjudged::kSkip)
          ->mean,
      1);
  EXPECT_LT(
      Evaluate(Example(), Ranking({"x", "u1", "y", "u2"}), Unjudged::kGainZero)
          ->mean,
      1);
}

TEST(EvaluateTest, MissingPredictionsScoreZeroAndIrrelevantQueriesAreLeftOut) {
  const Judgements judgements = Group(
      {{"go", "q", "u1", 2}, {"go", "none", "u1", 0}, {"java", "q", "u1", 1}});
  const auto scores =
      Evaluate(judgements, Ranking({"u1"}), Unjudged::kGainZero);
  ASSERT_TRUE(scores.ok()) << scores.status();
  EXPECT_DOUBLE_EQ(scores->by_language.at("go"), 1);
  EXPECT_DOUBLE_EQ(scores->by_language.at("java"), 0);
  EXPECT_DOUBLE_EQ(scores->mean, 0.5);
}

TEST(EvaluateTest, SaysWhatIsWrong) {
  EXPECT_THAT(
      std::string(Evaluate(Example(), Ranking({"u1", "u1"}), Unjudged::kSkip)
                      .status()
                      .message()),
      HasSubstr("twice"));
  EXPECT_THAT(
      std::string(Evaluate(Group({{"go", "q", "u", 0}}), {}, Unjudged::kSkip)
                      .status()
                      .message()),
      HasSubstr("go: no query"));
  EXPECT_FALSE(Evaluate({}, {}, Unjudged::kSkip).ok());
}

TEST(JudgedTest, RelevanceIsTheMeanOfTheGrades) {
  const Judgements judgements =
      Group({{"go", "q", "u", 3}, {"go", "q", "v", 1}, {"go", "q", "u", 2}});
  const std::vector<Judged>& functions = judgements.at("go").at("q");
  ASSERT_EQ(functions.size(), 2);
  EXPECT_DOUBLE_EQ(functions[0].relevance(), 2.5);
}

// Against the mean over all 24 orders, and the extremes of them.
TEST(PoolTest, RandomAndWorstOrderAgreeWithEnumeration) {
  const Judgements judgements = Group({{"go", "q", "a", 3},
                                       {"go", "q", "b", 0},
                                       {"go", "q", "c", 1},
                                       {"go", "q", "d", 2}});
  std::vector<std::string> order = {"a", "b", "c", "d"};
  double sum = 0, least = 2;
  int count = 0;
  do {
    const double ndcg =
        Evaluate(judgements, Ranking(order), Unjudged::kGainZero)->mean;
    sum += ndcg;
    least = std::min(least, ndcg);
    ++count;
  } while (std::next_permutation(order.begin(), order.end()));
  ASSERT_EQ(count, 24);
  EXPECT_NEAR(RandomPoolScores(judgements)->mean, sum / count, 1e-12);
  EXPECT_DOUBLE_EQ(
      Evaluate(judgements, PoolPredictions(judgements, PoolOrder::kWorst),
               Unjudged::kSkip)
          ->mean,
      least);
}

TEST(PoolTest, PathOverlapCountsDistinctWordsAndBreaksTiesByUrl) {
  const std::string base = "https://github.com/o/sort/blob/c/";
  const Judgements judgements =
      Group({{"go", "sort string list", base + "z/sort/sort.go#L1", 0},
             {"go", "sort string list", base + "sortList.go#L1", 1},
             {"go", "sort string list", base + "a/list.go#L1", 0}});
  EXPECT_THAT(PoolPredictions(judgements, PoolOrder::kPathOverlap)
                  .at("go")
                  .at("sort string list"),
              ElementsAre(base + "sortList.go#L1", base + "a/list.go#L1",
                          base + "z/sort/sort.go#L1"));
  EXPECT_THAT(PoolPredictions(judgements, PoolOrder::kFile)
                  .at("go")
                  .at("sort string list"),
              ElementsAre(base + "z/sort/sort.go#L1", base + "sortList.go#L1",
                          base + "a/list.go#L1"));
}

TEST(AnnotatorKappaTest, TakesTheFirstTwoOfEachFunction) {
  // Observed squared disagreement 1 of 2 pairs; expected by chance of grades
  // {0, 3} and {0, 2}, as ranks {0, 2} and {0, 1}: (0 + 1 + 4 + 1) / 2.
  const Judgements judgements = Group({{"go", "q", "u", 0},
                                       {"go", "q", "u", 0},
                                       {"go", "q", "u", 3},
                                       {"go", "q", "v", 3},
                                       {"go", "q", "v", 2},
                                       {"go", "q", "w", 1}});
  const auto kappa = AnnotatorKappa(judgements);
  ASSERT_TRUE(kappa.ok()) << kappa.status();
  EXPECT_NEAR(*kappa, 1 - 1.0 / 3, 1e-12);
  EXPECT_FALSE(AnnotatorKappa(Group({{"go", "q", "u", 1}})).ok());
}

TEST(ReadAnnotationsTest, ReadsQuotedNotesAndLowersNames) {
  const auto annotations = ReadAnnotations(WriteTemporary(
      "annotations.csv",
      "Language,Query,GitHubUrl,Relevance,Notes\n"
      "PHP,Sort List,u1,2,\"two\nlines, and a comma\"\nGo,q,u2,0,\n"));
  ASSERT_TRUE(annotations.ok()) << annotations.status();
  ASSERT_EQ(annotations->size(), 2);
  EXPECT_EQ((*annotations)[0].language, "php");
  EXPECT_EQ((*annotations)[0].query, "sort list");
  EXPECT_EQ((*annotations)[0].relevance, 2);
  EXPECT_EQ((*annotations)[1].url, "u2");
}

TEST(ReadAnnotationsTest, SaysWhereTheInputIsWrong) {
  const std::string header = "Language,Query,GitHubUrl,Relevance,Notes\n";
  const auto error = [&](const std::string& content) {
    const auto read = ReadAnnotations(WriteTemporary("bad.csv", content));
    EXPECT_FALSE(read.ok()) << content;
    return std::string(read.status().message());
  };
  EXPECT_THAT(error(header + "Go,q,u,0,\nCobol,q,u,0,\n"),
              testing::AllOf(HasSubstr("bad.csv:3: "), HasSubstr("cobol")));
  EXPECT_THAT(error(header + "Go,q,u,4,\n"), HasSubstr("outside 0..3"));
  EXPECT_THAT(error(header + "Go,q,u,high,\n"), HasSubstr("Relevance"));
  EXPECT_THAT(error(header + "Go,,u,1,\n"), HasSubstr("'Query' is empty"));
  EXPECT_THAT(error(header + "Go,q,,1,\n"), HasSubstr("'GitHubUrl' is empty"));
  EXPECT_THAT(error("Language,Query\nGo,q\n"), HasSubstr("GitHubUrl"));
  EXPECT_THAT(error(header + "Go,q,\"u,1,\n"), HasSubstr("bad.csv"));
  error("");
  EXPECT_EQ(ReadAnnotations(testing::TempDir() + "/absent").status().code(),
            absl::StatusCode::kNotFound);
}

TEST(ReadPredictionsTest, KeepsTheFirst300InOrder) {
  std::string content = "query,language,url,score\n";
  for (int i = 0; i < 301; ++i) {
    absl::StrAppend(&content, "Sort List,Go,u", i, ",1\n");
  }
  const auto predictions =
      ReadPredictions(WriteTemporary("predictions.csv", content));
  ASSERT_TRUE(predictions.ok()) << predictions.status();
  const std::vector<std::string>& urls = predictions->at("go").at("sort list");
  ASSERT_EQ(urls.size(), kMaxPredictions);
  EXPECT_EQ(urls.front(), "u0");
  EXPECT_EQ(urls.back(), "u299");
  EXPECT_THAT(std::string(ReadPredictions(
                              WriteTemporary("none.csv", "query,url\nq,u\n"))
                              .status()
                              .message()),
              HasSubstr("language"));
}

TEST(ChanceReciprocalRankTest, IsHarmonic) {
  EXPECT_DOUBLE_EQ(ChanceReciprocalRank(1), 1);
  EXPECT_DOUBLE_EQ(ChanceReciprocalRank(4), 25.0 / 48);
}

}  // namespace
}  // namespace repro::code_search_net
