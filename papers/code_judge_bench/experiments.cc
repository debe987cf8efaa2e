// How each claim of claims.textproto is measured; arguments come from there.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "common/claims/experiment.h"
#include "common/claims/printed_number.h"
#include "common/completion/completion.h"
#include "common/completion/open_client.h"
#include "common/exec/sandbox.h"
#include "common/status/macros.h"
#include "common/threads/parallel_for.h"
#include "papers/code_judge_bench/edits.h"
#include "papers/code_judge_bench/items.h"
#include "papers/code_judge_bench/judge.h"
#include "papers/code_judge_bench/pairs.h"
#include "papers/code_judge_bench/scoring.h"
#include "papers/code_judge_bench/small_judge.h"

namespace repro::code_judge_bench {
namespace {

constexpr char kSlug[] = "code_judge_bench";

// ------------------------------------------------------ settings, arithmetic

absl::Status MeasureSettings(ExperimentRun& run) {
  const auto request =
      JudgeRequest(PromptStyle::kGeneral, {"question", "a", "b"},
                   GenerationSettings::For(PromptStyle::kGeneral));
  return RecordByName(run, "report",
                      {{"tasks", static_cast<double>(kTasks.size())},
                       {"max_tokens", static_cast<double>(request.max_tokens)},
                       {"temperature", request.temperature}});
}
REPRO_REGISTER_EXPERIMENT(kSlug, "settings", MeasureSettings);

absl::StatusOr<std::vector<double>> Terms(ExperimentRun& run,
                                          const Claim& claim) {
  REPRO_ASSIGN_OR_RETURN(const std::string text, run.Arg(claim, "terms"));
  std::vector<double> terms;
  for (const absl::string_view term : absl::StrSplit(text, ' ')) {
    REPRO_ASSIGN_OR_RETURN(const PrintedNumber number,
                           ParsePrintedNumber(term));
    terms.push_back(number.value);
  }
  return terms;
}

// What follows from printed numbers.
absl::Status MeasurePrinted(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string report, run.Arg(*claim, "report"));
    REPRO_ASSIGN_OR_RETURN(const std::vector<double> terms, Terms(run, *claim));
    double sum = 0;
    for (const double term : terms) sum += term;
    if (report == "sum") {
      run.Record(*claim, sum);
    } else if (report == "mean") {
      run.Record(*claim, sum / static_cast<double>(terms.size()));
    } else if (report == "least neither right") {
      run.Record(*claim, LeastNeitherRight(sum));
    } else {
      return UnknownName(*claim, "report", report);
    }
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "printed", MeasurePrinted);

// ------------------------------------------------------------------- pairs

absl::StatusOr<std::vector<TaskPool>> Pools(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string problems, run.AssetPath("problems"));
  REPRO_ASSIGN_OR_RETURN(const std::string candidates,
                         run.AssetPath("candidates"));
  return ReadPools(problems, candidates);
}

// Whether a return statement begins a line. The pool holds many wrong programs
// that do nothing: a line of comment signs, `pass`.
bool HasReturn(absl::string_view completion) {
  for (absl::string_view line : absl::StrSplit(completion, '\n')) {
    line = absl::StripLeadingAsciiWhitespace(line);
    if (absl::ConsumePrefix(&line, "return") &&
        (line.empty() || !(absl::ascii_isalnum(line[0]) || line[0] == '_'))) {
      return true;
    }
  }
  return false;
}

// Judges that know nothing of programs, by name.
std::map<std::string, Judge> NaiveJudges(const std::vector<Pair>& pairs) {
  const auto length = [](int sign) {
    return PreferenceJudge([sign](const Comparison& comparison) {
      return sign * (static_cast<double>(comparison.answer_a.size()) -
                     static_cast<double>(comparison.answer_b.size()));
    });
  };
  // Of the texts of the pairs alone; a text may answer two tasks.
  auto counts = std::make_shared<
      std::map<std::pair<std::string, std::string>, int64_t>>();
  for (const Pair& pair : pairs) {
    const Item item = ItemOf(pair);
    (*counts)[{item.question, item.correct}] = pair.correct->count;
    (*counts)[{item.question, item.wrong}] = pair.wrong->count;
  }
  const Scorer frequency =
      [counts](
          const std::string& question,
          const std::string& answer) -> absl::StatusOr<std::optional<double>> {
    return static_cast<double>(counts->at({question, answer}));
  };
  return {{"shorter", length(-1)},
          {"longer", length(1)},
          {"more frequent", PointwiseJudge(frequency)},
          {"returns", PreferenceJudge([](const Comparison& comparison) {
             return static_cast<double>(HasReturn(comparison.answer_a)) -
                    static_cast<double>(HasReturn(comparison.answer_b));
           })},
          {"always A", [](const Comparison&) -> absl::StatusOr<Verdict> {
             return Verdict(Winner::kA);
           }}};
}

