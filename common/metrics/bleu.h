#ifndef REPRO_COMMON_METRICS_BLEU_H_
#define REPRO_COMMON_METRICS_BLEU_H_

#include <array>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/metrics/python_text.h"

// BLEU-4 (Papineni et al. 2002) as the papers' programs compute it. They
// differ by several points on the same outputs: name the variant with a number.
// Scores are in [0, 1]. A hypothesis has one or more references.
namespace repro::metrics {

enum class BleuSmoothing {
  kNone,     // multi-bleu.perl, sacrebleu: a precision of 0 makes the score 0
  kAddOne,   // (m + 1) / (t + 1) at every order: CodeXGLUE's code tasks
  kEpsilon,  // NLTK's corpus_bleu: a segment shorter than n adds 1 to the
             // denominator, and as in its method1 a total of 0 matches counts
             // as 0.1
};

// Which reference's length enters the brevity penalty.
enum class ReferenceLength {
  kClosest,   // multi-bleu.perl and NLTK; the shorter one of a tie
  kShortest,  // CodeXGLUE
};

struct BleuScore {
  double bleu = 0;
  std::array<double, 4> precisions = {};
  double brevity_penalty = 0;
  int64_t hypothesis_length = 0;
  int64_t reference_length = 0;
};

// BLEU of a corpus: matches and n-grams are summed over segments before the
// division. brevity penalty = exp(1 - r / c) where c < r, else 1; 0 where no
// hypothesis holds a token. InvalidArgument: no segments, unequally many
// hypotheses, a segment without a reference.
absl::StatusOr<BleuScore> CorpusBleu(
    const std::vector<std::vector<Tokens>>& references,
    const std::vector<Tokens>& hypotheses, BleuSmoothing smoothing,
    ReferenceLength reference_length);

// The tokens of CodeXGLUE's summaries (bleu.py of code-to-text): lower case,
// runs of word characters without "_", and every other character that is not
// white space by itself. The evaluator's NIST rules that follow this split only
// detach the "_".
Tokens CodeXglueTokens(absl::string_view text);

// CodeXGLUE's sentence BLEU: exp(1/4 sum_n log p_n + min(0, 1 - (r + 1) /
// (c + 1))), p_1 = m_1 / t_1 and p_n = (m_n + 1) / (t_n + 1) above, r the
// shortest reference's length; logarithms of 0 are those of the smallest normal
// double. A corpus scores the mean. InvalidArgument: no reference.
absl::StatusOr<double> CodeXglueSentenceBleu(
    const std::vector<Tokens>& references, const Tokens& hypothesis);

enum class NltkSmoothing {
  kMethod2,  // (m + 1) / (t + 1) above order 1
  kMethod4,  // the i-th order without a match: m = ln(c) / (5 * 2^i), if c > 1
};

// NLTK's sentence_bleu (3.5 and later, whose method 2 leaves order 1 alone): a
// precision's denominator is at least 1, the brevity penalty exp(1 - r / c)
// uses the closest reference, and the score is 0 without a common token.
// InvalidArgument: no reference.
absl::StatusOr<double> NltkSentenceBleu(const std::vector<Tokens>& references,
                                        const Tokens& hypothesis,
                                        NltkSmoothing smoothing);

}  // namespace repro::metrics

#endif  // REPRO_COMMON_METRICS_BLEU_H_
