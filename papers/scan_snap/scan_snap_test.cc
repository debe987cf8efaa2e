#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "papers/scan_snap/one_layer_transformer.h"
#include "papers/scan_snap/phase_transition.h"
#include "papers/scan_snap/sequence_classes.h"
#include "papers/scan_snap/training.h"

namespace repro::scan_snap {
namespace {

using ::testing::HasSubstr;

SequenceClasses Classes(int num_queries, int next_per_query) {
  SequenceClassOptions options;
  options.num_queries = num_queries;
  options.next_per_query = next_per_query;
  return *SequenceClasses::Create(options);
}

// ---- Sequence classes ----

// The layout and P(l|n) that the authors' code logs for one query and two next
// tokens (scan_snap/figure_6.log, "Generated 2 facts").
TEST(SequenceClassesTest, IsLaidOutAsTheReleasedLogSays) {
  const SequenceClasses classes = Classes(1, 2);
  EXPECT_EQ(classes.vocab_size(), 33);
  EXPECT_EQ(classes.Query(0), 30);
  EXPECT_EQ(classes.Query(1), 30);
  EXPECT_EQ(classes.NextToken(0), 31);
  EXPECT_EQ(classes.NextToken(1), 32);
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(classes.Token(0, i), i);
    EXPECT_EQ(classes.Token(1, i), i);
    EXPECT_EQ(classes.Token(0, 10 + i), 10 + i);
    EXPECT_EQ(classes.Token(1, 10 + i), 20 + i);
  }
  const std::vector<double> logged = {0.0645, 0.0645, 0.0645, 0.0645, 0.0645,
                                      0.0645, 0.0645, 0.0645, 0.0645, 0.0645,
                                      0.0065, 0.0129, 0.0194, 0.0258, 0.0323,
                                      0.0387, 0.0452, 0.0516, 0.0581, 0.0645};
  ASSERT_EQ(classes.probabilities().size(), logged.size());
  double sum = 0;
  for (size_t i = 0; i < logged.size(); ++i) {
    EXPECT_NEAR(classes.probabilities()[i], logged[i], 5e-5);
    sum += classes.probabilities()[i];
  }
  EXPECT_NEAR(sum, 1, 1e-15);
}

TEST(SequenceClassesTest, EachQueryServesItsNextTokens) {
  const SequenceClasses classes = Classes(3, 2);
  EXPECT_EQ(classes.vocab_size(), 10 + 60 + 3 + 6);
  for (int n = 0; n < 6; ++n) {
    EXPECT_EQ(classes.Query(n), 70 + n / 2);
    EXPECT_EQ(classes.NextToken(n), 73 + n);
  }
}

TEST(SequenceClassesTest, RejectsBadOptions) {
  SequenceClassOptions options;
  options.num_queries = 0;
  EXPECT_THAT(std::string(SequenceClasses::Create(options).status().message()),
              HasSubstr("num_queries is 0"));
  options = {};
  options.num_distinct = -3;
  EXPECT_THAT(std::string(SequenceClasses::Create(options).status().message()),
              HasSubstr("num_distinct is -3"));
  options = {};
  options.distinct_min = 0;
  EXPECT_FALSE(SequenceClasses::Create(options).ok());
  options = {};
  options.common_weight = std::numeric_limits<double>::quiet_NaN();
  EXPECT_FALSE(SequenceClasses::Create(options).ok());
  options = {};
  options.num_queries = 1 << 30;
  EXPECT_THAT(std::string(SequenceClasses::Create(options).status().message()),
              HasSubstr("2^20"));
}

TEST(SequenceClassesTest, DrawsFollowTheDistribution) {
  const SequenceClasses classes = Classes(2, 1);
  std::mt19937_64 generator(7);
  constexpr int kDraws = 1000001;  // odd: the last 64-bit draw is half used
  std::vector<double> counts(20, 0);
  classes.DrawCounts(kDraws, generator, counts.data());
  double total = 0, chi_square = 0;
  for (int i = 0; i < 20; ++i) {
    const double expected = kDraws * classes.probabilities()[i];
    chi_square += (counts[i] - expected) * (counts[i] - expected) / expected;
    total += counts[i];
  }
  EXPECT_EQ(total, kDraws);
  EXPECT_LT(chi_square, 43.82);  // 0.999 quantile, 19 degrees of freedom
  EXPECT_GT(chi_square, 5.41);   // 0.001 quantile: not more even than chance
}

TEST(SequenceClassesTest, SupportWithoutCommonTokens) {
  SequenceClassOptions options;
  options.num_common = 0;
  options.num_distinct = 1;
  const SequenceClasses classes = *SequenceClasses::Create(options);
  std::mt19937_64 generator(1);
  const Batch<double> batch = DrawBatch<double>(classes, 5, 8, generator);
  EXPECT_EQ(batch.counts, std::vector<double>(5, 7));
}

TEST(SequenceClassesTest, BatchesHaveUniformClasses) {
  const SequenceClasses classes = Classes(5, 2);
  std::mt19937_64 generator(3);
  const Batch<float> batch = DrawBatch<float>(classes, 100000, 2, generator);
  std::vector<double> counts(10, 0);
  for (int n : batch.classes) ++counts.at(n);
  double chi_square = 0;
  for (double count : counts) {
    chi_square += (count - 10000) * (count - 10000) / 10000;
  }
  EXPECT_LT(chi_square, 27.88);  // 0.999 quantile, 9 degrees of freedom
}

// ---- The model ----

// The loss of one sequence as the model is defined on positions: a softmax over
// the context's positions, one-hot values, no use of counts.
double LossOnPositions(const OneLayerTransformer<double>& model, int vocab,
                       const std::vector<int>& context, int query, int label) {
  std::vector<double> attention;
  double sum = 0;
  for (int token : context) {
    attention.push_back(std::exp(model.z()[query * vocab + token]));
    sum += attention.back();
  }
  std::vector<double> c(vocab, 0);
  for (size_t t = 0; t < context.size(); ++t) {
    c[context[t]] += attention[t] / sum;
  }
  double norm = 0;
  for (double value : c) norm += value * value;
  norm = std::sqrt(norm);
  std::vector<double> logits(vocab, 0);
  double partition = 0;
  for (int j = 0; j < vocab; ++j) {
    for (int l = 0; l < vocab; ++l) {
      logits[j] += c[l] / norm * model.y()[l * vocab + j];
    }
    partition += std::exp(logits[j]);
  }
  return std::log(partition) - logits[label];
}

TEST(OneLayerTransformerTest, AgreesWithTheDefinitionOnPositions) {
  const SequenceClasses classes = Classes(3, 2);
  const int vocab = classes.vocab_size();
  std::mt19937_64 generator(11);
  OneLayerTransformer<double> model(classes);
  model.InitializeUniform(generator);
  for (double& weight : model.y()) weight *= 40;
  for (double& weight : model.z()) weight *= 20;
  Batch<double> batch;
  double expected = 0;
  for (int b = 0; b < 9; ++b) {
    const int n = b % classes.num_classes();
    batch.classes.push_back(n);
    std::vector<double> counts(classes.support_size(), 0);
    std::vector<int> context;
    for (int t = 0; t < 13; ++t) {
      const int i = static_cast<int>(UniformDraw(generator) * counts.size());
      counts[i] += 1;
      context.push_back(classes.Token(n, i));
    }
    batch.counts.insert(batch.counts.end(), counts.begin(), counts.end());
    expected += LossOnPositions(model, vocab, context, classes.Query(n),
                                classes.NextToken(n)) /
                9;
  }
  EXPECT_NEAR(model.Loss(batch), expected, 1e-13 * expected);
}

TEST(OneLayerTransformerTest, InitialLossIsLogVocabulary) {
  for (int queries : {1, 2, 10}) {
    const SequenceClasses classes = Classes(queries, 2);
    std::mt19937_64 generator(1);
    OneLayerTransformer<double> model(classes);
    EXPECT_NEAR(model.Loss(DrawBatch<double>(classes, 16, 128, generator)),
                std::log(classes.vocab_size()), 1e-14);
  }
}

TEST(OneLayerTransformerTest, GradientsAgreeWithFiniteDifferences) {
  const SequenceClasses classes = Classes(2, 2);
  std::mt19937_64 generator(5);
  OneLayerTransformer<double> model(classes);
  model.InitializeUniform(generator);
  for (double& weight : model.y()) weight *= 15;
  for (double& weight : model.z()) weight *= 5;
  const Batch<double> batch = DrawBatch<double>(classes, 7, 20, generator);
  std::vector<double> y_grad, z_grad;
  model.LossAndGradients(batch, &y_grad, &z_grad);
  constexpr double kStep = 1e-5;
  double largest_y = 0, largest_z = 0;
  for (auto* weights : {&model.y(), &model.z()}) {
    const bool is_y = weights == &model.y();
    const std::vector<double>& grad = is_y ? y_grad : z_grad;
    double& largest = is_y ? largest_y : largest_z;
    for (size_t i = 0; i < weights->size(); ++i) {
      const double saved = (*weights)[i];
      (*weights)[i] = saved + kStep;
      const double above = model.Loss(batch);
      (*weights)[i] = saved - kStep;
      const double below = model.Loss(batch);
      (*weights)[i] = saved;
      ASSERT_NEAR(grad[i], (above - below) / (2 * kStep), 1e-9) << i;
      largest = std::max(largest, std::abs(grad[i]));
    }
  }
  EXPECT_GT(largest_y, 1e-2);
  EXPECT_GT(largest_z, 1e-3);
}

TEST(OneLayerTransformerTest, TinyAndHugeLossesKeepTheirPrecision) {
  const SequenceClasses classes = Classes(1, 1);
  const int vocab = classes.vocab_size();
  const Batch<float> batch = PopulationBatch<float>(classes);
  OneLayerTransformer<float> model(classes);
  const std::vector<float> f = model.NormalizedAttention(batch);
  double sum = 0;
  for (float value : f) sum += value;
  const auto loss = [&](double logit) {
    for (int i = 0; i < classes.support_size(); ++i) {
      model.y()[classes.Token(0, i) * vocab + classes.NextToken(0)] =
          static_cast<float>(logit / sum);
    }
    return model.Loss(batch);
  };
  // ln(1 + (M - 1) e^-logit) with the label on top; logit + ln(...) below.
  for (double logit : {10.0, 20.0, 30.0}) {
    EXPECT_NEAR(loss(logit) / std::log1p((vocab - 1) * std::exp(-logit)), 1,
                2e-5);
  }
  EXPECT_NEAR(loss(-200), 200 + std::log(vocab - 1), 1e-3);
}

TEST(OneLayerTransformerTest, AttentionIsNormalised) {
  const SequenceClasses classes = Classes(3, 1);
  std::mt19937_64 generator(2);
  OneLayerTransformer<double> model(classes);
  model.InitializeUniform(generator);
  const Batch<double> batch = DrawBatch<double>(classes, 20, 128, generator);
  const std::vector<double> f = model.NormalizedAttention(batch);
  for (int b = 0; b < batch.size(); ++b) {
    double squares = 0;
    for (int i = 0; i < classes.support_size(); ++i) {
      const double value = f[b * classes.support_size() + i];
      EXPECT_GE(value, 0);
      squares += value * value;
    }
    EXPECT_NEAR(squares, 1, 1e-14);
  }
}

// Adding a constant to a row of Y or Z changes nothing, so gradients have no
// such component; and only rows of Z of queries have a gradient at all.
TEST(OneLayerTransformerTest, RowSumsAndOtherRowsStayZero) {
  const SequenceClasses classes = Classes(3, 2);
  const int vocab = classes.vocab_size();
  std::mt19937_64 generator(4);
  OneLayerTransformer<double> model(classes);
  MomentumSgd<double> y_optimizer(3, 0.9), z_optimizer(3, 0.9);
  std::vector<double> y_grad, z_grad;
  for (int i = 0; i < 30; ++i) {
    model.LossAndGradients(DrawBatch<double>(classes, 32, 64, generator),
                           &y_grad, &z_grad);
    y_optimizer.Step(y_grad, &model.y());
    z_optimizer.Step(z_grad, &model.z());
  }
  double largest = 0;
  for (int row = 0; row < vocab; ++row) {
    double y_sum = 0, z_sum = 0;
    for (int j = 0; j < vocab; ++j) {
      y_sum += model.y()[row * vocab + j];
      z_sum += model.z()[row * vocab + j];
      const bool is_query = row >= classes.Query(0) &&
                            row <= classes.Query(classes.num_classes() - 1);
      if (!is_query) {
        EXPECT_EQ(model.z()[row * vocab + j], 0);
      }
      largest = std::max(largest, std::abs(model.z()[row * vocab + j]));
    }
    EXPECT_NEAR(y_sum, 0, 1e-12);
    EXPECT_NEAR(z_sum, 0, 1e-12);
  }
  EXPECT_GT(largest, 0.1);
}

TEST(OneLayerTransformerTest, FloatFollowsDouble) {
  const SequenceClasses classes = Classes(2, 2);
  OneLayerTransformer<double> model(classes);
  OneLayerTransformer<float> model_float(classes);
  std::mt19937_64 generator(9), generator_float(9);
  model.InitializeUniform(generator);
  model_float.InitializeUniform(generator_float);
  std::vector<double> y_grad, z_grad;
  std::vector<float> y_float, z_float;
  const double loss = model.LossAndGradients(
      DrawBatch<double>(classes, 33, 128, generator), &y_grad, &z_grad);
  EXPECT_NEAR(model_float.LossAndGradients(
                  DrawBatch<float>(classes, 33, 128, generator_float), &y_float,
                  &z_float),
              loss, 1e-6 * loss);
  for (size_t i = 0; i < y_grad.size(); ++i) {
    EXPECT_NEAR(y_float[i], y_grad[i], 1e-7);
    EXPECT_NEAR(z_float[i], z_grad[i], 1e-7);
  }
}

// -sum p ln p of numpy's linspace(0.1, 1, 10) divided by its sum:
//   p = numpy.linspace(.1, 1, 10); p /= p.sum(); -(p * numpy.log(p)).sum()
TEST(OneLayerTransformerTest, InitialEntropyOfDistinctTokens) {
  const SequenceClasses classes = Classes(2, 1);
  EXPECT_NEAR(OneLayerTransformer<double>(classes).MeanDistinctEntropy(),
              2.15128, 5e-6);
  EXPECT_NEAR(OneLayerTransformer<float>(classes).PopulationAttention(0)[10],
              0.1 / 15.5, 1e-9);
}

TEST(EntropyTest, WorkedExamples) {
  const std::vector<double> uniform(10, 3);
  EXPECT_NEAR(Entropy(uniform.data(), 10), std::log(10), 1e-15);
  const std::vector<double> one = {0, 5, 0};
  EXPECT_EQ(Entropy(one.data(), 3), 0);
}

// v1 = g, v2 = (1 + mu) g: w = w0 - lr g (2 + mu).
TEST(MomentumSgdTest, TwoStepsOfAConstantGradient) {
  MomentumSgd<double> optimizer(0.5, 0.9);
  std::vector<double> weights = {1, -2};
  for (int i = 0; i < 2; ++i) optimizer.Step({4, 0}, &weights);
  EXPECT_NEAR(weights[0], 1 - 0.5 * 4 * 2.9, 1e-15);
  EXPECT_EQ(weights[1], -2);
}

// ---- Theorem 2: distinct tokens gain, a common one loses ----

TEST(TheoremTest, DistinctTokensGainAndTheCommonTokenLoses) {
  SequenceClassOptions options;
  options.num_queries = 2;
  options.next_per_query = 5;
  options.num_common = 1;
  const SequenceClasses classes = *SequenceClasses::Create(options);
  const int vocab = classes.vocab_size();
  const Batch<double> population = PopulationBatch<double>(classes);
  OneLayerTransformer<double> model(classes);
  MomentumSgd<double> decoder(10, 0), attention(0.1, 0);
  std::vector<double> y_grad, z_grad;
  model.LossAndGradients(population, &y_grad, &z_grad);
  // Y = 0: nothing to attend to yet.
  for (double value : z_grad) EXPECT_EQ(value, 0);
  for (int step = 0; step < 50; ++step) {
    decoder.Step(y_grad, &model.y());
    model.LossAndGradients(population, &y_grad, &z_grad);
    for (int n = 0; n < classes.num_classes(); ++n) {
      const double* row = &z_grad[classes.Query(n) * vocab];
      EXPECT_GT(row[classes.Token(n, 0)], 0) << "common, step " << step;
      for (int i = 1; i < classes.support_size(); ++i) {
        EXPECT_LT(row[classes.Token(n, i)], 0) << "distinct, step " << step;
      }
    }
    attention.Step(z_grad, &model.z());
  }
  // Theorem 3: of two distinct tokens the one that co-occurs more gains more.
  for (int n = 0; n < classes.num_classes(); ++n) {
    const double* row = &model.z()[classes.Query(n) * vocab];
    for (int i = 2; i < classes.support_size(); ++i) {
      EXPECT_GT(row[classes.Token(n, i)], row[classes.Token(n, i - 1)]);
    }
  }
}

// ---- Theorem 3 and 4 as equations ----

TEST(TheoremTest, RelativeGainGrowsWithItsOwnLogit) {
  const std::vector<double> weights = Classes(2, 1).probabilities();
  const size_t top = weights.size() - 1;
  const auto normalized = [&](const std::vector<double>& z) {
    std::vector<double> f(weights.size());
    double squares = 0;
    for (size_t l = 0; l < f.size(); ++l) {
      f[l] = weights[l] * std::exp(z[l]);
      squares += f[l] * f[l];
    }
    for (double& value : f) value /= std::sqrt(squares);
    return f;
  };
  const std::vector<double> distinct(weights.begin() + 10, weights.end());
  const double drift = 2.5;
  const std::vector<double> z = DistinctTokenLogits(weights, drift, 2000);
  const std::vector<double> before =
      normalized(std::vector<double>(weights.size(), 0));
  const std::vector<double> after = normalized(z);
  // r(t) = r(0) e^{2 (z_l - z_l(0))} for every pair.
  for (size_t l = 10; l <= top; ++l) {
    for (size_t other = 10; other <= top; ++other) {
      const double initial = RelativeGain(before[l], before[other]);
      EXPECT_NEAR(RelativeGain(after[l], after[other]),
                  initial * std::exp(2 * z[l]),
                  1e-9 * (1 + std::abs(initial) * std::exp(2 * z[l])));
    }
  }
  // e^{2 f(0)^2 B} <= chi <= e^{2 B} for a dominant token.
  const std::vector<double> alone = DistinctTokenLogits(distinct, drift, 2000);
  double squares = 0;
  for (double weight : distinct) squares += weight * weight;
  EXPECT_GE(alone.back(), distinct.back() * distinct.back() / squares * drift);
  EXPECT_LE(alone.back(), drift);
}

PhaseTransition Fig3(double eta_y) {
  PhaseTransitionOptions options;
  options.eta_y = eta_y;
  return *PhaseTransition::Create(options);
}

TEST(PhaseTransitionTest, LogitScaleSolvesItsEquation) {
  for (double eta_y : {0.5, 1.0, 2.0, 5.0}) {
    const PhaseTransition phase = Fig3(eta_y);
    EXPECT_EQ(phase.LogitScale(0), 0);
    for (double s : {1e-6, 0.1, 1.0, 13.8, 70.0, 1e4, 1e8}) {
      const double u = 1000 * phase.LogitScale(s);
      const double right = 1000 * eta_y * s;
      EXPECT_NEAR(std::expm1(u) + 999 * u, right, 1e-11 * right) << s;
    }
  }
}

// Fig. 8: the recursion runs ahead of the continuous solution by at most
// 2 eta_Y / M.
TEST(PhaseTransitionTest, RecursionStaysWithinItsBound) {
  for (double eta_y : {0.5, 1.0, 2.0, 5.0}) {
    const PhaseTransition phase = Fig3(eta_y);
    const std::vector<double> recursion = phase.LogitScaleRecursion(1000);
    ASSERT_EQ(recursion.size(), 1001);
    EXPECT_NEAR(recursion[1], eta_y / 1000, 1e-18);
    for (int s = 0; s <= 1000; ++s) {
      const double ahead = recursion[s] - phase.LogitScale(s);
      EXPECT_GE(ahead, -1e-15) << s;
      EXPECT_LE(ahead, 2 * eta_y / 1000) << s;
    }
  }
}

TEST(PhaseTransitionTest, SpeedControlGrowsThenDecays) {
  for (double eta_y : {0.5, 1.0, 2.0, 5.0}) {
    const PhaseTransition phase = Fig3(eta_y);
    const double turn = phase.SnapTime() / 2;  // K ln M / eta_Y
    // About eta_Y t / K well before the turn: there e^{M h} <= sqrt(M).
    for (double t : {0.01 * turn, 0.25 * turn, 0.5 * turn}) {
      EXPECT_LT(phase.SpeedControl(t), eta_y * t / 10);
      EXPECT_GT(phase.SpeedControl(t), 0.93 * eta_y * t / 10);
    }
    // The limit has a factor (1 - 1/M)^2 that the paper's 1 + o(1) absorbs.
    double previous = 1;
    for (double multiple : {1e2, 1e4, 1e6}) {
      const double t = multiple * turn;
      const double asymptote =
          0.999 * 0.999 * 10 * std::log(1000 * eta_y * t / 10) / (eta_y * t);
      const double error = std::abs(phase.SpeedControl(t) / asymptote - 1);
      EXPECT_LT(error, previous);
      previous = error;
    }
    EXPECT_LT(previous, 1e-4);
    for (double t = 2 * turn; t < 20 * turn; t += turn) {
      EXPECT_LT(phase.SpeedControl(t + turn), phase.SpeedControl(t));
    }
  }
}

TEST(PhaseTransitionTest, IntegralAgreesWithSimpsonsRule) {
  const PhaseTransition phase = Fig3(2);
  constexpr int kIntervals = 20000;
  const double end = 300, step = end / kIntervals;
  double sum = phase.SpeedControl(0) + phase.SpeedControl(end);
  for (int i = 1; i < kIntervals; ++i) {
    sum += (i % 2 == 1 ? 4 : 2) * phase.SpeedControl(i * step);
  }
  EXPECT_NEAR(phase.SpeedControlIntegral(end), sum * step / 3, 1e-6);
}

// z' = -(eta_Z / C_0) gamma(t) e^{4 z} integrated by Runge-Kutta, B = -z.
TEST(PhaseTransitionTest, DriftSolvesTheEquationOfTheCommonToken) {
  PhaseTransitionOptions options;
  options.eta_y = 1;
  options.rho_0 = 1.3;
  const PhaseTransition phase = *PhaseTransition::Create(options);
  const double factor =
      options.eta_z * options.num_classes / std::pow(options.rho_0, 4);
  const auto slope = [&](double t, double z) {
    return -factor * phase.SpeedControl(t) * std::exp(4 * z);
  };
  constexpr int kSteps = 20000;
  const double step = 200.0 / kSteps;
  double z = 0;
  for (int i = 0; i < kSteps; ++i) {
    const double t = i * step;
    const double k1 = slope(t, z);
    const double k2 = slope(t + step / 2, z + step / 2 * k1);
    const double k3 = slope(t + step / 2, z + step / 2 * k2);
    const double k4 = slope(t + step, z + step * k3);
    z += step / 6 * (k1 + 2 * k2 + 2 * k3 + k4);
  }
  EXPECT_NEAR(phase.LogitDrift(200), -z, 1e-8);
  EXPECT_NEAR(phase.GrowthBound(200), std::exp(-2 * z), 1e-6);
  EXPECT_EQ(phase.LogitDrift(0), 0);
}

TEST(PhaseTransitionTest, RejectsBadOptions) {
  PhaseTransitionOptions options;
  options.vocab_size = 1;
  EXPECT_THAT(std::string(PhaseTransition::Create(options).status().message()),
              HasSubstr("vocab_size is 1"));
  options = {};
  options.eta_y = 0;
  EXPECT_FALSE(PhaseTransition::Create(options).ok());
  options = {};
  options.rho_0 = std::numeric_limits<double>::infinity();
  EXPECT_FALSE(PhaseTransition::Create(options).ok());
}

// ---- Training ----

TEST(TrainTest, StartsAtLogVocabularyAndLearns) {
  const RunResult result = *Train(RunOptions{});
  ASSERT_EQ(result.losses.size(), 100);
  EXPECT_FLOAT_EQ(result.losses[0], std::log(34));
  EXPECT_LT(result.losses[99], 1e-3);
  EXPECT_LT(result.entropy, 2.15128);
  // Scan: common tokens lose attention, the most frequent distinct one gains.
  for (int i = 0; i < 10; ++i) EXPECT_LT(result.attention[i], 1 / 15.5);
  EXPECT_GT(result.attention[19], 1 / 15.5);
}

TEST(TrainTest, SameSeedSameResultWhateverTheThreads) {
  std::vector<RunOptions> runs;
  for (uint64_t seed = 0; seed < 6; ++seed) {
    RunOptions options;
    options.seed = seed;
    options.zero_init = seed % 2 == 0;
    options.iterations = 5;
    runs.push_back(options);
  }
  const auto one = *TrainAll(runs, 1);
  const auto four = *TrainAll(runs, 4);
  for (size_t i = 0; i < runs.size(); ++i) {
    EXPECT_EQ(one[i].losses, four[i].losses);
    EXPECT_EQ(one[i].attention, four[i].attention);
    EXPECT_EQ(one[i].entropy, four[i].entropy);
    EXPECT_EQ(one[i].losses, Train(runs[i])->losses);
  }
  EXPECT_NE(one[0].losses, one[2].losses);
}

TEST(TrainTest, StopsWhenAsked) {
  RunOptions options;
  options.iterations = 1;
  const std::vector<RunOptions> runs(50, options);
  int64_t last = 0;
  const auto result = TrainAll(runs, 2, [&](int64_t done) {
    last = done;
    return done < 3;
  });
  EXPECT_EQ(result.status().code(), absl::StatusCode::kCancelled);
  EXPECT_LT(last, 50);
  EXPECT_TRUE(TrainAll({}, 2)->empty());
}

TEST(TrainTest, RejectsBadOptions) {
  const auto message = [](const RunOptions& options) {
    return std::string(Train(options).status().message());
  };
  RunOptions options;
  options.batch_size = 0;
  EXPECT_THAT(message(options), HasSubstr("batch_size is 0"));
  options = {};
  options.sequence_length = 1;
  EXPECT_THAT(message(options), HasSubstr("sequence_length is 1"));
  options = {};
  options.lr_z = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THAT(message(options), HasSubstr("lr_z"));
  options = {};
  options.classes.next_per_query = 0;
  EXPECT_THAT(message(options), HasSubstr("next_per_query"));
  EXPECT_FALSE(TrainAll({RunOptions{}, options}, 2).ok());
}

}  // namespace
}  // namespace repro::scan_snap
