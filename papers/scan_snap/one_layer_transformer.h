// The 1-layer transformer without positions of Sec. 3, in the (Y, Z)
// parametrisation of Lemma 1, with its gradients (Eqn. 2 to 4).
#ifndef REPRO_PAPERS_SCAN_SNAP_ONE_LAYER_TRANSFORMER_H_
#define REPRO_PAPERS_SCAN_SNAP_ONE_LAYER_TRANSFORMER_H_

#include <random>
#include <vector>

#include "papers/scan_snap/sequence_classes.h"

namespace repro::scan_snap {

// For a sequence whose query is m and whose context holds token l w_l times:
//   c_l    = w_l exp(Z[m, l]) / sum_l' w_l' exp(Z[m, l'])   attention on token
//   l f      = c / ||c||_2                                    normalisation
//   logits = Y^T f,  alpha = softmax(logits)                decoder
//   loss   = -log alpha_n                                   in nats
// The query attends to the context only, not to itself; there is no residual
// and no 1/sqrt(d). M: vocabulary, T: support of a class (sequence_classes.h).
// Real is float (the authors' precision) or double. Not thread-safe.
template <typename Real>
class OneLayerTransformer {
 public:
  // Y = Z = 0. `classes` must outlive the model.
  explicit OneLayerTransformer(const SequenceClasses& classes);

  // Draws Y and Z from U(-1/sqrt(M), 1/sqrt(M)), the default of a linear layer,
  // as the authors' code does for Fig. 6.
  void InitializeUniform(std::mt19937_64& generator);

  // [M, M] each, row by row. y()[l * M + j]: what token l adds to the logit of
  // j. z()[m * M + l]: attention logit of token l under query m.
  std::vector<Real>& y() { return y_; }
  std::vector<Real>& z() { return z_; }
  const std::vector<Real>& y() const { return y_; }
  const std::vector<Real>& z() const { return z_; }

  // The mean loss of a non-empty batch, before any update. Gradients [M, M] of
  // that mean replace *y_grad and *z_grad, of a sequence
  //   dL/dY       = f (alpha - e_n)^T
  //   dL/dZ[m, l] = f_l (g_l - f_l (f . g)),  g = Y (alpha - e_n)
  Real Loss(const Batch<Real>& batch);
  Real LossAndGradients(const Batch<Real>& batch, std::vector<Real>* y_grad,
                        std::vector<Real>* z_grad);

  // f of the sequences of a batch: [batch, T].
  std::vector<Real> NormalizedAttention(const Batch<Real>& batch) const;

  // c_n of the population, P(l|n) exp(Z[psi(n), l]) normalised: what Fig. 4 and
  // 5 show and Fig. 6 summarises. [T].
  std::vector<double> PopulationAttention(int n) const;

  // The entropy of c_n on the distinct tokens of n, renormalised there, in
  // nats; averaged over n: the vertical axis of Fig. 6.
  double MeanDistinctEntropy() const;

 private:
  Real Evaluate(const Batch<Real>& batch, std::vector<Real>* y_grad,
                std::vector<Real>* z_grad);
  // The part of Evaluate that is about the `rows` (places in the batch) of one
  // class; returns the sum of their losses.
  double EvaluateClass(const Batch<Real>& batch, int n,
                       const std::vector<int>& rows, std::vector<Real>* y_grad,
                       std::vector<Real>* z_grad);

  const SequenceClasses& classes_;
  const int vocab_;
  const int support_;
  std::vector<Real> y_;
  std::vector<Real> z_;

  // Workspace, kept between calls.
  std::vector<std::vector<int>> rows_of_class_;
  std::vector<Real> f_;            // [rows, T]
  std::vector<Real> f_transpose_;  // [T, rows]
  std::vector<Real> y_transpose_;  // [M, T]
  std::vector<Real> residual_;  // [rows, M]: logits, then (alpha - e_n) / batch
  std::vector<Real> g_;         // [rows, T]
};

// SGD with momentum as PyTorch has it: v <- momentum v + gradient,
// w <- w - learning_rate v.
template <typename Real>
class MomentumSgd {
 public:
  MomentumSgd(double learning_rate, double momentum)
      : learning_rate_(static_cast<Real>(learning_rate)),
        momentum_(static_cast<Real>(momentum)) {}

  void Step(const std::vector<Real>& gradient, std::vector<Real>* weights);

 private:
  const Real learning_rate_;
  const Real momentum_;
  std::vector<Real> velocity_;
};

// -sum p ln p of non-negative weights after they are divided by their sum;
// a weight 0 adds 0.
double Entropy(const double* weights, int count);

extern template class OneLayerTransformer<float>;
extern template class OneLayerTransformer<double>;
extern template class MomentumSgd<float>;
extern template class MomentumSgd<double>;

}  // namespace repro::scan_snap

#endif  // REPRO_PAPERS_SCAN_SNAP_ONE_LAYER_TRANSFORMER_H_
