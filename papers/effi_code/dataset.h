// From collected tasks to the fine-tuning data: filter, tests, optimisation,
// selection.
#ifndef REPRO_PAPERS_EFFI_CODE_DATASET_H_
#define REPRO_PAPERS_EFFI_CODE_DATASET_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/completion/completion.h"
#include "papers/effi_code/soap.h"

namespace repro::effi_code {

// A collected task with a solution in Python; without tests until step 3.
struct CollectedTask {
  std::string instruction;
  std::string solution;
  std::string tests;
};

// Step 2. Empty if the solution is a function that parses and uses no files,
// network, random numbers, console or processes; else why it is not taken. By
// the names in it, where the paper asks GPT-3.5.
std::string RefusalOf(absl::string_view solution);

// Step 3: asks for tests of the task, as lines that begin with "assert ".
std::string TestPrompt(const CollectedTask& task);
// Those lines of an answer, in or out of a fence, each once, at most `limit`.
std::vector<std::string> TestLines(absl::string_view answer, int limit);

struct DatasetOptions {
  SoapOptions soap;
  // The selection of step 6.
  KeepRule selection = KeepRule::kAny;
  int max_tests = 5;
};

// A pair of the fine-tuning data and what it came from.
struct TrainingPair {
  std::string instruction;
  std::string optimized;  // the answer to learn
  std::string original;   // the other half of a preference pair
  Overhead before, after;
};

// How many tasks each step left, and the means of what it selected.
struct Dataset {
  std::vector<TrainingPair> pairs;
  int64_t collected = 0;
  int64_t suitable = 0;  // step 2
  int64_t tested = 0;    // steps 3 and 4: the solution passes some test
  int64_t better = 0;    // step 6: the optimised one is better
  int64_t distinct = 0;  // the pairs, one for each instruction
  // Mean times of the pairs' originals and of their optimised programs, and of
  // all tested tasks' before step 6.
  double mean_before = 0, mean_after = 0;
  double tested_before = 0, tested_after = 0;
};

// The six steps. Tests of a task without any are the model's that the solution
// passes. Errors: those of Optimize.
absl::StatusOr<Dataset> BuildDataset(const std::vector<CollectedTask>& tasks,
                                     completion::CompletionClient& client,
                                     const CostFunction& cost,
                                     const DatasetOptions& options);

// A record of the authors' training file (Alpaca's form).
struct TrainingRecord {
  std::string instruction;
  std::string input;
  std::string output;
};
// A JSON list of {"instruction", "input", "output"}; "input" may be missing.
// Errors of ReadJson; InvalidArgument "path: record i: ..." for anything else,
// for an empty instruction or output, and for an empty list.
absl::StatusOr<std::vector<TrainingRecord>> ReadTrainingFile(
    const std::string& path);
absl::StatusOr<std::vector<TrainingRecord>> ParseTrainingFile(
    absl::string_view text, const std::string& name);
std::string TrainingFile(const std::vector<TrainingPair>& pairs);

// What the model is given at inference, a function to go on with, in our words.
std::string CompletionPrompt(absl::string_view prompt);

// The authors' full fine-tuning.
struct FineTuning {
  double learning_rate = 5e-6;  // the peak of a cosine with warm-up
  int64_t epochs = 4;
  int64_t cutoff_tokens = 2048;
  double warmup_ratio = 0.03;
  int64_t device_batch = 8;
  int64_t accumulation = 2;
  double validation_share = 0.005;

  int64_t NumSteps(int64_t samples, int64_t devices) const;
};

// Prompt, answer and end as the ids and labels of one example, cut at the right
// to `cutoff` tokens; labels are `ignored` on the prompt. InvalidArgument: a
// cutoff below 1.
struct EncodedExample {
  std::vector<int32_t> ids;
  std::vector<int64_t> labels;
};
absl::StatusOr<EncodedExample> EncodeExample(const std::vector<int32_t>& prompt,
                                             const std::vector<int32_t>& answer,
                                             int32_t end, int64_t ignored,
                                             int64_t cutoff);

}  // namespace repro::effi_code

#endif  // REPRO_PAPERS_EFFI_CODE_DATASET_H_
