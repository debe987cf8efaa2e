#include "papers/rank_ef/execution.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/status/macros.h"
#include "common/text/utf8.h"

namespace repro::rank_ef {
namespace {

constexpr char kMismatchType[] = "OutputMismatch";

// Defines what a check raises, and how the tests' asserts become such checks.
constexpr char kInstrument[] = R"python(
class OutputMismatch(Exception):
    pass


def __check_equal(got, expected):
    if not got == expected:
        raise OutputMismatch(f"Expected {expected!r}, but got {got!r}")


def __check_true(value, index):
    if not value:
        raise OutputMismatch(f"Check {index} is false")


def __instrument(source):
    import ast

    class Instrument(ast.NodeTransformer):
        index = -1

        def visit_Assert(self, node):
            self.index += 1
            test = node.test
            if (isinstance(test, ast.Compare) and len(test.ops) == 1
                    and isinstance(test.ops[0], ast.Eq)):
                name, arguments = "__check_equal", [test.left, test.comparators[0]]
            else:
                name, arguments = "__check_true", [test, ast.Constant(self.index)]
            call = ast.Call(ast.Name(name, ast.Load()), arguments, [])
            return ast.copy_location(ast.Expr(call), node)

    tree = Instrument().visit(ast.parse(source))
    return compile(ast.fix_missing_locations(tree), "checks", "exec")

)python";

std::string CutToCharacters(absl::string_view text, int64_t max_characters) {
  size_t at = 0;
  for (int64_t i = 0; i < max_characters && at < text.size(); ++i) {
    NextCodePoint(text, &at);
  }
  return ReplaceInvalidUtf8(text.substr(0, at));
}

// The last line of the program that a traceback names; kUnknownLine if none.
int64_t LastProgramLine(absl::string_view traceback,
                        const exec::Language& language) {
  const std::string frame =
      absl::StrCat("File \"/tmp/", language.file_name, "\", line ");
  const size_t at = traceback.rfind(frame);
  if (at == absl::string_view::npos) return kUnknownLine;
  absl::string_view rest = traceback.substr(at + frame.size());
  rest = rest.substr(0, rest.find_first_not_of("0123456789"));
  int64_t line = 0;
  return absl::SimpleAtoi(rest, &line) ? line : kUnknownLine;
}

// Without " (main.py, line 3)", which Python puts behind what it says of syntax
// and which the line's number and text say already.
std::string MessageOf(absl::string_view message,
                      const exec::Language& language) {
  const size_t at =
      message.rfind(absl::StrCat(" (", language.file_name, ", line "));
  return std::string(absl::EndsWith(message, ")") ? message.substr(0, at)
                                                  : message);
}

// "json.decoder.JSONDecodeError" as its own name.
std::string ClassName(absl::string_view qualified) {
  return std::string(qualified.substr(qualified.rfind('.') + 1));
}

// A Python expression of that text.
std::string PythonText(absl::string_view text) {
  return absl::StrCat("b\"", absl::CHexEscape(text), "\".decode()");
}

}  // namespace

exec::ExecRequest FeedbackRequest(const Execution& execution,
                                  const ExecutionOptions& options) {
  exec::ExecRequest request;
  request.mode = exec::Mode::kTests;
  request.program =
      absl::StrCat(execution.problem->prompt, execution.completion);
  // In the program's globals, whose functions the checks may call.
  request.tests = absl::StrCat(
      kInstrument, "exec(__instrument(", PythonText(execution.problem->test),
      "), globals())\ncheck(globals()[",
      PythonText(execution.problem->entry_point), "])\n");
  request.limits.cpu = options.time_limit;
  request.limits.wall = 10 * options.time_limit;
  request.limits.memory_bytes = options.memory_bytes;
  return request;
}

absl::StatusOr<Feedback> FeedbackOfRun(const exec::ExecResult& result,
                                       absl::string_view program,
                                       const ExecutionOptions& options) {
  Feedback feedback;
  feedback.label = FeedbackClass::kExecutionError;
  switch (result.outcome) {
    case exec::Outcome::kPassed:
      return Feedback();
    case exec::Outcome::kCancelled:
    case exec::Outcome::kSandboxError:
      return exec::RunStatus(result);
    case exec::Outcome::kTime:
      feedback.error_type = "TimeoutException";
      return feedback;
    case exec::Outcome::kMemory:
      feedback.error_type = "MemoryError";
      return feedback;
    case exec::Outcome::kOutputLimit:
      feedback.error_type = "OutputLimit";
      return feedback;
    case exec::Outcome::kKilled:
      feedback.error_type = "Killed";
      feedback.error_message = result.message;
      return feedback;
    case exec::Outcome::kWrong:
      // An assert of the program, or an end before the tests' end.
      feedback.error_type =
          result.exception_type.empty() ? "SystemExit" : result.exception_type;
      break;
    case exec::Outcome::kException:
      feedback.error_type = ClassName(result.exception_type);
      break;
  }
  const exec::Language python = exec::Language::Python();
  feedback.error_message = CutToCharacters(MessageOf(result.message, python),
                                           options.max_characters);
  if (feedback.error_type == kMismatchType) {
    feedback.label = FeedbackClass::kIntentError;
    return feedback;
  }
  const int64_t number = LastProgramLine(result.stderr_text, python);
  const std::vector<absl::string_view> lines = absl::StrSplit(program, '\n');
  if (number >= 1 && number <= static_cast<int64_t>(lines.size())) {
    feedback.line_number = number;
    feedback.line = CutToCharacters(lines[number - 1], options.max_characters);
  }
  return feedback;
}

absl::StatusOr<std::vector<Feedback>> ExecuteAll(
    const std::vector<Execution>& executions, int workers,
    const ExecutionOptions& options,
    const std::function<bool(int done, int total)>& progress) {
  REPRO_ASSIGN_OR_RETURN(const exec::Sandbox sandbox, exec::Sandbox::Create());
  std::vector<exec::ExecRequest> requests;
  for (const Execution& execution : executions) {
    requests.push_back(FeedbackRequest(execution, options));
  }
  REPRO_ASSIGN_OR_RETURN(const std::vector<exec::ExecResult> results,
                         sandbox.RunAll(requests, workers, progress));
  std::vector<Feedback> feedback;
  for (size_t i = 0; i < results.size(); ++i) {
    REPRO_ASSIGN_OR_RETURN(
        Feedback of_run,
        FeedbackOfRun(results[i], requests[i].program, options));
    feedback.push_back(std::move(of_run));
  }
  return feedback;
}

}  // namespace repro::rank_ef
