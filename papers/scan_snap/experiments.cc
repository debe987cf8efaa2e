// How each claim of claims.textproto is measured.
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/claims/experiment.h"
#include "common/claims/printed_number.h"
#include "common/data/csv.h"
#include "common/stats/descriptive.h"
#include "common/status/macros.h"
#include "papers/scan_snap/one_layer_transformer.h"
#include "papers/scan_snap/phase_transition.h"
#include "papers/scan_snap/training.h"

namespace repro::scan_snap {
namespace {

// Trains `runs`, telling `run` how far it is.
absl::StatusOr<std::vector<RunResult>> TrainWithProgress(
    ExperimentRun& run, const std::vector<RunOptions>& runs) {
  return TrainAll(runs, at::get_num_threads(), [&](int64_t done) {
    run.Progress(static_cast<double>(done), static_cast<double>(runs.size()),
                 absl::StrCat(done, " of ", runs.size(), " runs"));
    return !run.Cancelled();
  });
}

// ---- Single runs: Fig. 4 and the log of the first run of Fig. 6 -----------

// Two-sided rank test that `reported`, one run, comes from the distribution of
// `ours`: under it all ranks among the n + 1 runs are equally likely, so p is
// twice the smaller tail. NaN if so few runs of ours cannot reach below
// `min_p`.
double SingleRunPValue(double reported, const std::vector<double>& ours,
                       double min_p) {
  const double runs = static_cast<double>(ours.size()) + 1;
  if (2 / runs >= min_p) return std::numeric_limits<double>::quiet_NaN();
  double below = 1, above = 1;
  for (double value : ours) {
    below += value <= reported;
    above += value >= reported;
  }
  return std::min(1.0, 2 * std::min(below, above) / runs);
}

// "syn_small" is the setting of Fig. 4, "syn_medium" the first run of Fig. 6.
absl::StatusOr<RunOptions> SingleRunSetting(const ExperimentRun& run,
                                            const Claim& claim) {
  REPRO_ASSIGN_OR_RETURN(const std::string setting, run.Arg(claim, "setting"));
  RunOptions options;
  if (setting == "syn_medium") {
    options.classes.num_queries = 1;
    options.classes.next_per_query = 2;
    options.zero_init = false;
  } else if (setting != "syn_small") {
    return absl::InvalidArgumentError(
        absl::StrCat(claim.id(), ": unknown setting \"", setting,
                     "\": use syn_small or syn_medium"));
  }
  REPRO_ASSIGN_OR_RETURN(options.lr_y, run.DoubleArg(claim, "lr_y"));
  REPRO_ASSIGN_OR_RETURN(options.lr_z, run.DoubleArg(claim, "lr_z"));
  return options;
}

// The quantity of a run that the claim is about: the loss of an iteration, the
// entropy of c_n at the end, or c_n at the end on a place of class 0's support.
absl::StatusOr<double> SingleRunQuantity(const ExperimentRun& run,
                                         const Claim& claim,
                                         const RunResult& result) {
  REPRO_ASSIGN_OR_RETURN(const std::string quantity,
                         run.Arg(claim, "quantity"));
  if (quantity == "entropy") return result.entropy;
  const bool is_loss = quantity == "loss";
  if (!is_loss && quantity != "attention") {
    return absl::InvalidArgumentError(
        absl::StrCat(claim.id(), ": unknown quantity \"", quantity,
                     "\": use loss, entropy or attention"));
  }
  REPRO_ASSIGN_OR_RETURN(const int64_t index,
                         run.IntArg(claim, is_loss ? "iteration" : "place"));
  const std::vector<double>& values =
      is_loss ? result.losses : result.attention;
  if (index < 0 || index >= values.size()) {
    return absl::OutOfRangeError(absl::StrCat(claim.id(), ": no ", quantity,
                                              " ", index, ", there are ",
                                              values.size()));
  }
  return values[index];
}

absl::Status SingleRuns(ExperimentRun& run) {
  using Key = std::tuple<int, double, double>;
  const auto key = [](const RunOptions& options) {
    return Key(options.classes.num_queries, options.lr_y, options.lr_z);
  };
  std::vector<RunOptions> runs;
  std::map<Key, size_t> first_run;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(RunOptions options, SingleRunSetting(run, *claim));
    if (!first_run.emplace(key(options), runs.size()).second) continue;
    for (uint64_t seed : run.seeds()) {
      options.seed = seed;
      runs.push_back(options);
    }
  }
  REPRO_ASSIGN_OR_RETURN(const std::vector<RunResult> results,
                         TrainWithProgress(run, runs));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const RunOptions options,
                           SingleRunSetting(run, *claim));
    const size_t first = first_run.at(key(options));
    Observation observation;
    for (size_t i = 0; i < run.seeds().size(); ++i) {
      REPRO_ASSIGN_OR_RETURN(
          const double value,
          SingleRunQuantity(run, *claim, results[first + i]));
      observation.samples.push_back(value);
    }
    observation.median = true;
    REPRO_ASSIGN_OR_RETURN(observation.value, Median(observation.samples));
    if (claim->criterion().has_rank_test()) {
      REPRO_ASSIGN_OR_RETURN(const PrintedNumber reported,
                             ParsePrintedNumber(claim->reported()));
      observation.p_value =
          SingleRunPValue(reported.value, observation.samples,
                          claim->criterion().rank_test().min_p());
    }
    run.Record(*claim, observation);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("scan_snap", "single_runs", SingleRuns);

// The same quantities of the authors' own run, by its seed.
absl::Status AuthorsRuns(ExperimentRun& run) {
  std::vector<RunOptions> runs;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(RunOptions options, SingleRunSetting(run, *claim));
    REPRO_ASSIGN_OR_RETURN(const int64_t seed, run.IntArg(*claim, "seed"));
    options.seed = static_cast<uint64_t>(seed);
    options.authors_streams = true;
    runs.push_back(options);
  }
  REPRO_ASSIGN_OR_RETURN(const std::vector<RunResult> results,
                         TrainWithProgress(run, runs));
  for (size_t i = 0; i < runs.size(); ++i) {
    const Claim& claim = *run.claims()[i];
    REPRO_ASSIGN_OR_RETURN(const double value,
                           SingleRunQuantity(run, claim, results[i]));
    run.Record(claim, value);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("scan_snap", "authors_runs", AuthorsRuns);

// ---- Fig. 6 ---------------------------------------------------------------

constexpr std::array<int, 4> kQueries = {1, 3, 5, 10};
constexpr std::array<double, 4> kLearningRates = {0.5, 1, 2, 3};
constexpr std::array<double, 4> kRatios = {1, 2, 5, 10};

// Number of queries, eta_Z, eta_Y / eta_Z.
using Cell = std::tuple<int, double, double>;

// The cells of Fig. 6 with that many queries, or all of them for 0.
std::vector<Cell> Cells(int64_t queries) {
  std::vector<Cell> cells;
  for (int q : kQueries) {
    if (queries != 0 && q != queries) continue;
    for (double lr_z : kLearningRates) {
      for (double ratio : kRatios) cells.emplace_back(q, lr_z, ratio);
    }
  }
  return cells;
}

// The entropies of some cells: one value a cell (a mean, or one seed's).
using Entropies = std::map<Cell, double>;

// The median, over the curves (queries, eta_Z) that `entropies` holds, of the
// ratio at which the entropy is least: above it attention gets denser.
absl::StatusOr<double> TurningRatio(const Entropies& entropies) {
  std::map<std::pair<int, double>, std::pair<double, double>> least;
  for (const auto& [cell, entropy] : entropies) {
    const auto& [queries, lr_z, ratio] = cell;
    const auto found = least.try_emplace({queries, lr_z}, entropy, ratio).first;
    found->second = std::min(found->second, {entropy, ratio});
  }
  std::vector<double> ratios;
  for (const auto& curve : least) ratios.push_back(curve.second.second);
  return Median(ratios);
}

// The mean, over the curves with one of `queries`, of what the entropy gains
// from ratio `from` to ratio `to`.
absl::StatusOr<double> EntropyGain(const Entropies& entropies, double from,
                                   double to) {
  std::vector<double> gains;
  for (const auto& [cell, entropy] : entropies) {
    const auto& [queries, lr_z, ratio] = cell;
    if (ratio != from) continue;
    gains.push_back(entropies.at({queries, lr_z, to}) - entropy);
  }
  return Mean(gains);
}

// What a claim asks of Fig. 6: the entropy of one cell, or a number of the
// curves ("turning_ratio", or "gain" with `from` and `to`).
struct Figure6Question {
  std::string measure;
  std::vector<Cell> cells;
  double from = 0;
  double to = 0;

  absl::StatusOr<double> Answer(const Entropies& entropies) const {
    if (measure == "turning_ratio") return TurningRatio(entropies);
    if (measure == "gain") return EntropyGain(entropies, from, to);
    return entropies.at(cells.front());
  }
};

absl::StatusOr<Figure6Question> ReadFigure6Question(const ExperimentRun& run,
                                                    const Claim& claim) {
  const auto check = [&](const char* name, const auto& known, double value) {
    if (std::find(known.begin(), known.end(), value) != known.end()) {
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(
        absl::StrCat(claim.id(), ": args: ", name, " ", value,
                     " is not in the grid of Fig. 6"));
  };
  Figure6Question question;
  REPRO_ASSIGN_OR_RETURN(question.measure, run.Arg(claim, "measure"));
  if (question.measure == "entropy") {
    REPRO_ASSIGN_OR_RETURN(const int64_t queries, run.IntArg(claim, "queries"));
    REPRO_ASSIGN_OR_RETURN(const double lr_z, run.DoubleArg(claim, "lr_z"));
    REPRO_ASSIGN_OR_RETURN(const double ratio, run.DoubleArg(claim, "ratio"));
    REPRO_RETURN_IF_ERROR(check("queries", kQueries, queries));
    REPRO_RETURN_IF_ERROR(check("lr_z", kLearningRates, lr_z));
    REPRO_RETURN_IF_ERROR(check("ratio", kRatios, ratio));
    question.cells = {{static_cast<int>(queries), lr_z, ratio}};
    return question;
  }
  REPRO_ASSIGN_OR_RETURN(const std::string queries, run.Arg(claim, "queries"));
  if (queries == "all") {
    question.cells = Cells(0);
  } else if (queries == "several") {
    question.cells = Cells(0);
    question.cells.erase(
        std::remove_if(question.cells.begin(), question.cells.end(),
                       [](const Cell& cell) { return std::get<0>(cell) == 1; }),
        question.cells.end());
  } else if (queries == "one") {
    question.cells = Cells(1);
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat(claim.id(), ": unknown queries \"", queries,
                     "\": use all, several or one"));
  }
  if (question.measure == "gain") {
    REPRO_ASSIGN_OR_RETURN(question.from, run.DoubleArg(claim, "from"));
    REPRO_ASSIGN_OR_RETURN(question.to, run.DoubleArg(claim, "to"));
    REPRO_RETURN_IF_ERROR(check("from", kRatios, question.from));
    REPRO_RETURN_IF_ERROR(check("to", kRatios, question.to));
  } else if (question.measure != "turning_ratio") {
    return absl::InvalidArgumentError(
        absl::StrCat(claim.id(), ": unknown measure \"", question.measure,
                     "\": use entropy, turning_ratio or gain"));
  }
  return question;
}

absl::Status Figure6With(ExperimentRun& run, const std::vector<uint64_t>& seeds,
                         bool authors_streams) {
  std::vector<Figure6Question> questions;
  std::map<Cell, size_t> first_run;
  std::vector<RunOptions> runs;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(Figure6Question question,
                           ReadFigure6Question(run, *claim));
    for (const Cell& cell : question.cells) {
      if (!first_run.emplace(cell, runs.size()).second) continue;
      const auto& [queries, lr_z, ratio] = cell;
      RunOptions options;
      options.classes.num_queries = queries;
      options.classes.next_per_query = 2;
      options.lr_z = lr_z;
      options.lr_y = lr_z * ratio;
      options.zero_init = false;
      options.authors_streams = authors_streams;
      for (uint64_t seed : seeds) {
        options.seed = seed;
        runs.push_back(options);
      }
    }
    questions.push_back(std::move(question));
  }
  REPRO_ASSIGN_OR_RETURN(const std::vector<RunResult> results,
                         TrainWithProgress(run, runs));
  for (size_t q = 0; q < questions.size(); ++q) {
    Observation observation;
    Entropies mean;
    for (size_t s = 0; s < seeds.size(); ++s) {
      Entropies entropies;
      for (const Cell& cell : questions[q].cells) {
        entropies[cell] = results[first_run.at(cell) + s].entropy;
        mean[cell] += entropies[cell] / seeds.size();
      }
      REPRO_ASSIGN_OR_RETURN(const double sample,
                             questions[q].Answer(entropies));
      observation.samples.push_back(sample);
    }
    REPRO_ASSIGN_OR_RETURN(observation.value, questions[q].Answer(mean));
    run.Record(*run.claims()[q], observation);
  }
  return absl::OkStatus();
}

absl::Status Figure6(ExperimentRun& run) {
  return Figure6With(run, run.seeds(), false);
}
REPRO_REGISTER_EXPERIMENT("scan_snap", "figure6", Figure6);

absl::Status Figure6AuthorsSeeds(ExperimentRun& run) {
  return Figure6With(run, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, true);
}
REPRO_REGISTER_EXPERIMENT("scan_snap", "figure6_authors_seeds",
                          Figure6AuthorsSeeds);

// ---- The released data ----------------------------------------------------

absl::StatusOr<Entropies> ReleasedEntropies(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string path,
                         run.AssetPath("figure6_entropy"));
  REPRO_ASSIGN_OR_RETURN(const CsvTable table, CsvTable::Read(path));
  Entropies entropies;
  for (int64_t row = 0; row < table.num_rows(); ++row) {
    REPRO_ASSIGN_OR_RETURN(const int64_t queries,
                           table.Int(row, "num_query_tokens"));
    REPRO_ASSIGN_OR_RETURN(const double lr_z, table.Double(row, "lr_z"));
    REPRO_ASSIGN_OR_RETURN(const double ratio,
                           table.Double(row, "lr_y_over_lr_z"));
    REPRO_ASSIGN_OR_RETURN(entropies[Cell(queries, lr_z, ratio)],
                           table.Double(row, "entropy_mean"));
  }
  for (const Cell& cell : Cells(0)) {
    if (entropies.count(cell) == 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ": no row of ", std::get<0>(cell), " queries, lr_z ",
          std::get<1>(cell), ", ratio ", std::get<2>(cell)));
    }
  }
  return entropies;
}

