#include "common/metrics/classification.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/status/macros.h"

namespace repro::metrics {
namespace {

absl::Status CheckSizes(size_t references, size_t predictions) {
  if (references != predictions) {
    return absl::InvalidArgumentError(absl::StrCat(
        references, " references and ", predictions, " predictions"));
  }
  if (references == 0) {
    return absl::InvalidArgumentError("no references and no predictions");
  }
  return absl::OkStatus();
}

struct Counts {
  int64_t correct = 0;
  int64_t predicted = 0;
  int64_t expected = 0;
};

template <typename Label>
absl::StatusOr<std::map<Label, Counts>> Count(
    const std::vector<Label>& references,
    const std::vector<Label>& predictions) {
  REPRO_RETURN_IF_ERROR(CheckSizes(references.size(), predictions.size()));
  std::map<Label, Counts> counts;
  for (size_t i = 0; i < references.size(); ++i) {
    ++counts[references[i]].expected;
    ++counts[predictions[i]].predicted;
    counts[references[i]].correct += references[i] == predictions[i];
  }
  return counts;
}

double Ratio(double numerator, double denominator) {
  return denominator == 0 ? 0 : numerator / denominator;
}

PrecisionRecallF1 Rates(const Counts& counts) {
  const double correct = counts.correct;
  return {Ratio(correct, counts.predicted), Ratio(correct, counts.expected),
          Ratio(2 * correct, counts.predicted + counts.expected),
          counts.expected};
}

}  // namespace

template <typename Label>
absl::StatusOr<double> Accuracy(const std::vector<Label>& references,
                                const std::vector<Label>& predictions) {
  REPRO_ASSIGN_OR_RETURN(const PrecisionRecallF1 micro,
                         Micro(references, predictions));
  return micro.recall;
}

template <typename Label>
absl::StatusOr<std::map<Label, PrecisionRecallF1>> PerClass(
    const std::vector<Label>& references,
    const std::vector<Label>& predictions) {
  REPRO_ASSIGN_OR_RETURN(const auto counts, Count(references, predictions));
  std::map<Label, PrecisionRecallF1> rates;
  for (const auto& [label, count] : counts) rates[label] = Rates(count);
  return rates;
}

template <typename Label>
absl::StatusOr<PrecisionRecallF1> Binary(const std::vector<Label>& references,
                                         const std::vector<Label>& predictions,
                                         const Label& positive) {
  REPRO_ASSIGN_OR_RETURN(const auto counts, Count(references, predictions));
  if (counts.size() > 2) {
    return absl::InvalidArgumentError(
        absl::StrCat(counts.size(),
                     " labels occur, a binary average needs two; use the "
                     "micro or macro average"));
  }
  const auto found = counts.find(positive);
  if (found != counts.end()) return Rates(found->second);
  if (counts.size() < 2) return PrecisionRecallF1{};
  return absl::InvalidArgumentError(absl::StrCat(
      "the positive label is ", positive, " but the labels that occur are ",
      counts.begin()->first, " and ", counts.rbegin()->first));
}

template <typename Label>
absl::StatusOr<PrecisionRecallF1> Micro(const std::vector<Label>& references,
                                        const std::vector<Label>& predictions) {
  REPRO_RETURN_IF_ERROR(CheckSizes(references.size(), predictions.size()));
  Counts total;
  for (size_t i = 0; i < references.size(); ++i) {
    total.correct += references[i] == predictions[i];
  }
  total.predicted = total.expected = references.size();
  return Rates(total);
}

template <typename Label>
absl::StatusOr<PrecisionRecallF1> Macro(const std::vector<Label>& references,
                                        const std::vector<Label>& predictions) {
  REPRO_ASSIGN_OR_RETURN(const auto rates, PerClass(references, predictions));
  PrecisionRecallF1 mean;
  for (const auto& [label, rate] : rates) {
    mean.precision += rate.precision / rates.size();
    mean.recall += rate.recall / rates.size();
    mean.f1 += rate.f1 / rates.size();
    mean.support += rate.support;
  }
  return mean;
}

template <typename Label>
absl::StatusOr<double> MatthewsCorrelation(
    const std::vector<Label>& references,
    const std::vector<Label>& predictions) {
  REPRO_ASSIGN_OR_RETURN(const auto counts, Count(references, predictions));
  const double size = references.size();
  double correct = 0;
  double products = 0;
  double predicted_squares = 0;
  double expected_squares = 0;
  for (const auto& [label, count] : counts) {
    const double predicted = count.predicted;
    const double expected = count.expected;
    correct += count.correct;
    products += predicted * expected;
    predicted_squares += predicted * predicted;
    expected_squares += expected * expected;
  }
  return Ratio(correct * size - products,
               std::sqrt(size * size - predicted_squares) *
                   std::sqrt(size * size - expected_squares));
}

absl::StatusOr<double> RocAuc(const std::vector<bool>& positive,
                              const std::vector<double>& scores) {
  REPRO_RETURN_IF_ERROR(CheckSizes(positive.size(), scores.size()));
  for (size_t i = 0; i < scores.size(); ++i) {
    if (std::isnan(scores[i])) {
      return absl::InvalidArgumentError(absl::StrCat("score ", i, " is NaN"));
    }
  }
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return scores[a] < scores[b]; });
  double pairs = 0;
  double positives = 0;
  double negatives = 0;
  for (size_t begin = 0; begin < order.size();) {
    const double score = scores[order[begin]];
    double positives_here = 0;
    double negatives_here = 0;
    size_t end = begin;
    for (; end < order.size() && scores[order[end]] == score; ++end) {
      ++(positive[order[end]] ? positives_here : negatives_here);
    }
    pairs += positives_here * (negatives + negatives_here / 2);
    positives += positives_here;
    negatives += negatives_here;
    begin = end;
  }
  if (positives == 0 || negatives == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("all ", scores.size(), " items are ",
                     positives == 0 ? "negative" : "positive",
                     ": the area under the ROC curve needs both classes"));
  }
  return pairs / (positives * negatives);
}

#define REPRO_INSTANTIATE(Label)                                               \
  template absl::StatusOr<double> Accuracy(const std::vector<Label>&,          \
                                           const std::vector<Label>&);         \
  template absl::StatusOr<std::map<Label, PrecisionRecallF1>> PerClass(        \
      const std::vector<Label>&, const std::vector<Label>&);                   \
  template absl::StatusOr<PrecisionRecallF1> Binary(                           \
      const std::vector<Label>&, const std::vector<Label>&, const Label&);     \
  template absl::StatusOr<PrecisionRecallF1> Micro(const std::vector<Label>&,  \
                                                   const std::vector<Label>&); \
  template absl::StatusOr<PrecisionRecallF1> Macro(const std::vector<Label>&,  \
                                                   const std::vector<Label>&); \
  template absl::StatusOr<double> MatthewsCorrelation(                         \
      const std::vector<Label>&, const std::vector<Label>&)

REPRO_INSTANTIATE(int64_t);
REPRO_INSTANTIATE(std::string);

#undef REPRO_INSTANTIATE

}  // namespace repro::metrics
