#include "papers/rank_ef/feedback.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/data/io.h"
#include "common/data/json_record.h"
#include "common/status/macros.h"

namespace repro::rank_ef {
namespace {

using nlohmann::json;

constexpr char kCorrectType[] = "correct";
constexpr char kMismatchType[] = "OutputMismatch";

constexpr const char* kEndings[] = {"Correct(0)", "Execution Error(1)",
                                    "Intent Error(2)"};

bool IsNull(const JsonRecord& record, absl::string_view field) {
  const json* value = record.Find(field);
  return value != nullptr && value->is_null();
}

absl::StatusOr<Candidate> ReadCandidate(const JsonRecord& record) {
  Candidate candidate;
  REPRO_ASSIGN_OR_RETURN(candidate.completion, record.Text("completion"));
  REPRO_ASSIGN_OR_RETURN(candidate.first, record.Count("first"));
  REPRO_ASSIGN_OR_RETURN(candidate.count, record.Integer("count"));
  if (candidate.count < 1) return record.Error("count: expected at least 1");
  Feedback& feedback = candidate.feedback;
  REPRO_ASSIGN_OR_RETURN(const int64_t label, record.Integer("label"));
  if (label < 0 || label >= kNumClasses) {
    return record.Error(absl::StrCat("label: ", label, " is not 0, 1 or 2"));
  }
  feedback.label = static_cast<FeedbackClass>(label);
  REPRO_ASSIGN_OR_RETURN(feedback.error_type, record.Text("error_type"));
  if (!IsNull(record, "error_message")) {
    REPRO_ASSIGN_OR_RETURN(feedback.error_message,
                           record.Text("error_message"));
  }
  if (!IsNull(record, "error_line_number")) {
    REPRO_ASSIGN_OR_RETURN(feedback.line_number,
                           record.Integer("error_line_number"));
  }
  if (!IsNull(record, "error_line_code")) {
    REPRO_ASSIGN_OR_RETURN(feedback.line, record.Text("error_line_code"));
  }
  if (const absl::Status valid = ValidateFeedback(feedback); !valid.ok()) {
    return record.Error(valid.message());
  }
  return candidate;
}

}  // namespace

absl::Status ValidateFeedback(const Feedback& feedback) {
  const std::string& type = feedback.error_type;
  const bool agrees =
      feedback.label == FeedbackClass::kCorrect ? type == kCorrectType
      : feedback.label == FeedbackClass::kIntentError
          ? type == kMismatchType
          : type != kCorrectType && type != kMismatchType && !type.empty();
  if (agrees) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("error_type ", Quoted(type), " contradicts label ",
                   static_cast<int>(feedback.label)));
}

int64_t CandidatePool::NumDistinct() const {
  int64_t distinct = 0;
  for (const auto& of_problem : candidates) distinct += of_problem.size();
  return distinct;
}

int64_t CandidatePool::NumSamples() const {
  int64_t samples = 0;
  for (const auto& of_problem : candidates) {
    for (const Candidate& candidate : of_problem) samples += candidate.count;
  }
  return samples;
}

absl::StatusOr<CandidatePool> LoadPool(const std::string& problems_path,
                                       const std::string& feedback_path) {
  CandidatePool pool;
  REPRO_ASSIGN_OR_RETURN(pool.problems, ReadHumanEval(problems_path));
  pool.candidates.resize(pool.problems.size());
  absl::flat_hash_map<std::string, size_t> index;
  for (size_t p = 0; p < pool.problems.size(); ++p) {
    index[pool.problems[p].task_id] = p;
  }
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines,
                         ReadJsonl(feedback_path));
  for (const JsonLine& line : lines) {
    const JsonRecord record(line, feedback_path);
    REPRO_ASSIGN_OR_RETURN(const std::string task, record.Text("task_id"));
    const auto found = index.find(task);
    if (found == index.end()) {
      return record.Error(absl::StrCat("task_id: ", Quoted(task), " is not in ",
                                       problems_path));
    }
    REPRO_ASSIGN_OR_RETURN(Candidate candidate, ReadCandidate(record));
    pool.candidates[found->second].push_back(std::move(candidate));
  }
  for (size_t p = 0; p < pool.problems.size(); ++p) {
    if (pool.candidates[p].empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(feedback_path, ": no candidate of ",
                       Quoted(pool.problems[p].task_id)));
    }
    std::stable_sort(pool.candidates[p].begin(), pool.candidates[p].end(),
                     [](const Candidate& a, const Candidate& b) {
                       return a.first < b.first;
                     });
  }
  return pool;
}

std::string RankerInput(RankerTask task, absl::string_view prompt,
                        absl::string_view code) {
  const bool classify = task == RankerTask::kClassification;
  return absl::StrCat(classify ? "<CLASSIFICATION>" : "<GENERATION>",
                      "\nQUESTION:\n", prompt, "\nCODE:\n", code,
                      classify ? "\nResult:\n" : "\nEVAL_MESSAGE:\n");
}

std::string FeedbackText(const Feedback& feedback) {
  const std::string end =
      absl::StrCat("\nResult:\n", kEndings[static_cast<int>(feedback.label)]);
  const std::string error =
      absl::StrCat("\nError_Message:\n", feedback.error_message,
                   "\nError_TYPE:\n", feedback.error_type);
  switch (feedback.label) {
    case FeedbackClass::kCorrect:
      return absl::StrCat("This code is correct.", end);
    case FeedbackClass::kIntentError:
      return absl::StrCat("This code is wrong.", error, end);
    case FeedbackClass::kExecutionError:
      break;
  }
  return absl::StrCat("There is an error in the code at line ",
                      feedback.line_number, ":", feedback.line, error, end);
}

absl::StatusOr<FeedbackClass> ClassOfFeedbackText(absl::string_view text) {
  for (int label = 0; label < kNumClasses; ++label) {
    if (absl::EndsWith(text, absl::StrCat("\nResult:\n", kEndings[label]))) {
      return static_cast<FeedbackClass>(label);
    }
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "feedback ends with ",
      Quoted(text.size() > 30 ? text.substr(text.size() - 30) : text),
      ": expected Result: and one of the three classes"));
}

}  // namespace repro::rank_ef
