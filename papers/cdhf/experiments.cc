// How each claim of claims.textproto is measured; arguments come from there.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/claims/experiment.h"
#include "common/stats/descriptive.h"
#include "common/status/macros.h"
#include "papers/cdhf/cdhf.h"
#include "papers/cdhf/gradient_boosting.h"
#include "papers/cdhf/prefix_reward.h"
#include "papers/cdhf/user_study.h"

namespace repro::cdhf {
namespace {

constexpr char kSlug[] = "cdhf";

absl::StatusOr<View> ViewOfClaim(const ExperimentRun& run, const Claim& claim) {
  REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(claim, "view"));
  if (name == "context") return View::kContext;
  if (name == "suggestion") return View::kSuggestion;
  if (name == "suggestion_and_state") return View::kSuggestionAndState;
  return UnknownName(claim, "view", name);
}

const std::vector<double>& OfView(const Probabilities& probabilities,
                                  View view) {
  return view == View::kContext      ? probabilities.context
         : view == View::kSuggestion ? probabilities.suggestion
                                     : probabilities.suggestion_and_state;
}

// ---------------------------------------------------------------- statistics

absl::Status MeasureStatistics(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string path, run.AssetPath("events"));
  REPRO_ASSIGN_OR_RETURN(const std::vector<Event> events, ReadEvents(path));
  std::set<int64_t> users;
  std::map<std::string, int64_t> states, cups;
  for (const Event& event : events) {
    users.insert(event.user);
    ++states[event.state];
    ++cups[event.cups];
  }
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string report, run.Arg(*claim, "report"));
    double value = 0;
    if (report == "programmers") {
      value = static_cast<double>(users.size());
    } else if (report == "events") {
      value = static_cast<double>(events.size());
    } else if (report == "accepted_per_shown") {
      value = static_cast<double>(states["Accepted"]) /
              static_cast<double>(states["Shown"]);
    } else if (report == "state" || report == "cups") {
      REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(*claim, "name"));
      const auto& counts = report == "state" ? states : cups;
      const auto found = counts.find(name);
      if (found == counts.end()) return UnknownName(*claim, report, name);
      value = static_cast<double>(found->second);
    } else {
      return UnknownName(*claim, "report", report);
    }
    run.Record(*claim, value);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "statistics", MeasureStatistics);

// ------------------------------------------------------------------ features

bool Near(double a, double b) {
  // The released table has ten digits.
  return std::abs(a - b) <= 1e-9 * std::max(1.0, std::abs(a));
}

template <size_t kSize>
bool AllNear(const std::array<double, kSize>& a,
             const std::array<double, kSize>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), Near);
}

bool SameButLabels(const Example& a, const Example& b) {
  return a.session == b.session && a.user == b.user &&
         a.rejected == b.rejected && a.cups == b.cups &&
         AllNear(a.numbers, b.numbers) &&
         AllNear(a.session_numbers, b.session_numbers) &&
         a.suggestion_flags == b.suggestion_flags &&
         a.prompt_flags == b.prompt_flags;
}

absl::Status MeasureFeatures(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string events_path,
                         run.AssetPath("events"));
  REPRO_ASSIGN_OR_RETURN(const std::string features_path,
                         run.AssetPath("features"));
  REPRO_ASSIGN_OR_RETURN(const std::vector<Event> events,
                         ReadEvents(events_path));
  REPRO_ASSIGN_OR_RETURN(const std::vector<Example> released,
                         ReadExamples(features_path));
  REPRO_ASSIGN_OR_RETURN(const std::vector<Example> made, MakeExamples(events));
  const auto count = [&](const auto& property) {
    return static_cast<double>(
        std::count_if(released.begin(), released.end(), property));
  };
  // Suggestions whose text has one quotation mark but not three in a row.
  const auto single_quotes = [&](std::string Event::*text) {
    return static_cast<double>(
        std::count_if(events.begin(), events.end(), [&](const Event& event) {
          return (event.state == "Accepted" || event.state == "Rejected") &&
                 TextFlags(event.*text)[1] != 0 &&
                 (event.*text).find("'''") == std::string::npos;
        }));
  };
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string report, run.Arg(*claim, "report"));
    double value = 0;
    if (report == "examples") {
      value = static_cast<double>(released.size());
    } else if (report == "columns") {
      REPRO_ASSIGN_OR_RETURN(const View view, ViewOfClaim(run, *claim));
      REPRO_ASSIGN_OR_RETURN(const Matrix matrix, MakeMatrix(released, view));
      value = static_cast<double>(matrix.columns);
    } else if (report == "rebuilt") {
      for (size_t i = 0; i < std::min(made.size(), released.size()); ++i) {
        value += SameButLabels(made[i], released[i]);
      }
    } else if (report == "suggestion_label" || report == "prompt_label") {
      REPRO_ASSIGN_OR_RETURN(const int64_t label, run.IntArg(*claim, "label"));
      value = count([&](const Example& one) {
        return label == (report == "prompt_label" ? one.prompt_label
                                                  : one.suggestion_label);
      });
    } else if (report == "accepted_with_state" ||
               report == "rejected_with_state") {
      REPRO_ASSIGN_OR_RETURN(const int64_t state, run.IntArg(*claim, "state"));
      value = count([&](const Example& one) {
        return state == one.cups &&
               one.rejected == (report == "rejected_with_state");
      });
    } else if (report == "suggestion_single_quotes") {
      value = single_quotes(&Event::suggestion);
    } else if (report == "prompt_single_quotes") {
      value = single_quotes(&Event::prompt);
    } else {
      return UnknownName(*claim, "report", report);
    }
    run.Record(*claim, value);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "features", MeasureFeatures);

