#include "tools/evaluation/evaluation_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "common/data/io.h"

namespace repro {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

PolicyEvaluation Example() {
  PolicyEvaluation evaluation;
  evaluation.set_schema_version(kEvaluationSchemaVersion);
  evaluation.set_model("tiny");
  evaluation.add_lengths(512);
  evaluation.add_lengths(1024);
  PolicyScore* score = evaluation.add_scores();
  score->set_policy("window");
  score->set_budget(128);
  score->add_needle(0.5);
  score->add_needle(0.25);
  score->set_perplexity(12.5);
  return evaluation;
}

std::string Folder() { return ::testing::TempDir() + "/evaluations"; }

TEST(EvaluationStoreTest, WritesWhatItReads) {
  const std::string path = ::testing::TempDir() + "/evaluation.json";
  ASSERT_TRUE(WriteEvaluation(Example(), path).ok());
  const auto read = ReadEvaluation(path);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->SerializeAsString(), Example().SerializeAsString());
}

std::string ErrorOf(const std::string& text) {
  const std::string path = ::testing::TempDir() + "/broken.json";
  EXPECT_TRUE(WriteFileAtomically(path, text).ok());
  return std::string(ReadEvaluation(path).status().message());
}

TEST(EvaluationStoreTest, SaysWhatIsWrongWithAFile) {
  EXPECT_THAT(ErrorOf(""), HasSubstr("not a record of `repro evaluate`"));
  EXPECT_THAT(ErrorOf("{\"scores\": 3"), HasSubstr("broken.json"));
  EXPECT_THAT(ErrorOf("{}"), HasSubstr("schema_version is missing"));
  EXPECT_THAT(ErrorOf("{\"schema_version\": 99}"), HasSubstr("newer `repro`"));
  EXPECT_THAT(ErrorOf("{\"schema_version\": 1}"),
              HasSubstr("scores is empty, expected at least one"));
  EXPECT_THAT(ErrorOf("{\"schema_version\": 1, \"lengths\": [512], \"scores\": "
                      "[{\"needle\": [1, 2]}]}"),
              HasSubstr("scores[0].needle has 2 values, lengths 1"));
  EXPECT_THAT(std::string(ReadEvaluation("/none.json").status().message()),
              HasSubstr("/none.json"));
}

TEST(EvaluationStoreTest, GoesOnWithTheSameAlone) {
  PolicyEvaluation later = Example();
  later.set_measured_at("2026-11-26T12:00:00Z");
  later.clear_scores();
  EXPECT_TRUE(SameEvaluation(Example(), later).ok());
  later.set_lengths(1, 2048);
  later.mutable_build()->set_commit("other");
  const std::string message(SameEvaluation(Example(), later).message());
  EXPECT_THAT(message, HasSubstr("lengths[1]: 1024 -> 2048"));
  EXPECT_THAT(message, HasSubstr("other"));
}

TEST(EvaluationStoreTest, AScoreIsOfAPolicyAndItsOptions) {
  PolicyEvaluation evaluation = Example();
  evaluation.mutable_scores(0)->set_options("sink=4,recent=124");
  EXPECT_TRUE(HasScore(evaluation, "window", "sink=4,recent=124"));
  EXPECT_FALSE(HasScore(evaluation, "window", "sink=4,recent=252"));
  EXPECT_FALSE(HasScore(evaluation, "dense", "sink=4,recent=124"));
}

TEST(EvaluationStoreTest, AFileThatCannotBeReadIsLeftOut) {
  std::vector<std::string> problems;
  EXPECT_TRUE(ReadEvaluations(Folder() + "/none", &problems).empty());
  EXPECT_TRUE(problems.empty());
  std::filesystem::create_directories(Folder());
  ASSERT_TRUE(WriteEvaluation(Example(), Folder() + "/a.json").ok());
  ASSERT_TRUE(WriteFileAtomically(Folder() + "/b.json", "[").ok());
  EXPECT_EQ(ReadEvaluations(Folder(), &problems).size(), 1);
  EXPECT_THAT(problems, ElementsAre(HasSubstr("b.json")));
}

}  // namespace
}  // namespace repro
