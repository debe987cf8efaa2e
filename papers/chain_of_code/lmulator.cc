#include "papers/chain_of_code/lmulator.h"

#include <algorithm>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/data/io.h"
#include "common/status/macros.h"
#include "papers/chain_of_code/driver_source.h"

namespace repro::chain_of_code {
namespace {

using nlohmann::json;

// What driver.py says of one run.
struct Report {
  enum class Event { kAnswer, kAsk, kError, kFailed };
  Event event = Event::kFailed;
  std::string text;  // the answer, the trace's tail, or what went wrong
  int line = -1;     // kError: of the program, from 0
  int visits = 0;    // questions that the run came to, answered ones included
  std::vector<std::string> trace;  // kAnswer
};

Report Failed(std::string why) {
  Report report;
  report.text = std::move(why);
  return report;
}

// The program shares an interpreter with the driver, so what it reports is
// checked like any other untrusted text.
Report ParseReport(const std::string& text, int num_lines) {
  const json value = json::parse(text, nullptr, false);
  if (!value.is_object()) return Failed("the program ended the interpreter");
  const auto string_field = [&](const char* name) {
    const auto at = value.find(name);
    return at != value.end() && at->is_string() ? at->get<std::string>()
                                                : std::string();
  };
  const auto int_field = [&](const char* name) {
    const auto at = value.find(name);
    const bool fits = at != value.end() && at->is_number_integer() &&
                      *at >= 0 && *at <= 1000000000;
    return fits ? at->get<int>() : -1;
  };
  Report report;
  report.visits = std::max(0, int_field("visits"));
  const std::string event = string_field("event");
  if (event == "answer") {
    report.event = Report::Event::kAnswer;
    report.text = string_field("answer");
    const auto trace = value.find("trace");
    if (trace != value.end() && trace->is_array()) {
      for (const json& line : *trace) {
        if (line.is_string()) report.trace.push_back(line.get<std::string>());
      }
    }
    return report;
  }
  if (event == "ask") {
    report.event = Report::Event::kAsk;
    report.text = string_field("tail");
    return report;
  }
  if (event == "error") {
    report.line = int_field("line");
    report.text = string_field("message");
    if (report.line < 0 || report.line >= num_lines) {
      return Failed("the report names no line of the program");
    }
    report.event = Report::Event::kError;
    return report;
  }
  if (event != "failed") return Failed("the report is not readable");
  const std::string message = string_field("message");
  report.text = string_field("reason");
  if (!message.empty()) absl::StrAppend(&report.text, ": ", message);
  return report;
}

absl::StatusOr<Report> RunDriver(const exec::Sandbox& sandbox,
                                 const LmulatorOptions& options, bool traced,
                                 absl::string_view program,
                                 const std::vector<int>& lm_lines,
                                 const Replies& replies, Execution& execution) {
  const json job = {{"program", program},
                    {"traced", traced},
                    {"lm_lines", lm_lines},
                    {"replies", json::object_t(replies.begin(), replies.end())},
                    {"as_coded", options.behaviour == Behaviour::kAsCoded},
                    {"context_lines", options.context_lines},
                    {"max_steps", options.max_steps},
                    {"max_tail_characters", options.max_tail_characters},
                    {"max_trace_lines", options.max_trace_lines}};
  exec::ExecRequest request;
  request.program = kDriverSource;
  request.files.push_back(
      {"job.json", job.dump(-1, ' ', true, json::error_handler_t::replace)});
  request.limits = options.sandbox;
  ++execution.sandbox_runs;
  const exec::ExecResult result = sandbox.Run(request);
  switch (result.outcome) {
    case exec::Outcome::kPassed:
      break;
    case exec::Outcome::kSandboxError:
    case exec::Outcome::kCancelled:
      return exec::RunStatus(result);
    default:
      return Failed(absl::StrCat(
          "the program was ended: ", exec::OutcomeName(result.outcome), " ",
          result.exception_type));
  }
  const auto num_lines = std::count(program.begin(), program.end(), '\n') + 1;
  return ParseReport(result.stdout_text, static_cast<int>(num_lines));
}

}  // namespace

const char* VariantName(Variant variant) {
  switch (variant) {
    case Variant::kInterweave:
      return "Interweave";
    case Variant::kTryPythonExceptLmState:
      return "try Python except LM state";
    case Variant::kTryPythonExceptLm:
      return "try Python except LM";
    case Variant::kPython:
      return "Python";
    case Variant::kLmState:
      return "LM state";
    case Variant::kLm:
      return "LM";
  }
  return "?";
}

std::vector<Variant> AllVariants() {
  return {Variant::kInterweave,        Variant::kTryPythonExceptLmState,
          Variant::kTryPythonExceptLm, Variant::kPython,
          Variant::kLmState,           Variant::kLm};
}

std::string PythonLiteral(absl::string_view text) {
  // Every JSON string whose characters beyond ASCII are left as they are is
  // also a Python string literal.
  return json(std::string(text))
      .dump(-1, ' ', false, json::error_handler_t::replace);
}

absl::StatusOr<Execution> Lmulator::Execute(
    Variant variant, const std::vector<Example>& examples,
    absl::string_view question, absl::string_view program,
    Replies* replies) const {
  Execution execution;
  Replies own;
  switch (variant) {
    case Variant::kInterweave:
      REPRO_RETURN_IF_ERROR(
          Interweave(program, replies != nullptr ? *replies : own, execution));
      break;
    case Variant::kTryPythonExceptLmState:
    case Variant::kTryPythonExceptLm:
    case Variant::kPython:
      REPRO_RETURN_IF_ERROR(RunPython(program, execution));
      break;
    case Variant::kLmState:
    case Variant::kLm:
      break;
  }
  if (execution.answered || variant == Variant::kPython) return execution;
  if (variant == Variant::kInterweave &&
      options_.behaviour == Behaviour::kAsCoded) {
    return execution;
  }
  const bool writes_trace = variant == Variant::kTryPythonExceptLmState ||
                            variant == Variant::kLmState;
  REPRO_RETURN_IF_ERROR(AskForAnswer(
      writes_trace ? TracePrompt(examples, question, program)
                   : AnswerPrompt(examples, question, program),
      writes_trace ? kTraceTokens : kAnswerTokens, writes_trace, execution));
  return execution;
}

absl::Status Lmulator::Interweave(absl::string_view program, Replies& replies,
                                  Execution& execution) const {
  while (execution.rounds < options_.max_rounds) {
    ++execution.rounds;
    Report report;
    for (;;) {
      REPRO_ASSIGN_OR_RETURN(
          report, RunDriver(sandbox_, options_, /*traced=*/true, program,
                            execution.lm_lines, replies, execution));
      if (report.event != Report::Event::kAsk) break;
      if (execution.lm_requests >= options_.max_questions) {
        execution.failure =
            absl::StrCat("more than ", options_.max_questions, " questions");
        return absl::OkStatus();
      }
      // "# TRACE END" follows a program's last state in the worked trace.
      REPRO_ASSIGN_OR_RETURN(
          std::string reply,
          Ask(StatePrompt(options_.worked_trace, report.text), kStateTokens,
              {"\nline:", absl::StrCat("\n", kTraceEnd)}, execution));
      if (static_cast<int64_t>(reply.size()) > options_.max_reply_bytes) {
        execution.failure = absl::StrCat("a reply of ", reply.size(),
                                         " bytes, more than the limit of ",
                                         options_.max_reply_bytes);
        return absl::OkStatus();
      }
      replies[report.text] = std::move(reply);
    }
    execution.lm_calls += report.visits;
    switch (report.event) {
      case Report::Event::kAnswer:
        execution.answered = true;
        execution.answer = std::move(report.text);
        execution.failure.clear();
        execution.trace = std::move(report.trace);
        return absl::OkStatus();
      case Report::Event::kError:
        execution.lm_lines.push_back(report.line);
        execution.failure = std::move(report.text);
        break;
      default:
        execution.failure = std::move(report.text);
        return absl::OkStatus();
    }
  }
  execution.failure = absl::StrCat("no answer in ", options_.max_rounds,
                                   " rounds; last: ", execution.failure);
  return absl::OkStatus();
}

absl::Status Lmulator::RunPython(absl::string_view program,
                                 Execution& execution) const {
  ++execution.rounds;
  REPRO_ASSIGN_OR_RETURN(
      Report report, RunDriver(sandbox_, options_, /*traced=*/false, program,
                               {}, {}, execution));
  execution.answered = report.event == Report::Event::kAnswer;
  (execution.answered ? execution.answer : execution.failure) =
      std::move(report.text);
  return absl::OkStatus();
}

absl::Status Lmulator::AskForAnswer(const std::string& prompt,
                                    int64_t max_tokens, bool whole_text,
                                    Execution& execution) const {
  ++execution.lm_calls;
  const std::vector<std::string> stop = {whole_text ? "\n\nQ:" : "\n"};
  REPRO_ASSIGN_OR_RETURN(const std::string reply,
                         Ask(prompt, max_tokens, stop, execution));
  if (whole_text) {
    const absl::StatusOr<std::string> answer = ExtractAnswer(reply);
    execution.answered = answer.ok();
    if (answer.ok()) execution.answer = *answer;
  } else {
    absl::string_view answer = absl::StripAsciiWhitespace(reply);
    absl::ConsumePrefix(&answer, kAnswer);  // chat models begin again
    execution.answer = std::string(absl::StripAsciiWhitespace(answer));
    execution.answered = !execution.answer.empty();
  }
  execution.answer_by_lm = execution.answered;
  return absl::OkStatus();
}

absl::StatusOr<std::string> Lmulator::Ask(const std::string& prompt,
                                          int64_t max_tokens,
                                          std::vector<std::string> stop,
                                          Execution& execution) const {
  ++execution.lm_requests;
  REPRO_ASSIGN_OR_RETURN(
      const completion::Completion completion,
      client_.Complete(
          GreedyRequest(prompt, max_tokens, std::move(stop), options_.chat)));
  if (completion.choices.empty()) {
    return absl::DataLossError(
        absl::StrCat(client_.name(), " answered without a choice"));
  }
  return completion.choices.front().text;
}

}  // namespace repro::chain_of_code
