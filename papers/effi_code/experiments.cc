// How each claim of claims.textproto is measured; arguments come from there.

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
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
#include "common/status/macros.h"
#include "common/train/schedule.h"
#include "papers/effi_code/dataset.h"
#include "papers/effi_code/function_language.h"
#include "papers/effi_code/harness.h"
#include "papers/effi_code/op_counts.h"
#include "papers/effi_code/overhead.h"
#include "papers/effi_code/study.h"

namespace repro::effi_code {
namespace {

constexpr char kSlug[] = "effi_code";

// The argument, empty where the claim has none.
std::string OptionalArg(const Claim& claim, const std::string& name) {
  const auto found = claim.args().find(name);
  return found == claim.args().end() ? "" : found->second;
}

Progress ProgressOf(ExperimentRun& run, const std::string& what) {
  return [&run, what](int done, int total) {
    run.Progress(done, total, what);
    return !run.Cancelled();
  };
}

// ------------------------------------------------------------------- settings

absl::Status MeasureSettings(ExperimentRun& run) {
  constexpr int64_t kSamples = 9451, kDevices = 8;
  FineTuning tuning;
  const int64_t steps = tuning.NumSteps(kSamples, kDevices);
  const Schedule schedule = WarmupCosineRate(
      tuning.learning_rate,
      std::llround(tuning.warmup_ratio * static_cast<double>(steps)), steps);
  double peak = 0;
  for (int64_t step = 0; step < steps; ++step) {
    peak = std::max(peak, schedule(step));
  }
  REPRO_ASSIGN_OR_RETURN(
      const EncodedExample longest,
      EncodeExample({1, 2, 3}, std::vector<int32_t>(10'000, 4), /*end=*/0,
                    /*ignored=*/-100, tuning.cutoff_tokens));
  // Of one batch of samples, none of them held back.
  tuning.validation_share = 0;
  const int64_t epochs =
      tuning.NumSteps(tuning.device_batch * tuning.accumulation, 1);
  return RecordByName(
      run, "setting",
      {{"learning_rate", peak},
       {"epochs", static_cast<double>(epochs)},
       {"cutoff_len", static_cast<double>(longest.ids.size())}});
}
REPRO_REGISTER_EXPERIMENT(kSlug, "settings", MeasureSettings);

absl::Status MeasureOverlap(ExperimentRun& run) {
  constexpr int64_t kProblems = 164;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string printed,
                           run.Arg(*claim, "percentage"));
    REPRO_ASSIGN_OR_RETURN(const int64_t tasks,
                           TasksOfPercentage(printed, kProblems));
    run.RecordCount(*claim, static_cast<double>(tasks));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "overlap", MeasureOverlap);

// --------------------------------------------------------- instruction counts

absl::Status MeasureOpCounts(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string path, run.AssetPath("op_counts"));
  REPRO_ASSIGN_OR_RETURN(const std::vector<OpCount> counts, ReadOpCounts(path));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string select, run.Arg(*claim, "select"));
    REPRO_ASSIGN_OR_RETURN(const Selection selection, ParseSelection(select));
    REPRO_ASSIGN_OR_RETURN(const std::string report, run.Arg(*claim, "report"));
    const std::set<std::string> without =
        absl::StrSplit(OptionalArg(*claim, "without"), ',', absl::SkipEmpty());
    const SelectedCosts costs = SelectCosts(counts, selection, without);
    REPRO_ASSIGN_OR_RETURN(const CostSummary summary,
                           SummarizeCosts(costs.costs, costs.canonical));
    const std::map<std::string, double> values = {
        {"tasks", static_cast<double>(summary.tasks)},
        {"mean", summary.mean},
        {"mean_ratio", summary.mean_ratio},
        {"ratio_of_sums", summary.ratio_of_sums},
        {"median_ratio", summary.median_ratio}};
    const auto found = values.find(report);
    if (found == values.end()) return UnknownName(*claim, "report", report);
    run.Record(*claim, found->second);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "op_counts", MeasureOpCounts);

// HumanEval and the pool's correct programs.
struct Pool {
  std::map<std::string, HumanEvalProblem> problems;
  std::vector<Candidate> candidates;
};

