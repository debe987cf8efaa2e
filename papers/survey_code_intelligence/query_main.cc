// Answers a query, finds related work or writes tables and figures:
//
//   query FOLDER ask QUERY [text|markdown|csv]
//   query FOLDER related REFERENCE
//   query FOLDER render OUT

#include <iostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/data/io.h"
#include "common/status/macros.h"
#include "papers/survey_code_intelligence/related_work.h"
#include "papers/survey_code_intelligence/survey.h"
#include "papers/survey_code_intelligence/tables.h"

namespace repro::survey_code_intelligence {
namespace {

absl::Status Ask(const Survey& survey, const std::string& query,
                 const std::string& format_name) {
  REPRO_ASSIGN_OR_RETURN(const TableFormat format,
                         ParseTableFormat(format_name));
  REPRO_ASSIGN_OR_RETURN(const TextTable table, Query(survey, query));
  std::cout << Render(table, format);
  return absl::OkStatus();
}

absl::Status ShowRelated(const Survey& survey, const std::string& text) {
  int number = 0;
  if (!absl::SimpleAtoi(text, &number)) {
    return absl::InvalidArgumentError(
        absl::StrCat(Quoted(text), " is not the number of a reference"));
  }
  REPRO_ASSIGN_OR_RETURN(const TitleIndex index,
                         TitleIndex::Build(Titles(survey)));
  REPRO_ASSIGN_OR_RETURN(const auto related, index.Related(number, 10));
  for (const RelatedReference& one : related) {
    const Reference& reference =
        survey.references[static_cast<size_t>(one.number) - 1];
    std::cout << absl::StrCat("[", one.number, "] ", reference.first_author,
                              ": ", reference.title, "\n");
  }
  return absl::OkStatus();
}

absl::Status RenderAll(const Survey& survey, const std::string& folder) {
  for (int number = 1; number <= 10; ++number) {
    const std::string name = absl::StrCat("table", number);
    REPRO_ASSIGN_OR_RETURN(const TextTable table, SurveyTable(survey, name));
    const std::string path = absl::StrCat(folder, "/", name);
    REPRO_RETURN_IF_ERROR(
        WriteFileAtomically(path + ".txt", Render(table, TableFormat::kText)));
    REPRO_RETURN_IF_ERROR(WriteFileAtomically(
        path + ".md", Render(table, TableFormat::kMarkdown)));
    REPRO_RETURN_IF_ERROR(
        WriteFileAtomically(path + ".csv", Render(table, TableFormat::kCsv)));
  }
  for (const int number : {1, 2, 3, 5}) {
    REPRO_ASSIGN_OR_RETURN(const std::string svg, RenderFigure(survey, number));
    REPRO_RETURN_IF_ERROR(WriteFileAtomically(
        absl::StrCat(folder, "/figure", number, ".svg"), svg));
  }
  return absl::OkStatus();
}

absl::Status RunProgram(const std::vector<std::string>& args) {
  const bool ask = args.size() >= 3 && args[1] == "ask" && args.size() <= 4;
  const bool related = args.size() == 3 && args[1] == "related";
  const bool render = args.size() == 3 && args[1] == "render";
  if (!ask && !related && !render) {
    return absl::InvalidArgumentError(
        "usage: query FOLDER ask QUERY [text|markdown|csv]\n"
        "       query FOLDER related REFERENCE\n"
        "       query FOLDER render OUT");
  }
  REPRO_ASSIGN_OR_RETURN(const Survey survey, ReadSurvey(args[0]));
  if (ask) return Ask(survey, args[2], args.size() == 4 ? args[3] : "text");
  if (related) return ShowRelated(survey, args[2]);
  return RenderAll(survey, args[2]);
}

}  // namespace
}  // namespace repro::survey_code_intelligence

int main(int argc, char** argv) {
  const absl::Status status = repro::survey_code_intelligence::RunProgram(
      std::vector<std::string>(argv + 1, argv + argc));
  if (status.ok()) return 0;
  std::cerr << status.message() << "\n";
  return 2;
}
