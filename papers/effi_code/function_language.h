// A small language of tasks in words and functions that solve them at three
// speeds, for the data pipeline and the training in miniature.
//
//   task:  the sum of the squares of the multiples of 3 up to n
//   slow:  def f(n):
//              y = 0
//              v = 1
//              while v <= n:
//                  if v % 3 == 0:
//                      y = y + v * v
//                  v = v + 1
//              return y
//   fair:      return sum([v * v for v in range(1, n + 1) if v % 3 == 0])
//   fast:      return sum([v * v for v in range(3, n + 1, 3)])
#ifndef REPRO_PAPERS_EFFI_CODE_FUNCTION_LANGUAGE_H_
#define REPRO_PAPERS_EFFI_CODE_FUNCTION_LANGUAGE_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/completion/completion.h"

namespace repro::effi_code {

enum class Pick {
  kMultiples,  // of 2 to 9
  kEndingIn,   // 1 to 9
  kFrom,       // 2 to 9
  kOdd,
};
enum class Change {
  kNone,
  kSquare,
  kCube,
  kTimes,  // 2 to 9
  kPlus,   // 1 to 9
};
enum class Result { kSum, kLargest, kList };

struct Recipe {
  Pick pick = Pick::kOdd;
  int64_t pick_number = 0;  // where it has one
  Change change = Change::kNone;
  int64_t change_number = 0;
  Result result = Result::kSum;
};

// All 1,560 of them, in one order.
std::vector<Recipe> AllRecipes();

// The numbers from 1 to n that are picked, changed; the result is their sum,
// the largest (0 of none) or all of them.
std::vector<int64_t> Values(const Recipe& recipe, int64_t n);

// `wording` chooses one of two words for each of the three parts: bits 0 to 2.
std::string TaskText(const Recipe& recipe, uint64_t wording);

enum class Form { kSlow, kFair, kFast };
std::string ProgramOf(const Recipe& recipe, Form form);

// Three assert statements of f, for n of 12, 25 and 40.
std::string TestsOf(const Recipe& recipe);

// An optimiser for tasks of the language, in the place of a language model: it
// finds the task in the request and answers, by the task and the seed alone,
// with the fast form (40%), the fair one (25%), the slow one (15%), a program
// for another task (10%), or words alone (10%).
class Rewriter : public completion::CompletionClient {
 public:
  // `tasks`: what the words of each task mean.
  explicit Rewriter(std::map<std::string, Recipe> tasks)
      : tasks_(std::move(tasks)) {}

  // NotFound: no line of the request is a task.
  absl::StatusOr<completion::Completion> Complete(
      const completion::CompletionRequest& request) override;
  std::string name() const override { return "rewriter"; }

 private:
  const std::map<std::string, Recipe> tasks_;
};

}  // namespace repro::effi_code

#endif  // REPRO_PAPERS_EFFI_CODE_FUNCTION_LANGUAGE_H_
