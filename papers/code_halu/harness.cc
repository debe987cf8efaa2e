#include "papers/code_halu/harness.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/data/json.h"
#include "common/metrics/python_text.h"
#include "common/status/macros.h"
#include "papers/code_halu/driver_source.h"

namespace repro::code_halu {
namespace {

using nlohmann::json;

using Lines = std::vector<std::string>;

// ------------------------------------------------------------------- numbers

// Moves behind digits with single underscores between them; false if there are
// none.
bool SkipDigits(absl::string_view* text) {
  size_t at = 0;
  const auto digit = [&](size_t i) {
    return i < text->size() && absl::ascii_isdigit((*text)[i]);
  };
  while (digit(at) || (at > 0 && at < text->size() && (*text)[at] == '_' &&
                       digit(at - 1) && digit(at + 1))) {
    ++at;
  }
  text->remove_prefix(at);
  return at > 0;
}

// Whether float() of Python reads it as digits with point and exponent.
bool IsDecimal(absl::string_view text) {
  if (!absl::ConsumePrefix(&text, "-")) absl::ConsumePrefix(&text, "+");
  bool digits = SkipDigits(&text);
  if (absl::ConsumePrefix(&text, ".")) digits |= SkipDigits(&text);
  if (!digits) return false;
  if (absl::ConsumePrefix(&text, "e") || absl::ConsumePrefix(&text, "E")) {
    if (!absl::ConsumePrefix(&text, "-")) absl::ConsumePrefix(&text, "+");
    if (!SkipDigits(&text)) return false;
  }
  return text.empty();
}

bool IsInfinityOrNan(absl::string_view text) {
  if (!absl::ConsumePrefix(&text, "-")) absl::ConsumePrefix(&text, "+");
  return absl::EqualsIgnoreCase(text, "inf") ||
         absl::EqualsIgnoreCase(text, "infinity") ||
         absl::EqualsIgnoreCase(text, "nan");
}

std::optional<double> PythonFloat(absl::string_view text) {
  std::string stripped = metrics::Strip(text);
  if (!IsDecimal(stripped) && !IsInfinityOrNan(stripped)) return std::nullopt;
  stripped.erase(std::remove(stripped.begin(), stripped.end(), '_'),
                 stripped.end());
  double value = 0;
  if (!absl::SimpleAtod(stripped, &value)) return std::nullopt;
  return value;
}

std::optional<std::vector<double>> PythonFloats(const Lines& texts) {
  std::vector<double> values;
  for (const std::string& text : texts) {
    const std::optional<double> value = PythonFloat(text);
    if (!value.has_value()) return std::nullopt;
    values.push_back(*value);
  }
  return values;
}

// round(value, 3): the nearest decimal, an exact half to even, as printf's.
double RoundToThousandths(double value) {
  if (!std::isfinite(value)) return value;
  double rounded = 0;
  return absl::SimpleAtod(absl::StrFormat("%.3f", value), &rounded) ? rounded
                                                                    : value;
}

// numpy.allclose with its defaults.
bool AllClose(const std::vector<double>& values,
              const std::vector<double>& references) {
  return std::equal(values.begin(), values.end(), references.begin(),
                    references.end(), [](double a, double b) {
                      return a == b ||
                             (std::isfinite(b) &&
                              std::abs(a - b) <= 1e-8 + 1e-5 * std::abs(b));
                    });
}

// ---------------------------------------------------------------------- sets

using WordSets = std::set<std::set<std::string>>;

// Lines without words are left out if `drop_empty`.
WordSets SetsOfWords(const Lines& lines, bool drop_empty) {
  WordSets sets;
  for (const std::string& line : lines) {
    const metrics::Tokens words = metrics::SplitWhitespace(line);
    if (drop_empty && words.empty()) continue;
    sets.emplace(words.begin(), words.end());
  }
  return sets;
}

// None if a word is no number. A NaN is equal to nothing in Python, not even to
// another NaN in a set: none either.
std::optional<std::set<std::set<double>>> SetsOfNumbers(const WordSets& sets) {
  std::set<std::set<double>> numbers;
  for (const std::set<std::string>& words : sets) {
    std::set<double> line;
    for (const std::string& word : words) {
      const std::optional<double> value = PythonFloat(word);
      if (!value.has_value() || std::isnan(*value)) return std::nullopt;
      line.insert(RoundToThousandths(*value));
    }
    numbers.insert(std::move(line));
  }
  return numbers;
}

void DropEmpty(Lines* lines) {
  lines->erase(std::remove(lines->begin(), lines->end(), ""), lines->end());
}

Lines Stripped(Lines lines) {
  for (std::string& line : lines) line = metrics::Strip(line);
  return lines;
}

// A text, or a list of lines.
absl::StatusOr<std::string> TextOf(const json& value, const char* what) {
  if (value.is_string()) return value.get<std::string>();
  const bool texts = value.is_array() && std::all_of(value.begin(), value.end(),
                                                     [](const json& line) {
                                                       return line.is_string();
                                                     });
  if (texts) return absl::StrJoin(value.get<Lines>(), "\n");
  return absl::InvalidArgumentError(
      absl::StrCat("a test on standard input whose ", what,
                   " is not a text or a list of texts: ", value.type_name()));
}

}  // namespace

int64_t ApproximateTokens(absl::string_view code) {
  return static_cast<int64_t>(code.size()) / 3;
}

std::string ProgramText(const Task& task, absl::string_view code,
                        ProgramForm form) {
  std::string text = "import sys\n";
  if (task.fn_name.has_value()) {
    absl::StrAppend(&text, code);
  } else if (form == ProgramForm::kScript) {
    return std::string(code);
  } else {
    bool in_function = false;
    for (const absl::string_view line : absl::StrSplit(code, '\n')) {
      const bool import =
          absl::StartsWith(line, "from ") || absl::StartsWith(line, "import ");
      if (!import && !in_function) {
        absl::StrAppend(&text,
                        "stdin = sys.stdin\nstdout = sys.stdout\n"
                        "def code():\n");
        in_function = true;
      }
      absl::StrAppend(&text, in_function ? "\t" : "", line, "\n");
    }
  }
  return absl::StrReplaceAll(text, {{"__main__", "tmp_sol"}});
}

bool OutputMatches(absl::string_view output, absl::string_view expected) {
  Lines lines;
  for (const absl::string_view line :
       metrics::SplitLines(output, metrics::LineEnds::kDrop)) {
    lines.emplace_back(line);
  }
  const std::string wanted = metrics::Strip(expected);
  if (metrics::Strip(absl::StrJoin(lines, "\n")) == wanted ||
      metrics::Strip(absl::StrJoin(Stripped(lines), "\n")) == wanted ||
      lines == Lines{std::string(expected)}) {
    return true;
  }

  Lines wanted_lines = absl::StrSplit(expected, '\n');
  DropEmpty(&wanted_lines);
  wanted_lines = Stripped(std::move(wanted_lines));
  if (lines == wanted_lines) return true;
  DropEmpty(&lines);
  if (lines == wanted_lines) return true;

  const auto numbers = PythonFloats(lines);
  const auto wanted_numbers = PythonFloats(wanted_lines);
  if (numbers.has_value() && wanted_numbers.has_value() &&
      AllClose(*numbers, *wanted_numbers)) {
    return true;
  }

  const WordSets sets = SetsOfWords(lines, /*drop_empty=*/true);
  const WordSets wanted_sets = SetsOfWords(wanted_lines, /*drop_empty=*/false);
  if (sets == wanted_sets) return true;
  const auto number_sets = SetsOfNumbers(sets);
  return number_sets.has_value() && number_sets == SetsOfNumbers(wanted_sets);
}

bool IsBreakdown(absl::string_view code, const HarnessOptions& options) {
  return options.count_tokens(code) >= options.max_tokens;
}

absl::StatusOr<exec::ExecRequest> RequestOf(const ProgramRun& run,
                                            const HarnessOptions& options) {
  const bool calls = run.task->fn_name.has_value();
  json job = {
      {"program", ProgramText(*run.task, run.code, options.form)},
      {"calls", calls},
      {"function", run.task->fn_name.value_or("code")},
      {"in_class", calls && absl::StrContains(run.code, "class Solution")},
      {"as_script", !calls && options.form == ProgramForm::kScript},
      {"guard", options.guard},
      {"test_seconds", absl::ToDoubleSeconds(options.test_limit)}};
  if (calls) {
    if (!run.test->input.is_array()) {
      return absl::InvalidArgumentError(
          absl::StrCat("a test of ", *run.task->fn_name,
                       " whose input is no list of arguments: ",
                       run.test->input.type_name()));
    }
    job["input"] = run.test->input;
    job["expected"] = run.test->expected;
  } else {
    REPRO_ASSIGN_OR_RETURN(job["input"], TextOf(run.test->input, "input"));
    REPRO_RETURN_IF_ERROR(
        TextOf(run.test->expected, "expected output").status());
  }
  exec::ExecRequest request;
  request.program = kDriverSource;
  // What is not UTF-8 is of no program that Python reads.
  request.files = {
      {"job.json", job.dump(-1, ' ', /*ensure_ascii=*/true,
                            nlohmann::json::error_handler_t::replace)}};
  request.limits.wall = options.global_limit;
  // The wall clock decides, as for the authors.
  request.limits.cpu = 2 * options.global_limit;
  request.limits.memory_bytes = options.memory_bytes;
  request.limits.output_bytes = int64_t{64} << 20;
  return request;
}

absl::StatusOr<JudgedRun> VerdictOf(const exec::ExecResult& result,
                                    const ProgramRun& run) {
  REPRO_RETURN_IF_ERROR(exec::RunStatus(result));
  const absl::string_view stdout_text = result.stdout_text;
  // The driver's report is the last line; what stands above it is none of it.
  const auto report =
      ParseJson(stdout_text.substr(stdout_text.rfind('\n') + 1), "report");
  JudgedRun judged;
  if (!report.ok() || !report->is_object() || !report->contains("seconds")) {
    const bool memory = result.outcome == exec::Outcome::kMemory;
    judged.verdict = memory ? "MemoryError" : kNoAnswer;
    judged.message = result.message;
    return judged;
  }
  try {
    judged.elapsed = absl::Seconds(report->at("seconds").get<double>());
    if (report->contains("error")) {
      judged.verdict = report->at("error").get<std::string>();
      judged.message = report->at("message").get<std::string>();
      return judged;
    }
    bool matches = false;
    if (run.task->fn_name.has_value()) {
      matches = report->at("matches").get<bool>();
    } else {
      REPRO_ASSIGN_OR_RETURN(const std::string expected,
                             TextOf(run.test->expected, "expected output"));
      matches =
          OutputMatches(report->at("output").get<std::string>(), expected);
    }
    judged.verdict = matches ? kCorrect : kLogicDeviation;
  } catch (const json::exception&) {
    // Written by the program, not by the driver.
    judged.verdict = kNoAnswer;
  }
  return judged;
}

absl::StatusOr<std::vector<JudgedRun>> JudgeAll(
    const exec::Sandbox& sandbox, const std::vector<ProgramRun>& runs,
    const HarnessOptions& options, int workers,
    const std::function<bool(int done, int total)>& progress) {
  std::vector<JudgedRun> judged(runs.size());
  std::vector<exec::ExecRequest> requests;
  std::vector<size_t> indices;
  for (size_t i = 0; i < runs.size(); ++i) {
    if (IsBreakdown(runs[i].code, options)) {
      judged[i].verdict = kLogicBreakdown;
      continue;
    }
    REPRO_ASSIGN_OR_RETURN(requests.emplace_back(),
                           RequestOf(runs[i], options));
    indices.push_back(i);
  }
  REPRO_ASSIGN_OR_RETURN(const std::vector<exec::ExecResult> results,
                         sandbox.RunAll(requests, workers, progress));
  for (size_t i = 0; i < results.size(); ++i) {
    REPRO_ASSIGN_OR_RETURN(judged[indices[i]],
                           VerdictOf(results[i], runs[indices[i]]));
  }
  return judged;
}

}  // namespace repro::code_halu
