#ifndef REPRO_PAPERS_SURVEY_CODE_INTELLIGENCE_FACTS_H_
#define REPRO_PAPERS_SURVEY_CODE_INTELLIGENCE_FACTS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

// What the survey's tables write in a cell, as numbers. Every function gives
// InvalidArgument, which quotes the text, for what it does not know.
namespace repro::survey_code_intelligence {

// A quantity as printed and what it may stand for: the values in [low, high)
// that round to it. "8.0K": 8000, [7950, 8050). "over 1M", "more than 78K",
// "30K+" and ">40" have no upper end; "almost 1.8K" lies up to a tenth below;
// "around 148K" is off by up to a last place.
struct Quantity {
  double value = 0;
  double low = 0;
  double high = 0;
};

// Digits with at most one point, K, M, B or T for 1e3 to 1e12; also "eight
// million".
absl::StatusOr<Quantity> ParseQuantity(absl::string_view text);

// Parts separated by "/" or ";": "1.5M;3.7K". At least one.
absl::StatusOr<std::vector<Quantity>> ParseQuantities(absl::string_view text);

// Whether some value rounds to both.
bool Compatible(const Quantity& a, const Quantity& b);
// Whether each of the shorter list is compatible with one of the longer.
bool Compatible(const std::vector<Quantity>& a, const std::vector<Quantity>& b);

// Numbers of parameters, "220M/770M/2B".
absl::StatusOr<std::vector<int64_t>> ParseParameterCounts(
    absl::string_view text);

// "2048+2048" is an encoder's and a decoder's window, "8192" a decoder's.
struct ContextLength {
  int64_t encoder = 0;
  int64_t decoder = 0;
};
absl::StatusOr<ContextLength> ParseContextLength(absl::string_view text);

// Data by their items (tokens, examples or files, as the table has it) and on
// disk: "100B/159GB", "20GB / 6.5M files", "20K".
struct DataScale {
  std::vector<double> items;
  std::vector<double> bytes;  // KB, MB, GB and TB are powers of 1000
};
absl::StatusOr<DataScale> ParseDataScale(absl::string_view text);

// Year and month of an arXiv number since 2007: "2403.14734" is 2024, 3.
struct YearMonth {
  int year = 0;
  int month = 0;
};
absl::StatusOr<YearMonth> ParseArxivNumber(absl::string_view text);

// What a metric looks at (section 4.3.1 sets the first two against each other).
enum class MetricFamily {
  kExecution,       // runs programs: pass@k, pass rate, resolve rate
  kMatch,           // compares texts: BLEU, CodeBLEU, ROUGE, exact match, edits
  kClassification,  // accuracy, F1, precision, recall
  kRanking,         // MRR, FRank, success rate
  kOther,
};
// Every name has a family. The survey writes "Acc." for classification as well
// as for repairs and queries that may have been run: it is kClassification.
MetricFamily FamilyOf(absl::string_view metric);
// "EM/BLEU" has two parts. Empty and "-" have none.
std::vector<std::string> SplitMetrics(absl::string_view metrics);
bool HasFamily(absl::string_view metrics, MetricFamily family);

// Letters (lower case), digits and "+" of a name: "DeepSeek Coder" and
// "DeepSeekCoder" are one, "CodeT5" and "CodeT5+" two. Bytes outside of ASCII
// are kept.
std::string NormalizedName(absl::string_view name);

}  // namespace repro::survey_code_intelligence

#endif  // REPRO_PAPERS_SURVEY_CODE_INTELLIGENCE_FACTS_H_
