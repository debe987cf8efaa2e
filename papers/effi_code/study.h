// The paper's experiment in miniature: decoders that have seen mostly slow
// programs, fine-tuned on the pipeline's data, on shares of it, and on the
// programs before optimisation as a control.
#ifndef REPRO_PAPERS_EFFI_CODE_STUDY_H_
#define REPRO_PAPERS_EFFI_CODE_STUDY_H_

#include <c10/core/Device.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/nn/llama.h"
#include "common/train/grid.h"
#include "papers/effi_code/dataset.h"
#include "papers/effi_code/function_language.h"

namespace repro::effi_code {

// What a decoder is before fine-tuning.
enum class Start {
  kBase,      // programs under a comment; one in ten in the template
  kInstruct,  // all in the template
};
// "base", "instruct".
const char* StartName(Start start);

// What it is then fine-tuned on; each from the same start.
enum class Arm {
  kBefore,   // nothing
  kQuarter,  // shares of the optimised pairs
  kHalf,
  kThreeQuarters,
  kAll,
  kOriginal,  // the same tasks as kAll with the programs before optimisation
};
// "before", "quarter", "half", "three_quarters", "all", "original".
const char* ArmName(Arm arm);
absl::StatusOr<Arm> ParseArm(absl::string_view name);
const std::vector<Arm>& AllArms();

struct Study {
  LlamaConfig model;  // vocab_size is set by the tokenizer
  int64_t vocab_size = 0;
  int64_t test_tasks = 0, tuning_tasks = 0;  // the other recipes: pretraining
  int64_t pretraining_steps = 0, pretraining_batch = 0;
  double pretraining_rate = 0;
  int64_t tuning_batch = 0;
  double tuning_rate = 0;
  // Shares of slow and fair forms; the rest is fast.
  double pretraining_slow = 0, pretraining_fair = 0;
  double original_slow = 0;  // of collected solutions; the rest is fair
  FineTuning tuning;         // epochs and warm-up are the paper's

  static Study Small();
};

// Tasks of one seed: disjoint recipes, each in one wording.
struct StudyTasks {
  std::vector<Recipe> pretraining, tuning, test;
  // What the words of the tuning and test tasks mean.
  std::map<std::string, Recipe> meanings;
  std::vector<std::string> tuning_texts, test_texts;
};
// InvalidArgument: more test and tuning tasks than there are recipes.
absl::StatusOr<StudyTasks> DrawStudyTasks(const Study& study, uint64_t seed);

// The pipeline on the tuning tasks, whose solutions are slow and fair forms;
// Rewriter is the optimiser, instructions the cost.
absl::StatusOr<Dataset> StudyDataset(const Study& study,
                                     const StudyTasks& tasks, uint64_t seed,
                                     int workers);

// Of one start and seed: the instructions of each test task's program by arm,
// -1 where it fails, and of its fast form.
struct StudyOutcome {
  std::map<Arm, std::vector<double>> costs;
  std::vector<double> canonical;

  // % of the test tasks.
  double PassAt1(Arm arm) const;
  // NET of `arm` on the tasks that `arm` and `other` both solve; NaN if there
  // are none.
  double NormalizedCost(Arm arm, Arm other) const;

  std::vector<double> Numbers() const;
  // InvalidArgument: not Numbers of `tasks` test tasks.
  static absl::StatusOr<StudyOutcome> FromNumbers(
      const std::vector<double>& numbers, int64_t tasks);
};

// Trains and tests all arms for each start and seed, in the order of
// grid.seeds; grid.names is ignored. Resumes and is cancelled as TrainGrid.
absl::StatusOr<std::map<Start, std::vector<StudyOutcome>>> RunStudy(
    const Study& study, const std::vector<Start>& starts, int workers,
    c10::Device device, Grid grid);

}  // namespace repro::effi_code

#endif  // REPRO_PAPERS_EFFI_CODE_STUDY_H_
