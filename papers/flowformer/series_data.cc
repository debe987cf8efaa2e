#include "papers/flowformer/series_data.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/argmin.h>
#include <ATen/ops/bincount.h>
#include <ATen/ops/cdist.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/status/macros.h"

namespace repro::flowformer {
namespace {

absl::Status CheckComplete(const TsFile& file) {
  for (size_t i = 0; i < file.series.size(); ++i) {
    if (file.series[i].class_index < 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          file.problem_name, ": series ", i + 1, " has no class label"));
    }
    for (const auto& dimension : file.series[i].dimensions) {
      for (const float value : dimension) {
        if (std::isnan(value)) {
          return absl::InvalidArgumentError(absl::StrCat(
              file.problem_name, ": series ", i + 1, " has a missing value"));
        }
      }
    }
  }
  return absl::OkStatus();
}

SeriesSet Pad(const TsFile& file, const SeriesProblem& problem) {
  const int64_t count = file.series.size();
  SeriesSet set;
  set.x = at::zeros({count, problem.max_len, problem.features}, at::kFloat);
  set.mask = at::zeros({count, problem.max_len}, at::kFloat);
  set.labels = at::zeros({count}, at::kLong);
  auto x = set.x.accessor<float, 3>();
  auto mask = set.mask.accessor<float, 2>();
  auto labels = set.labels.accessor<int64_t, 1>();
  for (int64_t i = 0; i < count; ++i) {
    const TimeSeries& series = file.series[i];
    labels[i] = series.class_index;
    const int64_t length = series.dimensions[0].size();
    set.steps += length;
    for (int64_t t = 0; t < std::min(length, problem.max_len); ++t) {
      mask[i][t] = 1;
      for (int64_t f = 0; f < problem.features; ++f) {
        x[i][t][f] = (series.dimensions[f][t] - problem.mean[f]) /
                     (problem.std[f] + std::numeric_limits<double>::epsilon());
      }
    }
  }
  return set;
}

}  // namespace

SeriesSet SeriesSet::To(at::Device device) const {
  SeriesSet moved = *this;
  moved.x = x.to(device);
  moved.mask = mask.to(device);
  moved.labels = labels.to(device);
  return moved;
}

SeriesProblem SeriesProblem::To(at::Device device) const {
  SeriesProblem moved = *this;
  moved.train = train.To(device);
  moved.test = test.To(device);
  return moved;
}

absl::StatusOr<SeriesProblem> PrepareSeries(const TsFile& train,
                                            const TsFile& test) {
  if (train.num_dimensions != test.num_dimensions ||
      train.class_labels != test.class_labels) {
    return absl::InvalidArgumentError(absl::StrCat(
        "training set (", train.problem_name, ", ", train.num_dimensions,
        " dimensions, ", train.class_labels.size(), " classes) and test set (",
        test.problem_name, ", ", test.num_dimensions, ", ",
        test.class_labels.size(), ") are not of one problem"));
  }
  REPRO_RETURN_IF_ERROR(CheckComplete(train));
  REPRO_RETURN_IF_ERROR(CheckComplete(test));
  SeriesProblem problem;
  problem.features = train.num_dimensions;
  problem.classes = train.class_labels.size();
  int64_t steps = 0;
  for (const TimeSeries& series : train.series) {
    const int64_t length = series.dimensions[0].size();
    problem.max_len = std::max(problem.max_len, length);
    steps += length;
  }
  if (steps < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat(train.problem_name, ": ", steps,
                     " steps, a standard deviation needs 2"));
  }
  for (int64_t f = 0; f < problem.features; ++f) {
    double sum = 0, squares = 0;
    for (const TimeSeries& series : train.series) {
      for (const float value : series.dimensions[f]) sum += value;
    }
    const double mean = sum / steps;
    for (const TimeSeries& series : train.series) {
      for (const float value : series.dimensions[f]) {
        squares += (value - mean) * (value - mean);
      }
    }
    problem.mean.push_back(mean);
    problem.std.push_back(std::sqrt(squares / (steps - 1)));
  }
  problem.train = Pad(train, problem);
  problem.test = Pad(test, problem);
  return problem;
}

double NearestMeanAccuracy(const SeriesProblem& problem) {
  const at::Tensor train = problem.train.x.flatten(1);
  std::vector<at::Tensor> means;
  for (int64_t c = 0; c < problem.classes; ++c) {
    means.push_back(train.index({problem.train.labels == c}).mean(0));
  }
  const at::Tensor nearest =
      at::argmin(at::cdist(problem.test.x.flatten(1), at::stack(means)), 1);
  return (nearest == problem.test.labels).to(at::kDouble).mean().item<double>();
}

double MajorityShare(const SeriesProblem& problem) {
  const at::Tensor counts = at::bincount(problem.test.labels);
  return counts.max().item<double>() /
         static_cast<double>(problem.test.labels.numel());
}

}  // namespace repro::flowformer