absl::StatusOr<Pool> ReadPool(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string humaneval,
                         run.AssetPath("humaneval"));
  REPRO_ASSIGN_OR_RETURN(const std::string candidates,
                         run.AssetPath("candidates"));
  Pool pool;
  REPRO_ASSIGN_OR_RETURN(std::vector<HumanEvalProblem> problems,
                         ReadHumanEval(humaneval));
  for (HumanEvalProblem& problem : problems) {
    std::string id = problem.task_id;
    pool.problems.emplace(std::move(id), std::move(problem));
  }
  REPRO_ASSIGN_OR_RETURN(pool.candidates, ReadCorrectCandidates(candidates));
  for (const Candidate& candidate : pool.candidates) {
    if (pool.problems.count(candidate.task_id) == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(candidates, ": ", humaneval, " has no task \"",
                       candidate.task_id, "\""));
    }
  }
  return pool;
}

using ProgramKey = std::pair<std::string, int64_t>;  // task, first

absl::StatusOr<std::map<ProgramKey, int64_t>> FileCounts(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string path, run.AssetPath("op_counts"));
  REPRO_ASSIGN_OR_RETURN(const std::vector<OpCount> counts, ReadOpCounts(path));
  std::map<ProgramKey, int64_t> instructions;
  for (const OpCount& one : counts) {
    instructions[{one.task_id, one.first}] = one.instructions;
  }
  return instructions;
}

absl::Status MeasureRecount(ExperimentRun& run) {
  using Expected = std::map<ProgramKey, int64_t>;
  REPRO_ASSIGN_OR_RETURN(const Expected expected, FileCounts(run));
  REPRO_ASSIGN_OR_RETURN(const Pool pool, ReadPool(run));
  std::vector<TestedProgram> programs;
  std::vector<ProgramKey> keys;
  const auto add = [&](const HumanEvalProblem& problem, int64_t first,
                       const std::string& completion) {
    programs.push_back(
        {problem.prompt + completion,
         absl::StrCat(problem.test, "\ncheck(", problem.entry_point, ")\n")});
    keys.emplace_back(problem.task_id, first);
  };
  for (const auto& [id, problem] : pool.problems) {
    add(problem, kCanonical, problem.canonical_solution);
  }
  std::set<std::string> seen;
  for (const Candidate& candidate : pool.candidates) {
    if (!seen.insert(candidate.task_id).second) continue;
    add(pool.problems.at(candidate.task_id), candidate.first,
        candidate.completion);
  }
  CountOptions options;
  options.limit = 100'000'000;
  options.programs_a_process = 20;
  REPRO_ASSIGN_OR_RETURN(const std::vector<InstructionCount> counts,
                         CountInstructions(programs, run.threads(), options,
                                           ProgressOf(run, "instructions")));
  std::map<std::string, double> equal = {{"canonical", 0}, {"first", 0}};
  for (size_t i = 0; i < counts.size(); ++i) {
    const auto found = expected.find(keys[i]);
    equal[keys[i].second == kCanonical ? "canonical" : "first"] +=
        counts[i].passed && found != expected.end() &&
        counts[i].instructions == found->second;
  }
  return RecordByName(run, "programs", equal);
}
REPRO_REGISTER_EXPERIMENT(kSlug, "recount", MeasureRecount);

// -------------------------------------------------------------------- harness

// How many of the programs pass, as the harness writes them.
absl::StatusOr<double> PassedAs(ExperimentRun& run, const Pool& pool,
                                const std::string& what,
                                const ProgramOptions& options, size_t stride) {
  std::vector<std::string> texts;
  if (what == "canonical") {
    for (const auto& [id, problem] : pool.problems) {
      texts.push_back(
          ProgramText(problem, problem.canonical_solution, options));
    }
  } else {
    for (size_t i = 0; i < pool.candidates.size(); i += stride) {
      const Candidate& candidate = pool.candidates[i];
      texts.push_back(ProgramText(pool.problems.at(candidate.task_id),
                                  candidate.completion, options));
    }
  }
  REPRO_ASSIGN_OR_RETURN(const std::vector<MeasuredRun> runs,
                         MeasureAll(texts, run.threads(), MeasureOptions(),
                                    ProgressOf(run, what)));
  const auto passed =
      std::count_if(runs.begin(), runs.end(),
                    [](const MeasuredRun& one) { return one.passed; });
  return static_cast<double>(what == "canonical"
                                 ? passed
                                 : static_cast<int64_t>(runs.size()) - passed);
}

absl::Status MeasureHarness(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const Pool pool, ReadPool(run));
  const size_t stride = run.experiment().id() == "harness_sample" ? 10 : 1;
  const std::map<std::string, ProgramOptions> builds = {
      {"as_coded", {true, true}},
      {"imports", {true, false}},
      {"cleaning", {false, true}}};
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string what, run.Arg(*claim, "programs"));
    REPRO_ASSIGN_OR_RETURN(const std::string build, run.Arg(*claim, "build"));
    const auto found = builds.find(build);
    if (found == builds.end()) return UnknownName(*claim, "build", build);
    if (what != "canonical" && what != "candidates") {
      return UnknownName(*claim, "programs", what);
    }
    REPRO_ASSIGN_OR_RETURN(const double count,
                           PassedAs(run, pool, what, found->second, stride));
    run.RecordCount(*claim, count);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "harness_sample", MeasureHarness);
