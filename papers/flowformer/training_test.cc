#include "papers/flowformer/training.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/data/ts.h"
#include "common/tensor/device.h"
#include "common/tensor/testing.h"

namespace repro::flowformer {
namespace {

using ::testing::HasSubstr;

constexpr char kHeader[] =
    "@problemName Toy\n@timeStamps false\n@univariate false\n"
    "@classLabel true up down\n@data\n";

SeriesProblem Toy() {
  // Class up rises, class down falls; lengths differ.
  std::string train = kHeader, test = kHeader;
  for (int i = 0; i < 24; ++i) {
    const double a = 0.1 * (i % 7);
    absl::StrAppend(i % 3 == 2 ? &test : &train, a, ",", a + 1, ",", a + 2,
                    i % 2 == 0 ? ",3:" : ":", "1,1,1", i % 2 == 0 ? ",1" : "",
                    ":up\n");
    absl::StrAppend(i % 3 == 2 ? &test : &train, a + 2, ",", a + 1, ",", a,
                    ":2,1,1:down\n");
  }
  return *PrepareSeries(*ParseTs(train, "train"), *ParseTs(test, "test"));
}

TEST(SeriesDataTest, StandardisesPadsAndCuts) {
  const auto train =
      ParseTs(absl::StrCat(kHeader, "1,2:0,4:up\n3:8:down\n"), "train");
  const auto test =
      ParseTs(absl::StrCat(kHeader, "4,2,9:4,4,9:down\n"), "test");
  const auto problem = PrepareSeries(*train, *test);
  ASSERT_TRUE(problem.ok()) << problem.status();
  EXPECT_EQ(problem->max_len, 2);
  EXPECT_EQ(problem->train.steps, 3);
  EXPECT_EQ(problem->test.steps, 3);
  // Values 1, 2, 3: mean 2, std 1; 0, 4, 8: mean 4, std 4.
  EXPECT_EQ(problem->mean, (std::vector<double>{2, 4}));
  EXPECT_EQ(problem->std, (std::vector<double>{1, 4}));
  EXPECT_THAT(
      problem->train.x,
      IsCloseTo(at::tensor({-1., -1., 0., 0., 1., 1., 0., 0.}).view({2, 2, 2}),
                1e-6, 1e-6));
  EXPECT_THAT(problem->train.mask,
              IsCloseTo(at::tensor({1., 1., 1., 0.}).view({2, 2}), 0, 0));
  // The third step of the test series is cut.
  EXPECT_THAT(
      problem->test.x,
      IsCloseTo(at::tensor({2., 0., 0., 0.}).view({1, 2, 2}), 1e-6, 1e-6));
  EXPECT_EQ(problem->test.labels.item<int64_t>(), 1);
}

TEST(SeriesDataTest, RefusesWhatDoesNotFit) {
  const auto good = ParseTs(absl::StrCat(kHeader, "1,2:0,4:up\n"), "good");
  const auto one = ParseTs(absl::StrCat(kHeader, "1,2:up\n"), "one");
  const auto missing = ParseTs(absl::StrCat(kHeader, "1,?:0,4:up\n"), "m");
  EXPECT_EQ(PrepareSeries(*good, *one).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(PrepareSeries(*good, *missing).status().message()),
              HasSubstr("series 1 has a missing value"));
  const auto short_set = ParseTs(absl::StrCat(kHeader, "1:0:up\n"), "short");
  EXPECT_THAT(
      std::string(PrepareSeries(*short_set, *short_set).status().message()),
      HasSubstr("standard deviation"));
}

TEST(SeriesDataTest, BaselinesWithoutAModel) {
  const SeriesProblem toy = Toy();
  EXPECT_EQ(MajorityShare(toy), 0.5);
  EXPECT_EQ(NearestMeanAccuracy(toy), 1);
}

SeriesTraining SmallTraining() {
  // Models this small lose by a second thread.
  ConfigureTorch(/*threads=*/1, /*deterministic=*/true);
  SeriesTraining options;
  options.epochs = 30;
  options.batch_size = 5;
  options.rate = 3e-3;
  options.model.dim = 16;
  options.model.heads = 2;
  options.model.hidden = 32;
  return options;
}

TEST(TrainingTest, LearnsAnEasySeriesTaskAndRepeatsIt) {
  const SeriesProblem toy = Toy();
  RunContext context;
  context.seed = 3;
  for (const std::string name : {"flow", "softmax", "linear", "cosformer"}) {
    const AttentionChoice choice =
        *AttentionChoice::Named(name, FlowOptions::TimeSeries());
    const auto a = TrainSeriesClassifier(toy, choice, SmallTraining(), context);
    const auto b = TrainSeriesClassifier(toy, choice, SmallTraining(), context);
    ASSERT_TRUE(a.ok()) << a.status();
    EXPECT_GE(a->last, 0.9) << name;
    EXPECT_GE(a->best, a->last);
    EXPECT_EQ(a->last, b->last);
    EXPECT_EQ(a->best, b->best);
  }
}

TEST(TrainingTest, Cancels) {
  RunContext context;
  context.cancelled = [] { return true; };
  EXPECT_EQ(TrainSeriesClassifier(Toy(), *AttentionChoice::Named("flow", {}),
                                  SmallTraining(), context)
                .status()
                .code(),
            absl::StatusCode::kCancelled);
}

TEST(TrainingTest, CharGptLearnsARepeatedText) {
  ConfigureTorch(1, true);
  std::string text;
  while (text.size() < 3000) text += "abcdefgh ";
  const CharData data = IndexCharacters(text);
  EXPECT_EQ(data.vocabulary, 9);
  EXPECT_THAT(data.tokens.narrow(0, 0, 9),
              IsCloseTo(at::tensor({1, 2, 3, 4, 5, 6, 7, 8, 0}), 0, 0));
  CharGptTraining options;
  options.block_size = 16;
  options.batch_size = 8;
  options.steps = 60;
  options.rate = 1e-2;
  options.validation_windows = 8;
  const auto loss = TrainCharGpt(
      data, *AttentionChoice::Named("flow", FlowOptions::Core()), options, {});
  ASSERT_TRUE(loss.ok()) << loss.status();
  EXPECT_LT(*loss, 0.3);  // log(9) = 2.2 for a guess
  EXPECT_FALSE(TrainCharGpt(IndexCharacters("too short"),
                            *AttentionChoice::Named("flow", {}), options, {})
                   .ok());
}

TEST(TrainingTest, ListOpsRuns) {
  ConfigureTorch(1, true);
  ListOpsTraining options;
  options.task.min_length = 3;
  options.task.max_length = 12;
  options.train_examples = 64;
  options.test_examples = 16;
  options.steps = 20;
  options.batch_size = 8;
  options.warmup = 10;
  options.model.dim = 16;
  options.model.hidden = 32;
  const ListOpsData data = MakeListOpsData(options, 5, at::Device(at::kCPU));
  EXPECT_EQ(data.train_tokens.sizes(), at::IntArrayRef({64, 11}));
  EXPECT_EQ(data.test_values.sizes(), at::IntArrayRef({16}));
  const auto accuracy =
      TrainListOps(data, *AttentionChoice::Named("flow", {}), options, {});
  ASSERT_TRUE(accuracy.ok()) << accuracy.status();
  EXPECT_GE(accuracy->best, accuracy->last);
  EXPECT_LE(accuracy->best, 1);
}

}  // namespace
}  // namespace repro::flowformer
