// How each claim of claims.textproto is measured; arguments come from there.

#include <algorithm>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "common/claims/experiment.h"
#include "common/data/jsonl.h"
#include "common/exec/sandbox.h"
#include "common/status/macros.h"
#include "papers/code_halu/generations.h"
#include "papers/code_halu/harness.h"
#include "papers/code_halu/taxonomy.h"

namespace repro::code_halu {
namespace {

constexpr char kSlug[] = "code_halu";

absl::StatusOr<BreakdownRule> RuleOfClaim(const ExperimentRun& run,
                                          const Claim& claim) {
  REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(claim, "rule"));
  if (name == "coded") return BreakdownRule::kAsCoded;
  if (name == "published") return BreakdownRule::kAsPublished;
  return UnknownName(claim, "rule", name);
}

absl::StatusOr<Category> CategoryOfClaim(const ExperimentRun& run,
                                         const Claim& claim) {
  REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(claim, "category"));
  return ParseCategory(name);
}

// --------------------------------------------------------------------- sizes

// Sums of what the paper prints for parts of the benchmark.
absl::Status AddUpSizes(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const Paper* paper,
                         Registry::Global().FindPaper(kSlug));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string ids, run.Arg(*claim, "sum_of"));
    double sum = 0;
    for (const absl::string_view id : absl::StrSplit(ids, ',')) {
      const auto part =
          std::find_if(paper->claims().begin(), paper->claims().end(),
                       [&](const Claim& other) { return other.id() == id; });
      double value = 0;
      if (part == paper->claims().end() ||
          !absl::SimpleAtod(part->reported(), &value)) {
        return UnknownName(*claim, "claim with a number", id);
      }
      sum += value;
    }
    run.Record(*claim, sum);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "sizes", AddUpSizes);

// ------------------------------------------------------------------ settings

// By bisection: the least number of tokens that is a breakdown.
int64_t ShortestBreakdown() {
  int64_t runs = 0, breaks = 1 << 20;
  while (breaks - runs > 1) {
    const int64_t middle = (runs + breaks) / 2;
    HarnessOptions options;
    options.count_tokens = [&](absl::string_view) { return middle; };
    (IsBreakdown("", options) ? breaks : runs) = middle;
  }
  return breaks;
}

absl::Status MeasureSettings(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string report, run.Arg(*claim, "report"));
    if (report == "shortest_breakdown") {
      run.RecordCount(*claim, static_cast<double>(ShortestBreakdown()));
    } else if (report == "temperature") {
      run.Record(*claim, GenerationRequest(Task()).temperature);
    } else {
      return UnknownName(*claim, "report", report);
    }
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "settings", MeasureSettings);

// -------------------------------------------------------------------- counts

// Whether no other category has as many verdicts in the category's own file.
bool OwnCategoryLeads(const FileCounts& counts, Category own,
                      BreakdownRule rule) {
  return std::all_of(
      kCategories.begin(), kCategories.end(), [&](Category other) {
        return other == own || counts.Of(other, rule) < counts.Of(own, rule);
      });
}

absl::StatusOr<double> OfCounts(ExperimentRun& run, const Claim& claim,
                                const VerdictCounts& counts) {
  REPRO_ASSIGN_OR_RETURN(const std::string report, run.Arg(claim, "report"));
  double sum = 0;
  if (report == "categories") return static_cast<double>(counts.size());
  if (report == "types") {
    std::set<HallucinationType> types;
    for (const auto& [category, file] : counts) types.insert(TypeOf(category));
    return static_cast<double>(types.size());
  }
  if (report == "pairs" || report == "correct") {
    for (const auto& [category, file] : counts) {
      sum += static_cast<double>(report == "pairs" ? file.total()
                                                   : file.Of(kCorrect));
    }
    return sum;
  }
  REPRO_ASSIGN_OR_RETURN(const BreakdownRule rule, RuleOfClaim(run, claim));
  if (report == "rate" || report == "verdicts") {
    REPRO_ASSIGN_OR_RETURN(const Category category,
                           CategoryOfClaim(run, claim));
    const auto file = counts.find(category);
    if (file == counts.end()) {
      return UnknownName(claim, "file of", CategoryName(category));
    }
    if (report == "verdicts") {
      return static_cast<double>(file->second.Of(category, rule));
    }
    int64_t records = file->second.total();
    if (claim.args().count("samples") > 0) {
      REPRO_ASSIGN_OR_RETURN(records, run.IntArg(claim, "samples"));
    }
    return HallucinationRate(file->second, category, records, rule);
  }
  for (const auto& [own, file] : counts) {
    if (report == "mean_rate") {
      REPRO_ASSIGN_OR_RETURN(const double rate,
                             HallucinationRate(file, own, file.total(), rule));
      sum += rate / static_cast<double>(counts.size());
    } else if (report == "own_category") {
      sum += static_cast<double>(file.Of(own, rule));
    } else if (report == "any_category") {
      for (const Category any : kCategories) {
        sum += static_cast<double>(file.Of(any, rule));
      }
    } else if (report == "own_category_leads") {
      sum += OwnCategoryLeads(file, own, rule);
    } else {
      return UnknownName(claim, "report", report);
    }
  }
  return sum;
}

