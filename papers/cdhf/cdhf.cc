#include "papers/cdhf/cdhf.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <set>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/stats/descriptive.h"
#include "common/status/macros.h"

namespace repro::cdhf {
namespace {

absl::Status CheckLengths(size_t first, size_t second, size_t rejected) {
  if (rejected == 0) return absl::InvalidArgumentError("no events");
  if (first != rejected || second != rejected) {
    return absl::InvalidArgumentError(absl::StrCat(
        first, " and ", second, " probabilities for ", rejected, " labels"));
  }
  return absl::OkStatus();
}

absl::Status CheckOptions(const FitOptions& options) {
  const auto in_unit = [](double value) { return value >= 0 && value <= 1; };
  if (!in_unit(options.accuracy) || !in_unit(options.lambda) ||
      !in_unit(options.looseness)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "accuracy ", options.accuracy, ", lambda ", options.lambda,
        " and looseness ", options.looseness, " must be in [0, 1]"));
  }
  if (!(options.entropy_step > 0 && options.entropy_step <= 1)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "entropy_step ", options.entropy_step, " must be in (0, 1]"));
  }
  if (options.first_share.has_value() && !in_unit(*options.first_share)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "first_share ", *options.first_share, " must be in [0, 1]"));
  }
  if (options.candidates < 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "candidates ", options.candidates, " must not be below 0"));
  }
  return absl::OkStatus();
}

// Candidate thresholds of one stage.
absl::StatusOr<std::vector<double>> Candidates(
    const std::vector<double>& probabilities, const std::vector<bool>& rejected,
    const FitOptions& options, const char* stage, std::mt19937_64& generator) {
  REPRO_ASSIGN_OR_RETURN(
      const double low,
      ThresholdForAccuracy(probabilities, rejected,
                           options.accuracy + options.looseness));
  REPRO_ASSIGN_OR_RETURN(
      const double high,
      ThresholdForAccuracy(probabilities, rejected,
                           options.accuracy - options.looseness));
  std::vector<double> between;
  for (const double p : probabilities) {
    if (p >= low && p <= high) between.push_back(p);
  }
  std::vector<double> chosen;
  if (options.rule == Rule::kAsPublished) {
    chosen.push_back(0);
  } else if (between.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "no threshold of the ", stage, " model comes near an accuracy of ",
        options.accuracy, ": nothing lies between ", low, " and ", high));
  }
  if (between.empty()) return chosen;
  if (options.candidates == 0) {
    std::set<double> seen;
    for (const double p : between) {
      if (seen.insert(p).second) chosen.push_back(p);
    }
  } else {
    std::uniform_int_distribution<size_t> index(0, between.size() - 1);
    for (int64_t i = 0; i < options.candidates; ++i) {
      chosen.push_back(between[index(generator)]);
    }
  }
  return chosen;
}

// Of the events that a stage decides, those below a threshold.
struct Below {
  int64_t hidden = 0;
  int64_t rejected = 0;
};

std::vector<Below> CountBelow(const std::vector<double>& thresholds,
                              const std::vector<double>& probabilities,
                              const std::vector<bool>& rejected,
                              const std::vector<bool>& decides) {
  std::vector<Below> counts(thresholds.size());
  for (size_t t = 0; t < thresholds.size(); ++t) {
    for (size_t i = 0; i < probabilities.size(); ++i) {
      if (!decides[i] || !(probabilities[i] < thresholds[t])) continue;
      ++counts[t].hidden;
      counts[t].rejected += rejected[i];
    }
  }
  return counts;
}

}  // namespace

absl::StatusOr<double> ShowThreshold(const Costs& costs) {
  for (const double cost :
       {costs.latency, costs.verify, costs.edit, costs.write}) {
    if (!(cost >= 0) || std::isinf(cost)) {
      return absl::InvalidArgumentError(
          absl::StrCat("a cost is ", cost, " seconds"));
    }
  }
  if (costs.write <= costs.edit) {
    return absl::InvalidArgumentError(
        absl::StrCat("editing takes ", costs.edit, " s and writing ",
                     costs.write, " s: a suggestion saves nothing"));
  }
  return (costs.latency + costs.verify) / (costs.write - costs.edit);
}

absl::StatusOr<double> Entropy(double p) {
  if (!(p > 0 && p < 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("probability ", p, " is not in (0, 1)"));
  }
  return -(p * std::log2(p) + (1 - p) * std::log2(1 - p));
}

absl::StatusOr<Decision> Decide(const Thresholds& thresholds, double p1,
                                double p2, Rule rule) {
  REPRO_ASSIGN_OR_RETURN(const double entropy, Entropy(p1));
  if (std::isnan(p2)) return absl::InvalidArgumentError("probability is NaN");
  Decision decision;
  decision.second_asked = rule == Rule::kAsCoded ? entropy >= thresholds.entropy
                                                 : entropy > thresholds.entropy;
  decision.hide =
      decision.second_asked ? p2 < thresholds.second : p1 < thresholds.first;
  return decision;
}

