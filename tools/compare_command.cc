#include <filesystem>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "common/claims/baseline.h"
#include "common/claims/compare.h"
#include "common/claims/result_store.h"
#include "common/claims/runner.h"
#include "common/status/macros.h"
#include "tools/commands.h"
#include "tools/terminal.h"

namespace repro {
namespace {

// A path, or the id of a result of this output folder.
absl::StatusOr<Result> Find(const std::string& name,
                            const std::string& out_dir) {
  if (std::filesystem::exists(name)) return ReadResult(name);
  return ReadResult(absl::StrCat(ResultsFolder(out_dir), "/", name, ".json"));
}

absl::StatusOr<Result> Latest(const std::string& out_dir) {
  const auto paths = ListResults(ResultsFolder(out_dir));
  if (paths.empty()) {
    return absl::NotFoundError(absl::StrCat(
        ResultsFolder(out_dir), ": no result yet; make one with `repro run`"));
  }
  return ReadResult(paths.back());
}

}  // namespace

absl::StatusOr<int> CompareCommand(const CompareOptions& options) {
  const size_t expected = options.baseline ? 1 : 2;
  if (options.results.size() > expected ||
      (!options.baseline && options.results.size() < expected)) {
    return absl::InvalidArgumentError(
        "give two results, or one and --baseline (none: the newest)");
  }
  absl::StatusOr<Result> after =
      options.results.empty() ? Latest(options.out_dir)
                              : Find(options.results.back(), options.out_dir);
  REPRO_RETURN_IF_ERROR(after.status());
  if (options.update) {
    if (!options.baseline) {
      return absl::InvalidArgumentError("--update goes with --baseline");
    }
    REPRO_RETURN_IF_ERROR(UpdateBaseline(*after, options.baseline_dir));
    std::cout << "baselines in " << options.baseline_dir << " take "
              << after->measurements_size() << " measurements of "
              << after->id() << "\n";
    return kExitOk;
  }
  const absl::StatusOr<Result> before =
      options.baseline ? ReadBaseline(options.baseline_dir)
                       : Find(options.results.front(), options.out_dir);
  REPRO_RETURN_IF_ERROR(before.status());

  std::vector<Paper> papers;
  for (const auto& [slug, paper] : Registry::Global().papers()) {
    papers.push_back(paper);
  }
  const std::vector<ClaimChange> changes =
      CompareResults(*before, *after, papers);
  std::map<std::string, int> counts;
  nlohmann::json rows = nlohmann::json::array();
  TextTable table({"claim", "change", "detail"});
  for (const ClaimChange& change : changes) {
    ++counts[ChangeName(change.change)];
    if (!options.everything && (change.change == Change::kSame ||
                                change.change == Change::kNotMeasured)) {
      continue;
    }
    rows.push_back({{"paper", change.paper},
                    {"claim", change.claim},
                    {"change", ChangeName(change.change)},
                    {"detail", change.detail}});
    table.AddRow({absl::StrCat(change.paper, "/", change.claim),
                  ChangeName(change.change), change.detail});
  }
  if (options.format == Format::kJson) {
    std::cout << nlohmann::json(
                     {{"version", 1}, {"changes", rows}, {"totals", counts}})
                     .dump(2)
              << "\n";
  } else {
    if (!rows.empty()) {
      std::cout << (options.format == Format::kMarkdown ? table.ToMarkdown()
                                                        : table.ToText())
                << "\n";
    }
    std::string line;
    for (const auto& [name, count] : counts) {
      absl::StrAppend(&line, line.empty() ? "" : ", ", count, " ", name);
    }
    std::cout << (line.empty() ? "nothing in common" : line) << "\n";
  }
  return HasRegression(changes) ? kExitRegression : kExitOk;
}

}  // namespace repro
