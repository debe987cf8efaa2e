#include "papers/sae_circuits/circuit.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "common/status/macros.h"

namespace repro::sae_circuits {
namespace {

constexpr int64_t kMaxCode = int64_t{1} << 31;

absl::Status CheckCodes(const HeadCodes& codes) {
  if (codes.num_examples < 2 || codes.num_examples % 2 != 0 ||
      codes.num_heads < 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "codes: an even number of examples and at least one head are needed, "
        "got ",
        codes.num_examples, " and ", codes.num_heads));
  }
  // Divided, not multiplied, which could overflow.
  const auto size = static_cast<int64_t>(codes.codes.size());
  if (size % codes.num_heads != 0 ||
      size / codes.num_heads != codes.num_examples) {
    return absl::InvalidArgumentError(
        absl::StrCat("codes: ", size, " for ", codes.num_examples,
                     " examples of ", codes.num_heads, " heads"));
  }
  for (const int64_t code : codes.codes) {
    if (code < 0 || code >= kMaxCode) {
      return absl::InvalidArgumentError(
          absl::StrCat("codes: ", code, " is not in [0, 2^31)"));
    }
  }
  return absl::OkStatus();
}

struct Overlap {
  int64_t positive = 0;       // |P|
  int64_t negative = 0;       // |Q|
  int64_t positive_only = 0;  // |P \ Q|

  int64_t in_any() const { return negative + positive_only; }
};

void SortAndDeduplicate(std::vector<int64_t>* values) {
  std::sort(values->begin(), values->end());
  values->erase(std::unique(values->begin(), values->end()), values->end());
}

// The sets of key(example) over positives and negatives.
template <typename Key>
Overlap CountKeys(int64_t num_examples, const Key& key) {
  std::vector<int64_t> positive, negative;
  for (int64_t e = 0; e < num_examples / 2; ++e) {
    positive.push_back(key(e));
    negative.push_back(key(num_examples / 2 + e));
  }
  SortAndDeduplicate(&positive);
  SortAndDeduplicate(&negative);
  Overlap overlap;
  overlap.positive = static_cast<int64_t>(positive.size());
  overlap.negative = static_cast<int64_t>(negative.size());
  for (const int64_t value : positive) {
    overlap.positive_only +=
        !std::binary_search(negative.begin(), negative.end(), value);
  }
  return overlap;
}

double Ratio(int64_t a, int64_t b) {
  return static_cast<double>(a) / static_cast<double>(b);
}

}  // namespace

absl::StatusOr<std::vector<double>> NodeScores(const HeadCodes& codes,
                                               Normalisation normalisation) {
  REPRO_RETURN_IF_ERROR(CheckCodes(codes));
  std::vector<double> scores;
  for (int64_t head = 0; head < codes.num_heads; ++head) {
    const Overlap overlap = CountKeys(codes.num_examples, [&](int64_t example) {
      return codes.at(example, head);
    });
    scores.push_back(normalisation == Normalisation::kNone
                         ? static_cast<double>(overlap.positive_only)
                         : Ratio(overlap.positive_only, overlap.in_any()));
  }
  return scores;
}

absl::StatusOr<std::vector<double>> DistinctCodes(const HeadCodes& codes) {
  REPRO_RETURN_IF_ERROR(CheckCodes(codes));
  std::vector<double> counts;
  for (int64_t head = 0; head < codes.num_heads; ++head) {
    counts.push_back(
        static_cast<double>(CountKeys(codes.num_examples, [&](int64_t example) {
                              return codes.at(example, head);
                            }).in_any()));
  }
  return counts;
}

absl::StatusOr<std::vector<double>> EdgeScores(const HeadCodes& codes,
                                               Normalisation normalisation) {
  REPRO_RETURN_IF_ERROR(CheckCodes(codes));
  const int64_t heads = codes.num_heads;
  std::vector<double> scores(heads * heads, 0);
  for (int64_t a = 0; a < heads; ++a) {
    for (int64_t b = a + 1; b < heads; ++b) {
      const Overlap overlap =
          CountKeys(codes.num_examples, [&](int64_t example) {
            return codes.at(example, a) * kMaxCode + codes.at(example, b);
          });
      const double score = normalisation == Normalisation::kNone
                               ? static_cast<double>(overlap.positive_only)
                               : Ratio(overlap.positive_only,
                                       overlap.positive + overlap.negative);
      scores[a * heads + b] = score;
      scores[b * heads + a] = score;
    }
  }
  return scores;
}

