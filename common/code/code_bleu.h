#ifndef REPRO_COMMON_CODE_CODE_BLEU_H_
#define REPRO_COMMON_CODE_CODE_BLEU_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/code/language.h"
#include "common/metrics/code_bleu.h"

// The two parts of CodeBLEU (Ren et al. 2020) that need a parser, and the
// whole metric, over a corpus as CodeXGLUE's evaluator computes them.
namespace repro::code {

struct MatchScore {
  double score;  // matched / total, in [0, 1]
  int64_t matched;
  int64_t total;
};

// Shares of the references' syntax subtrees (the root and each inner node, as
// an S-expression of types) that the hypothesis has anywhere.
// references[i]: those of hypotheses[i]. InvalidArgument: unequal numbers, or
// none.
absl::StatusOr<MatchScore> SyntaxMatch(
    CodeLanguage language,
    const std::vector<std::vector<std::string>>& references,
    const std::vector<std::string>& hypotheses);

// Shares of the references' data-flow edges, variables renamed in order of
// appearance, that the hypothesis has; each of its edges matches once. A
// corpus whose references have no edge scores 0, as in the evaluator, which
// warns about it. Unimplemented for languages without data flow.
absl::StatusOr<MatchScore> DataFlowMatch(
    CodeLanguage language,
    const std::vector<std::vector<std::string>>& references,
    const std::vector<std::string>& hypotheses);

struct CodeBleuScore {
  double code_bleu;
  double ngram;
  double weighted_ngram;
  MatchScore syntax;
  MatchScore data_flow;
};

// All four parts; tokens are split at white space. `keywords` are the
// language's (KeywordsOf, or metrics::ParseKeywords of a file).
absl::StatusOr<CodeBleuScore> EvaluateCodeBleu(
    CodeLanguage language,
    const std::vector<std::vector<std::string>>& references,
    const std::vector<std::string>& hypotheses,
    const metrics::Keywords& keywords,
    const metrics::CodeBleuWeights& weights = {});

// The keywords of a language as its grammar has them: the tokens without name
// that are words.
metrics::Keywords KeywordsOf(CodeLanguage language);

}  // namespace repro::code

#endif  // REPRO_COMMON_CODE_CODE_BLEU_H_