absl::Status MeasureCounts(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string path, run.AssetPath("counts"));
  REPRO_ASSIGN_OR_RETURN(const VerdictCounts counts, ReadVerdictCounts(path));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const double value, OfCounts(run, *claim, counts));
    run.Record(*claim, value);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "counts", MeasureCounts);

// -------------------------------------------------------------------- replay

struct Replayed {
  std::string released;  // verdict
  JudgedRun measured;
};

absl::StatusOr<std::vector<Replayed>> Replay(ExperimentRun& run,
                                             const HarnessOptions& options) {
  REPRO_ASSIGN_OR_RETURN(const std::string path, run.AssetPath("generations"));
  REPRO_ASSIGN_OR_RETURN(const std::vector<Generation> generations,
                         ReadGenerations(path));
  REPRO_ASSIGN_OR_RETURN(const exec::Sandbox sandbox, exec::Sandbox::Create());
  std::vector<ProgramRun> runs;
  std::vector<Replayed> replayed;
  for (const Generation& generation : generations) {
    for (const JudgedTest& test : generation.tests) {
      runs.push_back({&generation.task, generation.code, &test.test});
      replayed.emplace_back().released = test.verdict;
    }
  }
  REPRO_ASSIGN_OR_RETURN(
      std::vector<JudgedRun> judged,
      JudgeAll(sandbox, runs, options, run.threads(), [&](int done, int total) {
        run.Progress(done, total, "programs");
        return !run.Cancelled();
      }));
  for (size_t i = 0; i < judged.size(); ++i) {
    replayed[i].measured = std::move(judged[i]);
  }
  return replayed;
}

absl::Status RecordReplay(ExperimentRun& run,
                          const std::vector<Replayed>& replayed) {
  const auto count = [&](const auto& property) {
    return static_cast<double>(
        std::count_if(replayed.begin(), replayed.end(), property));
  };
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string report, run.Arg(*claim, "report"));
    double value = 0;
    if (report == "verdicts") {
      REPRO_ASSIGN_OR_RETURN(const std::string verdict,
                             run.Arg(*claim, "verdict"));
      value = count(
          [&](const Replayed& one) { return one.measured.verdict == verdict; });
    } else if (report == "agree") {
      value = count([](const Replayed& one) {
        return one.measured.verdict == one.released;
      });
    } else if (report == "agree_in_category") {
      value = count([](const Replayed& one) {
        const BreakdownRule rule = BreakdownRule::kAsPublished;
        return CategoryOf(one.measured.verdict, rule) ==
                   CategoryOf(one.released, rule) &&
               (one.measured.verdict == kCorrect) == (one.released == kCorrect);
      });
    } else if (report == "shortest_timeout") {
      absl::Duration shortest = absl::InfiniteDuration();
      for (const Replayed& one : replayed) {
        if (one.measured.verdict != kTestTimeout) continue;
        shortest = std::min(shortest, one.measured.elapsed);
      }
      if (shortest == absl::InfiniteDuration()) {
        return absl::NotFoundError("no program was ended by the alarm");
      }
      // Whole seconds: what is over them is the machine's.
      value = static_cast<double>(absl::ToInt64Seconds(shortest));
    } else {
      return UnknownName(*claim, "report", report);
    }
    run.Record(*claim, value);
  }
  return absl::OkStatus();
}