absl::StatusOr<double> ThresholdForAccuracy(
    const std::vector<double>& probabilities, const std::vector<bool>& rejected,
    double target) {
  REPRO_RETURN_IF_ERROR(CheckLengths(probabilities.size(), probabilities.size(),
                                     rejected.size()));
  for (const double p : probabilities) {
    if (std::isnan(p)) return absl::InvalidArgumentError("probability is NaN");
  }
  std::vector<size_t> order(rejected.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return probabilities[a] < probabilities[b];
  });
  double threshold = 0;
  double so_far = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    so_far += rejected[order[i]];
    if (so_far / static_cast<double>(i + 1) >= target) {
      threshold = probabilities[order[i]];
    }
  }
  return threshold;
}

absl::StatusOr<Thresholds> Fit(const std::vector<double>& first,
                               const std::vector<double>& second,
                               const std::vector<bool>& rejected,
                               const FitOptions& options,
                               std::mt19937_64& generator) {
  REPRO_RETURN_IF_ERROR(
      CheckLengths(first.size(), second.size(), rejected.size()));
  REPRO_RETURN_IF_ERROR(CheckOptions(options));
  std::vector<double> entropies;
  for (const double p : first) {
    REPRO_ASSIGN_OR_RETURN(entropies.emplace_back(), Entropy(p));
  }
  for (const double p : second) REPRO_RETURN_IF_ERROR(Entropy(p).status());

  REPRO_ASSIGN_OR_RETURN(
      const std::vector<double> firsts,
      Candidates(first, rejected, options, "first", generator));
  REPRO_ASSIGN_OR_RETURN(
      const std::vector<double> seconds,
      Candidates(second, rejected, options, "second", generator));
  std::vector<double> quantiles;
  if (options.first_share.has_value()) {
    quantiles.push_back(*options.first_share);
  } else {
    // The values of numpy.arange(0, 1.00001, step).
    for (int64_t i = 0; static_cast<double>(i) * options.entropy_step < 1.00001;
         ++i) {
      quantiles.push_back(
          std::min(1.0, static_cast<double>(i) * options.entropy_step));
    }
  }

  const auto events = static_cast<double>(rejected.size());
  // As published, hiding nothing at the least cost is always allowed; as coded
  // what is not allowed costs 999.
  Thresholds best;
  double best_loss = 9999;
  for (const double quantile : quantiles) {
    REPRO_ASSIGN_OR_RETURN(const double threshold,
                           Quantile(entropies, quantile));
    std::vector<bool> asks(rejected.size()), alone(rejected.size());
    double asked = 0;
    for (size_t i = 0; i < rejected.size(); ++i) {
      asks[i] = entropies[i] > threshold;
      alone[i] = !asks[i];
      asked += asks[i];
    }
    const std::vector<Below> of_first =
        CountBelow(firsts, first, rejected, alone);
    const std::vector<Below> of_second =
        CountBelow(seconds, second, rejected, asks);
    for (size_t i = 0; i < firsts.size(); ++i) {
      for (size_t j = 0; j < seconds.size(); ++j) {
        const auto hidden =
            static_cast<double>(of_first[i].hidden + of_second[j].hidden);
        const auto right =
            static_cast<double>(of_first[i].rejected + of_second[j].rejected);
        double loss = asked / events * options.lambda +
                      (1 - hidden / events) * (1 - options.lambda);
        const bool allowed = hidden > 0 ? right / hidden >= options.accuracy
                                        // 0 / 0 counts as 0 in the code.
                                        : options.rule == Rule::kAsPublished ||
                                              options.accuracy <= 0;
        if (!allowed) {
          if (options.rule == Rule::kAsPublished) continue;
          loss = 999;
        }
        if (loss < best_loss) {
          best_loss = loss;
          best = {threshold, firsts[i], seconds[j]};
        }
      }
    }
  }
  return best;
}

absl::StatusOr<DisplayMetrics> Evaluate(const Thresholds& thresholds,
                                        const std::vector<double>& first,
                                        const std::vector<double>& second,
                                        const std::vector<bool>& rejected,
                                        Rule rule) {
  REPRO_RETURN_IF_ERROR(
      CheckLengths(first.size(), second.size(), rejected.size()));
  DisplayMetrics metrics;
  double hidden_rejected = 0;
  for (size_t i = 0; i < rejected.size(); ++i) {
    REPRO_ASSIGN_OR_RETURN(const Decision decision,
                           Decide(thresholds, first[i], second[i], rule));
    metrics.hidden += decision.hide;
    metrics.first_alone += !decision.second_asked;
    metrics.accuracy += decision.hide == rejected[i];
    metrics.shown_rejected += !decision.hide && rejected[i];
    metrics.hidden_accepted += decision.hide && !rejected[i];
    hidden_rejected += decision.hide && rejected[i];
  }
  metrics.conditional_accuracy = metrics.hidden > 0
                                     ? hidden_rejected / metrics.hidden
                                     : std::numeric_limits<double>::quiet_NaN();
  const auto events = static_cast<double>(rejected.size());
  for (double* share :
       {&metrics.hidden, &metrics.first_alone, &metrics.accuracy,
        &metrics.shown_rejected, &metrics.hidden_accepted}) {
    *share /= events;
  }
  return metrics;
}

}  // namespace repro::cdhf
