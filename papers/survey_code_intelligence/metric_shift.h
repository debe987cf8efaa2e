#ifndef REPRO_PAPERS_SURVEY_CODE_INTELLIGENCE_METRIC_SHIFT_H_
#define REPRO_PAPERS_SURVEY_CODE_INTELLIGENCE_METRIC_SHIFT_H_

#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "papers/survey_code_intelligence/survey.h"

// Section 4.3.1's shift of metrics, measured on the survey's own tables: how
// much more often do datasets of the era of large language models have a metric
// of a family than earlier ones?
namespace repro::survey_code_intelligence {

// Codex and HumanEval came out in 2021.
inline constexpr int kFirstLlmYear = 2021;

struct DatedItem {
  std::string stratum;  // the category
  int year = 0;
  bool positive = false;  // has a metric of the family
};

// Rows of Tables 6 to 9 that name a metric.
std::vector<DatedItem> DatedMetrics(const Survey& survey, MetricFamily family);

// The share of positive items from `first_year` on less the share before it.
// InvalidArgument: no items on one side.
absl::StatusOr<double> ShareDifference(const std::vector<DatedItem>& items,
                                       int first_year);

// The same within strata: sum_k w_k d_k / sum_k w_k over the differences d_k,
// w_k = n_k m_k / (n_k + m_k) with n_k and m_k items before and from
// `first_year` on (Mantel and Haenszel's weights; Greenland and Robins 1985).
// InvalidArgument: no stratum has items on both sides.
absl::StatusOr<double> StratifiedShareDifference(
    const std::vector<DatedItem>& items, int first_year);

using ItemStatistic =
    std::function<absl::StatusOr<double>(const std::vector<DatedItem>&)>;

// Delete-a-group jackknife: items are dealt at random to `groups` groups, and
// value g is groups * T - (groups - 1) * T(without group g). The t interval of
// these is one of the statistic for a sample of items (Miller 1974).
// InvalidArgument: fewer than 2 groups, more groups than items, an error of the
// statistic.
absl::StatusOr<std::vector<double>> JackknifePseudoValues(
    const std::vector<DatedItem>& items, int groups,
    const ItemStatistic& statistic, std::mt19937_64& generator);

// The mean of the statistic over `shuffles` (at least 1) random assignments of
// the years to the items: what is left without a relation to time.
absl::StatusOr<double> MeanOverShuffledYears(std::vector<DatedItem> items,
                                             int shuffles,
                                             const ItemStatistic& statistic,
                                             std::mt19937_64& generator);

}  // namespace repro::survey_code_intelligence

#endif  // REPRO_PAPERS_SURVEY_CODE_INTELLIGENCE_METRIC_SHIFT_H_