// What fills memory does so well before its time is up, on slow machines, too.
constexpr int64_t kReplayMemoryBytes = int64_t{512} << 20;

absl::Status MeasureReplay(ExperimentRun& run) {
  HarnessOptions options;
  options.memory_bytes = kReplayMemoryBytes;
  REPRO_ASSIGN_OR_RETURN(const std::vector<Replayed> replayed,
                         Replay(run, options));
  return RecordReplay(run, replayed);
}
REPRO_REGISTER_EXPERIMENT(kSlug, "replay", MeasureReplay);

absl::Status MeasureReplayAsScript(ExperimentRun& run) {
  HarnessOptions options;
  options.form = ProgramForm::kScript;
  options.guard = false;
  // What needs more is endless.
  options.test_limit = absl::Seconds(5);
  options.memory_bytes = kReplayMemoryBytes;
  REPRO_ASSIGN_OR_RETURN(const std::vector<Replayed> replayed,
                         Replay(run, options));
  return RecordReplay(run, replayed);
}
REPRO_REGISTER_EXPERIMENT(kSlug, "replay_as_script", MeasureReplayAsScript);

// ----------------------------------------------------------------- artefacts

struct Probe {
  const char* code;
  const char* input;
  const char* expected;
};

const std::map<std::string, Probe>& Probes() {
  static const auto* const kProbes = new std::map<std::string, Probe>{
      {"exit", {"print(1)\nexit()", "", "1"}},
      {"syntax_error", {"print(1", "", "1"}},
      {"missing_module", {"import nosuch\nprint(1)", "", "1"}},
      {"missing_module_later", {"x = 1\nimport nosuch\nprint(x)", "", "1"}},
      {"global",
       {"n = 0\ndef count():\n    global n\n    n += 1\ncount()\nprint(n)", "",
        "1"}},
      {"stdin_buffer",
       {"import sys\nprint(len(sys.stdin.buffer.read()))", "abc", "3"}},
      {"reads_too_much", {"input()\ninput()", "abc\n", ""}},
      {"reads_too_much_of_alias",
       {"for i in range(3):\n    stdin.readline()", "abc\n", ""}},
      {"other_order", {"print('1 2')", "", "2 1"}},
      {"lines_once", {"print('a')", "", "a\na\na"}},
  };
  return *kProbes;
}

absl::Status MeasureArtefacts(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const exec::Sandbox sandbox, exec::Sandbox::Create());
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(*claim, "program"));
    REPRO_ASSIGN_OR_RETURN(const std::string form, run.Arg(*claim, "form"));
    REPRO_ASSIGN_OR_RETURN(const std::string category,
                           run.Arg(*claim, "category"));
    const auto probe = Probes().find(name);
    if (probe == Probes().end()) return UnknownName(*claim, "program", name);
    HarnessOptions options;
    if (form == "script") {
      options.form = ProgramForm::kScript;
      options.guard = false;
    } else if (form != "harness") {
      return UnknownName(*claim, "form", form);
    }
    const Task task;
    const TestCase test = {probe->second.input, probe->second.expected};
    REPRO_ASSIGN_OR_RETURN(
        const std::vector<JudgedRun> judged,
        JudgeAll(sandbox, {{&task, probe->second.code, &test}}, options,
                 /*workers=*/1));
    const std::string& verdict = judged[0].verdict;
    const std::optional<Category> measured =
        CategoryOf(verdict, BreakdownRule::kAsPublished);
    bool holds = false;
    if (category == "correct") {
      holds = verdict == kCorrect;
    } else if (category == "none") {
      holds = verdict != kCorrect && !measured.has_value();
    } else {
      REPRO_ASSIGN_OR_RETURN(const Category wanted, ParseCategory(category));
      holds = measured == wanted;
    }
    run.Record(*claim, holds);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "artefacts", MeasureArtefacts);

// ----------------------------------------------------------------- HumanEval

