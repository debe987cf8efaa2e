// How each claim of claims.textproto is measured; arguments come from there.

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/claims/experiment.h"
#include "common/completion/completion.h"
#include "common/completion/open_client.h"
#include "common/exec/sandbox.h"
#include "common/status/macros.h"
#include "papers/code_tree/end_to_end.h"
#include "papers/code_tree/released.h"
#include "papers/code_tree/search.h"
#include "papers/code_tree/simulation.h"
#include "papers/code_tree/visible_tests.h"

namespace repro::code_tree {
namespace {

// The GPT-4 runs are of two versions of the model; the claims name the family.
std::string Family(const std::string& model) {
  return absl::StartsWith(model, "gpt-4") ? "gpt-4" : model;
}

// ------------------------------------------------- settings and node values

absl::Status Settings(ExperimentRun& run) {
  const SearchOptions search;
  const VisibleTestOptions tests;
  const std::map<std::string, double> values = {
      {"max_programs", search.max_programs},
      {"max_depth", search.max_depth},
      {"search_width", search.search_width},
      {"resample_temperature", search.resample_temperature},
      {"max_characters", tests.max_characters},
      {"visible_seconds", absl::ToDoubleSeconds(tests.cpu)}};
  return RecordByName(run, "setting", values);
}
REPRO_REGISTER_EXPERIMENT("code_tree", "settings", Settings);

// A strategy's program and one repair of it, with given rewards and digits; the
// Critic rejects what passes.
class TwoPrograms : public Agents, public TestRunner {
 public:
  struct Program {
    double reward = 0;
    int score = 0;
  };
  TwoPrograms(const Program& first, const Program& repair)
      : programs_{{"first", first}, {"repair", repair}} {}

  using Texts = std::vector<std::string>;
  absl::StatusOr<Texts> Strategies(const Problem&, std::optional<int>,
                                   int) override {
    return Texts{"strategy"};
  }
  absl::StatusOr<std::string> Solve(const Problem&, const std::string&,
                                    const Sampling&) override {
    return std::string("first");
  }
  absl::StatusOr<Texts> Reflections(const Problem&, const std::string&,
                                    const std::string& program,
                                    const std::string&, const std::string&,
                                    std::optional<int>) override {
    return program == "first" ? Texts{"reflection"} : Texts();
  }
  absl::StatusOr<std::string> Repair(const Problem&, const std::string&,
                                     const std::string&,
                                     const std::string&) override {
    return std::string("repair");
  }
  absl::StatusOr<int> Score(const Problem&, const std::string& program,
                            const std::string&) override {
    return programs_.at(program).score;
  }
  absl::StatusOr<Review> Verify(const Problem&, const std::string&,
                                const std::string&) override {
    return Review{false, ""};
  }
  absl::StatusOr<Feedback> Run(const Problem&,
                               const std::string& program) override {
    Feedback feedback;
    feedback.total = 1000;
    feedback.reward = programs_.at(program).reward;
    feedback.passed = static_cast<int>(feedback.reward * feedback.total);
    return feedback;
  }

