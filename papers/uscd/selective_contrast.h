// Uncertainty-aware selective contrastive decoding, the rule for one token.
//
// p and q are the softmax of the next-token logits under the standard prompt
// and under the lame prompt, which lacks the examples; V tokens.
//
//   mu = sqrt(sum_v (p(v) - 1/V)^2 / (V - 1))     large where p is sure
//   mu > theta:  score = log p                    and log q for the lame row
//   else:        K = {v : p(v) >= eta / V}
//                score(v) = log(w0 p(v) + w1 q(v)) on K, -inf elsewhere and
//                where the sum is not positive    for both rows
//
// Temperature and top-p act on the score afterwards, as on logits.
#ifndef REPRO_PAPERS_USCD_SELECTIVE_CONTRAST_H_
#define REPRO_PAPERS_USCD_SELECTIVE_CONTRAST_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace repro::uscd {

// The defaults are those of the authors' program.
struct UscdSettings {
  // 0: never (but for an exactly flat p); 1/sqrt(V) and above: always.
  double theta = 0.0035;
  double eta = 1.0 / 3;  // of the mean probability 1/V
  double standard_weight = 1.0;
  double lame_weight = -0.7;

  // The authors' script for CodeLlama-7b: theta 0.005, eta 2/3.
  static UscdSettings CodeLlama7b();
};
// InvalidArgument, naming the field: theta or eta negative, standard_weight not
// positive, lame_weight positive, or any of them not finite.
absl::Status Validate(const UscdSettings& settings);

// exp(logits - max) over their sum, in double. logits: [vocab_size], at least
// two. InvalidArgument: fewer, a NaN or +inf, or none finite.
absl::StatusOr<std::vector<double>> Probabilities(
    absl::Span<const float> logits);

// mu of probabilities [vocab_size >= 2] that sum to 1.
double Deviation(absl::Span<const double> probabilities);

// With S = sum_v p(v)^2: mu^2 = (S - 1/V) / (V - 1).
double LargestDeviation(int64_t vocab_size);  // 1/sqrt(V), one-hot
double SumOfSquares(double deviation, int64_t vocab_size);
double DeviationOf(double sum_of_squares, int64_t vocab_size);
// The theta that means the same sum of squares for another vocabulary. 0 if
// that is below what a flat distribution has there.
double EquivalentTheta(double theta, int64_t vocab_size, int64_t other_size);

struct TokenScores {
  double deviation = 0;     // mu
  bool contrasted = false;  // mu <= theta
  // No score was finite (w0 p + w1 q <= 0 on all of K, or K empty): log p.
  bool fell_back = false;
  std::vector<float> standard, lame;  // [vocab_size], never NaN or +inf
};

// Logits of both rows, [vocab_size] each, to scores. InvalidArgument: unequal
// lengths, and the errors of Validate and Probabilities.
absl::StatusOr<TokenScores> SelectiveContrast(
    absl::Span<const float> standard_logits,
    absl::Span<const float> lame_logits, const UscdSettings& settings);

// For comparison, contrastive decoding by ratio (Li et al. 2022, arXiv
// 2210.15097, equations 2 to 4): log p - log q where p(v) >= alpha max p, -inf
// elsewhere. alpha in (0, 1].
absl::StatusOr<TokenScores> LogRatioContrast(
    absl::Span<const float> standard_logits,
    absl::Span<const float> lame_logits, double alpha);

// In nats, 0 to ln 2. Values are divided by their sums first. InvalidArgument:
// empty, unequal lengths, a value negative or not finite, a sum of 0.
absl::StatusOr<double> JensenShannon(absl::Span<const double> a,
                                     absl::Span<const double> b);

}  // namespace repro::uscd

#endif  // REPRO_PAPERS_USCD_SELECTIVE_CONTRAST_H_
