#include "papers/efficient_probing/leaderboard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/assets/test_asset.h"
#include "common/data/io.h"

namespace repro::efficient_probing {
namespace {

using ::testing::HasSubstr;

constexpr char kRuns[] =
    "run,model,representation,trainable_params,max_acc1\n"
    "a/lp,vit_base_patch16,cls,769000,50.25\n"
    "a/ep,vit_base_patch16,ep,1383400,\n"
    "a/knn,A,cls,,\n";
constexpr char kEpochs[] =
    "run,epoch,train_loss,val_acc1\n"
    "a/lp,0,2.5,40\n"
    "a/ep,0,2.0,60.5\n"
    "a/lp,1,1.5,50.25\n"
    "a/lp,2,1.0,50.25\n"
    "a/lp,3,0.9,49\n"
    "a/ep,1,1.0,60\n";
constexpr char kSweeps[] =
    "run,features,T,k,top1\n"
    "a/knn,raw,0.07,5,30\n"
    "a/knn,raw,0.1,20,31.5\n"
    "a/knn,final_norm,0.1,20,35\n";
constexpr char kResults[] =
    "family,method,arch,ep_variant,ep_queries,lp_log,ep_log,knn_log,notes\n"
    "MIM,A,ViT-B/16,ep,32,logs/a/lp.txt,logs/a/ep.txt,logs/a/knn.txt,"
    "\"one, two\"\n";

std::string Write(const std::string& name, const std::string& content) {
  const std::string path = absl::StrCat(::testing::TempDir(), "/", name);
  EXPECT_TRUE(WriteFileAtomically(path, content).ok());
  return path;
}

absl::StatusOr<Logs> ReadTexts(const std::string& runs,
                               const std::string& epochs,
                               const std::string& sweeps) {
  return Logs::Read(Write("runs.csv", runs), Write("epochs.csv", epochs),
                    Write("knn.csv", sweeps));
}

TEST(Leaderboard, TakesTheFirstBestEpochAndTheBestRawSetting) {
  const auto logs = ReadTexts(kRuns, kEpochs, kSweeps);
  ASSERT_TRUE(logs.ok()) << logs.status();
  const auto rows = ReadLeaderboard(Write("results.csv", kResults));
  ASSERT_TRUE(rows.ok()) << rows.status();
  ASSERT_EQ(rows->size(), 1u);
  EXPECT_EQ((*rows)[0].ep_queries, 32);
  const auto scores = ScoresFromLogs((*rows)[0], *logs);
  ASSERT_TRUE(scores.ok()) << scores.status();
  EXPECT_EQ(scores->lp, 50.25);
  EXPECT_EQ(scores->lp_last, 49);
  EXPECT_EQ(scores->ep, 60.5);
  EXPECT_EQ(scores->ep_last, 60);
  EXPECT_EQ(scores->knn, 31.5);
  EXPECT_EQ(BestEpoch(*logs->Epochs("a/lp")), 1);
  EXPECT_EQ(*logs->BestKnn("a/knn", "final_norm"), 35);
  EXPECT_EQ((*logs->Find("a/ep"))->trainable_parameters, 1383400);
  EXPECT_FALSE((*logs->Find("a/ep"))->stated_maximum.has_value());
  EXPECT_FALSE((*logs->Find("a/knn"))->trainable_parameters.has_value());
}

TEST(Leaderboard, RefusesWhatIsMalformed) {
  const auto message = [](const absl::StatusOr<Logs>& logs) {
    EXPECT_EQ(logs.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(logs.status().message());
  };
  const std::string runs = kRuns, epochs = kEpochs, sweeps = kSweeps;
  EXPECT_THAT(message(ReadTexts("", epochs, sweeps)), HasSubstr("runs.csv"));
  EXPECT_THAT(message(ReadTexts(runs + "a/lp,x,cls,1,1\n", epochs, sweeps)),
              HasSubstr("runs.csv:5: a second run a/lp"));
  EXPECT_THAT(message(ReadTexts(runs + "b/lp,x,cls,many,1\n", epochs, sweeps)),
              HasSubstr("runs.csv:5: column 'trainable_params'"));
  EXPECT_THAT(message(ReadTexts(runs, epochs + "a/lp,5,1,50\n", sweeps)),
              HasSubstr("epochs.csv:8: epoch 5 of a/lp"));
  EXPECT_THAT(message(ReadTexts(runs, epochs + "b/lp,0,1,50\n", sweeps)),
              HasSubstr("epochs.csv:8: no such run: b/lp"));
  EXPECT_THAT(message(ReadTexts(runs, epochs + "a/lp,4,1,500\n", sweeps)),
              HasSubstr("epochs.csv:8: column 'val_acc1'"));
  EXPECT_THAT(message(ReadTexts(runs, epochs + "a/lp,4,1\n", sweeps)),
              HasSubstr("epochs.csv:8"));
  EXPECT_THAT(message(ReadTexts(runs, epochs, sweeps + "a/knn,raw,0.1,x,3\n")),
              HasSubstr("knn.csv:5: column 'k'"));
  EXPECT_THAT(message(ReadTexts(runs, epochs, sweeps + "c/knn,raw,1,1,3\n")),
              HasSubstr("knn.csv:5: no such run: c/knn"));
  EXPECT_EQ(Logs::Read("/nowhere/runs.csv", "", "").status().code(),
            absl::StatusCode::kNotFound);
}

TEST(Leaderboard, RefusesRowsWithoutFamilyOrLog) {
  const std::string header =
      "family,method,arch,ep_variant,ep_queries,lp_log,ep_log,knn_log\n";
  const auto message = [&](const std::string& row) {
    const auto rows = ReadLeaderboard(Write("bad.csv", header + row));
    EXPECT_EQ(rows.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(rows.status().message());
  };
  EXPECT_THAT(message(""), HasSubstr("no rows"));
  EXPECT_THAT(message("CNN,A,B,ep,32,logs/a.txt,logs/b.txt,logs/c.txt\n"),
              HasSubstr("bad.csv:2: column 'family'"));
  EXPECT_THAT(message("MIM,A,B,ep,32,a.txt,logs/b.txt,logs/c.txt\n"),
              HasSubstr("column 'lp_log'"));
  EXPECT_THAT(message("MIM,A,B,ep,,logs/a.txt,logs/b.txt,logs/c.txt\n"),
              HasSubstr("column 'ep_queries'"));
}

TEST(Leaderboard, SaysWhichLogIsMissing) {
  const auto logs = ReadTexts(kRuns, kEpochs, kSweeps);
  ASSERT_TRUE(logs.ok());
  EXPECT_EQ(logs->Epochs("a/knn").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(logs->Find("b/lp").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(logs->BestKnn("a/lp", "raw").status().code(),
            absl::StatusCode::kNotFound);
  LeaderboardRow row;
  row.lp_run = "a/lp";
  row.ep_run = "z/ep";
  EXPECT_THAT(std::string(ScoresFromLogs(row, *logs).status().message()),
              HasSubstr("z/ep"));
}

TEST(FeatureWidth, FollowsTheRepresentation) {
  EXPECT_EQ(*FeatureWidth("vit_base_patch16", "cls"), 768);
  EXPECT_EQ(*FeatureWidth("ViT-B-16", "pos"), 768);
  EXPECT_EQ(*FeatureWidth("ViT-B-16", "ep_all"), 512);
  EXPECT_EQ(*FeatureWidth("radio_v2.5-l", "cls"), 3072);
  EXPECT_EQ(*FeatureWidth("radio_v2.5-l", "ep"), 1024);
  EXPECT_FALSE(FeatureWidth("vit_base_patch16", "mean").ok());
  EXPECT_FALSE(FeatureWidth("resnet50", "cls").ok());
}

// The released files: their sizes as their provenance states them.
TEST(Leaderboard, ReadsTheReleasedLogs) {
  const std::string results = FindTestAsset("efficient_probing/results.csv.gz");
  const std::string runs = FindTestAsset("efficient_probing/runs.csv.gz");
  const std::string epochs = FindTestAsset("efficient_probing/epochs.csv.gz");
  const std::string sweeps =
      FindTestAsset("efficient_probing/knn_sweeps.csv.gz");
  if (results.empty() || runs.empty() || epochs.empty() || sweeps.empty()) {
    GTEST_SKIP() << "no efficient_probing/*.csv.gz in REPRO_ASSETS";
  }
  const auto logs = Logs::Read(runs, epochs, sweeps);
  ASSERT_TRUE(logs.ok()) << logs.status();
  EXPECT_EQ(logs->epochs().size(), 90u);
  size_t total = 0;
  for (const auto& [name, list] : logs->epochs()) total += list.size();
  EXPECT_EQ(total, 6391u);
  const auto rows = ReadLeaderboard(results);
  ASSERT_TRUE(rows.ok()) << rows.status();
  std::map<std::string, int> families;
  for (const LeaderboardRow& row : *rows) {
    ++families[row.family];
    EXPECT_TRUE(ScoresFromLogs(row, *logs).ok()) << row.method;
  }
  EXPECT_EQ(
      families,
      (std::map<std::string, int>{
          {"GEN", 2}, {"Hybrid", 10}, {"JEA", 3}, {"MIM", 12}, {"VLM", 10}}));
}

}  // namespace
}  // namespace repro::efficient_probing
