// What the authors' heat maps of needle-in-a-haystack tests say: cells read off
// the figures of github.com/CapitalCode2020/InfiniRetri2.
#ifndef REPRO_PAPERS_INFINI_RETRI_HEAT_MAPS_H_
#define REPRO_PAPERS_INFINI_RETRI_HEAT_MAPS_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace repro::infini_retri {

// Words of the answer that a response can match: the score of a cell is
// matched / 11.
inline constexpr int64_t kAnswerWords = 11;

struct HeatMapCell {
  int64_t length = 0;   // tokens of the context
  int64_t depth = 0;    // of the needle, in %
  int64_t matched = 0;  // words, 0 to kAnswerWords
};

// By model and method.
using HeatMaps =
    std::map<std::pair<std::string, std::string>, std::vector<HeatMapCell>>;

// A CSV file, plain or gzip, with the columns model, method, context_length,
// depth_percent and matched_words_of_11. Errors: those of CsvTable;
// InvalidArgument "file:line: ..." for a length below 1, a depth outside 0 to
// 100, more than 11 words, or a cell that was there already.
absl::StatusOr<HeatMaps> ReadHeatMaps(const std::string& path);

// Statistics of cells; the means are of matched / 11.
//   map_score      the mean
//   matched        the sum of matched words
//   perfect        the number of cells with all words
//   up_to, beyond  the mean over lengths <= split, and > split
// InvalidArgument: another name, or no such cell.
absl::StatusOr<double> HeatMapStatistic(const std::vector<HeatMapCell>& cells,
                                        const std::string& statistic,
                                        int64_t split = 0);

}  // namespace repro::infini_retri

#endif  // REPRO_PAPERS_INFINI_RETRI_HEAT_MAPS_H_
