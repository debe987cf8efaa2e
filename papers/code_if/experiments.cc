// How each claim of claims.textproto is measured; arguments come from there.

#include <algorithm>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/claims/experiment.h"
#include "common/code/language.h"
#include "common/data/jsonl.h"
#include "common/status/macros.h"
#include "papers/code_if/construction.h"
#include "papers/code_if/leaderboard.h"
#include "papers/code_if/metrics.h"
#include "papers/code_if/program.h"
#include "papers/code_if/questions.h"
#include "papers/code_if/rules.h"

namespace repro::code_if {
namespace {

// Records the value that the argument "report" names.
absl::Status RecordReports(ExperimentRun& run,
                           const std::map<std::string, double>& values) {
  return RecordByName(run, "report", values);
}

struct Benchmark {
  std::vector<InstructionTemplate> templates;
  std::vector<Question> questions;
  // Of each question, in the order of its instructions.
  std::vector<std::vector<MatchedInstruction>> matched;
};

absl::StatusOr<Benchmark> ReadBenchmark(ExperimentRun& run) {
  Benchmark benchmark;
  REPRO_ASSIGN_OR_RETURN(const std::string templates_path,
                         run.AssetPath("templates"));
  REPRO_ASSIGN_OR_RETURN(benchmark.templates, ReadTemplates(templates_path));
  REPRO_ASSIGN_OR_RETURN(const std::string questions_path,
                         run.AssetPath("questions"));
  REPRO_ASSIGN_OR_RETURN(benchmark.questions, ReadQuestions(questions_path));
  REPRO_ASSIGN_OR_RETURN(const TemplateMatcher matcher,
                         TemplateMatcher::Make(benchmark.templates));
  for (const Question& question : benchmark.questions) {
    std::vector<MatchedInstruction> matched;
    for (const Instruction& instruction : question.instructions) {
      auto one = matcher.Match(instruction);
      if (!one) {
        return absl::InvalidArgumentError(absl::StrCat("question ", question.id,
                                                       ": no template says \"",
                                                       instruction.text, "\""));
      }
      matched.push_back(*std::move(one));
    }
    benchmark.matched.push_back(std::move(matched));
  }
  return benchmark;
}

// --------------------------------------------------------------- questions

// "should not", against "not" anywhere in a check.
bool Forbids(const std::string& instruction) {
  return absl::StrContains(instruction, " should not ");
}
bool AsksForAbsence(const std::string& check) {
  return absl::StrContains(check, " not ");
}

// Check questions that a "yes" answers when the instruction is broken, and
// those with a placeholder that the template does not have.
void CountChecks(const std::vector<InstructionTemplate>& templates,
                 std::map<std::string, double>* values) {
  double& opposite = (*values)["checks of opposite polarity"];
  double& unknown = (*values)["checks with an unknown placeholder"];
  double& without = (*values)["templates without a check"];
  for (const InstructionTemplate& one : templates) {
    without += one.checks.empty();
    for (const std::string& check : one.checks) {
      opposite += Forbids(one.format) != AsksForAbsence(check);
      for (const auto& piece : absl::StrSplit(check, '{')) {
        const auto end = piece.find('}');
        unknown += end != absl::string_view::npos &&
                   !absl::c_linear_search(one.keys, piece.substr(0, end));
      }
    }
  }
}

absl::Status Questions(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const Benchmark benchmark, ReadBenchmark(run));
  std::map<std::string, double> values;
  const auto count = [&](const std::string& name, double add = 1) {
    values[name] += add;
  };
  std::set<std::string> texts;
  double shortest = 1e9, longest = 0;
  for (const char* zero : {"conflicts", "missing prerequisites"}) {
    values[zero] = 0;
  }
  for (size_t q = 0; q < benchmark.questions.size(); ++q) {
    const Question& question = benchmark.questions[q];
    const auto size = static_cast<double>(question.instructions.size());
    const std::string set = question.hard ? "hard" : "easy";
    count("questions");
    count(set);
    count(code::LanguageName(question.language));
    count("instructions", size);
    count(absl::StrCat(set, " instructions"), size);
    count(absl::StrCat(set, " dependencies"),
          static_cast<double>(question.dependencies.size()));
    shortest = std::min(shortest, size);
    longest = std::max(longest, size);
    texts.insert(question.text);
    std::vector<int64_t> ids;
    std::vector<std::string> categories;
    for (size_t i = 0; i < question.instructions.size(); ++i) {
      const MatchedInstruction& matched = benchmark.matched[q][i];
      ids.push_back(matched.id);
      categories.push_back(question.instructions[i].category);
      count(categories.back());
      if (matched.id == 1) {
        const auto asked =
            code::ParseLanguageName(matched.values.at("programming_language"));
        count("asks for another language",
              !asked.ok() || *asked != question.language);
      }
      if (matched.id == 48) {
        count("empty function lists",
              SplitList(matched.values.at("function_name_list")).empty());
      }
      count("unfilled placeholders",
            absl::StrContains(question.instructions[i].text,
                              "disallowed_function_list"));
    }
    count("conflicts", FindConflict(ids).first != 0);
    for (const int64_t id : ids) {
      for (const int64_t needed : Prerequisites(id)) {
        count("missing prerequisites", !absl::c_linear_search(ids, needed));
      }
    }
    count("rebuilt as coded",
          RebuildDependencies(ids, categories) == question.dependencies);
    count("rebuilt one by one",
          RebuildDependencies(ids, categories, Repeated::kEach) ==
              question.dependencies);
  }
  for (const char* category : kCategories) {
    values[absl::StrCat("share of ", category)] =
        100 * values[category] / values["instructions"];
  }
  for (const char* set : {"easy", "hard"}) {
    for (const char* what : {"instructions", "dependencies"}) {
      values[absl::StrCat("mean ", set, " ", what)] =
          values[absl::StrCat(set, " ", what)] / values[set];
    }
  }
  values["templates"] = static_cast<double>(benchmark.templates.size());
  values["distinct questions"] = static_cast<double>(texts.size());
  values["fewest instructions"] = shortest;
  values["most instructions"] = longest;
  CountChecks(benchmark.templates, &values);
  return RecordReports(run, values);
}
REPRO_REGISTER_EXPERIMENT("code_if", "questions", Questions);

// ------------------------------------------------------------- leaderboard

absl::StatusOr<std::vector<ModelScores>> Models(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string path, run.AssetPath("leaderboard"));
  return ReadLeaderboard(path);
}