 private:
  const std::map<std::string, Program> programs_;
};

absl::Status NodeValues(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    TwoPrograms::Program programs[2];
    const char* names[2] = {"first", "repair"};
    for (int i = 0; i < 2; ++i) {
      REPRO_ASSIGN_OR_RETURN(
          programs[i].reward,
          run.DoubleArg(*claim, absl::StrCat(names[i], "_reward")));
      REPRO_ASSIGN_OR_RETURN(
          const int64_t score,
          run.IntArg(*claim, absl::StrCat(names[i], "_score")));
      programs[i].score = static_cast<int>(score);
    }
    TwoPrograms agents(programs[0], programs[1]);
    REPRO_ASSIGN_OR_RETURN(const SearchResult result,
                           Search(Problem(), agents, agents, {}));
    REPRO_ASSIGN_OR_RETURN(const int64_t node, run.IntArg(*claim, "node"));
    if (node < 0 || node >= static_cast<int64_t>(result.nodes.size())) {
      return UnknownName(*claim, "node", absl::StrCat(node));
    }
    run.Record(*claim, result.nodes[node].value);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("code_tree", "node_values", NodeValues);

// ------------------------------------------------------------ recorded flags

absl::Status Recorded(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string humaneval_path,
                         run.AssetPath("humaneval_programs"));
  REPRO_ASSIGN_OR_RETURN(const std::string mbpp_path,
                         run.AssetPath("mbpp_programs"));
  REPRO_ASSIGN_OR_RETURN(const std::string statuses_path,
                         run.AssetPath("humaneval_statuses"));
  std::map<std::string, std::vector<ReleasedProgram>> programs;
  REPRO_ASSIGN_OR_RETURN(programs["humaneval"], ReadPrograms(humaneval_path));
  REPRO_ASSIGN_OR_RETURN(programs["mbpp"], ReadPrograms(mbpp_path));
  REPRO_ASSIGN_OR_RETURN(const auto statuses, ReadPlusStatuses(statuses_path));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string model, run.Arg(*claim, "model"));
    REPRO_ASSIGN_OR_RETURN(const std::string method, run.Arg(*claim, "method"));
    REPRO_ASSIGN_OR_RETURN(const std::string measure,
                           run.Arg(*claim, "measure"));
    int found = 0, count = 0;
    if (measure == "status_base" || measure == "status_plus") {
      for (const auto& [key, status] : statuses) {
        if (Family(key.model) != model || key.method != method) continue;
        ++found;
        count += status.base && (measure == "status_base" || status.plus);
      }
    } else if (measure == "recorded" || measure == "empty") {
      REPRO_ASSIGN_OR_RETURN(const std::string dataset,
                             run.Arg(*claim, "dataset"));
      for (const ReleasedProgram& program : programs[dataset]) {
        if (Family(program.model) != model || program.method != method) {
          continue;
        }
        ++found;
        count += measure == "recorded"
                     ? program.recorded_solved
                     : program.solution.empty() && !program.recorded_solved;
      }
    } else {
      return UnknownName(*claim, "measure", measure);
    }
    if (found == 0) {
      return UnknownName(*claim, "program of",
                         absl::StrCat(model, " ", method));
    }
    run.Record(*claim, count);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("code_tree", "recorded", Recorded);

// -------------------------------------------------------------- re-execution

// Whether each program passes.
absl::StatusOr<std::vector<bool>> RunPrograms(
    ExperimentRun& run, const exec::Sandbox& sandbox,
    const std::vector<exec::ExecRequest>& requests, const std::string& what) {
  REPRO_ASSIGN_OR_RETURN(
      const std::vector<exec::ExecResult> results,
      sandbox.RunAll(requests, run.threads(), [&](int done, int total) {
        run.Progress(done, total, what);
        return !run.Cancelled();
      }));
  return exec::Passed(results);
}

// By method and problem.
using Tries = std::map<std::string, std::map<std::string, Try>>;

struct Released {
  Tasks tasks;
  std::vector<ReleasedProgram> programs;
};

absl::StatusOr<Released> ReadHumanEvalAssets(ExperimentRun& run,
                                             const std::string& family) {
  REPRO_ASSIGN_OR_RETURN(const std::string problems,
                         run.AssetPath("humaneval"));
  REPRO_ASSIGN_OR_RETURN(const std::string visible,
                         run.AssetPath("visible_tests"));
  REPRO_ASSIGN_OR_RETURN(const std::string path,
                         run.AssetPath("humaneval_programs"));
  Released released;
  REPRO_ASSIGN_OR_RETURN(released.tasks, ReadHumanEvalTasks(problems, visible));
  REPRO_ASSIGN_OR_RETURN(std::vector<ReleasedProgram> programs,
                         ReadPrograms(path));
  for (ReleasedProgram& program : programs) {
    if (released.tasks.count(program.task) == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": no problem ", program.task));
    }
    if (family.empty() || Family(program.model) == family) {
      released.programs.push_back(std::move(program));
    }
  }
  return released;
}