absl::Status MeasurePairs(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<TaskPool> pools, Pools(run));
  const std::vector<Pair> pairs = FirstPairs(pools);
  std::vector<Item> items;
  std::map<std::string, double> values;
  values["pairs"] = static_cast<double>(pairs.size());
  values["all pairs"] = static_cast<double>(CountPairs(pools));
  for (const Pair& pair : pairs) {
    items.push_back(ItemOf(pair));
    ++values[pair.wrong->raised ? "wrong with an error" : "wrong output"];
    values["correct without return"] += !HasReturn(pair.correct->completion);
    values["wrong without return"] += !HasReturn(pair.wrong->completion);
  }
  for (const auto& [name, judge] : NaiveJudges(pairs)) {
    REPRO_ASSIGN_OR_RETURN(const std::vector<ItemVerdicts> verdicts,
                           JudgeItems(items, judge, /*threads=*/1));
    REPRO_ASSIGN_OR_RETURN(const Scores scores, Score(verdicts));
    values[absl::StrCat(name, " accuracy")] = scores.accuracy;
    values[absl::StrCat(name, " position gap")] = scores.position_gap;
    values[absl::StrCat(name, " consistency")] = scores.consistency;
  }
  return RecordByName(run, "report", values);
}
REPRO_REGISTER_EXPERIMENT(kSlug, "pairs", MeasurePairs);

// ------------------------------------------------------------------- edits

// Both answers edited so that the wrong one looks better.
absl::StatusOr<Item> Misleading(const Pair& pair, std::mt19937_64& random) {
  Item item = ItemOf(pair);
  const std::string& prompt = pair.task->problem.prompt;
  EditOptions options;
  options.comments = Comments::kDoubt;
  REPRO_ASSIGN_OR_RETURN(item.correct,
                         EditCompletion(prompt, item.correct, options, random));
  options.comments = Comments::kPraise;
  REPRO_ASSIGN_OR_RETURN(item.wrong,
                         EditCompletion(prompt, item.wrong, options, random));
  return item;
}

exec::ExecRequest TestRequest(const HumanEvalProblem& problem,
                              const std::string& completion) {
  exec::ExecRequest request;
  request.mode = exec::Mode::kTests;
  request.program = absl::StrCat(problem.prompt, completion);
  request.tests =
      absl::StrCat(problem.test, "\ncheck(", problem.entry_point, ")\n");
  // The limits of the pool's labels; the wall clock is that of a busy machine.
  request.limits.cpu = absl::Seconds(1);
  request.limits.wall = absl::Seconds(10);
  request.limits.memory_bytes = int64_t{2} << 30;
  return request;
}

// Whether edited programs still pass or fail as the originals do.
absl::Status MeasureEdits(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<TaskPool> pools, Pools(run));
  REPRO_ASSIGN_OR_RETURN(const exec::Sandbox sandbox, exec::Sandbox::Create());
  std::mt19937_64 random(0);
  std::vector<exec::ExecRequest> requests;
  double changed = 0;
  for (const Pair& pair : FirstPairs(pools)) {
    REPRO_ASSIGN_OR_RETURN(const Item item, Misleading(pair, random));
    changed += item.correct != pair.correct->completion;
    changed += item.wrong != pair.wrong->completion;
    requests.push_back(TestRequest(pair.task->problem, item.correct));
    requests.push_back(TestRequest(pair.task->problem, item.wrong));
  }
  REPRO_ASSIGN_OR_RETURN(
      const std::vector<exec::ExecResult> results,
      sandbox.RunAll(requests, run.threads(), [&run](int done, int total) {
        run.Progress(done, total, "edited programs");
        return !run.Cancelled();
      }));
  const std::vector<bool> passed = exec::Passed(results);
  double kept = 0;
  for (size_t i = 0; i < passed.size(); ++i) kept += passed[i] == (i % 2 == 0);
  const auto total = static_cast<double>(passed.size());
  return RecordByName(
      run, "report",
      {{"labels kept", kept}, {"share changed", 100 * changed / total}});
}
REPRO_REGISTER_EXPERIMENT(kSlug, "edits", MeasureEdits);

// ------------------------------------------------------------------- study

constexpr int64_t kFolds = 5;
constexpr int64_t kPairsATask = 20;

// The features of a comparison, by its texts.
class FeatureCache {
 public:
  const TextFeatures& Of(const std::string& text) {
    auto& features = features_[text];
    if (!features) features = std::make_unique<TextFeatures>(FeaturesOf(text));
    return *features;
  }

 private:
  std::map<std::string, std::unique_ptr<TextFeatures>> features_;
};

Preference PreferenceOf(const SmallJudge& judge, FeatureCache& cache) {
  return [&judge, &cache](const Comparison& comparison) {
    return judge.Preference(cache.Of(comparison.question),
                            cache.Of(comparison.answer_a),
                            cache.Of(comparison.answer_b));
  };
}

