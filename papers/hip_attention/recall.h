// What a small trained model recalls under HiP attention and under other ways
// to choose equally many tokens.
#ifndef REPRO_PAPERS_HIP_ATTENTION_RECALL_H_
#define REPRO_PAPERS_HIP_ATTENTION_RECALL_H_

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/lm/model.h"
#include "common/testbed/evaluate.h"
#include "common/testbed/recipe.h"
#include "papers/hip_attention/hip_attention.h"

namespace repro::hip {

struct RecallOptions {
  std::vector<testbed::Task> tasks = {testbed::Task::kPasskey,
                                      testbed::Task::kKeyValue};
  int64_t length = 1024;  // tokens of a sequence
  int64_t questions = 4;  // a sequence
  int64_t count = 16;     // sequences of each task
  int64_t batch = 16;     // of these side by side
  // The budget is sink + k + window tokens.
  HipOptions hip;

  // A budget of an eighth of the length, half of it for the search, no dense
  // layers, a mask for every step; blocks of 16 queries, of 8 below 512 tokens.
  static RecallOptions ForLength(int64_t length);
};

// Each also within the prompt:
//   dense
//   hip                as `options.hip` says
//   first, last        with that representative instead of the center
//   reuse              a mask for every 8 decode steps
//   dense_layers_N     N first layers dense
//   window             sinks and the last tokens, as many as the budget
//   random, exact_topk sinks, the 16 last tokens and for each query random
//                      ones, or those with the largest logits
// InvalidArgument: another policy; Cancelled: keep_going, asked before each
// policy, said no.
absl::StatusOr<std::map<std::string, testbed::Recall>> CompareRecall(
    const lm::LanguageModel& model, const testbed::Recipe& recipe,
    const RecallOptions& options, const std::set<std::string>& policies,
    uint64_t seed, const std::function<bool()>& keep_going);

}  // namespace repro::hip

#endif  // REPRO_PAPERS_HIP_ATTENTION_RECALL_H_
