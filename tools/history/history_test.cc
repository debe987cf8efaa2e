#include "tools/history/history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "absl/strings/str_cat.h"

namespace repro {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

Measurement MakeMeasurement(const std::string& claim, double value,
                            const std::string& measured_at) {
  Measurement measurement;
  measurement.set_paper("van");
  measurement.set_claim(claim);
  measurement.set_claim_version(1);
  measurement.set_value(value);
  measurement.set_verdict(DIFFERS);
  measurement.set_device("cpu");
  measurement.set_measured_at(measured_at);
  return measurement;
}

Result MakeResult(const std::string& commit,
                  const std::vector<Measurement>& measurements) {
  Result result;
  result.mutable_build()->set_commit(commit);
  for (const Measurement& measurement : measurements) {
    *result.add_measurements() = measurement;
  }
  return result;
}

std::vector<double> Values(const History& history, const std::string& claim) {
  const auto entries = history.Measurements("van", claim, 1);
  EXPECT_TRUE(entries.ok()) << entries.status();
  std::vector<double> values;
  for (const HistoryEntry& entry : *entries) values.push_back(entry.value);
  return values;
}

class HistoryTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) /
              testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    path_ = (folder_ / "history.sqlite").string();
  }

  fs::path folder_;
  std::string path_;
};

TEST_F(HistoryTest, ReturnsMeasurementsInTimeOrder) {
  Measurement with_interval = MakeMeasurement("a", 2, "2026-11-02T00:00:00Z");
  with_interval.mutable_interval()->set_low(1.5);
  with_interval.mutable_interval()->set_high(2.5);
  with_interval.set_scale("20 of 100 epochs");
  auto history = History::Open(path_);
  ASSERT_TRUE(history.ok()) << history.status();
  ASSERT_TRUE(
      history
          ->Rebuild({MakeResult("c3", {MakeMeasurement(
                                          "a", 3, "2026-11-03T00:00:00Z")}),
                     MakeResult("c1", {MakeMeasurement(
                                          "a", 1, "2026-11-01T00:00:00Z")}),
                     MakeResult("c2", {with_interval})})
          .ok());
  const auto entries = history->Measurements("van", "a", 1);
  ASSERT_TRUE(entries.ok());
  ASSERT_EQ(entries->size(), 3);
  EXPECT_EQ((*entries)[0].commit, "c1");
  EXPECT_FALSE((*entries)[0].interval.has_value());
  EXPECT_EQ((*entries)[1].value, 2);
  EXPECT_EQ((*entries)[1].commit, "c2");
  EXPECT_EQ((*entries)[1].device, "cpu");
  EXPECT_EQ((*entries)[1].verdict, DIFFERS);
  EXPECT_EQ((*entries)[1].scale, "20 of 100 epochs");
  EXPECT_EQ((*entries)[1].measured_at, "2026-11-02T00:00:00Z");
  ASSERT_TRUE((*entries)[1].interval.has_value());
  EXPECT_EQ((*entries)[1].interval->low(), 1.5);
  EXPECT_EQ((*entries)[1].interval->high(), 2.5);
  EXPECT_EQ((*entries)[2].commit, "c3");
}

TEST_F(HistoryTest, RebuiltTwiceIsTheSame) {
  const std::vector<Result> results = {
      MakeResult("c1", {MakeMeasurement("a", 1, "2026-11-01T00:00:00Z")}),
      MakeResult("c2", {MakeMeasurement("a", 2, "2026-11-02T00:00:00Z")})};
  auto history = History::Open(path_);
  ASSERT_TRUE(history.ok());
  ASSERT_TRUE(history->Rebuild(results).ok());
  ASSERT_TRUE(history->Rebuild(results).ok());
  EXPECT_EQ(Values(*history, "a"), (std::vector<double>{1, 2}));
}

TEST_F(HistoryTest, RebuildForgetsWhatNoResultHolds) {
  auto history = History::Open(path_);
  ASSERT_TRUE(history.ok());
  ASSERT_TRUE(history
                  ->Rebuild({MakeResult(
                      "c", {MakeMeasurement("a", 1, "2026-11-01T00:00:00Z")})})
                  .ok());
  ASSERT_TRUE(history->Rebuild({}).ok());
  EXPECT_TRUE(Values(*history, "a").empty());
}

TEST_F(HistoryTest, KeepsItsContentBetweenPrograms) {
  {
    auto history = History::Open(path_);
    ASSERT_TRUE(history.ok());
    ASSERT_TRUE(
        history
            ->Rebuild({MakeResult(
                "c", {MakeMeasurement("a", 1, "2026-11-01T00:00:00Z")})})
            .ok());
  }
  auto history = History::Open(path_);
  ASSERT_TRUE(history.ok());
  EXPECT_EQ(Values(*history, "a"), std::vector<double>{1});
}

TEST_F(HistoryTest, ACopyOfAMeasurementCountsOnce) {
  const Measurement measurement =
      MakeMeasurement("a", 1, "2026-11-01T00:00:00Z");
  auto history = History::Open(":memory:");
  ASSERT_TRUE(history.ok());
  ASSERT_TRUE(history
                  ->Rebuild({MakeResult("c", {measurement}),
                             MakeResult("c", {measurement})})
                  .ok());
  EXPECT_EQ(Values(*history, "a").size(), 1);
}

