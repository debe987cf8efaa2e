#include "papers/effi_code/harness.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/data/json.h"
#include "common/data/json_record.h"
#include "common/data/jsonl.h"
#include "common/exec/sandbox.h"
#include "common/status/macros.h"
#include "papers/effi_code/driver_source.h"

namespace repro::effi_code {
namespace {

using nlohmann::json;

constexpr absl::string_view kFence = "```";

// The text before `mark`, all of it where there is none.
absl::string_view Before(absl::string_view text, absl::string_view mark) {
  return text.substr(0, text.find(mark));
}

absl::string_view StripFences(absl::string_view text,
                              absl::string_view definition) {
  constexpr absl::string_view kPythonFence = "```python";
  const size_t python = text.find(kPythonFence);
  if (python != absl::string_view::npos) {
    text = Before(text.substr(python + kPythonFence.size()), kFence);
  }
  const size_t fence = text.find(kFence);
  if (fence != absl::string_view::npos) {
    const size_t begin = text.rfind(definition);
    if (begin == absl::string_view::npos) {
      // As coded: a slice from -1, which is empty.
      text = "";
    } else if (fence > begin) {
      text = text.substr(begin, fence - begin);
    } else {
      text = Before(text.substr(fence + kFence.size()), kFence);
    }
  }
  return Before(Before(text, "<|EOT|>"), "<jupy");
}

// JSON of any bytes: what is not UTF-8 is replaced.
std::string Dump(const json& value) {
  return value.dump(-1, ' ', /*ensure_ascii=*/true,
                    json::error_handler_t::replace);
}

// The JSON in the last line of what a driver printed; null if there is none.
json LastLine(absl::string_view text) {
  while (absl::EndsWith(text, "\n")) text.remove_suffix(1);
  const auto value = ParseJson(text.substr(text.rfind('\n') + 1), "report");
  return value.ok() ? *value : json();
}

// The log of a report; none if the program, which could forge it, spoilt it.
std::vector<MemorySample> LogOf(const json& report) {
  std::vector<MemorySample> log;
  if (!report.is_array()) return log;
  for (const json& sample : report) {
    if (!sample.is_array() || sample.size() != 2 || !sample[0].is_number() ||
        !sample[1].is_number()) {
      return {};
    }
    log.push_back({sample[0].get<double>(), sample[1].get<double>()});
  }
  return log;
}

MeasuredRun MeasuredRunOf(const exec::ExecResult& result, bool silent) {
  MeasuredRun run;
  if (result.outcome != exec::Outcome::kPassed) {
    run.failure = absl::StrCat(exec::OutcomeName(result.outcome),
                               result.exception_type.empty() ? "" : ": ",
                               result.exception_type);
    if (!result.message.empty())
      absl::StrAppend(&run.failure, ": ", result.message);
    return run;
  }
  if (silent && !result.stderr_text.empty()) {
    run.failure = "wrote to stderr";
    return run;
  }
  run.log = LogOf(LastLine(result.stdout_text));
  if (run.log.empty()) {
    run.failure = "left no log";
    return run;
  }
  run.passed = true;
  run.overhead = OverheadOf(run.log);
  return run;
}

bool IsWhole(const json& value) { return value.is_number_integer(); }

// One program's part of the report; false if it is none.
bool ParseCount(const json& report, InstructionCount* count) {
  if (!report.is_array() || report.size() != 4 || !report[0].is_boolean() ||
      !IsWhole(report[1]) || !IsWhole(report[2]) || !report[3].is_array()) {
    return false;
  }
  count->passed = report[0].get<bool>();
  count->instructions = report[1].get<int64_t>();
  count->peak_bytes = report[2].get<int64_t>();
  for (const json& line : report[3]) {
    if (!line.is_array() || line.size() != 4 ||
        !std::all_of(line.begin(), line.end(), IsWhole)) {
      return false;
    }
    count->lines.push_back({line[0].get<int64_t>(), line[1].get<int64_t>(),
                            line[2].get<int64_t>(), line[3].get<int64_t>()});
  }
  return true;
}

// Empty if the process ended without a report of `size` programs.
std::vector<InstructionCount> CountsOf(const exec::ExecResult& result,
                                       size_t size) {
  if (result.outcome != exec::Outcome::kPassed) return {};
  const json report = LastLine(result.stdout_text);
  if (!report.is_array() || report.size() != size) return {};
  std::vector<InstructionCount> counts(size);
  for (size_t i = 0; i < size; ++i) {
    if (!ParseCount(report[i], &counts[i])) return {};
  }
  return counts;
}

// Indices of programs that share a process.
using Batch = std::vector<size_t>;

exec::ExecRequest CountRequest(const std::vector<TestedProgram>& programs,
                               const Batch& batch,
                               const CountOptions& options) {
  json list = json::array();
  for (const size_t i : batch) {
    list.push_back(json::array({programs[i].program, programs[i].tests}));
  }
  const json job = {{"programs", std::move(list)},
                    {"limit", options.limit},
                    {"memory", options.memory}};
  exec::ExecRequest request;
  request.program = kCountDriver;
  request.files = {{"job.json", Dump(job)}};
  request.limits.cpu = options.limit_a_process;
  request.limits.wall = 10 * options.limit_a_process;
  request.limits.memory_bytes = int64_t{2} << 30;
  request.limits.output_bytes = int64_t{16} << 20;
  return request;
}

}  // namespace

absl::StatusOr<std::vector<Candidate>> ReadCorrectCandidates(
    const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines, ReadRecords(path));
  std::vector<Candidate> candidates;
  for (const JsonLine& line : lines) {
    const JsonRecord record(line, path);
    Candidate candidate;
    REPRO_ASSIGN_OR_RETURN(candidate.task_id, record.Text("task_id"));
    REPRO_ASSIGN_OR_RETURN(candidate.first, record.Count("first"));
    REPRO_ASSIGN_OR_RETURN(candidate.completion, record.Text("completion"));
    REPRO_ASSIGN_OR_RETURN(const int64_t label, record.Count("label"));
    if (label == 0) candidates.push_back(std::move(candidate));
  }
  return candidates;
}

