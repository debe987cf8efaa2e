#include "common/train/trainer.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "common/nn/layers.h"
#include "common/tensor/generator.h"
#include "common/tensor/testing.h"
#include "common/train/checkpoint.h"
#include "common/train/metrics_log.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

// A new empty folder for each test.
std::string Folder() {
  std::string pattern = testing::TempDir() + "/trainer_XXXXXX";
  EXPECT_NE(mkdtemp(pattern.data()), nullptr);
  return pattern;
}

std::string ReadAll(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

void WriteAll(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

bool Exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

Checkpoint Example() {
  Checkpoint checkpoint;
  checkpoint.tensors["a.b"] = at::randn({3, 4}, MakeGenerator(1), at::kDouble);
  checkpoint.tensors["empty"] = at::zeros({0, 2});
  checkpoint.tensors["scalar"] = at::full({}, 7, at::kLong);
  checkpoint.texts["identity"] = "line\nanother \"quoted\"";
  return checkpoint;
}

TEST(CheckpointTest, ComesBackAsItWas) {
  const std::string path = Folder() + "/c";
  Checkpoint written = Example();
  written.tensors["transposed"] =
      at::randn({3, 4}, MakeGenerator(2), at::TensorOptions()).t();
  ASSERT_TRUE(WriteCheckpoint(path, written).ok());
  const absl::StatusOr<Checkpoint> read = ReadCheckpoint(path);
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_EQ(read->tensors.size(), written.tensors.size());
  for (const auto& [name, tensor] : written.tensors) {
    EXPECT_THAT(read->tensors.at(name), IsIdenticalTo(tensor)) << name;
  }
  EXPECT_EQ(read->texts, written.texts);
  EXPECT_FALSE(Exists(path + ".tmp"));
}

TEST(CheckpointTest, EveryTruncationIsDataLoss) {
  const std::string path = Folder() + "/c";
  ASSERT_TRUE(WriteCheckpoint(path, Example()).ok());
  const std::string bytes = ReadAll(path);
  for (size_t size : {size_t{0}, size_t{1}, size_t{100}, bytes.size() / 2,
                      bytes.size() - 30, bytes.size() - 1}) {
    WriteAll(path, bytes.substr(0, size));
    const absl::Status status = ReadCheckpoint(path).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << size << status;
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr(path), HasSubstr("delete it")));
  }
  WriteAll(path, "not a checkpoint at all");
  EXPECT_EQ(ReadCheckpoint(path).status().code(), absl::StatusCode::kDataLoss);
}

TEST(CheckpointTest, AlteredTensorIsDataLoss) {
  const std::string path = Folder() + "/c";
  Checkpoint checkpoint;
  checkpoint.tensors["a"] = at::full({100}, 1.5, at::kDouble);
  ASSERT_TRUE(WriteCheckpoint(path, checkpoint).ok());
  std::string bytes = ReadAll(path);
  const double value = 1.5;
  const std::string pattern(reinterpret_cast<const char*>(&value), 8);
  const size_t at = bytes.find(pattern + pattern);
  ASSERT_NE(at, std::string::npos);
  bytes[at + 6] ^= 1;
  WriteAll(path, bytes);
  EXPECT_EQ(ReadCheckpoint(path).status().code(), absl::StatusCode::kDataLoss);
}

TEST(CheckpointTest, MissingFileAndFolder) {
  EXPECT_EQ(ReadCheckpoint("/no/such/file").status().code(),
            absl::StatusCode::kNotFound);
  const absl::Status status = WriteCheckpoint("/no/such/file", Example());
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("/no/such/file"));
}

TEST(MetricsLogTest, KeepsLinesUpToAStep) {
  const std::string path = Folder() + "/m";
  {
    absl::StatusOr<MetricsLog> log = MetricsLog::Open(path, -1);
    ASSERT_TRUE(log.ok()) << log.status();
    log->Append(1, "loss", 0.25);
    log->Append(2, "loss", std::nan(""));
    log->Append(3, "loss", 1e-17);
    ASSERT_TRUE(log->Flush().ok());
  }
  EXPECT_EQ(ReadAll(path),
            "{\"step\":1,\"name\":\"loss\",\"value\":0.25}\n"
            "{\"step\":2,\"name\":\"loss\",\"value\":null}\n"
            "{\"step\":3,\"name\":\"loss\",\"value\":1e-17}\n");
  // The line that a killed run left half written goes too.
  WriteAll(path, ReadAll(path) + "{\"step\":3,\"na");
  {
    absl::StatusOr<MetricsLog> log = MetricsLog::Open(path, 2);
    ASSERT_TRUE(log.ok()) << log.status();
    log->Append(4, "x", 2);
    ASSERT_TRUE(log->Flush().ok());
  }
  EXPECT_EQ(ReadAll(path),
            "{\"step\":1,\"name\":\"loss\",\"value\":0.25}\n"
            "{\"step\":2,\"name\":\"loss\",\"value\":null}\n"
            "{\"step\":4,\"name\":\"x\",\"value\":2.0}\n");
  ASSERT_TRUE(MetricsLog::Open(path, -1).ok());
  EXPECT_EQ(ReadAll(path), "");
}

