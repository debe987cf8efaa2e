// From integer codes of attention heads to a predicted circuit, and how well it
// agrees with a known one (O'Neill and Bui 2024, arXiv 2405.12522; rules as in
// the authors' code, src/node.py and src/edge.py).
//
//   auto scores = NodeScores(codes, Normalisation::kNone);
//   auto curve = MakeRocCurve(in_circuit, *scores);
//   auto area = RocArea(*curve);
//
// No LibTorch. Errors are InvalidArgument and name what is wrong.
#ifndef REPRO_PAPERS_SAE_CIRCUITS_CIRCUIT_H_
#define REPRO_PAPERS_SAE_CIRCUITS_CIRCUIT_H_

#include <cstdint>
#include <random>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace repro::sae_circuits {

// One code for each example and head. The first half of the examples are
// positive (the model can do the task), the second half negative.
struct HeadCodes {
  int64_t num_examples = 0;  // even, at least 2
  int64_t num_heads = 0;     // at least 1
  // [num_examples, num_heads], in [0, 2^31).
  std::vector<int64_t> codes;

  int64_t at(int64_t example, int64_t head) const {
    return codes[example * num_heads + head];
  }
};

// The authors' option `normalise`, off in their main results.
enum class Normalisation { kNone, kShare };

// For each head |P \ Q|, the number of codes that positive examples have and
// negative ones have not; kShare: divided by |P u Q|.
absl::StatusOr<std::vector<double>> NodeScores(const HeadCodes& codes,
                                               Normalisation normalisation);

// For each head |P u Q|, the number of its codes: a score that knows no labels,
// to compare with.
absl::StatusOr<std::vector<double>> DistinctCodes(const HeadCodes& codes);

// NodeScores of pairs of codes that two heads have in one example:
// [num_heads, num_heads], symmetric, zeros on the diagonal. kShare divides by
// |P| + |Q| here, in which what both have counts twice.
absl::StatusOr<std::vector<double>> EdgeScores(const HeadCodes& codes,
                                               Normalisation normalisation);

// Which of equal pairs comes first. The authors reverse an ascending sort,
// which with a stable sort gives kHighestFirst; numpy's default sort leaves it
// open.
enum class TieOrder { kHighestFirst, kLowestFirst };

// How often each head is named in the first floor(num_heads^2 / 2) entries of
// the list h1, h2, h1', h2', ... of all ordered pairs by descending score: a
// score of heads from scores of edges. Entries, not pairs, are counted, so that
// a quarter of the pairs is read, each edge in both directions.
absl::StatusOr<std::vector<double>> HeadMentions(
    const std::vector<double>& edge_scores, int64_t num_heads, TieOrder ties);

// A ROC curve from (0, 0) to (1, 1), both coordinates never falling.
struct RocCurve {
  std::vector<double> fpr, tpr;
};

absl::Status CheckCurve(const RocCurve& curve);

// One point for each distinct score, from the highest down: equal scores are
// one step. Both classes must be there, and no NaN.
absl::StatusOr<RocCurve> MakeRocCurve(const std::vector<bool>& in_circuit,
                                      const std::vector<double>& scores);

// By trapezoids.
absl::StatusOr<double> RocArea(const RocCurve& curve);

// The largest 2 t (1 - f) / (t + 1 - f) along the curve, t and f its tpr and
// fpr: the harmonic mean of the true positive and the true negative rate, which
// the authors' code names F1.
absl::StatusOr<double> BestHarmonicRate(const RocCurve& curve);

// The largest F1 = 2 TP / (2 TP + FP + FN) along the curve.
absl::StatusOr<double> BestF1(const RocCurve& curve, int64_t num_positives,
                              int64_t num_negatives);

// The three steps from codes to an area, by nodes or by edges (scores not
// normalised).
absl::StatusOr<double> NodeArea(const HeadCodes& codes,
                                const std::vector<bool>& in_circuit,
                                Normalisation normalisation);
absl::StatusOr<double> EdgeArea(const HeadCodes& codes,
                                const std::vector<bool>& in_circuit,
                                TieOrder ties);

// The area of DistinctCodes.
absl::StatusOr<double> DistinctCodesArea(const HeadCodes& codes,
                                         const std::vector<bool>& in_circuit);

// The examples in another order: example e of the result is example order[e].
absl::StatusOr<HeadCodes> ReorderExamples(const HeadCodes& codes,
                                          const std::vector<int64_t>& order);

// The mean of NodeArea over `shuffles` random orders of the examples, in which
// labels mean nothing.
absl::StatusOr<double> ShuffledNodeArea(const HeadCodes& codes,
                                        const std::vector<bool>& in_circuit,
                                        int64_t shuffles,
                                        std::mt19937_64& random);

// Whether `value` is a multiple of 1 / `denominator` up to the rounding of a
// double.
bool IsMultiple(double value, int64_t denominator);

// Whether a mean and a standard deviation may be those of `trials` areas under
// ROC curves of num_positives and num_negatives items: an area is a multiple of
// 1 / D, D = 2 num_positives num_negatives (ties count a half), so that D times
// the sum S is whole, and so is the sum of squares that mean and deviation give
// back; the two have the same parity (after Brown and Heathers 2017, Anaya
// 2016). `degrees_of_freedom` is what the squares were divided by, `trials` or
// one less.
bool AreasMayHave(double mean, double standard_deviation, int64_t trials,
                  int64_t degrees_of_freedom, int64_t num_positives,
                  int64_t num_negatives);

}  // namespace repro::sae_circuits

#endif  // REPRO_PAPERS_SAE_CIRCUITS_CIRCUIT_H_
