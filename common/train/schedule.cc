#include "common/train/schedule.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace repro {

Schedule ConstantRate(double rate) {
  return [rate](int64_t) { return rate; };
}

Schedule WarmupCosineRate(double peak, int64_t warmup_steps,
                          int64_t total_steps, double start, double final) {
  TORCH_CHECK(0 <= warmup_steps && warmup_steps < total_steps,
              "WarmupCosineRate: ", warmup_steps, " warm-up steps of ",
              total_steps);
  return [=](int64_t step) {
    if (step < warmup_steps) {
      return start + (peak - start) * step / warmup_steps;
    }
    const double t = std::min(1.0, static_cast<double>(step - warmup_steps) /
                                       (total_steps - warmup_steps));
    return final + (peak - final) * (1 + std::cos(M_PI * t)) / 2;
  };
}

Schedule WarmupLinearRate(double peak, double warmup_steps,
                          int64_t total_steps) {
  const auto end = static_cast<double>(total_steps);
  TORCH_CHECK(warmup_steps >= 0 && warmup_steps < end,
              "WarmupLinearRate: ", warmup_steps, " warm-up steps of ",
              total_steps);
  return [=](int64_t step) {
    const auto done = static_cast<double>(step);
    return done < warmup_steps
               ? peak * done / warmup_steps
               : peak * std::max(0.0, end - done) / (end - warmup_steps);
  };
}

Schedule InverseSquareRootRate(double peak, int64_t warmup_steps,
                               double start) {
  TORCH_CHECK(warmup_steps >= 1, "InverseSquareRootRate: ", warmup_steps,
              " warm-up steps, expected at least 1");
  return [=](int64_t step) {
    if (step < warmup_steps) {
      return start + (peak - start) * step / warmup_steps;
    }
    return peak * std::sqrt(static_cast<double>(warmup_steps) / step);
  };
}

Schedule StepRate(double rate, int64_t period, double factor) {
  TORCH_CHECK(period >= 1, "StepRate: period ", period);
  return [=](int64_t step) { return rate * std::pow(factor, step / period); };
}

ReduceOnPlateau::ReduceOnPlateau(std::vector<double> rates, Options options)
    : options_(options),
      rates_(std::move(rates)),
      best_(rates_.size(), std::numeric_limits<double>::infinity()),
      bad_epochs_(rates_.size(), 0) {
  TORCH_CHECK(options_.factor < 1, "ReduceOnPlateau: factor ", options_.factor,
              ", expected less than 1");
}

void ReduceOnPlateau::Step(const std::vector<double>& metrics) {
  TORCH_CHECK(metrics.size() == rates_.size(),
              "ReduceOnPlateau: ", metrics.size(), " metrics for ",
              rates_.size(), " rates");
  for (size_t i = 0; i < rates_.size(); ++i) {
    if (metrics[i] < best_[i] * (1 - options_.threshold)) {
      best_[i] = metrics[i];
      bad_epochs_[i] = 0;
    } else {
      ++bad_epochs_[i];
    }
    if (bad_epochs_[i] > options_.patience) {
      const double reduced =
          std::max(rates_[i] * options_.factor, options_.min_rate);
      if (rates_[i] - reduced > options_.min_change) rates_[i] = reduced;
      bad_epochs_[i] = 0;
    }
  }
}

std::vector<double> ReduceOnPlateau::State() const {
  std::vector<double> state = rates_;
  state.insert(state.end(), best_.begin(), best_.end());
  state.insert(state.end(), bad_epochs_.begin(), bad_epochs_.end());
  return state;
}

void ReduceOnPlateau::Restore(const std::vector<double>& state) {
  const size_t n = rates_.size();
  TORCH_CHECK(state.size() == 3 * n, "ReduceOnPlateau: a state of ",
              state.size(), " numbers for ", n, " models, expected ", 3 * n);
  std::copy_n(state.begin(), n, rates_.begin());
  std::copy_n(state.begin() + n, n, best_.begin());
  std::copy_n(state.begin() + 2 * n, n, bad_epochs_.begin());
}

}  // namespace repro
