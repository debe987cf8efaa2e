#include "papers/effi_code/study.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "common/exec/namespaces_permitted.h"

namespace repro::effi_code {
namespace {

Study Tiny() {
  Study study = Study::Small();
  study.model.dim = 16;
  study.model.num_layers = 1;
  study.model.num_heads = 2;
  study.model.ffn_dim = 32;
  study.vocab_size = 300;
  study.test_tasks = 4;
  study.tuning_tasks = 12;
  study.pretraining_steps = 3;
  study.pretraining_batch = 4;
  study.tuning_batch = 4;
  return study;
}

TEST(StudyTest, TasksAreDisjoint) {
  const Study study = Study::Small();
  const auto tasks = DrawStudyTasks(study, 3);
  ASSERT_TRUE(tasks.ok()) << tasks.status();
  EXPECT_EQ(tasks->test.size(), 120u);
  EXPECT_EQ(tasks->tuning.size(), 400u);
  EXPECT_EQ(tasks->pretraining.size(), 1560u - 520u);
  std::set<std::string> programs;
  for (const auto* part : {&tasks->pretraining, &tasks->tuning, &tasks->test}) {
    for (const Recipe& recipe : *part) {
      programs.insert(ProgramOf(recipe, Form::kSlow));
    }
  }
  EXPECT_EQ(programs.size(), 1560u);
  EXPECT_EQ(tasks->meanings.size(), 520u);
  EXPECT_EQ(DrawStudyTasks(study, 3)->test_texts, tasks->test_texts);
  EXPECT_NE(DrawStudyTasks(study, 4)->test_texts, tasks->test_texts);
  Study large = study;
  large.tuning_tasks = 1500;
  EXPECT_EQ(DrawStudyTasks(large, 0).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(StudyTest, OutcomesByHand) {
  StudyOutcome outcome;
  for (const Arm arm : AllArms()) outcome.costs[arm] = {-1, -1, -1, -1};
  outcome.canonical = {10, 10, 20, 10};
  outcome.costs[Arm::kAll] = {10, 20, -1, 30};
  outcome.costs[Arm::kBefore] = {40, -1, 40, 20};
  EXPECT_EQ(outcome.PassAt1(Arm::kAll), 75);
  EXPECT_EQ(outcome.PassAt1(Arm::kHalf), 0);
  // On the first and the last task.
  EXPECT_EQ(outcome.NormalizedCost(Arm::kAll, Arm::kBefore), 2);
  EXPECT_EQ(outcome.NormalizedCost(Arm::kBefore, Arm::kAll), 3);
  EXPECT_TRUE(std::isnan(outcome.NormalizedCost(Arm::kHalf, Arm::kAll)));

  const auto again = StudyOutcome::FromNumbers(outcome.Numbers(), 4);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->costs, outcome.costs);
  EXPECT_EQ(again->canonical, outcome.canonical);
  EXPECT_FALSE(StudyOutcome::FromNumbers({1, 2, 3}, 4).ok());
  EXPECT_FALSE(StudyOutcome::FromNumbers({}, 0).ok());
}

TEST(StudyTest, Names) {
  for (const Arm arm : AllArms()) EXPECT_EQ(*ParseArm(ArmName(arm)), arm);
  EXPECT_FALSE(ParseArm("tenth").ok());
}

TEST(StudyTest, PipelineImprovesWhatItKeeps) {
  const absl::Status permitted = exec::NamespacesPermitted();
  if (!permitted.ok()) GTEST_SKIP() << permitted;
  const Study study = Tiny();
  const auto tasks = DrawStudyTasks(study, 0);
  const auto data = StudyDataset(study, *tasks, 0, 1);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->collected, 12);
  EXPECT_EQ(data->tested, 12);
  ASSERT_GT(data->pairs.size(), 0u);
  for (const TrainingPair& pair : data->pairs) {
    EXPECT_LT(pair.after.time, pair.before.time);
    EXPECT_NE(pair.optimized, pair.original);
  }
}

TEST(StudyTest, RunsFromEndToEndAndRepeats) {
  const absl::Status permitted = exec::NamespacesPermitted();
  if (!permitted.ok()) GTEST_SKIP() << permitted;
  const Study study = Tiny();
  Grid grid;
  grid.seeds = {7};
  grid.checkpoint_dir = ::testing::TempDir();
  const auto first =
      RunStudy(study, {Start::kBase}, 1, c10::Device(c10::kCPU), grid);
  ASSERT_TRUE(first.ok()) << first.status();
  const StudyOutcome& outcome = first->at(Start::kBase)[0];
  EXPECT_EQ(outcome.costs.size(), AllArms().size());
  for (const double cost : outcome.canonical) EXPECT_GT(cost, 0);
  // Another name, so that nothing is taken from the checkpoints.
  Grid other = grid;
  other.checkpoint_dir = ::testing::TempDir() + "/again";
  ASSERT_EQ(system(("mkdir -p " + other.checkpoint_dir).c_str()), 0);
  const auto second =
      RunStudy(study, {Start::kBase}, 1, c10::Device(c10::kCPU), other);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->at(Start::kBase)[0].Numbers(), outcome.Numbers());

  grid.cancelled = [] { return true; };
  EXPECT_EQ(RunStudy(study, {Start::kInstruct}, 1, c10::Device(c10::kCPU), grid)
                .status()
                .code(),
            absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace repro::effi_code
