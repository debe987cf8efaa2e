// How each claim of claims.textproto is measured. Experiments, and what the
// claims' args mean to them:
//
//   curves        task; measure: area, harmonic, f1, points, off_grid,
//                 trials_above
//   trials        list and setting; measure: mean, last_less_first, spearman,
//                 welch, on_grid (of `task`)
//   main_results  measure: consistent (areas whose mean and deviation fit;
//                 `ddof` is 0 or 1), sample_sd (of `task` and `kind`)
//   faithfulness  model; measure: scale, residual, rises, fewest_heads
//   prompts       measure, see Prompts()
//   circuits      task
//   parameters    features, dim
//   planted,      measure; minus: another, and the effect is the difference,
//   name_task,    which `show` shows, too
//   name_task_cut
//   train_seconds, train_seconds_cuda
#include <ATen/ops/randn.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/claims/experiment.h"
#include "common/count/parameters.h"
#include "common/stats/correlation.h"
#include "common/stats/descriptive.h"
#include "common/stats/hypothesis.h"
#include "common/status/macros.h"
#include "common/tensor/device.h"
#include "common/tensor/generator.h"
#include "common/train/experiment.h"
#include "common/train/grid.h"
#include "papers/sae_circuits/circuit.h"
#include "papers/sae_circuits/name_task.h"
#include "papers/sae_circuits/planted.h"
#include "papers/sae_circuits/released.h"
#include "papers/sae_circuits/sparse_autoencoder.h"

namespace repro::sae_circuits {
namespace {

constexpr char kSlug[] = "sae_circuits";
// Of the released means and deviations.
constexpr int64_t kTrials = 10;

// ----------------------------------------------------------- released results

absl::StatusOr<ReleasedResults> Results(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string path,
                         run.AssetPath("released_results"));
  return ReadResults(path);
}

absl::StatusOr<std::map<std::string, Circuit>> Circuits(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string path,
                         run.AssetPath("ground_truth_heads"));
  return ReadCircuits(path);
}

// The entry that the claim's arg `what` names.
template <typename Map>
absl::StatusOr<const typename Map::mapped_type*> Named(ExperimentRun& run,
                                                       const Claim& claim,
                                                       absl::string_view what,
                                                       const Map& map) {
  REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(claim, what));
  const auto found = map.find(name);
  if (found == map.end()) return UnknownName(claim, what, name);
  return &found->second;
}

absl::StatusOr<double> CurveMeasure(const Claim& claim,
                                    const std::string& measure,
                                    const std::string& task,
                                    const RocCurve& curve,
                                    const Circuit& circuit,
                                    const ReleasedResults& results) {
  if (measure == "area") return RocArea(curve);
  if (measure == "harmonic") return BestHarmonicRate(curve);
  if (measure == "f1") {
    return BestF1(curve, circuit.positives(), circuit.negatives());
  }
  if (measure == "points") return static_cast<double>(curve.fpr.size());
  if (measure == "off_grid") {
    int64_t off = 0;
    for (size_t i = 0; i < curve.fpr.size(); ++i) {
      off += !IsMultiple(curve.fpr[i], circuit.negatives()) ||
             !IsMultiple(curve.tpr[i], circuit.positives());
    }
    return static_cast<double>(off);
  }
  if (measure == "trials_above") {
    // Of the sweeps over training examples and features.
    REPRO_ASSIGN_OR_RETURN(const double area, RocArea(curve));
    int64_t above = 0;
    for (const char* sweep : {"examples/", "codes/"}) {
      const auto found = results.trials.find(sweep + task);
      if (found == results.trials.end()) continue;
      for (const auto& [setting, areas] : found->second) {
        above += std::count_if(areas.begin(), areas.end(),
                               [&](double a) { return a >= area; });
      }
    }
    return static_cast<double>(above);
  }
  return UnknownName(claim, "measure", measure);
}

absl::Status Curves(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const ReleasedResults results, Results(run));
  REPRO_ASSIGN_OR_RETURN(const auto circuits, Circuits(run));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string task, run.Arg(*claim, "task"));
    REPRO_ASSIGN_OR_RETURN(const RocCurve* curve,
                           Named(run, *claim, "task", results.curves));
    REPRO_ASSIGN_OR_RETURN(const Circuit* circuit,
                           Named(run, *claim, "task", circuits));
    REPRO_ASSIGN_OR_RETURN(const std::string measure,
                           run.Arg(*claim, "measure"));
    REPRO_ASSIGN_OR_RETURN(
        const double value,
        CurveMeasure(*claim, measure, task, *curve, *circuit, results));
    run.Record(*claim, value);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "curves", Curves);

