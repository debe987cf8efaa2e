#include "tools/report_input.h"

#include <algorithm>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "common/claims/experiment.h"
#include "common/claims/result_store.h"
#include "common/claims/runner.h"
#include "tools/evaluation/evaluation_store.h"

namespace repro {
namespace {

// Results that are kept with the project: measured on machines that few have,
// and what each claim gave when it was last reviewed.
constexpr const char* kRecordedFolders[] = {"ci/results", "ci/baselines"};
constexpr char kEvaluationsFolder[] = "ci/evaluations";

}  // namespace

ReportInput GatherReportInput(const std::string& out_dir) {
  ReportInput input;
  for (const auto& [slug, paper] : Registry::Global().papers()) {
    input.papers.push_back(paper);
  }
  std::vector<std::string> problems;
  input.results = ReadResults(ResultsFolder(out_dir), &problems);
  std::reverse(input.results.begin(), input.results.end());
  for (const char* folder : kRecordedFolders) {
    for (Result& recorded : ReadResults(folder, &problems)) {
      input.results.push_back(std::move(recorded));
    }
  }
  input.evaluations = ReadEvaluations(kEvaluationsFolder, &problems);
  for (const std::string& problem : problems) {
    std::cerr << "left out: " << problem << "\n";
  }
  return input;
}

}  // namespace repro