// Each number from other fields of the file than its own.
absl::Status MainTable(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<ModelScores> models, Models(run));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(*claim, "model"));
    REPRO_ASSIGN_OR_RETURN(const std::string subset, run.Arg(*claim, "subset"));
    REPRO_ASSIGN_OR_RETURN(const std::string metric, run.Arg(*claim, "metric"));
    REPRO_ASSIGN_OR_RETURN(const ModelScores* const model,
                           FindModel(models, name));
    REPRO_ASSIGN_OR_RETURN(const double value,
                           FromOtherSubsets(*model, subset, metric));
    run.Record(*claim, value);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("code_if", "main_table", MainTable);

absl::Status Identities(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const Benchmark benchmark, ReadBenchmark(run));
  REPRO_ASSIGN_OR_RETURN(const std::vector<ModelScores> models, Models(run));
  std::map<std::string, double> values;
  std::map<std::string, int64_t> sizes;
  for (const Question& question : benchmark.questions) {
    for (const Instruction& instruction : question.instructions) {
      ++sizes[instruction.category];
    }
  }
  values["models"] = static_cast<double>(models.size());
  values["partition error"] = LargestPartitionError(models);
  values["count error"] = LargestCountError(models);
  values["category shares"] =
      static_cast<double>(CountInstructionShares(models, sizes, 0.93));
  double fewest = 1e9, most = 0;
  for (const ModelScores& model : models) {
    const SubsetScores& full = model.subsets.at("full");
    const auto scored = static_cast<double>(full.num_scored);
    fewest = std::min(fewest, scored);
    most = std::max(most, scored);
    values[absl::StrCat(model.model, " fully satisfied")] =
        scored * full.metrics.at("CSR");
    for (const auto& [metric, value] : full.metrics) {
      values[absl::StrCat("easy ahead in ", metric)] +=
          model.subsets.at("easy").metrics.at(metric) >
          model.subsets.at("hard").metrics.at(metric);
      double& rank = values[absl::StrCat(model.model, " rank in ", metric)];
      rank = 1;
      for (const ModelScores& other : models) {
        rank += other.subsets.at("full").metrics.at(metric) > value;
      }
    }
    values["CCSR below RSR"] +=
        full.metrics.at("CCSR") < full.metrics.at("RSR");
    for (const auto& [subset, scores] : model.subsets) {
      const double csr = scores.metrics.at("CSR");
      const double ssr = scores.metrics.at("SSR");
      const double rsr = scores.metrics.at("RSR");
      const double ccsr = scores.metrics.at("CCSR");
      values["ordered rows"] +=
          csr <= rsr && rsr <= ssr && csr <= ccsr && ccsr <= ssr;
    }
  }
  values["fewest scored"] = fewest;
  values["most scored"] = most;
  return RecordReports(run, values);
}
REPRO_REGISTER_EXPERIMENT("code_if", "identities", Identities);

