// Time and memory of a program's run, and the tables that compare models by
// them.
#ifndef REPRO_PAPERS_EFFI_CODE_OVERHEAD_H_
#define REPRO_PAPERS_EFFI_CODE_OVERHEAD_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace repro::effi_code {

struct MemorySample {
  double memory_mb = 0;
  double time_s = 0;  // since any epoch
};

// A log of mprof (memory_profiler): a header line, then "MEM <MB> <seconds>" a
// sample; FUNC and CHLD lines are passed over. InvalidArgument "name:line:
// ...": no header, another line, a number that is none, negative or infinite,
// or a time before the one above; "name: no samples".
absl::StatusOr<std::vector<MemorySample>> ParseMemoryLog(
    absl::string_view text, const std::string& name);
// The same for a file; errors of ReadFile too.
absl::StatusOr<std::vector<MemorySample>> ReadMemoryLog(
    const std::string& path);

// Of one run.
struct Overhead {
  double time = 0;         // ET, s: the last time less the first
  double memory_peak = 0;  // MU, MB: the largest sample
  double memory_time = 0;  // TMU, MB s: the area by the trapezoid rule
};

enum class Trapezoids {
  kAll,
  // As coded: an interval counts only if it begins after time 0, which makes no
  // difference for times of the clock.
  kAfterZero,
};
// Zero for no samples; one sample has neither time nor area.
Overhead OverheadOf(const std::vector<MemorySample>& samples,
                    Trapezoids trapezoids = Trapezoids::kAll);

// Costs of programs beside those of the canonical solutions of the same tasks.
struct CostSummary {
  int64_t tasks = 0;
  double mean = 0;
  double mean_ratio = 0;     // NET, NMU, NTMU: the mean of the tasks' ratios
  double ratio_of_sums = 0;  // EffiBench's: total over total
  double median_ratio = 0;
};
// InvalidArgument: empty, unequally many, a canonical cost that is not above 0,
// or a value that is not finite.
absl::StatusOr<CostSummary> SummarizeCosts(absl::Span<const double> costs,
                                           absl::Span<const double> canonical);

// The runs that passed, by task.
using Runs = std::map<std::string, Overhead>;

// A row of the paper's tables: a model on the tasks that it and its twin (the
// same model before or after fine-tuning) both solve.
struct TwinRow {
  CostSummary time, memory_peak, memory_time;
  double overlap = 0;    // tasks that both solve, % of all
  double pass_at_1 = 0;  // tasks that the model solves, % of all
};
// Means are over the overlap's tasks with a canonical run; `overlap` counts the
// others too, as the authors' code does. InvalidArgument: `total_tasks` below 1
// or below the number of runs; FailedPrecondition: there is no such task;
// errors of SummarizeCosts (a canonical log of one sample has time 0).
absl::StatusOr<TwinRow> CompareTwins(const Runs& model, const Runs& twin,
                                     const Runs& canonical,
                                     int64_t total_tasks);

// How many of `total` tasks a printed percentage stands for, where exactly one
// number rounds to it. InvalidArgument: not a number, or none does;
// FailedPrecondition: several do.
absl::StatusOr<int64_t> TasksOfPercentage(absl::string_view printed,
                                          int64_t total);

// The three measures as text, the head of what the optimiser is told.
std::string OverheadText(const Overhead& overhead);

}  // namespace repro::effi_code

#endif  // REPRO_PAPERS_EFFI_CODE_OVERHEAD_H_