// The programs of each problem in the methods' order; those that were not run
// on the visible tests count as not passing them.
std::vector<std::vector<Try>> InOrder(const Tries& tries, const Tasks& tasks,
                                      const std::vector<std::string>& order) {
  std::vector<std::vector<Try>> problems;
  for (const auto& [id, task] : tasks) {
    problems.emplace_back();
    for (const std::string& method : order) {
      problems.back().push_back(tries.at(method).at(id));
    }
  }
  return problems;
}

// Runs all programs of a family on the hidden tests, and on the visible ones
// those that a search in `order` gets to; with `wrong_too` also all that are
// wrong.
absl::StatusOr<Tries> RunFamily(ExperimentRun& run,
                                const exec::Sandbox& sandbox,
                                const Released& released,
                                const std::vector<std::string>& order,
                                bool wrong_too) {
  std::vector<exec::ExecRequest> requests;
  for (const ReleasedProgram& program : released.programs) {
    requests.push_back(HiddenTestRequest(released.tasks.at(program.task),
                                         program.solution, Before::kPrompt));
  }
  REPRO_ASSIGN_OR_RETURN(const std::vector<bool> right,
                         RunPrograms(run, sandbox, requests, "hidden tests"));
  Tries tries;
  std::map<std::pair<std::string, std::string>, const ReleasedProgram*> unseen;
  for (size_t i = 0; i < right.size(); ++i) {
    const ReleasedProgram& program = released.programs[i];
    tries[program.method][program.task].right = right[i];
    unseen[{program.method, program.task}] = &program;
  }
  for (const std::string& method : order) {
    for (const auto& [id, task] : released.tasks) {
      if (unseen.count({method, id}) == 0) {
        return absl::InvalidArgumentError(
            absl::StrCat("no program of ", method, " for ", id));
      }
    }
  }
  const auto run_visible =
      [&](const std::vector<const ReleasedProgram*>& programs,
          const std::string& what) -> absl::Status {
    std::vector<exec::ExecRequest> visible;
    for (const ReleasedProgram* program : programs) {
      visible.push_back(VisibleTestRequest(released.tasks.at(program->task),
                                           program->solution));
    }
    REPRO_ASSIGN_OR_RETURN(const std::vector<bool> passed,
                           RunPrograms(run, sandbox, visible, what));
    for (size_t i = 0; i < passed.size(); ++i) {
      const ReleasedProgram& program = *programs[i];
      tries[program.method][program.task].passes_visible = passed[i];
      unseen.erase({program.method, program.task});
    }
    return absl::OkStatus();
  };
  std::vector<std::string> open;  // problems without a program that passes
  for (const auto& [id, task] : released.tasks) open.push_back(id);
  for (const std::string& method : order) {
    std::vector<const ReleasedProgram*> programs;
    for (const std::string& id : open) {
      programs.push_back(unseen.at({method, id}));
    }
    REPRO_RETURN_IF_ERROR(
        run_visible(programs, absl::StrCat("visible tests, ", method)));
    open.erase(std::remove_if(open.begin(), open.end(),
                              [&](const std::string& id) {
                                return tries[method][id].passes_visible;
                              }),
               open.end());
  }
  if (wrong_too) {
    std::vector<const ReleasedProgram*> wrong;
    for (const auto& [key, program] : unseen) {
      if (!tries[key.first][key.second].right) wrong.push_back(program);
    }
    REPRO_RETURN_IF_ERROR(run_visible(wrong, "visible tests, wrong programs"));
  }
  return tries;
}

