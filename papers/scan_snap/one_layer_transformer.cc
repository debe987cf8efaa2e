#include "papers/scan_snap/one_layer_transformer.h"

#include <algorithm>
#include <cmath>

namespace repro::scan_snap {
namespace {

// c [m, n] += a [m, k] b [k, n], all row-major with the given row strides. Four
// rows of b at a time, so that c is read and written a quarter as often; the
// inner loop has no reduction and is vectorised as it stands.
template <typename Real>
void MultiplyAdd(int m, int k, int n, const Real* a, int a_stride,
                 const Real* b, int b_stride, Real* c, int c_stride) {
  for (int i = 0; i < m; ++i) {
    const Real* a_row = a + static_cast<size_t>(i) * a_stride;
    Real* __restrict__ c_row = c + static_cast<size_t>(i) * c_stride;
    int p = 0;
    for (; p + 4 <= k; p += 4) {
      const Real* __restrict__ b0 = b + static_cast<size_t>(p) * b_stride;
      const Real* __restrict__ b1 = b0 + b_stride;
      const Real* __restrict__ b2 = b1 + b_stride;
      const Real* __restrict__ b3 = b2 + b_stride;
      const Real a0 = a_row[p], a1 = a_row[p + 1], a2 = a_row[p + 2],
                 a3 = a_row[p + 3];
      for (int j = 0; j < n; ++j) {
        c_row[j] += (a0 * b0[j] + a1 * b1[j]) + (a2 * b2[j] + a3 * b3[j]);
      }
    }
    for (; p < k; ++p) {
      const Real* __restrict__ b0 = b + static_cast<size_t>(p) * b_stride;
      const Real a0 = a_row[p];
      for (int j = 0; j < n; ++j) c_row[j] += a0 * b0[j];
    }
  }
}

// Replaces logits [n] by softmax(logits) - e_label; returns the cross entropy.
// The term of the largest logit is 1 and is kept apart, so that a loss of 1e-5
// has the full relative precision that 1 - alpha_n would lose.
template <typename Real>
double SoftmaxResidual(Real* logits, int n, int label) {
  const int top =
      static_cast<int>(std::max_element(logits, logits + n) - logits);
  const Real max = logits[top];
  const double gap = max - logits[label];
  for (int j = 0; j < n; ++j) logits[j] = std::exp(logits[j] - max);
  logits[top] = 0;
  constexpr int kLanes = 8;
  Real lanes[kLanes] = {};
  int j = 0;
  for (; j + kLanes <= n; j += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) lanes[lane] += logits[j + lane];
  }
  double rest = 0;
  for (Real lane : lanes) rest += lane;
  for (; j < n; ++j) rest += logits[j];
  const Real scale = static_cast<Real>(1 / (1 + rest));
  for (int i = 0; i < n; ++i) logits[i] *= scale;
  if (label == top) {
    logits[top] = static_cast<Real>(-rest) * scale;
  } else {
    logits[top] = scale;
    logits[label] -= 1;
  }
  return gap + std::log1p(rest);
}

// f [T] of one sequence; `attention` [T] is exp(Z[m, l]) up to a factor.
template <typename Real>
void Normalize(const Real* counts, const Real* attention, int support,
               Real* f) {
  Real squares = 0;
  for (int i = 0; i < support; ++i) {
    f[i] = counts[i] * attention[i];
    squares += f[i] * f[i];
  }
  const Real scale = 1 / std::sqrt(squares);
  for (int i = 0; i < support; ++i) f[i] *= scale;
}

// exp(Z[psi(n), l] - max) over the support of class n: [T].
template <typename Real>
std::vector<Real> UnnormalizedAttention(const SequenceClasses& classes,
                                        const std::vector<Real>& z, int n) {
  const int support = classes.support_size();
  const Real* row =
      &z[static_cast<size_t>(classes.Query(n)) * classes.vocab_size()];
  std::vector<Real> attention(support);
  for (int i = 0; i < support; ++i) attention[i] = row[classes.Token(n, i)];
  const Real max = *std::max_element(attention.begin(), attention.end());
  for (Real& value : attention) value = std::exp(value - max);
  return attention;
}

}  // namespace

