// How each claim of claims.textproto is measured; arguments come from there.

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>

#include <cmath>
#include <cstdio>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "common/claims/experiment.h"
#include "common/claims/paper.h"
#include "common/count/flops.h"
#include "common/count/parameters.h"
#include "common/data/io.h"
#include "common/data/ts.h"
#include "common/nn/attention.h"
#include "common/nn/initializer.h"
#include "common/stats/descriptive.h"
#include "common/status/macros.h"
#include "common/tensor/device.h"
#include "common/train/checkpoint.h"
#include "papers/flowformer/attention_layer.h"
#include "papers/flowformer/flow_attention.h"
#include "papers/flowformer/models.h"
#include "papers/flowformer/training.h"

namespace repro::flowformer {
namespace {

// ---------------------------------------------------------------- counting

// model=series: features, max_len, classes. model=gpt: size, vocabulary,
// block_size, head=without leaves the output layer out, as the module's own
// message does. model=vision.
absl::StatusOr<int64_t> Parameters(ExperimentRun& run, const Claim& claim) {
  REPRO_ASSIGN_OR_RETURN(const std::string model, run.Arg(claim, "model"));
  const Initializer init = Initializer::Meta();
  if (model == "vision") {
    return CountParameters(VisionFlowformer({}, init));
  }
  if (model == "series") {
    SeriesClassifierConfig config;
    REPRO_ASSIGN_OR_RETURN(config.features, run.IntArg(claim, "features"));
    REPRO_ASSIGN_OR_RETURN(config.max_len, run.IntArg(claim, "max_len"));
    REPRO_ASSIGN_OR_RETURN(config.classes, run.IntArg(claim, "classes"));
    return CountParameters(SeriesClassifier(config, init));
  }
  REPRO_ASSIGN_OR_RETURN(const std::string size, run.Arg(claim, "size"));
  REPRO_ASSIGN_OR_RETURN(const int64_t vocabulary,
                         run.IntArg(claim, "vocabulary"));
  REPRO_ASSIGN_OR_RETURN(const int64_t block, run.IntArg(claim, "block_size"));
  REPRO_ASSIGN_OR_RETURN(const std::string head, run.Arg(claim, "head"));
  REPRO_ASSIGN_OR_RETURN(const GptConfig config,
                         GptConfig::Named(size, vocabulary, block));
  auto parts = ParametersByPrefix(FlowGpt(config, init));
  if (head == "without") parts.erase("head");
  int64_t total = 0;
  for (const auto& [name, count] : parts) total += count;
  return total;
}

// The divisor is the unit in which the paper prints the count.
absl::Status MeasureParameters(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const int64_t count, Parameters(run, *claim));
    REPRO_ASSIGN_OR_RETURN(const int64_t divisor,
                           run.IntArg(*claim, "divisor"));
    run.Record(*claim, static_cast<double>(count) / divisor);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("flowformer", "parameters", MeasureParameters);

// Multiply-adds of one image in convolutions and linear layers.
absl::Status MeasureVisionFlops(ExperimentRun& run) {
  const VisionFlowformer model({}, Initializer::Meta());
  const FlopCount count = CountFlops(FlopConvention::kConvLinear, [&] {
    model.Forward(at::empty({1, 3, 224, 224}, at::kMeta));
  });
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const int64_t divisor,
                           run.IntArg(*claim, "divisor"));
    run.Record(*claim, static_cast<double>(count.total) / divisor);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("flowformer", "vision_flops", MeasureVisionFlops);

// The exponent of length in the multiply-adds of attention's matrix products:
// log2 of the ratio at 2^17 and 2^16 positions, 8 heads of 64.
absl::Status MeasureComplexity(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string attention,
                           run.Arg(*claim, "attention"));
    const auto cost = [&](int64_t length) {
      const at::Tensor x =
          at::empty({1, 8, length, 64}, at::TensorOptions(at::kMeta));
      return static_cast<double>(CountFlops(FlopConvention::kConvMatmul, [&] {
                                   if (attention == "flow")
                                     FlowAttention(x, x, x);
                                   if (attention == "flow_causal")
                                     CausalFlowAttention(x, x, x);
                                   if (attention == "softmax")
                                     SoftmaxAttention(x, x, x);
                                 }).total);
    };
    run.Record(*claim, std::log2(cost(1 << 17) / cost(1 << 16)));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("flowformer", "complexity", MeasureComplexity);

// The mean of a table's printed cells, "36.37,64.27,...".
absl::Status AveragePrintedCells(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string cells, run.Arg(*claim, "cells"));
    double sum = 0;
    int count = 0;
    for (const absl::string_view cell : absl::StrSplit(cells, ',')) {
      double value;
      if (!absl::SimpleAtod(cell, &value)) {
        return absl::InvalidArgumentError(
            absl::StrCat("claim ", claim->id(), ": cell \"", cell, "\""));
      }
      sum += value;
      ++count;
    }
    // Decimal cells: what differs from a tie by less than 1e-9 is a tie.
    run.Record(*claim, std::round(sum / count * 1e9) / 1e9);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("flowformer", "averages", AveragePrintedCells);

// -------------------------------------------------------------------- data

absl::StatusOr<SeriesProblem> LoadProblem(ExperimentRun& run,
                                          const std::string& dataset) {
  REPRO_ASSIGN_OR_RETURN(const std::string train_path,
                         run.AssetPath(dataset + "_TRAIN"));
  REPRO_ASSIGN_OR_RETURN(const std::string test_path,
                         run.AssetPath(dataset + "_TEST"));
  REPRO_ASSIGN_OR_RETURN(const TsFile train, ReadTs(train_path));
  REPRO_ASSIGN_OR_RETURN(const TsFile test, ReadTs(test_path));
  return PrepareSeries(train, test);
}

absl::Status MeasureData(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const SeriesProblem problem,
                           LoadProblem(run, claim->dataset()));
    const std::map<std::string, double> statistics = {
        {"train_series", problem.train.labels.numel()},
        {"test_series", problem.test.labels.numel()},
        {"features", problem.features},
        {"classes", problem.classes},
        {"max_len", problem.max_len},
        {"train_steps", problem.train.steps},
        {"test_steps", problem.test.steps},
        {"mean", problem.mean[0]},
        {"std", problem.std[0]},
        {"majority", MajorityShare(problem) / UnitScale(claim->unit())},
    };
    REPRO_ASSIGN_OR_RETURN(const std::string name,
                           run.Arg(*claim, "statistic"));
    const auto found = statistics.find(name);
    if (found == statistics.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("claim ", claim->id(), ": no statistic \"", name, "\""));
    }
    run.Record(*claim, found->second);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("flowformer", "data_japanese_vowels", MeasureData);
REPRO_REGISTER_EXPERIMENT("flowformer", "data_handwriting", MeasureData);

// ---------------------------------------------------------------- training

// Trains one model and returns what the claims are made of.
using TrainOne = std::function<absl::StatusOr<std::vector<double>>(
    const std::string& attention, const RunContext& context)>;

// The numbers of each attention, one vector a seed.
using Outcomes = std::map<std::string, std::vector<std::vector<double>>>;

// Trains every attention that an argument of a claim names (`arguments`), with
// every seed. What is finished is kept in the checkpoint folder: a run that was
// killed does not train it again.
absl::StatusOr<Outcomes> TrainAll(ExperimentRun& run,
                                  const std::vector<std::string>& arguments,
                                  const TrainOne& train) {
  std::set<std::string> attentions;
  for (const Claim* claim : run.claims()) {
    for (const std::string& argument : arguments) {
      const auto found = claim->args().find(argument);
      if (found != claim->args().end()) attentions.insert(found->second);
    }
  }
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  const double runs = attentions.size() * run.seeds().size();
  Outcomes outcomes;
  int finished = 0;
  for (const std::string& attention : attentions) {
    for (const uint64_t seed : run.seeds()) {
      const std::string name = absl::StrCat(attention, "_", seed);
      const std::string done_path =
          absl::StrCat(run.checkpoint_dir(), "/", name, ".done");
      const absl::StatusOr<Checkpoint> done = ReadCheckpoint(done_path);
      std::vector<double> numbers;
      if (done.ok()) {
        const at::Tensor stored = done->tensors.at("numbers").contiguous();
        const double* begin = stored.data_ptr<double>();
        numbers.assign(begin, begin + stored.numel());
      } else {
        RunContext context;
        context.device = device;
        context.seed = seed;
        context.checkpoint_path =
            absl::StrCat(run.checkpoint_dir(), "/", name, ".pt");
        context.progress = [&](int64_t steps, int64_t total,
                               const std::string& text) {
          run.Progress(finished + static_cast<double>(steps) / total, runs,
                       absl::StrCat(attention, ", seed ", seed, ", ", text));
        };
        context.cancelled = [&] { return run.Cancelled(); };
        REPRO_ASSIGN_OR_RETURN(numbers, train(attention, context));
        Checkpoint result;
        result.tensors["numbers"] = at::tensor(numbers, at::kDouble);
        REPRO_RETURN_IF_ERROR(WriteCheckpoint(done_path, result));
        std::remove(context.checkpoint_path.c_str());
      }
      outcomes[attention].push_back(numbers);
      run.Progress(++finished, runs, name);
    }
  }
  return outcomes;
}

std::vector<double> Column(const std::vector<std::vector<double>>& rows,
                           size_t column, double unit = 1) {
  std::vector<double> values;
  for (const auto& row : rows) values.push_back(row[column] / unit);
  return values;
}

// a - b, seed by seed.
std::vector<double> Difference(std::vector<double> a,
                               const std::vector<double>& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] -= b[i];
  return a;
}