std::string CleanCompletion(absl::string_view completion,
                            absl::string_view entry_point) {
  const std::string definition = absl::StrCat("def ", entry_point);
  std::vector<absl::string_view> lines;
  for (const absl::string_view line : absl::StrSplit(completion, '\n')) {
    if (absl::StrContains(line, "print(") ||
        absl::StrContains(line, "assert")) {
      continue;
    }
    if (absl::StrContains(line, definition)) lines.clear();
    lines.push_back(line);
  }
  size_t end = lines.empty() ? 0 : 1;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (absl::StrContains(lines[i], "    return ")) end = i + 1;
  }
  lines.resize(end);
  const std::string text = absl::StrJoin(lines, "\n");
  return std::string(StripFences(text, definition));
}

const std::string& ProgramImports() {
  static const std::string* const kImports = [] {
    auto* text = new std::string();
    for (const char* module :
         {"typing", "bisect", "collections", "copy", "datetime", "heapq",
          "math", "re", "string", "random", "itertools", "functools",
          "operator"}) {
      absl::StrAppend(text, "from ", module, " import *\n");
    }
    for (const char* module :
         {"string", "re", "datetime", "collections", "heapq", "bisect", "copy",
          "math", "random", "itertools", "functools", "operator"}) {
      absl::StrAppend(text, "import ", module, "\n");
    }
    return text;
  }();
  return *kImports;
}

std::string ProgramText(const HumanEvalProblem& problem,
                        absl::string_view completion,
                        const ProgramOptions& options) {
  return absl::StrCat(
      options.imports ? ProgramImports() : "", "\n", problem.prompt,
      options.clean ? "\n" : "",
      options.clean ? CleanCompletion(completion, problem.entry_point)
                    : std::string(completion),
      "\n", problem.test, "\ncheck(", problem.entry_point, ")\n");
}

