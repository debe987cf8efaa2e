// A small language of tasks in words and functions that solve them, commented
// and bare, for training decoders from scratch on pairs of programs.
//
//   task:      the sum of the squares of the even numbers of x
//   program:   def f(x):
//                  # keep the even numbers
//                  x = [v for v in x if v % 2 == 0]
//                  # square each number
//                  x = [v * v for v in x]
//                  # give back the sum
//                  return sum(x)
//
// The words of a task name the steps from the last to the first, so that a
// program is no copy of its order.
#ifndef REPRO_PAPERS_MANGO_PAIR_LANGUAGE_H_
#define REPRO_PAPERS_MANGO_PAIR_LANGUAGE_H_

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/exec/sandbox.h"

namespace repro::mango {

enum class StepKind {
  kEven,  // filters
  kOdd,
  kAbove,     // n
  kBelow,     // n
  kAdd,       // n, to each
  kSubtract,  // n
  kTimes,     // n
  kSquare,
  kNegate,
  kReverse,  // of the list
  kSort,
  kTake,  // the first n
  kDrop,  // the first n
};
inline constexpr int kNumStepKinds = 13;

struct Step {
  StepKind kind = StepKind::kEven;
  int64_t n = 0;  // 1 to 9; of kTake and kDrop 1 to 3; else 0
};

// How a list becomes one number; the largest and smallest of none are 0.
enum class Reducer { kSum, kCount, kLargest, kSmallest };
inline constexpr int kNumReducers = 4;

// What a program computes.
struct Recipe {
  std::vector<Step> steps;
  Reducer reducer = Reducer::kSum;
};
// Without a guard against overflow: for small numbers and few squares.
int64_t Evaluate(const Recipe& recipe, std::vector<int64_t> x);

struct PairTask {
  Recipe recipe;
  std::string task;  // in words
  std::string commented;
  std::string bare;
  std::vector<std::pair<std::vector<int64_t>, int64_t>> tests;
};

// The task's words: one of two for each step, by `wording`, bit i for step i
// and the last bit for the reducer.
PairTask MakePairTask(const Recipe& recipe, uint64_t wording);

// `count` tasks of min_steps to max_steps steps, whose words are not in `taken`
// and not twice; they are added to it. Four tests each. InvalidArgument: steps
// out of order or below 0; ResourceExhausted: there are too few tasks.
absl::StatusOr<std::vector<PairTask>> DrawPairTasks(
    int64_t count, int min_steps, int max_steps, uint64_t seed,
    std::set<std::string>* taken);

// Whether programs[i] defines an f that gives tasks[i]'s expected values. Many
// programs share a process, and those of one that ends badly run again alone.
// Cancelled; Internal if the sandbox could not run them; InvalidArgument for
// unequal numbers.
absl::StatusOr<std::vector<bool>> SolvedBy(
    const exec::Sandbox& sandbox, const std::vector<PairTask>& tasks,
    const std::vector<std::string>& programs, int workers);

}  // namespace repro::mango

#endif  // REPRO_PAPERS_MANGO_PAIR_LANGUAGE_H_
