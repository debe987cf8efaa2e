#include "papers/uscd/released.h"

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/data/json_record.h"
#include "common/status/macros.h"

namespace repro::uscd {
namespace {

constexpr absl::Duration kCpu = absl::Seconds(3);
constexpr absl::Duration kWall = absl::Seconds(60);  // of programs that sleep
constexpr int64_t kMemoryBytes = int64_t{1} << 30;

absl::StatusOr<std::vector<exec::ExecRequest>> Requests(
    const std::vector<HumanEvalProblem>& problems,
    const std::vector<ReleasedText>& texts,
    const std::function<absl::StatusOr<std::string>(
        const HumanEvalProblem&, absl::string_view)>& program_of) {
  std::map<absl::string_view, absl::string_view> by_id;
  for (const ReleasedText& text : texts) by_id[text.task_id] = text.text;
  std::vector<exec::ExecRequest> requests;
  for (const HumanEvalProblem& problem : problems) {
    const auto found = by_id.find(problem.task_id);
    if (found == by_id.end()) {
      return absl::NotFoundError(
          absl::StrCat("no released text of ", problem.task_id));
    }
    REPRO_ASSIGN_OR_RETURN(const std::string program,
                           program_of(problem, found->second));
    requests.push_back(HumanEvalRequest(problem, program));
  }
  return requests;
}

}  // namespace

absl::StatusOr<std::vector<ReleasedText>> ReadReleasedTexts(
    const std::string& path, const char* field) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines, ReadRecords(path));
  std::vector<ReleasedText> texts;
  std::set<std::string> seen;
  for (const JsonLine& line : lines) {
    const JsonRecord record(line, path);
    ReleasedText& text = texts.emplace_back();
    REPRO_ASSIGN_OR_RETURN(text.task_id, record.Text("task_id"));
    REPRO_ASSIGN_OR_RETURN(text.text, record.Text(field));
    if (!seen.insert(text.task_id).second) {
      return record.Error("the same task comes twice");
    }
  }
  return texts;
}

absl::StatusOr<std::string> JoinProgram(absl::string_view prompt,
                                        absl::string_view continuation,
                                        Join join) {
  prompt = absl::StripAsciiWhitespace(prompt);
  if (!absl::EndsWith(prompt, R"(""")") && !absl::EndsWith(prompt, "'''")) {
    return absl::InvalidArgumentError(
        "the prompt does not end with three quotes");
  }
  const bool append =
      join == Join::kAppended ||
      (join == Join::kQuotesKept && absl::StartsWith(continuation, "\n"));
  if (append) return absl::StrCat(prompt, continuation);
  return absl::StrCat(prompt.substr(0, prompt.size() - 3), ">>>", continuation);
}

exec::ExecRequest HumanEvalRequest(const HumanEvalProblem& problem,
                                   absl::string_view program) {
  exec::ExecRequest request;
  request.program = absl::StrCat(program, "\n\n");
  request.mode = exec::Mode::kTests;
  request.tests =
      absl::StrCat(problem.test, "\ncheck(", problem.entry_point, ")\n");
  request.limits.cpu = kCpu;
  request.limits.wall = kWall;
  request.limits.memory_bytes = kMemoryBytes;
  return request;
}

absl::StatusOr<std::vector<exec::ExecRequest>> ContinuationRequests(
    const std::vector<HumanEvalProblem>& problems,
    const std::vector<ReleasedText>& texts, Join join) {
  return Requests(
      problems, texts,
      [join](const HumanEvalProblem& problem,
             absl::string_view text) -> absl::StatusOr<std::string> {
        absl::StatusOr<std::string> program =
            JoinProgram(problem.prompt, text, join);
        if (!program.ok()) {
          return absl::InvalidArgumentError(
              absl::StrCat(problem.task_id, ": ", program.status().message()));
        }
        return program;
      });
}

absl::StatusOr<std::vector<exec::ExecRequest>> ProgramRequests(
    const std::vector<HumanEvalProblem>& problems,
    const std::vector<ReleasedText>& texts) {
  return Requests(problems, texts,
                  [](const HumanEvalProblem&,
                     absl::string_view text) -> absl::StatusOr<std::string> {
                    return std::string(text);
                  });
}

}  // namespace repro::uscd
