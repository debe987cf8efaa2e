// How each claim of claims.textproto is measured.
#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/claims/experiment.h"
#include "common/data/csv.h"
#include "common/nn/initializer.h"
#include "common/stats/descriptive.h"
#include "common/stats/hypothesis.h"
#include "common/status/macros.h"
#include "common/tensor/device.h"
#include "common/tensor/generator.h"
#include "common/train/checkpoint.h"
#include "papers/positional_attention/positional_attention.h"
#include "papers/positional_attention/tasks.h"
#include "papers/positional_attention/training.h"

namespace repro::positional_attention {
namespace {

absl::StatusOr<Architecture> ParseArchitecture(const std::string& name) {
  if (name == "positional") return Architecture::kPositional;
  if (name == "standard") return Architecture::kStandard;
  return absl::InvalidArgumentError(
      absl::StrCat("unknown model \"", name, "\": use positional or standard"));
}

std::string ArchitectureName(Architecture architecture) {
  return architecture == Architecture::kPositional ? "positional" : "standard";
}

// ---- The released runs ----------------------------------------------------

// The runs' values of `column`, of the rows in which each column named by
// `where` has its text. InvalidArgument unless there are the ten runs of one
// setting.
absl::StatusOr<std::vector<double>> ReleasedRuns(
    const CsvTable& table, const std::map<std::string, std::string>& where,
    const std::string& column) {
  std::vector<double> values;
  for (int64_t row = 0; row < table.num_rows(); ++row) {
    bool matches = true;
    for (const auto& [name, expected] : where) {
      REPRO_ASSIGN_OR_RETURN(const std::string cell, table.Text(row, name));
      matches = matches && cell == expected;
    }
    if (!matches) continue;
    REPRO_ASSIGN_OR_RETURN(const double value, table.Double(row, column));
    values.push_back(value);
  }
  if (values.size() != 10) {
    return absl::InvalidArgumentError(absl::StrCat(
        "released results: ", values.size(), " runs, 10 expected, where ",
        absl::StrJoin(where, ", ", absl::PairFormatter("="))));
  }
  return values;
}

// What picks the released rows of a claim: those of its arguments that are
// columns.
std::map<std::string, std::string> Where(const Claim& claim) {
  std::map<std::string, std::string> where;
  for (const char* column : {"family", "experiment", "task", "model", "n",
                             "train_samples", "layers", "mlp_hidden"}) {
    const auto found = claim.args().find(column);
    if (found != claim.args().end()) where[column] = found->second;
  }
  return where;
}

// Arguments: the columns that pick the rows, `column`, and `statistic`:
//   median        of the runs' values
//   median_ratio  median of the standard model's by the positional model's
//   row_ratio     median over runs of column by the column `denominator`
//   rank_test     of the runs against those of the family `against`
absl::Status Released(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string path, run.AssetPath("results"));
  REPRO_ASSIGN_OR_RETURN(const CsvTable table, CsvTable::Read(path));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string statistic,
                           run.Arg(*claim, "statistic"));
    REPRO_ASSIGN_OR_RETURN(const std::string column, run.Arg(*claim, "column"));
    std::map<std::string, std::string> where = Where(*claim);
    if (statistic == "median_ratio") {
      where["model"] = "standard";
      REPRO_ASSIGN_OR_RETURN(const std::vector<double> standard,
                             ReleasedRuns(table, where, column));
      where["model"] = "positional";
      REPRO_ASSIGN_OR_RETURN(const std::vector<double> positional,
                             ReleasedRuns(table, where, column));
      REPRO_ASSIGN_OR_RETURN(const double above, Median(standard));
      REPRO_ASSIGN_OR_RETURN(const double below, Median(positional));
      run.Record(*claim, above / below);
      continue;
    }
    REPRO_ASSIGN_OR_RETURN(std::vector<double> values,
                           ReleasedRuns(table, where, column));
    Observation observation;
    if (statistic == "row_ratio") {
      REPRO_ASSIGN_OR_RETURN(const std::string denominator,
                             run.Arg(*claim, "denominator"));
      REPRO_ASSIGN_OR_RETURN(const std::vector<double> below,
                             ReleasedRuns(table, where, denominator));
      for (size_t i = 0; i < values.size(); ++i) values[i] /= below[i];
    } else if (statistic == "rank_test") {
      REPRO_ASSIGN_OR_RETURN(where["family"], run.Arg(*claim, "against"));
      REPRO_ASSIGN_OR_RETURN(const std::vector<double> others,
                             ReleasedRuns(table, where, column));
      REPRO_ASSIGN_OR_RETURN(const TestResult test,
                             MannWhitneyTest(values, others));
      observation.p_value = test.p_value;
    } else if (statistic != "median") {
      return absl::InvalidArgumentError(absl::StrCat(
          "claim ", claim->id(), ": unknown statistic \"", statistic, "\""));
    }
    REPRO_ASSIGN_OR_RETURN(observation.value, Median(values));
    observation.samples = std::move(values);
    observation.median = true;
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("positional_attention", "released", Released);

// ---- Parameter counts -----------------------------------------------------

// Arguments: model, n, and layers and mlp_hidden where they are not the
// published ones.
absl::Status CountParameters(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    NetworkConfig config;
    REPRO_ASSIGN_OR_RETURN(const std::string model, run.Arg(*claim, "model"));
    REPRO_ASSIGN_OR_RETURN(config.architecture, ParseArchitecture(model));
    REPRO_ASSIGN_OR_RETURN(config.n, run.IntArg(*claim, "n"));
    if (claim->args().count("layers") > 0) {
      REPRO_ASSIGN_OR_RETURN(config.layers, run.IntArg(*claim, "layers"));
    }
    if (claim->args().count("mlp_hidden") > 0) {
      REPRO_ASSIGN_OR_RETURN(config.mlp_hidden,
                             run.IntArg(*claim, "mlp_hidden"));
    }
    const Network network(config, {Initializer::Meta()});
    run.RecordCount(*claim, network.parameters_per_model());
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("positional_attention", "parameters",
                          CountParameters);

// ---- The rotary arm -------------------------------------------------------

// The largest change of any score by the rotation of q and k along the axis of
// heads, in float64, over seeds: standard normal q and k of the published
// shape.
absl::Status RotaryInvariance(ExperimentRun& run) {
  double largest = 0;
  for (const uint64_t seed : run.seeds()) {
    const at::Generator generator = MakeGenerator(seed);
    const auto draw = [&] {
      return at::randn({100, 2, 9, 64}, generator, at::kDouble);
    };
    const at::Tensor q = draw();
    const at::Tensor k = draw();
    const auto scores = [](const at::Tensor& a, const at::Tensor& b) {
      return at::matmul(a, b.transpose(2, 3)) / 8;
    };
    const at::Tensor rotated =
        scores(RotaryEmbedding(q, /*axis=*/1), RotaryEmbedding(k, /*axis=*/1));
    largest =
        std::max(largest, (rotated - scores(q, k)).abs().max().item<double>());
  }
  for (const Claim* claim : run.claims()) run.Record(*claim, largest);
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("positional_attention", "rotary_invariance",
                          RotaryInvariance);

// ---- Training -------------------------------------------------------------

// The errors of each trained task and architecture, one a seed.
using Outcomes = std::map<std::pair<Task, Architecture>, std::vector<Errors>>;

absl::Status SaveOutcome(const TrainingConfig& config,
                         const std::vector<std::vector<Errors>>& errors,
                         const std::string& path) {
  Checkpoint checkpoint;
  checkpoint.texts["identity"] = config.ToString();
  for (size_t t = 0; t < config.tasks.size(); ++t) {
    for (size_t s = 0; s < config.seeds.size(); ++s) {
      const Errors& e = errors[t][s];
      std::vector<double> row = {e.train_mse, e.val_mse};
      for (const int c : config.scales) row.push_back(e.test_mse.at(c));
      checkpoint.tensors[absl::StrCat(TaskName(config.tasks[t]), "/", s)] =
          at::tensor(row, at::kDouble);
    }
  }
  return WriteCheckpoint(path, checkpoint);
}

// NotFound if the file is not there or is of another configuration.
absl::StatusOr<std::vector<std::vector<Errors>>> LoadOutcome(
    const TrainingConfig& config, const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(Checkpoint checkpoint, ReadCheckpoint(path));
  if (checkpoint.texts["identity"] != config.ToString()) {
    return absl::NotFoundError(absl::StrCat(path, " is of other training"));
  }
  std::vector<std::vector<Errors>> errors;
  for (const Task task : config.tasks) {
    auto& of_task = errors.emplace_back();
    for (size_t s = 0; s < config.seeds.size(); ++s) {
      const at::Tensor row =
          checkpoint.tensors[absl::StrCat(TaskName(task), "/", s)];
      if (!row.defined() || row.numel() != 2 + config.scales.size()) {
        return absl::NotFoundError(absl::StrCat(path, " lacks models"));
      }
      const double* data = row.const_data_ptr<double>();
      Errors& e = of_task.emplace_back();
      e.train_mse = data[0];
      e.val_mse = data[1];
      for (size_t i = 0; i < config.scales.size(); ++i) {
        e.test_mse[config.scales[i]] = data[2 + i];
      }
    }
  }
  return errors;
}

// The claims of a training experiment. Arguments: task, `metric`, and
//   mse              model, `set`: val_mse or test_mse_c1 ..; its median
//   ratio            c: the standard model's test error at c by the positional
//                    model's; the effect is its log10
//   in_distribution  the larger of both models' validation errors; the effect
//                    is its log10
class Recorder {
 public:
  Recorder(ExperimentRun& run, std::string scale)
      : run_(run), scale_(std::move(scale)) {}

  // Which task and architecture pairs the claims need.
  absl::StatusOr<std::set<std::pair<Task, Architecture>>> Needed() const {
    std::set<std::pair<Task, Architecture>> needed;
    for (const Claim* claim : run_.claims()) {
      REPRO_ASSIGN_OR_RETURN(const auto pairs, Pairs(*claim));
      needed.insert(pairs.begin(), pairs.end());
    }
    return needed;
  }

  // Records every claim that has all it needs and was not recorded before.
  absl::Status Record(const Outcomes& outcomes, const CsvTable* released) {
    for (const Claim* claim : run_.claims()) {
      if (recorded_.count(claim->id()) > 0) continue;
      REPRO_ASSIGN_OR_RETURN(const auto pairs, Pairs(*claim));
      bool ready = true;
      for (const auto& pair : pairs) ready = ready && outcomes.count(pair) > 0;
      if (!ready) continue;
      REPRO_ASSIGN_OR_RETURN(Observation observation,
                             Observe(*claim, pairs, outcomes, released));
      observation.scale = scale_;
      run_.Record(*claim, std::move(observation));
      recorded_.insert(claim->id());
    }
    return absl::OkStatus();
  }

 private:
  absl::StatusOr<std::vector<std::pair<Task, Architecture>>> Pairs(
      const Claim& claim) const {
    REPRO_ASSIGN_OR_RETURN(const std::string name, run_.Arg(claim, "task"));
    REPRO_ASSIGN_OR_RETURN(const Task task, ParseTask(name));
    if (claim.args().count("model") == 0) {
      return std::vector<std::pair<Task, Architecture>>{
          {task, Architecture::kPositional}, {task, Architecture::kStandard}};
    }
    REPRO_ASSIGN_OR_RETURN(const Architecture architecture,
                           ParseArchitecture(claim.args().at("model")));
    return std::vector<std::pair<Task, Architecture>>{{task, architecture}};
  }

  absl::StatusOr<Observation> Observe(
      const Claim& claim,
      const std::vector<std::pair<Task, Architecture>>& pairs,
      const Outcomes& outcomes, const CsvTable* released) const {
    REPRO_ASSIGN_OR_RETURN(const std::string metric, run_.Arg(claim, "metric"));
    Observation observation;
    observation.median = true;
    std::vector<double>& samples = observation.samples;
    if (metric == "mse") {
      REPRO_ASSIGN_OR_RETURN(const std::string set, run_.Arg(claim, "set"));
      for (const Errors& e : outcomes.at(pairs[0])) {
        double value = e.val_mse;
        if (set != "val_mse") {
          const auto found = std::find_if(
              e.test_mse.begin(), e.test_mse.end(), [&](const auto& entry) {
                return set == absl::StrCat("test_mse_c", entry.first);
              });
          if (found == e.test_mse.end()) {
            return absl::InvalidArgumentError(absl::StrCat(
                "claim ", claim.id(), ": unknown set \"", set, "\""));
          }
          value = found->second;
        }
        samples.push_back(value);
      }
      REPRO_ASSIGN_OR_RETURN(observation.value, Median(samples));
      // With fewer seeds not even samples wholly apart are rejected at the
      // criterion's level: 2 / C(14, 4) = 0.002. No verdict is better than one
      // that cannot be negative.
      constexpr size_t kLeastSeeds = 5;
      if (released != nullptr && samples.size() >= kLeastSeeds) {
        const std::map<std::string, std::string> where = {
            {"family", "fixed_length"},
            {"experiment", "scale"},
            {"task", TaskName(pairs[0].first)},
            {"model", ArchitectureName(pairs[0].second)}};
        REPRO_ASSIGN_OR_RETURN(const std::vector<double> runs,
                               ReleasedRuns(*released, where, set));
        REPRO_ASSIGN_OR_RETURN(const TestResult test,
                               MannWhitneyTest(samples, runs));
        observation.p_value = test.p_value;
      }
      return observation;
    }

    const std::vector<Errors>& positional = outcomes.at(pairs.at(0));
    const std::vector<Errors>& standard = outcomes.at(pairs.at(1));
    if (metric == "in_distribution") {
      for (size_t s = 0; s < positional.size(); ++s) {
        samples.push_back(std::max(positional[s].val_mse, standard[s].val_mse));
        observation.effects.push_back(std::log10(samples.back()));
      }
      REPRO_ASSIGN_OR_RETURN(observation.value, Median(samples));
      return observation;
    }
    if (metric != "ratio") {
      return absl::InvalidArgumentError(absl::StrCat(
          "claim ", claim.id(), ": unknown metric \"", metric, "\""));
    }
    REPRO_ASSIGN_OR_RETURN(const int64_t c, run_.IntArg(claim, "c"));
    std::vector<double> above, below;
    for (size_t s = 0; s < positional.size(); ++s) {
      if (positional[s].test_mse.count(c) == 0) {
        return absl::InvalidArgumentError(
            absl::StrCat("claim ", claim.id(), ": c = ", c, " is not tested"));
      }
      above.push_back(standard[s].test_mse.at(c));
      below.push_back(positional[s].test_mse.at(c));
      samples.push_back(above.back() / below.back());
      observation.effects.push_back(std::log10(samples.back()));
    }
    REPRO_ASSIGN_OR_RETURN(const double above_median, Median(above));
    REPRO_ASSIGN_OR_RETURN(const double below_median, Median(below));
    observation.value = above_median / below_median;
    return observation;
  }

  ExperimentRun& run_;
  const std::string scale_;
  std::set<std::string> recorded_;
};

// Trains what the claims need. On a GPU all tasks of an architecture are one
// stack, since a step's launches cost the same for any number of models; on a
// CPU each task is its own, so that its claims are there as soon as they can
// be. What is finished, and the state of what is not, is kept in the checkpoint
// folder.
absl::Status TrainAndRecord(ExperimentRun& run, TrainingConfig config,
                            const std::string& scale,
                            const CsvTable* released) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  Recorder recorder(run, scale);
  REPRO_ASSIGN_OR_RETURN(const auto needed, recorder.Needed());
  config.seeds = run.seeds();

  std::vector<TrainingConfig> stacks;
  for (const Architecture architecture :
       {Architecture::kPositional, Architecture::kStandard}) {
    config.network.architecture = architecture;
    config.tasks.clear();
    for (const Task task : AllTasks()) {
      if (needed.count({task, architecture}) == 0) continue;
      config.tasks.push_back(task);
      if (device.is_cpu()) {
        stacks.push_back(config);
        config.tasks.clear();
      }
    }
    if (!config.tasks.empty()) stacks.push_back(config);
  }
  // On a CPU a task's two architectures follow each other: its ratio is known
  // early. (On a GPU there are at most two stacks, in order already.)
  std::stable_sort(stacks.begin(), stacks.end(),
                   [](const TrainingConfig& a, const TrainingConfig& b) {
                     return a.tasks.front() < b.tasks.front();
                   });

  // Expected cost, for the progress shown: the standard model's step takes
  // twice as long.
  const auto cost = [](const TrainingConfig& stack) {
    return stack.tasks.size() *
           (stack.network.architecture == Architecture::kPositional ? 1.0
                                                                    : 2.0);
  };
  double total = 0, done = 0;
  for (const TrainingConfig& stack : stacks) total += cost(stack);

  Outcomes outcomes;
  for (const TrainingConfig& stack : stacks) {
    std::vector<std::string> names;
    for (const Task task : stack.tasks) names.push_back(TaskName(task));
    const std::string what =
        absl::StrCat(ArchitectureName(stack.network.architecture), " on ",
                     absl::StrJoin(names, ", "));
    const std::string path = absl::StrCat(
        run.checkpoint_dir(), "/", ArchitectureName(stack.network.architecture),
        "-", absl::StrJoin(names, "-"));
    auto errors = LoadOutcome(stack, path + ".done");
    if (absl::IsNotFound(errors.status())) {
      TrainingHooks hooks;
      hooks.checkpoint_path = path + ".checkpoint";
      hooks.cancelled = [&] { return run.Cancelled(); };
      hooks.progress = [&](int64_t step, int64_t steps,
                           const std::string& text) {
        // Once in a while: a message a step would cost as much as the step.
        if (step % 16 != 0 && step != steps) return;
        run.Progress(done + cost(stack) * step / steps, total,
                     absl::StrCat(what, ", step ", step, ", ", text));
      };
      errors = TrainAndTest(stack, device, hooks);
      if (!errors.ok()) return errors.status();
      REPRO_RETURN_IF_ERROR(SaveOutcome(stack, *errors, path + ".done"));
    }
    if (!errors.ok()) return errors.status();
    for (size_t t = 0; t < stack.tasks.size(); ++t) {
      outcomes[{stack.tasks[t], stack.network.architecture}] = (*errors)[t];
    }
    REPRO_RETURN_IF_ERROR(recorder.Record(outcomes, released));
    done += cost(stack);
  }
  return absl::OkStatus();
}

absl::Status TrainedFull(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string path, run.AssetPath("results"));
  REPRO_ASSIGN_OR_RETURN(const CsvTable table, CsvTable::Read(path));
  return TrainAndRecord(run, TrainingConfig(), /*scale=*/"", &table);
}
REPRO_REGISTER_EXPERIMENT("positional_attention", "trained_full", TrainedFull);

absl::Status Trained300Epochs(ExperimentRun& run) {
  TrainingConfig config;
  config.epochs = 300;
  config.scales = {1, 3, 10};
  return TrainAndRecord(run, config, "300 of 2001 epochs", nullptr);
}
REPRO_REGISTER_EXPERIMENT("positional_attention", "trained_300_epochs",
                          Trained300Epochs);

absl::Status TrainedQuick(ExperimentRun& run) {
  TrainingConfig config;
  config.train_samples = 4000;
  config.batch = 32;
  config.epochs = 8;
  config.rate = 4e-3;
  config.cosine = true;
  config.scales = {10};
  return TrainAndRecord(run, config,
                        "1000 of 60030 steps: batch 32 of 1000, 4000 of 30000 "
                        "samples, rate from 4e-3 to 0 for 5e-4",
                        nullptr);
}
REPRO_REGISTER_EXPERIMENT("positional_attention", "trained_quick",
                          TrainedQuick);

}  // namespace
}  // namespace repro::positional_attention
