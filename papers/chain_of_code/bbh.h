#ifndef REPRO_PAPERS_CHAIN_OF_CODE_BBH_H_
#define REPRO_PAPERS_CHAIN_OF_CODE_BBH_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

// BIG-Bench Hard (Suzgun et al. 2022): 23 tasks, two of which come in three
// sizes, so 27 files.
namespace repro::chain_of_code {

enum class Kind { kNlp, kAlgorithmic };

// Who can run the tasks' programs, and whether all questions share one (the
// four marks of Table A1).
enum class ExecutionType {
  kPythonSameProgram,
  kPythonDifferentProgram,
  kLmSameProgram,
  kLmDifferentProgram,
};

struct Task {
  std::string name;                // as Table A1 has it
  std::vector<std::string> files;  // "navigate"; three for two of the tasks
  Kind kind;
  ExecutionType execution;
};

// In the order of Table A1.
const std::vector<Task>& Tasks();

// "all", "nlp", "algorithmic", "python_same", "python_different", "lm_same",
// "lm_different": the groups of Table A1. NotFound for another name.
absl::StatusOr<std::function<bool(const Task&)>> TaskGroup(
    absl::string_view name);

struct Instance {
  std::string input;
  std::string target;
};

// By file name. A line of the JSONL file (plain or gzip) holds task, i, input
// and target; i counts from 0 in each task. InvalidArgument with file and line
// for anything else, and for a file that does not hold all 27 names.
absl::StatusOr<std::map<std::string, std::vector<Instance>>> ReadBbh(
    const std::string& path);

// The field `field` of each line (task, i, field), by file name.
absl::StatusOr<std::map<std::string, std::vector<std::string>>> ReadPredictions(
    const std::string& path, const std::string& field);

// The three worked questions of a chain-of-thought prompt file, the answer
// being what follows "So the answer is". InvalidArgument if there are none.
absl::StatusOr<std::vector<Instance>> ParseCotPrompt(absl::string_view text);

// The answer of a direct prediction: without the blanks around it.
std::string DirectAnswer(absl::string_view prediction);

// The answer of a chain of thought: what follows the last "answer is ", without
// blanks around and full stops behind it. The whole text if that is not in it.
std::string CotAnswer(absl::string_view prediction);

// Exact matches in percent. InvalidArgument if the numbers differ or are 0.
absl::StatusOr<double> Accuracy(const std::vector<std::string>& answers,
                                const std::vector<Instance>& instances);

// The unweighted mean over the tasks of a group, the files of a task averaged
// first. NotFound if a file has no value.
absl::StatusOr<double> MeanOverTasks(
    const std::map<std::string, double>& by_file, absl::string_view group);

}  // namespace repro::chain_of_code

#endif  // REPRO_PAPERS_CHAIN_OF_CODE_BBH_H_
