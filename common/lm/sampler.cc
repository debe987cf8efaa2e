#include "common/lm/sampler.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "common/status/macros.h"

namespace repro::lm {
namespace {

constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();

absl::Status Wrong(const char* name, double value, const char* expected) {
  return absl::InvalidArgumentError(
      absl::StrCat(name, " is ", value, ", expected ", expected));
}

absl::Status CheckLogits(absl::Span<const float> logits) {
  bool finite = false;
  for (const float logit : logits) {
    if (std::isnan(logit) || logit == std::numeric_limits<float>::infinity()) {
      return absl::InternalError(
          absl::StrCat("sampler: the model gave a logit ", logit));
    }
    finite |= std::isfinite(logit);
  }
  return finite ? absl::OkStatus()
                : absl::InternalError("sampler: no logit is finite");
}

// Exponentials of x less their maximum, and their sum.
double Exponentials(const std::vector<double>& x, std::vector<double>* out) {
  const double max = *std::max_element(x.begin(), x.end());
  out->resize(x.size());
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += (*out)[i] = std::exp(x[i] - max);
  return sum;
}

void KeepTopK(int64_t k, std::vector<double>* x) {
  if (k <= 0 || k >= static_cast<int64_t>(x->size())) return;
  std::vector<double> sorted = *x;
  std::nth_element(sorted.begin(), sorted.begin() + (k - 1), sorted.end(),
                   std::greater<>());
  for (double& value : *x) {
    if (value < sorted[k - 1]) value = kMinusInfinity;
  }
}

void KeepTopP(double p, std::vector<double>* x) {
  if (p >= 1) return;
  std::vector<double> weights;
  const double sum = Exponentials(*x, &weights);
  std::vector<int32_t> order(x->size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return weights[a] > weights[b];
  });
  double before = 0;
  for (const int32_t i : order) {
    if (before >= p * sum) (*x)[i] = kMinusInfinity;
    before += weights[i];
  }
}

void KeepMinP(double p, std::vector<double>* x) {
  if (p <= 0) return;
  const double least = *std::max_element(x->begin(), x->end()) + std::log(p);
  for (double& value : *x) {
    if (value < least) value = kMinusInfinity;
  }
}

}  // namespace

absl::Status Validate(const SamplingOptions& options) {
  const auto in = [](double value, double least, double most) {
    return value >= least && value <= most;  // false for NaN
  };
  if (!(options.repetition_penalty > 0 &&
        in(options.repetition_penalty, 0, 100))) {
    return Wrong("repetition_penalty", options.repetition_penalty,
                 "above 0, at most 100");
  }
  if (!in(options.temperature, 0, 100)) {
    return Wrong("temperature", options.temperature, "0 to 100");
  }
  if (options.top_k < 0) {
    return Wrong("top_k", static_cast<double>(options.top_k), "0 or more");
  }
  if (!(options.top_p > 0 && in(options.top_p, 0, 1))) {
    return Wrong("top_p", options.top_p, "above 0, at most 1");
  }
  if (!in(options.min_p, 0, 1)) {
    return Wrong("min_p", options.min_p, "0 to 1");
  }
  if (options.top_logprobs < 0 || options.top_logprobs > 100) {
    return Wrong("top_logprobs", static_cast<double>(options.top_logprobs),
                 "0 to 100");
  }
  return absl::OkStatus();
}

Sampler::Sampler(const SamplingOptions& options)
    : options_(options), generator_(options.seed) {}

void Sampler::See(absl::Span<const int32_t> tokens) {
  for (const int32_t id : tokens) {
    if (id < 0) continue;
    if (id >= static_cast<int64_t>(seen_.size())) seen_.resize(id + 1);
    seen_[id] = true;
  }
}

absl::StatusOr<std::vector<double>> Sampler::Probabilities(
    absl::Span<const float> logits) const {
  REPRO_RETURN_IF_ERROR(CheckLogits(logits));
  std::vector<double> x(logits.begin(), logits.end());
  if (options_.repetition_penalty != 1) {
    const size_t known = std::min(seen_.size(), x.size());
    for (size_t i = 0; i < known; ++i) {
      if (!seen_[i]) continue;
      x[i] = x[i] > 0 ? x[i] / options_.repetition_penalty
                      : x[i] * options_.repetition_penalty;
    }
  }
  if (options_.temperature == 0) {
    const auto best = std::max_element(x.begin(), x.end()) - x.begin();
    std::fill(x.begin(), x.end(), 0);
    x[best] = 1;
    return x;
  }
  const double max = *std::max_element(x.begin(), x.end());
  // Less the maximum first: a low temperature must not overflow.
  for (double& value : x) value = (value - max) / options_.temperature;
  KeepTopK(options_.top_k, &x);
  KeepTopP(options_.top_p, &x);
  KeepMinP(options_.min_p, &x);
  std::vector<double> probabilities;
  const double sum = Exponentials(x, &probabilities);
  for (double& p : probabilities) p /= sum;
  return probabilities;
}

absl::StatusOr<SampledToken> Sampler::Sample(absl::Span<const float> logits) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<double> probabilities,
                         Probabilities(logits));
  // 53 bits of the generator as a number in [0, 1).
  const double draw = options_.temperature == 0
                          ? 0
                          : static_cast<double>(generator_() >> 11) * 0x1p-53;
  int32_t id = -1;
  double below = 0;
  for (size_t i = 0; i < probabilities.size(); ++i) {
    if (probabilities[i] == 0) continue;
    id = static_cast<int32_t>(i);  // the last one, if rounding leaves a rest
    below += probabilities[i];
    if (draw < below) break;
  }
  See({id});

  std::vector<double> weights;
  const std::vector<double> x(logits.begin(), logits.end());
  const double log_sum = std::log(Exponentials(x, &weights)) +
                         *std::max_element(x.begin(), x.end());
  SampledToken out;
  out.chosen = {id, x[id] - log_sum};
  const int64_t top =
      std::min<int64_t>(options_.top_logprobs, static_cast<int64_t>(x.size()));
  if (top > 0) {
    std::vector<int32_t> order(x.size());
    std::iota(order.begin(), order.end(), 0);
    std::partial_sort(order.begin(), order.begin() + top, order.end(),
                      [&](int32_t a, int32_t b) {
                        return x[a] != x[b] ? x[a] > x[b] : a < b;
                      });
    for (int64_t i = 0; i < top; ++i) {
      out.top.push_back({order[i], x[order[i]] - log_sum});
    }
  }
  return out;
}

}  // namespace repro::lm
