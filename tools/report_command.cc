#include <filesystem>
#include <iostream>

#include "common/status/macros.h"
#include "tools/commands.h"
#include "tools/history/history.h"
#include "tools/report/report.h"
#include "tools/report_input.h"

namespace repro {

absl::StatusOr<int> ReportCommand(const std::string& out_dir) {
  ReportInput input = GatherReportInput(out_dir);
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
