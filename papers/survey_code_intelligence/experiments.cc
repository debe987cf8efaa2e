// How each claim of claims.textproto is measured; arguments come from there.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/claims/experiment.h"
#include "common/data/csv.h"
#include "common/status/macros.h"
#include "papers/survey_code_intelligence/citations.h"
#include "papers/survey_code_intelligence/consistency.h"
#include "papers/survey_code_intelligence/facts.h"
#include "papers/survey_code_intelligence/generated_programs.h"
#include "papers/survey_code_intelligence/metric_shift.h"
#include "papers/survey_code_intelligence/related_work.h"
#include "papers/survey_code_intelligence/survey.h"
#include "papers/survey_code_intelligence/tables.h"

namespace repro::survey_code_intelligence {
namespace {

constexpr char kSlug[] = "survey_code_intelligence";
constexpr int kShuffles = 200;
constexpr int kNearest = 10;
constexpr int kPrograms = 200;
constexpr int kHumanEvalProblems = 164;

absl::StatusOr<Survey> TheSurvey(ExperimentRun& run) {
  return ReadSurvey(
      [&](absl::string_view name) { return run.AssetPath(name); });
}

// The value of each measure, by name.
using Values = std::map<std::string, double>;

double Size(size_t size) { return static_cast<double>(size); }

// ------------------------------------------------------------------- counts

// Cells of all files, and how many of them differ once they have been parsed
// into records, rendered as CSV and read again.
absl::Status CountCells(ExperimentRun& run, const Survey& survey,
                        Values* values) {
  double cells = 0;
  double differ = 0;
  for (const std::string& name : SurveyFiles()) {
    REPRO_ASSIGN_OR_RETURN(const std::string path, run.AssetPath(name));
    REPRO_ASSIGN_OR_RETURN(const CsvTable file, CsvTable::Read(path));
    REPRO_ASSIGN_OR_RETURN(const TextTable table, SurveyTable(survey, name));
    REPRO_ASSIGN_OR_RETURN(
        const CsvTable rendered,
        CsvTable::Parse(Render(table, TableFormat::kCsv), "rendered"));
    if (file.num_rows() != rendered.num_rows() ||
        file.header() != rendered.header()) {
      return absl::InternalError(
          absl::StrCat(path, ": other rows or columns once rendered"));
    }
    for (int64_t row = 0; row < file.num_rows(); ++row) {
      for (const std::string& column : file.header()) {
        REPRO_ASSIGN_OR_RETURN(const std::string a, file.Text(row, column));
        REPRO_ASSIGN_OR_RETURN(const std::string b, rendered.Text(row, column));
        ++cells;
        if (a != b) ++differ;
      }
    }
  }
  (*values)["cells"] = cells;
  (*values)["cells_differ"] = differ;
  return absl::OkStatus();
}

void CountModels(const Survey& survey, Values* values) {
  std::set<std::string> names;
  double sizes = 0;
  for (const CodePtm& model : survey.code_ptms) {
    names.insert(NormalizedName(model.model));
    sizes += Size(model.parameters.size());
  }
  for (const CodeLlm& model : survey.code_llms) {
    names.insert(NormalizedName(model.model));
    sizes += Size(model.parameters.size());
  }
  (*values)["models_tables"] = Size(names.size());
  (*values)["sizes"] = sizes;
  for (const Milestone& milestone : survey.milestones) {
    names.insert(NormalizedName(milestone.model));
  }
  for (const TreeNode& node : survey.tree) {
    names.insert(NormalizedName(node.model));
  }
  (*values)["models"] = Size(names.size());
}

void CountRecords(const Survey& survey, Values* values) {
  (*values)["references"] = Size(survey.references.size());
  (*values)["table2"] = Size(survey.code_ptms.size());
  (*values)["table3"] = Size(survey.corpora.size());
  (*values)["table4"] = Size(survey.code_llms.size());
  (*values)["table10"] = Size(survey.objectives.size());
  (*values)["figure3"] = Size(survey.tree.size());
  (*values)["reading_lists"] = Size(survey.reading_lists.size());
  std::set<std::string> categories;
  for (const Benchmark& row : survey.benchmarks) {
    ++(*values)[absl::StrCat("table", row.table)];
    categories.insert(row.category);
  }
  (*values)["task_categories"] = Size(categories.size());
  for (const TreeNode& node : survey.tree) {
    ++(*values)[absl::StrCat("branch/", node.branch)];
  }
  for (const ReadingItem& item : survey.reading_lists) {
    ++(*values)[absl::StrCat("list/", item.list)];
  }
  for (const Reference& reference : survey.references) {
    ++(*values)[reference.year.has_value()
                    ? absl::StrCat("year/", *reference.year)
                    : "year/"];
  }
}

absl::Status MeasureCounts(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const Survey survey, TheSurvey(run));
  Values values;
  REPRO_RETURN_IF_ERROR(CountCells(run, survey, &values));
  CountModels(survey, &values);
  CountRecords(survey, &values);
  for (const Claim* claim : run.claims()) {
    // "over 680" says that the count exceeds 680: what is recorded is the
    // largest number, up to the one claimed, that it exceeds.
    const bool exceeds = claim->args().contains("exceeds");
    REPRO_ASSIGN_OR_RETURN(const std::string name,
                           run.Arg(*claim, exceeds ? "exceeds" : "measure"));
    const auto found = values.find(name);
    if (found == values.end()) return UnknownName(*claim, "measure", name);
    double value = found->second;
    if (exceeds) {
      double claimed = 0;
      if (!absl::SimpleAtod(claim->reported(), &claimed)) {
        return absl::InternalError(absl::StrCat(claim->id(), ": reported"));
      }
      value = std::min(value - 1, claimed);
    }
    run.Record(*claim, value);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "counts", MeasureCounts);

// ---------------------------------------------------------------- citations

absl::Status MeasureCitations(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const Survey survey, TheSurvey(run));
  const CitationGraph graph(survey);
  Values values;
  values["pairs"] = static_cast<double>(graph.num_pairs());
  const auto ranked =
      graph.MostCited(static_cast<int64_t>(survey.references.size()));
  const int64_t most = ranked.front().second;
  values["most_pages"] = static_cast<double>(most);
  values["most_pages_references"] = static_cast<double>(absl::c_count_if(
      ranked, [&](const auto& entry) { return entry.second == most; }));
  values["cited_once"] = static_cast<double>(absl::c_count_if(
      ranked, [](const auto& entry) { return entry.second == 1; }));
  values["pages"] = Size(graph.references_on().size());
  values["last_page"] = graph.references_on().rbegin()->first;
  for (const auto& [page, references] : graph.references_on()) {
    values["busiest_page"] =
        std::max(values["busiest_page"], Size(references.size()));
  }
  values["cocited_pairs"] = static_cast<double>(graph.NumCoCitedPairs());
  REPRO_ASSIGN_OR_RETURN(const int64_t shared, graph.CoCitations(114, 118));
  values["cocitations/114/118"] = static_cast<double>(shared);
  return RecordByName(run, "measure", values);
}
REPRO_REGISTER_EXPERIMENT(kSlug, "citations", MeasureCitations);

// ------------------------------------------------------------------ queries

absl::Status MeasureQueries(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const Survey survey, TheSurvey(run));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string query, run.Arg(*claim, "query"));
    REPRO_ASSIGN_OR_RETURN(const TextTable answer, Query(survey, query));
    run.Record(*claim, Size(answer.rows.size()));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "queries", MeasureQueries);