TEST_F(HistoryTest, OtherVersionsPapersAndClaimsAreApart) {
  Measurement old_version = MakeMeasurement("a", 1, "2026-11-01T00:00:00Z");
  old_version.set_claim_version(0);
  Measurement other_paper = MakeMeasurement("a", 2, "2026-11-01T00:00:00Z");
  other_paper.set_paper("based");
  auto history = History::Open(":memory:");
  ASSERT_TRUE(history.ok());
  ASSERT_TRUE(history
                  ->Rebuild({MakeResult(
                      "c", {old_version, other_paper,
                            MakeMeasurement("b", 3, "2026-11-01T00:00:00Z"),
                            MakeMeasurement("a", 4, "2026-11-01T00:00:00Z")})})
                  .ok());
  EXPECT_EQ(Values(*history, "a"), std::vector<double>{4});
}

TEST_F(HistoryTest, NamesAreDataAndNotSql) {
  const std::string name = "a'; DROP TABLE measurement; --";
  auto history = History::Open(":memory:");
  ASSERT_TRUE(history.ok());
  ASSERT_TRUE(history
                  ->Rebuild({MakeResult(
                      "c", {MakeMeasurement(name, 7, "2026-11-01T00:00:00Z")})})
                  .ok());
  EXPECT_EQ(Values(*history, name), std::vector<double>{7});
}

TEST_F(HistoryTest, KeepsNanAndInfinity) {
  auto history = History::Open(":memory:");
  ASSERT_TRUE(history.ok());
  ASSERT_TRUE(history
                  ->Rebuild({MakeResult(
                      "c", {MakeMeasurement("a", kNan, "2026-11-01T00:00:00Z"),
                            MakeMeasurement(
                                "a", -std::numeric_limits<double>::infinity(),
                                "2026-11-02T00:00:00Z")})})
                  .ok());
  const std::vector<double> values = Values(*history, "a");
  ASSERT_EQ(values.size(), 2);
  EXPECT_TRUE(std::isnan(values[0]));
  EXPECT_EQ(values[1], -std::numeric_limits<double>::infinity());
}

TEST_F(HistoryTest, EmptyHistoryHasNoMeasurements) {
  auto history = History::Open(path_);
  ASSERT_TRUE(history.ok());
  EXPECT_TRUE(Values(*history, "a").empty());
}

TEST_F(HistoryTest, AFileThatIsNoDatabaseIsReplaced) {
  std::ofstream(path_) << std::string(4096, 'x');
  auto history = History::Open(path_);
  ASSERT_TRUE(history.ok()) << history.status();
  EXPECT_TRUE(Values(*history, "a").empty());
}

TEST_F(HistoryTest, ADamagedDatabaseIsReplaced) {
  {
    auto history = History::Open(path_);
    ASSERT_TRUE(history.ok());
    std::vector<Measurement> many;
    for (int i = 0; i < 2000; ++i) {
      many.push_back(
          MakeMeasurement(absl::StrCat("claim", i), i, "2026-11-01T00:00:00Z"));
    }
    ASSERT_TRUE(history->Rebuild({MakeResult("c", many)}).ok());
  }
  ASSERT_GT(fs::file_size(path_), 40000);
  {
    // The header stays sound, the pages behind it do not.
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(8192);
    file << std::string(20000, '\x5a');
  }
  auto history = History::Open(path_);
  ASSERT_TRUE(history.ok()) << history.status();
  EXPECT_TRUE(Values(*history, "claim1").empty());
  ASSERT_TRUE(history
                  ->Rebuild({MakeResult(
                      "c", {MakeMeasurement("a", 1, "2026-11-01T00:00:00Z")})})
                  .ok());
  EXPECT_EQ(Values(*history, "a"), std::vector<double>{1});
}

TEST_F(HistoryTest, ATruncatedDatabaseIsReplaced) {
  {
    auto history = History::Open(path_);
    ASSERT_TRUE(history.ok());
  }
  fs::resize_file(path_, fs::file_size(path_) / 2 + 100);
  auto history = History::Open(path_);
  ASSERT_TRUE(history.ok()) << history.status();
  EXPECT_TRUE(Values(*history, "a").empty());
}

TEST_F(HistoryTest, ADatabaseOfAnotherVersionIsReplaced) {
  sqlite3* database = nullptr;
  ASSERT_EQ(sqlite3_open(path_.c_str(), &database), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(database,
                         "CREATE TABLE measurement (old TEXT);"
                         "PRAGMA user_version = 999;",
                         nullptr, nullptr, nullptr),
            SQLITE_OK);
  sqlite3_close(database);
  auto history = History::Open(path_);
  ASSERT_TRUE(history.ok()) << history.status();
  EXPECT_TRUE(Values(*history, "a").empty());
}

TEST_F(HistoryTest, AMissingFolderIsAnErrorThatNamesThePath) {
  const std::string path = (folder_ / "nowhere" / "history.sqlite").string();
  const auto history = History::Open(path);
  ASSERT_FALSE(history.ok());
  EXPECT_THAT(std::string(history.status().message()), HasSubstr(path));
}

}  // namespace
}  // namespace repro