absl::Status Trials(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const ReleasedResults results, Results(run));
  REPRO_ASSIGN_OR_RETURN(const auto circuits, Circuits(run));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string measure,
                           run.Arg(*claim, "measure"));
    REPRO_ASSIGN_OR_RETURN(const auto* const list,
                           Named(run, *claim, "list", results.trials));
    if (measure == "mean") {
      REPRO_ASSIGN_OR_RETURN(const int64_t setting,
                             run.IntArg(*claim, "setting"));
      const auto found = list->find(setting);
      if (found == list->end()) {
        return UnknownName(*claim, "setting", absl::StrCat(setting));
      }
      REPRO_ASSIGN_OR_RETURN(const double mean, Mean(found->second));
      run.Record(*claim, mean);
      continue;
    }
    if (measure == "on_grid") {
      REPRO_ASSIGN_OR_RETURN(const Circuit* circuit,
                             Named(run, *claim, "task", circuits));
      int64_t on_grid = 0;
      for (const auto& [setting, areas] : *list) {
        for (const double area : areas) {
          on_grid +=
              IsMultiple(area, 2 * circuit->positives() * circuit->negatives());
        }
      }
      run.Record(*claim, static_cast<double>(on_grid));
      continue;
    }
    const std::vector<double>& first = list->begin()->second;
    const std::vector<double>& last = list->rbegin()->second;
    if (measure == "last_less_first") {
      REPRO_ASSIGN_OR_RETURN(const double mean_first, Mean(first));
      REPRO_ASSIGN_OR_RETURN(const double mean_last, Mean(last));
      run.Record(*claim, mean_last - mean_first);
    } else if (measure == "welch") {
      REPRO_ASSIGN_OR_RETURN(const TestResult test, WelchTest(last, first));
      run.Record(*claim, test.statistic);
    } else if (measure == "spearman") {
      std::vector<double> settings, areas;
      for (const auto& [setting, of_setting] : *list) {
        for (const double area : of_setting) {
          settings.push_back(static_cast<double>(setting));
          areas.push_back(area);
        }
      }
      REPRO_ASSIGN_OR_RETURN(const double correlation,
                             SpearmanCorrelation(settings, areas));
      run.Record(*claim, correlation);
    } else {
      return UnknownName(*claim, "measure", measure);
    }
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "trials", Trials);

absl::Status MainResults(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const ReleasedResults results, Results(run));
  REPRO_ASSIGN_OR_RETURN(const auto circuits, Circuits(run));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string measure,
                           run.Arg(*claim, "measure"));
    if (measure == "sample_sd") {
      REPRO_ASSIGN_OR_RETURN(const auto* const kinds,
                             Named(run, *claim, "task", results.main_results));
      REPRO_ASSIGN_OR_RETURN(const MeanAndDeviation* result,
                             Named(run, *claim, "kind", *kinds));
      // The authors divide the squares by the number of trials.
      run.Record(*claim, result->standard_deviation *
                             std::sqrt(static_cast<double>(kTrials) /
                                       static_cast<double>(kTrials - 1)));
      continue;
    }
    if (measure != "consistent") return UnknownName(*claim, "measure", measure);
    REPRO_ASSIGN_OR_RETURN(const int64_t ddof, run.IntArg(*claim, "ddof"));
    int64_t consistent = 0;
    for (const auto& [task, kinds] : results.main_results) {
      const auto circuit = circuits.find(task);
      if (circuit == circuits.end()) return UnknownName(*claim, "task", task);
      for (const auto& [kind, result] : kinds) {
        consistent += AreasMayHave(
            result.mean, result.standard_deviation, kTrials, kTrials - ddof,
            circuit->second.positives(), circuit->second.negatives());
      }
    }
    run.Record(*claim, static_cast<double>(consistent));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "main_results", MainResults);

absl::Status Faithfulness(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const ReleasedResults results, Results(run));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string measure,
                           run.Arg(*claim, "measure"));
    REPRO_ASSIGN_OR_RETURN(const FaithfulnessCurve* curve,
                           Named(run, *claim, "model", results.induction));
    REPRO_ASSIGN_OR_RETURN(const AblationScale scale, FitAblationScale(*curve));
    const std::vector<double>& values = curve->faithfulness;
    if (measure == "scale") {
      run.Record(*claim, scale.kl);
    } else if (measure == "residual") {
      run.Record(*claim, scale.largest_residual);
    } else if (measure == "rises") {
      // A smaller circuit that is more faithful than the one before it.
      int64_t rises = 0;
      for (size_t i = 1; i < values.size(); ++i) {
        rises += values[i] > values[i - 1];
      }
      run.Record(*claim, static_cast<double>(rises));
    } else if (measure == "fewest_heads") {
      REPRO_ASSIGN_OR_RETURN(const double least,
                             run.DoubleArg(*claim, "faithfulness"));
      int64_t fewest = -1;
      for (size_t i = 0; i < values.size(); ++i) {
        if (values[i] >= least &&
            (fewest < 0 || curve->num_heads[i] < fewest)) {
          fewest = curve->num_heads[i];
        }
      }
      run.Record(*claim, static_cast<double>(fewest));
    } else {
      return UnknownName(*claim, "measure", measure);
    }
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "faithfulness", Faithfulness);

