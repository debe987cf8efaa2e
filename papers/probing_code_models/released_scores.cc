#include "papers/probing_code_models/released_scores.h"

#include <cmath>
#include <numeric>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/data/csv.h"
#include "common/status/macros.h"

namespace repro::probing_code_models {
namespace {

__extension__ using Wide = unsigned __int128;

}  // namespace

absl::StatusOr<ReleasedScores> ReadScores(const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const CsvTable table, CsvTable::Read(path));
  ReleasedScores scores;
  for (int64_t row = 0; row < table.num_rows(); ++row) {
    Probe probe;
    REPRO_ASSIGN_OR_RETURN(probe.task, table.Text(row, "task"));
    REPRO_ASSIGN_OR_RETURN(probe.dataset, table.Text(row, "dataset"));
    REPRO_ASSIGN_OR_RETURN(probe.graph, table.Text(row, "graph"));
    REPRO_ASSIGN_OR_RETURN(probe.model, table.Text(row, "model"));
    REPRO_ASSIGN_OR_RETURN(probe.init, table.Text(row, "init"));
    REPRO_ASSIGN_OR_RETURN(const int64_t layer, table.Int(row, "layer"));
    REPRO_ASSIGN_OR_RETURN(const int64_t repeat, table.Int(row, "repeat"));
    if (layer < 0) {
      return table.RowError(
          row, absl::StrCat("column 'layer': ", layer, " is negative"));
    }
    Score score;
    struct Column {
      const char* name;
      double Score::*member;
      double least;
    };
    for (const auto& [name, member, least] :
         {Column{"acc", &Score::accuracy, 0},
          Column{"precision", &Score::precision, 0},
          Column{"recall", &Score::recall, 0}, Column{"f1", &Score::f1, 0},
          Column{"mcc", &Score::mcc, -1}}) {
      REPRO_ASSIGN_OR_RETURN(const double value, table.Double(row, name));
      // Written so that NaN is refused too.
      if (!(value >= least && value <= 1)) {
        return table.RowError(row, absl::StrCat("column '", name, "': ", value,
                                                " is not in [", least, ", 1]"));
      }
      score.*member = value;
    }
    std::vector<Score>& repeats = scores[probe][layer];
    if (repeat != static_cast<int64_t>(repeats.size()) + 1) {
      return table.RowError(
          row, absl::StrCat("column 'repeat': expected ", repeats.size() + 1,
                            " of this layer, got ", repeat));
    }
    repeats.push_back(score);
  }
  if (scores.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": no scores"));
  }
  return scores;
}

double MeanOf(absl::Span<const Score> repeats, double Score::*measure) {
  double sum = 0;
  for (const Score& score : repeats) sum += score.*measure;
  return sum / static_cast<double>(repeats.size());
}

int64_t BestLayer(const Layers& layers) {
  int64_t best = layers.begin()->first;
  double best_mcc = MeanOf(layers.begin()->second, &Score::mcc);
  for (const auto& [layer, repeats] : layers) {
    const double mcc = MeanOf(repeats, &Score::mcc);
    if (mcc > best_mcc) {
      best = layer;
      best_mcc = mcc;
    }
  }
  return best;
}