// -------------------------------------------------------------- display_rule

absl::StatusOr<Probabilities> Released(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string path,
                         run.AssetPath("probabilities"));
  return ReadProbabilities(path);
}

absl::StatusOr<double> OfMetrics(const Claim& claim, const std::string& report,
                                 const DisplayMetrics& metrics) {
  if (report == "hidden") return metrics.hidden;
  if (report == "accuracy") return metrics.conditional_accuracy;
  if (report == "first_alone") return metrics.first_alone;
  return UnknownName(claim, "report", report);
}

// One model, and everything below the bound for the target hidden.
absl::Status MeasureDisplayRule(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const Probabilities released, Released(run));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string report, run.Arg(*claim, "report"));
    REPRO_ASSIGN_OR_RETURN(const double target,
                           run.DoubleArg(*claim, "target"));
    std::vector<double> accept;
    if (claim->args().count("view") > 0) {
      REPRO_ASSIGN_OR_RETURN(const View view, ViewOfClaim(run, *claim));
      accept = Complement(OfView(released, view));
    } else {
      // A model that is right and all but sure.
      for (const bool rejected : released.rejected) {
        accept.push_back(rejected ? 1e-6 : 1 - 1e-6);
      }
    }
    Thresholds thresholds;
    REPRO_ASSIGN_OR_RETURN(
        thresholds.second,
        ThresholdForAccuracy(accept, released.rejected, target));
    if (claim->args().count("view") == 0) {
      // All rejections have one probability: hide it, too.
      thresholds.second = std::nextafter(thresholds.second, 1.0);
    }
    if (report == "threshold") {
      run.Record(*claim, thresholds.second);
      continue;
    }
    REPRO_ASSIGN_OR_RETURN(const DisplayMetrics metrics,
                           Evaluate(thresholds, accept, accept,
                                    released.rejected, Rule::kAsPublished));
    REPRO_ASSIGN_OR_RETURN(const double value,
                           OfMetrics(*claim, report, metrics));
    run.Record(*claim, value);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "display_rule", MeasureDisplayRule);

// ------------------------------------------------------------------- cascade

FitOptions CascadeOptions(double target, double first_share) {
  FitOptions options;
  options.accuracy = target;
  options.lambda = 0;
  options.first_share = first_share;
  options.candidates = 0;
  return options;
}

// The model without the state first, the one with it second.
absl::Status MeasureCascade(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const Probabilities released, Released(run));
  const std::vector<double> first = Complement(released.suggestion);
  const std::vector<double> second = Complement(released.suggestion_and_state);
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string report, run.Arg(*claim, "report"));
    REPRO_ASSIGN_OR_RETURN(const double target,
                           run.DoubleArg(*claim, "target"));
    REPRO_ASSIGN_OR_RETURN(const double share, run.DoubleArg(*claim, "share"));
    FitOptions options = CascadeOptions(target, share);
    options.rule = Rule::kAsCoded;
    std::mt19937_64 unused;
    REPRO_ASSIGN_OR_RETURN(
        const Thresholds thresholds,
        Fit(first, second, released.rejected, options, unused));
    REPRO_ASSIGN_OR_RETURN(
        const DisplayMetrics metrics,
        Evaluate(thresholds, first, second, released.rejected, Rule::kAsCoded));
    REPRO_ASSIGN_OR_RETURN(const double value,
                           OfMetrics(*claim, report, metrics));
    run.Record(*claim, value);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "cascade", MeasureCascade);

