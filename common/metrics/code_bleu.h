#ifndef REPRO_COMMON_METRICS_CODE_BLEU_H_
#define REPRO_COMMON_METRICS_CODE_BLEU_H_

#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/metrics/python_text.h"

// CodeBLEU (Ren et al. 2020) as CodeXGLUE's evaluator computes it, over a whole
// corpus. Its first two parts need tokens only; the other two, the shares of
// matching syntax subtrees and data-flow edges, come from a parser.
namespace repro::metrics {

// BLEU with BleuSmoothing::kEpsilon on white-space tokens.
absl::StatusOr<double> CodeBleuNgramMatch(
    const std::vector<std::vector<Tokens>>& references,
    const std::vector<Tokens>& hypotheses);

using Keywords = absl::flat_hash_set<std::string>;

// One keyword a line, white space around it dropped.
Keywords ParseKeywords(absl::string_view text);

// The weighted part is a recall: per order the sum over the references of
// min(c_reference, c_hypothesis) over the sum of max(1, c_reference), where at
// order 1 an n-gram counts 1 if it is a keyword and 0.2 if not; a total of 0
// matches counts as 0.1. The evaluator takes 2 for the length of every
// segment's reference, so that the brevity penalty does not show for ordinary
// hypotheses.
absl::StatusOr<double> CodeBleuWeightedNgramMatch(
    const std::vector<std::vector<Tokens>>& references,
    const std::vector<Tokens>& hypotheses, const Keywords& keywords);

struct CodeBleuWeights {
  double ngram = 0.25;
  double weighted_ngram = 0.25;
  double syntax = 0.25;
  double dataflow = 0.25;
};

// The weighted sum of the four parts, each in [0, 1]. InvalidArgument: a part
// outside of [0, 1].
absl::StatusOr<double> CodeBleu(double ngram, double weighted_ngram,
                                double syntax, double dataflow,
                                const CodeBleuWeights& weights = {});

}  // namespace repro::metrics

#endif  // REPRO_COMMON_METRICS_CODE_BLEU_H_
