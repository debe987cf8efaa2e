#include "common/claims/runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "common/claims/baseline.h"
#include "common/claims/paper.h"
#include "common/claims/result_store.h"
#include "common/status/machine_lacks.h"

namespace repro {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr char kToy[] = R"pb(
  slug: "toy"
  title: "A toy"
  authors: "A. Author"
  assets { name: "gone" how_to_get: "nowhere" }
  experiments { id: "fast" description: "d" seconds: 1 default_run: true }
  experiments { id: "slow" description: "d" seconds: 100 seeds: 3 }
  experiments { id: "broken" description: "d" seconds: 1 }
  experiments { id: "elsewhere" description: "d" seconds: 1 }
  experiments { id: "with_asset" description: "d" seconds: 1 assets: "gone" }
  experiments { id: "on_gpu" description: "d" seconds: 1 requires_cuda: true }
  claims {
    id: "t1/a"
    table: "1"
    metric: "m"
    reported: "1"
    evidence: EXACT
    origin: PAPER
    experiment: "fast"
    args { key: "v" value: "1" }
  }
  claims {
    id: "t1/b"
    table: "1"
    metric: "m"
    reported: "2"
    evidence: EXACT
    origin: PAPER
    experiment: "fast"
    args { key: "v" value: "3" }
  }
  claims {
    id: "t2/slow"
    table: "2"
    metric: "m"
    reported: "1"
    evidence: SCALED
    origin: PAPER
    experiment: "slow"
    criterion {
      statement: "above 0"
      effect { at_least: 0 }
    }
  }
  claims {
    id: "t2/broken"
    table: "2"
    metric: "m"
    reported: "1"
    evidence: EXACT
    origin: PAPER
    experiment: "broken"
  }
  claims {
    id: "t2/elsewhere"
    table: "2"
    metric: "m"
    reported: "1"
    evidence: EXACT
    origin: PAPER
    experiment: "elsewhere"
  }
  claims {
    id: "t2/asset"
    table: "2"
    metric: "m"
    reported: "1"
    evidence: REPLAY
    origin: PAPER
    experiment: "with_asset"
  }
  claims {
    id: "t2/gpu"
    table: "2"
    metric: "m"
    reported: "1"
    evidence: EXACT
    origin: PAPER
    experiment: "on_gpu"
  }
  claims {
    id: "t3/blocked"
    table: "3"
    metric: "m"
    reported: "1"
    evidence: BLOCKED
    origin: PAPER
    blocker { asset: "ImageNet" size: "150 GB" granted_by: "x" }
  }
)pb";

class RunnerTest : public ::testing::Test {
 protected:
  RunnerTest() {
    const auto paper = ParsePaper(kToy, "toy");
    EXPECT_TRUE(paper.ok()) << paper.status();
    registry_.AddPaper(*paper);
    registry_.AddExperiment("toy", "fast", [this](ExperimentRun& run) {
      ++fast_runs_;
      model_spec_ = run.model_spec();
      for (const Claim* claim : run.claims()) {
        const auto value = run.DoubleArg(*claim, "v");
        if (!value.ok()) return value.status();
        run.Record(*claim, *value);
      }
      return absl::OkStatus();
    });
    registry_.AddExperiment("toy", "slow", [this](ExperimentRun& run) {
      ++slow_runs_;
      // As a long experiment does: leave something to go on from, and stop if
      // asked.
      std::ofstream(run.checkpoint_dir() + "/step") << 7;
      if (stop_.load()) return absl::CancelledError("stopped");
      Observation observation;
      for (const uint64_t seed : run.seeds()) {
        observation.samples.push_back(1.0 + seed);
      }
      run.Record(*run.claims()[0], observation);
      return absl::OkStatus();
    });
    registry_.AddExperiment("toy", "broken",
                            [](ExperimentRun&) -> absl::Status {
                              throw std::runtime_error("shape [2, 3]");
                            });
    registry_.AddExperiment("toy", "elsewhere", [](ExperimentRun&) {
      return MachineLacksError("no sandbox can be made here");
    });
    registry_.AddExperiment("toy", "with_asset",
                            [](ExperimentRun&) { return absl::OkStatus(); });
    registry_.AddExperiment("toy", "on_gpu",
                            [](ExperimentRun&) { return absl::OkStatus(); });
    options_.out_dir =
        ::testing::TempDir() + "/" +
        ::testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(options_.out_dir);
    options_.papers = {"toy"};
    options_.offline = true;
  }

  Result Run() {
    const auto plan = MakePlan(registry_, options_);
    EXPECT_TRUE(plan.ok()) << plan.status();
    const auto result =
        ExecutePlan(registry_, *plan, options_, {}, stop_, observer_);
    EXPECT_TRUE(result.ok()) << result.status();
    return *result;
  }

  static std::string ReasonOf(const Result& result, const std::string& claim) {
    for (const Skipped& skipped : result.skipped()) {
      if (skipped.claim() == claim) return skipped.reason();
    }
    return "not skipped";
  }