// ------------------------------------------------------- independent verdicts

absl::Status IndependentVerdicts(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const Benchmark benchmark, ReadBenchmark(run));
  REPRO_ASSIGN_OR_RETURN(const std::vector<ModelScores> models, Models(run));
  std::vector<int64_t> counts;
  for (const Question& question : benchmark.questions) {
    counts.push_back(static_cast<int64_t>(question.instructions.size()));
  }
  std::map<std::string, double> values;
  for (const ModelScores& model : models) {
    const auto& metrics = model.subsets.at("full").metrics;
    REPRO_ASSIGN_OR_RETURN(const double predicted,
                           IndependentCsr(metrics.at("SSR"), counts));
    values[model.model] = predicted;
    values["models above"] += metrics.at("CSR") > predicted;
  }
  return RecordReports(run, values);
}
REPRO_REGISTER_EXPERIMENT("code_if", "independent_verdicts",
                          IndependentVerdicts);

// ------------------------------------------------------------------- rules

absl::Status Rules(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const Benchmark benchmark, ReadBenchmark(run));
  std::map<std::string, double> values;
  std::set<int64_t> decided;
  double total = 0;
  for (size_t q = 0; q < benchmark.questions.size(); ++q) {
    for (const MatchedInstruction& matched : benchmark.matched[q]) {
      ++total;
      switch (
          Rule::Make(matched, benchmark.questions[q].language).decidability()) {
        case Decidability::kBoth:
          ++values["both verdicts"];
          decided.insert(matched.id);
          break;
        case Decidability::kOneVerdict:
          ++values["one verdict"];
          break;
        case Decidability::kNever:
          ++values["no verdict"];
          break;
      }
    }
  }
  values["templates"] = static_cast<double>(decided.size());
  values["share of both verdicts"] = 100 * values["both verdicts"] / total;
  return RecordReports(run, values);
}
REPRO_REGISTER_EXPERIMENT("code_if", "rules", Rules);

constexpr size_t kPairsASeed = 40;

// HumanEval's solutions.
absl::StatusOr<std::vector<Program>> ReadPrograms(const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines, ReadJsonl(path));
  std::vector<Program> programs;
  for (const JsonLine& line : lines) {
    std::string source;
    try {
      source =
          absl::StrCat(line.value.at("prompt").get<std::string>(),
                       line.value.at("canonical_solution").get<std::string>());
    } catch (const nlohmann::json::exception& error) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ":", line.line, ": ", error.what()));
    }
    REPRO_ASSIGN_OR_RETURN(
        Program program,
        Program::Parse(code::CodeLanguage::kPython, std::move(source)));
    programs.push_back(std::move(program));
  }
  return programs;
}

// How many of the instructions that can be decided are, in percent, on programs
// that were not written for them.
absl::Status RulesOnPrograms(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const Benchmark benchmark, ReadBenchmark(run));
  REPRO_ASSIGN_OR_RETURN(const std::string path, run.AssetPath("programs"));
  REPRO_ASSIGN_OR_RETURN(const std::vector<Program> programs,
                         ReadPrograms(path));
  std::vector<size_t> questions;
  for (size_t q = 0; q < benchmark.questions.size(); ++q) {
    if (benchmark.questions[q].language == code::CodeLanguage::kPython) {
      questions.push_back(q);
    }
  }
  if (programs.empty() || questions.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": no programs, or no questions of Python"));
  }
  Observation observation;
  for (const uint64_t seed : run.seeds()) {
    if (run.Cancelled()) return absl::CancelledError("stopped");
    std::mt19937_64 random(seed);
    double decidable = 0, decided = 0;
    for (size_t pair = 0; pair < kPairsASeed; ++pair) {
      const Program& program = programs[random() % programs.size()];
      for (const MatchedInstruction& matched :
           benchmark.matched[questions[random() % questions.size()]]) {
        const Rule rule = Rule::Make(matched, code::CodeLanguage::kPython);
        if (rule.decidability() != Decidability::kBoth) continue;
        ++decidable;
        decided += rule.Check(program).has_value();
      }
    }
    observation.samples.push_back(100 * decided / std::max(decidable, 1.0));
  }
  observation.scale = absl::StrCat(
      kPairsASeed, " pairs of a HumanEval solution and a question, a seed");
  for (const Claim* claim : run.claims()) run.Record(*claim, observation);
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("code_if", "rules_on_programs", RulesOnPrograms);

}  // namespace
}  // namespace repro::code_if
