#include <algorithm>
#include <filesystem>
#include <iostream>

#include "common/claims/result_store.h"
#include "common/claims/runner.h"
#include "common/status/macros.h"
#include "tools/commands.h"
#include "tools/history/history.h"
#include "tools/report/report.h"

namespace repro {
namespace {

// Results that are kept with the project: measured on machines that few have.
constexpr char kRecordedFolder[] = "ci/results";

}  // namespace

absl::StatusOr<int> ReportCommand(const std::string& out_dir) {
  ReportInput input;
  for (const auto& [slug, paper] : Registry::Global().papers()) {
    input.papers.push_back(paper);
  }
  std::vector<std::string> problems;
  input.results = ReadResults(ResultsFolder(out_dir), &problems);
  std::reverse(input.results.begin(), input.results.end());  // newest first
  for (Result& recorded : ReadResults(kRecordedFolder, &problems)) {
    input.results.push_back(std::move(recorded));
  }
  for (const std::string& problem : problems) {
    std::cerr << "left out: " << problem << "\n";
  }
  std::error_code error;
  std::filesystem::create_directories(out_dir, error);
  REPRO_ASSIGN_OR_RETURN(History history,
                         History::Open(out_dir + "/history.sqlite"));
  REPRO_RETURN_IF_ERROR(history.Rebuild(input.results));
  input.history = &history;
  REPRO_RETURN_IF_ERROR(WriteReport(input, out_dir));
  return kExitOk;
}

}  // namespace repro
