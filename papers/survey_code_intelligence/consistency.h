#ifndef REPRO_PAPERS_SURVEY_CODE_INTELLIGENCE_CONSISTENCY_H_
#define REPRO_PAPERS_SURVEY_CODE_INTELLIGENCE_CONSISTENCY_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "papers/survey_code_intelligence/survey.h"

// Where parts of the survey disagree.
namespace repro::survey_code_intelligence {

// A cell that an overview table (1, 5) and a full one (6 to 9) write
// differently for a dataset of the same name and reference numbers.
struct Difference {
  int overview_table = 0;
  int full_table = 0;
  std::string dataset;
  std::string column;  // "n_pls" or "size_facts"
  std::string overview;
  std::string full;
  // No value rounds to both: rounding, bounds ("over 10") and parts left out
  // ("27K" of "13K/27K") do not explain it.
  bool conflict = false;
};

// Of cells filled on both sides; a pair of cells once, also where the dataset
// stands in several categories. InvalidArgument: a cell that does not parse.
absl::StatusOr<std::vector<Difference>> CompareTables(const Survey& survey);

// Datasets of Tables 1 and 5 that no full table has under name and references.
std::vector<std::string> MissingFromFullTables(const Survey& survey);
// Datasets with rows of different reference numbers.
std::vector<std::string> SeveralReferences(const Survey& survey);

// Models by normalized name (NormalizedName).
std::vector<std::string> TreeModelsNotInTables(const Survey& survey);
std::vector<std::string> TableModelsNotInTree(const Survey& survey);

// Bars of Figure 5 whose family is in Table 4 without their size, to rounding,
// or is not there: "CodeGen 7B multi".
absl::StatusOr<std::vector<std::string>> BarsNotInTable4(const Survey& survey);

// Titles that more than one reference has, normalized.
std::vector<std::string> TitlesOfSeveralReferences(const Survey& survey);

// Titles of entries whose year and month are not those of their arXiv number.
absl::StatusOr<std::vector<std::string>> ReadingItemsOfAnotherMonth(
    const Survey& survey);

}  // namespace repro::survey_code_intelligence

#endif  // REPRO_PAPERS_SURVEY_CODE_INTELLIGENCE_CONSISTENCY_H_