absl::Status Reexecute(ExperimentRun& run, const std::string& family,
                       const std::vector<std::string>& order) {
  REPRO_ASSIGN_OR_RETURN(const Released released,
                         ReadHumanEvalAssets(run, family));
  REPRO_ASSIGN_OR_RETURN(const exec::Sandbox sandbox, exec::Sandbox::Create());
  bool wrong_too = false;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string measure,
                           run.Arg(*claim, "measure"));
    wrong_too = wrong_too || measure == "visible_pass_but_wrong";
  }
  REPRO_ASSIGN_OR_RETURN(const Tries tries,
                         RunFamily(run, sandbox, released, order, wrong_too));
  const std::vector<std::vector<Try>> problems =
      InOrder(tries, released.tasks, order);
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string measure,
                           run.Arg(*claim, "measure"));
    if (measure == "right" || measure == "visible_pass_but_wrong") {
      REPRO_ASSIGN_OR_RETURN(const std::string method,
                             run.Arg(*claim, "method"));
      if (tries.count(method) == 0)
        return UnknownName(*claim, "method", method);
      int count = 0;
      for (const auto& [id, seen] : tries.at(method)) {
        count += measure == "right" ? seen.right
                                    : seen.passes_visible && !seen.right;
      }
      run.Record(*claim, count);
      continue;
    }
    REPRO_ASSIGN_OR_RETURN(const int64_t budget, run.IntArg(*claim, "budget"));
    if (budget < 1) return UnknownName(*claim, "budget", absl::StrCat(budget));
    const BudgetResult result =
        ReplayBudget(problems, static_cast<int>(budget));
    if (measure == "solved") {
      run.Record(*claim, result.solved);
    } else if (measure == "any_right") {
      run.Record(*claim, result.any_right);
    } else if (measure == "mean_programs") {
      run.Record(*claim, result.mean_programs);
    } else {
      return UnknownName(*claim, "measure", measure);
    }
  }
  return absl::OkStatus();
}

absl::Status HumanEvalGpt4(ExperimentRun& run) {
  return Reexecute(run, "gpt-4",
                   {"direct", "cot", "self_planning", "analogical", "reflexion",
                    "mapcoder"});
}
REPRO_REGISTER_EXPERIMENT("code_tree", "humaneval_gpt4", HumanEvalGpt4);

absl::Status HumanEvalGpt35(ExperimentRun& run) {
  return Reexecute(run, "gpt-3.5-turbo",
                   {"cot", "analogical", "reflexion", "mapcoder"});
}
REPRO_REGISTER_EXPERIMENT("code_tree", "humaneval_gpt35", HumanEvalGpt35);

// Of each (family, method) that a claim names: how many programs pass.
absl::Status CountRight(ExperimentRun& run, const Released& released,
                        Before before) {
  using Key = std::pair<std::string, std::string>;
  std::map<const Claim*, Key> keys;
  std::map<Key, int> right;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(keys[claim].first, run.Arg(*claim, "model"));
    REPRO_ASSIGN_OR_RETURN(keys[claim].second, run.Arg(*claim, "method"));
    right[keys[claim]] = 0;
  }
  std::vector<Key> key_of;
  std::vector<exec::ExecRequest> requests;
  for (const ReleasedProgram& program : released.programs) {
    const Key key = {Family(program.model), program.method};
    if (right.count(key) == 0) continue;
    key_of.push_back(key);
    requests.push_back(HiddenTestRequest(released.tasks.at(program.task),
                                         program.solution, before));
  }
  REPRO_ASSIGN_OR_RETURN(const exec::Sandbox sandbox, exec::Sandbox::Create());
  REPRO_ASSIGN_OR_RETURN(const std::vector<bool> passed,
                         RunPrograms(run, sandbox, requests, "hidden tests"));
  for (size_t i = 0; i < passed.size(); ++i) right[key_of[i]] += passed[i];
  for (const Claim* claim : run.claims()) {
    const Key& key = keys[claim];
    if (std::find(key_of.begin(), key_of.end(), key) == key_of.end()) {
      return UnknownName(*claim, "program of", key.first + " " + key.second);
    }
    run.Record(*claim, right[key]);
  }
  return absl::OkStatus();
}

