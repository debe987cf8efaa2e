#include "papers/infini_retri/heat_maps.h"

#include <set>
#include <tuple>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/data/csv.h"
#include "common/status/macros.h"

namespace repro::infini_retri {

absl::StatusOr<HeatMaps> ReadHeatMaps(const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const CsvTable table, CsvTable::Read(path));
  HeatMaps maps;
  std::set<std::tuple<std::string, std::string, int64_t, int64_t>> seen;
  for (int64_t row = 0; row < table.num_rows(); ++row) {
    REPRO_ASSIGN_OR_RETURN(const std::string model, table.Text(row, "model"));
    REPRO_ASSIGN_OR_RETURN(const std::string method, table.Text(row, "method"));
    HeatMapCell cell;
    REPRO_ASSIGN_OR_RETURN(cell.length, table.Int(row, "context_length"));
    REPRO_ASSIGN_OR_RETURN(cell.depth, table.Int(row, "depth_percent"));
    REPRO_ASSIGN_OR_RETURN(cell.matched, table.Int(row, "matched_words_of_11"));
    if (cell.length < 1 || cell.depth < 0 || cell.depth > 100 ||
        cell.matched < 0 || cell.matched > kAnswerWords) {
      return table.RowError(
          row,
          absl::StrCat("context_length ", cell.length, ", depth_percent ",
                       cell.depth, ", matched_words_of_11 ", cell.matched,
                       ": expected at least 1, 0 to 100, 0 to ", kAnswerWords));
    }
    if (!seen.emplace(model, method, cell.length, cell.depth).second) {
      return table.RowError(
          row, absl::StrCat("a second cell of ", model, ", ", method,
                            ", length ", cell.length, ", depth ", cell.depth));
    }
    maps[{model, method}].push_back(cell);
  }
  return maps;
}

absl::StatusOr<double> HeatMapStatistic(const std::vector<HeatMapCell>& cells,
                                        const std::string& statistic,
                                        int64_t split) {
  const bool up_to = statistic == "up_to", beyond = statistic == "beyond";
  double count = 0, matched = 0, perfect = 0;
  for (const HeatMapCell& cell : cells) {
    if ((up_to && cell.length > split) || (beyond && cell.length <= split)) {
      continue;
    }
    ++count;
    matched += static_cast<double>(cell.matched);
    perfect += cell.matched == kAnswerWords;
  }
  if (count == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "heat map: no cell of ", cells.size(), " counts for ", statistic));
  }
  if (statistic == "matched") return matched;
  if (statistic == "perfect") return perfect;
  if (statistic == "map_score" || up_to || beyond) {
    return matched / (count * static_cast<double>(kAnswerWords));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("heat map: no statistic \"", statistic, "\""));
}

}  // namespace repro::infini_retri
