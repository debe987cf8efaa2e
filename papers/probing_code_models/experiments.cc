// How each claim of claims.textproto is measured; arguments come from there.

#include <c10/util/Exception.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/claims/experiment.h"
#include "common/count/parameters.h"
#include "common/nn/initializer.h"
#include "common/stats/hypothesis.h"
#include "common/status/macros.h"
#include "common/tensor/device.h"
#include "common/train/experiment.h"
#include "papers/probing_code_models/probe.h"
#include "papers/probing_code_models/probing.h"
#include "papers/probing_code_models/released_scores.h"

namespace repro::probing_code_models {
namespace {

constexpr char kSlug[] = "probing_code_models";

// ---------------------------------------------------------- released scores

constexpr std::array<const char*, 4> kModels = {"codebert", "graphcodebert",
                                                "codet5", "unixcoder"};
constexpr std::array<const char*, 2> kDatasets = {"java250", "poj"};
constexpr std::array<std::array<const char*, 2>, 7> kReleasedTasks = {
    {{"link_prediction", "ast"},
     {"link_prediction", "cfg"},
     {"link_prediction", "cdg"},
     {"link_prediction", "ddg"},
     {"isInGraph", "cdg"},
     {"isInGraph", "ddg"},
     {"postag", "tag"}}};

absl::StatusOr<ReleasedScores> Released(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string path, run.AssetPath("layer_scores"));
  return ReadScores(path);
}

absl::StatusOr<const Layers*> FindLayers(const ReleasedScores& scores,
                                         const Probe& probe) {
  const auto found = scores.find(probe);
  if (found == scores.end()) {
    return absl::NotFoundError(
        absl::StrCat("no released scores of ", probe.task, ", ", probe.dataset,
                     ", ", probe.graph, ", ", probe.model, ", ", probe.init));
  }
  return &found->second;
}

absl::StatusOr<Probe> ProbeOfClaim(ExperimentRun& run, const Claim& claim) {
  Probe probe;
  REPRO_ASSIGN_OR_RETURN(probe.task, run.Arg(claim, "task"));
  REPRO_ASSIGN_OR_RETURN(probe.dataset, run.Arg(claim, "dataset"));
  REPRO_ASSIGN_OR_RETURN(probe.graph, run.Arg(claim, "graph"));
  REPRO_ASSIGN_OR_RETURN(probe.model, run.Arg(claim, "model"));
  REPRO_ASSIGN_OR_RETURN(probe.init, run.Arg(claim, "init"));
  return probe;
}

// Of both inits: they were tested on one set.
absl::StatusOr<int64_t> TestSize(const ReleasedScores& scores, Probe probe) {
  std::vector<double> accuracies;
  for (const char* init : {"plm", "random"}) {
    probe.init = init;
    REPRO_ASSIGN_OR_RETURN(const Layers* layers, FindLayers(scores, probe));
    for (const auto& [layer, repeats] : *layers) {
      for (const Score& score : repeats) accuracies.push_back(score.accuracy);
    }
  }
  return RecoverTestSize(accuracies);
}

double BestMcc(const Layers& layers) {
  return MeanOf(layers.at(BestLayer(layers)), &Score::mcc);
}
double LastMcc(const Layers& layers) {
  return MeanOf(layers.rbegin()->second, &Score::mcc);
}
double FirstMcc(const Layers& layers) {
  return MeanOf(layers.begin()->second, &Score::mcc);
}

absl::Status BestLayers(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const ReleasedScores scores, Released(run));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const Probe probe, ProbeOfClaim(run, *claim));
    REPRO_ASSIGN_OR_RETURN(const std::string measure,
                           run.Arg(*claim, "measure"));
    REPRO_ASSIGN_OR_RETURN(const Layers* layers, FindLayers(scores, probe));
    const int64_t best = BestLayer(*layers);
    if (measure == "best_layer") {
      run.Record(*claim, static_cast<double>(best));
    } else if (measure == "mcc") {
      run.Record(*claim, MeanOf(layers->at(best), &Score::mcc));
    } else if (measure == "f1") {
      run.Record(*claim, MeanOf(layers->at(best), &Score::f1));
    } else {
      return UnknownName(*claim, "measure", measure);
    }
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "best_layers", BestLayers);