absl::StatusOr<Scores> ScoreOf(const std::vector<Item>& items,
                               Preference preference) {
  REPRO_ASSIGN_OR_RETURN(
      const std::vector<ItemVerdicts> verdicts,
      JudgeItems(items, PreferenceJudge(std::move(preference)), 1));
  return Score(verdicts);
}

// Tasks of one fold, by their place modulo kFolds, or all the others.
absl::StatusOr<std::vector<TaskPool>> TasksOf(
    const std::vector<TaskPool>& pools, int64_t fold, bool in_fold) {
  std::vector<TaskPool> tasks;
  for (const TaskPool& pool : pools) {
    int64_t number = 0;
    absl::string_view id = pool.problem.task_id;
    if (!absl::ConsumePrefix(&id, "HumanEval/") ||
        !absl::SimpleAtoi(id, &number)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "task_id \"", pool.problem.task_id, "\" is not HumanEval/NUMBER"));
    }
    if ((number % kFolds == fold) == in_fold) tasks.push_back(pool);
  }
  return tasks;
}

// Of one seed: judges that learn from four fifths of the tasks, on the rest.
absl::StatusOr<std::map<std::string, double>> StudySeed(
    const std::vector<TaskPool>& pools, uint64_t seed) {
  const auto fold = static_cast<int64_t>(seed % kFolds);
  std::mt19937_64 random(seed);
  REPRO_ASSIGN_OR_RETURN(const std::vector<TaskPool> train_tasks,
                         TasksOf(pools, fold, false));
  REPRO_ASSIGN_OR_RETURN(const std::vector<TaskPool> test_tasks,
                         TasksOf(pools, fold, true));
  FeatureCache cache;
  std::vector<TrainingPair> pairs, shuffled;
  for (const Pair& pair : DrawPairs(train_tasks, kPairsATask, random)) {
    const Item item = ItemOf(pair);
    TrainingPair one = {&cache.Of(item.question), &cache.Of(item.correct),
                        &cache.Of(item.wrong)};
    pairs.push_back(one);
    if (random() % 2 == 0) std::swap(one.correct, one.wrong);
    shuffled.push_back(one);
  }
  std::vector<Item> items, misleading;
  for (const Pair& pair : DrawPairs(test_tasks, kPairsATask, random)) {
    items.push_back(ItemOf(pair));
    REPRO_ASSIGN_OR_RETURN(Item edited, Misleading(pair, random));
    misleading.push_back(std::move(edited));
  }
  SmallJudgeOptions options;
  const SmallJudge both = SmallJudge::Train(pairs, options, seed);
  const SmallJudge control = SmallJudge::Train(shuffled, options, seed);
  options.both_orders = false;
  const SmallJudge one = SmallJudge::Train(pairs, options, seed);
  options.design = Design::kPointwise;
  const SmallJudge pointwise = SmallJudge::Train(pairs, options, seed);
  options.design = Design::kDifference;
  const SmallJudge difference = SmallJudge::Train(pairs, options, seed);

  std::map<std::string, Scores> scores;
  REPRO_ASSIGN_OR_RETURN(scores["both"],
                         ScoreOf(items, PreferenceOf(both, cache)));
  REPRO_ASSIGN_OR_RETURN(scores["edited"],
                         ScoreOf(misleading, PreferenceOf(both, cache)));
  REPRO_ASSIGN_OR_RETURN(scores["control"],
                         ScoreOf(items, PreferenceOf(control, cache)));
  REPRO_ASSIGN_OR_RETURN(scores["one"],
                         ScoreOf(items, PreferenceOf(one, cache)));
  REPRO_ASSIGN_OR_RETURN(scores["symmetrised"],
                         ScoreOf(items, Symmetrised(PreferenceOf(one, cache))));
  REPRO_ASSIGN_OR_RETURN(scores["pointwise"],
                         ScoreOf(items, PreferenceOf(pointwise, cache)));
  REPRO_ASSIGN_OR_RETURN(scores["difference"],
                         ScoreOf(items, PreferenceOf(difference, cache)));

  std::map<std::string, double> values;
  for (const auto& [name, of_judge] : scores) {
    values[absl::StrCat(name, " accuracy")] = of_judge.accuracy;
    values[absl::StrCat(name, " inconsistency")] = 100 - of_judge.consistency;
    values[absl::StrCat(name, " position gap")] = of_judge.position_gap;
  }
  const auto gain = [&](const std::string& name, const std::string& more,
                        const std::string& less) {
    values[name] = values[more] - values[less];
  };
  gain("pairwise over pointwise", "both accuracy", "pointwise accuracy");
  gain("difference over pointwise", "difference accuracy",
       "pointwise accuracy");
  gain("both orders over one", "one inconsistency", "both inconsistency");
  gain("symmetrised over one", "symmetrised accuracy", "one accuracy");
  gain("loss by edits", "both accuracy", "edited accuracy");
  return values;
}

