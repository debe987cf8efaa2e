#ifndef REPRO_PAPERS_SURVEY_CODE_INTELLIGENCE_TABLES_H_
#define REPRO_PAPERS_SURVEY_CODE_INTELLIGENCE_TABLES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "papers/survey_code_intelligence/survey.h"

// The survey's tables and lists as text, and questions to them.
namespace repro::survey_code_intelligence {

struct TextTable {
  std::string title;
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;  // as long as the header, each
};

// "table1" to "table10" as the survey numbers them, the name of a file of
// SurveyFiles(), or "figure1", "figure2", "figure3", "figure5". Columns are
// those of the files. NotFound lists the names.
absl::StatusOr<TextTable> SurveyTable(const Survey& survey,
                                      absl::string_view name);

enum class TableFormat {
  kText,      // columns padded to their width in characters
  kMarkdown,  // "|" escaped
  kCsv,       // RFC 4180, quoted where needed
};
absl::StatusOr<TableFormat> ParseTableFormat(absl::string_view name);
std::string Render(const TextTable& table, TableFormat format);

// Answers
//
//   <table> [where <column> <op> <value> [and ...]] [sort by <column> [desc]]
//
// such as "codellms where objective ~ FIM and context >= 8192 sort by year".
// = and != compare texts without regard to case; ~ asks whether the cell holds
// the value, without regard to case; <, <=, > and >= compare the cell's first
// quantity ("8.0K" is 8000, "2048+2048" is 2048) and are false of a cell that
// holds none. Sorting is stable, by quantity where both cells hold one, else by
// text; cells without a quantity come last. InvalidArgument quotes what is not
// understood; NotFound lists tables or columns.
absl::StatusOr<TextTable> Query(const Survey& survey, absl::string_view query);

// Figure 1 (line), 2 (timeline), 3 (tree) or 5 (bars) as an SVG document.
// NotFound for another number: 4 is a drawing without data, of 6 the values
// are not at hand.
absl::StatusOr<std::string> RenderFigure(const Survey& survey, int figure);

}  // namespace repro::survey_code_intelligence

#endif  // REPRO_PAPERS_SURVEY_CODE_INTELLIGENCE_TABLES_H_
