#include "papers/code_halu/generations.h"

#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/data/json.h"
#include "common/data/jsonl.h"
#include "common/status/macros.h"

namespace repro::code_halu {
namespace {

using nlohmann::json;

// Reads fields of one object; `field` is the one that an exception is about.
class Fields {
 public:
  explicit Fields(const json& object) : object_(object) {}

  const json& At(const char* name) {
    field_ = name;
    return object_.at(name);
  }
  std::string Text(const char* name) { return At(name).get<std::string>(); }
  std::string TextOrEmpty(const char* name) {
    return At(name).is_null() ? "" : Text(name);
  }
  const char* field() const { return field_; }

 private:
  const json& object_;
  const char* field_ = "";
};

Task ReadTask(Fields& fields) {
  Task task;
  const json& id = fields.At("task_id");
  task.task_id = id.is_number_integer() ? absl::StrCat(id.get<int64_t>())
                                        : id.get<std::string>();
  task.question = fields.Text("question");
  task.starter_code = fields.TextOrEmpty("starter_code");
  if (std::string name = fields.TextOrEmpty("fn_name"); !name.empty()) {
    task.fn_name = std::move(name);
  }
  return task;
}

// What the authors' scripts store beside each verdict.
json ResultOf(absl::string_view verdict) {
  if (verdict == kCorrect) return true;
  if (verdict == kLogicDeviation) return false;
  return -1;
}

}  // namespace

absl::StatusOr<std::vector<BenchmarkSample>> ReadBenchmark(
    const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const json array, ReadJson(path));
  if (!array.is_array() || array.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": no samples: wanted an array of objects"));
  }
  std::vector<BenchmarkSample> samples;
  for (const json& object : array) {
    BenchmarkSample sample;
    Fields fields(object);
    const auto error = [&](absl::string_view what) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": sample ", samples.size(), ": field \"",
                       fields.field(), "\": ", what));
    };
    try {
      sample.task = ReadTask(fields);
      sample.test.input = fields.At("input");
      sample.test.expected = fields.At("output");
      const absl::StatusOr<Category> category =
          ParseCategory(fields.Text("halu_type"));
      if (!category.ok()) return error(category.status().message());
      sample.category = *category;
    } catch (const json::exception& exception) {
      return error(exception.what());
    }
    samples.push_back(std::move(sample));
  }
  return samples;
}

BenchmarkSize SizeOf(const std::vector<BenchmarkSample>& samples) {
  std::set<std::string> tasks;
  for (const BenchmarkSample& sample : samples) {
    tasks.insert(sample.task.task_id);
  }
  return {static_cast<int64_t>(tasks.size()),
          static_cast<int64_t>(samples.size())};
}

std::string Prompt(const Task& task) {
  std::string prompt =
      absl::StrCat("\nQUESTION:\n", task.question, task.starter_code);
  if (!task.fn_name.has_value() && task.starter_code.empty()) {
    absl::StrAppend(&prompt,
                    "\nThe program must read standard input and write standard "
                    "output, with input() and print().");
  } else {
    absl::StrAppend(&prompt,
                    "\nThe tests call the function that is asked for.");
  }
  if (!task.starter_code.empty()) {
    absl::StrAppend(&prompt, "Go on from this starter code.\n<starter_coder>",
                    task.starter_code, "<starter_coder>\n");
  }
  return prompt;
}

completion::CompletionRequest GenerationRequest(const Task& task) {
  completion::CompletionRequest request;
  request.messages = {
      {"user", absl::StrCat("Solve this programming problem in Python, and put "
                            "the program into a ```python``` block. ",
                            Prompt(task))}};
  request.max_tokens = 2048;
  request.temperature = 0.001;
  request.n = 1;
  return request;
}

std::string ExtractCode(absl::string_view response) {
  constexpr absl::string_view kOpening = "```python";
  const size_t begin = response.find(kOpening);
  if (begin == absl::string_view::npos) return std::string(response);
  const absl::string_view rest = response.substr(begin + kOpening.size());
  const size_t end = rest.find("```");
  return std::string(end == absl::string_view::npos ? response
                                                    : rest.substr(0, end));
}

absl::StatusOr<std::vector<Generation>> ReadGenerations(
    const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines, ReadJsonl(path));
  if (lines.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": no generations"));
  }
  std::vector<Generation> generations;
  for (const JsonLine& line : lines) {
    Generation generation;
    Fields fields(line.value);
    const auto error = [&](const char* field, absl::string_view what) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ":", line.line, ": field \"", field, "\": ", what));
    };
    try {
      const absl::StatusOr<Category> category =
          ParseCategory(fields.Text("halu_type"));
      if (!category.ok()) {
        return error("halu_type", category.status().message());
      }
      generation.category = *category;
      generation.task = ReadTask(fields);
      generation.code = fields.Text("generated_code");
      const json& tests = fields.At("tests");
      if (!tests.is_array() || tests.empty()) {
        return error("tests", "wanted an array of at least one");
      }
      for (const json& one : tests) {
        Fields of_test(one);
        try {
          JudgedTest test;
          test.test.input = of_test.At("input");
          test.test.expected = of_test.At("expected");
          test.verdict = of_test.Text("error_name");
          if (of_test.At("result") != ResultOf(test.verdict)) {
            return error("result", absl::StrCat("does not go with error_name ",
                                                test.verdict));
          }
          generation.tests.push_back(std::move(test));
        } catch (const json::exception& exception) {
          return error(of_test.field(), exception.what());
        }
      }
    } catch (const json::exception& exception) {
      return error(fields.field(), exception.what());
    }
    generations.push_back(std::move(generation));
  }
  return generations;
}

}  // namespace repro::code_halu