// -------------------------------------------------- programmers, one by one

// The mean, its standard error as in the notebook (deviations over 21), or the
// t statistic of a mean of 0.
absl::StatusOr<double> Summary(const Claim& claim, absl::string_view summary,
                               const std::vector<double>& values) {
  REPRO_ASSIGN_OR_RETURN(const double mean, Mean(values));
  if (summary == "mean") return mean;
  REPRO_ASSIGN_OR_RETURN(const double deviation, StandardDeviation(values));
  const auto size = static_cast<double>(values.size());
  if (summary == "error") {
    return deviation * std::sqrt((size - 1) / size) / std::sqrt(size);
  }
  if (summary == "t") return mean / (deviation / std::sqrt(size));
  return UnknownName(claim, "summary", summary);
}

std::vector<double> Differences(const std::vector<double>& a,
                                const std::vector<double>& b) {
  std::vector<double> differences;
  for (size_t i = 0; i < a.size(); ++i) differences.push_back(a[i] - b[i]);
  return differences;
}

using ScoresByView = std::map<std::string, ProgrammerScores>;

// The values of a claim, one a programmer: its score with its view, less that
// with the view `against` if it has one.
absl::StatusOr<std::vector<double>> ValuesOfClaim(const ExperimentRun& run,
                                                  const Claim& claim,
                                                  const ScoresByView& scores) {
  REPRO_ASSIGN_OR_RETURN(const std::string score, run.Arg(claim, "score"));
  if (score != "accuracy" && score != "auc") {
    return UnknownName(claim, "score", score);
  }
  std::vector<std::vector<double>> sides;
  for (const char* arg : {"view", "against"}) {
    if (sides.size() == 1 && claim.args().count(arg) == 0) break;
    REPRO_ASSIGN_OR_RETURN(const std::string view, run.Arg(claim, arg));
    const auto found = scores.find(view);
    if (found == scores.end()) return UnknownName(claim, arg, view);
    sides.push_back(score == "auc" ? found->second.auc
                                   : found->second.accuracy);
  }
  return sides.size() == 1 ? sides[0] : Differences(sides[0], sides[1]);
}

absl::Status MeasureReplay(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const Probabilities released, Released(run));
  ScoresByView scores;
  for (const auto& [name, view] : std::map<std::string, View>{
           {"context", View::kContext},
           {"suggestion", View::kSuggestion},
           {"suggestion_and_state", View::kSuggestionAndState}}) {
    REPRO_ASSIGN_OR_RETURN(scores[name],
                           ScoreProgrammers(released.users, released.rejected,
                                            OfView(released, view)));
  }
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string summary,
                           run.Arg(*claim, "summary"));
    REPRO_ASSIGN_OR_RETURN(const std::vector<double> values,
                           ValuesOfClaim(run, *claim, scores));
    REPRO_ASSIGN_OR_RETURN(const double value,
                           Summary(*claim, summary, values));
    run.Record(*claim, value);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "replay", MeasureReplay);

absl::StatusOr<std::vector<Example>> Features(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string path, run.AssetPath("features"));
  return ReadExamples(path);
}

