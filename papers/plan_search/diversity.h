// How much the ideas of a problem's programs differ, judged by a language
// model: each program is described in words, then each pair is compared.
#ifndef REPRO_PAPERS_PLAN_SEARCH_DIVERSITY_H_
#define REPRO_PAPERS_PLAN_SEARCH_DIVERSITY_H_

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/completion/completion.h"
#include "papers/plan_search/search.h"

namespace repro::plan_search {

struct DiversityOptions {
  std::string model;  // empty: the client's. The paper's: GPT-4o-mini
  // Drawn without replacement. The paper's; the authors' program has 25 unless
  // told otherwise.
  int max_programs = 40;
  int64_t max_tokens = 4096;
  double top_p = 0.9;  // at temperature 0
};

struct JudgedPairs {
  int64_t similar = 0;
  int64_t pairs = 0;
};

// Whether a judge's reply says "same": it contains "yes", in any case.
bool SaysSame(absl::string_view reply);

// n descriptions and n (n - 1) / 2 verdicts for n = min(max_programs,
// programs). Empty programs are drawn like others, but get neither; with fewer
// than two others there are no pairs, and scoring.h's Diversity has no value.
// Errors: the client's, DataLoss where it gives no choice.
absl::StatusOr<JudgedPairs> JudgePairs(completion::CompletionClient& client,
                                       const Problem& problem,
                                       std::vector<std::string> programs,
                                       const DiversityOptions& options,
                                       std::mt19937_64& generator);

}  // namespace repro::plan_search

#endif  // REPRO_PAPERS_PLAN_SEARCH_DIVERSITY_H_
