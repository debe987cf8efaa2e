// Error typing by HumanEval's asserts: whether a program fails its first test,
// a later one, or does not get that far (the authors' result_statistic.py).
//
//   REPRO_ASSIGN_OR_RETURN(const auto results,
//                          JudgeAll(sandbox, programs, workers));
//   const ErrorCounts counts = CountErrors(results, LabelRule::kSubstring);
#ifndef REPRO_PAPERS_MANGO_ERROR_TYPES_H_
#define REPRO_PAPERS_MANGO_ERROR_TYPES_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/exec/sandbox.h"

namespace repro::mango {

// ---- Types -----------------------------------------------------------------

enum class ErrorType {
  kFirstTest,
  kLaterTest,
  kOther,  // the authors' "not executable"
};

// How the label of a test is found in a message, "Test 3" or HumanEval's own
// "This prints if this assert fails 3 (good for debugging!)".
enum class LabelRule {
  // As coded: "Test 1" or "assert fails 1" anywhere is the first test, any
  // other "Test " or "assert fails" a later one.
  kSubstring,
  // The number that follows the first "Test " or "assert fails ".
  kNumber,
};
ErrorType TypeOfMessage(absl::string_view message, LabelRule rule);

// What came of one sample.
struct SampleResult {
  std::string task_id;
  bool passed = false;
  std::string message;  // of the exception that ended it
};

struct ErrorCounts {
  int64_t samples = 0;
  int64_t passed = 0;
  // Of samples of problems that no sample solves.
  std::map<ErrorType, int64_t> failed;
};
ErrorCounts CountErrors(const std::vector<SampleResult>& results,
                        LabelRule rule);

// ---- Labels ----------------------------------------------------------------

struct TestAssert {
  std::string condition;  // as it stands
  // The assert's message where that is one string without parts.
  std::optional<std::string> message;
  bool literal = false;  // the condition is a constant, as in `assert True`
  bool has_message = false;
  // Bytes of the source behind the condition, where the message stands.
  size_t message_begin = 0;
  size_t message_end = 0;
};
// The asserts of a test in the order of the text. InvalidArgument: it does not
// parse.
absl::StatusOr<std::vector<TestAssert>> FindAsserts(const std::string& test);

// The test with message "Test k" on the k-th assert that is not of a literal.
// Errors of FindAsserts.
absl::StatusOr<std::string> WithUniformLabels(const std::string& test);

// task_id and test, as the authors released them; errors as ReadHumanEval's.
absl::StatusOr<std::map<std::string, std::string>> ReadLabelledTests(
    const std::string& path);

// ---- Execution -------------------------------------------------------------

struct TestedProgram {
  std::string task_id;
  std::string program;  // the prompt and what a model wrote
  std::string tests;    // end without an exception if all is right
};

// In their order, by `workers` at once; 10 s of processor time and 1 GiB each.
// Cancelled, and Internal if the sandbox could not run one.
absl::StatusOr<std::vector<SampleResult>> JudgeAll(
    const exec::Sandbox& sandbox, const std::vector<TestedProgram>& programs,
    int workers,
    const std::function<bool(int done, int total)>& progress = nullptr);

}  // namespace repro::mango

#endif  // REPRO_PAPERS_MANGO_ERROR_TYPES_H_
