#include "papers/code_tree/visible_tests.h"

#include <cstddef>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "common/status/macros.h"
#include "common/text/utf8.h"

namespace repro::code_tree {
namespace {

using exec::ExecRequest;
using exec::ExecResult;
using exec::Outcome;

bool DoesNotCompile(const ExecResult& result) {
  return result.outcome == Outcome::kException &&
         (result.exception_type == "SyntaxError" ||
          result.exception_type == "IndentationError" ||
          result.exception_type == "TabError");
}

// A Python string literal. JSON's escapes mean the same in Python as long as
// characters beyond ASCII stay as they are.
std::string PythonString(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', /*ensure_ascii=*/false,
                                   nlohmann::json::error_handler_t::replace);
}

// Prints the left side of an assert's comparison, or what it asserts.
std::string PrintLeftSide(const std::string& assertion) {
  return absl::StrCat("import ast as _ast\n_test = _ast.parse(",
                      PythonString(assertion),
                      ").body[0].test\n"
                      "print(eval(compile(_ast.Expression(getattr(_test, "
                      "'left', _test)), '<assert>', 'eval')))\n");
}

std::string FirstCharacters(absl::string_view text, int count) {
  size_t end = 0;
  for (int i = 0; i < count && end < text.size(); ++i) {
    NextCodePoint(text, &end);
  }
  return std::string(text.substr(0, end));
}

std::string WhatHappened(const ExecResult& result) {
  std::string text;
  switch (result.outcome) {
    case Outcome::kTime:
      return "the program ran out of time";
    case Outcome::kMemory:
      return "the program ran out of memory";
    case Outcome::kOutputLimit:
      return "the program printed too much";
    case Outcome::kException:
      text = absl::StrCat(result.exception_type, ": ", result.message, "\n");
      break;
    default:
      break;
  }
  absl::StrAppend(&text, absl::StripAsciiWhitespace(result.stdout_text));
  return text;
}

// The tests by whether they passed, each with what is to be said of it.
std::string Describe(const std::vector<std::string>& passed,
                     const std::vector<std::string>& failed,
                     int max_characters) {
  std::string text;
  if (!passed.empty()) {
    absl::StrAppend(&text, "Passed:\n", absl::StrJoin(passed, "\n"), "\n");
  }
  if (!failed.empty()) {
    absl::StrAppend(&text, "Failed:\n", absl::StrJoin(failed, "\n"), "\n");
  }
  return FirstCharacters(ReplaceInvalidUtf8(text), max_characters);
}

Feedback NotCompiled(const ExecResult& result, int total, int max_characters) {
  Feedback feedback;
  feedback.total = total;
  feedback.compiles = false;
  feedback.text =
      FirstCharacters(ReplaceInvalidUtf8(absl::StrCat(result.exception_type,
                                                      ": ", result.message)),
                      max_characters);
  return feedback;
}

double Share(int passed, int total) {
  return total == 0 ? 1.0 : static_cast<double>(passed) / total;
}

}  // namespace

const char kImports[] =
    "from typing import *\n"
    "from collections import *\n"
    "import math\n"
    "import sys\n"
    "import random\n"
    "import re\n"
    "import itertools, functools, bisect, heapq, string\n";

SandboxTestRunner::SandboxTestRunner(const exec::Sandbox* sandbox,
                                     const VisibleTestOptions& options)
    : sandbox_(sandbox), options_(options) {}

ExecRequest SandboxTestRunner::Request(const Problem& problem,
                                       const std::string& program) const {
  ExecRequest request;
  request.program = absl::StrCat(
      kImports, options_.as_coded ? "" : problem.preamble, "\n", program, "\n");
  request.limits.cpu = options_.cpu;
  request.limits.wall = options_.wall;
  request.limits.memory_bytes = options_.memory_bytes;
  return request;
}

absl::StatusOr<Feedback> SandboxTestRunner::Run(const Problem& problem,
                                                const std::string& program) {
  return problem.reads_stdin() ? RunStdin(problem, program)
                               : RunAsserts(problem, program);
}