  Registry registry_;
  RunOptions options_;
  RunObserver observer_;
  std::atomic<bool> stop_{false};
  int fast_runs_ = 0, slow_runs_ = 0;
  std::string model_spec_;
};

TEST_F(RunnerTest, MeasuresAndJudges) {
  const Result result = Run();
  EXPECT_TRUE(result.complete());
  ASSERT_EQ(result.measurements_size(), 3);
  EXPECT_EQ(result.measurements(0).verdict(), REPRODUCED);
  EXPECT_EQ(result.measurements(1).verdict(), DIFFERS);
  const Measurement& slow = result.measurements(2);
  EXPECT_EQ(slow.value(), 2);  // seeds 0, 1, 2
  EXPECT_EQ(slow.seeds_size(), 3);
  EXPECT_NEAR(slow.interval().low(), 2 - 4.302653 / std::sqrt(3), 1e-5);
  EXPECT_EQ(slow.verdict(), DIFFERS);  // the interval reaches below 0
}

TEST_F(RunnerTest, RecordsByName) {
  std::map<std::string, double> values = {{"1", 1}, {"3", 2}};
  absl::Status status;
  Paper paper = registry_.papers().at("toy");
  paper.mutable_experiments(0)->set_id("by_name");
  paper.mutable_claims(0)->set_experiment("by_name");
  paper.mutable_claims(1)->set_experiment("by_name");
  paper.set_slug("names");
  registry_.AddPaper(paper);
  registry_.AddExperiment("names", "by_name", [&](ExperimentRun& run) {
    return status = RecordByName(run, "v", values);
  });
  options_.papers = {"names"};
  options_.claim_globs = {"t1/*"};
  const Result result = Run();
  EXPECT_TRUE(status.ok()) << status;
  ASSERT_EQ(result.measurements_size(), 2);
  EXPECT_EQ(result.measurements(0).value(), 1);
  EXPECT_EQ(result.measurements(1).value(), 2);

  values.erase("3");
  Run();
  EXPECT_THAT(status.message(), testing::HasSubstr("t1/b: no v \"3\""));
}

TEST_F(RunnerTest, SaysWhyAClaimWasLeftOut) {
  const Result result = Run();
  EXPECT_EQ(ReasonOf(result, "t2/broken"), "failed: shape [2, 3]");
  EXPECT_EQ(ReasonOf(result, "t2/elsewhere"), "no sandbox can be made here");
  for (const Skipped& skipped : result.skipped()) {
    EXPECT_EQ(skipped.failed(), skipped.claim() == "t2/broken");
  }
  EXPECT_THAT(ReasonOf(result, "t2/asset"), HasSubstr("gone"));
  EXPECT_THAT(ReasonOf(result, "t2/gpu"), HasSubstr("CUDA"));
  EXPECT_THAT(ReasonOf(result, "t3/blocked"), HasSubstr("ImageNet, 150 GB"));
}

TEST_F(RunnerTest, TheResultFileHoldsTheResult) {
  const Result result = Run();
  const auto read = ReadResult(ResultPath(options_.out_dir, result));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->SerializeAsString(), result.SerializeAsString());
}

TEST_F(RunnerTest, DefaultSetAndGlobs) {
  options_.papers.clear();
  EXPECT_EQ(Run().measurements_size(), 2);  // of the default experiment
  options_.claim_globs = {"toy/t2/s*"};
  EXPECT_EQ(Run().measurements_size(), 1);
  options_.claim_globs = {"t1/c"};
  const auto plan = MakePlan(registry_, options_);
  EXPECT_EQ(plan.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(plan.status().message()), HasSubstr("t1/a"));
}

TEST_F(RunnerTest, AnUnknownPaperSuggestsTheNearest) {
  options_.papers = {"tyo"};
  const auto plan = MakePlan(registry_, options_);
  EXPECT_THAT(std::string(plan.status().message()),
              HasSubstr("did you mean toy?"));
}

TEST_F(RunnerTest, BudgetTakesTheCheapestAndListsTheRest) {
  options_.budget_seconds = 50;
  const Result result = Run();
  EXPECT_EQ(result.measurements_size(), 2);
  EXPECT_THAT(ReasonOf(result, "t2/slow"), HasSubstr("outside the budget"));
}

TEST_F(RunnerTest, ResumeGoesOnWhereAStoppedRunWas) {
  options_.claim_globs = {"t1/*", "t2/slow"};
  // The stop comes while the second experiment runs.
  class StopAfterFast : public RunObserver {
   public:
    explicit StopAfterFast(std::atomic<bool>& stop) : stop_(stop) {}
    void ExperimentStarted(const PlannedExperiment& planned) override {
      if (planned.experiment->id() == "slow") stop_.store(true);
    }

   private:
    std::atomic<bool>& stop_;
  } observer(stop_);
  const auto plan = MakePlan(registry_, options_);
  ASSERT_TRUE(plan.ok());
  const auto stopped =
      ExecutePlan(registry_, *plan, options_, {}, stop_, observer);
  ASSERT_TRUE(stopped.ok());
  EXPECT_FALSE(stopped->complete());
  EXPECT_EQ(stopped->measurements_size(), 2);
  EXPECT_TRUE(fs::exists(options_.out_dir + "/checkpoints/toy/slow/step"));

  stop_.store(false);
  options_.resume = true;
  const Result resumed = Run();
  EXPECT_EQ(resumed.id(), stopped->id());
  EXPECT_TRUE(resumed.complete());
  EXPECT_EQ(resumed.measurements_size(), 3);
  EXPECT_EQ(fast_runs_, 1);
  EXPECT_EQ(slow_runs_, 2);
  EXPECT_FALSE(fs::exists(options_.out_dir + "/checkpoints/toy/slow"));
}

