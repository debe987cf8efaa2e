// Writes the report of the invented papers, for the browser test and for who
// changes the page: write_example_report FOLDER.

#include <iostream>

#include "tools/history/history.h"
#include "tools/report/example_report.h"
#include "tools/report/report.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: write_example_report FOLDER\n";
    return 2;
  }
  repro::ReportInput input = repro::MakeExampleInput();
  auto history = repro::History::Open(":memory:");
  if (history.ok()) {
    if (const auto status = history->Rebuild(input.results); !status.ok()) {
      std::cerr << status.message() << "\n";
      return 1;
    }
    input.history = &*history;
  }
  const absl::Status status = repro::WriteReport(input, argv[1]);
  if (!status.ok()) std::cerr << status.message() << "\n";
  return status.ok() ? 0 : 1;
}