absl::Status HumanEvalSolutionAlone(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const Released released,
                         ReadHumanEvalAssets(run, /*family=*/""));
  return CountRight(run, released, Before::kImports);
}
REPRO_REGISTER_EXPERIMENT("code_tree", "humaneval_solution_alone",
                          HumanEvalSolutionAlone);

absl::Status Mbpp(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string tasks, run.AssetPath("mbpp"));
  REPRO_ASSIGN_OR_RETURN(const std::string programs,
                         run.AssetPath("mbpp_programs"));
  Released released;
  REPRO_ASSIGN_OR_RETURN(released.tasks, ReadMbpp(tasks));
  REPRO_ASSIGN_OR_RETURN(released.programs, ReadPrograms(programs));
  for (const ReleasedProgram& program : released.programs) {
    if (released.tasks.count(program.task) == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(programs, ": no problem ", program.task));
    }
  }
  return CountRight(run, released, Before::kPrompt);
}
REPRO_REGISTER_EXPERIMENT("code_tree", "mbpp", Mbpp);

// ---------------------------------------------------------- simulated agents

// HumanEval: all recorded programs. HumanEval+: those that EvalPlus ran, right
// if they pass the additional tests, too.
absl::StatusOr<std::map<std::string, std::vector<Pool>>> ReadPools(
    ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string programs_path,
                         run.AssetPath("humaneval_programs"));
  REPRO_ASSIGN_OR_RETURN(const std::string statuses_path,
                         run.AssetPath("humaneval_statuses"));
  REPRO_ASSIGN_OR_RETURN(const std::vector<ReleasedProgram> programs,
                         ReadPrograms(programs_path));
  REPRO_ASSIGN_OR_RETURN(const auto statuses, ReadPlusStatuses(statuses_path));
  std::map<std::string, Pool> base, plus;
  for (const ReleasedProgram& program : programs) {
    if (!program.rechecked) {
      return absl::InvalidArgumentError(
          absl::StrCat(programs_path, ": ", program.task, " of ",
                       program.method, " has no \"rechecked\""));
    }
    RecordedProgram recorded;
    recorded.visible_passed = *program.visible_passed;
    recorded.visible_total = *program.visible_total;
    recorded.right = *program.rechecked;
    base[program.task].push_back(recorded);
    const auto status =
        statuses.find({program.model, program.method, program.task});
    if (status == statuses.end()) continue;
    recorded.right = status->second.base && status->second.plus;
    plus[program.task].push_back(recorded);
  }
  std::map<std::string, std::vector<Pool>> pools;
  for (auto& [task, pool] : base) pools["humaneval"].push_back(pool);
  for (auto& [task, pool] : plus) pools["humaneval_plus"].push_back(pool);
  return pools;
}

