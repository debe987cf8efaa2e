// Tasks of CodeHaluEval, what a model is asked for, and the programs that it
// wrote.
#ifndef REPRO_PAPERS_CODE_HALU_GENERATIONS_H_
#define REPRO_PAPERS_CODE_HALU_GENERATIONS_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/completion/completion.h"
#include "papers/code_halu/taxonomy.h"

namespace repro::code_halu {

// A problem of the APPS test split.
struct Task {
  std::string task_id;  // its index in the split
  std::string question;
  std::string starter_code;            // empty: none
  std::optional<std::string> fn_name;  // set: the tests call this function
};

// One test: texts of stdin and stdout or, where fn_name is set, a list of
// arguments and what is returned.
struct TestCase {
  nlohmann::json input;
  nlohmann::json expected;
};

// ---- The benchmark ---------------------------------------------------------

struct BenchmarkSample {
  Category category = Category::kDataCompliance;
  Task task;
  TestCase test;
};

// One of the benchmark's eight files: a JSON array of objects with task_id,
// question, input, output, halu_type, fn_name and starter_code (the last two
// may be null). Errors: those of ReadJson; InvalidArgument "path: sample i:
// field \"f\": ..." for a field that is missing or has another type or value;
// "path: no samples".
absl::StatusOr<std::vector<BenchmarkSample>> ReadBenchmark(
    const std::string& path);

struct BenchmarkSize {
  int64_t tasks = 0;  // distinct
  int64_t samples = 0;
};
BenchmarkSize SizeOf(const std::vector<BenchmarkSample>& samples);

// ---- Generation ------------------------------------------------------------

// The parts and order of the authors' generation.py: the statement, starter
// code, how the program is to talk (by standard input unless there is a
// function name or starter code), and starter code between marks. The wording
// is ours.
std::string Prompt(const Task& task);

// For a chat model: asks for a fenced block, then the prompt. Temperature
// 0.001, one choice of at most 2,048 tokens. The authors ask up to five times
// while there is no response.
completion::CompletionRequest GenerationRequest(const Task& task);

// What stands between the first "```python" and the next "```", line end
// included; the whole response if they are not there.
std::string ExtractCode(absl::string_view response);

// ---- Released generations --------------------------------------------------

struct JudgedTest {
  TestCase test;
  std::string verdict;  // of the authors' scripts
};

struct Generation {
  Category category = Category::kDataCompliance;  // the file it comes from
  Task task;
  std::string code;
  std::vector<JudgedTest> tests;
};

// JSON Lines, plain or gzip, with halu_type, task_id, question, starter_code,
// fn_name, generated_code and tests, each of which has input, expected, result
// (true, false or -1) and error_name. Errors: those of ReadJsonl;
// InvalidArgument "path:line: field \"f\": ..." for a field that is missing or
// of another type, for no tests, and for a result that does not go with its
// error_name; "path: no generations".
absl::StatusOr<std::vector<Generation>> ReadGenerations(
    const std::string& path);

}  // namespace repro::code_halu

#endif  // REPRO_PAPERS_CODE_HALU_GENERATIONS_H_
