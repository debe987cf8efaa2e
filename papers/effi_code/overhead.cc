#include "papers/effi_code/overhead.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "common/claims/printed_number.h"
#include "common/data/io.h"
#include "common/stats/descriptive.h"
#include "common/status/macros.h"

namespace repro::effi_code {
namespace {

bool ParseMeasure(absl::string_view text, double* value) {
  return absl::SimpleAtod(text, value) && std::isfinite(*value) && *value >= 0;
}

}  // namespace

absl::StatusOr<std::vector<MemorySample>> ParseMemoryLog(
    absl::string_view text, const std::string& name) {
  std::vector<MemorySample> samples;
  int64_t number = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    const auto error = [&](absl::string_view what) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ":", number, ": ", what));
    };
    const std::vector<absl::string_view> parts =
        absl::StrSplit(line, absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
    if (number == 1) {
      if (parts.empty() || parts[0] == "MEM") {
        return error("expected a header line, such as \"CMDLINE ...\"");
      }
      continue;
    }
    if (parts.empty() || parts[0] == "FUNC" || parts[0] == "CHLD") continue;
    MemorySample sample;
    if (parts[0] != "MEM" || parts.size() != 3 ||
        !ParseMeasure(parts[1], &sample.memory_mb) ||
        !ParseMeasure(parts[2], &sample.time_s)) {
      return error("expected \"MEM <MB> <seconds>\"");
    }
    if (!samples.empty() && sample.time_s < samples.back().time_s) {
      return error("the time lies before that of the sample above");
    }
    samples.push_back(sample);
  }
  if (samples.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": no samples"));
  }
  return samples;
}

absl::StatusOr<std::vector<MemorySample>> ReadMemoryLog(
    const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  return ParseMemoryLog(text, path);
}

Overhead OverheadOf(const std::vector<MemorySample>& samples,
                    Trapezoids trapezoids) {
  Overhead overhead;
  if (samples.empty()) return overhead;
  double first = samples[0].time_s, last = samples[0].time_s;
  for (size_t k = 0; k < samples.size(); ++k) {
    first = std::min(first, samples[k].time_s);
    last = std::max(last, samples[k].time_s);
    overhead.memory_peak = std::max(overhead.memory_peak, samples[k].memory_mb);
    if (k == 0) continue;
    const MemorySample& before = samples[k - 1];
    if (trapezoids == Trapezoids::kAll || before.time_s > 0) {
      overhead.memory_time += (before.memory_mb + samples[k].memory_mb) / 2 *
                              (samples[k].time_s - before.time_s);
    }
  }
  overhead.time = last - first;
  return overhead;
}

absl::StatusOr<CostSummary> SummarizeCosts(absl::Span<const double> costs,
                                           absl::Span<const double> canonical) {
  if (costs.size() != canonical.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        costs.size(), " costs beside ", canonical.size(), " canonical ones"));
  }
  std::vector<double> ratios;
  for (size_t i = 0; i < costs.size(); ++i) {
    if (!(canonical[i] > 0)) {
      return absl::InvalidArgumentError(
          absl::StrCat("canonical cost ", i, " is ", canonical[i],
                       ": there is no ratio to it"));
    }
    ratios.push_back(costs[i] / canonical[i]);
  }
  CostSummary summary;
  summary.tasks = static_cast<int64_t>(costs.size());
  REPRO_ASSIGN_OR_RETURN(summary.mean, Mean(costs));
  REPRO_ASSIGN_OR_RETURN(summary.mean_ratio, Mean(ratios));
  REPRO_ASSIGN_OR_RETURN(summary.median_ratio, Median(ratios));
  REPRO_ASSIGN_OR_RETURN(const double canonical_mean, Mean(canonical));
  summary.ratio_of_sums = summary.mean / canonical_mean;
  return summary;
}

absl::StatusOr<TwinRow> CompareTwins(const Runs& model, const Runs& twin,
                                     const Runs& canonical,
                                     int64_t total_tasks) {
  if (total_tasks < 1 || total_tasks < static_cast<int64_t>(model.size()) ||
      total_tasks < static_cast<int64_t>(twin.size())) {
    return absl::InvalidArgumentError(absl::StrCat(total_tasks, " tasks for ",
                                                   model.size(), " and ",
                                                   twin.size(), " runs"));
  }
  std::vector<double> costs[3], references[3];
  int64_t shared = 0;
  for (const auto& [task, run] : model) {
    if (twin.count(task) == 0) continue;
    ++shared;
    const auto reference = canonical.find(task);
    if (reference == canonical.end()) continue;
    const auto add = [&](int measure, double cost, double canonical_cost) {
      costs[measure].push_back(cost);
      references[measure].push_back(canonical_cost);
    };
    add(0, run.time, reference->second.time);
    add(1, run.memory_peak, reference->second.memory_peak);
    add(2, run.memory_time, reference->second.memory_time);
  }
  if (costs[0].empty()) {
    return absl::FailedPreconditionError(
        "no task is solved by both models and has a canonical run");
  }
  TwinRow row;
  REPRO_ASSIGN_OR_RETURN(row.time, SummarizeCosts(costs[0], references[0]));
  REPRO_ASSIGN_OR_RETURN(row.memory_peak,
                         SummarizeCosts(costs[1], references[1]));
  REPRO_ASSIGN_OR_RETURN(row.memory_time,
                         SummarizeCosts(costs[2], references[2]));
  const double percent = 100.0 / static_cast<double>(total_tasks);
  row.overlap = static_cast<double>(shared) * percent;
  row.pass_at_1 = static_cast<double>(model.size()) * percent;
  return row;
}

absl::StatusOr<int64_t> TasksOfPercentage(absl::string_view printed,
                                          int64_t total) {
  REPRO_ASSIGN_OR_RETURN(const PrintedNumber number,
                         ParsePrintedNumber(printed));
  int64_t found = -1;
  for (int64_t tasks = 0; tasks <= total; ++tasks) {
    const double percentage =
        100.0 * static_cast<double>(tasks) / static_cast<double>(total);
    if (!RoundsTo(percentage, number)) continue;
    if (found >= 0) {
      return absl::FailedPreconditionError(absl::StrCat(
          printed, "% of ", total, " tasks may be ", found, " or ", tasks));
    }
    found = tasks;
  }
  if (found < 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "no number of ", total, " tasks rounds to ", printed, "%"));
  }
  return found;
}

std::string OverheadText(const Overhead& overhead) {
  return absl::StrFormat(
      "Memory over time: %.2f MB*s\nExecution time: %.2f s\n"
      "Memory peak: %.2f MB\n",
      overhead.memory_time, overhead.time, overhead.memory_peak);
}

}  // namespace repro::effi_code