// ----------------------------------------------------------------- data, sizes

// Measures: prompts; distinct; names (that occur); repeated (positives with
// three mentions of two names); unrepeated (negatives with three names);
// templates (used, both orders); baba, abba (positives of that order); of_one
// (positives that match one template and order alone); rebuilt (negatives that
// follow from their positive and a third name).
absl::Status Prompts(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string prompts_path,
                         run.AssetPath("ioi_prompts"));
  REPRO_ASSIGN_OR_RETURN(const std::string lexicon_path,
                         run.AssetPath("prompt_lexicon"));
  REPRO_ASSIGN_OR_RETURN(const std::vector<PromptPair> pairs,
                         ReadPrompts(prompts_path));
  REPRO_ASSIGN_OR_RETURN(const Lexicon lexicon, ReadLexicon(lexicon_path));
  std::map<std::string, double> values;
  for (const char* name :
       {"repeated", "unrepeated", "baba", "abba", "of_one", "rebuilt"}) {
    values[name] = 0;
  }
  std::set<std::string> distinct, names, templates;
  const auto mentions = [&](const std::string& text) {
    const std::vector<std::string> all = NamesIn(text, lexicon);
    names.insert(all.begin(), all.end());
    const std::set<std::string> once(all.begin(), all.end());
    return std::make_pair(all.size(), once.size());
  };
  for (const PromptPair& pair : pairs) {
    distinct.insert(pair.positive);
    distinct.insert(pair.negative);
    values["repeated"] +=
        mentions(pair.positive) == std::pair<size_t, size_t>(3, 2);
    values["unrepeated"] +=
        mentions(pair.negative) == std::pair<size_t, size_t>(3, 3);
    std::vector<Slots> matches;
    for (const std::string& baba : lexicon.templates) {
      REPRO_ASSIGN_OR_RETURN(const std::string abba, SwapFirstNames(baba));
      for (const std::string* candidate : {&baba, &abba}) {
        std::optional<Slots> slots =
            MatchTemplate(pair.positive, *candidate, lexicon);
        if (!slots.has_value()) continue;
        matches.push_back(*std::move(slots));
        templates.insert(*candidate);
        ++values[candidate == &baba ? "baba" : "abba"];
      }
    }
    if (matches.size() != 1) continue;
    ++values["of_one"];
    const std::string& object = matches[0]["A"];
    const std::string& subject = matches[0]["B"];
    // Any name that is not in the positive prompt will do.
    for (const std::string& third : NamesIn(pair.negative, lexicon)) {
      if (third == object || third == subject) continue;
      values["rebuilt"] +=
          NegativeOf(pair.positive, object, subject, third) == pair.negative;
      break;
    }
  }
  values["prompts"] = static_cast<double>(2 * pairs.size());
  values["distinct"] = static_cast<double>(distinct.size());
  values["names"] = static_cast<double>(names.size());
  values["templates"] = static_cast<double>(templates.size());
  return RecordByName(run, "measure", values);
}
REPRO_REGISTER_EXPERIMENT(kSlug, "prompts", Prompts);

absl::Status CircuitSizes(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const auto circuits, Circuits(run));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const Circuit* circuit,
                           Named(run, *claim, "task", circuits));
    run.Record(*claim, static_cast<double>(circuit->positives()));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "circuits", CircuitSizes);

absl::Status Parameters(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const int64_t features,
                           run.IntArg(*claim, "features"));
    REPRO_ASSIGN_OR_RETURN(const int64_t dim, run.IntArg(*claim, "dim"));
    run.RecordCount(
        *claim, static_cast<double>(CountParameters(
                    SparseAutoencoder(dim, features, Initializer::Meta()))));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "parameters", Parameters);

// -------------------------------------------------------------------- in small

// Values by name, one a seed, as samples; the effects are their differences
// from those of the claim's arg `minus`, if it has one.
absl::Status RecordStudy(
    ExperimentRun& run,
    const std::map<std::string, std::vector<double>>& values,
    const std::string& scale) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::vector<double>* own,
                           Named(run, *claim, "measure", values));
    Observation observation;
    observation.samples = *own;
    observation.scale = scale;
    if (run.Arg(*claim, "minus").ok()) {
      REPRO_ASSIGN_OR_RETURN(const std::vector<double>* minus,
                             Named(run, *claim, "minus", values));
      for (size_t i = 0; i < own->size(); ++i) {
        observation.effects.push_back((*own)[i] - (*minus)[i]);
      }
      // A difference is shown where the claim is about one.
      if (run.Arg(*claim, "show").ok()) {
        observation.samples = observation.effects;
      }
    }
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}

