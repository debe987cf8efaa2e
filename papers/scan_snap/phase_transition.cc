#include "papers/scan_snap/phase_transition.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace repro::scan_snap {

absl::StatusOr<PhaseTransition> PhaseTransition::Create(
    const PhaseTransitionOptions& options) {
  for (const auto& [name, value, above] :
       {std::tuple("vocab_size", options.vocab_size, 1.0),
        std::tuple("num_classes", options.num_classes, 0.0),
        std::tuple("eta_y", options.eta_y, 0.0),
        std::tuple("eta_z", options.eta_z, 0.0),
        std::tuple("rho_0", options.rho_0, 0.0)}) {
    if (!(value > above) || !std::isfinite(value)) {
      return absl::InvalidArgumentError(absl::StrCat(
          name, " is ", value, ", must be finite and above ", above));
    }
  }
  return PhaseTransition(options);
}

double PhaseTransition::LogitScale(double s) const {
  const double m = options_.vocab_size;
  // In u = M h: expm1(u) + (M - 1) u = M eta_Y s, convex and increasing, so
  // that Newton's method from a point right of the root decreases to it.
  const double target = m * options_.eta_y * s;
  double u = std::min(std::log1p(target), target / (m - 1));
  for (int i = 0; i < 100; ++i) {
    const double step =
        (std::expm1(u) + (m - 1) * u - target) / (std::exp(u) + m - 1);
    u -= step;
    if (std::abs(step) <= 1e-15 * u) break;
  }
  return u / m;
}

std::vector<double> PhaseTransition::LogitScaleRecursion(int steps) const {
  const double m = options_.vocab_size;
  std::vector<double> h = {0};
  for (int s = 0; s < steps; ++s) {
    h.push_back(h.back() + options_.eta_y / (m - 1 + std::exp(m * h.back())));
  }
  return h;
}

double PhaseTransition::SpeedControl(double t) const {
  const double m = options_.vocab_size;
  const double h = LogitScale(t / options_.num_classes);
  return (m - 1) * (m - 1) * h / (m - 1 + std::exp(m * h));
}

double PhaseTransition::SpeedControlIntegral(double t) const {
  // With u = M h, dt = K (e^u + M - 1) / (M eta_Y) du, and the denominator of
  // gamma cancels: int_0^t gamma = K (M - 1)^2 u^2 / (2 M^2 eta_Y) at u = M h.
  const double m = options_.vocab_size;
  const double u = m * LogitScale(t / options_.num_classes);
  const double scale = (m - 1) * u / m;
  return options_.num_classes * scale * scale / (2 * options_.eta_y);
}

double PhaseTransition::SnapTime() const {
  return 2 * options_.num_classes * std::log(options_.vocab_size) /
         options_.eta_y;
}

double PhaseTransition::LogitDrift(double t) const {
  const double c_0 = std::pow(options_.rho_0, 4) / options_.num_classes;
  return 0.25 * std::log1p(4 * options_.eta_z / c_0 * SpeedControlIntegral(t));
}

double PhaseTransition::GrowthBound(double t) const {
  return std::exp(2 * LogitDrift(t));
}

std::vector<double> DistinctTokenLogits(const std::vector<double>& weights,
                                        double drift, int steps) {
  const size_t count = weights.size();
  const auto derivative = [&](const std::vector<double>& z) {
    std::vector<double> squares(count);
    double sum = 0;
    for (size_t l = 0; l < count; ++l) {
      const double f = weights[l] * std::exp(z[l]);
      squares[l] = f * f;
      sum += squares[l];
    }
    for (double& square : squares) square /= sum;
    return squares;
  };
  const auto moved = [&](const std::vector<double>& z,
                         const std::vector<double>& slope, double by) {
    std::vector<double> result(z);
    for (size_t l = 0; l < count; ++l) result[l] += by * slope[l];
    return result;
  };
  std::vector<double> z(count, 0);
  const double step = drift / steps;
  for (int i = 0; i < steps; ++i) {
    const std::vector<double> k1 = derivative(z);
    const std::vector<double> k2 = derivative(moved(z, k1, step / 2));
    const std::vector<double> k3 = derivative(moved(z, k2, step / 2));
    const std::vector<double> k4 = derivative(moved(z, k3, step));
    for (size_t l = 0; l < count; ++l) {
      z[l] += step / 6 * (k1[l] + 2 * k2[l] + 2 * k3[l] + k4[l]);
    }
  }
  return z;
}

double RelativeGain(double f_l, double f_other) {
  return f_l * f_l / (f_other * f_other) - 1;
}

}  // namespace repro::scan_snap