absl::Status MeasureLeaveOneOut(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<Example> examples, Features(run));
  std::vector<int64_t> users;
  std::vector<bool> rejected;
  for (const Example& one : examples) {
    users.push_back(one.user);
    rejected.push_back(one.rejected);
  }
  std::map<std::string, std::vector<double>> p_reject;
  const std::vector<std::pair<std::string, View>> views = {
      {"context", View::kContext},
      {"suggestion", View::kSuggestion},
      {"suggestion_and_state", View::kSuggestionAndState}};
  for (size_t i = 0; i < views.size(); ++i) {
    REPRO_ASSIGN_OR_RETURN(
        p_reject[views[i].first],
        LeaveOneProgrammerOut(examples, views[i].second, BoostingOptions(),
                              run.threads(), [&](int64_t done, int64_t total) {
                                run.Progress(static_cast<double>(i) +
                                                 static_cast<double>(done) /
                                                     static_cast<double>(total),
                                             static_cast<double>(views.size()),
                                             views[i].first);
                                return !run.Cancelled();
                              }));
  }
  REPRO_ASSIGN_OR_RETURN(p_reject["state"],
                         LeaveOneProgrammerOutByState(examples));
  p_reject["majority"].assign(examples.size(), 1);
  ScoresByView scores;
  for (const auto& [view, p] : p_reject) {
    REPRO_ASSIGN_OR_RETURN(scores[view], ScoreProgrammers(users, rejected, p));
  }
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string summary,
                           run.Arg(*claim, "summary"));
    REPRO_ASSIGN_OR_RETURN(const std::vector<double> values,
                           ValuesOfClaim(run, *claim, scores));
    if (summary == "effect") {
      // What the interval is over are the programmers.
      Observation observation;
      observation.samples = values;
      observation.effects = values;
      observation.scale = "21 programmers in place of 535";
      run.Record(*claim, std::move(observation));
      continue;
    }
    REPRO_ASSIGN_OR_RETURN(const double value,
                           Summary(*claim, summary, values));
    run.Record(*claim, value);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "leave_one_out", MeasureLeaveOneOut);

// -------------------------------------------------------------------- halves

// Of some events.
struct Part {
  std::vector<double> first, second;
  std::vector<bool> rejected;
};

// Of other programmers than the thresholds were fitted on.
absl::StatusOr<DisplayMetrics> FitAndEvaluate(const Part& fitted,
                                              const Part& held_out,
                                              double target, double share) {
  std::mt19937_64 unused;
  REPRO_ASSIGN_OR_RETURN(const Thresholds thresholds,
                         Fit(fitted.first, fitted.second, fitted.rejected,
                             CascadeOptions(target, share), unused));
  return Evaluate(thresholds, held_out.first, held_out.second,
                  held_out.rejected, Rule::kAsPublished);
}

absl::Status MeasureHalves(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const Probabilities released, Released(run));
  const std::set<int64_t> users(released.users.begin(), released.users.end());
  const std::vector<double> suggestion = Complement(released.suggestion);
  const std::vector<double> state = Complement(released.suggestion_and_state);
  std::map<std::string, Observation> observations;
  for (const uint64_t seed : run.seeds()) {
    if (run.Cancelled()) return absl::CancelledError("stopped");
    std::mt19937_64 random(seed);
    std::vector<int64_t> order(users.begin(), users.end());
    std::shuffle(order.begin(), order.end(), random);
    const std::set<int64_t> chosen(order.begin(),
                                   order.begin() + order.size() / 2);
    Part fitted, held_out;
    for (size_t i = 0; i < released.users.size(); ++i) {
      Part& part = chosen.count(released.users[i]) > 0 ? fitted : held_out;
      part.first.push_back(suggestion[i]);
      part.second.push_back(state[i]);
      part.rejected.push_back(released.rejected[i]);
    }
    // One model alone: everything is left to the first.
    REPRO_ASSIGN_OR_RETURN(const DisplayMetrics without_80,
                           FitAndEvaluate(fitted, held_out, 0.80, 1));
    REPRO_ASSIGN_OR_RETURN(const DisplayMetrics without_90,
                           FitAndEvaluate(fitted, held_out, 0.90, 1));
    REPRO_ASSIGN_OR_RETURN(const DisplayMetrics half_90,
                           FitAndEvaluate(fitted, held_out, 0.90, 0.5));
    std::swap(fitted.first, fitted.second);
    std::swap(held_out.first, held_out.second);
    REPRO_ASSIGN_OR_RETURN(const DisplayMetrics with_90,
                           FitAndEvaluate(fitted, held_out, 0.90, 1));
    const double rejected =
        static_cast<double>(std::count(held_out.rejected.begin(),
                                       held_out.rejected.end(), true)) /
        static_cast<double>(held_out.rejected.size());
    // Where nothing is hidden nothing is gained, and no target missed.
    const auto accuracy = [](const DisplayMetrics& metrics, double otherwise) {
      return metrics.hidden > 0 ? metrics.conditional_accuracy : otherwise;
    };
    const std::map<std::string, double> values = {
        {"accuracy_gain", accuracy(without_80, rejected) - rejected},
        {"hidden", without_80.hidden},
        {"hidden_with_state", with_90.hidden},
        {"accuracy_with_state", accuracy(with_90, 0.90)},
        {"state_gain", with_90.hidden - without_90.hidden},
        {"half_gain", half_90.hidden - without_90.hidden},
        {"half_loss", with_90.hidden - half_90.hidden}};
    for (const auto& [name, value] : values) {
      observations[name].samples.push_back(value);
    }
  }
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string report, run.Arg(*claim, "report"));
    const auto found = observations.find(report);
    if (found == observations.end()) {
      return UnknownName(*claim, "report", report);
    }
    Observation observation = found->second;
    observation.effects = observation.samples;
    observation.scale = "21 programmers in place of 535";
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "halves", MeasureHalves);