absl::StatusOr<std::vector<double>> HeadMentions(
    const std::vector<double>& edge_scores, int64_t num_heads, TieOrder ties) {
  const auto size = static_cast<int64_t>(edge_scores.size());
  if (num_heads < 1 || size % num_heads != 0 || size / num_heads != num_heads) {
    return absl::InvalidArgumentError(
        absl::StrCat("edge scores: ", size, " for ", num_heads, " heads"));
  }
  for (const double score : edge_scores) {
    if (std::isnan(score)) {
      return absl::InvalidArgumentError("edge scores: NaN");
    }
  }
  std::vector<int64_t> order(size);
  std::iota(order.begin(), order.end(), 0);
  if (ties == TieOrder::kHighestFirst) std::reverse(order.begin(), order.end());
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return edge_scores[a] > edge_scores[b];
  });
  std::vector<double> mentions(num_heads, 0);
  for (int64_t i = 0; i < size / 2; ++i) {
    const int64_t pair = order[i / 2];
    ++mentions[i % 2 == 0 ? pair / num_heads : pair % num_heads];
  }
  return mentions;
}

absl::Status CheckCurve(const RocCurve& curve) {
  if (curve.fpr.size() != curve.tpr.size() || curve.fpr.size() < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("ROC curve: ", curve.fpr.size(), " and ", curve.tpr.size(),
                     " coordinates, expected at least 2 of both"));
  }
  for (const std::vector<double>* axis : {&curve.fpr, &curve.tpr}) {
    // Written so that NaN is refused too.
    bool rises = axis->front() == 0 && axis->back() == 1;
    for (size_t i = 1; i < axis->size(); ++i) {
      rises = rises && (*axis)[i] >= (*axis)[i - 1];
    }
    if (!rises) {
      return absl::InvalidArgumentError(
          absl::StrCat("ROC curve: ", axis == &curve.fpr ? "fpr" : "tpr",
                       " does not rise from 0 to 1"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<RocCurve> MakeRocCurve(const std::vector<bool>& in_circuit,
                                      const std::vector<double>& scores) {
  const auto size = static_cast<int64_t>(scores.size());
  const int64_t positives =
      std::count(in_circuit.begin(), in_circuit.end(), true);
  if (in_circuit.size() != scores.size() || positives == 0 ||
      positives == size) {
    return absl::InvalidArgumentError(
        absl::StrCat("ROC curve: ", scores.size(), " scores of ",
                     in_circuit.size(), " heads, ", positives,
                     " of them in the circuit; both classes are needed"));
  }
  for (const double score : scores) {
    if (std::isnan(score)) {
      return absl::InvalidArgumentError("ROC curve: a score is NaN");
    }
  }
  std::vector<int64_t> order(size);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](int64_t a, int64_t b) { return scores[a] > scores[b]; });
  RocCurve curve = {{0}, {0}};
  int64_t true_positives = 0;
  for (int64_t i = 0; i < size; ++i) {
    true_positives += in_circuit[order[i]];
    if (i + 1 < size && scores[order[i + 1]] == scores[order[i]]) continue;
    curve.tpr.push_back(Ratio(true_positives, positives));
    curve.fpr.push_back(Ratio(i + 1 - true_positives, size - positives));
  }
  return curve;
}

absl::StatusOr<double> RocArea(const RocCurve& curve) {
  REPRO_RETURN_IF_ERROR(CheckCurve(curve));
  double area = 0;
  for (size_t i = 1; i < curve.fpr.size(); ++i) {
    area += (curve.fpr[i] - curve.fpr[i - 1]) *
            (curve.tpr[i] + curve.tpr[i - 1]) / 2;
  }
  return area;
}

absl::StatusOr<double> BestHarmonicRate(const RocCurve& curve) {
  REPRO_RETURN_IF_ERROR(CheckCurve(curve));
  double best = 0;
  for (size_t i = 0; i < curve.fpr.size(); ++i) {
    const double t = curve.tpr[i], specificity = 1 - curve.fpr[i];
    if (t + specificity > 0) {
      best = std::max(best, 2 * t * specificity / (t + specificity));
    }
  }
  return best;
}

absl::StatusOr<double> BestF1(const RocCurve& curve, int64_t num_positives,
                              int64_t num_negatives) {
  REPRO_RETURN_IF_ERROR(CheckCurve(curve));
  if (num_positives < 1 || num_negatives < 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "F1: ", num_positives, " positives and ", num_negatives, " negatives"));
  }
  const auto p = static_cast<double>(num_positives);
  const auto n = static_cast<double>(num_negatives);
  double best = 0;
  for (size_t i = 0; i < curve.fpr.size(); ++i) {
    // 2 TP + FP + FN = (TP + FP) + P.
    best = std::max(
        best, 2 * curve.tpr[i] * p / (curve.tpr[i] * p + curve.fpr[i] * n + p));
  }
  return best;
}

