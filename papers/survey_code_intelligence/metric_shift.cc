#include "papers/survey_code_intelligence/metric_shift.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/status/macros.h"

namespace repro::survey_code_intelligence {
namespace {

struct Counts {
  double early = 0;
  double late = 0;
  double positive_early = 0;
  double positive_late = 0;

  void Add(const DatedItem& item, int first_year) {
    const bool is_late = item.year >= first_year;
    ++(is_late ? late : early);
    if (item.positive) ++(is_late ? positive_late : positive_early);
  }
  bool BothSides() const { return early > 0 && late > 0; }
  double Difference() const {
    return positive_late / late - positive_early / early;
  }
};

}  // namespace

std::vector<DatedItem> DatedMetrics(const Survey& survey, MetricFamily family) {
  std::vector<DatedItem> items;
  for (const Benchmark& row : survey.benchmarks) {
    if (row.table < 6 || SplitMetrics(row.metrics).empty()) continue;
    items.push_back({row.category, row.year, HasFamily(row.metrics, family)});
  }
  return items;
}

absl::StatusOr<double> ShareDifference(const std::vector<DatedItem>& items,
                                       int first_year) {
  Counts counts;
  for (const DatedItem& item : items) counts.Add(item, first_year);
  if (!counts.BothSides()) {
    return absl::InvalidArgumentError(
        absl::StrCat("no items before ", first_year, " or none from it on"));
  }
  return counts.Difference();
}

absl::StatusOr<double> StratifiedShareDifference(
    const std::vector<DatedItem>& items, int first_year) {
  std::map<std::string, Counts> strata;
  for (const DatedItem& item : items) {
    strata[item.stratum].Add(item, first_year);
  }
  double sum = 0;
  double weights = 0;
  for (const auto& [name, counts] : strata) {
    if (!counts.BothSides()) continue;
    const double weight =
        counts.early * counts.late / (counts.early + counts.late);
    sum += weight * counts.Difference();
    weights += weight;
  }
  if (weights == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "no stratum has items both before ", first_year, " and from it on"));
  }
  return sum / weights;
}

absl::StatusOr<std::vector<double>> JackknifePseudoValues(
    const std::vector<DatedItem>& items, int groups,
    const ItemStatistic& statistic, std::mt19937_64& generator) {
  if (groups < 2 || static_cast<size_t>(groups) > items.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(groups, " groups of ", items.size(), " items"));
  }
  REPRO_ASSIGN_OR_RETURN(const double whole, statistic(items));
  std::vector<size_t> order(items.size());
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), generator);
  std::vector<double> values;
  for (size_t left_out = 0; left_out < static_cast<size_t>(groups);
       ++left_out) {
    std::vector<DatedItem> rest;
    for (size_t i = 0; i < order.size(); ++i) {
      if (i % static_cast<size_t>(groups) != left_out) {
        rest.push_back(items[order[i]]);
      }
    }
    REPRO_ASSIGN_OR_RETURN(const double without, statistic(rest));
    values.push_back(groups * whole - (groups - 1) * without);
  }
  return values;
}

absl::StatusOr<double> MeanOverShuffledYears(std::vector<DatedItem> items,
                                             int shuffles,
                                             const ItemStatistic& statistic,
                                             std::mt19937_64& generator) {
  if (shuffles < 1) return absl::InvalidArgumentError("no shuffles");
  double sum = 0;
  for (int shuffle = 0; shuffle < shuffles; ++shuffle) {
    // Fisher and Yates, on the years alone.
    for (size_t i = items.size(); i > 1; --i) {
      std::uniform_int_distribution<size_t> below(0, i - 1);
      std::swap(items[i - 1].year, items[below(generator)].year);
    }
    REPRO_ASSIGN_OR_RETURN(const double value, statistic(items));
    sum += value;
  }
  return sum / shuffles;
}

}  // namespace repro::survey_code_intelligence