// Claims: the accuracy of `attention` (report=best or last), or with `baseline`
// the difference of the two in points, paired by seed. `epochs` of the paper's
// 100.
absl::Status MeasureSeries(ExperimentRun& run, int64_t epochs) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  REPRO_ASSIGN_OR_RETURN(const SeriesProblem on_cpu,
                         LoadProblem(run, run.claims()[0]->dataset()));
  const SeriesProblem problem = on_cpu.To(device);
  SeriesTraining options;
  const int64_t published = options.epochs;
  options.epochs = epochs;
  REPRO_ASSIGN_OR_RETURN(
      const Outcomes outcomes,
      TrainAll(run, {"attention", "baseline"},
               [&](const std::string& name, const RunContext& context)
                   -> absl::StatusOr<std::vector<double>> {
                 REPRO_ASSIGN_OR_RETURN(
                     const AttentionChoice attention,
                     AttentionChoice::Named(name, FlowOptions::TimeSeries()));
                 REPRO_ASSIGN_OR_RETURN(
                     const Accuracy accuracy,
                     TrainSeriesClassifier(problem, attention, options,
                                           context));
                 return std::vector<double>{accuracy.best, accuracy.last};
               }));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string attention,
                           run.Arg(*claim, "attention"));
    REPRO_ASSIGN_OR_RETURN(const std::string report, run.Arg(*claim, "report"));
    const size_t column = report == "last" ? 1 : 0;
    const double unit = UnitScale("%");
    Observation observation;
    observation.samples = Column(outcomes.at(attention), column, unit);
    if (claim->args().count("baseline") > 0) {
      observation.samples = Difference(
          observation.samples,
          Column(outcomes.at(claim->args().at("baseline")), column, unit));
    }
    if (epochs != published) {
      observation.scale =
          absl::StrFormat("%d of %d epochs; nearest class mean %.1f%%", epochs,
                          published, NearestMeanAccuracy(on_cpu) / unit);
    }
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}