// Records for each claim the samples of the value that "report" names.
absl::Status RecordSamples(
    ExperimentRun& run,
    const std::vector<std::map<std::string, double>>& of_seeds,
    const std::string& scale) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string report, run.Arg(*claim, "report"));
    Observation observation;
    observation.scale = scale;
    for (const auto& values : of_seeds) {
      const auto found = values.find(report);
      if (found == values.end()) return UnknownName(*claim, "report", report);
      observation.samples.push_back(found->second);
    }
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}

absl::Status RunStudy(ExperimentRun& run, const std::vector<TaskPool>& pools,
                      const std::string& which) {
  const auto num_seeds = static_cast<int64_t>(run.seeds().size());
  std::vector<std::map<std::string, double>> of_seeds(num_seeds);
  REPRO_RETURN_IF_ERROR(ParallelFor(
      num_seeds, run.threads(),
      [&](int64_t i) -> absl::Status {
        REPRO_ASSIGN_OR_RETURN(of_seeds[i], StudySeed(pools, run.seeds()[i]));
        return absl::OkStatus();
      },
      [&](int64_t done) {
        run.Progress(static_cast<double>(done), static_cast<double>(num_seeds),
                     "seeds");
        return !run.Cancelled();
      }));
  return RecordSamples(run, of_seeds,
                       absl::StrCat("bags of tokens; HumanEval's tasks, ",
                                    kPairsATask, " pairs a task", which,
                                    ", tested on a fifth of the tasks a seed"));
}

absl::Status MeasureStudy(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<TaskPool> pools, Pools(run));
  return RunStudy(run, pools, "");
}
REPRO_REGISTER_EXPERIMENT(kSlug, "study", MeasureStudy);

// The same among programs that return something.
absl::Status MeasureStudyOfReturning(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(std::vector<TaskPool> pools, Pools(run));
  for (TaskPool& pool : pools) {
    for (std::vector<Candidate>* kind : {&pool.correct, &pool.wrong}) {
      kind->erase(std::remove_if(kind->begin(), kind->end(),
                                 [](const Candidate& candidate) {
                                   return !HasReturn(candidate.completion);
                                 }),
                  kind->end());
    }
  }
  return RunStudy(run, pools, " of programs with a return");
}
REPRO_REGISTER_EXPERIMENT(kSlug, "study_returning", MeasureStudyOfReturning);

// ---------------------------------------------------------- language model

constexpr size_t kModelPairs = 4;
constexpr int64_t kModelTokens = 256;

// The paper's prompt and protocol with the model that the user chose.
absl::Status MeasureModel(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<TaskPool> pools, Pools(run));
  completion::OpenOptions open;
  open.cancelled = [&run] { return run.Cancelled(); };
  REPRO_ASSIGN_OR_RETURN(
      const std::unique_ptr<completion::CompletionClient> client,
      completion::OpenClient(run.model_spec(), open));
  std::vector<Pair> pairs = FirstPairs(pools);
  const double total = static_cast<double>(run.seeds().size()) *
                       static_cast<double>(kModelPairs);
  double finished = 0;
  std::vector<std::map<std::string, double>> of_seeds;
  for (const uint64_t seed : run.seeds()) {
    std::mt19937_64 random(seed);
    std::shuffle(pairs.begin(), pairs.end(), random);
    std::vector<Item> items;
    for (size_t i = 0; i < std::min(kModelPairs, pairs.size()); ++i) {
      items.push_back(ItemOf(pairs[i]));
    }
    GenerationSettings settings =
        GenerationSettings::For(PromptStyle::kGeneral);
    settings.max_tokens = kModelTokens;
    settings.seed = seed;
    REPRO_ASSIGN_OR_RETURN(
        const std::vector<ItemVerdicts> verdicts,
        JudgeItems(items,
                   LanguageModelJudge(*client, PromptStyle::kGeneral, settings),
                   /*threads=*/1, [&](int64_t) {
                     run.Progress(++finished, total, client->name());
                     return !run.Cancelled();
                   }));
    REPRO_ASSIGN_OR_RETURN(const Scores scores, Score(verdicts));
    of_seeds.push_back({{"accuracy", scores.accuracy},
                        {"consistency", scores.consistency},
                        {"no verdict", scores.no_verdict}});
  }
  return RecordSamples(
      run, of_seeds,
      absl::StrCat(client->name(), ", ", kModelPairs, " pairs a seed, ",
                   kModelTokens, " of 32,768 tokens"));
}
REPRO_REGISTER_EXPERIMENT(kSlug, "model", MeasureModel);

}  // namespace
}  // namespace repro::code_judge_bench