absl::Status SimulatedSearches(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const auto pools, ReadPools(run));
  const SearchOptions code_tree = SearchOptions::Of(Arm::kCodeTree);
  const SearchOptions bfs = SearchOptions::Of(Arm::kBreadthFirst);
  const SearchOptions dfs = SearchOptions::Of(Arm::kDepthFirst);
  SearchOptions dfs_coded = dfs;
  dfs_coded.variant = Variant::kAsCoded;
  int done = 0;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string measure,
                           run.Arg(*claim, "measure"));
    REPRO_ASSIGN_OR_RETURN(const std::string dataset,
                           run.Arg(*claim, "dataset"));
    const auto found = pools.find(dataset);
    if (found == pools.end()) return UnknownName(*claim, "dataset", dataset);
    SimulationOptions options;
    if (claim->args().count("critic_noise") > 0) {
      REPRO_ASSIGN_OR_RETURN(options.critic_noise,
                             run.DoubleArg(*claim, "critic_noise"));
    }
    // What is shown, and what it is compared with.
    SearchOptions shown = code_tree, other = code_tree;
    bool shown_is_better = true, other_as_coded = false;
    if (measure == "codetree_minus_bfs") {
      other = bfs;
    } else if (measure == "codetree_minus_ablation") {
      shown_is_better = false;
      REPRO_ASSIGN_OR_RETURN(const std::string without,
                             run.Arg(*claim, "without"));
      if (without == "verify") {
        shown.verify = false;
      } else if (without == "abort") {
        shown.abort = false;
      } else if (without == "score") {
        shown.score = false;
      } else {
        return UnknownName(*claim, "ablation", without);
      }
    } else if (measure == "bfs_minus_dfs") {
      shown = bfs;
      other = dfs;
    } else if (measure == "dfs_published_minus_coded") {
      shown = dfs;
      other = dfs_coded;
    } else if (measure == "published_minus_coded") {
      other_as_coded = true;
    } else {
      return UnknownName(*claim, "measure", measure);
    }
    Observation observation;
    for (const uint64_t seed : run.seeds()) {
      if (run.Cancelled()) return absl::CancelledError("stopped");
      REPRO_ASSIGN_OR_RETURN(const SimulatedScore a,
                             Simulate(found->second, shown, options, seed));
      REPRO_ASSIGN_OR_RETURN(const SimulatedScore b,
                             Simulate(found->second, other, options, seed));
      const double second = other_as_coded ? b.coded : b.published;
      observation.samples.push_back(a.published);
      observation.effects.push_back(shown_is_better ? a.published - second
                                                    : second - a.published);
    }
    // Where the claim is a difference, so is what is shown.
    if (claim->unit() == "points") observation.samples = observation.effects;
    observation.scale = "simulated agents";
    run.Record(*claim, std::move(observation));
    run.Progress(++done, static_cast<double>(run.claims().size()), claim->id());
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("code_tree", "simulation", SimulatedSearches);

// ---------------------------------------------------------------- end to end

absl::Status EndToEnd(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string problems,
                         run.AssetPath("humaneval"));
  REPRO_ASSIGN_OR_RETURN(const std::string visible,
                         run.AssetPath("visible_tests"));
  REPRO_ASSIGN_OR_RETURN(const Tasks tasks,
                         ReadHumanEvalTasks(problems, visible));
  REPRO_ASSIGN_OR_RETURN(const exec::Sandbox sandbox, exec::Sandbox::Create());
  completion::OpenOptions open;
  open.cancelled = [&] { return run.Cancelled(); };
  REPRO_ASSIGN_OR_RETURN(
      const std::unique_ptr<completion::CompletionClient> client,
      completion::OpenClient(run.model_spec(), open));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const int64_t count, run.IntArg(*claim, "problems"));
    REPRO_ASSIGN_OR_RETURN(const int64_t budget, run.IntArg(*claim, "budget"));
    REPRO_ASSIGN_OR_RETURN(const int64_t max_tokens,
                           run.IntArg(*claim, "max_tokens"));
    SearchOptions search;
    search.max_programs = static_cast<int>(budget);
    LanguageModelOptions model;
    model.max_program_tokens = max_tokens;
    model.max_text_tokens = max_tokens;
    Observation observation;
    EndToEndScore total;
    const double steps =
        static_cast<double>(run.seeds().size()) * static_cast<double>(count);
    for (const uint64_t seed : run.seeds()) {
      REPRO_ASSIGN_OR_RETURN(
          const EndToEndScore score,
          SolveTasks(tasks, DrawTasks(tasks, static_cast<int>(count), seed),
                     client.get(), sandbox, search, model, [&](int done) {
                       run.Progress(total.problems + done, steps,
                                    client->name());
                     }));
      total.problems += score.problems;
      total.direct += score.direct;
      total.searched += score.searched;
      total.programs += score.programs;
      observation.effects.push_back(100.0 * (score.searched - score.direct) /
                                    score.problems);
    }
    observation.samples = observation.effects;
    observation.scale =
        absl::StrCat(client->name(), ": direct ", total.direct, ", CodeTree ",
                     total.searched, " of ", total.problems, " with ",
                     total.programs, " programs; budget ", budget, " of 20, ",
                     max_tokens, " tokens a reply");
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("code_tree", "end_to_end", EndToEnd);

}  // namespace
}  // namespace repro::code_tree