absl::Status TestSets(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const ReleasedScores scores, Released(run));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const Probe probe, ProbeOfClaim(run, *claim));
    REPRO_ASSIGN_OR_RETURN(const std::string measure,
                           run.Arg(*claim, "measure"));
    REPRO_ASSIGN_OR_RETURN(const int64_t items, TestSize(scores, probe));
    if (measure == "items") {
      run.Record(*claim, static_cast<double>(items));
      continue;
    }
    if (measure != "positives") return UnknownName(*claim, "measure", measure);
    // All runs on one set have the same positives; the first one's are taken,
    // and it is an error if another's differ.
    REPRO_ASSIGN_OR_RETURN(const Layers* layers, FindLayers(scores, probe));
    int64_t positives = -1;
    for (const auto& [layer, repeats] : *layers) {
      for (const Score& score : repeats) {
        REPRO_ASSIGN_OR_RETURN(const Confusion counts,
                               RecoverConfusion(score, items));
        if (positives >= 0 && counts.positives() != positives) {
          return absl::InternalError(absl::StrCat(
              claim->id(), ": layer ", layer, " has ", counts.positives(),
              " positives, others ", positives));
        }
        positives = counts.positives();
      }
    }
    run.Record(*claim, static_cast<double>(positives));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "test_sets", TestSets);

// Counts of the runs of both pair tasks whose confusion matrix gives back a
// score to the last bit, and single counts.
absl::Status ConfusionMatrices(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const ReleasedScores scores, Released(run));
  int64_t runs = 0;
  std::map<std::string, int64_t> same = {
      {"accuracy", 0}, {"precision", 0}, {"recall", 0}, {"f1", 0}, {"mcc", 0}};
  double largest_f1_by_counts = 0;
  Confusion first;
  for (const auto& [probe, layers] : scores) {
    if (probe.task == "postag") continue;
    REPRO_ASSIGN_OR_RETURN(const int64_t items, TestSize(scores, probe));
    for (const auto& [layer, repeats] : layers) {
      for (size_t i = 0; i < repeats.size(); ++i) {
        const Score& score = repeats[i];
        REPRO_ASSIGN_OR_RETURN(const Confusion counts,
                               RecoverConfusion(score, items));
        const Score again = ScoreOf(counts);
        ++runs;
        same["accuracy"] += again.accuracy == score.accuracy;
        same["precision"] += again.precision == score.precision;
        same["recall"] += again.recall == score.recall;
        same["f1"] += again.f1 == score.f1;
        same["mcc"] += again.mcc == score.mcc;
        const auto tp = static_cast<double>(counts.true_positives);
        largest_f1_by_counts = std::max(
            largest_f1_by_counts,
            std::abs(
                2 * tp /
                    (2 * tp + static_cast<double>(counts.false_positives +
                                                  counts.false_negatives)) -
                score.f1));
        if (probe.task == "isInGraph" && probe.dataset == "java250" &&
            probe.graph == "cdg" && probe.model == "codebert" &&
            probe.init == "plm" && layer == 0 && i == 0) {
          first = counts;
        }
      }
    }
  }
  std::map<std::string, double> values = {
      {"runs", static_cast<double>(runs)},
      {"largest_f1_by_counts", largest_f1_by_counts},
      {"first_true_positives", static_cast<double>(first.true_positives)},
      {"first_false_positives", static_cast<double>(first.false_positives)},
      {"first_false_negatives", static_cast<double>(first.false_negatives)},
      {"first_true_negatives", static_cast<double>(first.true_negatives)}};
  for (const auto& [name, count] : same) {
    values[absl::StrCat("same_", name)] = static_cast<double>(count);
  }
  return RecordByName(run, "measure", values);
}
REPRO_REGISTER_EXPERIMENT(kSlug, "confusion_matrices", ConfusionMatrices);

// What the scores say together.
absl::Status Profile(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const ReleasedScores scores, Released(run));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string measure,
                           run.Arg(*claim, "measure"));
    // An argument that a claim does not have leaves its part open.
    const auto selected = [&](const char* name, const std::string& value) {
      const auto found = claim->args().find(name);
      return found == claim->args().end() || found->second == value;
    };
    std::vector<double> gains;
    std::map<std::string, int64_t> counts = {{"last_below_best", 0},
                                             {"last_above_best_control", 0},
                                             {"last_below_last_control", 0},
                                             {"first_above_best_control", 0}};
    for (const auto& [task, graph] : kReleasedTasks) {
      if (!selected("task", task) || !selected("graph", graph)) continue;
      // The tasks on the graphs of semantics.
      const bool semantic =
          std::string(graph) != "ast" && std::string(graph) != "tag";
      if (claim->args().count("semantic") > 0 && !semantic) continue;
      for (const char* dataset : kDatasets) {
        if (!selected("dataset", dataset)) continue;
        for (const char* model : kModels) {
          if (!selected("model", model)) continue;
          REPRO_ASSIGN_OR_RETURN(
              const Layers* trained,
              FindLayers(scores, {task, dataset, graph, model, "plm"}));
          REPRO_ASSIGN_OR_RETURN(
              const Layers* control,
              FindLayers(scores, {task, dataset, graph, model, "random"}));
          gains.push_back(BestMcc(*trained) - BestMcc(*control));
          counts["last_below_best"] += LastMcc(*trained) < BestMcc(*trained);
          counts["last_above_best_control"] +=
              LastMcc(*trained) > BestMcc(*control);
          counts["last_below_last_control"] +=
              LastMcc(*trained) < LastMcc(*control);
          counts["first_above_best_control"] +=
              FirstMcc(*trained) > BestMcc(*control);
        }
      }
    }
    if (gains.empty()) return UnknownName(*claim, "selection", measure);
    if (measure == "smallest_gain") {
      run.Record(*claim, *std::min_element(gains.begin(), gains.end()));
    } else if (measure == "largest_gain") {
      run.Record(*claim, *std::max_element(gains.begin(), gains.end()));
    } else if (counts.count(measure) > 0) {
      run.Record(*claim, static_cast<double>(counts[measure]));
    } else {
      return UnknownName(*claim, "measure", measure);
    }
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "profile", Profile);

