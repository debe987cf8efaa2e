#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "common/data/io.h"
#include "common/exec/hostile.h"
#include "common/exec/sandbox.h"
#include "common/status/macros.h"
#include "tools/commands.h"

namespace repro {
namespace {

// "-": the standard input.
absl::StatusOr<std::string> ReadInput(const std::string& path) {
  return ReadFile(path == "-" ? "/dev/stdin" : path);
}

// "500ms", "2s", "1.5s", "1m"; a number alone is in seconds.
absl::StatusOr<absl::Duration> ParseTime(const std::string& flag,
                                         const std::string& text) {
  absl::Duration duration;
  double seconds = 0;
  if (absl::SimpleAtod(text, &seconds)) {
    duration = absl::Seconds(seconds);
  } else if (!absl::ParseDuration(text, &duration)) {
    duration = absl::ZeroDuration();
  }
  if (duration <= absl::ZeroDuration() || duration > absl::Hours(24)) {
    return absl::InvalidArgumentError(absl::StrCat(
        flag, ": \"", text,
        "\" is not a time such as 500ms, 2s or 1m, of at most 24h"));
  }
  return duration;
}

// "65536", "64K", "256M", "2G", in powers of 1024.
absl::StatusOr<int64_t> ParseSize(const std::string& flag, std::string text) {
  const std::string given = text;
  int shift = 0;
  if (!text.empty()) {
    const size_t unit = std::string("KMG").find(text.back());
    if (unit != std::string::npos) {
      shift = 10 * static_cast<int>(unit + 1);
      text.pop_back();
    }
  }
  int64_t number = 0;
  constexpr int64_t kMost = int64_t{1} << 40;
  if (!absl::SimpleAtoi(text, &number) || number <= 0 ||
      number > (kMost >> shift)) {
    return absl::InvalidArgumentError(absl::StrCat(
        flag, ": \"", given,
        "\" is not a size such as 65536, 64K, 256M or 2G, of at most 1024G"));
  }
  return number << shift;
}

// Text of an untrusted program as JSON can hold it: invalid UTF-8 is replaced.
std::string Dump(const nlohmann::ordered_json& json) {
  return json.dump(2, ' ', /*ensure_ascii=*/false,
                   nlohmann::json::error_handler_t::replace);
}

nlohmann::ordered_json ToJson(const exec::ExecResult& result) {
  nlohmann::ordered_json json;
  json["outcome"] = exec::OutcomeName(result.outcome);
  json["exception_type"] = result.exception_type;
  json["message"] = result.message;
  json["exit_code"] = result.exit_code;
  json["signal"] = result.signal;
  json["wall_seconds"] = absl::ToDoubleSeconds(result.wall);
  json["cpu_seconds"] = absl::ToDoubleSeconds(result.cpu);
  json["peak_memory_bytes"] = result.peak_memory_bytes;
  json["stdout"] = result.stdout_text;
  json["stderr"] = result.stderr_text;
  return json;
}

absl::StatusOr<int> RunHostile(const exec::Sandbox& sandbox, Format format) {
  const bool tell = isatty(STDERR_FILENO) != 0;
  size_t done = 0;
  const size_t total = exec::HostilePrograms().size();
  REPRO_ASSIGN_OR_RETURN(
      const std::vector<exec::HostileResult> results,
      exec::RunHostilePrograms(
          sandbox,
          [&](const exec::HostileResult& result) {
            ++done;
            if (tell) {
              std::cerr << absl::StreamFormat("\r%d of %d: %-30s", done, total,
                                              result.program->name)
                        << (done == total ? "\n" : "") << std::flush;
            }
          },
          &g_stop));
  if (g_stop.load()) return absl::CancelledError("interrupted");
  const size_t good = std::count_if(
      results.begin(), results.end(),
      [](const exec::HostileResult& result) { return result.ok(); });
  if (format == Format::kJson) {
    nlohmann::ordered_json rows = nlohmann::ordered_json::array();
    for (const exec::HostileResult& result : results) {
      rows.push_back({{"program", result.program->name},
                      {"attempt", result.program->attempt},
                      {"expected", result.program->expected},
                      {"got", result.got},
                      {"leak", result.leak},
                      {"ok", result.ok()}});
    }
    std::cout << Dump({{"programs", rows}, {"ok", good}, {"total", total}})
              << "\n";
  } else {
    const bool markdown = format == Format::kMarkdown;
    std::cout << (markdown ? "| program | attempt | expected | got | out |\n"
                             "| --- | --- | --- | --- | --- |\n"
                           : "");
    for (const exec::HostileResult& result : results) {
      const std::string leak = result.leak.empty() ? "nothing" : result.leak;
      if (markdown) {
        std::string expected = result.program->expected;
        std::replace(expected.begin(), expected.end(), '|', '/');
        std::cout << "| " << result.program->name << " | "
                  << result.program->attempt << " | " << expected << " | "
                  << result.got << " | " << leak << " |\n";
      } else {
        std::cout << absl::StreamFormat(
            "%-4s %-22s %-56s\n       expected %s; got %s; out: %s\n",
            result.ok() ? "ok" : "BAD", result.program->name,
            result.program->attempt, result.program->expected, result.got,
            leak);
      }
    }
    std::cout << "\n"
              << good << " of " << total
              << " as expected, with nothing out and the next task run\n";
  }
  return good == total ? kExitOk : kExitRegression;
}

}  // namespace

absl::StatusOr<int> ExecCommand(const ExecCommandOptions& options,
                                Format format) {
  exec::Sandbox::Options sandbox_options;
  sandbox_options.cancel = &g_stop;
  exec::ExecRequest request;
  if (!options.hostile) {
    REPRO_ASSIGN_OR_RETURN(request.program, ReadInput(options.file));
    if (!options.stdin_file.empty()) {
      REPRO_ASSIGN_OR_RETURN(request.stdin_text, ReadInput(options.stdin_file));
    }
    if (!options.tests_file.empty()) {
      request.mode = exec::Mode::kTests;
      REPRO_ASSIGN_OR_RETURN(request.tests, ReadInput(options.tests_file));
    }
    REPRO_ASSIGN_OR_RETURN(request.limits.wall,
                           ParseTime("--time", options.time));
    request.limits.cpu = request.limits.wall;
    REPRO_ASSIGN_OR_RETURN(request.limits.memory_bytes,
                           ParseSize("--memory", options.memory));
    REPRO_ASSIGN_OR_RETURN(request.limits.output_bytes,
                           ParseSize("--output", options.output));
    REPRO_ASSIGN_OR_RETURN(request.limits.scratch_bytes,
                           ParseSize("--scratch", options.scratch));
    request.limits.processes = options.processes;
  }
  REPRO_ASSIGN_OR_RETURN(const exec::Sandbox sandbox,
                         exec::Sandbox::Create(sandbox_options));
  if (options.hostile) return RunHostile(sandbox, format);
  const exec::ExecResult result = sandbox.Run(request);
  if (result.outcome == exec::Outcome::kCancelled) {
    return absl::CancelledError("interrupted");
  }
  if (result.outcome == exec::Outcome::kSandboxError) {
    return absl::FailedPreconditionError(result.message);
  }
  std::cout << Dump(ToJson(result)) << "\n";
  return kExitOk;
}

}  // namespace repro