TEST(MetricsLogTest, BrokenLineNamesItsNumber) {
  const std::string path = Folder() + "/m";
  WriteAll(path, "{\"step\":1,\"name\":\"a\",\"value\":1}\n{\"st\n");
  const absl::Status status = MetricsLog::Open(path, 1).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("line 2"));
  EXPECT_EQ(MetricsLog::Open("/no/such/m", 1).status().code(),
            absl::StatusCode::kUnavailable);
}

// A small regression with batch normalisation (buffers), dropout (a generator)
// and a plateau, whose batches come from the step.
class Net : public Module {
 public:
  explicit Net(const Initializer& init)
      : first(AddModule<Linear>("first", 4, 8, init)),
        norm(AddModule<BatchNorm2d>("norm", 8, init)),
        second(AddModule<Linear>("second", 8, 1, init)) {}
  at::Tensor Forward(const at::Tensor& x, const at::Generator& generator) {
    at::Tensor h = first->Forward(x).unsqueeze(-1).unsqueeze(-1);
    h = norm->Forward(h).flatten(1).relu();
    return second->Forward(Dropout(h, 0.3, training(), generator));
  }
  Linear* first;
  BatchNorm2d* norm;
  Linear* second;
};

// One process's worth of a run.
struct Training {
  explicit Training(const std::string& folder, uint64_t seed = 1)
      : net(Initializer(MakeGenerator(seed))),
        optimizer(MakeRAdam(net.Parameters(), {})),
        dropout(MakeGenerator(seed, 1)),
        plateau({0.01}, ReduceOnPlateau::Options()) {
    options.num_steps = 60;
    options.clip_norm = 1;
    options.evaluate_every = 7;
    options.selection_metric = "mse";
    options.checkpoint_seconds = std::numeric_limits<double>::infinity();
    options.checkpoint_path = folder + "/checkpoint";
    options.metrics_path = folder + "/metrics";
    options.identity = "net 4-8-1";
    state.model = &net;
    state.optimizer = optimizer.get();
    state.generators = {dropout};
    state.plateaus = {&plateau};
    state.extra = {{"loss_sum", loss_sum}};
  }

  at::Tensor Loss(int64_t step) {
    const at::Tensor x =
        at::randn({16, 4}, MakeGenerator(5, step), at::TensorOptions());
    const at::Tensor error = net.Forward(x, dropout) - x.sum(1, true);
    const at::Tensor loss = (error * error).mean();
    loss_sum.add_(loss.detach());
    return loss;
  }

  absl::StatusOr<TrainResult> Train() {
    return repro::Train(
        options, state, [&](int64_t step) { return Loss(step); },
        [&](int64_t) -> Metrics {
          const at::Tensor x =
              at::randn({64, 4}, MakeGenerator(6), at::TensorOptions());
          const at::Tensor error = net.Forward(x, dropout) - x.sum(1, true);
          plateau.Step({loss_sum.item<double>()});
          optimizer->SetRates(plateau.rates());
          loss_sum.zero_();
          return {{"mse", (error * error).mean().item<double>()}};
        });
  }

  Net net;
  std::unique_ptr<Optimizer> optimizer;
  at::Generator dropout;
  ReduceOnPlateau plateau;
  at::Tensor loss_sum = at::zeros({});
  TrainOptions options;
  TrainState state;
};

void ExpectSameBits(const Training& a, const Training& b) {
  const auto compare = [](const NamedTensors& x, const NamedTensors& y) {
    ASSERT_EQ(x.size(), y.size());
    for (size_t i = 0; i < x.size(); ++i) {
      EXPECT_THAT(x[i].second, IsIdenticalTo(y[i].second)) << x[i].first;
    }
  };
  compare(a.net.NamedParameters(), b.net.NamedParameters());
  compare(a.net.NamedBuffers(), b.net.NamedBuffers());
  for (size_t i = 0; i < a.optimizer->state().size(); ++i) {
    EXPECT_THAT(a.optimizer->state()[i],
                IsIdenticalTo(b.optimizer->state()[i]));
  }
  EXPECT_EQ(a.plateau.State(), b.plateau.State());
  EXPECT_THAT(a.dropout.get_state(), IsIdenticalTo(b.dropout.get_state()));
}

