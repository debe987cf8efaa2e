// Which heads retrieve: scores of attention heads on a probe of random tokens
// repeated a few times, and the choice of those that keep their whole cache
// (RazorAttention, arXiv 2407.15891, section 3.2).
#ifndef REPRO_PAPERS_RAZOR_ATTENTION_HEAD_SCORES_H_
#define REPRO_PAPERS_RAZOR_ATTENTION_HEAD_SCORES_H_

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "common/lm/model.h"

namespace repro::razor {

// K tokens drawn uniformly, with replacement, and repeated.
struct Probe {
  int64_t period = 2500;  // K, at least 2
  int64_t repeats = 4;    // at least 2
  int64_t first_token = 10000;
  int64_t last_token = 12500;  // included
  int64_t bos = -1;            // put before all; -1: none
};

// [(bos >= 0) + period * repeats] int64 on the CPU.
at::Tensor MakeProbe(const Probe& probe, at::Generator generator);

// Of query heads: [layers, num_heads] float64 on the CPU. With P the causal
// attention probabilities of the head (S x S, S the probe's tokens) and i, j
// counted from the first random token,
//   echo      = 1 / S^2 sum P[i, j] over j < i, j = i mod K: earlier
//               occurrences of the token,
//   induction = the same of P[i, j + 1]: the tokens after them.
// Scores are tiny (3 K / S^2 for a head with all its weight there): what counts
// is their order.
struct HeadScores {
  at::Tensor echo;
  at::Tensor induction;
};

// Of one layer: [1, num_heads] each. q: [num_heads, S, head_dim], k:
// [num_kv_heads, S, head_dim], rotated; the random tokens begin at place
// `first`. In blocks of rows: never a whole S x S matrix.
HeadScores ScoreLayer(const at::Tensor& q, const at::Tensor& k, int64_t first,
                      int64_t period);

// One pass over MakeProbe(probe), without gradients. Throws c10::Error where
// the probe does not fit the model.
HeadScores ScoreHeads(const lm::LanguageModel& model, const Probe& probe,
                      at::Generator generator);

// ------------------------------------------------------------------ choice

// Numbers of key-value heads, ascending, of each layer.
using HeadSet = std::vector<std::vector<int64_t>>;

// The `count` largest of all layers together, as places in the flattened
// scores; the lower place wins a tie, so that there are never more than asked
// for.
std::vector<int64_t> TopPlaces(const at::Tensor& scores, int64_t count);

// The largest score of each group of query heads: [layers, num_heads] ->
// [layers, num_kv_heads].
at::Tensor GroupMax(const at::Tensor& scores, int64_t num_kv_heads);

// Places in [layers, heads] -> heads of each layer.
HeadSet ToHeadSet(const std::vector<int64_t>& places, int64_t layers,
                  int64_t heads);

// The key-value heads that any of the query heads at these places of [layers,
// num_heads] reads.
HeadSet PromoteGroups(const std::vector<int64_t>& places, int64_t layers,
                      int64_t num_heads, int64_t num_kv_heads);

int64_t CountHeads(const HeadSet& heads);

// How query heads, which are scored, become key-value heads, which are kept.
enum class Promotion {
  kKvHead,     // as published: the group's largest score; groups are ranked
  kQueryHead,  // query heads are ranked; a group with one of them is kept
};

// Shares of heads, each at least one head unless 0. round(heads * share) to the
// even number at a half, as Python's.
struct HeadShares {
  double echo = 0.01;
  double induction = 0.14;
};

// The union of the best by echo and the best by induction score.
HeadSet SelectRetrievalHeads(const HeadScores& scores, int64_t num_kv_heads,
                             const HeadShares& shares,
                             Promotion promotion = Promotion::kKvHead);

// `count` key-value heads drawn without replacement: a control.
HeadSet RandomHeads(int64_t layers, int64_t num_kv_heads, int64_t count,
                    at::Generator generator);

}  // namespace repro::razor

#endif  // REPRO_PAPERS_RAZOR_ATTENTION_HEAD_SCORES_H_