absl::StatusOr<Feedback> SandboxTestRunner::RunAsserts(
    const Problem& problem, const std::string& program) const {
  const std::vector<std::string>& asserts = problem.asserts;
  Feedback feedback;
  feedback.total = static_cast<int>(asserts.size());
  ExecRequest request = Request(problem, program);
  request.mode = exec::Mode::kTests;
  if (options_.together_first) {
    request.tests = absl::StrJoin(asserts, "\n");
    const ExecResult result = sandbox_->Run(request);
    REPRO_RETURN_IF_ERROR(exec::RunStatus(result));
    if (DoesNotCompile(result)) {
      return NotCompiled(result, feedback.total, options_.max_characters);
    }
    if (result.outcome == Outcome::kPassed) {
      feedback.passed = feedback.total;
      feedback.reward = 1;
      feedback.text = Describe(asserts, {}, options_.max_characters);
      return feedback;
    }
  }

  std::vector<ExecRequest> requests(asserts.size(), request);
  for (size_t i = 0; i < asserts.size(); ++i) requests[i].tests = asserts[i];
  REPRO_ASSIGN_OR_RETURN(const std::vector<ExecResult> results,
                         sandbox_->RunAll(requests, options_.workers));
  std::vector<ExecRequest> again;
  for (size_t i = 0; i < results.size(); ++i) {
    if (DoesNotCompile(results[i])) {
      return NotCompiled(results[i], feedback.total, options_.max_characters);
    }
    if (results[i].outcome == Outcome::kPassed) continue;
    ExecRequest print = Request(problem, program);
    absl::StrAppend(&print.program, PrintLeftSide(asserts[i]));
    again.push_back(std::move(print));
  }
  REPRO_ASSIGN_OR_RETURN(const std::vector<ExecResult> outputs,
                         sandbox_->RunAll(again, options_.workers));
  std::vector<std::string> passed, failed;
  for (size_t i = 0; i < results.size(); ++i) {
    if (results[i].outcome == Outcome::kPassed) {
      passed.push_back(asserts[i]);
      continue;
    }
    const ExecResult& output = outputs[failed.size()];
    failed.push_back(absl::StrCat(
        asserts[i], "  # the program gives: ", WhatHappened(output)));
  }
  feedback.passed = static_cast<int>(passed.size());
  feedback.reward = Share(feedback.passed, feedback.total);
  feedback.text = Describe(passed, failed, options_.max_characters);
  return feedback;
}

absl::StatusOr<Feedback> SandboxTestRunner::RunStdin(
    const Problem& problem, const std::string& program) const {
  const std::vector<StdinTest>& tests = problem.stdin_tests;
  std::vector<ExecRequest> requests(tests.size(), Request(problem, program));
  for (size_t i = 0; i < tests.size(); ++i) {
    requests[i].stdin_text = tests[i].input;
  }
  REPRO_ASSIGN_OR_RETURN(const std::vector<ExecResult> results,
                         sandbox_->RunAll(requests, options_.workers));
  Feedback feedback;
  feedback.total = static_cast<int>(tests.size());
  std::vector<std::string> passed, failed;
  for (size_t i = 0; i < tests.size(); ++i) {
    if (DoesNotCompile(results[i])) {
      return NotCompiled(results[i], feedback.total, options_.max_characters);
    }
    const absl::string_view expected =
        absl::StripAsciiWhitespace(tests[i].output);
    std::string text =
        absl::StrCat("Input:\n", absl::StripAsciiWhitespace(tests[i].input),
                     "\nExpected output:\n", expected);
    if (results[i].outcome == Outcome::kPassed &&
        absl::StripAsciiWhitespace(results[i].stdout_text) == expected) {
      passed.push_back(std::move(text));
    } else {
      failed.push_back(absl::StrCat(text, "\nThe program's output:\n",
                                    WhatHappened(results[i])));
    }
  }
  feedback.passed = static_cast<int>(passed.size());
  feedback.reward = options_.as_coded && !failed.empty()
                        ? 0
                        : Share(feedback.passed, feedback.total);
  feedback.text = Describe(passed, failed, options_.max_characters);
  return feedback;
}

}  // namespace repro::code_tree