template <typename Real>
OneLayerTransformer<Real>::OneLayerTransformer(const SequenceClasses& classes)
    : classes_(classes),
      vocab_(classes.vocab_size()),
      support_(classes.support_size()),
      y_(static_cast<size_t>(vocab_) * vocab_, 0),
      z_(y_),
      rows_of_class_(classes.num_classes()),
      y_transpose_(static_cast<size_t>(vocab_) * support_) {}

template <typename Real>
void OneLayerTransformer<Real>::InitializeUniform(std::mt19937_64& generator) {
  const double bound = 1 / std::sqrt(vocab_);
  for (std::vector<Real>* weights : {&y_, &z_}) {
    for (Real& weight : *weights) {
      weight = static_cast<Real>(bound * (2 * UniformDraw(generator) - 1));
    }
  }
}

template <typename Real>
Real OneLayerTransformer<Real>::Loss(const Batch<Real>& batch) {
  return Evaluate(batch, nullptr, nullptr);
}

template <typename Real>
Real OneLayerTransformer<Real>::LossAndGradients(const Batch<Real>& batch,
                                                 std::vector<Real>* y_grad,
                                                 std::vector<Real>* z_grad) {
  y_grad->assign(y_.size(), 0);
  z_grad->assign(z_.size(), 0);
  return Evaluate(batch, y_grad, z_grad);
}

template <typename Real>
Real OneLayerTransformer<Real>::Evaluate(const Batch<Real>& batch,
                                         std::vector<Real>* y_grad,
                                         std::vector<Real>* z_grad) {
  for (std::vector<int>& rows : rows_of_class_) rows.clear();
  for (int b = 0; b < batch.size(); ++b) {
    rows_of_class_[batch.classes[b]].push_back(b);
  }
  double loss = 0;
  for (int n = 0; n < classes_.num_classes(); ++n) {
    if (rows_of_class_[n].empty()) continue;
    loss += EvaluateClass(batch, n, rows_of_class_[n], y_grad, z_grad);
  }
  return static_cast<Real>(loss / batch.size());
}

template <typename Real>
double OneLayerTransformer<Real>::EvaluateClass(const Batch<Real>& batch, int n,
                                                const std::vector<int>& rows,
                                                std::vector<Real>* y_grad,
                                                std::vector<Real>* z_grad) {
  const int num_rows = static_cast<int>(rows.size());
  const int common = classes_.options().num_common;
  const int distinct = classes_.options().num_distinct;
  // The support's rows of Y are two blocks: [0, common) and the class's own.
  const size_t own = static_cast<size_t>(classes_.Token(n, common)) * vocab_;

  const std::vector<Real> attention = UnnormalizedAttention(classes_, z_, n);
  f_.resize(static_cast<size_t>(num_rows) * support_);
  for (int r = 0; r < num_rows; ++r) {
    Normalize(&batch.counts[static_cast<size_t>(rows[r]) * support_],
              attention.data(), support_,
              &f_[static_cast<size_t>(r) * support_]);
  }

  residual_.assign(static_cast<size_t>(num_rows) * vocab_, 0);
  MultiplyAdd(num_rows, common, vocab_, f_.data(), support_, y_.data(), vocab_,
              residual_.data(), vocab_);
  MultiplyAdd(num_rows, distinct, vocab_, f_.data() + common, support_,
              &y_[own], vocab_, residual_.data(), vocab_);
  double loss = 0;
  for (int r = 0; r < num_rows; ++r) {
    loss += SoftmaxResidual(&residual_[static_cast<size_t>(r) * vocab_], vocab_,
                            classes_.NextToken(n));
  }
  if (y_grad == nullptr) return loss;

  const Real per_sequence = Real{1} / batch.size();
  for (Real& value : residual_) value *= per_sequence;

  f_transpose_.resize(f_.size());
  for (int r = 0; r < num_rows; ++r) {
    for (int i = 0; i < support_; ++i) {
      f_transpose_[static_cast<size_t>(i) * num_rows + r] =
          f_[static_cast<size_t>(r) * support_ + i];
    }
  }
  MultiplyAdd(common, num_rows, vocab_, f_transpose_.data(), num_rows,
              residual_.data(), vocab_, y_grad->data(), vocab_);
  MultiplyAdd(distinct, num_rows, vocab_,
              &f_transpose_[static_cast<size_t>(common) * num_rows], num_rows,
              residual_.data(), vocab_, &(*y_grad)[own], vocab_);

  for (int i = 0; i < support_; ++i) {
    const Real* y_row = &y_[static_cast<size_t>(classes_.Token(n, i)) * vocab_];
    for (int j = 0; j < vocab_; ++j) {
      y_transpose_[static_cast<size_t>(j) * support_ + i] = y_row[j];
    }
  }
  g_.assign(static_cast<size_t>(num_rows) * support_, 0);
  MultiplyAdd(num_rows, vocab_, support_, residual_.data(), vocab_,
              y_transpose_.data(), support_, g_.data(), support_);

  // dL/dc = (g - f (f . g)) / ||c|| is orthogonal to c, so the softmax's own
  // projection, c_l (dL/dc_l - c . dL/dc), removes nothing more.
  Real* z_row = &(*z_grad)[static_cast<size_t>(classes_.Query(n)) * vocab_];
  for (int r = 0; r < num_rows; ++r) {
    const Real* f = &f_[static_cast<size_t>(r) * support_];
    const Real* g = &g_[static_cast<size_t>(r) * support_];
    Real along = 0;
    for (int i = 0; i < support_; ++i) along += f[i] * g[i];
    for (int i = 0; i < support_; ++i) {
      z_row[classes_.Token(n, i)] += f[i] * (g[i] - f[i] * along);
    }
  }
  return loss;
}

