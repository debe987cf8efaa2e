// How each claim of claims.textproto is measured; arguments come from there.

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "common/claims/experiment.h"
#include "common/completion/completion.h"
#include "common/exec/sandbox.h"
#include "common/stats/correlation.h"
#include "common/stats/descriptive.h"
#include "common/status/macros.h"
#include "papers/plan_search/benchmarks.h"
#include "papers/plan_search/language_model_thinker.h"
#include "papers/plan_search/scoring.h"
#include "papers/plan_search/search.h"
#include "papers/plan_search/simulation.h"

namespace repro::plan_search {
namespace {

constexpr char kSlug[] = "plan_search";

// ---------------------------------------------------------------------- tree

// Answers every request with a list of the same length of strings that it never
// gave before.
class NumberingClient : public completion::CompletionClient {
 public:
  explicit NumberingClient(int64_t length) : length_(length) {}

  absl::StatusOr<completion::Completion> Complete(
      const completion::CompletionRequest& request) override {
    REPRO_RETURN_IF_ERROR(Validate(request));
    std::string list;
    for (int64_t i = 0; i < length_; ++i) {
      absl::StrAppend(&list, "\"observation ", ++given_, "\",\n");
    }
    completion::Completion completion;
    completion.choices.push_back(
        {absl::StrCat("```python\n[\n", list, "]\n```"), "stop", {}});
    return completion;
  }
  std::string name() const override { return "numbering"; }

 private:
  const int64_t length_;
  int64_t given_ = 0;
};

absl::Status MeasureTree(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const int64_t observations,
                           run.IntArg(*claim, "observations"));
    REPRO_ASSIGN_OR_RETURN(const std::string measure,
                           run.Arg(*claim, "measure"));
    NumberingClient client(observations);
    LanguageModelThinker thinker(&client);
    std::mt19937_64 generator(3);
    PlanSearchOptions options;
    if (measure == "programs_of_leaves" ||
        measure == "combinations_of_leaves") {
      options.collect = Collect::kLeaves;
    } else if (measure != "programs" && measure != "requests") {
      return UnknownName(*claim, "measure", measure);
    }
    REPRO_ASSIGN_OR_RETURN(
        const SearchResult result,
        PlanSearch({"Add.", ""}, thinker, options, generator));
    if (measure == "requests") {
      run.Record(*claim, static_cast<double>(thinker.usage().requests));
    } else if (measure == "combinations_of_leaves") {
      std::set<Observations> distinct;
      for (const Candidate& candidate : result.candidates) {
        distinct.insert(candidate.observations);
      }
      run.Record(*claim, static_cast<double>(distinct.size()));
    } else {
      run.Record(*claim, static_cast<double>(result.candidates.size()));
    }
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "tree", MeasureTree);

// -------------------------------------------------------------------- theory

absl::StatusOr<std::vector<double>> Numbers(const ExperimentRun& run,
                                            const Claim& claim,
                                            const char* name) {
  REPRO_ASSIGN_OR_RETURN(const std::string text, run.Arg(claim, name));
  std::vector<double> numbers;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    if (!absl::SimpleAtod(part, &numbers.emplace_back())) {
      return UnknownName(claim, name, part);
    }
  }
  return numbers;
}

absl::Status MeasureTheory(ExperimentRun& run) {
  constexpr int64_t kMostPrograms = 400;  // of the figure
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::vector<double> problems,
                           Numbers(run, *claim, "probabilities"));
    if (claim->args().count("ahead_of") == 0) {
      REPRO_ASSIGN_OR_RETURN(const int64_t k, run.IntArg(*claim, "k"));
      REPRO_ASSIGN_OR_RETURN(const double pass, ExpectedPassAtK(problems, k));
      run.Record(*claim, pass);
      continue;
    }
    REPRO_ASSIGN_OR_RETURN(const std::vector<double> others,
                           Numbers(run, *claim, "ahead_of"));
    // Ahead from there to the figure's end.
    int64_t first = kMostPrograms + 1;
    for (int64_t k = kMostPrograms; k >= 1; --k) {
      REPRO_ASSIGN_OR_RETURN(const double ours, ExpectedPassAtK(problems, k));
      REPRO_ASSIGN_OR_RETURN(const double theirs, ExpectedPassAtK(others, k));
      if (ours <= theirs) break;
      first = k;
    }
    run.Record(*claim, static_cast<double>(first));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "theory", MeasureTheory);

// --------------------------------------------------------- released programs

