// `--policy token_select`.
#include "common/lm/policy.h"

#include <algorithm>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/status/macros.h"
#include "papers/token_select/token_select.h"

namespace repro::token_select {
namespace {

constexpr int64_t kMost = int64_t{1} << 30;

// The value that `names` has for the option, or an error with all names.
template <typename T>
absl::StatusOr<T> Named(const lm::PolicyOptions& from,
                        const std::string& option,
                        const std::string& default_name,
                        const std::map<std::string, T>& names) {
  const std::string name = from.String(option, default_name);
  const auto found = names.find(name);
  if (found != names.end()) return found->second;
  std::string known;
  for (const auto& [value, unused] : names) {
    absl::StrAppend(&known, known.empty() ? "" : " or ", value);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("policy option ", option, "=", name, ": want ", known));
}

absl::StatusOr<TokenSelectOptions> ReadOptions(const lm::PolicyOptions& from) {
  TokenSelectOptions options;
  REPRO_ASSIGN_OR_RETURN(const int64_t budget,
                         from.Int("budget", options.budget(), 8, kMost));
  if (budget != options.budget()) {
    const int64_t published = options.budget();
    options.initial = budget * options.initial / published;
    options.local = std::max<int64_t>(1, budget * options.local / published);
    options.selected = budget - options.initial - options.local;
  }
  REPRO_ASSIGN_OR_RETURN(options.initial,
                         from.Int("initial", options.initial, 0, kMost));
  REPRO_ASSIGN_OR_RETURN(options.selected,
                         from.Int("selected", options.selected, 1, kMost));
  REPRO_ASSIGN_OR_RETURN(options.local,
                         from.Int("local", options.local, 1, kMost));
  REPRO_ASSIGN_OR_RETURN(
      options.chunk, from.Int("chunk", std::min(options.chunk, options.local),
                              1, options.local));
  REPRO_ASSIGN_OR_RETURN(options.theta,
                         from.Double("theta", options.theta, -1, 2));
  REPRO_ASSIGN_OR_RETURN(options.pool,
                         from.Int("pool", options.pool, 0, 1 << 20));
  REPRO_ASSIGN_OR_RETURN(options.rule,
                         Named<Rule>(from, "rule", "soft_vote",
                                     {{"soft_vote", Rule::kSoftVote},
                                      {"head_vote", Rule::kHeadVote},
                                      {"summed_logits", Rule::kSummedLogits}}));
  REPRO_ASSIGN_OR_RETURN(
      options.mapping,
      Named<HeadMapping>(from, "mapping", "published",
                         {{"published", HeadMapping::kPublished},
                          {"corrected", HeadMapping::kCorrected}}));
  return options;
}

absl::StatusOr<lm::StateFactory> Prepare(const lm::LanguageModel& model,
                                         const lm::PolicyOptions& from) {
  REPRO_ASSIGN_OR_RETURN(const TokenSelectOptions options, ReadOptions(from));
  return lm::StateFactory([options, config = model.config(),
                           device = model.device(), dtype = model.dtype()] {
    return MakeTokenSelectState(config, device, dtype, options);
  });
}

REPRO_REGISTER_POLICY((lm::Policy{
    "token_select",
    "TokenSelect: the first, the last and the most critical tokens, by soft "
    "vote of the heads, at places among these (arXiv 2411.02886)",
    {{"budget",
      "tokens that a query sees, of which 5% first, 19% last ones (2688)"},
     {"initial", "n_init: first tokens (128)"},
     {"selected", "k: selected tokens (2048)"},
     {"local", "n_local: last tokens (512)"},
     {"chunk",
      "queries of the prompt that share a selection, at most "
      "n_local (512)"},
     {"theta",
      "a selection is used again while the cosine of the queries is "
      "at least this; above 1: never (0.9)"},
     {"rule", "soft_vote, head_vote or summed_logits (soft_vote)"},
     {"mapping",
      "of query heads to key heads in the scoring: published (h "
      "mod key heads) or corrected (published)"},
     {"pool", "max-pooling of the votes over so many tokens (0)"}},
    Prepare}));

}  // namespace
}  // namespace repro::token_select
