// The items of CodeJudgeBench (Jiang et al. 2025, arXiv 2507.10535): a question
// of LiveCodeBench with one answer that passes all hidden tests and one that
// fails, both by the same language model.
#ifndef REPRO_PAPERS_CODE_JUDGE_BENCH_ITEMS_H_
#define REPRO_PAPERS_CODE_JUDGE_BENCH_ITEMS_H_

#include <array>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace repro::code_judge_bench {

enum class Task { kCodeGeneration, kCodeRepair, kTestGeneration };
inline constexpr std::array<Task, 3> kTasks = {
    Task::kCodeGeneration, Task::kCodeRepair, Task::kTestGeneration};

// "codegen", "coderepair", "testgen": the names of the released data.
const char* TaskName(Task task);
// InvalidArgument for any other name, listing those there are.
absl::StatusOr<Task> ParseTask(absl::string_view name);

struct Item {
  std::string split;       // the model that wrote both answers
  std::string difficulty;  // "easy", "medium", "hard"; others are allowed
  // As the judge reads them.
  std::string question;
  std::string correct;
  std::string wrong;
};

// What the judge is told of the failure of a program to be repaired, from the
// `wrong_meta` of LiveCodeBench's checker: error_code -1 compilation error
// (error), -2 wrong answer (inputs, output, expected), -3 time limit (error,
// inputs, expected), -4 runtime error (inputs, expected, error; without inputs
// error_message). Null fields count as absent. InvalidArgument names the field
// that is missing, or an unknown code.
absl::StatusOr<std::string> ErrorText(const nlohmann::json& wrong_meta);

// The question of each task but code generation, which is the problem itself.
// The parts are those of the authors' texts, the words are ours.
std::string RepairQuestion(absl::string_view problem,
                           absl::string_view wrong_code,
                           absl::string_view error_text);
std::string TestQuestion(absl::string_view problem);
// An answer of test generation.
std::string UnitTest(absl::string_view input, absl::string_view output);

// Reads one split as JSON Lines, plain or gzip, with the released fields:
// question_content, difficulty, pos_response, neg_response; coderepair also
// wrong_code and wrong_meta (an object, or one as a text); testgen also
// pos_input and neg_input. Other fields are ignored. Errors: those of
// ReadRecords and JsonRecord, with file and line.
absl::StatusOr<std::vector<Item>> ReadItems(const std::string& path, Task task,
                                            const std::string& split);

}  // namespace repro::code_judge_bench

#endif  // REPRO_PAPERS_CODE_JUDGE_BENCH_ITEMS_H_