absl::Status RecordPassAtK(
    ExperimentRun& run,
    const std::map<std::string, std::vector<std::vector<Sample>>>& families) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string family, run.Arg(*claim, "family"));
    REPRO_ASSIGN_OR_RETURN(const std::string filter, run.Arg(*claim, "filter"));
    REPRO_ASSIGN_OR_RETURN(const int64_t k, run.IntArg(*claim, "k"));
    const auto samples = families.find(family);
    if (samples == families.end()) {
      return UnknownName(*claim, "family", family);
    }
    if (filter != "filtered" && filter != "unfiltered") {
      return UnknownName(*claim, "filter", filter);
    }
    REPRO_ASSIGN_OR_RETURN(
        const double pass,
        MeanPassAtK(samples->second, k,
                    filter == "filtered" ? Filter::kPublic : Filter::kNone));
    run.Record(*claim, 100 * pass);
  }
  return absl::OkStatus();
}

constexpr const char* kFamilies[] = {"gpt-4", "gpt-3.5-turbo"};

absl::Status MeasureReleased(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string path,
                         run.AssetPath("humaneval_programs"));
  REPRO_ASSIGN_OR_RETURN(const std::vector<ReleasedProgram> programs,
                         ReadReleasedPrograms(path));
  std::map<std::string, std::vector<std::vector<Sample>>> families;
  for (const char* family : kFamilies) {
    REPRO_ASSIGN_OR_RETURN(families[family], SamplesOf(programs, family));
  }
  return RecordPassAtK(run, families);
}
REPRO_REGISTER_EXPERIMENT(kSlug, "released", MeasureReleased);

absl::Status MeasureReleasedPlus(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string path,
                         run.AssetPath("humaneval_programs"));
  REPRO_ASSIGN_OR_RETURN(const std::string statuses_path,
                         run.AssetPath("humaneval_statuses"));
  REPRO_ASSIGN_OR_RETURN(const std::vector<ReleasedProgram> programs,
                         ReadReleasedPrograms(path));
  REPRO_ASSIGN_OR_RETURN(const std::vector<PlusStatus> statuses,
                         ReadPlusStatuses(statuses_path));
  std::map<std::string, std::vector<std::vector<Sample>>> families;
  for (const char* family : kFamilies) {
    REPRO_ASSIGN_OR_RETURN(families[family],
                           SamplesOf(programs, statuses, family));
  }
  return RecordPassAtK(run, families);
}
REPRO_REGISTER_EXPERIMENT(kSlug, "released_plus", MeasureReleasedPlus);

// ----------------------------------------------------------------- execution

// Whether each program passes.
absl::StatusOr<std::vector<bool>> RunPrograms(
    ExperimentRun& run, const std::vector<exec::ExecRequest>& requests,
    const std::string& what) {
  REPRO_ASSIGN_OR_RETURN(const exec::Sandbox sandbox, exec::Sandbox::Create());
  REPRO_ASSIGN_OR_RETURN(
      const std::vector<exec::ExecResult> results,
      sandbox.RunAll(requests, run.threads(), [&](int done, int total) {
        run.Progress(done, total, what);
        return !run.Cancelled();
      }));
  return exec::Passed(results);
}

double CountTrue(const std::vector<bool>& values) {
  double count = 0;
  for (const bool value : values) count += value;
  return count;
}

absl::StatusOr<RunLimits> LimitsOf(ExperimentRun& run, const Claim& claim) {
  RunLimits limits;
  REPRO_ASSIGN_OR_RETURN(const int64_t seconds, run.IntArg(claim, "seconds"));
  if (seconds < 1 || seconds > 3600) {
    return UnknownName(claim, "seconds", absl::StrCat(seconds));
  }
  limits.cpu = absl::Seconds(seconds);
  return limits;
}

absl::Status RunHumanEvalSolutions(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string path, run.AssetPath("humaneval"));
  REPRO_ASSIGN_OR_RETURN(const std::vector<HumanEvalProblem> tasks,
                         ReadHumanEval(path));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const RunLimits limits, LimitsOf(run, *claim));
    std::vector<exec::ExecRequest> requests;
    for (const HumanEvalProblem& task : tasks) {
      requests.push_back(
          HumanEvalRequest(task, task.canonical_solution, limits));
    }
    REPRO_ASSIGN_OR_RETURN(const std::vector<bool> passed,
                           RunPrograms(run, requests, "HumanEval"));
    run.Record(*claim, CountTrue(passed));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "humaneval_solutions", RunHumanEvalSolutions);

absl::Status RunMbppSolutions(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string path, run.AssetPath("mbpp"));
  REPRO_ASSIGN_OR_RETURN(const std::vector<MbppTask> tasks,
                         ReadSanitizedMbpp(path));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const RunLimits limits, LimitsOf(run, *claim));
    std::vector<exec::ExecRequest> requests;
    for (const MbppTask& task : tasks) {
      requests.push_back(MbppRequest(task, task.code, limits));
    }
    REPRO_ASSIGN_OR_RETURN(const std::vector<bool> passed,
                           RunPrograms(run, requests, "MBPP"));
    run.Record(*claim, CountTrue(passed));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "mbpp_solutions", RunMbppSolutions);

