// How each claim of claims.textproto is measured; arguments come from there.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/claims/experiment.h"
#include "common/data/human_eval.h"
#include "common/exec/sandbox.h"
#include "common/status/macros.h"
#include "common/train/experiment.h"
#include "papers/uscd/prompts.h"
#include "papers/uscd/released.h"
#include "papers/uscd/selective_contrast.h"
#include "papers/uscd/study.h"

namespace repro::uscd {
namespace {

constexpr char kSlug[] = "uscd";

// -------------------------------------------------------------------- algebra

// A distribution over V tokens between flat (0) and all mass on one (large):
// that token's logit is `height` above the others'.
std::vector<float> Peak(int64_t vocab_size, float height) {
  std::vector<float> logits(static_cast<size_t>(vocab_size), 0);
  logits.front() = height;
  return logits;
}

constexpr float kCertain = 200;

absl::StatusOr<bool> Contrasted(int64_t vocab_size, float height,
                                double theta) {
  UscdSettings settings;
  settings.theta = theta;
  const std::vector<float> logits = Peak(vocab_size, height);
  REPRO_ASSIGN_OR_RETURN(const TokenScores scores,
                         SelectiveContrast(logits, logits, settings));
  return scores.contrasted;
}

// The sum of squares at which the rule stops to contrast.
absl::StatusOr<double> FindCut(int64_t vocab_size, double theta) {
  float low = 0, high = kCertain;
  for (int i = 0; i < 40; ++i) {
    const float middle = (low + high) / 2;
    REPRO_ASSIGN_OR_RETURN(const bool contrasted,
                           Contrasted(vocab_size, middle, theta));
    (contrasted ? low : high) = middle;
  }
  REPRO_ASSIGN_OR_RETURN(const std::vector<double> p,
                         Probabilities(Peak(vocab_size, high)));
  double sum = 0;
  for (const double value : p) sum += value * value;
  return sum;
}

absl::StatusOr<double> CountContrasted(int64_t vocab_size, double theta) {
  constexpr int kSteps = 100;
  double count = 0;
  for (int i = 0; i <= kSteps; ++i) {
    const float height =
        kCertain * static_cast<float>(i) / static_cast<float>(kSteps);
    REPRO_ASSIGN_OR_RETURN(const bool contrasted,
                           Contrasted(vocab_size, height, theta));
    count += contrasted;
  }
  return count;
}

absl::Status MeasureAlgebra(ExperimentRun& run) {
  constexpr int64_t kMostTokens = 1 << 20;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string measure,
                           run.Arg(*claim, "measure"));
    REPRO_ASSIGN_OR_RETURN(const int64_t vocab_size,
                           run.IntArg(*claim, "vocabulary"));
    if (vocab_size < 2 || vocab_size > kMostTokens) {
      return UnknownName(*claim, "vocabulary", absl::StrCat(vocab_size));
    }
    if (measure == "largest") {
      REPRO_ASSIGN_OR_RETURN(const std::vector<double> p,
                             Probabilities(Peak(vocab_size, kCertain)));
      run.Record(*claim, Deviation(p));
      continue;
    }
    REPRO_ASSIGN_OR_RETURN(const double theta, run.DoubleArg(*claim, "theta"));
    double value = 0;
    if (measure == "cut") {
      REPRO_ASSIGN_OR_RETURN(value, FindCut(vocab_size, theta));
    } else if (measure == "contrasted") {
      REPRO_ASSIGN_OR_RETURN(value, CountContrasted(vocab_size, theta));
    } else {
      return UnknownName(*claim, "measure", measure);
    }
    run.Record(*claim, value);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "algebra", MeasureAlgebra);

// -------------------------------------------------------------------- prompts

absl::StatusOr<std::vector<HumanEvalProblem>> Problems(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string path, run.AssetPath("humaneval"));
  return ReadHumanEval(path);
}

absl::Status MeasurePrompts(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string path, run.AssetPath("lame_prompts"));
  REPRO_ASSIGN_OR_RETURN(const std::vector<HumanEvalProblem> problems,
                         Problems(run));
  REPRO_ASSIGN_OR_RETURN(const std::vector<LamePrompt> lame_prompts,
                         ReadLamePrompts(path));
  REPRO_ASSIGN_OR_RETURN(const PromptStatistics statistics,
                         ComparePrompts(problems, lame_prompts));
  const auto number = [](int64_t count) { return static_cast<double>(count); };
  return RecordByName(
      run, "measure",
      {{"problems", number(statistics.problems)},
       {"standard_examples", number(statistics.standard_examples)},
       {"lame_examples", number(statistics.lame_examples)},
       {"standard_characters", number(statistics.standard_characters)},
       {"lame_characters", number(statistics.lame_characters)},
       {"equal", number(statistics.equal)},
       {"prefix", number(statistics.prefix)},
       {"rule_equal", number(statistics.rule_equal)}});
}
REPRO_REGISTER_EXPERIMENT(kSlug, "prompts", MeasurePrompts);

// ---------------------------------------------------------- released programs

absl::StatusOr<std::vector<exec::ExecResult>> RunPrograms(
    ExperimentRun& run, const exec::Sandbox& sandbox,
    const std::vector<exec::ExecRequest>& requests, const std::string& what) {
  return sandbox.RunAll(requests, run.threads(), [&](int done, int total) {
    run.Progress(done, total, what);
    return !run.Cancelled();
  });
}

double CountPassed(const std::vector<exec::ExecResult>& results) {
  const std::vector<bool> passed = exec::Passed(results);
  return static_cast<double>(std::count(passed.begin(), passed.end(), true));
}