TEST(TrainTest, LossFallsAndIsLogged) {
  Training run(Folder());
  const absl::StatusOr<TrainResult> result = run.Train();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->steps, 60);
  EXPECT_EQ(result->resumed_from, 0);
  EXPECT_FALSE(result->cancelled || result->stopped_early);
  const std::string log = ReadAll(run.options.metrics_path);
  EXPECT_THAT(log, HasSubstr("{\"step\":1,\"name\":\"loss\""));
  EXPECT_THAT(log, HasSubstr("{\"step\":60,\"name\":\"mse\""));
  // 60 losses; evaluations after 7, 14, ..., 56 and 60.
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 60 + 9);
  EXPECT_LE(result->best.at("mse"), result->last.at("mse"));

  Training untrained(Folder());
  const double first = untrained.Loss(0).item<double>();
  EXPECT_LT(run.Loss(0).item<double>(), first);
}

TEST(TrainTest, ResumedRunIsBitIdentical) {
  const std::string whole_folder = Folder(), folder = Folder();
  Training whole(whole_folder);
  const absl::StatusOr<TrainResult> expected = whole.Train();
  ASSERT_TRUE(expected.ok()) << expected.status();

  // Killed by an exception after step 31, three steps and one log line after
  // the last checkpoint; then cancelled at 45; then finished.
  {
    Training run(folder);
    run.options.checkpoint_steps = 4;
    run.options.progress = [](int64_t done, int64_t, const std::string&) {
      if (done == 31) throw std::runtime_error("killed");
    };
    EXPECT_THAT(std::string(run.Train().status().message()),
                HasSubstr("killed"));
  }
  {
    Training run(folder);
    int64_t done = 0;
    run.options.progress = [&](int64_t d, int64_t, const std::string&) {
      done = d;
    };
    run.options.cancelled = [&] { return done == 45; };
    const absl::StatusOr<TrainResult> result = run.Train();
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->resumed_from, 28);
    EXPECT_TRUE(result->cancelled);
    EXPECT_EQ(result->steps, 45);
  }
  Training resumed(folder);
  const absl::StatusOr<TrainResult> result = resumed.Train();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->resumed_from, 45);
  EXPECT_EQ(result->steps, 60);
  EXPECT_EQ(result->best, expected->best);
  EXPECT_EQ(result->best_step, expected->best_step);
  EXPECT_EQ(result->last, expected->last);
  EXPECT_EQ(result->last_loss, expected->last_loss);
  ExpectSameBits(resumed, whole);
  EXPECT_EQ(ReadAll(resumed.options.metrics_path),
            ReadAll(whole.options.metrics_path));

  // A finished run has nothing left to do.
  Training again(folder);
  const absl::StatusOr<TrainResult> finished = again.Train();
  ASSERT_TRUE(finished.ok()) << finished.status();
  EXPECT_EQ(finished->resumed_from, 60);
  EXPECT_EQ(finished->last, expected->last);
  ExpectSameBits(again, whole);
}

TEST(TrainTest, CheckpointOfAnotherRunIsRefusedAndChangesNothing) {
  const std::string folder = Folder();
  Training first(folder);
  first.options.num_steps = 3;
  ASSERT_TRUE(first.Train().ok());
  const std::string bytes = ReadAll(first.options.checkpoint_path);

  const auto expect_refused = [&](Training* run, const std::string& why) {
    const absl::Status status = run->Train().status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
    EXPECT_THAT(
        std::string(status.message()),
        AllOf(HasSubstr(why), HasSubstr(first.options.checkpoint_path)));
    Training fresh(Folder(), 2);
    ExpectSameBits(*run, fresh);
    EXPECT_EQ(ReadAll(first.options.checkpoint_path), bytes);
  };
  Training identity(folder, 2);
  identity.options.identity = "another";
  expect_refused(&identity, "another");
  Training extra(folder, 2);
  extra.state.extra = {{"other", at::zeros({})}};
  expect_refused(&extra, "extra/other");
  Training shape(folder, 2);
  shape.state.extra = {{"loss_sum", at::zeros({2})}};
  expect_refused(&shape, "extra/loss_sum");
  Training generators(folder, 2);
  generators.state.generators.push_back(MakeGenerator(1));
  expect_refused(&generators, "generator/1");
  Training shorter(folder, 2);
  shorter.options.num_steps = 2;
  expect_refused(&shorter, "3 steps");
}

TEST(TrainTest, DamagedCheckpointIsDataLoss) {
  const std::string folder = Folder();
  Training first(folder);
  first.options.num_steps = 3;
  ASSERT_TRUE(first.Train().ok());
  const std::string path = first.options.checkpoint_path;
  WriteAll(path, ReadAll(path).substr(0, 2000));
  Training second(folder);
  EXPECT_EQ(second.Train().status().code(), absl::StatusCode::kDataLoss);
}

