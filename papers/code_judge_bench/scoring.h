// The protocol of CodeJudgeBench: each item is judged twice, with the correct
// answer first and second, and both judgements count.
#ifndef REPRO_PAPERS_CODE_JUDGE_BENCH_SCORING_H_
#define REPRO_PAPERS_CODE_JUDGE_BENCH_SCORING_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "papers/code_judge_bench/items.h"
#include "papers/code_judge_bench/judge.h"

namespace repro::code_judge_bench {

struct ItemVerdicts {
  std::string split;
  std::string difficulty;
  Verdict straight;  // the correct answer was A
  Verdict swapped;   // the correct answer was B
};

// Asks the judge twice an item, by `threads` at once; results in the items'
// order. The first error of the judge ends the run. `progress` gets the number
// of items done and stops the run by returning false: Cancelled.
absl::StatusOr<std::vector<ItemVerdicts>> JudgeItems(
    const std::vector<Item>& items, const Judge& judge, int threads,
    const std::function<bool(int64_t done)>& progress = nullptr);

// Percentages of n items, but for `items`.
struct Scores {
  int64_t items = 0;
  // 100/(2n) sum [straight = A] + [swapped = B].
  double accuracy = 0;
  double straight = 0;      // accuracy of the n judgements with A correct
  double swapped = 0;       // of those with B correct
  double position_gap = 0;  // |straight - swapped|
  double consistency = 0;   // items with the same winner in both orders
  double both_right = 0;
  double neither_right = 0;
  double no_verdict = 0;  // of the 2n judgements
};

// InvalidArgument without items. If no verdict is missing, accuracy =
// both_right + (100 - consistency) / 2: an item without a consistent winner is
// right in one of its orders.
absl::StatusOr<Scores> Score(const std::vector<ItemVerdicts>& items);

struct BenchmarkScores {
  Scores all;  // `all.accuracy` is the authors' micro average
  std::map<std::string, Scores> by_split;
  // "easy", "medium" and "hard" that occur; other values count in `all` only.
  std::map<std::string, Scores> by_difficulty;
  // The mean of the splits' accuracies, whatever their sizes.
  double split_mean = 0;
};
absl::StatusOr<BenchmarkScores> ScoreBenchmark(
    const std::vector<ItemVerdicts>& items);

// The least share of items, in percent, that are right in neither order, given
// an accuracy in percent: max(0, 100 - 2 accuracy).
double LeastNeitherRight(double accuracy);

// Reads what the authors' run.py writes for a split, JSON Lines with pred ("A",
// "B" or ""), label and difficulty: batches of `batch_size` items, each first
// with label A, then with label B; the last may be shorter. InvalidArgument
// with file and line for labels out of this order, as when rows were lost, for
// other values, or for a batch size below 1; errors of ReadRecords and
// JsonRecord.
absl::StatusOr<std::vector<ItemVerdicts>> ReadOutputs(const std::string& path,
                                                      const std::string& split,
                                                      int64_t batch_size);

}  // namespace repro::code_judge_bench

#endif  // REPRO_PAPERS_CODE_JUDGE_BENCH_SCORING_H_