absl::Status MeasureUea(ExperimentRun& run) { return MeasureSeries(run, 100); }
REPRO_REGISTER_EXPERIMENT("flowformer", "uea_japanese_vowels", MeasureUea);
REPRO_REGISTER_EXPERIMENT("flowformer", "uea_handwriting", MeasureUea);

absl::Status MeasureUeaShort(ExperimentRun& run) {
  return MeasureSeries(run, 6);
}
REPRO_REGISTER_EXPERIMENT("flowformer", "uea_short", MeasureUeaShort);

// Claims: the loss of `attention` less that of `baseline`, paired by seed.
absl::Status MeasureCharGpt(ExperimentRun& run,
                            const CharGptTraining& options) {
  REPRO_ASSIGN_OR_RETURN(const std::string path,
                         run.AssetPath("tinyshakespeare"));
  REPRO_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  const CharData data = IndexCharacters(text);
  REPRO_ASSIGN_OR_RETURN(
      const Outcomes outcomes,
      TrainAll(run, {"attention", "baseline"},
               [&](const std::string& name, const RunContext& context)
                   -> absl::StatusOr<std::vector<double>> {
                 REPRO_ASSIGN_OR_RETURN(
                     const AttentionChoice attention,
                     AttentionChoice::Named(name, FlowOptions::Core()));
                 REPRO_ASSIGN_OR_RETURN(
                     const double loss,
                     TrainCharGpt(data, attention, options, context));
                 return std::vector<double>{loss};
               }));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string name,
                           run.Arg(*claim, "attention"));
    REPRO_ASSIGN_OR_RETURN(const std::string other,
                           run.Arg(*claim, "baseline"));
    const std::vector<double> loss = Column(outcomes.at(name), 0);
    const std::vector<double> baseline = Column(outcomes.at(other), 0);
    REPRO_ASSIGN_OR_RETURN(const double mean_loss, Mean(loss));
    REPRO_ASSIGN_OR_RETURN(const double mean_baseline, Mean(baseline));
    Observation observation;
    observation.samples = Difference(loss, baseline);
    observation.scale = absl::StrFormat(
        "%s model on characters, %d steps; losses %.3f and %.3f", options.size,
        options.steps, mean_loss, mean_baseline);
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}

