#include "tools/report/model.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status/macros.h"

namespace repro {
namespace {

using ClaimKey = std::pair<std::string, std::string>;  // paper, claim

struct Found {
  const Measurement* measurement = nullptr;
  const Result* result = nullptr;
};

// All that the results say about a claim, the earlier result first.
struct Evidences {
  std::vector<Found> measurements;
  std::vector<std::pair<const Skipped*, const Result*>> skipped;
};

std::string MeasuredAt(const Found& found) {
  return found.measurement->measured_at().empty()
             ? found.result->started_at()
             : found.measurement->measured_at();
}

// The newest of the claim's version; with `full_scale_only` of those that were
// not made smaller. On a tie, of the earlier result.
Found Newest(const Evidences& evidences, int version, bool full_scale_only) {
  Found newest;
  for (const Found& found : evidences.measurements) {
    if (found.measurement->claim_version() != version) continue;
    if (full_scale_only && !found.measurement->scale().empty()) continue;
    if (newest.measurement == nullptr ||
        MeasuredAt(found) > MeasuredAt(newest)) {
      newest = found;
    }
  }
  return newest;
}

std::string OtherVersions(const Evidences& evidences, int version) {
  if (evidences.measurements.empty()) return "";
  return absl::StrCat(
      "measured only before its meaning changed (version ",
      evidences.measurements.front().measurement->claim_version(), ", now ",
      version, ")");
}

std::string MissingAsset(const Blocker& blocker) {
  return absl::StrCat("needs ", blocker.asset());
}

ClaimView MakeClaimView(const Claim& claim, const Evidences& evidences,
                        const Result* newest_run) {
  ClaimView view;
  view.claim = &claim;
  if (!evidences.skipped.empty() &&
      evidences.skipped.front().second == newest_run) {
    view.skipped = evidences.skipped.front().first->reason();
    view.failed = evidences.skipped.front().first->failed();
  }

  const Found shown = Newest(evidences, claim.version(), false);
  if (shown.measurement != nullptr) {
    view.measurement = shown.measurement;
    view.result = shown.result;
    view.verdict = shown.measurement->verdict();
    view.reason = shown.measurement->reason();
    view.recorded = shown.result != newest_run;
    if (!shown.measurement->scale().empty()) {
      const Found full = Newest(evidences, claim.version(), true);
      view.full_scale = full.measurement;
      view.full_scale_result = full.result;
    }
    return view;
  }

  if (!evidences.skipped.empty()) {
    const Skipped& skipped = *evidences.skipped.front().first;
    view.verdict = skipped.verdict();
    view.reason = skipped.reason();
    view.failed = skipped.failed();
  } else if (claim.evidence() == BLOCKED) {
    view.verdict = VERDICT_BLOCKED;
    view.reason = MissingAsset(claim.blocker());
  } else {
    const std::string other = OtherVersions(evidences, claim.version());
    view.verdict = NOT_RUN;
    view.reason = other.empty() ? "no run has been asked for it" : other;
  }
  // A result of another program may hold neither.
  if (view.verdict != VERDICT_BLOCKED) view.verdict = NOT_RUN;
  return view;
}

}  // namespace

int Total(const VerdictCounts& counts) {
  int total = 0;
  for (const auto& [verdict, count] : counts) total += count;
  return total;
}

absl::StatusOr<ReportModel> BuildModel(const ReportInput& input) {
  std::map<ClaimKey, Evidences> evidences;
  for (const Result& result : input.results) {
    for (const Measurement& measurement : result.measurements()) {
      evidences[{measurement.paper(), measurement.claim()}]
          .measurements.push_back({&measurement, &result});
    }
    for (const Skipped& skipped : result.skipped()) {
      evidences[{skipped.paper(), skipped.claim()}].skipped.push_back(
          {&skipped, &result});
    }
  }
  const Result* newest_run =
      input.results.empty() ? nullptr : &input.results.front();

  ReportModel model;
  for (const Paper& paper : input.papers) {
    PaperView& paper_view = model.papers.emplace_back();
    paper_view.paper = &paper;
    std::map<std::string, size_t> table_index;
    for (const Claim& claim : paper.claims()) {
      const auto [it, is_new] =
          table_index.try_emplace(claim.table(), paper_view.tables.size());
      if (is_new) paper_view.tables.emplace_back().name = claim.table();
      TableView& table = paper_view.tables[it->second];
      ClaimView& view = table.claims.emplace_back(MakeClaimView(
          claim, evidences[{paper.slug(), claim.id()}], newest_run));
      if (input.history != nullptr) {
        REPRO_ASSIGN_OR_RETURN(
            view.history, input.history->Measurements(paper.slug(), claim.id(),
                                                      claim.version()));
      }
      ++table.counts[view.verdict];
      ++paper_view.counts[view.verdict];
      ++model.counts[view.verdict];
      ++model.by_evidence[claim.evidence()][view.verdict];
    }
  }
  return model;
}

}  // namespace repro
