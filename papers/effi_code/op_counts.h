// Released-program costs: how many instructions each correct program of a pool
// executes, and what picking among them does to the tables.
#ifndef REPRO_PAPERS_EFFI_CODE_OP_COUNTS_H_
#define REPRO_PAPERS_EFFI_CODE_OP_COUNTS_H_

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace repro::effi_code {

inline constexpr int64_t kCanonical = -1;

struct OpCount {
  std::string task_id;
  int64_t first = kCanonical;  // a candidate's index in its pool
  int64_t count = 0;           // how many samples have this text
  int64_t instructions = 0;
  int64_t peak_bytes = 0;
};

// CSV with task_id, first, count, opcodes and peak_bytes. Errors of CsvTable,
// and InvalidArgument "path:line: ..." for a task without an id, `first` below
// -1, a count or opcodes below 1, peak_bytes below 0, or a program that came
// before; "path: task ... has no canonical solution".
absl::StatusOr<std::vector<OpCount>> ReadOpCounts(const std::string& path);
absl::StatusOr<std::vector<OpCount>> ParseOpCounts(absl::string_view text,
                                                   const std::string& name);

// Which correct candidate of a task is taken.
enum class Selection {
  kFirst,  // sampled first
  kBest,   // fewest instructions; the first of equals
  kWorst,  // most; the first of equals
};
// "first", "best", "worst"; InvalidArgument otherwise.
absl::StatusOr<Selection> ParseSelection(absl::string_view name);

struct SelectedCosts {
  std::vector<std::string> tasks;
  std::vector<double> costs;      // instructions
  std::vector<double> canonical;  // of the same task
};
// One candidate of each task that has any, but for tasks of `without`.
SelectedCosts SelectCosts(const std::vector<OpCount>& counts,
                          Selection selection,
                          const std::set<std::string>& without = {});

}  // namespace repro::effi_code

#endif  // REPRO_PAPERS_EFFI_CODE_OP_COUNTS_H_
