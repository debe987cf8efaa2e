// Constants: PyTorch 2.11 in Python.
#include "common/train/optimizer.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/tensor/generator.h"
#include "common/tensor/testing.h"
#include "common/train/schedule.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro {
namespace {

using ::testing::ElementsAre;

at::Tensor Parameter(const at::Tensor& value) {
  return value.detach().clone().requires_grad_();
}

void Descend(const at::Tensor& p, Optimizer* optimizer, int steps) {
  for (int i = 0; i < steps; ++i) {
    optimizer->ZeroGradients();
    (at::sin(3 * p) + p * p).sum().backward();
    optimizer->Step();
  }
}

// p = torch.linspace(-1, 1, 4, dtype=torch.float64).requires_grad_()
// o = make([p])
// for t in range(12):
//     o.zero_grad(); (torch.sin(3 * p) + p * p).sum().backward(); o.step()
// print(p.tolist())
struct Case {
  std::string name;
  std::unique_ptr<Optimizer> (*make)(std::vector<at::Tensor>);
  std::vector<double> expected;
};

AdamOptions Decayed() {
  AdamOptions options;
  options.rate = 0.05;
  options.weight_decay = 0.1;
  return options;
}

class OptimizerTest : public testing::TestWithParam<Case> {};

TEST_P(OptimizerTest, TakesPyTorchsSteps) {
  const at::Tensor p = Parameter(at::linspace(-1, 1, 4, at::kDouble));
  const auto optimizer = GetParam().make({p});
  Descend(p, optimizer.get(), 12);
  EXPECT_THAT(p, IsCloseTo(at::tensor(GetParam().expected), 1e-12, 1e-14));
}

TEST_P(OptimizerTest, StateGoesOnAfterACopy) {
  const at::Tensor p = Parameter(at::linspace(-1, 1, 4, at::kDouble));
  const auto optimizer = GetParam().make({p});
  Descend(p, optimizer.get(), 7);
  const at::Tensor q = Parameter(p);
  const auto resumed = GetParam().make({q});
  ASSERT_FALSE(optimizer->state().empty());
  for (size_t i = 0; i < optimizer->state().size(); ++i) {
    resumed->state()[i].copy_(optimizer->state()[i]);
  }
  Descend(p, optimizer.get(), 5);
  Descend(q, resumed.get(), 5);
  EXPECT_THAT(q, IsIdenticalTo(p.detach()));
}

TEST_P(OptimizerTest, LeavesAParameterWithoutGradientAlone) {
  const at::Tensor p = Parameter(at::linspace(-1, 1, 4, at::kDouble));
  const at::Tensor unused = Parameter(p);
  const auto optimizer = GetParam().make({unused, p});
  Descend(p, optimizer.get(), 12);
  EXPECT_THAT(p, IsCloseTo(at::tensor(GetParam().expected), 1e-12, 1e-14));
  EXPECT_THAT(unused, IsIdenticalTo(at::linspace(-1, 1, 4, at::kDouble)));
}

INSTANTIATE_TEST_SUITE_P(
    All, OptimizerTest,
    testing::Values(
        // make = lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9,
        //                                  weight_decay=0.1)
        Case{"Sgd",
             [](std::vector<at::Tensor> p) {
               SgdOptions options;
               options.rate = 0.05;
               options.momentum = 0.9;
               options.weight_decay = 0.1;
               return MakeSgd(std::move(p), options);
             },
             {-0.24586109908134257, -0.47249512369513946, -0.411705072989221,
              1.1382977854501766}},
        // torch.optim.Adam(p, lr=0.05, weight_decay=0.1), and so on.
        Case{"Adam",
             [](std::vector<at::Tensor> p) {
               return MakeAdam(std::move(p), Decayed());
             },
             {-0.44326561668041203, -0.38898024451043456, -0.2679751242699558,
              1.2694775405927023}},
        Case{"AdamW",
             [](std::vector<at::Tensor> p) {
               return MakeAdamW(std::move(p), Decayed());
             },
             {-0.4100032968475057, -0.3918831105245695, -0.2711373293200651,
              1.2972090330813486}},
        // The first five of the twelve steps have rho_t <= 5.
        Case{"RAdam",
             [](std::vector<at::Tensor> p) {
               return MakeRAdam(std::move(p), Decayed());
             },
             {-0.21952557110156531, -0.4533388747891809, -0.33500426532170247,
              1.2038433134887883}},
        // Four models of one number each, at Adam's rate.
        Case{"StackedAdam",
             [](std::vector<at::Tensor> p) {
               return MakeStackedAdam(std::move(p), {0.05, 0.05, 0.05, 0.05},
                                      Decayed());
             },
             {-0.44326561668041203, -0.38898024451043456, -0.2679751242699558,
              1.2694775405927023}}),
    [](const auto& info) { return info.param.name; });

TEST(StackedAdamTest, EachModelHasItsOwnRate) {
  const at::Tensor start = at::randn({2, 3, 4}, MakeGenerator(1), at::kDouble);
  const at::Tensor stacked = Parameter(start);
  const auto optimizer = MakeStackedAdam({stacked}, {0.05, 0.002}, {});
  Descend(stacked, optimizer.get(), 6);
  optimizer->SetRates({0.01, 0.02});
  Descend(stacked, optimizer.get(), 6);
  const double rates[2][2] = {{0.05, 0.01}, {0.002, 0.02}};
  for (int m = 0; m < 2; ++m) {
    const at::Tensor alone = Parameter(start[m]);
    AdamOptions options;
    options.rate = rates[m][0];
    const auto adam = MakeAdam({alone}, options);
    Descend(alone, adam.get(), 6);
    adam->SetRate(rates[m][1]);
    Descend(alone, adam.get(), 6);
    EXPECT_THAT(stacked[m], IsCloseTo(alone, 1e-12, 1e-14));
  }
}

TEST(OptimizerErrorsTest, SaysWhatIsWrong) {
  const at::Tensor p = Parameter(at::zeros({2, 3}));
  EXPECT_THROW(MakeStackedAdam({p}, {0.1, 0.1, 0.1}, {}), c10::Error);
  EXPECT_THROW(MakeAdam({at::zeros({2})}, {}), c10::Error);
  EXPECT_THROW(MakeAdam({at::Tensor()}, {}), c10::Error);
  EXPECT_THROW(MakeAdam({p}, {})->SetRates({1, 2}), c10::Error);
}

TEST(ClipGradientNormTest, ScalesAllTogether) {
  // q.grad, r.grad = (3, 4), (12)
  // torch.nn.utils.clip_grad_norm_([q, r], 4.0), q.grad, r.grad
  const at::Tensor q = Parameter(at::zeros({2}, at::kDouble));
  const at::Tensor r = Parameter(at::zeros({1}, at::kDouble));
  q.mutable_grad() = at::tensor({3., 4.});
  r.mutable_grad() = at::tensor({12.});
  const at::Tensor none = Parameter(at::zeros({1}));
  EXPECT_DOUBLE_EQ(ClipGradientNorm({q, none, r}, 20), 13);
  EXPECT_EQ(r.grad().item<double>(), 12);
  EXPECT_DOUBLE_EQ(ClipGradientNorm({q, none, r}, 4), 13);
  EXPECT_THAT(
      q.grad(),
      IsCloseTo(at::tensor({0.9230768520710115, 1.230769136094682}), 1e-14, 0));
  EXPECT_NEAR(r.grad().item<double>(), 3.692307408284046, 1e-13);
  EXPECT_EQ(ClipGradientNorm({none}, 1), 0);
}

TEST(ScheduleTest, Shapes) {
  EXPECT_EQ(ConstantRate(0.3)(1000), 0.3);

  const Schedule cosine = WarmupCosineRate(1, 10, 110, 0.1, 0.01);
  EXPECT_DOUBLE_EQ(cosine(0), 0.1);
  EXPECT_DOUBLE_EQ(cosine(5), 0.55);
  EXPECT_DOUBLE_EQ(cosine(10), 1);
  EXPECT_DOUBLE_EQ(cosine(60), 0.505);
  EXPECT_DOUBLE_EQ(cosine(110), 0.01);
  EXPECT_DOUBLE_EQ(cosine(500), 0.01);
  EXPECT_DOUBLE_EQ(WarmupCosineRate(2, 0, 10)(0), 2);
  EXPECT_THROW(WarmupCosineRate(1, 10, 10), c10::Error);

  const Schedule root = InverseSquareRootRate(1e-3, 4000, 1e-7);
  EXPECT_DOUBLE_EQ(root(0), 1e-7);
  EXPECT_DOUBLE_EQ(root(2000), (1e-3 + 1e-7) / 2);
  EXPECT_DOUBLE_EQ(root(4000), 1e-3);
  EXPECT_DOUBLE_EQ(root(16000), 5e-4);
  EXPECT_THROW(InverseSquareRootRate(1, 0), c10::Error);

  const Schedule step = StepRate(0.8, 30, 0.5);
  EXPECT_DOUBLE_EQ(step(29), 0.8);
  EXPECT_DOUBLE_EQ(step(30), 0.4);
  EXPECT_DOUBLE_EQ(step(60), 0.2);
  EXPECT_THROW(StepRate(1, 0, 0.5), c10::Error);
}

// transformers' get_linear_schedule_with_warmup(2, 10), by its definition.
TEST(ScheduleTest, WarmupLinearRateWorkedExample) {
  const Schedule rate = WarmupLinearRate(1, 2, 10);
  std::vector<double> rates;
  for (int64_t step = 0; step <= 11; ++step) rates.push_back(rate(step));
  const std::vector<double> expected = {0,  .5,   1,   .875, .75, .625,
                                        .5, .375, .25, .125, 0,   0};
  EXPECT_THAT(rates, testing::Pointwise(testing::DoubleEq(), expected));
  EXPECT_EQ(WarmupLinearRate(3, 0, 4)(0), 3);
  // The peak lies between two steps.
  EXPECT_DOUBLE_EQ(WarmupLinearRate(1, 2.5, 10)(2), 0.8);
  EXPECT_DOUBLE_EQ(WarmupLinearRate(1, 2.5, 10)(3), 7 / 7.5);
  EXPECT_THROW(WarmupLinearRate(1, 10, 10), c10::Error);
  EXPECT_THROW(WarmupLinearRate(1, -1, 10), c10::Error);
}

// o = torch.optim.SGD([p], lr=0.5)
// s = torch.optim.lr_scheduler.ReduceLROnPlateau(o, factor=0.5, patience=1,
//                                                min_lr=0.1)
// for m in kMetrics: s.step(m); print(o.param_groups[0]["lr"])
const std::vector<double> kMetrics = {1.0, 0.9, 0.95, 0.89995, 0.9, 0.8,
                                      0.8, 0.8, 0.8,  0.8,     0.8, 0.8};
const std::vector<double> kRates = {0.5,  0.5,   0.5,   0.25, 0.25, 0.25,
                                    0.25, 0.125, 0.125, 0.1,  0.1,  0.1};

ReduceOnPlateau::Options PlateauOptions() {
  ReduceOnPlateau::Options options;
  options.factor = 0.5;
  options.patience = 1;
  options.min_rate = 0.1;
  return options;
}

TEST(ReduceOnPlateauTest, FollowsPyTorchForEachModelAlone) {
  ReduceOnPlateau plateau({0.5, 0.5}, PlateauOptions());
  for (size_t i = 0; i < kMetrics.size(); ++i) {
    // The second model improves all the time.
    plateau.Step({kMetrics[i], 1.0 / (i + 1)});
    EXPECT_THAT(plateau.rates(), ElementsAre(kRates[i], 0.5)) << i;
  }
}

TEST(ReduceOnPlateauTest, GoesOnFromItsState) {
  ReduceOnPlateau first({0.5}, PlateauOptions());
  for (size_t i = 0; i < 3; ++i) first.Step({kMetrics[i]});
  ReduceOnPlateau second({9}, PlateauOptions());
  second.Restore(first.State());
  for (size_t i = 3; i < kMetrics.size(); ++i) {
    second.Step({kMetrics[i]});
    EXPECT_THAT(second.rates(), ElementsAre(kRates[i])) << i;
  }
  EXPECT_THROW(second.Restore({1, 2}), c10::Error);
  EXPECT_THROW(second.Step({1, 2}), c10::Error);
}

TEST(ReduceOnPlateauTest, NanIsNoImprovement) {
  ReduceOnPlateau plateau({0.5}, PlateauOptions());
  plateau.Step({std::nan("")});
  plateau.Step({std::nan("")});
  EXPECT_THAT(plateau.rates(), ElementsAre(0.25));
}

}  // namespace
}  // namespace repro
