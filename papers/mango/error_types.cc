#include "papers/mango/error_types.h"

#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/code/language.h"
#include "common/code/syntax_tree.h"
#include "common/data/io.h"
#include "common/data/json_record.h"
#include "common/status/macros.h"

namespace repro::mango {
namespace {

using code::SyntaxNode;

constexpr const char* kMarks[] = {"Test ", "assert fails "};

// The number behind the first mark that one follows.
std::optional<int64_t> LabelNumber(absl::string_view message) {
  size_t first = absl::string_view::npos;
  std::optional<int64_t> number;
  for (const char* mark : kMarks) {
    const absl::string_view text = mark;
    for (size_t at = message.find(text); at < first;
         at = message.find(text, at + 1)) {
      const absl::string_view rest = message.substr(at + text.size());
      const size_t digits = rest.find_first_not_of("0123456789");
      int64_t value = 0;
      if (absl::SimpleAtoi(rest.substr(0, digits), &value)) {
        first = at;
        number = value;
        break;
      }
    }
  }
  return number;
}

bool IsLiteral(SyntaxNode node) {
  const absl::string_view type = node.type();
  return type == "true" || type == "false" || type == "none" ||
         type == "integer" || type == "float" ||
         (type == "string" && !node.ChildByType("interpolation"));
}

// The text of a string without prefix, escapes and other parts.
std::optional<std::string> PlainString(SyntaxNode node) {
  if (node.type() != "string") return std::nullopt;
  std::string content;
  for (const SyntaxNode child : node.children()) {
    if (child.type() == "string_start") {
      if (child.text() != "\"" && child.text() != "'") return std::nullopt;
    } else if (child.type() == "string_content") {
      if (!child.is_leaf()) return std::nullopt;
      absl::StrAppend(&content, child.text());
    } else if (child.type() != "string_end") {
      return std::nullopt;
    }
  }
  return content;
}

}  // namespace

ErrorType TypeOfMessage(absl::string_view message, LabelRule rule) {
  if (rule == LabelRule::kNumber) {
    const std::optional<int64_t> number = LabelNumber(message);
    if (!number.has_value()) return ErrorType::kOther;
    return *number == 1 ? ErrorType::kFirstTest : ErrorType::kLaterTest;
  }
  if (absl::StrContains(message, "Test 1") ||
      absl::StrContains(message, "assert fails 1")) {
    return ErrorType::kFirstTest;
  }
  return absl::StrContains(message, "Test ") ||
                 absl::StrContains(message, "assert fails")
             ? ErrorType::kLaterTest
             : ErrorType::kOther;
}

ErrorCounts CountErrors(const std::vector<SampleResult>& results,
                        LabelRule rule) {
  std::set<std::string> solved;
  for (const SampleResult& result : results) {
    if (result.passed) solved.insert(result.task_id);
  }
  ErrorCounts counts;
  counts.samples = static_cast<int64_t>(results.size());
  for (const SampleResult& result : results) {
    counts.passed += result.passed;
    if (solved.count(result.task_id) > 0) continue;
    ++counts.failed[TypeOfMessage(result.message, rule)];
  }
  return counts;
}

absl::StatusOr<std::vector<TestAssert>> FindAsserts(const std::string& test) {
  REPRO_ASSIGN_OR_RETURN(
      const code::SyntaxTree tree,
      code::SyntaxTree::Parse(code::CodeLanguage::kPython, test));
  if (tree.error_count() > 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("a test that does not parse: ", Quoted(test)));
  }
  std::vector<TestAssert> asserts;
  for (const SyntaxNode node : tree.nodes()) {
    if (node.type() != "assert_statement") continue;
    std::vector<SyntaxNode> parts;
    for (const SyntaxNode child : node.children()) {
      if (child.is_named() && !child.is_extra()) parts.push_back(child);
    }
    if (parts.empty() || parts.size() > 2) {
      return absl::InvalidArgumentError(
          absl::StrCat("an assert of ", parts.size(),
                       " parts: ", Quoted(std::string(node.text()))));
    }
    TestAssert one;
    one.condition = std::string(parts[0].text());
    one.literal = IsLiteral(parts[0]);
    one.message_begin = parts[0].end_byte();
    one.message_end = parts.back().end_byte();
    one.has_message = parts.size() == 2;
    if (one.has_message) one.message = PlainString(parts[1]);
    asserts.push_back(std::move(one));
  }
  return asserts;
}

absl::StatusOr<std::string> WithUniformLabels(const std::string& test) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<TestAssert> asserts,
                         FindAsserts(test));
  std::string labelled;
  size_t begin = 0;
  int64_t number = 0;
  for (const TestAssert& one : asserts) {
    if (one.literal) continue;
    absl::StrAppend(&labelled, test.substr(begin, one.message_begin - begin),
                    ", \"Test ", ++number, "\"");
    begin = one.message_end;
  }
  absl::StrAppend(&labelled, test.substr(begin));
  return labelled;
}

absl::StatusOr<std::map<std::string, std::string>> ReadLabelledTests(
    const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines, ReadRecords(path));
  std::map<std::string, std::string> tests;
  for (const JsonLine& line : lines) {
    const JsonRecord record(line, path);
    REPRO_ASSIGN_OR_RETURN(const std::string id, record.Text("task_id"));
    REPRO_ASSIGN_OR_RETURN(std::string test, record.Text("test"));
    if (!tests.emplace(id, std::move(test)).second) {
      return record.Error(absl::StrCat("task_id ", Quoted(id), " comes twice"));
    }
  }
  return tests;
}

absl::StatusOr<std::vector<SampleResult>> JudgeAll(
    const exec::Sandbox& sandbox, const std::vector<TestedProgram>& programs,
    int workers, const std::function<bool(int done, int total)>& progress) {
  std::vector<exec::ExecRequest> requests;
  for (const TestedProgram& program : programs) {
    exec::ExecRequest& request = requests.emplace_back();
    request.program = program.program;
    request.mode = exec::Mode::kTests;
    request.tests = program.tests;
    // Processor time decides, so that a busy machine gives the same verdicts.
    request.limits.cpu = absl::Seconds(10);
    request.limits.wall = absl::Seconds(60);
    request.limits.memory_bytes = int64_t{1} << 30;
  }
  REPRO_ASSIGN_OR_RETURN(const std::vector<exec::ExecResult> results,
                         sandbox.RunAll(requests, workers, progress));
  std::vector<SampleResult> judged;
  for (size_t i = 0; i < results.size(); ++i) {
    judged.push_back({programs[i].task_id,
                      results[i].outcome == exec::Outcome::kPassed,
                      results[i].message});
  }
  return judged;
}

}  // namespace repro::mango