absl::StatusOr<double> NodeArea(const HeadCodes& codes,
                                const std::vector<bool>& in_circuit,
                                Normalisation normalisation) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<double> scores,
                         NodeScores(codes, normalisation));
  REPRO_ASSIGN_OR_RETURN(const RocCurve curve,
                         MakeRocCurve(in_circuit, scores));
  return RocArea(curve);
}

absl::StatusOr<double> EdgeArea(const HeadCodes& codes,
                                const std::vector<bool>& in_circuit,
                                TieOrder ties) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<double> scores,
                         EdgeScores(codes, Normalisation::kNone));
  REPRO_ASSIGN_OR_RETURN(const std::vector<double> mentions,
                         HeadMentions(scores, codes.num_heads, ties));
  REPRO_ASSIGN_OR_RETURN(const RocCurve curve,
                         MakeRocCurve(in_circuit, mentions));
  return RocArea(curve);
}

absl::StatusOr<double> DistinctCodesArea(const HeadCodes& codes,
                                         const std::vector<bool>& in_circuit) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<double> counts,
                         DistinctCodes(codes));
  REPRO_ASSIGN_OR_RETURN(const RocCurve curve,
                         MakeRocCurve(in_circuit, counts));
  return RocArea(curve);
}

absl::StatusOr<HeadCodes> ReorderExamples(const HeadCodes& codes,
                                          const std::vector<int64_t>& order) {
  REPRO_RETURN_IF_ERROR(CheckCodes(codes));
  std::vector<int64_t> sorted = order;
  std::sort(sorted.begin(), sorted.end());
  bool permutation = static_cast<int64_t>(order.size()) == codes.num_examples;
  for (size_t i = 0; i < sorted.size(); ++i) {
    permutation = permutation && sorted[i] == static_cast<int64_t>(i);
  }
  if (!permutation) {
    return absl::InvalidArgumentError(
        absl::StrCat("order: ", order.size(), " numbers, expected those of ",
                     codes.num_examples, " examples, each once"));
  }
  HeadCodes reordered = codes;
  for (int64_t e = 0; e < codes.num_examples; ++e) {
    const auto from = codes.codes.begin() + order[e] * codes.num_heads;
    std::copy(from, from + codes.num_heads,
              reordered.codes.begin() + e * codes.num_heads);
  }
  return reordered;
}

absl::StatusOr<double> ShuffledNodeArea(const HeadCodes& codes,
                                        const std::vector<bool>& in_circuit,
                                        int64_t shuffles,
                                        std::mt19937_64& random) {
  if (shuffles < 1) {
    return absl::InvalidArgumentError(absl::StrCat(shuffles, " shuffles"));
  }
  REPRO_RETURN_IF_ERROR(CheckCodes(codes));
  std::vector<int64_t> order(codes.num_examples);
  std::iota(order.begin(), order.end(), 0);
  double sum = 0;
  for (int64_t i = 0; i < shuffles; ++i) {
    std::shuffle(order.begin(), order.end(), random);
    REPRO_ASSIGN_OR_RETURN(const HeadCodes shuffled,
                           ReorderExamples(codes, order));
    REPRO_ASSIGN_OR_RETURN(const double area, NodeArea(shuffled, in_circuit,
                                                       Normalisation::kNone));
    sum += area;
  }
  return sum / static_cast<double>(shuffles);
}

bool IsMultiple(double value, int64_t denominator) {
  const double whole = value * static_cast<double>(denominator);
  return std::abs(whole - std::round(whole)) < 1e-6;
}

bool AreasMayHave(double mean, double standard_deviation, int64_t trials,
                  int64_t degrees_of_freedom, int64_t num_positives,
                  int64_t num_negatives) {
  const auto n = static_cast<double>(trials);
  const auto d = static_cast<double>(2 * num_positives * num_negatives);
  const double sum = mean * n * d;
  if (std::abs(sum - std::round(sum)) > 1e-6) return false;
  // n sum k^2 - (sum k)^2 for whole k = D area.
  const double spread = standard_deviation * standard_deviation *
                        static_cast<double>(degrees_of_freedom) * n * d * d;
  // A printed double has 16 digits; squared and scaled, 1e-12 is left.
  if (std::abs(spread - std::round(spread)) > 1e-3) return false;
  const auto whole_sum = static_cast<int64_t>(std::llround(sum));
  const auto squares =
      static_cast<int64_t>(std::llround(spread)) + whole_sum * whole_sum;
  if (squares % trials != 0) return false;
  return (squares / trials - whole_sum) % 2 == 0;
}

}  // namespace repro::sae_circuits
