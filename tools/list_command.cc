#include <iostream>
#include <map>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/assets/asset_store.h"
#include "common/claims/paper.h"
#include "common/claims/verdict.h"
#include "common/status/macros.h"
#include "common/text/duration.h"
#include "tools/commands.h"
#include "tools/report/model.h"
#include "tools/report_input.h"
#include "tools/terminal.h"

namespace repro {
namespace {

// "here", "fetchable" or "missing".
std::string AssetState(const Paper& paper, const Asset& asset) {
  AssetStoreOptions options = AssetStoreOptions::FromEnvironment();
  options.paper = paper.slug();
  const auto located = AssetStore(options).Locate(asset);
  if (located.ok()) return "here";
  if (!absl::IsNotFound(located.status())) return "damaged";
  for (const AssetSource& source : asset.sources()) {
    if (!source.has_folder_path()) return "fetchable";
  }
  return "missing";
}

}  // namespace

absl::StatusOr<int> ListCommand(Format format, const std::string& out_dir) {
  nlohmann::json papers = nlohmann::json::array();
  TextTable table({"paper", "claims", "REPRODUCED", "HOLDS", "DIFFERS",
                   "BLOCKED", "NOT_RUN", "title"});
  const ReportInput input = GatherReportInput(out_dir);
  REPRO_ASSIGN_OR_RETURN(const ReportModel model, BuildModel(input));
  for (const PaperView& view : model.papers) {
    const Paper& paper = *view.paper;
    const std::string& slug = paper.slug();
    std::map<std::string, int> by_evidence;
    std::map<std::string, int> by_verdict;
    for (const Claim& claim : paper.claims()) {
      ++by_evidence[EvidenceName(claim.evidence())];
    }
    for (const auto& [verdict, count] : view.counts) {
      if (count > 0) by_verdict[VerdictName(verdict)] = count;
    }
    nlohmann::json assets = nlohmann::json::array();
    if (format == Format::kJson) {
      for (const Asset& asset : paper.assets()) {
        assets.push_back(
            {{"name", asset.name()}, {"state", AssetState(paper, asset)}});
      }
    }
    papers.push_back({{"paper", slug},
                      {"title", paper.title()},
                      {"claims", by_evidence},
                      {"verdicts", by_verdict},
                      {"assets", assets}});
    std::vector<std::string> row = {slug, absl::StrCat(paper.claims_size())};
    for (const Verdict verdict : AllVerdicts()) {
      row.push_back(absl::StrCat(by_verdict[VerdictName(verdict)]));
    }
    row.push_back(paper.title());
    table.AddRow(std::move(row));
  }
  if (format == Format::kJson) {
    std::cout << papers.dump(2) << "\n";
  } else {
    std::cout << (format == Format::kMarkdown ? table.ToMarkdown()
                                              : table.ToText());
  }
  return kExitOk;
}

absl::StatusOr<int> ShowCommand(const std::string& slug, Format format,
                                const std::string& out_dir) {
  REPRO_ASSIGN_OR_RETURN(const Paper* paper,
                         Registry::Global().FindPaper(slug));
  const ReportInput input = GatherReportInput(out_dir);
  REPRO_ASSIGN_OR_RETURN(const ReportModel model, BuildModel(input));
  std::map<std::string, const ClaimView*> views;
  for (const PaperView& view : model.papers) {
    if (view.paper->slug() != slug) continue;
    for (const TableView& table : view.tables) {
      for (const ClaimView& claim : table.claims) {
        views[claim.claim->id()] = &claim;
      }
    }
  }
  nlohmann::json claims = nlohmann::json::array();
  TextTable table({"claim", "reported", "unit", "evidence", "origin",
                   "experiment", "measured", "verdict"});
  for (const Claim& claim : paper->claims()) {
    const ClaimView& view = *views.at(claim.id());
    const std::string verdict = VerdictName(view.verdict);
    nlohmann::json value;
    if (view.measurement != nullptr) value = view.measurement->value();
    claims.push_back({{"claim", claim.id()},
                      {"table", claim.table()},
                      {"row", claim.row()},
                      {"column", claim.column()},
                      {"metric", claim.metric()},
                      {"reported", claim.reported()},
                      {"unit", claim.unit()},
                      {"evidence", EvidenceName(claim.evidence())},
                      {"origin", Origin_Name(claim.origin())},
                      {"experiment", claim.experiment()},
                      {"criterion", claim.criterion().statement()},
                      {"value", value},
                      {"verdict", verdict}});
    table.AddRow({claim.id(), claim.reported(), claim.unit(),
                  EvidenceName(claim.evidence()), Origin_Name(claim.origin()),
                  claim.experiment(),
                  view.measurement == nullptr
                      ? ""
                      : FormatLike(view.measurement->value(), claim.reported()),
                  verdict});
  }
  if (format == Format::kJson) {
    nlohmann::json assets = nlohmann::json::array();
    for (const Asset& asset : paper->assets()) {
      assets.push_back(
          {{"name", asset.name()}, {"state", AssetState(*paper, asset)}});
    }
    std::cout << nlohmann::json({{"paper", slug},
                                 {"title", paper->title()},
                                 {"claims", claims},
                                 {"assets", assets}})
                     .dump(2)
              << "\n";
    return kExitOk;
  }
  std::cout << paper->title() << "\n"
            << absl::StrJoin(paper->authors(), ", ") << ". " << paper->venue()
            << ". arXiv:" << paper->arxiv() << "\n\n"
            << (format == Format::kMarkdown ? table.ToMarkdown()
                                            : table.ToText());
  if (!paper->experiments().empty()) {
    std::cout << "\nexperiments\n";
    TextTable experiments({"experiment", "about", "device", "what"});
    for (const Experiment& experiment : paper->experiments()) {
      experiments.AddRow({experiment.id(), FormatDuration(experiment.seconds()),
                          experiment.requires_cuda() ? "CUDA" : "any",
                          experiment.description()});
    }
    std::cout << experiments.ToText();
  }
  if (!paper->assets().empty()) {
    std::cout << "\nassets\n";
    TextTable assets({"asset", "state", "what"});
    for (const Asset& asset : paper->assets()) {
      assets.AddRow(
          {asset.name(), AssetState(*paper, asset), asset.description()});
    }
    std::cout << assets.ToText();
  }
  for (const Finding& finding : paper->findings()) {
    std::cout << "\nfinding: " << finding.title() << "\n  "
              << finding.explanation() << "\n";
  }
  return kExitOk;
}

absl::StatusOr<int> FetchCommand(const std::vector<std::string>& slugs,
                                 bool all) {
  std::vector<const Paper*> papers;
  if (all) {
    for (const auto& [slug, paper] : Registry::Global().papers()) {
      papers.push_back(&paper);
    }
  }
  for (const std::string& slug : slugs) {
    REPRO_ASSIGN_OR_RETURN(const Paper* paper,
                           Registry::Global().FindPaper(slug));
    papers.push_back(paper);
  }
  int code = kExitOk;
  for (const Paper* paper : papers) {
    AssetStoreOptions options = AssetStoreOptions::FromEnvironment();
    options.paper = paper->slug();
    const AssetStore store(options);
    for (const Asset& asset : paper->assets()) {
      const std::string name = absl::StrCat(paper->slug(), "/", asset.name());
      int last_percent = -1;
      const auto fetched = store.Fetch(asset, [&](int64_t done, int64_t total) {
        const int percent = total > 0 ? 100 * done / total : 0;
        if (percent / 10 != last_percent / 10) {
          std::cerr << name << ": " << percent << "%\n";
          last_percent = percent;
        }
        return !g_stop.load();
      });
      if (fetched.ok()) {
        std::cout << name << ": " << fetched->path << " (" << fetched->source
                  << ")\n";
        continue;
      }
      std::cerr << name << ": " << fetched.status().message() << "\n";
      if (g_stop.load()) return kExitInterrupted;
      code = kExitMissingAsset;
    }
  }
  return code;
}

}  // namespace repro