// GraphCodeBERT beside CodeBERT, each at its best layer.
absl::Status CompareModels(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const ReleasedScores scores, Released(run));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string measure,
                           run.Arg(*claim, "measure"));
    REPRO_ASSIGN_OR_RETURN(const std::string task, run.Arg(*claim, "task"));
    REPRO_ASSIGN_OR_RETURN(const std::string graph, run.Arg(*claim, "graph"));
    REPRO_ASSIGN_OR_RETURN(const std::string dataset,
                           run.Arg(*claim, "dataset"));
    struct Side {
      double mcc, accuracy;
      int64_t items;
    };
    std::vector<Side> sides;
    for (const char* model : {"graphcodebert", "codebert"}) {
      const Probe probe = {task, dataset, graph, model, "plm"};
      REPRO_ASSIGN_OR_RETURN(const Layers* layers, FindLayers(scores, probe));
      REPRO_ASSIGN_OR_RETURN(const int64_t items, TestSize(scores, probe));
      const std::vector<Score>& best = layers->at(BestLayer(*layers));
      sides.push_back(
          {MeanOf(best, &Score::mcc), MeanOf(best, &Score::accuracy), items});
    }
    if (measure == "mcc_difference") {
      run.Record(*claim, sides[0].mcc - sides[1].mcc);
    } else if (measure == "z") {
      REPRO_ASSIGN_OR_RETURN(const double z,
                             TwoProportionZ(sides[0].accuracy, sides[0].items,
                                            sides[1].accuracy, sides[1].items));
      run.Record(*claim, z);
    } else {
      return UnknownName(*claim, "measure", measure);
    }
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "compare_models", CompareModels);

// ------------------------------------------------------------------- probes

absl::Status Parameters(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const int64_t dim, run.IntArg(*claim, "dim"));
    run.RecordCount(*claim, static_cast<double>(CountParameters(
                                PairProbes(dim, {Initializer::Meta()}))));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "parameters", Parameters);

