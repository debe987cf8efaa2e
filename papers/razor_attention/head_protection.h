// Which heads must keep the whole cache: recall of a small trained model when
// sets of heads of equal size do (after the paper's comparison of protected
// heads), and of what dense attention and token selection recall.
#ifndef REPRO_PAPERS_RAZOR_ATTENTION_HEAD_PROTECTION_H_
#define REPRO_PAPERS_RAZOR_ATTENTION_HEAD_PROTECTION_H_

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
#include "papers/razor_attention/head_scores.h"
#include "papers/razor_attention/razor_attention.h"

namespace repro::razor {

struct ProtectionOptions {
  std::vector<testbed::Task> tasks = {testbed::Task::kPasskey,
                                      testbed::Task::kKeyValue};
  int64_t length = 1024;  // tokens of a sequence
  int64_t questions = 4;  // a sequence
  int64_t count = 16;     // sequences of each task
  int64_t batch = 16;     // of these side by side
  int64_t probe_period = 256;
  HeadShares shares;
  // The window is the prompt / ratio; without a least window.
  double ratio = 5;
};

// How one policy recalls, by name. Prompts are read with dense attention.
//   all               every head keeps everything
//   retrieval         the paper: the best by induction and echo score keep it,
//                     the others sinks, window and compensation token
//   induction, echo   only the best by the one score
//   random, bottom    as many heads as `retrieval`, drawn, or those with the
//                     least induction scores
//   plain, dropped    `retrieval` with a compensation token that counts once,
//                     and without one
// and where every head keeps, or sees, as many tokens as `retrieval` keeps a
// head on average:
//   window            the first 4 and the last ones
//   tokens_topk       the first 4, the last 16 and those with the largest
//                     logits, for each query
//   tokens_random     the first 4, the last 16 and random ones, for each query
std::vector<std::string> ProtectionPolicies();

// One seed: of the probe, the random heads and the sequences, which all
// policies share. `keep_going` is asked before each policy; Cancelled when it
// says no.
absl::StatusOr<std::map<std::string, testbed::Recall>> CompareProtection(
    const lm::LanguageModel& model, const testbed::Recipe& recipe,
    const ProtectionOptions& options, const std::set<std::string>& policies,
    uint64_t seed, const std::function<bool()>& keep_going);

}  // namespace repro::razor

#endif  // REPRO_PAPERS_RAZOR_ATTENTION_HEAD_PROTECTION_H_
