#include "papers/uscd/selective_contrast.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

#include "absl/strings/str_cat.h"
#include "common/status/macros.h"

namespace repro::uscd {
namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

float Log(double value) {
  // A NaN fails the comparison, too.
  return value > 0 ? static_cast<float>(std::log(value)) : kForbidden;
}

std::vector<float> Logs(const std::vector<double>& values) {
  std::vector<float> logs;
  logs.reserve(values.size());
  for (const double value : values) logs.push_back(Log(value));
  return logs;
}

bool AnyFinite(const std::vector<float>& scores) {
  return std::any_of(scores.begin(), scores.end(),
                     [](float score) { return std::isfinite(score); });
}

struct Rows {
  std::vector<double> p, q;
};

absl::StatusOr<Rows> RowsOf(absl::Span<const float> standard_logits,
                            absl::Span<const float> lame_logits) {
  if (standard_logits.size() != lame_logits.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(standard_logits.size(), " logits of the standard prompt, ",
                     lame_logits.size(), " of the lame one"));
  }
  Rows rows;
  REPRO_ASSIGN_OR_RETURN(rows.p, Probabilities(standard_logits));
  REPRO_ASSIGN_OR_RETURN(rows.q, Probabilities(lame_logits));
  return rows;
}

}  // namespace

UscdSettings UscdSettings::CodeLlama7b() {
  UscdSettings settings;
  settings.theta = 0.005;
  settings.eta = 2.0 / 3;
  return settings;
}