absl::Status Speed(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  for (const Claim* claim : run.claims()) {
    Observation observation;
    for (const uint64_t seed : run.seeds()) {
      if (run.Cancelled()) return absl::CancelledError("stopped");
      try {
        const ProbeSpeed speed =
            MeasureProbeSpeed(/*layers=*/13, /*programs=*/32, /*seq_len=*/512,
                              /*dim=*/768, /*pairs=*/64, device, seed);
        observation.samples.push_back(speed.sequential_ms / speed.stacked_ms);
      } catch (const c10::Error& error) {
        return absl::InternalError(
            absl::StrCat(claim->id(), ": ", error.what_without_backtrace()));
      }
    }
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "speed", Speed);

// ------------------------------------------------------------- mini-language

// By encoder's name, seed and task.
using ScoresByEncoder =
    std::map<std::string, std::vector<std::map<std::string, LayerScores>>>;

std::vector<double> Flatten(const std::vector<LayerScores>& scores) {
  std::vector<double> numbers;
  for (const LayerScores& of_task : scores) {
    numbers.insert(numbers.end(), of_task.validation.begin(),
                   of_task.validation.end());
    numbers.insert(numbers.end(), of_task.test.begin(), of_task.test.end());
  }
  return numbers;
}

absl::StatusOr<std::map<std::string, LayerScores>> Unflatten(
    const std::vector<double>& numbers, int64_t num_layers) {
  const size_t layers = num_layers + 1;
  if (numbers.size() != 2 * layers * Tasks().size()) {
    return absl::DataLossError(
        absl::StrCat("a kept result has ", numbers.size(),
                     " numbers, expected ", 2 * layers * Tasks().size()));
  }
  std::map<std::string, LayerScores> scores;
  auto next = numbers.begin();
  for (const std::string& task : Tasks()) {
    scores[task].validation.assign(next, next + layers);
    scores[task].test.assign(next + layers, next + 2 * layers);
    next += 2 * layers;
  }
  return scores;
}

// Test MCC at the layer that is best on the validation set.
double BestTest(const LayerScores& scores) {
  return scores.test[BestByValidation(scores)];
}

absl::Status ProbeMiniLanguage(ExperimentRun& run,
                               const ProbingOptions& options) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  Grid grid = GridOfRun(run);
  grid.names = {"random", "pretrained", "data_flow"};
  REPRO_ASSIGN_OR_RETURN(
      const GridOutcomes outcomes,
      TrainGrid(
          grid,
          [&](const GridCell& cell) -> absl::StatusOr<std::vector<double>> {
            REPRO_ASSIGN_OR_RETURN(const EncoderKind kind,
                                   ParseEncoderKind(cell.name));
            try {
              REPRO_ASSIGN_OR_RETURN(
                  const std::vector<LayerScores> scores,
                  ProbeEncoder(
                      kind, options, cell.seed, device, [&](double share) {
                        cell.progress(static_cast<int64_t>(1000 * share), 1000,
                                      cell.name);
                        return !cell.cancelled();
                      }));
              return Flatten(scores);
            } catch (const c10::Error& error) {
              return absl::InternalError(absl::StrCat(
                  cell.name, ": ", error.what_without_backtrace()));
            }
          }));
  ScoresByEncoder scores;
  for (const auto& [name, of_seeds] : outcomes) {
    for (const std::vector<double>& numbers : of_seeds) {
      REPRO_ASSIGN_OR_RETURN(scores[name].emplace_back(),
                             Unflatten(numbers, options.num_layers));
    }
  }
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string measure,
                           run.Arg(*claim, "measure"));
    std::string task, encoder = "pretrained", against = "random";
    if (claim->args().count("task") > 0) task = claim->args().at("task");
    if (claim->args().count("encoder") > 0) {
      encoder = claim->args().at("encoder");
    }
    if (claim->args().count("against") > 0) {
      against = claim->args().at("against");
    }
    if (scores.count(encoder) == 0 || scores.count(against) == 0) {
      return UnknownName(*claim, "encoder",
                         absl::StrCat(encoder, " or ", against));
    }
    const bool needs_task = measure != "depth" && measure != "cfg_is_hardest" &&
                            measure != "data_flow_is_specific";
    if (needs_task &&
        std::find(Tasks().begin(), Tasks().end(), task) == Tasks().end()) {
      return UnknownName(*claim, "task", task);
    }
    Observation observation;
    for (size_t i = 0; i < run.seeds().size(); ++i) {
      const auto& own = scores[encoder][i];
      const auto& other = scores[against][i];
      const auto gain = [&](const std::string& name) {
        return BestTest(own.at(name)) - BestTest(other.at(name));
      };
      if (measure == "gain") {
        observation.samples.push_back(gain(task));
      } else if (measure == "mcc") {
        observation.samples.push_back(BestTest(own.at(task)));
        observation.effects.push_back(gain(task));
      } else if (measure == "last_layer_loss") {
        observation.samples.push_back(BestTest(own.at(task)) -
                                      own.at(task).test.back());
      } else if (measure == "depth") {
        // Layers by which control and data dependence peak above syntax.
        const auto peak = [&](const char* name) {
          return static_cast<double>(BestByValidation(own.at(name)));
        };
        observation.samples.push_back((peak("cdg") + peak("ddg")) / 2 -
                                      peak("ast"));
      } else if (measure == "cfg_is_hardest") {
        observation.samples.push_back(
            std::min({BestTest(own.at("ast")), BestTest(own.at("cdg")),
                      BestTest(own.at("ddg"))}) -
            BestTest(own.at("cfg")));
      } else if (measure == "data_flow_is_specific") {
        observation.samples.push_back(gain("ddg") -
                                      (gain("ast") + gain("tag")) / 2);
      } else {
        return UnknownName(*claim, "measure", measure);
      }
    }
    observation.scale = absl::StrCat(
        options.num_layers, " layers of ", options.dim, ", ",
        options.pretraining_steps, " steps of ", options.pretraining_batch,
        " generated programs in place of a released model");
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}

absl::Status MiniLanguage(ExperimentRun& run) {
  return ProbeMiniLanguage(run, ProbingOptions::Small());
}
REPRO_REGISTER_EXPERIMENT(kSlug, "mini_language", MiniLanguage);

absl::Status MiniLanguageLarge(ExperimentRun& run) {
  return ProbeMiniLanguage(run, ProbingOptions::Large());
}
REPRO_REGISTER_EXPERIMENT(kSlug, "mini_language_large", MiniLanguageLarge);

}  // namespace
}  // namespace repro::probing_code_models
