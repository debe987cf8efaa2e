#ifndef REPRO_TOOLS_REPORT_INPUT_H_
#define REPRO_TOOLS_REPORT_INPUT_H_

#include <string>

#include "tools/report/report.h"

namespace repro {

// All papers of this program and all results that there are: the newest of
// `out_dir` first, then those that are recorded with the project, and last its
// baselines. Files that cannot be read are named on stderr and left out. There
// is no history.
ReportInput GatherReportInput(const std::string& out_dir);

}  // namespace repro

#endif  // REPRO_TOOLS_REPORT_INPUT_H_
