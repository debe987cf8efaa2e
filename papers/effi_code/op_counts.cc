#include "papers/effi_code/op_counts.h"

#include <map>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/data/csv.h"
#include "common/data/io.h"
#include "common/status/macros.h"

namespace repro::effi_code {
namespace {

bool Better(const OpCount& a, const OpCount& b, Selection selection) {
  if (selection != Selection::kFirst && a.instructions != b.instructions) {
    return (a.instructions < b.instructions) == (selection == Selection::kBest);
  }
  return a.first < b.first;
}

}  // namespace

absl::StatusOr<std::vector<OpCount>> ReadOpCounts(const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  return ParseOpCounts(text, path);
}

absl::StatusOr<std::vector<OpCount>> ParseOpCounts(absl::string_view text,
                                                   const std::string& name) {
  REPRO_ASSIGN_OR_RETURN(const CsvTable table, CsvTable::Parse(text, name));
  std::vector<OpCount> counts;
  std::set<std::pair<std::string, int64_t>> seen;
  for (int64_t row = 0; row < table.num_rows(); ++row) {
    OpCount& one = counts.emplace_back();
    REPRO_ASSIGN_OR_RETURN(one.task_id, table.Text(row, "task_id"));
    REPRO_ASSIGN_OR_RETURN(one.first, table.Int(row, "first"));
    REPRO_ASSIGN_OR_RETURN(one.count, table.Int(row, "count"));
    REPRO_ASSIGN_OR_RETURN(one.instructions, table.Int(row, "opcodes"));
    REPRO_ASSIGN_OR_RETURN(one.peak_bytes, table.Int(row, "peak_bytes"));
    if (one.task_id.empty()) return table.RowError(row, "no task_id");
    if (one.first < kCanonical || one.count < 1 || one.instructions < 1 ||
        one.peak_bytes < 0) {
      return table.RowError(row,
                            "expected first >= -1, count and opcodes >= 1, "
                            "peak_bytes >= 0");
    }
    if (!seen.emplace(one.task_id, one.first).second) {
      return table.RowError(row, absl::StrCat("program ", one.first, " of ",
                                              one.task_id, " came before"));
    }
  }
  for (const OpCount& one : counts) {
    if (seen.count({one.task_id, kCanonical}) == 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          name, ": task ", one.task_id, " has no canonical solution"));
    }
  }
  return counts;
}

absl::StatusOr<Selection> ParseSelection(absl::string_view name) {
  if (name == "first") return Selection::kFirst;
  if (name == "best") return Selection::kBest;
  if (name == "worst") return Selection::kWorst;
  return absl::InvalidArgumentError(
      absl::StrCat("no selection \"", name, "\": first, best or worst"));
}

SelectedCosts SelectCosts(const std::vector<OpCount>& counts,
                          Selection selection,
                          const std::set<std::string>& without) {
  std::map<std::string, const OpCount*> selected, canonical;
  for (const OpCount& one : counts) {
    if (without.count(one.task_id) > 0) continue;
    if (one.first == kCanonical) {
      canonical[one.task_id] = &one;
      continue;
    }
    const OpCount*& best = selected[one.task_id];
    if (best == nullptr || Better(one, *best, selection)) best = &one;
  }
  SelectedCosts costs;
  for (const auto& [task, one] : selected) {
    const auto reference = canonical.find(task);
    if (reference == canonical.end()) continue;
    costs.tasks.push_back(task);
    costs.costs.push_back(static_cast<double>(one->instructions));
    costs.canonical.push_back(
        static_cast<double>(reference->second->instructions));
  }
  return costs;
}

}  // namespace repro::effi_code