absl::Status PlantedCircuits(ExperimentRun& run) {
  const PlantedOptions options;
  std::map<std::string, std::vector<double>> values;
  for (size_t i = 0; i < run.seeds().size(); ++i) {
    if (run.Cancelled()) return absl::CancelledError("stopped");
    run.Progress(static_cast<double>(i),
                 static_cast<double>(run.seeds().size()),
                 absl::StrCat("seed ", run.seeds()[i]));
    try {
      REPRO_ASSIGN_OR_RETURN(const auto areas,
                             RunPlantedStudy(options, {}, run.seeds()[i]));
      for (const auto& [name, area] : areas) values[name].push_back(area);
    } catch (const c10::Error& error) {
      return absl::InternalError(error.what_without_backtrace());
    }
  }
  return RecordStudy(
      run, values,
      absl::StrCat(options.heads, " heads of ", options.dim,
                   " numbers with planted clusters in place of a model's"));
}
REPRO_REGISTER_EXPERIMENT(kSlug, "planted", PlantedCircuits);

absl::Status StudyNames(ExperimentRun& run, KnownCircuit known) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  NameStudyOptions options;
  options.known = known;
  const std::vector<std::string> measures = NameStudyMeasures(known);
  Grid grid = GridOfRun(run);
  grid.names = {"names"};
  REPRO_ASSIGN_OR_RETURN(
      const GridOutcomes outcomes,
      TrainGrid(
          grid,
          [&](const GridCell& cell) -> absl::StatusOr<std::vector<double>> {
            try {
              REPRO_ASSIGN_OR_RETURN(
                  const auto measured,
                  RunNameStudy(options, cell.seed, device, [&](double share) {
                    cell.progress(static_cast<int64_t>(1000 * share), 1000,
                                  absl::StrCat("seed ", cell.seed));
                    return !cell.cancelled();
                  }));
              std::vector<double> list;
              for (const std::string& name : measures) {
                list.push_back(measured.at(name));
              }
              return list;
            } catch (const c10::Error& error) {
              return absl::InternalError(error.what_without_backtrace());
            }
          }));
  std::map<std::string, std::vector<double>> values;
  for (const std::vector<double>& of_seed : outcomes.at("names")) {
    if (of_seed.size() != measures.size()) {
      return absl::DataLossError("a kept result of another version");
    }
    for (size_t i = 0; i < of_seed.size(); ++i) {
      values[measures[i]].push_back(of_seed[i]);
    }
  }
  return RecordStudy(
      run, values,
      absl::StrCat("a model of ", options.model.layers, " layers of ",
                   options.model.heads, " heads, dim ", options.model.dim,
                   ", trained on made-up names"));
}

absl::Status NameTaskAblation(ExperimentRun& run) {
  return StudyNames(run, KnownCircuit::kAblation);
}
REPRO_REGISTER_EXPERIMENT(kSlug, "name_task", NameTaskAblation);

absl::Status NameTaskCut(ExperimentRun& run) {
  return StudyNames(run, KnownCircuit::kCut);
}
REPRO_REGISTER_EXPERIMENT(kSlug, "name_task_cut", NameTaskCut);

// Seconds that the training of one autoencoder takes at the size of GPT-2
// small. The values of its vectors do not matter.
absl::Status TrainSeconds(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  const AutoencoderOptions options;
  Observation observation;
  for (size_t i = 0; i < run.seeds().size(); ++i) {
    if (run.Cancelled()) return absl::CancelledError("stopped");
    const uint64_t seed = run.seeds()[i];
    run.Progress(static_cast<double>(i),
                 static_cast<double>(run.seeds().size()),
                 absl::StrCat("seed ", seed));
    try {
      const at::Tensor vectors =
          at::randn({options.train_examples, 144, 768}, MakeGenerator(seed),
                    at::TensorOptions().dtype(at::kFloat))
              .to(device);
      Synchronize(device);
      const auto start = std::chrono::steady_clock::now();
      TrainAutoencoder(vectors, options, seed);
      Synchronize(device);
      observation.samples.push_back(
          std::chrono::duration<double>(std::chrono::steady_clock::now() -
                                        start)
              .count());
    } catch (const c10::Error& error) {
      return absl::InternalError(error.what_without_backtrace());
    }
  }
  observation.scale = "random vectors of GPT-2 small's shape";
  for (const Claim* claim : run.claims()) run.Record(*claim, observation);
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "train_seconds", TrainSeconds);
REPRO_REGISTER_EXPERIMENT(kSlug, "train_seconds_cuda", TrainSeconds);

}  // namespace
}  // namespace repro::sae_circuits