TEST(TrainTest, StopsEarlyAndStaysStopped) {
  const std::string folder = Folder();
  for (int run_number = 0; run_number < 2; ++run_number) {
    Training run(folder);
    run.options.selection_metric = "score";
    run.options.higher_is_better = true;
    run.options.evaluate_every = 2;
    run.options.patience = 3;
    // Scores 1, 2, 3, 3, 3, 3: the best at step 6, the third without a new one
    // at step 12.
    const absl::StatusOr<TrainResult> result = Train(
        run.options, run.state, [&](int64_t step) { return run.Loss(step); },
        [](int64_t steps) -> Metrics {
          return {{"score", std::min<int64_t>(3, steps / 2)}, {"other", steps}};
        });
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_TRUE(result->stopped_early);
    EXPECT_EQ(result->steps, 12);
    EXPECT_EQ(result->best_step, 6);
    EXPECT_THAT(result->best, ElementsAre(Pair("other", 6), Pair("score", 3)));
    EXPECT_THAT(result->last, ElementsAre(Pair("other", 12), Pair("score", 3)));
    EXPECT_EQ(result->resumed_from, run_number == 0 ? 0 : 12);
  }
}

TEST(TrainTest, LossThatIsNotFiniteStopsAndKeepsTheCheckpoint) {
  Training run(Folder());
  run.options.checkpoint_steps = 2;
  const absl::Status status =
      Train(
          run.options, run.state,
          [&](int64_t step) {
            return step == 5 ? run.Loss(step) / 0. : run.Loss(step);
          },
          [](int64_t) -> Metrics {
            return {{"mse", 1}};
          })
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("step 5 is inf"));
  const absl::StatusOr<Checkpoint> checkpoint =
      ReadCheckpoint(run.options.checkpoint_path);
  ASSERT_TRUE(checkpoint.ok());
  EXPECT_EQ(checkpoint->tensors.at("progress")[0].item<double>(), 4);
}

TEST(TrainTest, ReportsProgressAndSetsTheRate) {
  Training run(Folder());
  run.options.num_steps = 3;
  run.options.rate = StepRate(0.8, 1, 0.5);
  std::vector<std::string> lines;
  std::vector<double> rates;
  run.options.progress = [&](int64_t done, int64_t total,
                             const std::string& text) {
    lines.push_back(std::to_string(done) + "/" + std::to_string(total));
    rates.push_back(run.optimizer->rates()[0]);
    EXPECT_THAT(text, AllOf(HasSubstr("loss "), HasSubstr(" left")));
  };
  ASSERT_TRUE(Train(
                  run.options, run.state,
                  [&](int64_t s) { return run.Loss(s); },
                  [](int64_t) -> Metrics {
                    return {{"mse", 1}};
                  })
                  .ok());
  EXPECT_THAT(lines, ElementsAre("1/3", "2/3", "3/3"));
  EXPECT_THAT(rates, ElementsAre(0.8, 0.4, 0.2));
}

TEST(TrainTest, BadOptionsAndCallbacks) {
  const auto code_of = [](void (*change)(Training*)) {
    Training run(Folder());
    change(&run);
    return run.Train().status().code();
  };
  const auto invalid = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(code_of([](Training* r) { r->options.num_steps = 0; }), invalid);
  EXPECT_EQ(code_of([](Training* r) { r->options.log_every = 0; }), invalid);
  EXPECT_EQ(code_of([](Training* r) { r->state.model = nullptr; }), invalid);
  EXPECT_EQ(code_of([](Training* r) {
              r->options.selection_metric = "";
              r->options.patience = 1;
            }),
            invalid);
  EXPECT_EQ(code_of([](Training* r) { r->options.selection_metric = "typo"; }),
            invalid);
  EXPECT_EQ(
      code_of([](Training* r) { r->options.checkpoint_path = "/no/such/c"; }),
      absl::StatusCode::kUnavailable);
  EXPECT_EQ(
      code_of([](Training* r) { r->options.metrics_path = "/no/such/m"; }),
      absl::StatusCode::kUnavailable);
  Training run(Folder());
  EXPECT_EQ(
      Train(run.options, run.state, [&](int64_t s) { return run.Loss(s); })
          .status()
          .code(),
      invalid);
  run.options.evaluate_every = 0;
  run.options.selection_metric = "";
  EXPECT_THAT(std::string(Train(run.options, run.state,
                                [](int64_t) { return at::ones({2}); })
                              .status()
                              .message()),
              HasSubstr("not a scalar"));
}

}  // namespace
}  // namespace repro