// -------------------------------------------------------------- consistency

absl::Status MeasureConsistency(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const Survey survey, TheSurvey(run));
  REPRO_ASSIGN_OR_RETURN(const auto differences, CompareTables(survey));
  REPRO_ASSIGN_OR_RETURN(const auto bars, BarsNotInTable4(survey));
  REPRO_ASSIGN_OR_RETURN(const auto months, ReadingItemsOfAnotherMonth(survey));
  return RecordByName(
      run, "measure",
      {{"differences", Size(differences.size())},
       {"conflicts",
        static_cast<double>(absl::c_count_if(
            differences, [](const Difference& d) { return d.conflict; }))},
       {"missing", Size(MissingFromFullTables(survey).size())},
       {"several_references", Size(SeveralReferences(survey).size())},
       {"figure3_not_in_tables", Size(TreeModelsNotInTables(survey).size())},
       {"tables_not_in_figure3", Size(TableModelsNotInTree(survey).size())},
       {"figure5_sizes", Size(bars.size())},
       {"titles_twice", Size(TitlesOfSeveralReferences(survey).size())},
       {"reading_dates", Size(months.size())}});
}
REPRO_REGISTER_EXPERIMENT(kSlug, "consistency", MeasureConsistency);

// ------------------------------------------------------------------ figures

// Whether some number of problems of HumanEval, in percent, is within
// `half_place` of the value.
bool IsWholeProblems(double percent, double half_place) {
  const double nearest = std::round(percent * kHumanEvalProblems / 100);
  // The printed value is a decimal: allow for its binary rounding.
  return std::abs(100 * nearest / kHumanEvalProblems - percent) <=
         half_place + 1e-9;
}

absl::Status MeasureFigures(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const Survey survey, TheSurvey(run));
  Values values;
  for (size_t i = 1; i < survey.publications.size(); ++i) {
    values[absl::StrCat("increment/", survey.publications[i].year)] =
        static_cast<double>(survey.publications[i].publications -
                            survey.publications[i - 1].publications);
  }
  std::map<std::string, double> base;
  values["values"] = Size(survey.pass_at_1.size());
  for (const PassAt1& bar : survey.pass_at_1) {
    if (bar.variant == "Base") base[bar.family + "/" + bar.size] = bar.percent;
    const bool ends_in_zero = absl::EndsWith(bar.printed, "0");
    if (ends_in_zero) ++values["ends_in_zero"];
    if (IsWholeProblems(bar.percent, 0.005)) ++values["whole_problems"];
    if (ends_in_zero && IsWholeProblems(bar.percent, 0.05)) {
      ++values["whole_problems_one_decimal"];
    }
  }
  for (const PassAt1& bar : survey.pass_at_1) {
    const std::string name = bar.family + "/" + bar.size;
    if (bar.variant == "Instruct" && base.count(name) > 0) {
      values["gain/" + name] = bar.percent - base[name];
    }
  }
  return RecordByName(run, "measure", values);
}
REPRO_REGISTER_EXPERIMENT(kSlug, "figures", MeasureFigures);