absl::Status RunPlus(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string tasks_path,
                         run.AssetPath("humaneval_plus"));
  REPRO_ASSIGN_OR_RETURN(const std::string programs_path,
                         run.AssetPath("humaneval_programs"));
  REPRO_ASSIGN_OR_RETURN(const std::vector<HumanEvalPlusTask> tasks,
                         ReadHumanEvalPlus(tasks_path));
  REPRO_ASSIGN_OR_RETURN(const std::vector<ReleasedProgram> programs,
                         ReadReleasedPrograms(programs_path));
  std::map<std::string, const HumanEvalPlusTask*> by_id;
  for (const HumanEvalPlusTask& task : tasks) by_id[task.id] = &task;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string model, run.Arg(*claim, "model"));
    REPRO_ASSIGN_OR_RETURN(const std::string method, run.Arg(*claim, "method"));
    std::vector<exec::ExecRequest> requests;
    for (const ReleasedProgram& program : programs) {
      if (program.model != model || program.method != method) continue;
      const auto task = by_id.find(program.task);
      if (task == by_id.end()) {
        return UnknownName(*claim, "task", program.task);
      }
      requests.push_back(HumanEvalPlusRequest(*task->second, program.solution,
                                              PlusInputs::kBoth, RunLimits()));
    }
    if (requests.empty()) {
      return UnknownName(*claim, "program of",
                         absl::StrCat(model, " ", method));
    }
    REPRO_ASSIGN_OR_RETURN(
        const std::vector<bool> passed,
        RunPrograms(run, requests, absl::StrCat(model, " ", method)));
    run.Record(*claim, CountTrue(passed));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "plus_reexecuted", RunPlus);

// ---------------------------------------------------------------- simulation

absl::Status MeasureSimulation(ExperimentRun& run,
                               const SimulationOptions& options) {
  std::map<const Claim*, std::string> measures;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(measures[claim], run.Arg(*claim, "measure"));
  }
  std::map<const Claim*, Observation> observations;
  for (size_t i = 0; i < run.seeds().size(); ++i) {
    if (run.Cancelled()) return absl::CancelledError("stopped");
    run.Progress(static_cast<double>(i),
                 static_cast<double>(run.seeds().size()), "simulation");
    REPRO_ASSIGN_OR_RETURN(const SimulatedScores scores,
                           Simulate(options, run.seeds()[i]));
    std::vector<double> diversities, gains;
    for (const auto* method : {&scores.repeated_sampling, &scores.idea_search,
                               &scores.plan_search}) {
      for (const MethodScore& score : *method) {
        diversities.push_back(score.diversity);
        gains.push_back(score.gain);
      }
    }
    // PlanSearch less repeated sampling.
    const auto difference = [&](double MethodScore::*field) {
      double sum = 0;
      for (size_t j = 0; j < scores.plan_search.size(); ++j) {
        sum +=
            scores.plan_search[j].*field - scores.repeated_sampling[j].*field;
      }
      return sum / static_cast<double>(scores.plan_search.size());
    };
    for (const auto& [claim, measure] : measures) {
      double value = 0;
      if (measure == "rank_correlation") {
        REPRO_ASSIGN_OR_RETURN(value, SpearmanCorrelation(diversities, gains));
      } else if (measure == "linear_correlation") {
        REPRO_ASSIGN_OR_RETURN(value, PearsonCorrelation(diversities, gains));
      } else if (measure == "diversity") {
        value = difference(&MethodScore::diversity);
      } else if (measure == "pass_at_1") {
        value = -100 * difference(&MethodScore::pass_at_1);
      } else if (measure == "pass_at_200") {
        value = 100 * difference(&MethodScore::pass_at_200);
      } else {
        return UnknownName(*claim, "measure", measure);
      }
      observations[claim].samples.push_back(value);
    }
  }
  for (auto& [claim, observation] : observations) {
    observation.scale = "a model that draws ideas from a known distribution";
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}

absl::Status MeasureWithIdeas(ExperimentRun& run) {
  return MeasureSimulation(run, SimulationOptions());
}
REPRO_REGISTER_EXPERIMENT(kSlug, "simulation", MeasureWithIdeas);

absl::Status MeasurePeaked(ExperimentRun& run) {
  SimulationOptions options;
  options.peakedness_of_model = {3, 4, 5, 6};
  return MeasureSimulation(run, options);
}
REPRO_REGISTER_EXPERIMENT(kSlug, "simulation_peaked", MeasurePeaked);

absl::Status MeasureControl(ExperimentRun& run) {
  SimulationOptions options;
  options.ideas_matter = false;
  return MeasureSimulation(run, options);
}
REPRO_REGISTER_EXPERIMENT(kSlug, "simulation_control", MeasureControl);

}  // namespace
}  // namespace repro::plan_search
