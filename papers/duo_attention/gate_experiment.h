// Gates found on a small trained model, and its recall when only the heads of
// the largest gates keep their cache, beside other choices of as many heads.
#ifndef REPRO_PAPERS_DUO_ATTENTION_GATE_EXPERIMENT_H_
#define REPRO_PAPERS_DUO_ATTENTION_GATE_EXPERIMENT_H_

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/lm/model.h"
#include "common/testbed/recipe.h"

namespace repro::duo {

using Quantities = std::map<std::string, std::vector<double>>;

struct GateExperiment {
  // What to measure: "dense", "duo@0.5", "random@0.5", "profile@0.5" (the heads
  // of the largest AttentionProfile) and "window@0.5" (every head keeps sinks
  // and a window, as many entries in all), @ the share of heads that stream,
  // each the share of exact answers of the task that gates were found on;
  // "key_value:..." before it: of that other task.
  std::set<std::string> names;
  int64_t steps = 300;
  int64_t count = 8;  // sequences
  int64_t profile_sequences = 8;
  std::function<bool()> cancelled;
};

// Appends a value for each name. Gates are found, and recall is measured, at
// the longest length of the recipe's training, on passkeys if the recipe
// trained them, else on key-value pairs; streaming heads see length / 64 sinks
// and the last length / 16 tokens.
absl::Status CompareHeads(const lm::LanguageModel& model,
                          const testbed::Recipe& recipe,
                          const GateExperiment& experiment, uint64_t seed,
                          Quantities* quantities, std::string* scale);

}  // namespace repro::duo

#endif  // REPRO_PAPERS_DUO_ATTENTION_GATE_EXPERIMENT_H_