absl::Status Validate(const UscdSettings& settings) {
  const auto error = [](const char* field, double value) {
    return absl::InvalidArgumentError(absl::StrCat(field, " is ", value));
  };
  // Comparisons are false for NaN.
  if (!(settings.theta >= 0) || !std::isfinite(settings.theta)) {
    return error("theta", settings.theta);
  }
  if (!(settings.eta >= 0) || !std::isfinite(settings.eta)) {
    return error("eta", settings.eta);
  }
  if (!(settings.standard_weight > 0) ||
      !std::isfinite(settings.standard_weight)) {
    return error("standard_weight", settings.standard_weight);
  }
  if (!(settings.lame_weight <= 0) || !std::isfinite(settings.lame_weight)) {
    return error("lame_weight", settings.lame_weight);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<double>> Probabilities(
    absl::Span<const float> logits) {
  if (logits.size() < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat(logits.size(), " logits; at least 2 are needed"));
  }
  float largest = kForbidden;
  for (size_t v = 0; v < logits.size(); ++v) {
    if (std::isnan(logits[v]) || logits[v] == -kForbidden) {
      return absl::InvalidArgumentError(
          absl::StrCat("logit ", v, " is ", logits[v]));
    }
    largest = std::max(largest, logits[v]);
  }
  if (largest == kForbidden) {
    return absl::InvalidArgumentError("no logit is finite");
  }
  std::vector<double> probabilities(logits.size());
  double sum = 0;
  for (size_t v = 0; v < logits.size(); ++v) {
    probabilities[v] = std::exp(static_cast<double>(logits[v]) - largest);
    sum += probabilities[v];
  }
  for (double& probability : probabilities) probability /= sum;
  return probabilities;
}

double Deviation(absl::Span<const double> probabilities) {
  const auto vocab_size = static_cast<double>(probabilities.size());
  // The mean of probabilities is 1/V; differences from it, since the sum of
  // squares less 1/V cancels where p is nearly flat.
  double sum = 0;
  for (const double p : probabilities) {
    sum += (p - 1 / vocab_size) * (p - 1 / vocab_size);
  }
  return std::sqrt(sum / (vocab_size - 1));
}

double LargestDeviation(int64_t vocab_size) {
  return 1 / std::sqrt(static_cast<double>(vocab_size));
}

double SumOfSquares(double deviation, int64_t vocab_size) {
  const auto size = static_cast<double>(vocab_size);
  return (size - 1) * deviation * deviation + 1 / size;
}

double DeviationOf(double sum_of_squares, int64_t vocab_size) {
  const auto size = static_cast<double>(vocab_size);
  return std::sqrt(std::max(0.0, sum_of_squares - 1 / size) / (size - 1));
}

double EquivalentTheta(double theta, int64_t vocab_size, int64_t other_size) {
  return DeviationOf(SumOfSquares(theta, vocab_size), other_size);
}

absl::StatusOr<TokenScores> SelectiveContrast(
    absl::Span<const float> standard_logits,
    absl::Span<const float> lame_logits, const UscdSettings& settings) {
  REPRO_RETURN_IF_ERROR(Validate(settings));
  REPRO_ASSIGN_OR_RETURN(const Rows rows, RowsOf(standard_logits, lame_logits));
  TokenScores scores;
  scores.deviation = Deviation(rows.p);
  scores.contrasted = !(scores.deviation > settings.theta);
  if (!scores.contrasted) {
    scores.standard = Logs(rows.p);
    scores.lame = Logs(rows.q);
    return scores;
  }
  const double cut = settings.eta / static_cast<double>(rows.p.size());
  scores.standard.reserve(rows.p.size());
  for (size_t v = 0; v < rows.p.size(); ++v) {
    scores.standard.push_back(rows.p[v] >= cut
                                  ? Log(settings.standard_weight * rows.p[v] +
                                        settings.lame_weight * rows.q[v])
                                  : kForbidden);
  }
  if (!AnyFinite(scores.standard)) {
    scores.fell_back = true;
    scores.standard = Logs(rows.p);
  }
  scores.lame = scores.standard;
  return scores;
}

absl::StatusOr<TokenScores> LogRatioContrast(
    absl::Span<const float> standard_logits,
    absl::Span<const float> lame_logits, double alpha) {
  if (!(alpha > 0) || alpha > 1) {
    return absl::InvalidArgumentError(absl::StrCat("alpha is ", alpha));
  }
  REPRO_ASSIGN_OR_RETURN(const Rows rows, RowsOf(standard_logits, lame_logits));
  TokenScores scores;
  scores.deviation = Deviation(rows.p);
  scores.contrasted = true;
  const double cut = alpha * *std::max_element(rows.p.begin(), rows.p.end());
  // A token that the lame row excludes altogether would have +inf.
  constexpr double kLeast = std::numeric_limits<double>::min();
  scores.standard.reserve(rows.p.size());
  for (size_t v = 0; v < rows.p.size(); ++v) {
    scores.standard.push_back(
        rows.p[v] >= cut
            ? static_cast<float>(std::log(rows.p[v]) -
                                 std::log(std::max(rows.q[v], kLeast)))
            : kForbidden);
  }
  scores.lame = scores.standard;
  return scores;
}

absl::StatusOr<double> JensenShannon(absl::Span<const double> a,
                                     absl::Span<const double> b) {
  if (a.empty() || a.size() != b.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("distributions over ", a.size(), " and ", b.size()));
  }
  double sum_a = 0, sum_b = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    for (const double value : {a[i], b[i]}) {
      if (!(value >= 0) || !std::isfinite(value)) {
        return absl::InvalidArgumentError(
            absl::StrCat("value ", value, " at ", i));
      }
    }
    sum_a += a[i];
    sum_b += b[i];
  }
  if (!(sum_a > 0) || !(sum_b > 0) || !std::isfinite(sum_a + sum_b)) {
    return absl::InvalidArgumentError(
        absl::StrCat("sums are ", sum_a, " and ", sum_b));
  }
  double divergence = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double p = a[i] / sum_a, q = b[i] / sum_b, middle = (p + q) / 2;
    if (p > 0) divergence += p * std::log(p / middle) / 2;
    if (q > 0) divergence += q * std::log(q / middle) / 2;
  }
  return std::max(0.0, divergence);
}

}  // namespace repro::uscd