double CountSyntaxErrors(const std::vector<exec::ExecResult>& results) {
  // The class and its subclasses.
  const std::set<std::string> types = {"SyntaxError", "IndentationError",
                                       "TabError"};
  return static_cast<double>(std::count_if(
      results.begin(), results.end(), [&](const exec::ExecResult& result) {
        return types.count(result.exception_type) > 0;
      }));
}

absl::Status MeasureReleased(ExperimentRun& run) {
  const std::map<std::string, Join> joins = {{"appended", Join::kAppended},
                                             {"replaced", Join::kReplaced},
                                             {"kept", Join::kQuotesKept}};
  std::set<std::string> wanted;  // as the first part of a measure
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string measure,
                           run.Arg(*claim, "measure"));
    wanted.emplace(*absl::StrSplit(measure, '_').begin());
  }
  REPRO_ASSIGN_OR_RETURN(const std::string path, run.AssetPath("released_run"));
  REPRO_ASSIGN_OR_RETURN(const std::vector<HumanEvalProblem> problems,
                         Problems(run));
  REPRO_ASSIGN_OR_RETURN(const std::vector<ReleasedText> texts,
                         ReadReleasedTexts(path, "continuation"));
  REPRO_ASSIGN_OR_RETURN(const exec::Sandbox sandbox, exec::Sandbox::Create());
  std::map<std::string, double> values;
  for (const auto& [name, join] : joins) {
    if (wanted.count(name) == 0) continue;
    REPRO_ASSIGN_OR_RETURN(const std::vector<exec::ExecRequest> requests,
                           ContinuationRequests(problems, texts, join));
    REPRO_ASSIGN_OR_RETURN(const std::vector<exec::ExecResult> results,
                           RunPrograms(run, sandbox, requests, name));
    values[name] = CountPassed(results);
    values[name + "_share"] =
        values[name] / static_cast<double>(problems.size());
    values[name + "_syntax"] = CountSyntaxErrors(results);
  }
  return RecordByName(run, "measure", values);
}
REPRO_REGISTER_EXPERIMENT(kSlug, "released", MeasureReleased);

absl::Status MeasureWizardCoder(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string path, run.AssetPath("wizardcoder"));
  REPRO_ASSIGN_OR_RETURN(const std::vector<HumanEvalProblem> problems,
                         Problems(run));
  REPRO_ASSIGN_OR_RETURN(const std::vector<ReleasedText> texts,
                         ReadReleasedTexts(path, "completion"));
  REPRO_ASSIGN_OR_RETURN(const std::vector<exec::ExecRequest> requests,
                         ProgramRequests(problems, texts));
  REPRO_ASSIGN_OR_RETURN(const exec::Sandbox sandbox, exec::Sandbox::Create());
  REPRO_ASSIGN_OR_RETURN(const std::vector<exec::ExecResult> results,
                         RunPrograms(run, sandbox, requests, "WizardCoder"));
  const double solved = CountPassed(results);
  return RecordByName(
      run, "measure",
      {{"solved", solved},
       {"percent", 100 * solved / static_cast<double>(problems.size())}});
}
REPRO_REGISTER_EXPERIMENT(kSlug, "wizardcoder", MeasureWizardCoder);

// ---------------------------------------------------------------------- study

// The value of the grid that solves most, and how far the default is behind.
struct BestOfGrid {
  double best = 0;
  double default_less_best = 0;
};
template <typename Name>
BestOfGrid FindBest(const StudyNumbers& numbers,
                    const std::vector<double>& grid, const Name& name,
                    double default_value) {
  const auto best =
      std::max_element(grid.begin(), grid.end(), [&](double a, double b) {
        return numbers.at(name(a)) < numbers.at(name(b));
      });
  return {*best, numbers.at(name(default_value)) - numbers.at(name(*best))};
}

std::string ScaleOf(const Study& study, const std::vector<StudyNumbers>& all) {
  std::string scale = absl::StrCat(
      study.num_layers, " layers of ", study.dim, ", ", kWordVocabulary,
      " tokens, ", study.steps, " updates, ", study.tasks, " tasks; means:");
  for (const auto& [name, unused] : all.front()) {
    double sum = 0;
    for (const StudyNumbers& numbers : all) sum += numbers.at(name);
    absl::StrAppend(&scale, " ", name, " ",
                    sum / static_cast<double>(all.size()), ";");
  }
  scale.pop_back();
  return scale;
}

absl::Status MeasureStudy(ExperimentRun& run) {
  const Study study;
  REPRO_ASSIGN_OR_RETURN(const std::vector<StudyNumbers> all,
                         RunStudy(study, GridOfRun(run)));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string measure,
                           run.Arg(*claim, "measure"));
    Observation observation;
    observation.scale = ScaleOf(study, all);
    for (const StudyNumbers& numbers : all) {
      if (measure == "best_theta" || measure == "best_eta") {
        const UscdSettings defaults;
        const BestOfGrid best =
            measure == "best_theta"
                ? FindBest(numbers, ThetaGrid(), ThetaName, defaults.theta)
                : FindBest(numbers, EtaGrid(), EtaName, defaults.eta);
        observation.samples.push_back(best.best);
        observation.effects.push_back(best.default_less_best);
        continue;
      }
      // A number, or the first less the second of two.
      const std::vector<std::string> names = absl::StrSplit(measure, '-');
      for (const std::string& name : names) {
        if (numbers.count(name) == 0) {
          return UnknownName(*claim, "measure", measure);
        }
      }
      observation.samples.push_back(
          numbers.at(names.front()) -
          (names.size() > 1 ? numbers.at(names.back()) : 0));
    }
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "study", MeasureStudy);

}  // namespace
}  // namespace repro::uscd