REPRO_REGISTER_EXPERIMENT(kSlug, "harness", MeasureHarness);

// ------------------------------------------------------------------ selection

constexpr size_t kTasksASeed = 8, kCandidates = 4;
constexpr int64_t kCheapInstructions = 20'000;
constexpr int kRepeats = 200;

// Four correct programs of a task, the first one sampled first.
struct Choice {
  const HumanEvalProblem* problem = nullptr;
  std::vector<const Candidate*> candidates;
  std::vector<int64_t> instructions;
};

std::vector<Choice> DrawChoices(
    const Pool& pool, const std::map<ProgramKey, int64_t>& instructions,
    uint64_t seed) {
  std::map<std::string, std::vector<const Candidate*>> cheap;
  for (const Candidate& candidate : pool.candidates) {
    const auto found = instructions.find({candidate.task_id, candidate.first});
    if (found != instructions.end() && found->second <= kCheapInstructions) {
      cheap[candidate.task_id].push_back(&candidate);
    }
  }
  std::mt19937_64 random(seed);
  // The first `count` of a permutation, from `begin` on.
  const auto draw = [&random](auto* list, size_t begin, size_t count) {
    for (size_t i = begin; i < count; ++i) {
      std::swap((*list)[i], (*list)[i + random() % (list->size() - i)]);
    }
    list->resize(count);
  };
  std::vector<Choice> choices;
  for (auto& [task, candidates] : cheap) {
    if (candidates.size() < kCandidates) continue;
    Choice& choice = choices.emplace_back();
    choice.problem = &pool.problems.at(task);
    draw(&candidates, 1, kCandidates);
    choice.candidates = candidates;
    for (const Candidate* candidate : candidates) {
      choice.instructions.push_back(instructions.at({task, candidate->first}));
    }
  }
  draw(&choices, 0, std::min(kTasksASeed, choices.size()));
  return choices;
}

// Times of the candidates of each choice, in s; 0 where a run failed.
absl::StatusOr<std::vector<std::vector<double>>> Times(
    ExperimentRun& run, const std::vector<Choice>& choices, bool repeated) {
  MeasureOptions options;
  options.repeats = repeated ? kRepeats : 1;
  std::vector<std::string> texts;
  for (const Choice& choice : choices) {
    for (const Candidate* candidate : choice.candidates) {
      texts.push_back(ProgramText(*choice.problem, candidate->completion,
                                  {/*imports=*/!repeated, /*clean=*/false}));
    }
  }
  // One after the other: programs at a time disturb each other.
  REPRO_ASSIGN_OR_RETURN(
      const std::vector<MeasuredRun> runs,
      MeasureAll(texts, /*workers=*/1, options, ProgressOf(run, "selection")));
  std::vector<std::vector<double>> times;
  for (size_t i = 0; i < runs.size(); ++i) {
    if (i % kCandidates == 0) times.emplace_back();
    times.back().push_back(runs[i].passed ? runs[i].overhead.time : 0);
  }
  return times;
}

// Means over the tasks of one seed.
struct SelectionOutcome {
  double first = 0, second = 0;  // log of fastest over first, by run
  double agreement = 0;
};

SelectionOutcome OutcomeOf(const std::vector<Choice>& choices,
                           const std::vector<std::vector<double>>& first,
                           const std::vector<std::vector<double>>& second) {
  SelectionOutcome outcome;
  double tasks = 0;
  for (size_t c = 0; c < choices.size(); ++c) {
    const auto failed = [](double time) { return time <= 0; };
    if (std::any_of(first[c].begin(), first[c].end(), failed) ||
        std::any_of(second[c].begin(), second[c].end(), failed)) {
      continue;
    }
    const auto fastest = static_cast<size_t>(
        std::min_element(first[c].begin(), first[c].end()) - first[c].begin());
    const std::vector<int64_t>& instructions = choices[c].instructions;
    const int64_t fewest =
        *std::min_element(instructions.begin(), instructions.end());
    const auto chance = static_cast<double>(
        std::count(instructions.begin(), instructions.end(), fewest));
    outcome.first += std::log(first[c][fastest] / first[c][0]);
    outcome.second += std::log(second[c][fastest] / second[c][0]);
    outcome.agreement +=
        (instructions[fastest] == fewest) - chance / kCandidates;
    ++tasks;
  }
  // No task is left: NaN, which agrees with nothing.
  outcome.first /= tasks;
  outcome.second /= tasks;
  outcome.agreement /= tasks;
  return outcome;
}