// By problem: how many samples had which verdict.
using VerdictsByTask = std::map<std::string, std::map<std::string, int64_t>>;

absl::StatusOr<VerdictsByTask> ReadHumanEval(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string path,
                         run.AssetPath("humaneval_feedback"));
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines, ReadJsonl(path));
  VerdictsByTask verdicts;
  for (const JsonLine& line : lines) {
    try {
      const auto label = line.value.at("label").get<int64_t>();
      const std::string verdict =
          label == 0   ? kCorrect
          : label == 2 ? kLogicDeviation
                       : line.value.at("error_type").get<std::string>();
      const auto count = line.value.at("count").get<int64_t>();
      if (count < 1) {
        return absl::InvalidArgumentError(
            absl::StrCat(path, ":", line.line, ": field \"count\": ", count));
      }
      verdicts[line.value.at("task_id").get<std::string>()][verdict] += count;
    } catch (const nlohmann::json::exception& exception) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ":", line.line, ": ", exception.what()));
    }
  }
  if (verdicts.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": no programs"));
  }
  return verdicts;
}

absl::Status MeasureHumanEval(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const VerdictsByTask verdicts, ReadHumanEval(run));
  FileCounts counts;
  for (const auto& [task, of_task] : verdicts) {
    for (const auto& [verdict, count] : of_task) {
      counts.by_verdict[verdict] += count;
    }
  }
  const BreakdownRule rule = BreakdownRule::kAsPublished;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string report, run.Arg(*claim, "report"));
    int64_t count = 0;
    if (report == kCorrect) {
      count = counts.Of(kCorrect);
    } else if (report == "none") {
      count = counts.total() - counts.Of(kCorrect);
      for (const Category any : kCategories) count -= counts.Of(any, rule);
    } else {
      REPRO_ASSIGN_OR_RETURN(const Category category, ParseCategory(report));
      count = counts.Of(category, rule);
    }
    run.Record(*claim, static_cast<double>(count));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "humaneval", MeasureHumanEval);

const std::map<std::string, HallucinationType>& TypesByName() {
  static const auto* const kTypes =
      new std::map<std::string, HallucinationType>{
          {"mapping", HallucinationType::kMapping},
          {"naming", HallucinationType::kNaming},
          {"resource", HallucinationType::kResource},
          {"logic", HallucinationType::kLogic}};
  return *kTypes;
}

// One of the samples of each problem, as a model asked once would give.
std::map<HallucinationType, int64_t> DrawTypes(const VerdictsByTask& verdicts,
                                               uint64_t seed) {
  std::mt19937_64 random(seed);
  std::map<HallucinationType, int64_t> types;
  for (const auto& [task, of_task] : verdicts) {
    std::vector<double> weights;
    std::vector<std::string> names;
    for (const auto& [verdict, count] : of_task) {
      names.push_back(verdict);
      weights.push_back(static_cast<double>(count));
    }
    const std::string& drawn = names[std::discrete_distribution<size_t>(
        weights.begin(), weights.end())(random)];
    const auto category = CategoryOf(drawn, BreakdownRule::kAsPublished);
    if (category.has_value()) ++types[TypeOf(*category)];
  }
  return types;
}

absl::Status MeasureHumanEvalDraws(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const VerdictsByTask verdicts, ReadHumanEval(run));
  for (const Claim* claim : run.claims()) {
    std::vector<HallucinationType> pair;
    for (const char* arg : {"first", "second"}) {
      REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(*claim, arg));
      const auto type = TypesByName().find(name);
      if (type == TypesByName().end()) return UnknownName(*claim, arg, name);
      pair.push_back(type->second);
    }
    Observation observation;
    for (const uint64_t seed : run.seeds()) {
      std::map<HallucinationType, int64_t> types = DrawTypes(verdicts, seed);
      observation.samples.push_back(
          100 * static_cast<double>(types[pair[0]] - types[pair[1]]) /
          static_cast<double>(verdicts.size()));
    }
    observation.effects = observation.samples;
    observation.scale = "HumanEval and CodeGen-16B";
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "humaneval_draws", MeasureHumanEvalDraws);

}  // namespace
}  // namespace repro::code_halu
