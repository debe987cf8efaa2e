// What came of running a candidate program, and what a ranker reads and says
// of it (Sun et al. 2024, arXiv 2408.13976, and the authors' data sets).
#ifndef REPRO_PAPERS_RANK_EF_FEEDBACK_H_
#define REPRO_PAPERS_RANK_EF_FEEDBACK_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/data/human_eval.h"

namespace repro::rank_ef {

// The classes of the paper, with the numbers of its texts.
enum class FeedbackClass {
  kCorrect = 0,
  kExecutionError = 1,  // any exception, a syntax error too
  kIntentError = 2,     // it ran and gave a wrong output
};
inline constexpr int64_t kNumClasses = 3;

// Of no line of the program, as a time limit.
inline constexpr int64_t kUnknownLine = -100;

struct Feedback {
  FeedbackClass label = FeedbackClass::kCorrect;
  // "correct", "OutputMismatch" of an intent error, else the exception's class.
  std::string error_type = "correct";
  std::string error_message;
  // Of execution errors: the line of the program, from 1, and its text.
  int64_t line_number = kUnknownLine;
  std::string line = "None";
};

// InvalidArgument unless label and error_type agree.
absl::Status ValidateFeedback(const Feedback& feedback);

// prompt + completion is a program that defines the problem's entry_point.
struct Candidate {
  std::string completion;
  int64_t first = 0;  // index of the first sample with this text
  int64_t count = 1;  // samples with this text
  Feedback feedback;
};

struct CandidatePool {
  std::vector<HumanEvalProblem> problems;
  // Distinct candidates of each problem, ascending by `first`.
  std::vector<std::vector<Candidate>> candidates;

  int64_t NumDistinct() const;
  int64_t NumSamples() const;
};

// The problems of HumanEval, and JSON Lines with task_id, first, count,
// completion, label, error_type, error_message, error_line_number and
// error_line_code (the last three may be null). Errors of ReadHumanEval and
// JsonRecord, and for a task_id that is not of `problems`, for feedback that
// contradicts itself, and for a problem without candidates.
absl::StatusOr<CandidatePool> LoadPool(const std::string& problems_path,
                                       const std::string& feedback_path);

// The two inputs of a ranker. They differ in their first and last line:
// <CLASSIFICATION> ... Result: and <GENERATION> ... EVAL_MESSAGE:.
enum class RankerTask { kClassification, kGeneration };
std::string RankerInput(RankerTask task, absl::string_view prompt,
                        absl::string_view code);

// What the generation task is to say: the reason first, the class last.
std::string FeedbackText(const Feedback& feedback);

// The class that such a text ends with. InvalidArgument if it names none: a
// generated text may be anything.
absl::StatusOr<FeedbackClass> ClassOfFeedbackText(absl::string_view text);

}  // namespace repro::rank_ef

#endif  // REPRO_PAPERS_RANK_EF_FEEDBACK_H_
