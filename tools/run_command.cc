#include <unistd.h>

#include <iostream>
#include <map>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/claims/paper.h"
#include "common/claims/verdict.h"
#include "common/completion/open_client.h"
#include "common/status/macros.h"
#include "common/tensor/device.h"
#include "common/text/duration.h"
#include "tools/commands.h"
#include "tools/environment.h"
#include "tools/terminal.h"

namespace repro {
namespace {

using Totals = std::map<Verdict, int>;

Totals CountVerdicts(const Result& result) {
  Totals totals;
  for (const Measurement& m : result.measurements()) ++totals[m.verdict()];
  for (const Skipped& skipped : result.skipped()) ++totals[skipped.verdict()];
  return totals;
}

std::string TotalsLine(const Totals& totals) {
  return absl::StrJoin(
      AllVerdicts(), ", ", [&](std::string* out, Verdict verdict) {
        const auto found = totals.find(verdict);
        absl::StrAppend(out, found == totals.end() ? 0 : found->second, " ",
                        VerdictName(verdict));
      });
}

// "4.1058 [4.1, 4.2]", with a star if something was made smaller.
std::string MeasuredText(const Measurement& m) {
  std::string text = FormatLike(m.value(), m.reported());
  if (m.has_interval()) {
    absl::StrAppendFormat(&text, " [%s, %s]",
                          FormatLike(m.interval().low(), m.reported()),
                          FormatLike(m.interval().high(), m.reported()));
  }
  if (!m.scale().empty()) absl::StrAppend(&text, " *");
  return text;
}

void PrintTables(const Result& result, Format format) {
  std::map<std::string, TextTable> tables;
  for (const Measurement& m : result.measurements()) {
    const Paper& paper = Registry::Global().papers().at(m.paper());
    const Claim* claim = FindClaim(paper, m.claim());
    if (claim == nullptr) continue;  // of a resumed run of older claims
    TextTable& table = tables
                           .try_emplace(m.paper(),
                                        std::vector<std::string>{
                                            "claim", "reported", "measured",
                                            "unit", "evidence", "verdict"})
                           .first->second;
    // A derived value is nobody's report.
    table.AddRow({m.claim(),
                  claim->origin() == DERIVED
                      ? absl::StrCat(m.reported(), " (derived)")
                      : m.reported(),
                  MeasuredText(m), m.unit(), EvidenceName(m.evidence()),
                  VerdictName(m.verdict())});
  }
  for (const auto& [slug, table] : tables) {
    const std::string title =
        absl::StrCat(slug, ": ", Registry::Global().papers().at(slug).title());
    if (format == Format::kMarkdown) {
      std::cout << "## " << title << "\n\n" << table.ToMarkdown() << "\n";
    } else {
      std::cout << "\n" << title << "\n\n" << table.ToText();
    }
  }
  std::map<std::string, int> scales;
  for (const Measurement& m : result.measurements()) {
    if (!m.scale().empty()) ++scales[absl::StrCat(m.paper(), ": ", m.scale())];
  }
  for (const auto& [scale, count] : scales) {
    std::cout << "\n* scaled down, " << scale << " (" << count
              << (count == 1 ? " claim)" : " claims)");
  }
  if (!scales.empty()) std::cout << "\n";
  // Why claims differ, and what was left out, each reason once.
  for (const Measurement& m : result.measurements()) {
    if (m.verdict() == DIFFERS) {
      std::cout << "\nDIFFERS " << m.paper() << "/" << m.claim() << ": "
                << m.reason();
    }
  }
  std::map<std::string, std::vector<std::string>> left_out;
  for (const Skipped& skipped : result.skipped()) {
    left_out[absl::StrCat(VerdictName(skipped.verdict()), " ", skipped.paper(),
                          ": ", skipped.reason())]
        .push_back(skipped.claim());
  }
  for (const auto& [reason, claims] : left_out) {
    std::cout << "\n"
              << reason << ": " << claims.size()
              << (claims.size() == 1 ? " claim, " : " claims, ")
              << claims.front() << (claims.size() > 1 ? " ..." : "");
  }
  std::cout << "\n";
}

nlohmann::json ToJson(const Result& result) {
  nlohmann::json measurements = nlohmann::json::array();
  for (const Measurement& m : result.measurements()) {
    nlohmann::json interval;
    if (m.has_interval()) {
      interval = {m.interval().low(), m.interval().high()};
    }
    measurements.push_back(
        {{"paper", m.paper()},
         {"claim", m.claim()},
         {"evidence", EvidenceName(m.evidence())},
         {"reported", m.reported()},
         {"value", m.value()},
         {"interval", interval},
         {"unit", m.unit()},
         {"verdict", VerdictName(m.verdict())},
         {"reason", m.reason()},
         {"scale", m.scale()},
         {"seconds", m.seconds()},
         {"device", m.device()},
         {"seeds", std::vector<uint64_t>(m.seeds().begin(), m.seeds().end())}});
  }
  nlohmann::json skipped = nlohmann::json::array();
  for (const Skipped& s : result.skipped()) {
    skipped.push_back({{"paper", s.paper()},
                       {"claim", s.claim()},
                       {"verdict", VerdictName(s.verdict())},
                       {"reason", s.reason()}});
  }
  nlohmann::json totals;
  const Totals counts = CountVerdicts(result);
  for (const Verdict verdict : AllVerdicts()) {
    const auto found = counts.find(verdict);
    totals[VerdictName(verdict)] = found == counts.end() ? 0 : found->second;
  }
  return {{"version", 1},
          {"measurements", measurements},
          {"skipped", skipped},
          {"totals", totals}};
}

// What the run comes to, for scripts.
int ExitCodeOf(const Result& result) {
  if (!result.complete()) return kExitInterrupted;
  bool lacks_asset = false;
  for (const Skipped& skipped : result.skipped()) {
    if (skipped.failed()) return kExitRegression;
    lacks_asset = lacks_asset || skipped.needs_asset();
  }
  return lacks_asset && result.measurements().empty() ? kExitMissingAsset
                                                      : kExitOk;
}

}  // namespace

absl::StatusOr<int> RunCommand(const RunOptions& options, Format format) {
  REPRO_RETURN_IF_ERROR(Registry::Global().Check());
  REPRO_ASSIGN_OR_RETURN(const Plan plan,
                         MakePlan(Registry::Global(), options));
  REPRO_ASSIGN_OR_RETURN(const RunEnvironment environment,
                         MakeEnvironment(options.device));
  // A wrong one is told now, not in the middle.
  REPRO_RETURN_IF_ERROR(completion::OpenClient(options.model_spec).status());
  ConfigureTorch(options.threads, /*deterministic=*/false);
  ProgressLine progress(isatty(STDERR_FILENO));
  REPRO_ASSIGN_OR_RETURN(const Result result,
                         ExecutePlan(Registry::Global(), plan, options,
                                     environment, g_stop, progress));
  const std::string path = ResultPath(options.out_dir, result);
  if (format == Format::kJson) {
    std::cout << ToJson(result).dump(2) << "\n";
    std::cerr << "result: " << path << "\n";
    return ExitCodeOf(result);
  }
  PrintTables(result, format);
  std::cout << "\nresult: " << path << "\n";
  if (!result.complete()) {
    std::cout << "stopped; go on with --resume\n";
  }
  const absl::StatusOr<int> report = ReportCommand(options.out_dir);
  std::cout << TotalsLine(CountVerdicts(result)) << " in "
            << FormatDuration(result.seconds()) << "; report: "
            << (report.ok() ? options.out_dir + "/report.html" : "none")
            << std::endl;
  REPRO_RETURN_IF_ERROR(report.status());
  return ExitCodeOf(result);
}

}  // namespace repro