absl::Status MeasureSelection(ExperimentRun& run) {
  using Expected = std::map<ProgramKey, int64_t>;
  REPRO_ASSIGN_OR_RETURN(const Expected instructions, FileCounts(run));
  REPRO_ASSIGN_OR_RETURN(const Pool pool, ReadPool(run));
  std::map<std::string, std::vector<SelectionOutcome>> outcomes;
  for (const uint64_t seed : run.seeds()) {
    const std::vector<Choice> choices = DrawChoices(pool, instructions, seed);
    for (const bool repeated : {false, true}) {
      REPRO_ASSIGN_OR_RETURN(const auto first, Times(run, choices, repeated));
      REPRO_ASSIGN_OR_RETURN(const auto second, Times(run, choices, repeated));
      outcomes[repeated ? "repeated" : "once"].push_back(
          OutcomeOf(choices, first, second));
    }
  }
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string runs, run.Arg(*claim, "runs"));
    REPRO_ASSIGN_OR_RETURN(const std::string report, run.Arg(*claim, "report"));
    if (outcomes.count(runs) == 0) return UnknownName(*claim, "runs", runs);
    Observation observation;
    for (const SelectionOutcome& outcome : outcomes[runs]) {
      if (report == "second") {
        observation.samples.push_back(outcome.second);
      } else if (report == "optimism") {
        observation.samples.push_back(outcome.second - outcome.first);
      } else if (report == "agreement") {
        observation.samples.push_back(outcome.agreement);
      } else {
        return UnknownName(*claim, "report", report);
      }
    }
    observation.scale = absl::StrCat(kTasksASeed, " tasks a seed, ",
                                     kCandidates, " programs each, two runs");
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "selection", MeasureSelection);

// ------------------------------------------------------- pipeline, in
// miniature

// The share of the pairs whose program is right for n from 1 to 60, in %.
absl::StatusOr<double> CorrectShare(const Dataset& data,
                                    const StudyTasks& tasks, int workers) {
  std::vector<TestedProgram> programs;
  for (const TrainingPair& pair : data.pairs) {
    const Recipe& recipe = tasks.meanings.at(pair.instruction);
    programs.push_back(
        {pair.optimized,
         absl::StrCat(
             ProgramOf(recipe, Form::kSlow).replace(0, 5, "def expected"),
             "for n in range(1, 61):\n"
             "    assert f(n) == expected(n)\n")});
  }
  REPRO_ASSIGN_OR_RETURN(const std::vector<InstructionCount> counts,
                         CountInstructions(programs, workers));
  const auto correct =
      std::count_if(counts.begin(), counts.end(),
                    [](const InstructionCount& one) { return one.passed; });
  return 100.0 * static_cast<double>(correct) /
         static_cast<double>(counts.size());
}

absl::Status MeasurePipeline(ExperimentRun& run) {
  const Study study = Study::Small();
  std::map<std::string, std::vector<double>> values;
  std::string scale;
  double done = 0;
  for (const uint64_t seed : run.seeds()) {
    if (run.Cancelled()) return absl::CancelledError("stopped");
    REPRO_ASSIGN_OR_RETURN(const StudyTasks tasks, DrawStudyTasks(study, seed));
    REPRO_ASSIGN_OR_RETURN(const Dataset data,
                           StudyDataset(study, tasks, seed, run.threads()));
    const double selected = data.mean_after / data.mean_before;
    values["selected"].push_back(selected);
    values["selection_share"].push_back(data.tested_after / data.tested_before -
                                        selected);
    REPRO_ASSIGN_OR_RETURN(const double correct,
                           CorrectShare(data, tasks, run.threads()));
    values["correct"].push_back(correct);
    absl::StrAppend(&scale, scale.empty() ? "" : "; ", data.collected, " > ",
                    data.suitable, " > ", data.tested, " > ", data.better,
                    " > ", data.distinct);
    run.Progress(++done, static_cast<double>(run.seeds().size()), "pipeline");
  }
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string report, run.Arg(*claim, "report"));
    if (values.count(report) == 0) return UnknownName(*claim, "report", report);
    Observation observation;
    observation.samples = values[report];
    observation.scale = absl::StrCat(
        "tasks collected, suitable, tested, better, distinct: ", scale);
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "pipeline", MeasurePipeline);

}  // namespace
}  // namespace repro::effi_code