absl::Status ReleasedFigure6(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const Entropies released, ReleasedEntropies(run));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string measure,
                           run.Arg(*claim, "measure"));
    if (measure == "cells_below_start") {
      REPRO_ASSIGN_OR_RETURN(const SequenceClasses classes,
                             SequenceClasses::Create(SequenceClassOptions{}));
      const double start =
          OneLayerTransformer<double>(classes).MeanDistinctEntropy();
      double below = 0;
      for (const auto& cell : released) below += cell.second < start;
      run.Record(*claim, below);
      continue;
    }
    REPRO_ASSIGN_OR_RETURN(const Figure6Question question,
                           ReadFigure6Question(run, *claim));
    Entropies selected;
    for (const Cell& cell : question.cells) selected[cell] = released.at(cell);
    REPRO_ASSIGN_OR_RETURN(const double value, question.Answer(selected));
    run.Record(*claim, value);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("scan_snap", "released_figure6", ReleasedFigure6);

// The loss that the released log has, of which 6 digits are reported.
absl::Status ReleasedLosses(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string path,
                         run.AssetPath("training_loss"));
  REPRO_ASSIGN_OR_RETURN(const CsvTable table, CsvTable::Read(path));
  std::map<std::pair<std::string, int64_t>, double> log;
  for (int64_t row = 0; row < table.num_rows(); ++row) {
    REPRO_ASSIGN_OR_RETURN(const std::string figure, table.Text(row, "figure"));
    REPRO_ASSIGN_OR_RETURN(const int64_t iteration, table.Int(row, "iter"));
    REPRO_ASSIGN_OR_RETURN(const double loss, table.Double(row, "loss"));
    log[{figure, iteration}] = loss;
  }
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string figure, run.Arg(*claim, "figure"));
    REPRO_ASSIGN_OR_RETURN(const int64_t iteration,
                           run.IntArg(*claim, "iteration"));
    const auto found = log.find({figure, iteration});
    if (found == log.end()) {
      return absl::NotFoundError(absl::StrCat(
          path, ": no loss of figure ", figure, ", iteration ", iteration));
    }
    run.Record(*claim, found->second);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("scan_snap", "released_losses", ReleasedLosses);

