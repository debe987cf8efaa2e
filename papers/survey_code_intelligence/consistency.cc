#include "papers/survey_code_intelligence/consistency.h"

#include <map>
#include <set>
#include <tuple>

#include "absl/algorithm/container.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/status/macros.h"

namespace repro::survey_code_intelligence {
namespace {

bool IsOverview(const Benchmark& row) {
  return row.table == 1 || row.table == 5;
}

bool SameDataset(const Benchmark& a, const Benchmark& b) {
  return a.dataset == b.dataset && a.refs == b.refs;
}

std::set<std::string> TableModels(const Survey& survey) {
  std::set<std::string> names;
  for (const CodePtm& model : survey.code_ptms) {
    names.insert(NormalizedName(model.model));
  }
  for (const CodeLlm& model : survey.code_llms) {
    names.insert(NormalizedName(model.model));
  }
  return names;
}

std::set<std::string> TreeModels(const Survey& survey) {
  std::set<std::string> names;
  for (const TreeNode& node : survey.tree) {
    names.insert(NormalizedName(node.model));
  }
  return names;
}

std::vector<std::string> Minus(const std::set<std::string>& a,
                               const std::set<std::string>& b) {
  std::vector<std::string> rest;
  absl::c_set_difference(a, b, std::back_inserter(rest));
  return rest;
}

}  // namespace

absl::StatusOr<std::vector<Difference>> CompareTables(const Survey& survey) {
  std::vector<Difference> differences;
  std::set<std::tuple<int, int, std::string, std::string>> seen;
  const auto compare = [&](const Benchmark& overview, const Benchmark& full,
                           const char* column,
                           std::string Benchmark::*cell) -> absl::Status {
    const std::string& a = overview.*cell;
    const std::string& b = full.*cell;
    const bool empty = a.empty() || b.empty() || a == "-" || b == "-";
    if (empty || a == b ||
        !seen.emplace(overview.table, full.table, overview.dataset,
                      absl::StrCat(column, "\n", a, "\n", b))
             .second) {
      return absl::OkStatus();
    }
    REPRO_ASSIGN_OR_RETURN(const auto quantities_a, ParseQuantities(a));
    REPRO_ASSIGN_OR_RETURN(const auto quantities_b, ParseQuantities(b));
    differences.push_back({overview.table, full.table, overview.dataset, column,
                           a, b, !Compatible(quantities_a, quantities_b)});
    return absl::OkStatus();
  };
  for (const Benchmark& overview : survey.benchmarks) {
    if (!IsOverview(overview)) continue;
    for (const Benchmark& full : survey.benchmarks) {
      if (IsOverview(full) || !SameDataset(overview, full)) continue;
      REPRO_RETURN_IF_ERROR(
          compare(overview, full, "n_pls", &Benchmark::num_languages));
      REPRO_RETURN_IF_ERROR(
          compare(overview, full, "size_facts", &Benchmark::size_facts));
    }
  }
  return differences;
}

std::vector<std::string> MissingFromFullTables(const Survey& survey) {
  std::vector<std::string> missing;
  for (const Benchmark& overview : survey.benchmarks) {
    const bool found =
        absl::c_any_of(survey.benchmarks, [&](const Benchmark& row) {
          return !IsOverview(row) && SameDataset(row, overview);
        });
    if (IsOverview(overview) && !found) missing.push_back(overview.dataset);
  }
  return missing;
}

std::vector<std::string> SeveralReferences(const Survey& survey) {
  std::map<std::string, std::set<std::vector<int>>> references;
  for (const Benchmark& row : survey.benchmarks) {
    references[row.dataset].insert(row.refs);
  }
  std::vector<std::string> datasets;
  for (const auto& [dataset, several] : references) {
    if (several.size() > 1) datasets.push_back(dataset);
  }
  return datasets;
}

std::vector<std::string> TreeModelsNotInTables(const Survey& survey) {
  return Minus(TreeModels(survey), TableModels(survey));
}

std::vector<std::string> TableModelsNotInTree(const Survey& survey) {
  return Minus(TableModels(survey), TreeModels(survey));
}

absl::StatusOr<std::vector<std::string>> BarsNotInTable4(const Survey& survey) {
  std::map<std::string, std::vector<Quantity>> sizes;
  for (const CodeLlm& model : survey.code_llms) {
    REPRO_ASSIGN_OR_RETURN(sizes[NormalizedName(model.model)],
                           ParseQuantities(model.sizes));
  }
  std::vector<std::string> bars;
  for (const PassAt1& bar : survey.pass_at_1) {
    REPRO_ASSIGN_OR_RETURN(const Quantity size, ParseQuantity(bar.size));
    const bool found = absl::c_any_of(
        sizes[NormalizedName(bar.family)],
        [&](const Quantity& other) { return Compatible(size, other); });
    if (!found) {
      bars.push_back(absl::StrCat(bar.family, " ", bar.size,
                                  bar.variant.empty() ? "" : " ", bar.variant));
    }
  }
  return bars;
}

std::vector<std::string> TitlesOfSeveralReferences(const Survey& survey) {
  std::map<std::string, int> count;
  for (const Reference& reference : survey.references) {
    if (!reference.title.empty()) ++count[NormalizedName(reference.title)];
  }
  std::vector<std::string> titles;
  for (const auto& [title, times] : count) {
    if (times > 1) titles.push_back(title);
  }
  return titles;
}

absl::StatusOr<std::vector<std::string>> ReadingItemsOfAnotherMonth(
    const Survey& survey) {
  std::vector<std::string> titles;
  for (const ReadingItem& item : survey.reading_lists) {
    if (item.arxiv.empty() || item.year.empty() || item.month.empty()) continue;
    REPRO_ASSIGN_OR_RETURN(const YearMonth date, ParseArxivNumber(item.arxiv));
    int year = 0;
    int month = 0;
    if (!absl::SimpleAtoi(item.year, &year) ||
        !absl::SimpleAtoi(item.month, &month)) {
      return absl::InvalidArgumentError(
          absl::StrCat("no date: ", item.year, " ", item.month));
    }
    if (year != date.year || month != date.month) titles.push_back(item.title);
  }
  return titles;
}

}  // namespace repro::survey_code_intelligence
