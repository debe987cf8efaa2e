#ifndef REPRO_TOOLS_REPORT_MODEL_H_
#define REPRO_TOOLS_REPORT_MODEL_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/claims/claims.pb.h"
#include "common/claims/result.pb.h"
#include "tools/history/history.h"
#include "tools/report/report.h"

namespace repro {

using VerdictCounts = std::map<Verdict, int>;

// What the report says about one claim. Points into the ReportInput.
struct ClaimView {
  const Claim* claim = nullptr;
  Verdict verdict = NOT_RUN;
  std::string reason;
  // The newest measurement of the claim's current version and its result; null
  // if there is none.
  const Measurement* measurement = nullptr;
  const Result* result = nullptr;
  // The measurement is of an earlier run than the newest.
  bool recorded = false;
  // Why the newest run did not measure it; empty if it did or was not asked.
  std::string skipped;
  bool failed = false;  // ... because the experiment broke
  // The newest one at full scale, if the one shown was made smaller.
  const Measurement* full_scale = nullptr;
  const Result* full_scale_result = nullptr;
  std::vector<HistoryEntry> history;
};

struct TableView {
  std::string name;  // as Claim.table
  std::vector<ClaimView> claims;
  VerdictCounts counts;
};

struct PaperView {
  const Paper* paper = nullptr;
  std::vector<TableView> tables;  // in the order of claims.textproto
  VerdictCounts counts;
};

struct ReportModel {
  std::vector<PaperView> papers;
  VerdictCounts counts;
  std::map<Evidence, VerdictCounts> by_evidence;
};

// Picks what to show for each claim. `input` must outlive the model.
absl::StatusOr<ReportModel> BuildModel(const ReportInput& input);

// The sum over all verdicts.
int Total(const VerdictCounts& counts);

}  // namespace repro

#endif  // REPRO_TOOLS_REPORT_MODEL_H_