// ------------------------------------------------------------- prefix_reward

// Trained on programmers drawn with replacement.
absl::StatusOr<BoostedTrees> TrainOnText(const std::vector<Example>& examples,
                                         uint64_t seed) {
  std::set<int64_t> users;
  for (const Example& one : examples) users.insert(one.user);
  const std::vector<int64_t> programmers(users.begin(), users.end());
  std::mt19937_64 random(seed);
  std::uniform_int_distribution<size_t> index(0, programmers.size() - 1);
  Matrix matrix;
  matrix.columns = kTextColumns;
  std::vector<bool> rejected;
  for (size_t i = 0; i < programmers.size(); ++i) {
    const int64_t drawn = programmers[index(random)];
    for (const Example& one : examples) {
      if (one.user != drawn) continue;
      const std::vector<float> row = TextColumns(one);
      matrix.values.insert(matrix.values.end(), row.begin(), row.end());
      rejected.push_back(one.rejected);
    }
  }
  matrix.rows = static_cast<int64_t>(rejected.size());
  return BoostedTrees::Train(matrix, rejected, BoostingOptions());
}

absl::Status MeasurePrefixReward(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<Example> examples, Features(run));
  REPRO_ASSIGN_OR_RETURN(const std::string path, run.AssetPath("humaneval"));
  REPRO_ASSIGN_OR_RETURN(const std::vector<Problem> problems,
                         ReadProblems(path));
  std::map<std::string, Observation> observations;
  for (size_t s = 0; s < run.seeds().size(); ++s) {
    REPRO_ASSIGN_OR_RETURN(const BoostedTrees trees,
                           TrainOnText(examples, run.seeds()[s]));
    double better = 0, relative = 0;
    std::vector<double> peaks, curve;
    for (size_t i = 0; i < problems.size(); ++i) {
      if (run.Cancelled()) return absl::CancelledError("stopped");
      std::vector<double> scores;
      for (const std::string& prefix : Prefixes(problems[i].solution)) {
        REPRO_ASSIGN_OR_RETURN(
            const double p_reject,
            trees.Probability(TextColumns(prefix, problems[i].prompt)));
        scores.push_back(1 - p_reject);
      }
      const double best = *std::max_element(scores.begin(), scores.end());
      better += best > scores.back();
      relative += scores.back() / best;
      REPRO_ASSIGN_OR_RETURN(peaks.emplace_back(), PeakPosition(scores));
      REPRO_ASSIGN_OR_RETURN(const std::vector<double> one,
                             NormalisedCurve(scores));
      curve.resize(one.size());
      for (size_t j = 0; j < one.size(); ++j) curve[j] += one[j];
      run.Progress(
          static_cast<double>(s) +
              static_cast<double>(i + 1) / static_cast<double>(problems.size()),
          static_cast<double>(run.seeds().size()), "solutions");
    }
    const auto size = static_cast<double>(problems.size());
    REPRO_ASSIGN_OR_RETURN(const double statistic, UniformKolmogorov(peaks));
    observations["prefix_is_better"].samples.push_back(better / size);
    observations["whole_over_best"].samples.push_back(relative / size);
    observations["kolmogorov"].samples.push_back(statistic);
    observations["curve_falls"].samples.push_back(
        (*std::max_element(curve.begin(), curve.end()) - curve.back()) / size);
  }
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string report, run.Arg(*claim, "report"));
    const auto found = observations.find(report);
    if (found == observations.end()) {
      return UnknownName(*claim, "report", report);
    }
    Observation observation = found->second;
    observation.effects = observation.samples;
    observation.scale =
        "46 columns of text and 21 programmers in place of embeddings and 535";
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "prefix_reward", MeasurePrefixReward);

}  // namespace
}  // namespace repro::cdhf