template <typename Real>
std::vector<Real> OneLayerTransformer<Real>::NormalizedAttention(
    const Batch<Real>& batch) const {
  std::vector<Real> f(batch.counts.size());
  for (int b = 0; b < batch.size(); ++b) {
    const size_t row = static_cast<size_t>(b) * support_;
    Normalize(&batch.counts[row],
              UnnormalizedAttention(classes_, z_, batch.classes[b]).data(),
              support_, &f[row]);
  }
  return f;
}

template <typename Real>
std::vector<double> OneLayerTransformer<Real>::PopulationAttention(
    int n) const {
  const std::vector<Real> attention = UnnormalizedAttention(classes_, z_, n);
  std::vector<double> c(support_);
  double sum = 0;
  for (int i = 0; i < support_; ++i) {
    c[i] = classes_.probabilities()[i] * attention[i];
    sum += c[i];
  }
  for (double& value : c) value /= sum;
  return c;
}

template <typename Real>
double OneLayerTransformer<Real>::MeanDistinctEntropy() const {
  double sum = 0;
  for (int n = 0; n < classes_.num_classes(); ++n) {
    sum += Entropy(&PopulationAttention(n)[classes_.options().num_common],
                   classes_.options().num_distinct);
  }
  return sum / classes_.num_classes();
}

template <typename Real>
void MomentumSgd<Real>::Step(const std::vector<Real>& gradient,
                             std::vector<Real>* weights) {
  velocity_.resize(gradient.size(), 0);
  Real* __restrict__ v = velocity_.data();
  Real* __restrict__ w = weights->data();
  const Real* __restrict__ g = gradient.data();
  for (size_t i = 0; i < gradient.size(); ++i) {
    v[i] = momentum_ * v[i] + g[i];
    w[i] -= learning_rate_ * v[i];
  }
}

double Entropy(const double* weights, int count) {
  double sum = 0;
  for (int i = 0; i < count; ++i) sum += weights[i];
  double entropy = 0;
  for (int i = 0; i < count; ++i) {
    if (weights[i] > 0)
      entropy -= weights[i] / sum * std::log(weights[i] / sum);
  }
  return entropy;
}

template class OneLayerTransformer<float>;
template class OneLayerTransformer<double>;
template class MomentumSgd<float>;
template class MomentumSgd<double>;

}  // namespace repro::scan_snap