TEST_F(RunnerTest, ResumeIgnoresAnotherRequest) {
  stop_.store(true);
  Run();
  stop_.store(false);
  options_.resume = true;
  options_.num_seeds = 5;
  Run();
  EXPECT_EQ(ListResults(ResultsFolder(options_.out_dir)).size(), 2u);
}

TEST_F(RunnerTest, TheModelIsOfTheRequestAndOfTheResult) {
  EXPECT_EQ(Run().model_spec(), "local");
  EXPECT_EQ(model_spec_, "local");
  stop_.store(true);
  Run();
  stop_.store(false);
  options_.resume = true;
  options_.model_spec = "replay:answers";
  const Result result = Run();  // another request: nothing to go on with
  EXPECT_EQ(ListResults(ResultsFolder(options_.out_dir)).size(), 3u);
  EXPECT_EQ(model_spec_, "replay:answers");
  EXPECT_EQ(result.model_spec(), "replay:answers");
  const auto read = ReadResult(ResultPath(options_.out_dir, result));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->model_spec(), "replay:answers");
}

TEST_F(RunnerTest, AnOutputFolderThatCannotBeMadeIsAnError) {
  options_.out_dir = "/proc/repro";
  const auto plan = MakePlan(registry_, options_);
  const auto result =
      ExecutePlan(registry_, *plan, options_, {}, stop_, observer_);
  EXPECT_THAT(std::string(result.status().message()), HasSubstr("--out"));
}

TEST(ResultStoreTest, RejectsWhatIsNotAResult) {
  const std::string path = ::testing::TempDir() + "/result.json";
  for (const char* text : {"", "{", "[]", "{}", "{\"schema_version\": \"x\"}",
                           "{\"measurements\": [{\"value\": \"abc\"}]}"}) {
    std::ofstream(path) << text;
    const auto result = ReadResult(path);
    EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument)
        << text;
    EXPECT_THAT(std::string(result.status().message()), HasSubstr(path));
  }
  EXPECT_EQ(ReadResult(path + ".none").status().code(),
            absl::StatusCode::kNotFound);
}

TEST(ResultStoreTest, SaysThatANewerSchemaNeedsANewerProgram) {
  const std::string path = ::testing::TempDir() + "/newer.json";
  std::ofstream(path) << R"({"schema_version": 99, "quantum": {"a": 1}})";
  const auto result = ReadResult(path);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(result.status().message()), HasSubstr("newer"));
}

TEST(ResultStoreTest, NanAndIntervalsSurvive) {
  Result result;
  result.set_schema_version(1);
  Measurement* m = result.add_measurements();
  m->set_value(NAN);
  m->mutable_interval()->set_high(1e300);
  m->add_seeds(~uint64_t{0});
  const std::string path = ::testing::TempDir() + "/nan.json";
  ASSERT_TRUE(WriteResult(result, path).ok());
  const auto read = ReadResult(path);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(std::isnan(read->measurements(0).value()));
  EXPECT_EQ(read->measurements(0).interval().high(), 1e300);
  EXPECT_EQ(read->measurements(0).seeds(0), ~uint64_t{0});
}

TEST(BaselineTest, UpdateKeepsWhatWasNotMeasured) {
  const std::string folder = ::testing::TempDir() + "/baselines";
  fs::create_directories(folder);
  const auto result_of = [](const std::string& claim, double value) {
    Result result;
    Measurement* m = result.add_measurements();
    m->set_paper("toy");
    m->set_claim(claim);
    m->set_value(value);
    return result;
  };
  EXPECT_FALSE(ReadBaseline(folder).ok());
  ASSERT_TRUE(UpdateBaseline(result_of("b", 1), folder).ok());
  ASSERT_TRUE(UpdateBaseline(result_of("a", 2), folder).ok());
  ASSERT_TRUE(UpdateBaseline(result_of("b", 3), folder).ok());
  const auto baseline = ReadBaseline(folder, "toy");
  ASSERT_TRUE(baseline.ok()) << baseline.status();
  ASSERT_EQ(baseline->measurements_size(), 2);
  EXPECT_EQ(baseline->measurements(0).claim(), "a");
  EXPECT_EQ(baseline->measurements(1).value(), 3);
}

}  // namespace
}  // namespace repro