absl::Status MeasureCharGptNano(ExperimentRun& run) {
  return MeasureCharGpt(run, CharGptTraining());
}
REPRO_REGISTER_EXPERIMENT("flowformer", "char_gpt", MeasureCharGptNano);

// The reference's settings for characters, but for the number of steps.
absl::Status MeasureCharGptMini(ExperimentRun& run) {
  CharGptTraining options;
  options.size = "mini";
  options.batch_size = 64;
  options.rate = 5e-4;
  options.steps = 3000;
  return MeasureCharGpt(run, options);
}
REPRO_REGISTER_EXPERIMENT("flowformer", "char_gpt_mini", MeasureCharGptMini);

// Claims: the accuracy of `attention` in percent; the effect is the accuracy of
// `better` less that of `worse` in points, paired by seed.
absl::Status MeasureListOps(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  ListOpsTraining options;
  options.task.min_length = 100;
  options.task.max_length = 300;
  options.steps = 3000;
  const ListOpsData data = MakeListOpsData(options, /*seed=*/0, device);
  REPRO_ASSIGN_OR_RETURN(
      const Outcomes outcomes,
      TrainAll(run, {"attention", "better", "worse"},
               [&](const std::string& name, const RunContext& context)
                   -> absl::StatusOr<std::vector<double>> {
                 REPRO_ASSIGN_OR_RETURN(
                     const AttentionChoice attention,
                     AttentionChoice::Named(name, FlowOptions::Core()));
                 REPRO_ASSIGN_OR_RETURN(
                     const Accuracy accuracy,
                     TrainListOps(data, attention, options, context));
                 return std::vector<double>{accuracy.last};
               }));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string name,
                           run.Arg(*claim, "attention"));
    REPRO_ASSIGN_OR_RETURN(const std::string better, run.Arg(*claim, "better"));
    REPRO_ASSIGN_OR_RETURN(const std::string worse, run.Arg(*claim, "worse"));
    const auto points = [&](const std::string& of) {
      return Column(outcomes.at(of), 0, UnitScale("%"));
    };
    Observation observation;
    observation.samples = points(name);
    observation.effects = Difference(points(better), points(worse));
    observation.scale = absl::StrFormat(
        "%d to %d tokens of 500 to 2000, %d of 5000 steps",
        options.task.min_length, options.task.max_length, options.steps);
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("flowformer", "list_ops", MeasureListOps);

}  // namespace
}  // namespace repro::flowformer
