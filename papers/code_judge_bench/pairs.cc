#include "papers/code_judge_bench/pairs.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/data/io.h"
#include "common/data/json_record.h"
#include "common/data/jsonl.h"
#include "common/status/macros.h"

namespace repro::code_judge_bench {

absl::StatusOr<std::vector<TaskPool>> ReadPools(
    const std::string& problems_path, const std::string& candidates_path) {
  REPRO_ASSIGN_OR_RETURN(std::vector<HumanEvalProblem> problems,
                         ReadHumanEval(problems_path));
  std::vector<TaskPool> pools(problems.size());
  std::map<std::string, size_t> index;
  for (size_t i = 0; i < problems.size(); ++i) {
    index[problems[i].task_id] = i;
    pools[i].problem = std::move(problems[i]);
  }
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines,
                         ReadRecords(candidates_path));
  for (const JsonLine& line : lines) {
    const JsonRecord record(line, candidates_path);
    REPRO_ASSIGN_OR_RETURN(const std::string task, record.Text("task_id"));
    const auto found = index.find(task);
    if (found == index.end()) {
      return record.Error(
          absl::StrCat("task_id ", Quoted(task), " is not in ", problems_path));
    }
    Candidate candidate;
    REPRO_ASSIGN_OR_RETURN(candidate.completion, record.Text("completion"));
    REPRO_ASSIGN_OR_RETURN(candidate.first, record.Count("first"));
    REPRO_ASSIGN_OR_RETURN(candidate.count, record.Count("count"));
    REPRO_ASSIGN_OR_RETURN(const int64_t label, record.Count("label"));
    if (label > 2) {
      return record.Error(absl::StrCat("label ", label, " is not 0, 1 or 2"));
    }
    candidate.raised = label == 1;
    TaskPool& pool = pools[found->second];
    (label == 0 ? pool.correct : pool.wrong).push_back(std::move(candidate));
  }
  for (TaskPool& pool : pools) {
    for (std::vector<Candidate>* kind : {&pool.correct, &pool.wrong}) {
      std::stable_sort(kind->begin(), kind->end(),
                       [](const Candidate& a, const Candidate& b) {
                         return a.first < b.first;
                       });
    }
  }
  return pools;
}

std::vector<Pair> FirstPairs(const std::vector<TaskPool>& pools) {
  std::vector<Pair> pairs;
  for (const TaskPool& pool : pools) {
    if (pool.correct.empty() || pool.wrong.empty()) continue;
    pairs.push_back({&pool, &pool.correct[0], &pool.wrong[0]});
  }
  return pairs;
}

int64_t CountPairs(const std::vector<TaskPool>& pools) {
  int64_t count = 0;
  for (const TaskPool& pool : pools) {
    count += static_cast<int64_t>(pool.correct.size() * pool.wrong.size());
  }
  return count;
}

std::vector<Pair> DrawPairs(const std::vector<TaskPool>& pools, int64_t most,
                            std::mt19937_64& random) {
  std::vector<Pair> pairs;
  for (const TaskPool& pool : pools) {
    const size_t total = pool.correct.size() * pool.wrong.size();
    const size_t wanted =
        std::min(total, static_cast<size_t>(std::max<int64_t>(most, 0)));
    // Floyd's draw of `wanted` numbers below `total`.
    std::set<size_t> drawn;
    for (size_t i = total - wanted; i < total; ++i) {
      const size_t number = random() % (i + 1);
      drawn.insert(drawn.count(number) > 0 ? i : number);
    }
    for (const size_t number : drawn) {
      pairs.push_back({&pool, &pool.correct[number / pool.wrong.size()],
                       &pool.wrong[number % pool.wrong.size()]});
    }
  }
  return pairs;
}

Item ItemOf(const Pair& pair) {
  Item item;
  item.split = "pool";
  item.question = absl::StrCat("Complete the Python function.\n\n```python\n",
                               pair.task->problem.prompt, "```");
  item.correct = pair.correct->completion;
  item.wrong = pair.wrong->completion;
  return item;
}

}  // namespace repro::code_judge_bench