absl::StatusOr<Fraction> NearestFraction(double value,
                                         int64_t max_denominator) {
  if (max_denominator < 1 || max_denominator > int64_t{1} << 30) {
    return absl::InvalidArgumentError(absl::StrCat(
        "max_denominator: ", max_denominator, " is not in [1, 2^30]"));
  }
  if (value == 0) return Fraction{0, 1};
  // Below 2^-40 the denominators would not fit.
  if (!(value >= std::ldexp(1.0, -40) && value <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a fraction for ", value, ": expected 0 or [2^-40, 1]"));
  }
  // value = mantissa / 2^(53 - exponent) exactly.
  int exponent = 0;
  const double mantissa = std::frexp(value, &exponent);
  Wide numerator = static_cast<Wide>(std::ldexp(mantissa, 53));
  Wide denominator = static_cast<Wide>(1) << (53 - exponent);
  while (numerator % 2 == 0) {
    numerator /= 2;
    denominator /= 2;
  }
  const Wide limit = static_cast<Wide>(max_denominator);
  const auto made = [](Wide p, Wide q) {
    return Fraction{static_cast<int64_t>(p), static_cast<int64_t>(q)};
  };
  if (denominator <= limit) return made(numerator, denominator);
  // Convergents p1/q1, and the last before it.
  Wide p0 = 0, q0 = 1, p1 = 1, q1 = 0;
  const Wide whole_denominator = denominator;
  while (true) {
    const Wide a = numerator / denominator;
    const Wide q2 = q0 + a * q1;
    if (q2 > limit) break;
    const Wide p2 = p0 + a * p1;
    p0 = p1;
    q0 = q1;
    p1 = p2;
    q1 = q2;
    const Wide rest = numerator - a * denominator;
    numerator = denominator;
    denominator = rest;
  }
  // The best of the last convergent and the largest semiconvergent. The
  // convergent's distance is denominator / (q1 whole_denominator); both lie on
  // different sides of the value and 1 / (q1 q) apart.
  const Wide k = (limit - q0) / q1;
  const Wide q = q0 + k * q1;
  if (2 * denominator * q <= whole_denominator) return made(p1, q1);
  return made(p0 + k * p1, q);
}

absl::StatusOr<int64_t> RecoverTestSize(absl::Span<const double> accuracies,
                                        int64_t max_items) {
  if (accuracies.empty()) {
    return absl::InvalidArgumentError("test size: no accuracies");
  }
  int64_t items = 1;
  for (const double accuracy : accuracies) {
    REPRO_ASSIGN_OR_RETURN(const Fraction fraction,
                           NearestFraction(accuracy, max_items));
    if (static_cast<double>(fraction.numerator) /
            static_cast<double>(fraction.denominator) !=
        accuracy) {
      return absl::InvalidArgumentError(
          absl::StrCat("test size: ", accuracy, " is not a share of at most ",
                       max_items, " items"));
    }
    // Both are at most 2^30, so the product fits.
    items = std::lcm(items, fraction.denominator);
    if (items > max_items) {
      return absl::InvalidArgumentError(
          absl::StrCat("test size: the accuracies are not of one set of at "
                       "most ",
                       max_items, " items"));
    }
  }
  return items;
}

absl::StatusOr<Confusion> RecoverConfusion(const Score& score, int64_t items) {
  if (!(score.precision > 0 && score.recall > 0)) {
    return absl::InvalidArgumentError(
        "confusion matrix: a precision or recall of 0 does not determine it");
  }
  const double false_per_true = 1 / score.precision - 1;
  const double errors_per_positive =
      1 - score.recall + score.recall * false_per_true;
  if (errors_per_positive == 0) {
    return absl::InvalidArgumentError(
        "confusion matrix: a perfect score does not determine it");
  }
  const double positives =
      static_cast<double>(items) * (1 - score.accuracy) / errors_per_positive;
  if (!(positives < static_cast<double>(items) + 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("confusion matrix: the score is not of ", items,
                     " items: ", positives, " positives"));
  }
  const int64_t num_positives = std::llround(positives);
  Confusion counts;
  counts.true_positives =
      std::llround(score.recall * static_cast<double>(num_positives));
  counts.false_positives =
      std::llround(static_cast<double>(counts.true_positives) * false_per_true);
  counts.false_negatives = num_positives - counts.true_positives;
  counts.true_negatives = items - num_positives - counts.false_positives;
  if (counts.false_negatives < 0 || counts.true_negatives < 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "confusion matrix: the score is not of ", items,
        " items: ", counts.true_positives, " true and ", counts.false_positives,
        " false positives of ", num_positives));
  }
  return counts;
}

Score ScoreOf(const Confusion& counts) {
  const auto ratio = [](double part, double whole) {
    return whole == 0 ? 0.0 : part / whole;
  };
  const auto tp = static_cast<double>(counts.true_positives);
  const auto fp = static_cast<double>(counts.false_positives);
  const auto fn = static_cast<double>(counts.false_negatives);
  const auto tn = static_cast<double>(counts.true_negatives);
  Score score;
  score.accuracy = ratio(tp + tn, tp + fp + fn + tn);
  score.precision = ratio(tp, tp + fp);
  score.recall = ratio(tp, tp + fn);
  score.f1 =
      ratio(2 * score.precision * score.recall, score.precision + score.recall);
  // In integers below 2^53 up to the product under the root, as numpy has it:
  // s^2 - sum p_k^2 is 2 (tp + fp)(tn + fn).
  const double predicted = 2 * (tp + fp) * (tn + fn);
  const double actual = 2 * (tp + fn) * (tn + fp);
  const double covariance = 2 * (tp * tn - fp * fn);
  score.mcc = ratio(covariance, std::sqrt(predicted * actual));
  return score;
}

}  // namespace repro::probing_code_models