// ---- Theory ---------------------------------------------------------------

// Theorem 2 in its limit (exact P(l|n), a decoder a hundred times as fast, one
// common token): how many of the gradients of Z on the way have another sign
// than the theorem gives, distinct tokens up, the common token down.
absl::StatusOr<double> SignViolations() {
  SequenceClassOptions options;
  options.next_per_query = 5;
  options.num_common = 1;
  REPRO_ASSIGN_OR_RETURN(const SequenceClasses classes,
                         SequenceClasses::Create(options));
  const Batch<double> population = PopulationBatch<double>(classes);
  OneLayerTransformer<double> model(classes);
  MomentumSgd<double> decoder(10, 0), attention(0.1, 0);
  std::vector<double> y_grad, z_grad;
  model.LossAndGradients(population, &y_grad, &z_grad);
  double violations = 0;
  for (int step = 0; step < 50; ++step) {
    decoder.Step(y_grad, &model.y());
    model.LossAndGradients(population, &y_grad, &z_grad);
    for (int n = 0; n < classes.num_classes(); ++n) {
      for (int i = 0; i < classes.support_size(); ++i) {
        const double slope = -z_grad[classes.Query(n) * classes.vocab_size() +
                                     classes.Token(n, i)];
        violations += i < options.num_common ? !(slope < 0) : !(slope > 0);
      }
    }
    attention.Step(z_grad, &model.z());
  }
  return violations;
}

