// Pairs of a correct and a wrong program for one task, made of a pool of
// programs whose tests were run. They stand in for the benchmark's items.
#ifndef REPRO_PAPERS_CODE_JUDGE_BENCH_PAIRS_H_
#define REPRO_PAPERS_CODE_JUDGE_BENCH_PAIRS_H_

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/data/human_eval.h"
#include "papers/code_judge_bench/items.h"

namespace repro::code_judge_bench {

struct Candidate {
  std::string completion;  // behind the task's prompt
  int64_t first = 0;       // its first index among the samples
  int64_t count = 1;       // samples with this text
  bool raised = false;     // it ended with an error; no correct one did
};

// Candidates of one task, ascending by `first`.
struct TaskPool {
  HumanEvalProblem problem;
  std::vector<Candidate> correct;
  std::vector<Candidate> wrong;
};

// The problems of HumanEval in their order, and JSON Lines of candidates with
// task_id, first, count, completion and label (0 correct, 1 error, 2 wrong
// output). Errors of ReadHumanEval, ReadRecords and JsonRecord, and for a
// task_id that is not of a problem.
absl::StatusOr<std::vector<TaskPool>> ReadPools(
    const std::string& problems_path, const std::string& candidates_path);

// Pointers into the pools, which outlive it.
struct Pair {
  const TaskPool* task = nullptr;
  const Candidate* correct = nullptr;
  const Candidate* wrong = nullptr;
};

// Of each task that has both kinds, the first correct and the first wrong
// candidate.
std::vector<Pair> FirstPairs(const std::vector<TaskPool>& pools);

// correct.size() * wrong.size(), summed over the tasks.
int64_t CountPairs(const std::vector<TaskPool>& pools);

// Up to `most` different pairs a task, drawn without replacement, in the order
// of the tasks.
std::vector<Pair> DrawPairs(const std::vector<TaskPool>& pools, int64_t most,
                            std::mt19937_64& random);

// The question asks to go on with the task's prompt; the answers are the
// completions.
Item ItemOf(const Pair& pair);

}  // namespace repro::code_judge_bench

#endif  // REPRO_PAPERS_CODE_JUDGE_BENCH_PAIRS_H_