absl::StatusOr<std::vector<MeasuredRun>> MeasureAll(
    const std::vector<std::string>& programs, int workers,
    const MeasureOptions& options, const Progress& progress) {
  if (options.repeats < 1 || options.interval < absl::Microseconds(1)) {
    return absl::InvalidArgumentError(
        absl::StrCat(options.repeats, " repeats, sampled every ",
                     absl::FormatDuration(options.interval)));
  }
  std::vector<exec::ExecRequest> requests;
  for (const std::string& program : programs) {
    exec::ExecRequest request;
    request.program = kMeasureDriver;
    request.files = {
        {"job.json",
         Dump({{"program", program},
               {"interval", absl::ToDoubleSeconds(options.interval)},
               {"repeats", options.repeats}})}};
    request.limits.wall = options.limit;
    request.limits.cpu = options.limit;
    request.limits.memory_bytes = options.memory_bytes;
    requests.push_back(std::move(request));
  }
  REPRO_ASSIGN_OR_RETURN(const exec::Sandbox sandbox, exec::Sandbox::Create());
  REPRO_ASSIGN_OR_RETURN(const std::vector<exec::ExecResult> results,
                         sandbox.RunAll(requests, workers, progress));
  std::vector<MeasuredRun> runs;
  for (const exec::ExecResult& result : results) {
    runs.push_back(MeasuredRunOf(result, options.silent));
  }
  return runs;
}

absl::StatusOr<std::vector<InstructionCount>> CountInstructions(
    const std::vector<TestedProgram>& programs, int workers,
    const CountOptions& options, const Progress& progress) {
  if (options.limit < 1 || options.programs_a_process < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("at most ", options.limit, " instructions, ",
                     options.programs_a_process, " programs a process"));
  }
  std::vector<InstructionCount> counts(programs.size());
  std::vector<Batch> batches;
  for (size_t i = 0; i < programs.size(); ++i) {
    if (i % options.programs_a_process == 0) batches.emplace_back();
    batches.back().push_back(i);
  }
  REPRO_ASSIGN_OR_RETURN(const exec::Sandbox sandbox, exec::Sandbox::Create());
  // Programs of a process that ended badly, each of which runs alone.
  while (!batches.empty()) {
    std::vector<exec::ExecRequest> requests;
    for (const Batch& batch : batches) {
      requests.push_back(CountRequest(programs, batch, options));
    }
    REPRO_ASSIGN_OR_RETURN(const std::vector<exec::ExecResult> results,
                           sandbox.RunAll(requests, workers, progress));
    std::vector<Batch> again;
    for (size_t b = 0; b < batches.size(); ++b) {
      std::vector<InstructionCount> of_batch =
          CountsOf(results[b], batches[b].size());
      for (size_t k = 0; k < of_batch.size(); ++k) {
        counts[batches[b][k]] = std::move(of_batch[k]);
      }
      if (!of_batch.empty() || batches[b].size() == 1) continue;
      for (const size_t i : batches[b]) again.push_back({i});
    }
    batches = std::move(again);
  }
  return counts;
}

std::string LineTable(absl::string_view program,
                      const std::vector<LineCost>& lines) {
  const std::vector<absl::string_view> texts = absl::StrSplit(program, '\n');
  std::string table = absl::StrFormat("%6s %10s %14s %12s  %s\n", "Line",
                                      "Hits", "Instructions", "Bytes", "Text");
  for (const LineCost& line : lines) {
    const bool known =
        line.line >= 1 && line.line <= static_cast<int64_t>(texts.size());
    absl::StrAppendFormat(&table, "%6d %10d %14d %12d  %s\n", line.line,
                          line.hits, line.instructions, line.bytes,
                          known ? texts[line.line - 1] : "");
  }
  return table;
}

}  // namespace repro::effi_code
