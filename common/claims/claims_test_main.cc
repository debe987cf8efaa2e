// The claims_test of a paper: measures every claim whose experiment fits the
// test budget and compares with ci/baselines/<paper>.json.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <iostream>
#include <string>

#include "common/claims/baseline.h"
#include "common/claims/compare.h"
#include "common/claims/experiment.h"
#include "common/claims/runner.h"
#include "common/claims/verdict.h"
#include "common/tensor/device.h"

namespace repro {
namespace {

// Longer experiments are recorded by hand and compared by `repro compare`.
constexpr double kMaxExperimentSeconds = 60;

class PrintingObserver : public RunObserver {
 public:
  void ExperimentStarted(const PlannedExperiment& planned) override {
    std::cout << "experiment " << planned.experiment->id() << std::endl;
  }
  void Measured(const Measurement& m) override {
    std::cout << "  " << m.claim() << ": reported " << m.reported()
              << ", measured " << m.value() << " " << m.unit() << ": "
              << VerdictName(m.verdict()) << " (" << m.reason() << ")\n";
  }
  void Notice(absl::string_view text) override { std::cout << text << "\n"; }
};

const Paper& OnlyPaper() { return Registry::Global().papers().begin()->second; }

TEST(ClaimsTest, EveryExperimentIsDeclaredAndRegistered) {
  ASSERT_EQ(Registry::Global().papers().size(), 1u);
  EXPECT_EQ(Registry::Global().Check().message(), "");
}

TEST(ClaimsTest, NoVerdictIsWorseThanTheBaseline) {
  const Paper& paper = OnlyPaper();
  RunOptions options;
  options.papers = {paper.slug()};
  options.max_experiment_seconds = kMaxExperimentSeconds;
  options.out_dir = ::testing::TempDir();
  options.offline = true;  // tests read what is there
  const auto plan = MakePlan(Registry::Global(), options);
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  std::atomic<bool> stop{false};
  PrintingObserver observer;
  const auto result =
      ExecutePlan(Registry::Global(), *plan, options, {}, stop, observer);
  ASSERT_TRUE(result.ok()) << result.status().message();

  int missing_assets = 0;
  for (const Skipped& skipped : result->skipped()) {
    EXPECT_FALSE(skipped.failed())
        << skipped.claim() << ": " << skipped.reason();
    missing_assets += skipped.needs_asset();
  }
  std::cout << result->measurements_size() << " of " << paper.claims_size()
            << " claims measured, " << missing_assets
            << " lack an asset on this machine\n";
  // Some papers' claims all need an asset.
  EXPECT_GT(result->measurements_size() + missing_assets, 0);

  const auto baseline = ReadBaseline("ci/baselines", paper.slug());
  ASSERT_TRUE(baseline.ok()) << baseline.status().message();
  for (const ClaimChange& change :
       CompareResults(*baseline, *result, {paper})) {
    EXPECT_NE(change.change, Change::kRegressed)
        << change.claim << ": " << change.detail;
    EXPECT_NE(change.change, Change::kNew)
        << change.claim << " has no baseline: run `./repro run " << paper.slug()
        << "` and `./repro compare RESULT --baseline --update`";
  }
}

}  // namespace
}  // namespace repro

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  // Bazel runs a test on each core.
  repro::ConfigureTorch(/*threads=*/1, /*deterministic=*/false);
  return RUN_ALL_TESTS();
}
