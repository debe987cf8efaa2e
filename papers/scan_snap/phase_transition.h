// The closed analysis of Sec. 5: a decoder that learns K classes fast, and the
// attention logits that it drives (Theorem 2 to 4, Lemma on h, Fig. 3 and 8).
#ifndef REPRO_PAPERS_SCAN_SNAP_PHASE_TRANSITION_H_
#define REPRO_PAPERS_SCAN_SNAP_PHASE_TRANSITION_H_

#include <vector>

#include "absl/status/statusor.h"

namespace repro::scan_snap {

struct PhaseTransitionOptions {
  double vocab_size = 1000;  // M > 1
  double num_classes = 10;   // K
  double eta_y = 1;          // decoder's learning rate
  double eta_z = 0.5;        // attention's learning rate
  // rho_0 of the appendix: the initial attention's scale, C_0 = rho_0^4 / K.
  double rho_0 = 1;
};

// Time t counts SGD steps; a class is seen every K of them on average.
class PhaseTransition {
 public:
  // InvalidArgument: vocab_size not above 1, another number not positive, or
  // one that is not finite.
  static absl::StatusOr<PhaseTransition> Create(
      const PhaseTransitionOptions& options);

  // h(s), the decoder's logit scale after s steps on one class, of
  //   exp(M h) + (M - 1) M h = M eta_Y s + 1.
  double LogitScale(double s) const;

  // The discrete counterpart h*(0), ..., h*(steps), with
  //   h*(s) = h*(s - 1) + eta_Y / ((M - 1) + exp(M h*(s - 1))), h*(0) = 0;
  // 0 <= h*(s) - h(s) <= 2 eta_Y / M (Fig. 8).
  std::vector<double> LogitScaleRecursion(int steps) const;

  // gamma(t) = (M - 1)^2 h(t/K) / ((M - 1) + exp(M h(t/K))), the speed control
  // of Fig. 3: about eta_Y t / K before K ln M / eta_Y, about
  // K ln(M eta_Y t / K) / (eta_Y t) after SnapTime().
  double SpeedControl(double t) const;

  // The integral of gamma from 0 to t.
  double SpeedControlIntegral(double t) const;

  // t_0 = 2 K ln M / eta_Y, when attention snaps (Theorem 4).
  double SnapTime() const;

  // B(t) = (1/4) ln(1 + 4 eta_Z / C_0 int_0^t gamma): what the attention logits
  // have moved, B = eta_Z int xi = -z(t), for the single common token's logit
  //   z' = -(eta_Z / C_0) gamma(t) e^{4 z},  z(0) = 0.
  // The printed closed form leaves out -(1/4) ln C_0; this is the integral.
  double LogitDrift(double t) const;

  // e^{2 B(t)}, the bound on the growth factor of the dominant token (Fig. 3).
  double GrowthBound(double t) const;

  const PhaseTransitionOptions& options() const { return options_; }

 private:
  explicit PhaseTransition(const PhaseTransitionOptions& options)
      : options_(options) {}

  PhaseTransitionOptions options_;
};

// Attention logits z_l of distinct tokens after the drift B has grown from 0 to
// `drift`, of dz_l / dB = f_l^2 with f_l proportional to weights_l e^{z_l},
// ||f|| = 1, z(0) = 0 (Theorem 3). Fourth-order Runge-Kutta with `steps` steps.
// `weights` are positive; [number of tokens].
std::vector<double> DistinctTokenLogits(const std::vector<double>& weights,
                                        double drift, int steps);

// r_{l/l'} = f_l^2 / f_l'^2 - 1, the relative gain of token l over l'
// (Definition before Theorem 3).
double RelativeGain(double f_l, double f_other);

}  // namespace repro::scan_snap

#endif  // REPRO_PAPERS_SCAN_SNAP_PHASE_TRANSITION_H_