// ------------------------------------------------------------- metric shift

// Jackknife pseudo-values of one statistic, with its own value.
absl::StatusOr<Observation> Jackknifed(const ExperimentRun& run,
                                       const std::vector<DatedItem>& items,
                                       const ItemStatistic& statistic) {
  Observation observation;
  std::mt19937_64 generator(run.seeds().front());
  REPRO_ASSIGN_OR_RETURN(
      observation.samples,
      JackknifePseudoValues(items,
                            std::max(2, static_cast<int>(run.seeds().size())),
                            statistic, generator));
  REPRO_ASSIGN_OR_RETURN(observation.value, statistic(items));
  return observation;
}

absl::Status MeasureMetricShift(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const Survey survey, TheSurvey(run));
  const ItemStatistic share = [](const std::vector<DatedItem>& items) {
    return ShareDifference(items, kFirstLlmYear);
  };
  const ItemStatistic within = [](const std::vector<DatedItem>& items) {
    return StratifiedShareDifference(items, kFirstLlmYear);
  };
  const auto execution = DatedMetrics(survey, MetricFamily::kExecution);
  const auto match = DatedMetrics(survey, MetricFamily::kMatch);
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(*claim, "measure"));
    Observation observation;
    if (name == "execution") {
      REPRO_ASSIGN_OR_RETURN(observation, Jackknifed(run, execution, share));
    } else if (name == "execution_within") {
      REPRO_ASSIGN_OR_RETURN(observation, Jackknifed(run, execution, within));
    } else if (name == "match") {
      REPRO_ASSIGN_OR_RETURN(observation, Jackknifed(run, match, share));
    } else if (name == "shuffled") {
      for (const uint64_t seed : run.seeds()) {
        std::mt19937_64 generator(seed);
        REPRO_ASSIGN_OR_RETURN(
            const double value,
            MeanOverShuffledYears(execution, kShuffles, share, generator));
        observation.samples.push_back(value);
      }
    } else {
      return UnknownName(*claim, "measure", name);
    }
    observation.scale = "the survey's own tables, not the field";
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "metric_shift", MeasureMetricShift);

// ------------------------------------------------------------- related work

absl::Status MeasureRelatedWork(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const Survey survey, TheSurvey(run));
  REPRO_ASSIGN_OR_RETURN(const TitleIndex index,
                         TitleIndex::Build(Titles(survey)));
  const int folds = static_cast<int>(run.seeds().size());
  Observation gain;
  double precision = 0;
  double control = 0;
  for (int fold = 0; fold < folds; ++fold) {
    std::mt19937_64 generator(run.seeds()[static_cast<size_t>(fold)]);
    std::vector<std::string> shuffled = Titles(survey);
    std::shuffle(shuffled.begin(), shuffled.end(), generator);
    REPRO_ASSIGN_OR_RETURN(const TitleIndex other,
                           TitleIndex::Build(std::move(shuffled)));
    REPRO_ASSIGN_OR_RETURN(const double titles,
                           PagePrecision(survey, index, kNearest, fold, folds));
    REPRO_ASSIGN_OR_RETURN(const double chance,
                           PagePrecision(survey, other, kNearest, fold, folds));
    gain.samples.push_back(titles - chance);
    precision += titles / folds;
    control += chance / folds;
  }
  gain.scale = absl::StrCat("titles alone; precision ", precision,
                            ", shuffled ", control);
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(*claim, "measure"));
    if (name != "gain") return UnknownName(*claim, "measure", name);
    run.Record(*claim, gain);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "related_work", MeasureRelatedWork);

// ------------------------------------------------------------ match metrics

absl::Status MeasureMatchMetrics(ExperimentRun& run) {
  std::map<std::string, Observation> observations;
  for (const uint64_t seed : run.seeds()) {
    std::mt19937_64 generator(seed);
    REPRO_ASSIGN_OR_RETURN(const MetricAreas areas,
                           CompareMetrics(kPrograms, generator));
    observations["bleu_near_miss"].samples.push_back(areas.bleu_near_miss);
    observations["bleu_unrelated"].samples.push_back(areas.bleu_unrelated);
    observations["execution_near_miss"].samples.push_back(
        areas.execution_near_miss);
  }
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(*claim, "measure"));
    const auto found = observations.find(name);
    if (found == observations.end()) {
      return UnknownName(*claim, "measure", name);
    }
    Observation observation = found->second;
    observation.scale = "generated programs of 8 statements, no model";
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "match_metrics", MeasureMatchMetrics);

}  // namespace
}  // namespace repro::survey_code_intelligence
