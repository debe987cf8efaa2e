// Learning rates as functions of the step, and the plateau rule.
#ifndef REPRO_COMMON_TRAIN_SCHEDULE_H_
#define REPRO_COMMON_TRAIN_SCHEDULE_H_

#include <cstdint>
#include <functional>
#include <vector>

namespace repro {

// The rate for the update of `step`, counted from 0.
using Schedule = std::function<double(int64_t step)>;

Schedule ConstantRate(double rate);

// Linear from `start` at step 0 to `peak` at step `warmup_steps`, then
// final + (peak - final) (1 + cos(pi t)) / 2 with t running from 0 there to 1
// at `total_steps`; `final` after that.
Schedule WarmupCosineRate(double peak, int64_t warmup_steps,
                          int64_t total_steps, double start = 0,
                          double final = 0);

// Linear from 0 at step 0 to `peak` at `warmup_steps`, which need not be whole,
// then linearly to 0 at `total_steps`: transformers' linear schedule.
Schedule WarmupLinearRate(double peak, double warmup_steps,
                          int64_t total_steps);

// Linear from `start` to `peak` over `warmup_steps`, then
// peak sqrt(warmup_steps / step) (Vaswani et al. 2017, as fairseq scales it).
// warmup_steps >= 1.
Schedule InverseSquareRootRate(double peak, int64_t warmup_steps,
                               double start = 0);

// rate * factor^floor(step / period).
Schedule StepRate(double rate, int64_t period, double factor);

// PyTorch's ReduceLROnPlateau (mode min, relative threshold, no cooldown) for
// several independent models at once.
class ReduceOnPlateau {
 public:
  struct Options {
    double factor = 0.1;
    int patience = 10;  // bad epochs that are borne before a reduction
    double threshold = 1e-4;
    double min_rate = 0;
    double min_change = 1e-8;  // a smaller reduction is not made
  };

  ReduceOnPlateau(std::vector<double> rates, Options options);

  // One metric a model, once an epoch: metric < best (1 - threshold) is an
  // improvement; otherwise a bad epoch, and more than `patience` of them in a
  // row reduce the model's rate to max(rate * factor, min_rate).
  void Step(const std::vector<double>& metrics);

  const std::vector<double>& rates() const { return rates_; }

  // Everything that Step changes, as numbers, for a checkpoint.
  std::vector<double> State() const;
  void Restore(const std::vector<double>& state);

 private:
  Options options_;
  std::vector<double> rates_;
  std::vector<double> best_;
  std::vector<int> bad_epochs_;
};

}  // namespace repro

#endif  // REPRO_COMMON_TRAIN_SCHEDULE_H_
