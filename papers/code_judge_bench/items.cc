#include "papers/code_judge_bench/items.h"

#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/data/io.h"
#include "common/data/json_record.h"
#include "common/data/jsonl.h"
#include "common/status/macros.h"

namespace repro::code_judge_bench {
namespace {

using nlohmann::json;

bool Has(const json& meta, const char* field) {
  const auto found = meta.find(field);
  return found != meta.end() && !found->is_null();
}

// A text as it is, anything else as JSON.
absl::StatusOr<std::string> Field(const json& meta, const char* field) {
  if (!Has(meta, field)) {
    return absl::InvalidArgumentError(
        absl::StrCat("wrong_meta: field \"", field, "\" is missing"));
  }
  const json& value = meta.at(field);
  return value.is_string()
             ? value.get<std::string>()
             : value.dump(-1, ' ', false, json::error_handler_t::replace);
}

// The titles and fields of an error text, in order.
absl::StatusOr<std::string> Sections(
    const json& meta,
    const std::vector<std::pair<const char*, const char*>>& sections) {
  std::string text;
  for (const auto& [title, field] : sections) {
    REPRO_ASSIGN_OR_RETURN(const std::string value, Field(meta, field));
    absl::StrAppend(&text, "\n", title, *title == '\0' ? "" : ":\n", value);
  }
  return text;
}

absl::StatusOr<json> WrongMeta(const JsonRecord& record) {
  const json* meta = record.Find("wrong_meta");
  if (meta == nullptr) return record.Error("field \"wrong_meta\" is missing");
  if (!meta->is_string()) return *meta;
  json parsed = json::parse(meta->get<std::string>(), nullptr,
                            /*allow_exceptions=*/false);
  if (parsed.is_discarded()) {
    return record.Error("field \"wrong_meta\" is a text that is not JSON");
  }
  return parsed;
}

}  // namespace

const char* TaskName(Task task) {
  switch (task) {
    case Task::kCodeGeneration:
      return "codegen";
    case Task::kCodeRepair:
      return "coderepair";
    case Task::kTestGeneration:
      return "testgen";
  }
  return "";
}

absl::StatusOr<Task> ParseTask(absl::string_view name) {
  for (const Task task : kTasks) {
    if (name == TaskName(task)) return task;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "no task ", Quoted(name), ": codegen, coderepair or testgen"));
}

absl::StatusOr<std::string> ErrorText(const json& wrong_meta) {
  if (!wrong_meta.is_object()) {
    return absl::InvalidArgumentError("wrong_meta is not an object");
  }
  if (!Has(wrong_meta, "error_code") ||
      !wrong_meta.at("error_code").is_number_integer()) {
    return absl::InvalidArgumentError(
        "wrong_meta: field \"error_code\" is not a whole number");
  }
  using Sectioned = std::vector<std::pair<const char*, const char*>>;
  std::string kind;
  Sectioned sections;
  switch (wrong_meta.at("error_code").get<int64_t>()) {
    case -1:
      kind = "does not compile";
      sections = {{"", "error"}};
      break;
    case -2:
      kind = "gives a wrong answer";
      sections = {
          {"Input", "inputs"}, {"Output", "output"}, {"Expected", "expected"}};
      break;
    case -3:
      kind = "exceeds the time limit";
      sections = {{"", "error"}, {"Input", "inputs"}, {"Expected", "expected"}};
      break;
    case -4:
      kind = "ends with a runtime error";
      if (Has(wrong_meta, "inputs")) {
        sections = {
            {"Input", "inputs"}, {"Expected", "expected"}, {"", "error"}};
      } else {
        sections = {{"", "error_message"}};
      }
      break;
    default:
      return absl::InvalidArgumentError(absl::StrCat(
          "wrong_meta: error_code ", wrong_meta.at("error_code").get<int64_t>(),
          " is not one of -1, -2, -3 and -4"));
  }
  REPRO_ASSIGN_OR_RETURN(const std::string text,
                         Sections(wrong_meta, sections));
  return absl::StrCat("The program is wrong: it ", kind, ".", text);
}

std::string RepairQuestion(absl::string_view problem,
                           absl::string_view wrong_code,
                           absl::string_view error_text) {
  return absl::StrCat(
      "Below are a programming question, a program and what went wrong with "
      "it. Correct the program.\n\n### Question\n",
      problem, "\n\n### Program\n```python\n", wrong_code,
      "\n```\n\n### Error\n", error_text);
}

std::string TestQuestion(absl::string_view problem) {
  return absl::StrCat(
      "Write one unit test, its input and its output, for the programming "
      "question below.\n\n### Question\n",
      problem);
}

std::string UnitTest(absl::string_view input, absl::string_view output) {
  return absl::StrCat("### Test input\n```\n", input,
                      "\n```\n\n### Test output\n```\n", output, "\n```");
}

absl::StatusOr<std::vector<Item>> ReadItems(const std::string& path, Task task,
                                            const std::string& split) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines, ReadRecords(path));
  std::vector<Item> items;
  for (const JsonLine& line : lines) {
    const JsonRecord record(line, path);
    Item item;
    item.split = split;
    REPRO_ASSIGN_OR_RETURN(item.difficulty, record.Text("difficulty"));
    REPRO_ASSIGN_OR_RETURN(item.question, record.Text("question_content"));
    REPRO_ASSIGN_OR_RETURN(item.correct, record.Text("pos_response"));
    REPRO_ASSIGN_OR_RETURN(item.wrong, record.Text("neg_response"));
    if (task == Task::kCodeRepair) {
      REPRO_ASSIGN_OR_RETURN(const std::string code, record.Text("wrong_code"));
      REPRO_ASSIGN_OR_RETURN(const json meta, WrongMeta(record));
      const absl::StatusOr<std::string> error = ErrorText(meta);
      if (!error.ok()) return record.Error(error.status().message());
      item.question = RepairQuestion(item.question, code, *error);
    } else if (task == Task::kTestGeneration) {
      REPRO_ASSIGN_OR_RETURN(const std::string correct_input,
                             record.Text("pos_input"));
      REPRO_ASSIGN_OR_RETURN(const std::string wrong_input,
                             record.Text("neg_input"));
      item.question = TestQuestion(item.question);
      item.correct = UnitTest(correct_input, item.correct);
      item.wrong = UnitTest(wrong_input, item.wrong);
    }
    items.push_back(std::move(item));
  }
  return items;
}

}  // namespace repro::code_judge_bench
