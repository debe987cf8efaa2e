#ifndef REPRO_TOOLS_REPORT_REPORT_H_
#define REPRO_TOOLS_REPORT_REPORT_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/claims/claims.pb.h"
#include "common/claims/result.pb.h"
#include "tools/evaluation/evaluation.pb.h"
#include "tools/history/history.h"

namespace repro {

struct ReportInput {
  std::vector<Paper> papers;
  // The newest run first, then recorded and older ones in any order. Of each
  // claim the report shows the newest measurement of its current version; what
  // the first result did not measure is marked as recorded.
  std::vector<Result> results;
  // Language models under attention policies.
  std::vector<PolicyEvaluation> evaluations;
  // Built from the same results. Null: the report has no history.
  const History* history = nullptr;
};

// Writes `out_dir`/report.html, one file that needs no network, and
// `out_dir`/report.md, the same in Markdown without plots. Creates the folder.
// Each file is replaced whole or not at all. The text depends on the input
// alone. Plots are drawn by gnuplot; where it is missing or fails, the report
// has none and says so.
absl::Status WriteReport(const ReportInput& input, const std::string& out_dir);

}  // namespace repro

#endif  // REPRO_TOOLS_REPORT_REPORT_H_