// The steps, of 1000, at which 0 <= h* - h <= 2 eta_Y / M fails.
double BoundViolations(const PhaseTransition& phase) {
  constexpr int kSteps = 1000;
  // h* - h is 0 at s = 0 and rounding may make it less.
  constexpr double kRounding = 1e-15;
  const double bound = 2 * phase.options().eta_y / phase.options().vocab_size;
  const std::vector<double> recursion = phase.LogitScaleRecursion(kSteps);
  double violations = 0;
  for (int s = 0; s <= kSteps; ++s) {
    const double ahead = recursion[s] - phase.LogitScale(s);
    violations += !(ahead >= -kRounding && ahead <= bound + kRounding);
  }
  return violations;
}

absl::Status Theory(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string quantity,
                           run.Arg(*claim, "quantity"));
    if (quantity == "sign_violations") {
      REPRO_ASSIGN_OR_RETURN(const double violations, SignViolations());
      run.Record(*claim, violations);
      continue;
    }
    PhaseTransitionOptions options;  // K = 10, M = 1000, eta_Z = 0.5: Fig. 3
    REPRO_ASSIGN_OR_RETURN(options.eta_y, run.DoubleArg(*claim, "eta_y"));
    REPRO_ASSIGN_OR_RETURN(const PhaseTransition phase,
                           PhaseTransition::Create(options));
    if (quantity == "snap_time") {
      run.Record(*claim, phase.SnapTime());
    } else if (quantity == "growth_bound") {
      REPRO_ASSIGN_OR_RETURN(const double t, run.DoubleArg(*claim, "t"));
      run.Record(*claim, phase.GrowthBound(t));
    } else if (quantity == "bound_violations") {
      run.Record(*claim, BoundViolations(phase));
    } else {
      return absl::InvalidArgumentError(
          absl::StrCat(claim->id(), ": unknown quantity \"", quantity,
                       "\": use snap_time, growth_bound, bound_violations or "
                       "sign_violations"));
    }
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("scan_snap", "theory", Theory);

}  // namespace
}  // namespace repro::scan_snap
